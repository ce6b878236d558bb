# Streaming tiles: any number of blocks of any dimension, O(n^2) time, O(n) memory.
#
#     W_ij = prod_b (half_b[i] + half_b[j] - scale_b |x_b,i - x_b,j|),        i != j
#
# with half = 0 and scale = 1 for one block this is minus the distance; with half = centring + c / 2 it is the product
# of JdCov. Every pair is visited once and added to both of its rows. The rows are dealt to a fixed number of stripes,
# each with its own accumulators that are added up in a fixed order: the same bits for any number of threads.

from cython.parallel cimport prange
from libc.stddef cimport ptrdiff_t

cdef extern from "_loops.h" nogil:
    void fairdcov_block_factor(const double *points, ptrdiff_t n, ptrdiff_t dims, const double *half, double scale,
                               ptrdiff_t i, ptrdiff_t start, ptrdiff_t width, double *distance, double *product)
    double fairdcov_add_pairs(const double *q, double q_i, const double *product, ptrdiff_t width, double *sums)

cdef enum:
    ROWS = 32           # rows of a tile
    COLUMNS = 128       # columns of a tile: 12 dimensions of it stay in a first-level cache

STRIPES = 16
TILE_COLUMNS = COLUMNS


cdef void _stripe(
    ptrdiff_t stripe, ptrdiff_t n_stripes, ptrdiff_t n,
    const double *points, const ptrdiff_t *dims, ptrdiff_t n_blocks,
    const double *half, const double *scale,
    const ptrdiff_t *partners, double own_sign, const double *q, double *scratch, double *accumulator,
) noexcept nogil:
    cdef:
        double *distance = scratch
        double *product = scratch + COLUMNS
        ptrdiff_t row_start, column_start, i, j, b, start, stop, last_row, offset
    row_start = stripe * ROWS
    while row_start < n:
        last_row = min(row_start + ROWS, n)
        column_start = row_start
        while column_start < n:
            stop = min(column_start + COLUMNS, n)
            for i in range(row_start, last_row):
                start = max(column_start, partners[i])
                if start >= stop:
                    continue
                for j in range(stop - start):
                    product[j] = 1.0
                offset = 0
                for b in range(n_blocks):
                    fairdcov_block_factor(points + offset * n, n, dims[b], half + b * n, scale[b], i, start,
                                          stop - start, distance, product)
                    offset += dims[b]
                accumulator[i] += own_sign * fairdcov_add_pairs(q + start, q[i], product, stop - start,
                                                                accumulator + start)
            column_start = stop
        row_start += n_stripes * ROWS


def pair_sums(
    const double[:, ::1] points,        # IN (sum of dimensions, n), the blocks one below the other
    const ptrdiff_t[::1] dims,          # IN (blocks,) dimensions of each block
    const double[:, ::1] half,          # IN (blocks, n)
    const double[::1] scale,            # IN (blocks,)
    const ptrdiff_t[::1] partners,      # IN (n,) row i is paired with rows partners[i] .. n - 1; partners[i] > i
    double own_sign,                    # IN 1: both rows of a pair gain q W; -1: the earlier row loses it
    const double[::1] weights,          # IN (n,)
    int n_threads,
    double[:, ::1] scratch,             # SCRATCH (stripes, 2 * TILE_COLUMNS)
    double[:, ::1] accumulators,        # OUT (stripes, n), all zero at entry; to be summed over the stripes
):
    cdef:
        ptrdiff_t n = points.shape[1]
        ptrdiff_t n_stripes = accumulators.shape[0]
        ptrdiff_t n_blocks = dims.shape[0]
        ptrdiff_t stripe

    if n < 2 or n_blocks == 0:
        return
    for stripe in prange(n_stripes, nogil=True, num_threads=n_threads, schedule="dynamic", chunksize=1):
        _stripe(stripe, n_stripes, n, &points[0, 0], &dims[0], n_blocks, &half[0, 0], &scale[0],
                &partners[0], own_sign, &weights[0], &scratch[stripe, 0], &accumulators[stripe, 0])
