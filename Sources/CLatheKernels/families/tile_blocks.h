/*
 * Many tokens of sets whose registers hold sums of a few: what codes stand for is read once for several runs of tokens, a few
 * units of a tile at a time, and lies in the first cache meanwhile.
 */

/* The units of a block, and the most runs of tokens that meet it. */
#define LATHE_BLOCK_UNITS 8
#define LATHE_BLOCK_RUNS 8

/* Planes of four bits alone may be read as fast as a block of them. */
#ifndef LATHE_BLOCKS_OF_FOUR
#define LATHE_BLOCKS_OF_FOUR 0
#endif

/* Whole bytes are a block; rows' own tables and patches go on from group to group. */
LATHE_INLINE int has_blocks(const uint32_t bits, const int names) {
  return names == names_table || (names == names_nothing && bits != 8 && (bits != 4 || LATHE_BLOCKS_OF_FOUR));
}

LATHE_INLINE int meets_blocks(const LatheTiles *m) {
  return has_blocks(m->bits, m->table ? names_table : m->row_tables ? names_marked : names_nothing);
}

/* The products of `count` groups, from where the scales are, with one run of tokens. */
LATHE_INLINE void block_run(
    const LatheTiles *m, size_t tile, const TileScales *ready, ScalePlace *scales, size_t count, const Codes *codes,
    TokenRun *run, TileSums *sums, const uint32_t width, const int halves, const int form) {
  const size_t tokens = LATHE_TILE_TOKENS, units = group_units(m, form);
  for (size_t g = 0; g < count; g++, run->scales += tokens) {
    TileLanes lanes;
    begin_lanes(lanes, run->starts, tokens);
    run->starts += tokens;
    for (size_t u = 0; u < units; u++, run->codes += 32 * tokens, codes += 8) {
#pragma clang loop unroll(full)
      for (int k = 0; k < 8; k++) {
        if (halves && k == 4) {
          flush(m, tile, ready, scales, run, &lanes, sums, tokens, 1, form);
          begin_lanes(lanes, run->starts, tokens);
          step_scales(m, scales);
          run->sums += tokens, run->starts += tokens;
        }
        meet_inputs(&lanes, codes + k, run->codes, k, width, halves, tokens, tokens, 1);
      }
    }
    flush(m, tile, ready, scales, run, &lanes, sums, tokens, 1, form);
    step_scales(m, scales);
    run->sums += tokens;
  }
}

/* One tile and `count` whole runs of tokens from number `first` on. */
LATHE_INLINE void block_product(
    const LatheTiles *m, size_t tile, const TileScales *ready, const LatheTileInputs *x, size_t first, size_t count,
    float *out, size_t stride, const uint32_t bits, const int halves, const int names, const int form) {
  const size_t units = group_units(m, form), most = LATHE_BLOCK_UNITS / units, tokens = LATHE_TILE_TOKENS;
  const uint8_t *p = m->codes + tile * m->groups * units * 64 * bits;
  TokenRun runs[LATHE_BLOCK_RUNS];
  TileSums sums[LATHE_BLOCK_RUNS] = {};
  for (size_t r = 0; r < count; r++) runs[r] = token_run(m, x, first + r * tokens, 0, halves ? 2 : 1);
  ScalePlace scales = first_scales(m);
  for (size_t g = 0, groups; g < m->groups; g += groups) {
    groups = m->groups - g < most ? m->groups - g : most;
    Codes codes[8 * LATHE_BLOCK_UNITS];
    for (size_t u = 0; u < groups * units; u++, p += 64 * bits) {
#pragma clang loop unroll(full)
      for (int k = 0; k < 8; k++) {
        if ((uint32_t)k < bits) __builtin_prefetch(p + LATHE_AHEAD + 64 * k);
        codes[8 * u + (size_t)k] = named_quad(m, p, k, bits, names);
      }
    }
    ScalePlace next = scales;
    for (size_t r = 0; r < count; r++) {
      next = scales;
      block_run(m, tile, ready, &next, groups, codes, &runs[r], &sums[r], names == names_table ? 8 : bits, halves, form);
    }
    scales = next;
  }
  for (size_t r = 0; r < count; r++) {
    put_sums(m, tile, sums[r], tokens, out + (first + r * tokens) * stride, stride);
  }
}

/* The whole runs among the tokens from number `first` to `end`, at least two, with some tiles; returns how many tokens they were. */
LATHE_INLINE size_t multiply_blocks(
    const LatheTiles *m, size_t tile, size_t tiles, const TileScales *scales, const LatheTileInputs *x, size_t first,
    size_t end, float *out, size_t stride, const uint32_t bits, const int halves, const int names) {
  const size_t runs = (end - first) / LATHE_TILE_TOKENS;
  if (!has_blocks(bits, names) || runs < 2) return 0;
#define LATHE_BLOCKS_OF(form)                                                                \
  if (form == scales_any || has_form(bits, halves, names, form)) {                           \
    block_product(m, tile + i, own, x, first, runs, out, stride, bits, halves, names, form); \
  }                                                                                          \
  break
  for (size_t i = 0; i < tiles; i++) {
    const TileScales *own = scales ? scales + i * m->weight_groups : 0;
    switch (tile_form(m, bits, halves, names)) {
      case scales_plain: LATHE_BLOCKS_OF(scales_plain);
      case scales_zeros: LATHE_BLOCKS_OF(scales_zeros);
      case scales_coded: LATHE_BLOCKS_OF(scales_coded);
      case scales_minimums: LATHE_BLOCKS_OF(scales_minimums);
      case scales_nibbles: LATHE_BLOCKS_OF(scales_nibbles);
      default: LATHE_BLOCKS_OF(scales_any);
    }
  }
  return runs * LATHE_TILE_TOKENS;
}
