/* Blocks whose codes index a table, trits, and the small floats of the OCP MX family. */

static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
static const float e2m1_values[16] = {0, .5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -.5f, -1, -1.5f, -2, -3, -4, -6};

static void decode_iq4_nl(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 32; b++, row += 18, out += 32) {
    const float d = load_half(row);
    for (int j = 0; j < 16; j++) {
      out[j] = d * (float)iq4_values[row[2 + j] & 15];
      out[j + 16] = d * (float)iq4_values[row[2 + j] >> 4];
    }
  }
}

static void decode_iq4_xs(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 256; b++, row += 136) {
    const float d = load_half(row);
    const uint32_t high = load_u16(row + 2);
    for (int i = 0; i < 8; i++, out += 32) {
      const int scale = (row[4 + i / 2] >> (4 * (i % 2)) & 15) | (int)(high >> (2 * i) & 3) << 4;
      const float dl = d * (float)(scale - 32);
      const uint8_t *q = row + 8 + 16 * i;
      for (int j = 0; j < 16; j++) {
        out[j] = dl * (float)iq4_values[q[j] & 15];
        out[j + 16] = dl * (float)iq4_values[q[j] >> 4];
      }
    }
  }
}

/* Trit number `n` of a byte that holds five (or four) as a base-3 fraction. */
LATHE_INLINE float trit(uint8_t v, int n) {
  static const uint8_t powers[5] = {1, 3, 9, 27, 81};
  return (float)((int)((uint32_t)(uint8_t)(v * powers[n]) * 3 >> 8) - 1);
}

static void decode_tq1_0(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 256; b++, row += 54) {
    const float d = load_half(row + 52);
    for (int k = 0; k < 5; k++, out += 32) for (int m = 0; m < 32; m++) out[m] = trit(row[m], k) * d;
    for (int k = 0; k < 5; k++, out += 16) for (int m = 0; m < 16; m++) out[m] = trit(row[32 + m], k) * d;
    for (int k = 0; k < 4; k++, out += 4) for (int m = 0; m < 4; m++) out[m] = trit(row[48 + m], k) * d;
  }
}

static void decode_tq2_0(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 256; b++, row += 66) {
    const float d = load_half(row + 64);
    for (int j = 0; j < 64; j += 32) {
      for (int l = 0; l < 4; l++, out += 32) {
        for (int m = 0; m < 32; m++) out[m] = (float)((int)(row[j + m] >> (2 * l) & 3) - 1) * d;
      }
    }
  }
}

static void decode_mxfp4(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 32; b++, row += 17, out += 32) {
    /* 2^(e - 127); e = 0 is the subnormal 2^-127. */
    const float d = row[0] == 0 ? 0x1.0p-127f : float_from_bits((uint32_t)row[0] << 23);
    for (int j = 0; j < 16; j++) {
      out[j] = d * e2m1_values[row[1 + j] & 15];
      out[j + 16] = d * e2m1_values[row[1 + j] >> 4];
    }
  }
}

static void decode_nvfp4(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 64; b++, row += 36) {
    for (int k = 0; k < 4; k++, out += 16) {
      const int e = row[k] >> 3 & 15, m = row[k] & 7;
      const float d = e == 0 ? (float)m * 0x1.0p-9f
                             : (1.0f + (float)m / 8) * float_from_bits((uint32_t)(e - 7 + 127) << 23);
      for (int j = 0; j < 8; j++) {
        const uint8_t q = row[4 + 8 * k + j];
        out[j] = d * e2m1_values[q & 15];
        out[j + 8] = d * e2m1_values[q >> 4];
      }
    }
  }
}

/* Five codes a byte, first code least significant in base 3. */
static void decode_ternary(
    const uint8_t *restrict codes, const uint16_t *restrict scales, size_t group, float *restrict out, size_t n) {
  uint8_t codes5[LATHE_TILE / 5 * 5];
  for (size_t start = 0; start < n; start += sizeof codes5) {
    const size_t count = n - start < sizeof codes5 ? n - start : sizeof codes5;
    for (size_t i = 0; i < (count + 4) / 5; i++) {
      /* Multiplications by 2^16 / 3 (rounded up) stand for divisions: exact below 2^8. */
      uint32_t v = codes[start / 5 + i];
      for (int k = 0; k < 5; k++) {
        const uint32_t quotient = v * 21846u >> 16;
        codes5[5 * i + (size_t)k] = (uint8_t)(v - 3 * quotient);
        v = quotient;
      }
    }
    for (size_t i = 0; i < count;) {
      const size_t g = (start + i) / group;
      size_t end = (g + 1) * group - start;
      if (end > count) end = count;
      const float scale = scale_from_half(scales[g]);
      for (; i < end; i++) out[start + i] = (float)((int)codes5[i] - 1) * scale;
    }
  }
}
