"""How dense predictions are: what turns the bounds on the pull of a measure into a curvature."""

import numpy as np

from fairdcov import _kernels

__all__ = ["HALF_WINDOW", "LEAST_DENSITY", "LEAST_WINDOW", "grid_density", "local_density"]

# Of the inverse Gini mean difference: the least density of predictions that a curvature reckons with.
LEAST_DENSITY = 0.02

# The window that a density is measured in has about 3 % of the weight: this share of it on either side. A little more,
# so that rounding does not decide about a row right at its end.
HALF_WINDOW = (1 + 1e-9) / 64
# Of the range of the predictions: a window is no narrower, however close the predictions in it are.
LEAST_WINDOW = 1e-3


def local_density(u, probabilities=None, *, order=None):
    """Density of the predictions at each row, from the width of a window of about 3 % of the weight around it.

    A window counts as no narrower than a thousandth of the range of the predictions, be all its rows tied.

    Parameters
    ----------
    u : (n,) array
        Predictions, not all equal.
    probabilities : (n,) array, optional
        Row weights of sum 1.
    order : (n,) integer array, optional
        ``np.argsort(u)`` when it is known already.

    Returns
    -------
    (n,) array
        In units of 1 / u; positive. Whole-number weights are repetition.

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov.dependence import local_density
    >>> bool(np.allclose(local_density(np.linspace(0, 2, 1001)), 0.5, rtol=0.002))
    True
    """
    n = len(u)
    if order is None:
        order = _kernels.ascending_order(u)
    if probabilities is None:
        probabilities = np.full(n, 1.0 / n)
    least = LEAST_WINDOW * (u[order[-1]] - u[order[0]])
    return _kernels.window_density(u, probabilities, HALF_WINDOW, least=least, order=order)


def grid_density(nodes, weights):
    """Density of the predictions in each cell of a grid, as :func:`local_density` has it for rows, (cells,).

    Parameters
    ----------
    nodes : (cells + 1,) array
        Ascending positions.
    weights : (cells + 1,) array
        Share of the weight at each, of sum 1.
    """
    # The weight of a node stands half on either side of it, and the share of the weight runs linearly in between.
    upto = np.concatenate([[0.0], np.cumsum(weights)[:-1]]) + 0.5 * weights
    middle = 0.5 * (upto[:-1] + upto[1:])
    positions = np.arange(len(nodes), dtype=np.float64)
    first = np.interp(middle - HALF_WINDOW, upto, positions)
    last = np.interp(middle + HALF_WINDOW, upto, positions)
    # A window reaches to whole cells at least: its own.
    own = np.arange(len(nodes) - 1, dtype=np.float64)
    first, last = np.minimum(first, own), np.maximum(last, own + 1.0)
    width = np.interp(last, positions, nodes) - np.interp(first, positions, nodes)
    found = np.interp(last, positions, upto) - np.interp(first, positions, upto)
    return found / np.maximum(width, LEAST_WINDOW * (nodes[-1] - nodes[0]))
