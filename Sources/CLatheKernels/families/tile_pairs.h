/*
 * Sums of sets whose instruction multiplies two rows by two tokens, eight inputs at a time; such a set brings `dot_pairs`.
 *
 * Lanes 2p and 2p + 1 belong to the tokens 2p and 2p + 1, with the upper and the lower eight rows; a row's sums of both
 * tokens lie beside each other. A token alone is its own neighbour. Up to two tokens have a second pair of lanes.
 */

LATHE_INLINE void begin_lanes(Wholes *restrict lanes, const int32_t *starts, const size_t tokens) {
#pragma clang loop unroll(full)
  for (size_t t = 0; t < 4; t++) {
    lanes[t] = (Wholes){};
    if (t >= 2 && tokens <= 2) continue;
    const int32_t even = starts[t / 2 * 2], odd = tokens > 1 ? starts[t / 2 * 2 + 1] : even;
    lanes[t] += (Wholes){even, odd, even, odd, even, odd, even, odd, even, odd, even, odd, even, odd, even, odd};
  }
}

/* Adds the products of vector k of a unit, whose inputs begin at q. */
LATHE_INLINE void meet_inputs(
    TileLanes *restrict lanes, const Codes *w, const int8_t *q, const int k, const uint32_t width, const int halves,
    const size_t tokens, const size_t pitch, const size_t tiles) {
  q += (size_t)k / 2 * 8 * pitch;
#pragma clang loop unroll(full)
  for (size_t p = 0; p < (tokens + 1) / 2; p++) {
    const size_t lane = tokens > 2 ? 2 * p + (size_t)k % 2 : (size_t)k % 4;
    Bytes16 x;
    memcpy(&x, q + 16 * p, tokens > 1 ? 16 : 8);
    if (tokens == 1) x = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
    lanes[0][lane] = dot_pairs(lanes[0][lane], w[0], x);
  }
}

LATHE_INLINE Wholes collect_lanes(const Wholes *lanes, const size_t t, const size_t tokens) {
  Wholes upper = lanes[t / 2 * 2], lower = lanes[t / 2 * 2 + 1];
  if (tokens <= 2) upper += lanes[2], lower += lanes[3];
  return t % 2 ? __builtin_shufflevector(upper, lower, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
               : __builtin_shufflevector(upper, lower, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
