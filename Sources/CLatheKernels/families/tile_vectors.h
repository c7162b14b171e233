/* Tiles of sixteen rows by vectors; a set brings `dot_quad`, sixteen sums of four products. */

#ifndef LATHE_OWN_TABLE_QUAD
LATHE_INLINE Codes table_quad(const uint8_t *table, Codes w) {
  for (int i = 0; i < 64; i++) w[i] = table[w[i]];
  return w;
}
#endif

/* What stands at each row's codes in the tables of some columns; `marks` says which columns use the second table. */
#ifndef LATHE_OWN_ROW_TABLES
LATHE_INLINE Codes row_table_quad(const uint8_t *tables, Codes w, const uint8_t *marks, const int k) {
  const int rows = LATHE_VECTOR_ROWS, together = LATHE_NEIGHBOURS, first = k % (16 / rows) * rows;
  for (int i = 0; i < 64; i++) {
    const int second = marks && marks[i % together] ? 64 : 0;
    w[i] = tables[second + 4 * (first + i / together) + w[i]];
  }
  return w;
}
#endif

LATHE_INLINE Codes load_codes(const uint8_t *p) {
  Codes v;
  memcpy(&v, p, 64);
  return v;
}

LATHE_INLINE Codes shifted(Codes v, const int by, const uint8_t mask) {
  const Codes masks = (Codes){} + mask;
#ifdef LATHE_BYTE_SHIFTS
  v >>= (uint8_t)by;
  return mask == 255 >> by ? v : v & masks;
#else
  return (Codes)((CodePairs)v >> (uint16_t)by) & masks;
#endif
}

LATHE_INLINE Codes raised(Codes v, const int by, const int mask) {
  const Codes masks = (Codes){} + (uint8_t)(mask << by);
  return (Codes)((CodePairs)v << (uint16_t)by) & masks;
}

#ifdef LATHE_THREES
#include "tile_threes.h"
#endif

/* Quad number k of a unit. */
LATHE_INLINE Codes quad(const uint8_t *p, const int k, const uint32_t bits) {
  if (bits == 8) return load_codes(p + 64 * k);
#ifdef LATHE_THREES
  if (bits == 3) return three_quad(p, k);
#endif
  const int four = bits & 4 ? 1 : 0, two = bits & 2 ? 1 : 0;
  Codes w = {};
  if (four) w = shifted(load_codes(p + 64 * (k / 2)), 4 * (k % 2), 15);
  if (two) {
    const Codes plane = load_codes(p + 256 * four + 64 * (k / 4));
    /* The plane stands above the 4 bits. */
    const int at = 2 * (k % 4), to = 4 * four;
    w |= at >= to ? shifted(plane, at - to, (uint8_t)(3 << to)) : raised(plane, to - at, 3 << at);
  }
  if (bits & 1) {
    const Codes plane = load_codes(p + 256 * four + 128 * two);
    const int at = k, to = 4 * four + 2 * two;
    w |= at >= to ? shifted(plane, at - to, (uint8_t)(1 << to)) : raised(plane, to - at, 1 << at);
  }
  return w;
}

/* Vector k of a unit: what each row's two values are, and the next patches in the places of codes with the second bit. */
#if !LATHE_PATCH_WORDS
LATHE_INLINE Codes patched_quad(const uint8_t *p, const int k, const uint8_t *tables, const uint8_t **patch) {
  const Codes names = quad(p, k, 2);
  Codes w = row_table_quad(tables, names, (const uint8_t *)0, k);
  uint64_t words[8];
  memcpy(words, &names, sizeof words);
  for (int i = 0; i < 8; i++) {
    for (uint64_t left = words[i] & 0x0202020202020202; left; left &= left - 1) {
      ((uint8_t *)&w)[8 * i + __builtin_ctzll(left) / 8] = *(*patch)++;
    }
  }
  return w;
}
#endif

/* Two tiles meet half a run of tokens, where a set wants it: an input that was loaded serves both. */
#ifndef LATHE_TILES_TOGETHER
#define LATHE_TILES_TOGETHER 1
#endif

/* The whole sums of a tile: a vector for each token, and more where one would wait for itself. */
typedef Wholes TileLanes[LATHE_TILE_TOKENS > 8 ? LATHE_TILE_TOKENS : 8];
typedef Floats TileSums[LATHE_TILE_TOKENS];

#ifdef LATHE_TOKEN_PAIRS
#include "tile_pairs.h"
#elif defined(LATHE_SHORT_SUMS)
#include "tile_shorts.h"
#else
/* Sums that are kept apart: one alone would wait for itself. */
#define lane_parts(tokens) ((tokens) == 1 ? 4 : (tokens) == 2 ? 4 : (tokens) == 4 ? 2 : 1)

LATHE_INLINE void begin_lanes(Wholes *restrict lanes, const int32_t *starts, const size_t tokens) {
#pragma clang loop unroll(full)
  for (size_t t = 0; t < tokens * lane_parts(tokens); t++) lanes[t] = (Wholes){} + (t < tokens ? starts[t] : 0);
}

/* Adds the products of vector k of a unit of each tile; inputs begin at q, those of `pitch` tokens beside each other. */
LATHE_INLINE void meet_inputs(
    TileLanes *restrict lanes, const Codes *w, const int8_t *q, const int k, const uint32_t width, const int halves,
    const size_t tokens, const size_t pitch, const size_t tiles) {
  const size_t part = (size_t)k % lane_parts(tokens) * tokens;
#pragma clang loop unroll(full)
  for (size_t t = 0; t < tokens; t++) {
#pragma clang loop unroll(full)
    for (size_t i = 0; i < tiles; i++) {
      lanes[i][part + t] = dot_word(lanes[i][part + t], w[i], q, (size_t)k * pitch + t, width == 8);
    }
  }
}

LATHE_INLINE Wholes collect_lanes(const Wholes *lanes, const size_t t, const size_t tokens) {
  Wholes all = lanes[t];
#pragma clang loop unroll(full)
  for (size_t k = 1; k < lane_parts(tokens); k++) all += lanes[k * tokens + t];
  return all;
}
#endif

/*
 * Whether codes of one or two bits stay where they are in their bytes: one that begins at bit k then stands for 2^k of it, in one
 * of four sums that are shifted once a group. One shift a vector is what one token waits for; more tokens share it, and
 * have no room for as many sums. Codes of one bit in the upper half of a byte are shifted down: eight sums take longer to
 * put together.
 */
#ifdef LATHE_TOKEN_PAIRS
#define stays_in_place(bits, names, tokens) 0
#else
#define stays_in_place(bits, names, tokens) \
  (!LATHE_SIGNED_BYTES && (bits) <= 2 && (names) == names_nothing && (tokens) == 1)
#endif

/* Puts those sums together in the first. */
LATHE_INLINE void add_shifted(Wholes *restrict lanes, const int bits) {
#pragma clang loop unroll(full)
  for (int k = 1; k < 4; k++) lanes[0] += lanes[k] >> (k * bits);
#pragma clang loop unroll(full)
  for (int k = 1; k < 4; k++) lanes[k] = (Wholes){};
}

/* What some tokens' products with a tile need of them, from the group on that is met. */
typedef struct {
  const int8_t *codes;
  const float *scales, *sums;
  const int32_t *starts;
  int binary;
} TokenRun;

/* The run of tokens that begins at number `first`, of which those before `skipped` are not met. */
LATHE_INLINE TokenRun token_run(
    const LatheTiles *m, const LatheTileInputs *x, size_t first, size_t skipped, const size_t per_group) {
  return (TokenRun){
    x->codes + first * m->groups * m->input_group + LATHE_NEIGHBOURS * skipped, x->scales + first * m->groups + skipped,
    x->sums + first * m->groups * per_group + skipped, x->starts + first * m->groups * per_group + skipped,
    x->binary};
}

/*
 * The weight group that is met, the run of groups it belongs to, and what is left of both; of run number `held - 1`, the scale
 * and the minimum.
 */
typedef struct {
  size_t s, super, left, super_left;
#ifdef LATHE_SHORT_SUMS
  size_t held;
  TileScales scales;
#endif
} ScalePlace;

LATHE_INLINE ScalePlace first_scales(const LatheTiles *m) {
  return (ScalePlace){.left = m->span, .super_left = m->super_span};
}

/* The scales of a run of groups, read once for a tile; null where the form does not say that they are coded. */
LATHE_INLINE const TileScales *held_scales(const LatheTiles *m, size_t tile, ScalePlace *place, const int form) {
#ifdef LATHE_SHORT_SUMS
  if (form < scales_coded) return 0;
  if (place->held != place->super + 1) {
    place->held = place->super + 1;
    place->scales.scale = super_scale(m, tile, place->super);
    if (form > scales_coded) place->scales.offset = super_minimum(m, tile, place->super);
  }
  return &place->scales;
#else
  return 0;
#endif
}

/* Goes on after a weight group's part of an input group. */
LATHE_INLINE void step_scales(const LatheTiles *m, ScalePlace *place) {
  if (--place->left) return;
  place->s++, place->left = m->span;
  if (--place->super_left) return;
  place->super++, place->super_left = m->super_span;
}

/*
 * sums[t] += scale · (whole sums · input scale) + offset · Σ input, with a weight group's scales: those that are `ready` for
 * each tile, or as they are stored. The tiles' sums go together: a branch for each would tear the products before it apart.
 */
LATHE_INLINE void flush(
    const LatheTiles *m, size_t tile, const TileScales *ready, ScalePlace *place, const TokenRun *run,
    TileLanes *restrict lanes, TileSums *restrict sums, const size_t tokens, const size_t tiles, const int form) {
  TileScales own[LATHE_TILES_TOGETHER];
#pragma clang loop unroll(full)
  for (size_t i = 0; i < tiles; i++) {
    own[i] = ready ? ready[i * m->weight_groups + place->s]
                   : group_scales(m, tile + i, place->s, place->super, form, held_scales(m, tile, place, form));
  }
  if (run->binary) {
#pragma clang loop unroll(full)
    for (size_t i = 0; i < tiles * tokens; i++) {
      const Floats sum = (Floats)collect_lanes(lanes[i / tokens], i % tokens, tokens) - run->scales[i % tokens];
      sums[i / tokens][i % tokens] += sum * own[i / tokens].scale;
    }
  } else {
#pragma clang loop unroll(full)
    for (size_t i = 0; i < tiles * tokens; i++) {
      const Floats sum = __builtin_convertvector(collect_lanes(lanes[i / tokens], i % tokens, tokens), Floats);
      sums[i / tokens][i % tokens] += sum * run->scales[i % tokens] * own[i / tokens].scale;
    }
  }
  if (form == scales_any ? !m->has_offset : form == scales_plain || form == scales_coded) return;
#pragma clang loop unroll(full)
  for (size_t i = 0; i < tiles * tokens; i++) {
    sums[i / tokens][i % tokens] += own[i / tokens].offset * run->sums[i % tokens];
  }
}

/* Quad number k of a unit, and what stands for its codes in a table of all. */
LATHE_INLINE Codes named_quad(const LatheTiles *m, const uint8_t *p, const int k, const uint32_t bits, const int names) {
  const Codes w = quad(p, k, bits);
  if (names != names_table) return w;
  return table_quad(m->table, w) ^ (uint8_t)(LATHE_SIGNED_BYTES ? 128 : 0);
}

/* Where one tile's parts are read. */
typedef struct {
  const uint8_t *p, *tables, *patch;
} TilePlaces;

/* Sixteen rows' products with some tokens, to where they belong. */
LATHE_INLINE void put_sums(
    const LatheTiles *m, size_t tile, const Floats *sums, const size_t tokens, float *out, size_t stride) {
  const size_t rows = m->rows - 16 * tile < 16 ? m->rows - 16 * tile : 16;
#pragma clang loop unroll(full)
  for (size_t t = 0; t < tokens; t++) {
    /* A copy, so that sums themselves need no memory. */
    const Floats sum = sums[t];
    float *to = out + t * stride + 16 * tile;
    if (rows == 16) memcpy(to, &sum, sizeof sum);
    else memcpy(to, &sum, rows * sizeof(float));
  }
}

#ifdef LATHE_OWN_TRITS
#include "tile_trits.h"
#endif

#ifdef LATHE_SUBSETS
#include "tile_subsets.h"
#endif

/* `tiles` tiles and `tokens` inputs of the `pitch` that lie together, after the first `skipped` of them. */
LATHE_INLINE void tile_product(
    const LatheTiles *m, size_t tile, const TileScales *ready, const LatheTileInputs *x, size_t first, size_t skipped,
    float *out, size_t stride, const uint32_t bits, const int halves, const int names, const size_t tokens,
    const size_t pitch, const size_t tiles, const int form) {
#ifdef LATHE_OWN_TRITS
  if (names == names_trits) {
    return trit_product(m, tile, ready, x, first, skipped, out, stride, tokens, pitch, tiles, form);
  }
#endif
  const size_t per_group = halves ? 2 : 1, units = group_units(m, form);
  const int in_place = stays_in_place(bits, names, tokens);
  /* Two tokens or more, and eight products a line or scales that are worked out. */
  const int is_slow = tokens > 1 && (tokens >= bits || form >= scales_coded);
  TokenRun run = token_run(m, x, first, skipped, per_group);
  TilePlaces place[LATHE_TILES_TOGETHER];
  TileSums sums[LATHE_TILES_TOGETHER];
#pragma clang loop unroll(full)
  for (size_t i = 0; i < tiles; i++) {
    place[i].p = m->codes + (tile + i) * m->groups * units * 64 * bits;
    place[i].patch = names == names_patched ? m->patches + m->patch_starts[tile + i] : 0;
    place[i].tables = names >= names_marked ? row_tables(m, tile + i, 0) : 0;
#pragma clang loop unroll(full)
    for (size_t t = 0; t < tokens; t++) sums[i][t] = (Floats){};
  }
  const uint8_t *marks = m->marks;
  size_t until = m->table_span;
  ScalePlace scales = first_scales(m);
  for (size_t g = 0; g < m->groups; g++, run.scales += pitch) {
    TileLanes lanes[LATHE_TILES_TOGETHER];
    if (in_place) memset(lanes[0], 0, 4 * sizeof lanes[0][0]);
#pragma clang loop unroll(full)
    for (size_t i = 0; i < tiles; i++) begin_lanes(lanes[i], run.starts, tokens);
    run.starts += pitch;
    for (size_t u = 0; u < units; u++, run.codes += 32 * pitch) {
#pragma clang loop unroll(full)
      for (int k = 0; k < 8; k++) {
        if (halves && k == 4) {
          if (in_place) add_shifted(lanes[0], (int)bits);
          flush(m, tile, ready, &scales, &run, lanes, sums, tokens, tiles, form);
#pragma clang loop unroll(full)
          for (size_t i = 0; i < tiles; i++) begin_lanes(lanes[i], run.starts, tokens);
          step_scales(m, &scales);
          run.sums += pitch, run.starts += pitch;
        }
        Codes w[LATHE_TILES_TOGETHER];
#pragma clang loop unroll(full)
        for (size_t i = 0; i < tiles; i++) {
          const uint8_t *p = place[i].p;
          /* Sums of several tokens take longer than lines come: those of the units ahead are called for early. */
          if ((uint32_t)k < bits) fetch_codes(p + 64 * k, is_slow);
          if (in_place) {
            const int width = (int)bits, at = k % 4 * width;
            const Codes codes = load_codes(p + 64 * (k * width / 8));
            const Codes own = shifted(codes, k * width % 8 - at, (uint8_t)(((1 << width) - 1) << at));
            lanes[0][k % 4] = dot_quad(lanes[0][k % 4], own, run.codes + 4 * k, 0);
            continue;
          }
          w[i] = names == names_patched ? patched_quad(p, k, place[i].tables, &place[i].patch)
                                        : named_quad(m, p, k, bits, names);
          if (names == names_marked) {
            const uint8_t *columns = marks + k / (16 / LATHE_VECTOR_ROWS) * LATHE_NEIGHBOURS;
            w[i] = row_table_quad(place[i].tables, w[i], columns, k);
          }
          if (names >= names_marked && LATHE_SIGNED_BYTES) w[i] ^= (uint8_t)128;
        }
        if (in_place) continue;
        meet_inputs(lanes, w, run.codes, k, names == names_nothing ? bits : 8, halves, tokens, pitch, tiles);
      }
      if (names == names_marked) marks += 32;
#pragma clang loop unroll(full)
      for (size_t i = 0; i < tiles; i++) {
        place[i].p += 64 * bits;
        if (names == names_patched) __builtin_prefetch(place[i].patch + LATHE_AHEAD);
      }
    }
    if (in_place) add_shifted(lanes[0], (int)bits);
    flush(m, tile, ready, &scales, &run, lanes, sums, tokens, tiles, form);
    step_scales(m, &scales);
    run.sums += pitch;
    if (names >= names_marked && --until == 0) {
#pragma clang loop unroll(full)
      for (size_t i = 0; i < tiles; i++) {
        place[i].tables += names == names_marked ? 128 : 64;
        __builtin_prefetch(place[i].tables + LATHE_AHEAD / 4);
        if (names == names_marked) __builtin_prefetch(place[i].tables + LATHE_AHEAD / 4 + 64);
      }
      until = m->table_span;
    }
  }
#pragma clang loop unroll(full)
  for (size_t i = 0; i < tiles; i++) put_sums(m, tile + i, sums[i], tokens, out + (first + skipped) * stride, stride);
}

/*
 * Runs of tokens that meet a tile before the next one does, so that its scales are read once for all of them, and the most
 * weight groups whose scales are.
 */
#define LATHE_RUNS_TOGETHER 4
#define LATHE_SCALES_READY 512

#ifdef LATHE_BLOCKS
#include "tile_blocks.h"
#define LATHE_RUNS(m) (block_runs(m) ? block_runs(m) : LATHE_RUNS_TOGETHER)
#define LATHE_TILES_BLOCKS(bits, halves, names) \
  done += multiply_blocks(m, tile, tiles, scales, x, done, end, out, stride, bits, halves, names);
#else
#define LATHE_RUNS(m) LATHE_RUNS_TOGETHER
#define LATHE_TILES_BLOCKS(bits, halves, names)
#endif

#if LATHE_TILES_TOGETHER > 1
#define LATHE_TILES_MOST(bits, halves, names) \
  LATHE_TILES_ALONE(bits, halves, names, LATHE_TILE_TOKENS, own, scales_any);
#define LATHE_TILES_PAIR(bits, halves, names)                                                                      \
  if (tiles > 1 && now == LATHE_TILE_TOKENS) {                                                                     \
    const size_t half = LATHE_TILE_TOKENS / 2;                                                                     \
    tile_product(m, tile, scales, x, done, 0, out, stride, bits, halves, names, half, 2 * half, 2, scales_any);    \
    tile_product(m, tile, scales, x, done, half, out, stride, bits, halves, names, half, 2 * half, 2, scales_any); \
    continue;                                                                                                      \
  }
#else
/* What is known of scales saves a tenth where planes are few; where they are more, registers are what lacks. */
#define LATHE_TILES_MOST(bits, halves, names)                                           \
  if ((bits) <= 4) LATHE_TILES_FEW(bits, halves, names, LATHE_TILE_TOKENS, own)         \
  else LATHE_TILES_ALONE(bits, halves, names, LATHE_TILE_TOKENS, own, scales_any);
#define LATHE_TILES_PAIR(bits, halves, names)
#endif
#define LATHE_TILES_ALONE(bits, halves, names, tokens, scales, form) \
  tile_product(m, tile + i, scales, x, done, 0, out, stride, bits, halves, names, tokens, tokens, 1, form)
#define LATHE_TILES_FEW(bits, halves, names, tokens, ready)                                     \
  switch (tile_form(m, bits, halves, names)) {                                                  \
    case scales_plain: LATHE_TILES_FORM(bits, halves, names, tokens, ready, scales_plain)       \
    case scales_zeros: LATHE_TILES_FORM(bits, halves, names, tokens, ready, scales_zeros)       \
    case scales_coded: LATHE_TILES_FORM(bits, halves, names, tokens, ready, scales_coded)       \
    case scales_minimums: LATHE_TILES_FORM(bits, halves, names, tokens, ready, scales_minimums) \
    case scales_nibbles: LATHE_TILES_FORM(bits, halves, names, tokens, ready, scales_nibbles)   \
    default: LATHE_TILES_ALONE(bits, halves, names, tokens, ready, scales_any); break;          \
  }
#define LATHE_TILES_FORM(bits, halves, names, tokens, ready, form)                                      \
  if (has_form(bits, halves, names, form)) LATHE_TILES_ALONE(bits, halves, names, tokens, ready, form); \
  break;
/* `tiles` tiles from number `tile` on and the runs of tokens from number `done` on, of which the last ends at `end`. */
#define LATHE_TILES_FUNCTION(name, bits, halves, names)                                                                \
  static void name##_runs(                                                                                             \
      const LatheTiles *m, size_t tile, size_t tiles, const TileScales *scales, const LatheTileInputs *x, size_t done, \
      size_t end, float *out, size_t stride) {                                                                         \
    LATHE_TILES_BLOCKS(bits, halves, names)                                                                            \
    for (size_t now; done < end; done += now) {                                                                        \
      now = tile_tokens(x->tokens - done);                                                                             \
      LATHE_TILES_PAIR(bits, halves, names)                                                                            \
      for (size_t i = 0; i < tiles; i++) {                                                                             \
        const TileScales *own = scales ? scales + i * m->weight_groups : 0;                                            \
        switch (now) {                                                                                                 \
          case 1: LATHE_TILES_FEW(bits, halves, names, 1, 0) break;                                                    \
          case 2: LATHE_TILES_FEW(bits, halves, names, 2, 0) break;                                                    \
          LATHE_TILES_MORE(bits, halves, names)                                                                        \
          default: LATHE_TILES_MOST(bits, halves, names) break;                                                        \
        }                                                                                                              \
      }                                                                                                                \
    }                                                                                                                  \
  }
#if LATHE_TILE_TOKENS > 8
#define LATHE_TILES_MORE(bits, halves, names)                              \
  case 4: LATHE_TILES_ALONE(bits, halves, names, 4, 0, scales_any); break; \
  case 8: LATHE_TILES_ALONE(bits, halves, names, 8, 0, scales_any); break;
#elif LATHE_TILE_TOKENS > 4
#define LATHE_TILES_MORE(bits, halves, names) case 4: LATHE_TILES_ALONE(bits, halves, names, 4, 0, scales_any); break;
#else
#define LATHE_TILES_MORE(bits, halves, names)
#endif
#define LATHE_TILES_OF_WIDTH(bits)                           \
  LATHE_TILES_FUNCTION(tiles_##bits, bits, 0, names_nothing) \
  LATHE_TILES_FUNCTION(tiles_##bits##_halves, bits, 1, names_nothing)
#ifdef LATHE_SUBSETS
#define tiles_1_runs 0
#define tiles_1_halves_runs 0
#else
LATHE_TILES_OF_WIDTH(1)
#endif
LATHE_TILES_OF_WIDTH(2)
LATHE_TILES_OF_WIDTH(3)
LATHE_TILES_OF_WIDTH(4)
LATHE_TILES_OF_WIDTH(5)
LATHE_TILES_OF_WIDTH(6)
LATHE_TILES_OF_WIDTH(7)
LATHE_TILES_OF_WIDTH(8)
LATHE_TILES_FUNCTION(tiles_table, 4, 0, names_table)
LATHE_TILES_FUNCTION(tiles_table_halves, 4, 1, names_table)
LATHE_TILES_FUNCTION(tiles_marked, 2, 0, names_marked)
LATHE_TILES_FUNCTION(tiles_patched, 2, 0, names_patched)
#ifdef LATHE_OWN_TRITS
LATHE_TILES_FUNCTION(tiles_trits, 2, 0, names_trits)
#endif

typedef void (*TileRuns)(
  const LatheTiles *, size_t, size_t, const TileScales *, const LatheTileInputs *, size_t, size_t, float *, size_t);

static TileRuns tile_runs(const LatheTiles *m) {
  static const TileRuns whole[] = {tiles_1_runs, tiles_2_runs, tiles_3_runs, tiles_4_runs,    tiles_5_runs,
                                   tiles_6_runs, tiles_7_runs, tiles_8_runs, tiles_table_runs};
  static const TileRuns half[] = {
    tiles_1_halves_runs, tiles_2_halves_runs, tiles_3_halves_runs, tiles_4_halves_runs,    tiles_5_halves_runs,
    tiles_6_halves_runs, tiles_7_halves_runs, tiles_8_halves_runs, tiles_table_halves_runs};
#ifdef LATHE_OWN_TRITS
  if (m->trits) return tiles_trits_runs;
#endif
  if (m->row_tables) return m->patches ? tiles_patched_runs : tiles_marked_runs;
  const size_t index = m->table ? 8 : m->bits - 1;
  return (m->halves ? half : whole)[index];
}

/* The scales of all weight groups of a tile. */
static void read_scales(const LatheTiles *m, size_t tile, TileScales *restrict to) {
  for (size_t s = 0, super = 0, left = m->super_span; s < m->weight_groups; s++, left--) {
    if (left == 0) super++, left = m->super_span;
    to[s] = group_scales(m, tile, s, super, scales_any, 0);
  }
}

static void multiply_tiles(
    const LatheTiles *m, size_t first, size_t count, const LatheTileInputs *x, float *out, size_t stride) {
#ifdef LATHE_SUBSETS
  if (m->bits == 1) return multiply_subsets(m, first, count, x, out, stride);
#endif
  const TileRuns runs = tile_runs(m);
  const size_t tokens = LATHE_TILE_TOKENS * LATHE_RUNS(m);
  TileScales ready[LATHE_TILES_TOGETHER * LATHE_SCALES_READY];
  const int isReady = x->tokens > LATHE_TILE_TOKENS && m->weight_groups <= LATHE_SCALES_READY;
  for (size_t done = 0, end; done < x->tokens; done = end) {
    end = x->tokens - done < tokens ? x->tokens : done + tokens;
    for (size_t tile = first, tiles; tile < first + count; tile += tiles) {
      tiles = first + count - tile < LATHE_TILES_TOGETHER ? 1 : LATHE_TILES_TOGETHER;
      for (size_t i = 0; isReady && i < tiles; i++) read_scales(m, tile + i, ready + i * m->weight_groups);
      runs(m, tile, tiles, isReady ? ready : 0, x, done, end, out, stride);
    }
  }
}
