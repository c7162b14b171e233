#include "LatheKernels.h"
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>
#pragma clang attribute push(                                                                           \
  __attribute__((target("avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,avx512vnni"), min_vector_width(512))), \
  apply_to = function)

/*
 * How many bytes ahead lines are called for. A first cache of 48 KB takes all of them itself, nearly twice as early; there a way
 * by the second cache loses (Zen 5), which gains where the first holds 32 KB (Zen 4).
 */
static struct {
  size_t codes, slow_codes, far_codes;
  /* Keys and values: bytes, and bytes for each element of a row by way of the second cache. */
  size_t cache, far_cache;
} ahead = {4096, 2048, 8192, 1024, 96};

#define LATHE_OWN_HALF
static inline __attribute__((always_inline)) float scale_from_half(uint16_t h) { return _cvtsh_ss(h); }

#define LATHE_OWN_UNPACK
/*
 * 64 codes in three instructions: a byte permutation gives each 64-bit lane the `width` bytes of its eight codes,
 * a multishift moves each code to a byte of its own, a mask clears its neighbours.
 */
typedef struct {
  __m512i permutation, shift, mask;
} Spread;

static inline __attribute__((always_inline)) Spread spread_of(const uint32_t width) {
  uint8_t order[64], shifts[64];
  /* With the width known these loops are done at compile time. */
  for (uint32_t lane = 0; lane < 8; lane++) {
    for (uint32_t k = 0; k < 8; k++) {
      order[8 * lane + k] = (uint8_t)(lane * width + (k < width ? k : 0));
      shifts[8 * lane + k] = (uint8_t)(k * width);
    }
  }
  return (Spread){
    _mm512_loadu_si512(order), _mm512_loadu_si512(shifts), _mm512_set1_epi8((char)((1u << width) - 1))};
}

static inline __attribute__((always_inline)) __m512i spread(const Spread s, const __m512i bytes) {
  const __m512i lanes = _mm512_permutexvar_epi8(s.permutation, bytes);
  return _mm512_and_si512(_mm512_multishift_epi64_epi8(s.shift, lanes), s.mask);
}

static inline __attribute__((always_inline)) void unpack_width(
    const uint8_t *packed, const uint32_t width, uint8_t *codes, size_t n) {
  const Spread tables = spread_of(width);
  for (size_t i = 0; i < n; i += 64, packed += 8 * width) {
    const size_t left = n - i < 64 ? n - i : 64;
    const uint64_t readable = left == 64 && width == 8 ? ~0ull : (1ull << ((left * width + 7) / 8)) - 1;
    const uint64_t writable = left == 64 ? ~0ull : (1ull << left) - 1;
    const __m512i bytes = _mm512_maskz_loadu_epi8(readable, packed);
    _mm512_mask_storeu_epi8(codes + i, writable, spread(tables, bytes));
  }
}

#include "../families/widths.h"

#define LATHE_OWN_INTEGER_PEAK
/* Twelve accumulators: as many products are under way as both ports hold. */
static size_t integer_peak(size_t rounds, uint32_t bits, int32_t *sink) {
  (void)bits;
  __m512i sums[12], codes = _mm512_set1_epi8(3), values = _mm512_set1_epi8(-5);
  for (int k = 0; k < 12; k++) sums[k] = _mm512_set1_epi32(k);
  for (size_t i = 0; i < rounds; i++) {
    for (int k = 0; k < 12; k++) sums[k] = _mm512_dpbusd_epi32(sums[k], codes, values);
  }
  for (int k = 1; k < 12; k++) sums[0] = _mm512_add_epi32(sums[0], sums[k]);
  *sink = _mm512_reduce_add_epi32(sums[0]);
  return rounds * 12 * 64;
}

#define LATHE_OWN_LOOKUP
/* Sixteen codes to sixteen entries: one permutation of a register that holds the table. */
static inline __attribute__((always_inline)) __m512 entries(const uint8_t *codes, const __m512 table, size_t n) {
  const __m128i bytes = _mm_maskz_loadu_epi8((__mmask16)((1u << (n + 1) / 2) - 1), codes);
  const __m128i low = _mm_and_si128(bytes, _mm_set1_epi8(15));
  const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
  return _mm512_permutexvar_ps(_mm512_cvtepu8_epi32(_mm_unpacklo_epi8(low, high)), table);
}

static inline __attribute__((always_inline)) void lookup(
    const uint8_t *codes, const float *table, float scale, float *out, size_t n) {
  const __m512 t = _mm512_mul_ps(_mm512_loadu_ps(table), _mm512_set1_ps(scale));
  for (size_t i = 0; i < n; i += 16) {
    const size_t left = n - i < 16 ? n - i : 16;
    _mm512_mask_storeu_ps(out + i, (__mmask16)((1u << left) - 1), entries(codes + i / 2, t, left));
  }
}

static inline __attribute__((always_inline)) float lookup_dot(
    const uint8_t *codes, const float *table, const float *x, size_t n) {
  const __m512 t = _mm512_loadu_ps(table);
  __m512 sum = _mm512_setzero_ps();
  for (size_t i = 0; i < n; i += 16) {
    const size_t left = n - i < 16 ? n - i : 16;
    const __m512 v = _mm512_maskz_loadu_ps((__mmask16)((1u << left) - 1), x + i);
    sum = _mm512_fmadd_ps(entries(codes + i / 2, t, left), v, sum);
  }
  return _mm512_reduce_add_ps(sum);
}

#define LATHE_OWN_DOT_QUAD
#define LATHE_SIGNED_BYTES 0
#define LATHE_TILE_TOKENS 12
#define LATHE_THREES
#define LATHE_TILES_TOGETHER 2
#define LATHE_SCALES_FETCHED
#define LATHE_AHEAD ahead.codes
#define LATHE_SLOW_AHEAD ahead.slow_codes
#define LATHE_CODES_FAR ahead.far_codes
#define dot_quad(sum, w, x, is_byte) \
  ((Wholes)_mm512_dpbusd_epi32((__m512i)(sum), (__m512i)(w), _mm512_set1_epi32(load_word(x))))
static inline __attribute__((always_inline)) int load_word(const int8_t *x) {
  int word;
  memcpy(&word, x, 4);
  return word;
}

#define LATHE_OWN_TILE_HALVES
#define load_halves(h) ((Floats)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(h))))

#define LATHE_OWN_TABLE_QUAD
#define table_quad(table, w) \
  ((Codes)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(table))), (__m512i)(w)))

#define LATHE_OWN_TRITS
/* A digit of 0 to 26 at each place, and 32 above it: the permutation looks at six bits. */
#define trit_quad(j, w) ((Codes)_mm512_permutexvar_epi8((__m512i)(w), _mm512_loadu_si512(trit_digits[j])))
#define NINE(a, b, c) a, a, a, b, b, b, c, c, c
#define THRICE(...) __VA_ARGS__, __VA_ARGS__, __VA_ARGS__
#define TWICE(...) {__VA_ARGS__, 0, 0, 0, 0, 0, __VA_ARGS__}
static const uint8_t trit_digits[3][64] = {
  TWICE(THRICE(0, 1, 2, 0, 1, 2, 0, 1, 2)), TWICE(THRICE(NINE(0, 1, 2))),
  TWICE(NINE(0, 0, 0), NINE(1, 1, 1), NINE(2, 2, 2))};
#undef NINE
#undef THRICE
#undef TWICE

#define LATHE_OWN_ROW_TABLES
/* A row's four entries, and its second four 64 above them: the tables of sixteen rows are one or two registers. */
#define row_table_quad(tables, w, marks, k)                                                                      \
  ({                                                                                                             \
    const __m512i first = _mm512_loadu_si512(tables), rows = _mm512_loadu_si512(row_places);                     \
    const uint8_t *const marked = marks;                                                                         \
    __m512i at = (__m512i)(w);                                                                                   \
    if (marked) {                                                                                                \
      at = _mm512_ternarylogic_epi32(at, rows, _mm512_set1_epi32(load_word((const int8_t *)marked)), 0xfe);      \
      at = _mm512_permutex2var_epi8(first, at, _mm512_loadu_si512((tables) + 64));                               \
    } else {                                                                                                     \
      at = _mm512_shuffle_epi8(first, _mm512_or_si512(at, rows));                                                \
    }                                                                                                            \
    (Codes)at;                                                                                                   \
  })
#define PLACES(a) a, a, a, a, a + 4, a + 4, a + 4, a + 4, a + 8, a + 8, a + 8, a + 8, a + 12, a + 12, a + 12, a + 12
static const uint8_t row_places[64] = {PLACES(0), PLACES(16), PLACES(32), PLACES(48)};
#undef PLACES

#define LATHE_PATCH_WORDS 1
/* Bits are masks: one blends a row's two values, one says where the next patches go. */
#define patched_quad(p, k, tables, patch)                                                                        \
  ({                                                                                                             \
    const __m512i table = _mm512_loadu_si512(tables), rows = _mm512_loadu_si512(row_places);                     \
    uint64_t signs, places;                                                                                      \
    memcpy(&signs, (p) + 8 * (k), 8);                                                                            \
    memcpy(&places, (p) + 64 + 8 * (k), 8);                                                                      \
    const __m512i low = _mm512_shuffle_epi8(table, rows);                                                        \
    const __m512i high = _mm512_shuffle_epi8(table, _mm512_or_si512(rows, _mm512_set1_epi8(1)));                 \
    const __m512i values = _mm512_mask_blend_epi8(signs, low, high), next = _mm512_loadu_si512(*(patch));        \
    *(patch) += __builtin_popcountll(places);                                                                    \
    (Codes)_mm512_mask_expand_epi8(values, places, next);                                                        \
  })

typedef float Lanes __attribute__((ext_vector_type(16)));
typedef int32_t LaneMask __attribute__((ext_vector_type(16)));
typedef uint32_t LaneWords __attribute__((ext_vector_type(16)));

#define LATHE_OWN_LANE_HALVES
static inline __attribute__((always_inline)) Lanes lanes_from_halves(const uint16_t *p) {
  return (Lanes)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

static inline __attribute__((always_inline)) void halves_from_lanes(Lanes x, uint16_t *p) {
  _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT));
}

#define LATHE_OWN_POWERS
/*
 * An instruction leaves what x is above a whole number, for a polynomial that is 1 at 0, to 1.4e-7 or 8.6e-5; another one
 * multiplies by 2 to that number.
 */
static inline __attribute__((always_inline)) Lanes powers_of_two(Lanes x, const int is_exact) {
  const Lanes f = (Lanes)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  Lanes p = is_exact ? f * 1.86714033e-3f + 9.01700716e-3f : (Lanes)7.70670421e-2f;
  if (is_exact) p = p * f + 5.57999297e-2f;
  p = p * f + (is_exact ? 2.40164447e-1f : 2.27644991e-1f);
  p = p * f + (is_exact ? 6.93151312e-1f : 6.95116786e-1f);
  return (Lanes)_mm512_scalef_ps((__m512)(p * f + 1.0f), (__m512)x);
}

#define LATHE_CACHE_BLOCKS 2
#define LATHE_CACHE_SUMS 16
#define LATHE_SCORE_STEPS 2
/*
 * By way of the second cache, or straight into a large first one: the other way takes up to a third longer from memory on Zen 4,
 * up to two fifths on Zen 5.
 */
#define LATHE_CACHE_FAR ahead.far_cache
#define LATHE_CACHE_AHEAD ahead.cache
#define LATHE_SCALES_AHEAD 1024
#define LATHE_PANEL_ROWS 8
#define LATHE_PANELS 2
#define LATHE_SET_NAME "avx512vnni"
#define LATHE_OWN_DOT_INTEGER
#include "../families/before_table.h"

/*
 * Codes go from packed bytes to products without touching memory: 64 are spread over a register, sixteen at a time
 * become floats. A group's sum is scaled as a vector; one horizontal sum ends the row.
 */
static inline __attribute__((always_inline)) float dot_width(const LatheIntegerRow *row, const float *x, const uint32_t width) {
  const Spread tables = spread_of(width);
  const uint64_t readable = width == 8 ? ~0ull : (1ull << (8 * width)) - 1;
  const uint8_t *packed = row->codes;
  __m512 total = _mm512_setzero_ps();
  for (size_t start = 0; start < row->n; start += row->group) {
    const size_t g = start / row->group;
    const __m512 zero = _mm512_set1_ps(group_zero(row, g));
    __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
    for (size_t i = start; i < start + row->group; i += 64, packed += 8 * width) {
      __m512i codes = _mm512_maskz_loadu_epi8(readable, packed);
      if (width < 8) codes = spread(tables, codes);
#define LATHE_LANE(k) \
  _mm512_sub_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(codes, k))), zero)
      a = _mm512_fmadd_ps(LATHE_LANE(0), _mm512_loadu_ps(x + i), a);
      b = _mm512_fmadd_ps(LATHE_LANE(1), _mm512_loadu_ps(x + i + 16), b);
      c = _mm512_fmadd_ps(LATHE_LANE(2), _mm512_loadu_ps(x + i + 32), c);
      d = _mm512_fmadd_ps(LATHE_LANE(3), _mm512_loadu_ps(x + i + 48), d);
#undef LATHE_LANE
    }
    const __m512 sum = _mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d));
    total = _mm512_fmadd_ps(sum, _mm512_set1_ps(scale_from_half(row->scales[g])), total);
  }
  return _mm512_reduce_add_ps(total);
}

static float dot_integer(const LatheIntegerRow *row, const float *x) {
  if (row->group_of_column || row->group % 64 != 0 || row->n % row->group != 0) return dot_integer_by_tile(row, x);
  switch (row->bits) {
    case 1: return dot_width(row, x, 1);
    case 2: return dot_width(row, x, 2);
    case 3: return dot_width(row, x, 3);
    case 4: return dot_width(row, x, 4);
    case 5: return dot_width(row, x, 5);
    case 6: return dot_width(row, x, 6);
    case 7: return dot_width(row, x, 7);
    default: return dot_width(row, x, 8);
  }
}

#include "../families/table.h"
#pragma clang attribute pop

/* The bytes of a core's first cache for data, as the processor tells; 0 where it does not. */
static size_t first_cache(void) {
  unsigned a, b, c, d;
  for (unsigned leaf = 4;; leaf = 0x8000001d) {
    for (unsigned k = 0; __get_cpuid_count(leaf, k, &a, &b, &c, &d) && (a & 31); k++) {
      const int is_data = (a & 31) == 1, level = a >> 5 & 7;
      if (is_data && level == 1) return ((b >> 22) + 1) * ((b >> 12 & 1023) + 1) * ((b & 4095) + 1) * ((size_t)c + 1);
    }
    if (leaf != 4) return 0;
  }
}

/* Before any thread asks for the set: distances never change afterwards. */
__attribute__((constructor)) static void choose_distances(void) {
  if (first_cache() < 48 << 10) return;
  /* The line that is met now is at hand. */
  ahead.codes = 8192, ahead.slow_codes = 10240, ahead.far_codes = 0;
  ahead.cache = 8192, ahead.far_cache = 0;
}

const LatheKernels *lathe_kernels_avx512(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
             && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi")
             && __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vnni")
           ? &table
           : 0;
}
#else
const LatheKernels *lathe_kernels_avx512(void) { return 0; }
#endif
