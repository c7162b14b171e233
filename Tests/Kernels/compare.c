/*
 * Every kernel of every instruction set of this machine against the plain C one, over odd sizes and extreme codes.
 *
 * The Swift tests do as much where they run; this program needs nothing but a C compiler, and so runs where Swift does
 * not: under an emulator, for sets of other machines (Scripts/test-neon).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "LatheKernels.h"

static uint64_t state = 1;
static const LatheKernels *plain, *fast;
static int failures, checks;

static uint32_t number(uint32_t below) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return (uint32_t)(state >> 33) % below;
}

static float real(float scale) { return ((float)number(20001) / 10000 - 1) * scale; }

static uint16_t half(float value) {
  const _Float16 h = (_Float16)value;
  uint16_t bits;
  memcpy(&bits, &h, 2);
  return bits;
}

static void *room(size_t bytes) {
  void *p = calloc(1, bytes + 256);
  if (!p) exit(70);
  return p;
}

static float *reals(size_t n, float scale) {
  float *x = room(n * sizeof(float));
  for (size_t i = 0; i < n; i++) x[i] = real(scale);
  return x;
}

static uint8_t *bytes(size_t n, uint32_t below) {
  uint8_t *x = room(n);
  for (size_t i = 0; i < n; i++) x[i] = (uint8_t)number(below);
  return x;
}

static uint16_t *halves(size_t n, float scale) {
  uint16_t *x = room(2 * n);
  for (size_t i = 0; i < n; i++) x[i] = half(scale * (float)(1 + number(100)) / 100);
  return x;
}

/* Fails where numbers differ by more than `tolerance` of the largest. */
static void equal(const char *what, const float *a, const float *b, size_t n, float tolerance) {
  float size = 1e-30f;
  for (size_t i = 0; i < n; i++) size = fmaxf(size, isfinite(b[i]) ? fabsf(b[i]) : 0);
  checks++;
  for (size_t i = 0; i < n; i++) {
    if (fabsf(a[i] - b[i]) <= tolerance * size || !isfinite(b[i])) continue;
    printf("%s: %s: %g where %g is due (number %zu of %zu)\n", fast->name, what, a[i], b[i], i, n);
    failures++;
    return;
  }
}

static void same(const char *what, const void *a, const void *b, size_t n) {
  checks++;
  if (memcmp(a, b, n) == 0) return;
  printf("%s: %s: bytes differ\n", fast->name, what);
  failures++;
}

static void vectors(size_t n) {
  float *x = reals(n, 3), *y = reals(n, 2), *a = reals(n, 1), *b = room(4 * n);
  float u = fast->dot(x, y, n), v = plain->dot(x, y, n), size = sqrtf((float)n) * 6;
  u /= size, v /= size;
  equal("dot", (float[]){u, 1}, (float[]){v, 1}, 2, 1e-5f);
  fast->rms_norm(x, y, 1e-5f, a, n), plain->rms_norm(x, y, 1e-5f, b, n);
  equal("rms_norm", a, b, n, 1e-5f);
  memcpy(a, x, 4 * n), memcpy(b, x, 4 * n);
  fast->silu_multiply(a, y, n), plain->silu_multiply(b, y, n);
  equal("silu_multiply", a, b, n, 1e-5f);
  fast->add(a, y, n), plain->add(b, y, n);
  equal("add", a, b, n, 1e-5f);
  u = fast->log_sum_exp(x, n), v = plain->log_sum_exp(x, n);
  equal("log_sum_exp", &u, &v, 1, 1e-5f);
  const float w = plain->log_sum_exp(y, n);
  u = 1 + fast->divergence(x, v, y, w, n), v = 1 + plain->divergence(x, v, y, w, n);
  equal("divergence", &u, &v, 1, 1e-4f);
  const size_t i = fast->argmax(x, n), j = plain->argmax(x, n);
  same("argmax", &i, &j, sizeof i);
  int8_t *c = room(n), *d = room(n);
  u = fast->quantize_vector(x, 127, 0, c, n), v = plain->quantize_vector(x, 127, 0, d, n);
  equal("quantize_vector", &u, &v, 1, 1e-6f);
  same("quantize_vector", c, d, n);
  float *zero = reals(n, 0), *scale = room(4 * n);
  for (size_t k = 0; k < n; k++) scale[k] = .1f + .01f * (float)number(50), zero[k] = (float)number(16);
  fast->round_column(x, scale, zero, 15, (uint8_t *)c, a, n), plain->round_column(x, scale, zero, 15, (uint8_t *)d, b, n);
  same("round_column", c, d, n);
  equal("round_column", a, b, n, 1e-6f);
  free(x), free(y), free(a), free(b), free(c), free(d), free(zero), free(scale);
}

static void stored(size_t kind) {
  const LatheStoredType *type = lathe_stored_type(kind);
  const size_t n = type->elements == 1 ? 517 : 3 * (type->elements < 64 ? 64 : type->elements);
  const size_t size = n / type->elements * type->bytes;
  uint8_t *row = bytes(size, 256);
  /* Random exponents make infinities: small ones do not. */
  for (size_t i = 1; i < size; i += 2) row[i] &= 0x3f;
  float *a = room(4 * n), *b = room(4 * n), *x = reals(n, 1);
  fast->decode[kind](row, a, n), plain->decode[kind](row, b, n);
  int finite = 1;
  for (size_t i = 0; i < n; i++) finite &= fabsf(b[i]) < 1e6f;
  equal(type->name, a, b, n, 1e-6f);
  if (finite) {
    float total = 1;
    for (size_t i = 0; i < n; i++) total += fabsf(b[i] * x[i]);
    const float u = fast->dot_stored[kind](row, x, n) / total, v = plain->dot_stored[kind](row, x, n) / total;
    equal(type->name, (float[]){u, 1}, (float[]){v, 1}, 2, 1e-5f);
  }
  if (n % 256 == 0) {
    float *weights = reals(4 * n, .1f), *importance = reals(n, 1);
    for (size_t i = 0; i < n; i++) importance[i] = fabsf(importance[i]) + .1f;
    uint8_t *p = room(4 * size), *q = room(4 * size);
    for (int weighed = 0; weighed < 2; weighed++) {
      const float *importances = weighed ? importance : 0;
      const int done = plain->encode_rows(kind, weights, n, 4, n, importances, q, size);
      if (fast->encode_rows(kind, weights, n, 4, n, importances, p, size) != done) failures++;
      if (done) same(type->name, p, q, 4 * size);
    }
    free(weights), free(importance), free(p), free(q);
  }
  free(row), free(a), free(b), free(x);
}

static void integers(uint32_t bits, size_t group, size_t n, int kind) {
  const size_t groups = (n + group - 1) / group;
  uint8_t *codes = bytes((n * bits + 7) / 8, 256), *zeros = bytes((groups * bits + 7) / 8, 256);
  uint16_t *scales = halves(groups, .1f), *half_zeros = halves(groups, 8), *of = room(2 * n);
  for (size_t i = 0; i < n; i++) of[i] = (uint16_t)number((uint32_t)groups);
  const LatheIntegerRow row = {
    codes, scales, kind == 1 ? zeros : 0, kind == 2 ? half_zeros : 0, kind == 3 ? of : 0, 3.5f, bits, group, n,
    0, 0, 0};
  float *a = room(4 * n), *b = room(4 * n), *x = reals(n, 1);
  uint8_t *c = room(n), *d = room(n);
  fast->unpack(codes, bits, c, n), plain->unpack(codes, bits, d, n);
  same("unpack", c, d, n);
  fast->decode_integer(&row, a), plain->decode_integer(&row, b);
  equal("decode_integer", a, b, n, 1e-6f);
  float total = 1e-3f;
  for (size_t i = 0; i < n; i++) total += fabsf(b[i] * x[i]);
  float u = fast->dot_integer(&row, x) / total, v = plain->dot_integer(&row, x) / total;
  equal("dot_integer", (float[]){u, 1}, (float[]){v, 1}, 2, 1e-5f);
  free(codes), free(zeros), free(scales), free(half_zeros), free(of), free(a), free(b), free(x), free(c), free(d);
}

/* Products of tiles whose shape is drawn at random. */
static void tiles(void) {
  static const size_t sizes[] = {16, 32, 64, 96, 128, 256};
  static const uint32_t highest[] = {0, 1, 3, 7, 15, 31, 63, 127, 255};
  LatheTiles m;
  memset(&m, 0, sizeof m);
  m.bits = 1 + number(8);
  /* Zero points of all kinds, minimums, a table, tables of rows with marked columns and with patches. */
  const int kind = (int)number(8);
  const int named = kind >= 5, marked = kind == 6, patched = kind == 7;
  if (named) m.bits = marked || patched ? 2 : 4;
  const size_t group = sizes[marked || patched ? 1 + number(5) : number(6)];
  m.columns = number(3) ? 1 + number(600) : 128 * (1 + number(5)), m.rows = 1 + number(40), m.halves = group == 16;
  size_t width = m.halves ? 32 : group % 128 == 0 ? 128 : group % 64 == 0 ? 64 : 32;
  while (width > 32 && m.columns % width) width /= 2;
  m.input_group = width, m.groups = (m.columns + width - 1) / width, m.span = m.halves ? 1 : group / width;
  m.weight_groups = m.halves ? 2 * m.groups : (m.groups + m.span - 1) / m.span;
  const size_t count = (m.rows + 15) / 16, padded = m.groups * width, all = 16 * count * m.weight_groups;
  const int twice = number(3) == 0;
  const size_t tokens = twice ? 2 * (1 + number(8)) : 1 + number(number(16) ? 40 : 160), size = 16 * padded * m.bits / 8;
  uint16_t *scales = halves(all, .1f), *minimums = halves(all, 1);
  uint8_t *small = bytes(all, highest[m.bits] + 1), *table = bytes(16, 256);
  int8_t *signs = (int8_t *)bytes(all, 127);
  m.scales = scales, m.has_offset = 1, m.super_span = 1;
  if (kind == 0 || named) m.zero = named ? 128 : (float)(1 << (m.bits - 1)), m.start = (int32_t)-m.zero, m.has_offset = 0;
  if (kind == 1) m.zeros = small;
  if (kind == 2) m.half_zeros = minimums;
  if (kind == 3) m.minimums = minimums;
  if (kind == 4) {
    m.super_span = 8, m.supers = (m.weight_groups + 7) / 8, m.scale_codes = signs, m.minimums = minimums;
    if (number(2)) m.nibbles = 1;
    else m.minimum_codes = small;
  }
  if (kind == 5) m.table = table;
  uint8_t *tables = bytes(128 * count * m.groups, 256), *marks = bytes(padded, 2);
  uint64_t *starts = room(8 * count);
  for (size_t i = 0; i < padded; i++) marks[i] *= 64;
  m.table_span = 1 + number(3), m.table_groups = (m.groups + m.table_span - 1) / m.table_span;
  if (marked || patched) m.row_tables = tables;
  if (marked) m.marks = marks;
  const int extreme = number(4) == 0, trits = m.bits == 2 && !named && padded % 128 == 0 && !m.halves;
  uint8_t *codes = bytes(count * 16 * padded, trits ? 3 : highest[m.bits] + 1), *packed = room(count * size + 64);
  if (extreme) memset(codes, trits ? 2 : (int)highest[m.bits], count * 16 * padded);
  uint8_t *values = bytes(count * 16 * padded, 256), *patches = room(count * 16 * padded + 64);
  if (patched) {
    m.patches = patches, m.patch_starts = starts;
    for (size_t t = 0; t + 1 < count; t++) {
      starts[t + 1] = starts[t];
      for (size_t i = t * 16 * padded; i < (t + 1) * 16 * padded; i++) starts[t + 1] += codes[i] >> 1 & 1;
    }
  }
  float *x = reals(tokens * m.columns, 3), *steps = room(4 * tokens), *out[2];
  /* Inputs may be whole multiples of a step for each vector. */
  const int stepped = !twice && number(4) == 0, binary = !twice && !stepped && number(2);
  for (size_t i = 0; stepped && i < tokens * m.columns; i++) {
    steps[i / m.columns] = .001f * (float)(1 + i / m.columns);
    x[i] = steps[i / m.columns] * (float)((int)number(255) - 127);
  }
  for (int k = 0; k < 2; k++) {
    const LatheKernels *set = k ? plain : fast;
    for (size_t t = 0; t < count; t++) {
      const uint8_t *from = codes + t * 16 * padded;
      m.trits = trits && set->pack_trits;
      if (m.trits) set->pack_trits(from, padded, packed + t * padded / 128 * 448);
      else set->pack_tile(from, padded, m.bits, packed + t * size);
      if (patched) set->pack_patches(from, values + t * 16 * padded, padded, packed + t * size, patches + starts[t]);
    }
    m.codes = packed;
    const LatheTileInputs inputs = {
      room(tokens * padded * (m.bits == 1 ? set->one_bit_input : 1)), room(4 * tokens * m.groups), room(8 * tokens * m.groups), room(8 * tokens * m.groups),
      stepped ? steps : 0, binary, tokens};
    set->pack_inputs(&m, x, twice ? tokens / 2 : tokens, twice, 0, m.groups, &inputs);
    out[k] = room(4 * tokens * m.rows + 4);
    /* Sums may cancel: none needs to be nearer than to 1. */
    out[k][tokens * m.rows] = 1;
    set->multiply_tiles(&m, 0, count, &inputs, out[k], m.rows);
    free(inputs.codes), free(inputs.scales), free(inputs.sums), free(inputs.starts);
  }
  equal("multiply_tiles", out[0], out[1], tokens * m.rows + 1, 1e-5f);
  free(scales), free(minimums), free(small), free(table), free(signs), free(codes), free(packed), free(x);
  free(steps), free(tables), free(marks), free(starts), free(values), free(patches);
  free(out[0]), free(out[1]);
}

static void lookups(size_t n, size_t group) {
  const size_t groups = (n + group - 1) / group;
  uint8_t *codes = bytes((n + 1) / 2, 256);
  float *table = reals(16, 1), *scales = reals(groups, 1), *x = reals(n, 1), *a = room(4 * n), *b = room(4 * n);
  const LatheLookupRow row = {codes, table, scales, 0, 0, 0, 0, 1, 0, group, n, 0, 0};
  fast->decode_lookup(&row, a), plain->decode_lookup(&row, b);
  equal("decode_lookup", a, b, n, 1e-6f);
  const float u = fast->dot_lookup(&row, x) / (float)n, v = plain->dot_lookup(&row, x) / (float)n;
  equal("dot_lookup", (float[]){u, 1}, (float[]){v, 1}, 2, 1e-5f);
  free(codes), free(table), free(scales), free(x), free(a), free(b);
}

/* The sums of a tile of rows, the last of which sees all positions. */
static float *look(
    const LatheKernels *set, const LatheCacheHead *head, size_t count, const float *queries, size_t rows) {
  const size_t dim = head->dim, width = (dim + 15) / 16 * 16;
  float *own = room(4 * rows * width), *scores = room(4 * rows * LATHE_TILE_KEYS), *totals = room(8 * rows);
  float *keys = room(4 * LATHE_TILE_KEYS * width), *values = room(4 * LATHE_TILE_KEYS * width);
  const LatheTileRows t = {own, room(4 * rows * width), totals, totals + rows, scores, rows, width};
  for (size_t r = 0; r < rows; r++) {
    t.peaks[r] = -INFINITY;
    memcpy(own + r * width, queries + r * dim, 4 * dim);
  }
  for (size_t first = 0; first < count; first += LATHE_TILE_KEYS) {
    const size_t run = count - first < LATHE_TILE_KEYS ? count - first : LATHE_TILE_KEYS;
    set->cache_panels(head, first, run, keys, values);
    set->attend_tile(&t, keys, values, run, (ptrdiff_t)count - (ptrdiff_t)rows + 1 - (ptrdiff_t)first);
  }
  free(own), free(scores), free(totals), free(keys), free(values);
  return t.sums;
}

/* Caches of every type: what was stored, as floats, and attention to it. */
static void caches(uint32_t kind, size_t dim, size_t count) {
  const size_t unit = kind < LATHE_CACHE_int8 ? 16 : 32, width = (dim + unit - 1) / unit * unit;
  const size_t positions = (count + 15) / 16 * 16, size = positions * width * 4, tokens = 2, heads = 3;
  const size_t runs = (count + LATHE_CACHE_RUN - 1) / LATHE_CACHE_RUN;
  const int scaled = kind >= LATHE_CACHE_int8;
  float *keys = reals(count * dim, 1), *values = reals(count * dim, 1), *queries = reals(tokens * heads * dim, 1);
  float *scratch = room(4 * lathe_cache_scratch(width)), *out[2], *merged[2], *looked[2];
  const size_t stride = width + 16, queried = tokens * heads;
  for (int k = 0; k < 2; k++) {
    const LatheKernels *set = k ? plain : fast;
    const LatheCacheHead head = {
      room(size), room(size), scaled ? room(size) : 0, scaled ? room(size) : 0, kind, dim, width};
    for (size_t p = 0; p < count; p++) set->cache_store(&head, p, keys + p * dim, values + p * dim);
    out[k] = room(4 * runs * queried * stride), merged[k] = room(4 * dim);
    looked[k] = look(set, &head, count, queries, queried);
    const LatheCacheQueries q = {queries, tokens, heads, heads * dim, count - tokens, .3f};
    set->attend(&head, &q, 0, count, scratch, out[k], stride, runs * stride);
    set->merge_runs(out[k], runs, stride, width, dim, merged[k]);
    free(head.keys), free(head.values), free(head.key_scales), free(head.value_scales);
  }
  equal("attend_tile", looked[0], looked[1], queried * ((dim + 15) / 16 * 16), 2e-5f);
  /*
   * Queries and weights of codes, 14 bits or 7, may be rounded the other way: powers of two for the latter differ by 2e-4
   * from set to set, a fortieth of a step.
   */
  const float tolerance = kind == LATHE_CACHE_int4 ? 6e-3f : kind == LATHE_CACHE_int8 ? 1e-4f : 2e-5f;
  for (size_t q = 0; q < queried * runs; q++) {
    equal("attend", out[0] + q * stride, out[1] + q * stride, width, tolerance);
    equal("attend", out[0] + q * stride + width, out[1] + q * stride + width, 2, tolerance);
  }
  equal("merge_runs", merged[0], merged[1], dim, tolerance);
  free(keys), free(values), free(queries), free(scratch);
  for (int k = 0; k < 2; k++) free(looked[k]), free(out[k]), free(merged[k]);
}

static void rotations(size_t dim) {
  float *x = reals(dim, 1), a[256], b[256], cosine[128], sine[128];
  for (size_t i = 0; i < dim / 2; i++) cosine[i] = cosf((float)i), sine[i] = sinf((float)i);
  for (int interleaved = 0; interleaved < 2; interleaved++) {
    memcpy(a, x, 4 * dim), memcpy(b, x, 4 * dim);
    fast->rope(a, cosine, sine, 1, dim, interleaved), plain->rope(b, cosine, sine, 1, dim, interleaved);
    equal("rope", a, b, dim, 1e-6f);
  }
  free(x);
}

int main(void) {
  const LatheKernels *const sets[] = {
    lathe_kernels_neon(), lathe_kernels_i8mm(), lathe_kernels_avx2(), lathe_kernels_avx512()};
  plain = lathe_kernels_scalar();
  int compared = 0;
  for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
    if (!(fast = sets[s])) continue;
    compared++;
    checks = 0;
    static const size_t lengths[] = {1, 7, 64, 133, 1000};
    for (size_t i = 0; i < 5; i++) vectors(lengths[i]);
    for (size_t kind = 0; kind < LATHE_STORED_COUNT; kind++) stored(kind);
    for (uint32_t bits = 1; bits <= 8; bits++) {
      for (int kind = 0; kind < 4; kind++) {
        integers(bits, 32, 133, kind), integers(bits, 64, 640, kind), integers(bits, 1000, 1000, kind);
      }
    }
    for (int i = 0; i < 900; i++) tiles();
    lookups(133, 64), lookups(512, 64), lookups(640, 16);
    rotations(64), rotations(96), rotations(6);
    for (uint32_t kind = LATHE_CACHE_f32; kind <= LATHE_CACHE_int4; kind++) {
      caches(kind, 64, 37), caches(kind, 96, 600), caches(kind, 6, 9), caches(kind, 128, 130);
    }
    printf("%s: %d comparisons with %s\n", fast->name, checks, plain->name);
  }
  if (!compared) {
    printf("this machine has no set but %s\n", plain->name);
    return 66;
  }
  return failures > 0;
}
