"""Levels of factors below each other on one vertical axis, which two displays have in common."""

from dataclasses import dataclass

import numpy as np

from fairdcov.actuarial import ALL
from fairdcov.plots._style import cell_label, light_grid

__all__ = ["LevelRows", "level_rows"]

# Height of the name of a factor above its levels, in levels.
_HEADING = 0.95
# Room between the levels of one factor and the name of the next.
_GAP = 0.45


@dataclass(frozen=True, eq=False)
class LevelRows:
    """Places of the levels, the first one on top.

    Attributes
    ----------
    places : (m,) array
        Vertical place of each row of the table; the axis runs down.
    labels : list of m str
        Names of the levels.
    headings : list of (float, str)
        Place and name of each factor; the row for the whole book has none.
    """

    places: np.ndarray
    labels: list
    headings: list

    @property
    def height(self):
        """Levels and headings there is room needed for."""
        return float(self.places[-1] + 1)

    def label(self, axes):
        """Put the names on the first of axes beside each other, and give all the same vertical range."""
        first = axes[0]
        first.set_yticks(self.places, self.labels)
        first.tick_params(axis="y", length=0)
        for place, name in self.headings:
            first.text(
                -0.02,
                place,
                name,
                transform=first.get_yaxis_transform(),
                ha="right",
                va="center",
                weight="bold",
                fontsize="medium",
            )
        for ax in axes[1:]:
            ax.set_yticks(self.places, [""] * len(self.places))
            ax.tick_params(axis="y", length=0)
        for ax in axes:
            top = min([self.places[0], *(place for place, _ in self.headings)])
            ax.set_ylim(self.places[-1] + 0.7, top - 0.7)
            light_grid(ax, "x")
            for side in ("top", "right"):
                ax.spines[side].set_visible(False)


def level_rows(table):
    """Rows of a table with the columns ``factor`` and ``level``, in its order."""
    places, headings, place, previous = [], [], 0.0, None
    for factor in table["factor"]:
        if factor not in (previous, ALL):
            place += _GAP if previous is not None else 0.0
            headings.append((place, cell_label([factor])))
            place += _HEADING
        previous = factor
        places.append(place)
        place += 1.0
    return LevelRows(np.array(places), [cell_label([level]) for level in table["level"]], headings)
