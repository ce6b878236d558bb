"""Written by .ci/kernel_stubs.py from the Cython source."""

import numpy as np
from numpy.typing import NDArray

PARTS: int

def times(
    features: NDArray[np.float64],
    vector: NDArray[np.float64],
    constant: float,
    n_threads: int,
    out: NDArray[np.float64],
) -> None: ...
def sums(
    features: NDArray[np.float64],
    factors: NDArray[np.float64],
    n_threads: int,
    partial: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None: ...
