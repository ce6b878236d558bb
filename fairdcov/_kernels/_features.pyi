"""Written by .ci/kernel_stubs.py from the Cython source."""

import numpy as np
from numpy.typing import NDArray

def signed_sums(
    u: NDArray[np.float64],
    order: NDArray[np.int64],
    values: NDArray[np.float64],
    running: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None: ...
def sweep(
    u: NDArray[np.float64],
    order: NDArray[np.int64],
    codes: NDArray[np.int32],
    weights: NDArray[np.float64],
    features: NDArray[np.float64],
    running: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None: ...
