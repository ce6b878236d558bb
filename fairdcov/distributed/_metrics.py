"""Metrics of Dask collections: sums over the partitions, and the metrics of the package on what these leave."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from fairdcov import metrics
from fairdcov._checks import (
    check_choice,
    check_consistent_rows,
    check_finite_vector,
    check_sample_weight,
    check_whole_number,
    documented,
)
from fairdcov.dependence import Lattice
from fairdcov.distributed._partitions import read_partitions
from fairdcov.distributed._profiles import find_profiles
from fairdcov.encoding import Attributes

__all__ = [
    "ccdcov",
    "compress",
    "dcov",
    "demographic_parity_gap",
    "group_summary",
    "jdcov",
    "js_divergence",
    "wasserstein_disparity",
]

N_NODES = 16_384
# Entries of a table of profiles and nodes (64 MiB), and nodes that there must be room for.
_MOST_ENTRIES = 2**23
_FEWEST_NODES = 256

_ARGUMENTS = """y_true : Dask Series or Array, (n,), or None
        Not used; there for scikit-learn's and fairlearn's convention.
    y_pred : Dask Series or Array, (n,)
        Predictions.
    sensitive_features : Dask DataFrame, Series or Array, (n,) or (n, d)
        Protected attributes; rows go with those of ``y_pred`` by position, however each is partitioned.
    sample_weight : Dask Series or Array, (n,), optional
        Row weights such as exposure; rows of weight 0 are absent.
    n_nodes : int, default=16384
        Nodes that the predictions are put on, about; errors fall with its square."""

_RAISES = """ValueError
        For NaN and infinite values, which names the partition; for lengths that differ, and for more than 100,000
        distinct rows of attributes."""


@dataclass(frozen=True)
class CompressedPredictions:
    """Predictions on nodes, with the weight that the rows of each profile have there.

    Attributes
    ----------
    y_pred : (m,) array
        Position of the node.
    sensitive_features : (m, d) DataFrame
        Profile.
    sample_weight : (m,) array
        Positive.
    n_effective : float
        ``(sum w)^2 / sum w^2`` of the rows.
    n_rows : int
        Rows of positive weight.
    """

    y_pred: np.ndarray
    sensitive_features: pd.DataFrame
    sample_weight: np.ndarray
    n_effective: float
    n_rows: int

    def arguments(self):
        """What metrics of the package take."""
        return {
            "y_true": None,
            "y_pred": self.y_pred,
            "sensitive_features": self.sensitive_features,
            "sample_weight": self.sample_weight,
        }

    def bandwidth(self, rule):
        """The kernel's standard deviation by a rule of :func:`fairdcov.metrics.js_divergence`, for the rows."""
        order = np.argsort(self.y_pred, kind="stable")
        values, weights = self.y_pred[order], self.sample_weight[order]
        mean = np.average(values, weights=weights)
        deviation = np.sqrt(np.average((values - mean) ** 2, weights=weights))
        quartiles = np.quantile(values, [0.25, 0.75], weights=weights, method="inverted_cdf")
        robust = (quartiles[1] - quartiles[0]) / 1.349
        spread = min(deviation, robust) if robust > 0 else deviation
        return float({"silverman": 0.9, "scott": 1.06}[rule] * spread * self.n_effective**-0.2)


def compress(y_pred, *, sensitive_features, sample_weight=None, n_nodes=N_NODES):
    """Rows of Dask collections as few weighted rows, which every metric of weighted predictions takes.

    The predictions are put on nodes that are even on their logarithm: each row's weight is shared linearly between the
    two nodes beside it, as in ``method="grid"`` of the penalties, so that group means are those of the rows. What comes
    back has a row for each node and each distinct row of the protected attributes that meet.

    Parameters
    ----------
    y_pred : Dask Series or Array, (n,)
        Predictions.
    sensitive_features : Dask DataFrame, Series or Array, (n,) or (n, d)
        Protected attributes; rows go with those of ``y_pred`` by position, however each is partitioned.
    sample_weight : Dask Series or Array, (n,), optional
        Row weights such as exposure; rows of weight 0 are absent.
    n_nodes : int, default=16384
        Nodes, about; fewer where the distinct rows of the attributes are many.

    Returns
    -------
    CompressedPredictions
        With ``y_pred`` (m,), ``sensitive_features`` (m, d) and ``sample_weight`` (m,) in memory.

    Raises
    ------
    TypeError
        For predictions that are no Dask collection.
    ValueError
        For NaN and infinite values, which names the partition; for lengths that differ, and for more than 100,000
        distinct rows of attributes.

    Notes
    -----
    Dependence measures, divergences and distances between distributions of the compressed rows differ from those of the
    rows by O(h^2) for nodes h apart. Standard errors and tests count rows and must not be taken from them.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from fairdcov.distributed import compress
    >>> from fairdcov.metrics import ks_disparity
    >>> prediction = da.from_array(np.array([1.0, 1.0, 2.0, 2.0]), chunks=2)
    >>> gender = da.from_array(np.array(["f", "f", "m", "m"]), chunks=2)
    >>> few = compress(prediction, sensitive_features=gender)
    >>> ks_disparity(None, few.y_pred, sensitive_features=few.sensitive_features, sample_weight=few.sample_weight)
    1.0
    """
    check_whole_number(n_nodes, "n_nodes", least=2)
    rows = read_partitions(y_pred=y_pred, sensitive_features=sensitive_features, sample_weight=sample_weight)
    profiles = find_profiles(rows)
    extents = [found for found in rows.compute(_extent) if found is not None]
    low, high = min(found[0] for found in extents), max(found[1] for found in extents)
    absolute, n, total, squares = np.sum([found[2:] for found in extents], axis=0)
    if low == high:
        return CompressedPredictions(
            np.full(len(profiles.frame), low), profiles.frame, profiles.weights, total**2 / squares, int(n)
        )
    size = min(n_nodes, _MOST_ENTRIES // len(profiles.frame))
    if size < min(n_nodes, _FEWEST_NODES):
        raise ValueError(
            f"sensitive_features has {len(profiles.frame):,} distinct rows, too many for {_FEWEST_NODES} nodes each: "
            "cut or round its continuous columns"
        )
    lattice = Lattice.of(low, high, absolute / n, size)
    (table,) = rows.sum(_masses, profiles, lattice)
    codes, nodes = np.nonzero(table)
    return CompressedPredictions(
        lattice.nodes[nodes],
        profiles.frame.iloc[codes].reset_index(drop=True),
        table[codes, nodes],
        total**2 / squares,
        int(n),
    )


def _read(block):
    """Checked predictions, attributes and weights of the rows of positive weight of a block, and which these are."""
    u = check_finite_vector(np.asarray(block["y_pred"]), "y_pred")
    weights = block["sample_weight"]
    if weights is not None and not np.any(np.asarray(weights)):
        # A partition may have no row that counts.
        weights = np.zeros(len(u))
    else:
        weights = check_sample_weight(weights, len(u), reference="y_pred")
    keep = weights > 0
    return u[keep], weights[keep], keep


def _extent(block):
    u, weights, _ = _read(block)
    if not len(u):
        return None
    return u.min(), u.max(), np.abs(u).sum(), len(u), weights.sum(), weights @ weights


def _masses(block, profiles, lattice):
    u, weights, keep = _read(block)
    n_nodes = lattice.n_cells + 1
    cells, upper = lattice.cells(u)
    flat = profiles.codes_of(block["sensitive_features"])[keep].astype(np.int64) * n_nodes + cells
    upper *= weights
    size = len(profiles.frame) * n_nodes
    table = np.bincount(flat, weights - upper, size)
    table += np.bincount(flat + 1, upper, size)
    return (table.reshape(-1, n_nodes),)


@documented(arguments=_ARGUMENTS, raises=_RAISES)
def dcov(y_true, y_pred, *, sensitive_features, sample_weight=None, n_nodes=N_NODES, **options):
    """:func:`fairdcov.metrics.dcov` of Dask collections, by :func:`compress`.

    Parameters
    ----------
    <arguments>
    **options
        Those of the metric, such as ``normalize`` and ``encoder``; the V-statistic only.

    Returns
    -------
    float
        Squared distance covariance, off by O(h^2) for nodes h apart.

    Raises
    ------
    <raises>

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from fairdcov.distributed import dcov
    >>> prediction = da.from_array(np.array([1.0, 1.0, 2.0, 2.0]), chunks=2)
    >>> dcov(None, prediction, sensitive_features=da.from_array(np.array(["f", "f", "m", "m"]), chunks=3))
    0.25
    """
    return _dependence(metrics.dcov, y_pred, sensitive_features, sample_weight, n_nodes, options)


@documented(arguments=_ARGUMENTS, raises=_RAISES)
def ccdcov(y_true, y_pred, *, sensitive_features, sample_weight=None, n_nodes=N_NODES, **options):
    """:func:`fairdcov.metrics.ccdcov` of Dask collections, by :func:`compress`.

    Parameters
    ----------
    <arguments>
    **options
        Those of the metric, such as ``normalize`` and ``encoder``; the V-statistic only.

    Returns
    -------
    float
        Squared concatenated distance covariance, off by O(h^2) for nodes h apart.

    Raises
    ------
    <raises>

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from fairdcov.distributed import ccdcov
    >>> prediction = da.from_array(np.array([1.0, 1.0, 2.0, 2.0]), chunks=2)
    >>> ccdcov(None, prediction, sensitive_features=da.from_array(np.array(["f", "f", "m", "m"]), chunks=2))
    0.25
    """
    return _dependence(metrics.ccdcov, y_pred, sensitive_features, sample_weight, n_nodes, options)


@documented(arguments=_ARGUMENTS, raises=_RAISES)
def jdcov(y_true, y_pred, *, sensitive_features, sample_weight=None, n_nodes=N_NODES, **options):
    """:func:`fairdcov.metrics.jdcov` of Dask collections, by :func:`compress`.

    Parameters
    ----------
    <arguments>
    **options
        Those of the metric, such as ``c``, ``net``, ``normalize`` and ``encoder``; the V-statistic only.

    Returns
    -------
    float
        Squared joint distance covariance, off by O(h^2) for nodes h apart.

    Raises
    ------
    <raises>

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from fairdcov.distributed import jdcov
    >>> prediction = da.from_array(np.array([1.0, 1.0, 2.0, 2.0]), chunks=2)
    >>> jdcov(None, prediction, sensitive_features=da.from_array(np.array(["f", "f", "m", "m"]), chunks=2))
    0.25
    """
    return _dependence(metrics.jdcov, y_pred, sensitive_features, sample_weight, n_nodes, options)


def _dependence(metric, y_pred, sensitive_features, sample_weight, n_nodes, options):
    if options.get("control_features") is not None:
        raise ValueError("control_features are not there for Dask collections: use fairdcov.distributed.on_sample")
    few = compress(y_pred, sensitive_features=sensitive_features, sample_weight=sample_weight, n_nodes=n_nodes)
    return metric(**few.arguments(), **options)


@documented(arguments=_ARGUMENTS, raises=_RAISES)
def js_divergence(
    y_true,
    y_pred,
    *,
    sensitive_features,
    sample_weight=None,
    n_nodes=N_NODES,
    bandwidth="silverman",
    n_points="auto",
    group_weights="proportion",
    bins=None,
):
    """:func:`fairdcov.metrics.js_divergence` of Dask collections, by :func:`compress`.

    Parameters
    ----------
    <arguments>
    bandwidth, n_points, group_weights, bins
        As in :func:`fairdcov.metrics.js_divergence`; the rules of the bandwidth go by the rows, not by the nodes.

    Returns
    -------
    float
        In bits.

    Raises
    ------
    <raises>

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from fairdcov.distributed import js_divergence
    >>> prediction = da.from_array(np.array([0.1, 0.2, 0.3, 0.1, 0.2, 0.3]), chunks=2)
    >>> js_divergence(None, prediction, sensitive_features=da.from_array(np.array(list("aaabbb")), chunks=3))
    0.0
    """
    few = compress(y_pred, sensitive_features=sensitive_features, sample_weight=sample_weight, n_nodes=n_nodes)
    if isinstance(bandwidth, str):
        bandwidth = few.bandwidth(check_choice(bandwidth, "bandwidth", ("silverman", "scott"))) or "silverman"
    return metrics.js_divergence(
        **few.arguments(), bandwidth=bandwidth, n_points=n_points, group_weights=group_weights, bins=bins
    )


@documented(arguments=_ARGUMENTS, raises=_RAISES)
def demographic_parity_gap(y_true, y_pred, *, sensitive_features, sample_weight=None, n_nodes=N_NODES, bins=None):
    """:func:`fairdcov.metrics.demographic_parity_gap` of Dask collections, by :func:`compress`.

    Parameters
    ----------
    <arguments>
    bins : int or dict, optional
        As in :func:`fairdcov.metrics.js_divergence`.

    Returns
    -------
    float
        Largest difference between group means, which the nodes leave as they are.

    Raises
    ------
    <raises>

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from fairdcov.distributed import demographic_parity_gap
    >>> prediction = da.from_array(np.array([1.0, 1.0, 2.0, 3.0]), chunks=2)
    >>> gender = da.from_array(np.array(["f", "f", "m", "m"]), chunks=2)
    >>> demographic_parity_gap(None, prediction, sensitive_features=gender)
    1.5
    """
    few = compress(y_pred, sensitive_features=sensitive_features, sample_weight=sample_weight, n_nodes=n_nodes)
    return metrics.demographic_parity_gap(**few.arguments(), bins=bins)


@documented(arguments=_ARGUMENTS, raises=_RAISES)
def wasserstein_disparity(
    y_true, y_pred, *, sensitive_features, sample_weight=None, n_nodes=N_NODES, bins=None, **options
):
    """:func:`fairdcov.metrics.wasserstein_disparity` of Dask collections, by :func:`compress`.

    Parameters
    ----------
    <arguments>
    bins : int or dict, optional
        As in :func:`fairdcov.metrics.js_divergence`.
    **options
        Those of the metric beside ``min_group_size``.

    Returns
    -------
    float
        In the units of ``y_pred``.

    Raises
    ------
    <raises>

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from fairdcov.distributed import wasserstein_disparity
    >>> prediction = da.from_array(np.array([1.0, 1.0, 2.0, 2.0]), chunks=2)
    >>> gender = da.from_array(np.array(["f", "f", "m", "m"]), chunks=2)
    >>> wasserstein_disparity(None, prediction, sensitive_features=gender)
    1.0
    """
    few = compress(y_pred, sensitive_features=sensitive_features, sample_weight=sample_weight, n_nodes=n_nodes)
    return metrics.wasserstein_disparity(**few.arguments(), bins=bins, **options)


def group_summary(y_true, y_pred, *, sensitive_features, sample_weight=None, bins=None, min_group_size=1):
    """:func:`fairdcov.metrics.group_summary` of Dask collections: sums by group, exact.

    Parameters
    ----------
    y_true : Dask Series or Array, (n,)
        Observed values.
    y_pred : Dask Series or Array, (n,)
        Predictions.
    sensitive_features : Dask DataFrame, Series or Array, (n,) or (n, d)
        Protected attributes; several columns are crossed into intersectional groups.
    sample_weight : Dask Series or Array, (n,), optional
        Row weights such as exposure; rows of weight 0 are absent.
    bins : int or dict, optional
        As in :func:`fairdcov.metrics.js_divergence`.
    min_group_size : int, default=1
        Groups with fewer rows are marked in the column ``too_small``.

    Returns
    -------
    pandas.DataFrame
        As that of :func:`fairdcov.metrics.group_summary`.

    Raises
    ------
    ValueError
        For NaN and infinite values, which names the partition; for lengths that differ, and for more than 100,000
        distinct rows of attributes.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from fairdcov.distributed import group_summary
    >>> rows = [da.from_array(np.array(values), chunks=3) for values in ([0, 2, 1, 1], [1.0, 3.0, 1.0, 1.0])]
    >>> gender = da.from_array(np.array(["f", "f", "m", "m"]), chunks=2)
    >>> group_summary(*rows, sensitive_features=gender)["predicted_to_observed"].tolist()
    [2.0, 1.0]
    """
    check_whole_number(min_group_size, "min_group_size")
    rows = read_partitions(
        y_pred=y_pred, y_true=y_true, sensitive_features=sensitive_features, sample_weight=sample_weight
    )
    profiles = find_profiles(rows)
    expected, claims = rows.sum(_totals, profiles)
    groups = Attributes.read(profiles.frame).groups(bins, profiles.weights)

    def of_groups(values):
        return np.bincount(groups.codes, values, len(groups.labels))

    weight, claims, expected = of_groups(profiles.weights), of_groups(claims), of_groups(expected)
    n_rows = of_groups(profiles.n_rows).astype(np.int64)
    return pd.DataFrame(
        {
            "rows": n_rows,
            "weight": weight,
            "share": weight / weight.sum(),
            "mean_observed": claims / weight,
            "mean_predicted": expected / weight,
            "predicted_to_observed": np.divide(expected, claims, out=np.full(len(claims), np.nan), where=claims != 0),
            "too_small": n_rows < min_group_size,
        },
        index=pd.MultiIndex.from_tuples(groups.labels, names=groups.names),
    )


def _totals(block, profiles):
    u, weights, keep = _read(block)
    observed = check_finite_vector(np.asarray(block["y_true"]), "y_true")
    check_consistent_rows(len(keep), observed, "y_true", reference="y_pred")
    codes = profiles.codes_of(block["sensitive_features"])[keep]
    size = len(profiles.frame)
    return np.bincount(codes, weights * u, size), np.bincount(codes, weights * observed[keep], size)
