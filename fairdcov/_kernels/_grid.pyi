"""Written by .ci/kernel_stubs.py from the Cython source."""

import numpy as np
from numpy.typing import NDArray

ROWS_OF_BLOCK: int

def extent(
    u: NDArray[np.float64],
    n_threads: int,
    found: NDArray[np.float64],
) -> None: ...
def masses(
    u: NDArray[np.float64],
    offset: float,
    shift: int,
    first_cell: int,
    n_cells: int,
    starts: NDArray[np.int64],
    codes: NDArray[np.int32],
    shares: NDArray[np.float64],
    weights: NDArray[np.float64],
    own: NDArray[np.float64],
    excess: NDArray[np.float64],
    scale: float,
    excess_scale: float,
    tables: NDArray[np.int64],
    own_sums: NDArray[np.float64],
) -> None: ...
def gradient(
    u: NDArray[np.float64],
    offset: float,
    shift: int,
    first_cell: int,
    n_cells: int,
    starts: NDArray[np.int64],
    codes: NDArray[np.int32],
    shares: NDArray[np.float64],
    weights: NDArray[np.float64],
    own: NDArray[np.float64],
    excess: NDArray[np.float64],
    slopes: NDArray[np.float64],
    plain: NDArray[np.float64],
    own_scale: float,
    own_shift: float,
    n_threads: int,
    out: NDArray[np.float64],
) -> None: ...
def cells(
    u: NDArray[np.float64],
    offset: float,
    shift: int,
    first_cell: int,
    n_cells: int,
    found: NDArray[np.int64],
    fractions: NDArray[np.float64],
) -> None: ...
