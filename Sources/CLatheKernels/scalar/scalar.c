#include "LatheKernels.h"
#define LATHE_SET_NAME "scalar"
#include "../families/all.h"

const LatheKernels *lathe_kernels_scalar(void) { return &table; }

const LatheStoredType *lathe_stored_type(size_t index) {
#define X(symbol, name, elements, bytes) {name, elements, bytes},
  static const LatheStoredType types[] = {LATHE_STORED_TYPES(X)};
#undef X
  return index < LATHE_STORED_COUNT ? &types[index] : 0;
}
