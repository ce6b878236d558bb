"""Group metrics within strata: groups are compared with those of the same stratum only."""

from dataclasses import replace

import numpy as np

from fairdcov.dependence import Strata
from fairdcov.encoding import DEFAULT_GROUPS, describe_groups, warn_about_order, warn_of_attributes
from fairdcov.metrics._grouped import bind_or_zero, group_predictions

__all__ = ["CONTROL_OPTIONS", "ConditionalGroups", "group_within_strata", "read_strata"]

# Part of the docstrings of what takes them.
CONTROL_OPTIONS = f"""control_features : DataFrame, Series, array or list, (n,) or (n, d), optional
        Legitimate factors of any type; several are crossed. The measure is then that within their strata, in the mean
        by the shares of the weight: differences between strata do not count.
    control_bins : int or dict, default={DEFAULT_GROUPS}
        How numbers among the control features are cut, as the ``bins`` of :func:`fairdcov.metrics.js_divergence`."""


def read_strata(control_features, y_pred, control_bins, sample_weight=None):
    """Strata of the rows of ``y_pred``; None without control features."""
    if control_features is None:
        return None
    warn_about_order(y_pred=y_pred, control_features=control_features)
    return Strata.read(control_features, len(y_pred), control_bins, sample_weight, reference="y_pred")


class ConditionalGroups:
    """Predictions in groups and strata.

    Parameters
    ----------
    sample : GroupedPredictions
        Rows of all strata.
    strata : Strata
        Strata of the same rows.
    min_group_size : int
        Groups with fewer rows in a stratum are left out there.
    """

    def __init__(self, sample, strata, min_group_size):
        n_groups = sample.n_groups
        cells = strata.codes * n_groups + sample.codes
        counts = np.bincount(cells, minlength=len(strata) * n_groups)
        small = np.flatnonzero((counts > 0) & (counts < min_group_size))
        if len(small):
            labels = [(*strata.labels[cell // n_groups], *sample.labels[cell % n_groups]) for cell in small]
            warn_of_attributes(
                f"{len(small)} group(s) have fewer than min_group_size={min_group_size} rows in a stratum of "
                f"{strata.names} and are left out there: {describe_groups(labels, counts[small])}"
            )
            keep = ~np.isin(cells, small)
            if not keep.any():
                raise ValueError(
                    f"no group has min_group_size={min_group_size} rows within a stratum of {strata.names}; the "
                    f"largest has {counts.max()}"
                )
            sample = replace(
                sample, predictions=sample.predictions[keep], weights=sample.weights[keep], codes=sample.codes[keep]
            )
            strata = strata.part(keep)
        self.strata, self.codes = strata, sample.codes
        self._parts = []
        single = []
        for stratum in range(len(strata)):
            rows = strata.rows_of(stratum)
            if len(rows) == 0:
                continue
            present = np.flatnonzero(np.bincount(sample.codes[rows], minlength=n_groups))
            if len(present) < 2:
                single.append(stratum)
                continue
            position = np.full(n_groups, -1, dtype=np.int64)
            position[present] = np.arange(len(present))
            part = replace(
                sample,
                predictions=sample.predictions[rows],
                weights=sample.weights[rows],
                codes=position[sample.codes[rows]],
                labels=[sample.labels[k] for k in present],
                rows=rows,
            )
            self._parts.append((sample.weights[rows].sum() / sample.weights.sum(), rows, position, part))
        if not self._parts and n_groups > 1:
            raise ValueError(
                f"the control features {strata.names} determine the groups of {sample.names}: no stratum has two of "
                "them, so that nothing is left to compare. Drop control features, or cut them more coarsely by "
                "control_bins"
            )
        if single and self._parts:
            warn_of_attributes(
                f"{len(single)} of {len(strata)} strata of {strata.names} have rows of one group only and count as 0: "
                f"{strata.describe(single)}"
            )

    def bind(self, bind, **options):
        """Function of group codes (n,) that gives the mean of a metric over the strata."""
        functions = [
            (share, rows, position, bind_or_zero(part, bind, **options)) for share, rows, position, part in self._parts
        ]
        return lambda codes: sum(
            (share * function(position[codes[rows]]) for share, rows, position, function in functions), 0.0
        )


def group_within_strata(
    y_true, y_pred, sensitive_features, sample_weight, control_features, control_bins, *, bins=None, min_group_size=1
):
    """Check the arguments of a conditional group metric, and split predictions into groups and strata.

    Returns
    -------
    ConditionalGroups
    """
    sample = group_predictions(y_true, y_pred, sensitive_features, sample_weight, bins=bins)
    if sample.shares is not None:
        raise TypeError(
            "control_features compare groups of rows whose protected attributes are observed, and some are known as "
            "probabilities here: use ccdcov, dcov or jdcov, which take both, or leave one of the two out"
        )
    weights = None if sample_weight is None else np.broadcast_to(sample_weight, (len(y_pred),))
    strata = read_strata(control_features, y_pred, control_bins, weights)
    keep = np.zeros(len(strata.codes), dtype=bool)
    keep[sample.rows] = True
    return ConditionalGroups(sample, strata if keep.all() else strata.part(keep), min_group_size)
