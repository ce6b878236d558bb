"""Linear models on Dask collections: what a partition computes is a task, and what tasks give is added as a tree."""

import re
from copy import copy
from functools import partial, reduce
from operator import add

import numpy as np
from sklearn.base import clone
from sklearn.utils.metaestimators import available_if

from fairdcov._checks import check_flag, import_optional
from fairdcov.distributed._estimator import DaskEstimator
from fairdcov.distributed._held import Held, aligned, run, value_of
from fairdcov.distributed._partitions import as_literal, read_partitions, tree_sum
from fairdcov.linear_model import BlockProblem, RowParts, fit_parts, hold_part, read_features, read_part

__all__ = ["DaskDCovRegressor", "DaskParts"]


class DaskParts(RowParts):
    """Partitions as parts of the rows of a fit.

    Every task is a pure function of the partitions and of small arguments: what is lost with a worker is made again
    elsewhere, to the same bits.

    Parameters
    ----------
    partitions : Partitions
        With blocks of ``X``, ``y``, ``sample_weight``, ``sensitive_features`` and ``offset``.
    keep_features : bool
        Whether features stay in the memory of the workers.
    """

    def __init__(self, partitions, keep_features):
        self._dask = import_optional("dask", "fairdcov.distributed")
        self._blocks, self._numbers = partitions.blocks, partitions.numbers
        self._keep_features = keep_features
        self._kept, self._rows, self._features, self._raw = None, None, None, None

    def describe(self, estimator):
        """See :class:`RowParts`."""
        estimator = _literal(estimator)
        read = self._task(_read_part)
        found = self._persist(
            [read(estimator, block, number) for block, number in zip(self._blocks, self._numbers, strict=True)]
        )
        pick = self._task(_entry)
        self._kept = [pick(pair, 0) for pair in found]
        # The kept rows hold on to the pairs, which are with the workers.
        return reduce(add, map(value_of, self._dask.compute(*(pick(pair, 1) for pair in found))))

    def hold(self, estimator, plan):
        """See :class:`RowParts`."""
        plan, estimator = _literal(plan), _literal(copy(estimator))
        hold, read = self._task(hold_part), self._task(_read_features)
        self._rows = self._persist([hold(plan, kept) for kept in self._kept])
        self._features = [
            read(estimator, block, rows, number)
            for block, rows, number in zip(self._blocks, self._rows, self._numbers, strict=True)
        ]
        if self._keep_features:
            self._features = self._persist(self._features)
        self._kept = self._blocks = None
        self._raw = [None] * len(self._rows)

    def predict(self, stage, parameters):
        """See :class:`RowParts`."""
        predict, parameters = self._task(partial(_of_doubles, stage)), _literal(parameters)
        self._raw = self._persist(
            [predict(X, rows, parameters) for X, rows in zip(self._features, self._rows, strict=True)]
        )

    def constant(self, value):
        """See :class:`RowParts`."""
        fill = self._task(_filled)
        self._raw = [fill(rows, value) for rows in self._rows]

    def total(self, stage, *arguments):
        """See :class:`RowParts`."""
        return self._sum(stage, zip(self._rows, self._raw, strict=True), arguments)

    def total_with_features(self, stage, *arguments):
        """See :class:`RowParts`."""
        return self._sum(partial(_of_doubles, stage), zip(self._features, self._rows, strict=True), arguments)

    def total_with_predictions(self, stage, *arguments):
        """See :class:`RowParts`."""
        parts = zip(self._features, self._rows, self._raw, strict=True)
        return self._sum(partial(_of_doubles, stage), parts, arguments)

    def _sum(self, stage, parts, arguments):
        compute, arguments = self._task(stage), [_literal(argument) for argument in arguments]
        return value_of(tree_sum([compute(*part, *arguments) for part in parts], _added).compute())

    def _task(self, function):
        return partial(self._dask.delayed(run, pure=False), function)

    def _persist(self, tasks):
        return list(self._dask.persist(*tasks))


def _read_part(estimator, block, number):
    return read_part(estimator, aligned(block), number)


def _read_features(estimator, block, rows, number):
    """Features in single precision where they came in no more: the same numbers in half the memory."""
    X = block["X"]
    found = read_features(estimator, aligned({"X": X}), rows, number)
    dtypes = X.dtypes if hasattr(X, "columns") else [getattr(X, "dtype", np.dtype(float))]
    single = all(isinstance(dtype, np.dtype) and np.can_cast(dtype, np.float32) for dtype in dtypes)
    return found.astype(np.float32) if single and isinstance(found, np.ndarray) else found


def _of_doubles(stage, X, *arguments):
    return stage(X.astype(np.float64, copy=False), *arguments)


def _entry(pair, position):
    return pair[position]


def _filled(rows, value):
    return np.full(rows.n_rows, value)


def _added(sums):
    return Held(reduce(add, map(value_of, sums)))


def _literal(argument):
    return as_literal(argument if argument is None or isinstance(argument, int | float) else Held(argument))


def _classifies(wrapper):
    return hasattr(wrapper.estimator, "predict_proba")


class DaskDCovRegressor(DaskEstimator):
    """A penalised linear model of :mod:`fairdcov` on Dask collections that need not fit one process.

    The objective is that of the estimator's own ``fit`` with the penalty's ``method="grid"``: all rows are compared
    with each other, not those of each partition. Partitions compute losses, tables of masses, gradients and Hessians,
    which are small and are added as a tree in a fixed order; the solver runs where ``fit`` is called.

    Parameters
    ----------
    estimator : linear model of fairdcov
        :class:`fairdcov.DCovPoissonRegressor`, ``DCovGammaRegressor``, ``DCovTweedieRegressor``,
        ``DCovNegativeBinomialRegressor``, ``DCovRidge`` or ``DCovLogisticRegression``; cloned before it is fitted.
        Its penalty has ``method="auto"``, which is the grid here, or ``"grid"``. With ``warm_start=True`` a fit goes on
        from the coefficients of the one before.
    keep_features : bool, default=True
        Keep the features in the memory of the workers, 8 bytes a number, and 4 where all of them are float32, booleans
        or integers of at most 16 bits (``X.astype("float32")``; all that is computed is float64 even so). Dask puts on
        disk what does not fit. False makes the partitions anew for every evaluation (reads their files, say), two times
        for a penalised one.

    Attributes
    ----------
    estimator_ : linear model of fairdcov
        The fitted model: an ordinary one, which predicts without Dask and has all fitted attributes.

    See Also
    --------
    DaskDCovXGBRegressor : XGBoost over the workers of a cluster.
    fairdcov.linear_model.ParquetBlocks : The same fit in one process from files.

    Notes
    -----
    Any scheduler of Dask serves: the threads of this process, or the workers of a ``dask.distributed.Client``. For a
    given partitioning the coefficients have the same bits whatever the scheduler and the number of workers, on machines
    of one kind, also when a worker is lost in mid-fit: its partitions are made again from their graph. An error that
    ends a fit (workers that run out of memory one after the other) leaves the best coefficients so far in
    ``estimator_``, with ``converged_`` False; set ``estimator.warm_start`` and fit again to go on from them.

    The distinct rows of the protected attributes may be 2,048 over all partitions; there are no control features.

    Examples
    --------
    >>> import dask.array as da
    >>> import dask.dataframe as dd
    >>> from fairdcov import DCovPoissonRegressor
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> from fairdcov.distributed import DaskDCovRegressor
    >>> book = make_motor_portfolio(5_000, random_state=0)
    >>> X = dd.from_pandas(book.data.select_dtypes("number"), npartitions=4)
    >>> people = dd.from_pandas(book.sensitive_features, npartitions=2)
    >>> y, exposure = (da.from_array(values, chunks=1_000) for values in (book.target, book.exposure))
    >>> model = DaskDCovRegressor(DCovPoissonRegressor(strength=1.0, alpha=1e-3))
    >>> model = model.fit(X, y, sample_weight=exposure, sensitive_features=people)
    >>> model.estimator_.converged_
    True
    >>> model.predict(X).compute().shape
    (5000,)
    """

    def __init__(self, estimator, keep_features=True):
        super().__init__(estimator)
        self.keep_features = keep_features

    def fit(self, X, y, sample_weight=None, *, sensitive_features=None, offset=None):
        """Fit the model.

        Parameters
        ----------
        X : Dask DataFrame or Array, (n, p)
            Features, numbers.
        y : Dask Series or Array, (n,)
            Target. All arguments go together by the position of their rows, however each is partitioned; the
            partitions of ``X`` are those of the fit.
        sample_weight : Dask Series or Array, (n,), optional
            Row weights.
        sensitive_features : Dask DataFrame, Series or Array, (n,) or (n, d), optional
            Protected attributes, needed when ``strength > 0``.
        offset : Dask Series or Array, (n,), optional
            Known part of the raw predictions.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            For an estimator that is not one of the linear models.
        ValueError
            As in the ``fit`` of the estimator; it names the partition. For more than 2,048 distinct rows of protected
            attributes.

        Warns
        -----
        ConvergenceWarning, StrengthWarning
            As the ``fit`` of the estimator does.
        """
        model = self._model()
        if model.warm_start and hasattr(self, "estimator_"):
            model.__dict__.update(
                {
                    name: getattr(self.estimator_, name)
                    for name in ("coef_", "intercept_")
                    if hasattr(self.estimator_, name)
                }
            )
        with _partitions_by_name():
            try:
                fit_parts(model, self._parts(X, y, sample_weight, sensitive_features, offset))
            except BaseException:
                # The best coefficients of a fit that had begun.
                if hasattr(model, "coef_"):
                    self._keep(model)
                raise
        self._keep(model)
        return self

    def strength_path(self, X, y, strengths, sample_weight=None, *, sensitive_features=None, offset=None):
        """Fit a model for each strength, each started from the one before; what does not depend on it is done once.

        Parameters
        ----------
        X, y, sample_weight, sensitive_features, offset
            As in :meth:`fit`.
        strengths : sequence of float
            Strengths in the order in which to fit them; increasing ones start best.

        Returns
        -------
        list of estimators
            Ordinary fitted ones that differ in ``strength``.
        """
        model, models, start = self._model(), [], None
        strengths = list(strengths)
        with _partitions_by_name():
            problem = BlockProblem(model, self._parts(X, y, sample_weight, sensitive_features, offset), strengths)
            for strength in strengths:
                start, attributes = problem.solve(strength, start)
                fitted = copy(model)
                fitted.__dict__.update(attributes)
                models.append(fitted.set_params(**{**self.estimator.get_params(deep=False), "strength": strength}))
        return models

    @available_if(_classifies)
    def predict_proba(self, X, offset=None):
        """Probability of each class, partition by partition; of classifiers.

        Parameters
        ----------
        X : Dask DataFrame or Array, or in-memory rows, (n, p)
            Features as in ``fit``.
        offset : Dask Series or Array, or in-memory, (n,), or float, optional
            Offset on the link scale, of models that were fitted with one.

        Returns
        -------
        (n, 2) Dask Array or array
        """
        return self._mapped("predict_proba", X, offset, n_columns=2)

    def _model(self):
        estimator = self.estimator
        if not hasattr(estimator, "fit_blocks"):
            name = type(estimator).__name__
            boosted = "XGB" in name or "LGBM" in name
            instead = "DaskDCovXGBRegressor(DCovXGBRegressor(...))" if boosted else "a sample of the rows by on_sample"
            raise TypeError(f"estimator must be a linear model of fairdcov; found {name}: use {instead}")
        check_flag(self.keep_features, "keep_features")
        # The tasks of a worker share its threads.
        return clone(estimator).set_params(**({"n_threads": 1} if estimator.n_threads is None else {}))

    def _parts(self, X, y, sample_weight, sensitive_features, offset):
        return DaskParts(
            read_partitions(
                X=X, y=y, sample_weight=sample_weight, sensitive_features=sensitive_features, offset=offset
            ),
            self.keep_features,
        )


class _partitions_by_name:
    """Context in which errors speak of partitions where the fit of parts speaks of blocks."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, ValueError | TypeError) and error.args and isinstance(error.args[0], str):
            text = re.sub(r"\bblock(s?)\b", r"partition\1", error.args[0])
            error.args = (text, *error.args[1:])
        return False
