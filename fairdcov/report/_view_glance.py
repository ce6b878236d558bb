"""The first part of a page: are the gaps within tolerance, what does it cost, and what do the groups pay for what."""

from fairdcov.report._blocks import Boxes, Picture, Section, Text, title_of
from fairdcov.report._summary import bounds, number, percent, ratio

__all__ = ["glance_part", "groups_at_a_glance"]

# Groups of one attribute, or of all crossed, that the picture has room for.
_MOST_GROUPS = 10
_TONES = {"within tolerance": "good", "outside tolerance": "bad", "not enough evidence": "unsure"}


def glance_part(data):
    blocks = [*_outcomes(data.get("equivalence")), *_figures(data)]
    if any(section["n_compared"] > 1 for section in data["groups"]):
        blocks += _picture(data)
    return Section("glance", "At a glance", blocks)


def _outcomes(equivalence):
    """Whether the gaps are within tolerance, in a box for each attribute; nothing without a tolerance."""
    if equivalence is None or not equivalence["tests"]:
        return []
    test = equivalence["tests"][-1]
    given = f" given {', '.join(test['legitimate_features'])}" if test["legitimate_features"] else ""
    words = (
        f"Are the price gaps between groups{given} from {bounds(equivalence['tolerance'])}? "
        f"{equivalence['outcome'].capitalize()}."
    )
    boxes = [
        (
            f"{title_of(part['attributes'])}: {part['outcome']}",
            f"of {part['n_groups']} groups {part['n_within']} within, {part['n_outside']} outside, {part['n_unsure']} "
            "without enough evidence",
            _TONES[part["outcome"]],
        )
        for part in test["attributes"]
    ]
    return [Text(words), Boxes(boxes)] if boxes else [Text(words)]


def _figures(data):
    """What is kept and what moves, or at least the balance."""
    balance, cost, boxes = data["balance"], data.get("cost"), []
    if cost and cost["kept"]:
        for name, what in (("deviance_explained", "explained deviance"), ("gini", "Gini index")):
            if cost["kept"][name]["kept"] is not None:
                boxes.append((percent(cost["kept"][name]["kept"], 0), f"of the baseline's {what} is kept", ""))
    if cost and cost["moved"] and cost["moved"]["between_policies"] is not None:
        boxes.append((percent(cost["moved"]["between_policies"]), "of the premium moves between policies", ""))
    if data["data"]["observed"]:
        if not boxes and balance.get("deviance_explained") is not None:
            boxes.append((percent(balance["deviance_explained"]), "of the deviance is explained", ""))
        boxes.append(
            (
                ratio(balance["actual_to_expected"]),
                f"actual to expected, all rows ({ratio(balance['lower'])} to {ratio(balance['upper'])})",
                "",
            )
        )
    else:
        boxes.append((number(balance["predicted"]), "mean prediction; nothing observed to compare with", ""))
    return [Boxes(boxes)]


def _picture(data):
    shown = groups_at_a_glance(data)
    words = "Price of each group against all other rows"
    if data.get("equivalence") and data["equivalence"]["tests"]:
        words += ", with its interval and the tolerance"
    if data["data"]["observed"]:
        words += "; and what was observed over what it pays"
    parts = [
        f"{title_of(part['attributes'])}: "
        + ", ".join(f"{row['label']} {percent(row['gap'])}" for row in part["rows"] if row["gap"] is not None)
        for part in shown
    ]
    notes = [
        f"{len(part['rows'])} of the {part['n_compared']} groups of {title_of(part['attributes'])}"
        for part in shown
        if len(part["rows"]) < part["n_compared"]
    ]
    yield Picture("glance", words, "; ".join(parts) + ".")
    if notes:
        yield Text(f"In the picture, as those furthest from the rest: {'; '.join(notes)}.")


def groups_at_a_glance(data):
    """Groups of single attributes, and of all crossed, with price gap, outcome and actual to expected.

    Parameters
    ----------
    data : dict
        Plain data of the report.

    Returns
    -------
    list of dict
        For each attribute, and for all of them: ``attributes``, ``n_compared`` and ``rows`` with ``label``, ``gap``,
        its ``interval`` and ``outcome`` (None without a tolerance), ``actual_to_expected``, its ``experience``
        interval, and ``before``, that of the baseline.
    """
    equivalence, cost = data.get("equivalence"), data.get("cost")
    tested = {}
    for test in (equivalence["tests"] if equivalence else [])[-1:]:
        tested = {(tuple(row["attributes"]), row["group"]): row for row in test["groups"]}
    paid = {}
    for section in cost["cross_subsidies"] if cost else []:
        paid |= {(tuple(section["attributes"]), row["label"]): row["before"] for row in section["groups"]}
    sections = [section for section in data["groups"] if section["kind"] == "attribute"]
    if len(data["groups"][-1]["attributes"]) > 1:
        sections.append(data["groups"][-1])
    parts = []
    for section in sections:
        names = tuple(section["attributes"])
        rows = [
            _row(group, tested.get((names, group["label"])), paid.get((names, group["label"])), section)
            for group in section["groups"]
            if not group["too_small"]
        ]
        if len(rows) > _MOST_GROUPS:
            rows = sorted(rows, key=lambda row: -abs(row["gap"] or 0.0))[:_MOST_GROUPS]
        if len(names) > 1:
            rows = sorted(rows, key=lambda row: -(row["gap"] or 0.0))
        if rows:
            parts.append({"attributes": list(names), "n_compared": section["n_compared"], "rows": rows})
    return parts


def _row(group, tested, before, section):
    """One group; without a test its gap is that of the means."""
    if tested is not None:
        gap, ends, outcome = tested["gap"], (tested["lower"], tested["upper"]), tested["outcome"]
    else:
        gap, ends, outcome = _gap(group, section), (None, None), None
    return {
        "label": group["label"],
        "gap": gap,
        "interval": ends,
        "outcome": outcome,
        "actual_to_expected": group.get("actual_to_expected"),
        "experience": (group.get("lower"), group.get("upper")),
        "before": 1.0 / before if before else None,
    }


def _gap(group, section):
    """Mean prediction of a group over that of all others, less 1; None where there are no others."""
    others = [other for other in section["groups"] if other is not group]
    exposure = sum(other["exposure"] for other in others)
    mean = sum(other["exposure"] * other["predicted"] for other in others) / exposure if exposure > 0 else 0.0
    return group["predicted"] / mean - 1.0 if mean > 0 else None
