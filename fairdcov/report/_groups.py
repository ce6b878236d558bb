"""Groups side by side: experience with intervals, differences of the predictions with null levels, furthest pairs."""

import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from fairdcov._checks import is_constant
from fairdcov.actuarial import experience
from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.metrics import (
    DistributionFunctions,
    GroupedPredictions,
    bind_demographic_parity_gap,
    bind_js_divergence,
    bind_ks_disparity,
    bind_or_zero,
    bind_unfairness_ratio,
    bind_wasserstein_disparity,
    group_predictions,
)
from fairdcov.report._plain import level_text, level_value
from fairdcov.report._sample import CELLS

__all__ = [
    "MEASURES",
    "ComparedGroups",
    "bootstrap_intervals",
    "compared_groups",
    "energy_distances",
    "group_section",
    "label_of",
    "levels_of",
    "measure_groups",
    "n_null_permutations",
    "null_levels",
    "pairs_section",
]

MEASURES = (
    "demographic_parity_gap",
    "unfairness_ratio",
    "unfairness_ratio_by_share",
    "js_divergence",
    "ks_disparity",
    "wasserstein_disparity",
)

# Null levels put so many neighbouring cells of the distribution functions together.
_COARSENESS = 8
# Comparisons of all pairs beyond this many groups take time and memory that nobody reads the result of.
_MOST_GROUPS = 1000

# The bootstrap resamples this many sums over random parts of the rows: the sums are as exchangeable as the rows are,
# and the spread of their resampled ratios is that of resampled rows, at a cost that does not grow with the rows.
_BLOCKS = 1000
_LEAST_BLOCKS_OF_GROUP = 50
_EVERY_ROW = 2000
# Unless a number is asked for, attributes of up to so many groups are resampled: a second or two of MetricFrame.
_MOST_BOOTSTRAPPED = 20
_RESAMPLES = 100


def label_of(names, levels):
    """Name of a group, such as ``"female × north × [18, 25)"``."""
    return " × ".join(level_text(level) for level in levels)


def levels_of(names, levels):
    """Levels of a group as JSON."""
    return {name: level_value(level) for name, level in zip(names, levels, strict=True)}


# --- experience by group -------------------------------------------------------------------------------------------


def _ratio(numerator, denominator):
    total = float(denominator.sum())
    return float(numerator.sum()) / total if total > 0 else float("nan")


def _observed(y_true, y_pred, exposure):
    return _ratio(y_true, exposure)


def _predicted(y_true, y_pred, exposure):
    return _ratio(y_pred, exposure)


def _actual_to_expected(y_true, y_pred):
    return _ratio(y_true, y_pred)


def _deviance(y_true, y_pred, exposure, deviance):
    return _ratio(deviance, exposure)


def _parts(groups, n_groups, generator):
    """Random parts of each group: the group of each part, and the part of each row."""
    n_blocks = max(_LEAST_BLOCKS_OF_GROUP, _BLOCKS // n_groups)
    cells = groups * n_blocks + generator.integers(n_blocks, size=len(groups))
    used = np.flatnonzero(np.bincount(cells, minlength=n_groups * n_blocks))
    position = np.zeros(n_groups * n_blocks, dtype=np.int64)
    position[used] = np.arange(len(used))
    return used // n_blocks, position[cells]


def _totals(sample, codes, n_parts):
    """Observed, predicted, exposure and deviance of parts of the rows."""
    book = sample.book
    deviances, _ = sample.unit_deviances()
    totals = {"exposure": book.sums(codes, n_parts), "predicted": book.sums(codes, n_parts, sample.predictions)}
    if book.observed is not None:
        totals["observed"] = book.sums(codes, n_parts, book.observed)
    if deviances is not None:
        totals["deviance"] = book.sums(codes, n_parts, deviances)
    return totals


def _metric_frame_table(codes, totals):
    """By-group table of fairlearn's MetricFrame."""
    from fairlearn.metrics import MetricFrame

    exposure = {"exposure": totals["exposure"]}
    metrics, parameters = {"predicted": _predicted}, {"predicted": exposure}
    if "observed" in totals:
        metrics |= {"observed": _observed, "actual_to_expected": _actual_to_expected}
        parameters["observed"] = exposure
    if "deviance" in totals:
        metrics["deviance"], parameters["deviance"] = _deviance, exposure | {"deviance": totals["deviance"]}
    return MetricFrame(
        metrics=metrics,
        y_true=totals.get("observed", totals["predicted"]),
        y_pred=totals["predicted"],
        # A Series: an array of one row would lose its dimension.
        sensitive_features=pd.Series(codes, name="group"),
        sample_params=parameters,
    ).by_group


def bootstrap_intervals(sample, prepared, settings):
    """Quantiles of MetricFrame's bootstrap of actual to expected, for all groupings that get one in one go.

    MetricFrame takes a tenth of a second to resample a handful of groups, however few their rows; so the rows of all
    groupings go into one frame, a group of each. Every group is resampled as it would be alone.

    Parameters
    ----------
    sample : AuditSample
        Data.
    prepared : list of (Grouping, codes, labels)
        Groupings with the group of each row.
    settings : dict
        ``n_bootstrap``, ``confidence``.

    Returns
    -------
    dict of tuple to dict
        For the names of a grouping: ``lower`` and ``upper``, arrays over its groups, and ``n_units``.
    """
    from fairlearn.metrics import MetricFrame

    n_boot = settings["n_bootstrap"]
    if n_boot == "auto":
        n_boot = _RESAMPLES
        prepared = [part for part in prepared if part[0].kind == "attribute" and len(part[2]) <= _MOST_BOOTSTRAPPED]
    if sample.book.observed is None or not n_boot or not prepared:
        return {}
    generator = sample.generator("bootstrap")
    codes, observed, predicted, starts = [], [], [], []
    n_found = 0
    for _, groups, labels in prepared:
        part_groups, parts = groups, np.arange(sample.n)
        if sample.n > _EVERY_ROW:
            part_groups, parts = _parts(groups, len(labels), generator)
        codes.append(part_groups + n_found)
        observed.append(sample.book.sums(parts, len(part_groups), sample.book.observed))
        predicted.append(sample.book.sums(parts, len(part_groups), sample.predictions))
        starts.append(n_found)
        n_found += len(labels)
    tail = (1 - settings["confidence"]) / 2
    with warnings.catch_warnings():
        # A group that no resample has any prediction of has no quantiles; it shows as null.
        warnings.simplefilter("ignore", RuntimeWarning)
        quantiles = MetricFrame(
            metrics={"actual_to_expected": _actual_to_expected},
            y_true=np.concatenate(observed),
            y_pred=np.concatenate(predicted),
            sensitive_features=pd.Series(np.concatenate(codes), name="group"),
            n_boot=n_boot,
            ci_quantiles=[tail, 1 - tail],
            random_state=int(generator.integers(np.iinfo(np.int32).max)),
        ).by_group_ci
    lower, upper = (found["actual_to_expected"].reindex(np.arange(n_found)).to_numpy() for found in quantiles)
    intervals = {}
    for (grouping, _, labels), start, part in zip(prepared, starts, codes, strict=True):
        rows = slice(start, start + len(labels))
        intervals[grouping.names] = {"lower": lower[rows], "upper": upper[rows], "n_units": len(part), "n": n_boot}
    return intervals


def _group_rows(sample, grouping, codes, labels, bootstrap, settings):
    """A row for each group, and how their intervals were made."""
    book, n_groups = sample.book, len(labels)
    # MetricFrame splits rows by group and column by column; totals of each group are the same to its ratios.
    table = _metric_frame_table(np.arange(n_groups), _totals(sample, codes, n_groups))
    exposure = book.sums(codes, n_groups)
    columns = {"rows": np.bincount(codes, minlength=n_groups), "exposure": exposure, "share": exposure / exposure.sum()}
    intervals = {"kind": None, "confidence": settings["confidence"], "n_bootstrap": 0}
    if book.observed is not None:
        found, intervals["kind"] = experience(
            book, codes, n_groups, confidence=settings["confidence"], interval=sample.interval
        )
        columns["observed_total"] = book.sums(codes, n_groups, book.observed)
        columns |= {name: found[name] for name in ("lower", "upper")}
    if bootstrap is not None:
        columns |= {"bootstrap_lower": bootstrap["lower"], "bootstrap_upper": bootstrap["upper"]}
        intervals |= {"n_bootstrap": bootstrap["n"], "bootstrap_units": bootstrap["n_units"]}
    rows = []
    for code, levels in enumerate(labels):
        row = {"label": label_of(grouping.names, levels), "levels": levels_of(grouping.names, levels)}
        row |= {name: values[code] for name, values in columns.items()}
        row |= {name: table.loc[code, name] for name in table.columns}
        row["too_small"] = bool(row["rows"] < settings["min_group_size"])
        rows.append(row)
    return rows, intervals


# --- differences of the predictions --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ComparedGroups:
    """Predictions of the groups that are large enough, as they are and gathered in cells.

    Attributes
    ----------
    groups : GroupedPredictions
        At least two groups.
    cells : (n,) int64 array or None
        Cell of each row, from the lowest to the highest predictions; None where every row is looked at.
    bandwidth : float or None
        Of all densities, so that divergences of different groupings compare; None for constant predictions.
    """

    groups: GroupedPredictions
    cells: np.ndarray | None
    bandwidth: float | None

    def distributions(self, codes=None, coarseness=1):
        """The predictions with as many rows as cells and groups have in common, for permuted ``codes`` too.

        ``coarseness`` puts so many neighbouring cells together.
        """
        return self.gather(coarseness)(self.groups.codes if codes is None else codes)

    def gather(self, coarseness=1):
        """:meth:`distributions` as a function of the codes; all that does not depend on them is done once."""
        groups = self.groups
        named = (groups.labels, groups.names, groups.omitted, None)
        if self.cells is None:
            return lambda codes: GroupedPredictions(groups.predictions, groups.weights, codes, *named)
        cells = self.cells // coarseness
        n_cells = int(cells.max()) + 1
        totals = np.bincount(cells, weights=groups.weights)
        # A cell without rows of these groups has no value and is used by none.
        values = np.bincount(cells, weights=groups.weights * groups.predictions) / np.where(totals > 0, totals, 1.0)

        def gathered(codes):
            weights = np.bincount(codes * n_cells + cells, groups.weights, groups.n_groups * n_cells)
            used = np.flatnonzero(weights)
            return GroupedPredictions(values[used % n_cells], weights[used], used // n_cells, *named)

        return gathered


def compared_groups(sample, names, min_group_size, *, which="y_pred", levels=None):
    """Predictions by the groups that are large enough, or None where fewer than two are.

    ``levels`` has other bins than those of the audit.
    """
    levels = sample.levels if levels is None else levels
    with warnings.catch_warnings():
        # The report lists the groups that are left out.
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        try:
            found = group_predictions(
                None,
                sample.book.predictions[which],
                levels[list(names)],
                sample.weights,
                min_group_size=min_group_size,
                compare=False,
            )
        except ValueError as error:
            if "no group has" in str(error):
                return None
            raise
    if found.n_groups < 2:
        return None
    cells = sample.cells(which)
    return ComparedGroups(found, None if cells is None else cells[found.rows], sample.bandwidth(which))


_MEANS = {
    "demographic_parity_gap": bind_demographic_parity_gap,
    "unfairness_ratio": bind_unfairness_ratio,
    "unfairness_ratio_by_share": partial(bind_unfairness_ratio, group_weights="proportion"),
}
_DISTRIBUTIONS = {"ks_disparity": bind_ks_disparity, "wasserstein_disparity": bind_wasserstein_disparity}


def _bind_measures(compared, measures, coarseness=1):
    """Function of group codes (n,) that gives the measures; all that does not depend on them is done once."""
    groups = compared.groups
    functions = {name: bind_or_zero(groups, bind) for name, bind in _MEANS.items() if name in measures}
    if "js_divergence" in measures:
        options = {} if compared.bandwidth is None else {"bandwidth": compared.bandwidth}
        functions["js_divergence"] = bind_or_zero(groups, bind_js_divergence, **options)
    wanted = {name: bind for name, bind in _DISTRIBUTIONS.items() if name in measures}
    if groups.n_groups > _MOST_GROUPS:
        wanted = {}
    elif is_constant(groups.predictions):
        functions |= dict.fromkeys(wanted, lambda codes: 0.0)
        wanted = {}
    gathered = compared.gather(coarseness) if wanted else None

    def evaluate(codes):
        found = {name: function(codes) for name, function in functions.items()}
        if wanted:
            part = gathered(codes)
            found |= {name: bind(part)(part.codes) for name, bind in wanted.items()}
        return found

    return evaluate


def measure_groups(compared, measures=MEASURES):
    """Differences of the predictions between groups, ``{measure: value}``.

    Parameters
    ----------
    compared : ComparedGroups or None
        None where there is nothing to compare.
    measures : sequence of str
        Which of :data:`MEASURES`.

    Returns
    -------
    dict of str to float or None
    """
    found = {} if compared is None else _bind_measures(compared, measures)(compared.groups.codes)
    return {name: found.get(name) for name in measures}


def n_null_permutations(asked, n_rows, n_groups):
    """Permutations for the null levels: as asked for, or what takes about a second."""
    if asked != "auto":
        return asked
    return int(np.clip(1.0 / (1e-7 * n_rows + 1e-3 * n_groups), 10, 99))


def null_levels(compared, n_permutations, generator, measures=MEASURES):
    """Mean and 95 % quantile of the measures when the groups do not matter, by permuting the group codes.

    Weights stay with their predictions, as in :func:`fairdcov.metrics.null_distribution`.
    """
    evaluate = _bind_measures(compared, measures, _COARSENESS)
    values = {}
    for _ in range(n_permutations):
        for name, value in evaluate(generator.permutation(compared.groups.codes)).items():
            values.setdefault(name, []).append(value)
    return {name: {"mean": np.mean(found), "quantile_95": np.quantile(found, 0.95)} for name, found in values.items()}


def group_section(sample, grouping, codes, labels, bootstrap, settings):
    """All that is said about one grouping.

    Parameters
    ----------
    sample : AuditSample
        Data.
    grouping : Grouping
        Attributes that are crossed.
    codes : (n,) int64 array
        Group of each row.
    labels : list of tuple
        Levels of each group.
    bootstrap : dict or None
        Of :func:`bootstrap_intervals`.
    settings : dict
        ``min_group_size``, ``n_permutations``, ``confidence``.

    Returns
    -------
    section : dict
        Not yet plain.
    compared : ComparedGroups or None
        The groups that are large enough.
    """
    names = list(grouping.names)
    rows, intervals = _group_rows(sample, grouping, codes, labels, bootstrap, settings)
    compared = compared_groups(sample, names, settings["min_group_size"])
    measures = measure_groups(compared)
    nulls, n_permutations = {}, 0
    if compared is not None and settings["n_permutations"] != 0:
        groups = compared.groups
        n_permutations = n_null_permutations(settings["n_permutations"], len(groups.codes), groups.n_groups)
        nulls = null_levels(compared, n_permutations, sample.generator("null levels of " + " × ".join(names)))
    small = [row for row in rows if row["too_small"]]
    section = {
        "attributes": names,
        "kind": grouping.kind,
        "n_groups": len(labels),
        "n_compared": 0 if compared is None else compared.groups.n_groups,
        "measures": {
            name: {
                "value": measures[name],
                "null_mean": nulls.get(name, {}).get("mean"),
                "null_quantile_95": nulls.get(name, {}).get("quantile_95"),
            }
            for name in MEASURES
        },
        "n_permutations": n_permutations,
        "distributions_at": "every row" if sample.cells("y_pred") is None else f"{CELLS} cells of equal exposure",
        "intervals": intervals,
        "groups": rows,
        "too_small": [{name: row[name] for name in ("label", "levels", "rows", "exposure", "share")} for row in small],
        "share_too_small": float(sum(row["share"] for row in small)),
    }
    return section, compared


# --- pairs of groups -----------------------------------------------------------------------------------------------


def energy_distances(compared):
    """Energy distances ``2 E|U - V| - E|U - U'| - E|V - V'|`` of all pairs of groups, (K, K).

    For predictions, which have one dimension, this is ``2 int (F - G)^2`` over the distribution functions: exact on all
    rows, with weights, where dcor's definition by pairs of rows is quadratic.
    """
    n_groups = compared.groups.n_groups
    part = compared.distributions()
    shares = part.totals(part.weights) / part.weights.sum()
    products = np.zeros((n_groups, n_groups))
    for table, gaps in DistributionFunctions(part).tables(part.codes, "pairwise"):
        # About the pooled function, so that the difference of close functions keeps its digits.
        centred = table - (table @ shares)[:, None]
        products += (centred * gaps[:, None]).T @ centred
    squares = np.diag(products)
    return np.maximum(2.0 * (squares[:, None] + squares[None, :] - 2.0 * products), 0.0)


def pairs_section(sample, grouping, compared, most):
    """The pairs of groups whose predictions are furthest apart, beyond what chance makes of their sizes.

    ``by_chance`` is the mean of the distance between two samples of the same sizes from the pooled predictions,
    ``E|U - U'| (1 / m_a + 1 / m_b)`` with the effective numbers of rows m.
    """
    names = list(grouping.names)
    if compared is None or compared.groups.n_groups > _MOST_GROUPS:
        return {"attributes": names, "n_pairs": 0, "pairs": []}
    groups = compared.groups
    distances = np.zeros((groups.n_groups, groups.n_groups))
    if not is_constant(groups.predictions):
        distances = energy_distances(compared)
    effective = groups.totals(groups.weights) ** 2 / groups.totals(groups.weights**2)
    by_chance = sample.spread("y_pred") * (1.0 / effective[:, None] + 1.0 / effective[None, :])
    means = groups.group_means()
    first, second = np.triu_indices(groups.n_groups, 1)
    order = np.argsort(-(distances - by_chance)[first, second], kind="stable")[:most]
    pairs = []
    for a, b in zip(first[order], second[order], strict=True):
        if means[a] < means[b]:
            a, b = b, a
        pairs.append(
            {
                "higher": label_of(names, groups.labels[a]),
                "lower": label_of(names, groups.labels[b]),
                "higher_levels": levels_of(names, groups.labels[a]),
                "lower_levels": levels_of(names, groups.labels[b]),
                "mean_higher": means[a],
                "mean_lower": means[b],
                "ratio": means[a] / means[b] if means[b] > 0 else None,
                "energy_distance": distances[a, b],
                "by_chance": by_chance[a, b],
            }
        )
    return {"attributes": names, "n_pairs": len(first), "pairs": pairs}
