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
/* The lanes that registers hold sums for. */
#ifndef LATHE_CACHE_SUMS
#define LATHE_CACHE_SUMS 4
#endif
/* Queries whose sums of codes' products are made together. */
#ifndef LATHE_CODE_QUERIES
#define LATHE_CODE_QUERIES LATHE_CACHE_QUERIES
#endif
/* Fewer than all are to stay in registers. */
#if LATHE_CODE_QUERIES < LATHE_CACHE_QUERIES
#define LATHE_EACH_CODE_QUERY _Pragma("clang loop unroll(full)")
#else
#define LATHE_EACH_CODE_QUERY
#endif
/* All queries' weights go without a loop where registers hold them. */
#if LATHE_CACHE_SUMS >= 16
#define LATHE_EACH_QUERY _Pragma("clang loop unroll(full)")
#else
#define LATHE_EACH_QUERY
#endif
/*
 * Products of a group's scores that follow one another without a loop: all of them have compilers load what they meet first, and
 * spill it where registers are few.
 */
#ifndef LATHE_SCORE_STEPS
#define LATHE_SCORE_STEPS 8
#endif
/*
 * How many bytes ahead keys and values are called for into the first cache; how many scales. Before that, where a set says so,
 * they are called for into the second one: LATHE_CACHE_FAR bytes for each element of a row ahead.
 */
#ifndef LATHE_CACHE_AHEAD
#define LATHE_CACHE_AHEAD 4096
#endif
#ifndef LATHE_SCALES_AHEAD
#define LATHE_SCALES_AHEAD 512
#endif
/* Positions whose weights share a step. */
#define LATHE_CACHE_CHUNK 64
/* The bytes of rows of floats that are met once for some vectors after another: a quarter of a small first cache. */
#define LATHE_CACHE_ROWS 8192

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

/* Calls for a line that is met soon, and for one that is met later, in rows of `width` elements. */
LATHE_INLINE void fetch_lines(const uint8_t *soon, size_t width) {
#ifdef LATHE_CACHE_FAR
  __builtin_prefetch(soon - LATHE_CACHE_AHEAD + LATHE_CACHE_FAR * width, 0, 2);
#endif
  __builtin_prefetch(soon);
}

LATHE_INLINE void fetch_scales(const uint16_t *p) {
#ifdef LATHE_CACHE_FAR
  __builtin_prefetch(p + LATHE_SCALES_AHEAD, 0, 2);
#else
  __builtin_prefetch(p + LATHE_SCALES_AHEAD);
#endif
}

#define LANE_NUMBERS ((LaneMask){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
/* What stands for the peak of scores of which none is seen. */
#define LATHE_UNSEEN -1e30f

/* The sum of sixteen lanes. */
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

#include "code_sums.h"

/* The largest number; of two bytes both keep a sign. */
LATHE_INLINE float code_top(const uint32_t kind) { return is_fine(kind) ? 128 * 127 : 127; }

/* The inverse of steps of which the largest code is `top`; 0 where there is nothing to round. */
LATHE_INLINE Lanes inverse_steps(Lanes largest, float top) {
  return ((largest > 1e-30f) & (largest < 3e38f)) ? top / largest : (Lanes)0.0f;
}

/* Codes as products have them: of 64 bytes, or the lower or upper halves of 64. */
LATHE_INLINE Codes cache_quad(const uint32_t kind, const uint8_t *p, const int above) {
  Codes w;
  memcpy(&w, p, sizeof w);
  if (kind == LATHE_CACHE_int8) return w ^ (uint8_t)(LATHE_SIGNED_CODES ? 128 : 0);
  return (Codes)((CodePairs)w >> (uint16_t)(above ? 4 : 0)) & (uint8_t)15;
}

/* What is still to be subtracted from a code. */
LATHE_INLINE int32_t code_bias(const uint32_t kind) {
  return kind == LATHE_CACHE_int4 ? 8 : LATHE_SIGNED_CODES ? 0 : 128;
}

/* Queries as they meet keys: floats, or whole numbers with, for each group, a step and what codes' bias adds to sums. */
typedef struct {
  float *values;
  /* 2 · width bytes a query. */
  int8_t *numbers;
  float *steps;
  int32_t *starts;
} Queries;

LATHE_INLINE void round_query(const uint32_t kind, const Queries *q, size_t i, size_t width) {
  for (size_t g = 0; g < width / LATHE_CACHE_GROUP; g++) {
    const size_t at = i * width + g * LATHE_CACHE_GROUP, group = i * (width / LATHE_CACHE_GROUP) + g;
    const Lanes a = load_lanes(q->values + at), b = load_lanes(q->values + at + LATHE_LANES);
    const float largest = largest_of(larger(magnitude(a), magnitude(b)));
    const Lanes inverse = inverse_steps(largest, code_top(kind));
    q->steps[group] = largest / code_top(kind);
    const LaneWords codes[4] = {wholes(a * inverse), wholes(b * inverse)};
    q->starts[group] = -code_bias(kind) * (int32_t)__builtin_reduce_add(codes[0] + codes[1] - 2 * LATHE_WHOLES);
    int8_t numbers[2 * LATHE_CACHE_CHUNK];
    store_numbers(kind, codes, numbers);
    copy_numbers(kind, numbers, q->numbers + 2 * i * width, g * LATHE_CACHE_GROUP, width);
  }
}

/* MARK: Scores */

/* Scores of `n` queries on one block of keys. */
LATHE_INLINE void score_floats(
    const uint32_t kind, const uint8_t *keys, size_t width, const Queries *q, const size_t n, float *scores,
    size_t stride) {
  const size_t parts = LATHE_CACHE_SUMS / LATHE_CACHE_QUERIES > 1 ? 2 : 1;
  Lanes sum[2][LATHE_CACHE_QUERIES] = {{0}};
  for (size_t e = 0; e < width; e += 2) {
    if (kind == LATHE_CACHE_f16) fetch_lines(keys + LATHE_CACHE_AHEAD + 2 * e * LATHE_LANES, width);
    for (size_t k = 0; k < 2; k++) {
      const size_t at = (e + k) * LATHE_LANES;
      const Lanes key = kind == LATHE_CACHE_f32 ? load_lanes((const float *)keys + at)
                                                : lanes_from_halves((const uint16_t *)keys + at);
      for (size_t i = 0; i < n; i++) sum[k % parts][i] += q->values[i * width + e + k] * key;
    }
  }
  for (size_t i = 0; i < n; i++) store_lanes(parts > 1 ? sum[0][i] + sum[1][i] : sum[0][i], scores + i * stride);
}

LATHE_INLINE void score_run(
    const LatheCacheHead *head, const uint32_t kind, size_t first, size_t count, const Queries *q, const size_t n,
    float *scores) {
  const size_t size = LATHE_LANES * cache_row(kind, head->width);
  const uint8_t *keys = head->keys + first / LATHE_LANES * size;
  for (size_t at = 0; at < count; at += LATHE_LANES, keys += size) {
    score_floats(kind, keys, head->width, q, n, scores + at, LATHE_CACHE_RUN);
  }
}

/*
 * 2^x for x of at most 0; what is below 2^-124 is that, or less. Single precision, or to a relative 1e-4 where one byte is made
 * of it.
 */
#ifndef LATHE_OWN_POWERS
LATHE_INLINE Lanes powers_of_two(Lanes x, const int is_exact) {
  x = larger(x, (Lanes)-124.0f);
  const Lanes shifted = x + 12582912.0f, f = x - (shifted - 12582912.0f);
  Lanes p = is_exact ? f * 1.32647e-3f + 9.67151e-3f : (Lanes)5.500893e-2f;
  if (is_exact) p = p * f + 5.550734e-2f;
  p = p * f + (is_exact ? 2.4022242e-1f : 2.4221097e-1f);
  p = p * f + (is_exact ? 6.9314698e-1f : 6.9328293e-1f);
  p = p * f + 1.0f;
  /* The whole part goes into the exponent. */
  return (Lanes)((LaneMask)p + ((LaneMask)shifted << 23));
}
#endif

/*
 * Scores of the first `seen` positions become weights, others up to `count` zero; returns their sum. They are relative to the
 * largest, or to `peak` where that is larger, which receives it.
 */
LATHE_INLINE float weights_from_scores(float *s, size_t seen, size_t count, float *peak) {
  const LaneMask visible = LANE_NUMBERS < (int32_t)(seen % LATHE_LANES);
  const size_t whole = seen / LATHE_LANES * LATHE_LANES;
  Lanes highest = -INFINITY, sum = 0;
  for (size_t p = 0; p < whole; p += LATHE_LANES) highest = larger(load_lanes(s + p), highest);
  if (seen > whole) highest = larger(visible ? load_lanes(s + whole) : (Lanes)-INFINITY, highest);
  const float largest = largest_of(highest), top = largest > *peak ? largest : *peak;
  *peak = top;
  for (size_t p = 0; p < whole; p += LATHE_LANES) {
    const Lanes weight = powers_of_two(load_lanes(s + p) - top, 1);
    store_lanes(weight, s + p);
    sum += weight;
  }
  if (seen > whole) {
    const Lanes weight = visible ? powers_of_two(load_lanes(s + whole) - top, 1) : (Lanes)0.0f;
    store_lanes(weight, s + whole);
    sum += weight;
  }
  for (size_t p = (seen + LATHE_LANES - 1) / LATHE_LANES * LATHE_LANES; p < count; p += LATHE_LANES) {
    store_lanes((Lanes)0.0f, s + p);
  }
  return sum_of(sum);
}

/* MARK: Weighted values */

/*
 * Adds `count` rows of floats under their weights to `vectors` vectors of `n` sums, of which `v` come before. Rows are met once
 * for so many vectors, and each time a share of what lies `distance` bytes ahead is called for.
 */
LATHE_INLINE void add_rows(
    const uint32_t kind, const uint8_t *rows, size_t row, size_t v, const size_t vectors, const size_t n,
    const float *weights, size_t count, size_t distance, float *out, size_t out_stride) {
  const size_t element = kind == LATHE_CACHE_f16 ? 2 : 4, share = vectors * element * LATHE_LANES;
  const uint8_t *ahead = rows + distance + v / vectors * share * count;
  Lanes sum[LATHE_CACHE_QUERIES][4];
  for (size_t i = 0; i < n; i++) {
    for (size_t k = 0; k < vectors; k++) sum[i][k] = load_lanes(out + i * out_stride + (v + k) * LATHE_LANES);
  }
  for (size_t p = 0; p < count; p++, rows += row, ahead += share) {
    if (kind == LATHE_CACHE_f16 || share < row) {
      for (size_t line = 0; line < share; line += 64) fetch_lines(ahead + line, row / element);
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
  const size_t most = LATHE_CACHE_SUMS / n < 4 ? LATHE_CACHE_SUMS / n : 4;
  const size_t together = row < LATHE_CACHE_ROWS / LATHE_LANES ? LATHE_CACHE_ROWS / row : LATHE_LANES;
  /* Met once, rows come in order; met again, the next ones are needed when these are done. */
  const size_t distance = vectors <= most ? LATHE_CACHE_AHEAD : together * row;
  for (size_t at = 0; at < count; at += together) {
    const size_t rest = count - at < together ? count - at : together;
    const uint8_t *rows = head->values + (first + at) * row;
    const float *w = weights + at;
    size_t v = 0;
    for (; most >= 4 && v + 4 <= vectors; v += 4) add_rows(kind, rows, row, v, 4, n, w, rest, distance, out, out_stride);
    for (; most >= 2 && v + 2 <= vectors; v += 2) add_rows(kind, rows, row, v, 2, n, w, rest, distance, out, out_stride);
    for (; v < vectors; v++) add_rows(kind, rows, row, v, 1, n, w, rest, distance, out, out_stride);
  }
}

#include "attention_codes.h"

/* MARK: Attention */

/* `n` queries on one run. */
LATHE_INLINE void attend_run(
    const LatheCacheHead *head, const uint32_t kind, size_t first, size_t count, const Queries *q, const size_t n,
    const size_t *seen, float *scores, CacheWeights *rounded, float *out, size_t stride) {
  const size_t width = head->width;
  size_t own[LATHE_CACHE_QUERIES], most = 0;
  for (size_t i = 0; i < n; i++) {
    own[i] = seen[i] <= first ? 0 : seen[i] - first < count ? seen[i] - first : count;
    most = own[i] > most ? own[i] : most;
    for (size_t e = 0; e < width; e += LATHE_LANES) store_lanes((Lanes){}, out + i * stride + e);
  }
  if (kind >= LATHE_CACHE_int8) {
    if (width == 64) attend_codes(head, kind, 64, first, most, q, n, seen, scores, rounded, out, stride);
    else attend_codes(head, kind, width, first, most, q, n, seen, scores, rounded, out, stride);
    return;
  }
  score_run(head, kind, first, most, q, n, scores);
  for (size_t i = 0; i < n; i++) {
    float *o = out + i * stride + width;
    o[0] = -INFINITY;
    o[1] = weights_from_scores(scores + i * LATHE_CACHE_RUN, own[i], most, o);
  }
  weigh_floats(head, kind, first, most, n, scores, out, stride);
}

/* `n` queries, at most four, from number `from` of all. */
LATHE_INLINE void attend_some(
    const LatheCacheHead *head, const uint32_t kind, const LatheCacheQueries *all, size_t from, const size_t n,
    size_t first, size_t count, float *scratch, float *out, size_t run_stride, size_t stride) {
  const size_t width = head->width, groups = cache_groups(head);
  CacheWeights *rounded = (CacheWeights *)scratch;
  float *scores = (float *)(rounded + groups);
  Queries q = {.values = scores + LATHE_CACHE_QUERIES * LATHE_CACHE_RUN};
  q.steps = q.values + LATHE_CACHE_QUERIES * width;
  q.starts = (int32_t *)(q.steps + LATHE_CACHE_QUERIES * groups);
  q.numbers = (int8_t *)(q.starts + LATHE_CACHE_QUERIES * groups);
  /* Weights are powers of two. */
  const float scale = all->scale * 1.44269504f;
  /* Each query sees the positions before this one. */
  size_t seen[LATHE_CACHE_QUERIES];
  for (size_t i = 0; i < n; i++) {
    const size_t token = (from + i) / all->heads, place = (from + i) % all->heads;
    const float *x = all->queries + token * all->stride + place * head->dim;
    size_t e = 0;
    for (; e + LATHE_LANES <= head->dim; e += LATHE_LANES) {
      store_lanes(load_lanes(x + e) * scale, q.values + i * width + e);
    }
    for (; e < width; e++) q.values[i * width + e] = e < head->dim ? x[e] * scale : 0;
    if (kind >= LATHE_CACHE_int8) round_query(kind, &q, i, width);
    seen[i] = all->start + token + 1;
  }
  out += from * stride;
  for (size_t done = 0, now; done < count; done += now, out += run_stride) {
    now = count - done < LATHE_CACHE_RUN ? count - done : LATHE_CACHE_RUN;
    attend_run(head, kind, first + done, now, &q, n, seen, scores, rounded, out, stride);
  }
}

LATHE_INLINE void attend_kind(
    const LatheCacheHead *head, const uint32_t kind, const LatheCacheQueries *all, size_t first, size_t count,
    float *scratch, float *out, size_t run_stride, size_t stride) {
  const size_t total = all->tokens * all->heads;
  size_t i = 0;
  for (; i + 4 <= total; i += 4) attend_some(head, kind, all, i, 4, first, count, scratch, out, run_stride, stride);
  for (; i + 3 <= total; i += 3) attend_some(head, kind, all, i, 3, first, count, scratch, out, run_stride, stride);
  for (; i + 2 <= total; i += 2) attend_some(head, kind, all, i, 2, first, count, scratch, out, run_stride, stride);
  for (; i < total; i++) attend_some(head, kind, all, i, 1, first, count, scratch, out, run_stride, stride);
}

#define ATTEND_KIND(kind) attend_kind(head, kind, queries, first, count, scratch, out, run_stride, stride)
static void attend(
    const LatheCacheHead *head, const LatheCacheQueries *queries, size_t first, size_t count, float *scratch, float *out,
    size_t run_stride, size_t stride) {
  switch (head->kind) {
    case LATHE_CACHE_f32: ATTEND_KIND(LATHE_CACHE_f32); break;
    case LATHE_CACHE_f16: ATTEND_KIND(LATHE_CACHE_f16); break;
    case LATHE_CACHE_int8: ATTEND_KIND(LATHE_CACHE_int8); break;
    default: ATTEND_KIND(LATHE_CACHE_int4);
  }
}

static void merge_runs(const float *parts, size_t runs, size_t stride, size_t width, size_t dim, float *out) {
  float peak = -INFINITY, sum = 0;
  for (size_t r = 0; r < runs; r++) peak = parts[r * stride + width] > peak ? parts[r * stride + width] : peak;
  for (size_t e = 0; e < dim; e++) out[e] = 0;
  for (size_t r = 0; r < runs; r++) {
    const float *part = parts + r * stride;
    if (part[width + 1] == 0) continue;
    const float factor = fast_exp((part[width] - peak) * 0.693147181f);
    sum += part[width + 1] * factor;
    for (size_t e = 0; e < dim; e++) out[e] += part[e] * factor;
  }
  const float norm = 1 / sum;
  for (size_t e = 0; e < dim; e++) out[e] *= norm;
}

#include "attention_tile.h"

#pragma clang fp reassociate(on) contract(fast)
