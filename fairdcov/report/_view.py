"""The report as sections of text, tables and pictures: one place for its words, whatever the form it is written in."""

from dataclasses import dataclass, field

from fairdcov.metrics import GROUP_MEASURES
from fairdcov.report._summary import number, p_value, percent, ratio
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
    sections = [_summary(data), _scope(data), _balance(data), *_groups(data), _pairs(data), _dependence(data)]
    sections += [_partial(data), _proxies(data), _change(data), _binning(data), _too_small(data), _alternatives(data)]
    sections += [_limits(data), _record(data)]
    return [section for section in sections if section is not None]


def _title(attributes):
    return " × ".join(attributes)


def _interval(low, high):
    return "–" if low is None or high is None else f"{ratio(low)} to {ratio(high)}"


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
    table = Table("Protected attributes", ["attribute", "kind", "levels", "range", "bins"], [], n_words=2)
    for attribute in rows["attributes"]:
        name = attribute["name"]
        bins = data["settings"]["bins"].get(name)
        spread = f"{attribute['lowest']:g} to {attribute['highest']:g}" if attribute["kind"] == "numeric" else ""
        table.rows.append([name, attribute["kind"], number(attribute["n_levels"]), spread, _bins(bins)])
    return Section("scope", "What was audited", [*blocks, table])


def _bins(bins):
    if bins is None:
        return ""
    edges = ", ".join(edge if isinstance(edge, str) else f"{edge:g}" for edge in bins["edges"])
    return f"{bins['quantile_groups']} quantile groups: {edges}" if bins["quantile_groups"] else edges


_SCORES = (
    ("observed", "observed mean", number),
    ("predicted", "predicted mean", number),
    ("actual_to_expected", "actual / expected", ratio),
    ("deviance", "mean deviance", lambda value: number(value, 5)),
    ("deviance_explained", "deviance explained (D²)", percent),
    ("gini", "Gini index", number),
)


def _balance(data):
    balance, change = data["balance"], data["change"]
    if not data["data"]["observed"]:
        table = Table("Predictions", ["", "predictions"], [["predicted mean", number(balance["predicted"])]])
        return Section("balance", "Balance", [Text("No observed values were given."), table])
    columns = [("predictions", balance)] + ([("baseline", change["before"])] if change else [])
    rows = []
    for key, title, form in _SCORES:
        rows.append([title, *(form(column[key]) for _, column in columns)])
        if key == "actual_to_expected":
            rows.append(["its interval", *(_interval(column["lower"], column["upper"]) for _, column in columns)])
    table = Table(
        "All rows, weighted by exposure",
        ["", *(title for title, _ in columns)],
        rows,
        note=f"Deviance: {balance['deviance_name']}. The groups have their balance in their own tables below.",
    )
    lift = Table(
        "Lift: bins of the predictions, of about equal exposure",
        ["bin", "rows", "exposure", "predicted", "observed", "actual / expected", "interval"],
        [
            [
                number(row["bin"]),
                number(row["rows"]),
                number(row["exposure"], 4),
                number(row["predicted"]),
                number(row["observed"]),
                ratio(row["actual_to_expected"]),
                _interval(row["lower"], row["upper"]),
            ]
            for row in data["lift"]["table"]
        ],
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
        yield Section(f"groups-{position + 1}", title, [_measures(section), *_group_table(data, section)], level=3)


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
    rows = []
    for name, measure in section["measures"].items():
        rows.append(
            [
                MEASURE_NAMES[name],
                GROUP_MEASURES[name].note,
                number(measure["value"]),
                number(measure["null_mean"]),
                number(measure["null_quantile_95"]),
            ]
        )
    return Table(
        f"Differences between groups of {_title(section['attributes'])} ({section['n_compared']} are large enough)",
        ["measure", "what it is", "value", "by chance", "95 % by chance"],
        rows,
        n_words=2,
        note=f"{section['n_permutations']} permutations; distribution functions at {section['distributions_at']}.",
    )


def _group_table(data, section):
    observed = data["data"]["observed"]
    bootstrap = section["intervals"]["n_bootstrap"] > 0
    deviance = observed and any(group.get("deviance") is not None for group in section["groups"])
    columns = ["group", "rows", "exposure", "share", "predicted"]
    columns += ["observed", "actual / expected", "interval"] if observed else []
    columns += ["bootstrap interval"] if bootstrap else []
    columns += ["deviance"] if deviance else []
    shown = sorted(range(len(section["groups"])), key=lambda k: -section["groups"][k]["exposure"])[:_MOST_ROWS]
    rows, muted = [], []
    for k in sorted(shown):
        group = section["groups"][k]
        row = [
            group["label"] + (" (too small)" if group["too_small"] else ""),
            number(group["rows"]),
            number(group["exposure"], 4),
            percent(group["share"]),
            number(group["predicted"]),
        ]
        if observed:
            row += [number(group["observed"]), ratio(group["actual_to_expected"])]
            row.append(_interval(group["lower"], group["upper"]))
        if bootstrap:
            row.append(_interval(group["bootstrap_lower"], group["bootstrap_upper"]))
        if deviance:
            row.append(number(group["deviance"]))
        if group["too_small"]:
            muted.append(len(rows))
        rows.append(row)
    notes = []
    if observed:
        kind = {"poisson": "exact Poisson intervals", "normal": "intervals of the linearised ratio"}
        level = f"{100 * section['intervals']['confidence']:g} %"
        notes.append(f"Actual to expected with {kind[section['intervals']['kind']]} at {level}.")
    if bootstrap:
        notes.append(f"Bootstrap: {section['intervals']['n_bootstrap']} resamples by fairlearn's MetricFrame.")
    if len(shown) < len(section["groups"]):
        notes.append(f"The {len(shown)} groups of the most exposure; the JSON has all {len(section['groups'])}.")
    yield Table(f"Groups of {_title(section['attributes'])}", columns, rows, muted=muted, note=" ".join(notes))


def _pairs(data):
    rows = []
    for section in data["pairs"]:
        for pair in section["pairs"]:
            rows.append(
                [
                    _title(section["attributes"]),
                    pair["higher"],
                    pair["lower"],
                    number(pair["mean_higher"]),
                    number(pair["mean_lower"]),
                    number(pair["ratio"]),
                    number(pair["energy_distance"]),
                    number(pair["by_chance"]),
                ]
            )
    if not rows:
        return None
    words = (
        "Pairs of groups whose predictions are furthest apart by their energy distance, which compares whole "
        "distributions and not only means; ordered by what is beyond the distance that two groups of their sizes "
        "have by chance."
    )
    columns = ["attributes", "higher", "lower", "mean, higher", "mean, lower", "ratio", "energy distance", "by chance"]
    return Section("pairs", "Groups furthest apart", [Text(words), Table("Pairs of groups", columns, rows, n_words=3)])


def _dependence(data):
    rows = []
    for entry in data["dependence"]:
        test = entry["test"] or {}
        rows.append(
            [
                _title(entry["attributes"]),
                MEASURE_NAMES[entry["measure"]],
                number(entry["value"]),
                number(entry["normalized"]),
                number(test.get("effect_size")),
                p_value(test.get("p_value"), test.get("n_permutations")),
                number(test.get("statistic")),
                number(test.get("null_quantile_95")),
                number(test.get("n_samples")),
            ]
        )
    words = (
        "CCdCov and JdCov (net of what the attributes have among themselves) are 0 where the predictions are "
        "independent of the attributes jointly; dCov sums over single attributes and is blind to their intersections. "
        "The value is weighted by exposure; scale-free, it does not change with the unit of the predictions. "
        "Tests are by permutation of the attributes, with every row counted alike and the unbiased "
        "statistic, whose mean is 0 under independence. The effect size is a squared distance correlation, from 0 to 1."
    )
    columns = ["attributes", "measure", "value", "scale-free", "effect size", "p-value"]
    columns += ["statistic tested", "95 % by chance", "rows tested"]
    table = Table("Dependence of the predictions on the attributes", columns, rows, n_words=2)
    return Section("dependence", "Tests of independence", [Text(words), table])


def _partial(data):
    partial = data["partial"]
    if partial is None:
        words = (
            "No rating factors were called legitimate: pass legitimate_features to see how much dependence is left "
            "given them."
        )
        return Section("partial", "Given legitimate factors", [Text(words)])
    rows = [
        [
            _title(entry["attributes"]),
            number(entry["distance_correlation"]),
            number(entry["partial"]),
            p_value(entry["p_value"]),
        ]
        for entry in partial["results"]
    ]
    words = (
        f"Given {', '.join(partial['given'])}: the partial distance correlation of predictions and attributes, beside "
        f"the squared distance correlation without these factors, both bias-corrected; on a subsample of "
        f"{partial['n_samples']:,} rows, with {partial['n_permutations']} permutations."
    )
    table = Table("Dependence that is left", ["attributes", "without", "given the factors", "p-value"], rows)
    return Section("partial", "Given legitimate factors", [Text(words), table])


def _proxies(data):
    proxies = data["proxies"]
    if proxies is None:
        words = "No features were given: nothing can be said about proxies."
        return Section("proxies", "Proxies", [Text(words)])
    jointly = len(proxies["attributes"]) > 1
    features = proxies["features"][:_MOST_FEATURES]
    rows = []
    for entry in features:
        row = [entry["feature"], entry["kind"] + (", legitimate" if entry["legitimate"] else "")]
        row += [ratio(entry["distance_correlation"][name]) for name in proxies["attributes"]]
        rows.append(row + ([ratio(entry["jointly"])] if jointly else []))
    columns = ["feature", "kind", *proxies["attributes"]] + (["all jointly"] if jointly else [])
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
                + ", ".join(row[0] for row in rows[:12])
                + "; figures in the table.",
            )
        )
    blocks.append(Table("Squared distance correlation", columns, rows, n_words=2, note=" ".join(notes)))
    predictions = [
        [
            entry["attribute"],
            {"auc": "AUC (0.5 is chance)", "r2": "R² (0 is chance)", None: "–"}[entry["score"]],
            entry["note"] or "",
            number(entry["value"]),
            number(entry["n_samples"]),
        ]
        for entry in proxies["prediction"]
    ]
    if predictions:
        blocks.append(
            Table(
                "How well all features together predict each attribute, cross-validated, by boosted trees",
                ["attribute", "score", "note", "value", "rows"],
                predictions,
                n_words=3,
            )
        )
    return Section("proxies", "Proxies", blocks)


def _change(data):
    change = data["change"]
    if change is None:
        return Section("change", "Before and after", [Text("No baseline was given.")])
    head = ["rows", "premium before", "premium after", "change", "5 %", "median", "95 %", "pay more", "pay less"]

    def row_of(row):
        return [
            number(row["rows"]),
            number(row["premium_before"], 4),
            number(row["premium_after"], 4),
            percent(row["change"]),
            percent(row["quantile_5"]),
            percent(row["quantile_50"]),
            percent(row["quantile_95"]),
            percent(row["share_up"]),
            percent(row["share_down"]),
        ]

    by_attribute = Table(
        "Premium change by attribute",
        ["attribute", "level", *head],
        [[row["attribute"], str(row["level"]), *row_of(row)] for row in change["by_attribute"]],
        n_words=2,
        note="Premium: exposure times rate. Quantiles of the change and who pays more or less: weighted by exposure.",
    )
    groups = sorted(change["by_intersection"], key=lambda row: -abs(row["change"]))[:_MOST_ROWS]
    by_group = Table(
        f"Premium change by group of {_title([part['name'] for part in data['data']['attributes']])}",
        ["group", *head],
        [[row["label"] + (" (too small)" if row["too_small"] else ""), *row_of(row)] for row in groups],
        muted=[position for position, row in enumerate(groups) if row["too_small"]],
        note="The largest changes first.",
    )
    fairness = []
    for entry in change["measures"]:
        for name, before in entry["before"].items():
            row = [_title(entry["attributes"]), MEASURE_NAMES[name], number(before), number(entry["after"][name])]
            fairness.append(row)
    measures = Table(
        "Differences between groups before and after",
        ["attributes", "measure", "before", "after"],
        fairness,
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
    rows = [
        [
            entry["attribute"],
            entry["bins"],
            _title(entry["attributes"]),
            number(entry["n_compared"]),
            percent(entry["share_compared"]),
            number(entry["js_divergence"]),
            number(entry["null_mean"]),
            number(entry["null_quantile_95"]),
        ]
        for entry in data["binning"]
    ]
    words = (
        "Groups of a continuous attribute depend on where it is cut. The divergence under other bins, beside the level "
        "it has by chance, which rises with the number of groups. The distance covariances need no bins."
    )
    columns = ["attribute", "bins", "groups of", "compared", "exposure compared", "divergence, bits"]
    columns += ["by chance", "95 % by chance"]
    return Section("binning", "Sensitivity to the bins", [Text(words), Table("Other bins", columns, rows, n_words=3)])


def _too_small(data):
    rows = [
        [
            _title(section["attributes"]),
            group["label"],
            number(group["rows"]),
            number(group["exposure"]),
            percent(group["share"], 2),
        ]
        for section in data["groups"]
        for group in section["too_small"]
    ]
    least = data["settings"]["min_group_size"]
    if not rows:
        return Section("small", "Groups too small to judge", [Text(f"No group has fewer than {least} rows.")])
    note = f"The first {_MOST_ROWS} of {len(rows)}; the JSON has all." if len(rows) > _MOST_ROWS else ""
    columns = ["attributes", "group", "rows", "exposure", "share of exposure"]
    words = f"Fewer than {least} rows: listed here and in the tables, left out of every comparison of groups."
    table = Table(f"{len(rows)} groups", columns, rows[:_MOST_ROWS], n_words=2, note=note)
    return Section("small", "Groups too small to judge", [Text(words), table])


def _alternatives(data):
    alternatives = data["alternatives"]
    if not alternatives:
        words = 'None were stated: metadata={"alternatives": [...]} puts on record what else was tried.'
        return Section("alternatives", "Alternatives tried", [Text(words)])
    blocks = []
    rows = [entry for entry in alternatives if isinstance(entry, dict)]
    if rows:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        cells = [[_cell(row.get(name)) for name in columns] for row in rows]
        titles = [name.replace("_", " ") for name in columns]
        blocks.append(Table("Alternatives, as stated by those who asked for the audit", titles, cells))
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
    rules = Table(
        "Rules", ["place", "rule", "about"], [[r["place"], r["rule"], r["about"]] for r in data["rules"]], n_words=3
    )
    return Section("limits", "Limits", [Items(limits), Text(words), rules])


def _record(data):
    settings = {name: value for name, value in data["settings"].items() if name != "bins"}
    facts = [*_facts(settings), *((f"version of {name}", str(version)) for name, version in data["software"].items())]
    facts += [("made", data["created"]), ("schema", f"{data['schema']} {data['schema_version']}")]
    return Section("record", "Technical record", [Items(facts)])
