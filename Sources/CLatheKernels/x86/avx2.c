#include "LatheKernels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi,bmi2"))), apply_to = function)

#define LATHE_OWN_HALF
static inline __attribute__((always_inline)) float scale_from_half(uint16_t h) { return _cvtsh_ss(h); }

#define LATHE_OWN_UNPACK
/* Eight codes at a time: one deposit spreads `width` bytes of codes over eight bytes. */
static inline __attribute__((always_inline)) void unpack_width(
    const uint8_t *packed, const uint32_t width, uint8_t *codes, size_t n) {
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

#define LATHE_SET_NAME "avx2"
#include "../families/all.h"
#pragma clang attribute pop

const LatheKernels *lathe_kernels_avx2(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") ? &table : 0;
}
#else
const LatheKernels *lathe_kernels_avx2(void) { return 0; }
#endif
