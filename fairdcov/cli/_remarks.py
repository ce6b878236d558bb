"""What a command has to say beside its results: one line each, and each once."""

import warnings
from contextlib import contextmanager

import numpy as np

__all__ = ["kept_text", "notes_of_warnings", "say_notes"]


def kept_text(kept):
    """What a chosen strength leaves of the model, in words."""
    if not np.isfinite(kept):
        return "what it keeps is not known, since the model without penalty explains nothing"
    return f"keeps {kept:.0%} of what the model without penalty explains"


def say_notes(notes):
    """Print remarks."""
    for note in dict.fromkeys(notes):
        print(f"  note: {' '.join(str(note).split())}")


@contextmanager
def notes_of_warnings():
    """Print the warnings of a block as remarks when it ends, without the places in the source they come from.

    Warnings to developers, of what will change in some package, are left out.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    say_notes(
        str(warning.message)
        for warning in caught
        if not issubclass(warning.category, DeprecationWarning | PendingDeprecationWarning | FutureWarning)
    )
