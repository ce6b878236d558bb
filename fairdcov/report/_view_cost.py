"""The part of a page about what fairness costs and who pays."""

from functools import partial

from fairdcov.report._blocks import GROUP, INTERVAL, MOST_ROWS, Items, Section, Table, Text, ends, table_of, title_of
from fairdcov.report._summary import number, percent

__all__ = ["cost_part"]


def cost_part(data):
    """What is kept of a baseline, the distance to the best, premium over experience; None where there is nothing."""
    found, frontier = data.get("cost"), data.get("frontier")
    if found is None and frontier is None:
        return None
    blocks = []
    if found is not None:
        blocks += [*_kept(found["kept"]), *_moved(found["moved"])]
    if frontier is not None:
        blocks += _frontier(frontier)
    if found is not None and found["cross_subsidies"]:
        blocks += _cross_subsidies(data, found["cross_subsidies"])
    return Section("cost", "What fairness costs and who pays", blocks) if blocks else None


def _kept(kept):
    if kept is None:
        return []
    rows = []
    for title, name, write in (
        ("explained deviance", "deviance_explained", partial(percent, digits=2)),
        ("Gini index", "gini", number),
    ):
        part = kept[name]
        rows.append([title, write(part["before"]), write(part["after"]), percent(part["kept"], 0)])
    return [Table("Kept of the baseline", ["", "baseline", "predictions", "kept"], rows)]


def _moved(moved):
    if moved is None:
        return []
    facts = [("sum of all changes, up or down, over the premium of the baseline", percent(moved["changed"]))]
    if moved["between_policies"] is not None:
        words = "premium that moves between policies, once the totals are the same"
        facts.append((words, percent(moved["between_policies"])))
    return [Items(facts)]


def _frontier(frontier):
    words = (
        "The best prices that were found for the same divergence between groups, without the protected attributes and "
        "with them, as stated by those who asked for the audit. Differences in deviance are paired by row; a negative "
        f"one says that this model is better than the reference. {frontier['text'][:1].upper()}{frontier['text'][1:]}."
    )
    divergence = "divergence, net" if frontier["net"] else "divergence"
    columns = (
        *(("price", "price", str), ("deviance", "deviance", partial(number, digits=5))),
        *((divergence, "divergence", number), ("strength", "strength", number)),
        ("difference in deviance", "difference", number),
        ("standard error", "std_error", number),
        ("reached", "reached", number),
    )
    return [Text(words), table_of("Distance to the best that parity allows", columns, frontier["prices"])]


def _cross_subsidies(data, sections):
    words = (
        "Predicted over observed by group: above 100 % a group pays for others, below it others pay for it. "
        "Independence asks for equal prices where experience differs, and this is what it moves. The interval is that "
        "of the group's experience; what the group pays for others is a share of the whole book's premium."
    )
    blocks = [Text(words)]
    over = partial(percent, digits=0)
    for section in sections:
        columns = [GROUP, "rows", ("exposure", "exposure", partial(number, digits=4))]
        columns.append(("predicted / observed", "predicted_to_observed", over))
        columns.append((INTERVAL[0], None, _interval))
        if data["data"]["baseline"]:
            columns.append(("under the baseline", "before", over))
        columns.append(("paid for others", "transfer", partial(percent, digits=2)))
        groups = sorted(section["groups"], key=lambda group: -group["exposure"])
        note = f"The {MOST_ROWS} groups of the most exposure; the JSON has all." if len(groups) > MOST_ROWS else ""
        caption = f"Who pays for whom: groups of {title_of(section['attributes'])}"
        blocks.append(table_of(caption, columns, groups[:MOST_ROWS], note=note))
    return blocks


def _interval(group):
    return ends(group["lower"], group["upper"], digits=0)
