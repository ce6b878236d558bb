"""Are the differences between groups small enough, and is that sure? Two one-sided tests of each gap."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from fairdcov._checks import (
    Bins,
    RandomState,
    Table,
    check_choice,
    check_consistent_rows,
    check_finite_vector,
    check_positive_number,
    check_sample_weight,
    check_whole_number,
)
from fairdcov.encoding import (
    DEFAULT_GROUPS,
    Attributes,
    MissingSensitiveFeaturesError,
    certain_shares,
    check_sensitive_features,
    read_frame,
    warn_about_order,
    with_target,
)
from fairdcov.inference._decisions import decide
from fairdcov.inference._distance_correlation import DistanceCorrelationGap
from fairdcov.inference._families import Family, check_families, groupings, overall_outcome, result_rows, summary_of
from fairdcov.inference._gaps import FactorRegression, MeanGaps, RegressionGaps, SharedMeanGaps, factor_design

__all__ = ["EquivalenceTestResult", "equivalence_test"]

MEASURES = ("relative_mean", "given_factors", "tier", "distance_correlation")
ADJUSTMENTS = ("holm", "max_t")
# Rows of the table that a printed result shows.
_MOST_SHOWN = 30
# Profiles that a distance correlation is taken with: time and memory grow with rows times profiles.
_MOST_PROFILES = 2_000


@dataclass(frozen=True, eq=False)
class EquivalenceTestResult:
    """Outcome of :func:`equivalence_test`.

    Attributes
    ----------
    outcome : str
        ``"outside tolerance"`` if some gap is, ``"within tolerance"`` if all are, else ``"not enough evidence"``.
    attributes : list of dict
        For each attribute, and for the intersection of all if there are several: its names (``attributes``), ``kind``
        (``"attribute"`` or ``"intersection"``), ``outcome`` by the same rule, ``n_groups``, and how many of them are
        ``n_within``, ``n_unsure`` and ``n_outside``.
    groups : list of dict
        For each group of these: ``attributes``, ``kind``, ``group`` (its levels), ``rows``, ``exposure`` (sum of
        weights), ``value`` and ``reference`` (mean, or share above the threshold, of the group and of the rest; None
        given factors), ``gap`` (ratio less 1, or the distance correlation of ``"all groups"``) with its interval
        ``lower``, ``upper``, ``standard_error`` (of the logarithm of the ratio, or of the correlation), ``p_within``
        and ``p_outside`` (adjusted as ``adjust`` says), ``outcome``, ``rows_needed`` and ``exposure_needed`` in the
        whole book where there is not enough evidence, and ``note``.
        What is not defined is None.
    measure : str
        What was compared.
    tolerance : float
        Largest gap: ratios from ``1 / (1 + tolerance)`` to ``1 + tolerance`` are within.
    alpha : float
        Level of the tests; intervals have the level ``1 - 2 alpha``.
    adjust : str or None
        How the number of gaps was accounted for.
    n_compared : int
        Gaps that were tested; the two gaps of an attribute with two groups are one.
    n_samples : int
        Rows, without those of weight 0.
    exposure : float
        Sum of the weights.
    min_group_size : int
        Groups of fewer rows are not judged.
    threshold : float or None
        Price above which a row is in the tier.
    legitimate_features : list of str
        Factors that the gaps are given.
    """

    outcome: str
    attributes: list
    groups: list
    measure: str
    tolerance: float
    alpha: float
    adjust: str | None
    n_compared: int
    n_samples: int
    exposure: float
    min_group_size: int
    threshold: float | None
    legitimate_features: list

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text, which ``json.dumps`` takes.

        Returns
        -------
        dict
        """
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return found | {name: [dict(row) for row in found[name]] for name in ("attributes", "groups")}

    def to_frame(self) -> pd.DataFrame:
        """The groups as a table.

        Returns
        -------
        pandas.DataFrame
            With a row for each group.
        """
        return pd.DataFrame([row | {"attributes": " × ".join(row["attributes"])} for row in self.groups])

    def __str__(self):
        within = f"{-self.tolerance / (1 + self.tolerance):+.2%} to {self.tolerance:+.2%}"
        show = "{:+.2%}".format
        if self.measure == "distance_correlation":
            within, show = f"at most {self.tolerance:g}", "{:.4f}".format
        lines = [
            f"Gaps between groups: {self.outcome} ({within})",
            f"  {_measure_text(self)}; {self.n_samples:,} rows",
            f"  {_adjustment_text(self)}",
        ]
        for part in self.attributes:
            lines.append(f"  {' × '.join(part['attributes'])}: {part['outcome']}")
            rows = [row for row in self.groups if row["attributes"] == part["attributes"]]
            width = max(len(row["group"]) for row in rows)
            lines += [f"    {row['group']:<{width}}  {_row_text(row, show)}" for row in rows[:_MOST_SHOWN]]
            if len(rows) > _MOST_SHOWN:
                lines.append(f"    and {len(rows) - _MOST_SHOWN} more groups")
        return "\n".join(lines)


def _measure_text(result):
    if result.measure == "tier":
        return f"share of prices above {result.threshold:g}, group against the rest"
    if result.measure == "distance_correlation":
        return "distance correlation of price and attributes"
    given = f" given {', '.join(result.legitimate_features)}" if result.measure == "given_factors" else ""
    return f"mean price{given}, group against the rest"


def _adjustment_text(result):
    level = f"{100 * (1 - 2 * result.alpha):g} %"
    if result.adjust == "max_t" and result.n_compared > 1:
        return f"intervals for all {result.n_compared} gaps at once, tests at {100 * result.alpha:g} %"
    several = result.adjust == "holm" and result.n_compared > 1
    how = f", adjusted for {result.n_compared} gaps by Holm's method" if several else ""
    return f"intervals of {level} for each gap, tests at {100 * result.alpha:g} %{how}"


def _row_text(row, show):
    if row["gap"] is None:
        return f"{row['outcome']} ({row['note']})"
    text = show(row["gap"])
    if row["lower"] is not None:
        text += f" ({show(row['lower'])} to {show(row['upper'])})"
    text += f"  {row['outcome']}"
    if row["note"]:
        text += f" ({row['note']})"
    elif row["rows_needed"] is not None:
        text += f" (about {row['rows_needed']:,} rows would be needed)"
    return text


def equivalence_test(
    y_pred: ArrayLike,
    sensitive_features: Table,
    *,
    tolerance: float,
    measure: Literal["relative_mean", "given_factors", "tier", "distance_correlation"] = "relative_mean",
    sample_weight: ArrayLike | None = None,
    legitimate_features: Table | None = None,
    threshold: float | None = None,
    bins: Bins | None = None,
    alpha: float = 0.05,
    min_group_size: int = 30,
    adjust: Literal["holm", "max_t"] | None = "holm",
    random_state: RandomState = 0,
    given: Literal["target"] | None = None,
    y_true: ArrayLike | None = None,
) -> EquivalenceTestResult:
    """Test whether the price gaps between groups are within a tolerance: two one-sided tests of each gap.

    A test of independence that does not reject shows nothing. Here the burden of proof is the other way round: a gap is
    *within tolerance* only where the data rule out, at level ``alpha``, that it is as large as the tolerance; *outside
    tolerance* only where they rule out that it is within; and there is *not enough evidence* otherwise, with the number
    of rows that would be needed. The tolerance is a parameter: which one is right is not a statistical question.

    Parameters
    ----------
    y_pred : (n,) array
        Prices per unit of exposure, all positive.
    sensitive_features : DataFrame, Series, array or list, (n,) or (n, d)
        Protected attributes of any type. Each is looked at alone, and the intersection of all of them. Those known as
        probabilities (:func:`fairdcov.with_probabilities`) enter by the share of each row in each group.
    tolerance : float
        Largest relative gap, above 0. With 0.05 a ratio of group to rest is within if it lies between 1 / 1.05 (a gap
        of -4.8 %) and 1.05 (a gap of +5 %), so that swapping group and rest changes nothing. For a ratio of at least
        0.8, as in the four-fifths rule, 0.25. For ``"distance_correlation"`` the largest one, below 1.
    measure : {"relative_mean", "given_factors", "tier", "distance_correlation"}, default="relative_mean"
        The gap of a group. ``"relative_mean"``: mean price of the group, weighted by exposure, over that of all other
        rows, less 1. ``"given_factors"``: the same for rows with equal ``legitimate_features``, by a regression.
        ``"tier"``: the share of the group's exposure with prices above ``threshold`` over that of the rest, less 1.
        ``"distance_correlation"``: not a gap of each group but one figure for each attribute and the intersection, 0
        only where the whole distribution of prices is the same in all groups.
    sample_weight : (n,) array, optional
        Exposure. Rows of weight 0 do not count.
    legitimate_features : DataFrame, Series or array, (n,) or (n, p), optional
        Rating factors that a price may depend on, for ``"given_factors"``. Numbers with more than 20 distinct values
        enter as ten quantile groups and a straight line, everything else as levels; missing values are a level.
    threshold : float, optional
        Price of the tier, in the units of ``y_pred``, for ``"tier"``; a fixed one, not a quantile of the same prices.
    bins : int or dict, optional
        How numeric attributes are cut into groups, see :func:`fairdcov.metrics.js_divergence`.
    alpha : float, default=0.05
        Level of each one-sided test, below 0.5. The intervals have the level ``1 - 2 alpha``, 90 % by default.
    min_group_size : int, default=30
        A gap is not judged where the group, or the rest, has fewer rows; at least 2.
    adjust : {"holm", "max_t"} or None, default="holm"
        For several gaps. ``"holm"``: adjusted p-values decide, the intervals are for each gap alone. ``"max_t"``: the
        intervals are widened until they hold for all gaps at once, and decide. Either way the probability that any gap
        is called within though it is not is at most ``alpha``, and so is that of any called outside though it is not.
        None: each gap as if it were the only one.
    random_state : int, RandomState or None, default=0
        Seed of ``"max_t"``.
    given : {"target"}, optional
        Strata of the observed values, by :func:`fairdcov.metrics.target_strata`, are a factor for ``"given_factors"``,
        alone or beside the ``legitimate_features``: gaps at equal claims, which is separation.
    y_true : (n,) array, optional
        Observed values per unit of ``sample_weight``, for ``given``.

    Returns
    -------
    EquivalenceTestResult
        Print it, or take ``outcome``, ``attributes``, ``groups``, ``to_frame()`` or ``to_dict()``.

    Raises
    ------
    ValueError
        For a tolerance that is not positive, prices that are not, missing values, unequal lengths, attributes with one
        group only, too few rows to ever decide, factors that determine the attributes, a threshold that no price is
        above, more than 2,000 profiles for the distance correlation, and options that do not belong to the measure.
    TypeError
        For the distance correlation with attributes that are known as probabilities.

    See Also
    --------
    independence_test : Is there any dependence at all?
    fairdcov.report.audit : Has these outcomes as its first section.

    Notes
    -----
    *Estimates.* With weights w, prices u and group g, the mean of a group is ``sum(w u 1_g) / sum(w 1_g)``. The gap is
    tested as ``theta = log(m_g / m_rest)`` against ``± log(1 + tolerance)``. Given factors L, theta is the coefficient
    of ``1_g`` in the regression of ``log u`` on ``1_g`` and L, weighted by w.

    *Errors.* A row (weight, group, factors, price) is one independent draw. A price is a function of the row's
    features, not a value that scatters about a regression, so that the textbook errors of least squares do not
    hold; and exposures vary as prices do. The standard error is ``sqrt(sum psi_i^2)`` of the influence psi of each
    row: of a ratio of means ``w 1_g (u - m_g) / (sum(w 1_g) m_g)``, and the same of the rest; of a coefficient
    ``w g e / sum(w g^2)`` with g the indicator less what L predicts of it and e the residual (White 1980). It is scaled
    up for groups of few rows, and the skewness of the t-statistic is corrected to first order (Hall 1992), by which
    intervals are not quite symmetric. Quantiles are those of t with Satterthwaite's degrees of freedom, of which the
    reciprocal is higher by the excess kurtosis ``sum psi_i^4 / (sum psi_i^2)^2`` of the influence, less that of normal
    rows, since it says how well variance and skewness are known (not for shares, which say both). Rows that are not
    independent (several of one customer) need to be put together first.

    *Distance correlation.* R of the prices with the attributes as :class:`fairdcov.SensitiveEncoder` encodes them
    (numbers are not cut), as a V-statistic with the weights. ``value`` is R itself, ``gap`` R without what it is above
    0 by chance. The error is by the influence of each row on R^2, divided by 2 R; for the upper end of the interval
    only half of the chance is taken off.

    *Shares.* With the probability p of a group, the mean of the group is ``sum(w p u) / sum(w p)``, and that of the
    rest ``sum(w (1 - p) u) / sum(w (1 - p))``; given factors, p is the regressor. ``rows`` are expected numbers.

    *Decision.* With q the quantile at ``1 - alpha`` (or that of all gaps at once), within if
    ``|theta| + q se <= log(1 + tolerance)``, outside if ``|theta| - q se >= log(1 + tolerance)``.

    *Several gaps at once.* ``"max_t"`` draws the estimates from their joint normal distribution, with the correlations
    of their influence: the limit of a multiplier bootstrap. q is the quantile at ``1 - alpha`` of the largest
    ``|t|``, or Bonferroni's if that is smaller.

    *Rows needed.* Errors fall with the root of the rows. At ``rows_needed`` rows like these, and a gap that stays where
    the estimate is, the interval of a gap would just come free of the bound; the chance of that is about one half.

    References
    ----------
    D. J. Schuirmann (1987), A comparison of the two one-sided tests procedure and the power approach for assessing the
    equivalence of average bioavailability, Journal of Pharmacokinetics and Biopharmaceutics 15(6). H. White (1980),
    A heteroskedasticity-consistent covariance matrix estimator and a direct test for heteroskedasticity, Econometrica
    48(4). P. Hall (1992), On the removal of skewness by transformation, Journal of the Royal Statistical Society B
    54(1). S. D. Walter (1975), The distribution of Levin's measure of attributable risk, Biometrika 62(2). S. Holm
    (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6(2).

    Examples
    --------
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> from fairdcov.inference import equivalence_test
    >>> book = make_motor_portfolio(20_000, random_state=0)
    >>> gender = book.sensitive_features["gender"]
    >>> result = equivalence_test(book.fair_rate, gender, tolerance=0.05, sample_weight=book.exposure)
    >>> result.outcome
    'within tolerance'
    >>> equivalence_test(book.fair_rate[:300], gender[:300], tolerance=0.05).outcome
    'not enough evidence'
    """
    options = _Options(
        measure=check_choice(measure, "measure", MEASURES),
        tolerance=_check_tolerance(tolerance, measure),
        alpha=_check_alpha(alpha),
        min_group_size=check_whole_number(min_group_size, "min_group_size", 2),
        adjust=adjust if adjust is None else check_choice(adjust, "adjust", ADJUSTMENTS),
        threshold=_check_threshold(threshold, measure),
    )
    named = "legitimate_features are" if given is None else f"given={given!r} is"
    if (measure == "given_factors") != (legitimate_features is not None or given is not None):
        raise ValueError(
            "measure='given_factors' needs legitimate_features or given='target'; found neither"
            if measure == "given_factors"
            else f"{named} for measure='given_factors'; found measure={measure!r}, which ignores it"
        )
    prices, weights, attributes, keep = _read(
        y_pred, sensitive_features, sample_weight, legitimate_features, options.min_group_size
    )
    # Squares of exposures in any unit stay in the range of floats.
    scaled = weights / weights.mean()
    if y_true is not None:
        check_consistent_rows(len(keep), y_true, "y_true", reference="y_pred")
    legitimate_features, _ = with_target(
        given, legitimate_features, DEFAULT_GROUPS, y_true, sample_weight, argument="legitimate_features"
    )
    regression, names = None, []
    if legitimate_features is not None:
        frame = read_frame(legitimate_features, "legitimate_features", len(keep))
        names = [str(name) for name in frame.columns]
        frame = frame if keep.all() else frame[np.flatnonzero(keep), :]
        regression = FactorRegression(prices, scaled, factor_design(frame, weights))
    quantile_weights = None if sample_weight is None else weights
    families = [
        _family(kind, selected, bins, quantile_weights, weights, options) for kind, selected in groupings(attributes)
    ]
    check_families(families, options.min_group_size)
    parts = [_estimate(family, prices, scaled, regression, options) for family in families]
    judged = np.concatenate([_judged(family, part, options) for family, part in zip(families, parts, strict=True)])
    if regression is not None and not judged.any():
        raise ValueError(
            f"legitimate_features {names} determine the groups of {list(attributes.columns_of)}: within rows of equal "
            "factors there is nothing to compare"
        )
    decided = decide(families, parts, judged, options, len(prices), check_random_state(random_state))
    rows = result_rows(families, parts, judged, decided, options)
    summary = [summary_of(family, rows) for family in families]
    return EquivalenceTestResult(
        outcome=overall_outcome([row["outcome"] for row in rows]),
        attributes=summary,
        groups=rows,
        n_compared=decided.n_compared,
        n_samples=len(prices),
        exposure=float(weights.sum()),
        legitimate_features=names,
        **vars(options),
    )


@dataclass(frozen=True)
class _Options:
    """Options, checked."""

    tolerance: float
    measure: str
    alpha: float
    min_group_size: int
    adjust: str | None
    threshold: float | None

    @property
    def bound(self):
        """The tolerance on the scale that gaps are tested on."""
        if self.measure == "distance_correlation":
            return self.tolerance
        return math.log1p(self.tolerance)

    def gap(self, estimate):
        """A gap by its value on that scale."""
        if self.measure == "distance_correlation":
            return max(estimate, 0.0)
        return np.expm1(estimate)


def _check_alpha(alpha):
    if isinstance(alpha, bool) or not isinstance(alpha, numbers.Real) or not 0 < float(alpha) < 0.5:
        raise ValueError(f"alpha must be a number between 0 and 0.5, such as 0.05; found {alpha!r}")
    return float(alpha)


def _check_tolerance(tolerance, measure):
    tolerance = check_positive_number(tolerance, "tolerance")
    if measure == "distance_correlation" and tolerance >= 1:
        raise ValueError(f"tolerance must be below 1 for measure='distance_correlation'; found {tolerance:g}")
    return tolerance


def _check_threshold(threshold, measure):
    if measure == "tier":
        if threshold is None:
            raise ValueError("measure='tier' needs a threshold: the price above which a row is in the tier")
        return check_positive_number(threshold, "threshold")
    if threshold is not None:
        raise ValueError(f"threshold is for measure='tier'; found measure={measure!r}, which ignores it")
    return None


def _bins_of(bins, names):
    """What is said of the attributes of one grouping."""
    if not isinstance(bins, dict):
        return bins
    return {name: value for name, value in bins.items() if name in names}


def _read(y_pred, sensitive_features, sample_weight, legitimate_features, min_group_size):
    """Prices, weights and attributes of the rows that count, and which these are."""
    if sensitive_features is None:
        raise MissingSensitiveFeaturesError("equivalence_test needs sensitive_features; found None")
    warn_about_order(
        y_pred=y_pred,
        sensitive_features=sensitive_features,
        sample_weight=sample_weight,
        legitimate_features=legitimate_features,
    )
    prices = check_finite_vector(y_pred, "y_pred")
    check_sensitive_features(sensitive_features, len(prices), reference="y_pred")
    weights = check_sample_weight(sample_weight, len(prices), reference="y_pred")
    attributes = Attributes.read(sensitive_features)
    for column in attributes.columns.values():
        check_consistent_rows(len(prices), column, "sensitive_features", reference="y_pred")
        column.warn_of_numbers_as_text()
    keep = weights > 0
    if not keep.all():
        prices, weights, attributes = prices[keep], weights[keep], attributes.rows(keep)
    if len(prices) < 2 * min_group_size:
        found = f"{len(prices)} row(s)" + ("" if sample_weight is None else " of positive weight")
        raise ValueError(
            f"y_pred has {found}, too few to ever decide: a group and the rest need min_group_size={min_group_size} "
            f"rows each, {2 * min_group_size} in all"
        )
    if (prices <= 0).any():
        raise ValueError(
            f"y_pred must be positive, since gaps are relative; found {int((prices <= 0).sum())} value(s) of at most "
            f"0, such as {prices[prices <= 0][0]:g}"
        )
    return prices, weights, attributes, keep


def _family(kind, attributes, bins, quantile_weights, weights, options):
    """What is compared of one grouping."""
    if options.measure != "distance_correlation":
        return Family.of_groups(kind, attributes, _bins_of(bins, attributes.names), quantile_weights, weights)
    attributes.require_observed("a distance correlation with an error")
    family = Family.of_all_groups(kind, attributes, weights)
    if family.n_groups > _MOST_PROFILES:
        raise ValueError(
            f"measure='distance_correlation' takes at most {_MOST_PROFILES:,} profiles; found {family.n_groups:,} of "
            f"{family.names}: round numbers, or cut them into groups, before passing them"
        )
    return family


def _estimate(family, prices, weights, regression, options):
    """The gaps of a family, with their errors."""
    if family.blocks is not None:
        return DistanceCorrelationGap(prices, weights, family.blocks)
    if regression is not None:
        shares = certain_shares(family.codes, family.n_groups) if family.shares is None else family.shares
        return RegressionGaps(regression, shares)
    tier = options.measure == "tier"
    values = (prices > options.threshold).astype(np.float64) if tier else prices
    if not values.any():
        raise ValueError(
            f"threshold must leave prices above it; found {options.threshold:g}, and the highest price is "
            f"{prices.max():g}"
        )
    if family.shares is None:
        return MeanGaps(values, weights, family.codes, family.n_groups, shares=tier)
    return SharedMeanGaps(values, weights, family.shares, shares=tier)


def _judged(family, part, options):
    return family.large_enough(options.min_group_size) & np.isfinite(part.gaps.estimates)
