/* Attention over a cache of codes, which meet whole numbers: scores, weights and values of a chunk of positions. */

/*
 * Scores of queries `first ..< n` on `blocks` blocks of codes, whose bytes are `size` apart; each query's `largest` is raised to
 * them.
 */
LATHE_INLINE void score_codes(
    const uint32_t kind, const uint8_t *keys, size_t size, const uint16_t *scales, size_t width, const Queries *q,
    const size_t first, const size_t n, const size_t blocks, float *scores, size_t stride, Lanes *restrict largest) {
  const size_t groups = width / LATHE_CACHE_GROUP;
  Lanes total[LATHE_CACHE_QUERIES][LATHE_CACHE_BLOCKS] = {0};
  for (size_t g = 0; g < groups; g++, scales += LATHE_LANES) {
    /* The bias is subtracted before codes are added. */
    CodeSums sums[LATHE_CACHE_QUERIES][LATHE_CACHE_BLOCKS];
    for (size_t i = first; i < n; i++) {
      for (size_t b = 0; b < blocks; b++) sums[i][b] = begin_sums(kind, q->starts[i * groups + g]);
    }
#pragma clang loop unroll_count(LATHE_SCORE_STEPS)
    for (size_t k = 0; k < LATHE_CACHE_GROUP / 4; k++) {
      Codes codes[LATHE_CACHE_BLOCKS];
      for (size_t b = 0; b < blocks; b++) codes[b] = cache_quad(kind, keys + b * size, k % 2 == 1);
      if (kind == LATHE_CACHE_int8 || k % 2 == 1) {
        for (size_t b = 0; b < blocks; b++) fetch_lines(keys + LATHE_CACHE_AHEAD + b * size, width);
        keys += 64;
      }
      const size_t at = g * LATHE_CACHE_GROUP + 4 * k;
      LATHE_EACH_CODE_QUERY
      for (size_t i = first; i < n; i++) {
        const int8_t *numbers = q->numbers + 2 * i * width;
        for (size_t b = 0; b < blocks; b++) meet_numbers(kind, &sums[i][b], codes[b], numbers, at, width, k, LATHE_NUMBERS_RUN);
      }
    }
    for (size_t b = 0; b < blocks; b++) {
      const uint16_t *own = scales + b * groups * LATHE_LANES;
      const Lanes scale = lanes_from_halves(own);
      if (g % 2 == 0) fetch_scales(own);
      for (size_t i = first; i < n; i++) {
        total[i][b] += __builtin_convertvector(whole_sums(kind, &sums[i][b]), Lanes) * (scale * q->steps[i * groups + g]);
      }
    }
  }
  for (size_t i = first; i < n; i++) {
    for (size_t b = 0; b < blocks; b++) {
      store_lanes(total[i][b], scores + i * stride + b * LATHE_LANES);
      largest[i] = larger(total[i][b], largest[i]);
    }
  }
}

/*
 * Those of `n` queries, of as many at a time as registers hold sums for;
 * all at once without a loop, which compiles to other code.
 */
LATHE_INLINE void score_queries(
    const uint32_t kind, const uint8_t *keys, size_t size, const uint16_t *scales, size_t width, const Queries *q,
    const size_t n, const size_t blocks, float *scores, Lanes *restrict largest) {
  const size_t some = LATHE_CODE_QUERIES, stride = LATHE_CACHE_CHUNK;
  if (n <= some) {
    score_codes(kind, keys, size, scales, width, q, 0, n, blocks, scores, stride, largest);
    return;
  }
#pragma clang loop unroll(full)
  for (size_t i = 0; i < n; i += some) {
    score_codes(kind, keys, size, scales, width, q, i, n < i + some ? n : i + some, blocks, scores, stride, largest);
  }
}

/*
 * Scores of the blocks of a chunk of codes, of which each query sees the positions before `seen`; those of others are
 * below all. Returns the largest, a query a lane.
 */
LATHE_INLINE Lanes score_chunk(
    const LatheCacheHead *head, const uint32_t kind, const size_t width, size_t position, size_t blocks, const Queries *q,
    const size_t n, const size_t *seen, float *scores) {
  const size_t size = LATHE_LANES * cache_row(kind, width);
  const size_t stride = width / LATHE_CACHE_GROUP * LATHE_LANES;
  const uint8_t *keys = head->keys + position / LATHE_LANES * size;
  const uint16_t *scales = head->key_scales + position / LATHE_LANES * stride;
  const size_t together = LATHE_CACHE_BLOCKS;
  Lanes largest[LATHE_CACHE_QUERIES];
  for (size_t i = 0; i < LATHE_CACHE_QUERIES; i++) largest[i] = (Lanes)LATHE_UNSEEN;
  size_t b = 0;
  for (float *to = scores; b + together <= blocks; b += together, to += together * LATHE_LANES) {
    score_queries(kind, keys + b * size, size, scales + b * stride, width, q, n, together, to, largest);
  }
  for (; b < blocks; b++) {
    float *to = scores + b * LATHE_LANES;
    score_queries(kind, keys + b * size, size, scales + b * stride, width, q, n, 1, to, largest);
  }
  for (size_t i = 0; i < n; i++) {
    const size_t sees = seen[i] > position ? seen[i] - position : 0;
    if (sees >= blocks * LATHE_LANES) continue;
    float *own = scores + i * LATHE_CACHE_CHUNK;
    for (size_t p = sees; p < blocks * LATHE_LANES; p++) own[p] = -INFINITY;
    largest[i] = (Lanes)LATHE_UNSEEN;
    for (b = 0; b < blocks; b++) largest[i] = larger(load_lanes(own + b * LATHE_LANES), largest[i]);
  }
  return REDUCE_FOUR(largest, larger);
}

/* Weights of a chunk times the scales of its positions, as whole numbers. */
typedef struct {
  /* What codes' bias adds to sums. */
  int32_t starts[LATHE_CACHE_QUERIES];
  float steps[LATHE_CACHE_QUERIES];
  /* What a code is multiplied by where the weight is 1, and its inverse. */
  float step, inverse;
  int8_t numbers[LATHE_CACHE_QUERIES][2 * LATHE_CACHE_CHUNK];
} CacheWeights;

/* The largest of a chunk's scales, for each group of elements, of the `visible` positions. */
LATHE_INLINE void bound_scales(
    const uint32_t kind, const uint16_t *scales, size_t groups, const size_t blocks, size_t visible, CacheWeights *out) {
  const float top = code_top(kind);
  for (size_t g = 0; g < groups; g++, out++, scales += LATHE_LANES) {
    /* Magnitudes are in the order of their bits. */
    LaneHalves widest = 0;
    for (size_t b = 0; b < blocks; b++) {
      const uint16_t *own = scales + b * groups * LATHE_LANES;
      LaneHalves size;
      memcpy(&size, own, sizeof size);
      size &= (uint16_t)0x7fff;
      if (g % 2 == 0) fetch_scales(own);
      if (visible < (b + 1) * LATHE_LANES) {
        size &= __builtin_convertvector(LANE_NUMBERS < (int32_t)(visible - b * LATHE_LANES), LaneHalves);
      }
      widest = __builtin_elementwise_max(size, widest);
    }
    uint16_t most[LATHE_LANES];
    memcpy(most, &widest, sizeof most);
    const float bound = largest_of(lanes_from_halves(most));
    out->step = bound * (1 / top);
    out->inverse = bound > 1e-30f && bound < 3e38f ? top / bound : 0;
  }
}

/*
 * Rounds the weights of a chunk's scores for all groups of elements, and adds them to `sums`, times each query's factor.
 * The largest code stands for the largest weight, which is that of a chunk's peak and 1, times the largest scale, which
 * `out` holds.
 */
LATHE_INLINE void round_weights(
    const uint32_t kind, const float *scores, const float *peaks, Lanes factors, const uint16_t *scales, size_t groups,
    const size_t blocks, const size_t n, size_t at, CacheWeights *out, Lanes *sums) {
  Lanes shares[LATHE_CACHE_QUERIES][4];
  LATHE_EACH_QUERY
  for (size_t i = 0; i < n; i++) {
    Lanes sum = 0;
    for (size_t b = 0; b < blocks; b++) {
      shares[i][b] = powers_of_two(load_lanes(scores + i * LATHE_CACHE_CHUNK + b * LATHE_LANES) - peaks[i], is_fine(kind));
      sum += shares[i][b];
    }
    for (size_t b = blocks; b < 4; b++) shares[i][b] = (Lanes){};
    /* Rounded once whatever the compiler makes of it: alone and among others to the same bits. */
    sums[i] = __builtin_elementwise_fma(sum, (Lanes){} + factors[i], sums[i]);
  }
  for (size_t g = 0; g < groups; g++, out++, scales += LATHE_LANES) {
    Lanes scale[4] = {0};
    LaneWords all[LATHE_CACHE_QUERIES] = {0};
    for (size_t b = 0; b < blocks; b++) scale[b] = lanes_from_halves(scales + b * groups * LATHE_LANES) * out->inverse;
    LATHE_EACH_QUERY
    for (size_t i = 0; i < n; i++) {
      LaneWords codes[4];
      for (size_t b = 0; b < 4; b++) all[i] += codes[b] = wholes(shares[i][b] * scale[b]);
      store_numbers(kind, codes, out->numbers[at + i]);
    }
    const Lanes steps = factors * out->step;
    const LaneWords total = REDUCE_FOUR(all, ADDED) - LATHE_CACHE_CHUNK * LATHE_WHOLES;
    const LaneMask starts = (LaneMask)total * -code_bias(kind);
    memcpy(out->steps + at, &steps, n * sizeof(float));
    memcpy(out->starts + at, &starts, n * sizeof(float));
  }
}

/*
 * Adds `vectors` of the two vectors of a chunk's values of one group of elements, from number `v` on, under the weights of queries
 * `first ..< n`;
 * `run` times four positions, of which there are so many or a multiple, are met in one run.
 */
LATHE_INLINE void add_values(
    const uint32_t kind, const uint8_t *rows, size_t four, const size_t blocks, const size_t run, const size_t v,
    const size_t vectors, const size_t first, const size_t n, const CacheWeights *w, float *out, size_t out_stride) {
  const size_t width = kind == LATHE_CACHE_int8 ? four / 4 : four / 2;
  CodeSums sums[LATHE_CACHE_QUERIES][2];
  for (size_t i = first; i < n; i++) {
    for (size_t k = v; k < v + vectors; k++) sums[i][k] = begin_sums(kind, w->starts[i]);
  }
  for (size_t p = 0; p < blocks * LATHE_LANES; p += 4 * run) {
#pragma clang loop unroll(full)
    for (size_t step = 0; step < run; step++, rows += four) {
      for (size_t k = v; k < v + vectors; k++) {
        if (kind == LATHE_CACHE_int8 || k == 0) fetch_lines(rows + LATHE_CACHE_AHEAD + 64 * k, width);
        const Codes codes = cache_quad(kind, rows + (kind == LATHE_CACHE_int8 ? 64 * k : 0), k);
        LATHE_EACH_CODE_QUERY
        for (size_t i = first; i < n; i++) {
          meet_numbers(kind, &sums[i][k], codes, w->numbers[i], p + 4 * step, LATHE_CACHE_CHUNK, step, run);
        }
      }
    }
  }
  for (size_t i = first; i < n; i++) {
    for (size_t k = v; k < v + vectors; k++) {
      float *o = out + i * out_stride + k * LATHE_LANES;
      store_lanes(load_lanes(o) + __builtin_convertvector(whole_sums(kind, &sums[i][k]), Lanes) * w->steps[i], o);
    }
  }
}

/* Both vectors: together where registers hold as many sums. */
LATHE_INLINE void add_chunk(
    const uint32_t kind, const uint8_t *rows, size_t four, const size_t blocks, const size_t run, const size_t n,
    const CacheWeights *w, float *out, size_t out_stride) {
  if (LATHE_CACHE_SUMS >= 2 * LATHE_CACHE_QUERIES) {
    add_values(kind, rows, four, blocks, run, 0, 2, 0, n, w, out, out_stride);
    return;
  }
  const size_t some = LATHE_CODE_QUERIES;
  if (n <= some) {
    add_values(kind, rows, four, blocks, run, 0, 1, 0, n, w, out, out_stride);
    add_values(kind, rows, four, blocks, run, 1, 1, 0, n, w, out, out_stride);
    return;
  }
#pragma clang loop unroll(full)
  for (size_t i = 0; i < n; i += some) {
    const size_t end = n < i + some ? n : i + some;
    add_values(kind, rows, four, blocks, run, 0, 1, i, end, w, out, out_stride);
    add_values(kind, rows, four, blocks, run, 1, 1, i, end, w, out, out_stride);
  }
}

/* Makes weights of a chunk's scores; what all queries see, whose scales are bounded, goes together. */
LATHE_INLINE void weigh_chunk(
    const LatheCacheHead *head, const uint32_t kind, const size_t width, size_t position, size_t left, const size_t n,
    const size_t *seen, const float *scores, Lanes peaks, Lanes highest, CacheWeights *rounded, Lanes *sums) {
  const size_t groups = width / LATHE_CACHE_GROUP, blocks = LATHE_CACHE_CHUNK / LATHE_LANES;
  const uint16_t *scales = head->value_scales + position / LATHE_LANES * groups * LATHE_LANES;
  const Lanes factors = powers_of_two(peaks - highest, 1);
  float own[LATHE_LANES];
  store_lanes(peaks, own);
  size_t visible[LATHE_CACHE_QUERIES], least = LATHE_CACHE_CHUNK;
  for (size_t i = 0; i < n; i++) {
    visible[i] = seen[i] > position ? seen[i] - position : 0;
    least = visible[i] < least ? visible[i] : least;
  }
  if (least == LATHE_CACHE_CHUNK) {
    round_weights(kind, scores, own, factors, scales, groups, blocks, n, 0, rounded, sums);
    return;
  }
  for (size_t i = 0; i < n; i++) {
    bound_scales(kind, scales, groups, left, visible[i], rounded);
    round_weights(
      kind, scores + i * LATHE_CACHE_CHUNK, own + i, (Lanes){} + factors[i], scales, groups, left, 1, i, rounded, sums + i);
  }
}

/*
 * Codes go chunk by chunk, so that memory is read and numbers are worked out at the same time; the scores of the next
 * chunk, and the bounds of its values, come before the values of this one, so that none waits for the other. Sums are
 * relative to a peak that is raised where a score passes it by far. Each query sees the positions before `seen`, the last of
 * `count` from `first` among them.
 */
LATHE_INLINE void attend_codes(
    const LatheCacheHead *head, const uint32_t kind, const size_t width, size_t first, size_t count, const Queries *q,
    const size_t n, const size_t *seen, float *scores, CacheWeights *rounded, float *out, size_t out_stride) {
  const size_t groups = width / LATHE_CACHE_GROUP, four = 4 * cache_row(kind, width);
  const size_t all = (count + LATHE_LANES - 1) / LATHE_LANES, whole = LATHE_CACHE_CHUNK / LATHE_LANES;
  Lanes highest = (Lanes){} + LATHE_UNSEEN, sums[LATHE_CACHE_QUERIES] = {0};
  const uint16_t *scales = head->value_scales + first / LATHE_LANES * groups * LATHE_LANES;
  if (all >= whole) bound_scales(kind, scales, groups, whole, LATHE_CACHE_CHUNK, rounded);
  Lanes peaks = score_chunk(head, kind, width, first, all < whole ? all : whole, q, n, seen, scores);
  for (size_t b = 0; b < all; b += whole) {
    const size_t left = all - b < whole ? all - b : whole, position = first + b * LATHE_LANES;
    const size_t next = all - b - left < whole ? all - b - left : whole;
    float *now = scores + b / whole % 2 * LATHE_CACHE_QUERIES * LATHE_CACHE_CHUNK;
    float *then = scores + (b / whole + 1) % 2 * LATHE_CACHE_QUERIES * LATHE_CACHE_CHUNK;
    const LaneMask above = peaks > highest + 32.0f;
    if (__builtin_reduce_or(above)) {
      const Lanes next_highest = above ? peaks : highest, kept = powers_of_two(highest - next_highest, 1);
      for (size_t i = 0; i < n && b; i++) {
        sums[i] *= kept[i];
        for (size_t e = 0; e < width; e++) out[i * out_stride + e] *= kept[i];
      }
      highest = next_highest;
    }
    weigh_chunk(head, kind, width, position, left, n, seen, now, peaks, highest, rounded, sums);
    scales += whole * groups * LATHE_LANES;
    if (next == whole) {
      bound_scales(kind, scales, groups, whole, LATHE_CACHE_CHUNK, rounded);
      peaks = score_chunk(head, kind, width, position + LATHE_CACHE_CHUNK, whole, q, n, seen, then);
    } else if (next) {
      peaks = score_chunk(head, kind, width, position + LATHE_CACHE_CHUNK, next, q, n, seen, then);
    }
    for (size_t g = 0; g < groups; g++) {
      const uint8_t *rows = head->values + value_byte(kind, width, position, 2 * g);
      float *o = out + 2 * g * LATHE_LANES;
      if (left == whole) add_chunk(kind, rows, four, whole, LATHE_NUMBERS_RUN, n, rounded + g, o, out_stride);
      else add_chunk(kind, rows, four, left, LATHE_NUMBERS_PART, n, rounded + g, o, out_stride);
    }
  }
  for (size_t i = 0; i < n; i++) {
    out[i * out_stride + width] = highest[i];
    out[i * out_stride + width + 1] = seen[i] > first ? sum_of(sums[i]) : 0;
  }
}
