/* The table of one instruction set, made of the families compiled above it. */

static float dot_f32(const uint8_t *row, const float *x, size_t n) { return dot((const float *)row, x, n); }

static float dot_bf16(const uint8_t *row, const float *x, size_t n) {
  float s = 0;
  for (size_t i = 0; i < n; i++) s += float_from_bits((uint32_t)load_u16(row + 2 * i) << 16) * x[i];
  return s;
}

static float dot_f16(const uint8_t *row, const float *x, size_t n) {
  float s = 0;
  for (size_t i = 0; i < n; i++) s += float_from_half(load_u16(row + 2 * i)) * x[i];
  return s;
}

/* Every other type is decoded a tile at a time; a tile is a whole number of any type's blocks. */
#define DOT_BY_TILE(symbol, elements, bytes)                                             \
  static float dot_##symbol(const uint8_t *row, const float *x, size_t n) {              \
    float tile[LATHE_TILE], s = 0;                                                       \
    for (size_t i = 0; i < n; i += LATHE_TILE, row += LATHE_TILE / (elements) * (bytes)) { \
      const size_t count = n - i < LATHE_TILE ? n - i : LATHE_TILE;                      \
      decode_##symbol(row, tile, count);                                                 \
      s += dot(tile, x + i, count);                                                      \
    }                                                                                    \
    return s;                                                                            \
  }
#define X(symbol, name, elements, bytes) DOT_BY_TILE(symbol, elements, bytes)
#define dot_f32 dot_tile_f32
#define dot_f16 dot_tile_f16
#define dot_bf16 dot_tile_bf16
LATHE_STORED_TYPES(X)
#undef dot_f32
#undef dot_f16
#undef dot_bf16
#undef X

static const LatheKernels table = {
  .name = LATHE_SET_NAME,
  .dot = dot,
#define X(symbol, name, elements, bytes) [LATHE_STORED_##symbol] = decode_##symbol,
  .decode = {LATHE_STORED_TYPES(X)},
#undef X
#define X(symbol, name, elements, bytes) [LATHE_STORED_##symbol] = dot_##symbol,
  .dot_stored = {LATHE_STORED_TYPES(X)},
#undef X
  .unpack = unpack,
  .decode_integer = decode_integer,
  .dot_integer = dot_integer,
  .decode_ternary = decode_ternary,
  .rms_norm = rms_norm,
  .rope = rope,
  .silu_multiply = silu_multiply,
  .add = add,
  .cache_store = cache_store,
  .cache_panels = cache_panels,
  .attend = attend,
  .merge_runs = merge_runs,
  .attend_tile = attend_tile,
  .log_sum_exp = log_sum_exp,
  .divergence = divergence,
  .argmax = argmax,
  .round_column = round_column,
  .quantize_vector = quantize_vector,
  .pack_inputs = pack_inputs,
#ifdef LATHE_SUBSETS
  .one_bit_input = LATHE_SUBSET_BYTES,
#else
  .one_bit_input = 1,
#endif
  .multiply_tiles = multiply_tiles,
  .pack_tile = pack_tile,
  .pack_stored = pack_stored,
#ifdef LATHE_OWN_TRITS
  .pack_trits = pack_trits,
#endif
  .pack_patches = pack_patches,
  .decode_lookup = decode_lookup,
  .dot_lookup = dot_lookup,
  .round_lookup = round_lookup,
  .encode_rows = encode_rows,
  .fit_blocks = fit_blocks,
  .round_blocks = round_blocks,
  .pack_blocks = pack_blocks,
  .stream = stream,
  .integer_peak = integer_peak,
};
