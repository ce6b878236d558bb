"""Written by .ci/kernel_stubs.py from the Cython source."""

import numpy as np
from numpy.typing import NDArray

PARTS: int
ROWS_OF_BLOCK: int
LARGEST_CODE: int

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
    sorted_codes: NDArray[np.int32],
    sorted_weights: NDArray[np.float64],
    pairs: NDArray[np.float64],
) -> None: ...
def pair_sums(
    u: NDArray[np.float64],
    centre: float,
    pairs: NDArray[np.float64],
    weights: NDArray[np.float64],
    n_threads: int,
    sums: NDArray[np.float64],
) -> None: ...
def combine_pairs(
    pairs: NDArray[np.float64],
    weights: NDArray[np.float64],
    first: float,
    second: float,
    n_threads: int,
    out: NDArray[np.float64],
) -> None: ...
def values(
    u: NDArray[np.float64],
    codes: NDArray[np.int32],
    matrix: NDArray[np.float64],
    below_minus_above: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None: ...
