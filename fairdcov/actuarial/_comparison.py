"""A rating table beside the model that it was made of: balance, deviance, order, dependence, groups."""

import numpy as np
import pandas as pd

from fairdcov.actuarial._experience import ALL, balance_table
from fairdcov.encoding import DEFAULT_GROUPS, Attributes
from fairdcov.metrics import ccdcov, divergence_summary, gini, js_divergence, mean_deviance

__all__ = ["compare", "comparison_lines", "dependence_text"]


def compare(model, table, y, *, exposure, people, power, bins=None):
    """Figures of two predictions of the same rows; see :meth:`fairdcov.actuarial.RatingTable.compare`.

    Parameters
    ----------
    model, table : (n,) array
        Predictions of the model and of the table.
    y : (n,) array or None
        Observed values.
    exposure : (n,) array
        Positive.
    people : dict
        ``sensitive_features`` and ``control_features``, where there are any.
    power : float
        Variance power of the deviance.
    bins : int, dict or None
        Of protected numbers.

    Returns
    -------
    pandas.DataFrame
        ``measure``, ``model``, ``table``, ``kept``.
    """
    rows = [("predicted total", float(exposure @ model), float(exposure @ table), np.nan)]
    weight = {"sample_weight": exposure}
    mean = np.full(len(model), np.average(model, weights=exposure))
    of_model = mean_deviance(model, mean, power=power, **weight)
    lost = mean_deviance(model, table, power=power, **weight)
    rows.append(("deviance from the model", 0.0, lost, 1 - lost / of_model if of_model > 0 else np.nan))
    if y is not None:
        rows += _adequacy(model, table, y, exposure, power)
    if "sensitive_features" in people:
        rows += _independence(model, table, y, exposure, people, DEFAULT_GROUPS if bins is None else bins)
    return pd.DataFrame(rows, columns=["measure", "model", "table", "kept"])


def _share(table, model):
    return table / model if model > 0 else np.nan


def _adequacy(model, table, y, exposure, power):
    weight = {"sample_weight": exposure}
    observed = float(exposure @ y)
    constant = np.full(len(y), np.average(y, weights=exposure))
    rows = []
    if observed > 0:
        rows.append(
            ("predicted / observed", *(float(exposure @ values) / observed for values in (model, table)), np.nan)
        )
    # Not for gamma models of rows without claims, which have no deviance.
    if observed > 0 and y.min() >= 0 and (power < 2 or y.min() > 0):
        none = mean_deviance(y, constant, power=power, **weight)
        deviances = [mean_deviance(y, values, power=power, **weight) for values in (model, table)]
        rows.append(("deviance", *deviances, np.nan))
        if none > 0:
            explained = [1 - deviance / none for deviance in deviances]
            rows.append(("explained deviance", *explained, _share(explained[1], explained[0])))
        order = [gini(y, values, **weight) for values in (model, table)]
        rows.append(("Gini", *order, _share(order[1], order[0])))
    return rows


def _independence(model, table, y, exposure, people, bins):
    both, rows = (model, table), []
    found = [ccdcov(None, values, sample_weight=exposure, normalize=True, **people) for values in both]
    rows.append(("dependence", *found, np.nan))
    sensitive = people["sensitive_features"]
    groups = {"sensitive_features": sensitive, "sample_weight": exposure, "bins": bins}
    if "control_features" in people or Attributes.read(sensitive).probabilities:
        control = people.get("control_features")
        found = [js_divergence(None, values, control_features=control, **groups) for values in both]
        rows.append(("divergence", *found, np.nan))
    else:
        summaries = [divergence_summary(None, values, **groups) for values in both]
        rows.append(("divergence", *(summary.divergence for summary in summaries), np.nan))
        rows.append(("divergence, standard error", *(summary.standard_error for summary in summaries), np.nan))
    if y is not None and not Attributes.read(sensitive).probabilities:
        tables = [
            balance_table(y, values, sensitive, sample_weight=exposure, bins=bins, interval="normal") for values in both
        ]
        for first, second in zip(*(part.itertuples() for part in tables), strict=True):
            if first.level != ALL:
                name = f"A/E of {first.factor} {first.level}"
                rows.append((name, first.actual_to_expected, second.actual_to_expected, np.nan))
    return rows


def dependence_text(comparison):
    """Dependence of the table and of the model, in words."""
    row = comparison.set_index("measure").loc["dependence"]
    return f"dependence {row['table']:.3g}, {row['model']:.3g} of the model"


def comparison_lines(comparison):
    """What a table keeps of its model, in a few lines."""
    found = comparison.set_index("measure")
    lines = [f"{found.loc['deviance from the model', 'kept']:.1%} of the variation of the model's premiums is kept"]
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
