/* Tables of the ARM sets: sixteen bytes are looked up at a time. */

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
