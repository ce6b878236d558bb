"""How many threads the parallel kernels may use."""

import os

import fairdcov._kernels._tiles as _tiles

__all__ = ["usable_threads"]

_forked = False


def _mark_as_forked():
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_as_forked)


def usable_threads(n_threads):
    """Threads that a kernel can use: no more than the tiles have stripes, and one alone in a forked child.

    GNU OpenMP keeps the threads of the first parallel loop for the next; a fork copies its books but not the threads,
    and the child would wait for them for ever.
    """
    return 1 if _forked else max(1, min(int(n_threads), _tiles.STRIPES))
