# Profiles: rows with equal protected attributes share a row of M, which is then K x K.
#
# One sweep over the sorted predictions keeps, for every profile, the weight below the current value minus the weight
# above it: the balance. The signed sum of a row is the product of the balance and its row of M. With few profiles it is
# quicker to keep all these products up to date: a row that is passed then adds its row of M to them.
# With unit weights the balance consists of whole numbers, exact; the products are computed from it afresh now and then,
# so that their rounding errors do not build up along the sweep.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t

cdef enum:
    FEW_COLUMNS = 256   # beyond, writing all products takes longer than the wait for a balance that has just changed
    AFRESH = 4096       # rows after which the products are computed afresh
    BLOCK = 256         # rows that are fetched from all over the memory in one go

cdef extern from "_loops.h" nogil:
    double fairdcov_padded_dot(const double *a, const double *b, ptrdiff_t size)
    void fairdcov_add_scaled(double *target, const double *values, double scale, ptrdiff_t size)

ctypedef struct Row:
    double u
    double weight
    int64_t index       # in the caller's arrays
    int64_t code

ctypedef struct Sweep:
    const double *matrix
    ptrdiff_t width
    double *balance
    double *products


cdef inline double _signed_sum(const Sweep *state, ptrdiff_t code) noexcept nogil:
    if state.width <= FEW_COLUMNS:
        return state.products[code]
    return fairdcov_padded_dot(state.matrix + code * state.width, state.balance, state.width)


cdef inline void _pass(Sweep *state, ptrdiff_t code, double weight) noexcept nogil:
    state.balance[code] += weight
    if state.width <= FEW_COLUMNS:
        fairdcov_add_scaled(state.products, state.matrix + code * state.width, weight, state.width)


def sweep(
    const double[::1] u,                # IN (n,)
    const int64_t[::1] order,           # IN (n,) ascending order of u
    const int32_t[::1] codes,           # IN (n,) profile of each row
    const double[::1] weights,          # IN (n,), or (0,) for unit weights
    const double[:, ::1] matrix,        # IN (K, padded K), symmetric, columns beyond K are zero
    double[::1] balance,                # SCRATCH (padded K,)
    double[::1] products,               # SCRATCH (padded K,)
    double[::1] out,                    # OUT (n,) weights[i] * sum_j weights[j] sign(u_i - u_j) matrix[k(i), k(j)]
    double[::1] signed_weights,         # OUT (n,) sum_j weights[j] sign(u_i - u_j), or (0,) where not wanted
):
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t n_profiles = matrix.shape[0]
        ptrdiff_t start, stop, first, last, i, k, row, due = 0
        bint weighted = weights.shape[0] > 0
        bint wanted = signed_weights.shape[0] > 0
        double weight = 1.0, below_minus_above = 0.0
        Row block[BLOCK]
        Row *own
        Sweep state

    if n == 0:
        return
    state.matrix, state.width, state.balance, state.products = &matrix[0, 0], matrix.shape[1], &balance[0], &products[0]
    with nogil:
        balance[:] = 0.0
        for i in range(n):
            weight = weights[i] if weighted else 1.0
            balance[codes[i]] -= weight
            below_minus_above -= weight
        first = 0
        while first < n:
            start, stop = first, min(first + BLOCK, n)
            for i in range(start, stop):
                own = block + (i - start)
                own.index = order[i]
                own.u = u[own.index]
                own.code = codes[own.index]
                own.weight = weights[own.index] if weighted else 1.0
            if start >= due and state.width <= FEW_COLUMNS:
                products[:] = 0.0
                for k in range(n_profiles):
                    fairdcov_add_scaled(&products[0], &matrix[k, 0], balance[k], state.width)
                due = start + AFRESH
            while first < stop:
                own = block + (first - start)
                last = first + 1
                while last < n and (block[last - start].u if last < stop else u[order[last]]) == own.u:
                    last += 1
                if last == first + 1:
                    out[own.index] = own.weight * (
                        _signed_sum(&state, own.code) + own.weight * matrix[own.code, own.code]
                    )
                    if wanted:
                        signed_weights[own.index] = below_minus_above + own.weight
                    below_minus_above += 2.0 * own.weight
                    _pass(&state, own.code, 2.0 * own.weight)
                else:
                    # Of tied rows each counts half for the others, neither below nor above: sign(0) = 0.
                    for i in range(first, last):
                        row = order[i]
                        weight = weights[row] if weighted else 1.0
                        below_minus_above += weight
                        _pass(&state, codes[row], weight)
                    for i in range(first, last):
                        row = order[i]
                        weight = weights[row] if weighted else 1.0
                        if wanted:
                            signed_weights[row] = below_minus_above
                        out[row] = weight * _signed_sum(&state, codes[row])
                    for i in range(first, last):
                        row = order[i]
                        weight = weights[row] if weighted else 1.0
                        below_minus_above += weight
                        _pass(&state, codes[row], weight)
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
