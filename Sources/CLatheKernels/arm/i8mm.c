#include "LatheKernels.h"
#if defined(__aarch64__)
#include <arm_neon.h>
#include <math.h>
#include <string.h>
#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif
/*
 * ARMv8.6's products of small matrices (i8mm): one instruction multiplies two rows by two tokens, eight inputs at a time,
 * twice the products of dotprod's.
 */
#pragma clang attribute push(__attribute__((target("dotprod,i8mm"))), apply_to = function)

#define LATHE_OWN_DOT_QUAD
/* Unsigned codes times signed inputs. */
#define LATHE_SIGNED_BYTES 0
#define LATHE_TILE_TOKENS 4
#define LATHE_BYTE_SHIFTS
#define LATHE_THREES
#define LATHE_BLOCKS
#define LATHE_BLOCKS_OF_FOUR 1
#define LATHE_TOKEN_PAIRS
#define LATHE_NEIGHBOURS 8
/* Attention meets one query at a time. */
#define DOT_WORD(sums, codes) vusdotq_s32(sums, vreinterpretq_u8_s32(codes), input)
#define DOT_WORD_OF(sums, codes, inputs, k) vusdotq_laneq_s32(sums, vreinterpretq_u8_s32(codes), inputs, k)
#define PAIR_WORDS(sums, codes) vusmmlaq_s32(sums, vreinterpretq_u8_s32(codes), inputs)
#define dot_pairs(sum, w, x)                                                                                     \
  ({                                                                                                             \
    const int8x16_t inputs = (int8x16_t)(x);                                                                     \
    BY_QUARTERS(sum, w, PAIR_WORDS);                                                                             \
  })
#include "tables.h"

#define LATHE_SET_NAME "i8mm"
#include "../families/all.h"
#pragma clang attribute pop

const LatheKernels *lathe_kernels_i8mm(void) {
#if defined(__linux__)
  /* HWCAP_ASIMDDP, HWCAP2_I8MM */
  return getauxval(AT_HWCAP) & 1ul << 20 && getauxval(AT_HWCAP2) & 1ul << 13 ? &table : 0;
#elif defined(__APPLE__)
  int present = 0;
  size_t size = sizeof present;
  return sysctlbyname("hw.optional.arm.FEAT_I8MM", &present, &size, 0, 0) == 0 && present ? &table : 0;
#else
  return 0;
#endif
}
#else
const LatheKernels *lathe_kernels_i8mm(void) { return 0; }
#endif
