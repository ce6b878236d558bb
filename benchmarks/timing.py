"""Wall-clock time of a call, for the other scripts."""

import time

__all__ = ["seconds", "timed"]


def timed(function):
    """Result and wall-clock seconds of a call."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def seconds(function):
    """Wall-clock seconds of a call."""
    return timed(function)[1]
