#ifndef LATHE_OPENBLAS_SHIM_H
#define LATHE_OPENBLAS_SHIM_H
#include <cblas.h>

/* The three LAPACKE routines in use, declared here: <lapacke.h> drags in C99 complex types. */
int LAPACKE_dpotrf(int matrix_layout, char uplo, int n, double *a, int lda);
int LAPACKE_dpotri(int matrix_layout, char uplo, int n, double *a, int lda);
int LAPACKE_dtrtri(int matrix_layout, char uplo, char diag, int n, double *a, int lda);
#endif
