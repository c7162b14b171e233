/*
 * Rows in tiles of sixteen, for products with inputs rounded to signed bytes.
 *
 * Four neighbouring inputs of sixteen rows make a quad, 64 codes: one instruction multiplies it by four inputs and adds
 * sixteen sums. Eight quads make a unit, 64 bytes for each bit of a code: a plane of 4 bits (where a code has them) in
 * four vectors of two quads, one of 2 bits in two of four, one of 1 bit in one of eight; whole bytes are a plane each.
 * A group's sums of whole numbers meet the scales once, as floats.
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

/* The tokens that meet a tile at once: as many as registers hold sums for. */
#ifndef LATHE_TILE_TOKENS
#define LATHE_TILE_TOKENS 4
#endif

/* The scales of sixteen rows in weight group `s`, and what Σ input of the group is multiplied by. */
LATHE_INLINE void tile_scales(
    const LatheTiles *m, size_t tile, size_t s, Floats *restrict scale, Floats *restrict offset) {
  const size_t at = 16 * (tile * m->weight_groups + s);
  if (m->scale_codes) {
    const size_t super = 16 * (tile * m->supers + s / m->super_span);
    if (m->nibbles) {
      UBytes16 both;
      memcpy(&both, m->scale_codes + at, 16);
      *scale = load_halves(m->scales + super) * __builtin_convertvector(both & 15, Floats);
      *offset = -load_halves(m->minimums + super) * __builtin_convertvector(both >> 4, Floats);
      return;
    }
    Bytes16 codes;
    memcpy(&codes, m->scale_codes + at, 16);
    *scale = load_halves(m->scales + super) * __builtin_convertvector(codes, Floats);
    if (m->minimum_codes) {
      UBytes16 minimums;
      memcpy(&minimums, m->minimum_codes + at, 16);
      *offset = -load_halves(m->minimums + super) * __builtin_convertvector(minimums, Floats);
      return;
    }
  } else {
    *scale = load_halves(m->scales + at);
  }
  if (m->minimums) {
    *offset = load_halves(m->minimums + at);
  } else if (m->half_zeros) {
    *offset = -load_halves(m->half_zeros + at) * *scale;
  } else if (m->zeros) {
    UBytes16 zeros;
    memcpy(&zeros, m->zeros + at, 16);
    *offset = -__builtin_convertvector(zeros, Floats) * *scale;
  } else {
    *offset = -m->zero * *scale;
  }
}

/* How many of `left` tokens go together. */
LATHE_INLINE size_t tile_tokens(size_t left) {
  if (left >= LATHE_TILE_TOKENS) return LATHE_TILE_TOKENS;
  return left >= 8 && LATHE_TILE_TOKENS > 8 ? 8 : left >= 4 && LATHE_TILE_TOKENS > 4 ? 4 : left >= 2 ? 2 : 1;
}

#ifndef LATHE_OWN_DOT_QUAD
/* The code of row r in column j of a tile: bits come from the planes one by one. */
LATHE_INLINE int32_t tile_code(const LatheTiles *m, size_t tile, size_t r, size_t j) {
  const size_t k = j % 32 / 4, byte = 4 * r + j % 4;
  const uint8_t *p = m->codes + (tile * m->groups * m->input_group + j) / 32 * 64 * m->bits;
  if (m->bits == 8) return p[64 * k + byte];
  uint32_t code = 0, at = 0;
  for (uint32_t width = 4; width; width /= 2) {
    if (!(m->bits & width)) continue;
    const size_t share = 8 / width;
    code |= (p[64 * (k / share) + byte] >> (k % share * width) & ((1u << width) - 1)) << at;
    p += 64 * width;
    at += width;
  }
  return m->table ? m->table[code] : (int32_t)code;
}

static void multiply_tiles(
    const LatheTiles *m, size_t first, size_t count, const LatheTileInputs *x, float *out, size_t stride) {
  const size_t per_group = m->halves ? 2 : 1, part = m->input_group / per_group;
  for (size_t done = 0, now; done < x->tokens; done += now) {
    now = tile_tokens(x->tokens - done);
    for (size_t tile = first; tile < first + count; tile++) {
      for (size_t t = 0; t < now; t++) {
        Floats sums = {};
        for (size_t g = 0; g < m->groups * per_group; g++) {
          const size_t at = (done * m->groups * per_group) + g * now + t;
          Floats scale, offset;
          tile_scales(m, tile, m->halves ? g : g / m->span, &scale, &offset);
          for (size_t r = 0; r < 16; r++) {
            int32_t whole = x->starts[at];
            for (size_t j = g * part; j < (g + 1) * part; j++) {
              whole += tile_code(m, tile, r, j)
                       * x->codes[done * m->groups * m->input_group + 4 * (j / 4 * now + t) + j % 4];
            }
            sums[r] += (float)whole * x->scales[done * m->groups + g / per_group * now + t] * scale[r];
            if (m->has_offset) sums[r] += offset[r] * x->sums[at];
          }
        }
        for (size_t r = 0; r < 16 && 16 * tile + r < m->rows; r++) {
          out[(done + t) * stride + 16 * tile + r] = sums[r];
        }
      }
    }
  }
}
#else
#include "tile_vectors.h"
#endif

/* Rounds `group` inputs to bytes, what lies beyond `count` being zero, and returns their scale. */
LATHE_INLINE float round_inputs(const float *restrict x, size_t count, const size_t group, int8_t *restrict codes) {
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
  float scale = 0;
  for (int r = 0; r < 16; r++) scale = top[r] > scale ? top[r] : scale;
  scale /= 127;
  /* Zeros, and what no step can reach, become zeros. */
  if (!(scale > 1e-38f) || scale > 3e38f) {
    memset(codes, 0, group);
    return 0;
  }
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

/* Rounds one group of a vector; where `rest` is not null, it receives what rounding left. */
LATHE_INLINE void pack_group(
    const LatheTiles *m, const float *x, size_t count, size_t g, const TilePlace at, const size_t group,
    const size_t halves, const LatheTileInputs *to, float *rest) {
  const size_t part = group >> halves, now = at.count;
  const size_t parameters = at.first * m->groups + g * now + at.place;
  int8_t rounded[128];
  const float scale = round_inputs(x, count, group, rounded);
  to->scales[parameters] = scale;
  for (size_t h = 0; h <= halves; h++) {
    int32_t sum = 0;
    for (size_t i = 0; i < part; i++) sum += rounded[h * part + i];
    const size_t index = (at.first * m->groups << halves) + ((g << halves) + h) * now + at.place;
    to->sums[index] = (float)sum * scale;
    to->starts[index] = m->start * sum + ((m->bits == 8 || m->table) && LATHE_SIGNED_BYTES ? 128 * sum : 0);
  }
  int8_t *codes = to->codes + at.first * m->groups * group + g * group * now + 4 * at.place;
  for (size_t k = 0; k < group / 4; k++) memcpy(codes + 4 * k * now, rounded + 4 * k, 4);
  if (!rest) return;
  for (size_t i = 0; i < count; i++) rest[i] = x[i] - (float)rounded[i] * scale;
}

LATHE_INLINE void pack_any_group(
    const LatheTiles *m, const float *x, size_t count, size_t g, const TilePlace at, const LatheTileInputs *to,
    float *rest) {
  if (m->halves) pack_group(m, x, count, g, at, 32, 1, to, rest);
  else if (m->input_group == 128) pack_group(m, x, count, g, at, 128, 0, to, rest);
  else if (m->input_group == 64) pack_group(m, x, count, g, at, 64, 0, to, rest);
  else pack_group(m, x, count, g, at, 32, 0, to, rest);
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
      pack_any_group(m, x + start, count, g, at, to, twice ? rest : 0);
      if (twice) pack_any_group(m, rest, count, g, after, to, 0);
    }
  }
}

/* One tile of codes, a byte each, sixteen rows of `columns` (a multiple of 32), to planes. */
static void pack_tile(const uint8_t *restrict codes, size_t columns, uint32_t bits, uint8_t *restrict out) {
  for (size_t unit = 0; unit < columns / 32; unit++, out += 64 * bits) {
    Codes q[8];
    for (size_t r = 0; r < 16; r++) {
      for (size_t k = 0; k < 8; k++) memcpy((uint8_t *)&q[k] + 4 * r, codes + r * columns + 32 * unit + 4 * k, 4);
    }
    if (bits == 8) {
      for (int k = 0; k < 8; k++) q[k] ^= (Codes){} + (LATHE_SIGNED_BYTES ? 128 : 0);
      memcpy(out, q, sizeof q);
      continue;
    }
    uint8_t *to = out;
    int from = 0;
    for (int width = 4; width; width /= 2) {
      if (!(bits & (uint32_t)width)) continue;
      const int share = 8 / width;
      for (int v = 0; v < width; v++, to += 64) {
        Codes plane = {};
        for (int k = 0; k < share; k++) {
          plane |= ((q[v * share + k] >> (uint8_t)from) & (uint8_t)((1 << width) - 1)) << (uint8_t)(k * width);
        }
        memcpy(to, &plane, 64);
      }
      from += width;
    }
  }
}
