"""What depends on the attributes within the strata of the control features: dependence, divergence, adjusted gaps."""

import warnings

import numpy as np
import pandas as pd

from fairdcov._checks import is_constant
from fairdcov.encoding import SensitiveFeaturesWarning, level_text
from fairdcov.inference import independence_test
from fairdcov.metrics import js_divergence, null_distribution
from fairdcov.report._dependence import OF_A_TEST, n_test_permutations, test_rows
from fairdcov.report._differences import label_of, levels_of, n_null_permutations

__all__ = ["check_control_features", "conditional_section"]

# Row-profile evaluations of all permutation tests together, as in the section of dependence.
_BUDGET = 1.5e9
# Fewer rows than these in a stratum: nothing can differ (V-statistics need two).
_LEAST_ROWS = 2


def check_control_features(sample):
    """Raise where the control features determine the attributes, and warn where they are one of them."""
    if sample.strata is None:
        return
    sample.strata.warn_of_attributes_among(sample.blocks(tuple(sample.names)))
    constant = sample.blocks(tuple(sample.names)).is_constant(sample.weights)
    if not constant and not sample.varies_within(sample.names).any():
        raise ValueError(
            f"the control features {sample.strata.names} determine the protected attributes {sample.names}: none of "
            f"the {len(sample.strata)} strata has two levels among them, so that nothing is left to compare. Drop "
            "control features, or cut them more coarsely by control_bins"
        )


def conditional_section(sample, dependence, settings):
    """Dependence within strata, with its level by chance, beside that of all rows; and gaps between like and like.

    ``value`` is the V-statistic weighted by exposure on all rows, the mean over the strata by their shares of it, and
    ``normalized`` the same over the Gini mean difference of all predictions: it compares with that without strata.
    ``by_chance`` is what it is in the mean when the attributes do not matter.

    Parameters
    ----------
    sample : AuditSample
        Data.
    dependence : list of dict
        Section of the dependence without control features.
    settings : dict
        ``n_permutations``, ``min_group_size``.

    Returns
    -------
    dict or None
        None without control features.
    """
    strata = sample.strata
    if strata is None:
        return None
    exposure = np.bincount(strata.codes, weights=sample.book.exposure, minlength=len(strata))
    results = [_dependence(sample, names, dependence, settings) for names in sample.singles_and_all]
    return {
        "given": strata.names,
        "n_strata": len(strata),
        "results": results,
        "gaps": [{"attributes": list(names)} | _gaps(sample, names, settings) for names in sample.singles_and_all],
        "left_out": _left_out(sample, exposure / exposure.sum()),
    }


# --- dependence ----------------------------------------------------------------------------------------------------


def _dependence(sample, names, dependence, settings):
    unconditional = next(
        entry
        for entry in dependence
        if entry["attributes"] == list(names) and entry["measure"] == ("dcov" if len(names) == 1 else "ccdcov")
    )
    entry = {
        "attributes": list(names),
        "measure": unconditional["measure"],
        "without": unconditional["normalized"],
        "without_by_chance": sample.by_chance(names),
        "value": None,
        "normalized": None,
        "by_chance": None,
        "test": None,
        "js_divergence": None,
        "js_null_mean": None,
        "js_null_quantile_95": None,
        "js_permutations": 0,
        "reason": None,
    }
    if sample.spread("y_pred") == 0 or sample.blocks(names).is_constant(sample.weights):
        return entry | {"value": 0.0, "normalized": 0.0, "by_chance": 0.0}
    if not sample.varies_within(names).any():
        # Of all attributes that has been an error at the start; some alone may be determined.
        return entry | {"reason": "the control features determine it: nothing is left to compare"}
    entry["value"], entry["normalized"] = sample.dependence(names, "ccdcov", strata=sample.strata)
    entry["by_chance"] = sample.by_chance(names, sample.strata)
    with warnings.catch_warnings():
        # Strata that say nothing are named by the report; so are groups that are too small.
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        entry["test"] = _test(sample, names, settings)
        return entry | _divergence(sample, names, settings)


def _as_factor(strata):
    """The strata as one categorical column, which no bins would cut again."""
    return pd.Series(pd.Categorical.from_codes(strata.codes, [_label(strata, k) for k in range(len(strata))]))


def _label(strata, stratum):
    return " × ".join(level_text(level) for level in strata.labels[stratum])


def _test(sample, names, settings):
    n_permutations = n_test_permutations(settings)
    blocks = sample.blocks(names)
    n_tests = len(sample.singles_and_all)
    rows = sample.subset(
        "conditional tests of " + " × ".join(names),
        test_rows(sample.n, blocks, max(n_permutations, 1), _BUDGET / n_tests),
    )
    if not n_permutations or len(rows) < 4:
        return None
    keep = np.zeros(sample.n, dtype=bool)
    keep[rows] = True
    try:
        found = independence_test(
            sample.predictions[rows],
            sample.select(names).rows(rows),
            n_permutations=n_permutations,
            random_state=sample.seed,
            control_features=_as_factor(sample.strata.part(keep)),
        ).to_dict()
    except ValueError as error:
        # A subsample of few rows may have no stratum left.
        if "determine" not in str(error):
            raise
        return None
    return {name: found[name] for name in (*OF_A_TEST, "n_strata")}


def _divergence(sample, names, settings):
    """Divergence within strata, beside what it is by chance; groups that are too small in a stratum are not in it."""
    if is_constant(sample.predictions):
        return {"js_divergence": 0.0}
    given = {
        "sensitive_features": sample.select(names),
        "sample_weight": sample.weights,
        "control_features": _as_factor(sample.strata),
        "bins": {name: sample.bins[name] for name in names if name in sample.bins},
    }
    # Fewer rows have no density to speak of; the groups of the audit are divided by the strata.
    given["min_group_size"] = max(settings["min_group_size"] // 5, 1)
    number = settings["n_permutations"]
    if number == "auto":
        # Every stratum has its densities.
        number = n_null_permutations(number, sample.n, len(sample.strata) * sample.groups(names).n_groups, least=5)

    try:
        if not number:
            return {"js_divergence": js_divergence(None, sample.predictions, **given)}
        null = null_distribution(
            js_divergence, None, sample.predictions, n_permutations=number, random_state=sample.seed, **given
        )
    except ValueError as error:
        if "min_group_size" not in str(error) and "determine" not in str(error):
            raise
        return {"reason": "no stratum has two groups that are large enough for a divergence"}
    return {
        "js_divergence": null.observed,
        "js_null_mean": null.mean,
        "js_null_quantile_95": null.quantile(0.95),
        "js_permutations": number,
    }


# --- gaps ----------------------------------------------------------------------------------------------------------


def _gaps(sample, names, settings):
    """Mean prediction of each group, and what the rest pays in the same strata at the group's mix of them.

    With w the exposure (times the share in the group) of the group in a stratum and r the mean of all others there,
    ``adjusted = sum_l w_l r_l / sum_l w_l``; strata without others do not count, on either side.
    """
    groups, strata, book = sample.groups(names), sample.strata, sample.book
    size = groups.n_groups * len(strata)
    cells = groups.codes * len(strata) + groups.spread(strata.codes)
    weights = groups.weighted(book.exposure)
    shape = (groups.n_groups, len(strata))
    own = np.bincount(cells, weights, size).reshape(shape)
    sums = np.bincount(cells, weights * groups.spread(sample.predictions), size).reshape(shape)
    total, total_sums = own.sum(axis=0), sums.sum(axis=0)
    rest, rest_sums = total - own, total_sums - sums
    # What rounding leaves of nothing is nothing.
    both = (own > 0) & (rest > 1e-9 * total)
    reference = np.divide(rest_sums, rest, out=np.zeros(shape), where=both)
    compared = np.where(both, own, 0.0).sum(axis=1)
    value = np.where(both, sums, 0.0).sum(axis=1)
    expected = np.where(both, own * reference, 0.0).sum(axis=1)
    all_rest = own.sum() - own.sum(axis=1)
    rows, enough = groups.totals(), groups.large_enough(settings["min_group_size"])
    found = []
    for k, levels in enumerate(groups.labels):
        exposure = own[k].sum()
        mean, mean_of_rest = sums[k].sum() / exposure, _ratio(total_sums.sum() - sums[k].sum(), all_rest[k])
        found.append(
            {
                "label": label_of(levels),
                "levels": levels_of(names, levels),
                "rows": rows[k],
                "predicted": mean,
                "rest": mean_of_rest,
                "gap": _gap(mean, mean_of_rest),
                "predicted_compared": _ratio(value[k], compared[k]),
                "rest_adjusted": _ratio(expected[k], compared[k]),
                "gap_adjusted": _gap(value[k], expected[k]) if compared[k] > 0 else None,
                "share_compared": compared[k] / exposure,
                "too_small": not enough[k],
            }
        )
    return {"groups": found}


def _ratio(numerator, denominator):
    return numerator / denominator if denominator > 0 else None


def _gap(value, reference):
    return value / reference - 1.0 if reference is not None and reference > 0 else None


# --- strata --------------------------------------------------------------------------------------------------------


def _left_out(sample, shares):
    """Strata in which nothing can depend on an attribute, for each attribute and for all of them."""
    counts = np.diff(sample.strata.starts)
    found = []
    for names in sample.singles_and_all:
        varies = sample.varies_within(names)
        idle = [k for k in np.flatnonzero(~varies) if counts[k]]
        if idle:
            found.append(
                {
                    "attributes": list(names),
                    "share": float(shares[idle].sum()),
                    "strata": [
                        {
                            "label": _label(sample.strata, k),
                            "rows": counts[k],
                            "share": shares[k],
                            "reason": "too few rows" if counts[k] < _LEAST_ROWS else "one profile",
                        }
                        for k in idle
                    ],
                }
            )
    return found
