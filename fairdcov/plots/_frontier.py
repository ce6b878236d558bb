"""Score against divergence: what fairness costs, for several models or paths of models."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fairdcov._checks import Bins, GroupWeights, Options, RandomState, Table, check_choice
from fairdcov.encoding import Attributes
from fairdcov.metrics import (
    binary_log_loss,
    gini,
    js_divergence,
    mean_deviance,
    null_distribution,
    root_mean_squared_error,
    rps,
)
from fairdcov.plots._calibration import in_lines, score_of_calibrator
from fairdcov.plots._style import (
    as_vector,
    axes_to_draw_on,
    check_calibrated,
    light_grid,
    line_class,
    log_ticks,
    merge_style,
    plain_number,
    require_matplotlib,
    score_label,
    series_style,
    set_ticks,
    show_legend,
)

__all__ = ["FrontierDisplay"]

_COLUMNS = ("divergence", "score", "strength", "std_error_divergence", "std_error_score", "null_level")
_WIDE_RANGE = 10.0
# Letters of a line that the height of the picture has room for.
_LINE = 60
# Share of the axis below which a band cannot be seen.
_NARROWEST = 0.005


def _deviance(power):
    def deviance(y_true, y_pred, *, sample_weight=None):
        return mean_deviance(y_true, y_pred, sample_weight=sample_weight, power=power)

    return deviance


# Name: function of (y_true, y_pred, sample_weight=None), and whether more is better.
_SCORINGS = {
    "poisson deviance": (_deviance(1.0), False),
    "gamma deviance": (_deviance(2.0), False),
    "root mean squared error": (root_mean_squared_error, False),
    "ranked probability score": (rps, False),
    "log loss": (binary_log_loss, False),
    "gini": (gini, True),
}


def _pareto_optimal(divergence, score, greater_is_better):
    """Points for which no other is at least as good in both and better in one."""
    cost = -score if greater_is_better else score
    optimal = np.zeros(len(divergence), dtype=bool)
    best = np.inf
    for position in np.lexsort((cost, divergence)):
        same = optimal & (divergence == divergence[position]) & (cost == cost[position])
        optimal[position] = cost[position] < best or same.any()
        best = min(best, cost[position])
    return optimal


class FrontierDisplay:
    """Score against divergence between groups, for several models or paths of models.

    Filled markers are Pareto-optimal: no other point shown is as fair and scores better, or scores as well and is
    fairer. Rings mark chosen points. Make one with :meth:`from_calibrators`, :meth:`from_points` or
    :meth:`from_predictions`.

    Parameters
    ----------
    points : DataFrame, (m, ...)
        One row for each point, in the order of its path: ``name`` of the model or path, ``divergence``, ``score``, and
        where known ``strength``, ``std_error_divergence``, ``std_error_score``, ``null_level`` and ``chosen`` (bool).
    score_name : str, default="score"
        Name of the score.
    greater_is_better : bool, default=True
        Direction of the score.
    null_quantile : float, optional
        Which quantile of the divergence under permuted groups ``null_level`` is, for the legend.

    Attributes
    ----------
    pareto_optimal_ : (m,) bool array
        Which points are Pareto-optimal.
    ax_ : Axes
        Axes.
    figure_ : Figure
        Its figure.
    lines_ : dict of str to Line2D
        Line and markers of each path; markers are hollow where they are not in ``pareto_lines_``.
    pareto_lines_ : dict of str to Line2D
        Filled markers of the Pareto-optimal points of each path.
    errorbars_ : dict of str to ErrorbarContainer
        Error bars of the paths that have errors.
    chosen_markers_ : dict of str to Line2D
        Rings.
    null_bands_ : list of Rectangle
        Divergences up to the smallest null level of all points, where that can be seen; then, when it is much larger,
        up to the largest.
    legend_ : Legend or None
        Legend, outside the data.

    See Also
    --------
    CalibrationDisplay : One calibration against the strength.

    Examples
    --------
    >>> from fairdcov.plots import FrontierDisplay
    >>> display = FrontierDisplay.from_points(
    ...     {"penalty": ([0.03, 0.01, 0.002], [0.50, 0.51, 0.53]), "without age": ([0.02], [0.52])},
    ...     score_name="Poisson deviance",
    ...     greater_is_better=False,
    ... )
    >>> display.pareto_optimal_.tolist()
    [True, True, True, False]
    """

    def __init__(
        self,
        *,
        points: pd.DataFrame | Mapping[str, Any],
        score_name: str = "score",
        greater_is_better: bool = True,
        null_quantile: float | None = None,
    ) -> None:
        self.points = points
        self.score_name = score_name
        self.greater_is_better = greater_is_better
        self.null_quantile = null_quantile

    @classmethod
    def from_calibrators(
        cls, calibrators: Mapping[str, Any], *, ax: Any = None, score_name: str | None = None, **kwargs: Any
    ) -> FrontierDisplay:
        """Frontiers of fitted calibrators; each chosen point gets a ring.

        Parameters
        ----------
        calibrators : dict of str to JSDivergenceCalibrator
            Fitted on the same data with the same scorer, or the scores cannot be compared.
        ax : Axes, optional
            Axes to draw on.
        score_name : str, optional
            Name of the score; taken from the calibrators' ``scoring`` by default, or what their estimators score by.
        **kwargs
            Options of :meth:`plot`.

        Returns
        -------
        FrontierDisplay
        """
        require_matplotlib("FrontierDisplay.from_calibrators")
        if not isinstance(calibrators, dict) or not calibrators:
            raise TypeError(f"calibrators must be a dict of name to fitted calibrator; found {calibrators!r}")
        parts = []
        for name, calibrator in calibrators.items():
            check_calibrated(calibrator)
            results = calibrator.calibration_results_
            sources = {"divergence": "mean_divergence", "score": "mean_score", "strength": "strengths"}
            part = {column: results.get(sources.get(column, column)) for column in _COLUMNS}
            chosen = np.arange(len(results["strengths"])) == calibrator.best_index_
            parts.append(pd.DataFrame({"name": str(name), **part, "chosen": chosen}))
        first = next(iter(calibrators.values()))
        scores = {score_of_calibrator(calibrator) for calibrator in calibrators.values()}
        # Of estimators of others it may not be known what they score by.
        known = scores - {"score"} or scores
        if len(known) > 1:
            raise ValueError(f"the calibrators have different scores, which cannot share an axis: {sorted(known)}")
        if score_name is None:
            (score_name,) = known
        quantile = getattr(first, "null_quantile", None)
        display = cls(points=_complete(pd.concat(parts)), score_name=score_name, null_quantile=quantile)
        return display.plot(ax, **kwargs)

    @classmethod
    def from_points(
        cls,
        points: pd.DataFrame | Mapping[str, Any],
        *,
        chosen: Mapping[str, int] | None = None,
        null_level: float | None = None,
        null_quantile: float | None = None,
        score_name: str = "score",
        greater_is_better: bool = True,
        ax: Any = None,
        **kwargs: Any,
    ) -> FrontierDisplay:
        """Frontiers from divergences and scores that are known.

        Parameters
        ----------
        points : DataFrame or dict
            A frame (pandas or polars) as in the class, or a dict of name to ``(divergence, score)``,
            ``(divergence, score, strength)`` or ``(divergence, score, strength, std_error_divergence,
            std_error_score)``, each a number, an array (m,) or None.
        chosen : dict of str to int, optional
            For each name the position of the chosen point in its path.
        null_level : float, optional
            Divergence under permuted groups, for all points.
        null_quantile, score_name, greater_is_better
            As in the class.
        ax : Axes, optional
            Axes to draw on.
        **kwargs
            Options of :meth:`plot`.

        Returns
        -------
        FrontierDisplay

        Raises
        ------
        ValueError
            For missing columns, unequal lengths and names in ``chosen`` that are not there.
        """
        require_matplotlib("FrontierDisplay.from_points")
        table = _table_of_dict(points) if isinstance(points, dict) else _table_of_frame(points)
        if null_level is not None:
            table["null_level"] = float(null_level)
        for name, position in (chosen or {}).items():
            rows = np.flatnonzero(table["name"] == str(name))
            if not len(rows):
                raise ValueError(f"chosen names {name!r}; the paths are {table['name'].unique().tolist()}")
            if not isinstance(position, numbers.Integral) or not 0 <= position < len(rows):
                raise ValueError(
                    f"chosen for {name!r} must be a whole number from 0 to {len(rows) - 1}; found {position!r}"
                )
            table.loc[rows, "chosen"] = np.arange(len(rows)) == position
        display = cls(
            points=table, score_name=score_name, greater_is_better=greater_is_better, null_quantile=null_quantile
        )
        return display.plot(ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        predictions: Mapping[str, Any],
        *,
        sensitive_features: Table,
        sample_weight: ArrayLike | None = None,
        scoring: str | Callable[..., Any] = "poisson deviance",
        greater_is_better: bool | None = None,
        bins: Bins | None = None,
        min_group_size: int = 1,
        bandwidth: float | Literal["silverman", "scott"] = "silverman",
        group_weights: GroupWeights = "proportion",
        n_permutations: int = 50,
        null_quantile: float = 0.95,
        random_state: RandomState = 0,
        chosen: Mapping[str, int] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> FrontierDisplay:
        """Models by their predictions on the same rows.

        Parameters
        ----------
        y_true : (n,) array
            Observed values.
        predictions : dict of str to (n,) array, or to list of (n,) arrays
            Predictions of each model, or of each model on a path.
        sensitive_features : DataFrame, Series, array or list, (n,) or (n, d)
            Protected attributes; several columns are crossed. Numbers with more than 20 distinct values need ``bins``.
        sample_weight : (n,) array, optional
            Row weights such as exposure, in divergence and score.
        scoring : str or callable, default="poisson deviance"
            One of "poisson deviance", "gamma deviance", "root mean squared error", "ranked probability score",
            "log loss", "gini", or a function ``(y_true, y_pred, sample_weight=None)``.
        greater_is_better : bool, optional
            Direction of a ``scoring`` function; False (a loss) unless said.
        bins, min_group_size, bandwidth, group_weights
            As in :func:`fairdcov.metrics.js_divergence`.
        n_permutations : int, default=50
            Permutations of the groups for the null level; 0 for none.
        null_quantile : float, default=0.95
            Quantile of the divergence under permuted groups that is the null level.
        random_state : int, RandomState or None, default=0
            Seed of the permutations.
        chosen : dict of str to int, optional
            As in :meth:`from_points`.
        ax : Axes, optional
            Axes to draw on.
        **kwargs
            Options of :meth:`plot`.

        Returns
        -------
        FrontierDisplay

        Raises
        ------
        ValueError
            For an unknown ``scoring``, numeric attributes without ``bins``, unequal lengths.

        Examples
        --------
        >>> from fairdcov.datasets import make_motor_portfolio
        >>> from fairdcov.plots import FrontierDisplay
        >>> book = make_motor_portfolio(2_000, random_state=0)
        >>> display = FrontierDisplay.from_predictions(
        ...     book.target,
        ...     {"true rate": book.true_rate, "fair rate": book.fair_rate},
        ...     sensitive_features=book.sensitive_features[["gender", "region"]],
        ...     sample_weight=book.exposure,
        ... )
        >>> divergence = display.points.set_index("name")["divergence"]
        >>> bool(divergence["true rate"] > divergence["fair rate"])
        True
        """
        require_matplotlib("FrontierDisplay.from_predictions")
        metric, direction, score_name = _scoring(scoring)
        direction = direction if greater_is_better is None else greater_is_better
        if not isinstance(predictions, dict) or not predictions:
            raise TypeError(f"predictions must be a dict of name to predictions; found {type(predictions).__name__}")
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        options: dict[str, Any] = {"bins": bins, "min_group_size": min_group_size, "bandwidth": bandwidth}
        if sensitive_features is not None:
            sensitive_features = Attributes.read(sensitive_features)
        options |= {"sensitive_features": sensitive_features, "group_weights": group_weights, **weights}
        permutations: dict[str, Any] = {"n_permutations": n_permutations, "random_state": random_state}
        rows = []
        for name, given in predictions.items():
            for y_pred in np.atleast_2d(np.asarray(given, dtype=np.float64)):
                level = np.nan
                if n_permutations:
                    null = null_distribution(js_divergence, y_true, y_pred, **permutations, **options)
                    divergence, level = null.observed, null.quantile(null_quantile)
                else:
                    divergence = js_divergence(y_true, y_pred, **options)
                score = metric(y_true, y_pred, **weights)
                rows.append({"name": name, "divergence": divergence, "score": score, "null_level": level})
        return cls.from_points(
            pd.DataFrame(rows),
            chosen=chosen,
            null_quantile=null_quantile,
            score_name=score_name,
            greater_is_better=direction,
            ax=ax,
            **kwargs,
        )

    def plot(
        self,
        ax: Any = None,
        *,
        divergence_scale: Literal["auto", "linear", "log"] = "auto",
        legend: bool = True,
        error_bars: bool = True,
        null_kw: Options | None = None,
        chosen_kw: Options | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw score against divergence.

        Parameters
        ----------
        ax : Axes, optional
            Axes to draw on; None makes a figure. The legend is beside the axes: a figure of your own needs
            ``layout="constrained"`` to leave room for it.
        divergence_scale : {"auto", "linear", "log"}, default="auto"
            Scale of the divergence; ``"auto"`` takes a logarithm when it spans a factor of ten or more.
        legend : bool, default=True
            Whether to show a legend.
        error_bars : bool, default=True
            Whether to show standard errors where they are known.
        null_kw : dict, optional
            Options of the band of the null level (``axvspan``).
        chosen_kw : dict, optional
            Options of the rings.
        **kwargs
            Options of the lines of all paths.

        Returns
        -------
        self
        """
        check_choice(divergence_scale, "divergence_scale", ("auto", "linear", "log"))
        self.figure_, axes, own = axes_to_draw_on(ax, (1, 1), (8.5, 5.0), "FrontierDisplay.plot")
        self.ax_ = axes[0, 0]
        table = self.points
        self.pareto_optimal_ = _pareto_optimal(
            table["divergence"].to_numpy(), table["score"].to_numpy(), self.greater_is_better
        )
        self._scale(divergence_scale)
        self._draw_paths(error_bars, kwargs)
        self._draw_chosen(chosen_kw)
        self._draw_null(null_kw or {})
        light_grid(self.ax_)
        self.ax_.ticklabel_format(axis="y", useOffset=False)
        better = "higher" if self.greater_is_better else "lower"
        self.ax_.set_ylabel(in_lines(f"{self.score_name} ({better} is better)", _LINE))
        log = ", log scale" if self.ax_.get_xscale() == "log" else ""
        self.ax_.set_xlabel(f"Jensen–Shannon divergence between groups (bits{log})")
        self.legend_ = show_legend(self.figure_, axes, own, self._handles()) if legend else None
        return self

    def _paths(self):
        for position, (name, path) in enumerate(self.points.groupby("name", sort=False)):
            yield name, path, self.pareto_optimal_[path.index], series_style(position)

    def _scale(self, scale):
        values = self.points["divergence"].to_numpy()
        low, high = values.min(), values.max()
        if scale == "auto":
            scale = "log" if low > 0 and high >= _WIDE_RANGE * low else "linear"
        if scale == "linear":
            levels = self.points["null_level"].max()
            self.ax_.set_xlim(0.0, 1.06 * max(high, 0.0 if np.isnan(levels) else levels) or 1.0)
            return
        if low <= 0:
            raise ValueError(f"divergence_scale='log' needs divergences above 0; the smallest is {low:g}")
        limits = np.append(values, self.points["null_level"].dropna())
        low, high = limits[limits > 0].min() / 1.4, limits.max() * 1.2
        self.ax_.set_xscale("log")
        self.ax_.set_xlim(low, high)
        set_ticks(self.ax_.xaxis, log_ticks(low, high))

    def _draw_paths(self, error_bars, kwargs):
        self.lines_, self.pareto_lines_, self.errorbars_, self._styles = {}, {}, {}, {}
        for name, path, optimal, series in self._paths():
            style = series | {"linewidth": 1.4, "markersize": 6.5, "markerfacecolor": "white", "zorder": 3}
            style = merge_style(style | {"label": name}, kwargs)
            self._styles[name] = style
            (line,) = self.ax_.plot(path["divergence"], path["score"], **style)
            filled = {"linestyle": "none", "marker": line.get_marker(), "color": line.get_color(), "zorder": 3.5}
            best = path[optimal]
            (self.pareto_lines_[name],) = self.ax_.plot(
                best["divergence"], best["score"], markersize=line.get_markersize(), **filled
            )
            self.lines_[name] = line
            errors = [path[f"std_error_{what}"].to_numpy() for what in ("divergence", "score")]
            errors = [None if np.isnan(error).all() else error for error in errors]
            if error_bars and any(error is not None for error in errors):
                self.errorbars_[name] = self.ax_.errorbar(
                    path["divergence"],
                    path["score"],
                    xerr=errors[0],
                    yerr=errors[1],
                    fmt="none",
                    ecolor=line.get_color(),
                    elinewidth=0.8,
                    alpha=0.5,
                    zorder=2,
                )

    def _draw_chosen(self, chosen_kw):
        self.chosen_markers_ = {}
        style = {"marker": "o", "markerfacecolor": "none", "markeredgewidth": 1.6, "linestyle": "none", "zorder": 4}
        for name, path, _, series in self._paths():
            rings = path[path["chosen"]]
            if not len(rings):
                continue
            # One around the other where the choices of several paths are close.
            own = {"markersize": 13 + 5 * len(self.chosen_markers_), "markeredgecolor": series["color"]}
            style_of_path = merge_style(style | own, chosen_kw)
            (self.chosen_markers_[name],) = self.ax_.plot(rings["divergence"], rings["score"], **style_of_path)
            strengths = [plain_number(strength) for strength in rings["strength"].dropna()]
            if strengths:
                self.lines_[name].set_label(f"{name}, chosen strength: {', '.join(strengths)}")

    def _draw_null(self, null_kw):
        self.null_bands_ = []
        levels = self.points["null_level"].dropna()
        if levels.empty:
            return
        quantile = "" if self.null_quantile is None else f" ({100 * self.null_quantile:g} %)"
        low, high = levels.min(), levels.max()
        several = high > 1.1 * low
        label = f"up to the null level{' of every point' if several else ''}{quantile}"
        style = {"color": "0.85", "linewidth": 0, "zorder": 0.5, "label": label} | null_kw
        linear = self.ax_.get_xscale() == "linear"
        # A nearly constant prediction has hardly any null level: a band that nobody sees needs no place in the legend.
        if not linear or low > _NARROWEST * self.ax_.get_xlim()[1] or not several:
            self.null_bands_.append(self.ax_.axvspan(0 if linear else 1e-300, low, **style))
        # The level depends a little on the predictions: one band unless that can be seen.
        if several:
            style |= {"color": "0.93", "label": f"up to the null level of some points{quantile}"}
            self.null_bands_.append(self.ax_.axvspan(low, high, **style))

    def _handles(self):
        line = line_class()
        handles = []
        for name, style in self._styles.items():
            # Filled, whether or not the path has hollow points.
            filled = {key: value for key, value in style.items() if key not in ("markerfacecolor", "label")}
            if len(self.lines_[name].get_xdata()) == 1:
                filled["linestyle"] = "none"
            handles.append(line([], [], label=self.lines_[name].get_label(), **filled))
        shape = {"color": "0.3", "marker": "o", "linestyle": "none", "markersize": 6.5}
        if self.pareto_optimal_.any() and not self.pareto_optimal_.all():
            handles.append(line([], [], **shape, label="filled: Pareto-optimal"))
            handles.append(line([], [], **shape, markerfacecolor="white", label="hollow: another point is better"))
        if self.chosen_markers_:
            ring = {"marker": "o", "markersize": 12, "markerfacecolor": "none", "markeredgecolor": "0.3"}
            handles.append(line([], [], **ring, markeredgewidth=1.6, linestyle="none", label="chosen"))
        return handles + self.null_bands_


def _scoring(scoring):
    if callable(scoring):
        return scoring, False, score_label(scoring).replace("_", " ")
    check_choice(scoring, "scoring", tuple(_SCORINGS))
    metric, greater_is_better = _SCORINGS[scoring]
    return metric, greater_is_better, scoring[0].upper() + scoring[1:]


def _table_of_dict(points):
    if not points:
        raise ValueError("points must name at least one path; found none")
    parts = []
    for name, given in points.items():
        if not isinstance(given, tuple | list) or not 2 <= len(given) <= 5:
            raise ValueError(
                f"points[{name!r}] must be (divergence, score), and may go on with strength, std_error_divergence and "
                f"std_error_score; found {given!r}"
            )
        columns = dict(zip(_COLUMNS, given, strict=False))
        divergence = as_vector(np.atleast_1d(columns["divergence"]), f"divergence of {name!r}")
        part = {"name": str(name), "divergence": divergence}
        for column in list(columns)[1:]:
            if columns[column] is not None:
                part[column] = as_vector(np.atleast_1d(columns[column]), f"{column} of {name!r}", len(divergence))
        parts.append(pd.DataFrame(part))
    return _complete(pd.concat(parts))


def _table_of_frame(points):
    frame = nw.from_native(points, eager_only=True)
    missing = {"name", "divergence", "score"} - set(frame.columns)
    if missing:
        raise ValueError(f"points must have the columns 'name', 'divergence' and 'score'; {sorted(missing)} missing")
    known = ("name", *_COLUMNS, "chosen")
    return _complete(pd.DataFrame({column: frame[column].to_numpy() for column in known if column in frame.columns}))


def _complete(table):
    """All columns with their types, rows numbered."""
    table = table.reset_index(drop=True)
    table["name"] = table["name"].astype(str)
    for column in _COLUMNS:
        table[column] = table[column].astype(np.float64) if column in table else np.nan
    if not np.isfinite(table[["divergence", "score"]].to_numpy()).all() or len(table) == 0:
        raise ValueError("divergence and score must be finite, with at least one point")
    table["chosen"] = table["chosen"].fillna(False).astype(bool) if "chosen" in table else False
    return table[["name", *_COLUMNS, "chosen"]]
