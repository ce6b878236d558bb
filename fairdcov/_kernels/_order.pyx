# Ascending order of a vector of doubles by radix sort: 11 bits at a time of the keys whose order as whole numbers is
# that of the values. Linear in n, stable, and the same on every machine; passes in which all keys agree are left out.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memset

cdef enum:
    DIGIT_BITS = 11
    DIGITS = 6
    BUCKETS = 2048


def radix_order(
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
        int64_t start, count
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
            if count_of[(key_in[0] >> shift) & (BUCKETS - 1)] == n:
                continue
            start = 0
            for bucket in range(BUCKETS):
                count = count_of[bucket]
                count_of[bucket] = start
                start += count
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
