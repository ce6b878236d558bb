"""Linear models from blocks of rows that do not fit into memory together: ``fit_blocks``, and readers of blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from fairdcov._checks import Table, check_whole_number, import_optional
from fairdcov._fitting import hold_part, read_features, read_part
from fairdcov.linear_model._block_problem import RowParts, fit_parts

__all__ = ["ArrayBlocks", "BlockFit", "ParquetBlocks"]

# Rows of a block: large enough for matrix products, small enough for memory.
_ROWS = 65_536
# What Arrow reads ahead of each column: without it all of a row group is.
_BUFFER = 2**20


class BlockFit:
    """Estimators that can be fitted to blocks of rows."""

    def fit_blocks(self, blocks: Iterable[Any]) -> Self:
        """Fit the model to rows that come in blocks, without ever holding all features.

        The objective is that of :meth:`fit` with the penalty's ``method="grid"``: all rows together are compared, not
        those of each block, and the value is off by about 1e-6 of itself. What is kept in memory is about 40 bytes for
        each row, beside a block. Every evaluation of the penalised objective goes twice over the blocks, every step
        towards the unpenalised start once.

        Parameters
        ----------
        blocks : iterable of tuples or dicts
            It can be gone through again and again, with the same blocks each time: a list,
            :class:`ParquetBlocks`, :class:`ArrayBlocks`, or an object of yours with ``__iter__``. A block is a tuple
            ``(X, y, sample_weight, sensitive_features, offset)``, of which the last may be left out, or a dict with
            these keys; each as in :meth:`fit`, with the same columns and types in all blocks. Blocks may have any
            number of rows, also none.

        Returns
        -------
        self
            Fitted as by :meth:`fit`.

        Raises
        ------
        ValueError
            As :meth:`fit` does, with the number of the block (and of the row, for values that are not finite); for
            blocks that differ in their columns or in what they hold, for more than 2,048 distinct rows of protected
            attributes in all blocks together, and for penalties with another ``method``.
        TypeError
            For an iterator, which can be gone through once only, and for penalties that have no grid.

        Warns
        -----
        ConvergenceWarning, StrengthWarning
            As :meth:`fit` does.

        Notes
        -----
        Control features and attributes that are known as probabilities need :meth:`fit`.

        A fit that is interrupted once it has begun, by an error of a block or from the keyboard, leaves the best
        coefficients that it had found, with ``converged_`` False; with ``warm_start=True`` the next call goes on there.

        Examples
        --------
        >>> import numpy as np
        >>> from fairdcov import DCovPoissonRegressor
        >>> from fairdcov.datasets import make_motor_portfolio
        >>> from fairdcov.linear_model import ArrayBlocks
        >>> book = make_motor_portfolio(5_000, random_state=0)
        >>> X = book.data.select_dtypes("number")
        >>> data = {"sample_weight": book.exposure, "sensitive_features": book.sensitive_features}
        >>> blocks = ArrayBlocks(X, book.target, rows=1_000, **data)
        >>> model = DCovPoissonRegressor(strength=1.0, alpha=1e-3).fit_blocks(blocks)
        >>> in_memory = DCovPoissonRegressor(strength=1.0, alpha=1e-3).fit(X, book.target, **data)
        >>> bool(np.allclose(model.predict(X), in_memory.predict(X), rtol=1e-3))
        True
        """
        return fit_parts(self, BlockParts(blocks))


class BlockParts(RowParts):
    """The blocks of an iterable, one after the other in this process.

    Parameters
    ----------
    blocks : iterable
        As in :meth:`BlockFit.fit_blocks`.
    """

    def __init__(self, blocks):
        if isinstance(blocks, Iterator):
            raise TypeError(
                f"blocks must be gone through many times; found {type(blocks).__name__}, an iterator that can be read "
                "only once: pass a list, ParquetBlocks, ArrayBlocks, or an object whose __iter__ starts afresh"
            )
        if not hasattr(blocks, "__iter__") or isinstance(blocks, dict | str):
            raise TypeError(f"blocks must be an iterable of (X, y, ...); found {type(blocks).__name__}")
        self._blocks = blocks
        self._features_only = getattr(blocks, "features_only", lambda: blocks)
        self._kept, self._rows, self._raw = [], [], []
        self._estimator = None

    def describe(self, estimator):
        """See :class:`RowParts`."""
        whole, self._kept = None, []
        for number, block in enumerate(self._blocks):
            kept, description = read_part(estimator, block, number)
            self._kept.append(kept)
            whole = description if whole is None else whole + description
        if whole is None:
            raise ValueError("blocks must have at least one block; found none")
        return whole

    def hold(self, estimator, plan):
        """See :class:`RowParts`."""
        self._estimator, self._rows = estimator, []
        self._kept.reverse()
        while self._kept:
            self._rows.append(hold_part(plan, self._kept.pop()))
        self._raw = [np.empty(0)] * len(self._rows)

    def predict(self, stage, parameters):
        """See :class:`RowParts`."""
        for number, (X, rows) in enumerate(self._with_features()):
            self._raw[number] = stage(X, rows, parameters)

    def constant(self, value):
        """See :class:`RowParts`."""
        self._raw = [np.full(rows.n_rows, value) for rows in self._rows]

    def total(self, stage, *arguments):
        """See :class:`RowParts`."""
        return _sum(stage(rows, raw, *arguments) for rows, raw in zip(self._rows, self._raw, strict=True))

    def total_with_features(self, stage, *arguments):
        """See :class:`RowParts`."""
        return _sum(stage(X, rows, *arguments) for X, rows in self._with_features())

    def total_with_predictions(self, stage, *arguments):
        """See :class:`RowParts`."""
        pairs = zip(self._with_features(), self._raw, strict=True)
        return _sum(stage(X, rows, raw, *arguments) for (X, rows), raw in pairs)

    def _with_features(self):
        number = -1
        for number, block in enumerate(self._features_only()):
            if number == len(self._rows):
                break
            rows = self._rows[number]
            yield read_features(self._estimator, block, rows, number), rows
        if number + 1 != len(self._rows):
            more = "more" if number == len(self._rows) else f"{number + 1}"
            raise ValueError(
                f"blocks had {len(self._rows)} block(s) when they were read first and {more} now: they must be the "
                "same each time"
            )


def _sum(found):
    whole = None
    for sums in found:
        whole = sums if whole is None else whole + sums
    return whole


class ArrayBlocks:
    """Arrays, memory maps or frames, cut into blocks of rows for ``fit_blocks``.

    Parameters
    ----------
    X : array, memory map, sparse matrix or DataFrame, (n, p)
        Features.
    y : (n,) array
        Target.
    sample_weight : (n,) array, optional
        Row weights.
    sensitive_features : DataFrame, Series or array, (n,) or (n, d), optional
        Protected attributes.
    offset : (n,) array, optional
        Known part of the prediction on the link scale.
    rows : int, default=65_536
        Rows of a block, the last may have fewer.

    Raises
    ------
    ValueError
        For lengths that differ.

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov.linear_model import ArrayBlocks
    >>> [len(y) for X, y, *_ in ArrayBlocks(np.zeros((10, 2)), np.zeros(10), rows=4)]
    [4, 4, 2]
    """

    def __init__(
        self,
        X: Table,
        y: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        sensitive_features: Table | None = None,
        offset: ArrayLike | None = None,
        rows: int = _ROWS,
    ) -> None:
        self._given = X, y, sample_weight, sensitive_features, offset
        self._rows = check_whole_number(rows, "rows")
        self._n_rows = _length(X)
        for name, values in zip(("y", "sample_weight", "sensitive_features", "offset"), self._given[1:], strict=True):
            if values is not None and _length(values) != self._n_rows:
                raise ValueError(
                    f"{name} must have as many rows as X: found {_length(values)} instead of {self._n_rows}"
                )

    def __iter__(self):
        for start in range(0, self._n_rows, self._rows):
            yield tuple(_cut(values, start, start + self._rows) for values in self._given)


def _length(values):
    return values.shape[0] if hasattr(values, "shape") else len(values)


def _cut(values, start, stop):
    if values is None:
        return None
    if hasattr(values, "iloc"):
        return values.iloc[start:stop]
    # Tables and arrays of Arrow take no slices as NumPy does.
    if type(values).__module__.startswith("pyarrow"):
        return values.slice(start, stop - start)
    return values[start:stop]


class ParquetBlocks:
    """Rows of Parquet files in blocks, for ``fit_blocks``; a block at a time is in memory.

    Parameters
    ----------
    path : str, Path or list of them
        Files, or folders whose ``*.parquet`` files are read in the order of their names.
    features : list of str
        Columns that are the features. They are numbers, unless ``transform`` makes numbers of them.
    target : str
        Column of the target.
    sample_weight : str, optional
        Column of the row weights.
    exposure : str, optional
        Column of exposures, instead of ``sample_weight``: the target is then a count or an amount, the model is fitted
        to target / exposure, and the exposure is the weight.
    sensitive_features : str or list of str, optional
        Columns of the protected attributes.
    offset : str, optional
        Column of the known part of the prediction on the link scale.
    transform : callable, optional
        Makes the features of a block from the DataFrame of its feature columns, such as the ``transform`` of a
        ``ColumnTransformer`` that was fitted before. It must not depend on the other rows of the block.
    rows : int, default=65_536
        Rows of a block at most.

    Raises
    ------
    ValueError
        For columns that are not in a file, no files, both ``sample_weight`` and ``exposure``, and a target other than 0
        where the exposure is 0.
    ImportError
        Without pyarrow, which comes with the extra ``data``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from fairdcov import DCovPoissonRegressor
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> from fairdcov.linear_model import ParquetBlocks
    >>> book = make_motor_portfolio(5_000, random_state=0)
    >>> features = list(book.data.select_dtypes("number"))
    >>> policies = book.data[features].assign(
    ...     claims=book.claims, exposure=book.exposure, gender=book.sensitive_features["gender"]
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     policies.to_parquet(Path(folder) / "policies.parquet")
    ...     blocks = ParquetBlocks(
    ...         folder, features=features, target="claims", exposure="exposure", sensitive_features="gender"
    ...     )
    ...     model = DCovPoissonRegressor(strength=1.0, alpha=1e-3).fit_blocks(blocks)
    >>> model.converged_
    True
    """

    def __init__(
        self,
        path: str | Path | Sequence[str | Path],
        *,
        features: Sequence[str],
        target: str,
        sample_weight: str | None = None,
        exposure: str | None = None,
        sensitive_features: str | Sequence[str] | None = None,
        offset: str | None = None,
        transform: Callable[[Any], Any] | None = None,
        rows: int = _ROWS,
    ) -> None:
        if sample_weight is not None and exposure is not None:
            raise ValueError("sample_weight and exposure were both given: the exposure is the weight, leave out one")
        if isinstance(features, str):
            raise ValueError(f"features must be a list of columns; found {features!r}")
        self._features = list(features)
        self._target, self._weight, self._exposure, self._offset = target, sample_weight, exposure, offset
        self._sensitive = [sensitive_features] if isinstance(sensitive_features, str) else sensitive_features
        self._transform = transform
        self._rows = check_whole_number(rows, "rows")
        self._parquet = import_optional("pyarrow.parquet", "ParquetBlocks")
        self._files = _files(path)
        wanted = [*self._features, target, sample_weight, exposure, offset, *(self._sensitive or [])]
        self._columns = list(dict.fromkeys(name for name in wanted if name is not None))
        for file in self._files:
            names = self._parquet.read_schema(file).names
            missing = [name for name in self._columns if name not in names]
            if missing:
                raise ValueError(f"{file} has no column(s) {missing}; it has {names[:20]}")

    def __iter__(self):
        for table in _one_ahead(self._tables(self._columns)):
            frame = table.to_pandas()
            y, weight = frame[self._target], None
            if self._exposure is not None:
                weight = frame[self._exposure]
                y = _per_exposure(y.to_numpy(), weight.to_numpy())
            elif self._weight is not None:
                weight = frame[self._weight]
            yield {
                "X": self._made(frame[self._features]),
                "y": y,
                "sample_weight": weight,
                "sensitive_features": None if self._sensitive is None else frame[self._sensitive],
                "offset": None if self._offset is None else frame[self._offset],
            }

    def features_only(self) -> Any:
        """The features of the same blocks, for all passes but the first.

        Yields
        ------
        dict
            With the features alone, ``{"X": ...}``.
        """
        for table in _one_ahead(self._tables(self._features)):
            yield {"X": self._made(table.to_pandas())}

    def _tables(self, columns):
        """Tables of ``rows`` rows; where Arrow cuts its batches depends on the columns that are read."""
        arrow = import_optional("pyarrow", "ParquetBlocks")
        for path in self._files:
            with self._parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER) as file:
                pending, n_rows = [], 0
                for batch in file.iter_batches(batch_size=self._rows, columns=columns):
                    pending.append(batch)
                    n_rows += len(batch)
                    while n_rows >= self._rows:
                        table = arrow.Table.from_batches(pending)
                        pending = table.slice(self._rows).to_batches()
                        n_rows -= self._rows
                        yield table.slice(0, self._rows)
                        del table
                if n_rows:
                    yield arrow.Table.from_batches(pending)

    def _made(self, frame):
        return frame if self._transform is None else self._transform(frame)


def _one_ahead(iterator):
    """The same, with the next one made by another thread while this one is in use."""
    with ThreadPoolExecutor(1) as executor:
        following = executor.submit(next, iterator, None)
        while (found := following.result()) is not None:
            following = executor.submit(next, iterator, None)
            yield found


def _files(path):
    paths = [path] if isinstance(path, str | Path) else list(path)
    found = []
    for entry in map(Path, paths):
        found += sorted(entry.glob("*.parquet")) if entry.is_dir() else [entry]
    if not found:
        raise ValueError(f"path must have Parquet files; found none in {path!r}")
    return found


def _per_exposure(target, exposure):
    nothing = exposure == 0
    if (nothing & (target != 0)).any():
        row = int(np.flatnonzero(nothing & (target != 0))[0])
        raise ValueError(f"row {row} of a block has a target of {target[row]} and an exposure of 0")
    return np.divide(target, exposure, out=np.zeros(len(target)), where=~nothing)
