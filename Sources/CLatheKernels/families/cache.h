/*
 * What a decoder remembers, one head of keys and values at a time.
 *
 * Keys lie in blocks of sixteen positions, one position in each lane: a score needs no sum across lanes. Whole numbers
 * stand for groups of 32 elements under a half-precision scale; scales lie sixteen positions together, like keys.
 *
 *   keys     f32, f16  [block][element][16]
 *            int8      [block][quad][16][4] bytes: elements 4q to 4q + 3, each plus 128
 *            int4      [block][octet][16][4] bytes: elements 8o to 8o + 3 below the next four, each plus 8
 *   values   f32, f16  [position][element]
 *            int8      [four positions][16 elements][16][4] bytes: an element of four positions, each plus 128
 *            int4      [four positions][group][16][4] bytes: element e below element e + 16, each plus 8
 *   scales   [block][group][16]
 */
#pragma clang fp reassociate(off) contract(fast)

typedef uint16_t LaneHalves __attribute__((ext_vector_type(LATHE_LANES)));
typedef uint32_t LaneWords __attribute__((ext_vector_type(LATHE_LANES)));
typedef int8_t LaneSignedBytes __attribute__((ext_vector_type(LATHE_LANES)));

/* Elements that share a scale. */
#define LATHE_CACHE_GROUP 32

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
  return block + 4 * (e / (kind == LATHE_CACHE_int8 ? 4 : 8) * LATHE_LANES + lane) + e % 4;
}

/* Where the vector of codes of sixteen elements, number `v`, of the four values around `position` lies: its byte. */
LATHE_INLINE size_t value_byte(const uint32_t kind, size_t width, size_t position, size_t v) {
  return position / 4 * 4 * cache_row(kind, width) + 64 * (kind == LATHE_CACHE_int8 ? v : v / 2);
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
  for (size_t g = 0; g < groups; g++) {
    const size_t e = g * LATHE_CACHE_GROUP, count = dim - e < LATHE_CACHE_GROUP ? dim - e : LATHE_CACHE_GROUP;
    float x[LATHE_CACHE_GROUP] = {0};
    uint8_t codes[LATHE_CACHE_GROUP];
    memcpy(x, key + e, count * sizeof(float));
    head->key_scales[scales + g * LATHE_LANES] = cache_codes(x, half, codes);
    for (size_t i = 0; i < LATHE_CACHE_GROUP; i += 4) {
      uint8_t *word = head->keys + key_byte(kind, width, position, e + i);
      for (size_t k = 0; k < 4; k++) {
        word[k] = kind == LATHE_CACHE_int8 ? codes[i + k] : i % 8 ? word[k] | codes[i + k] << 4 : codes[i + k];
      }
    }
    memset(x, 0, sizeof x);
    memcpy(x, value + e, count * sizeof(float));
    head->value_scales[scales + g * LATHE_LANES] = cache_codes(x, half, codes);
    uint8_t *values = head->values + value_byte(kind, width, position, 2 * g) + position % 4;
    for (size_t i = 0; i < LATHE_LANES; i++) {
      const uint8_t low = codes[i], high = codes[i + LATHE_LANES];
      if (kind == LATHE_CACHE_int8) values[4 * i] = low, values[64 + 4 * i] = high;
      else values[4 * i] = (uint8_t)(low | high << 4);
    }
  }
}

static void cache_store(const LatheCacheHead *head, size_t position, const float *key, const float *value) {
  if (head->kind == LATHE_CACHE_int8) store_codes(head, LATHE_CACHE_int8, position, key, value);
  else if (head->kind == LATHE_CACHE_int4) store_codes(head, LATHE_CACHE_int4, position, key, value);
  else store_floats(head, position, key, value);
}

/* MARK: Reading */

/* Byte `k` of each word as a code, of four bits that above or below. */
LATHE_INLINE Lanes lane_codes(const uint32_t kind, LaneWords words, size_t k, size_t above) {
  words >>= (uint32_t)(8 * k + (kind == LATHE_CACHE_int8 ? 0 : 4 * above));
  if (kind == LATHE_CACHE_int8) return __builtin_convertvector((LaneMask)(words & 255u), Lanes) - 128.0f;
  return __builtin_convertvector((LaneMask)(words & 15u), Lanes) - 8.0f;
}

/* Keys of one block as floats: element e of all positions. */
LATHE_INLINE Lanes key_lanes(const LatheCacheHead *head, const uint32_t kind, size_t block, size_t e) {
  const uint8_t *p = head->keys + key_byte(kind, head->width, block * LATHE_LANES, e);
  if (kind == LATHE_CACHE_f32) return load_lanes((const float *)p);
  if (kind == LATHE_CACHE_f16) return lanes_from_halves((const uint16_t *)p);
  const Lanes codes = lane_codes(kind, load_words(p - e % 4), e % 4, e % 8 / 4);
  return codes
         * lanes_from_halves(head->key_scales + (block * cache_groups(head) + e / LATHE_CACHE_GROUP) * LATHE_LANES);
}

/* The elements of a position in panels: whole vectors, whatever a cache's groups are. */
LATHE_INLINE size_t panel_width(const LatheCacheHead *head) {
  return (head->dim + LATHE_LANES - 1) / LATHE_LANES * LATHE_LANES;
}

/* Keys in blocks of sixteen positions: those from `first` on may begin within a block of the cache. */
LATHE_INLINE void keys_of_kind(const LatheCacheHead *head, const uint32_t kind, size_t first, size_t count, float *out) {
  const size_t lane = first % LATHE_LANES, block = first / LATHE_LANES, width = panel_width(head);
  for (size_t b = 0; b * LATHE_LANES < count; b++) {
    /* Where there are no more positions, what follows is of no matter. */
    const size_t next = block + b + ((b + 1) * LATHE_LANES < lane + count);
    for (size_t e = 0; e < head->dim; e++) {
      Lanes keys = key_lanes(head, kind, block + b, e);
      if (lane) {
        float both[2 * LATHE_LANES];
        store_lanes(keys, both);
        store_lanes(key_lanes(head, kind, next, e), both + LATHE_LANES);
        keys = load_lanes(both + lane);
      }
      store_lanes(keys, out + (b * width + e) * LATHE_LANES);
    }
    for (size_t e = head->dim; e < width; e++) store_lanes((Lanes){}, out + (b * width + e) * LATHE_LANES);
  }
}

/* Sixteen elements of a row of values that are floats, number `v`. */
LATHE_INLINE Lanes value_lanes(const uint32_t kind, const uint8_t *row, size_t v) {
  if (kind == LATHE_CACHE_f32) return load_lanes((const float *)row + v * LATHE_LANES);
  return lanes_from_halves((const uint16_t *)row + v * LATHE_LANES);
}

LATHE_INLINE void values_of_kind(const LatheCacheHead *head, const uint32_t kind, size_t first, size_t count, float *out) {
  const size_t groups = cache_groups(head), width = head->width;
  for (size_t i = 0; i < count; i++, out += LATHE_LANES) {
    const size_t position = first + i;
    for (size_t v = 0; v < panel_width(head) / LATHE_LANES; v++) {
      float *to = out + v * LATHE_TILE_KEYS * LATHE_LANES;
      if (kind < LATHE_CACHE_int8) {
        store_lanes(value_lanes(kind, head->values + position * cache_row(kind, width), v), to);
        continue;
      }
      const LaneWords words = load_words(head->values + value_byte(kind, width, position, v));
      const size_t scale = (position / LATHE_LANES * groups + v / 2) * LATHE_LANES + position % LATHE_LANES;
      store_lanes(lane_codes(kind, words, position % 4, v % 2) * scale_from_half(head->value_scales[scale]), to);
    }
  }
}

#define PANELS_OF_KIND(kind) \
  keys_of_kind(head, kind, first, count, keys), values_of_kind(head, kind, first, count, values)
static void cache_panels(const LatheCacheHead *head, size_t first, size_t count, float *keys, float *values) {
  switch (head->kind) {
    case LATHE_CACHE_f32: PANELS_OF_KIND(LATHE_CACHE_f32); break;
    case LATHE_CACHE_f16: PANELS_OF_KIND(LATHE_CACHE_f16); break;
    case LATHE_CACHE_int8: PANELS_OF_KIND(LATHE_CACHE_int8); break;
    default: PANELS_OF_KIND(LATHE_CACHE_int4);
  }
}

#pragma clang fp reassociate(on) contract(fast)
