"""Group metrics, of all rows or within strata: there, groups are compared with those of the same stratum only."""

from dataclasses import replace

import numpy as np

from fairdcov.dependence import Strata
from fairdcov.encoding import DEFAULT_GROUPS, describe_groups, warn_about_order, warn_of_attributes, with_target
from fairdcov.metrics._grouped import bind_or_equal, evaluate, group_predictions, of_shares

__all__ = ["CONTROL_OPTIONS", "ComparedGroups", "ConditionalGroups", "compared_groups", "read_strata"]

# Part of the docstrings of what takes them.
CONTROL_OPTIONS = f"""control_features : DataFrame, Series, array or list, (n,) or (n, d), optional
        Legitimate factors of any type; several are crossed. The measure is then that within their strata, in the mean
        by the shares of the weight: differences between strata do not count.
    control_bins : int or dict, default={DEFAULT_GROUPS}
        How numbers among the control features are cut, as the ``bins`` of :func:`fairdcov.metrics.js_divergence`.
    given : {{"target"}}, optional
        Strata of the observed values ``y_true``, by :func:`fairdcov.metrics.target_strata`, alone or crossed with the
        ``control_features``: the measure is then one of separation, of predictions at equal claims."""


def read_strata(control_features, y_pred, control_bins, sample_weight=None):
    """Strata of the rows of ``y_pred``; None without control features."""
    if control_features is None:
        return None
    warn_about_order(y_pred=y_pred, control_features=control_features)
    return Strata.read(control_features, len(y_pred), control_bins, sample_weight, reference="y_pred")


class ComparedGroups:
    """Predictions in groups, of which metrics and their permutations are taken.

    Parameters
    ----------
    sample : GroupedPredictions
        Rows that take part.

    Attributes
    ----------
    n_rows : int
        Rows that permutations are of.
    """

    def __init__(self, sample):
        self.sample = sample
        self.n_rows = len(sample.codes) if sample.shares is None else sample.shares.shape[0]

    def bind(self, bind, *, equal=0.0, **options):
        """Function of a permutation of the rows, None for the rows as they are, that gives a metric.

        ``equal`` is what the metric is where nothing can differ.
        """
        sample = self.sample
        if sample.shares is None:
            function = bind_or_equal(sample, bind, equal=equal, **options)
            return lambda rows: function(sample.codes if rows is None else sample.codes[rows])
        # Weights and groups change together: nothing of them can be kept from one permutation to the next.
        return lambda rows: evaluate(sample if rows is None else sample.permuted(rows), bind, equal=equal, **options)

    def value(self, bind, **options):
        """A metric of the rows as they are."""
        return float(self.bind(bind, **options)(None))

    def permutation(self, generator):
        """A random permutation of the rows, (n_rows,)."""
        return generator.permutation(self.n_rows)


class ConditionalGroups(ComparedGroups):
    """Predictions in groups and strata; a metric is the mean, by weight, of those of the strata.

    Parameters
    ----------
    sample : GroupedPredictions
        Rows of all strata.
    strata : Strata
        Strata of the same rows, each once.
    min_group_size : int
        Groups with fewer rows in a stratum are left out there.
    """

    def __init__(self, sample, strata, min_group_size):
        sample, strata = _without_small_cells(sample, strata, min_group_size)
        super().__init__(sample)
        self.strata = strata
        weights = sample.weights if sample.shares is None else sample.weights_of_rows()
        self._parts, single = [], []
        for stratum in range(len(strata)):
            rows = strata.rows_of(stratum)
            part = _part(sample, rows)
            if part.n_groups < 2:
                single.append(stratum)
                continue
            self._parts.append((weights[rows].sum() / weights.sum(), rows, ComparedGroups(part)))
        if not self._parts and sample.n_groups > 1:
            raise ValueError(
                f"the control features {strata.names} determine the groups of {sample.names}: no stratum has two of "
                "them, so that nothing is left to compare. Drop control features, or cut them more coarsely by "
                "control_bins"
            )
        if single and self._parts:
            warn_of_attributes(
                f"{len(single)} of {len(strata)} strata of {strata.names} have rows of one group only, where nothing "
                f"differs: {strata.describe(single)}"
            )

    def bind(self, bind, *, equal=0.0, **options):
        """Function of a permutation of the rows within their strata, None for the rows as they are."""
        functions = [(share, rows, part.bind(bind, equal=equal, **options)) for share, rows, part in self._parts]
        idle = 1.0 - sum(share for share, _, _ in self._parts) if self._parts else 1.0

        def value(permutation):
            total = equal * idle
            for share, rows, function in functions:
                within = None if permutation is None else self.strata.positions[permutation[rows]]
                total += share * function(within)
            return total

        return value

    def permutation(self, generator):
        """A random permutation that leaves each row in its stratum."""
        return self.strata.permutation(generator)


def _without_small_cells(sample, strata, min_group_size):
    """The rows without those of groups that have too few in their stratum."""
    n_groups = sample.n_groups
    rows_of_cells = np.arange(len(sample.codes))
    row_weights = None
    if sample.shares is not None:
        rows_of_cells, row_weights = sample.share_rows(), sample.shares.data
    cells = strata.codes[rows_of_cells] * n_groups + sample.codes
    counts = np.bincount(cells, row_weights, minlength=len(strata) * n_groups)
    small = np.flatnonzero((counts > 0) & (np.ceil(counts) < min_group_size))
    if not len(small):
        return sample, strata
    labels = [(*strata.labels[cell // n_groups], *sample.labels[cell % n_groups]) for cell in small]
    shown = counts[small] if sample.shares is None else np.round(counts[small], 1)
    warn_of_attributes(
        f"{len(small)} group(s) have fewer than min_group_size={min_group_size} rows in a stratum of "
        f"{strata.names} and are left out there: {describe_groups(labels, shown)}"
    )
    keep = ~np.isin(cells, small)
    if not keep.any():
        raise ValueError(
            f"no group has min_group_size={min_group_size} rows within a stratum of {strata.names}; the "
            f"largest has {counts.max():g}"
        )
    if sample.shares is None:
        kept = replace(
            sample, predictions=sample.predictions[keep], weights=sample.weights[keep], codes=sample.codes[keep]
        )
        return kept, strata.part(keep)
    shares = sample.shares.copy()
    shares.data[~keep] = 0.0
    shares.eliminate_zeros()
    held = np.flatnonzero(np.diff(shares.indptr))
    return _of_rows(sample, held, shares[held]), strata.part(np.isin(np.arange(len(strata.codes)), held))


def _of_rows(sample, rows, shares):
    """The same groups with the shares of some rows."""
    return of_shares(sample.pooled.rows(rows), shares, sample.labels, sample.names, sample.omitted, rows)


def _part(sample, rows):
    """The predictions of some rows, with the groups that these are of."""
    whole = sample.whole
    if sample.shares is not None:
        shares = sample.shares[rows]
        present = np.flatnonzero(shares.sum(axis=0) > 0)
        part = _of_rows(sample, rows, shares[:, present])
        return replace(part, labels=[sample.labels[k] for k in present], part_of=whole)
    present, codes = np.unique(sample.codes[rows], return_inverse=True)
    return replace(
        sample,
        predictions=sample.predictions[rows],
        weights=sample.weights[rows],
        codes=codes,
        labels=[sample.labels[k] for k in present],
        rows=rows,
        part_of=whole,
    )


def compared_groups(
    y_true,
    y_pred,
    sensitive_features,
    sample_weight,
    control_features,
    control_bins,
    given=None,
    *,
    bins=None,
    min_group_size=1,
):
    """Check the arguments of a group metric, and split predictions into groups, and strata if there are any.

    Returns
    -------
    ComparedGroups
    """
    if control_features is None and given is None:
        return ComparedGroups(
            group_predictions(
                y_true, y_pred, sensitive_features, sample_weight, bins=bins, min_group_size=min_group_size
            )
        )
    sample = group_predictions(y_true, y_pred, sensitive_features, sample_weight, bins=bins)
    weights = None if sample_weight is None else np.broadcast_to(sample_weight, (len(y_pred),))
    control_features, control_bins = with_target(given, control_features, control_bins, y_true, weights)
    strata = read_strata(control_features, y_pred, control_bins, weights)
    keep = np.zeros(len(strata.codes), dtype=bool)
    keep[sample.rows] = True
    return ConditionalGroups(sample, strata if keep.all() else strata.part(keep), min_group_size)
