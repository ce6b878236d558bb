"""Who gets into the dear tiers: shares of the groups above thresholds of the premium."""

import warnings

import numpy as np

from fairdcov.encoding import SensitiveFeaturesWarning
from fairdcov.metrics import tier_summary
from fairdcov.report._differences import label_of, levels_of

__all__ = ["check_thresholds", "tiers_section"]

# Quantiles of the predictions, by exposure, where no thresholds are given.
_QUANTILES = (0.5, 0.75, 0.9)
_FIGURES = (
    *("rows", "share", "share_lower", "share_upper", "rest"),
    *("difference", "difference_lower", "difference_upper", "ratio", "ratio_lower", "ratio_upper"),
)


def check_thresholds(thresholds):
    """Thresholds as a list, None for the quantiles."""
    if thresholds is None:
        return None
    try:
        found = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise TypeError(f"tier_thresholds must be a list of numbers; found {thresholds!r}") from error
    if found.ndim != 1 or len(found) == 0 or not np.isfinite(found).all() or (np.diff(found) <= 0).any():
        raise ValueError(f"tier_thresholds must be one or more finite, increasing numbers; found {thresholds!r}")
    return found.tolist()


def _quantiles(sample):
    """Distinct quantiles of the predictions: the least prediction up to which there is that share of the exposure."""
    order, exposure = sample.order("y_pred"), sample.book.exposure
    reached = np.cumsum(exposure[order])
    places = np.searchsorted(reached, np.array(_QUANTILES) * reached[-1] * (1 - 1e-12))
    return np.unique(sample.predictions[order[np.minimum(places, sample.n - 1)]]).tolist()


def tiers_section(sample, groupings, settings):
    """Share of each group above each threshold, against all other rows.

    Parameters
    ----------
    sample : AuditSample
        Data.
    groupings : list of Grouping
        Attributes that are crossed; pairs are left out where there are more attributes.
    settings : dict
        ``tier_thresholds``, ``confidence``, ``min_group_size``.

    Returns
    -------
    dict
        ``thresholds``, ``quantiles`` (None where thresholds were given), and ``tests``: for each grouping the rows.
    """
    thresholds = settings["tier_thresholds"]
    section = {
        "thresholds": _quantiles(sample) if thresholds is None else thresholds,
        "quantiles": list(_QUANTILES) if thresholds is None else None,
        "groups": [],
    }
    for grouping in groupings:
        if grouping.kind != "pair":
            tiers = _tiers(sample, grouping.names, section["thresholds"], settings)
            section["groups"].append({"attributes": list(grouping.names), "kind": grouping.kind, "tiers": tiers})
    return section


def _tiers(sample, names, thresholds, settings):
    figures = _summary(sample, names, thresholds, settings["confidence"])
    places = [(levels, threshold) for levels in sample.groups(names).labels for threshold in thresholds]
    least = settings["min_group_size"]
    return [
        {"label": label_of(levels), "levels": levels_of(names, levels), "above": threshold}
        | {name: row.get(name) for name in _FIGURES}
        | {"too_small": bool(np.ceil(row["rows"]) < least)}
        for (levels, threshold), row in zip(places, figures, strict=True)
    ]


def _summary(sample, names, thresholds, confidence):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        return tier_summary(
            None,
            sample.predictions,
            sensitive_features=sample.select(names),
            sample_weight=sample.weights,
            thresholds=thresholds,
            confidence=confidence,
            bins={name: sample.bins[name] for name in names if name in sample.bins},
        ).to_dict("records")
