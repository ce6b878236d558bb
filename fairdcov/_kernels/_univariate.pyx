# One continuous attribute: sum_j q_j sign(u_i - u_j) |z_i - z_j| for every i in O(n log n).
#
# Rows enter a Fenwick tree over the ranks of z in the order of u (Huo and Szekely 2016 use the same partial sums for
# the value alone). With P(z) = sum of q_j and Q(z) = sum of q_j z_j over entered rows with z_j <= z,
#     L_i = sum over entered j of q_j |z_i - z_j| = z_i (2 P(z_i) - P) - (2 Q(z_i) - Q).
# Evaluated before and after the rows tied with u_i enter, L_i + L_i' - R_i is the signed sum; R_i runs over all j.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t

cdef extern from "_loops.h" nogil:
    void FAIRDCOV_PREFETCH(const void *address)
    const ptrdiff_t FAIRDCOV_AHEAD

ctypedef struct Node:
    double weight
    double moment


cdef inline double _entered_distance(
    const Node *tree, ptrdiff_t rank, double z, double weight, double moment
) noexcept nogil:
    cdef:
        double below_weight = 0.0
        double below_moment = 0.0
    while rank > 0:
        below_weight += tree[rank].weight
        below_moment += tree[rank].moment
        rank &= rank - 1
    return z * (2.0 * below_weight - weight) - (2.0 * below_moment - moment)


cdef inline void _enter(Node *tree, ptrdiff_t size, ptrdiff_t rank, double weight, double moment) noexcept nogil:
    while rank <= size:
        tree[rank].weight += weight
        tree[rank].moment += moment
        rank += rank & -rank


def sweep(
    const double[::1] u,                # IN (n,)
    const int64_t[::1] order,           # IN (n,) ascending order of u
    const int32_t[::1] ranks,           # IN (n,) rank of z among its distinct values, from 1
    const double[::1] z,                # IN (n,)
    const double[::1] weights,          # IN (n,)
    const double[::1] distance_sums,    # IN (n,) R_i = sum_j q_j |z_i - z_j|
    double[:, ::1] tree_memory,         # SCRATCH (number of distinct values + 1, 2), all zero
    double[::1] out,                    # OUT (n,) sum_j q_j sign(u_i - u_j) |z_i - z_j|
):
    cdef:
        ptrdiff_t n = u.shape[0]
        ptrdiff_t size = tree_memory.shape[0] - 1
        ptrdiff_t first, last, position, row, ahead
        Node *tree = <Node *> &tree_memory[0, 0]
        double value, following, weight = 0.0, moment = 0.0

    if n == 0:
        return
    with nogil:
        first = 0
        following = u[order[0]]
        while first < n:
            value = following
            last = first
            while True:
                if last + FAIRDCOV_AHEAD < n:
                    ahead = order[last + FAIRDCOV_AHEAD]
                    FAIRDCOV_PREFETCH(&u[ahead])
                    FAIRDCOV_PREFETCH(&z[ahead])
                    FAIRDCOV_PREFETCH(&ranks[ahead])
                    FAIRDCOV_PREFETCH(&weights[ahead])
                    FAIRDCOV_PREFETCH(&distance_sums[ahead])
                row = order[last]
                out[row] = _entered_distance(tree, ranks[row], z[row], weight, moment)
                last += 1
                if last == n:
                    break
                following = u[order[last]]
                if following != value:
                    break
            for position in range(first, last):
                row = order[position]
                weight += weights[row]
                moment += weights[row] * z[row]
                _enter(tree, size, ranks[row], weights[row], weights[row] * z[row])
            if last == first + 1:
                # |z_i - z_i| = 0: a row's own entry changes nothing for itself.
                row = order[first]
                out[row] = 2.0 * out[row] - distance_sums[row]
            else:
                for position in range(first, last):
                    row = order[position]
                    out[row] += _entered_distance(tree, ranks[row], z[row], weight, moment) - distance_sums[row]
            first = last
