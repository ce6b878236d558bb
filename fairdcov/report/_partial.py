"""Partial distance correlation of the predictions and the attributes, given the legitimate rating factors.

U-centred distances between rows are vectors of a space with an inner product (Szekely and Rizzo 2014): what the factors
explain is projected out of those of the predictions and of those of the attributes.
"""

import numpy as np
from scipy.spatial.distance import pdist, squareform
from sklearn.utils import check_random_state

from fairdcov._checks import is_constant
from fairdcov.metrics import NullDistribution
from fairdcov.report._dependence import n_test_permutations
from fairdcov.report._proxies import read_columns

__all__ = ["partial_section"]

# Several n x n matrices are held.
_PARTIAL_ROWS = 600
# Levels of a category that count on their own where features are made numbers.
_MOST_LEVELS = 50
# Below this share of the length of what it was computed from, a matrix is nothing but rounding.
_ROUNDING = 1e-10


def _numbers_of(column):
    """A numeric column as (n,) floats of standard deviation 1, missing values at the mean, and whether any are."""
    values = np.asarray(column, dtype=np.float64)
    missing = ~np.isfinite(values)
    known = values[~missing]
    if len(known) == 0:
        return np.zeros((len(values), 0))
    scale = known.std()
    filled = np.where(missing, known.mean(), values)
    scaled = (filled - known.mean()) / (scale if scale > 0 else 1.0)
    return np.column_stack([scaled, missing]) if missing.any() else scaled[:, None]


def _features_matrix(columns):
    """Features as points: numbers scaled to standard deviation 1, categories as 0/1 columns (rare levels together).

    Parameters
    ----------
    columns : list of FeatureColumn
        Features of some rows.

    Returns
    -------
    (n, q) float64 array
    """
    parts = []
    for column in columns:
        if column.numeric:
            parts.append(_numbers_of(column.values))
            continue
        counts = np.bincount(column.codes, minlength=len(column.levels))
        kept = np.argsort(-counts, kind="stable")[:_MOST_LEVELS]
        position = np.full(len(column.levels), len(kept))
        position[kept] = np.arange(len(kept))
        parts.append(np.eye(len(kept) + 1)[position[column.codes]][:, : len(kept)])
    return np.hstack(parts)


def u_centred(points):
    """Distances between the rows of (n, q) points, U-centred, (n, n): diagonal 0, rows of sum 0, unbiased products."""
    distances = squareform(pdist(points))
    n = len(distances)
    of_rows = distances.sum(axis=1) / (n - 2)
    centred = distances - of_rows[:, None] - of_rows + distances.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0.0)
    return _unless_rounding(centred, distances)


def _unless_rounding(matrix, origin):
    return matrix if np.linalg.norm(matrix) > _ROUNDING * np.linalg.norm(origin) else np.zeros_like(matrix)


def _cosine(a, b):
    """Cosine of the angle between two centred matrices, 0 where one of them is 0."""
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.vdot(a, b) / lengths) if lengths > 0 else 0.0


def _without(centred, given):
    """The part of a centred matrix that is orthogonal to another."""
    length = np.vdot(given, given)
    rest = centred - np.vdot(centred, given) / length * given if length > 0 else centred
    return _unless_rounding(rest, centred)


def _partial_correlation(prediction, attributes, factors, n_permutations, seed):
    """Bias-corrected squared distance correlation, the same given the factors, and the p-value of the latter.

    Rows of what is left of the predictions are permuted against what is left of the attributes.

    Parameters
    ----------
    prediction, attributes, factors : (n, n) arrays
        U-centred distances.
    n_permutations : int
        0 for no test.
    seed : int
        Of the permutations.

    Returns
    -------
    dict
    """
    x, y = _without(prediction, factors), _without(attributes, factors)
    partial, p_value = _cosine(x, y), None
    if n_permutations:
        generator, lengths = check_random_state(seed), np.linalg.norm(x) * np.linalg.norm(y)
        values = np.zeros(n_permutations)
        for position in range(n_permutations if lengths > 0 else 0):
            rows = generator.permutation(len(x))
            values[position] = np.vdot(x[np.ix_(rows, rows)], y) / lengths
        p_value = NullDistribution(values, partial).p_value()
    return {"distance_correlation": _cosine(prediction, attributes), "partial": partial, "p_value": p_value}


def partial_section(sample, settings):
    """Partial distance correlation of prediction and attributes given the legitimate rating factors.

    Parameters
    ----------
    sample : AuditSample
        Data.
    settings : dict
        ``n_permutations``, ``max_partial_rows``.

    Returns
    -------
    dict or None
        None where no features are called legitimate, and where there are control features, which say more.
    """
    if not sample.legitimate or sample.strata is not None:
        return None
    rows = sample.subset("partial distance correlation", settings["max_partial_rows"] or _PARTIAL_ROWS)
    columns = read_columns(sample.features, rows, sample.legitimate)
    given = [column for column in columns if not column.skipped]
    section = {
        "given": [column.name for column in given],
        "n_samples": len(rows),
        "n_permutations": 0,
        "results": [],
    }
    if len(given) < len(columns):
        section["skipped"] = [{"feature": c.name, "reason": c.skipped} for c in columns if c.skipped]
    if len(rows) < 4 or not given:
        return section
    n_permutations = section["n_permutations"] = n_test_permutations(settings)
    prediction = sample.predictions[rows][:, None]
    # Units of the predictions do not matter, and rounding should not either.
    prediction = u_centred((prediction - prediction.mean()) / (prediction.std() or 1.0))
    factors = u_centred(_features_matrix(given))
    attributes = sample.attributes.rows(rows)
    for names in sample.singles_and_all:
        if sample.is_soft(names):
            sample.leave_out("partial", names, "partial distance correlation")
            continue
        blocks = attributes.select(names).profiles()
        points = np.hstack(blocks.points)[blocks.codes]
        entry = {"attributes": list(names), "distance_correlation": 0.0, "partial": 0.0, "p_value": 1.0}
        if not (is_constant(sample.predictions[rows]) or blocks.is_constant()):
            entry.update(_partial_correlation(prediction, u_centred(points), factors, n_permutations, sample.seed))
        section["results"].append(entry)
    return section
