"""Distance covariances of the predictions with the attributes: values, null levels, tests, and partial correlation."""

import numpy as np

from fairdcov._checks import is_constant
from fairdcov.encoding import SoftBlocks
from fairdcov.inference import independence_test
from fairdcov.report._proxies import read_columns

__all__ = ["OF_A_TEST", "dependence_section", "n_test_permutations", "partial_section", "test_rows"]

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

# dcor's partial distance correlation holds several n x n matrices.
_PARTIAL_ROWS = 600
# Levels of a category that count on their own where features are made numbers.
_MOST_LEVELS = 50


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


# --- partial distance correlation ----------------------------------------------------------------------------------


def _numbers_of(column):
    """A numeric column as (n,) floats of standard deviation 1, missing values at the mean, and whether any are."""
    values = np.asarray(column, dtype=np.float64)
    missing = ~np.isfinite(values)
    known = values[~missing]
    if len(known) == 0:
        return np.zeros((len(values), 0))
    scale = known.std()
    filled = np.where(missing, known.mean(), values)
    scaled = (filled - known.mean()) / (scale if scale > 0 else 1.0)
    return np.column_stack([scaled, missing]) if missing.any() else scaled[:, None]


def _features_matrix(columns):
    """Features as points: numbers scaled to standard deviation 1, categories as 0/1 columns (rare levels together).

    Parameters
    ----------
    columns : list of FeatureColumn
        Features of some rows.

    Returns
    -------
    (n, q) float64 array
    """
    parts = []
    for column in columns:
        if column.numeric:
            parts.append(_numbers_of(column.values))
            continue
        counts = np.bincount(column.codes, minlength=len(column.levels))
        kept = np.argsort(-counts, kind="stable")[:_MOST_LEVELS]
        position = np.full(len(column.levels), len(kept))
        position[kept] = np.arange(len(kept))
        parts.append(np.eye(len(kept) + 1)[position[column.codes]][:, : len(kept)])
    return np.hstack(parts)


def partial_section(sample, settings):
    """Partial distance correlation of prediction and attributes given the legitimate rating factors.

    Parameters
    ----------
    sample : AuditSample
        Data.
    settings : dict
        ``n_permutations``, ``max_partial_rows``.

    Returns
    -------
    dict or None
        None where no features are called legitimate, and where there are control features, which say more.
    """
    if not sample.legitimate or sample.strata is not None:
        return None
    # Some seconds, for what it compiles when it is imported.
    import dcor

    rows = sample.subset("partial distance correlation", settings["max_partial_rows"] or _PARTIAL_ROWS)
    section = {"given": sample.legitimate, "n_samples": len(rows), "n_permutations": 0, "results": []}
    if len(rows) < 4:
        return section
    n_permutations = section["n_permutations"] = n_test_permutations(settings)
    prediction = sample.predictions[rows][:, None]
    # Units of the predictions do not matter, and rounding should not either.
    prediction = (prediction - prediction.mean()) / (prediction.std() or 1.0)
    columns = read_columns(sample.features, rows, sample.legitimate)
    given = _features_matrix([column for column in columns if not column.skipped])
    attributes = sample.attributes.rows(rows)
    for names in sample.singles_and_all:
        if sample.is_soft(names):
            sample.leave_out("partial", names, "partial distance correlation")
            continue
        blocks = attributes.select(names).profiles()
        points = np.hstack(blocks.points)[blocks.codes]
        entry = {"attributes": list(names), "distance_correlation": 0.0, "partial": 0.0, "p_value": 1.0}
        if not (is_constant(sample.predictions[rows]) or blocks.is_constant()):
            # Squared and bias-corrected, 0 in the mean under independence.
            entry["distance_correlation"] = float(dcor.u_distance_correlation_sqr(prediction, points))
            entry["partial"] = float(dcor.partial_distance_correlation(prediction, points, given))
            entry["p_value"] = None
            if n_permutations:
                entry["p_value"] = float(
                    dcor.independence.partial_distance_covariance_test(
                        prediction,
                        points,
                        given,
                        num_resamples=n_permutations,
                        random_state=sample.seed,
                    ).pvalue
                )
        section["results"].append(entry)
    return section
