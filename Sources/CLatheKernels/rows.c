#include "LatheKernels.h"

/* Runs of rows: one call from above for many rows, so that the way down costs nothing. */

static void step(LatheIntegerRow *row) {
  row->codes += row->code_stride;
  row->scales += row->scale_stride;
  if (row->zeros) row->zeros += row->zero_stride;
  if (row->half_zeros) row->half_zeros += row->scale_stride;
}

void lathe_multiply_stored(
    const LatheKernels *kernels, size_t kind, const uint8_t *first, size_t stride, size_t rows, const float *x,
    float *out, size_t n) {
  for (size_t r = 0; r < rows; r++) out[r] = kernels->dot_stored[kind](first + r * stride, x, n);
}

void lathe_multiply_integer(
    const LatheKernels *kernels, const LatheIntegerRow *first, size_t rows, const float *x, float *out) {
  LatheIntegerRow row = *first;
  for (size_t r = 0; r < rows; r++, step(&row)) out[r] = kernels->dot_integer(&row, x);
}

void lathe_decode_integer(const LatheKernels *kernels, const LatheIntegerRow *first, size_t rows, float *out) {
  LatheIntegerRow row = *first;
  for (size_t r = 0; r < rows; r++, step(&row)) kernels->decode_integer(&row, out + r * row.n);
}

static void step_lookup(LatheLookupRow *row) {
  row->codes += row->code_stride;
  if (row->scales) row->scales += row->group_stride;
  if (row->scale_codes) row->scale_codes += row->group_stride;
  row->first += row->group_stride;
}

void lathe_decode_lookup(const LatheKernels *kernels, const LatheLookupRow *first, size_t rows, float *out) {
  LatheLookupRow row = *first;
  for (size_t r = 0; r < rows; r++, step_lookup(&row)) kernels->decode_lookup(&row, out + r * row.n);
}

void lathe_multiply_lookup(
    const LatheKernels *kernels, const LatheLookupRow *first, size_t rows, const float *x, float *out) {
  LatheLookupRow row = *first;
  for (size_t r = 0; r < rows; r++, step_lookup(&row)) out[r] = kernels->dot_lookup(&row, x);
}
