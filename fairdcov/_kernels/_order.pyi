"""Written by .ci/kernel_stubs.py from the Cython source."""

import numpy as np
from numpy.typing import NDArray

MOST_ROWS: int
PARTS: int

def cell_order(
    u: NDArray[np.float64],
    packed: NDArray[np.uint64],
    counts: NDArray[np.int64],
    n_threads: int,
) -> int: ...
def bit_order(
    u: NDArray[np.float64],
    keys: NDArray[np.uint64],
    rows: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> int: ...
