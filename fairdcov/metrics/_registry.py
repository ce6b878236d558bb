"""The differences between groups that are shown together, each once: its name, what it is, and how it is computed."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fairdcov.metrics._divergence import bind_js_divergence
from fairdcov.metrics._parity import (
    bind_demographic_parity_gap,
    bind_ks_disparity,
    bind_unfairness_ratio,
    bind_wasserstein_disparity,
)

__all__ = ["GROUP_MEASURES", "GroupMeasure"]


@dataclass(frozen=True)
class GroupMeasure:
    """A difference of the predictions between groups.

    Attributes
    ----------
    title, note : str
        Its name for people, and what it is.
    bind : callable
        Of a :class:`GroupedPredictions`: gives the function of group codes (n,).
    options : dict
        Of ``bind``.
    of_distributions : bool
        Whether it compares distribution functions, for which predictions may be gathered in cells, by pairs of groups.
    """

    title: str
    note: str
    bind: Callable
    options: dict = field(default_factory=dict)
    of_distributions: bool = False


GROUP_MEASURES = {
    "demographic_parity_gap": GroupMeasure(
        "Demographic parity gap", "largest difference of mean predictions, in their units", bind_demographic_parity_gap
    ),
    "unfairness_ratio": GroupMeasure(
        "Unfairness ratio, groups alike",
        "variance of the group means, however small the groups, over that of the predictions",
        bind_unfairness_ratio,
    ),
    "unfairness_ratio_by_share": GroupMeasure(
        "Unfairness ratio, groups by share",
        "share of the variance of the predictions between the groups, from 0 to 1",
        bind_unfairness_ratio,
        {"group_weights": "proportion"},
    ),
    "js_divergence": GroupMeasure("Jensen–Shannon divergence", "between all groups, in bits", bind_js_divergence),
    "ks_disparity": GroupMeasure(
        "Kolmogorov–Smirnov distance",
        "largest over pairs of groups, from 0 to 1",
        bind_ks_disparity,
        of_distributions=True,
    ),
    "wasserstein_disparity": GroupMeasure(
        "Wasserstein distance",
        "largest over pairs of groups, in units of the predictions",
        bind_wasserstein_disparity,
        of_distributions=True,
    ),
}
