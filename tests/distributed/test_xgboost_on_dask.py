"""XGBoost over several workers is XGBoost in one process."""

import os
import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
pytest.importorskip("distributed")

from fairdcov import CCDCovPenalty, DCovLGBMRegressor, DCovPoissonRegressor, DCovXGBRegressor  # noqa: E402
from fairdcov.distributed import DaskDCovXGBRegressor  # noqa: E402

ROUNDS = {"n_estimators": 15, "max_depth": 3, "learning_rate": 0.1, "random_state": 0}


def model(**options):
    pytest.importorskip("xgboost")
    options = {"penalty": CCDCovPenalty(method="grid"), "objective": "poisson", "strength": 2.0, **ROUNDS, **options}
    return DCovXGBRegressor(**options)


def collections(book, n_partitions=3):
    X = dd.from_pandas(book["X"], npartitions=n_partitions, sort=False)
    people = dd.from_pandas(book["people"], npartitions=2, sort=False)
    y, weight = da.from_array(book["y"], chunks=1_100), da.from_array(book["weight"], chunks=700)
    return (X, y, weight), {"sensitive_features": people}


def in_memory(book):
    return (book["X"], book["y"], book["weight"]), {"sensitive_features": book["people"]}


def both(book, estimator, offset=None):
    """Fitted on Dask and in memory."""
    rows, given = collections(book)
    if offset is not None:
        given["offset"] = da.from_array(offset, chunks=1_000)
    wrapped = DaskDCovXGBRegressor(estimator).fit(*rows, **given)
    rows, given = in_memory(book)
    return wrapped, estimator.fit(*rows, **given, **({} if offset is None else {"offset": offset}))


@pytest.mark.parametrize("objective", ["poisson", "squared_error", "tweedie", "negative_binomial"])
def test_few_rounds_are_those_of_one_process_xgb(book, cluster, objective):
    wrapped, expected = both(book, model(objective=objective, strength=0.2, n_penalised_rounds=2))
    found = wrapped.estimator_
    assert type(found) is DCovXGBRegressor
    assert found.n_penalised_rounds_ == expected.n_penalised_rounds_ == 2
    for name in ("loss_value_", "penalty_value_", "objective_value_"):
        assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-6)
    assert_allclose(found.predict(book["X"]), expected.predict(book["X"]), rtol=1e-5)
    assert found.get_params()["n_jobs"] is None
    assert_allclose(wrapped.predict(dd.from_pandas(book["X"], npartitions=2)).compute(), found.predict(book["X"]))


def test_many_rounds_are_those_of_one_process_where_all_values_have_a_bin_xgb(book, cluster):
    # What differs otherwise is the choice of bins alone, which XGBoost makes of a summary of each worker's rows, and
    # in one process by the order of the rows.
    assert book["X"].nunique().max() < 256
    wrapped, expected = both(book, model(n_penalised_rounds=20))
    found = wrapped.estimator_
    unpenalised = model(strength=0).fit(*in_memory(book)[0], **in_memory(book)[1])
    assert expected.penalty_value_ < 0.2 * unpenalised.penalty_value_
    order = np.random.default_rng(0).permutation(len(book["y"]))
    (X, y, weight), given = in_memory(book)
    rows = X.iloc[order], y[order], weight[order]
    shuffled = model(n_penalised_rounds=20).fit(*rows, sensitive_features=given["sensitive_features"].iloc[order])
    for other in (found, shuffled):
        assert other.n_penalised_rounds_ == expected.n_penalised_rounds_
        for name in ("loss_value_", "penalty_value_", "objective_value_"):
            assert_allclose(getattr(other, name), getattr(expected, name), rtol=1e-6)
        assert_allclose(other.predict(X), expected.predict(X), rtol=1e-5)


@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_monotone_constraints_hold_in_all_rounds_xgb(book, cluster, strength):
    options = {"strength": strength, "n_penalised_rounds": 20, "max_depth": 4}
    wrapped, expected = both(book, model(monotone_constraints={"a": -1, "b": 1}, **options))
    found = wrapped.estimator_
    assert_allclose(found.predict(book["X"]), expected.predict(book["X"]), rtol=1e-5)
    rows = book["X"].iloc[:200]

    def steps(fitted, column):
        values = np.linspace(book["X"][column].min(), book["X"][column].max(), 30)
        return np.diff([fitted.predict(rows.assign(**{column: value})) for value in values], axis=0)

    assert steps(found, "a").max() <= 0
    assert steps(found, "b").min() >= 0
    free = DaskDCovXGBRegressor(model(**options)).fit(*collections(book)[0], **collections(book)[1]).estimator_
    assert steps(free, "a").max() > 0


def test_leaves_that_are_moved_for_a_large_strength_xgb(book, cluster):
    with pytest.warns(match="with strength"):
        wrapped, expected = both(book, model(strength=1e5, n_penalised_rounds=5))
    assert wrapped.estimator_.effective_strength_ < 1e5
    assert_allclose(wrapped.estimator_.loss_value_, expected.loss_value_, rtol=0.01)


def test_an_offset_xgb(book, cluster):
    offset = 0.5 * book["X"]["c"].to_numpy()
    wrapped, expected = both(book, model(n_penalised_rounds=2), offset)
    given = {"offset": da.from_array(offset, chunks=500)}
    found = wrapped.predict(dd.from_pandas(book["X"], npartitions=2), **given).compute()
    assert_allclose(found, expected.predict(book["X"], offset=offset), rtol=1e-3)


def test_protected_columns_of_X_xgb(book, cluster):
    estimator = model(n_penalised_rounds=2, sensitive_columns=["gender", "region", "age"])
    X = pd.concat([book["X"], book["people"]], axis=1)
    rows = dd.from_pandas(X, npartitions=3), da.from_array(book["y"], chunks=1_000)
    found = DaskDCovXGBRegressor(estimator).fit(*rows).estimator_
    assert found.n_features_in_ == 4
    assert found.sensitive_columns == ["gender", "region", "age"]
    expected = estimator.fit(X, book["y"])
    assert_allclose(found.predict(X), expected.predict(book["X"]), rtol=1e-3)


def test_a_partition_without_rows_that_count_xgb(book, cluster):
    book["weight"][:1_000] = 0.0
    book["people"].loc[:10, "gender"] = "unknown"
    wrapped, expected = both(book, model(n_penalised_rounds=1))
    assert_allclose(wrapped.estimator_.loss_value_, expected.loss_value_, rtol=1e-4)


def test_without_a_cluster_xgb(book):
    rows, given = collections(book)
    with pytest.raises(RuntimeError, match=r"needs a Dask cluster; found none: start one by\n.*Client"):
        DaskDCovXGBRegressor(model()).fit(*rows, **given)


def test_what_is_not_distributed():
    with pytest.raises(TypeError, match=r"DCovLGBMRegressor is not distributed.*use DaskDCovXGBRegressor"):
        DaskDCovXGBRegressor(DCovLGBMRegressor()).fit(None, None)
    with pytest.raises(TypeError, match=r"found DCovPoissonRegressor .linear models: DaskDCovRegressor"):
        DaskDCovXGBRegressor(DCovPoissonRegressor()).fit(None, None)


def test_bad_rows_are_named_and_nothing_is_learnt_xgb(book, cluster):
    book["y"][2_500] = np.nan
    rows, given = collections(book)
    wrapper = DaskDCovXGBRegressor(model())
    with pytest.raises(ValueError, match=r"^partition 2 \(rows 2000 to 2999\): y must be finite"):
        wrapper.fit(*rows, **given)
    assert not hasattr(wrapper, "estimator_")
    book["y"][2_500] = -1.0
    rows, given = collections(book)
    with pytest.raises(ValueError, match=r"^partition 2 .* needs y >= 0"):
        wrapper.fit(*rows, **given)


def test_columns_that_differ_xgb(book, cluster):
    parts = [dask.delayed(book["X"].iloc[:1_000]), dask.delayed(book["X"].iloc[1_000:].astype({"b": "float32"}))]
    X = dd.from_delayed(parts, meta=book["X"].iloc[:0], verify_meta=False)
    rows, given = collections(book)
    with pytest.raises(ValueError, match=r"same columns everywhere; partition 0 .* b \(float64\).* partition 1 .*32"):
        DaskDCovXGBRegressor(model()).fit(X, *rows[1:], **given)


@pytest.mark.parametrize("how", ["rare", "own", "order"])
def test_levels_that_not_all_partitions_know_xgb(book, cluster, how):
    book["X"]["fuel"] = pd.Categorical(np.where(book["X"]["d"] > 0, "petrol", "diesel"))
    if how == "rare":
        book["X"]["fuel"] = book["X"]["fuel"].cat.add_categories(["water"])
        book["X"].loc[2_000:2_400, "fuel"] = "water"
    (X, *rows), given = in_memory(book)
    # The first worker has two partitions, the last one has no rows.
    parts = [X.iloc[low:high] for low, high in ((0, 500), (500, 500), (500, 2_000), (2_000, 3_000), (3_000, 3_000))]
    if how == "order":
        parts[3] = parts[3].assign(fuel=parts[3]["fuel"].cat.reorder_categories(["petrol", "diesel"]))
    else:
        parts = [part.assign(fuel=part["fuel"].cat.remove_unused_categories()) for part in parts]
    if how == "own":
        parts[2] = parts[2].assign(fuel=parts[2]["fuel"].cat.add_categories(["steam"]))
    together = dd.from_delayed([dask.delayed(part) for part in parts], meta=parts[0].iloc[:0], verify_meta=False)
    _, people = collections(book)
    y, weight = (da.from_array(values, chunks=700) for values in rows)
    found = DaskDCovXGBRegressor(model(n_penalised_rounds=5)).fit(together, y, weight, **people).estimator_
    expected = model(n_penalised_rounds=5).fit(X, *rows, **given)
    assert_allclose(found.predict(X), expected.predict(X), rtol=1e-5)
    assert_allclose(found.penalty_value_, expected.penalty_value_, rtol=1e-6)


def test_a_worker_that_fails_stops_the_others_xgb(book, cluster):
    rows, given = collections(book)
    wrapper = DaskDCovXGBRegressor(model(max_depth=-5))
    with pytest.raises(RuntimeError, match=r"a worker failed in mid-fit \(XGBoostError: value -5 for Parameter"):
        wrapper.fit(*rows, **given)
    assert not hasattr(wrapper, "estimator_")


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_fit_xgb(book):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": None}
    with (
        dask.config.set(scheduler=None),
        distributed.LocalCluster(processes=True, **options) as started,
        distributed.Client(started) as client,
    ):
        rows, given = collections(book)
        wrapper = DaskDCovXGBRegressor(model(strength=0, n_estimators=100_000))
        pids = client.run(os.getpid)

        def kill():
            # Once both are at it.
            for _ in range(600):
                if all(any("_fit_part" in str(key) for key in keys) for keys in client.processing().values()):
                    break
                time.sleep(0.1)
            time.sleep(1.0)
            os.kill(pids[max(pids)], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(RuntimeError, match=r"a worker failed in mid-fit \(tcp://.* was lost\); nothing was learnt"):
            wrapper.fit(*rows, **given)
        killer.join()
        # The other one can go on.
        found = DaskDCovXGBRegressor(model(strength=0)).fit(*rows, **given).estimator_
    assert found.booster_.num_boosted_rounds() == ROUNDS["n_estimators"]
