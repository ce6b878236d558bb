"""Written by .ci/kernel_stubs.py from the Cython source."""

import numpy as np
from numpy.typing import NDArray

STRIPES: int
TILE_COLUMNS: int

def pair_sums(
    points: NDArray[np.float64],
    dims: NDArray[np.intp],
    half: NDArray[np.float64],
    scale: NDArray[np.float64],
    partners: NDArray[np.intp],
    own_sign: float,
    weights: NDArray[np.float64],
    n_threads: int,
    scratch: NDArray[np.float64],
    accumulators: NDArray[np.float64],
) -> None: ...
