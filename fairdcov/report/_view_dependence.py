"""The parts of a page about dependence: tests, what is left given factors, proxies, and before against after."""

from functools import partial

from fairdcov.report._blocks import CHANGE, GROUP, MOST_ROWS, Picture, Section, Text, left_out_texts, table_of, title_of
from fairdcov.report._summary import net_effect, number, p_value, percent, ratio
from fairdcov.report._tables import TABLES

__all__ = [
    "change_part",
    "conditional_part",
    "dependence_part",
    "partial_part",
    "proxies_part",
    "proxy_discrimination_part",
]

_MOST_FEATURES = 40
_MOST_STRATA = 20
_UNTESTED = dict.fromkeys(
    ("effect_size", "p_value", "n_permutations", "statistic", "null_mean", "null_quantile_95", "n_samples")
)


def dependence_part(data):
    words = (
        "CCdCov and JdCov (net of what the attributes have among themselves) are 0 where the predictions are "
        "independent of the attributes jointly; dCov sums over single attributes and is blind to their intersections. "
        "The value is weighted by exposure; scale-free, it does not change with the unit of the predictions. "
        "Tests are by permutation of the attributes, with every row counted alike and the unbiased "
        "statistic, whose mean is 0 under independence. The effect size is a squared distance correlation, from 0 to 1."
    )
    entries = [entry | (entry["test"] or _UNTESTED) for entry in data["dependence"]]
    columns = (
        *("attributes", "measure", "value", "normalized", "effect_size"),
        ("p-value", None, lambda entry: p_value(entry["p_value"], entry["n_permutations"])),
        *("statistic", ("its mean by chance", "null_mean", number), "null_quantile_95"),
        ("rows tested", "n_samples", number),
    )
    table = table_of("Dependence of the predictions on the attributes", columns, entries, n_words=2)
    blocks = [Text(words)]
    imputed = [part["name"] for part in data["data"]["attributes"] if part["kind"] == "probabilities"]
    if imputed:
        words = (
            f"With {', '.join(imputed)}, known as probabilities, all figures are the expectation if every row drew its "
            "level; values of very many profiles are of a subsample. Statistic and effect size are then above 0 by "
            "chance: by the mean below."
        )
        blocks.append(Text(words))
    return Section("dependence", "Tests of independence", [*blocks, table])


def conditional_part(data):
    """What depends on the attributes within the strata of the control features; None without any."""
    found = data.get("conditional")
    if found is None:
        return None
    given = ", ".join(found["given"])
    words = (
        f"Within the {found['n_strata']} strata of {given}: the mean over the strata by their exposure. The scale-free "
        "distance covariance is in units of the spread of all predictions, so that the columns without and given the "
        "factors compare. It is above 0 by chance, the more so the more strata: beside each stands its mean when the "
        "attributes do not matter. Tests permute the attributes within strata, with every row counted alike; the "
        "effect size, from 0 to 1, is less what it is by chance. Which factors are legitimate is a judgement that no "
        "figure makes, and every factor that is added leaves less to find."
    )
    entries = [(entry["test"] or _UNTESTED) | entry for entry in found["results"]]
    columns = (
        *("attributes", "measure", ("without", "without", number), ("by chance", "without_by_chance", number)),
        *(("given the factors", "normalized", number), ("by chance", "by_chance", number)),
        ("effect size, net", None, _net_effect),
        ("p-value", None, lambda entry: p_value(entry["p_value"], entry["n_permutations"])),
        ("rows tested", "n_samples", number),
        *(("divergence, bits", "js_divergence", number), ("by chance", "js_null_mean", number)),
        ("95 % by chance", "js_null_quantile_95", number),
    )
    table = table_of(
        "Dependence and divergence within strata",
        columns,
        entries,
        n_words=2,
        note=" ".join(f"{title_of(entry['attributes'])}: {entry['reason']}." for entry in entries if entry["reason"]),
    )
    blocks = [Text(words), *left_out_texts(data, "conditional"), table]
    blocks += [_adjusted_gaps(entry, given) for entry in found["gaps"]]
    if found["left_out"]:
        blocks += _idle_strata(found["left_out"])
    return Section("conditional", "Given legitimate factors", blocks)


def _net_effect(entry):
    return number(net_effect(entry))


def _adjusted_gaps(entry, given):
    rows = entry["groups"]
    largest = sorted(range(len(rows)), key=lambda k: -rows[k]["rows"])[:MOST_ROWS]
    note = (
        "The rest in like strata: what all others pay in the strata of the group, at the group's mix of them. Strata "
        "without others do not count; the share of the group's exposure that is compared stands beside."
    )
    if len(largest) < len(rows):
        note += f" The {len(largest)} groups of the most rows; the JSON has all {len(rows)}."
    columns = (
        *(GROUP, "rows", ("mean", "predicted", number), ("mean of the rest", "rest", number)),
        *(("gap", "gap", percent), ("the rest in like strata", "rest_adjusted", number)),
        *((f"gap given {given}", "gap_adjusted", percent), ("compared", "share_compared", percent)),
    )
    return table_of(f"Gaps of {title_of(entry['attributes'])}", columns, [rows[k] for k in sorted(largest)], note=note)


def _idle_strata(left_out):
    yield Text(
        "Strata in which nothing can depend on the attributes count as 0. Many of them mean that the strata are too "
        "fine."
    )
    for part in left_out:
        shown = part["strata"][:_MOST_STRATA]
        note = "" if len(shown) == len(part["strata"]) else f"The first {len(shown)} of {len(part['strata'])}."
        yield table_of(
            f"Strata that say nothing about {title_of(part['attributes'])}: {percent(part['share'])} of the exposure",
            (("stratum", "label", str), ("why", "reason", str), "rows", ("exposure", "share", percent)),
            shown,
            n_words=2,
            note=note,
        )


def proxy_discrimination_part(data):
    """Distance of the prices from those without proxy discrimination; None without best estimates."""
    found = data.get("proxy_discrimination")
    if found is None:
        return None
    words = (
        f"By best estimates for each of {found['n_levels']} levels of the protected attributes (from "
        f"{found['source']}): the squared distance of a price from the nearest one that averages them with weights "
        "which do not depend on the policy, over its variance; 0 where features do not stand in for the attributes, 1 "
        "where the price has nothing in common with the best estimates. It is as good as these are. Groups may differ "
        "in price without proxy discrimination, and agree with it: unfairness ratio and distance covariance stand "
        "beside."
    )
    names = {
        "y_pred": "predictions",
        "baseline": "baseline",
        "admissible": "nearest price without proxy discrimination",
        "discrimination_free": "discrimination-free price",
    }
    columns = (
        *(("price", "price", names.get), ("mean", "mean", number)),
        ("proxy discrimination", "proxy_discrimination", number),
        *(
            ("unfairness ratio", "unfairness_ratio_by_share", number),
            ("CCdCov, scale-free", "ccdcov_normalized", number),
        ),
    )
    blocks = [Text(words), table_of("Prices", columns, found["prices"])]
    if found["features"]:
        columns = (
            *("feature", ("effect", "effect", number), ("share of the whole", "share", percent)),
            ("alone", "alone", number),
        )
        note = f"Shapley effects on {found['n_samples']:,} rows, scaled to the figure of all rows; alone: by itself."
        blocks.append(table_of("Features that carry it", columns, found["features"][:_MOST_FEATURES], note=note))
    return Section("proxy-discrimination", "Proxy discrimination", blocks)


def partial_part(data):
    found = data["partial"]
    if found is None and data.get("conditional"):
        return None
    if found is None:
        words = (
            "No factors were called legitimate: pass control_features to see how much dependence is left within their "
            "strata."
        )
        return Section("partial", "Given legitimate factors", [Text(words)])
    skipped = [f"{entry['feature']} ({entry['reason']})" for entry in found.get("skipped", ())]
    notes = [Text(f"Not among the factors given: {'; '.join(skipped)}.")] if skipped else []
    if not found["given"]:
        words = "No factor that was called legitimate can be taken as given."
        return Section("partial", "Given legitimate factors", [Text(words), *notes])
    words = (
        f"Given {', '.join(found['given'])}: the partial distance correlation of predictions and attributes, beside "
        f"the squared distance correlation without these factors, both bias-corrected; on a subsample of "
        f"{found['n_samples']:,} rows, with {found['n_permutations']} permutations."
    )
    table = table_of(
        "Dependence that is left", ("attributes", "distance_correlation", "partial", "p_value"), found["results"]
    )
    return Section(
        "partial", "Given legitimate factors", [Text(words), *notes, *left_out_texts(data, "partial"), table]
    )


def proxies_part(data):
    proxies = data["proxies"]
    if proxies is None:
        notes = left_out_texts(data, "proxies")
        words = [] if notes else [Text("No features were given: nothing can be said about proxies.")]
        return Section("proxies", "Proxies", [*words, *notes])
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
    blocks = [Text(words), *left_out_texts(data, "proxies")]
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
