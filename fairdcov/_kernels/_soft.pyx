# Soft profiles: a row belongs to several profiles, each with a share, so that W_ij = p_i' D p_j for two rows.
#
# With few profiles D p_i is bound once, beside p_i in one line of memory: a row costs two vectors of the length K. With
# many of them, of which a row has few, the rows stay sparse and a row costs as many rows of D as it has shares.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t

cdef extern from "_loops.h" nogil:
    double fairdcov_padded_dot(const double *a, const double *b, ptrdiff_t size)
    void fairdcov_add_scaled(double *target, const double *values, double scale, ptrdiff_t size)
    void FAIRDCOV_PREFETCH(const void *address)
    const ptrdiff_t FAIRDCOV_AHEAD

cdef enum:
    LINE = 8            # numbers in a cache line
    LINES_AHEAD = 48    # cache lines that are asked for ahead of their use


def dense_sweep(
    const double[::1] u,                # IN (n,)
    const int64_t[::1] order,           # IN (n,) ascending order of u
    const double[:, ::1] pairs,         # IN (n, 2 r) of each row what others see of it, then what it sees of others;
                                        # r is a multiple of the vector length
    const double[::1] total,            # IN (r,) sum of the first halves
    ptrdiff_t column,                   # IN the column whose signed sum is wanted as well
    double[::1] running,                # SCRATCH (r,)
    double[::1] out,                    # OUT (n,) second half of i . sum_j sign(u_i - u_j) first half of j
    double[::1] signed_column,          # OUT (n,) sum_j sign(u_i - u_j) pairs[j, column]
):
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t width = total.shape[0]
        ptrdiff_t first, last, position, row, ahead, ahead_by, line
        double value, following

    if n == 0 or width == 0:
        return
    with nogil:
        ahead_by = LINES_AHEAD * LINE // (2 * width) + 1
        for line in range(width):
            running[line] = -total[line]
        first = 0
        following = u[order[0]]
        while first < n:
            value = following
            last = first
            while True:
                if last + FAIRDCOV_AHEAD < n:
                    ahead = order[last + FAIRDCOV_AHEAD]
                    FAIRDCOV_PREFETCH(&u[ahead])
                    FAIRDCOV_PREFETCH(&out[ahead])
                    FAIRDCOV_PREFETCH(&signed_column[ahead])
                if last + ahead_by < n:
                    ahead = order[last + ahead_by]
                    line = 0
                    while line < 2 * width:
                        FAIRDCOV_PREFETCH(&pairs[ahead, line])
                        line += LINE
                row = order[last]
                fairdcov_add_scaled(&running[0], &pairs[row, 0], 1.0, width)
                last += 1
                if last == n:
                    break
                following = u[order[last]]
                if following != value:
                    break
            # Of tied rows each counts half for the others, neither below nor above: sign(0) = 0.
            for position in range(first, last):
                row = order[position]
                out[row] = fairdcov_padded_dot(&pairs[row, width], &running[0], width)
                signed_column[row] = running[column]
            for position in range(first, last):
                fairdcov_add_scaled(&running[0], &pairs[order[position], 0], 1.0, width)
            first = last


def sparse_sweep(
    const double[::1] u,                # IN (n,)
    const int64_t[::1] order,           # IN (n,) ascending order of u
    const int64_t[::1] starts,          # IN (n + 1,) where the entries of each row begin
    const int32_t[::1] codes,           # IN (entries,) profile of each entry
    const double[::1] shares,           # IN (entries,)
    const double[::1] weights,          # IN (n,)
    const double[:, ::1] matrix,        # IN (K, padded K), symmetric, columns beyond K are zero
    double[::1] balance,                # SCRATCH (padded K,)
    double[::1] out,                    # OUT (n,) sum_j weights[j] sign(u_i - u_j) p_i' matrix p_j
):
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t width = matrix.shape[1]
        ptrdiff_t first, last, position, row, entry
        double value, found

    if n == 0 or width == 0:
        return
    with nogil:
        balance[:] = 0.0
        for row in range(n):
            for entry in range(starts[row], starts[row + 1]):
                balance[codes[entry]] -= weights[row] * shares[entry]
        first = 0
        while first < n:
            value = u[order[first]]
            last = first
            while True:
                row = order[last]
                for entry in range(starts[row], starts[row + 1]):
                    balance[codes[entry]] += weights[row] * shares[entry]
                last += 1
                if last == n or u[order[last]] != value:
                    break
            for position in range(first, last):
                row = order[position]
                found = 0.0
                for entry in range(starts[row], starts[row + 1]):
                    found += shares[entry] * fairdcov_padded_dot(&matrix[codes[entry], 0], &balance[0], width)
                out[row] = found
            for position in range(first, last):
                row = order[position]
                for entry in range(starts[row], starts[row + 1]):
                    balance[codes[entry]] += weights[row] * shares[entry]
            first = last
