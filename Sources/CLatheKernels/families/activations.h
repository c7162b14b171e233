/* Inputs rounded to signed bytes, and their products with integer rows. */

/* Rounds n values to codes of magnitude at most `top`; a scale of 0 is found from the largest magnitude. */
static float quantize_vector(
    const float *restrict x, float top, float scale, int8_t *restrict codes, size_t n) {
  if (scale == 0) {
    float largest = 0;
    for (size_t i = 0; i < n; i++) {
      const float magnitude = __builtin_fabsf(x[i]);
      largest = magnitude > largest ? magnitude : largest;
    }
    scale = largest / top;
    /* Zeros, and what no step can reach, become zeros. */
    if (!(scale > 0) || scale > 3e38f) scale = 1;
  }
  const float inverse = 1 / scale;
  for (size_t i = 0; i < n; i++) {
    float q = __builtin_nearbyintf(x[i] * inverse);
    q = q < -top ? -top : q > top ? top : q;
    codes[i] = (int8_t)(q == q ? q : 0);
  }
  return scale;
}

#ifndef LATHE_OWN_DOT_CODES
LATHE_INLINE int32_t dot_codes_bytes(const uint8_t *restrict a, const int8_t *restrict x, size_t n) {
  int32_t sum = 0;
  for (size_t i = 0; i < n; i++) sum += (int32_t)a[i] * x[i];
  return sum;
}
#endif

/* Longer runs could overflow: 255 · 127 · 65536 is the most that 32 bits hold. */
LATHE_INLINE int64_t dot_codes_long(const uint8_t *a, const int8_t *x, size_t n) {
  int64_t sum = 0;
  for (size_t i = 0; i < n; i += 65536) sum += dot_codes_bytes(a + i, x + i, n - i < 65536 ? n - i : 65536);
  return sum;
}

static void multiply_codes(
    const LatheIntegerRow *row, const int8_t *x, const float *x_scales, const int32_t *x_sums, size_t tokens,
    uint8_t *codes, float *out, size_t stride) {
  const size_t n = row->n, groups = (n + row->group - 1) / row->group;
  unpack(row->codes, row->bits, codes, n);
  for (size_t t = 0; t < tokens; t++) {
    float sum = 0;
    for (size_t g = 0; g < groups; g++) {
      const size_t start = g * row->group, length = n - start < row->group ? n - start : row->group;
      const float product = (float)dot_codes_long(codes + start, x + t * n + start, length);
      sum += (product - group_zero(row, g) * (float)x_sums[t * groups + g]) * scale_from_half(row->scales[g]);
    }
    out[t * stride] = sum * x_scales[t];
  }
}
