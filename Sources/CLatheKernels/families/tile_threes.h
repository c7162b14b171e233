/*
 * Three bits where processors have little room beside products: two whole codes lie in a byte, which one mask or a shift and a
 * mask take out. Vector i of a unit's three holds quads 2i and 2i + 1; above them, the first two have the lower two bits of
 * quads 6 and 7, the third has their third bits. Nineteen operations for eight quads, where planes of two bits and of one take
 * 37, or 29 where one operation has three operands.
 */

LATHE_INLINE Codes three_quad(const uint8_t *p, const int k) {
  if (k < 6) return shifted(load_codes(p + 64 * (k / 2)), 3 * (k % 2), 7);
  return shifted(load_codes(p + 64 * (k - 6)), 6, 3) | shifted(load_codes(p + 128), k - 2, 4);
}

/* The eight quads of a unit to 192 bytes. */
LATHE_INLINE void pack_threes(const Codes *q, uint8_t *out) {
#pragma clang loop unroll(full)
  for (int i = 0; i < 3; i++) {
    Codes v = q[2 * i] | q[2 * i + 1] << (uint8_t)3;
    if (i < 2) v |= q[6 + i] << (uint8_t)6;
    else v |= (q[6] & (uint8_t)4) << (uint8_t)4 | (q[7] & (uint8_t)4) << (uint8_t)5;
    memcpy(out + 64 * i, &v, 64);
  }
}
