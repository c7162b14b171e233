/* Codes of four bits, first in the low half of a byte, that name an entry of a table; a scale for each group. */

LATHE_INLINE float lookup_scale(const LatheLookupRow *row, size_t g) {
  if (row->scales) return row->scales[g];
  const float factor = row->factors[(row->first + g) / row->span];
  return row->scale_table[row->scale_codes[g]] * factor + row->offset;
}

#ifndef LATHE_OWN_LOOKUP
LATHE_INLINE void lookup(const uint8_t *codes, const float *table, float scale, float *restrict out, size_t n) {
  size_t i = 0;
  for (; i + 2 <= n; i += 2) {
    out[i] = table[codes[i / 2] & 15] * scale;
    out[i + 1] = table[codes[i / 2] >> 4] * scale;
  }
  if (i < n) out[i] = table[codes[i / 2] & 15] * scale;
}

LATHE_INLINE float lookup_dot(const uint8_t *codes, const float *table, const float *x, size_t n) {
  float sum = 0;
  size_t i = 0;
  for (; i + 2 <= n; i += 2) sum += table[codes[i / 2] & 15] * x[i] + table[codes[i / 2] >> 4] * x[i + 1];
  if (i < n) sum += table[codes[i / 2] & 15] * x[i];
  return sum;
}
#endif

static void decode_lookup(const LatheLookupRow *row, float *out) {
  for (size_t start = 0, g = 0; start < row->n; start += row->group, g++) {
    const size_t count = row->n - start < row->group ? row->n - start : row->group;
    lookup(row->codes + start / 2, row->table, lookup_scale(row, g), out + start, count);
  }
}

static float dot_lookup(const LatheLookupRow *row, const float *x) {
  float sum = 0;
  for (size_t start = 0, g = 0; start < row->n; start += row->group, g++) {
    const size_t count = row->n - start < row->group ? row->n - start : row->group;
    sum += lookup_dot(row->codes + start / 2, row->table, x + start, count) * lookup_scale(row, g);
  }
  return sum;
}

/*
 * The code whose entry is nearest to w · inverse, and the entry times the scale. `sorted` holds the entries in rising
 * order, `order` their codes; `bounds[k]` is the largest value that still belongs to entry k.
 */
static void round_lookup(
    const float *restrict w, const float *restrict inverse, const float *restrict scale, const float *restrict bounds,
    const float *restrict sorted, const uint8_t *restrict order, uint8_t *restrict codes, float *restrict points,
    size_t n) {
  for (size_t i = 0; i < n; i++) {
    const float x = w[i] * inverse[i];
    int place = 0;
    for (int k = 0; k < 15; k++) place += x > bounds[k];
    codes[i] = order[place];
    points[i] = sorted[place] * scale[i];
  }
}
