"""Bins of numbers as people say them, for all that is read by people: "60 and over" instead of ``[60, 120]``."""

import re

import numpy as np

from fairdcov.encoding import interval_labels
from fairdcov.report._plain import level_text

__all__ = ["with_readable_bins"]

# What was stated by others, and what is a record, stays as it is.
_AS_THEY_ARE = ("metadata", "settings", "software")


def _names(bins):
    """Text of each bin by its label; labels that say different things in two attributes are left out."""
    names, unclear = {}, set()
    for found in filter(None, bins.values()):
        edges = np.array([float(edge) for edge in found["edges"]])
        last = len(edges) - 2
        for position, (label, low, high) in enumerate(
            zip(interval_labels(edges), map(_edge, edges[:-1]), map(_edge, edges[1:]), strict=True)
        ):
            # Values beyond the edges are counted in the first and the last bin.
            text = (
                f"under {high}"
                if position == 0
                else f"{low} and over"
                if position == last
                else f"{low} to under {high}"
            )
            name = level_text(label)
            if last == 0 or names.setdefault(name, text) != text:
                unclear.add(name)
    return {name: text for name, text in names.items() if name not in unclear}


def _edge(value):
    return f"{value:.12g}"


def with_readable_bins(part, bins):
    """A part of a report with the bins of its attributes as people say them.

    Parameters
    ----------
    part : dict, list or str
        Plain data.
    bins : dict
        Those of the settings of the report: edges by attribute.

    Returns
    -------
    dict, list or str
        A copy; the same where no attribute was cut.
    """
    names = _names(bins)
    if not names:
        return part
    pattern = re.compile("|".join(map(re.escape, names)))

    def readable(value):
        if isinstance(value, str):
            return pattern.sub(lambda found: names[found[0]], value)
        if isinstance(value, list):
            return [readable(entry) for entry in value]
        if isinstance(value, dict):
            return {name: entry if name in _AS_THEY_ARE else readable(entry) for name, entry in value.items()}
        return value

    return readable(part)
