/*
 * Writing GGUF's blocks: scales are searched (lanes.h), codes rounded, bytes packed; sixteen rows at a time.
 * Three ways lead here: whole rows at once, or a group's parameters first and then column after column of codes.
 */
#pragma clang fp reassociate(off) contract(off)

/* A block type as it is written. */
typedef struct {
  int width, part;  /* elements in a block, and in each part of it that has a scale of its own */
  float top;        /* the largest code */
  float half;       /* what a symmetric code is stored above */
  float scale_top;  /* the largest code of a part's scale; 0 where there is one scale */
  int is_affine, is_table;
} BlockType;

LATHE_INLINE BlockType block_type(size_t kind) {
  switch (kind) {
    case LATHE_STORED_q4_0: return (BlockType){32, 32, 15, 8, 0, 0, 0};
    case LATHE_STORED_q4_1: return (BlockType){32, 32, 15, 0, 0, 1, 0};
    case LATHE_STORED_q5_0: return (BlockType){32, 32, 31, 16, 0, 0, 0};
    case LATHE_STORED_q5_1: return (BlockType){32, 32, 31, 0, 0, 1, 0};
    case LATHE_STORED_q8_0: return (BlockType){32, 32, 255, 128, 0, 0, 0};
    case LATHE_STORED_iq4_nl: return (BlockType){32, 32, 15, 0, 0, 0, 1};
    case LATHE_STORED_q2_k: return (BlockType){256, 16, 3, 0, 15, 1, 0};
    case LATHE_STORED_q3_k: return (BlockType){256, 16, 7, 4, 32, 0, 0};
    case LATHE_STORED_q4_k: return (BlockType){256, 32, 15, 0, 63, 1, 0};
    case LATHE_STORED_q5_k: return (BlockType){256, 32, 31, 0, 63, 1, 0};
    case LATHE_STORED_q6_k: return (BlockType){256, 16, 63, 32, 128, 0, 0};
    case LATHE_STORED_iq4_xs: return (BlockType){256, 32, 15, 0, 32, 0, 1};
    case LATHE_STORED_mxfp4: return (BlockType){32, 32, 15, 0, 0, 0, 0};
    default: return (BlockType){0};
  }
}

/* The parameters of one block of each lane's row, and the codes of the search. */
typedef struct {
  uint16_t half[LATHE_LANES], half_minimum[LATHE_LANES];
  Lanes scale_code[16], minimum_code[16];
  Lanes scale[16], minimum[16];   /* of each part, exactly as decoded */
  Lanes inverse[16], low[16];     /* what codes come from where they are not rounded again */
  Lanes codes[256];
} LaneBlock;

/* Binary16 to nearest even; what is too large becomes the largest, what is no number zero. */
LATHE_INLINE uint16_t half_from_float(float value) {
  uint32_t bits = bits_from_float(value);
  const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
  bits &= 0x7FFFFFFFu;
  if (bits > 0x7F800000u) return 0;
  if (bits >= 0x477FF000u) return sign | 0x7BFFu;
  if (bits < 0x38800000u) return sign | (uint16_t)(bits_from_float(float_from_bits(bits) + 0.5f) - 0x3F000000u);
  return sign | (uint16_t)((bits - 0x38000000u + 0xFFFu + (bits >> 13 & 1u)) >> 13);
}

LATHE_INLINE Lanes halved(Lanes value, uint16_t *halves) {
  Lanes stored;
  for (int lane = 0; lane < LATHE_LANES; lane++) {
    halves[lane] = half_from_float(value[lane]);
    stored[lane] = float_from_half(halves[lane]);
  }
  return stored;
}

/* What errors count for: the importance of the column times a size that keeps small weights from counting for naught. */
LATHE_INLINE void weigh(const Lanes *x, const float *importance, Lanes variance, Lanes *w, int n) {
  for (int i = 0; i < n; i++) w[i] = importance[i] * root(variance + x[i] * x[i]);
}

LATHE_INLINE Lanes total(const Lanes *w, int n) {
  Lanes sum = 0;
  for (int i = 0; i < n; i++) sum += w[i];
  return sum;
}

/* Q2_K, Q4_K, Q5_K: a scale and a minimum for each part, both in codes under one scale of the block each. */
LATHE_INLINE void fit_affine_parts(
    const Lanes *x, const float *importance, size_t kind, const BlockType type, LaneBlock *block) {
  const int parts = type.width / type.part, n = type.part;
  const Lanes variance = sum_of_squares(x, 256) * (kind == LATHE_STORED_q2_k ? 1.0f : 2.0f) / 256.0f;
  const AffineSearch how = importance                   ? (AffineSearch){-0.9f, 0.05f, 36, 0}
                           : kind == LATHE_STORED_q2_k ? (AffineSearch){-0.5f, 0.1f, 15, 1}
                           : kind == LATHE_STORED_q4_k ? (AffineSearch){-1.0f, 0.1f, 20, 0}
                                                       : (AffineSearch){-0.5f, 0.1f, 15, 0};
  Lanes scales[16], minimums[16], sums[16], w[32];
  Lanes largest_scale = 0, largest_minimum = 0;
  for (int p = 0; p < parts; p++) {
    const Lanes *part = x + n * p;
    const Lanes size = kind == LATHE_STORED_q2_k ? (Lanes)0.0f : root(sum_of_squares(part, n) / (float)n);
    if (importance) weigh(part, importance + n * p, variance, w, n);
    else for (int i = 0; i < n; i++) w[i] = size + magnitude(part[i]);
    sums[p] = total(w, n);
    const Affine found = search_affine(part, w, n, type.top, how);
    scales[p] = found.scale;
    minimums[p] = -found.minimum;
    for (int i = 0; i < n; i++) block->codes[n * p + i] = affine_code(part[i], found.inverse, found.low, type.top);
    largest_scale = scales[p] > largest_scale ? scales[p] : largest_scale;
    largest_minimum = minimums[p] > largest_minimum ? minimums[p] : largest_minimum;
  }
  Lanes d, m;
  if (importance) {
    d = search_positive(scales, sums, parts, type.scale_top, block->scale_code);
    m = search_positive(minimums, sums, parts, type.scale_top, block->minimum_code);
  } else {
    const Lanes to_scale = largest_scale > (Lanes)0.0f ? type.scale_top / largest_scale : (Lanes)0.0f;
    const Lanes to_minimum = largest_minimum > (Lanes)0.0f ? type.scale_top / largest_minimum : (Lanes)0.0f;
    for (int p = 0; p < parts; p++) {
      block->scale_code[p] = clamped(nearest(to_scale * scales[p]), 0, type.scale_top);
      block->minimum_code[p] = clamped(nearest(to_minimum * minimums[p]), 0, type.scale_top);
    }
    d = largest_scale / type.scale_top;
    m = largest_minimum / type.scale_top;
  }
  d = halved(d, block->half);
  m = halved(m, block->half_minimum);
  for (int p = 0; p < parts; p++) {
    block->scale[p] = d * block->scale_code[p];
    block->minimum[p] = m * block->minimum_code[p];
  }
}

/* Q3_K, Q6_K: a scale for each part, of either sign, in codes under one scale of the block. */
LATHE_INLINE void fit_symmetric_parts(
    const Lanes *x, const float *importance, size_t kind, const BlockType type, LaneBlock *block) {
  const Lanes variance = 2.0f * sum_of_squares(x, 256) / 256.0f;
  Lanes scales[16], sums[16], w[16], largest = 0, peak = 0, inverse;
  for (int p = 0; p < 16; p++) {
    const Lanes *part = x + 16 * p;
    Lanes *codes = block->codes + 16 * p;
    if (!importance && kind == LATHE_STORED_q3_k) {
      scales[p] = descend_symmetric(part, 16, type.half, codes);
    } else {
      if (!importance) for (int i = 0; i < 16; i++) w[i] = part[i] * part[i];
      else if (kind == LATHE_STORED_q3_k) weigh(part, importance + 16 * p, variance, w, 16);
      else for (int i = 0; i < 16; i++) w[i] = importance[16 * p + i];
      sums[p] = total(w, 16);
      scales[p] = search_symmetric(part, w, 16, type.half, &inverse);
      for (int i = 0; i < 16; i++) codes[i] = symmetric_code(part[i], inverse, type.half);
    }
    const LaneMask more = magnitude(scales[p]) > peak;
    peak = more ? magnitude(scales[p]) : peak;
    largest = more ? scales[p] : largest;
  }
  Lanes d;
  if (importance && kind == LATHE_STORED_q3_k) {
    d = search_symmetric(scales, sums, 16, type.scale_top, &inverse);
    for (int p = 0; p < 16; p++) {
      block->scale_code[p] = symmetric_code(scales[p], inverse, type.scale_top) - type.scale_top;
    }
  } else {
    const LaneMask none = kind == LATHE_STORED_q6_k ? peak < (Lanes)LATHE_TINY : largest == (Lanes)0.0f;
    const Lanes to_code = -type.scale_top / (none ? (Lanes)1.0f : largest);
    for (int p = 0; p < 16; p++) {
      const Lanes code = clamped(nearest(to_code * scales[p]), -type.scale_top, type.scale_top - 1);
      /* Bytes of zero stand for a block of zeros: Q3_K stores codes above 32. */
      block->scale_code[p] = none ? (Lanes)(kind == LATHE_STORED_q3_k ? -32.0f : 0.0f) : code;
    }
    if (kind == LATHE_STORED_q6_k) for (int i = 0; i < 256; i++) block->codes[i] = none ? (Lanes)0.0f : block->codes[i];
    d = none ? (Lanes)0.0f : 1 / to_code;
  }
  d = halved(d, block->half);
  for (int p = 0; p < 16; p++) block->scale[p] = d * block->scale_code[p];
}

/* IQ4_XS, IQ4_NL: codes index a table. */
LATHE_INLINE void fit_table_parts(
    const Lanes *x, const float *importance, const BlockType type, LaneBlock *block) {
  const int parts = type.width / 32;
  Lanes w[32], scales[8], largest = 0, peak = 0;
  const Lanes variance = sum_of_squares(x, type.width) * (2.0f / (float)type.width);
  for (int p = 0; p < parts; p++) {
    const Lanes *part = x + 32 * p;
    if (importance) weigh(part, importance + 32 * p, variance, w, 32);
    else for (int i = 0; i < 32; i++) w[i] = part[i] * part[i];
    scales[p] = search_table(part, w, 32, iq4_values);
    const LaneMask more = magnitude(scales[p]) > peak;
    peak = more ? magnitude(scales[p]) : peak;
    largest = more ? scales[p] : largest;
  }
  const Lanes d = parts == 1 ? scales[0] : -largest / 32.0f;
  const Lanes stored = halved(d, block->half), to_code = d != (Lanes)0.0f ? 1 / d : (Lanes)0.0f;
  for (int p = 0; p < parts; p++) {
    const Lanes code = parts == 1 ? (Lanes)1.0f : clamped(nearest(to_code * scales[p]), -32, 31);
    const Lanes exact = d * code;
    block->scale_code[p] = code;
    block->scale[p] = stored * code;
    block->inverse[p] = exact != (Lanes)0.0f ? 1 / exact : (Lanes)0.0f;
    for (int i = 0; i < 32; i++) {
      Lanes entry;
      block->codes[32 * p + i] = table_place(block->inverse[p] * x[32 * p + i], iq4_values, &entry);
    }
  }
}

/* Codes of blocks of 32 without importance: the ends of the range, halves up (Q8_0: away from zero). */
LATHE_INLINE Lanes plain_code(Lanes x, Lanes inverse, Lanes low, size_t kind, const BlockType type) {
  if (kind == LATHE_STORED_q8_0) {
    const Lanes scaled = clamped(x * inverse, -128, 127);
    Lanes whole = nearest(scaled);
    /* A half was rounded to even: it belongs away from zero. */
    const Lanes rest = scaled - whole;
    whole = ((rest == (Lanes)0.5f) & (scaled > (Lanes)0.0f)) ? whole + 1 : whole;
    whole = ((rest == (Lanes)-0.5f) & (scaled < (Lanes)0.0f)) ? whole - 1 : whole;
    return clamped(whole, -128, 127) + 128;
  }
  const Lanes scaled = type.is_affine ? (x - low) * inverse + 0.5f : x * inverse + (type.half + 0.5f);
  const Lanes within = clamped(scaled, 0, type.top);
  return __builtin_convertvector(__builtin_convertvector(within, LaneMask), Lanes);
}

LATHE_INLINE Lanes weighed_code(Lanes x, Lanes inverse, Lanes low, const BlockType type) {
  return type.is_affine ? affine_code(x, inverse, low, type.top) : symmetric_code(x, inverse, type.half);
}

/* Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. `variance` is the mean square of the whole row. */
LATHE_INLINE void fit_small(
    const Lanes *x, const float *importance, Lanes variance, size_t kind, const BlockType type, LaneBlock *block) {
  Lanes d, low = 0, inverse;
  const int weighs = importance && kind != LATHE_STORED_q8_0;
  if (weighs) {
    Lanes w[32];
    weigh(x, importance, variance, w, 32);
    if (type.is_affine) {
      const Affine found = search_affine(x, w, 32, type.top, (AffineSearch){-0.9f, 0.05f, 36, 0});
      d = found.scale;
      inverse = found.inverse;
      low = found.low;
      block->minimum[0] = halved(found.minimum, block->half_minimum);
    } else {
      d = search_symmetric(x, w, 32, type.half, &inverse);
    }
  } else if (type.is_affine) {
    Lanes high = x[0];
    low = x[0];
    for (int i = 1; i < 32; i++) {
      low = x[i] < low ? x[i] : low;
      high = x[i] > high ? x[i] : high;
    }
    d = (high - low) / type.top;
    block->minimum[0] = halved(low, block->half_minimum);
  } else {
    d = kind == LATHE_STORED_q8_0 ? magnitude(extreme(x, 32)) / 127.0f : extreme(x, 32) / -type.half;
  }
  if (!weighs) inverse = d != (Lanes)0.0f ? 1 / d : (Lanes)0.0f;
  block->scale[0] = halved(d, block->half);
  block->inverse[0] = inverse;
  block->low[0] = low;
  for (int i = 0; i < 32; i++) {
    block->codes[i] = weighs ? weighed_code(x[i], inverse, low, type) : plain_code(x[i], inverse, low, kind, type);
  }
}

/* The small float nearest to x · inverse, the smaller of two: a sign, two bits of exponent, one of mantissa. */
LATHE_INLINE Lanes small_float_code(Lanes x, Lanes inverse, Lanes *entry) {
  const Lanes size = magnitude(x * inverse);
  Lanes code = 0, value = 0;
  for (int k = 0; k < 7; k++) {
    const LaneMask above = size > (Lanes)((e2m1_values[k] + e2m1_values[k + 1]) / 2);
    code = above ? (Lanes)(float)(k + 1) : code;
    value = above ? (Lanes)e2m1_values[k + 1] : value;
  }
  const LaneMask negative = (x < (Lanes)0.0f) & (code > (Lanes)0.0f);
  *entry = negative ? -value : value;
  return negative ? code + 8 : code;
}

/* MXFP4: the scale is the power of two that takes the extreme to the largest exponent. */
LATHE_INLINE void fit_small_floats(const Lanes *x, LaneBlock *block) {
  const Lanes peak = magnitude(extreme(x, 32));
  for (int lane = 0; lane < LATHE_LANES; lane++) {
    float exponent = peak[lane] > 0 ? floorf(log2f(peak[lane])) - 2 + 127 : 0;
    exponent = exponent > 0 ? exponent < 254 ? exponent : 254 : 0;
    block->half[lane] = (uint16_t)exponent;
    const float scale = exponent == 0 ? 0x1.0p-127f : float_from_bits((uint32_t)exponent << 23);
    block->scale[0][lane] = scale;
    block->inverse[0][lane] = 1 / scale;
  }
  for (int i = 0; i < 32; i++) {
    Lanes entry;
    block->codes[i] = small_float_code(x[i], block->inverse[0], &entry);
  }
}

/* The code of a part whose scale is stored: rounded again under what was stored. */
LATHE_INLINE Lanes settled_code(Lanes x, Lanes scale, Lanes minimum, const BlockType type) {
  if (type.is_affine) return clamped(nearest((x + minimum) / scale), 0, type.top);
  return clamped(nearest(x / scale), -type.half, type.half - 1) + type.half;
}

LATHE_INLINE void fit_block(
    const Lanes *x, const float *importance, Lanes variance, size_t kind, LaneBlock *block) {
  const BlockType type = block_type(kind);
  for (int p = 0; p < 16; p++) block->minimum[p] = block->minimum_code[p] = block->low[p] = block->inverse[p] = 0;
  memset(block->half_minimum, 0, sizeof block->half_minimum);
  if (kind == LATHE_STORED_mxfp4) return fit_small_floats(x, block);
  if (type.is_table) return fit_table_parts(x, importance, type, block);
  if (type.scale_top == 0) return fit_small(x, importance, variance, kind, type, block);
  if (type.is_affine) fit_affine_parts(x, importance, kind, type, block);
  else fit_symmetric_parts(x, importance, kind, type, block);
  for (int p = 0; p < type.width / type.part; p++) {
    const LaneMask kept = block->scale[p] == (Lanes)0.0f;
    for (int i = type.part * p; i < type.part * (p + 1); i++) {
      block->codes[i] = kept ? block->codes[i] : settled_code(x[i], block->scale[p], block->minimum[p], type);
    }
  }
}

/* One function for each type, so that widths and tops are constants. */
#define LATHE_WRITTEN_TYPES(X) \
  X(q4_0) X(q4_1) X(q5_0) X(q5_1) X(q8_0) X(iq4_nl) X(q2_k) X(q3_k) X(q4_k) X(q5_k) X(q6_k) X(iq4_xs) X(mxfp4)
#define X(symbol)                                                                             \
  static __attribute__((noinline)) void fit_##symbol(                                         \
      const Lanes *x, const float *importance, const Lanes *variance, LaneBlock *block) {     \
    fit_block(x, importance, *variance, LATHE_STORED_##symbol, block);                        \
  }
LATHE_WRITTEN_TYPES(X)
#undef X

LATHE_INLINE void fit_lanes(
    size_t kind, const Lanes *x, const float *importance, const Lanes *variance, LaneBlock *block) {
  switch (kind) {
#define X(symbol) case LATHE_STORED_##symbol: fit_##symbol(x, importance, variance, block); break;
    LATHE_WRITTEN_TYPES(X)
#undef X
  }
}
#pragma clang fp reassociate(on) contract(fast)
