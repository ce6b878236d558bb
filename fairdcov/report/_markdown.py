"""The report as Markdown."""

import re

from fairdcov.report._blocks import Boxes, Items, Picture, Table, Text
from fairdcov.report._readable import with_readable_bins
from fairdcov.report._view import view

__all__ = ["render_markdown"]

# Characters that mean something in Markdown or in the HTML it may hold.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$])")


def _escape(text):
    return (
        _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))
        .replace("\\<", "&lt;")
        .replace("\\>", "&gt;")
        .replace("\\&", "&amp;")
    )


def _table(table):
    yield f"*{_escape(table.caption)}*"
    yield ""
    yield "| " + " | ".join(_escape(column) or " " for column in table.columns) + " |"
    yield "|" + "|".join(":--" if k < table.n_words else "--:" for k in range(len(table.columns))) + "|"
    for row in table.rows:
        yield "| " + " | ".join(_escape(cell) or " " for cell in row) + " |"
    if table.note:
        yield ""
        yield _escape(table.note)


def _block(block):
    if isinstance(block, Table):
        yield from _table(block)
    elif isinstance(block, Text):
        yield _escape(block.text)
    elif isinstance(block, Items):
        for item in block.items:
            yield f"- **{_escape(item[0])}**: {_escape(item[1])}" if isinstance(item, tuple) else f"- {_escape(item)}"
    elif isinstance(block, Boxes):
        for what, of_what, _ in block.boxes:
            yield f"- **{_escape(what)}**: {_escape(of_what)}"
    elif isinstance(block, Picture):
        yield f"{_escape(block.caption)}: {_escape(block.description)}"


def render_markdown(data):
    """Text of the whole report, without the pictures.

    Parameters
    ----------
    data : dict
        Plain data of the report.

    Returns
    -------
    str
    """
    lines = ["# Audit of predictions", ""]
    for section in view(with_readable_bins(data, data["settings"]["bins"])):
        lines += [f"{'#' * section.level} {_escape(section.title)}", ""]
        for block in section.blocks:
            lines += [*_block(block), ""]
    return "\n".join(lines)
