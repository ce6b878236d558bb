"""Distance covariances of the predictions with the attributes: values, null levels and tests."""

from fairdcov.encoding import SoftBlocks
from fairdcov.inference import independence_test

__all__ = ["OF_A_TEST", "dependence_section", "n_test_permutations", "test_rows"]

# Row-profile evaluations (about half a nanosecond each) of all permutation tests together; a row costs about ten more.
_BUDGET = 2.5e9
_ROW_COST = 12
_SOFT_COST = 12
_LEAST_ROWS = 4000
# Distinct profiles beyond which a measure is evaluated by tiles or features.
_MANY_PROFILES = 2000

# What is told of a test.
OF_A_TEST = (
    *("statistic", "null_mean", "null_quantile_95", "p_value", "effect_size"),
    *("n_samples", "n_permutations", "method"),
)


def n_test_permutations(settings):
    """Permutations of tests."""
    return 99 if settings["n_permutations"] == "auto" else settings["n_permutations"]


def test_rows(n_rows, blocks, n_permutations, budget):
    """Rows a permutation test can afford."""
    n_profiles = blocks.n_profiles
    if n_profiles > _MANY_PROFILES and n_profiles > n_rows / 8:
        return min(n_rows, _LEAST_ROWS)
    cost = n_profiles + _ROW_COST
    if isinstance(blocks, SoftBlocks):
        # Every permutation is bound anew.
        cost = _SOFT_COST * cost
    affordable = budget / (n_permutations * cost)
    return int(min(n_rows, max(affordable, _LEAST_ROWS)))


def dependence_section(sample, groupings, settings):
    """Distance covariances of each grouping.

    ``value`` is the V-statistic weighted by exposure on all rows and ``normalized`` the same over the Gini mean
    difference of the predictions. The test is of unweighted rows, so that its level does not depend on how exposure
    and attributes go together: U-statistics, on a subsample where all rows would take too long.

    Parameters
    ----------
    sample : AuditSample
        Data.
    groupings : list of Grouping
        Attributes taken together.
    settings : dict
        ``n_permutations``.

    Returns
    -------
    list of dict
    """
    measures = {g.names: ("dcov",) if len(g.names) == 1 else ("dcov", "jdcov", "ccdcov") for g in groupings}
    budget = _BUDGET / sum(len(found) for found in measures.values())
    n_permutations = n_test_permutations(settings)
    found = []
    for grouping in groupings:
        attributes = sample.select(grouping.names)
        blocks = sample.blocks(grouping.names)
        nothing = blocks.is_constant(sample.weights)
        rows = sample.subset(
            "tests of " + " × ".join(grouping.names),
            test_rows(sample.n, blocks, max(n_permutations, 1), budget),
        )
        subsample = sample.rows_of_dependence(grouping.names)
        for measure in measures[grouping.names]:
            value, normalized = sample.dependence(grouping.names, measure)
            entry = {
                "attributes": list(grouping.names),
                "kind": grouping.kind,
                "measure": measure,
                "value": value,
                "normalized": normalized,
                "n_profiles": blocks.n_profiles,
                "n_samples": sample.n if subsample is None else len(subsample),
                "test": None,
            }
            if n_permutations and not nothing and len(rows) >= 4:
                entry["test"] = _test(sample, attributes, rows, measure, n_permutations)
            found.append(entry)
    return found


def _test(sample, attributes, rows, measure, n_permutations):
    result = independence_test(
        sample.predictions[rows],
        attributes.rows(rows),
        measure=measure,
        n_permutations=n_permutations,
        random_state=sample.seed,
    ).to_dict()
    return {name: result[name] for name in OF_A_TEST}
