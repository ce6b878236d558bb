"""How hard a measure can pull at each prediction: what a learner needs to know to take steps of the right length."""

import numpy as np

from fairdcov import _kernels
from fairdcov._checks import row_probabilities
from fairdcov.dependence._binding import FEW_PROFILES, bind_dependence
from fairdcov.encoding import SensitiveBlocks

__all__ = ["local_density", "pull_bounds"]

# Rows that stand for all where the profiles are too many for their matrix.
_PART = 512
# The window that a density is measured in has about 3 % of the weight: this share of it on either side. A little more,
# so that rounding does not decide about a row right at its end.
_HALF_WINDOW = (1 + 1e-9) / 64
# Of the range of the predictions: a window is no narrower, however close the predictions in it are.
_LEAST_WINDOW = 1e-3


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
    least = _LEAST_WINDOW * (u[order[-1]] - u[order[0]])
    return _kernels.window_density(u, probabilities, _HALF_WINDOW, least=least, order=order)


def pull_bounds(blocks, measure, *, statistic="v", sample_weight=None, random_state=0, **options):
    """``sum_j |M_ij|`` for every row: no component of the gradient is more than twice that.

    Parameters
    ----------
    blocks : SensitiveBlocks
        Protected attributes.
    measure : {"dcov", "jdcov", "ccdcov"}
        What is measured.
    statistic : {"u", "v"}, default="v"
        U- or V-statistic.
    sample_weight : (n,) array, optional
        Row weights of the V-statistic.
    random_state : int, default=0
        Seed of the part of the rows that is looked at where there are more than 512 profiles.
    **options
        Options of the measure, see :func:`bind_dependence`.

    Returns
    -------
    (n,) array
        Exact for up to 512 profiles; else the row weight times the mean over 512 rows, drawn by weight.

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov.encoding._blocks import SensitiveBlocks
    >>> from fairdcov.dependence import pull_bounds
    >>> blocks = SensitiveBlocks.from_arrays([np.array([[0.0], [0.0], [1.0], [1.0]])])
    >>> pull_bounds(blocks, "ccdcov")
    array([0.125, 0.125, 0.125, 0.125])
    """
    n = blocks.n_samples
    probabilities = np.full(n, 1.0 / n) if sample_weight is None else row_probabilities(sample_weight)
    if blocks.n_profiles > FEW_PROFILES:
        rows = np.random.default_rng(random_state).choice(n, _PART, p=probabilities)
        codes, first = np.unique(blocks.codes[rows], return_inverse=True)
        part = SensitiveBlocks(first.astype(np.int32), tuple(points[codes] for points in blocks.points), blocks.names)
        form = bind_dependence(part, measure, statistic=statistic, method="profiles", **options)
        return probabilities * form.absolute_row_sums().sum()
    form = bind_dependence(
        blocks, measure, statistic=statistic, sample_weight=sample_weight, method="profiles", **options
    )
    return form.absolute_row_sums()
