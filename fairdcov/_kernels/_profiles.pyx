# Profiles: rows with equal protected attributes share a row of M, which is then K x K.
#
# One sweep over the sorted predictions keeps, for every profile, the weight below the current value minus the weight
# above it: the balance. The signed sum of a row is the product of the balance and its row of M. With few profiles it is
# quicker to keep all these products up to date: a row that is passed then adds its row of M to them.
# With unit weights the balance consists of whole numbers, exact; the products are computed from it afresh now and then,
# so that their rounding errors do not build up along the sweep. Parts of the sorted rows have sweeps of their own.

from cython.parallel cimport prange
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t

cdef enum:
    FEW_COLUMNS = 256   # beyond, writing all products takes longer than the wait for a balance that has just changed
    AFRESH = 4096       # rows after which the products are computed afresh
    BLOCK = 256         # rows that are fetched from all over the memory in one go
    MOST_PARTS = 16     # of the sorted rows

PARTS = MOST_PARTS

cdef extern from "_loops.h" nogil:
    double fairdcov_padded_dot(const double *a, const double *b, ptrdiff_t size)
    void fairdcov_add_scaled(double *target, const double *values, double scale, ptrdiff_t size)

ctypedef struct Row:
    double u
    double weight
    int64_t index       # in the caller's arrays
    int64_t code

ctypedef struct Rows:
    const double *u
    const int64_t *order
    const int32_t *codes
    const double *weights       # NULL for unit weights
    ptrdiff_t n

ctypedef struct Sweep:
    const double *matrix
    ptrdiff_t n_profiles
    ptrdiff_t width
    double *balance
    double *products
    double below_minus_above


cdef inline double _signed_sum(const Sweep *state, ptrdiff_t code) noexcept nogil:
    if state.width <= FEW_COLUMNS:
        return state.products[code]
    return fairdcov_padded_dot(state.matrix + code * state.width, state.balance, state.width)


cdef inline void _pass(Sweep *state, ptrdiff_t code, double weight) noexcept nogil:
    state.balance[code] += weight
    if state.width <= FEW_COLUMNS:
        fairdcov_add_scaled(state.products, state.matrix + code * state.width, weight, state.width)


cdef inline double _weight(const Rows *rows, ptrdiff_t row) noexcept nogil:
    return 1.0 if rows.weights == NULL else rows.weights[row]


cdef void _sweep_part(
    const Rows *rows, ptrdiff_t first, ptrdiff_t end, Sweep *state, double *out, double *signed_weights,
) noexcept nogil:
    # Rows from `first` to `end` in ascending order, of which no others have the same value.
    cdef:
        ptrdiff_t start, stop, last, i, k, row, due = first
        double weight, centre
        Row block[BLOCK]
        Row *own

    while first < end:
        start, stop = first, min(first + BLOCK, end)
        for i in range(start, stop):
            own = block + (i - start)
            own.index = rows.order[i]
            own.u = rows.u[own.index]
            own.code = rows.codes[own.index]
            own.weight = _weight(rows, own.index)
        if start >= due and state.width <= FEW_COLUMNS:
            for k in range(state.width):
                state.products[k] = 0.0
            for k in range(state.n_profiles):
                fairdcov_add_scaled(state.products, state.matrix + k * state.width, state.balance[k], state.width)
            due = start + AFRESH
        while first < stop:
            own = block + (first - start)
            last = first + 1
            while last < end and (block[last - start].u if last < stop else rows.u[rows.order[last]]) == own.u:
                last += 1
            if last == first + 1:
                centre = state.matrix[own.code * state.width + own.code]
                out[own.index] = own.weight * (_signed_sum(state, own.code) + own.weight * centre)
                if signed_weights != NULL:
                    signed_weights[own.index] = state.below_minus_above + own.weight
                state.below_minus_above += 2.0 * own.weight
                _pass(state, own.code, 2.0 * own.weight)
            else:
                # Of tied rows each counts half for the others, neither below nor above: sign(0) = 0.
                for i in range(first, last):
                    row = rows.order[i]
                    weight = _weight(rows, row)
                    state.below_minus_above += weight
                    _pass(state, rows.codes[row], weight)
                for i in range(first, last):
                    row = rows.order[i]
                    if signed_weights != NULL:
                        signed_weights[row] = state.below_minus_above
                    out[row] = _weight(rows, row) * _signed_sum(state, rows.codes[row])
                for i in range(first, last):
                    row = rows.order[i]
                    weight = _weight(rows, row)
                    state.below_minus_above += weight
                    _pass(state, rows.codes[row], weight)
            first = last


cdef void _weigh_part(const Rows *rows, ptrdiff_t first, ptrdiff_t end, double *sums) noexcept nogil:
    cdef ptrdiff_t i, row
    for i in range(first, end):
        row = rows.order[i]
        sums[rows.codes[row]] += _weight(rows, row)


def sweep(
    const double[::1] u,                # IN (n,)
    const int64_t[::1] order,           # IN (n,) ascending order of u
    const int32_t[::1] codes,           # IN (n,) profile of each row
    const double[::1] weights,          # IN (n,), or (0,) for unit weights
    const double[:, ::1] matrix,        # IN (K, padded K), symmetric, columns beyond K are zero
    int n_threads,
    int64_t[::1] ends,                  # SCRATCH (parts + 1,)
    double[:, ::1] balances,            # SCRATCH (parts + 1, padded K), all zero at entry
    double[:, ::1] products,            # SCRATCH (parts, padded K)
    double[::1] out,                    # OUT (n,) weights[i] * sum_j weights[j] sign(u_i - u_j) matrix[k(i), k(j)]
    double[::1] signed_weights,         # OUT (n,) sum_j weights[j] sign(u_i - u_j), or (0,) where not wanted
):
    # The sorted rows are cut into a number of parts that does not depend on the threads. The balance at the beginning
    # of each is known from the weights of the profiles in those before it.
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t n_parts = products.shape[0]
        ptrdiff_t n_profiles = matrix.shape[0]
        ptrdiff_t part, k, position
        double total, weight, below_minus_above
        double *wanted = NULL
        Rows rows
        Sweep states[MOST_PARTS]

    if n == 0:
        return
    rows.u, rows.order, rows.codes, rows.n = &u[0], &order[0], &codes[0], n
    rows.weights = &weights[0] if weights.shape[0] > 0 else NULL
    if signed_weights.shape[0] > 0:
        wanted = &signed_weights[0]
    with nogil:
        ends[0] = 0
        for part in range(n_parts):
            position = max(ends[part], (part + 1) * n // n_parts)
            # Tied rows stay together.
            while 0 < position < n and u[order[position]] == u[order[position - 1]]:
                position += 1
            ends[part + 1] = position
        for part in prange(n_parts, num_threads=n_threads, schedule="static", chunksize=1):
            _weigh_part(&rows, ends[part], ends[part + 1], &balances[part + 1, 0])
        for k in range(n_profiles):
            total = 0.0
            for part in range(n_parts):
                total += balances[part + 1, k]
            balances[0, k] = -total
        for part in range(n_parts):
            # What lies in a part is above it before and below it afterwards.
            below_minus_above = 0.0
            for k in range(n_profiles):
                weight = balances[part + 1, k]
                balances[part + 1, k] = balances[part, k] + 2.0 * weight
                below_minus_above += balances[part, k]
            states[part].matrix, states[part].n_profiles = &matrix[0, 0], n_profiles
            states[part].width = matrix.shape[1]
            states[part].balance, states[part].products = &balances[part, 0], &products[part, 0]
            states[part].below_minus_above = below_minus_above
        for part in prange(n_parts, num_threads=n_threads, schedule="static", chunksize=1):
            _sweep_part(&rows, ends[part], ends[part + 1], &states[part], &out[0], wanted)


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
