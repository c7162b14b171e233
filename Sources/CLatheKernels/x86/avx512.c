#include "LatheKernels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>
#pragma clang attribute push(                                                                           \
  __attribute__((target("avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi"), min_vector_width(512))), \
  apply_to = function)

/*
 * 64 codes in three instructions: a byte permutation gives each 64-bit lane the `width` bytes of its eight codes,
 * a multishift moves each code to a byte of its own, a mask clears its neighbours.
 */
#define LATHE_OWN_UNPACK
static void unpack(const uint8_t *packed, uint32_t width, uint8_t *codes, size_t n) {
  uint8_t order[64], shifts[64];
  for (uint32_t lane = 0; lane < 8; lane++) {
    for (uint32_t k = 0; k < 8; k++) {
      order[8 * lane + k] = (uint8_t)(lane * width + (k < width ? k : 0));
      shifts[8 * lane + k] = (uint8_t)(k * width);
    }
  }
  const __m512i permutation = _mm512_loadu_si512(order), shift = _mm512_loadu_si512(shifts);
  const __m512i mask = _mm512_set1_epi8((char)((1u << width) - 1));
  for (size_t i = 0; i < n; i += 64, packed += 8 * width) {
    const size_t left = n - i < 64 ? n - i : 64;
    const uint64_t readable = left == 64 && width == 8 ? ~0ull : (1ull << ((left * width + 7) / 8)) - 1;
    const uint64_t writable = left == 64 ? ~0ull : (1ull << left) - 1;
    const __m512i bytes = _mm512_maskz_loadu_epi8(readable, packed);
    const __m512i lanes = _mm512_permutexvar_epi8(permutation, bytes);
    const __m512i spread = _mm512_and_si512(_mm512_multishift_epi64_epi8(shift, lanes), mask);
    _mm512_mask_storeu_epi8(codes + i, writable, spread);
  }
}

#define LATHE_SET_NAME "avx512"
#include "../families/all.h"
#pragma clang attribute pop

const LatheKernels *lathe_kernels_avx512(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
             && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi")
           ? &table
           : 0;
}
#else
const LatheKernels *lathe_kernels_avx512(void) { return 0; }
#endif
