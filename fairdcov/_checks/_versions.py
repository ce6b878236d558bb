"""What is installed, for reports of errors."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

__all__ = ["show_versions"]

_REQUIRED = (
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "narwhals",
    "fairlearn",
    "threadpoolctl",
    "tqdm",
)
_OPTIONAL = ("lightgbm", "xgboost", "torch", "matplotlib", "jinja2", "skops", "pyarrow", "polars", "rdata")


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def show_versions() -> None:
    """Print the versions of fairdcov, Python and the packages around it, and the threads of the native libraries.

    Paste it into a report of an error. Nothing is imported for it that is not loaded anyway.

    Returns
    -------
    None
        The table goes to the standard output.

    Examples
    --------
    >>> import fairdcov
    >>> fairdcov.show_versions()  # doctest: +ELLIPSIS
    fairdcov      ...
    python        3...
    machine       ...
    <BLANKLINE>
    numpy         2...
    """
    from threadpoolctl import threadpool_info

    lines = [
        ("fairdcov", _version("fairdcov") or "not installed, only on the path"),
        ("python", sys.version.replace("\n", " ")),
        ("machine", platform.platform()),
        None,
        *((name, _version(name) or "missing, and needed") for name in _REQUIRED),
        None,
        *((name, _version(name) or "-") for name in _OPTIONAL),
        None,
        *((found["user_api"], f"{found['num_threads']} threads, {found['prefix']}") for found in threadpool_info()),
    ]
    print("\n".join("" if line is None else f"{line[0]:<13} {line[1]}" for line in lines))
