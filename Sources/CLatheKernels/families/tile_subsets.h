/*
 * Tiles of one bit for sets that look up bytes: a quad's four bits of a row name a subset of four inputs, and a table of sixteen
 * entries holds the sums of all subsets (as T-MAC does: Wei et al. 2024, arXiv:2407.00088; sums here are exact).
 *
 * A byte holds a row's bits of two quads, those of the later one above; a vector holds the bytes of sixteen rows for one
 * pair of quads, then for the next, each of which has a half of the tables. Quads k and k + 1 lie below k + 2 and k + 3. An
 * entry is two bytes, 64 · upper + lower: four lower ones add up to a byte, sixteen upper ones to a signed one.
 *
 * Such a set brings `subset_tables`, 64 bytes of tables for eight inputs, and `half_entries`, what stands at places 0 to 15
 * of the table in either half of 32 bytes.
 */

typedef uint16_t SubsetSums __attribute__((vector_size(32)));
typedef int16_t SubsetHalves __attribute__((vector_size(32)));
typedef int8_t SubsetUppers __attribute__((vector_size(32)));
typedef uint16_t EightSums __attribute__((vector_size(16)));

/* The bytes of tiles that several tokens meet before the next ones: half of a small second cache. */
#define LATHE_SUBSET_CACHE (256 << 10)

/* Sums of lower parts, of rows with even and with odd numbers, and of upper ones; halves of inputs are kept apart. */
typedef struct {
  SubsetSums even, odd;
  SubsetUppers upper;
} TileSubsets;

/* Adds half a unit of each tile: sixteen inputs of sixteen rows. Tiles' bytes lie `size` apart. */
LATHE_INLINE void meet_subsets(
    TileSubsets *sums, UBytes32 *lower, const uint8_t *p, size_t size, const uint8_t *tables, const size_t tiles) {
  UBytes32 names, entries[4];
  memcpy(entries, tables, sizeof entries);
#pragma clang loop unroll(full)
  for (size_t i = 0; i < tiles; i++, p += size) {
    memcpy(&names, p, sizeof names);
    const UBytes32 first = names & (uint8_t)15, second = (UBytes32)((SubsetSums)names >> 4) & (uint8_t)15;
    sums[i].upper += (SubsetUppers)half_entries(entries[1], first);
    sums[i].upper += (SubsetUppers)half_entries(entries[3], second);
    lower[i] += half_entries(entries[0], first) + half_entries(entries[2], second);
  }
}

/* Widens lower parts, of at most four entries. */
LATHE_INLINE void widen_subsets(TileSubsets *sums, UBytes32 *lower, const size_t tiles) {
#pragma clang loop unroll(full)
  for (size_t i = 0; i < tiles; i++) {
    sums[i].even += (SubsetSums)lower[i] & (uint16_t)255;
    sums[i].odd += (SubsetSums)lower[i] >> 8;
    lower[i] = (UBytes32){};
  }
}

#define LATHE_BOTH_PARTS(v) \
  (__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15))

/* The sums of sixteen rows. */
LATHE_INLINE Wholes sum_subsets(const TileSubsets *sums) {
  const SubsetSums upper = (SubsetSums)sums->upper;
  /* Signed bytes of even rows, then of odd ones, times 64. */
  const SubsetSums even = sums->even + (SubsetSums)((SubsetHalves)(upper << 8) >> 2);
  const SubsetSums odd = sums->odd + (SubsetSums)((SubsetHalves)(upper & (uint16_t)0xff00) >> 2);
  const EightSums a = LATHE_BOTH_PARTS(even), b = LATHE_BOTH_PARTS(odd);
  const SubsetHalves rows = (SubsetHalves)__builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
  return __builtin_convertvector(rows, Wholes);
}

/* What a weight group adds to the sums of each tile. */
LATHE_INLINE void flush_subsets(
    const LatheTiles *m, size_t tile, ScalePlace *scales, TokenRun *run, size_t pitch, TileSubsets *all, Floats *sums,
    const size_t tiles, const int form) {
#pragma clang loop unroll(full)
  for (size_t i = 0; i < tiles; i++) {
    TileLanes lanes;
    TileSums sum = {sums[i]};
    lanes[0] = (Wholes){} + *run->starts + sum_subsets(&all[i]);
    flush(m, tile + i, 0, scales, run, &lanes, &sum, 1, 1, form);
    sums[i] = sum[0];
    all[i] = (TileSubsets){};
  }
  step_scales(m, scales);
  run->starts += pitch, run->sums += pitch;
}

/* `tiles` tiles and one token of the `pitch` that lie together. */
LATHE_INLINE void subset_product(
    const LatheTiles *m, size_t tile, TokenRun run, size_t pitch, const uint8_t *tables, float *out, const size_t tiles,
    const int halves, const int form) {
  const size_t units = group_units(m, form), size = m->groups * units * 64;
  const uint8_t *p = m->codes + tile * size;
  ScalePlace scales = first_scales(m);
  Floats sums[2] = {};
  for (size_t g = 0; g < m->groups; g++) {
    TileSubsets all[2] = {};
    UBytes32 lower[2] = {};
    for (size_t u = 0; u < units; u++, p += 64, tables += 32 * LATHE_SUBSET_BYTES) {
#pragma clang loop unroll(full)
      for (size_t i = 0; i < tiles; i++) __builtin_prefetch(p + (i + 2) * size);
      meet_subsets(all, lower, p, size, tables, tiles);
      if (halves) {
        widen_subsets(all, lower, tiles);
        flush_subsets(m, tile, &scales, &run, pitch, all, sums, tiles, form);
      }
      meet_subsets(all, lower, p + 32, size, tables + 16 * LATHE_SUBSET_BYTES, tiles);
      widen_subsets(all, lower, tiles);
    }
    flush_subsets(m, tile, &scales, &run, pitch, all, sums, tiles, form);
    run.scales += pitch;
  }
#pragma clang loop unroll(full)
  for (size_t i = 0; i < tiles; i++) put_sums(m, tile + i, sums + i, 1, out, 0);
}

LATHE_INLINE void subset_products(
    const LatheTiles *m, size_t first, size_t count, const LatheTileInputs *x, float *out, size_t stride, const int halves,
    const int form) {
  for (size_t t = 0; t < x->tokens; t++, out += stride) {
    const TilePlace at = tile_place(x->tokens, t);
    const TokenRun run = token_run(m, x, at.first, at.place, halves ? 2 : 1);
    const uint8_t *tables = (const uint8_t *)x->codes + t * m->groups * m->input_group * LATHE_SUBSET_BYTES;
    size_t i = 0;
    for (; i + 2 <= count; i += 2) subset_product(m, first + i, run, at.count, tables, out, 2, halves, form);
    if (i < count) subset_product(m, first + i, run, at.count, tables, out, 1, halves, form);
  }
}

/* The products of tiles of one bit, as many as the second cache holds with one token after another. */
static void multiply_subsets(
    const LatheTiles *m, size_t first, size_t count, const LatheTileInputs *x, float *out, size_t stride) {
  const size_t most = x->tokens > 1 ? LATHE_SUBSET_CACHE / (2 * m->groups * m->input_group) + 1 : count;
  for (size_t done = 0, now; done < count; done += now) {
    now = count - done < most ? count - done : most;
    switch (tile_form(m, 1, m->halves, names_nothing)) {
      case scales_plain: subset_products(m, first + done, now, x, out, stride, 0, scales_plain); break;
      case scales_zeros: subset_products(m, first + done, now, x, out, stride, 0, scales_zeros); break;
      default:
        if (m->halves) subset_products(m, first + done, now, x, out, stride, 1, scales_any);
        else subset_products(m, first + done, now, x, out, stride, 0, scales_any);
    }
  }
}
