"""The limit on the threads of the BLAS: gone after the block, whatever happened in it and whoever else was in one."""

import multiprocessing
import os
import threading

import pytest

from fairdcov._checks import one_blas_thread
from fairdcov._checks._blas import _libraries, _set_threads


def blas_threads():
    return [library.get_num_threads() for library in _libraries()]


@pytest.fixture(autouse=True)
def two_threads():
    """As on a machine with two cores."""
    before = blas_threads()
    for library in _libraries():
        _set_threads(library, 2)
    if set(blas_threads()) != {2}:
        pytest.skip("this BLAS takes no number of threads")
    yield
    for library, n_threads in zip(_libraries(), before, strict=True):
        _set_threads(library, n_threads)


def test_one_thread_within_and_as_many_as_before_afterwards():
    with one_blas_thread():
        assert set(blas_threads()) == {1}
        with one_blas_thread():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}
    assert set(blas_threads()) == {2}


def test_an_exception_leaves_no_limit():
    with pytest.raises(RuntimeError, match="within"), one_blas_thread():
        raise RuntimeError("within")
    assert set(blas_threads()) == {2}


def test_blocks_that_overlap_in_two_threads():
    """The first to come is the first to leave: what it found must come back with the last one only."""
    inside, leave = threading.Event(), threading.Event()

    def other():
        with one_blas_thread():
            inside.set()
            leave.wait(timeout=60)

    thread = threading.Thread(target=other)
    with one_blas_thread():
        thread.start()
        assert inside.wait(timeout=60)
    assert set(blas_threads()) == {1}
    leave.set()
    thread.join()
    assert set(blas_threads()) == {2}


def test_a_limit_of_somebody_else_is_not_put_back():
    """Another library has limited the BLAS, and is done before we are."""
    for library in _libraries():
        _set_threads(library, 1)
    with one_blas_thread():
        for library in _libraries():
            _set_threads(library, 2)
    assert set(blas_threads()) == {2}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_while_another_thread_is_in_a_block():
    """That block never ends in the child, whose own one has to give the BLAS its threads back."""
    inside, leave = threading.Event(), threading.Event()

    def other():
        with one_blas_thread():
            inside.set()
            leave.wait(timeout=60)

    def child():
        with one_blas_thread():
            within = blas_threads()
        os._exit(0 if set(within) == {1} and set(blas_threads()) == {2} else 1)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(timeout=60)
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(timeout=60)
    leave.set()
    thread.join()
    assert process.exitcode == 0
    assert set(blas_threads()) == {2}
