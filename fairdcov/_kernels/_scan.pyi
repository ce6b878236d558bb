"""Written by .ci/kernel_stubs.py from the Cython source."""

import numpy as np
from numpy.typing import NDArray

def signed_weights(
    u: NDArray[np.float64],
    order: NDArray[np.int64],
    weights: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None: ...
def window_density(
    u: NDArray[np.float64],
    order: NDArray[np.int64],
    weights: NDArray[np.float64],
    half: float,
    least: float,
    values: NDArray[np.float64],
    upto: NDArray[np.float64],
    middle: NDArray[np.float64],
    ends: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None: ...
