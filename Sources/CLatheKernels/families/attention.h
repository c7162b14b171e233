/*
 * What a decoder remembers, and attention over it, one head of keys and values at a time.
 *
 * Keys lie in blocks of sixteen positions, one position in each lane: a score needs no sum across lanes, and a vector of
 * keys that is loaded once meets every query that shares the head. Values lie row after row. Whole numbers stand for
 * groups of 32 elements under a half-precision scale; scales lie sixteen positions together, like keys.
 *
 *   keys     f32, f16  [block][element][16]
 *            int8      [block][quad][16] words: elements 4q, 4q + 2, 4q + 1, 4q + 3, each plus 128
 *            int4      [block][octet][16] words: nibble s holds element 8o + 2s, nibble s + 4 the next, each plus 8
 *   values   f32, f16, int8 [position][element]
 *            int4      [position][group][16] bytes: element e below element e + 16, each plus 8
 *   scales   [block][group][16]
 *
 * Every query's sums are made in one order, however many share a call: equal rows give equal bits.
 */
#pragma clang fp reassociate(off) contract(fast)

typedef uint16_t LaneHalves __attribute__((ext_vector_type(LATHE_LANES)));
typedef uint32_t LaneWords __attribute__((ext_vector_type(LATHE_LANES)));
typedef int8_t LaneSignedBytes __attribute__((ext_vector_type(LATHE_LANES)));

/* Elements that share a scale; positions whose weights are scaled together; queries that share a load. */
#define LATHE_CACHE_GROUP 32
#define LATHE_CACHE_CHUNK 64
#define LATHE_CACHE_QUERIES 4

LATHE_INLINE Lanes load_lanes(const float *p) {
  Lanes x;
  memcpy(&x, p, sizeof x);
  return x;
}

LATHE_INLINE void store_lanes(Lanes x, float *p) { memcpy(p, &x, sizeof x); }

LATHE_INLINE LaneWords load_words(const uint8_t *p) {
  LaneWords x;
  memcpy(&x, p, sizeof x);
  return x;
}

#ifndef LATHE_OWN_LANE_HALVES
LATHE_INLINE Lanes lanes_from_halves(const uint16_t *p) {
  LaneHalves halves;
  memcpy(&halves, p, sizeof halves);
  const LaneWords w = __builtin_convertvector(halves, LaneWords) << 16, twice = w + w;
  const LaneWords normal = (LaneWords)((Lanes)((twice >> 4) + (0xE0u << 23)) * 0x1.0p-112f);
  const LaneWords subnormal = (LaneWords)((Lanes)((twice >> 17) | (126u << 23)) - 0.5f);
  return (Lanes)((w & 0x80000000u) | (twice < (LaneWords)(1u << 27) ? subnormal : normal));
}

LATHE_INLINE void halves_from_lanes(Lanes x, uint16_t *p) {
  const LaneWords bits = (LaneWords)x, size = bits & 0x7FFFFFFFu, odd = (size >> 13) & 1;
  const LaneWords subnormal = (LaneWords)((Lanes)size + 0.5f) - 0x3F000000u;
  LaneWords half = (size - 0x38000000u + 0xFFFu + odd) >> 13;
  half = size < (LaneWords)0x38800000u ? subnormal : half;
  half = size >= (LaneWords)0x47800000u ? (LaneWords)0x7C00u : half;
  half = size > (LaneWords)0x7F800000u ? (LaneWords)0x7E00u : half;
  const LaneHalves out = __builtin_convertvector(half | ((bits >> 16) & 0x8000u), LaneHalves);
  memcpy(p, &out, sizeof out);
}
#endif

#ifndef LATHE_OWN_PAIRS
/* Adds to each lane the products of the two numbers in its word, at most 255 each, and the two signed ones in `pair`. */
LATHE_INLINE LaneMask add_pairs(LaneMask sum, LaneWords words, uint32_t pair) {
  const LaneMask low = (LaneMask)(words & 0xFFFFu), high = (LaneMask)(words >> 16);
  return sum + low * (int32_t)(int16_t)pair + high * (int32_t)(int16_t)(pair >> 16);
}
#endif

LATHE_INLINE size_t cache_groups(const LatheCacheHead *head) {
  return (head->width + LATHE_CACHE_GROUP - 1) / LATHE_CACHE_GROUP;
}

/* The bytes of one position. */
LATHE_INLINE size_t cache_row(const uint32_t kind, size_t width) {
  return kind == LATHE_CACHE_f32 ? 4 * width : kind == LATHE_CACHE_f16 ? 2 * width
       : kind == LATHE_CACHE_int8 ? width : width / 2;
}

/* Where element `e` of the keys at `position` lies: its byte. */
LATHE_INLINE size_t key_byte(const uint32_t kind, size_t width, size_t position, size_t e) {
  const size_t block = position / LATHE_LANES * LATHE_LANES * cache_row(kind, width), lane = position % LATHE_LANES;
  if (kind == LATHE_CACHE_f32) return block + 4 * (e * LATHE_LANES + lane);
  if (kind == LATHE_CACHE_f16) return block + 2 * (e * LATHE_LANES + lane);
  if (kind == LATHE_CACHE_int8) return block + 4 * (e / 4 * LATHE_LANES + lane) + (e % 4 * 2) % 4 + e % 4 / 2;
  return block + 4 * (e / 8 * LATHE_LANES + lane) + e % 8 / 4 + e % 2 * 2;
}

/* MARK: Writing */

/* A group's codes from 0, and its scale: `half` is the magnitude of the lowest code. */
LATHE_INLINE uint16_t cache_codes(const float *x, const int half, uint8_t *codes) {
  Lanes peak = extreme((const Lanes[]){load_lanes(x), load_lanes(x + LATHE_LANES)}, 2), all[1];
  memcpy(all, &peak, sizeof peak);
  float largest = 0;
  for (int i = 0; i < LATHE_LANES; i++) {
    largest = __builtin_fabsf(all[0][i]) > __builtin_fabsf(largest) ? all[0][i] : largest;
  }
  /* Four bits let the extreme have the lowest code, of which there is one more than above zero. */
  const float step = half == 8 ? -largest / 8 : __builtin_fabsf(largest) / 127;
  uint16_t scale[LATHE_LANES];
  halves_from_lanes(clamped((Lanes)step, -65504, 65504), scale);
  const float rounded = float_from_half(scale[0]), inverse = rounded == 0 ? 0 : 1 / rounded;
  const float low = half == 8 ? -8 : -127;
  for (int part = 0; part < 2; part++) {
    const Lanes q = clamped(nearest(load_lanes(x + part * LATHE_LANES) * inverse), low, (float)(half - 1));
    const LaneBytes bytes = __builtin_convertvector(q + (float)half, LaneBytes);
    memcpy(codes + part * LATHE_LANES, &bytes, sizeof bytes);
  }
  return scale[0];
}

LATHE_INLINE void store_floats(const LatheCacheHead *head, size_t position, const float *key, const float *value) {
  const size_t width = head->width, dim = head->dim;
  if (head->kind == LATHE_CACHE_f32) {
    float *keys = (float *)(head->keys + key_byte(LATHE_CACHE_f32, width, position, 0));
    float *values = (float *)head->values + position * width;
    for (size_t e = 0; e < dim; e++) keys[e * LATHE_LANES] = key[e];
    memcpy(values, value, dim * sizeof(float));
    return;
  }
  uint16_t *keys = (uint16_t *)(head->keys + key_byte(LATHE_CACHE_f16, width, position, 0));
  uint16_t *values = (uint16_t *)head->values + position * width;
  for (size_t e = 0; e < width; e += LATHE_LANES) {
    float k[LATHE_LANES] = {0}, v[LATHE_LANES] = {0};
    uint16_t halves[LATHE_LANES];
    const size_t count = dim - e < LATHE_LANES ? dim - e : LATHE_LANES;
    memcpy(k, key + e, count * sizeof(float));
    memcpy(v, value + e, count * sizeof(float));
    /* What is too large for a half becomes the largest. */
    for (int i = 0; i < LATHE_LANES; i++) {
      k[i] = k[i] > 65504 ? 65504 : k[i] < -65504 ? -65504 : k[i];
      v[i] = v[i] > 65504 ? 65504 : v[i] < -65504 ? -65504 : v[i];
    }
    halves_from_lanes(load_lanes(k), halves);
    for (int i = 0; i < LATHE_LANES; i++) keys[(e + (size_t)i) * LATHE_LANES] = halves[i];
    halves_from_lanes(load_lanes(v), values + e);
  }
}

LATHE_INLINE void store_codes(
    const LatheCacheHead *head, const uint32_t kind, size_t position, const float *key, const float *value) {
  const size_t width = head->width, dim = head->dim, groups = cache_groups(head);
  const size_t scales = position / LATHE_LANES * groups * LATHE_LANES + position % LATHE_LANES;
  const int half = kind == LATHE_CACHE_int8 ? 128 : 8;
  uint8_t *values = head->values + position * cache_row(kind, width);
  for (size_t g = 0; g < groups; g++) {
    const size_t e = g * LATHE_CACHE_GROUP, count = dim - e < LATHE_CACHE_GROUP ? dim - e : LATHE_CACHE_GROUP;
    float x[LATHE_CACHE_GROUP] = {0};
    uint8_t codes[LATHE_CACHE_GROUP];
    memcpy(x, key + e, count * sizeof(float));
    head->key_scales[scales + g * LATHE_LANES] = cache_codes(x, half, codes);
    if (kind == LATHE_CACHE_int8) {
      for (size_t i = 0; i < LATHE_CACHE_GROUP; i++) head->keys[key_byte(kind, width, position, e + i)] = codes[i];
    } else {
      for (size_t i = 0; i < LATHE_CACHE_GROUP; i += 8) {
        uint8_t *word = head->keys + key_byte(kind, width, position, e + i);
        word[0] = (uint8_t)(codes[i] | codes[i + 2] << 4);
        word[1] = (uint8_t)(codes[i + 4] | codes[i + 6] << 4);
        word[2] = (uint8_t)(codes[i + 1] | codes[i + 3] << 4);
        word[3] = (uint8_t)(codes[i + 5] | codes[i + 7] << 4);
      }
    }
    memset(x, 0, sizeof x);
    memcpy(x, value + e, count * sizeof(float));
    head->value_scales[scales + g * LATHE_LANES] = cache_codes(x, half, codes);
    if (kind == LATHE_CACHE_int8) {
      for (size_t i = 0; i < LATHE_CACHE_GROUP; i++) values[e + i] = (uint8_t)(codes[i] - 128);
    } else {
      for (size_t i = 0; i < 16; i++) values[g * 16 + i] = (uint8_t)(codes[i] | codes[i + 16] << 4);
    }
  }
}

static void cache_store(const LatheCacheHead *head, size_t position, const float *key, const float *value) {
  if (head->kind == LATHE_CACHE_int8) store_codes(head, LATHE_CACHE_int8, position, key, value);
  else if (head->kind == LATHE_CACHE_int4) store_codes(head, LATHE_CACHE_int4, position, key, value);
  else store_floats(head, position, key, value);
}

/* MARK: Reading */

/* Keys of one block as floats: element e of all positions. */
LATHE_INLINE Lanes key_lanes(const LatheCacheHead *head, const uint32_t kind, size_t block, size_t e) {
  const uint8_t *p = head->keys + key_byte(kind, head->width, block * LATHE_LANES, e);
  if (kind == LATHE_CACHE_f32) return load_lanes((const float *)p);
  if (kind == LATHE_CACHE_f16) return lanes_from_halves((const uint16_t *)p);
  const size_t offset = kind == LATHE_CACHE_int8 ? (e % 4 * 2) % 4 + e % 4 / 2 : e % 8 / 4 + e % 2 * 2;
  const LaneWords words = load_words(p - offset);
  const LaneWords shifted =
    kind == LATHE_CACHE_int8 ? words >> (uint32_t)(8 * offset) & 255u
                             : words >> (uint32_t)(e % 8 / 2 * 4 + e % 2 * 16) & 15u;
  const Lanes codes = __builtin_convertvector((LaneMask)shifted, Lanes) - (kind == LATHE_CACHE_int8 ? 128.0f : 8.0f);
  return codes
         * lanes_from_halves(head->key_scales + (block * cache_groups(head) + e / LATHE_CACHE_GROUP) * LATHE_LANES);
}

LATHE_INLINE void keys_of_kind(
    const LatheCacheHead *head, const uint32_t kind, size_t first, size_t count, float *out, size_t stride) {
  for (size_t at = 0; at < count;) {
    const size_t lane = (first + at) % LATHE_LANES, block = (first + at) / LATHE_LANES;
    const size_t run = LATHE_LANES - lane < count - at ? LATHE_LANES - lane : count - at;
    for (size_t e = 0; e < head->dim; e++) {
      float x[LATHE_LANES];
      const Lanes keys = key_lanes(head, kind, block, e);
      if (run == LATHE_LANES) {
        store_lanes(keys, out + e * stride + at);
        continue;
      }
      store_lanes(keys, x);
      memcpy(out + e * stride + at, x + lane, run * sizeof(float));
    }
    at += run;
  }
}

static void cache_keys(const LatheCacheHead *head, size_t first, size_t count, float *out, size_t stride) {
  switch (head->kind) {
    case LATHE_CACHE_f32: keys_of_kind(head, LATHE_CACHE_f32, first, count, out, stride); break;
    case LATHE_CACHE_f16: keys_of_kind(head, LATHE_CACHE_f16, first, count, out, stride); break;
    case LATHE_CACHE_int8: keys_of_kind(head, LATHE_CACHE_int8, first, count, out, stride); break;
    default: keys_of_kind(head, LATHE_CACHE_int4, first, count, out, stride);
  }
}

/* Sixteen elements of a row of values, number `v`, before their scale. */
LATHE_INLINE Lanes value_lanes(const uint32_t kind, const uint8_t *row, size_t v) {
  if (kind == LATHE_CACHE_f32) return load_lanes((const float *)row + v * LATHE_LANES);
  if (kind == LATHE_CACHE_f16) return lanes_from_halves((const uint16_t *)row + v * LATHE_LANES);
  LaneSignedBytes bytes;
  if (kind == LATHE_CACHE_int8) {
    memcpy(&bytes, row + v * LATHE_LANES, sizeof bytes);
    return __builtin_convertvector(bytes, Lanes);
  }
  LaneBytes packed;
  memcpy(&packed, row + v / 2 * LATHE_LANES, sizeof packed);
  const LaneBytes codes = v % 2 ? packed >> 4 : packed & 15;
  return __builtin_convertvector((LaneSignedBytes)(codes - 8), Lanes);
}

LATHE_INLINE void values_of_kind(
    const LatheCacheHead *head, const uint32_t kind, size_t first, size_t count, float *out) {
  const size_t groups = cache_groups(head), width = head->width;
  for (size_t i = 0; i < count; i++, out += width) {
    const size_t position = first + i;
    const uint8_t *row = head->values + position * cache_row(kind, width);
    for (size_t v = 0; v < width / LATHE_LANES; v++) {
      const Lanes x = value_lanes(kind, row, v);
      const size_t scale = (position / LATHE_LANES * groups + v / 2) * LATHE_LANES + position % LATHE_LANES;
      store_lanes(kind >= LATHE_CACHE_int8 ? x * scale_from_half(head->value_scales[scale]) : x, out + v * LATHE_LANES);
    }
  }
}

static void cache_values(const LatheCacheHead *head, size_t first, size_t count, float *out) {
  switch (head->kind) {
    case LATHE_CACHE_f32: values_of_kind(head, LATHE_CACHE_f32, first, count, out); break;
    case LATHE_CACHE_f16: values_of_kind(head, LATHE_CACHE_f16, first, count, out); break;
    case LATHE_CACHE_int8: values_of_kind(head, LATHE_CACHE_int8, first, count, out); break;
    default: values_of_kind(head, LATHE_CACHE_int4, first, count, out);
  }
}

/* MARK: Scores */

/* Queries as they meet keys: floats, or pairs of 16-bit numbers with a step and their sums over groups. */
typedef struct {
  float *values;
  uint32_t *pairs;
  int32_t *sums;
  float step[LATHE_CACHE_QUERIES];
} Queries;

/* Rounds a query to 16 bits: an error of 1/65,536 of its largest element. */
LATHE_INLINE float round_query(const float *x, size_t width, uint32_t *pairs, int32_t *sums) {
  float largest = 0;
  for (size_t e = 0; e < width; e++) largest = __builtin_fabsf(x[e]) > largest ? __builtin_fabsf(x[e]) : largest;
  const float step = largest > 0 && largest < 3e38f ? largest / 32767 : 1, inverse = 1 / step;
  for (size_t g = 0; g * LATHE_CACHE_GROUP < width; g++) sums[g] = 0;
  for (size_t e = 0; e < width; e += 2) {
    float a = __builtin_nearbyintf(x[e] * inverse), b = __builtin_nearbyintf(x[e + 1] * inverse);
    a = a > -32767 ? a < 32767 ? a : 32767 : -32767;
    b = b > -32767 ? b < 32767 ? b : 32767 : -32767;
    pairs[e / 2] = (uint32_t)(uint16_t)(int16_t)a | (uint32_t)(uint16_t)(int16_t)b << 16;
    sums[e / LATHE_CACHE_GROUP] += (int32_t)a + (int32_t)b;
  }
  return step;
}

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

LATHE_INLINE void score_codes(
    const uint32_t kind, const uint8_t *keys, const uint16_t *scales, size_t width, const Queries *q, const size_t n,
    float *scores, size_t stride) {
  const size_t groups = width / LATHE_CACHE_GROUP;
  const int words = kind == LATHE_CACHE_int8 ? 8 : 4;
  Lanes total[LATHE_CACHE_QUERIES] = {0};
  for (size_t g = 0; g < groups; g++, scales += LATHE_LANES) {
    LaneMask sum[LATHE_CACHE_QUERIES];
    for (size_t i = 0; i < n; i++) sum[i] = (LaneMask)(-(kind == LATHE_CACHE_int8 ? 128 : 8) * q->sums[i * groups + g]);
#pragma clang loop unroll(full)
    for (int w = 0; w < words; w++, keys += 4 * LATHE_LANES) {
      const LaneWords word = load_words(keys);
      for (int part = 0; part < 16 / words; part++) {
        const LaneWords codes = kind == LATHE_CACHE_int8 ? word >> (8 * (uint32_t)part) & 0x00FF00FFu
                                                         : word >> (4 * (uint32_t)part) & 0x000F000Fu;
        for (size_t i = 0; i < n; i++) {
          sum[i] = add_pairs(sum[i], codes, q->pairs[i * width / 2 + g * 16 + (size_t)(w * (16 / words) + part)]);
        }
      }
    }
    const Lanes scale = lanes_from_halves(scales);
    for (size_t i = 0; i < n; i++) total[i] += __builtin_convertvector(sum[i], Lanes) * scale;
  }
  for (size_t i = 0; i < n; i++) store_lanes(total[i] * q->step[i], scores + i * stride);
}

LATHE_INLINE void score_run(
    const LatheCacheHead *head, const uint32_t kind, size_t first, size_t count, const Queries *q, const size_t n,
    float *scores) {
  const size_t width = head->width, size = LATHE_LANES * cache_row(kind, width);
  for (size_t at = 0; at < count; at += LATHE_LANES) {
    const size_t block = (first + at) / LATHE_LANES;
    const uint8_t *keys = head->keys + block * size;
    if (kind < LATHE_CACHE_int8) {
      score_floats(kind, keys, width, q, n, scores + at, LATHE_CACHE_RUN);
    } else {
      const uint16_t *scales = head->key_scales + block * cache_groups(head) * LATHE_LANES;
      score_codes(kind, keys, scales, width, q, n, scores + at, LATHE_CACHE_RUN);
    }
  }
}

/* MARK: Weighted values */

/* Adds `count` rows under their weights to `vectors` vectors of `n` sums; each group has weights of its own. */
LATHE_INLINE void add_rows(
    const uint32_t kind, const uint8_t *rows, size_t row, size_t v, const size_t vectors, const size_t n,
    const float *weights, size_t weight_stride, size_t group_stride, size_t count, float *out, size_t out_stride) {
  Lanes sum[LATHE_CACHE_QUERIES][4];
  for (size_t i = 0; i < n; i++) {
    for (size_t k = 0; k < vectors; k++) sum[i][k] = load_lanes(out + i * out_stride + (v + k) * LATHE_LANES);
  }
  for (size_t p = 0; p < count; p++, rows += row) {
    for (size_t k = 0; k < vectors; k++) {
      const Lanes x = value_lanes(kind, rows, v + k);
      for (size_t i = 0; i < n; i++) sum[i][k] += weights[i * weight_stride + (v + k) / 2 * group_stride + p] * x;
    }
  }
  for (size_t i = 0; i < n; i++) {
    for (size_t k = 0; k < vectors; k++) store_lanes(sum[i][k], out + i * out_stride + (v + k) * LATHE_LANES);
  }
}

LATHE_INLINE void weigh_run(
    const LatheCacheHead *head, const uint32_t kind, size_t first, size_t count, const size_t n, const float *weights,
    float *scaled, float *out, size_t out_stride) {
  const size_t width = head->width, groups = cache_groups(head), row = cache_row(kind, width);
  const int coded = kind >= LATHE_CACHE_int8;
  for (size_t at = 0; at < count; at += LATHE_CACHE_CHUNK) {
    const size_t rest = count - at < LATHE_CACHE_CHUNK ? count - at : LATHE_CACHE_CHUNK;
    const float *w = weights + at;
    size_t stride = LATHE_CACHE_RUN, group_stride = 0;
    if (coded) {
      stride = groups * LATHE_CACHE_CHUNK, group_stride = LATHE_CACHE_CHUNK;
      for (size_t p = 0; p < rest; p += LATHE_LANES) {
        const uint16_t *scales = head->value_scales + (first + at + p) / LATHE_LANES * groups * LATHE_LANES;
        for (size_t g = 0; g < groups; g++) {
          const Lanes scale = lanes_from_halves(scales + g * LATHE_LANES);
          for (size_t i = 0; i < n; i++) {
            store_lanes(load_lanes(w + i * LATHE_CACHE_RUN + p) * scale, scaled + i * stride + g * group_stride + p);
          }
        }
      }
      w = scaled;
    }
    const uint8_t *rows = head->values + (first + at) * row;
    const size_t vectors = width / LATHE_LANES;
    size_t v = 0;
    for (; v + 4 <= vectors; v += 4) add_rows(kind, rows, row, v, 4, n, w, stride, group_stride, rest, out, out_stride);
    for (; v + 2 <= vectors; v += 2) add_rows(kind, rows, row, v, 2, n, w, stride, group_stride, rest, out, out_stride);
    for (; v < vectors; v++) add_rows(kind, rows, row, v, 1, n, w, stride, group_stride, rest, out, out_stride);
  }
}

/* MARK: Attention */

/* `n` queries, at most four, from number `from` of all. */
LATHE_INLINE void attend_some(
    const LatheCacheHead *head, const uint32_t kind, const LatheCacheQueries *all, size_t from, const size_t n,
    size_t first, size_t count, float *scratch, float *out, size_t out_stride) {
  const size_t width = head->width, groups = cache_groups(head);
  out += from * out_stride;
  float *scores = scratch, *scaled = scores + LATHE_CACHE_QUERIES * LATHE_CACHE_RUN;
  Queries q = {.values = scaled + LATHE_CACHE_QUERIES * groups * LATHE_CACHE_CHUNK};
  q.pairs = (uint32_t *)(q.values + LATHE_CACHE_QUERIES * width);
  q.sums = (int32_t *)(q.pairs + LATHE_CACHE_QUERIES * width / 2);
  size_t seen[LATHE_CACHE_QUERIES], most = 0;
  for (size_t i = 0; i < n; i++) {
    const size_t token = (from + i) / all->heads, place = (from + i) % all->heads, visible = all->start + token + 1;
    const float *x = all->queries + token * all->stride + place * head->dim;
    for (size_t e = 0; e < width; e++) q.values[i * width + e] = e < head->dim ? x[e] * all->scale : 0;
    if (kind >= LATHE_CACHE_int8) {
      q.step[i] = round_query(q.values + i * width, width, q.pairs + i * width / 2, q.sums + i * groups);
    }
    seen[i] = visible <= first ? 0 : visible - first < count ? visible - first : count;
    most = seen[i] > most ? seen[i] : most;
  }
  score_run(head, kind, first, most, &q, n, scores);
  for (size_t i = 0; i < n; i++) {
    float *s = scores + i * LATHE_CACHE_RUN, *o = out + i * out_stride;
    const float peak = maximum(s, seen[i]);
    for (size_t e = 0; e < width; e++) o[e] = 0;
    o[width] = peak;
    o[width + 1] = exponentiate(s, peak, seen[i]);
    for (size_t p = seen[i]; p < (most + LATHE_LANES - 1) / LATHE_LANES * LATHE_LANES; p++) s[p] = 0;
  }
  weigh_run(head, kind, first, most, n, scores, scaled, out, out_stride);
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
