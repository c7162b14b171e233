#include "LatheKernels.h"
#if defined(__aarch64__)
/* NEON is part of the base instruction set: the compiler's vectors of the families serve. */
#define LATHE_SET_NAME "neon"
#include "../families/all.h"

const LatheKernels *lathe_kernels_neon(void) { return &table; }
#else
const LatheKernels *lathe_kernels_neon(void) { return 0; }
#endif
