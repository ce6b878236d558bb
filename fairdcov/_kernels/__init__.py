"""Compiled kernels behind thin wrappers that check, convert and allocate.

Every kernel answers one question about a prediction ``u`` and a symmetric matrix ``W`` that depends on the protected
attributes alone: the *signed sums* ``sum_j q_j sign(u_i - u_j) W_ij`` for all ``i``, with ``sign(0) = 0``. They differ
in how ``W`` is given: by profiles, by shares of them, as distances of one variable, by features, or recomputed tile by
tile.
:mod:`fairdcov._kernels._reference` holds the short NumPy definitions that the kernels are tested against.
"""

import sys
from pathlib import Path

import numpy as np

try:
    from fairdcov._kernels import _features, _grid, _linear, _order, _profiles, _scan, _soft, _tiles, _univariate
except ImportError as error:
    if error.name != __name__:  # a kernel that is there and cannot be loaded says why
        raise
    package = Path(__file__).parents[1]
    raise ImportError(
        f"the kernels in {package} are not compiled for this Python ({sys.version.split()[0]}): "
        + (
            f"run '{sys.executable} -m pip install -e .' in {package.parent}, which needs a C compiler; to use a "
            "package that is installed, start Python in another folder than this copy of the source"
            if (package.parent / "pyproject.toml").exists()
            else f"install the package with it: {sys.executable} -m pip install --force-reinstall --no-deps fairdcov"
        ),
        name=error.name,
        path=error.path,
    ) from error

from fairdcov._kernels._lattice import GridRows, Lattice, extent, grid_gradient, grid_masses, mass_unit
from fairdcov._kernels._threads import usable_threads

__all__ = [
    "GridRows",
    "Lattice",
    "ascending_order",
    "combine_pairs",
    "extent",
    "feature_signed_products",
    "feature_sums",
    "features_times",
    "grid_gradient",
    "grid_masses",
    "mass_unit",
    "pad_columns",
    "pair_sums",
    "profile_pairs",
    "profile_signed_products",
    "profile_values",
    "share_signed_products",
    "signed_sums",
    "soft_rows",
    "soft_signed_products",
    "tile_row_sums",
    "tile_signed_products",
    "univariate_distance_sums",
    "univariate_signed_distances",
    "window_density",
]

_LANES = 8
_NOTHING = np.empty(0)
# Counts for up to six passes of a radix sort over 2,048 buckets; it pays from about as many rows as buckets.
_RADIX, _CELL_RADIX = (6, 2048), (3, 2048)
_FEW_ROWS = 1024
# Sorted rows are cut into parts of so many at least, each a sweep of its own.
_ROWS_OF_A_PART = 8192
# To wake a thread takes up to some tenths of a millisecond, and longer where another process has its processor. That is
# worth it for so many rows each, and for a product of a matrix of so many entries, both about a millisecond of work.
_ROWS_OF_A_THREAD = 65_536
_MANY_ENTRIES = 2**21
# Assignments that go through one sweep of profile_values together.
_GROUP = 4


def _float(array):
    return np.ascontiguousarray(array, dtype=np.float64)


def _vector(array, name="u"):
    array = _float(array)
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, (n,); found shape {array.shape}")
    return array


def _rows(array, u, name, dtype=np.float64):
    """``array`` with one entry for each row of ``u``: the kernels trust the lengths they are given."""
    array = np.ascontiguousarray(array, dtype=dtype)
    if array.shape != u.shape:
        raise ValueError(f"{name} has shape {array.shape}, u has shape {u.shape}")
    return array


def _threads_for(n, n_threads):
    """Threads for so many rows."""
    return max(1, min(usable_threads(n_threads), n // _ROWS_OF_A_THREAD))


def ascending_order(u, *, n_threads=1):
    """``np.argsort(u, kind="stable")`` in linear time, but for zeros of different sign, which may come in any order.

    Parameters
    ----------
    u : (n,) array
        Finite values.
    n_threads : int
        Threads to use; there is only one order.

    Returns
    -------
    (n,) int64 array
    """
    u = _vector(u)
    n = len(u)
    if n < _FEW_ROWS:
        return np.argsort(u, kind="stable")
    keys = np.empty((2, n), dtype=np.uint64)
    n_threads = min(_threads_for(n, n_threads), _order.PARTS)
    counts = np.empty((n_threads, *_CELL_RADIX), dtype=np.int64)
    line = _order.cell_order(u, keys, counts, n_threads) if n < _order.MOST_ROWS else -1
    if line >= 0:
        return keys[line].view(np.int64)
    rows = np.empty((2, n), dtype=np.int64)
    return rows[_order.bit_order(u, keys, rows, np.empty(_RADIX, dtype=np.int64))]


def _given_order(u, order):
    return _rows(ascending_order(u) if order is None else order, u, "order", np.int64)


def _codes(codes, u, stop):
    codes = _rows(codes, u, "codes", np.int32)
    if codes.size and not 0 <= codes.min() <= codes.max() < stop:
        raise ValueError(f"codes must lie in range({stop}), found {codes.min()} to {codes.max()}")
    return codes


def _aligned_zeros(rows, columns):
    """Rows of zeros that begin with a cache line where ``columns`` is a multiple of :data:`_LANES`.

    A vector that straddles two lines takes the kernels half as long again to add to.
    """
    memory = np.zeros(rows * columns + _LANES)
    start = -memory.ctypes.data % (8 * _LANES) // 8
    return memory[start : start + rows * columns].reshape(rows, columns)


def _padded(matrix):
    aligned = matrix.shape[1] % _LANES == 0 < matrix.shape[1]
    return matrix if aligned and matrix.flags.c_contiguous and matrix.dtype == np.float64 else pad_columns(matrix)


def pad_columns(matrix):
    """Copy ``matrix`` with zero columns added up to a multiple of the vector length the kernels work in."""
    matrix = np.asarray(matrix, dtype=np.float64)
    rows, columns = matrix.shape
    padded = _aligned_zeros(rows, -(-max(columns, 1) // _LANES) * _LANES)
    padded[:, :columns] = matrix
    return padded


def profile_signed_products(u, codes, matrix, *, weights=None, order=None, return_signed_weights=False, n_threads=1):
    """``w_i sum_j w_j sign(u_i - u_j) matrix[k(i), k(j)]`` for rows with profiles ``k = codes``.

    Parameters
    ----------
    u : (n,) array
        Predictions.
    codes : (n,) integer array
        Profile of each row, in ``range(K)``.
    matrix : (K, K) array, or (K, padded K) as :func:`pad_columns` returns it
        Symmetric; value of W for each pair of profiles.
    weights : (n,) array, optional
        Row weights ``w``; 1 when omitted.
    order : (n,) integer array, optional
        ``np.argsort(u)`` when it is known already.
    return_signed_weights : bool
        Whether to return :func:`signed_sums` of the weights as well, a by-product.
    n_threads : int
        Threads to use; the result does not depend on it.

    Returns
    -------
    (n,) array, or two of them
    """
    u = _vector(u)
    codes = _codes(codes, u, len(matrix))
    weights = None if weights is None else _rows(weights, u, "weights")
    pairs = profile_pairs(u, codes, _padded(matrix), _given_order(u, order), weights=weights, n_threads=n_threads)
    out, signed = pairs[:, 0].copy(), pairs[:, 1]
    return (out, signed.copy()) if return_signed_weights else out


def profile_pairs(u, codes, matrix, order, *, weights=None, n_threads=1):
    """Both results of :func:`profile_signed_products` side by side, (n, 2), of arrays that have been checked.

    ``u``, ``codes``, ``order`` and ``weights`` as the kernel takes them, ``matrix`` as :func:`pad_columns` returns it.
    """
    n_parts = max(1, min(_profiles.PARTS, len(u) // _ROWS_OF_A_PART))
    scratch = _aligned_zeros(2 * n_parts + 1, matrix.shape[1])
    balances, products = scratch[: n_parts + 1], scratch[n_parts + 1 :]
    if len(matrix) > _profiles.LARGEST_CODE:
        raise ValueError(f"there are {len(matrix)} profiles, more than {_profiles.LARGEST_CODE}")
    given, gathered = (_NOTHING, _NOTHING) if weights is None else (weights, np.empty_like(u))
    ends, sorted_codes = np.empty(n_parts + 1, dtype=np.int64), np.empty(len(u), dtype=np.int32)
    pairs = np.empty((len(u), 2))
    n_threads = min(_threads_for(len(u), n_threads), n_parts)
    _profiles.sweep(u, order, codes, given, matrix, n_threads, ends, balances, products, sorted_codes, gathered, pairs)
    return pairs


def pair_sums(u, centre, pairs, *, weights=None, n_threads=1):
    """``sum_i (u_i - centre) a_i`` and ``sum_i (u_i - centre) w_i b_i`` of ``pairs = (a, b)`` (n, 2); ``w`` may be 1.

    No BLAS, whose threads wait for the next product where ours are to work.
    """
    given = _NOTHING if weights is None else weights
    sums = np.empty((-(-len(u) // _profiles.ROWS_OF_BLOCK), 2))
    _profiles.pair_sums(u, centre, pairs, given, _threads_for(len(u), n_threads), sums)
    return sums.sum(axis=0)


def combine_pairs(pairs, first, second, *, weights=None, n_threads=1):
    """``first a_i + second w_i b_i`` of ``pairs = (a, b)`` (n, 2), (n,); ``w`` may be 1."""
    out = np.empty(len(pairs))
    given = _NOTHING if weights is None else weights
    _profiles.combine_pairs(pairs, given, first, second, _threads_for(len(out), n_threads), out)
    return out


def profile_values(u, codes, matrix):
    """``sum_{i != j} |u_i - u_j| matrix[k(i), k(j)]`` for several assignments of profiles to the same predictions.

    One of them costs less than half of :func:`profile_signed_products`, which has the gradient as well and visits the
    rows in an order that is not theirs in memory.

    Parameters
    ----------
    u : (n,) array
        Predictions in ascending order; subtract their mean first, or digits are lost.
    codes : (B, n) integer array
        Profile of each row, in ``range(K)``, one line for each assignment.
    matrix : (K, K) array, or (K, padded K) as :func:`pad_columns` returns it
        Symmetric; value of M for each pair of profiles.

    Returns
    -------
    (B,) array
    """
    u = _float(u)
    if u.ndim != 1 or not (u[1:] >= u[:-1]).all():
        raise ValueError("u must be a vector in ascending order")
    codes = np.ascontiguousarray(codes, dtype=np.int32)
    if codes.ndim != 2 or codes.shape[1] != len(u):
        raise ValueError(f"codes has shape {codes.shape}, u has shape {u.shape}")
    if codes.size and not 0 <= codes.min() <= codes.max() < len(matrix):
        raise ValueError(f"codes must lie in range({len(matrix)}), found {codes.min()} to {codes.max()}")
    matrix = _padded(matrix)
    out = np.empty(len(codes))
    _profiles.values(u, codes, matrix, np.empty((_GROUP, matrix.shape[1])), out)
    return out


def signed_sums(u, values, *, order=None):
    """``sum_j sign(u_i - u_j) values[j]`` for every row ``i``; ``values`` is (n,) or (n, r) and so is the result."""
    u = _vector(u)
    values = _float(values)
    if values.shape[:1] != u.shape:
        raise ValueError(f"values has shape {values.shape}, u has shape {u.shape}")
    out = np.empty_like(values)
    if values.ndim == 1:
        _scan.signed_weights(u, _given_order(u, order), values, out)
    else:
        _features.signed_sums(u, _given_order(u, order), values, np.empty(values.shape[1]), out)
    return out


def window_density(u, weights, half, *, least, order=None):
    """Weight by unit of ``u`` in the window of the weight ``half`` on either side of each prediction, (n,).

    Whole-number weights are repetition: rows of one prediction have one window.

    Parameters
    ----------
    u : (n,) array
        Predictions.
    weights : (n,) array
        Row weights.
    half : float
        Weight on either side. The window reaches the next predictions at least, and is cut off at the smallest and the
        largest one.
    least : float
        Positive; a window counts as no narrower.
    order : (n,) integer array, optional
        ``np.argsort(u)`` when it is known already.

    Returns
    -------
    (n,) array
    """
    u = _vector(u)
    out = np.empty_like(u)
    weights = _rows(weights, u, "weights")
    scratch = np.empty_like(u), np.empty_like(u), np.empty_like(u), np.empty(len(u), dtype=np.int64)
    _scan.window_density(u, _given_order(u, order), weights, half, least, *scratch, out)
    return out


def feature_signed_products(u, codes, features, weights, *, order=None):
    """``phi_i . sum_j q_j sign(u_i - u_j) phi_j`` for rows with features ``phi = features[codes]``.

    Parameters
    ----------
    u : (n,) array
        Predictions.
    codes : (n,) integer array
        Row of ``features`` that belongs to each prediction.
    features : (K, r) array, or (K, padded r) as :func:`pad_columns` returns it
        The factor of ``W = Phi Phi'``.
    weights : (n,) array
        Row weights ``q``.
    order : (n,) integer array, optional
        ``np.argsort(u)`` when it is known already.
    """
    u = _vector(u)
    codes = _codes(codes, u, len(features))
    features = _padded(features)
    weights = _rows(weights, u, "weights")
    out = np.empty_like(u)
    _features.sweep(u, _given_order(u, order), codes, weights, features, np.empty(features.shape[1]), out)
    return out


def soft_rows(n, size, parts):
    """Vectors of the rows side by side, as :func:`soft_signed_products` takes them, filled part by part.

    Parameters
    ----------
    n, size : int
        Rows, and length of a vector.
    parts : iterable of (slice, seen, sees)
        Rows with what others see of them and what they see of others, (rows, size) each: ``W_ij = sees_i . seen_j``.

    Returns
    -------
    pairs : (n, 2 padded size) array
    total : (padded size,) array
        Sum of the first halves.
    """
    width = -(-max(size, 1) // _LANES) * _LANES
    pairs, total = _aligned_zeros(n, 2 * width), np.zeros(width)
    for rows, seen, sees in parts:
        pairs[rows, :size], pairs[rows, width : width + size] = seen, sees
        total[:size] += seen.sum(axis=0)
    return pairs, total


def soft_signed_products(u, pairs, total, column, *, order=None):
    """``sees_i . sum_j sign(u_i - u_j) seen_j`` for every row, and the signed sum of one column of ``seen``.

    Parameters
    ----------
    u : (n,) array
        Predictions.
    pairs, total
        What :func:`soft_rows` returns; weights of the rows are multiplied in.
    column : int
        Column of ``seen`` of which ``sum_j sign(u_i - u_j) seen_j`` is wanted.
    order : (n,) integer array, optional
        ``np.argsort(u)`` when it is known already.

    Returns
    -------
    products, signed : (n,) arrays
    """
    u = _vector(u)
    pairs, total = _float(pairs), _float(total)
    if (
        pairs.ndim != 2
        or pairs.shape != (len(u), 2 * len(total))
        or len(total) % _LANES
        or not 0 <= column < len(total)
    ):
        raise ValueError(f"pairs {pairs.shape} and total {total.shape} do not go with {len(u)} rows, column {column}")
    out, signed = np.empty_like(u), np.empty_like(u)
    _soft.dense_sweep(u, _given_order(u, order), pairs, total, column, np.empty_like(total), out, signed)
    return out, signed


def share_signed_products(u, starts, codes, shares, weights, matrix, *, order=None):
    """``sum_j q_j sign(u_i - u_j) p_i' matrix p_j`` for rows with shares ``p`` of few profiles each.

    Parameters
    ----------
    u : (n,) array
        Predictions.
    starts : (n + 1,) integer array
        Row i has the entries ``starts[i]`` to ``starts[i + 1]``, as in SciPy's CSR arrays.
    codes : (entries,) integer array
        Profile of each entry, in ``range(K)``.
    shares : (entries,) array
        Share of the row that belongs to the profile.
    weights : (n,) array
        Row weights ``q``.
    matrix : (K, K) array, or (K, padded K) as :func:`pad_columns` returns it
        Symmetric.
    order : (n,) integer array, optional
        ``np.argsort(u)`` when it is known already.
    """
    u = _vector(u)
    shares = _float(shares)
    starts = np.ascontiguousarray(starts, dtype=np.int64)
    if starts.shape != (len(u) + 1,) or starts[0] != 0 or starts[-1] != len(shares) or (np.diff(starts) < 0).any():
        raise ValueError(f"starts must ascend from 0 to {len(shares)}, the number of shares, for {len(u)} rows")
    codes = _codes(codes, shares, len(matrix))
    matrix = _padded(matrix)
    weights = _rows(weights, u, "weights")
    out, balance = np.empty_like(u), np.empty(matrix.shape[1])
    _soft.sparse_sweep(u, _given_order(u, order), starts, codes, shares, weights, matrix, balance, out)
    return out


def univariate_distance_sums(z, weights, *, order=None):
    """``sum_j q_j |z_i - z_j|`` for every row, in O(n log n); ``order = np.argsort(z)`` when it is known already."""
    z = _vector(z, "z")
    weights = _rows(weights, z, "weights")
    order = _given_order(z, order)
    sorted_z, sorted_weights = z[order], weights[order]
    below_weight = np.cumsum(sorted_weights)
    below_moment = np.cumsum(sorted_weights * sorted_z)
    out = np.empty_like(z)
    if len(z):
        out[order] = sorted_z * (2 * below_weight - below_weight[-1]) - (2 * below_moment - below_moment[-1])
    return out


def univariate_signed_distances(u, z, ranks, weights, distance_sums, *, order=None):
    """``sum_j q_j sign(u_i - u_j) |z_i - z_j|`` for every row, in O(n log n).

    Parameters
    ----------
    u : (n,) array
        Predictions.
    z : (n,) array
        The attribute; centre it first, its moments are accumulated.
    ranks : (n,) integer array
        Rank of each ``z`` among the distinct values, from 1.
    weights : (n,) array
        Row weights ``q``.
    distance_sums : (n,) array
        :func:`univariate_distance_sums` of ``z`` and ``weights``, which do not depend on ``u``.
    order : (n,) integer array, optional
        ``np.argsort(u)`` when it is known already.
    """
    u = _vector(u)
    out = np.empty_like(u)
    ranks = _rows(ranks, u, "ranks", np.int32)
    if ranks.min(initial=1) < 1:
        raise ValueError(f"ranks must be at least 1, found {ranks.min()}")
    z, weights = _rows(z, u, "z"), _rows(weights, u, "weights")
    distance_sums = _rows(distance_sums, u, "distance_sums")
    tree = np.zeros((int(ranks.max(initial=0)) + 1, 2))
    _univariate.sweep(u, _given_order(u, order), ranks, z, weights, distance_sums, tree, out)
    return out


def _tile_sums(blocks, half, scale, partners, own_sign, weights, n_threads):
    n = len(weights)
    blocks = [block[:, None] if np.ndim(block) == 1 else block for block in map(np.asarray, blocks)]
    half, scale = _float(half), _float(scale)
    lengths = [len(block) for block in blocks]
    if set(lengths) != {n} or half.shape != (len(blocks), n) or scale.shape != (len(blocks),):
        raise ValueError(f"blocks of {lengths} rows, half {half.shape} and scale {scale.shape} do not go with {n} rows")
    points = _float(np.vstack([block.T for block in blocks]))
    dims = np.array([block.shape[1] for block in blocks], dtype=np.intp)
    accumulators = np.zeros((_tiles.STRIPES, n))
    scratch = np.empty((_tiles.STRIPES, 2 * _tiles.TILE_COLUMNS))
    n_threads = usable_threads(n_threads)
    _tiles.pair_sums(points, dims, half, scale, partners, own_sign, _float(weights), n_threads, scratch, accumulators)
    return accumulators.sum(axis=0)


def tile_signed_products(u, blocks, half, scale, weights, *, n_threads=1, order=None):
    """``sum_j q_j sign(u_i - u_j) W_ij`` with ``W_ij = prod_b (half_b[i] + half_b[j] - scale_b |x_b,i - x_b,j|)``.

    Parameters
    ----------
    u : (n,) array
        Predictions.
    blocks : sequence of (n, q) arrays
        The points whose Euclidean distances are taken, one array for each factor.
    half : (blocks, n) array
        Additive part of each factor, split between its two rows.
    scale : (blocks,) array
        Multiplier of each distance.
    weights : (n,) array
        Row weights ``q``.
    n_threads : int
        Threads to use, 16 at most and one in a forked child; the result does not depend on it.
    order : (n,) integer array, optional
        ``np.argsort(u)`` when it is known already.
    """
    u = _vector(u)
    order = _given_order(u, order)
    blocks, half = [np.asarray(block) for block in blocks], np.asarray(half)
    weights = _rows(weights, u, "weights")
    if any(len(block) != len(u) for block in blocks) or half.shape[-1] != len(u):
        raise ValueError(f"blocks and half must have a column or row for each of the {len(u)} rows of u")
    sorted_u = u[order]
    # In the order of u the sign of a pair is known without a comparison; a row's partners begin after its ties.
    partners = np.searchsorted(sorted_u, sorted_u, side="right").astype(np.intp)
    out = np.empty_like(u)
    out[order] = _tile_sums(
        [block[order] for block in blocks],
        half[:, order],
        scale,
        partners,
        -1.0,
        weights[order],
        n_threads,
    )
    return out


def tile_row_sums(blocks, half, scale, weights, *, n_threads=1):
    """``sum_{j != i} q_j W_ij`` with ``W`` as in :func:`tile_signed_products`."""
    partners = np.arange(1, len(weights) + 1, dtype=np.intp)
    return _tile_sums(blocks, half, scale, partners, 1.0, weights, n_threads)


def features_times(features, vector, constant=0.0, *, n_threads=1):
    """``features @ vector + constant``, (n,), for a float64 array (n, p) that is contiguous by rows or by columns.

    Parameters
    ----------
    features : (n, p) float64 array
        Contiguous either way; others are copied.
    vector : (p,) array
        Coefficients.
    constant : float
        Added to each row.
    n_threads : int
        Threads to use; the result does not depend on it.
    """
    features, vector = _contiguous(features), _float(vector)
    if vector.shape != features.shape[1:]:
        raise ValueError(f"features {features.shape} and a vector {vector.shape} do not go together")
    out = np.empty(len(features))
    _linear.times(features, vector, constant, _threads_for_entries(features, n_threads), out)
    return out


def feature_sums(features, factors, *, n_threads=1):
    """``features.T @ factors``, (p,), as :func:`features_times`."""
    features, factors = _contiguous(features), _float(factors)
    if factors.shape != features.shape[:1]:
        raise ValueError(f"features {features.shape} and factors {factors.shape} do not go together")
    out = np.empty(features.shape[1])
    partial = np.empty((_linear.PARTS, len(out)))
    _linear.sums(features, factors, _threads_for_entries(features, n_threads), partial, out)
    return out


def _threads_for_entries(features, n_threads):
    return min(usable_threads(n_threads), _linear.PARTS) if features.size >= _MANY_ENTRIES else 1


def _contiguous(features):
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2:
        raise ValueError(f"features must have two dimensions, (n, p); found shape {features.shape}")
    return features if features.flags.c_contiguous or features.flags.f_contiguous else np.ascontiguousarray(features)
