"""XGBoost on a cluster: the round loop of the package in every worker, on its own rows, taking the same decisions."""

import hashlib
import threading
import warnings
from contextlib import nullcontext, suppress
from itertools import pairwise

import numpy as np
import pandas as pd

from fairdcov._checks import import_optional, warn_user
from fairdcov.boosting import DCovXGBRegressor
from fairdcov.dependence import Reduction
from fairdcov.distributed._estimator import DaskEstimator, read_fit
from fairdcov.distributed._profiles import find_profiles
from fairdcov.encoding import SensitiveBlocks, SensitiveEncoder

__all__ = ["CollectiveReduction", "DaskDCovXGBRegressor"]

# A worker with fewer rows could not tell its share of a penalised fit from a mistake.
_LEAST_ROWS = 4
# Seconds between looks at the workers.
_PATIENCE = 5


class CollectiveReduction(Reduction):
    """Sums and maxima over the processes of XGBoost's communicator; within its context and one thread of it only."""

    def add(self, array):
        """See :class:`fairdcov.dependence.Reduction`."""
        return self._reduced(array, "SUM")

    def maximum(self, array):
        """See :class:`fairdcov.dependence.Reduction`."""
        return self._reduced(array, "MAX")

    def _reduced(self, array, operation):
        collective = import_optional("xgboost.collective", "a fit of several processes")
        array = np.asarray(array)
        return collective.allreduce(array, collective.Op[operation]).reshape(array.shape)


class DaskDCovXGBRegressor(DaskEstimator):
    """:class:`fairdcov.DCovXGBRegressor` on Dask collections that need not fit one process.

    XGBoost grows its trees over all workers, as ``xgboost.dask`` does. The penalised rounds run in each of them at the
    same time: a worker sees gradients of its own rows, and what is global (losses, the tables of masses that the
    penalty is made of, sums over leaves) is added up by XGBoost's own collectives, so that all workers keep and drop
    the same trees.

    Parameters
    ----------
    estimator : DCovXGBRegressor
        What to fit, cloned before. Its penalty goes by ``method="grid"``; with ``n_jobs=None`` each worker takes the
        threads that Dask gives it.

    Attributes
    ----------
    estimator_ : DCovXGBRegressor
        The fitted model: an ordinary one, which predicts without Dask. Values of loss and penalty are those of all
        rows.

    See Also
    --------
    DaskDCovRegressor : Linear models.

    Notes
    -----
    A fit needs a Dask client with one or more workers, all with the same packages. Workers get consecutive partitions
    in the order of their addresses, and hold their rows in memory; there is no recovery from the loss of one in
    mid-fit, which raises an error: fit again.

    The model is that of one process where no feature has more values than XGBoost's ``max_bin``, 256. Otherwise its
    bins follow a summary of each worker's rows, and trees differ as they do in one process for rows in another order.

    There are no ``eval_set`` and ``control_features``. LightGBM is not distributed: its collectives are not public.
    ``xgboost.spark`` takes no objectives of one's own. The level of independence that a large strength is judged by
    (``penalty_null_level_``) permutes rows within each worker.

    Examples
    --------
    >>> from dask.distributed import Client, LocalCluster  # doctest: +SKIP
    >>> from fairdcov import DCovXGBRegressor
    >>> from fairdcov.distributed import DaskDCovXGBRegressor
    >>> client = Client(LocalCluster(n_workers=2))  # doctest: +SKIP
    >>> model = DaskDCovXGBRegressor(DCovXGBRegressor(strength=30, objective="poisson"))
    >>> model = model.fit(X, y, sample_weight=exposure, sensitive_features=people)  # doctest: +SKIP
    >>> model.estimator_.predict(few_rows)  # doctest: +SKIP
    """

    def fit(self, X, y, sample_weight=None, *, sensitive_features=None, offset=None):
        """Fit the model.

        Parameters
        ----------
        X : Dask DataFrame or Array, (n, p)
            Features; levels of a categorical column that only some partitions know are levels in all of them.
        y : Dask Series or Array, (n,)
            Target.
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
            For an estimator that is not distributed.
        ValueError
            As in :meth:`fairdcov.DCovXGBRegressor.fit`; it names the partition.
        RuntimeError
            Without a Dask client, and when a worker fails.
        """
        _check_estimator(self.estimator)
        client = _client()
        model = self._copy()
        rows = read_fit(self.estimator, X, y, sample_weight, sensitive_features, offset)
        attributed = self.estimator.sensitive_columns is not None or sensitive_features is not None
        encoded = _Encoded.of(rows, model) if attributed else None
        self._keep(_fit_together(client, model, rows, encoded, type(self).__name__))
        return self


def _check_estimator(estimator):
    if isinstance(estimator, DCovXGBRegressor):
        return
    name = type(estimator).__name__
    if "LGBM" in name:
        raise TypeError(
            f"{name} is not distributed, since LightGBM's collectives are not public: use "
            "DaskDCovXGBRegressor(DCovXGBRegressor(...)), or fit on a sample of the rows"
        )
    raise TypeError(f"estimator must be a DCovXGBRegressor; found {name} (linear models: DaskDCovRegressor)")


def _client():
    distributed = import_optional("distributed", "DaskDCovXGBRegressor")
    try:
        return distributed.get_client()
    except ValueError as error:
        raise RuntimeError(
            "DaskDCovXGBRegressor needs a Dask cluster; found none: start one by\n"
            "    from dask.distributed import Client, LocalCluster\n"
            "    client = Client(LocalCluster(n_workers=2))"
        ) from error


class _Encoded:
    """Profiles of all rows as a penalty takes them, and the profile of each row of a block."""

    def __init__(self, profiles, blocks):
        self._profiles, self._blocks = profiles, blocks

    @classmethod
    def of(cls, rows, estimator):
        profiles = find_profiles(rows)
        encoder = getattr(estimator.penalty, "encoder", None)
        encoder = SensitiveEncoder() if encoder is None else encoder
        return cls(profiles, encoder.fit_encode(profiles.frame, profiles.weights))

    def profiles_of(self, parts):
        """Profiles of the rows of several parts, one after the other."""
        codes = np.concatenate([self._profiles.codes_of(part) for part in parts])
        # Rows of no weight may have attributes that no other row has; the fit leaves them out.
        return SensitiveBlocks(self._blocks.codes[np.maximum(codes, 0)], self._blocks.points, self._blocks.names)


def _fit_together(client, model, rows, encoded, name):
    """The model as all workers fit it, each on consecutive blocks."""
    workers = sorted(client.scheduler_info(n_workers=-1)["workers"].items())
    if not workers:
        raise RuntimeError("the Dask cluster has no workers: start some")
    n_parts = min(len(workers), len(rows.blocks))
    while n_parts > 1 and min(map(sum, _split(rows.sizes, n_parts))) < _LEAST_ROWS:
        n_parts -= 1
    blocks = client.compute(rows.persisted().blocks)
    tracker = client.run_on_scheduler(_start_tracker, n_parts, _host(client))
    futures = [
        client.submit(
            _fit_part,
            *(model, part, encoded, position, tracker, info["nthreads"]),
            workers=[address],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )
        for position, (part, (address, info)) in enumerate(zip(_split(blocks, n_parts), workers, strict=False))
    ]
    addresses = [address for (address, _), _ in zip(workers, futures, strict=False)]
    lost = _wait(client, futures, addresses, name)
    failures = [future.exception() for future in futures if future.status == "error"]
    if lost or failures:
        client.cancel(futures, force=True)
        # That of a worker whose neighbour has gone says less than the neighbour's own.
        error = min(failures, key=lambda failure: "collective" in str(failure), default=None)
        if isinstance(error, ValueError | TypeError) and not type(error).__module__.startswith("xgboost"):
            raise error
        why = f"{', '.join(lost)} was lost" if lost else f"{type(error).__name__}: {error}"
        raise RuntimeError(
            f"{name}: a worker failed in mid-fit ({why}); nothing was learnt. Fit again, with more workers or fewer "
            "columns if it ran out of memory"
        ) from error
    outcomes = client.gather(futures)
    if len({digest for _, digest, _ in outcomes}) > 1:
        raise RuntimeError(f"{name}: the workers ended with different models; please report this")
    for category, message in dict.fromkeys(outcomes[0][2]):
        warn_user(message, category)
    return outcomes[0][0]


def _wait(client, futures, addresses, name):
    """Wait for all tasks, or for a failure; addresses of workers that have gone, whose tasks would wait for ever."""
    distributed = import_optional("distributed", name)
    while True:
        with suppress(TimeoutError):
            distributed.wait(futures, timeout=_PATIENCE)
            return []
        known = client.scheduler_info(n_workers=-1)["workers"]
        lost = [address for address in addresses if address not in known]
        if lost or any(future.status == "error" for future in futures):
            # What the others have to say.
            with suppress(TimeoutError):
                distributed.wait(futures, timeout=_PATIENCE)
            return lost


def _split(items, n_parts):
    bounds = np.linspace(0, len(items), n_parts + 1).round().astype(int)
    return [items[low:high] for low, high in pairwise(bounds)]


def _host(client):
    address = client.scheduler.address
    if address.startswith("inproc"):
        return "127.0.0.1"
    return import_optional("distributed.comm", "DaskDCovXGBRegressor").get_address_host(address)


def _start_tracker(n_workers, host):
    """What the workers have to know of the tracker, which runs where this is called."""
    tracker = import_optional("xgboost.tracker", "the Dask scheduler").RabitTracker(
        n_workers=n_workers, host_ip=host, sortby="task"
    )
    tracker.start()
    # It lives as long as it is waited for.
    threading.Thread(target=tracker.wait_for, daemon=True).start()
    return tracker.worker_args()


def _fit_part(model, blocks, encoded, position, tracker, n_threads):
    """Fit a model on blocks of this worker, together with the other workers; the model comes from the first of them."""
    collective = import_optional("xgboost.collective", "a Dask worker")
    X, y, weights, offset = (_together([block[name] for block in blocks]) for name in _ROW_ARGUMENTS)
    people = None
    if encoded is not None:
        people = encoded.profiles_of([block["sensitive_features"] for block in blocks])
    if model.n_jobs is None:
        model = model.set_params(n_jobs=n_threads)
    # Workers may be threads of one process, which has one list of caught warnings: all warn alike, the first one keeps.
    with nullcontext([]) if position else warnings.catch_warnings(record=True) as found:
        if not position:
            warnings.simplefilter("always")
        with collective.CommunicatorContext(**tracker, DMLC_TASK_ID=f"{position:06d}"):
            model._fit(X, y, weights, people, offset=offset, reduction=CollectiveReduction())
    caught = [(warning.category, str(warning.message)) for warning in found]
    digest = hashlib.sha256(bytes(model.booster_.save_raw("ubj"))).hexdigest()
    return (None if position else model), digest, caught


_ROW_ARGUMENTS = ("X", "y", "sample_weight", "offset")


def _together(parts):
    first = parts[0]
    if first is None or np.ndim(first) == 0:
        return first
    if hasattr(first, "iloc"):
        return pd.concat(parts, ignore_index=True)
    return np.concatenate(parts)
