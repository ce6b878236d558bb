"""Written by .ci/kernel_stubs.py from the Cython source."""

import numpy as np
from numpy.typing import NDArray

PARTS: int

def sweep(
    u: NDArray[np.float64],
    order: NDArray[np.int64],
    codes: NDArray[np.int32],
    weights: NDArray[np.float64],
    matrix: NDArray[np.float64],
    n_threads: int,
    ends: NDArray[np.int64],
    balances: NDArray[np.float64],
    products: NDArray[np.float64],
    out: NDArray[np.float64],
    signed_weights: NDArray[np.float64],
) -> None: ...
def values(
    u: NDArray[np.float64],
    codes: NDArray[np.int32],
    matrix: NDArray[np.float64],
    below_minus_above: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None: ...
