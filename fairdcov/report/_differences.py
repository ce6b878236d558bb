"""Groups side by side: experience with intervals, differences of the predictions with null levels, furthest pairs."""

import warnings
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd

from fairdcov._checks import is_constant
from fairdcov.actuarial import experience, read_policies
from fairdcov.metrics import GROUP_MEASURES, DistributionFunctions, GroupedPredictions, bind_or_equal
from fairdcov.report._plain import level_text, level_value
from fairdcov.report._sample import CELLS

__all__ = [
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
    "pairs_sections",
]

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
# Furthest pairs that are shown, by the kind of grouping.
_PAIRS_SHOWN = {"attribute": 3, "intersection": 10}


def label_of(levels):
    """Name of a group, such as ``"female × north × [18, 25)"``."""
    return " × ".join(level_text(level) for level in levels)


def levels_of(names, levels):
    """Levels of a group as JSON."""
    return {name: level_value(level) for name, level in zip(names, levels, strict=True)}


# --- experience by group -------------------------------------------------------------------------------------------


def _actual_to_expected(y_true, y_pred):
    total = float(y_pred.sum())
    return float(y_true.sum()) / total if total > 0 else float("nan")


def _parts(groups, n_groups, generator):
    """Random parts of each group: the group of each part, and the part of each row."""
    n_blocks = max(_LEAST_BLOCKS_OF_GROUP, _BLOCKS // n_groups)
    cells = groups * n_blocks + generator.integers(n_blocks, size=len(groups))
    used = np.flatnonzero(np.bincount(cells, minlength=n_groups * n_blocks))
    position = np.zeros(n_groups * n_blocks, dtype=np.int64)
    position[used] = np.arange(len(used))
    return used // n_blocks, position[cells]


def bootstrap_intervals(sample, groupings, settings):
    """Quantiles of MetricFrame's bootstrap of actual to expected, for all groupings that get one in one go.

    MetricFrame takes a tenth of a second to resample a handful of groups, however few their rows; so the rows of all
    groupings go into one frame, a group of each. Every group is resampled as it would be alone.

    Parameters
    ----------
    sample : AuditSample
        Data.
    groupings : list of Grouping
        Attributes that are crossed.
    settings : dict
        ``n_bootstrap``, ``confidence``.

    Returns
    -------
    dict of tuple to dict
        For the names of a grouping: ``lower`` and ``upper``, arrays over its groups, ``n_units``, and ``n`` resamples.
    """
    from fairlearn.metrics import MetricFrame

    n_boot = settings["n_bootstrap"]
    for grouping in groupings:
        if sample.is_soft(grouping.names) and sample.book.observed is not None and n_boot:
            sample.leave_out("groups", grouping.names, "bootstrap intervals of actual to expected")
    groupings = [grouping for grouping in groupings if not sample.is_soft(grouping.names)]
    if n_boot == "auto":
        n_boot = _RESAMPLES
        groupings = [
            grouping
            for grouping in groupings
            if grouping.kind == "attribute" and len(sample.groups(grouping.names).labels) <= _MOST_BOOTSTRAPPED
        ]
    if sample.book.observed is None or not n_boot or not groupings:
        return {}
    generator = sample.generator("bootstrap")
    codes, observed, predicted, bounds = [], [], [], [0]
    for grouping in groupings:
        groups = sample.groups(grouping.names)
        part_groups, parts = groups.codes, np.arange(sample.n)
        if sample.n > _EVERY_ROW:
            part_groups, parts = _parts(groups.codes, groups.n_groups, generator)
        codes.append(part_groups + bounds[-1])
        observed.append(sample.book.sums(parts, len(part_groups), sample.book.observed))
        predicted.append(sample.book.sums(parts, len(part_groups), sample.predictions))
        bounds.append(bounds[-1] + groups.n_groups)
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
    lower, upper = (found["actual_to_expected"].reindex(np.arange(bounds[-1])).to_numpy() for found in quantiles)
    return {
        grouping.names: {"lower": lower[start:stop], "upper": upper[start:stop], "n_units": len(part), "n": n_boot}
        for grouping, (start, stop), part in zip(groupings, pairwise(bounds), codes, strict=True)
    }


def _group_rows(sample, grouping, bootstrap, settings):
    """A row for each group, and how their intervals were made."""
    book, groups = sample.book, sample.groups(grouping.names)
    exposure = groups.totals(book.exposure)
    columns = {"rows": groups.totals(), "exposure": exposure, "share": exposure / exposure.sum()}
    means = {"predicted": groups.totals(book.exposure * sample.predictions) / exposure}
    intervals = {"kind": None, "confidence": settings["confidence"], "n_bootstrap": 0}
    if book.observed is not None:
        found, intervals["kind"] = _experience(sample, groups, settings)
        columns["observed_total"] = groups.totals(book.exposure * book.observed)
        columns |= {name: found[name] for name in ("lower", "upper")}
        means |= {name: found[name] for name in ("observed", "actual_to_expected")}
        deviances, _ = sample.unit_deviances()
        if deviances is not None:
            means["deviance"] = groups.totals(book.exposure * deviances) / exposure
    if grouping.names in bootstrap:
        found = bootstrap[grouping.names]
        columns |= {f"bootstrap_{name}": found[name] for name in ("lower", "upper")}
        intervals |= {"n_bootstrap": found["n"], "bootstrap_units": found["n_units"]}
    rows, enough = [], groups.large_enough(settings["min_group_size"])
    for code, levels in enumerate(groups.labels):
        row = {"label": label_of(levels), "levels": levels_of(grouping.names, levels)}
        row |= {name: values[code] for name, values in (columns | means).items()}
        row["too_small"] = not enough[code]
        rows.append(row)
    return rows, intervals


def _experience(sample, groups, settings):
    """Actual to expected of the groups; where rows are shares there are no counts, and the intervals those of a ratio.

    The rows of a group with their exposure times the share: each row is in a group once, so that they are independent.
    """
    book, interval = sample.book, sample.interval
    if groups.shares is not None:
        interval = "normal"
        book = read_policies(
            groups.spread(book.observed), groups.weighted(book.exposure), y_pred=groups.spread(sample.predictions)
        )
    return experience(book, groups.codes, groups.n_groups, confidence=settings["confidence"], interval=interval)


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
    cells_of_rows : (n,) int64 array or None
        Cell of each row of the audit.
    """

    groups: GroupedPredictions
    cells: np.ndarray | None
    bandwidth: float | None
    cells_of_rows: np.ndarray | None = None

    def permuted(self, rows):
        """The predictions of other rows with the same shares; where attributes are known as probabilities."""
        groups, entries = self.groups, self.groups.rows
        predictions, weights = groups.pooled.predictions[rows], groups.pooled.weights[rows]
        part = replace(
            groups, predictions=predictions[entries], weights=weights[entries] * groups.shares.data, shares=None
        )
        cells = None if self.cells is None else self.cells_of_rows[rows][entries]
        return ComparedGroups(part, cells, self.bandwidth, self.cells_of_rows)

    def gather(self, coarseness=1):
        """The predictions with as many rows as cells and groups have in common, as a function of the group codes.

        All that does not depend on the codes is done once; ``coarseness`` puts so many neighbouring cells together.
        """
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


def compared_groups(sample, names, settings, *, which="y_pred", bins=None):
    """Predictions by the groups that are large enough, or None where fewer than two are.

    ``bins`` are other bins than those of the audit.
    """
    found = sample.groups(names, bins)
    kept = np.flatnonzero(found.large_enough(settings["min_group_size"]))
    if len(kept) < 2:
        return None
    cells = sample.cells(which)
    weights = np.ones(sample.n) if sample.weights is None else sample.weights
    groups, entries = found.grouped(sample.book.predictions[which], weights, kept)
    return ComparedGroups(
        groups, None if cells is None else found.spread(cells)[entries], sample.bandwidth(which), cells
    )


def _bind_measures(compared, measures, coarseness=1):
    """Function of group codes (n,) that gives the measures; all that does not depend on them is done once."""
    groups = compared.groups
    functions, of_distributions = {}, {}
    # Millions of shares are bound anew for every permutation: what rests on means is as good in cells there.
    means_in_cells = coarseness > 1 and groups.pooled is not None and compared.cells is not None
    for name in measures:
        measure = GROUP_MEASURES[name]
        if means_in_cells and name != "js_divergence" and not measure.of_distributions:
            of_distributions[name] = partial(measure.bind, **measure.options)
        elif not measure.of_distributions:
            options = dict(measure.options)
            if name == "js_divergence" and compared.bandwidth is not None:
                options["bandwidth"] = compared.bandwidth
            functions[name] = bind_or_equal(groups, measure.bind, **options)
        elif groups.n_groups <= _MOST_GROUPS:
            of_distributions[name] = measure.bind
    if is_constant(groups.predictions):
        functions |= dict.fromkeys(of_distributions, lambda codes: 0.0)
        of_distributions = {}
    gathered = compared.gather(coarseness) if of_distributions else None

    def evaluate(codes):
        found = {name: function(codes) for name, function in functions.items()}
        if of_distributions:
            part = gathered(codes)
            found |= {name: bind(part)(part.codes) for name, bind in of_distributions.items()}
        return found

    return evaluate


def measure_groups(compared, measures=tuple(GROUP_MEASURES)):
    """Differences of the predictions between groups, ``{measure: value}``.

    Parameters
    ----------
    compared : ComparedGroups or None
        None where there is nothing to compare.
    measures : sequence of str
        Which of :data:`fairdcov.metrics.GROUP_MEASURES`.

    Returns
    -------
    dict of str to float or None
    """
    found = {} if compared is None else _bind_measures(compared, measures)(compared.groups.codes)
    return {name: found.get(name) for name in measures}


def n_null_permutations(asked, n_rows, n_groups, least=10):
    """Permutations for the null levels: as asked for, or what takes about a second."""
    if asked != "auto":
        return asked
    return int(np.clip(1.0 / (1e-7 * n_rows + 1e-3 * n_groups), least, 99))


def null_levels(compared, n_permutations, generator, measures=tuple(GROUP_MEASURES)):
    """Mean and 95 % quantile of the measures when the groups do not matter, by permuting group codes, or shares.

    Weights stay with their predictions, as in :func:`fairdcov.metrics.null_distribution`.
    """
    groups, values = compared.groups, {}
    if groups.shares is None:
        evaluate = _bind_measures(compared, measures, _COARSENESS)
    for _ in range(n_permutations):
        if groups.shares is None:
            found = evaluate(generator.permutation(groups.codes))
        else:
            part = compared.permuted(generator.permutation(groups.shares.shape[0]))
            found = _bind_measures(part, measures, _COARSENESS)(part.groups.codes)
        for name, value in found.items():
            values.setdefault(name, []).append(value)
    return {
        name: {"null_mean": np.mean(found), "null_quantile_95": np.quantile(found, 0.95)}
        for name, found in values.items()
    }


def group_section(sample, grouping, compared, bootstrap, settings):
    """All that is said about one grouping.

    Parameters
    ----------
    sample : AuditSample
        Data.
    grouping : Grouping
        Attributes that are crossed.
    compared : ComparedGroups or None
        The groups that are large enough.
    bootstrap : dict
        Of :func:`bootstrap_intervals`.
    settings : dict
        ``min_group_size``, ``n_permutations``, ``confidence``.

    Returns
    -------
    dict
        Not yet plain.
    """
    rows, intervals = _group_rows(sample, grouping, bootstrap, settings)
    nulls, n_permutations = {}, 0
    if compared is not None and settings["n_permutations"] != 0:
        groups = compared.groups
        # Millions of shares differ little from one permutation to the next.
        least = 10 if groups.shares is None else 5
        n_permutations = n_null_permutations(settings["n_permutations"], len(groups.codes), groups.n_groups, least)
        nulls = null_levels(compared, n_permutations, sample.generator(f"null levels of {grouping.title}"))
    small = [row for row in rows if row["too_small"]]
    return {
        "attributes": list(grouping.names),
        "kind": grouping.kind,
        "n_groups": len(rows),
        "n_compared": 0 if compared is None else compared.groups.n_groups,
        "measures": {
            name: {"value": value} | nulls.get(name, {"null_mean": None, "null_quantile_95": None})
            for name, value in measure_groups(compared).items()
        },
        "n_permutations": n_permutations,
        "distributions_at": "every row" if sample.cells("y_pred") is None else f"{CELLS} cells of equal exposure",
        "intervals": intervals,
        "groups": rows,
        "too_small": [{name: row[name] for name in ("label", "levels", "rows", "exposure", "share")} for row in small],
        "share_too_small": float(sum(row["share"] for row in small)),
    }


# --- pairs of groups -----------------------------------------------------------------------------------------------


def energy_distances(compared):
    """Energy distances ``2 E|U - V| - E|U - U'| - E|V - V'|`` of all pairs of groups, (K, K).

    For predictions, which have one dimension, this is ``2 int (F - G)^2`` over the distribution functions: exact on all
    rows, with weights, where dcor's definition by pairs of rows is quadratic.
    """
    n_groups = compared.groups.n_groups
    part = compared.gather()(compared.groups.codes)
    shares = part.totals(part.weights) / part.weights.sum()
    products = np.zeros((n_groups, n_groups))
    for table, gaps in DistributionFunctions(part).tables(part.codes, "pairwise"):
        # About the pooled function, so that the difference of close functions keeps its digits.
        centred = table - (table @ shares)[:, None]
        products += (centred * gaps[:, None]).T @ centred
    squares = np.diag(products)
    return np.maximum(2.0 * (squares[:, None] + squares[None, :] - 2.0 * products), 0.0)


def pairs_sections(sample, groupings, compared, settings):
    """The furthest pairs of groups of single attributes and of the full intersection, ``compared`` by their names."""
    return [
        {"attributes": list(grouping.names)}
        | _furthest_pairs(sample, grouping.names, compared[grouping.names], _PAIRS_SHOWN[grouping.kind])
        for grouping in groupings
        if grouping.kind in _PAIRS_SHOWN
    ]


def _squared_differences(groups):
    """Sum over rows of ``(q_ia - q_ib)^2``, (K, K), with the share q_ia that row i has in the weight of group a."""
    totals = groups.totals(groups.weights)
    if groups.shares is None:
        own = groups.totals(groups.weights**2) / totals**2
        return own[:, None] + own[None, :]
    shares = groups.shares.multiply(groups.pooled.weights[:, None]).tocsr()
    products = (shares.T @ shares).toarray() / np.outer(totals, totals)
    own = np.diag(products)
    return own[:, None] + own[None, :] - 2.0 * products


def _furthest_pairs(sample, names, compared, most):
    """The pairs of groups whose predictions are furthest apart, beyond what chance makes of their sizes.

    ``by_chance`` is the mean of the distance between two samples of the same sizes from the pooled predictions,
    ``E|U - U'| (1 / m_a + 1 / m_b)`` with the effective numbers of rows m; where rows are shared between groups,
    ``E|U - U'|`` times the sum of squared differences of the rows' shares of the two groups' weight.
    """
    if compared is None or compared.groups.n_groups > _MOST_GROUPS:
        return {"n_pairs": 0, "pairs": []}
    groups = compared.groups
    distances = np.zeros((groups.n_groups, groups.n_groups))
    if not is_constant(groups.predictions):
        distances = energy_distances(compared)
    by_chance = sample.spread("y_pred") * _squared_differences(groups)
    means = groups.group_means()
    first, second = np.triu_indices(groups.n_groups, 1)
    order = np.argsort(-(distances - by_chance)[first, second], kind="stable")[:most]
    pairs = []
    for a, b in zip(first[order], second[order], strict=True):
        high, low = (b, a) if means[a] < means[b] else (a, b)
        pairs.append(
            {
                "higher": label_of(groups.labels[high]),
                "lower": label_of(groups.labels[low]),
                "higher_levels": levels_of(names, groups.labels[high]),
                "lower_levels": levels_of(names, groups.labels[low]),
                "mean_higher": means[high],
                "mean_lower": means[low],
                "ratio": means[high] / means[low] if means[low] > 0 else None,
                "energy_distance": distances[high, low],
                "by_chance": by_chance[high, low],
            }
        )
    return {"n_pairs": len(first), "pairs": pairs}
