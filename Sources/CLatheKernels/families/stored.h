/* Rows as they lie in files: floats, and the 32-element blocks of GGUF. Layouts: ggml-common.h of llama.cpp. */

static void decode_f32(const uint8_t *restrict row, float *restrict out, size_t n) { memcpy(out, row, 4 * n); }

static void decode_f64(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t i = 0; i < n; i++) {
    double v;
    memcpy(&v, row + 8 * i, 8);
    out[i] = (float)v;
  }
}

static void decode_f16(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = float_from_half(load_u16(row + 2 * i));
}

static void decode_bf16(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t i = 0; i < n; i++) out[i] = float_from_bits((uint32_t)load_u16(row + 2 * i) << 16);
}

static void decode_q4_0(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 32; b++, row += 18, out += 32) {
    const float d = load_half(row);
    for (int j = 0; j < 16; j++) {
      out[j] = (float)((row[2 + j] & 15) - 8) * d;
      out[j + 16] = (float)((row[2 + j] >> 4) - 8) * d;
    }
  }
}

static void decode_q4_1(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 32; b++, row += 20, out += 32) {
    const float d = load_half(row), m = load_half(row + 2);
    for (int j = 0; j < 16; j++) {
      out[j] = (float)(row[4 + j] & 15) * d + m;
      out[j + 16] = (float)(row[4 + j] >> 4) * d + m;
    }
  }
}

static void decode_q5_0(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 32; b++, row += 22, out += 32) {
    const float d = load_half(row);
    const uint32_t high = load_u32(row + 2);
    for (int j = 0; j < 16; j++) {
      out[j] = (float)((int)((row[6 + j] & 15) | ((high >> j) & 1) << 4) - 16) * d;
      out[j + 16] = (float)((int)((row[6 + j] >> 4) | ((high >> (j + 16)) & 1) << 4) - 16) * d;
    }
  }
}

static void decode_q5_1(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 32; b++, row += 24, out += 32) {
    const float d = load_half(row), m = load_half(row + 2);
    const uint32_t high = load_u32(row + 4);
    for (int j = 0; j < 16; j++) {
      out[j] = (float)((row[8 + j] & 15) | ((high >> j) & 1) << 4) * d + m;
      out[j + 16] = (float)((row[8 + j] >> 4) | ((high >> (j + 16)) & 1) << 4) * d + m;
    }
  }
}

static void decode_q8_0(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 32; b++, row += 34, out += 32) {
    const float d = load_half(row);
    for (int j = 0; j < 32; j++) out[j] = (float)(int8_t)row[2 + j] * d;
  }
}

static void decode_q1_0(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 128; b++, row += 18, out += 128) {
    const float d = load_half(row);
    for (int j = 0; j < 128; j++) out[j] = row[2 + j / 8] >> (j % 8) & 1 ? d : -d;
  }
}

static void decode_q2_0(const uint8_t *restrict row, float *restrict out, size_t n) {
  for (size_t b = 0; b < n / 64; b++, row += 18, out += 64) {
    const float d = load_half(row);
    for (int j = 0; j < 64; j++) out[j] = (float)((int)(row[2 + j / 4] >> (2 * (j % 4)) & 3) - 1) * d;
  }
}
