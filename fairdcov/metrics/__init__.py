"""Fairness metrics, scores and scorers.

Every fairness metric is ``f(y_true, y_pred, *, sensitive_features, sample_weight=None, ...)`` as in fairlearn; several
columns of ``sensitive_features`` are crossed into intersectional groups. The scorers ask for ``sensitive_features``
and ``sample_weight`` by themselves under scikit-learn's metadata routing.
"""

from fairdcov.encoding import sensitive_groups, target_strata
from fairdcov.metrics._dependence import ccdcov, dcov, jdcov
from fairdcov.metrics._divergence import (
    DivergenceSummary,
    GroupDensities,
    densities_of_groups,
    divergence_summary,
    group_densities,
    js_divergence,
    kernel_bandwidth,
)
from fairdcov.metrics._grouped import GroupedPredictions, bind_or_equal, group_predictions
from fairdcov.metrics._null import NullDistribution, null_distribution
from fairdcov.metrics._parity import (
    DistributionFunctions,
    demographic_parity_gap,
    group_summary,
    ks_disparity,
    unfairness_ratio,
    wasserstein_disparity,
)
from fairdcov.metrics._proxy import (
    AdmissiblePrice,
    admissible_price,
    proxy_discrimination,
    proxy_discrimination_by_feature,
)
from fairdcov.metrics._refit import best_score_below, fairest_within, lowest_divergence_within
from fairdcov.metrics._registry import GROUP_MEASURES
from fairdcov.metrics._scorers import (
    FairnessScorer,
    WeightedScorer,
    gini_scorer,
    make_fairness_scorer,
    make_weighted_scorer,
    neg_brier_scorer,
    neg_ccdcov_scorer,
    neg_dcov_scorer,
    neg_demographic_parity_gap_scorer,
    neg_gamma_deviance_scorer,
    neg_jdcov_scorer,
    neg_js_divergence_scorer,
    neg_ks_disparity_scorer,
    neg_log_loss_scorer,
    neg_net_js_divergence_scorer,
    neg_poisson_deviance_scorer,
    neg_root_mean_squared_error_scorer,
    neg_rps_scorer,
    neg_tier_parity_gap_scorer,
    neg_unfairness_ratio_scorer,
    neg_wasserstein_disparity_scorer,
    predictions_of,
    tier_parity_ratio_scorer,
)
from fairdcov.metrics._scores import (
    binary_log_loss,
    gini,
    gini_of_curve,
    lorenz_curve,
    mean_deviance,
    predicted_to_observed,
    root_mean_squared_error,
    rps,
)
from fairdcov.metrics._sufficiency import calibration_by_group, sufficiency_gap
from fairdcov.metrics._tiers import tier_parity_gap, tier_parity_ratio, tier_summary

__all__ = [
    "AdmissiblePrice",
    "DivergenceSummary",
    "FairnessScorer",
    "GroupDensities",
    "NullDistribution",
    "WeightedScorer",
    "admissible_price",
    "best_score_below",
    "binary_log_loss",
    "calibration_by_group",
    "ccdcov",
    "dcov",
    "demographic_parity_gap",
    "divergence_summary",
    "fairest_within",
    "gini",
    "gini_scorer",
    "group_densities",
    "group_summary",
    "jdcov",
    "js_divergence",
    "ks_disparity",
    "lorenz_curve",
    "lowest_divergence_within",
    "make_fairness_scorer",
    "make_weighted_scorer",
    "mean_deviance",
    "neg_brier_scorer",
    "neg_ccdcov_scorer",
    "neg_dcov_scorer",
    "neg_demographic_parity_gap_scorer",
    "neg_gamma_deviance_scorer",
    "neg_jdcov_scorer",
    "neg_js_divergence_scorer",
    "neg_ks_disparity_scorer",
    "neg_log_loss_scorer",
    "neg_net_js_divergence_scorer",
    "neg_poisson_deviance_scorer",
    "neg_root_mean_squared_error_scorer",
    "neg_rps_scorer",
    "neg_tier_parity_gap_scorer",
    "neg_unfairness_ratio_scorer",
    "neg_wasserstein_disparity_scorer",
    "null_distribution",
    "predicted_to_observed",
    "proxy_discrimination",
    "proxy_discrimination_by_feature",
    "root_mean_squared_error",
    "rps",
    "sensitive_groups",
    "sufficiency_gap",
    "target_strata",
    "tier_parity_gap",
    "tier_parity_ratio",
    "tier_parity_ratio_scorer",
    "tier_summary",
    "unfairness_ratio",
    "wasserstein_disparity",
]
