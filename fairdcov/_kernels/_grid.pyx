# Grid: no sort. Nodes lie on the range of the predictions, and the weight of a row is spread linearly over the two
# nodes around it. What is computed is the sum over the pairs of rows of the bilinear interpolant of |u_i - u_j|:
# exact for two rows in different cells, and for a row with itself, which is taken out.
#
# The nodes are those of floating-point numbers of fewer digits: equally many in each power of two of |u| + offset. The
# cell of a row is the leading bits of that sum, the position within it the others: no logarithm, no division.
#
# Masses are whole numbers, in units of 2 ** -60 or so of the total weight, and add up to the same bits in any order:
# for any number of threads, and of processes that add their tables.

from cython.parallel cimport prange
from libc.math cimport NAN
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy

cdef enum:
    BLOCK = 4096        # rows whose floating-point sums are one partial sum
    MANTISSA = 52       # bits of a double behind its exponent

ROWS_OF_BLOCK = BLOCK

ctypedef struct Lattice:
    double offset       # a power of two
    int shift           # bits of the position within a cell
    int64_t zero        # leading bits of the offset: the cell that begins at u = 0
    int64_t first       # number of the first cell of the table
    int64_t n_cells     # cells of the table
    int64_t within      # mask of the bits of the position within a cell
    int64_t exponent    # mask of the exponent
    int64_t fewer       # what the exponent of a cell's beginning is more than that of its width
    double unit         # 2 ** -shift


cdef Lattice _lattice(double offset, int shift, int64_t first, int64_t n_cells) noexcept nogil:
    cdef Lattice lattice
    cdef int64_t bits
    memcpy(&bits, &offset, sizeof(double))
    lattice.offset, lattice.shift, lattice.first, lattice.n_cells = offset, shift, first, n_cells
    lattice.zero = bits >> shift
    lattice.within = ((<int64_t> 1) << shift) - 1
    lattice.exponent = (<int64_t> 2047) << MANTISSA
    lattice.fewer = (<int64_t> (MANTISSA - shift)) << MANTISSA
    lattice.unit = 1.0 / <double> ((<int64_t> 1) << shift)
    return lattice


cdef inline ptrdiff_t _cell(const Lattice *lattice, double u, double *fraction, double *width) noexcept nogil:
    # Number of the cell in the table, position within it in [0, 1], and its width: NaN outside the table.
    cdef:
        double distance = (u if u >= 0.0 else -u) + lattice.offset
        int64_t bits, cell
    memcpy(&bits, &distance, sizeof(double))
    cell = (bits >> lattice.shift) - lattice.zero
    fraction[0] = <double> (bits & lattice.within) * lattice.unit
    bits = (bits & lattice.exponent) - lattice.fewer
    memcpy(width, &bits, sizeof(double))
    if u < 0.0:
        cell = -1 - cell
        fraction[0] = 1.0 - fraction[0]
    cell -= lattice.first
    if not 0 <= cell < lattice.n_cells:
        width[0] = NAN
        return 0
    return cell


cdef void _extent_of_block(const double *u, ptrdiff_t n, double *found) noexcept nogil:
    cdef:
        double low = u[0], high = u[0], total = 0.0
        ptrdiff_t i
    for i in range(n):
        low = min(low, u[i])
        high = max(high, u[i])
        total += u[i] if u[i] >= 0.0 else -u[i]
    found[0], found[1], found[2] = low, high, total


def extent(
    const double[::1] u,                # IN (n,)
    int n_threads,
    double[:, ::1] found,               # OUT (blocks, 3) smallest, largest, sum of absolute values; the last is not
                                        # finite where one of them is not
):
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t n_blocks = found.shape[0]
        ptrdiff_t b
    for b in prange(n_blocks, nogil=True, num_threads=n_threads, schedule="static"):
        _extent_of_block(&u[b * BLOCK], min(<ptrdiff_t> BLOCK, n - b * BLOCK), &found[b, 0])


ctypedef struct Rows:
    const double *u
    const int64_t *starts   # NULL where each row has one profile
    const int32_t *codes
    const double *shares
    const double *weights   # NULL for unit weights
    const double *own       # of each profile, or of each row where rows have shares
    const double *excess    # NULL where there is none
    ptrdiff_t n


cdef Rows _rows(
    const double[::1] u, const int64_t[::1] starts, const int32_t[::1] codes, const double[::1] shares,
    const double[::1] weights, const double[::1] own, const double[::1] excess,
) noexcept:
    cdef Rows rows
    rows.n = u.shape[0]
    rows.u = &u[0]
    rows.codes = &codes[0] if codes.shape[0] > 0 else NULL
    rows.starts = &starts[0] if starts.shape[0] > 0 else NULL
    rows.shares = &shares[0] if shares.shape[0] > 0 else NULL
    rows.weights = &weights[0] if weights.shape[0] > 0 else NULL
    rows.own = &own[0]
    rows.excess = &excess[0] if excess.shape[0] > 0 else NULL
    return rows


cdef inline void _spread(int64_t *line, double mass, double fraction) noexcept nogil:
    cdef int64_t whole = <int64_t> mass
    cdef int64_t right = <int64_t> (mass * fraction)
    line[0] += whole - right
    line[1] += right


cdef void _masses_of_block(
    const Lattice *lattice, const Rows *rows, ptrdiff_t first, ptrdiff_t last, ptrdiff_t n_nodes, ptrdiff_t n_profiles,
    double scale, double excess_scale, int64_t *table, double *own,
) noexcept nogil:
    cdef:
        ptrdiff_t i, entry, cell
        double fraction, width, weight = 1.0, self_distance, sum_own = 0.0, sum_ones = 0.0
        bint weighted = rows.weights != NULL
        double mass = scale
    if rows.starts == NULL:
        for i in range(first, last):
            cell = _cell(lattice, rows.u[i], &fraction, &width)
            if weighted:
                weight = rows.weights[i]
                mass = weight * scale
            self_distance = weight * weight * width * fraction * (1.0 - fraction)
            sum_ones += self_distance
            sum_own += self_distance * rows.own[rows.codes[i]]
            _spread(table + rows.codes[i] * n_nodes + cell, mass, fraction)
    else:
        for i in range(first, last):
            cell = _cell(lattice, rows.u[i], &fraction, &width)
            if weighted:
                weight = rows.weights[i]
                mass = weight * scale
            self_distance = weight * weight * width * fraction * (1.0 - fraction)
            sum_ones += self_distance
            sum_own += self_distance * rows.own[i]
            for entry in range(rows.starts[i], rows.starts[i + 1]):
                _spread(table + rows.codes[entry] * n_nodes + cell, mass * rows.shares[entry], fraction)
            if rows.excess != NULL:
                _spread(table + n_profiles * n_nodes + cell, weight * rows.excess[i] * excess_scale, fraction)
    own[0], own[1] = 2.0 * sum_own, 2.0 * sum_ones


cdef void _masses_of_thread(
    const Lattice *lattice, const Rows *rows, ptrdiff_t first, ptrdiff_t last, ptrdiff_t n_nodes, ptrdiff_t n_profiles,
    double scale, double excess_scale, int64_t *table, double *own,
) noexcept nogil:
    cdef ptrdiff_t b
    for b in range(first, last):
        _masses_of_block(lattice, rows, b * BLOCK, min((b + 1) * BLOCK, rows.n), n_nodes, n_profiles, scale,
                         excess_scale, table, own + 2 * b)


def masses(
    const double[::1] u,                # IN (n,), n > 0
    double offset, int shift, int64_t first_cell, int64_t n_cells,
    const int64_t[::1] starts,          # IN (n + 1,) where the entries of each row begin, or (0,) for one entry each
    const int32_t[::1] codes,           # IN (entries,) profile of each entry
    const double[::1] shares,           # IN (entries,) share of the row, or (0,) for one entry each
    const double[::1] weights,          # IN (n,), or (0,) for unit weights
    const double[::1] own,              # IN (K,), or (n,) where rows have shares: M of a row with itself
    const double[::1] excess,           # IN (n,), or (0,)
    double scale,                       # IN whole numbers that a weight of 1 is
    double excess_scale,                # IN the same for the products of weight and excess
    int64_t[:, :, ::1] tables,          # OUT (threads, K or K + 1, nodes), all zero at entry; to be summed
    double[:, ::1] own_sums,            # OUT (blocks, 2) sum of weights squared times the interpolant of a row with
                                        # itself, with and without `own`; NaN where a row is outside the table
):
    cdef:
        ptrdiff_t n_threads = tables.shape[0]
        ptrdiff_t n_nodes = tables.shape[2]
        ptrdiff_t n_blocks = own_sums.shape[0]
        ptrdiff_t n_profiles = tables.shape[1] - (1 if excess.shape[0] > 0 else 0)
        ptrdiff_t t
        Lattice lattice = _lattice(offset, shift, first_cell, n_cells)
        Rows rows = _rows(u, starts, codes, shares, weights, own, excess)
    for t in prange(n_threads, nogil=True, num_threads=<int> n_threads, schedule="static", chunksize=1):
        _masses_of_thread(&lattice, &rows, t * n_blocks // n_threads, (t + 1) * n_blocks // n_threads, n_nodes,
                          n_profiles, scale, excess_scale, &tables[t, 0, 0], &own_sums[0, 0])


cdef void _gradient_of_block(
    const Lattice *lattice, const Rows *rows, ptrdiff_t first, ptrdiff_t last, const double *slopes, ptrdiff_t n_cells,
    const double *plain, double own_scale, double own_shift, double *out,
) noexcept nogil:
    cdef:
        ptrdiff_t i, entry, cell
        double fraction, width, weight = 1.0, found
        bint weighted = rows.weights != NULL
    if rows.starts == NULL:
        for i in range(first, last):
            cell = _cell(lattice, rows.u[i], &fraction, &width)
            if weighted:
                weight = rows.weights[i]
            found = own_scale * rows.own[rows.codes[i]] + own_shift
            out[i] += weight * (slopes[rows.codes[i] * n_cells + cell] - weight * found * (1.0 - 2.0 * fraction))
    else:
        for i in range(first, last):
            cell = _cell(lattice, rows.u[i], &fraction, &width)
            if weighted:
                weight = rows.weights[i]
            found = -weight * (own_scale * rows.own[i] + own_shift) * (1.0 - 2.0 * fraction)
            for entry in range(rows.starts[i], rows.starts[i + 1]):
                found += rows.shares[entry] * slopes[rows.codes[entry] * n_cells + cell]
            if rows.excess != NULL:
                found += rows.excess[i] * plain[cell]
            out[i] += weight * found


def gradient(
    const double[::1] u,                # IN (n,), n > 0
    double offset, int shift, int64_t first_cell, int64_t n_cells,
    const int64_t[::1] starts,          # IN as in `masses`
    const int32_t[::1] codes,
    const double[::1] shares,
    const double[::1] weights,
    const double[::1] own,
    const double[::1] excess,
    const double[:, ::1] slopes,        # IN (K, cells)
    const double[::1] plain,            # IN (cells,) what is multiplied by the excess
    double own_scale, double own_shift,  # IN multiplies `own`, is added to that
    int n_threads,
    double[::1] out,                    # INOUT (n,) the gradient is added
):
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t n_blocks = (n + BLOCK - 1) // BLOCK
        ptrdiff_t b
        Lattice lattice = _lattice(offset, shift, first_cell, n_cells)
        Rows rows = _rows(u, starts, codes, shares, weights, own, excess)
    for b in prange(n_blocks, nogil=True, num_threads=n_threads, schedule="static"):
        _gradient_of_block(&lattice, &rows, b * BLOCK, min((b + 1) * BLOCK, n), &slopes[0, 0], slopes.shape[1],
                           &plain[0], own_scale, own_shift, &out[0])


def cells(
    const double[::1] u,                # IN (n,)
    double offset, int shift, int64_t first_cell, int64_t n_cells,
    int64_t[::1] found,                 # OUT (n,) cell of each row
    double[::1] fractions,              # OUT (n,) position within it
):
    cdef:
        ptrdiff_t i
        double width
        Lattice lattice = _lattice(offset, shift, first_cell, n_cells)
    with nogil:
        for i in range(u.shape[0]):
            found[i] = _cell(&lattice, u[i], &fractions[i], &width)
