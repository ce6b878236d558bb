"""Written by .ci/kernel_stubs.py from the Cython source."""

import numpy as np
from numpy.typing import NDArray

def dense_sweep(
    u: NDArray[np.float64],
    order: NDArray[np.int64],
    pairs: NDArray[np.float64],
    total: NDArray[np.float64],
    column: int,
    running: NDArray[np.float64],
    out: NDArray[np.float64],
    signed_column: NDArray[np.float64],
) -> None: ...
def sparse_sweep(
    u: NDArray[np.float64],
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    codes: NDArray[np.int32],
    shares: NDArray[np.float64],
    weights: NDArray[np.float64],
    matrix: NDArray[np.float64],
    balance: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None: ...
