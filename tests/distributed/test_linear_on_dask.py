"""Linear models on partitions are those in memory, to the same bits whoever computes."""

import os
import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

from fairdcov import (  # noqa: E402
    CCDCovPenalty,
    DCovGammaRegressor,
    DCovLGBMRegressor,
    DCovLogisticRegression,
    DCovNegativeBinomialRegressor,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
    DCovXGBRegressor,
    FrequencySeverityRegressor,
)
from fairdcov.distributed import DaskDCovRegressor, _linear, on_sample  # noqa: E402

MODELS = {
    "poisson": DCovPoissonRegressor,
    "negative_binomial": DCovNegativeBinomialRegressor,
    "tweedie": DCovTweedieRegressor,
    "gamma": DCovGammaRegressor,
    "normal": DCovRidge,
    "logistic": DCovLogisticRegression,
}


def model(name="poisson", **options):
    options = {
        "strength": 2.0,
        "alpha": 1e-3,
        "tol": 1e-5,
        "penalty": CCDCovPenalty(method="grid", grid_size=256),
        **options,
    }
    return MODELS[name](**options)


def target(book, name):
    if name == "gamma":
        return book["y"] + 0.5
    return np.where(book["y"] > 0, "yes", "no") if name == "logistic" else book["y"]


def collections(book, name="poisson", n_partitions=3):
    X = dd.from_pandas(book["X"], npartitions=n_partitions, sort=False)
    people = dd.from_pandas(book["people"][["gender", "region"]], npartitions=2, sort=False)
    y, weight = (da.from_array(v, chunks=c) for v, c in ((target(book, name), 1_100), (book["weight"], 700)))
    return (X, y, weight), {"sensitive_features": people}


def in_memory(book, name="poisson"):
    return (book["X"], target(book, name), book["weight"]), {"sensitive_features": book["people"][["gender", "region"]]}


def fitted(book, estimator, name="poisson", n_partitions=3, **options):
    rows, given = collections(book, name, n_partitions)
    return DaskDCovRegressor(estimator, **options).fit(*rows, **given)


@pytest.mark.parametrize(("name", "keep_features"), [*((name, True) for name in MODELS), ("poisson", False)])
def test_all_models_are_those_in_memory(book, name, keep_features):
    wrapped = fitted(book, model(name), name, keep_features=keep_features)
    rows, given = in_memory(book, name)
    expected = model(name).fit(*rows, **given)
    found = wrapped.estimator_
    assert type(found) is MODELS[name]
    assert found.converged_
    assert_allclose(np.ravel(found.coef_), np.ravel(expected.coef_), rtol=1e-3, atol=5e-4)
    assert_allclose(found.objective_value_, expected.objective_value_, rtol=1e-6)
    assert_allclose(found.penalty_value_, expected.penalty_value_, rtol=0.05)
    X = dd.from_pandas(book["X"], npartitions=4)
    if name == "logistic":
        assert_array_equal(wrapped.predict(X).compute(), found.predict(book["X"]))
        assert_allclose(wrapped.predict_proba(X).compute(), found.predict_proba(book["X"]), rtol=1e-12)
    else:
        assert_allclose(wrapped.predict(X).compute(), found.predict(book["X"]), rtol=1e-12)
        assert not hasattr(wrapped, "predict_proba")
    assert found.get_params()["n_threads"] is None


def test_the_same_bits_whoever_computes(book, cluster):
    of_cluster = [fitted(book, model(tol=1e-2), n_partitions=5).estimator_ for _ in range(2)]
    with dask.config.set(scheduler="threads"):
        of_threads = fitted(book, model(tol=1e-2), n_partitions=5).estimator_
    with dask.config.set(scheduler="synchronous"):
        of_one = fitted(book, model(tol=1e-2), n_partitions=5).estimator_
    for other in (*of_cluster, of_threads):
        assert_array_equal(other.coef_, of_one.coef_)
        assert other.intercept_ == of_one.intercept_
        assert other.objective_value_ == of_one.objective_value_


@pytest.mark.parametrize("name", ["poisson", "normal"])
def test_features_of_single_precision_take_half_the_memory_and_give_the_same_bits(book, monkeypatch, name):
    book["X"]["e"] = (book["X"]["d"] > 0).astype("int8")
    book["X"] = book["X"].astype("float32").astype({"e": "int8"})
    narrow, kinds = fitted(book, model(name), name).estimator_, []
    stage = _linear._of_doubles
    monkeypatch.setattr(_linear, "_of_doubles", lambda of, X, *given: kinds.append(X.dtype) or stage(of, X, *given))
    fitted(book, model(name, max_iter=1, tol=1.0), name)
    assert set(kinds) == {np.dtype(np.float32)}
    kinds.clear()
    book["X"] = book["X"].astype("float64")
    wide = fitted(book, model(name), name).estimator_
    assert set(kinds) == {np.dtype(np.float64)}
    assert_array_equal(narrow.coef_, wide.coef_)
    assert narrow.objective_value_ == wide.objective_value_


def test_attributes_in_columns_of_X_arrays_and_offsets(book):
    X = np.column_stack([book["X"].to_numpy(), (book["people"]["gender"] == "f").to_numpy(float)])
    offset = 0.1 * book["X"]["d"].to_numpy()
    estimator = model(sensitive_columns=[4])
    rows = da.from_array(X, chunks=(800, 2)), da.from_array(book["y"], chunks=1_000)
    wrapped = DaskDCovRegressor(estimator).fit(*rows, offset=da.from_array(offset, chunks=300))
    expected = estimator.fit(X, book["y"], offset=offset)
    assert_allclose(wrapped.estimator_.coef_, expected.coef_, rtol=1e-3, atol=5e-4)
    assert_allclose(
        wrapped.predict(rows[0], offset=da.from_array(offset, chunks=3_000)).compute(),
        expected.predict(X, offset=offset),
        rtol=1e-4,
    )


def test_a_path_of_strengths(book):
    rows, given = collections(book)
    path = DaskDCovRegressor(model()).strength_path(rows[0], rows[1], [0.0, 0.5, 2.0], rows[2], **given)
    assert [one.strength for one in path] == [0.0, 0.5, 2.0]
    penalties = [one.penalty_value_ for one in path]
    assert penalties[0] > penalties[1] > penalties[2]
    assert_allclose(path[2].coef_, fitted(book, model()).estimator_.coef_, rtol=0.01, atol=2e-3)
    assert_allclose(path[2].objective_value_, fitted(book, model()).estimator_.objective_value_, rtol=1e-5)


def test_partitions_without_rows_and_categories_of_one_partition_only(book):
    book["people"]["region"] = "n"
    book["people"].loc[2_900:, "region"] = "rare"
    book["weight"][:400] = 0.0
    parts = [(0, 400), (400, 400), (400, 2_900), (2_900, 3_000), (3_000, 3_000)]

    def of(frame):
        delayed = [dask.delayed(frame.iloc[low:high]) for low, high in parts]
        return dd.from_delayed(delayed, meta=frame.iloc[:0])

    given = {"sensitive_features": of(book["people"][["gender", "region"]])}
    weight = da.from_array(book["weight"], chunks=999)
    found = DaskDCovRegressor(model()).fit(of(book["X"]), da.from_array(book["y"], chunks=50), weight, **given)
    rows, given = in_memory(book)
    expected = model().fit(*rows, **given)
    assert_allclose(found.estimator_.coef_, expected.coef_, rtol=1e-3, atol=5e-4)


def test_bad_rows_are_named_and_nothing_is_learnt(book):
    book["X"].loc[2_100, "b"] = np.nan
    wrapper = DaskDCovRegressor(model())
    rows, given = collections(book)
    with pytest.raises(ValueError, match=r"partition 2: X in row 100, column 'b': Input X contains NaN"):
        wrapper.fit(*rows, **given)
    assert not hasattr(wrapper, "estimator_")
    book["X"].loc[2_100, "b"] = 0.0
    book["people"].loc[10, "gender"] = None
    rows, given = collections(book)
    with pytest.raises(ValueError, match=r"partition 0: sensitive_features column 'gender' has 1 missing"):
        wrapper.fit(*rows, **given)
    assert not hasattr(wrapper, "estimator_")


def test_columns_that_differ(book):
    parts = [book["X"].iloc[:1_000], book["X"].iloc[1_000:].rename(columns={"b": "z"})]
    X = dd.from_delayed([dask.delayed(part) for part in parts], meta=parts[0].iloc[:0], verify_meta=False)
    rows, given = collections(book)
    with pytest.raises(ValueError, match=r"columns of X differ between partitions: partition 1 lacks \['b'\]"):
        DaskDCovRegressor(model()).fit(X, *rows[1:], **given)


@pytest.mark.parametrize(
    ("estimator", "instead"),
    [
        (DCovXGBRegressor(), "DaskDCovXGBRegressor"),
        (DCovLGBMRegressor(), "DaskDCovXGBRegressor"),
        (FrequencySeverityRegressor(DCovPoissonRegressor(), DCovGammaRegressor()), "on_sample"),
    ],
)
def test_what_is_no_linear_model(estimator, instead):
    with pytest.raises(TypeError, match=f"must be a linear model of fairdcov; found .*{instead}"):
        DaskDCovRegressor(estimator).fit(None, None)


class Failing:
    """A partition that can be made so many times."""

    def __init__(self, frame, times):
        self.frame, self.left = frame, times

    def __call__(self):
        self.left -= 1
        if self.left < 0:
            raise MemoryError("no memory left")
        return self.frame


def test_a_fit_that_is_broken_off_can_go_on(book):
    rows, given = collections(book)
    make = Failing(book["X"], 15)
    X = dd.from_delayed([dask.delayed(make, pure=False)()], meta=book["X"].iloc[:0], verify_meta=False)
    wrapper = DaskDCovRegressor(model(), keep_features=False)
    with pytest.raises(MemoryError, match="no memory left") as raised:
        wrapper.fit(X, *rows[1:], **given)
    assert any("warm_start" in note for note in raised.value.__notes__)
    assert not wrapper.estimator_.converged_
    left_off = wrapper.estimator_.objective_value_
    wrapper.estimator.set_params(warm_start=True)
    wrapper.fit(*rows, **given)
    assert wrapper.estimator_.converged_
    assert wrapper.estimator_.objective_value_ <= left_off
    assert_allclose(wrapper.estimator_.objective_value_, fitted(book, model()).estimator_.objective_value_, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:rule='elbow' chooses strength 0:fairdcov.exceptions.CalibrationWarning")
def test_a_strength_is_chosen_on_a_sample(book):
    from fairdcov import JSDivergenceCalibrator

    calibrator = JSDivergenceCalibrator(
        model(tol=1e-4), strengths=[0, 1.0], rule="elbow", cv=2, n_permutations=1, verbose=0, if_unmet="warn"
    )
    rows, given = collections(book)
    given["sensitive_features"] = given["sensitive_features"][["gender"]]
    found = on_sample(calibrator.fit, rows[0], rows[1], sample_weight=rows[2], **given, n_rows=1_500)
    assert found.best_strength_ in (0, 1.0)


def large(n=200_000, p=20):
    rng = np.random.default_rng(5)
    X = pd.DataFrame(rng.normal(size=(n, p)), columns=[f"x{j}" for j in range(p)])
    people = pd.DataFrame(
        {"gender": np.where(X["x0"] + rng.normal(size=n) > 0, "f", "m"), "region": rng.choice(list("abcdefghij"), n)}
    )
    weight = rng.uniform(0.2, 1.0, n)
    coefficients = np.where(np.arange(p) % 2, 0.1, -0.1)
    mean = np.exp(-1.0 + X.to_numpy() @ coefficients + 0.2 * (people["gender"] == "f"))
    y = np.asarray(rng.poisson(mean * weight) / weight)
    return {"X": X, "y": y, "weight": weight, "people": people}


@pytest.mark.slow
def test_a_large_book_on_two_processes_one_of_which_is_killed(tmp_path):
    distributed = pytest.importorskip("distributed")
    book = large()
    estimator = model(penalty="ccdcov", strength=1.0, tol=1e-6)
    table = pd.concat([book["X"], book["people"]], axis=1).assign(y=book["y"], weight=book["weight"])
    for number in range(8):
        table.iloc[number * 25_000 : (number + 1) * 25_000].to_parquet(tmp_path / f"part{number}.parquet")
    rows, given = in_memory(book)
    expected = clone(estimator).fit(*rows, **given)
    with (
        dask.config.set(scheduler=None),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit="2GB"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        table = dd.read_parquet(tmp_path)
        rows = table[list(book["X"])], table["y"], table["weight"]
        given = {"sensitive_features": table[["gender", "region"]]}
        assert rows[0].npartitions == 8
        found = [DaskDCovRegressor(estimator).fit(*rows, **given).estimator_ for _ in range(3)]
        started = time.monotonic()
        pid = next(iter(client.run(os.getpid).values()))
        killed = []

        def kill():
            os.kill(pid, signal.SIGKILL)
            killed.append(time.monotonic() - started)

        timer = threading.Timer(2.0, kill)
        timer.start()
        found.append(DaskDCovRegressor(estimator).fit(*rows, **given).estimator_)
        took = time.monotonic() - started
        timer.join()
        assert killed
        assert killed[0] < took
    assert_allclose(found[0].coef_, expected.coef_, rtol=1e-3)
    for other in found[1:]:
        assert_array_equal(other.coef_, found[0].coef_)
        assert other.intercept_ == found[0].intercept_
