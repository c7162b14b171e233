/*
 * What every family uses. This file and its neighbours are compiled once for each instruction set:
 * `scalar/`, `x86/` and `arm/` include them under their own target, so all symbols are static.
 */
#include <math.h>
#include <string.h>

/* Sums may be reordered: a fixed order would forbid vectors. */
#pragma clang fp reassociate(on) contract(fast)

#define LATHE_INLINE static inline __attribute__((always_inline))
/* Elements decoded at a time where a row is consumed while it is decoded: one L1-resident tile. */
#define LATHE_TILE 256
/*
 * How many bytes ahead codes are called for into the first cache: at 4,096 eight tokens read memory a quarter faster than
 * without. Where sums take longer than lines come, a set may call for them into the second one first: LATHE_CODES_FAR bytes
 * ahead, and from there LATHE_SLOW_AHEAD bytes ahead.
 */
#ifndef LATHE_AHEAD
#define LATHE_AHEAD 4096
#endif

/* Calls for a line of codes, from the one that is met now on. */
LATHE_INLINE void fetch_codes(const uint8_t *now, const int is_slow) {
#ifdef LATHE_CODES_FAR
  if (is_slow) {
    __builtin_prefetch(now + LATHE_CODES_FAR, 0, 2);
    __builtin_prefetch(now + LATHE_SLOW_AHEAD);
    return;
  }
#endif
  __builtin_prefetch(now + LATHE_AHEAD);
}

#define LATHE_LANES 16
/* Vectors pass between functions that are inlined, and through memory elsewhere: no calling convention is at stake. */
#pragma clang diagnostic ignored "-Wpsabi"
typedef float Lanes __attribute__((ext_vector_type(LATHE_LANES)));

LATHE_INLINE Lanes larger(Lanes a, Lanes b) { return a > b ? a : b; }

/* The largest of sixteen lanes. */
LATHE_INLINE float largest_of(Lanes x) {
  x = larger(x, __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  x = larger(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3));
  x = larger(x, __builtin_shufflevector(x, x, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1));
  return x[0] > x[1] ? x[0] : x[1];
}

LATHE_INLINE float float_from_bits(uint32_t bits) {
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

LATHE_INLINE uint32_t bits_from_float(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  return bits;
}

LATHE_INLINE uint16_t load_u16(const uint8_t *p) {
  uint16_t v;
  memcpy(&v, p, 2);
  return v;
}

LATHE_INLINE uint32_t load_u32(const uint8_t *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return v;
}

#ifndef LATHE_OWN_FLOAT_FROM_HALF
/* IEEE binary16 to binary32, subnormals and infinities included, without branches. */
LATHE_INLINE float float_from_half(uint16_t h) {
  const uint32_t w = (uint32_t)h << 16, sign = w & 0x80000000u, twice = w + w;
  const float normal = float_from_bits((twice >> 4) + (0xE0u << 23)) * 0x1.0p-112f;
  const float subnormal = float_from_bits((twice >> 17) | (126u << 23)) - 0.5f;
  return float_from_bits(sign | (twice < (1u << 27) ? bits_from_float(subnormal) : bits_from_float(normal)));
}
#endif

/* The same for one number at a time, by the instruction where there is one. */
#ifndef LATHE_OWN_HALF
LATHE_INLINE float scale_from_half(uint16_t h) { return float_from_half(h); }
#endif

LATHE_INLINE float load_half(const uint8_t *p) { return scale_from_half(load_u16(p)); }

/* e^x to 1e-7 relative; 0 below -87, finite above 88. */
LATHE_INLINE float fast_exp(float x) {
  x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  const float n = __builtin_nearbyintf(x * 1.44269504f);
  const float f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * f + 1.3981999507e-3f;
  p = p * f + 8.3334519073e-3f;
  p = p * f + 4.1665795894e-2f;
  p = p * f + 1.6666665459e-1f;
  p = p * f + 5.0000001201e-1f;
  const float y = p * f * f + f + 1.0f;
  return y * float_from_bits((uint32_t)((int32_t)n + 127) << 23);
}
