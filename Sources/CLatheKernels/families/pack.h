/* Blocks to bytes (layouts: ggml-common.h of llama.cpp), and what callers see of writing them. */
#pragma clang fp reassociate(off) contract(off)

LATHE_INLINE void put_u16(uint8_t *out, uint16_t value) { memcpy(out, &value, 2); }

/* Four runs of 32 codes of two bits share 32 bytes, for each half of the block. */
LATHE_INLINE void pack_two_bits(const uint8_t *codes, uint8_t *out) {
  for (int half = 0; half < 2; half++, codes += 128, out += 32) {
    for (int l = 0; l < 32; l++) {
      out[l] = (uint8_t)((codes[l] & 3) | (codes[l + 32] & 3) << 2 | (codes[l + 64] & 3) << 4 | (codes[l + 96] & 3) << 6);
    }
  }
}

/* The scales and minimums of eight parts, six bits each, in twelve bytes. */
LATHE_INLINE void pack_six_bits(const int *scale, const int *minimum, uint8_t *out) {
  for (int p = 0; p < 4; p++) {
    out[p] = (uint8_t)(scale[p] | (scale[p + 4] >> 4) << 6);
    out[p + 4] = (uint8_t)(minimum[p] | (minimum[p + 4] >> 4) << 6);
    out[p + 8] = (uint8_t)((scale[p + 4] & 15) | (minimum[p + 4] & 15) << 4);
  }
}

static void pack_q2_k(const uint8_t *codes, uint16_t d, uint16_t m, const int *scale, const int *minimum, uint8_t *out) {
  for (int p = 0; p < 16; p++) out[p] = (uint8_t)(scale[p] | minimum[p] << 4);
  pack_two_bits(codes, out + 16);
  put_u16(out + 80, d);
  put_u16(out + 82, m);
}

static void pack_q3_k(const uint8_t *codes, uint16_t d, const int *scale, uint8_t *out) {
  memset(out, 0, 32);
  for (int j = 0; j < 256; j++) out[j % 32] |= (uint8_t)((codes[j] >> 2 & 1) << (j / 32));
  pack_two_bits(codes, out + 32);
  uint8_t *scales = out + 96;
  memset(scales, 0, 12);
  for (int p = 0; p < 16; p++) {
    const int code = scale[p] + 32;
    scales[p % 8] |= (uint8_t)((code & 15) << (p < 8 ? 0 : 4));
    scales[8 + p % 4] |= (uint8_t)((code >> 4) << (2 * (p / 4)));
  }
  put_u16(out + 108, d);
}

static void pack_q4_k(const uint8_t *codes, uint16_t d, uint16_t m, const int *scale, const int *minimum, uint8_t *out) {
  put_u16(out, d);
  put_u16(out + 2, m);
  pack_six_bits(scale, minimum, out + 4);
  out += 16;
  for (int pair = 0; pair < 4; pair++, codes += 64, out += 32) {
    for (int l = 0; l < 32; l++) out[l] = (uint8_t)(codes[l] | codes[l + 32] << 4);
  }
}

static void pack_q5_k(const uint8_t *codes, uint16_t d, uint16_t m, const int *scale, const int *minimum, uint8_t *out) {
  uint8_t *high = out + 16;
  put_u16(out, d);
  put_u16(out + 2, m);
  pack_six_bits(scale, minimum, out + 4);
  memset(high, 0, 32);
  out += 48;
  for (int pair = 0; pair < 4; pair++, codes += 64, out += 32) {
    for (int l = 0; l < 32; l++) {
      out[l] = (uint8_t)((codes[l] & 15) | codes[l + 32] << 4);
      high[l] |= (uint8_t)((codes[l] >> 4) << (2 * pair) | (codes[l + 32] >> 4) << (2 * pair + 1));
    }
  }
}

static void pack_q6_k(const uint8_t *codes, uint16_t d, const int *scale, uint8_t *out) {
  for (int half = 0; half < 2; half++, codes += 128) {
    uint8_t *low = out + 64 * half, *high = out + 128 + 32 * half;
    for (int l = 0; l < 32; l++) {
      const uint8_t a = codes[l], b = codes[l + 32], c = codes[l + 64], e = codes[l + 96];
      low[l] = (uint8_t)((a & 15) | c << 4);
      low[l + 32] = (uint8_t)((b & 15) | e << 4);
      high[l] = (uint8_t)(a >> 4 | (b >> 4) << 2 | (c >> 4) << 4 | (e >> 4) << 6);
    }
  }
  for (int p = 0; p < 16; p++) out[192 + p] = (uint8_t)(int8_t)scale[p];
  put_u16(out + 208, d);
}

static void pack_iq4_xs(const uint8_t *codes, uint16_t d, const int *scale, uint8_t *out) {
  uint32_t high = 0;
  memset(out + 4, 0, 4);
  for (int p = 0; p < 8; p++) {
    const uint32_t code = (uint32_t)(scale[p] + 32);
    out[4 + p / 2] |= (uint8_t)((code & 15) << (4 * (p % 2)));
    high |= (code >> 4) << (2 * p);
  }
  put_u16(out, d);
  put_u16(out + 2, (uint16_t)high);
  out += 8;
  for (int p = 0; p < 8; p++, codes += 32, out += 16) {
    for (int j = 0; j < 16; j++) out[j] = (uint8_t)(codes[j] | codes[j + 16] << 4);
  }
}

static void pack_small(const uint8_t *codes, size_t kind, uint16_t d, uint16_t m, uint8_t *out) {
  if (kind == LATHE_STORED_mxfp4) {
    *out++ = (uint8_t)d;
  } else {
    put_u16(out, d);
    out += 2;
  }
  if (kind == LATHE_STORED_q4_1 || kind == LATHE_STORED_q5_1) {
    put_u16(out, m);
    out += 2;
  }
  if (kind == LATHE_STORED_q8_0) {
    for (int j = 0; j < 32; j++) out[j] = codes[j] ^ 0x80;
    return;
  }
  if (kind == LATHE_STORED_q5_0 || kind == LATHE_STORED_q5_1) {
    uint32_t high = 0;
    for (int j = 0; j < 32; j++) high |= (uint32_t)(codes[j] >> 4) << j;
    memcpy(out, &high, 4);
    out += 4;
  }
  for (int j = 0; j < 16; j++) out[j] = (uint8_t)((codes[j] & 15) | codes[j + 16] << 4);
}

LATHE_INLINE void pack_block(
    size_t kind, const uint8_t *codes, uint16_t d, uint16_t m, const int *scale, const int *minimum, uint8_t *out) {
  switch (kind) {
    case LATHE_STORED_q2_k: return pack_q2_k(codes, d, m, scale, minimum, out);
    case LATHE_STORED_q3_k: return pack_q3_k(codes, d, scale, out);
    case LATHE_STORED_q4_k: return pack_q4_k(codes, d, m, scale, minimum, out);
    case LATHE_STORED_q5_k: return pack_q5_k(codes, d, m, scale, minimum, out);
    case LATHE_STORED_q6_k: return pack_q6_k(codes, d, scale, out);
    case LATHE_STORED_iq4_xs: return pack_iq4_xs(codes, d, scale, out);
    default: return pack_small(codes, kind, d, m, out);
  }
}

/* `width` values of sixteen rows that lie `stride` apart, a row in each lane; rows beyond `count` repeat the last. */
LATHE_INLINE void gather_rows(const float *rows, size_t stride, size_t count, int width, Lanes *x) {
  for (size_t lane = 0; lane < LATHE_LANES; lane++) {
    const float *row = rows + (lane < count ? lane : count - 1) * stride;
    float *to = (float *)x + lane;
    for (int i = 0; i < width; i++) to[LATHE_LANES * i] = row[i];
  }
}

/* The codes of sixteen lanes, row after row. */
LATHE_INLINE void scatter_codes(const Lanes *codes, int width, uint8_t rows[LATHE_LANES][256]) {
  LaneBytes bytes[256];
  for (int i = 0; i < width; i++) bytes[i] = __builtin_convertvector(codes[i], LaneBytes);
  for (int lane = 0; lane < LATHE_LANES; lane++) {
    const uint8_t *from = (const uint8_t *)bytes + lane;
    for (int i = 0; i < width; i++) rows[lane][i] = from[LATHE_LANES * i];
  }
}

static void encode_tile(
    size_t kind, const float *rows, size_t stride, size_t count, size_t n, const float *importance, uint8_t *out,
    size_t out_stride) {
  const BlockType type = block_type(kind);
  const LatheStoredType *stored = lathe_stored_type(kind);
  const size_t width = (size_t)type.width;
  Lanes x[256], variance = 0;
  LaneBlock block;
  uint8_t codes[LATHE_LANES][256];
  if (importance && width == 32) {
    for (size_t b = 0; b < n; b += width) {
      gather_rows(rows + b, stride, count, type.width, x);
      for (size_t i = 0; i < width; i++) variance += x[i] * x[i];
    }
    variance /= (float)n;
  }
  for (size_t b = 0; b < n; b += width, out += stored->bytes) {
    gather_rows(rows + b, stride, count, type.width, x);
    fit_lanes(kind, x, importance ? importance + b : 0, &variance, &block);
    scatter_codes(block.codes, type.width, codes);
    for (size_t lane = 0; lane < count; lane++) {
      int scale[16], minimum[16];
      if (type.scale_top != 0 || type.is_table) {
        for (int p = 0; p < type.width / type.part; p++) {
          scale[p] = (int)block.scale_code[p][lane];
          minimum[p] = (int)block.minimum_code[p][lane];
        }
      }
      pack_block(kind, codes[lane], block.half[lane], block.half_minimum[lane], scale, minimum, out + lane * out_stride);
    }
  }
}

static void fit_tile(
    size_t kind, const float *columns, size_t stride, size_t count, const float *importance, const LatheBlocks *to,
    size_t at) {
  const BlockType type = block_type(kind);
  Lanes x[256];
  LaneBlock block;
  for (int i = 0; i < type.width; i++) {
    for (size_t lane = 0; lane < LATHE_LANES; lane++) x[i][lane] = columns[(size_t)i * stride + (lane < count ? lane : count - 1)];
  }
  const Lanes variance = sum_of_squares(x, type.width) / (float)type.width;
  fit_lanes(kind, x, importance, &variance, &block);
  for (size_t lane = 0; lane < count; lane++) {
    to->half[at + lane] = block.half[lane];
    to->half_minimum[at + lane] = block.half_minimum[lane];
  }
  for (int p = 0; p < type.width / type.part; p++) {
    for (size_t lane = 0; lane < count; lane++) {
      const size_t place = (size_t)p * to->rows + at + lane;
      to->scale_code[place] = type.scale_top != 0 || type.is_table ? (int16_t)block.scale_code[p][lane] : 0;
      to->minimum_code[place] = (int16_t)block.minimum_code[p][lane];
      to->scale[place] = block.scale[p][lane];
      to->minimum[place] = block.minimum[p][lane];
      to->inverse[place] = block.inverse[p][lane];
      to->low[place] = block.low[p][lane];
    }
  }
}

/* The code of `x`, and the point it stands for, in the part that `place` lies in. */
LATHE_INLINE void round_tile(
    const float *column, size_t count, const LatheBlocks *from, size_t at, size_t place, const int weighed,
    uint8_t *codes, float *points, const size_t kind) {
  const BlockType type = block_type(kind);
  const size_t start = place / (size_t)type.part * from->rows + at;
  Lanes x = 0, scale = 0, minimum = 0, inverse = 0, low = 0, code, point;
  for (size_t lane = 0; lane < count; lane++) {
    x[lane] = column[lane];
    scale[lane] = from->scale[start + lane];
    minimum[lane] = from->minimum[start + lane];
    inverse[lane] = from->inverse[start + lane];
    low[lane] = from->low[start + lane];
  }
  if (type.is_table) {
    Lanes entry;
    code = table_place(inverse * x, iq4_values, &entry);
    point = scale * entry;
  } else if (kind == LATHE_STORED_mxfp4) {
    Lanes entry;
    code = small_float_code(x, inverse, &entry);
    point = scale * entry;
  } else if (type.scale_top == 0) {
    code = weighed && kind != LATHE_STORED_q8_0 ? weighed_code(x, inverse, low, type) : plain_code(x, inverse, low, kind, type);
    point = (code - type.half) * scale + minimum;
  } else {
    code = scale == (Lanes)0.0f ? (Lanes)0.0f : settled_code(x, scale, minimum, type);
    point = scale * (code - type.half) - minimum;
  }
  const LaneBytes bytes = __builtin_convertvector(code, LaneBytes);
  for (size_t lane = 0; lane < count; lane++) {
    codes[lane] = bytes[lane];
    points[lane] = point[lane];
  }
}

static int encode_rows(
    size_t kind, const float *rows, size_t stride, size_t count, size_t n, const float *importance, uint8_t *out,
    size_t out_stride) {
  if (block_type(kind).width == 0 || n % (size_t)block_type(kind).width != 0) return 0;
  for (size_t r = 0; r < count; r += LATHE_LANES) {
    const size_t some = count - r < LATHE_LANES ? count - r : LATHE_LANES;
    encode_tile(kind, rows + r * stride, stride, some, n, importance, out + r * out_stride, out_stride);
  }
  return 1;
}

static int fit_blocks(size_t kind, const float *columns, const float *importance, const LatheBlocks *to) {
  if (block_type(kind).width == 0) return 0;
  for (size_t r = 0; r < to->rows; r += LATHE_LANES) {
    const size_t some = to->rows - r < LATHE_LANES ? to->rows - r : LATHE_LANES;
    fit_tile(kind, columns + r, to->rows, some, importance, to, r);
  }
  return 1;
}

static void round_blocks(
    size_t kind, const float *column, size_t place, int weighed, const LatheBlocks *from, uint8_t *codes, float *points) {
  for (size_t r = 0; r < from->rows; r += LATHE_LANES) {
    const size_t some = from->rows - r < LATHE_LANES ? from->rows - r : LATHE_LANES;
    switch (kind) {
#define X(symbol)                                                                                  \
      case LATHE_STORED_##symbol:                                                                  \
        round_tile(column + r, some, from, r, place, weighed, codes + r, points + r, LATHE_STORED_##symbol); \
        break;
      LATHE_WRITTEN_TYPES(X)
#undef X
    }
  }
}

static void pack_blocks(
    size_t kind, const uint8_t *codes, const LatheBlocks *from, uint8_t *out, size_t out_stride) {
  const BlockType type = block_type(kind);
  for (size_t r = 0; r < from->rows; r++, out += out_stride) {
    uint8_t row[256];
    int scale[16] = {0}, minimum[16] = {0};
    for (int i = 0; i < type.width; i++) row[i] = codes[(size_t)i * from->rows + r];
    for (int p = 0; p < type.width / type.part; p++) {
      scale[p] = from->scale_code[(size_t)p * from->rows + r];
      minimum[p] = from->minimum_code[(size_t)p * from->rows + r];
    }
    pack_block(kind, row, from->half[r], from->half_minimum[r], scale, minimum, out);
  }
}
#pragma clang fp reassociate(on) contract(fast)
