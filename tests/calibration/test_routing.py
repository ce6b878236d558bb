"""Routing conformance of the calibrator, after scikit-learn's table of meta-estimators; and the same without routing.

Everything that takes metadata writes down what it got beside the numbers of its rows, so that each test sees who was
given what, and whether a fold got its own rows.
"""

import pickle
import re
from dataclasses import dataclass, field

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin, clone
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import make_scorer
from sklearn.model_selection import BaseCrossValidator, GridSearchCV, GroupKFold, HalvingGridSearchCV, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.metadata_routing import MetadataRouter, get_routing_for_object

from fairdcov import DCovPoissonRegressor, JDCovPenalty, JSDivergenceCalibrator
from fairdcov.exceptions import MissingSensitiveFeaturesError
from fairdcov.metrics import js_divergence, neg_js_divergence_scorer, neg_poisson_deviance_scorer

SKLEARN_1_8 = sklearn.__version__.startswith("1.8.")

N = 80
OPTIONS = {"strengths": [0.0, 1.0], "rule": "elbow", "if_unmet": "warn", "cv": 2, "n_permutations": 2, "verbose": 0}

pytestmark = [
    pytest.mark.filterwarnings("ignore:rule='elbow' needs a strength"),
    pytest.mark.filterwarnings("ignore::fairdcov.exceptions.CalibrationWarning"),
]


class Records(list):
    """Shared by an estimator and its clones."""

    def __deepcopy__(self, memo):
        return self

    def of(self, method):
        return [record for record in self if record.method == method]


@dataclass
class Record:
    method: str
    rows: np.ndarray
    given: dict = field(default_factory=dict)


def write(records, method, X, **given):
    given = {name: value for name, value in given.items() if not (isinstance(value, str) and value == "default")}
    records.append(Record(method, np.asarray(X)[:, -1].astype(int), given))


class ConsumingRegressor(RegressorMixin, BaseEstimator):
    """Predicts its first feature, shrunk; the last feature is the number of the row."""

    def __init__(self, strength=0.0, records=None):
        self.strength = strength
        self.records = Records() if records is None else records

    def fit(self, X, y, sample_weight="default", sensitive_features="default", metadata="default"):
        given = {"sample_weight": sample_weight, "sensitive_features": sensitive_features, "metadata": metadata}
        write(self.records, "fit", X, **given)
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.asarray(X)[:, 0] / (1.0 + self.strength)

    def score(self, X, y, sample_weight="default", metadata="default"):
        write(self.records, "score", X, sample_weight=sample_weight, metadata=metadata)
        return 1.0 - self.strength / 10.0


class PathRegressor(ConsumingRegressor):
    """The same with a path, which takes what ``fit`` takes."""

    def strength_path(
        self, X, y, strengths, sample_weight="default", *, sensitive_features="default", metadata="default"
    ):
        given = {"sample_weight": sample_weight, "sensitive_features": sensitive_features, "metadata": metadata}
        write(self.records, "strength_path", X, **given)
        for strength in strengths:
            model = clone(self).set_params(strength=strength)
            model.fitted_ = True
            yield model


class ConsumingClassifier(ClassifierMixin, ConsumingRegressor):
    """The same with probabilities."""

    def fit(self, X, y, sample_weight="default", sensitive_features="default", metadata="default"):
        self.classes_ = np.unique(y)
        return super().fit(X, y, sample_weight, sensitive_features, metadata)

    def predict_proba(self, X):
        second = 1 / (1 + np.exp(-ConsumingRegressor.predict(self, X)))
        return np.column_stack([1 - second, second])


class NonConsumingRegressor(RegressorMixin, BaseEstimator):
    """Takes no metadata at all."""

    def __init__(self, strength=0.0):
        self.strength = strength

    def fit(self, X, y):
        self.fitted_ = True
        return self

    def predict(self, X):
        return np.asarray(X)[:, 0] / (1.0 + self.strength)


class ConsumingTransformer(TransformerMixin, BaseEstimator):
    """Changes nothing."""

    def __init__(self, records=None):
        self.records = Records() if records is None else records

    def fit(self, X, y=None, sample_weight="default", metadata="default"):
        write(self.records, "fit", X, sample_weight=sample_weight, metadata=metadata)
        return self

    def transform(self, X):
        return X

    def __sklearn_is_fitted__(self):
        return True


class ConsumingSplitter(BaseCrossValidator):
    """Two halves, even and odd rows."""

    __metadata_request__split = {"groups": True}  # noqa: RUF012

    def __init__(self, records=None):
        self.records = Records() if records is None else records

    def split(self, X, y=None, groups="default", metadata="default"):
        write(self.records, "split", X, groups=groups, metadata=metadata)
        even, odd = np.arange(0, len(X), 2), np.arange(1, len(X), 2)
        yield even, odd
        yield odd, even

    def get_n_splits(self, X=None, y=None, groups=None, metadata=None):
        return 2


class ConsumingMetric:
    """Metric of a scorer; predictions are no rows, so it writes down the observed values, which number them."""

    def __init__(self):
        self.records = Records()

    def __call__(self, y_true, y_pred, sample_weight="default", metadata="default"):
        rows = np.asarray(y_true)[:, None]
        write(self.records, "score", rows, sample_weight=sample_weight, metadata=metadata)
        return -float(np.mean(np.abs(y_pred)))


def plain_score(estimator, X, y):
    """A scorer that takes no metadata, and minds no weights that are passed to others."""
    return -float(np.mean(np.abs(estimator.predict(X))))


@pytest.fixture
def data():
    """Rows that know their number: last feature, target, weight and metadata."""
    rng = np.random.default_rng(3)
    people = pd.DataFrame(
        {"gender": np.repeat(["f", "m"], N // 2), "young": np.tile([True, True, False, False], N // 4)}
    )
    rows = np.arange(N, dtype=float)
    X = np.column_stack([rng.normal(size=N) + (people["gender"] == "f"), rows])
    return {"X": X, "y": rows, "people": people, "sample_weight": rows + 1.0, "metadata": rows + 1000.0}


@pytest.fixture(autouse=True)
def _routing(request):
    """Metadata routing is on, except in tests marked with the fixture ``without_routing``."""
    with sklearn.config_context(enable_metadata_routing="without_routing" not in request.fixturenames):
        yield


@pytest.fixture
def without_routing():
    """Metadata routing is off."""


def values(data, *names):
    """Metadata by name."""
    return {name: data["people"] if name == "sensitive_features" else data[name] for name in names}


def check(records, method, data, *expected, rows=None):
    """Each call of a method got just the metadata expected, each for its own rows."""
    calls = records.of(method)
    assert calls
    for call in calls:
        assert set(call.given) == set(expected)
        for name in expected:
            np.testing.assert_array_equal(call.given[name], np.asarray(values(data, name)[name])[call.rows])
        if rows is not None:
            assert len(call.rows) == rows
    return calls


def calibrator(estimator, **options):
    return JSDivergenceCalibrator(estimator, **{**OPTIONS, **options})


# Where the calibrator can stand: (estimator within) -> what is fitted. Each hands on to the innermost estimator.
TABLE = {
    "calibrator": lambda inner, **options: calibrator(inner, **options),
    "around a pipeline": lambda inner, **options: calibrator(
        Pipeline([("scale", StandardScaler(with_mean=False, with_std=False)), ("model", inner)]), **options
    ),
    "around a search": lambda inner, **options: calibrator(
        GridSearchCV(inner, {"strength": [0.5]}, cv=2, scoring=plain_score, error_score="raise"),
        **{"param_name": "estimator__strength", "scoring": plain_score, **options},
    ),
    "in a pipeline": lambda inner, **options: Pipeline(
        [("scale", StandardScaler(with_mean=False, with_std=False)), ("calibrator", calibrator(inner, **options))]
    ),
    "in a search": lambda inner, **options: GridSearchCV(
        calibrator(inner, **options), {"n_permutations": [2]}, cv=2, scoring=plain_score, error_score="raise"
    ),
    "in a halving search": lambda inner, **options: HalvingGridSearchCV(
        calibrator(inner, **options),
        {"n_permutations": [1, 2]},
        cv=2,
        scoring=plain_score,
        min_resources=40,
        error_score="raise",
    ),
    "in a pipeline in a search": lambda inner, **options: GridSearchCV(
        make_pipeline(StandardScaler(with_mean=False, with_std=False), calibrator(inner, **options)),
        {"jsdivergencecalibrator__n_permutations": [2]},
        cv=2,
        scoring=plain_score,
        error_score="raise",
    ),
}
TABLE = {
    f"{name}, {estimator.__name__}": (composition, estimator)
    for name, composition in TABLE.items()
    for estimator in (ConsumingRegressor, PathRegressor)
}
every_place = pytest.mark.parametrize(("compose", "estimator"), TABLE.values(), ids=TABLE.keys())


def silent_scaler(meta):
    """Scalers that were asked about ``sample_weight`` do not want it."""
    for step in meta.get_params().values():
        if isinstance(step, StandardScaler):
            step.set_fit_request(sample_weight=False)
    return meta


def fits_of(inner):
    """Which method was called to fit: a search within has no path, and fits."""
    return "strength_path" if inner.records.of("strength_path") else "fit"


# ---------------------------------------------------------------------------------------------------------------------
# Requests
# ---------------------------------------------------------------------------------------------------------------------


@every_place
def test_routing_can_be_asked_before_fit_and_requests_nothing_on_behalf_of_others(compose, estimator):
    inner = estimator()
    router = get_routing_for_object(compose(inner, scoring=None))
    assert isinstance(router, MetadataRouter)
    names = ["sensitive_features", "sample_weight", "metadata", "groups"]
    assert router.consumes("fit", names) == {"sensitive_features", "sample_weight"}
    for method in ("predict", "score", "predict_proba", "transform"):
        assert router.consumes(method, names) == set()
    assert get_routing_for_object(inner).consumes("fit", names) == set()


def test_the_calibrator_may_be_told_to_ignore_or_rename_its_own_metadata(data):
    inner = ConsumingRegressor().set_fit_request(sample_weight=True, sensitive_features=False)
    renamed = calibrator(inner, scoring=plain_score).set_fit_request(sensitive_features="people")
    pipeline = make_pipeline(renamed)
    pipeline.fit(data["X"], data["y"], people=data["people"], sample_weight=data["sample_weight"])
    check(inner.records, "fit", data, "sample_weight")
    with pytest.raises(TypeError, match=r"got unexpected argument\(s\) \{'sensitive_features'\}"):
        pipeline.fit(data["X"], data["y"], sensitive_features=data["people"])


@every_place
@pytest.mark.parametrize("name", ["sample_weight", "metadata"])
def test_metadata_passed_and_not_requested_raise(data, compose, estimator, name):
    inner = estimator().set_fit_request(sensitive_features=True)
    meta = silent_scaler(compose(inner))
    message = re.escape(
        f"[{name}] are passed but are not explicitly set as requested or not requested for {estimator.__name__}.fit"
    )
    with pytest.raises(UnsetMetadataPassedError, match=message):
        meta.fit(data["X"], data["y"], **values(data, "sensitive_features", name))
    assert not inner.records  # before anything was fitted
    if isinstance(meta, JSDivergenceCalibrator):
        assert not [attribute for attribute in vars(meta) if attribute.endswith("_")]


@every_place
def test_protected_attributes_that_the_estimator_said_nothing_about_raise(data, compose, estimator):
    with pytest.raises(UnsetMetadataPassedError, match=rf"\[sensitive_features\] .* {estimator.__name__}\.fit"):
        compose(estimator()).fit(data["X"], data["y"], sensitive_features=data["people"])


@every_place
@pytest.mark.parametrize("name", ["sample_weight", "metadata"])
@pytest.mark.parametrize("wanted", [True, False])
def test_requests_on_the_estimator_are_respected(data, compose, estimator, name, wanted):
    inner = estimator().set_fit_request(sensitive_features=True, **{name: wanted})
    scorer = make_scorer(ConsumingMetric()).set_score_request(**{name: False})
    meta = silent_scaler(compose(inner, scoring=scorer))
    given = values(data, "sensitive_features", name)
    if name == "metadata" and not wanted:
        # Nobody is left who asks for it.
        with pytest.raises(TypeError, match="unexpected argument"):
            meta.fit(data["X"], data["y"], **given)
        return
    meta.fit(data["X"], data["y"], **given)
    expected = ["sensitive_features"] + [name] * wanted
    check(inner.records, fits_of(inner), data, *expected)


@every_place
def test_metadata_under_another_name(data, compose, estimator):
    inner = estimator().set_fit_request(sensitive_features="people", sample_weight="exposure", metadata="extra")
    own = {"scoring": make_scorer(ConsumingMetric())}
    meta = silent_scaler(compose(inner, **own))
    given = {"people": data["people"], "exposure": data["sample_weight"], "extra": data["metadata"]}
    meta.fit(data["X"], data["y"], sensitive_features=data["people"], **given)
    check(inner.records, fits_of(inner), data, "sensitive_features", "sample_weight", "metadata")


@every_place
def test_metadata_that_nobody_knows_raise(data, compose, estimator):
    inner = estimator().set_fit_request(sensitive_features=True)
    with pytest.raises(TypeError, match=r"unexpected argument\(s\) \{'colour'\}"):
        compose(inner).fit(data["X"], data["y"], sensitive_features=data["people"], colour=data["metadata"])


@every_place
def test_estimators_that_take_nothing_need_no_request(data, compose, estimator):
    meta = silent_scaler(compose(NonConsumingRegressor(), scoring=plain_score))
    meta.fit(data["X"], data["y"], sensitive_features=data["people"])
    assert meta.predict(data["X"]).shape == (N,)


def test_requests_stay_with_their_instance(data):
    asked = ConsumingRegressor().set_fit_request(sensitive_features=True, metadata=True)
    calibrator(asked, scoring=plain_score).fit(data["X"], data["y"], **values(data, "sensitive_features", "metadata"))
    router = get_routing_for_object(calibrator(ConsumingRegressor()))
    assert router.consumes("fit", ["metadata"]) == set()
    assert clone(calibrator(asked)).get_metadata_routing().consumes("fit", ["metadata"]) == {"metadata"}
    again = pickle.loads(pickle.dumps(calibrator(asked)))
    assert again.get_metadata_routing().consumes("fit", ["metadata"]) == {"metadata"}


def test_folds_get_their_rows_and_the_last_fit_all(data):
    for inner, method, n_calls in ((ConsumingRegressor(), "fit", 2 * 2 + 1), (PathRegressor(), "strength_path", 2 + 1)):
        inner.set_fit_request(sensitive_features=True, sample_weight=True, metadata=True)
        calibrator(inner, scoring=plain_score).fit(
            data["X"], data["y"], **values(data, "sensitive_features", "sample_weight", "metadata")
        )
        calls = check(inner.records, method, data, "sensitive_features", "sample_weight", "metadata")
        assert [len(call.rows) for call in calls] == [N // 2] * (n_calls - 1) + [N]
        halves = [set(call.rows) for call in calls[:-1]]
        assert halves[0].isdisjoint(halves[-1])


def test_what_is_not_one_value_per_row_goes_through_whole(data):
    inner = PathRegressor().set_fit_request(sensitive_features=True, metadata=True)
    for extra in ([(data["X"][:5], data["y"][:5])], "x" * N, {k: k for k in range(N)}, 3.5, None, N):
        inner.records.clear()
        calibrator(inner, scoring=plain_score).fit(
            data["X"], data["y"], sensitive_features=data["people"], metadata=extra
        )
        given = [call.given["metadata"] for call in inner.records.of("strength_path") if "metadata" in call.given]
        assert len(given) == (0 if extra is None else 3)
        assert all(value is extra for value in given)


# ---------------------------------------------------------------------------------------------------------------------
# Scorer and splitter
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sample_weight", "metadata"])
def test_the_scorer_gets_what_it_asks_for(data, name):
    metric = ConsumingMetric()
    inner = ConsumingRegressor().set_fit_request(sensitive_features=True, sample_weight=False)
    asked = calibrator(inner, scoring=make_scorer(metric).set_score_request(**{name: True}))
    given = values(data, "sensitive_features", name)
    if name == "metadata":
        inner.set_fit_request(metadata=False)
    asked.fit(data["X"], data["y"], **given)
    check(metric.records, "score", data, name, rows=N // 2)
    check(inner.records, "fit", data, "sensitive_features")
    metric.records.clear()
    asked.score(data["X"], data["y"], **values(data, name))
    check(metric.records, "score", data, name, rows=N)


@pytest.mark.parametrize("name", ["sample_weight", "metadata"])
def test_a_scorer_that_said_nothing_raises(data, name):
    inner = ConsumingRegressor().set_fit_request(sensitive_features=True, **{name: True})
    asked = calibrator(inner, scoring=make_scorer(ConsumingMetric()).set_score_request(sample_weight=None))
    if name == "sample_weight":
        with pytest.raises(UnsetMetadataPassedError, match=r"\[sample_weight\] are passed but are not explicitly set"):
            asked.fit(data["X"], data["y"], **values(data, "sensitive_features", name))
        assert not inner.records
    asked = calibrator(inner, scoring=plain_score).fit(data["X"], data["y"], sensitive_features=data["people"])
    with pytest.raises((UnsetMetadataPassedError, TypeError), match=name):
        asked.score(data["X"], data["y"], **values(data, name))


@pytest.mark.parametrize("estimator", [ConsumingRegressor, PathRegressor])
@pytest.mark.parametrize("pipeline", [False, True])
@pytest.mark.parametrize("alias", [True, "other"])
def test_the_estimators_own_score_is_routed_too(data, estimator, pipeline, alias):
    inner = estimator().set_fit_request(sensitive_features=True, metadata=False).set_score_request(metadata=alias)
    asked = calibrator(make_pipeline(inner) if pipeline else inner)
    given = {"metadata" if alias is True else alias: data["metadata"]}
    asked.fit(data["X"], data["y"], sensitive_features=data["people"], **given)
    check(inner.records, "score", data, "metadata", rows=N // 2)
    inner.records.clear()
    assert asked.score(data["X"], data["y"], **given) == 1.0 - asked.best_strength_ / 10.0
    check(inner.records, "score", data, "metadata", rows=N)


def test_unset_request_of_the_estimators_own_score_raises(data):
    inner = ConsumingRegressor().set_fit_request(sensitive_features=True, metadata=True)
    with pytest.raises(UnsetMetadataPassedError, match=r"ConsumingRegressor\.score"):
        calibrator(inner).fit(data["X"], data["y"], **values(data, "sensitive_features", "metadata"))


def test_fairness_metric_by_make_scorer(data):
    inner = ConsumingRegressor().set_fit_request(sensitive_features=True)
    scorer = make_scorer(js_divergence, greater_is_better=False)
    # scikit-learn 1.8 does not know what the metric takes: it misses the attributes when it is called.
    error, message = (
        (TypeError, "missing 1 required keyword-only argument: 'sensitive_features'")
        if SKLEARN_1_8
        else (UnsetMetadataPassedError, r"\[sensitive_features\] .*make_scorer\(js_divergence")
    )
    with pytest.raises(error, match=message):
        calibrator(inner, scoring=scorer).fit(data["X"], data["y"], sensitive_features=data["people"])
    refused = make_scorer(js_divergence).set_score_request(sensitive_features=False)
    with pytest.raises(TypeError, match="sensitive_features"):
        calibrator(inner, scoring=refused).fit(data["X"], data["y"], sensitive_features=data["people"])
    asked = calibrator(inner, scoring=scorer.set_score_request(sensitive_features=True))
    results = asked.fit(data["X"], data["y"], sensitive_features=data["people"]).calibration_results_
    np.testing.assert_allclose(results["fold_score"], -results["fold_divergence"], rtol=1e-12)


def test_the_splitter_gets_what_it_asks_for(data):
    splitter = ConsumingSplitter().set_split_request(metadata=True)
    inner = ConsumingRegressor().set_fit_request(sensitive_features=True, metadata=False)
    asked = calibrator(inner, cv=splitter, scoring=make_scorer(ConsumingMetric()).set_score_request(metadata=False))
    groups = np.arange(N) % 7
    asked.fit(data["X"], data["y"], sensitive_features=data["people"], metadata=data["metadata"], groups=groups)
    (call,) = splitter.records
    np.testing.assert_array_equal(call.given["groups"], groups)
    np.testing.assert_array_equal(call.given["metadata"], data["metadata"])
    assert asked.n_splits_ == 2
    np.testing.assert_array_equal(inner.records[0].rows, np.arange(0, N, 2))


def test_a_splitter_that_said_nothing_raises(data):
    inner = ConsumingRegressor().set_fit_request(sensitive_features=True, metadata=True)
    asked = calibrator(inner, cv=ConsumingSplitter(), scoring=plain_score)
    with pytest.raises(UnsetMetadataPassedError, match=r"\[metadata\].*ConsumingSplitter\.split"):
        asked.fit(data["X"], data["y"], **values(data, "sensitive_features", "metadata"))


def test_groups_reach_both_splitters_in_cross_validate(data):
    inner = ConsumingRegressor().set_fit_request(sensitive_features=True)
    asked = calibrator(inner, cv=GroupKFold(2), scoring=plain_score)
    groups = np.arange(N) % 10
    cross_validate(
        asked,
        data["X"],
        data["y"],
        cv=GroupKFold(2),
        scoring=plain_score,
        params={"groups": groups, "sensitive_features": data["people"]},
        error_score="raise",
    )
    calls = check(inner.records, "fit", data, "sensitive_features")
    assert [len(call.rows) for call in calls] == 2 * [16, 16, 24, 24, 40]
    for position, call in enumerate(calls):
        # No group is cut: neither by the outer folds, nor among the rows of an outer fold by the inner ones.
        within = np.arange(N) if len(call.rows) == 40 else calls[5 * (position // 5) + 4].rows
        assert np.isin(groups[within], groups[call.rows]).sum() == len(call.rows)


@pytest.mark.xfail(SKLEARN_1_8, reason="routers copy what they belong to, GridSearchCV too", raises=TypeError)
def test_a_generator_of_splits_is_not_used_up_by_routing(data):
    half = np.arange(N) % 2 == 0
    splits = ((np.flatnonzero(half), np.flatnonzero(~half)) for _ in range(1))
    inner = ConsumingRegressor().set_fit_request(sensitive_features=True)
    assert calibrator(inner, cv=splits).fit(data["X"], data["y"], sensitive_features=data["people"]).n_splits_ == 1


# ---------------------------------------------------------------------------------------------------------------------
# Pipelines and searches
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [ConsumingRegressor, PathRegressor])
def test_each_step_of_an_inner_pipeline_gets_its_own(data, estimator):
    transformer = ConsumingTransformer().set_fit_request(metadata=True, sample_weight=False)
    inner = estimator().set_fit_request(sensitive_features=True, sample_weight=True, metadata=False)
    asked = calibrator(Pipeline([("columns", transformer), ("model", inner)]), scoring=plain_score)
    asked.fit(data["X"], data["y"], **values(data, "sensitive_features", "sample_weight", "metadata"))
    check(transformer.records, "fit", data, "metadata")
    check(inner.records, fits_of(inner), data, "sensitive_features", "sample_weight")
    # Preprocessing does not depend on the strength: along a path it is fitted once in each fold.
    n_fits = len(transformer.records)
    assert n_fits == (3 if estimator is PathRegressor else 5)
    assert asked.best_estimator_.named_steps["model"].strength == asked.best_strength_


def test_a_transformer_that_said_nothing_raises(data):
    inner = PathRegressor().set_fit_request(sensitive_features=True, sample_weight=True)
    asked = calibrator(make_pipeline(ConsumingTransformer(), inner), scoring=plain_score)
    with pytest.raises(UnsetMetadataPassedError, match=r"sample_weight.*ConsumingTransformer\.fit"):
        asked.fit(data["X"], data["y"], **values(data, "sensitive_features", "sample_weight"))


def test_a_pipeline_that_transforms_metadata_does_it_itself(data):
    inner = PathRegressor().set_fit_request(sensitive_features=True, metadata=True)
    doubled = Pipeline([("double", Doubler()), ("model", inner)], transform_input=["metadata"])
    given = {"sensitive_features": data["people"], "metadata": np.ones((3, 2))}
    calibrator(doubled, scoring=plain_score).fit(data["X"], data["y"], **given)
    assert not inner.records.of("strength_path")
    assert all((call.given["metadata"] == 2.0).all() for call in inner.records.of("fit"))


class Doubler(TransformerMixin, BaseEstimator):
    """Doubles the first feature."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X * [2.0, 1.0] if len(X) > 3 else 2.0 * X


def test_nested_routers_three_deep(data):
    inner = ConsumingRegressor().set_fit_request(sensitive_features=True, sample_weight=True, metadata=True)
    search = GridSearchCV(inner, {"strength": [0.5]}, cv=2, scoring=plain_score, error_score="raise")
    nested = make_pipeline(
        StandardScaler(with_mean=False, with_std=False),
        calibrator(make_pipeline(search), param_name="gridsearchcv__estimator__strength", scoring=plain_score),
    )
    silent_scaler(nested)
    nested.set_params(jsdivergencecalibrator__estimator__gridsearchcv__param_grid={"records": [inner.records]})
    nested.fit(data["X"], data["y"], **values(data, "sensitive_features", "sample_weight", "metadata"))
    calls = check(inner.records, "fit", data, "sensitive_features", "sample_weight", "metadata")
    assert {len(call.rows) for call in calls} == {N // 4, N // 2, N}
    assert nested[-1].best_estimator_[-1].best_estimator_.strength == nested[-1].best_strength_


def test_in_cross_validate_with_scorers_that_ask_for_themselves(data):
    inner = PathRegressor().set_fit_request(sensitive_features=True, sample_weight=True)
    found = cross_validate(
        calibrator(inner, scoring=plain_score),
        data["X"],
        data["y"] + 1.0,
        params=values(data, "sensitive_features", "sample_weight"),
        scoring={"fairness": neg_js_divergence_scorer},
        cv=2,
        return_estimator=True,
        error_score="raise",
    )
    check(inner.records, "strength_path", data, "sensitive_features", "sample_weight")
    people, X, weight = data["people"], data["X"], data["sample_weight"]
    for (_, test), model, fairness in zip(
        sklearn.model_selection.KFold(2).split(X), found["estimator"], found["test_fairness"], strict=True
    ):
        expected = js_divergence(
            None, model.predict(X[test]), sensitive_features=people.iloc[test], sample_weight=weight[test]
        )
        assert fairness == pytest.approx(-expected)


@pytest.mark.parametrize("search", [GridSearchCV, HalvingGridSearchCV])
def test_searches_around_the_real_thing(data, search):
    book = real_book()
    asked = JSDivergenceCalibrator(DCovPoissonRegressor(JDCovPenalty()), **{**OPTIONS, "strengths": [1.0, 10.0]})
    found = search(
        asked,
        {"estimator__alpha": [1e-3, 1.0], "estimator__penalty__c": [0.5]},
        scoring=neg_poisson_deviance_scorer,
        cv=2,
        error_score="raise",
        **({"min_resources": 200} if search is HalvingGridSearchCV else {}),
    )
    found.fit(book["X"], book["y"], sample_weight=book["exposure"], sensitive_features=book["people"])
    assert found.best_estimator_.estimator.penalty.c == 0.5
    assert found.best_estimator_.best_estimator_.penalty.c == 0.5
    assert found.best_params_["estimator__alpha"] in (1e-3, 1.0)


# ---------------------------------------------------------------------------------------------------------------------
# Paths that take more, or less, than fit
# ---------------------------------------------------------------------------------------------------------------------


class Boosted(PathRegressor):
    """As boosting libraries do: ``fit`` takes a validation set; whether the path does is for the subclasses."""

    def fit(self, X, y, sample_weight="default", *, sensitive_features="default", eval_set="default"):
        write(self.records, "fit", X, sensitive_features=sensitive_features, eval_set=eval_set)
        self.fitted_ = True
        return self


class BoostedWithSets(Boosted):
    """A path that takes a validation set."""

    def strength_path(
        self, X, y, strengths, sample_weight=None, *, sensitive_features="default", random_state=None, **options
    ):
        write(self.records, "strength_path", X, sensitive_features=sensitive_features, **options)
        for strength in strengths:
            yield clone(self).set_params(strength=strength)


class BoostedWithoutSets(Boosted):
    """A path that takes none."""

    def strength_path(self, X, y, strengths, sample_weight=None, *, sensitive_features="default"):
        write(self.records, "strength_path", X, sensitive_features=sensitive_features)
        for strength in strengths:
            yield clone(self).set_params(strength=strength)


@pytest.mark.parametrize("routing", [True, False])
@pytest.mark.parametrize("pipeline", [True, False])
@pytest.mark.parametrize(("kind", "method"), [(BoostedWithSets, "strength_path"), (BoostedWithoutSets, "fit")])
def test_validation_sets_reach_the_path_or_else_every_fit(data, kind, method, pipeline, routing):
    sets = [(data["X"][:9], data["y"][:9])]
    with sklearn.config_context(enable_metadata_routing=routing):
        inner = kind()
        if routing:
            inner.set_fit_request(sensitive_features=True, eval_set=True)
        name = "model__eval_set" if pipeline and not routing else "eval_set"
        asked = calibrator(Pipeline([("model", inner)]) if pipeline else inner, scoring=plain_score)
        asked.fit(data["X"], data["y"], sensitive_features=data["people"], **{name: sets})
    calls = inner.records.of(method)
    assert len(calls) == len(inner.records) == (3 if method == "strength_path" else 5)
    for call in calls:
        assert call.given["eval_set"] is sets
        np.testing.assert_array_equal(call.given["sensitive_features"], data["people"].to_numpy()[call.rows])
    inner.records.clear()
    with sklearn.config_context(enable_metadata_routing=routing):
        asked.fit(data["X"], data["y"], sensitive_features=data["people"])
    assert len(inner.records.of("strength_path")) == 3


@pytest.mark.usefixtures("without_routing")
def test_metadata_that_neither_path_nor_fit_takes_raise(data):
    with pytest.raises(TypeError, match="colour"):
        calibrator(BoostedWithoutSets()).fit(data["X"], data["y"], sensitive_features=data["people"], colour=1)


# ---------------------------------------------------------------------------------------------------------------------
# Without routing
# ---------------------------------------------------------------------------------------------------------------------


def real_book():
    """400 policies whose frequency depends on two attributes."""
    rng = np.random.default_rng(7)
    n = 400
    people = pd.DataFrame({"gender": rng.choice(["f", "m"], n), "young": rng.choice([True, False], n)})
    X = pd.DataFrame({"a": rng.normal(size=n) + (people["gender"] == "f"), "b": rng.normal(size=n) + people["young"]})
    exposure = rng.uniform(0.3, 1.0, n)
    y = rng.poisson(exposure * np.exp(0.5 * X["a"] + 0.3 * X["b"])) / exposure
    return {"X": X, "y": y, "people": people, "exposure": exposure, "both": X.join(people)}


COLUMNS = ["gender", "young"]


def penalised(**options):
    return DCovPoissonRegressor(alpha=1e-3, sensitive_columns=COLUMNS, **options)


@pytest.mark.usefixtures("without_routing")
@pytest.mark.parametrize("kind", [ConsumingRegressor, PathRegressor])
@pytest.mark.parametrize("pipeline", [False, True])
def test_fit_hands_on_what_it_takes(data, kind, pipeline):
    inner = kind()
    asked = calibrator(make_pipeline(inner) if pipeline else inner)
    extra = {f"{kind.__name__.lower()}__metadata" if pipeline else "metadata": data["metadata"]}
    asked.fit(data["X"], data["y"], **values(data, "sensitive_features", "sample_weight"), **extra)
    check(inner.records, fits_of(inner), data, "sensitive_features", "sample_weight", "metadata")
    check(inner.records, "score", data, "sample_weight", rows=N // 2)


@pytest.mark.usefixtures("without_routing")
def test_a_search_within_hands_on_too(data):
    inner = ConsumingRegressor()
    search = GridSearchCV(inner, {"records": [inner.records]}, cv=2, error_score="raise")
    asked = calibrator(search, param_name="estimator__strength")
    with pytest.warns(UserWarning, match="the score is not weighted by sample_weight, the divergence is"):
        asked.fit(data["X"], data["y"], **values(data, "sensitive_features", "sample_weight"))
    check(inner.records, "fit", data, "sensitive_features", "sample_weight")


@pytest.mark.usefixtures("without_routing")
def test_groups_go_to_the_splitter(data):
    inner, groups = ConsumingRegressor(), np.arange(N) % 10
    calibrator(inner, cv=GroupKFold(2)).fit(data["X"], data["y"], sensitive_features=data["people"], groups=groups)
    for call in check(inner.records, "fit", data, "sensitive_features")[:-1]:
        assert len(np.unique(groups[call.rows])) == 5
    with pytest.raises(TypeError, match="groups"):
        calibrator(inner).fit(data["X"], data["y"], sensitive_features=data["people"], groups=groups)


@pytest.mark.usefixtures("without_routing")
def test_columns_of_X_in_pipelines_searches_and_cross_validate():
    book = real_book()
    options = {**OPTIONS, "strengths": [1.0, 10.0]}
    asked = JSDivergenceCalibrator(penalised(), **options)
    reference = clone(asked).fit(book["both"], book["y"])
    beside = JSDivergenceCalibrator(DCovPoissonRegressor(alpha=1e-3), **options)
    beside.fit(book["X"], book["y"], sensitive_features=book["people"])
    np.testing.assert_allclose(reference.predict(book["X"]), beside.predict(book["X"]), rtol=1e-10)

    around = GridSearchCV(asked, {"estimator__alpha": [1e-3]}, cv=2, error_score="raise").fit(book["both"], book["y"])
    np.testing.assert_allclose(around.predict(book["both"]), reference.predict(book["X"]), rtol=1e-10)
    halving = HalvingGridSearchCV(
        asked, {"estimator__alpha": [1e-3, 1.0]}, cv=2, min_resources=200, error_score="raise"
    )
    assert halving.fit(book["both"], book["y"]).best_estimator_.best_strength_ >= 0
    found = cross_validate(asked, book["both"], book["y"], cv=2, error_score="raise", return_estimator=True)
    assert all(model.best_strength_ in (0.0, 1.0, 10.0) for model in found["estimator"])

    scale = StandardScaler().set_output(transform="pandas")
    columns = sklearn.compose.ColumnTransformer(
        [("scale", scale, ["a", "b"])], remainder="passthrough", verbose_feature_names_out=False
    ).set_output(transform="pandas")
    within = JSDivergenceCalibrator(make_pipeline(columns, penalised()), **options).fit(book["both"], book["y"])
    assert within.best_estimator_[-1].n_features_in_ == 2
    outside = make_pipeline(columns, clone(asked)).fit(book["both"], book["y"])
    np.testing.assert_allclose(outside.predict(book["both"]), within.predict(book["both"]), rtol=1e-6)

    search = GridSearchCV(penalised(), {"alpha": [1e-3]}, cv=2, error_score="raise")
    inner = JSDivergenceCalibrator(search, param_name="estimator__strength", **options).fit(book["both"], book["y"])
    assert inner.best_estimator_.best_estimator_.strength == inner.best_strength_


@pytest.mark.parametrize("routing", [True, False])
def test_a_scorer_gets_the_attributes_that_the_estimator_reads_from_X(routing):
    book = real_book()
    with sklearn.config_context(enable_metadata_routing=routing):
        asked = JSDivergenceCalibrator(penalised(), **{**OPTIONS, "scoring": neg_js_divergence_scorer})
        results = asked.fit(book["both"], book["y"]).calibration_results_
    np.testing.assert_allclose(results["fold_score"], -results["fold_divergence"], rtol=1e-12)


@pytest.mark.usefixtures("without_routing")
def test_positions_of_columns():
    book = real_book()
    X = np.column_stack([book["X"], book["people"]["gender"] == "f", book["people"]["young"]]).astype(float)
    by_position = DCovPoissonRegressor(alpha=1e-3, sensitive_columns=[2, 3])
    fitted = JSDivergenceCalibrator(by_position, **OPTIONS).fit(X, book["y"])
    assert len(fitted.group_labels_) == 4
    # In a pipeline they count the features of its last step.
    with pytest.raises(MissingSensitiveFeaturesError, match="needs sensitive_features"):
        JSDivergenceCalibrator(make_pipeline(StandardScaler(), by_position), **OPTIONS).fit(X, book["y"])
    with pytest.raises(ValueError, match="'Gender', which is not a column of X; did you mean 'gender'"):
        JSDivergenceCalibrator(penalised().set_params(sensitive_columns=["Gender"]), **OPTIONS).fit(
            book["both"], book["y"]
        )


# ---------------------------------------------------------------------------------------------------------------------
# What else meta-estimators have to do
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize("routing", [True, False])
def test_backends_of_joblib_give_the_same_results(backend, routing):
    book = real_book()
    with sklearn.config_context(enable_metadata_routing=routing):
        asked = JSDivergenceCalibrator(DCovPoissonRegressor(alpha=1e-3), **{**OPTIONS, "scoring": None})
        fit = {"sample_weight": book["exposure"], "sensitive_features": book["people"]}
        one = clone(asked).fit(book["X"], book["y"], **fit)
        with joblib.parallel_config(backend, n_jobs=2):
            two = clone(asked).set_params(n_jobs=2).fit(book["X"], book["y"], **fit)
    for name in ("fold_divergence", "fold_score", "null_level"):
        np.testing.assert_allclose(one.calibration_results_[name], two.calibration_results_[name], rtol=1e-10)
    np.testing.assert_allclose(one.predict(book["X"]), two.predict(book["X"]), rtol=1e-10)


def test_nested_parameters():
    asked = JSDivergenceCalibrator(make_pipeline(DCovPoissonRegressor(JDCovPenalty(c=1.0))))
    asked.set_params(estimator__dcovpoissonregressor__penalty__c=0.25)
    assert asked.estimator[-1].penalty.c == 0.25
    assert clone(asked).get_params()["estimator__dcovpoissonregressor__penalty__c"] == 0.25
    with pytest.raises(ValueError, match="Invalid parameter 'd'"):
        asked.set_params(estimator__dcovpoissonregressor__penalty__d=1.0)


def test_a_penalty_parameter_may_be_the_strength():
    """The c of JdCov, swept instead of the strength: any numeric parameter will do."""
    book = real_book()
    asked = JSDivergenceCalibrator(
        DCovPoissonRegressor(JDCovPenalty(), alpha=1e-3), **{**OPTIONS, "param_name": "penalty__c", "strengths": [0.5]}
    )
    asked.fit(book["X"], book["y"], sensitive_features=book["people"])
    assert asked.best_estimator_.penalty.c == asked.best_strength_


def test_html_shows_what_is_inside_before_and_after_fit():
    book = real_book()
    asked = JSDivergenceCalibrator(make_pipeline(StandardScaler(), DCovPoissonRegressor(alpha=1e-3)), **OPTIONS)
    before = asked._repr_html_()
    for name in ("JSDivergenceCalibrator", "StandardScaler", "DCovPoissonRegressor"):
        assert name in before
    assert "Not fitted" in before
    after = asked.fit(book["X"], book["y"], sensitive_features=book["people"])._repr_html_()
    assert "Not fitted" not in after.split("StandardScaler")[0]
    assert "<span>Fitted</span>" in after


def test_pickle_of_a_fitted_calibrator_around_a_pipeline():
    book = real_book()
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    asked = JSDivergenceCalibrator(make_pipeline(scaler, DCovPoissonRegressor(alpha=1e-3)), **OPTIONS)
    fit = {"sample_weight": book["exposure"], "sensitive_features": book["people"]}
    asked.fit(book["X"], book["y"], **fit)
    again = pickle.loads(pickle.dumps(asked))
    np.testing.assert_array_equal(again.predict(book["X"]), asked.predict(book["X"]))
    assert again.score(book["X"], book["y"]) == asked.score(book["X"], book["y"])
    again.fit(book["X"], book["y"], **fit)
    np.testing.assert_allclose(again.predict(book["X"]), asked.predict(book["X"]), rtol=1e-10)
