"""Lorenz curves: how well predictions put risks in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fairdcov._checks import FloatArray, Options
from fairdcov.metrics import gini_of_curve, lorenz_curve
from fairdcov.plots._style import GREY, axes_to_draw_on, light_grid, merge_style, require_matplotlib, series_style

__all__ = ["LorenzDisplay"]

_BEST = "order of the observed values"


class LorenzDisplay:
    """Share of the observed total against the share of exposure, from the lowest to the highest prediction.

    The farther a curve is below the diagonal the better the order; twice the area between is the Gini index in the
    legend. Make one with :meth:`from_predictions`.

    Parameters
    ----------
    curves : dict of str to ((m,) array, (m,) array)
        For each model the share of exposure and the share of the observed total, from (0, 0) to (1, 1).
    gini : dict of str to float
        Gini index of each model.
    best : ((m,) array, (m,) array) or None, default=None
        Curve of the observed values themselves, the lowest there can be.

    Attributes
    ----------
    ax_ : Axes
        Where it is drawn.
    figure_ : Figure
        Figure of the axes.
    lines_ : dict of str to Line2D
        Curves of the models.
    diagonal_ : Line2D
        Curve of predictions without order.
    best_line_ : Line2D or None
        Curve of the observed values, where it was asked for.
    legend_ : Legend or None
        Legend, in the corner where no curve is.

    See Also
    --------
    fairdcov.metrics.gini : The index.
    LiftDisplay : Level of the predictions as well.

    Examples
    --------
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> from fairdcov.plots import LorenzDisplay
    >>> book = make_motor_portfolio(2_000, random_state=0)
    >>> display = LorenzDisplay.from_predictions(
    ...     book.target, {"true rate": book.true_rate, "fair rate": book.fair_rate}, sample_weight=book.exposure
    ... )
    >>> bool(display.gini["true rate"] > display.gini["fair rate"])
    True
    """

    def __init__(
        self, *, curves: Mapping[str, tuple[FloatArray, FloatArray]], gini: Mapping[str, float], best: Any = None
    ) -> None:
        self.curves = curves
        self.gini = gini
        self.best = best

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike | Mapping[str, ArrayLike],
        *,
        sample_weight: ArrayLike | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> LorenzDisplay:
        """Lorenz curves of predictions.

        Parameters
        ----------
        y_true : (n,) array
            Observed values per unit of exposure, not negative and not all zero.
        y_pred : (n,) array or dict of str to (n,) arrays
            Predictions, of several models under their names.
        sample_weight : (n,) array, optional
            Exposure. Rows of zero exposure do not count.
        ax : Axes or None, default=None
            Where to draw; None makes a figure.
        **kwargs
            Options of :meth:`plot`.

        Returns
        -------
        LorenzDisplay

        Raises
        ------
        ValueError
            For negative observed values, when nothing was observed, and for no model.
        """
        require_matplotlib("LorenzDisplay.from_predictions")
        models: Mapping[str, Any] = y_pred if isinstance(y_pred, dict) else {"predictions": y_pred}
        if not models:
            raise ValueError("y_pred must have predictions of at least one model; found an empty dict")
        best = lorenz_curve(y_true, y_true, sample_weight=sample_weight)
        if np.isnan(best[1]).any():
            raise ValueError("y_true has no positive value of positive weight: there is no Lorenz curve")
        curves, indices = {}, {}
        for name, predictions in models.items():
            curves[str(name)] = lorenz_curve(y_true, predictions, sample_weight=sample_weight)
            indices[str(name)] = gini_of_curve(*curves[str(name)])
        return cls(curves=curves, gini=indices, best=best).plot(ax, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        legend: bool = True,
        best: Any = False,
        diagonal_kw: Options | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : Axes or None, default=None
            Where to draw; None makes a figure.
        legend : bool, default=True
            Whether to show a legend.
        best : bool, default=False
            Whether to show the curve of the observed values themselves. For single claims, most of which are 0, it is
            far below what any prediction can reach.
        diagonal_kw : dict, optional
            Options of the diagonal.
        **kwargs
            Options of the curves.

        Returns
        -------
        self
        """
        if best and self.best is None:
            raise ValueError("best=True needs the curve of the observed values, which this display does not have")
        self.figure_, axes, _ = axes_to_draw_on(ax, (1, 1), (5.4, 5.2), "LorenzDisplay.plot")
        self.ax_ = axes[0, 0]
        style = {"color": GREY, "linewidth": 0.9, "linestyle": ":", "label": "no order: Gini 0", "zorder": 1}
        (self.diagonal_,) = self.ax_.plot([0, 1], [0, 1], **merge_style(style, diagonal_kw))
        self.lines_, self.best_line_ = {}, None
        for position, (name, curve) in enumerate(self.curves.items()):
            style = series_style(position) | {"marker": "", "linewidth": 1.9}
            style["label"] = f"{name}: Gini {self.gini[name]:.3f}".replace("$", r"\$")
            self.lines_[name] = self.ax_.plot(*curve, **merge_style(style, kwargs))[0]
        if best:
            index = gini_of_curve(*self.best)
            (self.best_line_,) = self.ax_.plot(
                *self.best, color="0.6", linewidth=1.1, linestyle="-.", label=f"{_BEST}: Gini {index:.3f}", zorder=1
            )
        self.ax_.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        self.ax_.set_xlabel("share of exposure, lowest predictions first")
        self.ax_.set_ylabel("share of the observed total")
        light_grid(self.ax_)
        self.legend_ = None
        if legend:
            handles = [*self.lines_.values(), *([self.best_line_] if best else []), self.diagonal_]
            self.legend_ = self.ax_.legend(handles=handles, loc="upper left", frameon=False, fontsize="small")
        return self
