"""Lift of a tariff, and of two tariffs against each other."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fairdcov._checks import Interval, Options
from fairdcov.actuarial import double_lift_table, lift_table
from fairdcov.plots._style import (
    GREY,
    axes_to_draw_on,
    light_grid,
    merge_style,
    plain_number,
    require_matplotlib,
    series_style,
    show_legend,
)

__all__ = ["DoubleLiftDisplay", "LiftDisplay"]

_TARGET = "mean per unit of exposure"
# Of more bins not every one has a number below the axis.
_MOST_TICKS = 12


def _line_style(position, label, **options):
    """Lines that differ in colour, style and marker."""
    style = series_style(position) | {"label": label, "linewidth": 1.6, "markersize": 5.5}
    return style | options


def _draw_observed(ax, table, observed_kw, interval_kw):
    """Observed means as open squares with the interval of the mean."""
    style = merge_style(_line_style(1, "observed", linestyle="none", marker="s", markerfacecolor="white"), observed_kw)
    expected = table["predicted"].to_numpy()
    low, high = (table[side].to_numpy() * expected for side in ("lower", "upper"))
    # They are intervals of actual to expected, that is of the observed mean in units of the predicted one.
    intervals = ax.vlines(
        table["bin"], low, high, **merge_style({"color": style["color"], "linewidth": 1.3, "zorder": 1.5}, interval_kw)
    )
    (line,) = ax.plot(table["bin"], table["observed"], **(style | {"zorder": 3}))
    return line, intervals


def _finish(ax, table, labels, target_name):
    step = int(np.ceil(len(table) / _MOST_TICKS))
    ax.set_xticks(table["bin"].to_numpy()[::step], labels[::step])
    ax.set_xlim(0.5, len(table) + 0.5)
    ax.set_ylabel(target_name)
    light_grid(ax, "y")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _limit(ax, table, columns):
    """Room for the means and for intervals up to three times as far: those of few claims would squeeze the rest."""
    means = np.concatenate([table[name] for name in columns])
    highest, lowest = means.max(), min(0.0, means.min())
    upper = np.nanmax(np.append(table["upper"] * table["predicted"], highest))
    lower = np.nanmin(np.append(table["lower"] * table["predicted"], lowest))
    span = highest - lowest or 1.0
    ax.set_ylim(max(min(lower, lowest), lowest - 2 * span) - 0.02 * span, min(upper, highest + 2 * span) + 0.05 * span)


class LiftDisplay:
    """Observed and predicted means by bins of the prediction, from the lowest to the highest.

    Make one with :meth:`from_predictions`.

    Parameters
    ----------
    table : DataFrame
        Of :func:`fairdcov.actuarial.lift_table`.
    target_name : str, default="mean per unit of exposure"
        Label of the vertical axis.

    Attributes
    ----------
    ax_ : Axes
        Where it is drawn.
    figure_ : Figure
        Figure of the axes.
    predicted_line_, observed_line_ : Line2D
        Means of the bins.
    intervals_ : LineCollection
        Intervals of the observed means.
    legend_ : Legend or None
        Legend.

    See Also
    --------
    fairdcov.actuarial.lift_table : The figures.
    DoubleLiftDisplay : Two tariffs.
    LorenzDisplay : The order of the predictions alone.

    Examples
    --------
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> from fairdcov.plots import LiftDisplay
    >>> book = make_motor_portfolio(2_000, random_state=0)
    >>> display = LiftDisplay.from_predictions(book.target, book.true_rate, sample_weight=book.exposure, n_bins=5)
    >>> display.table["bin"].tolist()
    [1, 2, 3, 4, 5]
    """

    def __init__(self, *, table: pd.DataFrame, target_name: str = _TARGET) -> None:
        self.table = table
        self.target_name = target_name

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        n_bins: int = 10,
        confidence: float = 0.95,
        interval: Interval = "auto",
        target_name: str = _TARGET,
        ax: Any = None,
        **kwargs: Any,
    ) -> LiftDisplay:
        """Lift of predictions.

        Parameters
        ----------
        y_true : (n,) array
            Observed values per unit of exposure.
        y_pred : (n,) array
            Predictions per unit of exposure.
        sample_weight : (n,) array, optional
            Exposure. Rows of zero exposure do not count.
        n_bins, confidence, interval
            As in :func:`fairdcov.actuarial.lift_table`.
        target_name : str, default="mean per unit of exposure"
            Label of the vertical axis, such as "claims per year".
        ax : Axes or None, default=None
            Where to draw; None makes a figure.
        **kwargs
            Options of :meth:`plot`.

        Returns
        -------
        LiftDisplay
        """
        require_matplotlib("LiftDisplay.from_predictions")
        table = lift_table(
            y_true, y_pred, sample_weight=sample_weight, n_bins=n_bins, confidence=confidence, interval=interval
        )
        return cls(table=table, target_name=target_name).plot(ax, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        legend: bool = True,
        observed_kw: Options | None = None,
        interval_kw: Options | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw predicted means as a line, observed means as squares with their intervals.

        Parameters
        ----------
        ax : Axes or None, default=None
            Where to draw; None makes a figure.
        legend : bool, default=True
            Whether to show a legend.
        observed_kw, interval_kw : dict, optional
            Options of the observed means, and of their intervals.
        **kwargs
            Options of the line of the predictions.

        Returns
        -------
        self

        Notes
        -----
        Intervals that are far longer than the means are high run out of the picture.
        """
        self.figure_, axes, _ = axes_to_draw_on(ax, (1, 1), (6.8, 4.2), "LiftDisplay.plot")
        self.ax_ = axes[0, 0]
        (self.predicted_line_,) = self.ax_.plot(
            self.table["bin"], self.table["predicted"], **merge_style(_line_style(0, "predicted"), kwargs)
        )
        self.observed_line_, self.intervals_ = _draw_observed(self.ax_, self.table, observed_kw, interval_kw)
        _limit(self.ax_, self.table, ("observed", "predicted"))
        _finish(self.ax_, self.table, [str(number) for number in self.table["bin"]], self.target_name)
        self.ax_.set_xlabel("bins of equal exposure, from the lowest to the highest prediction")
        handles = [self.predicted_line_, self.observed_line_]
        # The means rise from left to right.
        self.legend_ = self.ax_.legend(handles=handles, loc="upper left", frameon=False) if legend else None
        return self


class DoubleLiftDisplay:
    """Two tariffs and the observed means by bins of their ratio, to see which one is right where they disagree.

    Make one with :meth:`from_predictions`.

    Parameters
    ----------
    table : DataFrame
        Of :func:`fairdcov.actuarial.double_lift_table`.
    names : (str, str), default=("predicted", "baseline")
        Names of the new and of the present tariff.
    target_name : str, default="mean per unit of exposure"
        Label of the vertical axis.

    Attributes
    ----------
    ax_ : Axes
        Where it is drawn.
    figure_ : Figure
        Figure of the axes.
    predicted_line_, baseline_line_, observed_line_ : Line2D
        Means of the bins.
    intervals_ : LineCollection
        Intervals of the observed means.
    legend_ : Legend or None
        Legend, beside the axes.

    See Also
    --------
    fairdcov.actuarial.double_lift_table : The figures.

    Examples
    --------
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> from fairdcov.plots import DoubleLiftDisplay
    >>> book = make_motor_portfolio(2_000, random_state=0)
    >>> display = DoubleLiftDisplay.from_predictions(
    ...     book.target, book.true_rate, book.fair_rate, sample_weight=book.exposure, n_bins=5
    ... )
    >>> bool(display.table["ratio"].is_monotonic_increasing)
    True
    """

    def __init__(
        self, *, table: pd.DataFrame, names: tuple[str, str] = ("predicted", "baseline"), target_name: str = _TARGET
    ) -> None:
        self.table = table
        self.names = names
        self.target_name = target_name

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        baseline: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        n_bins: int = 10,
        confidence: float = 0.95,
        interval: Interval = "auto",
        names: tuple[str, str] = ("predicted", "baseline"),
        target_name: str = _TARGET,
        ax: Any = None,
        **kwargs: Any,
    ) -> DoubleLiftDisplay:
        """Double lift of predictions against a baseline.

        Parameters
        ----------
        y_true : (n,) array
            Observed values per unit of exposure.
        y_pred : (n,) array
            Predictions of the new tariff.
        baseline : (n,) array
            Predictions of the present tariff, all positive.
        sample_weight : (n,) array, optional
            Exposure. Rows of zero exposure do not count.
        n_bins, confidence, interval
            As in :func:`fairdcov.actuarial.double_lift_table`.
        names : (str, str), default=("predicted", "baseline")
            Names of the new and of the present tariff.
        target_name : str, default="mean per unit of exposure"
            Label of the vertical axis, such as "claims per year".
        ax : Axes or None, default=None
            Where to draw; None makes a figure.
        **kwargs
            Options of :meth:`plot`.

        Returns
        -------
        DoubleLiftDisplay
        """
        require_matplotlib("DoubleLiftDisplay.from_predictions")
        table = double_lift_table(
            y_true,
            y_pred,
            baseline,
            sample_weight=sample_weight,
            n_bins=n_bins,
            confidence=confidence,
            interval=interval,
        )
        return cls(table=table, names=names, target_name=target_name).plot(ax, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        legend: bool = True,
        observed_kw: Options | None = None,
        interval_kw: Options | None = None,
        baseline_kw: Options | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw both tariffs as lines, observed means as squares with their intervals.

        Parameters
        ----------
        ax : Axes or None, default=None
            Where to draw; None makes a figure. The legend is beside the axes: a figure of your own needs
            ``layout="constrained"`` to leave room for it.
        legend : bool, default=True
            Whether to show a legend.
        observed_kw, interval_kw, baseline_kw : dict, optional
            Options of the observed means, of their intervals, and of the line of the baseline.
        **kwargs
            Options of the line of the predictions.

        Returns
        -------
        self

        Notes
        -----
        Intervals that are far longer than the means are high run out of the picture.
        """
        new, present = self.names
        self.figure_, axes, own = axes_to_draw_on(ax, (1, 1), (8.0, 4.2), "DoubleLiftDisplay.plot")
        self.ax_ = axes[0, 0]
        (self.predicted_line_,) = self.ax_.plot(
            self.table["bin"], self.table["predicted"], **merge_style(_line_style(0, new), kwargs)
        )
        (self.baseline_line_,) = self.ax_.plot(
            self.table["bin"],
            self.table["baseline"],
            **merge_style(_line_style(2, present, linestyle="--"), baseline_kw),
        )
        self.observed_line_, self.intervals_ = _draw_observed(self.ax_, self.table, observed_kw, interval_kw)
        _limit(self.ax_, self.table, ("observed", "predicted", "baseline"))
        _finish(self.ax_, self.table, [plain_number(ratio) for ratio in self.table["ratio"]], self.target_name)
        self.ax_.tick_params(axis="x", labelcolor=GREY)
        self.ax_.set_xlabel(f"bins of equal exposure by the ratio of {new} to {present}")
        handles = [self.predicted_line_, self.baseline_line_, self.observed_line_]
        self.legend_ = show_legend(self.figure_, axes, own, handles) if legend else None
        return self
