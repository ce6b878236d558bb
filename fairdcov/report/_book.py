"""The book as a whole, against a baseline, and under other bins: the sections that are not about single groups."""

import warnings

import numpy as np
import pandas as pd
from sklearn.exceptions import UndefinedMetricWarning

from fairdcov._checks import is_constant
from fairdcov.actuarial import double_lift_table, experience, lift_table, premium_change_by_group, premium_changes
from fairdcov.metrics import densities_of_groups, gini, lorenz_curve
from fairdcov.report._differences import (
    compared_groups,
    label_of,
    levels_of,
    measure_groups,
    n_null_permutations,
    null_levels,
)
from fairdcov.report._plain import level_value
from fairdcov.report._tasks import TASKS, unit_deviance

__all__ = ["balance_section", "binning_section", "change_section", "distribution_section", "lift_section"]

# Quantile groups that the divergence is looked at under, beside the bins of the audit.
_OTHER_BINS = (3, 5, 10, 20)
# Points of a curve in the report: what a page of this width can show.
_CURVE_POINTS = 200
_LORENZ_POINTS = 101
_GROUPS_DRAWN = 5


def _score(sample, which, settings):
    """Balance, deviance and Gini index of one tariff."""
    book = sample.book
    predicted = book.predictions[which]
    found = {"predicted_total": float(book.exposure @ predicted)}
    found["predicted"] = found["predicted_total"] / float(book.exposure.sum())
    if book.observed is None:
        return found
    columns, kind = experience(
        book,
        np.zeros(sample.n, dtype=np.int64),
        1,
        confidence=settings["confidence"],
        interval=sample.interval,
        prediction=which,
    )
    deviances, reason = sample.unit_deviances(which)
    deviance = None if deviances is None else float(np.average(deviances, weights=book.exposure))
    index = None
    if not (book.observed < 0).any():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            index = gini(book.observed, predicted, sample_weight=book.exposure)
    return found | {
        "observed_total": float(book.exposure @ book.observed),
        "observed": columns["observed"][0],
        "actual_to_expected": columns["actual_to_expected"][0],
        "lower": columns["lower"][0],
        "upper": columns["upper"][0],
        "interval": kind,
        "deviance": deviance,
        "deviance_missing": reason,
        "deviance_explained": _explained(sample, deviance),
        "gini": index,
    }


def _explained(sample, deviance):
    """Share of the deviance of the mean that is gone (D^2)."""
    book = sample.book
    mean = float(np.average(book.observed, weights=book.exposure))
    of_mean, _ = unit_deviance(book.observed, np.full(sample.n, mean), sample.task)
    if deviance is None or of_mean is None:
        return None
    total = float(np.average(of_mean, weights=book.exposure))
    return 1.0 - deviance / total if total > 0 else None


def balance_section(sample, settings):
    """Totals observed and predicted, all rows; the groups have theirs in their tables."""
    return {
        "rows": sample.n,
        "exposure": float(sample.book.exposure.sum()),
        "task": sample.task,
        "deviance_name": TASKS[sample.task][0],
        "constant_prediction": is_constant(sample.predictions),
    } | _score(sample, "y_pred", settings)


def lift_section(sample, settings):
    """Lift table and Lorenz curve of the predictions, or None where nothing was observed."""
    book = sample.book
    if book.observed is None:
        return None
    table = lift_table(
        book.observed,
        sample.predictions,
        sample_weight=book.exposure,
        confidence=settings["confidence"],
        interval=sample.interval,
    )
    section = {"interval": table.attrs["interval"], "table": table, "lorenz": None}
    if not (book.observed < 0).any() and book.observed.any():
        exposure, observed = lorenz_curve(book.observed, sample.predictions, sample_weight=book.exposure)
        shares = np.linspace(0.0, 1.0, _LORENZ_POINTS)
        section["lorenz"] = {"exposure_share": shares, "observed_share": np.interp(shares, exposure, observed)}
        if sample.baseline is not None:
            before = lorenz_curve(book.observed, sample.baseline, sample_weight=book.exposure)
            section["lorenz"]["observed_share_of_the_baseline"] = np.interp(shares, *before)
    return section


# --- distributions -------------------------------------------------------------------------------------------------


def distribution_section(sample, names, compared, settings):
    """Densities of the groups that are furthest from all rows, on few points, or None where nothing is compared.

    ``compared`` has the groups of the predictions; those of the baseline are made here.
    """
    columns = {"prediction": "y_pred"} if sample.baseline is None else {"baseline": "baseline", "prediction": "y_pred"}
    section = {"attributes": list(names), "columns": {}}
    shown = None
    for title, which in columns.items():
        if which == "baseline":
            of_column = compared_groups(sample, names, settings, which=which)
        else:
            of_column = compared
        if of_column is None or is_constant(of_column.groups.predictions):
            return None
        groups = of_column.groups
        densities = densities_of_groups(groups, sample.bandwidth(which))
        pooled = densities.shares @ densities.densities
        if shown is None:
            distances = np.trapezoid(np.abs(densities.densities - pooled), densities.grid, axis=1)
            # Larger groups first among those equally far: weight the distance by the root of the share.
            chosen = np.argsort(-distances * np.sqrt(densities.shares), kind="stable")[:_GROUPS_DRAWN]
            shown = chosen[np.argsort(groups.group_means()[chosen], kind="stable")]
            section["groups"] = [label_of(groups.labels[k]) for k in shown]
            section["n_groups"] = groups.n_groups
        # Tails are long: draw what 99 % of the rows are within.
        cumulated = np.cumsum(pooled)
        inside = np.searchsorted(cumulated / cumulated[-1], [0.005, 0.995])
        low, high = densities.grid[max(inside[0] - 1, 0)], densities.grid[min(inside[1] + 1, len(densities.grid) - 1)]
        grid = np.linspace(low, high, _CURVE_POINTS)
        section["columns"][title] = {
            "grid": grid,
            "pooled": np.interp(grid, densities.grid, pooled),
            "densities": [np.interp(grid, densities.grid, densities.densities[k]) for k in shown],
        }
    return section


# --- before and after ----------------------------------------------------------------------------------------------


def change_section(sample, balance, groups, dependence, settings):
    """The predictions against a baseline, or None without one.

    ``balance``, ``groups`` and ``dependence`` have the figures of the predictions already.
    """
    if sample.baseline is None:
        return None
    book = sample.book
    before = _score(sample, "baseline", settings)
    whole = premium_changes(sample.predictions, sample.baseline, sample_weight=book.exposure)
    tables = [
        whole.rename(columns={"factor": "attribute"}),
        *(_changes_by_level(sample, name) for name in sample.names),
    ]
    section = {
        "by_attribute": pd.concat(tables, ignore_index=True),
        "by_intersection": _changes_by_group(sample, settings),
        "before": before,
        "after": {name: balance[name] for name in before},
        "measures": _measures_before_and_after(sample, groups, dependence, settings),
        "double_lift": None,
    }
    if book.observed is not None:
        section["double_lift"] = double_lift_table(
            book.observed,
            sample.predictions,
            sample.baseline,
            sample_weight=book.exposure,
            confidence=settings["confidence"],
            interval=sample.interval,
        )
    return section


def _changes_of(sample, names):
    """Groups of some attributes, and their premium changes in the same order."""
    groups = sample.groups(names)
    # Attributes that are observed are not read again; shares are rows of their own, in groups by their position.
    attributes, bins = groups.codes, {"x0": None}
    if groups.shares is None:
        attributes = sample.select(names)
        bins = {name: edges for name, edges in sample.bins.items() if name in names}
    table = premium_change_by_group(
        groups.spread(sample.predictions),
        groups.spread(sample.baseline),
        attributes,
        sample_weight=groups.weighted(sample.book.exposure),
        bins=bins,
    ).reset_index(drop=True)
    table["rows"] = groups.totals()
    return groups, table


def _changes_by_level(sample, name):
    """Premium changes by the levels of one attribute."""
    groups, table = _changes_of(sample, (name,))
    table.insert(0, "attribute", name)
    table.insert(1, "level", pd.Series([level_value(level) for (level,) in groups.labels], dtype=object))
    return table


def _changes_by_group(sample, settings):
    names = tuple(sample.names)
    groups, table = _changes_of(sample, names)
    enough = groups.large_enough(settings["min_group_size"])
    return [
        {"label": label_of(levels), "levels": levels_of(names, levels)} | row | {"too_small": not large}
        for levels, row, large in zip(groups.labels, table.to_dict("records"), enough, strict=True)
    ]


def _measures_before_and_after(sample, sections, dependence, settings):
    # The sum over one attribute is its concatenated distance covariance.
    normalized = {
        tuple(entry["attributes"]): entry["normalized"] for entry in dependence if entry["measure"] != "jdcov"
    }
    found = []
    for section in sections:
        if section["kind"] == "pair":
            continue
        names = section["attributes"]
        before = measure_groups(compared_groups(sample, tuple(names), settings, which="baseline"))
        after = {name: measure["value"] for name, measure in section["measures"].items()}
        found.append(
            {
                "attributes": names,
                "kind": section["kind"],
                "before": before | {"ccdcov_normalized": sample.dependence(tuple(names), "ccdcov", "baseline")[1]},
                "after": after | {"ccdcov_normalized": normalized[tuple(names)]},
            }
        )
    return found


# --- bins ----------------------------------------------------------------------------------------------------------


def binning_section(sample, settings):
    """Divergence under other bins of each attribute that is cut, alone and crossed with the others."""
    section = []
    if sample.probabilities and any(edges is not None for edges in sample.bins.values()):
        # Each permutation of so many shares takes a second for a million rows.
        sample.leave_out("binning", sample.names, "other bins of the intersection")
    for name, edges in sample.bins.items():
        if edges is None:
            continue
        candidates = [("bins of this audit", edges)]
        candidates += [
            (f"{number} quantile groups", number) for number in _OTHER_BINS if number != sample.bins_asked.get(name)
        ]
        wanted = [[name]] + ([sample.names] if len(sample.names) > 1 and not sample.probabilities else [])
        for title, bins in candidates:
            for names in wanted:
                purpose = f"{title} of {name} in {names}"
                entry = _divergence(sample, names, sample.bins | {name: bins}, purpose, settings)
                section.append({"attribute": name, "bins": title} | entry)
    return section


def _divergence(sample, names, bins, purpose, settings):
    compared = compared_groups(sample, tuple(names), settings, bins=bins)
    entry = {"attributes": names, "n_compared": 0, "share_compared": 0.0, "js_divergence": None}
    entry |= {"null_mean": None, "null_quantile_95": None, "n_permutations": 0}
    if compared is None:
        return entry
    groups = compared.groups
    entry |= {
        "n_compared": groups.n_groups,
        "share_compared": float(groups.weights.sum() / sample.book.exposure.sum()),
        "js_divergence": measure_groups(compared, ("js_divergence",))["js_divergence"],
    }
    if settings["n_permutations"] == 0:
        return entry
    number = settings["n_permutations"]
    if number == "auto":
        number = max(5, min(20, n_null_permutations(number, len(groups.codes), groups.n_groups) // 2))
    null = null_levels(compared, number, sample.generator(purpose), measures=("js_divergence",))["js_divergence"]
    return entry | null | {"n_permutations": number}
