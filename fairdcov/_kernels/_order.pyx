# Ascending order of a vector of doubles by radix sort, 11 bits at a time: linear in n, stable, the same everywhere.
#
# Three passes suffice when the values are cut to 33 bits on an even grid between the smallest and the largest; one walk
# then puts the few rows right that share a cell. Where outliers leave most rows in few cells there is too much to put
# right, and all 64 bits are sorted by, in six passes.

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

MOST_ROWS = (<int64_t> 1) << ROW_BITS

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


def cell_order(
    const double[::1] u,        # IN (n,), finite, n < MOST_ROWS
    uint64_t[:, ::1] packed,    # SCRATCH (2, n) cell and row of each entry; one line becomes the order
    int64_t[:, ::1] counts,     # SCRATCH (at least CELL_DIGITS, BUCKETS)
):
    # Returns the line of `packed` that holds the order as whole numbers of 64 bits, -1 where it gave up.
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t i, k, position, moves = 0
        int digit, shift, line = 0
        int64_t row
        uint64_t entry
        uint64_t *entry_in
        uint64_t *entry_out
        int64_t *count_of
        int64_t *order
        double low = u[0], high = u[0], scale, value
        uint64_t row_mask = ((<uint64_t> 1) << ROW_BITS) - 1
        double n_cells = <double> ((<uint64_t> 1) << CELL_BITS) - 1.0
        bint sorted_out = True

    with nogil:
        for i in range(n):
            low = min(low, u[i])
            high = max(high, u[i])
        scale = n_cells / (high - low)
        if not 0.0 < scale < 1e300:
            sorted_out = False
        else:
            memset(&counts[0, 0], 0, CELL_DIGITS * BUCKETS * sizeof(int64_t))
            entry_in = &packed[0, 0]
            for i in range(n):
                # Never decreases with u, whatever the rounding.
                entry = <uint64_t> ((u[i] - low) * scale)
                entry_in[i] = (entry << ROW_BITS) | <uint64_t> i
                for digit in range(CELL_DIGITS):
                    counts[digit, (entry >> (digit * DIGIT_BITS)) & (BUCKETS - 1)] += 1
            for digit in range(CELL_DIGITS):
                shift = ROW_BITS + digit * DIGIT_BITS
                entry_in = &packed[line, 0]
                count_of = &counts[digit, 0]
                if not _bucket_starts(count_of, n, (entry_in[0] >> shift) & (BUCKETS - 1)):
                    continue
                line = 1 - line
                entry_out = &packed[line, 0]
                for i in range(n):
                    entry = entry_in[i]
                    k = (entry >> shift) & (BUCKETS - 1)
                    position = count_of[k]
                    count_of[k] = position + 1
                    entry_out[position] = entry
            entry_in, order = &packed[line, 0], <int64_t *> &packed[1 - line, 0]
            for i in range(n):
                row = <int64_t> (entry_in[i] & row_mask)
                k = i
                if i > 0 and (entry_in[i] ^ entry_in[i - 1]) <= row_mask:
                    # Same cell as the row before it.
                    value = u[row]
                    while k > 0 and u[order[k - 1]] > value:
                        order[k] = order[k - 1]
                        k -= 1
                    moves += i - k
                    if moves > MOST_MOVES * n:
                        sorted_out = False
                        break
                order[k] = row
    return 1 - line if sorted_out else -1


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
