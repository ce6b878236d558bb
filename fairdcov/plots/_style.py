"""What the displays share: colours and line styles, axes to draw on, ticks, and names of groups and scores."""

import re

import numpy as np
import pandas as pd
from sklearn.exceptions import NotFittedError

from fairdcov._checks import import_optional
from fairdcov.encoding import level_text

__all__ = [
    "GREY",
    "as_vector",
    "axes_to_draw_on",
    "cell_label",
    "check_calibrated",
    "group_label",
    "light_grid",
    "line_class",
    "log_ticks",
    "merge_style",
    "plain_number",
    "require_matplotlib",
    "score_label",
    "series_style",
    "set_ticks",
    "show_legend",
]

# Okabe and Ito's palette, which colour-blind readers can tell apart, without black (all rows) and yellow (too pale).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Numbers of colours, line styles and markers without a common divisor: no two of the first 30 series look alike.
_LINE_STYLES = ("-", "--", (0, (1.2, 1.2)), "-.", (0, (5, 1.5, 1.2, 1.5, 1.2, 1.5)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LONGEST_LABEL = 44
GREY = "0.35"


def check_calibrated(calibrator):
    """Raise unless there are results of a calibration; whose they are does not matter."""
    if hasattr(calibrator, "calibration_results_") and hasattr(calibrator, "best_index_"):
        return
    kind = type(calibrator).__name__
    if hasattr(calibrator, "fit"):
        raise NotFittedError(f"this {kind} has no calibration_results_: pass a calibrator after fit")
    raise TypeError(f"a fitted JSDivergenceCalibrator is needed; found {kind}")


def require_matplotlib(purpose):
    """``matplotlib.pyplot``, or an ImportError that says who needs it and how to get it."""
    return import_optional("matplotlib.pyplot", purpose)


def series_style(position):
    """Colour, line style and marker of one series."""
    return {
        "color": _COLOURS[position % len(_COLOURS)],
        "linestyle": _LINE_STYLES[position % len(_LINE_STYLES)],
        "marker": _MARKERS[position % len(_MARKERS)],
    }


def merge_style(defaults, given):
    """Options of a line; those given win, also under another name of the same option (``lw`` for ``linewidth``)."""
    normalise = import_optional("matplotlib.cbook", "a display's plot").normalize_kwargs
    return {**normalise(defaults, line_class()), **normalise(given or {}, line_class())}


def line_class():
    """The class of matplotlib's lines."""
    return import_optional("matplotlib.lines", "a display's plot").Line2D


def axes_to_draw_on(ax, shape, figsize, purpose):
    """Axes in rows and columns.

    Parameters
    ----------
    ax : Axes, array of Axes or None
        None makes a figure; one Axes is divided into as many as are needed; an array is used as it is.
    shape : (int, int)
        Rows and columns.
    figsize : (float, float)
        Inches of a new figure.
    purpose : str
        Who draws, for the error where matplotlib is missing.

    Returns
    -------
    figure : Figure
    axes : array of Axes of that shape
    own : bool
        Whether the figure is new.
    """
    if ax is None:
        figure = require_matplotlib(purpose).figure(figsize=figsize, layout="constrained")
        return figure, figure.subplots(*shape, squeeze=False), True
    wanted = shape[0] * shape[1]
    axes = np.asarray(ax, dtype=object)
    if axes.size == 1 and wanted > 1:
        outer = axes.item()
        spec = outer.get_subplotspec()
        if spec is None:
            raise ValueError(f"ax is not part of a grid of subplots and cannot be divided: pass {wanted} axes")
        outer.set_axis_off()
        # A layout engine finds the room itself.
        room = {} if outer.figure.get_layout_engine() is not None else {"hspace": 0.1, "wspace": 0.1}
        inner = spec.subgridspec(*shape, **room)
        axes = np.array([outer.figure.add_subplot(cell) for cell in inner], dtype=object)
    if axes.size != wanted:
        raise ValueError(
            f"ax must be one Axes or {wanted} of them (rows x columns = {shape[0]} x {shape[1]}); found {axes.size}"
        )
    axes = axes.reshape(shape)
    return axes[0, 0].figure, axes, False


def show_legend(figure, axes, own, handles, *, below=False, title=None):
    """Legend outside the data: beside or below all axes of a figure of our own, or the axes that we were given."""
    labels = [handle.get_label() for handle in handles]
    if own:
        place = {"loc": "outside lower center", "ncols": 2} if below else {"loc": "outside right upper"}
        return figure.legend(handles, labels, title=title, alignment="left", frameon=False, **place)
    look = {"title": title, "alignment": "left", "frameon": False, "fontsize": "small"}
    if below:
        # The padding, in units of the font size, leaves room for the ticks and the name of the axis.
        return axes[-1, 0].legend(
            handles, labels, loc="upper center", bbox_to_anchor=(0.5, 0.0), borderaxespad=4.8, **look
        )
    return axes[0, -1].legend(handles, labels, loc="upper left", bbox_to_anchor=(1.02, 1.0), borderaxespad=0.0, **look)


def plain_number(value):
    """A number with three digits as one would write it on an axis, with a power of ten where it is long."""
    if value == 0 or 1e-4 <= abs(value) < 1e5:
        return f"{float(f'{value:.3g}'):g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    mantissa = f"{float(mantissa):g}"
    power = f"10^{{{int(exponent)}}}"
    return f"${power}$" if mantissa == "1" else rf"${mantissa} \times {power}$"


def log_ticks(low, high, most=7):
    """Powers of ten in a range, with 2 and 5 (or 3) times them between as long as there is room."""
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for steps in ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 5), (1, 3), (1,)):
        ticks = np.array([step * power for power in powers for step in steps])
        ticks = ticks[(ticks >= low * (1 - 1e-9)) & (ticks <= high * (1 + 1e-9))]
        if len(ticks) <= most:
            return ticks
    return ticks[:: int(np.ceil(len(ticks) / most))]


def light_grid(ax, axis="both"):
    """A grid that stays behind what is drawn."""
    ax.grid(axis=axis, color="0.92", linewidth=0.8)
    ax.set_axisbelow(True)


def set_ticks(axis, ticks, labels=True):
    """Put ticks at exactly these places, and none between."""
    axis.set_ticks(ticks, [plain_number(tick) for tick in ticks] if labels else [""] * len(ticks))
    axis.set_ticks([], minor=True)


def _as_said(level):
    """Name of a level; of bins as people say them, since the last one has no upper end but that of the data."""
    if not isinstance(level, pd.Interval):
        return level_text(level)
    low, high = level_text(float(level.left)), level_text(float(level.right))
    if np.isneginf(level.left):
        return f"under {high}"
    return f"{low} and over" if level.closed == "both" or np.isposinf(level.right) else f"{low} to under {high}"


def group_label(levels, longest=_LONGEST_LABEL):
    """Name of a group, such as ``"f × North × 18 to under 25"``."""
    label = " × ".join(map(_as_said, levels))
    return label if len(label) <= longest else label[: longest - 1] + "…"


def cell_label(levels, longest=_LONGEST_LABEL):
    """The same for a picture: one line, and dollar signs that are no formula."""
    return " ".join(group_label(levels, longest).split()).replace("$", r"\$")


def score_label(scoring):
    """Name of a score from what was given as ``scoring``: a name, a function, a scorer or None."""
    if scoring is None:
        return "score"
    if isinstance(scoring, str):
        return scoring
    name = getattr(scoring, "__name__", None)
    if name is None:
        # Scorers of scikit-learn and of this package: make_scorer(metric, greater_is_better=False, ...).
        found = re.match(r"\w*scorer\((\w+)(.*greater_is_better=False)?", repr(scoring))
        name = ("neg_" if found[2] else "") + found[1] if found else None
    return "score" if name in (None, "<lambda>") else name


def as_vector(values, name, length=None):
    """A float64 vector (m,) of the length wanted, or None for None."""
    if values is None:
        return None
    vector = np.array(values, dtype=np.float64)
    if vector.ndim != 1 or len(vector) == 0 or (length is not None and len(vector) != length):
        wanted = "(m,) with m >= 1" if length is None else f"({length},)"
        raise ValueError(f"{name} must have shape {wanted}; found {vector.shape}")
    return vector
