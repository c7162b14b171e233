/*
 * Attention of a tile of rows: many queries meet up to LATHE_TILE_KEYS positions at a time, which lie in panels of sixteen
 * lanes as floats, so that two products of matrices do it (FlashAttention, arXiv:2205.14135).
 *
 * A row's sums are made in one order, however many rows share a call: equal rows give equal bits.
 */

/* Rows, and panels, whose sums registers hold. */
#ifndef LATHE_PANEL_ROWS
#define LATHE_PANEL_ROWS 6
#endif
#ifndef LATHE_PANELS
#define LATHE_PANELS 1
#endif

/* `rows` rows of `a`, `k` floats long, times panels of `b`, to sixteen columns of `c` for each panel; added with `adds`. */
LATHE_INLINE void panel_product(
    const float *a, size_t a_stride, const float *b, size_t b_panel, float *c, size_t c_stride, size_t k,
    const size_t rows, const size_t panels, const int adds) {
  Lanes sum[LATHE_PANEL_ROWS][LATHE_PANELS];
  for (size_t r = 0; r < rows; r++) {
    for (size_t p = 0; p < panels; p++) sum[r][p] = adds ? load_lanes(c + r * c_stride + p * LATHE_LANES) : (Lanes){};
  }
  for (size_t i = 0; i < k; i++, b += LATHE_LANES) {
    Lanes x[LATHE_PANELS];
    for (size_t p = 0; p < panels; p++) x[p] = load_lanes(b + p * b_panel);
    for (size_t r = 0; r < rows; r++) {
      for (size_t p = 0; p < panels; p++) sum[r][p] += a[r * a_stride + i] * x[p];
    }
  }
  for (size_t r = 0; r < rows; r++) {
    for (size_t p = 0; p < panels; p++) store_lanes(sum[r][p], c + r * c_stride + p * LATHE_LANES);
  }
}

/* Rows that are met together where `left` are left. */
LATHE_INLINE size_t panel_rows(size_t left) { return left >= LATHE_PANEL_ROWS ? LATHE_PANEL_ROWS : left >= 2 ? 2 : 1; }

LATHE_INLINE void some_panels(
    const float *a, size_t a_stride, const float *b, size_t b_panel, float *c, size_t c_stride, size_t k, size_t rows,
    const size_t panels, const int adds) {
  if (rows == LATHE_PANEL_ROWS) panel_product(a, a_stride, b, b_panel, c, c_stride, k, LATHE_PANEL_ROWS, panels, adds);
  else if (rows == 2) panel_product(a, a_stride, b, b_panel, c, c_stride, k, 2, panels, adds);
  else panel_product(a, a_stride, b, b_panel, c, c_stride, k, 1, panels, adds);
}

/* How many of `count` positions row `row` sees. */
LATHE_INLINE size_t seen_positions(ptrdiff_t visible, size_t row, size_t count) {
  const ptrdiff_t seen = visible + (ptrdiff_t)row;
  return seen < 0 ? 0 : (size_t)seen < count ? (size_t)seen : count;
}

/* Scores of `panels` panels of keys from number `p` on: of those rows that see one of their positions. */
LATHE_INLINE void score_panels(
    const LatheTileRows *t, const float *keys, size_t count, ptrdiff_t visible, size_t p, const size_t panels) {
  const size_t size = t->width * LATHE_LANES, stride = LATHE_TILE_KEYS;
  for (size_t r = 0, n; r < t->rows; r += n) {
    n = panel_rows(t->rows - r);
    if (seen_positions(visible, r + n - 1, count) <= p * LATHE_LANES) continue;
    some_panels(
      t->queries + r * t->width, t->width, keys + p * size, size, t->scores + r * stride + p * LATHE_LANES, stride,
      t->width, n, panels, 0);
  }
}

LATHE_INLINE void weigh_panels(
    const LatheTileRows *t, const float *values, size_t count, ptrdiff_t visible, size_t v, const size_t panels) {
  const size_t size = LATHE_TILE_KEYS * LATHE_LANES, stride = LATHE_TILE_KEYS;
  for (size_t r = 0, n; r < t->rows; r += n) {
    n = panel_rows(t->rows - r);
    some_panels(
      t->scores + r * stride, stride, values + v * size, size, t->sums + r * t->width + v * LATHE_LANES, t->width,
      seen_positions(visible, r + n - 1, count), n, panels, 1);
  }
}

/* Scores become weights; what was summed before is made relative to a higher peak. */
LATHE_INLINE void weigh_row(const LatheTileRows *t, size_t row, size_t seen, size_t count) {
  float *scores = t->scores + row * LATHE_TILE_KEYS, *sums = t->sums + row * t->width, peak = t->peaks[row];
  const float total = weights_from_scores(scores, seen, count, &peak);
  if (peak != t->peaks[row]) {
    const Lanes kept = powers_of_two((Lanes){} + (t->peaks[row] - peak), 1);
    for (size_t e = 0; e < t->width; e += LATHE_LANES) store_lanes(load_lanes(sums + e) * kept, sums + e);
    t->totals[row] *= kept[0];
    t->peaks[row] = peak;
  }
  t->totals[row] += total;
}

static void attend_tile(
    const LatheTileRows *t, const float *keys, const float *values, size_t count, ptrdiff_t visible) {
  const size_t together = LATHE_PANELS, blocks = (count + LATHE_LANES - 1) / LATHE_LANES, vectors = t->width / LATHE_LANES;
  size_t p = 0, v = 0;
  for (; p + together <= blocks; p += together) score_panels(t, keys, count, visible, p, together);
  for (; p < blocks; p++) score_panels(t, keys, count, visible, p, 1);
  for (size_t r = 0, n; r < t->rows; r += n) {
    n = panel_rows(t->rows - r);
    const size_t end = seen_positions(visible, r + n - 1, count);
    for (size_t i = r; i < r + n; i++) {
      const size_t seen = seen_positions(visible, i, count);
      if (seen) weigh_row(t, i, seen, end);
      else memset(t->scores + i * LATHE_TILE_KEYS, 0, end * sizeof(float));
    }
  }
  for (; v + together <= vectors; v += together) weigh_panels(t, values, count, visible, v, together);
  for (; v < vectors; v++) weigh_panels(t, values, count, visible, v, 1);
}
