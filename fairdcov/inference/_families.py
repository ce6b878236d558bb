"""Which gaps an equivalence test is of, those of each attribute and of the intersection, and the rows of its result."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairdcov.encoding import describe_groups, level_text

__all__ = ["OUTCOMES", "Family", "check_families", "groupings", "overall_outcome", "result_rows", "summary_of"]

WITHIN, UNSURE, OUTSIDE = OUTCOMES = ("within tolerance", "not enough evidence", "outside tolerance")


@dataclass(frozen=True, eq=False)
class Family:
    """The gaps of one attribute, or of the intersection of all: of each of its groups, or one of all groups.

    Attributes
    ----------
    kind : str
        ``"attribute"`` or ``"intersection"``.
    names : list of str
        Names of the attributes.
    labels : list of tuple
        Levels of what each gap is of.
    rows, exposure : arrays
        Rows of each, expected ones where attributes are known as probabilities, and the sum of their weights.
    codes : (n,) int64 array or None
        Group of each row.
    shares : (n, K) sparse array or None
        Share of each row in each group, where attributes are known as probabilities.
    blocks : SensitiveBlocks or None
        Profiles of the rows, where the gap is of all groups.
    """

    kind: str
    names: list
    labels: list
    rows: np.ndarray
    exposure: np.ndarray
    codes: np.ndarray | None = None
    shares: Any = None
    blocks: Any = None

    @classmethod
    def of_groups(cls, kind, attributes, bins, quantile_weights, weights):
        """The groups that attributes divide the rows into."""
        if attributes.probabilities:
            shares, labels, names = attributes.memberships(bins, quantile_weights)
            rows, exposure = shares.sum(axis=0), shares.T @ weights
            found = np.flatnonzero(rows > 0)
            if len(found) < len(labels):
                shares = shares[:, found]
            labels = [labels[k] for k in found]
            return cls(kind, names, labels, rows[found], exposure[found], shares=shares)
        codes, labels, names = attributes.groups(bins, quantile_weights)
        rows, exposure = (np.bincount(codes, values, minlength=len(labels)) for values in (None, weights))
        return cls(kind, list(names), labels, rows, exposure, codes=codes)

    @classmethod
    def of_all_groups(cls, kind, attributes, weights):
        """What is one figure of all groups."""
        blocks = attributes.profiles()
        whole = np.array([len(weights)]), np.array([weights.sum()])
        return cls(kind, list(attributes.columns_of), [("all groups",)], *whole, blocks=blocks.concatenated())

    @property
    def n_groups(self):
        """Groups that there are."""
        return len(self.labels) if self.blocks is None else self.blocks.n_profiles

    def large_enough(self, least):
        """Whether each group, and the rest beside it, has so many rows."""
        if self.blocks is not None:
            return self.rows >= 2 * least
        total = self.rows.sum()
        return (np.ceil(self.rows) >= least) & (np.ceil(total - self.rows) >= least)


def groupings(attributes):
    """Each attribute, and the intersection of several: its kind and the attributes."""
    columns = attributes.columns_of
    found = [("attribute", attributes.select(names)) for names in columns.values()]
    return found + ([("intersection", attributes)] if len(columns) > 1 else [])


def check_families(families, least):
    """Raise for attributes that divide nothing, and where no gap can be judged."""
    for family in families:
        if family.n_groups < 2:
            shown = "" if family.blocks is not None else f" ({describe_groups(family.labels)})"
            raise ValueError(
                f"sensitive_features {family.names} has one group only{shown}: there is nothing to compare"
            )
    if not any(family.large_enough(least).any() for family in families):
        sizes = ", ".join(f"{' × '.join(family.names)}: {np.sort(family.rows)[-2]:g}" for family in families)
        raise ValueError(
            f"no gap can ever be decided: a group and the rest need min_group_size={least} rows each; the second "
            f"largest groups have {sizes}"
        )


def overall_outcome(outcomes):
    """Outcome of several gaps together: the worst that is shown, or within if all are."""
    if OUTSIDE in outcomes:
        return OUTSIDE
    return WITHIN if all(outcome == WITHIN for outcome in outcomes) else UNSURE


def summary_of(family, rows):
    outcomes = [row["outcome"] for row in rows if row["attributes"] == family.names]
    counts = zip(("n_within", "n_unsure", "n_outside"), (outcomes.count(outcome) for outcome in OUTCOMES), strict=True)
    return {
        "attributes": list(family.names),
        "kind": family.kind,
        "outcome": overall_outcome(outcomes),
        "n_groups": len(outcomes),
    } | dict(counts)


def _number(value):
    return float(value) if value is not None and np.isfinite(value) else None


def result_rows(families, parts, judged, decided, options):
    found, position = [], 0
    for family, part in zip(families, parts, strict=True):
        large = family.large_enough(options.min_group_size)
        for k, label in enumerate(family.labels):
            found.append(
                {
                    "attributes": list(family.names),
                    "kind": family.kind,
                    "group": " × ".join(level_text(level) for level in label),
                    "rows": round(float(family.rows[k])),
                    "exposure": float(family.exposure[k]),
                }
                | _row(part.gaps, k, decided, position, judged[position], options)
                | ({} if judged[position] else {"note": _why_not(family, k, large[k], options)})
            )
            position += 1
    total_rows, total_exposure = family.rows.sum(), family.exposure.sum()
    for row in found:
        factor = row.pop("factor")
        row["rows_needed"] = None if factor is None else math.ceil(factor * round(float(total_rows)))
        row["exposure_needed"] = None if factor is None else float(factor * total_exposure)
        row["note"] = row.pop("note", None)
    return found


def _why_not(family, k, large, options):
    if large:
        return "the factors determine the group"
    who = "the group" if np.ceil(family.rows[k]) < options.min_group_size else "the rest"
    return f"{who} has fewer than {options.min_group_size} rows"


def _row(gaps, k, decided, position, judged, options):
    """Figures of one gap."""
    estimate = gaps.estimates[k]
    row: dict[str, object] = {
        "value": None,
        "reference": None,
        "gap": None,
        "lower": None,
        "upper": None,
        "standard_error": None,
        "p_within": None,
        "p_outside": None,
        "outcome": UNSURE,
        "factor": None,
    }
    if gaps.values is not None:
        row |= {"value": _number(gaps.values[k]), "reference": _number(gaps.references[k])}
    row["gap"] = _number(options.gap(estimate))
    if not judged:
        return row
    p_within, p_outside = float(decided.p_within[position]), float(decided.p_outside[position])
    row |= {
        "lower": _number(options.gap(decided.lower[position])),
        "upper": _number(options.gap(decided.upper[position])),
        "standard_error": _number(gaps.errors[k]),
        "p_within": p_within,
        "p_outside": p_outside,
    }
    if p_within <= options.alpha:
        row["outcome"] = WITHIN
    elif p_outside <= options.alpha:
        row["outcome"] = OUTSIDE
    else:
        distance = abs(abs(estimate) - options.bound)
        if distance > 0:
            row["factor"] = _number((decided.decisive[position] / distance) ** 2)
    return row
