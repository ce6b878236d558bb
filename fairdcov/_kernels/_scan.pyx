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
    double half,                    # weight on either side that makes the window of a row, cut off at the ends
    double least,                   # a window counts as no narrower than that
    double[::1] values,             # SCRATCH (n,) distinct predictions, ascending
    double[::1] upto,               # SCRATCH (n,) weight of the rows up to those of each value, all of them
    double[::1] middle,             # SCRATCH (n,) the same with half of the rows of that value
    int64_t[::1] ends,              # SCRATCH (n,) rows up to those of each value
    double[::1] out,                # OUT (n,) weight within the window / width of the window
):
    """Rows of one value have one window, which reaches the next values on both sides at least."""
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t n_values = 0, i = 0, k, lowest = 0, highest = 0, first, last
        double below = 0.0, tied, value, density

    with nogil:
        while i < n:
            value, tied = u[order[i]], weights[order[i]]
            i += 1  # before the comparison, which NaN fails
            while i < n and u[order[i]] == value:
                tied += weights[order[i]]
                i += 1
            values[n_values] = value
            middle[n_values] = below + 0.5 * tied
            below += tied
            upto[n_values] = below
            ends[n_values] = i
            n_values += 1
        i = 0
        for k in range(n_values):
            while lowest < n_values - 1 and upto[lowest] <= middle[k] - half:
                lowest += 1
            while highest < n_values - 1 and upto[highest] <= middle[k] + half:
                highest += 1
            first, last = max(min(lowest, k - 1), 0), min(max(highest, k + 1), n_values - 1)
            density = (middle[last] - middle[first]) / max(values[last] - values[first], least)
            while i < ends[k]:
                out[order[i]] = density
                i += 1
