/*
 * Attention over a cache, one head of keys and values at a time: all queries that share the head meet a run of positions,
 * and what is loaded once meets up to four of them.
 *
 * Codes meet whole numbers, four elements or four positions of sixteen lanes in one instruction. Queries, with a step for
 * each group of elements, and weights times scales, with a step for each chunk of positions, are rounded to 14 bits and a
 * sign, in two bytes, for a cache of 8 bits; to 7 and a sign for one of 4, whose own rounding is tenfold.
 *
 * Every query's sums are made in one order, however many share a call: equal rows give equal bits.
 */
#pragma clang fp reassociate(off) contract(fast)

/* Queries that share a load. */
#define LATHE_CACHE_QUERIES 4
/* Blocks of keys that share a load of queries: as many as registers hold sums for. */
#ifndef LATHE_CACHE_BLOCKS
#define LATHE_CACHE_BLOCKS 1
#endif
/* Positions whose weights share a step. */
#define LATHE_CACHE_CHUNK 64

#ifndef LATHE_OWN_DOT_QUAD
LATHE_INLINE Wholes dot_quad(Wholes sum, Codes w, const int8_t *x, const int is_byte) {
  (void)is_byte;
  int32_t s[16];
  uint8_t c[64];
  memcpy(s, &sum, sizeof sum);
  memcpy(c, &w, sizeof w);
  for (int i = 0; i < 16; i++) {
    for (int k = 0; k < 4; k++) s[i] += (int32_t)c[4 * i + k] * x[k];
  }
  memcpy(&sum, s, sizeof sum);
  return sum;
}
#endif

LATHE_INLINE Lanes larger(Lanes a, Lanes b) { return a > b ? a : b; }

/* The largest, and the sum, of sixteen lanes. */
LATHE_INLINE float largest_of(Lanes x) {
  x = larger(x, __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  x = larger(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3));
  x = larger(x, __builtin_shufflevector(x, x, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1));
  return x[0] > x[1] ? x[0] : x[1];
}

LATHE_INLINE float sum_of(Lanes x) {
  x += __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  x += __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3);
  x += __builtin_shufflevector(x, x, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1);
  return x[0] + x[1];
}

/* Results of four vectors at once: lane i of each quarter receives that of vector i. */
#define PAIRS_OF(a, b, how)                                                                                          \
  how(__builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29),                       \
      __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31))
#define FOURS_OF(a, b, how)                                                                                          \
  how(__builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29),                       \
      __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
#define REDUCE_FOUR(x, how)                                                                                          \
  ({                                                                                                                 \
    const __typeof__(x[0]) pair = PAIRS_OF(x[0], x[1], how), other = PAIRS_OF(x[2], x[3], how);                      \
    __typeof__(x[0]) four = FOURS_OF(pair, other, how);                                                              \
    four = how(four, __builtin_shufflevector(four, four, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));     \
    how(four, __builtin_shufflevector(four, four, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));            \
  })
#define ADDED(a, b) ((a) + (b))

/* MARK: Whole numbers */

/* What a cache of codes meets: two bytes a number, or one. */
LATHE_INLINE int is_fine(const uint32_t kind) { return kind == LATHE_CACHE_int8; }

/* The largest number; of two bytes both keep a sign. */
LATHE_INLINE float code_top(const uint32_t kind) { return is_fine(kind) ? 128 * 127 : 127; }

/* The inverse of steps of which the largest code is `top`; 0 where there is nothing to round. */
LATHE_INLINE Lanes inverse_steps(Lanes largest, float top) {
  return ((largest > 1e-30f) & (largest < 3e38f)) ? top / largest : (Lanes)0.0f;
}

/* Nearest whole numbers, of less than four millions, above a constant whose low bits are none. */
#define LATHE_WHOLES 0x4B400000u
LATHE_INLINE LaneWords wholes(Lanes x) { return (LaneWords)(x + 12582912.0f); }

typedef int16_t Shorts __attribute__((vector_size(64)));
typedef int8_t SignedCodes __attribute__((vector_size(64)));

/* The lower halves of 32 numbers, and of 64. */
LATHE_INLINE Shorts lower_halves(LaneWords a, LaneWords b) {
  return __builtin_shufflevector(
    (Shorts)a, (Shorts)b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50,
    52, 54, 56, 58, 60, 62);
}

LATHE_INLINE void store_bytes(Shorts a, Shorts b, int8_t *p) {
  const SignedCodes bytes = __builtin_shufflevector(
    (SignedCodes)a, (SignedCodes)b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44,
    46, 48, 50, 52, 54, 56, 58, 60, 62, 64, 66, 68, 70, 72, 74, 76, 78, 80, 82, 84, 86, 88, 90, 92, 94, 96, 98, 100, 102,
    104, 106, 108, 110, 112, 114, 116, 118, 120, 122, 124, 126);
  memcpy(p, &bytes, sizeof bytes);
}

/* 64 numbers as 128 · high + low, low between -64 and 63; or in one byte. */
LATHE_INLINE void store_wholes(const uint32_t kind, const LaneWords *codes, int8_t *high, int8_t *low) {
  const Shorts a = lower_halves(codes[0], codes[1]), b = lower_halves(codes[2], codes[3]);
  if (!is_fine(kind)) {
    store_bytes(a, b, high);
    return;
  }
  const Shorts more = a + 64, other = b + 64;
  store_bytes(more >> 7, other >> 7, high);
  store_bytes((more & 127) - 64, (other & 127) - 64, low);
}

/* Codes as `dot_quad` has them: of 64 bytes, or the lower or upper halves of 64. */
LATHE_INLINE Codes cache_quad(const uint32_t kind, const uint8_t *p, const int above) {
  Codes w;
  memcpy(&w, p, sizeof w);
  if (kind == LATHE_CACHE_int8) return w ^ (uint8_t)(LATHE_SIGNED_BYTES ? 128 : 0);
  return (Codes)((CodePairs)w >> (uint16_t)(above ? 4 : 0)) & (uint8_t)15;
}

/* What is still to be subtracted from a code. */
LATHE_INLINE int32_t code_bias(const uint32_t kind) {
  return kind == LATHE_CACHE_int4 ? 8 : LATHE_SIGNED_BYTES ? 0 : 128;
}

/* Queries as they meet keys: floats, or whole numbers with steps and sums over groups. */
typedef struct {
  float *values;
  int8_t *high, *low;
  float *steps;
  int32_t *sums;
} Queries;

LATHE_INLINE void round_query(const uint32_t kind, const Queries *q, size_t i, size_t width) {
  for (size_t g = 0; g < width / LATHE_CACHE_GROUP; g++) {
    const size_t at = i * width + g * LATHE_CACHE_GROUP, group = i * (width / LATHE_CACHE_GROUP) + g;
    const Lanes a = load_lanes(q->values + at), b = load_lanes(q->values + at + LATHE_LANES);
    const float largest = largest_of(larger(magnitude(a), magnitude(b)));
    const Lanes inverse = inverse_steps(largest, code_top(kind));
    q->steps[group] = largest / code_top(kind);
    const LaneWords codes[4] = {wholes(a * inverse), wholes(b * inverse)};
    q->sums[group] = (int32_t)__builtin_reduce_add(codes[0] + codes[1] - 2 * LATHE_WHOLES);
    int8_t high[LATHE_CACHE_CHUNK], low[LATHE_CACHE_CHUNK];
    store_wholes(kind, codes, high, low);
    memcpy(q->high + at, high, LATHE_CACHE_GROUP);
    if (is_fine(kind)) memcpy(q->low + at, low, LATHE_CACHE_GROUP);
  }
}

/* MARK: Scores */

/* Scores of `n` queries on one block of keys. */
LATHE_INLINE void score_floats(
    const uint32_t kind, const uint8_t *keys, size_t width, const Queries *q, const size_t n, float *scores,
    size_t stride) {
  Lanes sum[LATHE_CACHE_QUERIES] = {0}, odd[LATHE_CACHE_QUERIES] = {0};
  for (size_t e = 0; e < width; e += 2) {
    const Lanes k = kind == LATHE_CACHE_f32 ? load_lanes((const float *)keys + e * LATHE_LANES)
                                            : lanes_from_halves((const uint16_t *)keys + e * LATHE_LANES);
    const Lanes l = kind == LATHE_CACHE_f32 ? load_lanes((const float *)keys + (e + 1) * LATHE_LANES)
                                            : lanes_from_halves((const uint16_t *)keys + (e + 1) * LATHE_LANES);
    for (size_t i = 0; i < n; i++) {
      sum[i] += q->values[i * width + e] * k;
      odd[i] += q->values[i * width + e + 1] * l;
    }
  }
  for (size_t i = 0; i < n; i++) store_lanes(sum[i] + odd[i], scores + i * stride);
}

/* The same for `blocks` blocks of codes, whose bytes are `size` apart. */
LATHE_INLINE void score_codes(
    const uint32_t kind, const uint8_t *keys, size_t size, const uint16_t *scales, size_t width, const Queries *q,
    const size_t n, const size_t blocks, float *scores, size_t stride) {
  const size_t groups = width / LATHE_CACHE_GROUP;
  Lanes total[LATHE_CACHE_QUERIES][LATHE_CACHE_BLOCKS] = {0};
  for (size_t g = 0; g < groups; g++, scales += LATHE_LANES) {
    /* The bias is subtracted before codes are added. */
    Wholes upper[LATHE_CACHE_QUERIES][LATHE_CACHE_BLOCKS], lower[LATHE_CACHE_QUERIES][LATHE_CACHE_BLOCKS];
    for (size_t i = 0; i < n; i++) {
      for (size_t b = 0; b < blocks; b++) {
        lower[i][b] = (Wholes){} - code_bias(kind) * q->sums[i * groups + g];
        upper[i][b] = is_fine(kind) ? (Wholes){} : lower[i][b];
      }
    }
#pragma clang loop unroll(full)
    for (size_t k = 0; k < LATHE_CACHE_GROUP / 4; k++) {
      Codes codes[LATHE_CACHE_BLOCKS];
      for (size_t b = 0; b < blocks; b++) codes[b] = cache_quad(kind, keys + b * size, k % 2 == 1);
      if (kind == LATHE_CACHE_int8 || k % 2 == 1) {
        for (size_t b = 0; b < blocks; b++) __builtin_prefetch(keys + LATHE_AHEAD + b * size, 0, 2);
        keys += 64;
      }
      for (size_t i = 0; i < n; i++) {
        const size_t at = i * width + g * LATHE_CACHE_GROUP + 4 * k;
        for (size_t b = 0; b < blocks; b++) {
          upper[i][b] = dot_quad(upper[i][b], codes[b], q->high + at, kind == LATHE_CACHE_int8);
        }
        for (size_t b = 0; b < blocks && is_fine(kind); b++) {
          lower[i][b] = dot_quad(lower[i][b], codes[b], q->low + at, kind == LATHE_CACHE_int8);
        }
      }
    }
    for (size_t b = 0; b < blocks; b++) {
      const Lanes scale = lanes_from_halves(scales + b * groups * LATHE_LANES);
      for (size_t i = 0; i < n; i++) {
        const LaneMask sum = (LaneMask)(is_fine(kind) ? (upper[i][b] << 7) + lower[i][b] : upper[i][b]);
        total[i][b] += __builtin_convertvector(sum, Lanes) * (scale * q->steps[i * groups + g]);
      }
    }
  }
  for (size_t i = 0; i < n; i++) {
    for (size_t b = 0; b < blocks; b++) store_lanes(total[i][b], scores + i * stride + b * LATHE_LANES);
  }
}

LATHE_INLINE void score_run(
    const LatheCacheHead *head, const uint32_t kind, size_t first, size_t count, const Queries *q, const size_t n,
    float *scores) {
  const size_t width = head->width, size = LATHE_LANES * cache_row(kind, width), all = (count + 15) / LATHE_LANES;
  const uint8_t *keys = head->keys + first / LATHE_LANES * size;
  const size_t scale_stride = cache_groups(head) * LATHE_LANES;
  const uint16_t *scales = kind < LATHE_CACHE_int8 ? 0 : head->key_scales + first / LATHE_LANES * scale_stride;
  for (size_t b = 0, now; b < all; b += now, keys += now * size) {
    float *to = scores + b * LATHE_LANES;
    now = 1;
    if (kind < LATHE_CACHE_int8) {
      if (kind == LATHE_CACHE_f16) {
        for (size_t line = 0; line < size; line += 64) __builtin_prefetch(keys + LATHE_AHEAD + line, 0, 2);
      }
      score_floats(kind, keys, width, q, n, to, LATHE_CACHE_RUN);
      continue;
    }
    if (all - b >= LATHE_CACHE_BLOCKS) {
      now = LATHE_CACHE_BLOCKS;
      score_codes(kind, keys, size, scales, width, q, n, LATHE_CACHE_BLOCKS, to, LATHE_CACHE_RUN);
    } else {
      score_codes(kind, keys, size, scales, width, q, n, 1, to, LATHE_CACHE_RUN);
    }
    scales += now * scale_stride;
  }
}

/* e^x for x of at most 0, to a relative 5e-7; what is below e^-86 is that. */
LATHE_INLINE Lanes exponential_lanes(Lanes x) {
  x = larger(x, (Lanes)-86.0f);
  const Lanes shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
  const Lanes f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Lanes p = f * 8.3632e-3f + 4.183397e-2f;
  p = p * f + 0.16666577f;
  p = p * f + 0.49999748f;
  /* The whole part goes into the exponent. */
  return (Lanes)((LaneMask)(p * (f * f) + (f + 1.0f)) + ((LaneMask)shifted << 23));
}

/* Scores of the first `seen` positions become weights, others up to `count` zero; returns the sum, and the peak. */
LATHE_INLINE float weights_from_scores(float *s, size_t seen, size_t count, float *peak) {
  const LaneMask numbers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const LaneMask visible = numbers < (int32_t)(seen % LATHE_LANES);
  const size_t whole = seen / LATHE_LANES * LATHE_LANES;
  Lanes highest = -INFINITY, sum = 0;
  for (size_t p = 0; p < whole; p += LATHE_LANES) highest = larger(load_lanes(s + p), highest);
  if (seen > whole) highest = larger(visible ? load_lanes(s + whole) : (Lanes)-INFINITY, highest);
  *peak = largest_of(highest);
  for (size_t p = 0; p < whole; p += LATHE_LANES) {
    const Lanes weight = exponential_lanes(load_lanes(s + p) - *peak);
    store_lanes(weight, s + p);
    sum += weight;
  }
  if (seen > whole) {
    const Lanes weight = visible ? exponential_lanes(load_lanes(s + whole) - *peak) : (Lanes)0.0f;
    store_lanes(weight, s + whole);
    sum += weight;
  }
  for (size_t p = (seen + LATHE_LANES - 1) / LATHE_LANES * LATHE_LANES; p < count; p += LATHE_LANES) {
    store_lanes((Lanes)0.0f, s + p);
  }
  return sum_of(sum);
}

/* MARK: Weighted values */

/* Adds `count` rows of floats under their weights to `vectors` vectors of `n` sums. */
LATHE_INLINE void add_rows(
    const uint32_t kind, const uint8_t *rows, size_t row, size_t v, const size_t vectors, const size_t n,
    const float *weights, size_t count, float *out, size_t out_stride) {
  Lanes sum[LATHE_CACHE_QUERIES][4];
  for (size_t i = 0; i < n; i++) {
    for (size_t k = 0; k < vectors; k++) sum[i][k] = load_lanes(out + i * out_stride + (v + k) * LATHE_LANES);
  }
  for (size_t p = 0; p < count; p++, rows += row) {
    if (kind == LATHE_CACHE_f16) {
      for (size_t k = 0; k < vectors; k += 2) __builtin_prefetch(rows + LATHE_AHEAD + 32 * (v + k), 0, 2);
    }
    for (size_t k = 0; k < vectors; k++) {
      const Lanes x = value_lanes(kind, rows, v + k);
      for (size_t i = 0; i < n; i++) sum[i][k] += weights[i * LATHE_CACHE_RUN + p] * x;
    }
  }
  for (size_t i = 0; i < n; i++) {
    for (size_t k = 0; k < vectors; k++) store_lanes(sum[i][k], out + i * out_stride + (v + k) * LATHE_LANES);
  }
}

LATHE_INLINE void weigh_floats(
    const LatheCacheHead *head, const uint32_t kind, size_t first, size_t count, const size_t n, const float *weights,
    float *out, size_t out_stride) {
  const size_t width = head->width, row = cache_row(kind, width), vectors = width / LATHE_LANES;
  for (size_t at = 0; at < count; at += LATHE_CACHE_CHUNK) {
    const size_t rest = count - at < LATHE_CACHE_CHUNK ? count - at : LATHE_CACHE_CHUNK;
    const uint8_t *rows = head->values + (first + at) * row;
    size_t v = 0;
    for (; v + 4 <= vectors; v += 4) add_rows(kind, rows, row, v, 4, n, weights + at, rest, out, out_stride);
    for (; v + 2 <= vectors; v += 2) add_rows(kind, rows, row, v, 2, n, weights + at, rest, out, out_stride);
    for (; v < vectors; v++) add_rows(kind, rows, row, v, 1, n, weights + at, rest, out, out_stride);
  }
}

/* Weights of a chunk times the scales of its positions, as whole numbers. */
typedef struct {
  /* What codes' bias adds to sums. */
  int32_t starts[LATHE_LANES];
  float steps[LATHE_LANES];
  int8_t high[LATHE_CACHE_QUERIES][LATHE_CACHE_CHUNK], low[LATHE_CACHE_QUERIES][LATHE_CACHE_CHUNK];
} CacheWeights;

/*
 * Rounds a chunk's weights for all groups of elements. The largest code bounds the largest weight times the largest scale;
 * scales count of the `visible` positions alone, which all queries see.
 */
LATHE_INLINE void round_weights(
    const uint32_t kind, const float *weights, const uint16_t *scales, size_t groups, const size_t blocks,
    const size_t n, size_t visible, size_t at, CacheWeights *out) {
  const LaneMask numbers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  Lanes shares[LATHE_CACHE_QUERIES][4] = {0}, peaks[LATHE_CACHE_QUERIES] = {0};
  for (size_t i = 0; i < n; i++) {
    for (size_t b = 0; b < blocks; b++) {
      shares[i][b] = load_lanes(weights + i * LATHE_CACHE_RUN + b * LATHE_LANES);
      peaks[i] = larger(shares[i][b], peaks[i]);
    }
  }
  const Lanes largest = REDUCE_FOUR(peaks, larger), inverses = inverse_steps(largest, 1);
  for (size_t i = 0; i < n; i++) {
    const float inverse = inverses[i];
    for (size_t b = 0; b < blocks; b++) shares[i][b] *= inverse;
  }
  for (size_t g = 0; g < groups; g++, out++, scales += LATHE_LANES) {
    Lanes scale[4] = {0}, widest = 0;
    LaneWords sums[LATHE_CACHE_QUERIES] = {0};
    for (size_t b = 0; b < blocks; b++) {
      scale[b] = lanes_from_halves(scales + b * groups * LATHE_LANES);
      const Lanes size = magnitude(scale[b]);
      widest = larger(visible >= (b + 1) * LATHE_LANES || numbers < (int32_t)(visible - b * LATHE_LANES) ? size : 0, widest);
    }
    const float bound = largest_of(widest);
    const Lanes inverse = inverse_steps(bound, code_top(kind));
    for (size_t b = 0; b < blocks; b++) scale[b] *= inverse;
    for (size_t i = 0; i < n; i++) {
      LaneWords codes[4];
      for (size_t b = 0; b < 4; b++) sums[i] += codes[b] = wholes(shares[i][b] * scale[b]);
      store_wholes(kind, codes, out->high[at + i], out->low[at + i]);
    }
    const Lanes steps = largest * (bound / code_top(kind));
    const LaneWords total = REDUCE_FOUR(sums, ADDED) - LATHE_CACHE_CHUNK * LATHE_WHOLES;
    const LaneMask starts = (LaneMask)total * -code_bias(kind);
    memcpy(out->steps + at, &steps, n * sizeof(float));
    memcpy(out->starts + at, &starts, n * sizeof(float));
  }
}

/* Adds a chunk's values of one group of elements under their weights. */
LATHE_INLINE void add_chunk(
    const uint32_t kind, const uint8_t *rows, size_t four, const size_t blocks, const size_t n, const CacheWeights *w,
    float *out, size_t out_stride) {
  Wholes upper[LATHE_CACHE_QUERIES][2], lower[LATHE_CACHE_QUERIES][2];
  for (size_t i = 0; i < n; i++) {
    for (int k = 0; k < 2; k++) {
      lower[i][k] = (Wholes){} + w->starts[i];
      upper[i][k] = is_fine(kind) ? (Wholes){} : lower[i][k];
    }
  }
  for (size_t p = 0; p < blocks * LATHE_LANES; p += 4, rows += four) {
    for (int k = 0; k < 2; k++) {
      __builtin_prefetch(rows + LATHE_AHEAD + 64 * k, 0, 2);
      const Codes codes = cache_quad(kind, rows + (kind == LATHE_CACHE_int8 ? 64 * k : 0), k);
      for (size_t i = 0; i < n; i++) {
        upper[i][k] = dot_quad(upper[i][k], codes, w->high[i] + p, kind == LATHE_CACHE_int8);
        if (is_fine(kind)) lower[i][k] = dot_quad(lower[i][k], codes, w->low[i] + p, kind == LATHE_CACHE_int8);
      }
    }
  }
  for (size_t i = 0; i < n; i++) {
    for (size_t k = 0; k < 2; k++) {
      float *o = out + i * out_stride + k * LATHE_LANES;
      const LaneMask sum = (LaneMask)(is_fine(kind) ? (upper[i][k] << 7) + lower[i][k] : upper[i][k]);
      store_lanes(load_lanes(o) + __builtin_convertvector(sum, Lanes) * w->steps[i], o);
    }
  }
}

/* `seen` tells how many of `count` positions each query sees. */
LATHE_INLINE void weigh_codes(
    const LatheCacheHead *head, const uint32_t kind, size_t first, size_t count, const size_t n, const size_t *seen,
    const float *weights, CacheWeights *rounded, float *out, size_t out_stride) {
  const size_t width = head->width, groups = cache_groups(head), four = 4 * cache_row(kind, width);
  size_t least = count;
  for (size_t i = 0; i < n; i++) least = seen[i] < least ? seen[i] : least;
  for (size_t at = 0; at < count; at += LATHE_CACHE_CHUNK) {
    const uint16_t *scales = head->value_scales + (first + at) / LATHE_LANES * groups * LATHE_LANES;
    const size_t blocks = LATHE_CACHE_CHUNK / LATHE_LANES, left = (count - at + LATHE_LANES - 1) / LATHE_LANES;
    if (at + LATHE_CACHE_CHUNK <= least) {
      round_weights(kind, weights + at, scales, groups, blocks, n, LATHE_CACHE_CHUNK, 0, rounded);
    } else {
      for (size_t i = 0; i < n; i++) {
        const size_t visible = seen[i] > at ? seen[i] - at : 0;
        round_weights(
          kind, weights + i * LATHE_CACHE_RUN + at, scales, groups, left < blocks ? left : blocks, 1, visible, i, rounded);
      }
    }
    for (size_t g = 0; g < groups; g++) {
      const uint8_t *rows = head->values + value_byte(kind, width, first + at, 2 * g);
      float *o = out + 2 * g * LATHE_LANES;
      if (left >= blocks) add_chunk(kind, rows, four, blocks, n, rounded + g, o, out_stride);
      else add_chunk(kind, rows, four, left, n, rounded + g, o, out_stride);
    }
  }
}

/* MARK: Attention */

/* `n` queries, at most four, from number `from` of all. */
LATHE_INLINE void attend_some(
    const LatheCacheHead *head, const uint32_t kind, const LatheCacheQueries *all, size_t from, const size_t n,
    size_t first, size_t count, float *scratch, float *out, size_t out_stride) {
  const size_t width = head->width, groups = cache_groups(head);
  out += from * out_stride;
  CacheWeights *rounded = (CacheWeights *)scratch;
  float *scores = (float *)(rounded + groups);
  Queries q = {.values = scores + LATHE_CACHE_QUERIES * LATHE_CACHE_RUN};
  q.steps = q.values + LATHE_CACHE_QUERIES * width;
  q.sums = (int32_t *)(q.steps + LATHE_CACHE_QUERIES * groups);
  q.high = (int8_t *)(q.sums + LATHE_CACHE_QUERIES * groups);
  q.low = q.high + LATHE_CACHE_QUERIES * width;
  size_t seen[LATHE_CACHE_QUERIES], most = 0;
  for (size_t i = 0; i < n; i++) {
    const size_t token = (from + i) / all->heads, place = (from + i) % all->heads, visible = all->start + token + 1;
    const float *x = all->queries + token * all->stride + place * head->dim;
    size_t e = 0;
    for (; e + LATHE_LANES <= head->dim; e += LATHE_LANES) {
      store_lanes(load_lanes(x + e) * all->scale, q.values + i * width + e);
    }
    for (; e < width; e++) q.values[i * width + e] = e < head->dim ? x[e] * all->scale : 0;
    if (kind >= LATHE_CACHE_int8) round_query(kind, &q, i, width);
    seen[i] = visible <= first ? 0 : visible - first < count ? visible - first : count;
    most = seen[i] > most ? seen[i] : most;
  }
  score_run(head, kind, first, most, &q, n, scores);
  for (size_t i = 0; i < n; i++) {
    float *o = out + i * out_stride;
    for (size_t e = 0; e < width; e++) o[e] = 0;
    o[width + 1] = weights_from_scores(scores + i * LATHE_CACHE_RUN, seen[i], most, o + width);
  }
  if (kind < LATHE_CACHE_int8) weigh_floats(head, kind, first, most, n, scores, out, out_stride);
  else weigh_codes(head, kind, first, most, n, seen, scores, rounded, out, out_stride);
}

LATHE_INLINE void attend_kind(
    const LatheCacheHead *head, const uint32_t kind, const LatheCacheQueries *all, size_t first, size_t count,
    float *scratch, float *out, size_t out_stride) {
  const size_t total = all->tokens * all->heads;
  size_t i = 0;
  for (; i + 4 <= total; i += 4) attend_some(head, kind, all, i, 4, first, count, scratch, out, out_stride);
  for (; i + 2 <= total; i += 2) attend_some(head, kind, all, i, 2, first, count, scratch, out, out_stride);
  for (; i < total; i++) attend_some(head, kind, all, i, 1, first, count, scratch, out, out_stride);
}

static void attend_run(
    const LatheCacheHead *head, const LatheCacheQueries *queries, size_t first, size_t count, float *scratch, float *out,
    size_t out_stride) {
  switch (head->kind) {
    case LATHE_CACHE_f32: attend_kind(head, LATHE_CACHE_f32, queries, first, count, scratch, out, out_stride); break;
    case LATHE_CACHE_f16: attend_kind(head, LATHE_CACHE_f16, queries, first, count, scratch, out, out_stride); break;
    case LATHE_CACHE_int8: attend_kind(head, LATHE_CACHE_int8, queries, first, count, scratch, out, out_stride); break;
    default: attend_kind(head, LATHE_CACHE_int4, queries, first, count, scratch, out, out_stride);
  }
}

static void merge_runs(const float *parts, size_t runs, size_t stride, size_t width, size_t dim, float *out) {
  float peak = -INFINITY, sum = 0;
  for (size_t r = 0; r < runs; r++) peak = parts[r * stride + width] > peak ? parts[r * stride + width] : peak;
  for (size_t e = 0; e < dim; e++) out[e] = 0;
  for (size_t r = 0; r < runs; r++) {
    const float *part = parts + r * stride;
    if (part[width + 1] == 0) continue;
    const float factor = fast_exp(part[width] - peak);
    sum += part[width + 1] * factor;
    for (size_t e = 0; e < dim; e++) out[e] += part[e] * factor;
  }
  const float norm = 1 / sum;
  for (size_t e = 0; e < dim; e++) out[e] *= norm;
}

#pragma clang fp reassociate(on) contract(fast)
