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
#define LATHE_BYTE_SHIFTS
#define LATHE_THREES
#define LATHE_BLOCKS
#define LATHE_BLOCKS_OF_FOUR 1
#define DOT_WORD(sums, codes) vdotq_s32(sums, vreinterpretq_s8_s32(codes), input)
#define DOT_WORD_OF(sums, codes, inputs, k) vdotq_laneq_s32(sums, vreinterpretq_s8_s32(codes), inputs, k)
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
