/*
 * Rows in tiles of sixteen, for products with inputs rounded to signed bytes.
 *
 * Four neighbouring inputs of sixteen rows make a quad, 64 codes: one instruction multiplies it by four inputs and adds
 * sixteen sums. Eight quads make a unit, 64 bytes for each bit of a code: a plane of 4 bits (where a code has them) in
 * four vectors of two quads, one of 2 bits in two of four, one of 1 bit in one of eight; whole bytes are a plane each.
 * A group's sums of whole numbers meet the scales once, as floats. A set whose instruction takes eight neighbouring
 * inputs has them in place of quads: eight rows by eight inputs, the upper rows first. A set that looks sums up has codes of
 * one bit as `subset_codes.h` says.
 *
 * What codes stand for: themselves; entries of one table; entries of tables that each row has for some columns, of which
 * columns may be marked to use a second one; and, where the second of two bits is set, the next of a tile's patches,
 * whole bytes that follow one another in the order in which codes are met.
 */

#pragma clang diagnostic ignored "-Wpsabi"

typedef uint8_t Codes __attribute__((vector_size(64)));
typedef uint16_t CodePairs __attribute__((vector_size(64)));
typedef int32_t Wholes __attribute__((vector_size(64)));
typedef float Floats __attribute__((vector_size(64)));
typedef int8_t Bytes16 __attribute__((vector_size(16)));
typedef uint8_t UBytes16 __attribute__((vector_size(16)));

/* What has no instruction for unsigned codes times signed inputs stores whole bytes as signed ones: code - 128. */
#ifndef LATHE_SIGNED_BYTES
#define LATHE_SIGNED_BYTES 0
#endif

#ifndef LATHE_OWN_TILE_HALVES
LATHE_INLINE Floats load_halves(const uint16_t *h) {
  Floats out;
  for (int r = 0; r < 16; r++) out[r] = float_from_half(h[r]);
  return out;
}
#endif

/* Adds the products of a quad and the inputs of word number `index` from x on; some sets take a word out of a loaded vector. */
#ifndef LATHE_OWN_DOT_WORD
#define dot_word(sum, w, x, index, is_byte) dot_quad(sum, w, (x) + 4 * (index), is_byte)
#endif

/* The neighbouring inputs of a row that lie together, and the rows of a vector. */
#ifndef LATHE_NEIGHBOURS
#define LATHE_NEIGHBOURS 4
#endif
#define LATHE_VECTOR_ROWS (64 / LATHE_NEIGHBOURS)

/* Whether codes that stand for patches lie as words of bits, which a set can take for masks, not in planes. */
#ifndef LATHE_PATCH_WORDS
#define LATHE_PATCH_WORDS 0
#endif

/* The tokens that meet a tile at once: as many as registers hold sums for. */
#ifndef LATHE_TILE_TOKENS
#define LATHE_TILE_TOKENS 4
#endif

#include "tile_scales.h"

/* How many of `left` tokens go together. */
LATHE_INLINE size_t tile_tokens(size_t left) {
  if (left >= LATHE_TILE_TOKENS) return LATHE_TILE_TOKENS;
  return left >= 8 && LATHE_TILE_TOKENS > 8 ? 8 : left >= 4 && LATHE_TILE_TOKENS > 4 ? 4 : left >= 2 ? 2 : 1;
}

/* Where a vector lies among others: its run's first vector, the run's length, and its place there. */
typedef struct {
  size_t first, count, place;
} TilePlace;

LATHE_INLINE TilePlace tile_place(size_t tokens, size_t token) {
  for (size_t done = 0, now;; done += now) {
    now = tile_tokens(tokens - done);
    if (token < done + now) return (TilePlace){done, now, token - done};
  }
}

/* A group of columns that share a row's table; where columns are marked, there are two tables. */
LATHE_INLINE const uint8_t *row_tables(const LatheTiles *m, size_t tile, size_t group) {
  return m->row_tables + (tile * m->table_groups + group) * (m->marks ? 128 : 64);
}

#include "gather.h"

#ifdef LATHE_SUBSETS
#include "subset_codes.h"
#endif

#ifndef LATHE_OWN_DOT_QUAD
/* A sum times the scale of its inputs; a binary scale is taken from the bits that the sum was added to. */
LATHE_INLINE float scaled_sum(int32_t sum, float scale, int binary) {
  if (!binary) return (float)sum * scale;
  float both;
  memcpy(&both, &sum, 4);
  return both - scale;
}

/* The codes of a unit, vector by vector: bits come from the planes one after another. */
static void read_planes(const uint8_t *p, const uint32_t bits, uint8_t codes[8][64]) {
  if (bits == 8) {
    memcpy(codes, p, 512);
    return;
  }
  memset(codes, 0, 512);
  uint32_t at = 0;
  for (uint32_t width = 4; width; width /= 2) {
    if (!(bits & width)) continue;
    const uint32_t share = 8 / width, mask = (1u << width) - 1;
    for (uint32_t k = 0; k < 8; k++) {
      const uint8_t *plane = p + 64 * (k / share);
      for (int i = 0; i < 64; i++) codes[k][i] |= (uint8_t)((plane[i] >> k % share * width & mask) << at);
    }
    p += 64 * width;
    at += width;
  }
}

/* What the codes of a unit stand for, in the order in which patches come. */
static void read_unit(const LatheTiles *m, size_t tile, size_t unit, const uint8_t **patch, uint8_t values[16][32]) {
  uint8_t codes[8][64];
  read_planes(m->codes + (tile * m->groups * m->input_group / 32 + unit) * 64 * m->bits, m->bits, codes);
  for (size_t k = 0; k < 8; k++) {
    for (size_t i = 0; i < 64; i++) {
      const size_t r = i / 4, j = 4 * k + i % 4;
      uint8_t code = codes[k][i];
      if (m->patches && code & 2) code = *(*patch)++;
      else if (m->row_tables) {
        const size_t column = 32 * unit + j, second = m->marks && m->marks[column] ? 64 : 0;
        code = row_tables(m, tile, column / m->input_group / m->table_span)[second + 4 * r + code];
      } else if (m->table) code = m->table[code];
      values[r][j] = code;
    }
  }
}

/* The whole sums of `now` tokens with one input group of a tile; a weight group of 16 columns has its own. */
static void sum_group(
    const LatheTiles *m, size_t tile, size_t g, const uint8_t **patch, const int8_t *codes, size_t now,
    int32_t whole[LATHE_TILE_TOKENS][2][16]) {
  for (size_t u = 0; u < m->input_group / 32; u++) {
    uint8_t values[16][32];
    read_unit(m, tile, g * (m->input_group / 32) + u, patch, values);
    for (size_t t = 0; t < now; t++) {
      int8_t x[32];
      for (size_t j = 0; j < 32; j += 4) memcpy(x + j, codes + (32 * u + j) * now + 4 * t, 4);
      for (size_t r = 0; r < 16; r++) {
        int32_t low = 0, high = 0;
        for (size_t j = 0; j < 16; j++) low += values[r][j] * x[j];
        for (size_t j = 16; j < 32; j++) high += values[r][j] * x[j];
        whole[t][0][r] += m->halves ? low : low + high;
        whole[t][1][r] += high;
      }
    }
  }
}

static void multiply_tiles(
    const LatheTiles *m, size_t first, size_t count, const LatheTileInputs *x, float *out, size_t stride) {
  const size_t halves = m->halves ? 2 : 1;
  for (size_t done = 0, now; done < x->tokens; done += now) {
    now = tile_tokens(x->tokens - done);
    const int8_t *codes = x->codes + done * m->groups * m->input_group;
    const float *scales = x->scales + done * m->groups;
    for (size_t tile = first; tile < first + count; tile++) {
      const uint8_t *patch = m->patches ? m->patches + m->patch_starts[tile] : 0;
      Floats sums[LATHE_TILE_TOKENS] = {};
      for (size_t g = 0; g < m->groups; g++) {
        int32_t whole[LATHE_TILE_TOKENS][2][16] = {};
        sum_group(m, tile, g, &patch, codes + g * m->input_group * now, now, whole);
        for (size_t h = 0; h < halves; h++) {
          const size_t s = m->halves ? 2 * g + h : g / m->span;
          const TileScales own = group_scales(m, tile, s, s / m->super_span, scales_any, 0);
          for (size_t t = 0; t < now; t++) {
            const size_t at = (done * m->groups + g * now) * halves + h * now + t;
            for (int r = 0; r < 16; r++) {
              const int32_t sum = x->starts[at] + whole[t][h][r];
              const float scaled = scaled_sum(sum, scales[g * now + t], x->binary);
              sums[t][r] += scaled * own.scale[r];
              if (m->has_offset) sums[t][r] += own.offset[r] * x->sums[at];
            }
          }
        }
      }
      const size_t rows = m->rows - 16 * tile < 16 ? m->rows - 16 * tile : 16;
      for (size_t t = 0; t < now; t++) memcpy(out + (done + t) * stride + 16 * tile, &sums[t], rows * sizeof(float));
    }
  }
}
#else
#include "tile_vectors.h"
#endif

/* The power of two that is at least x, a normal number. */
LATHE_INLINE float power_of_two_above(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  bits = (bits + 0x7fffff) & 0x7f800000;
  memcpy(&x, &bits, 4);
  return x;
}

/*
 * Rounds `group` inputs to bytes, what lies beyond `count` being zero, and returns their scale: `step` unless it is 0, a power
 * of two where it is to be binary.
 */
LATHE_INLINE float round_inputs(
    const float *restrict x, size_t count, const size_t group, float step, int binary, int8_t *restrict codes) {
  float rest[128];
  if (count < group) {
    memset(rest, 0, sizeof rest);
    memcpy(rest, x, count * sizeof(float));
    x = rest;
  }
  Floats top = {};
  for (size_t i = 0; i < group; i += 16) {
    Floats v;
    memcpy(&v, x + i, sizeof v);
    v = (Floats)((Wholes)v & 0x7fffffff);
    top = __builtin_elementwise_max(top, v);
  }
  float scale = step > 0 ? step : largest_of((Lanes)top) / 127;
  /* Zeros, and what no step can reach, become zeros. */
  if (!(scale > 1.2e-38f) || scale > (binary ? 1e30f : 3e38f)) {
    memset(codes, 0, group);
    return 0;
  }
  if (binary) scale = power_of_two_above(scale);
  const float inverse = 1 / scale;
  for (size_t i = 0; i < group; i += 16) {
    Floats v;
    memcpy(&v, x + i, sizeof v);
    v = __builtin_elementwise_rint(v * inverse);
    const Bytes16 rounded = __builtin_convertvector(__builtin_convertvector(v, Wholes), Bytes16);
    memcpy(codes + i, &rounded, 16);
  }
  return scale;
}

/* Puts one group of a vector of rounded inputs where tiles meet it. */
LATHE_INLINE void put_inputs(
    const LatheTiles *m, const int8_t *rounded, size_t g, const TilePlace at, const size_t group, const LatheTileInputs *to) {
#ifdef LATHE_SUBSETS
  if (m->bits == 1) {
    int8_t *tables = to->codes + ((at.first + at.place) * m->groups + g) * group * LATHE_SUBSET_BYTES;
    for (size_t i = 0; i < group; i += 8) subset_tables(rounded + i, tables + i * LATHE_SUBSET_BYTES);
    return;
  }
#endif
  const size_t together = LATHE_NEIGHBOURS, now = at.count;
  int8_t *codes = to->codes + at.first * m->groups * group + g * group * now + together * at.place;
  if (now == 1) memcpy(codes, rounded, group);
  else {
    /* As words: an instruction that scatters them takes longer. */
#pragma clang loop vectorize(disable) unroll(full)
    for (size_t k = 0; k < group; k += together) memcpy(codes + k * now, rounded + k, together);
  }
}

/* Rounds one group of a vector; where `rest` is not null, it receives what rounding left. */
LATHE_INLINE void pack_group(
    const LatheTiles *m, const float *x, size_t count, size_t g, const TilePlace at, const size_t group,
    const size_t halves, float step, const LatheTileInputs *to, float *rest) {
  const int binary = to->binary;
  const size_t part = group >> halves, now = at.count;
  const size_t parameters = at.first * m->groups + g * now + at.place;
  int8_t rounded[128];
  const float scale = round_inputs(x, count, group, step, binary, rounded);
  /* What a sum is added to; without inputs there is none, and any power of two will do. */
  const float base = binary ? 12582912 * (scale > 0 ? scale : 1) : 0;
  int32_t start;
  memcpy(&start, &base, 4);
  to->scales[parameters] = binary ? base : scale;
  for (size_t h = 0; h <= halves; h++) {
    int32_t sum = 0;
    for (size_t i = 0; i < part; i++) sum += rounded[h * part + i];
    const size_t index = (at.first * m->groups << halves) + ((g << halves) + h) * now + at.place;
    to->sums[index] = (float)sum * scale;
    const int are_bytes = m->bits == 8 || m->table || m->row_tables;
    to->starts[index] = start + m->start * sum + (are_bytes && LATHE_SIGNED_BYTES ? 128 * sum : 0);
  }
  put_inputs(m, rounded, g, at, group, to);
  if (!rest) return;
  for (size_t i = 0; i < count; i++) rest[i] = x[i] - (float)rounded[i] * scale;
}

LATHE_INLINE void pack_any_group(
    const LatheTiles *m, const float *x, size_t count, size_t g, const TilePlace at, float step,
    const LatheTileInputs *to, float *rest) {
  if (m->halves) pack_group(m, x, count, g, at, 32, 1, step, to, rest);
  else if (m->input_group == 128) pack_group(m, x, count, g, at, 128, 0, step, to, rest);
  else if (m->input_group == 64) pack_group(m, x, count, g, at, 64, 0, step, to, rest);
  else pack_group(m, x, count, g, at, 32, 0, step, to, rest);
}

static void pack_inputs(
    const LatheTiles *m, const float *x, size_t tokens, int twice, size_t first, size_t groups,
    const LatheTileInputs *to) {
  float rest[128];
  for (size_t t = 0; t < tokens; t++, x += m->columns) {
    const TilePlace at = tile_place(to->tokens, t), after = twice ? tile_place(to->tokens, tokens + t) : at;
    for (size_t g = first; g < first + groups; g++) {
      const size_t start = g * m->input_group;
      const size_t count = m->columns - start < m->input_group ? m->columns - start : m->input_group;
      pack_any_group(m, x + start, count, g, at, to->steps ? to->steps[t] : 0, to, twice ? rest : 0);
      if (twice) pack_any_group(m, rest, count, g, after, 0, to, 0);
    }
  }
}

/* Planes of `bits` bits, as pack_tile has them. */
LATHE_INLINE void pack_planes(
    const uint8_t *restrict codes, size_t columns, const uint32_t bits, uint8_t *restrict out) {
  for (size_t unit = 0; unit < columns / 32; unit++, out += 64 * bits) {
    Codes q[8];
    gather_unit(codes + 32 * unit, columns, q);
#ifdef LATHE_SUBSETS
    if (bits == 1) {
      pack_subsets(q, out);
      continue;
    }
#endif
#ifdef LATHE_THREES
    if (bits == 3) {
      pack_threes(q, out);
      continue;
    }
#endif
    if (bits == 8) {
      /* Where rows are read as a file has them, those of the next tile follow. */
      for (size_t line = 0; line < 512; line += 64) __builtin_prefetch(codes + 16 * columns + 512 * unit + line);
#pragma clang loop unroll(full)
      for (int k = 0; k < 8; k++) {
        q[k] ^= (Codes){} + (LATHE_SIGNED_BYTES ? 128 : 0);
        memcpy(out + 64 * k, &q[k], 64);
      }
      continue;
    }
    uint8_t *to = out;
    int from = 0;
#pragma clang loop unroll(full)
    for (int width = 4; width; width /= 2) {
      if (!(bits & (uint32_t)width)) continue;
      const int share = 8 / width;
#pragma clang loop unroll(full)
      for (int v = 0; v < width; v++, to += 64) {
        Codes plane = {};
#pragma clang loop unroll(full)
        for (int k = 0; k < share; k++) {
          plane |= ((q[v * share + k] >> (uint8_t)from) & (uint8_t)((1 << width) - 1)) << (uint8_t)(k * width);
        }
        memcpy(to, &plane, 64);
      }
      from += width;
    }
  }
}

/* One tile of codes, a byte each, sixteen rows of `columns` (a multiple of 32), to planes. */
static void pack_tile(const uint8_t *restrict codes, size_t columns, uint32_t bits, uint8_t *restrict out) {
  switch (bits) {
    case 1: return pack_planes(codes, columns, 1, out);
    case 2: return pack_planes(codes, columns, 2, out);
    case 3: return pack_planes(codes, columns, 3, out);
    case 4: return pack_planes(codes, columns, 4, out);
    case 5: return pack_planes(codes, columns, 5, out);
    case 6: return pack_planes(codes, columns, 6, out);
    case 7: return pack_planes(codes, columns, 7, out);
    default: return pack_planes(codes, columns, 8, out);
  }
}

/*
 * The patches of one tile: of the values whose codes have the second bit set, in the order in which codes are met. Where a
 * set wants it, the planes of a unit become words: eight vectors' first bits, then their second ones.
 */
static void pack_patches(
    const uint8_t *restrict codes, const uint8_t *restrict values, size_t columns, uint8_t *restrict planes,
    uint8_t *restrict out) {
  for (size_t unit = 0; unit < columns / 32; unit++, planes += 128) {
    for (size_t k = 0; k < 8; k++) {
      const Codes names = gather_quad(codes + 32 * unit, columns, k), found = gather_quad(values + 32 * unit, columns, k);
      uint64_t words[2] = {0, 0};
      for (int i = 0; i < 64; i++) {
        words[0] |= (uint64_t)(names[i] & 1) << i;
        words[1] |= (uint64_t)(names[i] >> 1) << i;
        if (names[i] & 2) *out++ = found[i];
      }
      if (!LATHE_PATCH_WORDS) continue;
      memcpy(planes + 8 * k, &words[0], 8);
      memcpy(planes + 64 + 8 * k, &words[1], 8);
    }
  }
}
