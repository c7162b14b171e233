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
  return (Codes)((CodePairs)v >> (uint16_t)by) & masks;
}

LATHE_INLINE Codes raised(Codes v, const int by, const int mask) {
  const Codes masks = (Codes){} + (uint8_t)(mask << by);
  return (Codes)((CodePairs)v << (uint16_t)by) & masks;
}

/* Quad number k of a unit. */
LATHE_INLINE Codes quad(const uint8_t *p, const int k, const uint32_t bits) {
  if (bits == 8) return load_codes(p + 64 * k);
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

/* What stands for codes. */
enum { names_nothing, names_table, names_marked, names_patched, names_trits };

#ifdef LATHE_TOKEN_PAIRS
#include "tile_pairs.h"
#else
/* Sums that are kept apart: one alone would wait for itself. */
#define lane_parts(tokens) ((tokens) == 1 ? 4 : (tokens) == 2 ? 4 : (tokens) == 4 ? 2 : 1)

LATHE_INLINE void begin_lanes(Wholes *restrict lanes, const int32_t *starts, const size_t tokens) {
#pragma clang loop unroll(full)
  for (size_t t = 0; t < tokens * lane_parts(tokens); t++) lanes[t] = (Wholes){} + (t < tokens ? starts[t] : 0);
}

/* Adds the products of vector k of a unit, whose inputs begin at q. */
LATHE_INLINE void meet_inputs(
    Wholes *restrict lanes, const Codes w, const int8_t *q, const int k, const int is_byte, const size_t tokens) {
  const size_t part = (size_t)k % lane_parts(tokens) * tokens;
#pragma clang loop unroll(full)
  for (size_t t = 0; t < tokens; t++) {
    lanes[part + t] = dot_quad(lanes[part + t], w, q + 4 * ((size_t)k * tokens + t), is_byte);
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
 * Whether codes of one or two bits stay where they are in their bytes: one that begins at bit k then stands for 2^k of it, in a
 * sum of its own that is shifted once a group. One shift a vector is what one token waits for; more tokens share it, and
 * have no room for as many sums.
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
  for (int k = 1; k < 8 / bits; k++) lanes[0] += lanes[k] >> (k * bits);
#pragma clang loop unroll(full)
  for (int k = 1; k < 8 / bits; k++) lanes[k] = (Wholes){};
}

/* sums[t] += scale · (whole sums · input scale) + offset · Σ input */
LATHE_INLINE void flush(
    const LatheTiles *m, size_t tile, size_t s, const float *x_scales, const float *x_sums,
    const Wholes *restrict lanes, Floats *restrict sums, const size_t tokens) {
  Floats scale, offset;
  tile_scales(m, tile, s, &scale, &offset);
#pragma clang loop unroll(full)
  for (size_t t = 0; t < tokens; t++) {
    sums[t] += __builtin_convertvector(collect_lanes(lanes, t, tokens), Floats) * x_scales[t] * scale;
  }
  if (!m->has_offset) return;
#pragma clang loop unroll(full)
  for (size_t t = 0; t < tokens; t++) sums[t] += offset * x_sums[t];
}

#ifdef LATHE_OWN_TRITS
#include "tile_trits.h"
#endif

/* One tile and `tokens` inputs. */
LATHE_INLINE void tile_product(
    const LatheTiles *m, size_t tile, const LatheTileInputs *x, size_t first, float *out, size_t stride,
    const uint32_t bits, const int halves, const int names, const size_t tokens) {
#ifdef LATHE_OWN_TRITS
  if (names == names_trits) return trit_product(m, tile, x, first, out, stride, tokens);
#endif
  const size_t per_group = halves ? 2 : 1, units = m->input_group / 32;
  const int in_place = stays_in_place(bits, names, tokens);
  const uint8_t *p = m->codes + tile * m->groups * units * 64 * bits;
  const int8_t *q = x->codes + first * m->groups * m->input_group;
  const float *scales = x->scales + first * m->groups;
  const int32_t *starts = x->starts + first * m->groups * per_group;
  const float *x_sums = x->sums + first * m->groups * per_group;
  const uint8_t *marks = m->marks, *patch = names == names_patched ? m->patches + m->patch_starts[tile] : 0;
  const uint8_t *tables = names >= names_marked ? row_tables(m, tile, 0) : 0;
  size_t until = m->table_span;
  Floats sums[LATHE_TILE_TOKENS];
#pragma clang loop unroll(full)
  for (size_t t = 0; t < tokens; t++) sums[t] = (Floats){};
  for (size_t g = 0; g < m->groups; g++, scales += tokens) {
    Wholes lanes[LATHE_TILE_TOKENS > 8 ? LATHE_TILE_TOKENS : 8];
    if (in_place) memset(lanes, 0, 8 * sizeof lanes[0]);
    begin_lanes(lanes, starts, tokens);
    starts += tokens;
    for (size_t u = 0; u < units; u++, p += 64 * bits, q += 32 * tokens) {
#pragma clang loop unroll(full)
      for (int k = 0; k < 8; k++) {
        if (halves && k == 4) {
          if (in_place) add_shifted(lanes, (int)bits);
          flush(m, tile, 2 * g, scales, x_sums, lanes, sums, tokens);
          x_sums += tokens;
          begin_lanes(lanes, starts, tokens);
          starts += tokens;
        }
        /* Sums of several tokens take longer than lines come: those of the units ahead are called for early. */
        if ((uint32_t)k < bits) __builtin_prefetch(p + LATHE_AHEAD + 64 * k);
        if (in_place) {
          const int share = 8 / (int)bits, at = k % share;
          const Codes own = load_codes(p + 64 * (k / share)) & (uint8_t)(((1 << bits) - 1) << (at * (int)bits));
          lanes[at] = dot_quad(lanes[at], own, q + 4 * k, 0);
          continue;
        }
        Codes w = names == names_patched ? patched_quad(p, k, tables, &patch) : quad(p, k, bits);
        if (names == names_table) w = table_quad(m->table, w);
        if (names == names_marked) {
          const uint8_t *own = marks + k / (16 / LATHE_VECTOR_ROWS) * LATHE_NEIGHBOURS;
          w = row_table_quad(tables, w, own, k);
        }
        if (names != names_nothing && LATHE_SIGNED_BYTES) w ^= (uint8_t)128;
        meet_inputs(lanes, w, q, k, bits == 8 || names != names_nothing, tokens);
      }
      if (names == names_marked) marks += 32;
      if (names == names_patched) __builtin_prefetch(patch + LATHE_AHEAD);
    }
    if (in_place) add_shifted(lanes, (int)bits);
    flush(m, tile, halves ? 2 * g + 1 : g / m->span, scales, x_sums, lanes, sums, tokens);
    x_sums += tokens;
    if (names >= names_marked && --until == 0) {
      tables += names == names_marked ? 128 : 64;
      __builtin_prefetch(tables + LATHE_AHEAD / 4);
      if (names == names_marked) __builtin_prefetch(tables + LATHE_AHEAD / 4 + 64);
      until = m->table_span;
    }
  }
  const size_t rows = m->rows - 16 * tile < 16 ? m->rows - 16 * tile : 16;
#pragma clang loop unroll(full)
  for (size_t t = 0; t < tokens; t++) memcpy(out + (first + t) * stride + 16 * tile, &sums[t], rows * sizeof(float));
}

#define LATHE_TILES_FUNCTION(name, bits, halves, names)                                                  \
  static void name(                                                                                          \
      const LatheTiles *m, size_t first, size_t count, const LatheTileInputs *x, float *out, size_t stride) { \
    for (size_t done = 0, now; done < x->tokens; done += now) {                                              \
      now = tile_tokens(x->tokens - done);                                                                   \
      for (size_t tile = first; tile < first + count; tile++) {                                              \
        switch (now) {                                                                                       \
          case 1: tile_product(m, tile, x, done, out, stride, bits, halves, names, 1); break;            \
          case 2: tile_product(m, tile, x, done, out, stride, bits, halves, names, 2); break;            \
          LATHE_TILES_MORE(bits, halves, names)                                                          \
          default:                                                                                           \
            tile_product(m, tile, x, done, out, stride, bits, halves, names, LATHE_TILE_TOKENS); break;  \
        }                                                                                                    \
      }                                                                                                      \
    }                                                                                                        \
  }
#if LATHE_TILE_TOKENS > 8
#define LATHE_TILES_MORE(bits, halves, names)                                             \
  case 4: tile_product(m, tile, x, done, out, stride, bits, halves, names, 4); break;     \
  case 8: tile_product(m, tile, x, done, out, stride, bits, halves, names, 8); break;
#elif LATHE_TILE_TOKENS > 4
#define LATHE_TILES_MORE(bits, halves, names) \
  case 4: tile_product(m, tile, x, done, out, stride, bits, halves, names, 4); break;
#else
#define LATHE_TILES_MORE(bits, halves, names)
#endif
#define LATHE_TILES_OF_WIDTH(bits)                          \
  LATHE_TILES_FUNCTION(tiles_##bits, bits, 0, names_nothing) \
  LATHE_TILES_FUNCTION(tiles_##bits##_halves, bits, 1, names_nothing)
LATHE_TILES_OF_WIDTH(1)
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

static void multiply_tiles(
    const LatheTiles *m, size_t first, size_t count, const LatheTileInputs *x, float *out, size_t stride) {
  typedef void (*Function)(const LatheTiles *, size_t, size_t, const LatheTileInputs *, float *, size_t);
  static const Function whole[] = {tiles_1, tiles_2, tiles_3, tiles_4, tiles_5, tiles_6, tiles_7, tiles_8, tiles_table};
  static const Function half[] = {tiles_1_halves, tiles_2_halves, tiles_3_halves, tiles_4_halves,    tiles_5_halves,
                                  tiles_6_halves, tiles_7_halves, tiles_8_halves, tiles_table_halves};
#ifdef LATHE_OWN_TRITS
  if (m->trits) return tiles_trits(m, first, count, x, out, stride);
#endif
  if (m->row_tables) return (m->patches ? tiles_patched : tiles_marked)(m, first, count, x, out, stride);
  const size_t index = m->table ? 8 : m->bits - 1;
  (m->halves ? half : whole)[index](m, first, count, x, out, stride);
}
