"""Warnings at the line of the user's that they are about."""

import sys
import warnings

__all__ = ["warn_user"]

# Whose frames are passed over on the way there.
_OURS = ("fairdcov", "sklearn", "joblib")


def warn_user(message: str, category: type[Warning]) -> None:
    """Issue a warning at the user's line, so that the same remark of many fits is shown once."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
