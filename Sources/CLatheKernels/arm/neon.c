#include "LatheKernels.h"
#if defined(__aarch64__)
#include <arm_neon.h>
#include <math.h>
#include <string.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif
/*
 * NEON is part of the base instruction set, and the compiler's vectors of the families serve; the products of bytes are
 * of ARMv8.2's dotprod, which every processor of the last years has.
 */
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)

#define LATHE_OWN_DOT_QUAD
/* Signed times signed: codes of up to 7 bits are what they are, whole bytes are stored 128 below. */
#define LATHE_SIGNED_BYTES 1
#define LATHE_TILE_TOKENS 4
#define QUARTER(v, at) __builtin_shufflevector((Wholes)(v), (Wholes)(v), at, at + 1, at + 2, at + 3)
#define dot_quad(sum, w, x, is_byte)                                                                             \
  ({                                                                                                             \
    int32_t word;                                                                                                \
    memcpy(&word, x, 4);                                                                                         \
    const int8x16_t input = vreinterpretq_s8_s32(vdupq_n_s32(word));                                             \
    const Wholes before = sum;                                                                                   \
    const Codes quads = w;                                                                                       \
    const int32x4_t a = vdotq_s32(QUARTER(before, 0), vreinterpretq_s8_s32(QUARTER(quads, 0)), input);           \
    const int32x4_t b = vdotq_s32(QUARTER(before, 4), vreinterpretq_s8_s32(QUARTER(quads, 4)), input);           \
    const int32x4_t c = vdotq_s32(QUARTER(before, 8), vreinterpretq_s8_s32(QUARTER(quads, 8)), input);           \
    const int32x4_t d = vdotq_s32(QUARTER(before, 12), vreinterpretq_s8_s32(QUARTER(quads, 12)), input);         \
    const Wholes after = {a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3],                                        \
                         c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]};                                        \
    after;                                                                                                       \
  })

#include "tables.h"

#define LATHE_SET_NAME "neon"
#include "../families/all.h"
#pragma clang attribute pop

const LatheKernels *lathe_kernels_neon(void) {
#if defined(__linux__)
  /* HWCAP_ASIMDDP */
  if (!(getauxval(AT_HWCAP) & 1ul << 20)) return 0;
#endif
  return &table;
}
#else
const LatheKernels *lathe_kernels_neon(void) { return 0; }
#endif
