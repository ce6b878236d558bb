# Ascending order of a vector of doubles by radix sort, 11 bits at a time: linear in n, stable, the same everywhere.
#
# Three passes suffice when the values are cut to 33 bits on an even grid between the smallest and the largest; one walk
# then puts the few rows right that share a cell. Where outliers leave most rows in few cells there is too much to put
# right, and all 64 bits are sorted by, in six passes.

from cython.parallel cimport prange
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

cdef enum:
    DIGIT_BITS = 11
    BUCKETS = 2048
    DIGITS = 6
    CELL_DIGITS = 3
    CELL_BITS = 33      # CELL_DIGITS * DIGIT_BITS
    ROW_BITS = 31       # 64 - CELL_BITS
    MOST_MOVES = 4      # to put rows right, times n
    MOST_PARTS = 16     # of the rows, for threads

MOST_ROWS = (<int64_t> 1) << ROW_BITS
PARTS = MOST_PARTS

cdef bint _bucket_starts(int64_t *counts, ptrdiff_t n, ptrdiff_t first_bucket) noexcept nogil:
    # Counts become starts; False if all rows are in one bucket, so that the pass would change nothing.
    cdef:
        int bucket
        int64_t count, start = 0
    if counts[first_bucket] == n:
        return False
    for bucket in range(BUCKETS):
        count = counts[bucket]
        counts[bucket] = start
        start += count
    return True


cdef bint _part_starts(int64_t *counts, ptrdiff_t n_parts, ptrdiff_t n, ptrdiff_t first_bucket) noexcept nogil:
    # The same for parts of the rows with counts of their own: within a bucket the rows of one part follow another's.
    cdef:
        int bucket
        ptrdiff_t part
        int64_t count, start = 0
    count = 0
    for part in range(n_parts):
        count += counts[part * CELL_DIGITS * BUCKETS + first_bucket]
    if count == n:
        return False
    for bucket in range(BUCKETS):
        for part in range(n_parts):
            count = counts[part * CELL_DIGITS * BUCKETS + bucket]
            counts[part * CELL_DIGITS * BUCKETS + bucket] = start
            start += count
    return True


cdef void _range_of_part(const double *u, ptrdiff_t first, ptrdiff_t end, double *low, double *high) noexcept nogil:
    cdef ptrdiff_t i
    cdef double smallest = u[first], largest = u[first]
    for i in range(first, end):
        smallest = min(smallest, u[i])
        largest = max(largest, u[i])
    low[0], high[0] = smallest, largest


cdef void _pack_part(
    const double *u, double low, double scale, ptrdiff_t first, ptrdiff_t end, uint64_t *entries, int64_t *counts,
) noexcept nogil:
    cdef ptrdiff_t i
    cdef uint64_t cell
    cdef int digit
    memset(counts, 0, CELL_DIGITS * BUCKETS * sizeof(int64_t))
    for i in range(first, end):
        # Never decreases with u, whatever the rounding.
        cell = <uint64_t> ((u[i] - low) * scale)
        entries[i] = (cell << ROW_BITS) | <uint64_t> i
        for digit in range(CELL_DIGITS):
            counts[digit * BUCKETS + ((cell >> (digit * DIGIT_BITS)) & (BUCKETS - 1))] += 1


cdef void _count_part(
    const uint64_t *entries, int shift, ptrdiff_t first, ptrdiff_t end, int64_t *counts,
) noexcept nogil:
    cdef ptrdiff_t i
    memset(counts, 0, BUCKETS * sizeof(int64_t))
    for i in range(first, end):
        counts[(entries[i] >> shift) & (BUCKETS - 1)] += 1


cdef void _move_part(
    const uint64_t *entries, int shift, ptrdiff_t first, ptrdiff_t end, int64_t *starts, uint64_t *moved,
) noexcept nogil:
    cdef:
        ptrdiff_t i, bucket
        int64_t position
        uint64_t entry
    for i in range(first, end):
        entry = entries[i]
        bucket = (entry >> shift) & (BUCKETS - 1)
        position = starts[bucket]
        starts[bucket] = position + 1
        moved[position] = entry


cdef int64_t _order_of_part(
    const double *u, const uint64_t *entries, ptrdiff_t first, ptrdiff_t end, int64_t most_moves, int64_t *order,
) noexcept nogil:
    # Rows of the entries, those of one cell put right; returns how many moves that took.
    cdef:
        ptrdiff_t i, k
        int64_t row, moves = 0
        double value
        uint64_t row_mask = ((<uint64_t> 1) << ROW_BITS) - 1
    for i in range(first, end):
        row = <int64_t> (entries[i] & row_mask)
        k = i
        if i > first and (entries[i] ^ entries[i - 1]) <= row_mask:
            # Same cell as the row before it.
            value = u[row]
            while k > first and u[order[k - 1]] > value:
                order[k] = order[k - 1]
                k -= 1
            moves += i - k
            if moves > most_moves:
                return moves
        order[k] = row
    return moves


def cell_order(
    const double[::1] u,        # IN (n,), finite, n < MOST_ROWS
    uint64_t[:, ::1] packed,    # SCRATCH (2, n) cell and row of each entry; one line becomes the order
    int64_t[:, :, ::1] counts,  # SCRATCH (parts, CELL_DIGITS, BUCKETS)
    int n_threads,
):
    # Returns the line of `packed` that holds the order as whole numbers of 64 bits, -1 where it gave up. There is one
    # stable order: the parts, of which there may be as many as threads, do not show in it.
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t n_parts = min(<ptrdiff_t> MOST_PARTS, counts.shape[0])
        ptrdiff_t part, position
        int digit, shift, line = 0, return_line
        int64_t total = 0
        uint64_t *entries
        uint64_t *moved
        int64_t *order
        double low, high, scale
        double lows[MOST_PARTS]
        double highs[MOST_PARTS]
        int64_t moves[MOST_PARTS]
        ptrdiff_t ends[MOST_PARTS + 1]
        uint64_t row_mask = ((<uint64_t> 1) << ROW_BITS) - 1
        double n_cells = <double> ((<uint64_t> 1) << CELL_BITS) - 1.0

    with nogil:
        for part in range(n_parts + 1):
            ends[part] = part * n // n_parts
        for part in prange(n_parts, num_threads=n_threads, schedule="static", chunksize=1):
            _range_of_part(&u[0], ends[part], ends[part + 1], &lows[part], &highs[part])
        low, high = lows[0], highs[0]
        for part in range(1, n_parts):
            low, high = min(low, lows[part]), max(high, highs[part])
        scale = n_cells / (high - low)
        if not 0.0 < scale < 1e300:
            return_line = -1
        else:
            entries = &packed[0, 0]
            for part in prange(n_parts, num_threads=n_threads, schedule="static", chunksize=1):
                _pack_part(&u[0], low, scale, ends[part], ends[part + 1], entries, &counts[part, 0, 0])
            for digit in range(CELL_DIGITS):
                shift = ROW_BITS + digit * DIGIT_BITS
                entries, moved = &packed[line, 0], &packed[1 - line, 0]
                if digit > 0 and n_parts > 1:
                    # Other rows are in each part now.
                    for part in prange(n_parts, num_threads=n_threads, schedule="static", chunksize=1):
                        _count_part(entries, shift, ends[part], ends[part + 1], &counts[part, digit, 0])
                if not _part_starts(&counts[0, digit, 0], n_parts, n, (entries[0] >> shift) & (BUCKETS - 1)):
                    continue
                for part in prange(n_parts, num_threads=n_threads, schedule="static", chunksize=1):
                    _move_part(entries, shift, ends[part], ends[part + 1], &counts[part, digit, 0], moved)
                line = 1 - line
            entries, order = &packed[line, 0], <int64_t *> &packed[1 - line, 0]
            for part in range(1, n_parts):
                # Rows of one cell stay together.
                position = max(ends[part - 1], part * n // n_parts)
                while 0 < position < n and (entries[position] ^ entries[position - 1]) <= row_mask:
                    position += 1
                ends[part] = position
            for part in prange(n_parts, num_threads=n_threads, schedule="static", chunksize=1):
                moves[part] = _order_of_part(&u[0], entries, ends[part], ends[part + 1], MOST_MOVES * n, order)
            for part in range(n_parts):
                total += moves[part]
            return_line = 1 - line if total <= MOST_MOVES * n else -1
    return return_line


def bit_order(
    const double[::1] u,        # IN (n,), without NaN
    uint64_t[:, ::1] keys,      # SCRATCH (2, n)
    int64_t[:, ::1] rows,       # SCRATCH (2, n)
    int64_t[:, ::1] counts,     # SCRATCH (DIGITS, BUCKETS)
):
    # Returns the line of `rows` that holds the order.
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t i, position
        int digit, bucket, shift, line = 0
        uint64_t key
        uint64_t *key_in
        uint64_t *key_out
        int64_t *row_in
        int64_t *row_out
        int64_t *count_of

    with nogil:
        memset(&counts[0, 0], 0, DIGITS * BUCKETS * sizeof(int64_t))
        for i in range(n):
            memcpy(&key, &u[i], sizeof(double))
            # Positive numbers order as their bits do, negative ones the other way round and below them.
            if key >> 63:
                key = ~key
            else:
                key |= (<uint64_t> 1) << 63
            keys[0, i] = key
            rows[0, i] = i
            for digit in range(DIGITS):
                counts[digit, (key >> (digit * DIGIT_BITS)) & (BUCKETS - 1)] += 1
        for digit in range(DIGITS):
            shift = digit * DIGIT_BITS
            count_of = &counts[digit, 0]
            key_in, row_in = &keys[line, 0], &rows[line, 0]
            if not _bucket_starts(count_of, n, (key_in[0] >> shift) & (BUCKETS - 1)):
                continue
            line = 1 - line
            key_out, row_out = &keys[line, 0], &rows[line, 0]
            for i in range(n):
                key = key_in[i]
                bucket = (key >> shift) & (BUCKETS - 1)
                position = count_of[bucket]
                count_of[bucket] = position + 1
                key_out[position] = key
                row_out[position] = row_in[i]
    return line
