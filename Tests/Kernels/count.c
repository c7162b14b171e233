/*
 * One call of a kernel, for counting its instructions: `count SET WHAT TOKENS SIZE`, where WHAT is a width, a width and "g" for
 * groups of 32, "table", a K-quant, a cache's type, or "f16" rows. SIZE is rows of 512 inputs, or positions of four queries.
 */
#include <stdlib.h>
#include <string.h>
#include "LatheKernels.h"

static void *room(size_t n) { return calloc(n + 64, 1); }

static void attend(const LatheKernels *set, uint32_t kind, size_t tokens, size_t positions) {
  const size_t width = 64, stride = width + 48, runs = positions / LATHE_CACHE_RUN + 2;
  const LatheCacheHead head = {
    room(4 * width * positions), room(4 * width * positions), room(16 * positions), room(16 * positions), kind, width, width};
  const LatheCacheQueries queries = {room(16 * width * tokens), tokens, 4, 4 * width, positions - tokens, .125f};
  set->attend(
    &head, &queries, 0, positions, room(4 * lathe_cache_scratch(width)), room(16 * tokens * runs * stride), stride,
    runs * stride);
}

static void multiply(const LatheKernels *set, const char *what, size_t tokens, size_t rows) {
  static const uint8_t table[16];
  const size_t columns = 512;
  const int isKQuant = what[0] == 'q', isTable = !strcmp(what, "table");
  LatheTiles m;
  memset(&m, 0, sizeof m);
  m.rows = rows, m.columns = columns, m.super_span = m.table_span = m.span = 1, m.input_group = 128;
  m.bits = isTable ? 4 : (uint32_t)(what[isKQuant ? 1 : 0] - '0');
  if (isTable) m.table = table;
  if (isTable || isKQuant || strchr(what, 'g')) m.input_group = 32;
  /* A byte for each code that a K-quant has; what it says makes no difference here. */
  if (isKQuant) {
    m.halves = m.bits == 2 || m.bits == 3 || m.bits == 6;
    m.super_span = m.halves ? 16 : 8;
    m.has_offset = m.bits != 3 && m.bits != 6, m.nibbles = m.bits == 2;
    m.start = m.has_offset ? 0 : -(1 << (m.bits - 1));
  }
  m.groups = columns / m.input_group, m.weight_groups = m.groups * (m.halves ? 2 : 1);
  m.supers = m.weight_groups / m.super_span;
  const size_t all = rows * m.weight_groups;
  m.scales = room(2 * all), m.codes = room(rows * columns);
  if (isKQuant) m.scale_codes = room(all);
  if (m.has_offset) m.minimums = room(2 * all);
  if (m.has_offset && !m.nibbles) m.minimum_codes = room(all);
  const LatheTileInputs inputs = {
    room(8 * tokens * columns), room(4 * tokens * m.groups), room(8 * tokens * m.groups), room(8 * tokens * m.groups), 0,
    m.input_group == 32, tokens};
  set->multiply_tiles(&m, 0, rows / 16, &inputs, room(4 * tokens * rows), rows);
}

int main(int count, char **words) {
  const LatheKernels *lathe_kernels_neon(void), *lathe_kernels_i8mm(void);
  if (count != 5) return 64;
  const LatheKernels *set = strcmp(words[1], "i8mm") ? lathe_kernels_neon() : lathe_kernels_i8mm();
  const size_t tokens = (size_t)atoi(words[3]), size = (size_t)atoi(words[4]);
  static const char *const caches[] = {"cache-f32", "cache-f16", "cache-int8", "cache-int4"};
  if (!set) return 69;
  for (uint32_t kind = 0; kind < 4; kind++) {
    if (!strcmp(words[2], caches[kind])) return attend(set, kind, tokens, size), 0;
  }
  if (strcmp(words[2], "f16")) multiply(set, words[2], tokens, size);
  else set->decode[LATHE_STORED_f16](room(1024 * size), room(2048 * size), 512 * size);
  return 0;
}
