"""Distribution of premium changes by group: who pays more, and who pays less."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fairdcov._checks import Bins, Options, Table
from fairdcov.actuarial import premium_change_by_group, premium_changes
from fairdcov.plots._levels import level_rows
from fairdcov.plots._style import (
    axes_to_draw_on,
    group_label,
    merge_style,
    require_matplotlib,
    series_style,
    show_legend,
)

__all__ = ["PremiumChangeDisplay"]


class PremiumChangeDisplay:
    """Range of the premium changes in each group, beside the shares of exposure that pay more and less.

    Thin lines run from the 5 to the 95 % quantile of the changes, thick ones from 25 to 75 %, with the median and the
    change of the total. Make one with :meth:`from_predictions`.

    Parameters
    ----------
    table : DataFrame
        Of :func:`fairdcov.actuarial.premium_changes`.

    Attributes
    ----------
    axes_ : (2,) array of Axes
        Changes on the left, shares on the right.
    figure_ : Figure
        Figure of the axes.
    ranges_, halves_ : LineCollection
        From 5 to 95 % and from 25 to 75 % of the changes.
    medians_, totals_ : Line2D
        Medians, and changes of the total.
    up_bars_, down_bars_ : BarContainer
        Share of the exposure that pays more and less, in percent; less to the left.
    legend_ : Legend or None
        Legend, below the axes.

    See Also
    --------
    fairdcov.actuarial.premium_changes : The figures.
    fairdcov.actuarial.largest_dislocations : The rows behind the ends.

    Examples
    --------
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> from fairdcov.plots import PremiumChangeDisplay
    >>> book = make_motor_portfolio(2_000, random_state=0)
    >>> display = PremiumChangeDisplay.from_predictions(
    ...     book.fair_rate, book.true_rate, book.sensitive_features[["gender"]], sample_weight=book.exposure
    ... )
    >>> display.table["level"].tolist()
    ['all rows', 'female', 'male']
    """

    def __init__(self, *, table: pd.DataFrame) -> None:
        self.table = table

    @classmethod
    def from_predictions(
        cls,
        y_pred: ArrayLike,
        baseline: ArrayLike,
        sensitive_features: Table | Mapping[Any, Any] | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        bins: Bins | None = None,
        intersections: bool = False,
        ax: Any = None,
        **kwargs: Any,
    ) -> PremiumChangeDisplay:
        """Premium changes from a baseline to predictions.

        Parameters
        ----------
        y_pred : (n,) array
            Premiums (or rates per unit of exposure) of the new tariff, not negative.
        baseline : (n,) array
            Premiums of the present tariff for the same rows, all positive.
        sensitive_features : DataFrame, Series, array or dict of columns, (n,) or (n, d), optional
            Protected attributes (or any factors), one at a time.
        sample_weight : (n,) array, optional
            Exposure. Rows of zero exposure do not count.
        bins : int or dict, optional
            How numeric attributes are cut: as in :func:`fairdcov.actuarial.premium_changes`, or with ``intersections``
            as in :func:`fairdcov.actuarial.premium_change_by_group`.
        intersections : bool, default=False
            Whether to show every intersectional group instead of one attribute at a time.
        ax : Axes, array of Axes or None, default=None
            See :meth:`plot`.
        **kwargs
            Options of :meth:`plot`.

        Returns
        -------
        PremiumChangeDisplay
        """
        require_matplotlib("PremiumChangeDisplay.from_predictions")
        options: dict[str, Any] = {"sample_weight": sample_weight, "bins": bins}
        if intersections:
            table = premium_changes(y_pred, baseline, sample_weight=sample_weight)
            groups = premium_change_by_group(y_pred, baseline, sensitive_features, **options)
            names = pd.Series([group_label(levels) for levels in groups.index], dtype=object)
            factor = " × ".join(groups.index.names)
            groups = groups.reset_index(drop=True)
            groups.insert(0, "factor", factor)
            groups.insert(1, "level", names)
            table = pd.concat([table, groups], ignore_index=True)
        else:
            table = premium_changes(y_pred, baseline, sensitive_features, **options)
        return cls(table=table).plot(ax, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        legend: bool = True,
        range_kw: Options | None = None,
        bar_kw: Options | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw a line for each group.

        Parameters
        ----------
        ax : Axes, array of Axes or None, default=None
            One Axes is divided; an array must have two axes, side by side; None makes a figure as high as it needs.
        legend : bool, default=True
            Whether to show a legend. It is below the axes: a figure of your own needs ``layout="constrained"`` to leave
            room for it.
        range_kw, bar_kw : dict, optional
            Options of the lines of the ranges, and of the bars.
        **kwargs
            Options of the points of the medians.

        Returns
        -------
        self
        """
        rows = level_rows(self.table)
        self.figure_, axes, own = axes_to_draw_on(
            ax, (1, 2), (8.8, 1.9 + 0.26 * rows.height), "PremiumChangeDisplay.plot"
        )
        self.axes_ = axes[0]
        left, right = self.axes_
        if own or np.size(ax) == 1:
            left.get_gridspec().set_width_ratios([2.2, 1])
        percent = 100 * self.table.filter(regex="^(quantile_|change$|share_)")
        blue, red = (series_style(position)["color"] for position in (0, 1))
        left.axvline(0.0, color="black", linewidth=0.9, zorder=1)
        thin = {"color": blue, "linewidth": 1.2, "zorder": 2, "label": "5 to 95 % of the changes"}
        thick = {"color": blue, "linewidth": 5.0, "zorder": 2, "alpha": 0.45, "label": "25 to 75 %"}
        self.ranges_ = left.hlines(
            rows.places, percent["quantile_5"], percent["quantile_95"], **merge_style(thin, range_kw)
        )
        self.halves_ = left.hlines(
            rows.places, percent["quantile_25"], percent["quantile_75"], **merge_style(thick, range_kw)
        )
        points = {"linestyle": "none", "color": blue, "marker": "o", "markersize": 5, "zorder": 3, "label": "median"}
        (self.medians_,) = left.plot(percent["quantile_50"], rows.places, **merge_style(points, kwargs))
        (self.totals_,) = left.plot(
            percent["change"],
            rows.places,
            linestyle="none",
            color="black",
            marker="D",
            markersize=4.5,
            markerfacecolor="white",
            zorder=4,
            label="change of the total",
        )
        bars = {"height": 0.62} | (bar_kw or {})
        self.down_bars_ = right.barh(rows.places, -percent["share_down"], **({"color": blue} | bars))
        self.up_bars_ = right.barh(
            rows.places, percent["share_up"], **({"color": red, "hatch": "///", "edgecolor": "white"} | bars)
        )
        right.axvline(0.0, color="black", linewidth=0.9)
        right.set_xlim(-102, 102)
        right.set_xticks([-100, -50, 0, 50, 100], ["", "50", "0", "50", ""])
        rows.label(self.axes_)
        left.set_xlabel("change of premium, %")
        right.set_xlabel("exposure, %")
        for side, text in (("left", "pays less"), ("right", "pays more")):
            right.set_title(text, loc=side, fontsize="medium")
        self.legend_ = None
        if legend:
            handles = [self.ranges_, self.halves_, self.medians_, self.totals_]
            self.legend_ = show_legend(self.figure_, axes, own, handles, below=True)
        return self
