"""Written by .ci/kernel_stubs.py from the Cython source."""

import numpy as np
from numpy.typing import NDArray

def sweep(
    u: NDArray[np.float64],
    order: NDArray[np.int64],
    ranks: NDArray[np.int32],
    z: NDArray[np.float64],
    weights: NDArray[np.float64],
    distance_sums: NDArray[np.float64],
    tree_memory: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None: ...
