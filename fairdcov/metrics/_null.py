"""The level of a metric when the groups do not matter, by permuting the rows of the protected attributes."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from fairdcov._checks import (
    Bins,
    MetricFunction,
    RandomState,
    Table,
    check_consistent_rows,
    check_sample_weight,
    check_whole_number,
    documented,
)
from fairdcov.encoding import (
    DEFAULT_GROUPS,
    Attributes,
    MissingSensitiveFeaturesError,
    array_of_rows,
    as_given,
    with_target,
)
from fairdcov.metrics._conditional import CONTROL_OPTIONS, compared_groups, read_strata
from fairdcov.metrics._dependence import DependenceSample, ccdcov, dcov, jdcov
from fairdcov.metrics._divergence import bind_js_divergence, js_divergence
from fairdcov.metrics._parity import (
    bind_demographic_parity_gap,
    bind_ks_disparity,
    bind_unfairness_ratio,
    bind_wasserstein_disparity,
    demographic_parity_gap,
    ks_disparity,
    unfairness_ratio,
    wasserstein_disparity,
)
from fairdcov.metrics._tiers import bind_tier_parity_gap, tier_parity_gap

__all__ = ["NullDistribution", "null_distribution"]

_GROUP_METRICS = {
    demographic_parity_gap: bind_demographic_parity_gap,
    js_divergence: bind_js_divergence,
    ks_disparity: bind_ks_disparity,
    tier_parity_gap: bind_tier_parity_gap,
    unfairness_ratio: bind_unfairness_ratio,
    wasserstein_disparity: bind_wasserstein_disparity,
}
_DEPENDENCE_METRICS = {ccdcov: "ccdcov", dcov: "dcov", jdcov: "jdcov"}


@dataclass(frozen=True, eq=False)
class NullDistribution:
    """Values of a metric under permuted protected attributes.

    Attributes
    ----------
    values : (n_permutations,) array
        One value for each permutation.
    observed : float
        The metric of the data as they are.
    """

    values: np.ndarray
    observed: float

    @property
    def mean(self) -> float:
        """Mean level when the groups do not matter."""
        return float(self.values.mean())

    def quantile(self, q: ArrayLike) -> Any:
        """Quantile of the values; ``quantile(0.95)`` is the usual null level.

        Parameters
        ----------
        q : float or array of floats in [0, 1]
            Level.

        Returns
        -------
        float or array of floats
            One for each level.
        """
        quantile = np.quantile(self.values, np.asarray(q))
        return float(quantile) if np.ndim(q) == 0 else quantile

    def p_value(self, observed: float | None = None) -> float:
        """Share of values at or above a value, the value itself counted: valid at any number of permutations.

        Parameters
        ----------
        observed : float, optional
            :attr:`observed` by default.

        Returns
        -------
        float
            In (0, 1].
        """
        observed = self.observed if observed is None else observed
        # Equal in exact arithmetic must count as equal, whatever the order of the sums.
        reached = self.values >= observed - 1e-10 * max(abs(observed), float(np.abs(self.values).max()))
        return float((1 + np.count_nonzero(reached)) / (1 + len(self.values)))

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=dtype, copy=copy)

    def __repr__(self):
        return (
            f"NullDistribution(n_permutations={len(self.values)}, mean={self.mean:.4g}, "
            f"quantile_95={self.quantile(0.95):.4g}, observed={self.observed:.4g}, p_value={self.p_value():.4g})"
        )


def _takes(function, argument):
    parameters = inspect.signature(function).parameters
    return argument in parameters or any(given.kind is given.VAR_KEYWORD for given in parameters.values())


def _check_conditional(metric):
    if not _takes(metric, "control_features"):
        raise TypeError(
            f"{getattr(metric, '__name__', metric)} does not take control_features: use a metric of fairdcov.metrics "
            "that does, or leave them out"
        )


@documented(control=CONTROL_OPTIONS)
def null_distribution(
    metric: MetricFunction,
    y_true: ArrayLike | None,
    y_pred: ArrayLike,
    *,
    sensitive_features: Table,
    sample_weight: ArrayLike | None = None,
    n_permutations: int = 200,
    random_state: RandomState | None = None,
    control_features: Table | None = None,
    control_bins: Bins = DEFAULT_GROUPS,
    given: Literal["target"] | None = None,
    **kwargs: Any,
) -> NullDistribution:
    """Distribution of a metric when the protected attributes do not matter.

    The rows of the attributes are permuted jointly, which keeps the dependence between the attributes and breaks that
    on predictions, observed values and weights.

    Parameters
    ----------
    metric : callable
        ``metric(y_true, y_pred, *, sensitive_features, sample_weight=None, **kwargs)``. The metrics of this package
        form groups, grids and distances once for all permutations; others are simply called.
    y_true : (n,) array or None
        Observed values.
    y_pred : (n,) array
        Predictions.
    sensitive_features : DataFrame, Series, array or list, (n,) or (n, d)
        Protected attributes.
    sample_weight : (n,) array, optional
        Row weights; they stay with their predictions.
    n_permutations : int, default=200
        Number of permutations.
    random_state : int, RandomState or None, default=None
        Seed of the permutations.
    <control>
        Rows are permuted within the strata, and the metric is the one within strata. It has to be one that takes
        ``control_features``.
    **kwargs
        Options of the metric.

    Returns
    -------
    NullDistribution

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov.metrics import js_divergence, null_distribution
    >>> group = np.repeat(["a", "b"], 100)
    >>> prediction = np.random.default_rng(0).normal(size=200) + (group == "b")
    >>> null = null_distribution(js_divergence, None, prediction, sensitive_features=group, random_state=0)
    >>> bool(null.observed > null.quantile(0.99)), round(null.p_value(), 3)
    (True, 0.005)
    """
    check_whole_number(n_permutations, "n_permutations")
    if sensitive_features is None:
        raise MissingSensitiveFeaturesError("sensitive_features is needed to permute it; found None")
    generator = check_random_state(random_state)
    data: tuple[Any, Any, Any, Any] = (y_true, y_pred, sensitive_features, sample_weight)
    control_features, control_bins = with_target(given, control_features, control_bins, y_true, sample_weight)
    control = {} if control_features is None else {"control_features": control_features, "control_bins": control_bins}
    if metric in _DEPENDENCE_METRICS:
        kwargs.update(control)
        sample = DependenceSample(_DEPENDENCE_METRICS[metric], *data, permuted=True, **kwargs)
        return NullDistribution(sample.permuted_values(n_permutations, generator), sample.value())
    if control:
        _check_conditional(metric)
    if metric in _GROUP_METRICS:
        grouping = {name: kwargs.pop(name) for name in ("bins", "min_group_size") if name in kwargs}
        groups = compared_groups(*data, control_features, control_bins, **grouping)
        function, permutation = groups.bind(_GROUP_METRICS[metric], **kwargs), groups.permutation
    else:
        weights = (
            None if sample_weight is None else check_sample_weight(sample_weight, len(data[1]), reference="y_pred")
        )
        strata = read_strata(control_features, y_pred, control_bins, weights)
        own = {name: value for name, value in control.items() if _takes(metric, name)}
        function, n = _bind_any_metric(metric, data, {**own, **kwargs})
        permutation = strata.permutation if control else lambda generator: generator.permutation(n)
    observed = function(None)
    values = np.array([function(permutation(generator)) for _ in range(n_permutations)], dtype=np.float64)
    return NullDistribution(values, float(observed))


def _bind_any_metric(metric, data, options):
    y_true, y_pred, sensitive_features, sample_weight = data
    if isinstance(sensitive_features, Attributes) and sensitive_features.probabilities:
        raise TypeError(
            f"{getattr(metric, '__name__', metric)} is not of this package and would not know that "
            f"{list(sensitive_features.probabilities)} are known as probabilities: take one of fairdcov.metrics"
        )
    sensitive_features = as_given(sensitive_features)
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    frame = nw.from_native(sensitive_features, eager_only=True, allow_series=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame | nw.Series):
        frame = array_of_rows(sensitive_features)
    n = len(y_pred)
    check_consistent_rows(n, frame, "sensitive_features", reference="y_pred")

    def function(rows):
        permuted = frame
        if rows is not None:
            permuted = frame[rows] if isinstance(frame, np.ndarray | nw.Series) else frame[rows, :]
        permuted = nw.to_native(permuted, pass_through=True)
        if rows is not None and hasattr(permuted, "set_axis"):
            # The labels of pandas stay with the predictions.
            permuted = permuted.set_axis(sensitive_features.index)
        return metric(y_true, y_pred, sensitive_features=permuted, **weights, **options)

    return function, n
