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
#define LATHE_TOKEN_PAIRS
#define LATHE_NEIGHBOURS 8
#define QUARTER(v, at) __builtin_shufflevector((Wholes)(v), (Wholes)(v), at, at + 1, at + 2, at + 3)
#define dot_pairs(sum, w, x)                                                                                     \
  ({                                                                                                             \
    const int8x16_t inputs = (int8x16_t)(x);                                                                     \
    const Wholes old = sum;                                                                                      \
    const Codes codes = w;                                                                                       \
    const int32x4_t a = vusmmlaq_s32(QUARTER(old, 0), vreinterpretq_u8_s32(QUARTER(codes, 0)), inputs);          \
    const int32x4_t b = vusmmlaq_s32(QUARTER(old, 4), vreinterpretq_u8_s32(QUARTER(codes, 4)), inputs);          \
    const int32x4_t c = vusmmlaq_s32(QUARTER(old, 8), vreinterpretq_u8_s32(QUARTER(codes, 8)), inputs);          \
    const int32x4_t d = vusmmlaq_s32(QUARTER(old, 12), vreinterpretq_u8_s32(QUARTER(codes, 12)), inputs);        \
    const Wholes sums = {a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3],                                         \
                         c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]};                                        \
    sums;                                                                                                        \
  })
/* Of attention: codes of four elements by those of one query. */
#define dot_quad(sum, w, x, is_byte)                                                                             \
  ({                                                                                                             \
    int32_t word;                                                                                                \
    memcpy(&word, x, 4);                                                                                         \
    const int8x16_t input = vreinterpretq_s8_s32(vdupq_n_s32(word));                                             \
    const Wholes before = sum;                                                                                   \
    const Codes quads = w;                                                                                       \
    const int32x4_t a = vusdotq_s32(QUARTER(before, 0), vreinterpretq_u8_s32(QUARTER(quads, 0)), input);         \
    const int32x4_t b = vusdotq_s32(QUARTER(before, 4), vreinterpretq_u8_s32(QUARTER(quads, 4)), input);         \
    const int32x4_t c = vusdotq_s32(QUARTER(before, 8), vreinterpretq_u8_s32(QUARTER(quads, 8)), input);         \
    const int32x4_t d = vusdotq_s32(QUARTER(before, 12), vreinterpretq_u8_s32(QUARTER(quads, 12)), input);       \
    const Wholes after = {a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3],                                        \
                          c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]};                                       \
    after;                                                                                                       \
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
