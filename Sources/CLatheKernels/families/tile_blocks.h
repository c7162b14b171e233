/*
 * Many tokens of sets whose registers hold sums of a few: what codes stand for is read once for several runs of tokens, a few
 * units of a tile at a time, and lies in the first cache meanwhile.
 */

/* The units of a block, and the most runs of tokens that meet it; more where what is read has to be split. */
#define LATHE_BLOCK_UNITS 8
#define LATHE_BLOCK_RUNS 8
#define LATHE_SPLIT_RUNS 32

/*
 * Whether whole bytes lie in a block as magnitudes and signs, all bits of a byte alike. Products of an input without its sign
 * then take an operation that more of a processor's units have: |w| · (x ^ sign) is w · x less |w| where w is negative, which
 * a group's sum begins with. Such a set brings `split_codes`, `split_products`, 32 sums of two, and
 * `products_of_signs`, those of magnitudes and signs.
 */
#ifndef LATHE_SPLIT_BYTES
#define LATHE_SPLIT_BYTES 0
#endif

#define LATHE_MOST_RUNS (LATHE_SPLIT_BYTES ? LATHE_SPLIT_RUNS : LATHE_BLOCK_RUNS)
#define is_split(bits, names) (LATHE_SPLIT_BYTES && ((bits) == 8 || (names) == names_table))

/* Planes of four bits alone may be read as fast as a block of them. */
#ifndef LATHE_BLOCKS_OF_FOUR
#define LATHE_BLOCKS_OF_FOUR 0
#endif

/* Whole bytes are a block as they are; rows' own tables and patches go on from group to group. */
LATHE_INLINE int has_blocks(const uint32_t bits, const int names) {
  if (names != names_nothing) return names == names_table;
  return bits == 8 ? LATHE_SPLIT_BYTES : bits != 4 || LATHE_BLOCKS_OF_FOUR;
}

/* How many runs of tokens meet a block of a matrix; 0 where it has none. */
LATHE_INLINE size_t block_runs(const LatheTiles *m) {
  const int names = m->table ? names_table : m->row_tables ? names_marked : names_nothing;
  return !has_blocks(m->bits, names) ? 0 : is_split(m->bits, names) ? LATHE_SPLIT_RUNS : LATHE_BLOCK_RUNS;
}

/* What tokens meet: codes of some groups, or their magnitudes and signs in turn, and what sums of those begin with. */
typedef struct {
  Codes codes[8 * LATHE_BLOCK_UNITS << LATHE_SPLIT_BYTES];
#if LATHE_SPLIT_BYTES
  Wholes starts[2 * LATHE_BLOCK_UNITS];
#endif
} CodeBlock;

#if LATHE_SPLIT_BYTES
/* Sums of a weight group, number `g` of the block's. */
LATHE_INLINE void begin_split(const CodeBlock *block, size_t g, Wholes *restrict lanes, const size_t tokens) {
#pragma clang loop unroll(full)
  for (size_t t = 0; t < tokens; t++) lanes[t] -= block->starts[g];
}

LATHE_INLINE void meet_split(
    TileLanes *restrict lanes, const Codes *w, const int8_t *q, const int k, const size_t tokens) {
#pragma clang loop unroll(full)
  for (size_t t = 0; t < tokens; t++) {
    const ShortSums sums = split_products(w + 2 * k, w + 2 * k + 1, q + 4 * ((size_t)k * tokens + t));
    lanes[0][t] += added_pairs(sums, 1);
    lanes[0][t] = (Wholes)as_they_are(lanes[0][t]);
  }
}

/* A unit's codes as they are split, and what each weight group's sum begins with, of which `rest` holds the part before. */
LATHE_INLINE void split_unit(Codes *restrict codes, const int halves, ShortSums *restrict rest, Wholes *restrict starts) {
#pragma clang loop unroll(full)
  for (int k = 7; k >= 0; k--) split_codes(codes[k], &codes[2 * k], &codes[2 * k + 1]);
#pragma clang loop unroll(full)
  for (int k = 0; k < 8; k++) {
    if (halves && k == 4) starts[0] = added_pairs(*rest, 1), *rest = (ShortSums){};
    *rest += products_of_signs(codes[2 * k], codes[2 * k + 1]);
  }
}
#else
#define begin_split(block, g, lanes, tokens)
#define meet_split(lanes, w, q, k, tokens)
#endif

/* Reads the codes of `count` groups, which begin at p. */
LATHE_INLINE void read_block(
    const LatheTiles *m, const uint8_t *p, size_t count, size_t units, CodeBlock *block, const uint32_t bits,
    const int halves, const int names) {
#if LATHE_SPLIT_BYTES
  Wholes *starts = block->starts;
  ShortSums rest = {};
  size_t left = units;
#endif
  for (size_t u = 0; u < count * units; u++, p += 64 * bits) {
    Codes *const to = block->codes + (is_split(bits, names) ? 16 : 8) * u;
#pragma clang loop unroll(full)
    for (int k = 0; k < 8; k++) {
      if ((uint32_t)k < bits) __builtin_prefetch(p + LATHE_AHEAD + 64 * k);
      to[k] = named_quad(m, p, k, bits, names);
    }
#if LATHE_SPLIT_BYTES
    if (!is_split(bits, names)) continue;
    split_unit(to, halves, &rest, starts);
    if (--left) continue;
    starts[halves] = added_pairs(rest, 1);
    rest = (ShortSums){}, left = units, starts += 1 + halves;
#endif
  }
}

/*
 * The products of `count` groups, from where the scales are, with one run of tokens. Inputs of the `next` one lie as far away
 * as rows are long: where products leave room for it, they are called for meanwhile.
 */
LATHE_INLINE void block_run(
    const LatheTiles *m, size_t tile, const TileScales *ready, ScalePlace *scales, size_t count, const CodeBlock *block,
    TokenRun *from, const TokenRun *next, TileSums *sums, const uint32_t bits, const int halves, const int names,
    const int form) {
  const size_t tokens = LATHE_TILE_TOKENS, units = group_units(m, form);
  const uint32_t width = names == names_table ? 8 : bits;
  const Codes *codes = block->codes;
  const ptrdiff_t ahead = next->codes - from->codes;
  /* A copy needs no memory where registers are left for it. */
  TokenRun copy = *from, *const run = is_split(bits, names) ? &copy : from;
  for (size_t g = 0; g < count; g++, run->scales += tokens) {
    TileLanes lanes;
    begin_lanes(lanes, run->starts, tokens);
    if (is_split(bits, names)) begin_split(block, g << halves, lanes, tokens);
    run->starts += tokens;
    for (size_t u = 0; u < units; u++, run->codes += 32 * tokens, codes += is_split(bits, names) ? 16 : 8) {
      if (is_split(bits, names)) {
        for (size_t line = 0; line < 32 * tokens; line += 64) __builtin_prefetch(run->codes + ahead + line);
      }
#pragma clang loop unroll(full)
      for (int k = 0; k < 8; k++) {
        if (halves && k == 4) {
          flush(m, tile, ready, scales, run, &lanes, sums, tokens, 1, form);
          begin_lanes(lanes, run->starts, tokens);
          if (is_split(bits, names)) begin_split(block, 2 * g + 1, lanes, tokens);
          step_scales(m, scales);
          run->sums += tokens, run->starts += tokens;
        }
        if (is_split(bits, names)) meet_split(&lanes, codes, run->codes, k, tokens);
        else meet_inputs(&lanes, codes + k, run->codes, k, width, halves, tokens, tokens, 1);
      }
    }
    flush(m, tile, ready, scales, run, &lanes, sums, tokens, 1, form);
    step_scales(m, scales);
    run->sums += tokens;
  }
  if (is_split(bits, names)) *from = copy;
}

/* One tile and `count` whole runs of tokens from number `first` on. */
LATHE_INLINE void block_product(
    const LatheTiles *m, size_t tile, const TileScales *ready, const LatheTileInputs *x, size_t first, size_t count,
    float *out, size_t stride, const uint32_t bits, const int halves, const int names, const int form) {
  const size_t units = group_units(m, form), most = LATHE_BLOCK_UNITS / units, tokens = LATHE_TILE_TOKENS;
  const uint8_t *p = m->codes + tile * m->groups * units * 64 * bits;
  TokenRun runs[LATHE_MOST_RUNS];
  TileSums sums[LATHE_MOST_RUNS];
  memset(sums, 0, count * sizeof *sums);
  for (size_t r = 0; r < count; r++) runs[r] = token_run(m, x, first + r * tokens, 0, halves ? 2 : 1);
  ScalePlace scales = first_scales(m);
  for (size_t g = 0, groups; g < m->groups; g += groups, p += groups * units * 64 * bits) {
    groups = m->groups - g < most ? m->groups - g : most;
    CodeBlock block;
    read_block(m, p, groups, units, &block, bits, halves, names);
    ScalePlace next = scales;
    for (size_t r = 0; r < count; r++) {
      next = scales;
      const TokenRun *after = &runs[r + 1 < count ? r + 1 : 0];
      block_run(m, tile, ready, &next, groups, &block, &runs[r], after, &sums[r], bits, halves, names, form);
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
