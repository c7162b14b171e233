#ifndef LATHE_KERNELS_H
#define LATHE_KERNELS_H
#include <stddef.h>
#include <stdint.h>
typedef struct { const char *_Nonnull name; } LatheKernels;
const LatheKernels *_Nonnull lathe_kernels_scalar(void);
#endif
