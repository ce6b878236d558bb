"""The threads of the BLAS, which must not be in the way of those of the kernels."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["one_blas_thread"]

_lock = threading.Lock()
# The thread of each block that is open, and
_inside: list[int] = []
# the libraries that were brought down to one thread for them, with the number that they had.
_lowered: list[tuple[Any, int]] = []


def _forget_other_threads() -> None:
    """Of a process that was forked: their blocks never end here, and one of them may have held the lock.

    The libraries stay at one thread until the next block ends.
    """
    global _lock
    _lock = threading.Lock()
    _inside[:] = [thread for thread in _inside if thread == threading.get_ident()]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)


@cache
def _libraries() -> list[Any]:
    """Those of the BLAS that are loaded by now, looking for which takes milliseconds.

    Where the BLAS is built with OpenMP its threads are those of the kernels, and the limit that of a thread.
    """
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    return [library for library in libraries if getattr(library, "threading_layer", None) != "openmp"]


def _set_threads(library: Any, n_threads: int) -> None:
    library.set_num_threads(n_threads)
    # From 3.8 on threadpoolctl lets no other thread change the number until the one that did says that it is done.
    clear = getattr(library, "clear_controlling_thread", None)
    if clear is not None:
        clear()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let the BLAS use one thread within the block, in the whole process.

    Threads of OpenBLAS go on waiting for work for some 20 ms after each product, on the cores that the threads of the
    kernels need next: with two cores an evaluation takes twice as long after a product of two vectors. Where products
    are worth threads, they are made of blocks of rows by threads of ours.

    Blocks of several threads may overlap: the first to come sets the limit, and the last to leave takes it away.
    """
    this_thread = threading.get_ident()
    with _lock:
        _inside.append(this_thread)
        if not _lowered:
            before = [(library, library.get_num_threads()) for library in _libraries()]
            # What is at one already is somebody else's to put back.
            _lowered[:] = [(library, n_threads) for library, n_threads in before if (n_threads or 1) > 1]
            for library, _ in _lowered:
                _set_threads(library, 1)
    try:
        yield
    finally:
        with _lock:
            _inside.remove(this_thread)
            if not _inside:
                for library, n_threads in _lowered:
                    _set_threads(library, n_threads)
                _lowered.clear()
