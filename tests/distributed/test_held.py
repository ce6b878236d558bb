"""Arrays that have travelled are where NumPy would have put them."""

import pickle
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from fairdcov._fitting import HalfTweedieLoss, RawObjective
from fairdcov.distributed._held import Held, aligned, run, value_of


def misplaced(values):
    """The same array at an odd address."""
    values = np.asarray(values)
    buffer = np.empty(values.nbytes + 64, dtype=np.uint8)
    start = (-buffer.ctypes.data) % 64 + 7
    found = buffer[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    found[...] = values
    return found


def is_in_place(values):
    return values.ctypes.data % 16 == 0


def test_arrays_at_odd_addresses():
    values = misplaced(np.arange(1000.0).reshape(100, 10))
    assert not is_in_place(values)
    assert is_in_place(aligned(values))
    assert_array_equal(aligned(values), values)
    good = np.arange(10.0)
    assert aligned(good) is good


@pytest.mark.parametrize("wrap", [lambda a: (1, a), lambda a: [a], lambda a: {"a": a}, lambda a: SimpleNamespace(a=a)])
def test_arrays_within_things(wrap):
    found = aligned(wrap(misplaced(np.arange(5.0))))
    arrays = found.values() if isinstance(found, dict) else [found.a] if hasattr(found, "a") else found
    assert all(is_in_place(array) for array in arrays if isinstance(array, np.ndarray))


def test_sparse_matrices_and_frames():
    matrix = sp.csr_array(np.eye(5))
    matrix.data = misplaced(matrix.data)
    assert is_in_place(aligned(matrix).data)
    frame = pd.DataFrame(misplaced(np.ones((8, 3))), columns=list("abc"), copy=False)
    assert is_in_place(aligned(frame).to_numpy())


def test_what_is_held_travels():
    held = run(lambda a, b: a + b, Held(np.arange(3.0)), 1.0)
    buffers = []
    data = pickle.dumps(held, protocol=5, buffer_callback=buffers.append)
    moved = pickle.loads(data, buffers=[misplaced(np.frombuffer(b.raw(), np.uint8)).data for b in buffers])
    assert is_in_place(value_of(moved))
    assert value_of(moved).tolist() == [1.0, 2.0, 3.0]


def test_dask_knows_how_much_is_held():
    sizeof = pytest.importorskip("dask.sizeof").sizeof
    shares = np.ones(10_000)
    rows = RawObjective(HalfTweedieLoss(1.0), np.ones(10_000), shares)
    rows.also = shares
    # Target, shares once, and what the loss keeps of the target.
    assert 240_000 <= sizeof(Held((rows, "beside"))) <= 242_000
    frame = pd.DataFrame({"a": np.zeros(1_000)})
    for value, least in [(np.zeros(500), 4_000), ([np.zeros(500)], 4_000), ({"a": frame}, 8_000), (sp.eye(500), 4_000)]:
        assert least <= sizeof(Held(value)) <= 2 * least + 1_000
