# Profiles: rows with equal protected attributes share a row of M, which is then K x K.
#
# One sweep over the sorted predictions keeps, for every profile h, the weight below minus the weight above the
# current value. With unit weights these are integers, so nothing accumulates rounding errors along the sweep.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t

cdef extern from "_loops.h" nogil:
    double fairdcov_padded_dot(const double *a, const double *b, ptrdiff_t size)
    void FAIRDCOV_PREFETCH(const void *address)
    const ptrdiff_t FAIRDCOV_AHEAD


def sweep(
    const double[::1] u,                # IN (n,)
    const int64_t[::1] order,           # IN (n,) ascending order of u
    const int32_t[::1] codes,           # IN (n,) profile of each row
    const double[::1] weights,          # IN (n,), or (0,) for unit weights
    const double[:, ::1] matrix,        # IN (K, padded K), columns beyond K are zero
    double[::1] below_minus_above,      # SCRATCH (padded K,)
    double[::1] out,                    # OUT (n,) weights[i] * sum_j weights[j] sign(u_i - u_j) matrix[k(i), k(j)]
):
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t width = matrix.shape[1]
        ptrdiff_t first, last, position, row, ahead
        bint weighted = weights.shape[0] > 0
        double *balance = &below_minus_above[0]
        double value, following, weight = 1.0

    if n == 0:
        return
    with nogil:
        below_minus_above[:] = 0.0
        for row in range(n):
            balance[codes[row]] -= weights[row] if weighted else 1.0
        first = 0
        following = u[order[0]]
        while first < n:
            # Rows first .. last - 1 are tied: among them sign(0) = 0, so they count half-way, neither below nor above.
            value = following
            last = first
            while True:
                if last + FAIRDCOV_AHEAD < n:
                    ahead = order[last + FAIRDCOV_AHEAD]
                    FAIRDCOV_PREFETCH(&u[ahead])
                    FAIRDCOV_PREFETCH(&codes[ahead])
                    FAIRDCOV_PREFETCH(&out[ahead])
                    if weighted:
                        FAIRDCOV_PREFETCH(&weights[ahead])
                row = order[last]
                balance[codes[row]] += weights[row] if weighted else 1.0
                last += 1
                if last == n:
                    break
                following = u[order[last]]
                if following != value:
                    break
            for position in range(first, last):
                row = order[position]
                if weighted:
                    weight = weights[row]
                out[row] = weight * fairdcov_padded_dot(&matrix[codes[row], 0], balance, width)
            for position in range(first, last):
                row = order[position]
                balance[codes[row]] += weights[row] if weighted else 1.0
            first = last


def values(
    const double[::1] u,                # IN (n,) ascending
    const int32_t[:, ::1] codes,        # IN (B, n) profile of each row, in B assignments of profiles to rows
    const double[:, ::1] matrix,        # IN (K, padded K), symmetric, columns beyond K are zero
    double[:, ::1] below_minus_above,   # SCRATCH (G, padded K): so many assignments go through one sweep together
    double[::1] out,                    # OUT (B,) sum_{i != j} |u_i - u_j| matrix[k(i), k(j)]
):
    # Value alone, of many assignments: 2 sum_i u_i sum_j sign(i - j) matrix[k(i), k(j)]. Ties need no care, since the
    # terms of two tied rows cancel. A row's count changes just before it is read again, which stalls the processor;
    # the other assignments of the group fill the time.
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t n_assignments = codes.shape[0]
        ptrdiff_t width = matrix.shape[1]
        ptrdiff_t group = below_minus_above.shape[0]
        ptrdiff_t first, last, b, row
        int32_t code
        double *balance

    with nogil:
        first = 0
        while first < n_assignments:
            last = min(first + group, n_assignments)
            below_minus_above[:, :] = 0.0
            for b in range(first, last):
                out[b] = 0.0
                balance = &below_minus_above[b - first, 0]
                for row in range(n):
                    balance[codes[b, row]] -= 1.0
            for row in range(n):
                for b in range(first, last):
                    code = codes[b, row]
                    balance = &below_minus_above[b - first, 0]
                    # The row itself is still above: of 2 (below) + itself - (all), itself is put in by hand.
                    out[b] += u[row] * (fairdcov_padded_dot(&matrix[code, 0], balance, width) + matrix[code, code])
                    balance[code] += 2.0
            for b in range(first, last):
                out[b] *= 2.0
            first = last
