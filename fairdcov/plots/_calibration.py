"""Divergence and score against the strength of the penalty, with what was chosen and the null level."""

from __future__ import annotations

import numbers
import textwrap
from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fairdcov._checks import Options, check_choice
from fairdcov.plots._style import (
    as_vector,
    axes_to_draw_on,
    check_calibrated,
    light_grid,
    log_ticks,
    merge_style,
    plain_number,
    require_matplotlib,
    score_label,
    set_ticks,
    show_legend,
)

__all__ = ["CalibrationDisplay", "in_lines", "score_of_calibrator"]

_BLUE, _VERMILLION, _GREY = "#0072B2", "#D55E00", "0.85"
# Ticks of the strengths on a figure of our own, and on axes that may be narrow.
_MOST_TICKS, _FEWER_TICKS = 8, 5
# Letters of a line that the height of a panel has room for.
_LINE = 32
# A divergence that falls by this factor is shown on a log axis.
_WIDE_RANGE = 10.0


def score_of_calibrator(calibrator):
    """Name of the score of a calibrator: of its ``scoring``, or what its estimator scores by."""
    scoring = getattr(calibrator, "scoring", None)
    return getattr(calibrator, "score_name_", "score") if scoring is None else score_label(scoring)


def in_lines(name, length):
    """A name in lines between its words."""
    return textwrap.fill(name, length, break_long_words=False, break_on_hyphens=False)


class CalibrationDisplay:
    """Calibration of the strength: divergence between groups and score, both against the strength.

    Two panels share the axis of strengths, which is logarithmic with a place for strength 0. Make one with
    :meth:`from_estimator` or :meth:`from_results`.

    Parameters
    ----------
    strengths : (m,) array
        Increasing strengths.
    mean_divergence, mean_score : (m,) arrays
        Means over folds; a greater score is better.
    std_error_divergence, std_error_score : (m,) arrays, optional
        Their standard errors.
    null_mean, null_level : (m,) arrays, optional
        Mean and upper quantile of the divergence under permuted groups.
    null_quantile : float, optional
        Which quantile ``null_level`` is, for the legend.
    best_index : int, optional
        Position of the chosen strength.
    max_divergence : float, optional
        Largest divergence that was allowed.
    min_score : float, optional
        Smallest score that was allowed.
    rule : str, optional
        Name of the rule that chose, for the legend.
    score_name : str, default="score"
        Name of the score.
    kept, gini_kept : (m,) arrays, optional
        Share that is left of what the model explains without penalty, and of its Gini index, for the legend.

    Attributes
    ----------
    axes_ : (2,) array of Axes
        Divergence above, score below.
    figure_ : Figure
        Figure of the axes.
    divergence_errorbar_, score_errorbar_ : ErrorbarContainer
        Points, their line and their error bars.
    null_band_ : FillBetweenPolyCollection or None
        Divergences at most the null level.
    null_line_ : Line2D or None
        Mean divergence under permuted groups.
    divergence_limit_, score_limit_ : Line2D or None
        ``max_divergence`` and ``min_score``.
    best_markers_ : list of Line2D
        Rings around the chosen strength, one in each panel.
    best_lines_ : list of Line2D
        Vertical lines through it.
    legend_ : Legend or None
        Legend, outside the data.

    See Also
    --------
    fairdcov.JSDivergenceCalibrator : Computes what is shown.
    FrontierDisplay : Several calibrations, score against divergence.

    Examples
    --------
    >>> from fairdcov.plots import CalibrationDisplay
    >>> display = CalibrationDisplay.from_results(
    ...     {
    ...         "strengths": [0, 1, 10],
    ...         "mean_divergence": [0.03, 0.01, 0.002],
    ...         "mean_score": [-0.50, -0.51, -0.53],
    ...         "null_level": [0.003, 0.003, 0.003],
    ...     },
    ...     best_index=2,
    ... )
    >>> [float(strength) for strength in display.best_markers_[0].get_xdata()]
    [10.0]
    """

    def __init__(
        self,
        *,
        strengths: ArrayLike,
        mean_divergence: ArrayLike,
        mean_score: ArrayLike,
        std_error_divergence: ArrayLike | None = None,
        std_error_score: ArrayLike | None = None,
        null_mean: ArrayLike | None = None,
        null_level: ArrayLike | None = None,
        null_quantile: float | None = None,
        best_index: int | None = None,
        max_divergence: float | None = None,
        min_score: float | None = None,
        rule: str | None = None,
        score_name: str = "score",
        kept: ArrayLike | None = None,
        gini_kept: ArrayLike | None = None,
    ) -> None:
        self.strengths = strengths
        self.mean_divergence = mean_divergence
        self.mean_score = mean_score
        self.std_error_divergence = std_error_divergence
        self.std_error_score = std_error_score
        self.null_mean = null_mean
        self.null_level = null_level
        self.null_quantile = null_quantile
        self.best_index = best_index
        self.max_divergence = max_divergence
        self.min_score = min_score
        self.rule = rule
        self.score_name = score_name
        self.kept = kept
        self.gini_kept = gini_kept

    @classmethod
    def from_estimator(
        cls, calibrator: Any, *, ax: Any = None, score_name: str | None = None, **kwargs: Any
    ) -> CalibrationDisplay:
        """Picture of a fitted calibrator.

        Parameters
        ----------
        calibrator : JSDivergenceCalibrator
            Fitted; anything with ``calibration_results_`` and ``best_index_`` will do.
        ax : Axes, array of two Axes or None, default=None
            See :meth:`plot`.
        score_name : str, optional
            Name of the score on the axis; by default the calibrator's ``scoring``, or what its estimator scores by.
        **kwargs
            Options of :meth:`plot`.

        Returns
        -------
        CalibrationDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before ``fit``.
        ImportError
            Without matplotlib.

        Examples
        --------
        >>> from fairdcov import DCovPoissonRegressor, JSDivergenceCalibrator
        >>> from fairdcov.datasets import make_motor_portfolio
        >>> from fairdcov.plots import CalibrationDisplay
        >>> book = make_motor_portfolio(2_000, random_state=0)
        >>> calibrator = JSDivergenceCalibrator(
        ...     DCovPoissonRegressor(alpha=1e-4), strengths=[0, 1, 10], rule="elbow", cv=3, bins={"age": 2}, verbose=0
        ... )
        >>> X = book.data[["mileage", "vehicle_power"]]
        >>> calibrator = calibrator.fit(X, book.target, sensitive_features=book.sensitive_features)
        >>> display = CalibrationDisplay.from_estimator(calibrator)
        >>> [float(strength) for strength in display.strengths]
        [0.0, 1.0, 10.0]
        """
        require_matplotlib("CalibrationDisplay.from_estimator")
        check_calibrated(calibrator)
        results = calibrator.calibration_results_
        rule = getattr(calibrator, "rule", None)
        if callable(rule):
            rule = getattr(rule, "__name__", "own rule").replace("<lambda>", "own rule")
        # Only what the rule looked at: a line must not say that something was asked for that was not.
        max_divergence = getattr(calibrator, "max_divergence", None)
        if rule in ("null_level", "elbow", "score_budget"):
            max_divergence = None
        min_score = None
        if rule == "score_budget":
            unpenalised = results["mean_score"][0]
            min_score = unpenalised - calibrator.score_budget * abs(unpenalised)
        if score_name is None:
            score_name = score_of_calibrator(calibrator)
        return cls.from_results(
            results,
            calibrator.best_index_,
            rule=rule,
            max_divergence=max_divergence,
            min_score=min_score,
            null_quantile=getattr(calibrator, "null_quantile", None),
            score_name=score_name,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_results(
        cls,
        results: Mapping[str, Any] | pd.DataFrame,
        best_index: int | None = None,
        *,
        rule: str | None = None,
        max_divergence: float | None = None,
        min_score: float | None = None,
        null_quantile: float | None = None,
        score_name: str = "score",
        ax: Any = None,
        **kwargs: Any,
    ) -> CalibrationDisplay:
        """Picture of calibration results that stand by themselves, such as those of a ``CalibrationError``.

        Parameters
        ----------
        results : dict of arrays or DataFrame
            ``strengths``, ``mean_divergence``, ``mean_score`` and, where known, ``std_error_divergence``,
            ``std_error_score``, ``null_mean``, ``null_level``, ``kept``, ``gini_kept``; anything else is ignored.
        best_index : int, optional
            Position of the chosen strength.
        rule, max_divergence, min_score, null_quantile, score_name
            As in the class.
        ax : Axes, array of two Axes or None, default=None
            See :meth:`plot`.
        **kwargs
            Options of :meth:`plot`.

        Returns
        -------
        CalibrationDisplay

        Raises
        ------
        ValueError
            For results without one of the three arrays that are needed, unequal lengths, and strengths that do not
            increase.
        """
        require_matplotlib("CalibrationDisplay.from_results")
        needed = ("strengths", "mean_divergence", "mean_score")
        missing = [name for name in needed if name not in results]
        if missing:
            raise ValueError(
                f"results must have {', '.join(map(repr, needed))}; {', '.join(map(repr, missing))} missing"
            )
        strengths = as_vector(results["strengths"], "strengths")
        if not np.isfinite(strengths).all() or (strengths < 0).any() or (np.diff(strengths) <= 0).any():
            raise ValueError(f"strengths must be finite, increasing and not negative; found {strengths.tolist()}")
        length = len(strengths)
        curves = ("mean_divergence", "mean_score", "std_error_divergence", "std_error_score", "null_mean", "null_level")
        names = (*curves, "kept", "gini_kept")
        arrays = {name: as_vector(results[name], name, length) for name in names if name in results}
        if best_index is not None and not (isinstance(best_index, numbers.Integral) and 0 <= best_index < length):
            raise ValueError(f"best_index must be a whole number from 0 to {length - 1}; found {best_index!r}")
        display = cls(
            strengths=strengths,
            **arrays,
            null_quantile=null_quantile,
            best_index=None if best_index is None else int(best_index),
            max_divergence=max_divergence,
            min_score=min_score,
            rule=rule,
            score_name=score_name,
        )
        return display.plot(ax, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        divergence_scale: Literal["auto", "linear", "log"] = "auto",
        legend: bool = True,
        null_kw: Options | None = None,
        best_kw: Options | None = None,
        limit_kw: Options | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the two panels.

        Parameters
        ----------
        ax : Axes, array of two Axes or None, default=None
            One Axes is divided into two; None makes a figure. The legend is below the axes: a figure of your own needs
            ``layout="constrained"`` to leave room for it.
        divergence_scale : {"auto", "linear", "log"}, default="auto"
            Scale of the divergence; ``"auto"`` takes a logarithm when it falls by a factor of ten or more.
        legend : bool, default=True
            Whether to show a legend.
        null_kw : dict, optional
            Options of the band of the null level (``fill_between``).
        best_kw : dict, optional
            Options of the rings around the chosen strength.
        limit_kw : dict, optional
            Options of the lines of ``max_divergence`` and ``min_score``.
        **kwargs
            Options of the lines with error bars of both panels (``errorbar``).

        Returns
        -------
        self
        """
        check_choice(divergence_scale, "divergence_scale", ("auto", "linear", "log"))
        self.figure_, axes, own = axes_to_draw_on(ax, (2, 1), (7.5, 6.5), "CalibrationDisplay.plot")
        self.axes_ = axes[:, 0]
        top, bottom = self.axes_
        self._draw_lines(kwargs)
        self._scale_divergence(divergence_scale)
        self._draw_null(null_kw or {})
        self._draw_limits(limit_kw)
        self._draw_best(best_kw)
        for panel in self.axes_:
            self._scale_strength(panel, labels=panel is bottom, most=_MOST_TICKS if own else _FEWER_TICKS)
            light_grid(panel, "y")
        top.set_ylabel("Jensen–Shannon divergence\n(bits)")
        bottom.set_ylabel(f"{in_lines(self.score_name, _LINE)}\n(higher is better)")
        bottom.set_xlabel("strength of the penalty" + (" (log scale)" if self._is_log else ""))
        bottom.ticklabel_format(axis="y", useOffset=False)
        self.legend_ = None
        if legend:
            self.legend_ = show_legend(self.figure_, axes, own, self._handles(), below=True)
        return self

    def _draw_lines(self, kwargs):
        containers = []
        for panel, mean, error, colour, marker, label in (
            (self.axes_[0], self.mean_divergence, self.std_error_divergence, _BLUE, "o", "divergence"),
            (self.axes_[1], self.mean_score, self.std_error_score, _VERMILLION, "s", "score"),
        ):
            label += "" if error is None else " ± standard error"
            style = {"color": colour, "marker": marker, "markersize": 5, "linewidth": 1.5, "label": label}
            style |= {"elinewidth": 1.2, "capsize": 3, "zorder": 3}
            bars = {name: kwargs[name] for name in ("capsize", "elinewidth", "ecolor", "capthick") if name in kwargs}
            lines = {name: value for name, value in kwargs.items() if name not in bars}
            own = {name: style.pop(name) for name in ("elinewidth", "capsize")}
            style = merge_style(style, lines) | own | bars
            containers.append(panel.errorbar(self.strengths, mean, yerr=error, **style))
        self.divergence_errorbar_, self.score_errorbar_ = containers

    def _scale_divergence(self, scale):
        values = np.asarray(self.mean_divergence)
        levels = [values] + [np.atleast_1d(x) for x in (self.null_level, self.max_divergence) if x is not None]
        error = 0.0 if self.std_error_divergence is None else np.asarray(self.std_error_divergence)
        high = max((values + error).max(), *(level.max() for level in levels))
        if scale == "auto":
            scale = "log" if values.min() > 0 and values.max() >= _WIDE_RANGE * values.min() else "linear"
        top = self.axes_[0]
        if scale == "linear":
            top.set_ylim(0.0, 1.06 * high if high > 0 else 1.0)
            return
        positive = np.concatenate([level[level > 0] for level in levels])
        if not len(positive):
            raise ValueError("divergence_scale='log' needs a divergence above 0")
        low = positive.min() / 2
        top.set_yscale("log", nonpositive="clip")
        top.set_ylim(low, 1.4 * high)
        set_ticks(top.yaxis, log_ticks(low, 1.4 * high))

    def _draw_null(self, null_kw):
        top = self.axes_[0]
        self.null_band_ = self.null_line_ = None
        if self.null_level is not None:
            quantile = "" if self.null_quantile is None else f" ({100 * self.null_quantile:g} %)"
            style = {
                "color": _GREY,
                "linewidth": 0,
                "zorder": 0.5,
                "label": f"up to the null level{quantile}",
            } | null_kw
            self.null_band_ = top.fill_between(self.strengths, top.get_ylim()[0], self.null_level, **style)
        if self.null_mean is not None:
            style = {"color": "0.35", "linestyle": ":", "linewidth": 1.3, "label": "mean under permuted groups"}
            (self.null_line_,) = top.plot(self.strengths, self.null_mean, **style)

    def _draw_limits(self, limit_kw):
        self.divergence_limit_ = self.score_limit_ = None
        style = merge_style({"color": "black", "linestyle": "--", "linewidth": 1.2, "zorder": 2}, limit_kw)
        if self.max_divergence is not None:
            label = f"largest divergence allowed: {plain_number(self.max_divergence)}"
            self.divergence_limit_ = self.axes_[0].axhline(self.max_divergence, label=label, **style)
        if self.min_score is not None:
            label = f"lowest score allowed: {self.min_score:.4g}"
            self.score_limit_ = self.axes_[1].axhline(self.min_score, label=label, **style)

    def _draw_best(self, best_kw):
        self.best_lines_, self.best_markers_ = [], []
        if self.best_index is None:
            return
        strength = self.strengths[self.best_index]
        rule = f" ({self.rule})" if self.rule else ""
        style = {"marker": "o", "markersize": 13, "markerfacecolor": "none", "markeredgecolor": "black"}
        style |= {"markeredgewidth": 1.6, "linestyle": "none", "zorder": 4}
        label = f"chosen strength: {plain_number(strength)}{rule}" + self._kept_text()
        style = merge_style(style | {"label": label}, best_kw)
        for panel, mean in zip(self.axes_, (self.mean_divergence, self.mean_score), strict=True):
            self.best_lines_.append(panel.axvline(strength, color="0.5", linewidth=1.0, linestyle="-", zorder=1))
            self.best_markers_ += panel.plot([strength], [mean[self.best_index]], **style)

    def _kept_text(self):
        """What the chosen strength leaves of what is explained, and of the order."""
        parts = [
            f"{values[self.best_index]:.0%} of {what}"
            for values, what in ((self.kept, "what is explained"), (self.gini_kept, "the Gini index"))
            if values is not None and np.isfinite(values[self.best_index])
        ]
        return f"\nkeeps {' and '.join(parts)}" if parts else ""

    def _scale_strength(self, panel, *, labels, most):
        """Logarithmic, with the stretch from 0 to the smallest positive strength linear and short."""
        strengths = np.asarray(self.strengths)
        positive = strengths[strengths > 0]
        self._is_log = len(positive) > 1
        if not self._is_log:
            panel.margins(x=0.1)
            set_ticks(panel.xaxis, strengths, labels)
            return
        low, high = positive[0], positive[-1]
        decades = np.log10(high / low)
        has_zero = len(positive) < len(strengths)
        step = (high / low) ** 0.04
        if has_zero:
            stretch = max(0.14, 0.8 / len(strengths)) * decades
            panel.set_xscale("symlog", linthresh=low, linscale=stretch)
            panel.set_xlim(-0.3 * low, high * step)
        else:
            panel.set_xscale("log")
            panel.set_xlim(low / step, high * step)
        room = np.diff(np.log10(positive)).min() / decades
        if len(strengths) <= most and room > 0.08:
            ticks = positive
        else:
            ticks = log_ticks(low, high, most)
        set_ticks(panel.xaxis, np.append(0.0, ticks) if has_zero else ticks, labels)

    def _handles(self):
        handles = [self.divergence_errorbar_, self.score_errorbar_, *self.best_markers_[:1]]
        handles += [self.null_band_, self.null_line_, self.divergence_limit_, self.score_limit_]
        return [handle for handle in handles if handle is not None]
