/*
 * Tiles of three levels, 56 bits for 32 codes of each row and quad: seven vectors for four units, 1.75 bits a weight.
 *
 * Vector i holds four of the block's 32 quads: three as digits to base 3 in its five lowest bits, which a table of 32 entries
 * turns back, one in the two bits above. The seven highest bits are the other four quads: five bits are three digits, two
 * a code. A set brings `trit_quad`, digit number j of the five lowest bits of bytes whose upper bits are anything.
 */

/* Quad number k, 0 to 31, of a block; `tops` gathers its vectors' highest bits and is kept from quad to quad. */
LATHE_INLINE Codes block_quad(const uint8_t *p, const int k, Codes *tops) {
  if (k == 31) return shifted(*tops, 6, 3);
  if (k >= 28) return trit_quad(k - 28, (Codes)((CodePairs)*tops >> 1));
  const Codes v = load_codes(p + 64 * (k / 4));
  if (k % 4 < 3) return trit_quad(k % 4, v);
  *tops = (v & (uint8_t)128) | shifted(*tops, 1, 127);
  return shifted(v, 5, 3);
}

/* As `tile_product`; the groups of inputs are one, two or four units. */
LATHE_INLINE void trit_product(
    const LatheTiles *m, size_t tile, const TileScales *ready, const LatheTileInputs *x, size_t first, size_t skipped,
    float *out, size_t stride, const size_t tokens, const size_t pitch, const size_t tiles,
    const int form) {
  const size_t units = group_units(m, form), blocks = m->groups * units / 4;
  const uint8_t *p = m->codes + tile * blocks * 448;
  TokenRun run = token_run(m, x, first, skipped, 1);
  ScalePlace scales = first_scales(m);
  size_t begun = 0;
  TileSums sums[LATHE_TILES_TOGETHER];
  TileLanes lanes[LATHE_TILES_TOGETHER];
#pragma clang loop unroll(full)
  for (size_t i = 0; i < tiles; i++) {
#pragma clang loop unroll(full)
    for (size_t t = 0; t < tokens; t++) sums[i][t] = (Floats){};
  }
  for (size_t b = 0; b < blocks; b++, p += 448, run.codes += 128 * pitch) {
    Codes tops[LATHE_TILES_TOGETHER] = {};
#pragma clang loop unroll(full)
    for (int k = 0; k < 32; k++) {
      const int8_t *q = run.codes + 32 * pitch * (size_t)(k / 8);
      Codes w[LATHE_TILES_TOGETHER];
#pragma clang loop unroll(full)
      for (size_t i = 0; i < tiles; i++) {
        const uint8_t *from = p + i * blocks * 448;
        if (k % 8 == 0 && begun == 0) begin_lanes(lanes[i], run.starts, tokens);
        if (k % 4 == 0 && k < 28) fetch_codes(from + 16 * k, 1);
        w[i] = block_quad(from, k, &tops[i]);
      }
      meet_inputs(lanes, w, q, k % 8, 2, 0, tokens, pitch, tiles);
      if (k % 8 == 7 && ++begun == units) {
        flush(m, tile, ready, &scales, &run, lanes, sums, tokens, tiles, form);
        step_scales(m, &scales);
        begun = 0, run.starts += pitch, run.scales += pitch, run.sums += pitch;
      }
    }
  }
#pragma clang loop unroll(full)
  for (size_t i = 0; i < tiles; i++) put_sums(m, tile + i, sums[i], tokens, out + (first + skipped) * stride, stride);
}

/* One tile of codes 0 to 2, a byte each, sixteen rows of `columns` (a multiple of 128). */
static void pack_trits(const uint8_t *restrict codes, size_t columns, uint8_t *restrict out) {
  for (size_t block = 0; block < columns / 128; block++, codes += 128) {
    Codes q[32];
#pragma clang loop unroll(full)
    for (int u = 0; u < 4; u++) gather_unit(codes + 32 * u, columns, q + 8 * u);
    const Codes digits = q[28] + q[29] * 3 + q[30] * 9;
    for (int i = 0; i < 7; i++, out += 64) {
      const Codes top = i < 5 ? digits >> (uint8_t)i : q[31] >> (uint8_t)(i - 5);
      const Codes all = (q[4 * i] + q[4 * i + 1] * 3 + q[4 * i + 2] * 9) | q[4 * i + 3] << 5 | top << 7;
      memcpy(out, &all, 64);
    }
  }
}
