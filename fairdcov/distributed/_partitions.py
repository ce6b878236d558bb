"""Rows of several Dask collections side by side: what is in one block of rows, whatever each was partitioned by."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from fairdcov._checks import import_optional

__all__ = ["Partitions", "as_literal", "in_order", "read_partitions", "tree_sum"]

# Partial results that are added in one task.
_ADDED_AT_ONCE = 8


@dataclass(frozen=True)
class Partitions:
    """Blocks of rows in their order, empty ones left out.

    Attributes
    ----------
    blocks : list of dict of str to object
        For each block the part of each argument: something delayed, a plain value, or None; or such a dict, delayed.
    sizes : list of int
        Rows of each block.
    numbers : list of int
        Which partition of the first argument each block is, for errors.
    held : tuple
        What is in the memory of the workers for as long as this object is there.
    """

    blocks: list = field(repr=False)
    sizes: list
    numbers: list
    held: tuple = field(default=(), repr=False)

    @property
    def n_rows(self):
        """Rows of all blocks."""
        return int(sum(self.sizes))

    def places(self):
        """What a block is called in errors."""
        starts = np.cumsum([0, *self.sizes[:-1]])
        return [
            f"partition {number} (rows {start} to {start + size - 1})"
            for number, start, size in zip(self.numbers, starts, self.sizes, strict=True)
        ]

    def tasks(self, function, *arguments):
        """``function(block, *arguments)`` of each block, delayed; a ValueError or TypeError names the partition."""
        delayed = import_optional("dask", "fairdcov.distributed").delayed
        run, arguments = delayed(_in_place, pure=False), [as_literal(argument) for argument in arguments]
        return [
            run(function, place, block, *arguments) for place, block in zip(self.places(), self.blocks, strict=True)
        ]

    def map(self, function, *arguments):
        """The same rows with ``function(block, *arguments)``, a dict as well, in the place of each block."""
        return replace(self, blocks=self.tasks(function, *arguments))

    def persisted(self):
        """The same rows with each block in the memory of a worker, which puts it on disk where memory is short."""
        kept = import_optional("dask", "fairdcov.distributed").persist(*self.tasks(_as_it_is))
        return replace(self, blocks=list(kept), held=kept)

    def compute(self, function, *arguments):
        """:meth:`tasks`, done: a list of results in the order of the blocks."""
        return list(import_optional("dask", "fairdcov.distributed").compute(*self.tasks(function, *arguments)))

    def sum(self, function, *arguments):
        """Sum of tuples of arrays or numbers that ``function`` gives of the blocks, added in an order of their own."""
        return tree_sum(self.tasks(function, *arguments)).compute()


def as_literal(argument):
    """An argument of many tasks, sent to the workers once; Dask does not look into it."""
    if argument is None or isinstance(argument, bool | int | float | str):
        return argument
    return import_optional("dask", "fairdcov.distributed").delayed(argument, pure=False, traverse=False)


def _as_it_is(block):
    return block


def _in_place(function, place, block, *arguments):
    try:
        return function(block, *arguments)
    except (ValueError, TypeError) as error:
        raise type(error)(f"{place}: {error}") from error


def in_order(parts):
    """Sum of tuples, from the first to the last."""
    total = parts[0]
    for part in parts[1:]:
        total = tuple(one + other for one, other in zip(total, part, strict=True))
    return total


def tree_sum(tasks, add=in_order):
    """Sum of delayed results as a tree: which are added first depends on their number alone, so that bits do not move.

    Parameters
    ----------
    tasks : list of dask.delayed.Delayed
        Results of one kind.
    add : callable
        Sum of a list of them.

    Returns
    -------
    dask.delayed.Delayed
    """
    delayed = import_optional("dask", "fairdcov.distributed").delayed
    combine = delayed(add, pure=False)
    while len(tasks) > 1:
        tasks = [combine(tasks[start : start + _ADDED_AT_ONCE]) for start in range(0, len(tasks), _ADDED_AT_ONCE)]
    return tasks[0]


def read_partitions(*, persist=False, **arguments):
    """Align arguments by the position of their rows.

    Parameters
    ----------
    persist : bool, default=False
        Keep the partitions in the memory of the workers (who put them on disk where it is short); otherwise they are
        made anew each time that they are needed.
    **arguments : Dask DataFrame, Series or Array, or in-memory rows, a number, or None
        Dask collections of equal length, however they are partitioned; the first one is one of them, and the blocks are
        its partitions.

    Returns
    -------
    Partitions

    Raises
    ------
    TypeError
        For a first argument that is no Dask collection.
    ValueError
        For lengths that differ, and where there is no row.
    """
    dask = import_optional("dask", "fairdcov.distributed")
    first, *_ = arguments
    if not dask.is_dask_collection(arguments[first]):
        raise TypeError(
            f"{first} must be a Dask DataFrame, Series or Array; found a {type(arguments[first]).__name__}: for rows "
            "in memory take what is in fairdcov itself"
        )
    pieces = {name: _pieces(value, name) for name, value in arguments.items()}
    kept = ()
    if persist:
        flat = [piece for found in pieces.values() if isinstance(found, list) for piece in found]
        kept = dask.persist(*flat)
        left = iter(kept)
        pieces = {
            name: [next(left) for _ in found] if isinstance(found, list) else found for name, found in pieces.items()
        }
    length = dask.delayed(_n_rows, pure=False)
    wanted = {name: [length(piece) for piece in found] for name, found in pieces.items() if isinstance(found, list)}
    # Of arrays they are known, so that these are not computed for their length.
    wanted.update({name: known for name, known in map(_known_lengths, arguments.items()) if known is not None})
    (lengths,) = dask.compute(wanted)
    total = sum(lengths[first])
    for name, found in lengths.items():
        if sum(found) != total:
            raise ValueError(f"{name} must have as many rows as {first}, {total}; found {sum(found)}")
    if total == 0:
        raise ValueError(f"{first} must have at least one row; found 0 in {len(lengths[first])} partitions")
    columns = {
        name: _cut(found, lengths[name], lengths[first]) if isinstance(found, list) else [found] * len(lengths[first])
        for name, found in pieces.items()
    }
    numbers = [number for number, size in enumerate(lengths[first]) if size]
    blocks = [{name: column[number] for name, column in columns.items()} for number in numbers]
    return Partitions(blocks, [lengths[first][number] for number in numbers], numbers, kept)


def _pieces(value, name):
    """Partitions of a collection, delayed; what is no rows as it is."""
    dask = import_optional("dask", "fairdcov.distributed")
    if not dask.is_dask_collection(value):
        if value is None or np.ndim(value) == 0:
            return value
        return [dask.delayed(value, pure=False, traverse=False)]
    if not hasattr(value, "to_delayed"):
        raise TypeError(f"{name} must be a Dask DataFrame, Series or Array; found a {type(value).__name__}")
    if hasattr(value, "chunks"):
        if value.ndim not in (1, 2):
            raise ValueError(f"{name} must have one or two dimensions; found {value.ndim}")
        value = value.rechunk({1: -1}) if value.ndim == 2 and len(value.chunks[1]) > 1 else value
        return value.to_delayed().ravel().tolist()
    return list(value.to_delayed())


def _known_lengths(item):
    name, value = item
    sizes = value.chunks[0] if hasattr(value, "chunks") else ()
    return name, [int(size) for size in sizes] if sizes and not np.isnan(sizes).any() else None


def _n_rows(piece):
    return int(piece.shape[0]) if hasattr(piece, "shape") else len(piece)


def _cut(pieces, lengths, wanted):
    """Pieces of other lengths put together to the wanted ones."""
    if lengths == wanted:
        return pieces
    dask = import_optional("dask", "fairdcov.distributed")
    put_together = dask.delayed(_put_together, pure=False)
    starts, found, start = np.cumsum([0, *lengths]), [], 0
    for size in wanted:
        stop = start + size
        meeting = [
            (piece, max(start - first, 0), min(stop, last) - first)
            for piece, first, last in zip(pieces, starts, starts[1:], strict=False)
            if first < stop and start < last
        ]
        # A partition without rows is never looked at.
        found.append(put_together(*map(list, zip(*meeting, strict=True))) if meeting else None)
        start = stop
    return found


def _put_together(pieces, starts, stops):
    parts = [
        piece.iloc[start:stop] if hasattr(piece, "iloc") else piece[start:stop]
        for piece, start, stop in zip(pieces, starts, stops, strict=True)
    ]
    if len(parts) == 1:
        return parts[0]
    return pd.concat(parts) if hasattr(parts[0], "iloc") else np.concatenate(parts)
