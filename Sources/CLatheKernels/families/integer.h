/* Integer codes of 1 to 8 bits, least significant bit first, with a scale (and zero point) a group. */

LATHE_INLINE uint32_t code_at(const uint8_t *packed, size_t index, uint32_t width) {
  const size_t bit = index * width;
  uint32_t word = packed[bit / 8];
  if (bit % 8 + width > 8) word |= (uint32_t)packed[bit / 8 + 1] << 8;
  return word >> (bit % 8) & ((1u << width) - 1);
}

#ifndef LATHE_OWN_UNPACK
#include "shares.h"
LATHE_INLINE void unpack_width(const uint8_t *packed, const uint32_t width, uint8_t *codes, size_t n) {
  if (width == 2 || width == 4) return unpack_shares(packed, width, codes, n);
  for (size_t i = 0; i < n; i++) codes[i] = (uint8_t)code_at(packed, i, width);
}
#include "widths.h"
#endif

/* Codes [start, end) of a tile that lie in one group. */
LATHE_INLINE void dequantize(const uint8_t *restrict codes, float zero, float scale, float *restrict out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = ((float)codes[i] - zero) * scale;
}

LATHE_INLINE float group_zero(const LatheIntegerRow *row, size_t g) {
  if (row->half_zeros) return scale_from_half(row->half_zeros[g]);
  return row->zeros ? (float)code_at(row->zeros, g, row->bits) : row->zero;
}

/* Decodes columns [start, start + count) of a row; `start` is a multiple of LATHE_TILE, so codes start on a byte. */
LATHE_INLINE void decode_integer_tile(const LatheIntegerRow *row, size_t start, size_t count, float *out) {
  uint8_t codes[LATHE_TILE];
  unpack(row->codes + start * row->bits / 8, row->bits, codes, count);
  if (row->group_of_column) {
    for (size_t i = 0; i < count; i++) {
      const size_t g = row->group_of_column[start + i];
      out[i] = ((float)codes[i] - group_zero(row, g)) * scale_from_half(row->scales[g]);
    }
    return;
  }
  for (size_t i = 0; i < count;) {
    const size_t g = (start + i) / row->group;
    size_t end = (g + 1) * row->group - start;
    if (end > count) end = count;
    dequantize(codes + i, group_zero(row, g), scale_from_half(row->scales[g]), out + i, end - i);
    i = end;
  }
}

static void decode_integer(const LatheIntegerRow *row, float *out) {
  for (size_t start = 0; start < row->n; start += LATHE_TILE) {
    const size_t count = row->n - start < LATHE_TILE ? row->n - start : LATHE_TILE;
    decode_integer_tile(row, start, count, out + start);
  }
}

/* The scale is applied once a group, to the sum of (code - zero) · x. */
LATHE_INLINE float dot_codes(const uint8_t *codes, float zero, const float *x, size_t n) {
  float sum = 0;
  for (size_t i = 0; i < n; i++) sum += ((float)codes[i] - zero) * x[i];
  return sum;
}

static float dot_integer_by_tile(const LatheIntegerRow *row, const float *x) {
  float sum = 0;
  for (size_t start = 0; start < row->n; start += LATHE_TILE) {
    const size_t count = row->n - start < LATHE_TILE ? row->n - start : LATHE_TILE;
    if (row->group_of_column) {
      float tile[LATHE_TILE];
      decode_integer_tile(row, start, count, tile);
      sum += dot(tile, x + start, count);
      continue;
    }
    uint8_t codes[LATHE_TILE];
    unpack(row->codes + start * row->bits / 8, row->bits, codes, count);
    for (size_t i = 0; i < count;) {
      const size_t g = (start + i) / row->group;
      size_t end = (g + 1) * row->group - start;
      if (end > count) end = count;
      sum += dot_codes(codes + i, group_zero(row, g), x + start + i, end - i) * scale_from_half(row->scales[g]);
      i = end;
    }
  }
  return sum;
}

#ifndef LATHE_OWN_DOT_INTEGER
static float dot_integer(const LatheIntegerRow *row, const float *x) { return dot_integer_by_tile(row, x); }
#endif

static void round_column(
    const float *restrict w, const float *restrict scale, const float *restrict zero, float top,
    uint8_t *restrict codes, float *restrict points, size_t n) {
  for (size_t i = 0; i < n; i++) {
    float q = __builtin_nearbyintf(w[i] / scale[i] + zero[i]);
    q = q < 0 ? 0 : q > top ? top : q;
    codes[i] = (uint8_t)q;
    points[i] = (q - zero[i]) * scale[i];
  }
}
