/*
 * Sums of a cache's codes times whole numbers, sixteen lanes of four products at a time.
 *
 * Numbers of 14 bits and a sign, which a cache of 8 bits meets, are 128 · high + low: the lower parts of a query or of a
 * chunk's weights lie `lows` bytes after the upper ones. Sets with products of 16 bits have them whole: of four neighbours
 * the first and the third, then the second and the fourth.
 */

/* What a cache of codes meets: two bytes a number, or one. */
LATHE_INLINE int is_fine(const uint32_t kind) { return kind == LATHE_CACHE_int8; }

typedef int16_t Shorts __attribute__((vector_size(64)));
typedef int8_t SignedCodes __attribute__((vector_size(64)));

/* Nearest whole numbers, of less than four millions, above a constant whose low bits are none. */
#define LATHE_WHOLES 0x4B400000u
LATHE_INLINE LaneWords wholes(Lanes x) { return (LaneWords)(x + 12582912.0f); }

/* The lower halves of 32 numbers, and of 64. */
LATHE_INLINE Shorts lower_halves(LaneWords a, LaneWords b) {
  return __builtin_shufflevector(
    (Shorts)a, (Shorts)b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50,
    52, 54, 56, 58, 60, 62);
}

LATHE_INLINE void store_bytes(Shorts a, Shorts b, int8_t *p) {
  const SignedCodes bytes = __builtin_shufflevector(
    (SignedCodes)a, (SignedCodes)b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44,
    46, 48, 50, 52, 54, 56, 58, 60, 62, 64, 66, 68, 70, 72, 74, 76, 78, 80, 82, 84, 86, 88, 90, 92, 94, 96, 98, 100, 102,
    104, 106, 108, 110, 112, 114, 116, 118, 120, 122, 124, 126);
  memcpy(p, &bytes, sizeof bytes);
}

#ifdef LATHE_SHORT_SUMS
#define LATHE_WHOLE_NUMBERS 1
#define LATHE_SIGNED_CODES 0
/* Calls of `meet_numbers` that belong together: of a whole chunk, and of sixteen positions. */
#define LATHE_NUMBERS_RUN 8
#define LATHE_NUMBERS_PART 4
typedef struct {
  Wholes whole;
  ShortSums pairs;
} CodeSums;

LATHE_INLINE CodeSums begin_sums(const uint32_t kind, int32_t start) {
  return (CodeSums){(Wholes){} + start, (ShortSums){}};
}

LATHE_INLINE void store_shorts(Shorts a, int8_t *p) {
  a = __builtin_shufflevector(
    a, a, 0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15, 16, 18, 17, 19, 20, 22, 21, 23, 24, 26, 25, 27, 28, 30, 29,
    31);
  memcpy(p, &a, sizeof a);
}

/* A chunk's 64 numbers. */
LATHE_INLINE void store_numbers(const uint32_t kind, const LaneWords *codes, int8_t *x) {
  const Shorts a = lower_halves(codes[0], codes[1]), b = lower_halves(codes[2], codes[3]);
  if (!is_fine(kind)) store_bytes(a, b, x);
  else store_shorts(a, x), store_shorts(b, x + LATHE_CACHE_CHUNK);
}

/* Adds codes times numbers `at ..< at + 4`; this is call number `k` of runs of `run`, whose pairs of products fit 16 bits. */
LATHE_INLINE void meet_numbers(
    const uint32_t kind, CodeSums *sums, Codes w, const int8_t *x, size_t at, size_t lows, const size_t k,
    const size_t run) {
  if (is_fine(kind)) {
    sums->whole = short_quad(sums->whole, w, x + 2 * at);
    return;
  }
  ShortSums pairs = pair_products(w, x + at, 0);
  if (k % run) pairs += sums->pairs;
  if (k % run == run - 1) sums->whole += added_pairs(pairs, 0);
  else sums->pairs = as_they_are(pairs);
}

LATHE_INLINE LaneMask whole_sums(const uint32_t kind, const CodeSums *sums) { return (LaneMask)sums->whole; }
#else
#define LATHE_WHOLE_NUMBERS 0
/* Whether codes of 8 bits are met as signed bytes. */
#define LATHE_SIGNED_CODES LATHE_SIGNED_BYTES
/* Words of a vector are named when it is compiled. */
#ifdef LATHE_OWN_DOT_WORD
#define LATHE_NUMBERS_RUN 4
#define LATHE_NUMBERS_PART 4
#else
#define LATHE_NUMBERS_RUN 1
#define LATHE_NUMBERS_PART 1
#endif
typedef struct {
  Wholes upper, lower;
} CodeSums;

LATHE_INLINE CodeSums begin_sums(const uint32_t kind, int32_t start) {
  const Wholes all = (Wholes){} + start;
  return (CodeSums){is_fine(kind) ? (Wholes){} : all, all};
}

LATHE_INLINE void store_numbers(const uint32_t kind, const LaneWords *codes, int8_t *x) {
  const Shorts a = lower_halves(codes[0], codes[1]), b = lower_halves(codes[2], codes[3]);
  if (!is_fine(kind)) {
    store_bytes(a, b, x);
    return;
  }
  /* The lower part lies between -64 and 63. */
  const Shorts more = a + 64, other = b + 64;
  store_bytes(more >> 7, other >> 7, x);
  store_bytes((more & 127) - 64, (other & 127) - 64, x + LATHE_CACHE_CHUNK);
}

LATHE_INLINE void meet_numbers(
    const uint32_t kind, CodeSums *sums, Codes w, const int8_t *x, size_t at, size_t lows, const size_t k,
    const size_t run) {
  sums->upper = dot_word(sums->upper, w, x, at / 4, kind == LATHE_CACHE_int8);
  if (is_fine(kind)) sums->lower = dot_word(sums->lower, w, x + lows, at / 4, kind == LATHE_CACHE_int8);
}

LATHE_INLINE LaneMask whole_sums(const uint32_t kind, const CodeSums *sums) {
  return (LaneMask)(is_fine(kind) ? (sums->upper << 7) + sums->lower : sums->upper);
}
#endif

/* The first 32 numbers of a chunk to numbers from `at` on. */
LATHE_INLINE void copy_numbers(const uint32_t kind, const int8_t *chunk, int8_t *x, size_t at, size_t lows) {
  if (!is_fine(kind)) memcpy(x + at, chunk, 32);
  else if (LATHE_WHOLE_NUMBERS) memcpy(x + 2 * at, chunk, 64);
  else memcpy(x + at, chunk, 32), memcpy(x + lows + at, chunk + LATHE_CACHE_CHUNK, 32);
}
