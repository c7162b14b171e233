/* The eight vectors of a unit at once: where four neighbours lie together, sixteen bytes of four rows are turned. */

/* Vector k of the unit that begins at `codes`: rows lie `columns` apart. */
LATHE_INLINE Codes gather_quad(const uint8_t *codes, size_t columns, size_t k) {
  const size_t together = LATHE_NEIGHBOURS, rows = LATHE_VECTOR_ROWS, parts = 16 / rows;
  Codes q;
  codes += k % parts * rows * columns + k / parts * together;
  for (size_t r = 0; r < rows; r++) memcpy((uint8_t *)&q + together * r, codes + r * columns, together);
  return q;
}

#if LATHE_NEIGHBOURS == 4

typedef uint8_t UBytes32 __attribute__((vector_size(32)));
typedef uint32_t Fours __attribute__((vector_size(64)));
typedef uint64_t Eights __attribute__((vector_size(64)));

LATHE_INLINE UBytes16 load_sixteen(const uint8_t *p) {
  UBytes16 v;
  memcpy(&v, p, 16);
  return v;
}

/* Counts from `i`, as shuffles name elements. */
#define LATHE_EIGHT(i) i, i + 1, i + 2, i + 3, i + 4, i + 5, i + 6, i + 7
#define LATHE_THIRTY_TWO(i) LATHE_EIGHT(i), LATHE_EIGHT(i + 8), LATHE_EIGHT(i + 16), LATHE_EIGHT(i + 24)
#define LATHE_JOIN(a, b) __builtin_shufflevector(a, b, LATHE_THIRTY_TWO(0))
#define LATHE_JOIN_TWICE(a, b) __builtin_shufflevector(a, b, LATHE_THIRTY_TWO(0), LATHE_THIRTY_TWO(32))

/* Sixteen bytes of every fourth row. */
LATHE_INLINE Fours every_fourth(const uint8_t *codes, size_t columns) {
  const UBytes32 low = LATHE_JOIN(load_sixteen(codes), load_sixteen(codes + 4 * columns));
  const UBytes32 high = LATHE_JOIN(load_sixteen(codes + 8 * columns), load_sixteen(codes + 12 * columns));
  return (Fours)LATHE_JOIN_TWICE(low, high);
}

#define LATHE_FOUR(i) i, 16 + i, i + 1, 17 + i
#define LATHE_FOURS(a, b, i) \
  (Eights) __builtin_shufflevector(a, b, LATHE_FOUR(i), LATHE_FOUR(4 + i), LATHE_FOUR(8 + i), LATHE_FOUR(12 + i))
#define LATHE_EIGHTS(a, b, i) \
  (Codes) __builtin_shufflevector(a, b, i, 8 + i, 2 + i, 10 + i, 4 + i, 12 + i, 6 + i, 14 + i)

LATHE_INLINE void gather_unit(const uint8_t *codes, size_t columns, Codes q[8]) {
#pragma clang loop unroll(full)
  for (int half = 0; half < 2; half++, codes += 16, q += 4) {
    Fours x[4];
#pragma clang loop unroll(full)
    for (size_t r = 0; r < 4; r++) x[r] = every_fourth(codes + r * columns, columns);
    const Eights a = LATHE_FOURS(x[0], x[1], 0), b = LATHE_FOURS(x[2], x[3], 0);
    const Eights c = LATHE_FOURS(x[0], x[1], 2), d = LATHE_FOURS(x[2], x[3], 2);
    q[0] = LATHE_EIGHTS(a, b, 0);
    q[1] = LATHE_EIGHTS(a, b, 1);
    q[2] = LATHE_EIGHTS(c, d, 0);
    q[3] = LATHE_EIGHTS(c, d, 1);
  }
}
#else
LATHE_INLINE void gather_unit(const uint8_t *codes, size_t columns, Codes q[8]) {
  for (size_t k = 0; k < 8; k++) q[k] = gather_quad(codes, columns, k);
}
#endif
