"""The report as sections of text, tables and pictures: one place for its words, whatever the form it is written in."""

from dataclasses import dataclass, field
from functools import partial

from fairdcov.metrics import GROUP_MEASURES
from fairdcov.report._summary import bounds, number, p_value, percent, ratio
from fairdcov.report._tables import TABLES
from fairdcov.report._texts import MEASURE_NAMES, TASK_NAMES

__all__ = ["Items", "Picture", "Section", "Table", "Text", "view"]

# Rows of a table on a page; the JSON has all of them.
_MOST_ROWS = 80
_MOST_FEATURES = 40


@dataclass
class Text:
    """A paragraph."""

    text: str


@dataclass
class Items:
    """A list; each item a text or a (term, text) pair."""

    items: list


@dataclass
class Table:
    """A table of texts. The first ``n_words`` columns hold words, the others figures."""

    caption: str
    columns: list
    rows: list
    n_words: int = 1
    muted: list = field(default_factory=list)
    note: str = ""


@dataclass
class Picture:
    """A picture by its name among the figures, with a caption and a description of what it shows."""

    name: str
    caption: str
    description: str


@dataclass
class Section:
    """A part with a heading; level 2 or 3."""

    id: str
    title: str
    blocks: list
    level: int = 2


def view(data):
    """Sections of a report.

    Parameters
    ----------
    data : dict
        Plain data of the report.

    Returns
    -------
    list of Section
    """
    sections = [
        _tolerance(data),
        _summary(data),
        _scope(data),
        _balance(data),
        *_groups(data),
        _pairs(data),
        _dependence(data),
    ]
    sections += [_partial(data), _proxies(data), _change(data), _binning(data), _too_small(data), _alternatives(data)]
    sections += [_limits(data), _record(data)]
    return [section for section in sections if section is not None]


def _title(attributes):
    return " × ".join(attributes)


def _interval(entry, kind=""):
    low, high = entry[f"{kind}lower"], entry[f"{kind}upper"]
    return "–" if low is None or high is None else f"{ratio(low)} to {ratio(high)}"


def _label(group):
    return group["label"] + (" (too small)" if group["too_small"] else "")


# Title and form of the columns whose title is not their key, or that are not written as numbers and texts are.
_COLUMNS = {
    "actual_to_expected": ("actual / expected", ratio),
    "attributes": ("attributes", _title),
    "change": ("change", percent),
    "distance_correlation": ("without", number),
    "exposure": ("exposure", partial(number, digits=4)),
    "js_divergence": ("divergence, bits", number),
    "level": ("level", str),
    "mean_higher": ("mean, higher", number),
    "mean_lower": ("mean, lower", number),
    "measure": ("measure", MEASURE_NAMES.get),
    "n_compared": ("compared", number),
    "n_levels": ("levels", number),
    "normalized": ("scale-free", number),
    "note": ("note", lambda note: note or ""),
    "null_mean": ("by chance", number),
    "null_quantile_95": ("95 % by chance", number),
    "p_value": ("p-value", p_value),
    "partial": ("given the factors", number),
    "premium_after": ("premium after", partial(number, digits=4)),
    "premium_before": ("premium before", partial(number, digits=4)),
    "quantile_5": ("5 %", percent),
    "quantile_50": ("median", percent),
    "quantile_95": ("95 %", percent),
    "score": ("score", {"auc": "AUC (0.5 is chance)", "r2": "R² (0 is chance)", None: "–"}.get),
    "share": ("share", percent),
    "share_compared": ("exposure compared", percent),
    "share_down": ("pay less", percent),
    "share_up": ("pay more", percent),
    "statistic": ("statistic tested", number),
}
# Columns that are written from the whole entry.
_GROUP = ("group", None, _label)
_INTERVAL = ("interval", None, _interval)
_CHANGE = (
    *("rows", "premium_before", "premium_after", "change"),
    *("quantile_5", "quantile_50", "quantile_95", "share_up", "share_down"),
)


def _table(caption, columns, entries, **options):
    """A table with a row for each entry; those of groups that are too small are muted.

    A column is the key of a value, or a title, a key (None for the whole entry) and the function that writes it.
    """
    entries, titles, cells = list(entries), [], []
    for column in columns:
        if isinstance(column, str):
            title, write = _COLUMNS.get(column, (column.replace("_", " "), number))
            column = title, column, write
        title, key, write = column
        titles.append(title)
        cells.append([write(entry if key is None else entry[key]) for entry in entries])
    muted = [position for position, entry in enumerate(entries) if entry.get("too_small")]
    return Table(caption, titles, [list(row) for row in zip(*cells, strict=True)], muted=muted, **options)


_UNDECIDED = "not enough evidence"
# Groups that are outside come first where not all can be shown.
_OUTCOMES = ("outside tolerance", _UNDECIDED, "within tolerance")


def _tolerance(data):
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
        return [Text(f"Gaps{given}: {test['outcome']}. {test['reason'].capitalize()}.")]
    columns = (
        *("attributes", ("outcome", "outcome", str), ("groups", "n_groups", number), ("within", "n_within", number)),
        *(("not enough evidence", "n_unsure", number), ("outside", "n_outside", number)),
    )
    attributes = _table(f"Gaps of mean predictions{given}", columns, test["attributes"], n_words=2)
    rows = test["groups"]
    shown = sorted(range(len(rows)), key=lambda k: _OUTCOMES.index(rows[k]["outcome"]))[:_MOST_ROWS]
    means = () if given else (("mean", "value", number), ("mean of the rest", "reference", number))
    columns = (
        *("attributes", ("group", "group", str), ("outcome", None, _outcome), "rows"),
        *(*means, ("gap", "gap", partial(percent, digits=2)), ("interval", None, _gap_interval)),
        ("rows needed", "rows_needed", number),
    )
    gaps = "1 gap" if test["n_compared"] == 1 else f"{test['n_compared']} gaps"
    note = (
        f"Intervals at {100 * (1 - 2 * found['alpha']):.3g} % for each gap alone; outcomes are adjusted for {gaps}. "
        "Rows needed: of a whole book like this one, if the gap stays where it is."
    )
    if len(shown) < len(rows):
        note += f" {len(shown)} of {len(rows)} groups; the JSON has all."
    return [attributes, _table(f"Groups{given}", columns, [rows[k] for k in sorted(shown)], n_words=3, note=note)]


def _outcome(row):
    return f"{row['outcome']}: {row['note']}" if row["note"] else row["outcome"]


def _gap_interval(row):
    return "–" if row["lower"] is None else f"{percent(row['lower'], 2)} to {percent(row['upper'], 2)}"


def _summary(data):
    blocks = [Items(data["summary"])]
    if data["remarks"]:
        blocks += [Text("To know when reading on:"), Items(data["remarks"])]
    return Section("summary", "Summary", blocks)


def _facts(value, prefix=""):
    """Nested metadata as pairs of a name and a text."""
    for name, part in value.items():
        title = f"{prefix}{str(name).replace('_', ' ')}"
        if isinstance(part, dict):
            yield from _facts(part, f"{title}: ")
        elif isinstance(part, list):
            yield title, ", ".join(str(item) for item in part)
        elif isinstance(part, float):
            yield title, f"{part:.6g}"
        else:
            yield title, "–" if part is None else str(part)


def _scope(data):
    rows, task = data["data"], data["balance"]["task"]
    # Reports of schema 1.0 do not say.
    found_since = data["settings"].get("task_found_since", "")
    chosen = ", as stated" if found_since is None else f", since {found_since}" if found_since else ""
    facts = [
        ("predicted", TASK_NAMES[task] + chosen),
        *([("deviance", rows["deviance"])] if rows["observed"] else []),
        ("rows", f"{rows['rows']:,} of {rows['rows_given']:,}"),
        ("exposure", number(rows["exposure"], 6)),
        ("observed values", "yes" if rows["observed"] else "none: nothing is compared with experience"),
        ("features", ", ".join(rows["features"]) or "none given"),
        ("called legitimate", ", ".join(rows["legitimate_features"]) or "none named"),
        ("baseline", "yes" if rows["baseline"] else "none given"),
    ]
    blocks = [Items(facts)]
    if data["metadata"]:
        blocks += [Text("As stated by those who asked for the audit:"), Items(list(_facts(data["metadata"])))]
    else:
        blocks.append(
            Text(
                "Nothing was stated about the model, the data, how the protected attributes were obtained, or who "
                "chose the strength and by which rule: pass metadata to put it on record."
            )
        )
    bins = data["settings"]["bins"]
    columns = (
        ("attribute", "name", str),
        "kind",
        "n_levels",
        ("range", None, _range),
        ("bins", None, lambda attribute: _bins(bins.get(attribute["name"]))),
    )
    table = _table("Protected attributes", columns, rows["attributes"], n_words=2)
    return Section("scope", "What was audited", [*blocks, table])


def _range(attribute):
    return f"{attribute['lowest']:g} to {attribute['highest']:g}" if attribute["kind"] == "numeric" else ""


def _bins(bins):
    if bins is None:
        return ""
    edges = ", ".join(edge if isinstance(edge, str) else f"{edge:g}" for edge in bins["edges"])
    return f"{bins['quantile_groups']} quantile groups: {edges}" if bins["quantile_groups"] else edges


_SCORES = (
    ("observed mean", "observed", number),
    ("predicted mean", "predicted", number),
    "actual_to_expected",
    ("its interval", None, _interval),
    ("mean deviance", "deviance", partial(number, digits=5)),
    ("deviance explained (D²)", "deviance_explained", percent),
    ("Gini index", "gini", number),
)


def _balance(data):
    balance, change = data["balance"], data["change"]
    if not data["data"]["observed"]:
        table = Table("Predictions", ["", "predictions"], [["predicted mean", number(balance["predicted"])]])
        return Section("balance", "Balance", [Text("No observed values were given."), table])
    tariffs = {"predictions": balance} | ({"baseline": change["before"]} if change else {})
    scores = _table("", _SCORES, tariffs.values())
    table = Table(
        "All rows, weighted by exposure",
        ["", *tariffs],
        [list(row) for row in zip(scores.columns, *scores.rows, strict=True)],
        note=f"Deviance: {balance['deviance_name']}. The groups have their balance in their own tables below.",
    )
    lift = _table(
        "Lift: bins of the predictions, of about equal exposure",
        ("bin", "rows", "exposure", "predicted", "observed", "actual_to_expected", _INTERVAL),
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


def _groups(data):
    words = (
        "Experience and predictions in each group, and how far the predictions of the groups are apart. A difference "
        "is never exactly 0 in a sample: beside it stand the mean and the 95 % level that it has when the rows of the "
        "attributes are shuffled. Groups in grey are too small to judge and take no part in the comparison."
    )
    yield Section("groups", "Groups", [Text(words), *_group_pictures(data)])
    for position, section in enumerate(data["groups"]):
        title = _title(section["attributes"])
        yield Section(f"groups-{position + 1}", title, [_measures(section), _group_table(data, section)], level=3)


def _group_pictures(data):
    singles = [section for section in data["groups"] if section["kind"] == "attribute"]
    yield Picture(
        "attributes",
        "Mean prediction and actual to expected by attribute",
        "; ".join(
            f"{_title(section['attributes'])}: mean prediction "
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
            f"Distribution of the predictions in the groups of {_title(found['attributes'])} furthest from all rows",
            f"Densities of {len(found['groups'])} of {found['n_groups']} groups: {', '.join(found['groups'])}.",
        )


def _measures(section):
    what_it_is = ("what it is", "measure", lambda name: GROUP_MEASURES[name].note)
    return _table(
        f"Differences between groups of {_title(section['attributes'])} ({section['n_compared']} are large enough)",
        ("measure", what_it_is, "value", "null_mean", "null_quantile_95"),
        [{"measure": name} | measure for name, measure in section["measures"].items()],
        n_words=2,
        note=f"{section['n_permutations']} permutations; distribution functions at {section['distributions_at']}.",
    )


def _group_table(data, section):
    groups, intervals = section["groups"], section["intervals"]
    columns, notes = [_GROUP, "rows", "exposure", "share", "predicted"], []
    if data["data"]["observed"]:
        columns += ["observed", "actual_to_expected", _INTERVAL]
        kind = {"poisson": "exact Poisson intervals", "normal": "intervals of the linearised ratio"}[intervals["kind"]]
        notes.append(f"Actual to expected with {kind} at {100 * intervals['confidence']:g} %.")
    if intervals["n_bootstrap"] > 0:
        columns.append(("bootstrap interval", None, partial(_interval, kind="bootstrap_")))
        notes.append(f"Bootstrap: {intervals['n_bootstrap']} resamples by fairlearn's MetricFrame.")
    if any(group.get("deviance") is not None for group in groups):
        columns.append("deviance")
    largest = sorted(range(len(groups)), key=lambda k: -groups[k]["exposure"])[:_MOST_ROWS]
    if len(largest) < len(groups):
        notes.append(f"The {len(largest)} groups of the most exposure; the JSON has all {len(groups)}.")
    shown = [groups[k] for k in sorted(largest)]
    return _table(f"Groups of {_title(section['attributes'])}", columns, shown, note=" ".join(notes))


def _pairs(data):
    pairs = list(TABLES["pairs"](data))
    if not pairs:
        return None
    words = (
        "Pairs of groups whose predictions are furthest apart by their energy distance, which compares whole "
        "distributions and not only means; ordered by what is beyond the distance that two groups of their sizes "
        "have by chance."
    )
    columns = ("attributes", "higher", "lower", "mean_higher", "mean_lower", "ratio", "energy_distance", "by_chance")
    table = _table("Pairs of groups", columns, pairs, n_words=3)
    return Section("pairs", "Groups furthest apart", [Text(words), table])


_UNTESTED = dict.fromkeys(("effect_size", "p_value", "n_permutations", "statistic", "null_quantile_95", "n_samples"))


def _dependence(data):
    words = (
        "CCdCov and JdCov (net of what the attributes have among themselves) are 0 where the predictions are "
        "independent of the attributes jointly; dCov sums over single attributes and is blind to their intersections. "
        "The value is weighted by exposure; scale-free, it does not change with the unit of the predictions. "
        "Tests are by permutation of the attributes, with every row counted alike and the unbiased "
        "statistic, whose mean is 0 under independence. The effect size is a squared distance correlation, from 0 to 1."
    )
    entries = [(entry["test"] or _UNTESTED) | entry for entry in data["dependence"]]
    columns = (
        *("attributes", "measure", "value", "normalized", "effect_size"),
        ("p-value", None, lambda entry: p_value(entry["p_value"], entry["n_permutations"])),
        *("statistic", "null_quantile_95", ("rows tested", "n_samples", number)),
    )
    table = _table("Dependence of the predictions on the attributes", columns, entries, n_words=2)
    return Section("dependence", "Tests of independence", [Text(words), table])


def _partial(data):
    found = data["partial"]
    if found is None:
        words = (
            "No rating factors were called legitimate: pass legitimate_features to see how much dependence is left "
            "given them."
        )
        return Section("partial", "Given legitimate factors", [Text(words)])
    words = (
        f"Given {', '.join(found['given'])}: the partial distance correlation of predictions and attributes, beside "
        f"the squared distance correlation without these factors, both bias-corrected; on a subsample of "
        f"{found['n_samples']:,} rows, with {found['n_permutations']} permutations."
    )
    table = _table(
        "Dependence that is left", ("attributes", "distance_correlation", "partial", "p_value"), found["results"]
    )
    return Section("partial", "Given legitimate factors", [Text(words), table])


def _proxies(data):
    proxies = data["proxies"]
    if proxies is None:
        words = "No features were given: nothing can be said about proxies."
        return Section("proxies", "Proxies", [Text(words)])
    jointly = len(proxies["attributes"]) > 1
    features = proxies["features"][:_MOST_FEATURES]
    columns = [
        "feature",
        ("kind", None, lambda entry: entry["kind"] + (", legitimate" if entry["legitimate"] else "")),
    ]
    columns += [(name, "distance_correlation", partial(_ratio_of, name)) for name in proxies["attributes"]]
    columns += [("all jointly", "jointly", ratio)] if jointly else []
    notes = [f"On {proxies['n_samples']:,} rows."]
    if len(features) < len(proxies["features"]):
        notes.append(f"The first {len(features)} of {len(proxies['features'])}; the JSON has all.")
    if proxies["protected_features"]:
        notes.append(f"Left out, as protected themselves: {', '.join(proxies['protected_features'])}.")
    notes += [f"Left out: {part['feature']} ({part['reason']})." for part in proxies["skipped"]]
    words = (
        "Which features carry the protected attributes? The squared distance correlation (bias-corrected, 0 to 1) of "
        "each feature with each attribute; a feature may carry the attributes jointly and none of them alone. Whether "
        "the model uses a feature in that way is another question."
    )
    blocks = [Text(words)]
    if features:
        blocks.append(
            Picture(
                "proxies",
                "Features that carry the protected attributes, the strongest first",
                "Squared distance correlations of "
                + ", ".join(entry["feature"] for entry in features[:12])
                + "; figures in the table.",
            )
        )
    blocks.append(_table("Squared distance correlation", columns, features, n_words=2, note=" ".join(notes)))
    if proxies["prediction"]:
        columns = ("attribute", "score", "note", "value", ("rows", "n_samples", number))
        caption = "How well all features together predict each attribute, cross-validated, by boosted trees"
        blocks.append(_table(caption, columns, proxies["prediction"], n_words=3))
    return Section("proxies", "Proxies", blocks)


def _ratio_of(name, values):
    return ratio(values[name])


def _change(data):
    change = data["change"]
    if change is None:
        return Section("change", "Before and after", [Text("No baseline was given.")])
    by_attribute = _table(
        "Premium change by attribute",
        ("attribute", "level", *_CHANGE),
        change["by_attribute"],
        n_words=2,
        note="Premium: exposure times rate. Quantiles of the change and who pays more or less: weighted by exposure.",
    )
    by_group = _table(
        f"Premium change by group of {_title([part['name'] for part in data['data']['attributes']])}",
        (_GROUP, *_CHANGE),
        sorted(change["by_intersection"], key=lambda row: -abs(row["change"]))[:_MOST_ROWS],
        note="The largest changes first.",
    )
    measures = _table(
        "Differences between groups before and after",
        ("attributes", "measure", "before", "after"),
        TABLES["before_after"](data),
        n_words=2,
    )
    blocks = [measures]
    if change["double_lift"]:
        blocks.append(
            Picture(
                "double_lift",
                "Double lift: both tariffs against the observed values, by bins of their ratio",
                f"{len(change['double_lift'])} bins of the ratio of new to old; where the two part, the observed line "
                "follows the better one.",
            )
        )
    blocks.append(
        Picture(
            "changes",
            "Who pays more and who pays less: change of the total premium by attribute",
            "; ".join(f"{row['level']} {percent(row['change'])}" for row in change["by_attribute"][:30]),
        )
    )
    return Section("change", "Before and after", [*blocks, by_attribute, by_group])


def _binning(data):
    if not data["binning"]:
        return None
    words = (
        "Groups of a continuous attribute depend on where it is cut. The divergence under other bins, beside the level "
        "it has by chance, which rises with the number of groups. The distance covariances need no bins."
    )
    columns = (
        *("attribute", "bins", ("groups of", "attributes", _title), "n_compared", "share_compared"),
        *("js_divergence", "null_mean", "null_quantile_95"),
    )
    table = _table("Other bins", columns, data["binning"], n_words=3)
    return Section("binning", "Sensitivity to the bins", [Text(words), table])


def _too_small(data):
    groups = list(TABLES["too_small"](data))
    least = data["settings"]["min_group_size"]
    if not groups:
        return Section("small", "Groups too small to judge", [Text(f"No group has fewer than {least} rows.")])
    note = f"The first {_MOST_ROWS} of {len(groups)}; the JSON has all." if len(groups) > _MOST_ROWS else ""
    words = f"Fewer than {least} rows: listed here and in the tables, left out of every comparison of groups."
    columns = (
        *("attributes", ("group", "label", str), "rows", ("exposure", "exposure", number)),
        ("share of exposure", "share", partial(percent, digits=2)),
    )
    table = _table(f"{len(groups)} groups", columns, groups[:_MOST_ROWS], n_words=2, note=note)
    return Section("small", "Groups too small to judge", [Text(words), table])


def _alternatives(data):
    alternatives = data["alternatives"]
    if not alternatives:
        words = (
            "None were stated. A calibration has a record of what it tried: audit(..., alternatives=calibrator) shows "
            "it, as fairdcov fit does by itself."
        )
        return Section("alternatives", "Alternatives tried", [Text(words)])
    blocks = []
    rows = [entry for entry in alternatives if isinstance(entry, dict)]
    if rows:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        cells = [[_cell(row.get(name)) for name in columns] for row in rows]
        titles = [name.replace("_", " ") for name in columns]
        recorded = data["metadata"].get("alternatives_recorded_by")
        source = f"recorded by {recorded}" if recorded else "as stated by those who asked for the audit"
        blocks.append(Table(f"Alternatives, {source}", titles, cells))
    texts = [str(entry) for entry in alternatives if not isinstance(entry, dict)]
    return Section("alternatives", "Alternatives tried", blocks + ([Items(texts)] if texts else []))


def _cell(value):
    if isinstance(value, dict | list):
        return ", ".join(f"{name}: {text}" for name, text in _facts(value)) if isinstance(value, dict) else str(value)
    return number(value, 4) if isinstance(value, int | float) else ("–" if value is None else value)


def _limits(data):
    limits = [(entry["topic"], entry["text"]) for entry in data["limits"]]
    words = (
        "Rules that people who price insurance work under, among others. They are named, not interpreted: this report "
        "is no legal advice and shows compliance with none of them."
    )
    rules = _table("Rules", ("place", "rule", "about"), data["rules"], n_words=3)
    return Section("limits", "Limits", [Items(limits), Text(words), rules])


def _record(data):
    settings = {name: value for name, value in data["settings"].items() if name != "bins"}
    facts = [*_facts(settings), *((f"version of {name}", str(version)) for name, version in data["software"].items())]
    facts += [("made", data["created"]), ("schema", f"{data['schema']} {data['schema_version']}")]
    return Section("record", "Technical record", [Items(facts)])
