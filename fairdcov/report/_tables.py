"""Parts of a report as rows, for the tables of the page and for those of :meth:`AuditReport.to_frame`."""

__all__ = ["TABLES"]


def _inside(part, name, head=("attributes",)):
    """Rows inside the sections of a part, beside the head of their section; labels say what levels do."""

    def rows(data):
        for section in data[part]:
            for row in section[name]:
                yield {key: section[key] for key in head} | {
                    key: value for key, value in row.items() if not key.endswith("levels")
                }

    return rows


def _measures(data):
    for section in data["groups"]:
        head = {key: section[key] for key in ("attributes", "kind", "n_compared")}
        for name, measure in section["measures"].items():
            yield head | {"measure": name} | measure | {"n_permutations": section["n_permutations"]}


def _before_after(data):
    for entry in data["change"]["measures"] if data["change"] else []:
        for name, value in entry["before"].items():
            yield {"attributes": entry["attributes"], "measure": name, "before": value, "after": entry["after"][name]}


def _cross_subsidies(data):
    yield from _inside("cross_subsidies", "groups", ("attributes", "kind"))(data.get("cost") or {"cross_subsidies": []})


def _equivalence(name):
    """Rows of the tests of a tolerance; reports of schema 1.1 have none."""

    def rows(data):
        for test in (data.get("equivalence") or {"tests": []})["tests"]:
            for row in test[name]:
                yield {"measure": test["measure"]} | row

    return rows


def _conditional(data):
    for row in (data.get("conditional") or {"results": []})["results"]:
        yield {key: value for key, value in row.items() if key != "test"} | {
            name: (row["test"] or {}).get(name) for name in ("p_value", "effect_size", "n_samples", "n_permutations")
        }


def _adjusted(data):
    yield from _inside("gaps", "groups")(data.get("conditional") or {"gaps": []})


def _tiers(data):
    yield from _inside("groups", "tiers", ("attributes", "kind"))(data.get("tiers") or {"groups": []})


def _part(*keys):
    """Rows at a place in the data that may not be there."""

    def rows(data):
        for key in keys:
            data = data.get(key) if data else None
        for row in data or []:
            yield row if isinstance(row, dict) else {"text": row}

    return rows


# Names of the tables, and the functions that give their rows of a report's plain data.
TABLES = {
    "groups": _inside("groups", "groups", ("attributes", "kind")),
    "measures": _measures,
    "too_small": _inside("groups", "too_small"),
    "pairs": _inside("pairs", "pairs"),
    "dependence": _part("dependence"),
    "tiers": _tiers,
    "conditional": _conditional,
    "adjusted_gaps": _adjusted,
    "partial": _part("partial", "results"),
    "proxies": _part("proxies", "features"),
    "proxy_prediction": _part("proxies", "prediction"),
    "prices": _part("proxy_discrimination", "prices"),
    "proxy_discrimination": _part("proxy_discrimination", "features"),
    "lift": _part("lift", "table"),
    "double_lift": _part("change", "double_lift"),
    "premium_changes": _part("change", "by_attribute"),
    "premium_changes_by_group": _part("change", "by_intersection"),
    "before_after": _before_after,
    "cross_subsidies": _cross_subsidies,
    "frontier": _part("frontier", "prices"),
    "binning": _part("binning"),
    "alternatives": _part("alternatives"),
    "equivalence": _equivalence("attributes"),
    "equivalence_groups": _equivalence("groups"),
}
