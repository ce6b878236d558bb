"""Values near the ends of the range of floats, brought to its middle by powers of two, which round nothing.

Every measure is homogeneous in the predictions and in the coordinates of the attributes, but squares of distances leave
the range from about 1e154 and below 1e-162, sums from 1e308.
"""

import math
import sys

import numpy as np
from numpy.typing import NDArray

from fairdcov._checks._types import FloatArray

__all__ = [
    "is_constant",
    "product_about_mean",
    "row_probabilities",
    "within_counted",
    "within_range",
    "without_exponent",
]

# Fourth powers (squares of squared distances) of anything between these and their sums are ordinary numbers.
_SMALL, _LARGE = 2.0**-200, 2.0**200


def is_constant(values: FloatArray) -> bool:
    """Whether all values are equal up to rounding, so that nothing can differ between groups.

    Spreads of some units in the last place come from the arithmetic of the model; a scale-free measure would blow
    them up to full size.
    """
    low, high = float(values.min()), float(values.max())
    return high - low <= 64 * sys.float_info.epsilon * max(abs(low), abs(high))


def _power_of_two(largest: float) -> int:
    """Exponent of the power of two to divide by where the largest of some numbers is this; 0 where there is no need."""
    return 0 if largest == 0 or _SMALL < largest < _LARGE else math.frexp(largest)[1] - 1


def without_exponent(values: FloatArray) -> tuple[FloatArray, int]:
    """Values divided by ``2 ** exponent``, the same array where there is no need; that exponent."""
    exponent = _power_of_two(max(-float(values.min(initial=0.0)), float(values.max(initial=0.0))))
    return (np.ldexp(values, -exponent) if exponent else values), exponent


def within_counted(values: FloatArray, counted: NDArray[np.bool_]) -> FloatArray:
    """Values with those not in the mask ``counted`` brought within the range of the others."""
    kept = values[counted]
    return np.clip(values, kept.min(), kept.max())


def product_about_mean(u: FloatArray, gradient: FloatArray) -> float:
    """``u . gradient`` for a gradient of sum 0, about a mean of ``u`` to lose no digits.

    Rows without gradient, such as those of no weight, have no part in the mean: one far off would cost all digits of
    the others. The sum of ``u`` may be beyond the range of floats. It is no product of the BLAS, whose threads would be
    in the way of the kernels' (:func:`fairdcov._checks.one_blas_thread`).
    """
    if not gradient.all():
        moves = gradient != 0
        if not moves.any():
            return 0.0
        u, gradient = u[moves], gradient[moves]
    u, exponent = without_exponent(u)
    with np.errstate(over="ignore"):
        return float(np.ldexp(np.einsum("i,i->", u - u.mean(), gradient), exponent))


def within_range(*blocks: FloatArray) -> tuple[tuple[FloatArray, ...], int]:
    """Points (K, q) of which only distances matter, about their centre and divided by ``2 ** exponent``; the exponent.

    All blocks by the same power of two. They are the same arrays, and the exponent 0, where there is no need.
    """
    ends = [(points.min(axis=0, initial=np.inf), points.max(axis=0, initial=-np.inf)) for points in blocks]
    with np.errstate(over="ignore"):
        largest = max(float((high - low).max(initial=0.0)) for low, high in ends)
    exponent = _power_of_two(min(largest, sys.float_info.max))
    if exponent:
        centres = [low / 2 + high / 2 for low, high in ends]
        blocks = tuple(np.ldexp(points - centre, -exponent) for points, centre in zip(blocks, centres, strict=True))
    return blocks, exponent


def row_probabilities(weights: FloatArray) -> FloatArray:
    """Row weights divided by their sum, be that beyond the range of floats."""
    weights, _ = without_exponent(weights)
    return weights / weights.sum()
