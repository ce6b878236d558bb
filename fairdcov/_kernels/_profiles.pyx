# Profiles: rows with equal protected attributes share a row of M, which is then K x K.
#
# One sweep over the sorted predictions keeps, for every profile, the weight below the current value minus the weight
# above it: the balance. The signed sum of a row is the product of the balance and its row of M. With few profiles it is
# quicker to keep all these products up to date: a row that is passed then adds its row of M to them.
# With unit weights the balance consists of whole numbers, exact; the products are computed from it afresh now and then,
# so that their rounding errors do not build up along the sweep. Parts of the sorted rows have sweeps of their own.
#
# Rows are read from all over the memory in one walk and written there in another, two numbers side by side: of what a
# sweep costs, waiting for the memory is most.

from cython.parallel cimport prange
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t

cdef enum:
    FEW_COLUMNS = 256   # beyond, writing all products takes longer than the wait for a balance that has just changed
    MOST_PARTS = 16     # of the sorted rows
    BLOCK = 4096        # rows whose sums are one partial sum

PARTS = MOST_PARTS
ROWS_OF_BLOCK = BLOCK

cdef extern from "_loops.h" nogil:
    const int32_t FAIRDCOV_TIED
    const ptrdiff_t FAIRDCOV_AHEAD
    ctypedef struct fairdcov_sweep_state:
        const double *matrix
        ptrdiff_t n_profiles, width
        int running
        double *balance
        double *products
        double below_minus_above
    double fairdcov_padded_dot(const double *a, const double *b, ptrdiff_t size)
    void fairdcov_sweep(const fairdcov_sweep_state *given, const int64_t *order, const int32_t *codes,
                        const double *weights, ptrdiff_t first, ptrdiff_t end, double *pairs)
    void fairdcov_pair_sums(const double *u, double centre, const double *pairs, const double *weights, ptrdiff_t n,
                            double *sums)
    void fairdcov_combine_pairs(const double *pairs, const double *weights, double first, double second, ptrdiff_t n,
                                double *out)
    void FAIRDCOV_PREFETCH(const void *address)

LARGEST_CODE = FAIRDCOV_TIED - 1

ctypedef struct Rows:
    const double *u
    const int64_t *order
    const int32_t *codes
    const double *weights       # NULL for unit weights
    int32_t *sorted_codes
    double *sorted_weights


cdef void _gather_part(const Rows *rows, ptrdiff_t first, ptrdiff_t end, double *sums) noexcept nogil:
    # The one walk in which rows are read from all over the memory: codes in the order of u, with a bit where a row is
    # tied with the one before it, weights, and the weight of each profile.
    cdef:
        ptrdiff_t i, row, ahead
        int32_t code
        double value, before = 0.0, weight = 1.0
    for i in range(first, end):
        if i + FAIRDCOV_AHEAD < end:
            ahead = rows.order[i + FAIRDCOV_AHEAD]
            FAIRDCOV_PREFETCH(&rows.u[ahead])
            FAIRDCOV_PREFETCH(&rows.codes[ahead])
            if rows.weights != NULL:
                FAIRDCOV_PREFETCH(&rows.weights[ahead])
        row = rows.order[i]
        value, code = rows.u[row], rows.codes[row]
        if rows.weights != NULL:
            weight = rows.weights[row]
            rows.sorted_weights[i] = weight
        sums[code] += weight
        rows.sorted_codes[i] = code | FAIRDCOV_TIED if i > first and value == before else code
        before = value


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
    int32_t[::1] sorted_codes,          # SCRATCH (n,)
    double[::1] sorted_weights,         # SCRATCH (n,), or (0,) for unit weights
    double[:, ::1] pairs,               # OUT (n, 2) weights[i] * sum_j weights[j] sign(u_i - u_j) matrix[k(i), k(j)],
                                        # sum_j weights[j] sign(u_i - u_j)
):
    # The sorted rows are cut into a number of parts that does not depend on the threads. The balance at the beginning
    # of each is known from the weights of the profiles in those before it.
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t n_parts = products.shape[0]
        ptrdiff_t n_profiles = matrix.shape[0]
        ptrdiff_t part, k, position
        double total, weight, below_minus_above
        Rows rows
        fairdcov_sweep_state states[MOST_PARTS]

    if n == 0:
        return
    rows.u, rows.order, rows.codes, rows.sorted_codes = &u[0], &order[0], &codes[0], &sorted_codes[0]
    rows.weights = rows.sorted_weights = NULL
    if weights.shape[0] > 0:
        rows.weights, rows.sorted_weights = &weights[0], &sorted_weights[0]
    with nogil:
        ends[0] = 0
        for part in range(n_parts):
            position = max(ends[part], (part + 1) * n // n_parts)
            # Tied rows stay together.
            while 0 < position < n and u[order[position]] == u[order[position - 1]]:
                position += 1
            ends[part + 1] = position
        for part in prange(n_parts, num_threads=n_threads, schedule="static", chunksize=1):
            _gather_part(&rows, ends[part], ends[part + 1], &balances[part + 1, 0])
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
            states[part].width, states[part].running = matrix.shape[1], matrix.shape[1] <= FEW_COLUMNS
            states[part].balance, states[part].products = &balances[part, 0], &products[part, 0]
            states[part].below_minus_above = below_minus_above
        for part in prange(n_parts, num_threads=n_threads, schedule="static", chunksize=1):
            fairdcov_sweep(&states[part], rows.order, rows.sorted_codes, rows.sorted_weights, ends[part],
                           ends[part + 1], &pairs[0, 0])


def pair_sums(
    const double[::1] u,                # IN (n,)
    double centre,
    const double[:, ::1] pairs,         # IN (n, 2)
    const double[::1] weights,          # IN (n,), or (0,) for unit weights
    int n_threads,
    double[:, ::1] sums,                # OUT (blocks, 2) sums of (u - centre) times the first of a pair, and of
                                        # (u - centre) times weight times the second
):
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t b
        const double *given = &weights[0] if weights.shape[0] > 0 else NULL
    for b in prange(sums.shape[0], nogil=True, num_threads=n_threads, schedule="static"):
        fairdcov_pair_sums(&u[b * BLOCK], centre, &pairs[b * BLOCK, 0], NULL if given == NULL else given + b * BLOCK,
                           min(<ptrdiff_t> BLOCK, n - b * BLOCK), &sums[b, 0])


def combine_pairs(
    const double[:, ::1] pairs,         # IN (n, 2)
    const double[::1] weights,          # IN (n,), or (0,) for unit weights
    double first, double second,
    int n_threads,
    double[::1] out,                    # OUT (n,) `first` times the first of a pair + `second` weight times the second
):
    cdef:
        ptrdiff_t n = out.shape[0]
        ptrdiff_t n_blocks = (n + BLOCK - 1) // BLOCK
        ptrdiff_t b
        const double *given = &weights[0] if weights.shape[0] > 0 else NULL
    for b in prange(n_blocks, nogil=True, num_threads=n_threads, schedule="static"):
        fairdcov_combine_pairs(&pairs[b * BLOCK, 0], NULL if given == NULL else given + b * BLOCK, first, second,
                               min(<ptrdiff_t> BLOCK, n - b * BLOCK), &out[b * BLOCK])


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
