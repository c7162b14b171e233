/* What the machine gives: reading alone, and whole-number products alone. Speeds are told beside these. */

typedef uint64_t LatheWide __attribute__((vector_size(64)));

/* Eight sums that wait for nothing but memory. */
LATHE_INLINE uint64_t stream_lines(const uint8_t *bytes, size_t n, const int is_fetched) {
  LatheWide sums[8] = {{0}};
  for (; n >= sizeof sums; bytes += sizeof sums, n -= sizeof sums) {
    for (int k = 0; k < 8; k++) {
      LatheWide wide;
      if (is_fetched) fetch_codes(bytes + sizeof wide * k, 0);
      memcpy(&wide, bytes + sizeof wide * k, sizeof wide);
      sums[k] ^= wide;
    }
  }
  LatheWide all = sums[0];
  for (int k = 1; k < 8; k++) all ^= sums[k];
  uint64_t sum = 0;
  for (int k = 0; k < 8; k++) sum ^= all[k];
  for (; n > 0; bytes++, n--) sum ^= *bytes;
  return sum;
}

/* Which of the two is faster depends on the machine, and on the hour where others share its memory. */
static uint64_t stream(const uint8_t *bytes, size_t n, int is_fetched) {
  return is_fetched ? stream_lines(bytes, n, 1) : stream_lines(bytes, n, 0);
}

#ifndef LATHE_OWN_INTEGER_PEAK
/* Products of bytes that stay in the first cache. */
static size_t integer_peak(size_t rounds, uint32_t bits, int32_t *sink) {
  (void)bits;
  enum { count = 4096 };
  static const uint8_t codes[count] = {1};
  static const int8_t values[count] = {1};
  const uint8_t *a = codes;
  const int8_t *b = values;
  int32_t sum = 0;
  for (size_t i = 0; i < rounds; i++) {
    /* The compiler must not see that each round is the same. */
    __asm__ volatile("" : "+r"(a), "+r"(b));
    for (int k = 0; k < count; k++) sum += a[k] * b[k];
  }
  *sink = sum;
  return rounds * count;
}
#endif
