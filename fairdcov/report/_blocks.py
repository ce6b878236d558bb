"""What a report is made of on a page, whatever the form it is written in: texts, lists, tables, pictures."""

from dataclasses import dataclass, field
from functools import partial

from fairdcov.report._summary import number, p_value, percent, ratio
from fairdcov.report._texts import MEASURE_NAMES

__all__ = [
    "CHANGE",
    "GROUP",
    "INTERVAL",
    "MOST_ROWS",
    "Boxes",
    "Items",
    "Picture",
    "Section",
    "Table",
    "Text",
    "ends",
    "interval_text",
    "left_out_texts",
    "table_of",
    "title_of",
]

# Rows of a table on a page; the JSON has all of them.
MOST_ROWS = 80


@dataclass
class Text:
    """A paragraph."""

    text: str


@dataclass
class Items:
    """A list; each item a text or a (term, text) pair."""

    items: list


@dataclass
class Boxes:
    """Figures or outcomes that stand out: (what, of what, tone), where the tone is "good", "bad", "unsure" or empty."""

    boxes: list


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


def title_of(attributes):
    return " × ".join(attributes)


def interval_text(entry, kind=""):
    low, high = entry[f"{kind}lower"], entry[f"{kind}upper"]
    return "–" if low is None or high is None else f"{ratio(low)} to {ratio(high)}"


def ends(low, high, *, digits):
    """An interval of shares in percent."""
    return (
        "–" if low is None or high is None else f"{percent(low, digits).removesuffix(' %')} to {percent(high, digits)}"
    )


def _label(group):
    return group["label"] + (" (too small)" if group["too_small"] else "")


# Title and form of the columns whose title is not their key, or that are not written as numbers and texts are.
_COLUMNS = {
    "actual_to_expected": ("actual / expected", ratio),
    "attributes": ("attributes", title_of),
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
GROUP = ("group", None, _label)
INTERVAL = ("interval", None, interval_text)
CHANGE = (
    *("rows", "premium_before", "premium_after", "change"),
    *("quantile_5", "quantile_50", "quantile_95", "share_up", "share_down"),
)


def table_of(caption, columns, entries, **options):
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


def left_out_texts(data, section):
    """What a section does not say of attributes that are known as probabilities; earlier reports have no such list."""
    parts = [
        f"no {entry['what']} for {title_of(entry['attributes'])}"
        for entry in data.get("left_out", ())
        if entry["section"] == section
    ]
    if not parts:
        return []
    return [Text(f"Not there for attributes that are known as probabilities: {'; '.join(parts)}.")]
