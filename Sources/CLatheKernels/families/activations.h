/* Inputs rounded to signed bytes, one step for a whole vector. */

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
