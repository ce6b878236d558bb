"""One-way analysis: actual to expected by the levels of factors, with the exposure behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fairdcov._checks import Bins, Interval, Options, Table
from fairdcov.actuarial import one_way
from fairdcov.plots._levels import level_rows
from fairdcov.plots._style import (
    GREY,
    axes_to_draw_on,
    merge_style,
    plain_number,
    require_matplotlib,
    series_style,
    show_legend,
)

__all__ = ["OneWayDisplay"]

# Levels of a smaller share of the exposure do not say how long the axis is.
_LARGE_ENOUGH = 0.01
_OFFSET = 0.17


class OneWayDisplay:
    """Actual to expected by level with intervals, beside bars of the exposure.

    Make one with :meth:`from_predictions`.

    Parameters
    ----------
    table : DataFrame
        Of :func:`fairdcov.actuarial.one_way`.
    names : (str, str), default=("predictions", "baseline")
        Names of the tariff and of the baseline.

    Attributes
    ----------
    axes_ : (2,) array of Axes
        Actual to expected on the left, exposure on the right.
    figure_ : Figure
        Figure of the axes.
    points_ : Line2D
        Actual to expected of the levels.
    baseline_points_ : Line2D or None
        Actual to expected of the baseline.
    intervals_ : LineCollection
        Intervals of actual to expected.
    beyond_ : list of Annotation
        Numbers of the levels that are beyond the axis.
    bars_ : BarContainer
        Share of the exposure.
    legend_ : Legend or None
        Legend, below the axes; there is one for a baseline only.

    See Also
    --------
    fairdcov.actuarial.one_way : The figures.

    Examples
    --------
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> from fairdcov.plots import OneWayDisplay
    >>> book = make_motor_portfolio(2_000, random_state=0)
    >>> display = OneWayDisplay.from_predictions(
    ...     book.target, book.true_rate, book.data[["vehicle_type", "vehicle_age"]], sample_weight=book.exposure
    ... )
    >>> display.table["factor"].unique().tolist()
    ['vehicle_type', 'vehicle_age']
    """

    def __init__(self, *, table: pd.DataFrame, names: tuple[str, str] = ("predictions", "baseline")) -> None:
        self.table = table
        self.names = names

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        features: Table | Mapping[Any, Any],
        *,
        sample_weight: ArrayLike | None = None,
        baseline: ArrayLike | None = None,
        bins: Bins | None = None,
        confidence: float = 0.95,
        interval: Interval = "auto",
        names: tuple[str, str] = ("predictions", "baseline"),
        ax: Any = None,
        **kwargs: Any,
    ) -> OneWayDisplay:
        """One-way analysis of predictions.

        Parameters
        ----------
        y_true : (n,) array
            Observed values per unit of exposure.
        y_pred : (n,) array
            Predictions per unit of exposure.
        features : DataFrame, Series, array or dict of columns, (n,) or (n, d)
            A column for each factor; protected attributes too.
        sample_weight : (n,) array, optional
            Exposure. Rows of zero exposure do not count.
        baseline : (n,) array, optional
            Predictions of another tariff for the same rows.
        bins : int or dict, optional
            As in :func:`fairdcov.actuarial.one_way`; 10 for None.
        confidence, interval
            As in :func:`fairdcov.actuarial.one_way`.
        names : (str, str), default=("predictions", "baseline")
            Names of the tariff and of the baseline.
        ax : Axes, array of Axes or None, default=None
            See :meth:`plot`.
        **kwargs
            Options of :meth:`plot`.

        Returns
        -------
        OneWayDisplay
        """
        require_matplotlib("OneWayDisplay.from_predictions")
        table = one_way(
            y_true,
            y_pred,
            features,
            sample_weight=sample_weight,
            baseline=baseline,
            bins=bins,
            confidence=confidence,
            interval=interval,
        )
        return cls(table=table, names=names).plot(ax, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        legend: bool = True,
        baseline_kw: Options | None = None,
        interval_kw: Options | None = None,
        bar_kw: Options | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw a line for each level, the factors below each other.

        Parameters
        ----------
        ax : Axes, array of Axes or None, default=None
            One Axes is divided; an array must have two axes, side by side; None makes a figure as high as it needs.
        legend : bool, default=True
            Whether to show a legend where there is a baseline.
        baseline_kw, interval_kw, bar_kw : dict, optional
            Options of the points of the baseline, of the intervals, and of the bars.
        **kwargs
            Options of the points.

        Returns
        -------
        self

        Notes
        -----
        The axis has room for the levels with at least 1 % of the exposure and their intervals. Levels beyond it are a
        triangle at its end with their number.
        """
        rows = level_rows(self.table)
        self.figure_, axes, own = axes_to_draw_on(ax, (1, 2), (8.4, 1.5 + 0.26 * rows.height), "OneWayDisplay.plot")
        self.axes_ = axes[0]
        left, right = self.axes_
        if own or np.size(ax) == 1:
            left.get_gridspec().set_width_ratios([3, 1])
        low, high = self._range()
        against = "actual_to_baseline" in self.table
        places = rows.places - (_OFFSET if against else 0.0)
        left.axvline(1.0, color="black", linewidth=0.9, zorder=1)
        style = series_style(0) | {"linestyle": "none", "markersize": 6, "zorder": 3, "label": self.names[0]}
        style = merge_style(style, kwargs)
        self.intervals_ = left.hlines(
            places,
            self.table["lower"],
            self.table["upper"],
            **merge_style({"color": style["color"], "linewidth": 1.6, "zorder": 2}, interval_kw),
        )
        self.beyond_: list[Any] = []
        self.points_ = self._draw_points(places, "actual_to_expected", low, high, style)
        self.baseline_points_ = None
        if against:
            style = series_style(1) | {
                "linestyle": "none",
                "markersize": 5.5,
                "markerfacecolor": "white",
                "zorder": 3,
                "label": self.names[1],
            }
            self.baseline_points_ = self._draw_points(
                rows.places + _OFFSET, "actual_to_baseline", low, high, merge_style(style, baseline_kw)
            )
        self.bars_ = right.barh(
            rows.places, 100 * self.table["share"], **({"height": 0.62, "color": "0.7"} | (bar_kw or {}))
        )
        left.set_xlim(low, high)
        right.set_xlim(left=0)
        rows.label(self.axes_)
        left.set_xlabel("actual / expected, with interval")
        right.set_xlabel("exposure, %")
        self.legend_ = None
        if legend and against:
            handles = [self.points_, self.baseline_points_]
            self.legend_ = show_legend(self.figure_, axes, own, handles, below=True)
        return self

    def _range(self):
        """Ends of the axis: the levels that are large enough, with their intervals."""
        share = self.table["share"].to_numpy()
        large = share >= min(_LARGE_ENOUGH, float(np.median(share)))
        columns = ["actual_to_expected", "lower", "upper", *self.table.columns.intersection(["actual_to_baseline"])]
        values = self.table.loc[large, columns].to_numpy(dtype=np.float64)
        values = np.append(values[np.isfinite(values)], [0.9, 1.1])
        room = 0.04 * (values.max() - values.min())
        return values.min() - room, values.max() + room

    def _draw_points(self, places, column, low, high, style):
        """Points of one tariff; those beyond the axis are triangles at its end."""
        ax = self.axes_[0]
        values = self.table[column].to_numpy()
        (line,) = ax.plot(np.where((values < low) | (values > high), np.nan, values), places, **style)
        for value, place in zip(values, places, strict=True):
            if low <= value <= high or np.isnan(value):
                continue
            end, marker, side = (high, ">", -1) if value > high else (low, "<", 1)
            mark = style | {"marker": marker, "clip_on": False, "label": "_beyond"}
            ax.plot([end], [place], **mark)
            self.beyond_.append(
                ax.annotate(
                    plain_number(value),
                    (end, place),
                    (7 * side, 0),
                    textcoords="offset points",
                    ha="left" if side > 0 else "right",
                    va="center",
                    fontsize="small",
                    color=GREY,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
                    zorder=4,
                )
            )
        return line
