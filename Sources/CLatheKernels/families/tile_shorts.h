/*
 * Sums of sets whose instruction adds two products to sixteen bits; such a set brings `pair_products`, 32 of those sums,
 * `as_they_are`, which keeps the order in which they are added, and `added_pairs`, the sixteen sums of neighbours among them.
 *
 * What fits sixteen bits is added up there, and neighbours are put together once for so many vectors: eight of codes of up
 * to four bits, four of five, two of six. A token's short sums lie LATHE_TILE_TOKENS lanes after its whole ones.
 */

_Static_assert(2 * LATHE_TILE_TOKENS <= sizeof(TileLanes) / sizeof(Wholes), "no room for short sums");

/* The vectors whose pairs of products fit sixteen bits together: a pair is 2 · 127 times the largest code at most. */
LATHE_INLINE int short_run(const uint32_t width, const int halves) {
  if (width <= 4) return halves ? 4 : 8;
  return width == 5 ? 4 : width == 6 ? 2 : 1;
}

LATHE_INLINE void begin_lanes(Wholes *restrict lanes, const int32_t *starts, const size_t tokens) {
#pragma clang loop unroll(full)
  for (size_t t = 0; t < tokens; t++) lanes[t] = (Wholes){} + starts[t];
}

/* Adds the products of vector k of a unit, whose inputs begin at q, those of `pitch` tokens beside each other. */
LATHE_INLINE void meet_inputs(
    TileLanes *restrict lanes, const Codes *w, const int8_t *q, const int k, const uint32_t width, const int halves,
    const size_t tokens, const size_t pitch, const size_t tiles) {
  const int run = short_run(width, halves);
#pragma clang loop unroll(full)
  for (size_t t = 0; t < tokens; t++) {
    ShortSums *kept = (ShortSums *)&lanes[0][LATHE_TILE_TOKENS + t];
    ShortSums sums = pair_products(w[0], q + 4 * ((size_t)k * pitch + t), width == 8);
    if (k % run) sums += *kept;
    if (k % run == run - 1) {
      lanes[0][t] += added_pairs(sums, width == 8);
      if (halves || width == 8) lanes[0][t] = (Wholes)as_they_are(lanes[0][t]);
    } else *kept = as_they_are(sums);
  }
}

LATHE_INLINE Wholes collect_lanes(const Wholes *lanes, const size_t t, const size_t tokens) { return lanes[t]; }
