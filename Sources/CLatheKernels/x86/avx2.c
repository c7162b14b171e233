#include "LatheKernels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi,bmi2"))), apply_to = function)

#define LATHE_OWN_HALF
static inline __attribute__((always_inline)) float scale_from_half(uint16_t h) { return _cvtsh_ss(h); }

#include "../families/shares.h"

#define LATHE_OWN_UNPACK
/* Eight codes at a time: one deposit spreads `width` bytes of codes over eight bytes, where no byte holds whole ones. */
static inline __attribute__((always_inline)) void unpack_width(
    const uint8_t *packed, const uint32_t width, uint8_t *codes, size_t n) {
  if (width == 2 || width == 4) return unpack_shares(packed, width, codes, n);
  const uint64_t mask = 0x0101010101010101ull * ((1u << width) - 1);
  size_t i = 0;
  for (; i + 8 <= n; i += 8, packed += width) {
    uint64_t word = 0;
    memcpy(&word, packed, width);
    const uint64_t spread = _pdep_u64(word, mask);
    memcpy(codes + i, &spread, 8);
  }
  for (size_t bit = 0; i < n; i++, bit += width) {
    uint32_t word = packed[bit / 8];
    if (bit % 8 + width > 8) word |= (uint32_t)packed[bit / 8 + 1] << 8;
    codes[i] = (uint8_t)(word >> (bit % 8) & ((1u << width) - 1));
  }
}

#include "../families/widths.h"

#define LATHE_OWN_DOT_QUAD
#define LATHE_SIGNED_BYTES 1
#define LATHE_TILE_TOKENS 4
#define LATHE_SHORT_SUMS
#define LATHE_BLOCKS
#define LATHE_THREES
typedef int16_t ShortSums __attribute__((vector_size(64)));
typedef int32_t HalfWholes __attribute__((vector_size(32)));

#define LOWER_HALF(v) ((__m256i)__builtin_shufflevector((Wholes)(v), (Wholes)(v), 0, 1, 2, 3, 4, 5, 6, 7))
#define UPPER_HALF(v) ((__m256i)__builtin_shufflevector((Wholes)(v), (Wholes)(v), 8, 9, 10, 11, 12, 13, 14, 15))
#define BOTH_HALVES(a, b) \
  __builtin_shufflevector((HalfWholes)(a), (HalfWholes)(b), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)

/* Pairs of products must fit 16 bits: codes of up to 7 bits do, whole bytes as signed ones do. */
static inline __attribute__((always_inline)) __m256i half_products(__m256i w, __m256i x, const int is_byte) {
  return is_byte ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) : _mm256_maddubs_epi16(w, x);
}

static inline __attribute__((always_inline)) __m256i word_broadcast(const int8_t *x) {
  int word;
  memcpy(&word, x, 4);
  return _mm256_set1_epi32(word);
}

#define pair_products(w, x, is_byte)                                                                           \
  ({                                                                                                           \
    const __m256i input = word_broadcast(x);                                                                   \
    (ShortSums)BOTH_HALVES(                                                                                    \
        half_products(LOWER_HALF(w), input, is_byte), half_products(UPPER_HALF(w), input, is_byte));           \
  })

/* Whole bytes leave a register for the ones, which otherwise are read again for each product. */
#define added_pairs(sums, is_byte)                                                                             \
  ({                                                                                                           \
    __m256i ones = _mm256_set1_epi16(1);                                                                       \
    if (is_byte) __asm__("" : "+x"(ones));                                                                     \
    BOTH_HALVES(_mm256_madd_epi16(LOWER_HALF(sums), ones), _mm256_madd_epi16(UPPER_HALF(sums), ones));         \
  })

/* Products that the compiler adds to each other first take registers that are not there. */
#define as_they_are(sums)                                                                                      \
  ({                                                                                                           \
    __m256i low = LOWER_HALF(sums), high = UPPER_HALF(sums);                                                   \
    __asm__("" : "+x"(low));                                                                                   \
    __asm__("" : "+x"(high));                                                                                  \
    (ShortSums)BOTH_HALVES(low, high);                                                                         \
  })

#define LATHE_SPLIT_BYTES 1
#define split_codes(w, magnitudes, signs)                                                                      \
  ({                                                                                                           \
    const Codes given = w;                                                                                     \
    const __m256i low = LOWER_HALF(given), high = UPPER_HALF(given), zero = _mm256_setzero_si256();            \
    *(magnitudes) = (Codes)BOTH_HALVES(_mm256_abs_epi8(low), _mm256_abs_epi8(high));                           \
    *(signs) = (Codes)BOTH_HALVES(_mm256_cmpgt_epi8(zero, low), _mm256_cmpgt_epi8(zero, high));                \
  })

/* Signs are met in memory: loaded first, they take an instruction more for each vector and no less time. */
static inline __attribute__((always_inline)) __m256i signed_input(__m256i input, const __m256i *sign) {
  __m256i out;
  __asm__("vpxor %2, %1, %0" : "=x"(out) : "x"(input), "m"(*sign));
  return out;
}

#define split_products(magnitudes, signs, x)                                                                   \
  ({                                                                                                           \
    const Codes sizes = *(magnitudes);                                                                         \
    const __m256i input = word_broadcast(x), *const masks = (const __m256i *)(signs);                          \
    (ShortSums)BOTH_HALVES(                                                                                    \
        _mm256_maddubs_epi16(LOWER_HALF(sizes), signed_input(input, masks)),                                   \
        _mm256_maddubs_epi16(UPPER_HALF(sizes), signed_input(input, masks + 1)));                              \
  })

/* Pairs of magnitudes where codes are negative, negated. */
#define products_of_signs(magnitudes, signs)                                                                   \
  ({                                                                                                           \
    const Codes sizes = magnitudes, masks = signs;                                                             \
    (ShortSums)BOTH_HALVES(                                                                                    \
        _mm256_maddubs_epi16(LOWER_HALF(sizes), LOWER_HALF(masks)),                                            \
        _mm256_maddubs_epi16(UPPER_HALF(sizes), UPPER_HALF(masks)));                                           \
  })

#define dot_quad(sum, w, x, is_byte) ((sum) + added_pairs(pair_products(w, x, is_byte), is_byte))

/*
 * Bytes times 16-bit numbers: the first and the third of four, then the second and the fourth, in this order, as
 * `as_they_are` says why.
 */
static inline __attribute__((always_inline)) __m256i half_shorts(__m256i sum, __m256i w, __m256i even, __m256i odd) {
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_and_si256(w, _mm256_set1_epi16(255)), even));
  __asm__("" : "+x"(sum));
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_srli_epi16(w, 8), odd));
  __asm__("" : "+x"(sum));
  return sum;
}

#define short_quad(sum, w, x)                                                                                  \
  ({                                                                                                           \
    const __m256i even = word_broadcast(x), odd = word_broadcast((x) + 4);                                     \
    BOTH_HALVES(                                                                                               \
        half_shorts(LOWER_HALF(sum), LOWER_HALF(w), even, odd),                                                \
        half_shorts(UPPER_HALF(sum), UPPER_HALF(w), even, odd));                                               \
  })

#define LATHE_OWN_TABLE_QUAD
#define table_quad(table, w)                                                                                   \
  ({                                                                                                           \
    const __m256i entries = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(table)));            \
    const Codes given = w;                                                                                     \
    (Codes)BOTH_HALVES(                                                                                        \
        _mm256_shuffle_epi8(entries, LOWER_HALF(given)), _mm256_shuffle_epi8(entries, UPPER_HALF(given)));     \
  })

#define LATHE_SUBSETS
typedef uint8_t UBytes32 __attribute__((vector_size(32)));

static inline __attribute__((always_inline)) UBytes32 half_entries(UBytes32 table, UBytes32 places) {
  return (UBytes32)_mm256_shuffle_epi8((__m256i)table, (__m256i)places);
}

/* The sums of four inputs for each half: of the first two they are the same four places on. */
static inline __attribute__((always_inline)) void subset_tables(const int8_t *x, int8_t *tables) {
  const __m256i first_two = _mm256_broadcastsi128_si256(_mm_set1_epi64x(0x0101010000010000));
  const __m256i third = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0001000100010001, 0));
  const __m256i both = _mm256_or_si256(third, _mm256_set1_epi16(0x0100));
  const __m256i all = _mm256_blend_epi32(word_broadcast(x), word_broadcast(x + 4), 0xf0);
  const __m256i pair = _mm256_shuffle_epi8(all, _mm256_set1_epi16(0x0100));
  const __m256i other = _mm256_shuffle_epi8(all, _mm256_set1_epi16(0x0302));
  const __m256i sums = _mm256_maddubs_epi16(first_two, pair);
  const __m256i a = _mm256_add_epi16(sums, _mm256_maddubs_epi16(third, other));
  const __m256i b = _mm256_add_epi16(sums, _mm256_maddubs_epi16(both, other));
  const __m256i mask = _mm256_set1_epi16(63);
  const __m256i low = _mm256_packus_epi16(_mm256_and_si256(a, mask), _mm256_and_si256(b, mask));
  const __m256i high = _mm256_packs_epi16(_mm256_srai_epi16(a, 6), _mm256_srai_epi16(b, 6));
  _mm256_storeu_si256((__m256i *)tables, low);
  _mm256_storeu_si256((__m256i *)tables + 1, high);
}

#define LATHE_OWN_ROW_TABLES
/* Eight rows' entries, those of four in each half of a register; marked columns take what the second tables say. */
static inline __attribute__((always_inline)) __m256i row_entries(
    const uint8_t *tables, __m256i names, const uint8_t *marks) {
  const __m256i rows = _mm256_setr_epi32(
      0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808, 0x0c0c0c0c);
  names = _mm256_or_si256(names, rows);
  const __m256i first = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)tables), names);
  if (!marks) return first;
  const __m256i second = _mm256_shuffle_epi8(_mm256_loadu_si256((const __m256i *)(tables + 64)), names);
  return _mm256_blendv_epi8(first, second, _mm256_slli_epi16(word_broadcast((const int8_t *)marks), 1));
}

#define row_table_quad(tables, w, marks, k)                                                                      \
  ({                                                                                                             \
    const Codes given = w;                                                                                       \
    (Codes)BOTH_HALVES(                                                                                          \
        row_entries(tables, LOWER_HALF(given), marks), row_entries((tables) + 32, UPPER_HALF(given), marks));    \
  })

#define LATHE_OWN_INTEGER_PEAK
/* Four sums of short ones: `run` pairs of products are added up before they are widened. */
static inline __attribute__((always_inline)) size_t peak_of_runs(size_t rounds, const int run, int32_t *sink) {
  __m256i sums[4] = {0}, codes = _mm256_set1_epi8(3);
  const __m256i values = _mm256_set1_epi8(-5), ones = _mm256_set1_epi16(1);
  for (size_t i = 0; i < rounds; i++) {
    __m256i pairs[4] = {0};
#pragma clang loop unroll(full)
    for (int k = 0; k < 4 * run; k++) {
      /* The compiler must not see that all products are the same. */
      __asm__ volatile("" : "+x"(codes));
      pairs[k % 4] = _mm256_add_epi16(pairs[k % 4], _mm256_maddubs_epi16(codes, values));
    }
#pragma clang loop unroll(full)
    for (int k = 0; k < 4; k++) sums[k] = _mm256_add_epi32(sums[k], _mm256_madd_epi16(pairs[k], ones));
  }
  const __m256i all = _mm256_add_epi32(_mm256_add_epi32(sums[0], sums[1]), _mm256_add_epi32(sums[2], sums[3]));
  *sink = _mm256_extract_epi32(all, 0);
  return rounds * 4 * (size_t)run * 32;
}

/* Sixteen bits hold eight pairs of products of few bits, one of whole bytes. */
static size_t integer_peak(size_t rounds, uint32_t bits, int32_t *sink) {
  return bits < 8 ? peak_of_runs(rounds, 8, sink) : peak_of_runs(rounds, 1, sink);
}

#define LATHE_OWN_TILE_HALVES
#define load_halves(h)                                                                                         \
  ({                                                                                                           \
    const __m128i *const places = (const __m128i *)(h);                                                        \
    (Floats)BOTH_HALVES(                                                                                       \
        _mm256_cvtph_ps(_mm_loadu_si128(places)), _mm256_cvtph_ps(_mm_loadu_si128(places + 1)));               \
  })

typedef float Lanes __attribute__((ext_vector_type(16)));
typedef int32_t LaneMask __attribute__((ext_vector_type(16)));
typedef uint32_t LaneWords __attribute__((ext_vector_type(16)));

#define LATHE_OWN_LANE_HALVES
static inline __attribute__((always_inline)) Lanes lanes_from_halves(const uint16_t *p) {
  __m256 parts[2];
  for (int i = 0; i < 2; i++) parts[i] = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p + i));
  Lanes x;
  memcpy(&x, parts, sizeof x);
  return x;
}

static inline __attribute__((always_inline)) void halves_from_lanes(Lanes x, uint16_t *p) {
  __m256 parts[2];
  memcpy(parts, &x, sizeof x);
  for (int i = 0; i < 2; i++) _mm_storeu_si128((__m128i *)p + i, _mm256_cvtps_ph(parts[i], _MM_FROUND_TO_NEAREST_INT));
}

#define LATHE_SET_NAME "avx2"
#include "../families/all.h"
#pragma clang attribute pop

const LatheKernels *lathe_kernels_avx2(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") ? &table : 0;
}
#else
const LatheKernels *lathe_kernels_avx2(void) { return 0; }
#endif
