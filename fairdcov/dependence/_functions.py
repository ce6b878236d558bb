"""The measures as functions of arrays, for statisticians and for the metrics."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairdcov import _kernels
from fairdcov._checks import (
    FloatArray,
    check_consistent_rows,
    check_finite_matrix,
    check_finite_vector,
    check_sample_weight,
    product_about_mean,
    within_counted,
    without_exponent,
)
from fairdcov.dependence._binding import bind_dependence
from fairdcov.encoding import SensitiveBlocks

__all__ = [
    "concatenated_distance_covariance",
    "distance_covariance",
    "gini_mean_difference",
    "joint_distance_covariance",
]


class _Options(TypedDict, total=False):
    statistic: Literal["u", "v"]
    sample_weight: ArrayLike | None
    method: str
    n_threads: int | None


class _JointOptions(_Options, total=False):
    c: float
    scale_invariant: bool
    rank: bool


def gini_mean_difference(
    u: FloatArray,
    probabilities: FloatArray | None = None,
    *,
    statistic: Literal["v", "u"] = "v",
    order: NDArray[np.int64] | None = None,
    signed_weights: FloatArray | None = None,
) -> tuple[float, FloatArray]:
    """Gini mean difference ``sum_ij p_i p_j |u_i - u_j|`` and its gradient, in O(n log n).

    For ``statistic="u"`` the mean runs over the pairs of different rows.

    Parameters
    ----------
    u : (n,) array
        Predictions.
    probabilities : (n,) array, optional
        Row weights of sum 1, for the V-statistic.
    statistic : {"u", "v"}, default="v"
        Which mean to take.
    order : (n,) integer array, optional
        ``np.argsort(u)`` when it is known already.
    signed_weights : (n,) array, optional
        ``sum_j p_j sign(u_i - u_j)``, or that of ones without ``probabilities``, when it is known already. It is
        overwritten.

    Returns
    -------
    value : float
    gradient : (n,) array

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov.dependence import gini_mean_difference
    >>> gini_mean_difference(np.array([0.0, 1.0]))[0]
    0.5
    """
    n = len(u)
    least = 2 if statistic == "u" else 1
    if n < least:
        raise ValueError(
            f"the Gini mean difference needs at least {least} row(s) for statistic={statistic!r}; found {n}"
        )
    if probabilities is None:
        row_weights, scale = np.ones(n), 1.0 / (n * (n - 1)) if statistic == "u" else 1.0 / n**2
    else:
        row_weights, scale = probabilities, 1.0
    gradient = _kernels.signed_sums(u, row_weights, order=order) if signed_weights is None else signed_weights
    gradient *= row_weights
    gradient *= 2.0 * scale
    return product_about_mean(u, gradient), gradient


def _check_arguments(x: Any, blocks: Any, sample_weight: Any) -> tuple[FloatArray, list[FloatArray], FloatArray | None]:
    x = check_finite_vector(x, "x")
    if not blocks:
        raise ValueError("at least one block of protected attributes is needed besides x; found none")
    matrices = []
    for position, block in enumerate(blocks, start=1):
        matrix = check_finite_matrix(block, f"block {position}")
        check_consistent_rows(len(x), matrix, f"block {position}", reference="x")
        matrices.append(matrix)
    if sample_weight is not None:
        sample_weight = check_sample_weight(sample_weight, len(x), reference="x")
        if not sample_weight.all():
            x = within_counted(x, sample_weight > 0)
    return x, matrices, sample_weight


def _evaluate(
    x: Any, blocks: Any, sample_weight: Any, return_gradient: bool, measure: str, **options: Any
) -> float | tuple[float, FloatArray]:
    """Value of a measure with its constant, or value and gradient."""
    x, matrices, sample_weight = _check_arguments(x, blocks, sample_weight)
    blocks = SensitiveBlocks.from_arrays(matrices)
    form = bind_dependence(
        blocks, measure, sample_weight=sample_weight, approximate=False, parallel_sweep=True, **options
    )
    value, gradient = form.value_gradient(x)
    return _result(value + form.constant, gradient, return_gradient)


def _result(value: Any, gradient: FloatArray, return_gradient: bool) -> float | tuple[float, FloatArray]:
    if not np.isfinite(value):
        raise ValueError(
            f"the measure is beyond the range of floats; found {value}: divide x and the blocks by a number first"
        )
    return (float(value), gradient) if return_gradient else float(value)


@overload
def distance_covariance(
    x: ArrayLike, *blocks: ArrayLike, return_gradient: Literal[True], **options: Unpack[_Options]
) -> tuple[float, FloatArray]: ...
@overload
def distance_covariance(
    x: ArrayLike, *blocks: ArrayLike, return_gradient: Literal[False] = False, **options: Unpack[_Options]
) -> float: ...
def distance_covariance(
    x: ArrayLike,
    *blocks: ArrayLike,
    statistic: Literal["u", "v"] = "u",
    sample_weight: ArrayLike | None = None,
    method: str = "auto",
    return_gradient: bool = False,
    n_threads: int | None = None,
) -> float | tuple[float, FloatArray]:
    """Squared distance covariance of ``x`` with each block, summed over the blocks.

    For one block ``z`` it is ``sum_kl X_kl Z_kl / (n (n - 3))`` with U-centred distance matrices X and Z (diagonal 0),
    or ``sum_kl p_k p_l X_kl Z_kl`` with doubly centred ones for the V-statistic. Zero in the population if and only
    if ``x`` and the block are independent; the sum is blind to dependence on several blocks jointly. Units: those of
    ``x`` times those of the block.

    Parameters
    ----------
    x : (n,) array
        A variable, for example predictions. The gradient is taken with respect to it.
    *blocks : (n,) or (n, q) arrays
        Numeric protected attributes, at least one; rows are points in Euclidean space. Encode categories first, for
        example with :class:`fairdcov.SensitiveEncoder`.
    statistic : {"u", "v"}, default="u"
        Unbiased U-statistic (may be negative, needs 4 rows) or V-statistic (not negative).
    sample_weight : (n,) array, optional
        Row weights of the V-statistic, such as exposure; whole numbers act as repetition.
    method : {"auto", "profiles", "univariate", "tiles", "approximate", "nodes", "grid"}, default="auto"
        Algorithm; the first four are exact and ``"auto"`` chooses among them: profiles O(n log n + n K) for K distinct
        rows of the blocks, univariate O(n log n), tiles O(n^2) time and O(n) memory. ``"nodes"`` interpolates between
        values of continuous attributes, ``"grid"`` between values of ``x`` (and of attributes where profiles are many)
        and takes O(n): the errors are quadratic in the distances of the nodes.
    return_gradient : bool, default=False
        Return the gradient as well.
    n_threads : int, optional
        Threads; all available for None. The result does not depend on it.

    Returns
    -------
    value : float
        Squared and signed.
    gradient : (n,) array
        Derivative with respect to ``x``, with ``sign(0) = 0`` at ties; only if ``return_gradient``.

    Raises
    ------
    ValueError
        For NaN or infinite values, unequal lengths, fewer than 4 rows with ``"u"``, weights with ``"u"``, and profiles
        that do not fit scikit-learn's ``working_memory`` with ``method="profiles"``.

    References
    ----------
    G. J. Szekely, M. L. Rizzo (2014), Partial distance correlation with methods for dissimilarities, Annals of
    Statistics 42(6). X. Huo, G. J. Szekely (2016), Fast computing for distance covariance, Technometrics 58(4).

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov import distance_covariance
    >>> x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    >>> value, gradient = distance_covariance(x, x**2, return_gradient=True)
    >>> round(value, 6)
    4.266667
    >>> gradient.shape
    (5,)
    """
    return _evaluate(
        x, blocks, sample_weight, return_gradient, "dcov", statistic=statistic, method=method, n_threads=n_threads
    )


@overload
def concatenated_distance_covariance(
    x: ArrayLike, *blocks: ArrayLike, return_gradient: Literal[True], **options: Unpack[_Options]
) -> tuple[float, FloatArray]: ...
@overload
def concatenated_distance_covariance(
    x: ArrayLike, *blocks: ArrayLike, return_gradient: Literal[False] = False, **options: Unpack[_Options]
) -> float: ...
def concatenated_distance_covariance(
    x: ArrayLike,
    *blocks: ArrayLike,
    statistic: Literal["u", "v"] = "u",
    sample_weight: ArrayLike | None = None,
    method: str = "auto",
    return_gradient: bool = False,
    n_threads: int | None = None,
) -> float | tuple[float, FloatArray]:
    """Squared concatenated distance covariance: of ``x`` with all columns of all blocks as one vector.

    ``CCdCov^2(x; s_1 .. s_d) = dCov^2(x, [s_1 | .. | s_d])`` is zero in the population if and only if ``x`` is
    independent of the attributes jointly, intersections included. It is not bounded below by the sum of the
    attribute-wise covariances: the difference may have either sign.

    Parameters
    ----------
    x : (n,) array
        A variable, for example predictions. The gradient is taken with respect to it.
    *blocks : (n,) or (n, q) arrays
        Numeric protected attributes, at least one. Their scales matter: distances are taken over all columns.
    statistic : {"u", "v"}, default="u"
        Unbiased U-statistic (may be negative, needs 4 rows) or V-statistic (not negative).
    sample_weight : (n,) array, optional
        Row weights of the V-statistic, such as exposure; whole numbers act as repetition.
    method : {"auto", "profiles", "univariate", "tiles", "approximate", "nodes", "grid"}, default="auto"
        Algorithm, see :func:`distance_covariance`.
    return_gradient : bool, default=False
        Return the gradient as well.
    n_threads : int, optional
        Threads; all available for None. The result does not depend on it.

    Returns
    -------
    value : float
        Squared and signed, in units of ``x`` times those of the blocks.
    gradient : (n,) array
        Derivative with respect to ``x``; only if ``return_gradient``.

    Raises
    ------
    ValueError
        As :func:`distance_covariance`.

    References
    ----------
    H. M. Lee, K. Antonio, B. Avanzi, L. Marchi, R. Zhou (2025), Machine Learning with Multitype Protected Attributes:
    Intersectional Fairness through Regularisation, arXiv 2509.08163.

    Examples
    --------
    Two fair coins and their exclusive or: no coin alone tells anything about it, both together tell everything.

    >>> import numpy as np
    >>> from fairdcov import concatenated_distance_covariance, distance_covariance
    >>> first, second = np.tile([0, 0, 1, 1], 25), np.tile([0, 1, 0, 1], 25)
    >>> x = np.bitwise_xor(first, second)
    >>> abs(round(distance_covariance(x, first, second, statistic="v"), 12))
    0.0
    >>> round(concatenated_distance_covariance(x, first, second, statistic="v"), 4)
    0.0732
    """
    return _evaluate(
        x, blocks, sample_weight, return_gradient, "ccdcov", statistic=statistic, method=method, n_threads=n_threads
    )


@overload
def joint_distance_covariance(
    x: ArrayLike, *blocks: ArrayLike, return_gradient: Literal[True], **options: Unpack[_JointOptions]
) -> tuple[float, FloatArray]: ...
@overload
def joint_distance_covariance(
    x: ArrayLike, *blocks: ArrayLike, return_gradient: Literal[False] = False, **options: Unpack[_JointOptions]
) -> float: ...
def joint_distance_covariance(
    x: ArrayLike,
    *blocks: ArrayLike,
    c: float = 1.0,
    statistic: Literal["u", "v"] = "u",
    sample_weight: ArrayLike | None = None,
    method: str = "auto",
    return_gradient: bool = False,
    scale_invariant: bool = False,
    rank: bool = False,
    n_threads: int | None = None,
) -> float | tuple[float, FloatArray]:
    """Squared joint distance covariance of ``x`` and the blocks: their mutual dependence of every order.

    ``JdCov^2 = sum_kl prod_i (X^i_kl + c) / (n (n - 3)) - c^p n / (n - 3)`` over the p variables (``x`` and the
    blocks) with U-centred distance matrices X^i in the sign of Chakraborty and Zhang; for the V-statistic
    ``sum_kl p_k p_l prod_i (X^i_kl + c) - c^p``. It contains the dependence among the blocks themselves, which a model
    cannot change: two attributes that depend on each other give a positive value for any ``x``.

    Parameters
    ----------
    x : (n,) array
        A variable, for example predictions. The gradient is taken with respect to it.
    *blocks : (n,) or (n, q) arrays
        Numeric protected attributes, at least one.
    c : float, default=1.0
        At least 0; the larger, the more the pairwise dependences count against those of higher order.
    statistic : {"u", "v"}, default="u"
        U-statistic (needs 4 rows) or V-statistic.
    sample_weight : (n,) array, optional
        Row weights of the V-statistic, such as exposure; whole numbers act as repetition.
    method : {"auto", "profiles", "univariate", "tiles", "approximate", "nodes", "grid"}, default="auto"
        Algorithm, see :func:`distance_covariance`; ``"univariate"`` needs a single block.
    return_gradient : bool, default=False
        Return the gradient as well.
    scale_invariant : bool, default=False
        Divide every centred matrix by its distance standard deviation ``sqrt(dCov^2(x_i, x_i))``, so that the units
        of ``x`` and of the blocks do not matter. A variable whose distance variance is 0 (a constant one, or for the
        U-statistic one with a single row apart from the others) counts as independent, with a gradient of 0.
    rank : bool, default=False
        Replace every column by its empirical distribution function first, so that no increasing transformation of a
        column matters. Excludes ``return_gradient``: ranks are piecewise constant in ``x``.
    n_threads : int, optional
        Threads; all available for None. The result does not depend on it.

    Returns
    -------
    value : float
        Squared and signed, the terms without ``x`` included.
    gradient : (n,) array
        Derivative with respect to ``x``; only if ``return_gradient``.

    Raises
    ------
    ValueError
        As :func:`distance_covariance`, and for ``rank`` with ``return_gradient``.

    References
    ----------
    S. Chakraborty, X. Zhang (2019), Distance metrics for measuring joint dependence with application to causal
    inference, Journal of the American Statistical Association 114(528).

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov import joint_distance_covariance
    >>> first, second = np.tile([0, 0, 1, 1], 25), np.tile([0, 1, 0, 1], 25)
    >>> x = np.bitwise_xor(first, second)
    >>> round(joint_distance_covariance(x, first, second, statistic="v"), 6)
    0.125
    """
    if rank and return_gradient:
        raise ValueError(
            "rank=True with return_gradient=True: a rank statistic is piecewise constant in x, its gradient is zero "
            "wherever it exists; use scale_invariant=True for a measure without units that has a gradient"
        )
    x, matrices, sample_weight = _check_arguments(x, blocks, sample_weight)
    if rank:
        x = _empirical_cdf(x, sample_weight)
        matrices = [
            np.column_stack([_empirical_cdf(column, sample_weight) for column in matrix.T]) for matrix in matrices
        ]
    factored = SensitiveBlocks.from_arrays(matrices)
    options = {"statistic": statistic, "sample_weight": sample_weight, "n_threads": n_threads, "approximate": False}
    form = bind_dependence(factored, "jdcov", c=c, scale_invariant=scale_invariant, method=method, **options)
    if not scale_invariant:
        value, gradient = form.value_gradient(x)
    else:
        x, exponent = without_exponent(x)
        value, gradient = form.value_gradient(x)
        # dCov^2(x, x) moves with both of its arguments, alike: twice the partial derivative.
        own = bind_dependence(SensitiveBlocks.from_arrays([x[:, None]]), "ccdcov", **options)
        variance, half_gradient = own.value_gradient(x)
        if own.norm() > 0:
            deviation = np.sqrt(variance)  # no power beyond the square of the units of x: that could overflow
            gradient = gradient / deviation - (value / variance) * (half_gradient / deviation)
            gradient = np.ldexp(gradient, -exponent)
            value /= deviation
        else:
            value, gradient = 0.0, np.zeros_like(x)
    return _result(value + form.constant, gradient, return_gradient)


def _empirical_cdf(values: FloatArray, sample_weight: FloatArray | None) -> FloatArray:
    """Share of the weight at or below each value."""
    distinct, positions = np.unique(values, return_inverse=True)
    weights = np.bincount(positions, weights=sample_weight, minlength=len(distinct))
    return (np.cumsum(weights) / weights.sum())[positions]
