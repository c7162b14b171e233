#include "LatheKernels.h"
const LatheKernels *lathe_kernels_scalar(void) { static const LatheKernels k = {"scalar"}; return &k; }
