"""The parts of a page about dependence: tests, what is left given factors, proxies, and before against after."""

from functools import partial

from fairdcov.report._blocks import CHANGE, GROUP, MOST_ROWS, Picture, Section, Text, table_of, title_of
from fairdcov.report._summary import number, p_value, percent, ratio
from fairdcov.report._tables import TABLES

__all__ = ["change_part", "dependence_part", "partial_part", "proxies_part"]

_MOST_FEATURES = 40
_UNTESTED = dict.fromkeys(("effect_size", "p_value", "n_permutations", "statistic", "null_quantile_95", "n_samples"))


def dependence_part(data):
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
    table = table_of("Dependence of the predictions on the attributes", columns, entries, n_words=2)
    return Section("dependence", "Tests of independence", [Text(words), table])


def partial_part(data):
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
    table = table_of(
        "Dependence that is left", ("attributes", "distance_correlation", "partial", "p_value"), found["results"]
    )
    return Section("partial", "Given legitimate factors", [Text(words), table])


def proxies_part(data):
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
    blocks.append(table_of("Squared distance correlation", columns, features, n_words=2, note=" ".join(notes)))
    if proxies["prediction"]:
        columns = ("attribute", "score", "note", "value", ("rows", "n_samples", number))
        caption = "How well all features together predict each attribute, cross-validated, by boosted trees"
        blocks.append(table_of(caption, columns, proxies["prediction"], n_words=3))
    return Section("proxies", "Proxies", blocks)


def _ratio_of(name, values):
    return ratio(values[name])


def change_part(data):
    change = data["change"]
    if change is None:
        return Section("change", "Before and after", [Text("No baseline was given.")])
    by_attribute = table_of(
        "Premium change by attribute",
        ("attribute", "level", *CHANGE),
        change["by_attribute"],
        n_words=2,
        note="Premium: exposure times rate. Quantiles of the change and who pays more or less: weighted by exposure.",
    )
    by_group = table_of(
        f"Premium change by group of {title_of([part['name'] for part in data['data']['attributes']])}",
        (GROUP, *CHANGE),
        sorted(change["by_intersection"], key=lambda row: -abs(row["change"]))[:MOST_ROWS],
        note="The largest changes first.",
    )
    measures = table_of(
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
