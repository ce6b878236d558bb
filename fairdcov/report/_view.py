"""The report as sections of text, tables and pictures: one place for its words, whatever the form it is written in."""

from fairdcov.report._blocks import Items, Section, Table, Text, table_of
from fairdcov.report._summary import number
from fairdcov.report._texts import TASK_NAMES
from fairdcov.report._view_cost import cost_part
from fairdcov.report._view_dependence import (
    change_part,
    conditional_part,
    dependence_part,
    partial_part,
    proxies_part,
    proxy_discrimination_part,
)
from fairdcov.report._view_glance import glance_part
from fairdcov.report._view_groups import (
    balance_part,
    binning_part,
    groups_part,
    pairs_part,
    tiers_part,
    tolerance_part,
    too_small_part,
)

__all__ = ["view"]


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
        glance_part(data),
        summary_part(data),
        tolerance_part(data),
        cost_part(data),
        scope_part(data),
        balance_part(data),
        *groups_part(data),
        pairs_part(data),
        tiers_part(data),
        dependence_part(data),
        conditional_part(data),
    ]
    sections += [
        partial_part(data),
        proxies_part(data),
        proxy_discrimination_part(data),
        change_part(data),
        binning_part(data),
        too_small_part(data),
        alternatives_part(data),
    ]
    sections += [limits_part(data), record_part(data)]
    return [section for section in sections if section is not None]


def summary_part(data):
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


def scope_part(data):
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
        ("control features", ", ".join(rows.get("control_features", ())) or "none named"),
        ("best estimates", "yes" if rows.get("best_estimates") else "none given"),
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
    table = table_of("Protected attributes", columns, rows["attributes"], n_words=2)
    return Section("scope", "What was audited", [*blocks, table])


def _range(attribute):
    return f"{attribute['lowest']:g} to {attribute['highest']:g}" if attribute["kind"] == "numeric" else ""


def _bins(bins):
    if bins is None:
        return ""
    edges = ", ".join(edge if isinstance(edge, str) else f"{edge:g}" for edge in bins["edges"])
    return f"{bins['quantile_groups']} quantile groups: {edges}" if bins["quantile_groups"] else edges


def alternatives_part(data):
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


def limits_part(data):
    limits = [(entry["topic"], entry["text"]) for entry in data["limits"]]
    words = (
        "Rules that people who price insurance work under, among others. They are named, not interpreted: this report "
        "is no legal advice and shows compliance with none of them."
    )
    rules = table_of("Rules", ("place", "rule", "about"), data["rules"], n_words=3)
    return Section("limits", "Limits", [Items(limits), Text(words), rules])


def record_part(data):
    settings = {name: value for name, value in data["settings"].items() if name != "bins"}
    facts = [*_facts(settings), *((f"version of {name}", str(version)) for name, version in data["software"].items())]
    facts += [("made", data["created"]), ("schema", f"{data['schema']} {data['schema_version']}")]
    return Section("record", "Technical record", [Items(facts)])
