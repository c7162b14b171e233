/* Codes of two or of four bits, of which a byte holds several whole ones: loops that the compiler turns into shuffles. */
static inline __attribute__((always_inline)) void unpack_shares(
    const uint8_t *restrict packed, const uint32_t width, uint8_t *restrict codes, size_t n) {
  const size_t share = 8 / width;
  for (size_t i = 0; i < n / share; i++) {
    for (size_t k = 0; k < share; k++) codes[share * i + k] = (uint8_t)(packed[i] >> (width * k) & ((1u << width) - 1));
  }
  for (size_t i = n / share * share; i < n; i++) {
    codes[i] = (uint8_t)(packed[i / share] >> (width * (i % share)) & ((1u << width) - 1));
  }
}
