# Sweeps over the sorted predictions for row-wise vectors: signed sums of columns, and the same for a matrix that is
# given by features, W = Phi Phi'.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t

cdef extern from "_loops.h" nogil:
    double fairdcov_padded_dot(const double *a, const double *b, ptrdiff_t size)
    void fairdcov_add_scaled(double *target, const double *values, double scale, ptrdiff_t size)
    void FAIRDCOV_PREFETCH(const void *address)
    const ptrdiff_t FAIRDCOV_AHEAD


def signed_sums(
    const double[::1] u,                # IN (n,)
    const int64_t[::1] order,           # IN (n,) ascending order of u
    const double[:, ::1] values,        # IN (n, r)
    double[::1] running,                # SCRATCH (r,)
    double[:, ::1] out,                 # OUT (n, r) sum_j sign(u_i - u_j) values[j]
):
    cdef:
        ptrdiff_t n = values.shape[0]
        ptrdiff_t width = values.shape[1]
        ptrdiff_t first, last, position, row, column, ahead
        double value, following

    if n == 0 or width == 0:
        return
    with nogil:
        running[:] = 0.0
        for row in range(n):
            for column in range(width):
                running[column] -= values[row, column]
        first = 0
        following = u[order[0]]
        while first < n:
            value = following
            last = first
            while True:
                if last + FAIRDCOV_AHEAD < n:
                    ahead = order[last + FAIRDCOV_AHEAD]
                    FAIRDCOV_PREFETCH(&u[ahead])
                    FAIRDCOV_PREFETCH(&values[ahead, 0])
                    FAIRDCOV_PREFETCH(&out[ahead, 0])
                row = order[last]
                for column in range(width):
                    running[column] += values[row, column]
                last += 1
                if last == n:
                    break
                following = u[order[last]]
                if following != value:
                    break
            for position in range(first, last):
                row = order[position]
                for column in range(width):
                    out[row, column] = running[column]
            for position in range(first, last):
                row = order[position]
                for column in range(width):
                    running[column] += values[row, column]
            first = last


def sweep(
    const double[::1] u,                # IN (n,)
    const int64_t[::1] order,           # IN (n,) ascending order of u
    const int32_t[::1] codes,           # IN (n,) row of the features that belongs to each row of u
    const double[::1] weights,          # IN (n,)
    const double[:, ::1] features,      # IN (K, padded r), columns beyond r are zero
    double[::1] running,                # SCRATCH (padded r,)
    double[::1] out,                    # OUT (n,) phi_i . sum_j weights[j] sign(u_i - u_j) phi_j
                                        # with phi_i = features[codes[i]]
):
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t width = features.shape[1]
        ptrdiff_t first, last, position, row, ahead
        double value, following

    if n == 0 or width == 0:
        return
    with nogil:
        running[:] = 0.0
        for row in range(n):
            fairdcov_add_scaled(&running[0], &features[codes[row], 0], -weights[row], width)
        first = 0
        following = u[order[0]]
        while first < n:
            value = following
            last = first
            while True:
                if last + FAIRDCOV_AHEAD < n:
                    ahead = order[last + FAIRDCOV_AHEAD]
                    FAIRDCOV_PREFETCH(&u[ahead])
                    FAIRDCOV_PREFETCH(&codes[ahead])
                    FAIRDCOV_PREFETCH(&weights[ahead])
                    FAIRDCOV_PREFETCH(&out[ahead])
                row = order[last]
                fairdcov_add_scaled(&running[0], &features[codes[row], 0], weights[row], width)
                last += 1
                if last == n:
                    break
                following = u[order[last]]
                if following != value:
                    break
            for position in range(first, last):
                row = order[position]
                out[row] = fairdcov_padded_dot(&features[codes[row], 0], &running[0], width)
            for position in range(first, last):
                row = order[position]
                fairdcov_add_scaled(&running[0], &features[codes[row], 0], weights[row], width)
            first = last
