/*
 * Searches for the scales of blocks, sixteen rows at a time: one row in each lane of a vector.
 *
 * A lane does what a plain loop over its row would do, in the same order and without fused operations, so that every
 * instruction set gives the same bytes, and they are those of llama.cpp's plain C (ggml-quants.c), whose searches
 * these are.
 */
#pragma clang fp reassociate(off) contract(off)

typedef int32_t LaneMask __attribute__((ext_vector_type(LATHE_LANES)));
typedef uint8_t LaneBytes __attribute__((ext_vector_type(LATHE_LANES)));

/* Below this a block counts as zero. */
#define LATHE_TINY 1e-15f

/* To the nearest whole number, halves to even; far out, where floats are whole numbers, nothing is lost. */
LATHE_INLINE Lanes nearest(Lanes x) { return (x + 12582912.0f) - 12582912.0f; }
LATHE_INLINE Lanes magnitude(Lanes x) { return __builtin_elementwise_abs(x); }
LATHE_INLINE Lanes root(Lanes x) { return __builtin_elementwise_sqrt(x); }
/* What is no number becomes `low`. */
LATHE_INLINE Lanes clamped(Lanes x, float low, float high) {
  x = x > (Lanes)low ? x : (Lanes)low;
  return x < (Lanes)high ? x : (Lanes)high;
}
LATHE_INLINE int any(LaneMask mask) { return __builtin_reduce_or(mask) != 0; }

/* The element of largest magnitude, the first of equals. */
LATHE_INLINE Lanes extreme(const Lanes *x, int n) {
  Lanes largest = 0, signed_one = 0;
  for (int i = 0; i < n; i++) {
    const Lanes size = magnitude(x[i]);
    const LaneMask more = size > largest;
    largest = more ? size : largest;
    signed_one = more ? x[i] : signed_one;
  }
  return signed_one;
}

LATHE_INLINE Lanes sum_of_squares(const Lanes *x, int n) {
  Lanes sum = 0;
  for (int i = 0; i < n; i++) sum += x[i] * x[i];
  return sum;
}

/* The codes of a symmetric search, from 0: `inverse` 0 marks a block that is all zero. */
LATHE_INLINE Lanes symmetric_code(Lanes x, Lanes inverse, float half) {
  const Lanes q = clamped(nearest(inverse * x), -half, half - 1) + half;
  return inverse == (Lanes)0.0f ? (Lanes)0.0f : q;
}

/*
 * The scale of codes -half ..< half that fits x best under weights w: eighteen neighbours of the scale that takes the
 * extreme to the outermost code are tried, each with its least-squares scale. `inverse` receives what codes come from.
 */
LATHE_INLINE Lanes search_symmetric(const Lanes *x, const Lanes *w, int n, float half, Lanes *inverse) {
  Lanes peak = extreme(x, n);
  const LaneMask none = magnitude(peak) < (Lanes)LATHE_TINY;
  peak = none ? (Lanes)1.0f : peak;
  Lanes chosen = -half / peak, scale = 0, best = 0;
  for (int step = -10; step <= 9; step++) {
    if (step == 0) continue;
    /* The first is the plain one. */
    const Lanes candidate = step == -10 ? -half / peak : -(half + 0.1f * (float)step) / peak;
    Lanes lx = 0, l2 = 0;
    for (int i = 0; i < n; i++) {
      const Lanes l = clamped(nearest(candidate * x[i]), -half, half - 1);
      lx += w[i] * x[i] * l;
      l2 += w[i] * l * l;
    }
    if (step == -10) {
      scale = l2 != (Lanes)0.0f ? lx / l2 : (Lanes)0.0f;
      best = scale * lx;
      continue;
    }
    const LaneMask better = (l2 > (Lanes)0.0f) & (lx * lx > best * l2);
    scale = better ? lx / l2 : scale;
    best = better ? scale * lx : best;
    chosen = better ? candidate : chosen;
  }
  *inverse = none ? (Lanes)0.0f : chosen;
  return none ? (Lanes)0.0f : scale;
}

/* One scale for codes -half ..< half under weights x², codes moved one at a time while that helps. */
LATHE_INLINE Lanes descend_symmetric(const Lanes *x, int n, float half, Lanes *codes) {
  Lanes peak = extreme(x, n);
  const LaneMask none = magnitude(peak) < (Lanes)LATHE_TINY;
  peak = none ? (Lanes)1.0f : peak;
  const Lanes inverse = -half / peak;
  Lanes lx = 0, l2 = 0;
  for (int i = 0; i < n; i++) {
    const Lanes l = clamped(nearest(inverse * x[i]), -half, half - 1), w = x[i] * x[i];
    codes[i] = l;
    lx += w * x[i] * l;
    l2 += w * l * l;
  }
  for (int round = 0; round < 5; round++) {
    LaneMask changed = 0;
    for (int i = 0; i < n; i++) {
      const Lanes w = x[i] * x[i], old = codes[i];
      Lanes slx = lx - w * x[i] * old, sl2 = l2 - w * old * old;
      const LaneMask usable = slx > (Lanes)0.0f;
      const Lanes new = clamped(nearest(x[i] * sl2 / slx), -half, half - 1);
      slx += w * x[i] * new;
      sl2 += w * new * new;
      const LaneMask better =
        usable & (new != old) & (sl2 > (Lanes)0.0f) & (slx * slx * l2 > lx * lx * sl2);
      codes[i] = better ? new : old;
      lx = better ? slx : lx;
      l2 = better ? sl2 : l2;
      changed |= better;
    }
    if (!any(changed)) break;
  }
  for (int i = 0; i < n; i++) codes[i] = none ? (Lanes)0.0f : codes[i] + half;
  return (none | (l2 <= (Lanes)0.0f)) ? (Lanes)0.0f : lx / l2;
}

/* How a scale and a minimum are searched: the neighbours that are tried, and whether errors count plain or squared. */
typedef struct {
  float first, step;
  int steps;
  int absolute;
} AffineSearch;

/* A scale and a minimum, at most zero, and what codes come from. */
typedef struct {
  Lanes scale, minimum, inverse, low;
} Affine;

LATHE_INLINE Lanes affine_code(Lanes x, Lanes inverse, Lanes low, float top) {
  return clamped(nearest(inverse * (x - low)), 0, top);
}

LATHE_INLINE Lanes affine_error(
    const Lanes *x, const Lanes *w, int n, float top, Lanes inverse, Lanes low, Lanes scale, Lanes minimum,
    int absolute) {
  Lanes error = 0;
  for (int i = 0; i < n; i++) {
    const Lanes difference = scale * affine_code(x[i], inverse, low, top) + minimum - x[i];
    error += w[i] * (absolute ? magnitude(difference) : difference * difference);
  }
  return error;
}

/* Codes 0 ... top: each candidate's codes get their least-squares scale and minimum; the least error wins. */
LATHE_INLINE Affine search_affine(const Lanes *x, const Lanes *w, int n, float top, AffineSearch how) {
  Lanes low = x[0], high = x[0], sum_w = w[0], sum_x = sum_w * x[0];
  for (int i = 1; i < n; i++) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
    sum_w += w[i];
    sum_x += w[i] * x[i];
  }
  low = low > (Lanes)0.0f ? (Lanes)0.0f : low;
  const LaneMask flat = ~(high > low);
  const Lanes whole = flat ? (Lanes)1.0f : high - low;
  Affine found = {.inverse = top / whole, .low = low, .minimum = low};
  found.scale = 1 / found.inverse;
  Lanes best = affine_error(x, w, n, top, found.inverse, low, found.scale, low, how.absolute);
  for (int step = 0; step <= how.steps; step++) {
    /* A minimum that has won is where the next candidates start. */
    const Lanes from = found.minimum, width = flat ? (Lanes)1.0f : high - from;
    const Lanes inverse = (how.first + how.step * (float)step + top) / width;
    Lanes l1 = 0, l2 = 0, xl = 0;
    for (int i = 0; i < n; i++) {
      const Lanes l = affine_code(x[i], inverse, from, top), wl = w[i] * l;
      l1 += wl;
      l2 += wl * l;
      xl += wl * x[i];
    }
    const Lanes determinant = sum_w * l2 - l1 * l1;
    Lanes scale = (sum_w * xl - sum_x * l1) / determinant, minimum = (l2 * sum_x - l1 * xl) / determinant;
    const LaneMask above = minimum > (Lanes)0.0f;
    scale = above ? xl / l2 : scale;
    minimum = above ? (Lanes)0.0f : minimum;
    const Lanes error = affine_error(x, w, n, top, inverse, from, scale, minimum, how.absolute);
    const LaneMask better = (determinant > (Lanes)0.0f) & (error < best);
    best = better ? error : best;
    found.scale = better ? scale : found.scale;
    found.minimum = better ? minimum : found.minimum;
    found.inverse = better ? inverse : found.inverse;
    found.low = better ? from : found.low;
  }
  found.scale = flat ? (Lanes)0.0f : found.scale;
  found.minimum = flat ? low : found.minimum;
  found.inverse = flat ? (Lanes)0.0f : found.inverse;
  return found;
}

/* One scale for numbers that are not negative, codes 0 ... top: neighbours first, then codes one at a time. */
LATHE_INLINE Lanes search_positive(const Lanes *x, const Lanes *w, int n, float top, Lanes *codes) {
  Lanes high = 0;
  for (int i = 0; i < n; i++) high = x[i] > high ? x[i] : high;
  const LaneMask none = high < (Lanes)LATHE_TINY;
  high = none ? (Lanes)1.0f : high;
  Lanes inverse = top / high, best = 0;
  for (int step = -5; step <= 4; step++) {
    if (step == 0) continue;
    const Lanes candidate = step == -5 ? top / high : (0.1f * (float)step + top) / high, scale = 1 / candidate;
    Lanes error = 0;
    for (int i = 0; i < n; i++) {
      Lanes l = nearest(candidate * x[i]);
      l = l < (Lanes)top ? l : (Lanes)top;
      const Lanes difference = x[i] - scale * l;
      error += w[i] * difference * difference;
    }
    const LaneMask better = step == -5 ? (LaneMask)-1 : error < best;
    best = better ? error : best;
    inverse = better ? candidate : inverse;
  }
  Lanes lx = 0, l2 = 0;
  for (int i = 0; i < n; i++) {
    const Lanes l = nearest(inverse * x[i]);
    codes[i] = l < (Lanes)top ? l : (Lanes)top;
    lx += w[i] * x[i] * codes[i];
    l2 += w[i] * codes[i] * codes[i];
  }
  for (int round = 0; round < 5; round++) {
    LaneMask changed = 0;
    for (int i = 0; i < n; i++) {
      const Lanes old = codes[i];
      Lanes slx = lx - w[i] * x[i] * old, sl2 = l2 - w[i] * old * old;
      const LaneMask usable = (slx > (Lanes)0.0f) & (sl2 > (Lanes)0.0f);
      Lanes new = nearest(x[i] * sl2 / slx);
      new = new < (Lanes)top ? new : (Lanes)top;
      slx += w[i] * x[i] * new;
      sl2 += w[i] * new * new;
      const LaneMask better = usable & (new != old) & (slx * slx * l2 > lx * lx * sl2);
      codes[i] = better ? new : old;
      lx = better ? slx : lx;
      l2 = better ? sl2 : l2;
      changed |= better;
    }
    if (!any(changed)) break;
  }
  for (int i = 0; i < n; i++) codes[i] = none ? (Lanes)0.0f : clamped(codes[i], 0, top);
  return (none | (l2 <= (Lanes)0.0f)) ? (Lanes)0.0f : lx / l2;
}

/* The entry of a sorted table of sixteen that is nearest to x: its place, and the entry itself. */
LATHE_INLINE Lanes table_place(Lanes x, const int8_t *table, Lanes *entry) {
  Lanes place = 0, value = (float)table[0];
  for (int k = 0; k < 15; k++) {
    const LaneMask above = x >= (Lanes)(((float)table[k] + (float)table[k + 1]) / 2);
    place = above ? (Lanes)(float)(k + 1) : place;
    value = above ? (Lanes)(float)table[k + 1] : value;
  }
  *entry = value;
  return place;
}

/* The scale under which a table's entries fit x best: fifteen neighbours of the one that takes the extreme to its end. */
LATHE_INLINE Lanes search_table(const Lanes *x, const Lanes *w, int n, const int8_t *table) {
  Lanes peak = extreme(x, n);
  const LaneMask none = magnitude(peak) < (Lanes)LATHE_TINY;
  peak = none ? (Lanes)1.0f : peak;
  Lanes scale = 0, best = 0;
  for (int step = -8; step <= 7; step++) {
    const Lanes inverse =
      step == -8 ? 1 / (-peak / (float)table[0]) : ((float)step + (float)table[0]) / peak;
    Lanes qx = 0, q2 = 0;
    for (int i = 0; i < n; i++) {
      Lanes q;
      table_place(inverse * x[i], table, &q);
      qx += w[i] * q * x[i];
      q2 += w[i] * q * q;
    }
    const LaneMask better = (q2 > (Lanes)0.0f) & ((step == -8 ? (LaneMask)-1 : (LaneMask)0) | (qx * qx > best * q2));
    scale = better ? qx / q2 : scale;
    best = better ? scale * qx : best;
  }
  return none ? (Lanes)0.0f : scale;
}

#pragma clang fp reassociate(on) contract(fast)
