#ifndef LATHE_KERNELS_H
#define LATHE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Arithmetic on packed rows and the small fused operations of a decoder.
 * No allocation, no threads, no state: a caller splits the work and owns the memory.
 */

/// How the elements of a row lie in a file: X(symbol, name, elements a block, bytes a block).
/// A new block type is one line here and one `decode_<symbol>` in `families/`.
#define LATHE_STORED_TYPES(X) \
  X(f32, "F32", 1, 4)         \
  X(f16, "F16", 1, 2)         \
  X(bf16, "BF16", 1, 2)       \
  X(f64, "F64", 1, 8)         \
  X(q4_0, "Q4_0", 32, 18)     \
  X(q4_1, "Q4_1", 32, 20)     \
  X(q5_0, "Q5_0", 32, 22)     \
  X(q5_1, "Q5_1", 32, 24)     \
  X(q8_0, "Q8_0", 32, 34)     \
  X(q2_k, "Q2_K", 256, 84)    \
  X(q3_k, "Q3_K", 256, 110)   \
  X(q4_k, "Q4_K", 256, 144)   \
  X(q5_k, "Q5_K", 256, 176)   \
  X(q6_k, "Q6_K", 256, 210)   \
  X(iq4_nl, "IQ4_NL", 32, 18) \
  X(iq4_xs, "IQ4_XS", 256, 136) \
  X(tq1_0, "TQ1_0", 256, 54)  \
  X(tq2_0, "TQ2_0", 256, 66)  \
  X(mxfp4, "MXFP4", 32, 17)   \
  X(nvfp4, "NVFP4", 64, 36)   \
  X(q1_0, "Q1_0", 128, 18)    \
  X(q2_0, "Q2_0", 64, 18)

enum {
#define X(symbol, name, elements, bytes) LATHE_STORED_##symbol,
  LATHE_STORED_TYPES(X)
#undef X
  LATHE_STORED_COUNT
};

/// One stored type: its name and the shape of its block.
typedef struct {
  const char *_Nonnull name;
  size_t elements;
  size_t bytes;
} LatheStoredType;

/// The stored type number `index`, `0 ..< LATHE_STORED_COUNT`.
const LatheStoredType *_Nullable lathe_stored_type(size_t index);

/// Rows of integer codes with a scale, and perhaps a zero point, for each group; the pointers are the first row's.
typedef struct {
  /// `n` codes of `bits` bits, least significant bit first.
  const uint8_t *_Nonnull codes;
  /// One half-precision scale a group.
  const uint16_t *_Nonnull scales;
  /// One zero point of `bits` bits a group, packed like the codes; null where all are `zero`.
  const uint8_t *_Nullable zeros;
  /// One half-precision zero point a group, in place of the above.
  const uint16_t *_Nullable half_zeros;
  /// The group of each column; null where groups are runs of `group` columns.
  const uint16_t *_Nullable group_of_column;
  float zero;
  uint32_t bits;
  size_t group;
  size_t n;
  /// From one row to the next: bytes of codes, scales, bytes of zero points.
  size_t code_stride, scale_stride, zero_stride;
} LatheIntegerRow;

/// Rows of four-bit codes that name entries of a table, with a scale for each group; the pointers are the first row's.
typedef struct {
  /// `n` codes, the first of each two in the low half of their byte.
  const uint8_t *_Nonnull codes;
  /// Sixteen entries.
  const float *_Nonnull table;
  /// One scale a group; or null, and scale = scale_table[scale code] · factor + offset.
  const float *_Nullable scales;
  const uint8_t *_Nullable scale_codes;
  const float *_Nullable scale_table;
  /// One factor for each `span` groups; the row's first group is number `first`.
  const float *_Nullable factors;
  size_t first;
  size_t span;
  float offset;
  size_t group;
  size_t n;
  /// From one row to the next: bytes of codes, groups.
  size_t code_stride, group_stride;
} LatheLookupRow;

/// The parameters of one group of a block type for some rows; a block's parts lie one after another, `rows` apart.
typedef struct {
  size_t rows;
  /// Each block's scale, and the scale of its minimums, in half precision.
  uint16_t *_Nonnull half;
  uint16_t *_Nonnull half_minimum;
  /// The codes of the parts' scales and minimums.
  int16_t *_Nonnull scale_code;
  int16_t *_Nonnull minimum_code;
  /// The parts' scales and minimums as decoded, and what codes come from: code = round(inverse · (x - low)).
  float *_Nonnull scale;
  float *_Nonnull minimum;
  float *_Nonnull inverse;
  float *_Nonnull low;
} LatheBlocks;

/// One row's codes, a byte each, and its groups' parameters; null where a type has no such parameter.
typedef struct {
  uint8_t *_Nonnull codes;
  /// Binary16, one a group, or one a super-group.
  uint16_t *_Nonnull scales;
  int8_t *_Nullable scale_codes;
  uint8_t *_Nullable minimum_codes;
  uint16_t *_Nullable minimums;
  uint8_t *_Nullable zeros;
  uint16_t *_Nullable half_zeros;
} LatheCodeRow;

/// What the codes and parameters of a stored type are.
typedef struct {
  uint32_t bits;
  size_t group;
  /// Groups that share a binary16 scale; 0 where each has its own.
  size_t super_span;
  float zero;
  int has_minimums;
  /// Scales' and minimums' codes share bytes.
  int nibbles;
  /// Whether no code of two bits can be 3.
  int ternary;
  /// A scale may not fit binary16.
  int partial;
  /// Sixteen entries that codes name, 128 above their values.
  const uint8_t *_Nullable table;
} LatheCodeShape;

/// What the codes of stored type `kind` are; null where it has none.
const LatheCodeShape *_Nullable lathe_code_shape(size_t kind);
/// The codes of a row of `n` elements; 0 where a scale does not fit binary16.
int lathe_read_codes(size_t kind, const uint8_t *_Nonnull row, size_t n, const LatheCodeRow *_Nonnull to);

/// Rows in tiles of sixteen: codes of `bits` bits in planes, a scale for each row and weight group, and zero points or
/// minimums, which lie tile by tile, group by group, sixteen at a time. Value = scale · (code - zero) or scale · code +
/// minimum; with a table, its entries stand for codes.
typedef struct {
  const uint8_t *_Nonnull codes;
  /// Binary16: a scale for each weight group; or, with `scale_codes`, one for each `super_span` groups.
  const uint16_t *_Nonnull scales;
  /// What a group's scale is multiplied by; with `nibbles` an unsigned half byte, the minimum's code in the other half.
  const int8_t *_Nullable scale_codes;
  const uint8_t *_Nullable minimum_codes;
  /// Binary16: a minimum for each group, added; with codes one for each `super_span` groups, subtracted.
  const uint16_t *_Nullable minimums;
  const uint8_t *_Nullable zeros;
  const uint16_t *_Nullable half_zeros;
  /// The zero point where there is none of the above.
  float zero;
  /// What the sum of a group's inputs is multiplied by as whole numbers, in place of an offset: -zero, or 0.
  int32_t start;
  /// Whether minimums or zero points are applied as floats.
  int has_offset;
  int nibbles;
  /// Whether a weight group is half an input group: 16 columns of 32.
  int halves;
  uint32_t bits;
  /// Whether codes of two bits, none of which is 3, lie as `pack_trits` puts them; columns fill 128 then.
  int trits;
  /// Sixteen bytes, or null.
  const uint8_t *_Nullable table;
  /// For codes of two bits: four bytes for each row and `table_span` input groups, tile by tile, group by group; where
  /// columns are marked, sixteen rows' second tables follow their first.
  const uint8_t *_Nullable row_tables;
  /// A byte for each column, the last group's filled up: 64 where it uses the second table; null with patches.
  const uint8_t *_Nullable marks;
  /// Whole bytes in place of what codes with the second bit set stand for, tile by tile; where each tile's begin. 64
  /// bytes after the last can be read.
  const uint8_t *_Nullable patches;
  const uint64_t *_Nullable patch_starts;
  size_t table_span, table_groups;
  /// The columns that share an input's scale: 32, 64 or 128.
  size_t input_group;
  /// Input groups in a row, the last one filled with zeros.
  size_t groups;
  /// Input groups that share a weight's scale; weight groups in a row.
  size_t span, weight_groups;
  size_t super_span, supers;
  size_t rows, columns;
} LatheTiles;

/// Inputs for tiles: vectors of signed bytes, interleaved as a set's kernels read them, or tables of their sums.
typedef struct {
  int8_t *_Nonnull codes;
  /// A scale for each input group, and the sums of the inputs over each weight group within it.
  float *_Nonnull scales;
  float *_Nonnull sums;
  int32_t *_Nonnull starts;
  /// The step of each vector, whose numbers are whole multiples of it, 127 at most; null finds one for each group.
  const float *_Nullable steps;
  /// Whether scales are powers of two. Then `scales` holds them times 1.5 · 2^23, and `starts` begins at the bits of that: a
  /// whole sum added to those is a float that many scales larger.
  int binary;
  size_t tokens;
} LatheTileInputs;

/// How a cache holds keys and values; `families/attention.h` says how they lie.
enum { LATHE_CACHE_f32, LATHE_CACHE_f16, LATHE_CACHE_int8, LATHE_CACHE_int4 };

/// The positions that are attended to at a time.
enum { LATHE_CACHE_RUN = 512 };

/// The floats of scratch that attending to a head of `width` elements needs.
static inline size_t lathe_cache_scratch(size_t width) { return 4 * LATHE_CACHE_RUN + 12 * width + 64; }

/// The keys and values of one head, from position 0 on.
typedef struct {
  uint8_t *_Nonnull keys;
  uint8_t *_Nonnull values;
  /// One half-precision scale a group of 32 elements; null for floats.
  uint16_t *_Nullable key_scales;
  uint16_t *_Nullable value_scales;
  uint32_t kind;
  /// The elements of a head, and those that are stored: a multiple of 16, of 32 for whole numbers.
  size_t dim, width;
} LatheCacheHead;

/// The queries that look at one head: for each of some tokens `heads` vectors, one after another.
typedef struct {
  const float *_Nonnull queries;
  size_t tokens, heads;
  /// Floats from one token to the next.
  size_t stride;
  /// The position of the first token: token t sees start + t + 1 positions.
  size_t start;
  float scale;
} LatheCacheQueries;

/// The positions that a tile of rows meets at a time.
enum { LATHE_TILE_KEYS = 256 };

/// Rows that look at one head's keys, a query each, and what they have summed up.
typedef struct {
  /// `width` floats a row, the head's elements and zeros up to a multiple of 16. Products with keys are logarithms to base 2.
  const float *_Nonnull queries;
  /// Σ 2^(score - peak) · value in `width` floats a row, Σ 2^(score - peak), and the peak: 0, 0, -infinity at first.
  float *_Nonnull sums;
  float *_Nonnull totals;
  float *_Nonnull peaks;
  /// Scratch: LATHE_TILE_KEYS floats a row.
  float *_Nonnull scores;
  size_t rows, width;
} LatheTileRows;

/// The kernels of one instruction set.
typedef struct {
  const char *_Nonnull name;
  /// The inner product of two vectors.
  float (*_Nonnull dot)(const float *_Nonnull a, const float *_Nonnull b, size_t n);
  /// A stored row of `n` elements to floats.
  void (*_Nonnull decode[LATHE_STORED_COUNT])(const uint8_t *_Nonnull row, float *_Nonnull out, size_t n);
  /// The inner product of a stored row and a vector.
  float (*_Nonnull dot_stored[LATHE_STORED_COUNT])(const uint8_t *_Nonnull row, const float *_Nonnull x, size_t n);
  /// `n` codes of `width` bits to bytes; reads no byte beyond the last code's.
  void (*_Nonnull unpack)(const uint8_t *_Nonnull packed, uint32_t width, uint8_t *_Nonnull codes, size_t n);
  void (*_Nonnull decode_integer)(const LatheIntegerRow *_Nonnull row, float *_Nonnull out);
  float (*_Nonnull dot_integer)(const LatheIntegerRow *_Nonnull row, const float *_Nonnull x);
  /// Base-3 codes, five a byte, to -scale, 0, scale; a half-precision scale for each `group` columns.
  void (*_Nonnull decode_ternary)(
    const uint8_t *_Nonnull codes, const uint16_t *_Nonnull scales, size_t group, float *_Nonnull out, size_t n);
  /// out[i] = x[i] / sqrt(mean x² + epsilon) · weight[i]
  void (*_Nonnull rms_norm)(
    const float *_Nonnull x, const float *_Nonnull weight, float epsilon, float *_Nonnull out, size_t n);
  /// Rotates `heads` vectors of `dim` in place; `cosine` and `sine` hold dim / 2 values.
  /// `interleaved` pairs 2i with 2i + 1, else i with i + dim / 2.
  void (*_Nonnull rope)(
    float *_Nonnull x, const float *_Nonnull cosine, const float *_Nonnull sine, size_t heads, size_t dim,
    int interleaved);
  /// gate[i] = silu(gate[i]) · up[i]
  void (*_Nonnull silu_multiply)(float *_Nonnull gate, const float *_Nonnull up, size_t n);
  /// a[i] += b[i]
  void (*_Nonnull add)(float *_Nonnull a, const float *_Nonnull b, size_t n);
  /// Writes the keys and values of one position, `dim` floats each.
  void (*_Nonnull cache_store)(
    const LatheCacheHead *_Nonnull head, size_t position, const float *_Nonnull key, const float *_Nonnull value);
  /// At most LATHE_TILE_KEYS positions from `first` on as floats, in panels of sixteen lanes: keys[block][element][16], a
  /// position in each lane, and values[sixteen elements][LATHE_TILE_KEYS][16], an element in each lane. Elements are filled up
  /// to a multiple of 16.
  void (*_Nonnull cache_panels)(
    const LatheCacheHead *_Nonnull head, size_t first, size_t count, float *_Nonnull keys, float *_Nonnull values);
  /// Queries against `count` positions from `first`, a multiple of LATHE_CACHE_RUN. On each run of so many positions every
  /// query receives Σ 2^(score - peak) · value in `width` floats, then the peak and Σ 2^(score - peak): `run_stride` floats
  /// from run to run, `stride` from query to query. Scores are logarithms to base 2; the peak is within 32 of the largest.
  /// `scratch` holds lathe_cache_scratch(width) floats.
  void (*_Nonnull attend)(
    const LatheCacheHead *_Nonnull head, const LatheCacheQueries *_Nonnull queries, size_t first, size_t count,
    float *_Nonnull scratch, float *_Nonnull out, size_t run_stride, size_t stride);
  /// Puts one query's results on `runs` runs together, `stride` floats apart: `dim` floats.
  void (*_Nonnull merge_runs)(
    const float *_Nonnull parts, size_t runs, size_t stride, size_t width, size_t dim, float *_Nonnull out);
  /// One step of an online softmax: the rows look at `count` positions that `cache_panels` laid out. Row r sees the first
  /// `visible + r` of them.
  void (*_Nonnull attend_tile)(
    const LatheTileRows *_Nonnull rows, const float *_Nonnull keys, const float *_Nonnull values, size_t count,
    ptrdiff_t visible);
  /// log Σ exp x
  float (*_Nonnull log_sum_exp)(const float *_Nonnull x, size_t n);
  /// Σ p · (log p - log q) with p, q the softmax of two rows of logits, whose log_sum_exp are given.
  float (*_Nonnull divergence)(
    const float *_Nonnull p, float log_sum_p, const float *_Nonnull q, float log_sum_q, size_t n);
  /// The index of the largest element, the first of equals.
  size_t (*_Nonnull argmax)(const float *_Nonnull x, size_t n);
  /// codes[i] = clamp(round(w[i] / scale[i]) + zero[i], 0, top); point[i] = (code - zero[i]) · scale[i].
  void (*_Nonnull round_column)(
    const float *_Nonnull w, const float *_Nonnull scale, const float *_Nonnull zero, float top,
    uint8_t *_Nonnull codes, float *_Nonnull points, size_t n);
  /// codes[i] = clamp(round(x[i] / scale), -top, top); a scale of 0 lets the largest magnitude reach `top`.
  /// Returns the scale.
  float (*_Nonnull quantize_vector)(
    const float *_Nonnull x, float top, float scale, int8_t *_Nonnull codes, size_t n);
  /// The bytes in which tiles of one bit meet an input; others meet a byte.
  size_t one_bit_input;
  /// Rounds the input groups `first ..< first + count` of `tokens` vectors for tiles of the shape of `m`; with `twice`, as many again follow them: what rounding left of
  /// each. The memory of `to` holds groups · input_group codes, of one bit `one_bit_input` bytes for each, groups scales,
  /// twice as many sums and starts a vector.
  void (*_Nonnull pack_inputs)(
    const LatheTiles *_Nonnull m, const float *_Nonnull x, size_t tokens, int twice, size_t first, size_t count,
    const LatheTileInputs *_Nonnull to);
  /// out[t · stride + row] = row · x[t] for the rows of `count` tiles from number `first` on.
  void (*_Nonnull multiply_tiles)(
    const LatheTiles *_Nonnull m, size_t first, size_t count, const LatheTileInputs *_Nonnull x, float *_Nonnull out,
    size_t stride);
  /// Sixteen rows of `columns` codes, a byte each, to a tile's planes; columns are a multiple of 32.
  void (*_Nonnull pack_tile)(
    const uint8_t *_Nonnull codes, size_t columns, uint32_t bits, uint8_t *_Nonnull out);
  /// Sixteen rows of a stored type, `row` bytes apart, to a tile's codes and scales; columns fill the tile's groups. Returns 0, and
  /// does nothing, for types whose codes are no whole bytes.
  int (*_Nonnull pack_stored)(
    size_t kind, const uint8_t *_Nonnull rows, size_t row, size_t columns, uint8_t *_Nonnull codes,
    uint16_t *_Nonnull scales);
  /// Sixteen rows of `columns` codes from 0 to 2, a byte each, to 3.5 bytes a column; columns are a multiple of 128. Null in
  /// sets that have them in planes of two bits.
  void (*_Nullable pack_trits)(const uint8_t *_Nonnull codes, size_t columns, uint8_t *_Nonnull out);
  /// The bytes of `values` whose codes have the second bit set, as a tile meets them; shaped as for `pack_tile`, whose
  /// planes may be rewritten.
  void (*_Nonnull pack_patches)(
    const uint8_t *_Nonnull codes, const uint8_t *_Nonnull values, size_t columns, uint8_t *_Nonnull planes,
    uint8_t *_Nonnull out);
  void (*_Nonnull decode_lookup)(const LatheLookupRow *_Nonnull row, float *_Nonnull out);
  float (*_Nonnull dot_lookup)(const LatheLookupRow *_Nonnull row, const float *_Nonnull x);
  /// The code whose entry is nearest to w · inverse, and the entry times the scale. `sorted` holds the entries in
  /// rising order, `order` their codes; `bounds[k]` is the largest value that still belongs to entry k.
  void (*_Nonnull round_lookup)(
    const float *_Nonnull w, const float *_Nonnull inverse, const float *_Nonnull scale, const float *_Nonnull bounds,
    const float *_Nonnull sorted, const uint8_t *_Nonnull order, uint8_t *_Nonnull codes, float *_Nonnull points,
    size_t n);
  /// Rounds `count` rows of `n` weights, `stride` floats apart, to blocks of a stored type; an error in column i counts
  /// for `importance[i]`. 0 where the type is not written, or does not fit the width.
  int (*_Nonnull encode_rows)(
    size_t kind, const float *_Nonnull rows, size_t stride, size_t count, size_t n, const float *_Nullable importance,
    uint8_t *_Nonnull out, size_t out_stride);
  /// The parameters of one block of each row, from a block's columns, one after another; 0 where the type is not written.
  int (*_Nonnull fit_blocks)(
    size_t kind, const float *_Nonnull columns, const float *_Nullable importance, const LatheBlocks *_Nonnull to);
  /// The codes of column number `place` of a block, and the points they stand for.
  void (*_Nonnull round_blocks)(
    size_t kind, const float *_Nonnull column, size_t place, int weighed, const LatheBlocks *_Nonnull from,
    uint8_t *_Nonnull codes, float *_Nonnull points);
  /// One block of each row, `out_stride` bytes apart, from codes, column after column.
  void (*_Nonnull pack_blocks)(
    size_t kind, const uint8_t *_Nonnull codes, const LatheBlocks *_Nonnull from, uint8_t *_Nonnull out,
    size_t out_stride);
  /// Reads `n` bytes, as fast as the widest loads go; returns a sum of them. `is_fetched` calls for lines as far ahead as codes are
  /// called for.
  uint64_t (*_Nonnull stream)(const uint8_t *_Nonnull bytes, size_t n, int is_fetched);
  /// Multiplies bytes that are at hand by codes of `bits` bits and adds them up, as fast as can be; returns the number of
  /// products.
  size_t (*_Nonnull integer_peak)(size_t rounds, uint32_t bits, int32_t *_Nonnull sink);
} LatheKernels;

/// out[r] = row r · x for `rows` stored rows of `n` elements that lie `stride` bytes apart.
void lathe_multiply_stored(
  const LatheKernels *_Nonnull kernels, size_t kind, const uint8_t *_Nonnull first, size_t stride, size_t rows,
  const float *_Nonnull x, float *_Nonnull out, size_t n);
/// out[r] = row r · x for `rows` integer rows.
void lathe_multiply_integer(
  const LatheKernels *_Nonnull kernels, const LatheIntegerRow *_Nonnull first, size_t rows, const float *_Nonnull x,
  float *_Nonnull out);
/// Decodes `rows` integer rows, one after another.
void lathe_decode_integer(
  const LatheKernels *_Nonnull kernels, const LatheIntegerRow *_Nonnull first, size_t rows, float *_Nonnull out);

/// Decodes `rows` rows of a table's entries, one after another.
void lathe_decode_lookup(
  const LatheKernels *_Nonnull kernels, const LatheLookupRow *_Nonnull first, size_t rows, float *_Nonnull out);
/// out[r] = row r · x for `rows` rows of a table's entries.
void lathe_multiply_lookup(
  const LatheKernels *_Nonnull kernels, const LatheLookupRow *_Nonnull first, size_t rows, const float *_Nonnull x,
  float *_Nonnull out);

/// Tells the processor that this thread waits for another one.
static inline void lathe_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

/// The plain C kernels: the truth every other set is tested against.
const LatheKernels *_Nonnull lathe_kernels_scalar(void);
/// The AVX2 kernels, or null where the machine lacks them.
const LatheKernels *_Nullable lathe_kernels_avx2(void);
/// The AVX-512 kernels (F, BW, DQ, VL, VBMI, VBMI2, VNNI), or null where the machine lacks them.
const LatheKernels *_Nullable lathe_kernels_avx512(void);
/// The NEON kernels (dotprod), or null where the machine lacks them.
const LatheKernels *_Nullable lathe_kernels_neon(void);
/// The NEON kernels with products of small matrices (dotprod, i8mm), or null where the machine lacks them.
const LatheKernels *_Nullable lathe_kernels_i8mm(void);

#endif
