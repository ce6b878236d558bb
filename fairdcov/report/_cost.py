"""What fairness costs and who pays: what is kept of a baseline, premium over experience, premium that moves."""

import numpy as np

from fairdcov._fitting import FAMILIES
from fairdcov.report._tasks import TASKS

__all__ = ["check_frontier", "cost_section", "frontier_section"]

# Columns of the table of a gap to the frontier.
_COLUMNS = ("deviance", "divergence", "strength", "difference", "std_error", "reached")
_DEVIANCES = {family.objective or family.name: family.deviance_name for family in FAMILIES.values()}
# Two ways of summing the same deviances differ by rounding alone.
_SAME = 1e-6


def cost_section(sample, balance, groups, change, settings):
    """What fairness costs and who pays.

    Parameters
    ----------
    sample : AuditSample
        Data.
    balance, groups, change : dict, list of dict, dict or None
        Sections that have the figures of the predictions already.
    settings : dict
        Of the audit.

    Returns
    -------
    dict or None
        ``kept``: share of the explained deviance and of the Gini index of the baseline that is left (None without
        both); ``moved``: premium that moves between policies, against the baseline; ``cross_subsidies``: premium over
        what was observed, by groups of single attributes and of all of them. None where nothing was observed and there
        is no baseline.
    """
    if sample.book.observed is None and change is None:
        return None
    return {
        "kept": _kept(change),
        "moved": None if change is None else _moved(sample),
        "cross_subsidies": _cross_subsidies(sample, balance, groups),
    }


def _kept(change):
    """Explained deviance and Gini index, before and after, and the share that is left where there was something."""
    if change is None or change["before"].get("observed") is None:
        return None
    found = {}
    for name in ("deviance_explained", "gini"):
        before, after = change["before"][name], change["after"][name]
        some = before is not None and after is not None and before > 0
        found[name] = {"before": before, "after": after, "kept": after / before if some else None}
    return found


def _moved(sample):
    """Share of the premium that moves: half of all changes, once the totals of both tariffs are the same."""
    exposure, after, before = sample.book.exposure, sample.predictions, sample.baseline
    before_total, after_total = float(exposure @ before), float(exposure @ after)
    changed = float(exposure @ np.abs(after - before)) / before_total
    between = None
    if after_total > 0:
        between = 0.5 * float(exposure @ np.abs(after / after_total - before / before_total))
    return {"changed": changed, "between_policies": between}


def _cross_subsidies(sample, balance, sections):
    """Predicted over observed by group, with the interval of the observed, under both tariffs.

    ``transfer`` is what a group pays beyond what was observed, as a share of the book's premium; negative where it
    receives.
    """
    if sample.book.observed is None:
        return []
    found, total = [], balance["predicted_total"]
    for section in sections:
        if section["kind"] == "pair":
            continue
        before = None
        if sample.baseline is not None:
            before = sample.groups(section["attributes"]).totals(sample.book.exposure * sample.baseline)
        rows = []
        for position, group in enumerate(section["groups"]):
            observed, predicted = group["observed_total"], group["exposure"] * group["predicted"]
            rows.append(
                {
                    **{name: group[name] for name in ("label", "levels", "rows", "exposure")},
                    "predicted_to_observed": _over(predicted, observed),
                    # The ends of actual to expected change places.
                    "lower": _inverse(group["upper"]),
                    "upper": _inverse(group["lower"]),
                    "before": None if before is None else _over(before[position], observed),
                    "transfer": _over(predicted - observed, total),
                    "too_small": group["too_small"],
                }
            )
        found.append({"attributes": section["attributes"], "kind": section["kind"], "groups": rows})
    return found


def _over(part, whole):
    """A ratio, or None where there is nothing to divide by."""
    return float(part / whole) if whole > 0 else None


def _inverse(value):
    return float(1.0 / value) if value is not None and np.isfinite(value) and value > 0 else None


# --- the distance to the best --------------------------------------------------------------------------------------


def check_frontier(frontier, sample):
    """Raise unless the argument is a gap to the frontier, and of the predictions that are audited."""
    if frontier is None:
        return
    table = getattr(frontier, "table", None)
    if not set(_COLUMNS) <= set(getattr(table, "columns", ())) or not hasattr(frontier, "cost_of_not_seeing"):
        raise TypeError(
            f"frontier must be what fairdcov.frontier_gap returns; found {type(frontier).__name__}: compute it on the "
            "rows of the audit and pass the outcome"
        )
    if sample.book.observed is None or _DEVIANCES.get(frontier.loss) != TASKS[sample.task][0]:
        return
    deviances, _ = sample.unit_deviances()
    if deviances is None:
        return
    own, stated = float(np.average(deviances, weights=sample.book.exposure)), float(table["deviance"].iloc[0])
    if abs(own - stated) > _SAME * max(abs(own), abs(stated)):
        raise ValueError(
            f"frontier is of other predictions or rows: it has a deviance of {stated:.6g} for this model, y_pred has "
            f"{own:.6g}. Pass the same y_true, y_pred and sample_weight to fairdcov.frontier_gap"
        )


def frontier_section(frontier):
    """A gap to the frontier as plain data, or None without one."""
    if frontier is None:
        return None
    table = frontier.table
    return {
        "text": str(frontier),
        "loss": frontier.loss,
        "net": frontier.net,
        "left_on_the_table": frontier.left_on_the_table,
        "left_on_the_table_std_error": frontier.left_on_the_table_std_error,
        "cost_of_not_seeing": frontier.cost_of_not_seeing,
        "cost_of_not_seeing_std_error": frontier.cost_of_not_seeing_std_error,
        "prices": [{"price": str(name)} | row for name, row in table[list(_COLUMNS)].to_dict("index").items()],
    }
