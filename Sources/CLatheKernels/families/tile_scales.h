/* The scales of tiles, and the forms in which a token or two meet them. */

/* The scales of a tile's sixteen rows in a weight group, and what Σ input of the group is multiplied by. */
typedef struct {
  Floats scale, offset;
} TileScales;

LATHE_INLINE Floats signed_codes(const int8_t *p) {
  Bytes16 codes;
  memcpy(&codes, p, 16);
  return __builtin_convertvector(codes, Floats);
}

LATHE_INLINE Floats unsigned_codes(const uint8_t *p, const uint8_t shift, const uint8_t mask) {
  UBytes16 codes;
  memcpy(&codes, p, 16);
  return __builtin_convertvector(codes >> shift & mask, Floats);
}

/*
 * How scales are stored, and offsets with them: as a matrix says, or what most matrices have. A token or two wait for
 * what is asked of the matrix for each group, so that they have products of their own for these.
 */
enum { scales_any, scales_plain, scales_zeros, scales_coded, scales_minimums, scales_nibbles };

/* What a run of groups multiplies the codes of scales and of minimums by. */
LATHE_INLINE Floats super_scale(const LatheTiles *m, size_t tile, size_t super) {
  return load_halves(m->scales + 16 * (tile * m->supers + super));
}
LATHE_INLINE Floats super_minimum(const LatheTiles *m, size_t tile, size_t super) {
  return load_halves(m->minimums + 16 * (tile * m->supers + super));
}

#ifdef LATHE_SCALES_FETCHED
/*
 * Calls for what a token or two meet sixteen groups later: scales lie apart from codes, and each line that comes late keeps the
 * codes behind it waiting.
 */
LATHE_INLINE void fetch_parameters(const LatheTiles *m, size_t at, const int form) {
  at += 16 * 16;
  if (form >= scales_coded) __builtin_prefetch(m->scale_codes + at);
  else __builtin_prefetch(m->scales + at);
  if (form == scales_zeros) __builtin_prefetch(m->zeros + at);
  if (form == scales_minimums) __builtin_prefetch(m->minimum_codes + at);
}
#else
#define fetch_parameters(m, at, form) ((void)0)
#endif

/*
 * Those of weight group `s`, of run of groups `super`, of which `held` are the scales and the minimums unless it is null; the
 * offset only where there are any.
 */
LATHE_INLINE TileScales group_scales(
    const LatheTiles *m, size_t tile, size_t s, size_t super, const int form, const TileScales *held) {
  const size_t at = 16 * (tile * m->weight_groups + s);
  const int any = form == scales_any;
  if (!any) fetch_parameters(m, at, form);
  TileScales own;
  own.offset = (Floats){};
  if (any ? !m->scale_codes : form <= scales_zeros) {
    own.scale = load_halves(m->scales + at);
    if (any && m->minimums) own.offset = load_halves(m->minimums + at);
    else if (any && m->half_zeros) own.offset = -load_halves(m->half_zeros + at) * own.scale;
    else if (any ? m->zeros != 0 : form == scales_zeros) {
      own.offset = -unsigned_codes(m->zeros + at, 0, 255) * own.scale;
    } else if (any && m->has_offset) own.offset = -m->zero * own.scale;
    return own;
  }
  const Floats scale = held ? held->scale : super_scale(m, tile, super);
  if (any ? m->nibbles : form == scales_nibbles) {
    own.scale = scale * unsigned_codes((const uint8_t *)m->scale_codes + at, 0, 15);
    own.offset = -(held ? held->offset : super_minimum(m, tile, super)) * unsigned_codes((const uint8_t *)m->scale_codes + at, 4, 15);
    return own;
  }
  own.scale = scale * signed_codes(m->scale_codes + at);
  if (any ? m->minimum_codes != 0 : form == scales_minimums) {
    own.offset = -(held ? held->offset : super_minimum(m, tile, super)) * unsigned_codes(m->minimum_codes + at, 0, 255);
  } else if (any && m->has_offset) own.offset = -m->zero * own.scale;
  return own;
}

#ifdef LATHE_OWN_DOT_QUAD
/* What stands for codes. */
enum { names_nothing, names_table, names_marked, names_patched, names_trits };

/* Whether there are products of their own for a form of scales: those that files have. */
LATHE_INLINE int has_form(const uint32_t bits, const int halves, const int names, const int form) {
  if (names == names_trits) return form == scales_plain;
  if (names != names_nothing) return 0;
  switch (form) {
    case scales_plain: return !halves;
    case scales_zeros: return !halves && bits <= 4;
    case scales_coded: return halves && (bits == 3 || bits == 6);
    case scales_minimums: return !halves && (bits == 4 || bits == 5);
    case scales_nibbles: return halves && bits == 2;
    default: return 0;
  }
}

/* The form by which few tokens meet a matrix, and many where `tile_vectors.h` says so. */
LATHE_INLINE int tile_form(const LatheTiles *m, const uint32_t bits, const int halves, const int names) {
  int form = scales_any;
  if (m->input_group == 32 && m->nibbles) form = scales_nibbles;
  else if (m->input_group == 32 && m->minimum_codes) form = scales_minimums;
  else if (m->input_group == 32 && m->scale_codes && !m->has_offset) form = scales_coded;
  else if (!m->scale_codes && !m->has_offset) form = scales_plain;
  else if (!m->scale_codes && m->zeros) form = scales_zeros;
  return has_form(bits, halves, names, form) ? form : scales_any;
}

/* The units of an input group; files' scale codes belong to 32 inputs or to half as many. */
LATHE_INLINE size_t group_units(const LatheTiles *m, const int form) {
  return form >= scales_coded ? 1 : m->input_group / 32;
}
#endif
