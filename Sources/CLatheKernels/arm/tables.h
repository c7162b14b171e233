/* What both ARM sets share: half precision, look-ups of sixteen bytes at a time, and vectors of 64 bytes by quarters. */

#define LATHE_OWN_FLOAT_FROM_HALF
static inline __attribute__((always_inline)) float float_from_half(uint16_t h) {
  __fp16 half;
  memcpy(&half, &h, sizeof half);
  return half;
}

typedef float Lanes __attribute__((ext_vector_type(16)));
typedef int32_t LaneMask __attribute__((ext_vector_type(16)));
typedef uint32_t LaneWords __attribute__((ext_vector_type(16)));

#define LATHE_OWN_LANE_HALVES
static inline __attribute__((always_inline)) Lanes lanes_from_halves(const uint16_t *p) {
  float32x4_t parts[4];
  for (int i = 0; i < 4; i++) parts[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i)));
  Lanes x;
  memcpy(&x, parts, sizeof x);
  return x;
}

static inline __attribute__((always_inline)) void halves_from_lanes(Lanes x, uint16_t *p) {
  float32x4_t parts[4];
  memcpy(parts, &x, sizeof x);
  for (int i = 0; i < 4; i++) vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(parts[i])));
}

#define LATHE_OWN_TILE_HALVES
#define load_halves(h) ((Floats)lanes_from_halves(h))

/* Sums and codes of 64 bytes, a quarter at a time: `by` is what a quarter of each becomes. */
#define QUARTER(v, at) __builtin_shufflevector((Wholes)(v), (Wholes)(v), at, at + 1, at + 2, at + 3)
#define BY_QUARTERS(sum, w, by)                                                                                  \
  ({                                                                                                             \
    const Wholes before = sum;                                                                                   \
    const Codes quads = w;                                                                                       \
    const int32x4_t a = by(QUARTER(before, 0), QUARTER(quads, 0)), b = by(QUARTER(before, 4), QUARTER(quads, 4)); \
    const int32x4_t c = by(QUARTER(before, 8), QUARTER(quads, 8)), d = by(QUARTER(before, 12), QUARTER(quads, 12)); \
    const Wholes after = {a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3],                                        \
                          c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]};                                       \
    after;                                                                                                       \
  })
#define dot_quad(sum, w, x, is_byte)                                                                             \
  ({                                                                                                             \
    int32_t word;                                                                                                \
    memcpy(&word, x, 4);                                                                                         \
    const int8x16_t input = vreinterpretq_s8_s32(vdupq_n_s32(word));                                             \
    BY_QUARTERS(sum, w, DOT_WORD);                                                                               \
  })

/* Sums of two parts of numbers take 32 registers for four queries: two by two leave room for codes. */
#define LATHE_CODE_QUERIES 2

#define LATHE_OWN_DOT_WORD
/* Inputs are loaded four words at a time. */
#define dot_word(sum, w, x, index, is_byte)                                                                      \
  ({                                                                                                             \
    const size_t word = index;                                                                                   \
    const int8x16_t inputs = vld1q_s8((x) + 16 * (word / 4));                                                    \
    Wholes dotted = sum;                                                                                         \
    if (word % 4 == 0) dotted = BY_QUARTERS(dotted, w, DOT_WORD_0);                                              \
    else if (word % 4 == 1) dotted = BY_QUARTERS(dotted, w, DOT_WORD_1);                                         \
    else if (word % 4 == 2) dotted = BY_QUARTERS(dotted, w, DOT_WORD_2);                                         \
    else dotted = BY_QUARTERS(dotted, w, DOT_WORD_3);                                                            \
    dotted;                                                                                                      \
  })
#define DOT_WORD_0(sums, codes) DOT_WORD_OF(sums, codes, inputs, 0)
#define DOT_WORD_1(sums, codes) DOT_WORD_OF(sums, codes, inputs, 1)
#define DOT_WORD_2(sums, codes) DOT_WORD_OF(sums, codes, inputs, 2)
#define DOT_WORD_3(sums, codes) DOT_WORD_OF(sums, codes, inputs, 3)

#define LATHE_OWN_TABLE_QUAD
#define table_quad(table, w)                                                                                     \
  ({                                                                                                             \
    const uint8x16_t entries = vld1q_u8(table);                                                                  \
    const Codes given = w;                                                                                       \
    Codes found;                                                                                                 \
    for (int part = 0; part < 4; part++) {                                                                       \
      vst1q_u8((uint8_t *)&found + 16 * part, vqtbl1q_u8(entries, vld1q_u8((const uint8_t *)&given + 16 * part))); \
    }                                                                                                            \
    found;                                                                                                       \
  })

/* Sixteen codes of `16 / neighbours` rows, whose first tables begin at `first`. */
static inline __attribute__((always_inline)) uint8x16_t row_entries(
    const uint8_t *first, uint8x16_t names, const uint8_t *marks, const int neighbours) {
  static const uint8_t places[2][16] = {
    {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12}, {0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4}};
  names = vorrq_u8(names, vld1q_u8(places[neighbours == 8]));
  if (!marks) {
    return vqtbl1q_u8(neighbours == 8 ? vcombine_u8(vld1_u8(first), vdup_n_u8(0)) : vld1q_u8(first), names);
  }
  if (neighbours == 8) {
    const uint8x8_t second = vshr_n_u8(vld1_u8(marks), 3);
    return vqtbl1q_u8(vcombine_u8(vld1_u8(first), vld1_u8(first + 64)), vorrq_u8(names, vcombine_u8(second, second)));
  }
  uint32_t word;
  memcpy(&word, marks, 4);
  const uint8x16_t second = vshrq_n_u8(vreinterpretq_u8_u32(vdupq_n_u32(word)), 2);
  return vqtbl2q_u8((uint8x16x2_t){{vld1q_u8(first), vld1q_u8(first + 64)}}, vorrq_u8(names, second));
}

#define LATHE_OWN_ROW_TABLES
#define row_table_quad(tables, w, marks, k)                                                                      \
  ({                                                                                                             \
    const Codes given = w;                                                                                       \
    Codes found;                                                                                                 \
    for (int part = 0; part < 4; part++) {                                                                       \
      const int row = (k) % (16 / LATHE_VECTOR_ROWS) * LATHE_VECTOR_ROWS + part * LATHE_VECTOR_ROWS / 4;          \
      vst1q_u8(                                                                                                  \
          (uint8_t *)&found + 16 * part,                                                                         \
          row_entries((tables) + 4 * row, vld1q_u8((const uint8_t *)&given + 16 * part), marks, LATHE_NEIGHBOURS)); \
    }                                                                                                            \
    found;                                                                                                       \
  })
