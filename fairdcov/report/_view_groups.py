"""The parts of a page about groups: their gaps, their experience, how far apart they are, and what was too small."""

from functools import partial

from fairdcov.metrics import GROUP_MEASURES
from fairdcov.report._blocks import (
    GROUP,
    INTERVAL,
    MOST_ROWS,
    Picture,
    Section,
    Table,
    Text,
    ends,
    interval_text,
    left_out_texts,
    table_of,
    title_of,
)
from fairdcov.report._summary import bounds, number, percent, ratio
from fairdcov.report._tables import TABLES

__all__ = [
    "balance_part",
    "binning_part",
    "groups_part",
    "pairs_part",
    "tiers_part",
    "tolerance_part",
    "too_small_part",
]

_UNDECIDED = "not enough evidence"
# Groups that are outside come first where not all can be shown.
_OUTCOMES = ("outside tolerance", _UNDECIDED, "within tolerance")


def tolerance_part(data):
    # Reports of schema 1.1 have no such part.
    found = data.get("equivalence")
    if found is None:
        return None
    level = f"{100 * found['alpha']:.3g} %"
    words = (
        f"Is the price gap of every group, relative to all other rows, from {bounds(found['tolerance'])}? Within "
        "tolerance: the data rule out a larger gap. Outside tolerance: they rule out a smaller one. Not enough "
        f"evidence: neither. Each is wrong with a probability of at most {level} for all groups together (Holm's "
        "method), and an attribute is within only if each of its groups is. The tolerance was chosen by those who "
        "asked for the audit; it is no rule of law."
    )
    blocks = [Text(f"{found['outcome'].capitalize()}."), Text(words)]
    if len(found["tests"]) > 1:
        blocks.append(Text("Legitimate factors were named: the gaps given these factors decide."))
    for test in found["tests"]:
        blocks += _tolerance_test(test, found)
    return Section("tolerance", "Within tolerance?", blocks)


def _tolerance_test(test, found):
    given = f" given {', '.join(test['legitimate_features'])}" if test["legitimate_features"] else ""
    if test["reason"] is not None:
        yield Text(f"Gaps{given}: {test['outcome']}. {test['reason'].capitalize()}.")
        return
    columns = (
        *("attributes", ("outcome", "outcome", str), ("groups", "n_groups", number), ("within", "n_within", number)),
        *(("not enough evidence", "n_unsure", number), ("outside", "n_outside", number)),
    )
    gaps = "1 gap" if test["n_compared"] == 1 else f"{test['n_compared']} gaps"
    note = (
        f"Intervals at {100 * (1 - 2 * found['alpha']):.3g} % for each gap alone; outcomes are adjusted for "
        f"{gaps}. Rows needed: of a whole book like this one, if the gap stays where it is."
    )
    yield table_of(f"Gaps of mean predictions{given}", columns, test["attributes"], n_words=2, note=note)
    means = () if given else (("mean", "value", number), ("mean of the rest", "reference", number))
    columns = (
        *(("group", "group", str), ("outcome", None, _outcome), "rows"),
        *(*means, ("gap", "gap", partial(percent, digits=2)), ("interval", None, _gap_interval)),
        ("rows needed", "rows_needed", number),
    )
    for part in test["attributes"]:
        rows = [row for row in test["groups"] if row["attributes"] == part["attributes"]]
        shown = sorted(range(len(rows)), key=lambda k: _OUTCOMES.index(rows[k]["outcome"]))[:MOST_ROWS]
        caption = f"Gaps of {title_of(part['attributes'])}{given}: {part['outcome']}"
        note = f"{len(shown)} of {len(rows)} groups; the JSON has all." if len(shown) < len(rows) else ""
        yield table_of(caption, columns, [rows[k] for k in sorted(shown)], n_words=2, note=note)


def _outcome(row):
    if row["too_small"]:
        return f"{row['outcome']} (too few rows)"
    return f"{row['outcome']}: {row['note']}" if row["note"] else row["outcome"]


def _gap_interval(row):
    return ends(row["lower"], row["upper"], digits=2)


_SCORES = (
    ("observed mean", "observed", number),
    ("predicted mean", "predicted", number),
    "actual_to_expected",
    ("its interval", None, interval_text),
    ("mean deviance", "deviance", partial(number, digits=5)),
    ("deviance explained (D²)", "deviance_explained", percent),
    ("Gini index", "gini", number),
)


def balance_part(data):
    balance, change = data["balance"], data["change"]
    if not data["data"]["observed"]:
        table = Table("Predictions", ["", "predictions"], [["predicted mean", number(balance["predicted"])]])
        return Section("balance", "Balance", [Text("No observed values were given."), table])
    tariffs = {"predictions": balance} | ({"baseline": change["before"]} if change else {})
    scores = table_of("", _SCORES, tariffs.values())
    table = Table(
        "All rows, weighted by exposure",
        ["", *tariffs],
        [list(row) for row in zip(scores.columns, *scores.rows, strict=True)],
        note=f"Deviance: {balance['deviance_name']}. The groups have their balance in their own tables below.",
    )
    lift = table_of(
        "Lift: bins of the predictions, of about equal exposure",
        ("bin", "rows", "exposure", "predicted", "observed", "actual_to_expected", INTERVAL),
        data["lift"]["table"],
        n_words=0,
    )
    first, last = data["lift"]["table"][0], data["lift"]["table"][-1]
    picture = Picture(
        "lift",
        "Observed and predicted by bins of the predictions, and the Lorenz curve",
        f"From the lowest to the highest of {len(data['lift']['table'])} bins the predicted mean rises from "
        f"{number(first['predicted'])} to {number(last['predicted'])}, the observed mean from "
        f"{number(first['observed'])} to {number(last['observed'])}.",
    )
    return Section("balance", "Balance and order", [table, picture, lift])


def groups_part(data):
    words = (
        "Experience and predictions in each group, and how far the predictions of the groups are apart. A difference "
        "is never exactly 0 in a sample: beside it stand the mean and the 95 % level that it has when the rows of the "
        "attributes are shuffled. Groups in grey are too small to judge and take no part in the comparison."
    )
    blocks = [Text(words), *_on_probabilities(data), *left_out_texts(data, "groups"), *_group_pictures(data)]
    yield Section("groups", "Groups", blocks)
    for position, section in enumerate(data["groups"]):
        title = title_of(section["attributes"])
        yield Section(f"groups-{position + 1}", title, [_measures(section), _group_table(data, section)], level=3)


def _on_probabilities(data):
    names = [entry["name"] for entry in data["data"]["attributes"] if entry["kind"] == "probabilities"]
    if not names:
        return []
    words = (
        f"{', '.join(names)}: known as probabilities. Every row counts in each group with its exposure times the "
        "probability of the group; rows are expected numbers. Intervals take the probabilities as given. If they are "
        "right but do not tell all, true differences can be larger or smaller."
    )
    return [Text(words)]


def _group_pictures(data):
    singles = [section for section in data["groups"] if section["kind"] == "attribute"]
    yield Picture(
        "attributes",
        "Mean prediction and actual to expected by attribute",
        "; ".join(
            f"{title_of(section['attributes'])}: mean prediction "
            f"{number(min(group['predicted'] for group in section['groups']))} to "
            f"{number(max(group['predicted'] for group in section['groups']))}"
            for section in singles
        )
        + ". The figures are in the tables of each attribute.",
    )
    if data["distributions"]:
        found = data["distributions"]
        yield Picture(
            "distributions",
            f"Distribution of the predictions in the groups of {title_of(found['attributes'])} furthest from all rows",
            f"Densities of {len(found['groups'])} of {found['n_groups']} groups: {', '.join(found['groups'])}.",
        )


def _measures(section):
    what_it_is = ("what it is", "measure", lambda name: GROUP_MEASURES[name].note)
    return table_of(
        f"Differences between groups of {title_of(section['attributes'])} ({section['n_compared']} are large enough)",
        ("measure", what_it_is, "value", "null_mean", "null_quantile_95"),
        [{"measure": name} | measure for name, measure in section["measures"].items()],
        n_words=2,
        note=f"{section['n_permutations']} permutations; distribution functions at {section['distributions_at']}.",
    )


def _group_table(data, section):
    groups, intervals = section["groups"], section["intervals"]
    columns, notes = [GROUP, "rows", "exposure", "share", "predicted"], []
    if data["data"]["observed"]:
        columns += ["observed", "actual_to_expected", INTERVAL]
        kind = {"poisson": "exact Poisson intervals", "normal": "intervals of the linearised ratio"}[intervals["kind"]]
        notes.append(f"Actual to expected with {kind} at {100 * intervals['confidence']:g} %.")
    if intervals["n_bootstrap"] > 0:
        columns.append(("bootstrap interval", None, partial(interval_text, kind="bootstrap_")))
        notes.append(f"Bootstrap: {intervals['n_bootstrap']} resamples by fairlearn's MetricFrame.")
    if any(group.get("deviance") is not None for group in groups):
        columns.append("deviance")
    largest = sorted(range(len(groups)), key=lambda k: -groups[k]["exposure"])[:MOST_ROWS]
    if len(largest) < len(groups):
        notes.append(f"The {len(largest)} groups of the most exposure; the JSON has all {len(groups)}.")
    shown = [groups[k] for k in sorted(largest)]
    return table_of(f"Groups of {title_of(section['attributes'])}", columns, shown, note=" ".join(notes))


def pairs_part(data):
    pairs = list(TABLES["pairs"](data))
    if not pairs:
        return None
    words = (
        "Pairs of groups whose predictions are furthest apart by their energy distance, which compares whole "
        "distributions and not only means; ordered by what is beyond the distance that two groups of their sizes "
        "have by chance."
    )
    columns = ("attributes", "higher", "lower", "mean_higher", "mean_lower", "ratio", "energy_distance", "by_chance")
    table = table_of("Pairs of groups", columns, pairs, n_words=3)
    return Section("pairs", "Groups furthest apart", [Text(words), table])


def tiers_part(data):
    """Shares of the groups above thresholds of the premium."""
    # Reports of schema 1.2 have no such part.
    found = data.get("tiers")
    if found is None:
        return None
    how = "as asked for"
    if found["quantiles"]:
        how = f"quantiles of the predictions at {', '.join(percent(level, 0) for level in found['quantiles'])}"
    thresholds = ", ".join(number(threshold, 4) for threshold in found["thresholds"])
    words = (
        f"The share of each group's exposure with a prediction above {thresholds} ({how}), against all other rows. "
        "Groups can pay the same on average and differ in who gets into the dearest tier. Intervals take the "
        "predictions as given and rows as independent."
    )
    columns = (
        *(GROUP, ("above", "above", partial(number, digits=4)), "rows", "share", ("interval", None, _share_interval)),
        *(("share of the rest", "rest", percent), ("difference", "difference", percent)),
        *(
            ("its interval", None, _difference_interval),
            ("ratio", "ratio", ratio),
            ("interval of the ratio", None, _ratio_interval),
        ),
    )
    blocks = [Text(words), *left_out_texts(data, "tiers")]
    blocks += [
        Picture(
            "tiers",
            "Share of each group above the thresholds of the premium",
            "Shares of the levels of each attribute, with intervals; the figures are in the tables.",
        )
    ]
    for part in found["groups"]:
        rows = part["tiers"]
        note = f"The first {MOST_ROWS} of {len(rows)} rows; the JSON has all." if len(rows) > MOST_ROWS else ""
        caption = f"Tiers of {title_of(part['attributes'])}"
        blocks.append(table_of(caption, columns, rows[:MOST_ROWS], note=note))
    return Section("tiers", "Tiers of the premium", blocks)


def _share_interval(row):
    return ends(row["share_lower"], row["share_upper"], digits=1)


def _difference_interval(row):
    return ends(row["difference_lower"], row["difference_upper"], digits=1)


def _ratio_interval(row):
    low, high = row["ratio_lower"], row["ratio_upper"]
    return "–" if low is None or high is None else f"{ratio(low)} to {ratio(high)}"


def binning_part(data):
    if not data["binning"]:
        return None
    words = (
        "Groups of a continuous attribute depend on where it is cut. The divergence under other bins, beside the level "
        "it has by chance, which rises with the number of groups. The distance covariances need no bins."
    )
    columns = (
        *("attribute", "bins", ("groups of", "attributes", title_of), "n_compared", "share_compared"),
        *("js_divergence", "null_mean", "null_quantile_95"),
    )
    table = table_of("Other bins", columns, data["binning"], n_words=3)
    blocks = [Text(words), *left_out_texts(data, "binning"), table]
    return Section("binning", "Sensitivity to the bins", blocks)


def too_small_part(data):
    groups = list(TABLES["too_small"](data))
    least = data["settings"]["min_group_size"]
    if not groups:
        return Section("small", "Groups too small to judge", [Text(f"No group has fewer than {least} rows.")])
    note = f"The first {MOST_ROWS} of {len(groups)}; the JSON has all." if len(groups) > MOST_ROWS else ""
    words = f"Fewer than {least} rows: listed here and in the tables, left out of every comparison of groups."
    columns = (
        *("attributes", ("group", "label", str), "rows", ("exposure", "exposure", number)),
        ("share of exposure", "share", partial(percent, digits=2)),
    )
    table = table_of(f"{len(groups)} groups", columns, groups[:MOST_ROWS], n_words=2, note=note)
    return Section("small", "Groups too small to judge", [Text(words), table])
