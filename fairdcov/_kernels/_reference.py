"""The definitions, in NumPy and O(n^2): what the kernels and the measures are tested against.

Nothing here is used by the library itself. The formulas follow Szekely and Rizzo (2014) for the U-centred distance
covariance and Chakraborty and Zhang (2019) for the joint one, whose sign convention (minus the usual centred
distances) is used throughout.
"""

import numpy as np


def distances(block):
    """Euclidean distance matrix of the rows of ``block``, (n,) or (n, q)."""
    block = np.asarray(block, dtype=float).reshape(len(block), -1)
    return np.sqrt(((block[:, None, :] - block[None, :, :]) ** 2).sum(axis=2))


def u_centred(block):
    """U-centred distances with the sign of Chakraborty and Zhang and a zero diagonal; needs n > 2."""
    a = distances(block)
    n = len(a)
    centred = (
        a.sum(axis=1, keepdims=True) / (n - 2)
        + a.sum(axis=0, keepdims=True) / (n - 2)
        - a
        - a.sum() / ((n - 1) * (n - 2))
    )
    np.fill_diagonal(centred, 0.0)
    return centred


def v_centred(block, probabilities):
    """Doubly centred distances under row probabilities, with the sign of Chakraborty and Zhang."""
    a = distances(block)
    row_means = a @ probabilities
    return row_means[:, None] + row_means[None, :] - a - probabilities @ row_means


def centred(block, statistic, probabilities):
    """Centred distance matrix of a block for either statistic."""
    return u_centred(block) if statistic == "u" else v_centred(block, probabilities)


def mean_product(product, statistic, probabilities):
    """Sum over all pairs, divided by n (n - 3) for U or weighted by the probabilities for V."""
    n = len(product)
    return product.sum() / (n * (n - 3)) if statistic == "u" else probabilities @ product @ probabilities


def distance_covariance(x, *blocks, statistic="u", probabilities=None):
    """Squared distance covariance of ``x`` with each block, summed over the blocks."""
    if probabilities is None:
        probabilities = np.full(len(x), 1 / len(x))
    x_centred = centred(x, statistic, probabilities)
    return sum(
        mean_product(x_centred * centred(block, statistic, probabilities), statistic, probabilities) for block in blocks
    )


def concatenated_distance_covariance(x, *blocks, statistic="u", probabilities=None):
    """Squared distance covariance of ``x`` with all columns of all blocks as one vector."""
    columns = np.column_stack([np.asarray(block, dtype=float).reshape(len(x), -1) for block in blocks])
    return distance_covariance(x, columns, statistic=statistic, probabilities=probabilities)


def joint_distance_covariance(x, *blocks, c=1.0, statistic="u", probabilities=None, scale_invariant=False):
    """Squared joint distance covariance of ``x`` and the blocks."""
    n = len(x)
    if probabilities is None:
        probabilities = np.full(n, 1 / n)
    product = np.ones((n, n))
    for block in (x, *blocks):
        factor = centred(block, statistic, probabilities)
        if scale_invariant:
            factor = factor / np.sqrt(mean_product(factor**2, statistic, probabilities))
        product *= factor + c
    total = c ** (len(blocks) + 1)
    return mean_product(product, statistic, probabilities) - (total * n / (n - 3) if statistic == "u" else total)


def empirical_cdf(values, probabilities):
    """Share of the sample at or below each value."""
    values = np.asarray(values, dtype=float)
    return ((values[None, :] <= values[:, None]) * probabilities[None, :]).sum(axis=1)


def signed_products(u, matrix, weights):
    """``sum_j q_j sign(u_i - u_j) W_ij`` for every row."""
    return (np.sign(np.subtract.outer(u, u)) * matrix) @ weights


def expected_matrix(memberships, matrix):
    """``E W_ij`` when every row draws its profile by itself: ``p_i' D p_j``, and ``sum_k p_ik D_kk`` for i = j."""
    expected = memberships @ matrix @ memberships.T
    np.fill_diagonal(expected, memberships @ np.diag(matrix))
    return expected


def centred_form(matrix, probabilities):
    """M of ``sum_ij |u_i - u_j| M_ij`` from a W between the rows, V-centred."""
    row_means = matrix @ probabilities
    centred = matrix - row_means[:, None] - row_means[None, :] + probabilities @ row_means
    return -probabilities[:, None] * probabilities[None, :] * centred


def window_density(u, weights, half, least):
    """Weight between the values ``half`` the weight below and above each, by their distance; at least the next values.

    A value stands in the middle of the weight of its rows.
    """
    values, codes = np.unique(u, return_inverse=True)
    tied = np.bincount(codes, weights)
    upto = np.cumsum(tied)
    middle = upto - 0.5 * tied
    density = np.empty(len(values))
    for k in range(len(values)):
        first = min((upto <= middle[k] - half).sum(), max(k - 1, 0))
        last = min(max((upto <= middle[k] + half).sum(), k + 1), len(values) - 1)
        density[k] = (middle[last] - middle[first]) / max(values[last] - values[first], least)
    return density[codes]


def pair_sum(u, matrix):
    """``sum_{i != j} |u_i - u_j| M_ij``."""
    return (distances(u) * matrix).sum()


def gini_mean_difference(u, probabilities):
    """``sum_ij p_i p_j |u_i - u_j|``."""
    return probabilities @ distances(u) @ probabilities


def hats(values, nodes):
    """Share of each value in each node, linear in between and of sum 1, (n, nodes)."""
    cell = np.clip(np.searchsorted(nodes, values, side="right") - 1, 0, len(nodes) - 2)
    position = (values - nodes[cell]) / (nodes[cell + 1] - nodes[cell])
    shares = np.zeros((len(values), len(nodes)))
    shares[np.arange(len(values)), cell] = 1 - position
    shares[np.arange(len(values)), cell + 1] += position
    return shares


def interpolated_distances(u, nodes):
    """Distances of ``u`` interpolated between nodes in both arguments; 0 for a row with itself."""
    shares = hats(u, nodes)
    interpolated = shares @ distances(nodes) @ shares.T
    np.fill_diagonal(interpolated, 0.0)
    return interpolated


def interpolated_gradient(u, nodes, matrix):
    """Gradient of ``sum_{i != j} I(u_i, u_j) M_ij`` with the interpolated distances I."""
    cell = np.clip(np.searchsorted(nodes, u, side="right") - 1, 0, len(nodes) - 2)
    slopes = np.diff(distances(nodes), axis=0) / np.diff(nodes)[:, None]
    of_pairs = slopes[cell] @ hats(u, nodes).T
    np.fill_diagonal(of_pairs, 0.0)
    return 2 * (of_pairs * matrix).sum(axis=1)


def interpolated_form(shares, matrix, diagonal):
    """W between rows that have shares in nodes; ``diagonal`` is that of a row with itself."""
    interpolated = shares @ matrix @ shares.T
    np.fill_diagonal(interpolated, diagonal)
    return interpolated
