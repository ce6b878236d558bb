"""What a command has to say beside its results: one line each, and each once, in the words of the command line."""

import warnings
from contextlib import contextmanager

import numpy as np

from fairdcov.cli._wording import in_options

__all__ = ["kept_text", "notes_of_warnings", "say_notes"]


def kept_text(kept):
    """What a chosen strength leaves of the model, in words."""
    if not np.isfinite(kept):
        return "what it keeps is not known, since the model without penalty explains nothing"
    if kept <= 0:
        return "explains nothing, where the model without penalty explains something"
    return f"keeps {kept:.0%} of what the model without penalty explains"


def say_notes(notes):
    """Print remarks."""
    for note in dict.fromkeys(notes):
        print(f"  note: {' '.join(str(note).split())}")


@contextmanager
def notes_of_warnings(command, columns=(), *, trees=False):
    """Print the warnings of a block of calls of the library as remarks when it ends, and reword its errors.

    Warnings to developers, of what will change in some package, are left out, and so are the places in the source.

    Parameters
    ----------
    command : str
        Whose options the messages are to speak of.
    columns : list of str, default=()
        See :func:`~fairdcov.cli._wording.in_options`.
    trees : bool, default=False
        See there.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except (ValueError, TypeError) as error:
            if len(error.args) == 1 and isinstance(error.args[0], str):
                error.args = (in_options(error.args[0], command, columns, trees=trees),)
            raise
    say_notes(
        in_options(str(warning.message), command, columns, trees=trees)
        for warning in caught
        if not issubclass(warning.category, DeprecationWarning | PendingDeprecationWarning | FutureWarning)
    )
