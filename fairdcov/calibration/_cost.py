"""What a strength costs on the rows held out, beside the model without penalty: order, who pays for whom, what changes.

All figures are totals over rows that a model has not seen; nothing is kept of the predictions but sums.
"""

import warnings

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from fairdcov._checks import row_probabilities
from fairdcov.encoding import level_text
from fairdcov.metrics import gini

__all__ = ["FoldCost", "cost_levels", "cost_lines", "cost_table", "summarise_cost"]

# A change of a premium that those who pay it will ask about.
_LARGE_CHANGE = 0.1
_LARGE = "exposure that changes by over 10 %"
# Of the lines of a summary; the table has all.
_MOST_LEVELS = 12


class FoldCost:
    """Sums over the rows that a fold holds out, for each of its models.

    Parameters
    ----------
    y : (n,) array
        Target.
    model : estimator
        Fitted; of a classifier the second class is counted.
    attributes : Attributes
        Protected attributes of the rows.
    bins : dict or None
        Edges of those that are numbers.
    sample_weight : (n,) array or None
        Row weights.
    """

    def __init__(self, y, model, attributes, bins, sample_weight):
        self._weights = np.ones(len(attributes)) if sample_weight is None else sample_weight
        # Estimators take a column for a target as well.
        column = np.asarray(y)
        self._y = _as_numbers(column.ravel() if column.shape[1:] == (1,) else y, model)
        if attributes.probabilities:
            self._shares, labels, names = attributes.memberships(bins, sample_weight)
            self._codes = None
        else:
            self._codes, labels, names = attributes.groups(bins, sample_weight)
        self._labels = labels
        keys = [(name, level) for label in labels for name, level in zip(names, label, strict=True)]
        self._positions = {key: position for position, key in enumerate(dict.fromkeys(keys))}
        self._names = names
        self._unpenalised = None
        self.rows = []

    def add(self, predictions):
        """Take in the predictions of the next model; the first one is without penalty."""
        predictions = np.asarray(predictions, dtype=np.float64)
        if self._unpenalised is None:
            self._unpenalised = predictions
        weights, change = self._weights, np.abs(predictions - self._unpenalised)
        row = {
            "gini": np.nan,
            "expected": self._by_level(predictions),
            "change": float(weights @ change),
            "changed": float(weights @ (change > _LARGE_CHANGE * np.abs(self._unpenalised))),
        }
        if self._y is not None and self._y.min() >= 0 and self._y.max() > 0:
            row["gini"] = gini(self._y, predictions, sample_weight=row_probabilities(weights))
        self.rows.append(row)

    def found(self):
        """Sums of the fold, an entry for each model."""
        return {
            **{name: np.array([row[name] for row in self.rows]) for name in self.rows[0]},
            "levels": list(self._positions),
            "actual": None if self._y is None else self._by_level(self._y),
            "premium": float(self._weights @ np.abs(self._unpenalised)),
            "weight": float(self._weights.sum()),
        }

    def _by_level(self, values):
        """Weighted sum of values over the rows of each level of each attribute, (levels,)."""
        totals = self._weights * values
        if self._codes is None:
            of_groups = np.asarray(self._shares.T @ totals).ravel()
        else:
            of_groups = np.bincount(self._codes, totals, minlength=len(self._labels))
        sums = np.zeros(len(self._positions))
        for label, total in zip(self._labels, of_groups, strict=True):
            for key in zip(self._names, label, strict=True):
                sums[self._positions[key]] += total
        return sums


def _as_numbers(y, model):
    """Target as numbers; None where it has none."""
    if is_classifier(model) and hasattr(model, "classes_"):
        return (np.asarray(y) == model.classes_[-1]).astype(np.float64)
    try:
        y = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return y if y.ndim == 1 and len(y) and np.isfinite(y).all() else None


def cost_levels(found):
    """Levels of the protected attributes in any fold, (attribute, level), those of the first attribute first."""
    keys = list(dict.fromkeys(key for fold in found for key in fold["levels"]))
    names = list(dict.fromkeys(name for name, _ in keys))
    return sorted(keys, key=lambda key: names.index(key[0]))


def summarise_cost(found, n_strengths):
    """Parts of the results of a calibration, of what :meth:`FoldCost.found` has in each fold."""
    folds = [{**fold, **{name: fold[name][:n_strengths] for name in ("gini", "change", "changed")}} for fold in found]
    with warnings.catch_warnings():
        # Of nothing but NaN.
        warnings.simplefilter("ignore", RuntimeWarning)
        mean_gini = np.nanmean([fold["gini"] for fold in folds], axis=0)
    results = {
        "mean_gini": mean_gini,
        "gini_kept": mean_gini / mean_gini[0] if mean_gini[0] > 0 else np.full(n_strengths, np.nan),
        "premium_that_changes": _ratio(folds, "change", "premium"),
        "exposure_that_changes": _ratio(folds, "changed", "weight"),
    }
    keys = cost_levels(found)
    ratios = np.full((n_strengths, len(keys)), np.nan)
    for column, key in enumerate(keys):
        actual, expected = 0.0, np.zeros(n_strengths)
        for fold in folds:
            if key in fold["levels"] and fold["actual"] is not None:
                position = fold["levels"].index(key)
                actual += fold["actual"][position]
                expected += fold["expected"][:n_strengths, position]
        if (expected > 0).all():
            ratios[:, column] = actual / expected
    return {**results, "actual_to_expected": ratios}


def _ratio(folds, name, total):
    total = sum(fold[total] for fold in folds)
    return sum(fold[name] for fold in folds) / (total if total > 0 else np.nan)


def cost_table(results, levels, best, score_name):
    """The chosen strength beside strength 0, a row for each measure."""
    rows = [
        (score_name, results["mean_score"][0], results["mean_score"][best], results["kept"][best]),
        ("Gini", results["mean_gini"][0], results["mean_gini"][best], results["gini_kept"][best]),
        ("divergence", results["mean_divergence"][0], results["mean_divergence"][best], np.nan),
        ("premium that changes", 0.0, results["premium_that_changes"][best], np.nan),
        (_LARGE, 0.0, results["exposure_that_changes"][best], np.nan),
    ]
    for (name, level), ratios in zip(levels, results["actual_to_expected"].T, strict=True):
        rows.append((f"A/E of {name} {level_text(level)}", ratios[0], ratios[best], np.nan))
    table = pd.DataFrame(rows, columns=["measure", "no penalty", "chosen", "kept"])
    return table[np.isfinite(table["chosen"])].reset_index(drop=True)


def cost_lines(table, score_name):
    """The same in words, with the score by its name."""
    found = table.set_index("measure")
    lines = []
    for name in found.index[:2].intersection([table["measure"].iloc[0], "Gini"], sort=False):
        row = found.loc[name]
        kept = f": keeps {row['kept']:.0%}" if np.isfinite(row["kept"]) else ""
        lines.append(f"{name if name == 'Gini' else score_name} {row['no penalty']:.4g} -> {row['chosen']:.4g}{kept}")
    if "premium that changes" in found.index:
        moved, much = (found.loc[name, "chosen"] for name in ("premium that changes", _LARGE))
        lines.append(f"{moved:.1%} of the premium changes; {much:.0%} of the exposure by over 10 %")
    ratios = found[found.index.str.startswith("A/E of ")]
    if len(ratios):
        # Those that change most, where there are many.
        change = (ratios["chosen"] - ratios["no penalty"]).abs()
        shown = ratios.loc[change.sort_values(ascending=False, kind="stable").index[:_MOST_LEVELS]]
        shown = ratios.loc[[name for name in ratios.index if name in shown.index]]
        lines.append(
            "actual / expected: "
            + "; ".join(
                f"{name.removeprefix('A/E of ')} {row['no penalty']:.3f} -> {row['chosen']:.3f}"
                for name, row in shown.iterrows()
            )
        )
    return lines
