/* The 256-element super-blocks of GGUF: sub-blocks whose scales are themselves quantized. */

static void decode_q2_k(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 256; b++, row += 84) {
    const float d = load_half(row + 80), dmin = load_half(row + 82);
    const uint8_t *q = row + 16;
    for (int s = 0, half = 0; half < 2; half++, q += 32) {
      for (int shift = 0; shift < 8; shift += 2) {
        for (int part = 0; part < 32; part += 16, s++, out += 16) {
          const float scale = d * (float)(row[s] & 15), min = dmin * (float)(row[s] >> 4);
          for (int l = 0; l < 16; l++) out[l] = scale * (float)(q[part + l] >> shift & 3) - min;
        }
      }
    }
  }
}

static void decode_q3_k(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 256; b++, row += 110) {
    const uint8_t *mask = row, *q = row + 32, *packed = row + 96;
    const float d = load_half(row + 108);
    for (int s = 0, half = 0; half < 2; half++, q += 32) {
      for (int shift = 0; shift < 8; shift += 2) {
        const int bit = 4 * half + shift / 2;
        for (int part = 0; part < 32; part += 16, s++, out += 16) {
          const int low = s < 8 ? packed[s] & 15 : packed[s - 8] >> 4;
          const int high = packed[8 + s % 4] >> (2 * (s / 4)) & 3;
          const float scale = d * (float)((low | high << 4) - 32);
          for (int l = 0; l < 16; l++) {
            const int v = (q[part + l] >> shift & 3) - (mask[part + l] >> bit & 1 ? 0 : 4);
            out[l] = scale * (float)v;
          }
        }
      }
    }
  }
}

/* Sub-block j's 6-bit scale and minimum out of the 12 bytes Q4_K and Q5_K share. */
LATHE_INLINE void scale_and_min(const uint8_t *s, int j, int *scale, int *min) {
  if (j < 4) {
    *scale = s[j] & 63;
    *min = s[j + 4] & 63;
  } else {
    *scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    *min = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
  }
}

static void decode_q4_k(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 256; b++, row += 144) {
    const float d = load_half(row), dmin = load_half(row + 2);
    const uint8_t *q = row + 16;
    for (int j = 0; j < 8; j++, out += 32) {
      int sc, mn;
      scale_and_min(row + 4, j, &sc, &mn);
      const float scale = d * (float)sc, min = dmin * (float)mn;
      const int shift = 4 * (j & 1);
      for (int l = 0; l < 32; l++) out[l] = scale * (float)(q[32 * (j / 2) + l] >> shift & 15) - min;
    }
  }
}

static void decode_q5_k(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 256; b++, row += 176) {
    const float d = load_half(row), dmin = load_half(row + 2);
    const uint8_t *high = row + 16, *q = row + 48;
    for (int j = 0; j < 8; j++, out += 32) {
      int sc, mn;
      scale_and_min(row + 4, j, &sc, &mn);
      const float scale = d * (float)sc, min = dmin * (float)mn;
      const int shift = 4 * (j & 1);
      for (int l = 0; l < 32; l++) {
        out[l] = scale * (float)((q[32 * (j / 2) + l] >> shift & 15) | (high[l] >> j & 1) << 4) - min;
      }
    }
  }
}

static void decode_q6_k(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 256; b++, row += 210) {
    const float d = load_half(row + 208);
    for (int half = 0; half < 2; half++, out += 128) {
      const uint8_t *low = row + 64 * half, *high = row + 128 + 32 * half;
      const int8_t *scales = (const int8_t *)row + 192 + 8 * half;
      for (int k = 0; k < 4; k++) {
        for (int l = 0; l < 32; l++) {
          const int q = (low[l + 32 * (k & 1)] >> (4 * (k >> 1)) & 15) | (high[l] >> (2 * k) & 3) << 4;
          out[32 * k + l] = d * (float)scales[l / 16 + 2 * k] * (float)(q - 32);
        }
      }
    }
  }
}
