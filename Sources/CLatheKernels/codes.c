#include "LatheKernels.h"
#pragma clang diagnostic ignored "-Wunused-function"
#include "families/common.h"
#include "families/kquants.h"
#include "families/codebooks.h"

/*
 * The codes of stored blocks, a byte each, and their parameters, as tiles want them. The same on every machine: this
 * runs once for each weight, when a model is made ready. A type that is to meet rounded inputs has one function here.
 */

#define READ(symbol) \
  static int read_##symbol(const uint8_t *restrict row, size_t blocks, const LatheCodeRow *restrict to)

static void nibbles(const uint8_t *restrict q, uint8_t *restrict codes) {
  for (int j = 0; j < 16; j++) {
    codes[j] = q[j] & 15;
    codes[j + 16] = q[j] >> 4;
  }
}

static void fifth_bits(uint32_t high, uint8_t *restrict codes) {
  for (int j = 0; j < 32; j++) codes[j] |= (uint8_t)((high >> j & 1) << 4);
}

/* A scale, perhaps a minimum, perhaps fifth bits, and half bytes. */
static int nibble_blocks(
    const uint8_t *restrict row, size_t blocks, const LatheCodeRow *restrict to, int has_minimum, int has_fifth) {
  const size_t head = has_minimum ? 4 : 2, start = head + (has_fifth ? 4 : 0);
  for (size_t b = 0; b < blocks; b++, row += start + 16) {
    to->scales[b] = load_u16(row);
    if (has_minimum) to->minimums[b] = load_u16(row + 2);
    nibbles(row + start, to->codes + 32 * b);
    if (has_fifth) fifth_bits(load_u32(row + head), to->codes + 32 * b);
  }
  return 1;
}

READ(q4_0) { return nibble_blocks(row, blocks, to, 0, 0); }
READ(q4_1) { return nibble_blocks(row, blocks, to, 1, 0); }
READ(q5_0) { return nibble_blocks(row, blocks, to, 0, 1); }
READ(q5_1) { return nibble_blocks(row, blocks, to, 1, 1); }
READ(iq4_nl) { return nibble_blocks(row, blocks, to, 0, 0); }

READ(q8_0) {
  for (size_t b = 0; b < blocks; b++, row += 34) {
    to->scales[b] = load_u16(row);
    for (int j = 0; j < 32; j++) to->codes[32 * b + (size_t)j] = row[2 + j] ^ 0x80;
  }
  return 1;
}

READ(q2_k) {
  for (size_t b = 0; b < blocks; b++, row += 84) {
    to->scales[b] = load_u16(row + 80);
    to->minimums[b] = load_u16(row + 82);
    memcpy(to->scale_codes + 16 * b, row, 16);
    uint8_t *codes = to->codes + 256 * b;
    for (int half = 0; half < 2; half++) {
      for (int shift = 0; shift < 8; shift += 2, codes += 32) {
        for (int l = 0; l < 32; l++) codes[l] = row[16 + 32 * half + l] >> shift & 3;
      }
    }
  }
  return 1;
}

READ(q3_k) {
  for (size_t b = 0; b < blocks; b++, row += 110) {
    const uint8_t *packed = row + 96;
    to->scales[b] = load_u16(row + 108);
    for (int s = 0; s < 16; s++) {
      const int low = s < 8 ? packed[s] & 15 : packed[s - 8] >> 4;
      to->scale_codes[16 * b + (size_t)s] = (int8_t)((low | (packed[8 + s % 4] >> (2 * (s / 4)) & 3) << 4) - 32);
    }
    uint8_t *codes = to->codes + 256 * b;
    for (int half = 0; half < 2; half++) {
      for (int shift = 0; shift < 8; shift += 2, codes += 32) {
        const int bit = 4 * half + shift / 2;
        for (int l = 0; l < 32; l++) {
          codes[l] = (uint8_t)((row[32 + 32 * half + l] >> shift & 3) | (row[l] >> bit & 1) << 2);
        }
      }
    }
  }
  return 1;
}

static void read_scales_and_minimums(const uint8_t *row, size_t b, const LatheCodeRow *to) {
  to->scales[b] = load_u16(row);
  to->minimums[b] = load_u16(row + 2);
  for (int j = 0; j < 8; j++) {
    int scale, minimum;
    scale_and_min(row + 4, j, &scale, &minimum);
    to->scale_codes[8 * b + (size_t)j] = (int8_t)scale;
    to->minimum_codes[8 * b + (size_t)j] = (uint8_t)minimum;
  }
}

READ(q4_k) {
  for (size_t b = 0; b < blocks; b++, row += 144) {
    read_scales_and_minimums(row, b, to);
    for (int j = 0; j < 8; j++) {
      for (int l = 0; l < 32; l++) {
        to->codes[256 * b + 32 * (size_t)j + (size_t)l] = row[16 + 32 * (j / 2) + l] >> (4 * (j & 1)) & 15;
      }
    }
  }
  return 1;
}

READ(q5_k) {
  for (size_t b = 0; b < blocks; b++, row += 176) {
    read_scales_and_minimums(row, b, to);
    for (int j = 0; j < 8; j++) {
      for (int l = 0; l < 32; l++) {
        to->codes[256 * b + 32 * (size_t)j + (size_t)l] =
            (uint8_t)((row[48 + 32 * (j / 2) + l] >> (4 * (j & 1)) & 15) | (row[16 + l] >> j & 1) << 4);
      }
    }
  }
  return 1;
}

READ(q6_k) {
  for (size_t b = 0; b < blocks; b++, row += 210) {
    to->scales[b] = load_u16(row + 208);
    memcpy(to->scale_codes + 16 * b, row + 192, 16);
    uint8_t *codes = to->codes + 256 * b;
    for (int half = 0; half < 2; half++) {
      const uint8_t *low = row + 64 * half, *high = row + 128 + 32 * half;
      for (int k = 0; k < 4; k++, codes += 32) {
        for (int l = 0; l < 32; l++) {
          codes[l] = (uint8_t)((low[l + 32 * (k & 1)] >> (4 * (k >> 1)) & 15) | (high[l] >> (2 * k) & 3) << 4);
        }
      }
    }
  }
  return 1;
}

READ(iq4_xs) {
  for (size_t b = 0; b < blocks; b++, row += 136) {
    const uint32_t high = load_u16(row + 2);
    to->scales[b] = load_u16(row);
    for (int i = 0; i < 8; i++) {
      const int scale = (row[4 + i / 2] >> (4 * (i % 2)) & 15) | (int)(high >> (2 * i) & 3) << 4;
      to->scale_codes[8 * b + (size_t)i] = (int8_t)(scale - 32);
      nibbles(row + 8 + 16 * i, to->codes + 256 * b + 32 * (size_t)i);
    }
  }
  return 1;
}

READ(tq1_0) {
  for (size_t b = 0; b < blocks; b++, row += 54) {
    to->scales[b] = load_u16(row + 52);
    uint8_t *codes = to->codes + 256 * b;
    for (int k = 0; k < 5; k++, codes += 32) for (int m = 0; m < 32; m++) codes[m] = (uint8_t)(trit(row[m], k) + 1);
    for (int k = 0; k < 5; k++, codes += 16) for (int m = 0; m < 16; m++) codes[m] = (uint8_t)(trit(row[32 + m], k) + 1);
    for (int k = 0; k < 4; k++, codes += 4) for (int m = 0; m < 4; m++) codes[m] = (uint8_t)(trit(row[48 + m], k) + 1);
  }
  return 1;
}

READ(tq2_0) {
  for (size_t b = 0; b < blocks; b++, row += 66) {
    to->scales[b] = load_u16(row + 64);
    uint8_t *codes = to->codes + 256 * b;
    for (int j = 0; j < 64; j += 32) {
      for (int l = 0; l < 4; l++, codes += 32) {
        for (int m = 0; m < 32; m++) codes[m] = row[j + m] >> (2 * l) & 3;
      }
    }
  }
  return 1;
}

/* Twice the value of E2M1 is a whole number: half the scale goes with it. */
READ(mxfp4) {
  for (size_t b = 0; b < blocks; b++, row += 17) {
    /* 2^(e - 128) as binary16: what it cannot hold is left to floats. */
    const int e = row[0] - 128;
    if (e < -24 || e > 15) return 0;
    to->scales[b] = (uint16_t)(e < -14 ? 1 << (e + 24) : (e + 15) << 10);
    nibbles(row + 1, to->codes + 32 * b);
  }
  return 1;
}

READ(nvfp4) {
  for (size_t b = 0; b < blocks; b++, row += 36) {
    for (int k = 0; k < 4; k++) {
      /* E4M3 to half its value as binary16: another bias; the smallest numbers, m / 1024, are made normal. */
      const int e = row[k] >> 3 & 15, m = row[k] & 7;
      const int lead = m > 3 ? 2 : m > 1 ? 1 : 0;
      to->scales[4 * b + (size_t)k] =
          (uint16_t)(e ? (e - 7 - 1 + 15) << 10 | m << 7 : m ? (lead + 5) << 10 | ((m - (1 << lead)) << (10 - lead)) : 0);
      uint8_t *codes = to->codes + 64 * b + 16 * (size_t)k;
      for (int j = 0; j < 8; j++) {
        codes[j] = row[4 + 8 * k + j] & 15;
        codes[j + 8] = row[4 + 8 * k + j] >> 4;
      }
    }
  }
  return 1;
}

/* ± d is 2 d · (code - 1/2). */
READ(q1_0) {
  for (size_t b = 0; b < blocks; b++, row += 18) {
    const uint16_t d = load_u16(row), exponent = d >> 10 & 31;
    if (exponent >= 30) return 0;
    to->scales[b] = exponent ? (uint16_t)(d + (1 << 10)) : (uint16_t)((d & 0x8000) | (d & 0x3ff) << 1);
    for (int j = 0; j < 128; j++) to->codes[128 * b + (size_t)j] = row[2 + j / 8] >> (j % 8) & 1;
  }
  return 1;
}

READ(q2_0) {
  for (size_t b = 0; b < blocks; b++, row += 18) {
    to->scales[b] = load_u16(row);
    for (int j = 0; j < 64; j++) to->codes[64 * b + (size_t)j] = row[2 + j / 4] >> (2 * (j % 4)) & 3;
  }
  return 1;
}

/* The entries of IQ4 and twice those of E2M1, 128 above. */
static const uint8_t iq4_table[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
static const uint8_t e2m1_table[16] = {128, 129, 130, 131, 132, 134, 136, 140, 128, 127, 126, 125, 124, 122, 120, 116};

static const struct {
  LatheCodeShape shape;
  int (*read)(const uint8_t *row, size_t blocks, const LatheCodeRow *to);
} shapes[LATHE_STORED_COUNT] = {
  [LATHE_STORED_q4_0] = {{.bits = 4, .group = 32, .zero = 8}, read_q4_0},
  [LATHE_STORED_q4_1] = {{.bits = 4, .group = 32, .has_minimums = 1}, read_q4_1},
  [LATHE_STORED_q5_0] = {{.bits = 5, .group = 32, .zero = 16}, read_q5_0},
  [LATHE_STORED_q5_1] = {{.bits = 5, .group = 32, .has_minimums = 1}, read_q5_1},
  [LATHE_STORED_q8_0] = {{.bits = 8, .group = 32, .zero = 128}, read_q8_0},
  [LATHE_STORED_q2_k] = {{.bits = 2, .group = 16, .super_span = 16, .has_minimums = 1, .nibbles = 1}, read_q2_k},
  [LATHE_STORED_q3_k] = {{.bits = 3, .group = 16, .super_span = 16, .zero = 4}, read_q3_k},
  [LATHE_STORED_q4_k] = {{.bits = 4, .group = 32, .super_span = 8, .has_minimums = 1}, read_q4_k},
  [LATHE_STORED_q5_k] = {{.bits = 5, .group = 32, .super_span = 8, .has_minimums = 1}, read_q5_k},
  [LATHE_STORED_q6_k] = {{.bits = 6, .group = 16, .super_span = 16, .zero = 32}, read_q6_k},
  [LATHE_STORED_iq4_nl] = {{.bits = 4, .group = 32, .zero = 128, .table = iq4_table}, read_iq4_nl},
  [LATHE_STORED_iq4_xs] = {{.bits = 4, .group = 32, .super_span = 8, .zero = 128, .table = iq4_table}, read_iq4_xs},
  [LATHE_STORED_tq1_0] = {{.bits = 2, .group = 256, .zero = 1, .ternary = 1}, read_tq1_0},
  [LATHE_STORED_tq2_0] = {{.bits = 2, .group = 256, .zero = 1}, read_tq2_0},
  [LATHE_STORED_mxfp4] = {{.bits = 4, .group = 32, .zero = 128, .partial = 1, .table = e2m1_table}, read_mxfp4},
  [LATHE_STORED_nvfp4] = {{.bits = 4, .group = 16, .zero = 128, .table = e2m1_table}, read_nvfp4},
  [LATHE_STORED_q1_0] = {{.bits = 1, .group = 128, .zero = .5f, .partial = 1}, read_q1_0},
  [LATHE_STORED_q2_0] = {{.bits = 2, .group = 64, .zero = 1}, read_q2_0},
};

const LatheCodeShape *lathe_code_shape(size_t kind) {
  return kind < LATHE_STORED_COUNT && shapes[kind].read ? &shapes[kind].shape : 0;
}

int lathe_read_codes(size_t kind, const uint8_t *row, size_t n, const LatheCodeRow *to) {
  return shapes[kind].read(row, n / lathe_stored_type(kind)->elements, to);
}
