"""Predictions split by intersectional groups: what every group metric starts from."""

from dataclasses import dataclass, replace

import numpy as np

# The rules of what a column of attributes may hold are those of the encoder, so that a sample that can be penalised can
# be measured.
from fairdcov._checks import (
    check_consistent_rows,
    check_finite_vector,
    check_sample_weight,
    check_whole_number,
    is_constant,
)
from fairdcov.encoding import (
    Attributes,
    MissingSensitiveFeaturesError,
    describe_groups,
    warn_about_order,
    warn_of_attributes,
)

__all__ = [
    "GROUP_ARGUMENTS",
    "GroupedPredictions",
    "bind_or_equal",
    "evaluate",
    "group_predictions",
    "of_shares",
    "reject_shares",
]


_PREDICTIONS = """y_pred : (n,) array
        Predictions.
    sensitive_features : DataFrame, Series, array or list, (n,) or (n, d)
        Protected attributes; several columns are crossed into intersectional groups.
    sample_weight : (n,) array, optional
        Row weights such as exposure; rows of weight 0 are absent."""

_NOT_USED = """y_true : (n,) array or None
        Not used; there for scikit-learn's and fairlearn's convention."""

_SHARED_LAST = """bins : int or dict, optional
        How numeric attributes are cut into groups, see :func:`js_divergence`.
    min_group_size : int, default=1
        Groups with fewer rows are left out of the comparison, with a warning that names them."""


# Parameters that docstrings of group metrics share.
GROUP_ARGUMENTS = {
    "shared": f"{_NOT_USED}\n    {_PREDICTIONS}",
    "predictions": _PREDICTIONS,
    "shared last": _SHARED_LAST,
}


@dataclass(frozen=True, eq=False)
class Pooled:
    """Predictions with their weights, not split into groups."""

    predictions: np.ndarray
    weights: np.ndarray

    def rows(self, rows):
        """Some of them."""
        return Pooled(self.predictions[rows], self.weights[rows])


@dataclass(frozen=True, eq=False)
class GroupedPredictions:
    """Predictions with their weights and groups, checked; rows that do not take part are left out.

    Attributes
    ----------
    predictions, weights : (n,) float64 arrays
        Rows of positive weight in groups that are large enough.
    codes : (n,) int64 array
        Group of each row, in ``range(K)``.
    labels : list of K tuples
        Levels of each group.
    names : list of str
        Names of the attributes.
    omitted : list of tuple
        Groups left out because they have fewer rows than ``min_group_size``.
    rows : (n,) int64 array or slice
        Which rows of the input these are.
    shares : (m, K) scipy.sparse.csr_array or None
        Where attributes are known as probabilities, the share of each of the m rows of the input in each group: the
        ``predictions`` are then repeated for every group that a row has a share in, with its weight times the share.
    pooled : Pooled or None
        These rows, each once; None where ``shares`` is.
    part_of : GroupedPredictions or None
        What these are a stratum of.
    """

    predictions: np.ndarray
    weights: np.ndarray
    codes: np.ndarray
    labels: list
    names: list
    omitted: list
    rows: object
    shares: object = None
    pooled: Pooled | None = None
    part_of: object = None

    @property
    def whole(self):
        """The predictions of all strata: for thresholds that are the same in each."""
        return self if self.part_of is None else self.part_of

    @property
    def once(self):
        """What has ``predictions`` and ``weights`` of every row once: for a spread or a bandwidth of all rows."""
        return self if self.pooled is None else self.pooled

    def row_counts(self):
        """Rows in each group; expected ones where attributes are known as probabilities."""
        if self.shares is not None:
            return self.shares.sum(axis=0)
        return np.bincount(self.codes, minlength=self.n_groups)

    def permuted(self, rows):
        """The same predictions with the shares of other rows; only where attributes are known as probabilities."""
        found = of_shares(self.pooled, self.shares[rows], self.labels, self.names, self.omitted, np.arange(len(rows)))
        return replace(found, part_of=self.part_of)

    def share_rows(self):
        """Which row each entry of ``predictions`` is of; only where attributes are known as probabilities."""
        return np.repeat(np.arange(self.shares.shape[0]), np.diff(self.shares.indptr))

    def weights_of_rows(self):
        """Weight of each row in the groups that are compared; only where attributes are known as probabilities."""
        return self.pooled.weights * self.shares.sum(axis=1)

    @property
    def n_groups(self):
        """Number K of groups."""
        return len(self.labels)

    def totals(self, values, codes=None):
        """Sum of ``values`` (n,) in each group."""
        return np.bincount(self.codes if codes is None else codes, weights=values, minlength=self.n_groups)

    def quantiles(self, levels):
        """Quantiles of the predictions by weight (m,): the least prediction up to which there is that share of it."""
        order = np.argsort(self.predictions, kind="stable")
        reached = np.cumsum(self.weights[order])
        # Sums in another order of the rows differ in the last bits, which must not move a quantile to the next row.
        rows = np.searchsorted(reached, levels * reached[-1] * (1 - 1e-12))
        return self.predictions[order[np.minimum(rows, len(order) - 1)]]

    def group_means(self, codes=None):
        """Weighted mean prediction of each group."""
        return self.totals(self.weights * self.predictions, codes) / self.totals(self.weights, codes)


def group_predictions(
    y_true, y_pred, sensitive_features, sample_weight=None, *, bins=None, min_group_size=1, compare=True
):
    """Check the arguments that all group metrics share and split the predictions into groups.

    Parameters
    ----------
    y_true : (n,) array or None
        Only its length is looked at.
    y_pred : (n,) array
        Predictions.
    sensitive_features : DataFrame, Series, array or list, (n,) or (n, d)
        Protected attributes.
    sample_weight : (n,) array, optional
        Row weights; rows of weight 0 count as absent.
    bins : int or dict, optional
        See :func:`make_groups`.
    min_group_size : int, default=1
        Groups with fewer rows are left out, with a warning that names them.
    compare : bool, default=True
        Warn when fewer than two groups are left, since nothing can be compared then.

    Returns
    -------
    GroupedPredictions
    """
    if sensitive_features is None:
        raise MissingSensitiveFeaturesError("sensitive_features is needed to form groups; found None")
    check_whole_number(min_group_size, "min_group_size")
    warn_about_order(y_pred=y_pred, y_true=y_true, sensitive_features=sensitive_features, sample_weight=sample_weight)
    predictions = check_finite_vector(y_pred, "y_pred")
    if len(predictions) == 0:
        raise ValueError("y_pred must have at least one row; found 0")
    if y_true is not None:
        check_consistent_rows(len(predictions), np.asarray(y_true), "y_true", reference="y_pred")
    weights = check_sample_weight(sample_weight, len(predictions), reference="y_pred")
    keep = weights > 0
    # Quantile edges come from the rows that count; all rows are cut by them.
    quantile_weights = None if sample_weight is None else weights
    attributes = Attributes.read(sensitive_features)
    for column in attributes.columns.values():
        column.warn_of_numbers_as_text()
    attributes.warn_of_likely_probabilities()
    if attributes.probabilities:
        check_consistent_rows(len(predictions), attributes, "sensitive_features", reference="y_pred")
        shares, labels, names = attributes.memberships(bins, quantile_weights)
        return _soft_groups(predictions, weights, shares, labels, names, min_group_size, compare)
    codes, labels, names = attributes.groups(bins, quantile_weights)
    check_consistent_rows(len(predictions), codes, "sensitive_features", reference="y_pred")
    counts = np.bincount(codes[keep] if not keep.all() else codes, minlength=len(labels))
    absent = np.flatnonzero(counts == 0)
    if len(absent):
        warn_of_attributes(
            f"{len(absent)} group(s) have no row of positive weight and do not count: "
            f"{describe_groups([labels[k] for k in absent])}"
        )
    kept = np.flatnonzero(counts >= min_group_size)
    if len(kept) == 0:
        raise ValueError(
            f"no group has min_group_size={min_group_size} rows; the largest of {len(labels)} has {counts.max()}"
        )
    small = np.flatnonzero((counts > 0) & (counts < min_group_size))
    omitted = [labels[k] for k in small]
    if omitted:
        warn_of_attributes(
            f"{len(small)} group(s) have fewer than min_group_size={min_group_size} rows and are left out of the "
            f"comparison: {describe_groups(omitted, counts[small])}"
        )
    rows = slice(None)
    if len(kept) < len(labels) or not keep.all():
        position = np.full(len(labels), -1, dtype=np.int64)
        position[kept] = np.arange(len(kept))
        codes = position[codes]
        rows = np.flatnonzero(keep & (codes >= 0))
        predictions, weights, codes = predictions[rows], weights[rows], codes[rows]
        labels = [labels[k] for k in kept]
    if compare and len(labels) < 2:
        warn_of_attributes(
            f"all rows are in one group ({describe_groups(labels)}): there is nothing to compare, the measure is 0"
        )
    return GroupedPredictions(predictions, weights, codes, labels, names, omitted, rows)


def _soft_groups(predictions, weights, shares, labels, names, min_group_size, compare):
    """Rows that have a share in several groups, as one row for each of them."""
    keep = np.flatnonzero(weights > 0)
    if len(keep) < len(weights):
        predictions, weights, shares = predictions[keep], weights[keep], shares[keep]
    counts = shares.sum(axis=0)
    enough = np.ceil(counts) >= min_group_size
    kept = np.flatnonzero(enough)
    if len(kept) == 0:
        raise ValueError(
            f"no group has min_group_size={min_group_size} expected rows; the largest of {len(labels)} has "
            f"{counts.max():.1f}"
        )
    small = np.flatnonzero((counts > 0) & ~enough)
    omitted = [labels[k] for k in small]
    if omitted:
        warn_of_attributes(
            f"{len(small)} group(s) have fewer than min_group_size={min_group_size} expected rows and are left out of "
            f"the comparison: {describe_groups(omitted)}"
        )
    if compare and len(kept) < 2:
        warn_of_attributes("all rows are in one group: there is nothing to compare, the measure is 0")
    if len(kept) < len(labels):
        shares = shares[:, kept]
    if omitted:
        # Rows that are of omitted groups only are absent, as where it is observed that they are.
        held = np.flatnonzero(np.diff(shares.indptr))
        predictions, weights, shares, keep = predictions[held], weights[held], shares[held], keep[held]
    labels = [labels[k] for k in kept]
    return of_shares(Pooled(predictions, weights), shares, labels, names, omitted, keep)


def of_shares(pooled, shares, labels, names, omitted, positions):
    """Each of the rows once for every group that it has a share in."""
    row = np.repeat(np.arange(shares.shape[0]), np.diff(shares.indptr))
    return GroupedPredictions(
        pooled.predictions[row],
        pooled.weights[row] * shares.data,
        shares.indices.astype(np.int64),
        labels,
        names,
        omitted,
        positions[row],
        shares,
        pooled,
    )


def reject_shares(sample, name, instead):
    """Raise where attributes are known as probabilities and a function cannot tell how sure it then is."""
    if sample.shares is not None:
        raise TypeError(
            f"{name} has errors for observed protected attributes, and some are known as probabilities here: use "
            f"fairdcov.metrics.{instead}, and bootstrap the rows for its error"
        )


def evaluate(sample, bind, **options):
    """Value of a group metric: what its bound function says where anything can differ."""
    return bind_or_equal(sample, bind, **options)(sample.codes)


def bind_or_equal(sample, bind, *, equal=0.0, **options):
    """The function of group codes that ``bind`` makes, or that of ``equal`` for one group or a constant prediction."""
    # Binding comes first so that options are checked in any case.
    constant = is_constant(sample.predictions)
    function = bind(sample, **options)
    if sample.n_groups < 2 or constant:
        return lambda codes: equal
    return function
