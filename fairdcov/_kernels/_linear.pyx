# Products of a matrix of features with a vector, blocks of rows in threads: most of what a linear model costs.
#
# The BLAS has them too, but its threads go on waiting for the next product for a while after each, and take the cores
# from those of the sweeps in between. Sums run over parts of the rows that do not depend on the threads.

from cython.parallel cimport prange
from libc.stddef cimport ptrdiff_t

cdef enum:
    BLOCK = 2048        # rows of all columns that are read at a time, where features lie column by column
    MOST_PARTS = 16     # of the rows

PARTS = MOST_PARTS

cdef extern from "_loops.h" nogil:
    void fairdcov_add_products(const double *rows, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t size,
                               const double *vector, double *out)
    void fairdcov_add_columns(const double *columns, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t size,
                              const double *vector, double *out)
    void fairdcov_add_rows(const double *rows, ptrdiff_t n, ptrdiff_t size, const double *factors, double *out)


cdef void _times_part(
    const double *features, ptrdiff_t n, ptrdiff_t size, bint by_rows, const double *vector, double constant,
    ptrdiff_t first, ptrdiff_t end, double *out,
) noexcept nogil:
    cdef ptrdiff_t i, start, stop
    for i in range(first, end):
        out[i] = constant
    if by_rows:
        fairdcov_add_products(features + first * size, size, end - first, size, vector, out + first)
        return
    start = first
    while start < end:
        stop = min(start + BLOCK, end)
        fairdcov_add_columns(features + start, n, stop - start, size, vector, out + start)
        start = stop


cdef void _sums_of_part(
    const double *features, ptrdiff_t n, ptrdiff_t size, bint by_rows, const double *factors, ptrdiff_t first,
    ptrdiff_t end, double *sums,
) noexcept nogil:
    cdef ptrdiff_t k, start, stop
    for k in range(size):
        sums[k] = 0.0
    if by_rows:
        fairdcov_add_rows(features + first * size, end - first, size, factors + first, sums)
        return
    start = first
    while start < end:
        stop = min(start + BLOCK, end)
        fairdcov_add_products(features + start, n, size, stop - start, factors + start, sums)
        start = stop


def times(
    const double[:, :] features,        # IN (n, p), contiguous by rows or by columns
    const double[::1] vector,           # IN (p,)
    double constant,
    int n_threads,
    double[::1] out,                    # OUT (n,) features vector + constant
):
    cdef:
        ptrdiff_t n = features.shape[0], size = features.shape[1]
        ptrdiff_t part
        bint by_rows = size <= 1 or features.strides[1] == sizeof(double)
    if n == 0 or size == 0:
        out[:] = constant
        return
    for part in prange(MOST_PARTS, nogil=True, num_threads=n_threads, schedule="static", chunksize=1):
        _times_part(&features[0, 0], n, size, by_rows, &vector[0], constant, part * n // MOST_PARTS,
                    (part + 1) * n // MOST_PARTS, &out[0])


def sums(
    const double[:, :] features,        # IN (n, p), contiguous by rows or by columns
    const double[::1] factors,          # IN (n,)
    int n_threads,
    double[:, ::1] partial,             # SCRATCH (PARTS, p)
    double[::1] out,                    # OUT (p,) features' factors
):
    cdef:
        ptrdiff_t n = features.shape[0], size = features.shape[1]
        ptrdiff_t part, k
        bint by_rows = size <= 1 or features.strides[1] == sizeof(double)
    out[:] = 0.0
    if n == 0 or size == 0:
        return
    for part in prange(MOST_PARTS, nogil=True, num_threads=n_threads, schedule="static", chunksize=1):
        _sums_of_part(&features[0, 0], n, size, by_rows, &factors[0], part * n // MOST_PARTS,
                      (part + 1) * n // MOST_PARTS, &partial[part, 0])
    for part in range(MOST_PARTS):
        for k in range(size):
            out[k] += partial[part, k]
