"""Anything that works in memory, on a sample of the rows of Dask collections that it is told."""

import numpy as np
import pandas as pd

from fairdcov._checks import check_positive_number, check_whole_number, import_optional
from fairdcov.distributed._partitions import read_partitions

__all__ = ["on_sample"]


def on_sample(function, *arguments, n_rows=None, random_state=0, max_gigabytes=2.0, **keywords):
    """Call a function of the package on rows of Dask collections, all of them or a stated random sample.

    For what has no form as sums over partitions: tests by permutation
    (:func:`fairdcov.inference.independence_test`), certificates, the audit (:func:`fairdcov.report.audit`) and the
    tables of :mod:`fairdcov.actuarial`.

    Parameters
    ----------
    function : callable
        What to call.
    *arguments, **keywords
        Its arguments. Dask collections among them have one length and are replaced by the same of their rows, in
        memory; pass the columns that are needed only. Anything else is passed on.
    n_rows : int, optional
        Rows of the sample, drawn at random without replacement, in the order of the collections; all where there are no
        more. None takes all rows.
    random_state : int, default=0
        Seed of the draw.
    max_gigabytes : float, default=2.0
        What the rows may take in memory.

    Returns
    -------
    object
        What ``function`` returns.

    Raises
    ------
    TypeError
        Where no argument is a Dask collection.
    ValueError
        For lengths that differ, and for rows that would take more than ``max_gigabytes``.

    Notes
    -----
    What is measured is the sample. With 100,000 rows a distance correlation of 0.01 is still told from 0, and standard
    errors are those of 100,000 rows; say so where the figures are shown.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from fairdcov.distributed import on_sample
    >>> from fairdcov.metrics import root_mean_squared_error
    >>> observed, predicted = da.ones(10_000, chunks=1_000), da.zeros(10_000, chunks=3_000)
    >>> on_sample(root_mean_squared_error, observed, predicted, n_rows=500)
    1.0
    """
    dask = import_optional("dask", "fairdcov.distributed.on_sample")
    check_positive_number(max_gigabytes, "max_gigabytes")
    given = {**{f"argument {position}": value for position, value in enumerate(arguments)}, **keywords}
    collections = {name: value for name, value in given.items() if dask.is_dask_collection(value)}
    if not collections:
        raise TypeError(
            "on_sample needs at least one Dask collection among the arguments; found none: call the function"
        )
    rows = read_partitions(**collections)
    picked = _pick(rows, n_rows, random_state)
    share = sum(len(places) for places in picked) / rows.n_rows
    gigabytes_of_all = float(sum(rows.compute(_n_bytes))) / 1e9
    gigabytes = share * gigabytes_of_all
    if gigabytes > max_gigabytes:
        fit = int(rows.n_rows * max_gigabytes / gigabytes_of_all)
        raise ValueError(
            f"{sum(map(len, picked)):,} rows of {list(collections)} take about {gigabytes:.1f} GB, more than "
            f"max_gigabytes={max_gigabytes:g}: pass fewer columns, or n_rows={fit}"
        )
    take = dask.delayed(_take, pure=False)
    parts = dask.compute(*(take(block, places) for block, places in zip(rows.blocks, picked, strict=True)))
    found = {name: _joined([part[name] for part in parts]) for name in collections}
    whole = [found.get(f"argument {position}", value) for position, value in enumerate(arguments)]
    return function(*whole, **{name: found.get(name, value) for name, value in keywords.items()})


def _pick(rows, n_rows, random_state):
    """Positions in each block of the rows to take."""
    if n_rows is None or check_whole_number(n_rows, "n_rows") >= rows.n_rows:
        return [np.arange(size) for size in rows.sizes]
    drawn = np.sort(np.random.default_rng(random_state).choice(rows.n_rows, n_rows, replace=False, shuffle=False))
    starts = np.cumsum([0, *rows.sizes])
    bounds = np.searchsorted(drawn, starts)
    return [drawn[low:high] - start for low, high, start in zip(bounds, bounds[1:], starts, strict=False)]


def _n_bytes(block):
    total = 0
    for values in block.values():
        if hasattr(values, "memory_usage"):
            used = values.memory_usage(deep=True, index=False)
            total += int(used.sum() if isinstance(used, pd.Series) else used)
        else:
            total += int(values.nbytes)
    return total


def _take(block, places):
    return {name: values.iloc[places] if hasattr(values, "iloc") else values[places] for name, values in block.items()}


def _joined(parts):
    if hasattr(parts[0], "iloc"):
        return pd.concat(parts, ignore_index=True)
    return np.concatenate(parts)
