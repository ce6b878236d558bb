"""Two sets of premiums for the same policies: balance, deviance, order, dependence, groups, and what changes.

Of a rating table and its model, and of a tariff and the one that it replaces.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fairdcov._checks import Bins, Table, check_consistent_rows, check_finite_vector, check_sample_weight
from fairdcov.actuarial._experience import ALL, balance_table
from fairdcov.encoding import DEFAULT_GROUPS, Attributes, given_to, level_text, select_rows, warn_about_order
from fairdcov.metrics import ccdcov, divergence_summary, gini, js_divergence, mean_deviance

__all__ = ["compare", "comparison_lines", "comparison_table", "dependence_text"]

# A change of a premium that those who pay it will ask about.
_LARGE_CHANGE = 0.1


def comparison_table(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    baseline: ArrayLike,
    sensitive_features: Table | None = None,
    *,
    control_features: Table | None = None,
    sample_weight: ArrayLike | None = None,
    bins: Bins | None = None,
    power: float = 1.0,
) -> pd.DataFrame:
    """What a tariff costs beside another one: how much it still explains, who pays for whom, how many premiums change.

    Beside a model without penalty it is what fairness costs. Look at it on policies that were held back.

    Parameters
    ----------
    y_true : (n,) array
        Observed values per unit of exposure.
    y_pred : (n,) array
        Premiums (or rates) of the tariff, such as that of a penalised model.
    baseline : (n,) array
        Premiums of the other one for the same rows, such as the model without penalty.
    sensitive_features : DataFrame, Series or array, (n,) or (n, d), optional
        Protected attributes.
    control_features : DataFrame, Series or array, (n,) or (n, d), optional
        Legitimate factors that dependence and divergence are given.
    sample_weight : (n,) array, optional
        Exposure. Rows of zero exposure do not count.
    bins : int or dict, optional
        How protected numbers are cut into groups; by default, those of more than 20 values, into 5 quantile groups.
    power : float, default=1.0
        Variance power of the deviance: 0 normal, 1 Poisson, between 1 and 2 Tweedie, 2 gamma.

    Returns
    -------
    pandas.DataFrame
        Rows by ``measure``, columns ``baseline``, ``prediction`` and ``kept``, the share of what the baseline has that
        the prediction has. The measures: ``predicted total``; ``predicted / observed``; ``deviance``, the mean;
        ``explained deviance``, of the one of the observed mean; ``Gini``; with protected attributes ``dependence``
        (scale-free CCdCov), ``divergence`` (Jensen-Shannon, between their combinations, in bits), ``divergence,
        standard error`` where it is known, and ``A/E`` of each level, actual to expected (of attributes known as
        probabilities by the share that rows have in it); ``premium that changes``,
        the total of the absolute changes over the total of the baseline; and ``exposure that changes by over 10 %``.
        Measures that the values do not have, such as the deviance of claims of 0 for ``power=2``, are left out.

    Raises
    ------
    ValueError
        For unequal lengths and values that are not finite.

    See Also
    --------
    premium_changes : Which premiums change, by attribute.
    balance_table : Totals by protected attribute with intervals.

    Examples
    --------
    >>> import pandas as pd
    >>> from fairdcov.actuarial import comparison_table
    >>> people = pd.DataFrame({"gender": ["f", "m", "f", "m"]})
    >>> table = comparison_table([0.0, 2.0, 1.0, 1.0], [0.9, 1.1, 1.0, 1.0], [0.5, 1.5, 1.0, 1.0], people)
    >>> kept = table.set_index("measure")["kept"]
    >>> round(float(kept["explained deviance"]), 3)
    0.235
    >>> table.set_index("measure").loc["A/E of gender m"].round(3).tolist()[:2]
    [1.2, 1.429]
    """
    given = {"y_pred": y_pred, "baseline": baseline, "y_true": y_true}
    people = {"sensitive_features": sensitive_features, "control_features": control_features}
    warn_about_order(**given, sample_weight=sample_weight, **people)
    columns = {name: check_finite_vector(values, name) for name, values in given.items()}
    people = {name: given_to(None, value) for name, value in people.items() if value is not None}
    n_samples = len(columns["y_pred"])
    for name, values in {**columns, **people}.items():
        check_consistent_rows(n_samples, values, name, reference="y_pred")
    weights = check_sample_weight(sample_weight, n_samples, reference="y_pred")
    keep = weights > 0
    return compare(
        columns["baseline"][keep],
        columns["y_pred"][keep],
        columns["y_true"][keep],
        exposure=weights[keep],
        people={name: select_rows(value, keep) for name, value in people.items()},
        deviance=partial(mean_deviance, power=power),
        bins=bins,
        names=("baseline", "prediction"),
        changes=True,
    )


def compare(
    first, second, y, *, exposure, people, deviance, bins=None, names=("model", "table"), fidelity=False, changes=False
):
    """Figures of two predictions of the same rows.

    Parameters
    ----------
    first, second : (n,) array
        Predictions, of a model and of its table, or before and after.
    y : (n,) array or None
        Observed values.
    exposure : (n,) array
        Positive.
    people : dict
        ``sensitive_features`` and ``control_features``, where there are any.
    deviance : callable
        ``deviance(y, predicted, sample_weight=...)``, or a ValueError where it has no value.
    bins : int, dict or None
        Of protected numbers.
    names : (str, str)
        Columns of the two.
    fidelity : bool
        Whether to say how far the second one is from the first.
    changes : bool
        Whether to say how many premiums change.

    Returns
    -------
    pandas.DataFrame
        ``measure``, one column for each of ``names``, ``kept``.
    """
    rows = [("predicted total", float(exposure @ first), float(exposure @ second), np.nan)]
    deviance = partial(deviance, sample_weight=exposure)
    if fidelity:
        whole = deviance(first, np.full(len(first), np.average(first, weights=exposure)))
        lost = deviance(first, second)
        rows.append(("deviance from the model", 0.0, lost, 1 - lost / whole if whole > 0 else np.nan))
    if y is not None:
        rows += _adequacy(first, second, y, exposure, deviance)
    if "sensitive_features" in people:
        rows += _independence(first, second, y, exposure, people, DEFAULT_GROUPS if bins is None else bins)
    if changes and (first > 0).all():
        change = np.abs(second - first)
        rows.append(("premium that changes", 0.0, float(exposure @ change / (exposure @ first)), np.nan))
        large = float(exposure @ (change > _LARGE_CHANGE * first) / exposure.sum())
        rows.append((f"exposure that changes by over {_LARGE_CHANGE:.0%}".replace("%", " %"), 0.0, large, np.nan))
    return pd.DataFrame(rows, columns=["measure", *names, "kept"])


def _kept(second, first):
    return second / first if first > 0 else np.nan


def _adequacy(first, second, y, exposure, deviance):
    rows, both = [], (first, second)
    observed = float(exposure @ y)
    if observed > 0:
        rows.append(("predicted / observed", *(float(exposure @ values) / observed for values in both), np.nan))
    try:
        none = deviance(y, np.full(len(y), np.average(y, weights=exposure)))
        found = [deviance(y, values) for values in both]
    except ValueError:
        # Such as a gamma deviance of rows without claims.
        none = 0.0
    if none > 0:
        rows.append(("deviance", *found, np.nan))
        explained = [1 - value / none for value in found]
        rows.append(("explained deviance", *explained, _kept(explained[1], explained[0])))
    if observed > 0 and y.min() >= 0:
        order = [gini(y, values, sample_weight=exposure) for values in both]
        rows.append(("Gini", *order, _kept(order[1], order[0])))
    return rows


def _independence(first, second, y, exposure, people, bins):
    both, rows = (first, second), []
    found = [ccdcov(None, values, sample_weight=exposure, normalize=True, **people) for values in both]
    rows.append(("dependence", *found, np.nan))
    sensitive = people["sensitive_features"]
    groups = {"sensitive_features": sensitive, "sample_weight": exposure, "bins": bins}
    shares = Attributes.read(sensitive).probabilities
    if "control_features" in people or shares:
        control = people.get("control_features")
        found = [js_divergence(None, values, control_features=control, **groups) for values in both]
        rows.append(("divergence", *found, np.nan))
    else:
        summaries = [divergence_summary(None, values, **groups) for values in both]
        rows.append(("divergence", *(summary.divergence for summary in summaries), np.nan))
        rows.append(("divergence, standard error", *(summary.standard_error for summary in summaries), np.nan))
    if y is None or not min(values.min() for values in both) > 0:
        return rows
    if shares:
        rows += _experience_by_share(both, y, exposure, Attributes.read(sensitive), bins)
    else:
        tables = [
            balance_table(y, values, sensitive, sample_weight=exposure, bins=bins, interval="normal") for values in both
        ]
        for before, after in zip(*(part.itertuples() for part in tables), strict=True):
            if before.level != ALL:
                name = f"A/E of {before.factor} {level_text(before.level)}"
                rows.append((name, before.actual_to_expected, after.actual_to_expected, np.nan))
    return rows


def _experience_by_share(both, y, exposure, attributes, bins):
    """A/E of each level of attributes that are known as probabilities: each row counts by its share."""
    shares, labels, names = attributes.memberships(bins, exposure)
    totals = shares.T @ np.column_stack([exposure * values for values in (y, *both)])
    rows = []
    for position, name in enumerate(names):
        levels = np.array([level_text(label[position]) for label in labels])
        for level in dict.fromkeys(levels.tolist()):
            actual, *expected = totals[levels == level].sum(axis=0)
            if min(expected) > 0:
                rows.append((f"A/E of {name} {level}", *(float(actual / value) for value in expected), np.nan))
    return rows


def dependence_text(comparison):
    """Dependence of a table and of its model, in words."""
    row = comparison.set_index("measure").loc["dependence"]
    return f"dependence {row['table']:.3g}, {row['model']:.3g} of the model"


def comparison_lines(comparison):
    """What a table keeps of its model, in a few lines."""
    found = comparison.set_index("measure")
    lines = []
    if "deviance from the model" in found.index and np.isfinite(found.loc["deviance from the model", "kept"]):
        lines.append(f"{found.loc['deviance from the model', 'kept']:.1%} of the variation of the premiums is kept")
    for name in ("explained deviance", "Gini"):
        if name in found.index:
            row = found.loc[name]
            kept = f", {row['kept']:.0%} kept" if np.isfinite(row["kept"]) else ""
            lines.append(f"{name}: {row['table']:.4f}, {row['model']:.4f} of the model{kept}")
    for name in ("predicted / observed", "dependence", "divergence"):
        if name in found.index:
            row = found.loc[name]
            lines.append(f"{name}: {row['table']:.4g}, {row['model']:.4g} of the model")
    return lines
