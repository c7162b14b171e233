#ifndef LATHE_OPENBLAS_SHIM_H
#define LATHE_OPENBLAS_SHIM_H
#include <cblas.h>

/* The three LAPACKE routines in use, declared here: <lapacke.h> drags in C99 complex types. */
int LAPACKE_dpotrf(int matrix_layout, char uplo, int n, double *a, int lda);
int LAPACKE_dpotri(int matrix_layout, char uplo, int n, double *a, int lda);
int LAPACKE_dtrtri(int matrix_layout, char uplo, char diag, int n, double *a, int lda);

/* What OpenBLAS does itself at exit; missing from builds without threads. */
int blas_thread_shutdown_(void) __attribute__((weak));

/* Ends the threads that OpenBLAS starts when it is loaded: they ask for work for a tenth of a second before they sleep.
 * They come back when more than one is asked for. */
static inline void lathe_end_blas_threads(void) {
  if (blas_thread_shutdown_) blas_thread_shutdown_();
}
#endif
