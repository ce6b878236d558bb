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


cdef inline double _signed_sum(const Sweep *state, const Row *row) noexcept nogil:
    if state.width <= FEW_COLUMNS:
        return state.products[row.code]
    return fairdcov_padded_dot(state.matrix + row.code * state.width, state.balance, state.width)


cdef inline void _pass(Sweep *state, const Row *row, double times) noexcept nogil:
    state.balance[row.code] += times * row.weight
    if state.width <= FEW_COLUMNS:
        fairdcov_add_scaled(
            state.products, state.matrix + row.code * state.width, times * row.weight, state.width
        )


def sweep(
    const double[::1] u,                # IN (n,)
    const int64_t[::1] order,           # IN (n,) ascending order of u
    const int32_t[::1] codes,           # IN (n,) profile of each row
    const double[::1] weights,          # IN (n,), or (0,) for unit weights
    const double[:, ::1] matrix,        # IN (K, padded K), symmetric, columns beyond K are zero
    ptrdiff_t afresh,                   # rows after which the products are computed afresh
    double[:, ::1] ordered,             # SCRATCH (n, 4)
    double[::1] balance,                # SCRATCH (padded K,)
    double[::1] products,               # SCRATCH (padded K,)
    double[::1] out,                    # OUT (n,) weights[i] * sum_j weights[j] sign(u_i - u_j) matrix[k(i), k(j)]
):
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t n_profiles = matrix.shape[0]
        ptrdiff_t first, last, i, k, due = 0
        bint weighted = weights.shape[0] > 0
        Row *rows
        Row *row
        Sweep state

    if n == 0:
        return
    rows = <Row *> &ordered[0, 0]
    state.matrix, state.width, state.balance, state.products = &matrix[0, 0], matrix.shape[1], &balance[0], &products[0]
    with nogil:
        balance[:] = 0.0
        for i in range(n):
            row = rows + i
            row.index = order[i]
            row.u = u[row.index]
            row.code = codes[row.index]
            row.weight = weights[row.index] if weighted else 1.0
            balance[row.code] -= row.weight
        first = 0
        while first < n:
            if first >= due and state.width <= FEW_COLUMNS:
                products[:] = 0.0
                for k in range(n_profiles):
                    fairdcov_add_scaled(&products[0], &matrix[k, 0], balance[k], state.width)
                due = first + afresh
            row = rows + first
            last = first + 1
            while last < n and rows[last].u == row.u:
                last += 1
            # Of tied rows each counts half for the others, neither below nor above: sign(0) = 0.
            if last == first + 1:
                out[row.index] = row.weight * (
                    _signed_sum(&state, row) + row.weight * matrix[row.code, row.code]
                )
                _pass(&state, row, 2.0)
            else:
                for i in range(first, last):
                    _pass(&state, rows + i, 1.0)
                for i in range(first, last):
                    out[rows[i].index] = rows[i].weight * _signed_sum(&state, rows + i)
                for i in range(first, last):
                    _pass(&state, rows + i, 1.0)
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
