# Sweeps over the sorted predictions with the row weights alone: what the Gini mean difference and a density need.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t


def signed_weights(
    const double[::1] u,            # IN (n,)
    const int64_t[::1] order,       # IN (n,) ascending order of u
    const double[::1] weights,      # IN (n,)
    double[::1] out,                # OUT (n,) sum_j weights[j] sign(u_i - u_j)
):
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t first, last, i
        double total = 0.0, below = 0.0, tied, value

    with nogil:
        for i in range(n):
            total += weights[i]
        first = 0
        while first < n:
            value, tied = u[order[first]], weights[order[first]]
            last = first + 1
            while last < n and u[order[last]] == value:
                tied += weights[order[last]]
                last += 1
            for i in range(first, last):
                out[order[i]] = (2.0 * below + tied) - total
            below += tied
            first = last


def window_density(
    const double[::1] u,            # IN (n,)
    const int64_t[::1] order,       # IN (n,) ascending order of u
    const double[::1] weights,      # IN (n,)
    ptrdiff_t half,                 # rows on either side that make the window of a row, cut off at the ends
    double least,                   # a window counts as no narrower than that
    double[::1] cumulative,         # SCRATCH (n,)
    double[::1] out,                # OUT (n,) weight within the window / width of the window
):
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t i, first, last
        double below = 0.0, width

    with nogil:
        for i in range(n):
            below += weights[order[i]]
            cumulative[i] = below
        for i in range(n):
            first, last = max(i - half, 0), min(i + half, n - 1)
            width = max(u[order[last]] - u[order[first]], least)
            out[order[i]] = (cumulative[last] - cumulative[first]) / width
