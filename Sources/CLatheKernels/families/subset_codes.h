/*
 * How tiles of one bit lie in sets that look up subsets of inputs (tile_subsets.h): a byte holds a row's bits of two quads,
 * sixteen rows' bytes those of quads k and k + 2, the later one above; of four quads the first and the third come first.
 */

/* The bytes of one input's part of the tables. */
#define LATHE_SUBSET_BYTES 8

/* The eight quads of a unit to 64 bytes. */
LATHE_INLINE void pack_subsets(const Codes *q, uint8_t *out) {
#pragma clang loop unroll(full)
  for (int half = 0; half < 8; half += 4) {
#pragma clang loop unroll(full)
    for (int i = half; i < half + 2; i++, out += 16) {
      /* Bits of four bytes go to the lowest four of the uppermost. */
      const Fours below = (Fours)q[i] * 0x01020408u >> 24, above = (Fours)q[i + 2] * 0x01020408u >> 24;
      const UBytes16 rows = __builtin_convertvector((below & 15u) | (above & 15u) << 4, UBytes16);
      memcpy(out, &rows, 16);
    }
  }
}
