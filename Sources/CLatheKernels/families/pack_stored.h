/* Tiles of rows as a file has them, without codes in between: of types whose codes are whole bytes. */

/* Blocks of a binary16 scale and 32 signed bytes. */
LATHE_INLINE void pack_q8_0_tile(
    const uint8_t *restrict rows, size_t row, size_t columns, uint8_t *restrict codes, uint16_t *restrict scales) {
  const uint8_t *next = rows + 16 * row;
  for (size_t unit = 0; unit < columns / 32; unit++, rows += 34, next += 16 * 34, codes += 512, scales += 16) {
    /* Sixteen rows at a time are more than the processor foresees: those of the next tile are called for one after another. */
    for (size_t line = 0; line < 16 * 34; line += 64) __builtin_prefetch(next + line);
    Codes q[8];
    gather_unit(rows + 2, row, q);
#pragma clang loop unroll(full)
    for (int k = 0; k < 8; k++) {
      q[k] ^= (Codes){} + (uint8_t)(LATHE_SIGNED_BYTES ? 0 : 128);
      memcpy(codes + 64 * k, &q[k], 64);
    }
    for (size_t r = 0; r < 16; r++) scales[r] = load_u16(rows + r * row);
  }
}

static int pack_stored(
    size_t kind, const uint8_t *rows, size_t row, size_t columns, uint8_t *codes, uint16_t *scales) {
  if (kind != LATHE_STORED_q8_0) return 0;
  pack_q8_0_tile(rows, row, columns, codes, scales);
  return 1;
}
