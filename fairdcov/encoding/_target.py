"""Strata of the observed values, by which measures given them are measures of separation."""

from __future__ import annotations

import numbers
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fairdcov._checks import Bins, check_choice, check_finite_vector, check_sample_weight
from fairdcov.encoding._factors import read_frame
from fairdcov.encoding._groups import DEFAULT_GROUPS, MAX_NUMERIC_LEVELS, bin_edges, cut, interval_labels, level_text

__all__ = ["target_strata", "with_target"]

# Name of the strata among the control features.
_NAME = "target"
# Counts are 0, 1 and more where at least this share of the weight has at most 1.
_FEW = 0.5
# Products of rates and exposures are whole numbers up to this.
_WHOLE = 1e-6


def target_strata(y_true: ArrayLike, sample_weight: ArrayLike | None = None, *, bins: Bins = DEFAULT_GROUPS) -> Any:
    """Strata of the observed values: what is measured, or penalised, within them is separation.

    Separation, or equalised odds, is independence of predictions and protected attributes *given* what was observed:
    equal prices for equal claims. What takes ``given="target"`` makes these strata of its own ``y_true``; pass them as
    ``control_features`` to what does not, such as ``fit``.

    Parameters
    ----------
    y_true : (n,) array or Series
        Observed values, per unit of ``sample_weight``.
    sample_weight : (n,) array, optional
        Exposure. Rows of weight 0 have no part in finding the strata.
    bins : int, list of edges or None, default=5
        Quantile groups of equal weight of values that are no counts, edges of the strata, or None for a stratum of each
        value.

    Returns
    -------
    Series of categories, (n,)
        Named ``"target"``, with the index of ``y_true``. Where ``y_true * sample_weight`` are whole numbers, of which
        at least half of the weight has 0 or 1, the claim counts ``0``, ``1`` and ``2+``. Otherwise each value where
        there are at most 20, and else a stratum of the zeros, if there are some and nothing is below, and quantile
        groups of the rest.

    Raises
    ------
    ValueError
        For values that are not finite, weights of another length, and edges that leave values out.

    See Also
    --------
    fairdcov.metrics.ccdcov : Takes ``given="target"``, as do the other metrics of dependence and of groups.
    fairdcov.metrics.sufficiency_gap : The converse: equal claims at equal prices.

    References
    ----------
    M. Hardt, E. Price, N. Srebro (2016), Equality of opportunity in supervised learning, NeurIPS. J. Mary,
    C. Calauzenes, N. El Karoui (2019), Fairness-aware learning for continuous attributes and treatments, ICML.

    Examples
    --------
    Claims per year, and years:

    >>> from fairdcov.metrics import target_strata
    >>> target_strata([0.0, 2.0, 4.0, 6.0, 0.0], sample_weight=[1.0, 0.5, 0.5, 0.5, 1.0]).tolist()
    ['0', '1', '2+', '2+', '0']
    """
    values = check_finite_vector(y_true, "y_true")
    weights = np.ones(len(values))
    if sample_weight is not None:
        weights = check_sample_weight(sample_weight, len(values), reference="y_true")
    codes, levels = _strata(values, weights, bins)
    index = y_true.index if isinstance(y_true, pd.Series | pd.DataFrame) else None
    return pd.Series(pd.Categorical.from_codes(codes, levels, ordered=True), index=index, name=_NAME)


def _strata(values, weights, bins):
    """Stratum of each row, and the names of the strata."""
    counted = weights > 0
    if not isinstance(bins, numbers.Integral) or isinstance(bins, bool):
        if bins is None:
            return _each(values)
        edges = bin_edges(values, bins, _NAME, weights)
        return cut(values, edges), _texts(interval_labels(edges))
    counts = values * weights
    whole = np.abs(counts - np.rint(counts)) <= _WHOLE * np.maximum(1.0, np.abs(counts))
    few = counts < 1.5
    if (whole & (counts > -0.5))[counted].all() and weights[few].sum() >= _FEW * weights.sum():
        return np.clip(np.rint(counts), 0, 2).astype(np.int64), ["0", "1", "2+"]
    if len(np.unique(values[counted])) <= MAX_NUMERIC_LEVELS:
        return _each(values)
    # Most policies have no claim: quantiles of all would not tell the others apart.
    apart = (values == 0) & (values[counted].min() == 0)
    rest = ~apart
    edges = bin_edges(values[rest], bins, _NAME, weights[rest])
    codes = np.where(apart, 0, cut(values, edges) + int(apart.any()))
    return codes, (["0"] if apart.any() else []) + _texts(interval_labels(edges))


def _each(values):
    levels, codes = np.unique(values, return_inverse=True)
    return codes, _texts(levels)


def _texts(levels):
    texts = [level_text(level) for level in levels]
    # Where six digits do not tell them apart, all digits do.
    return texts if len(set(texts)) == len(texts) else [level_text(level, digits=17) for level in levels]


def with_target(given, control_features, control_bins, y_true, sample_weight=None, *, argument="control_features"):
    """Control features, and their bins, with the strata of the observed values among them if these are ``given``.

    Parameters
    ----------
    given : {None, "target"}
        As a user has passed it.
    control_features : DataFrame, Series, array, list or None, (n,) or (n, d)
        What else is conditioned on.
    control_bins : int or dict
        How numbers are cut; ``"target"`` of a dict is :func:`target_strata`'s ``bins``.
    y_true, sample_weight : (n,) arrays or None
        Observed values and weights.
    argument : str
        Name of ``control_features``, for errors.

    Returns
    -------
    control_features, control_bins
        What came in without ``given``.
    """
    if given is None:
        return control_features, control_bins
    check_choice(given, "given", (_NAME,))
    if y_true is None:
        raise ValueError(
            "given='target' needs y_true, the observed values, in whose strata predictions are compared; found None"
        )
    bins, rest = control_bins, control_bins
    if isinstance(control_bins, dict):
        bins = control_bins.get(_NAME, DEFAULT_GROUPS)
        rest = {name: value for name, value in control_bins.items() if name != _NAME}
    elif not isinstance(control_bins, numbers.Integral):
        bins = DEFAULT_GROUPS  # what is wrong with them is said where the other control features are cut
    strata = target_strata(y_true, sample_weight, bins=bins)
    if control_features is None:
        return strata, rest
    frame = read_frame(control_features, argument, len(strata))
    if _NAME in frame.columns:
        raise ValueError(
            f"{argument} has a column {_NAME!r}, which is what given='target' calls the strata of y_true: rename "
            "it, or leave out one of the two"
        )
    native = frame.to_native()
    if isinstance(native, pd.DataFrame):
        return native.assign(**{_NAME: strata.array}), rest
    column = nw.new_series(_NAME, strata.astype(str).tolist(), backend=frame.implementation)
    return frame.with_columns(column).to_native(), rest
