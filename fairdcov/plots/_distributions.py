"""Distribution of the predictions in each group, before and after a penalty."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import is_classifier

from fairdcov._checks import Bins, Estimator, GroupWeights, Options, RandomState, Table
from fairdcov.encoding import Attributes, SensitiveFeaturesWarning, level_text
from fairdcov.metrics import densities_of_groups, group_predictions, js_divergence, null_distribution, predictions_of
from fairdcov.plots._style import (
    axes_to_draw_on,
    group_label,
    light_grid,
    merge_style,
    plain_number,
    require_matplotlib,
    series_style,
    show_legend,
)

__all__ = ["GroupDistributionDisplay", "GroupDistributions"]

# All groups are drawn in colour up to the first number; of more, the second number are.
_ALL_UP_TO = 6
_OF_MORE = 4
_MOST = 12
# Mean of the largest absolute value of a Brownian bridge, sqrt(pi / 2) log 2: what chance makes of the distance from a
# distribution function at n rows is this divided by sqrt(n).
_CHANCE = 0.8687


@dataclass(frozen=True, eq=False)
class GroupDistributions:
    """Densities and distribution functions of one model's predictions by group.

    Attributes
    ----------
    grid : (G,) array
        Predictions from the smallest to the largest.
    densities, cdfs : (K, G) arrays
        Kernel density, and weighted share of rows with a prediction of at most the grid's, in each group.
    pooled_density, pooled_cdf : (G,) arrays
        Mixture of the groups by their shares.
    means : (K,) array
        Weighted mean prediction of each group.
    shares : (K,) array
        Weight of each group, of sum 1.
    distances : (K,) array
        Largest difference between the group's distribution function and the pooled one (Kolmogorov-Smirnov), less the
        one expected by chance in a group of that many (effective) rows, so that small groups do not come first.
    divergence : float
        Jensen-Shannon divergence, in bits.
    null_level : float or None
        Upper quantile of the divergence under permuted groups.
    """

    grid: np.ndarray
    densities: np.ndarray
    cdfs: np.ndarray
    pooled_density: np.ndarray
    pooled_cdf: np.ndarray
    means: np.ndarray
    shares: np.ndarray
    distances: np.ndarray
    divergence: float
    null_level: float | None = None


def _distribution_functions(sample, grid):
    """Weighted share of each group's rows at or below each point, (K, G)."""
    cells = sample.codes * len(grid) + np.minimum(np.searchsorted(grid, sample.predictions), len(grid) - 1)
    masses = np.bincount(cells, weights=sample.weights, minlength=sample.n_groups * len(grid))
    cdfs = np.cumsum(masses.reshape(sample.n_groups, len(grid)), axis=1)
    return cdfs / cdfs[:, -1:]


def _excess_distances(sample, cdfs, pooled):
    """Distance of each group from all rows, less what chance alone makes of it."""
    effective_n = sample.totals(sample.weights) ** 2 / sample.totals(sample.weights**2)
    return np.abs(cdfs - pooled).max(axis=1) - _CHANCE / np.sqrt(effective_n)


def _describe(predictions, arguments, options, null):
    sample = group_predictions(None, predictions, compare=False, **arguments)
    densities = densities_of_groups(sample, **options)
    cdfs = _distribution_functions(sample, densities.grid)
    pooled = densities.shares @ cdfs
    level = None
    if null["n_permutations"]:
        distribution = null_distribution(
            js_divergence,
            None,
            predictions,
            n_permutations=null["n_permutations"],
            random_state=null["random_state"],
            **arguments,
            **options,
        )
        level = distribution.quantile(null["null_quantile"])
    return GroupDistributions(
        grid=densities.grid,
        densities=densities.densities,
        cdfs=cdfs,
        pooled_density=densities.shares @ densities.densities,
        pooled_cdf=pooled,
        means=sample.group_means(),
        shares=densities.shares,
        distances=_excess_distances(sample, cdfs, pooled),
        divergence=densities.divergence,
        null_level=level,
    )


class GroupDistributionDisplay:
    """Density and distribution function of the predictions in each group, side by side for before and after.

    The groups farthest from all rows are drawn in colour, with line styles of their own, and named in the legend; the
    others are thin grey lines. Both columns have the same axes and highlight the same groups, chosen by the first
    column. Make one with :meth:`from_predictions` or :meth:`from_estimator`.

    Parameters
    ----------
    distributions : dict of str to GroupDistributions
        Title of each column, and what it shows; the same groups in each.
    labels : list of K tuples
        Level of each group in each attribute.
    names : list of str
        Names of the attributes.
    groups_shown : (k,) array of int
        Groups drawn in colour.
    prediction_name : str, default="prediction"
        Label of the horizontal axis.
    null_quantile : float, default=0.95
        Which quantile the null levels are, for the titles.

    Attributes
    ----------
    axes_ : (2, columns) array of Axes
        Densities above, distribution functions below.
    figure_ : Figure
        Figure of the axes.
    density_lines_, cdf_lines_ : dict of str to list of Line2D
        For each title the lines of the K groups.
    pooled_lines_ : list of Line2D
        Densities and distribution functions of all rows.
    legend_ : Legend or None
        Legend, outside the data.

    See Also
    --------
    fairdcov.metrics.group_densities : The densities.

    Examples
    --------
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> from fairdcov.plots import GroupDistributionDisplay
    >>> book = make_motor_portfolio(2_000, random_state=0)
    >>> display = GroupDistributionDisplay.from_predictions(
    ...     book.fair_rate,
    ...     baseline=book.true_rate,
    ...     sensitive_features=book.sensitive_features[["gender", "region"]],
    ...     sample_weight=book.exposure,
    ... )
    >>> list(display.distributions), display.axes_.shape, len(display.labels)
    (['before', 'after'], (2, 2), 12)
    """

    def __init__(
        self,
        *,
        distributions: Mapping[str, GroupDistributions],
        labels: Any,
        names: Sequence[str],
        groups_shown: Any,
        prediction_name: str = "prediction",
        null_quantile: float = 0.95,
    ) -> None:
        self.distributions = distributions
        self.labels = labels
        self.names = names
        self.groups_shown = groups_shown
        self.prediction_name = prediction_name
        self.null_quantile = null_quantile

    @classmethod
    def from_predictions(
        cls,
        y_pred: ArrayLike,
        *,
        sensitive_features: Table,
        baseline: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        bins: Bins | None = None,
        min_group_size: int = 1,
        bandwidth: float | Literal["silverman", "scott"] = "silverman",
        group_weights: GroupWeights = "proportion",
        groups_shown: Any = None,
        n_permutations: int = 50,
        null_quantile: float = 0.95,
        random_state: RandomState = 0,
        titles: tuple[str, str] = ("before", "after"),
        prediction_name: str = "prediction",
        ax: Any = None,
        **kwargs: Any,
    ) -> GroupDistributionDisplay:
        """Distributions of predictions by group.

        Parameters
        ----------
        y_pred : (n,) array
            Predictions, not all equal.
        sensitive_features : DataFrame, Series, array or list, (n,) or (n, d)
            Protected attributes; several columns are crossed into intersectional groups. Numbers with more than 20
            distinct values need ``bins``.
        baseline : (n,) array, optional
            Predictions of the unpenalised model for the same rows, shown beside.
        sample_weight : (n,) array, optional
            Row weights such as exposure, in densities and distribution functions.
        bins, min_group_size, bandwidth, group_weights
            As in :func:`fairdcov.metrics.js_divergence`.
        groups_shown : int or list, optional
            How many groups are drawn in colour: the farthest from all rows (in ``baseline`` if given), at most 12. Or a
            list of groups, each a tuple of levels or a name as in the legend. All of up to 6 groups and 4 of more by
            default.
        n_permutations : int, default=50
            Permutations of the groups for the null level in the titles; 0 for none.
        null_quantile : float, default=0.95
            Quantile of the divergence under permuted groups that is the null level.
        random_state : int, RandomState or None, default=0
            Seed of the permutations.
        titles : (str, str), default=("before", "after")
            Titles of the columns; without ``baseline`` there is one column and no such title.
        prediction_name : str, default="prediction"
            Label of the horizontal axis.
        ax : Axes, array of Axes or None, default=None
            See :meth:`plot`.
        **kwargs
            Options of :meth:`plot`.

        Returns
        -------
        GroupDistributionDisplay

        Raises
        ------
        ValueError
            For a single group, a constant prediction, numeric attributes without ``bins``, and groups to show that are
            not there.

        Warns
        -----
        SensitiveFeaturesWarning
            For groups below ``min_group_size``.
        """
        require_matplotlib("GroupDistributionDisplay.from_predictions")
        grouping = {"bins": bins, "min_group_size": min_group_size}
        options = {"bandwidth": bandwidth, "group_weights": group_weights}
        null = {"n_permutations": n_permutations, "null_quantile": null_quantile, "random_state": random_state}
        if sensitive_features is not None:
            sensitive_features = Attributes.read(sensitive_features)
        sample = group_predictions(None, y_pred, sensitive_features, sample_weight, compare=False, **grouping)
        if sample.n_groups < 2:
            raise ValueError(
                f"sensitive_features has a single group, {group_label(sample.labels[0])}"
                f"{f' (of at least {min_group_size} rows)' if sample.omitted else ''}: there is nothing to compare"
            )
        columns = {"": y_pred} if baseline is None else dict(zip(titles, (baseline, y_pred), strict=True))
        if baseline is not None and len(columns) < 2:
            raise ValueError(f"titles must differ; found {titles!r}")
        arguments = {"sensitive_features": sensitive_features, "sample_weight": sample_weight} | grouping
        distributions = {}
        for title, predictions in columns.items():
            with warnings.catch_warnings():
                # Said above, for the same groups.
                warnings.simplefilter("ignore", SensitiveFeaturesWarning)
                distributions[title] = _describe(predictions, arguments, options, null)
        shown = _groups_to_show(groups_shown, sample.labels, next(iter(distributions.values())))
        display = cls(
            distributions=distributions,
            labels=sample.labels,
            names=sample.names,
            groups_shown=shown,
            prediction_name=prediction_name,
            null_quantile=null_quantile,
        )
        return display.plot(ax, **kwargs)

    @classmethod
    def from_estimator(
        cls, estimator: Estimator, X: Table, *, sensitive_features: Table, baseline: Estimator = None, **kwargs: Any
    ) -> GroupDistributionDisplay:
        """Distributions of the predictions of a fitted model by group.

        Parameters
        ----------
        estimator : estimator
            Fitted regressor, or classifier with two classes: then the probability of the second class is shown.
        X : array or DataFrame, (n, p)
            Features.
        sensitive_features : DataFrame, Series, array or list, (n,) or (n, d)
            Protected attributes.
        baseline : estimator, optional
            Fitted without penalty, shown beside.
        **kwargs
            Options of :meth:`from_predictions` and :meth:`plot`.

        Returns
        -------
        GroupDistributionDisplay

        Examples
        --------
        >>> from sklearn.linear_model import PoissonRegressor
        >>> from fairdcov.datasets import make_motor_portfolio
        >>> from fairdcov.plots import GroupDistributionDisplay
        >>> book = make_motor_portfolio(2_000, random_state=0)
        >>> X = book.data[["mileage", "vehicle_power"]]
        >>> model = PoissonRegressor().fit(X, book.target)
        >>> display = GroupDistributionDisplay.from_estimator(
        ...     model, X, sensitive_features=book.sensitive_features, bins={"age": [18, 30, 120]}, groups_shown=3
        ... )
        >>> len(display.labels), len(display.groups_shown)
        (24, 3)
        """
        require_matplotlib("GroupDistributionDisplay.from_estimator")
        predictions = predictions_of(estimator, X)
        before = None if baseline is None else predictions_of(baseline, X)
        kwargs = {"prediction_name": "predicted probability" if is_classifier(estimator) else "prediction"} | kwargs
        return cls.from_predictions(predictions, sensitive_features=sensitive_features, baseline=before, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        legend: bool = True,
        tail: float = 0.01,
        background_kw: Options | None = None,
        pooled_kw: Options | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw densities above distribution functions, one column for each model.

        Parameters
        ----------
        ax : Axes, array of Axes or None, default=None
            One Axes is divided; an array must have two axes for each column, in rows; None makes a figure. The legend
            is beside the axes: a figure of your own needs ``layout="constrained"`` to leave room for it.
        legend : bool, default=True
            Whether to show a legend.
        tail : float, default=0.01
            Share of the rows that may lie beyond the axis on either side: tails are long, and squeeze the rest.
        background_kw, pooled_kw : dict, optional
            Options of the lines of the other groups, and of all rows.
        **kwargs
            Options of the coloured lines.

        Returns
        -------
        self
        """
        if not 0 <= tail < 0.5:
            raise ValueError(f"tail must be a share from 0 to below 0.5; found {tail!r}")
        columns = len(self.distributions)
        self.figure_, self.axes_, own = axes_to_draw_on(
            ax, (2, columns), (3.2 + 3.9 * columns, 6.5), "GroupDistributionDisplay.plot"
        )
        self.density_lines_: dict[Any, Any] = {}
        self.cdf_lines_: dict[Any, Any] = {}
        self.pooled_lines_: list[Any] = []
        for column, (title, part) in enumerate(self.distributions.items()):
            self._draw_groups(column, title, part, background_kw, kwargs)
            self._draw_pooled(column, part, pooled_kw)
            self.axes_[0, column].set_title(self._title(title, part), fontsize="medium")
        self._share_axes(tail)
        self.legend_ = None
        if legend:
            title = " × ".join(self.names)
            self.legend_ = show_legend(self.figure_, self.axes_, own, self._handles(), title=title)
        return self

    def _title(self, title, part):
        measured = f"JSD {plain_number(part.divergence)} bits"
        if part.null_level is not None:
            measured += f"\nnull level {plain_number(part.null_level)}"
        return f"{title}\n{measured}" if title else measured

    def _draw_groups(self, column, title, part, background_kw, kwargs):
        rank = {group: position for position, group in enumerate(self.groups_shown)}
        self.density_lines_[title], self.cdf_lines_[title] = [], []
        density, cdf = self.axes_[:, column]
        for group, levels in enumerate(self.labels):
            if group in rank:
                series = series_style(rank[group])
                style = {"color": series["color"], "linestyle": series["linestyle"], "linewidth": 2.0, "zorder": 3}
                style = merge_style(style | {"label": group_label(levels)}, kwargs)
            else:
                style = {"color": "0.72", "linewidth": 0.8, "zorder": 1, "label": "other groups"}
                style = merge_style(style, background_kw)
            self.density_lines_[title] += density.plot(part.grid, part.densities[group], **style)
            self.cdf_lines_[title] += cdf.plot(part.grid, part.cdfs[group], **style)

    def _draw_pooled(self, column, part, pooled_kw):
        style = {"color": "black", "linewidth": 1.3, "zorder": 2, "label": "all rows"}
        style = merge_style(style, pooled_kw)
        for panel, values in zip(self.axes_[:, column], (part.pooled_density, part.pooled_cdf), strict=True):
            self.pooled_lines_ += panel.plot(part.grid, values, **style)

    def _share_axes(self, tail):
        parts = list(self.distributions.values())
        # The last value is 1 up to rounding.
        low = min(part.grid[np.searchsorted(part.pooled_cdf[:-1], tail)] for part in parts)
        high = max(part.grid[np.searchsorted(part.pooled_cdf[:-1], 1 - tail)] for part in parts)
        room = 0.03 * (high - low)
        highest = 1.05 * max(part.densities.max() for part in parts)
        for panel in self.axes_.flat:
            panel.set_xlim(low - room, high + room)
            light_grid(panel)
        for panel in self.axes_[0]:
            panel.set_ylim(0.0, highest)
            panel.tick_params(labelbottom=False)
        for panel in self.axes_[1]:
            panel.set_ylim(-0.02, 1.02)
            panel.set_xlabel(self.prediction_name)
        for panel in self.axes_[:, 1:].flat:
            panel.tick_params(labelleft=False)
        self.axes_[0, 0].set_ylabel("density")
        self.axes_[1, 0].set_ylabel("cumulative share")

    def _handles(self):
        lines = next(iter(self.density_lines_.values()))
        shown = [lines[group] for group in self.groups_shown]
        others = [line for line in lines if line not in shown]
        if others:
            others[0].set_label(f"{len(others)} other group{'s' if len(others) > 1 else ''}")
        return shown + self.pooled_lines_[:1] + others[:1]


def _groups_to_show(wanted, labels, part):
    """Groups in the order of their mean prediction."""
    n_groups = len(labels)
    if wanted is None:
        wanted = n_groups if n_groups <= _ALL_UP_TO else _OF_MORE
    if isinstance(wanted, numbers.Integral) and not isinstance(wanted, bool):
        if not 0 <= wanted <= _MOST:
            raise ValueError(f"groups_shown must be from 0 to {_MOST}; found {wanted}")
        chosen = np.argsort(-part.distances, kind="stable")[:wanted]
    else:
        names = [group_label(label) for label in labels]
        # As tables write them, with bins such as "[18, 25)".
        in_tables = [" × ".join(map(level_text, label)) for label in labels]
        chosen = []
        for group in wanted:
            found = next((known for known in (labels, names, in_tables) if group in known), None)
            if found is None:
                raise ValueError(f"groups_shown names {group!r}; the groups are {names}")
            chosen.append(found.index(group))
        chosen = np.unique(np.array(chosen, dtype=np.int64))
    return chosen[np.argsort(part.means[chosen], kind="stable")]
