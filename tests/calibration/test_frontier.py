"""The distance of the chosen model to the best that parity allows, on rows that nobody has seen."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, mean_poisson_deviance
from sklearn.model_selection import KFold, RepeatedKFold, ShuffleSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fairdcov import (
    DCovGammaRegressor,
    DCovLogisticRegression,
    DCovPoissonRegressor,
    FairBarycentreRegressor,
    JSDivergenceCalibrator,
)
from fairdcov.calibration import _frontier
from fairdcov.metrics import js_divergence

pytestmark = [
    pytest.mark.filterwarnings("ignore::fairdcov.exceptions.CalibrationWarning"),
    pytest.mark.filterwarnings("ignore::fairdcov.exceptions.SensitiveFeaturesWarning"),
]
STRENGTHS = (0.0, 1.0, 30.0)
REFERENCE = FairBarycentreRegressor(DCovPoissonRegressor(strength=0, alpha=1e-3), GaussianNB())
OPTIONS = {"strengths": [0, 0.5], "rule": "score_budget", "score_budget": 1e9, "n_permutations": 3, "verbose": 0}


@pytest.fixture(autouse=True)
def few_strengths(monkeypatch):
    monkeypatch.setattr(_frontier, "_STRENGTHS", STRENGTHS)


@pytest.fixture
def book(rng):
    """Features of which one stands for the group, claims, weights and the group."""
    n = 900
    group = rng.choice(["f", "m"], n)
    man = 1.0 * (group == "m")
    X = pd.DataFrame({"near": man + 0.7 * rng.normal(size=n), "own": rng.normal(size=n)})
    weights = rng.uniform(0.5, 1.0, n)
    y = rng.poisson(weights * np.exp(0.5 * man + 0.4 * X["own"])) / weights
    return X, y, {"sample_weight": weights, "sensitive_features": group}


def held_out(X, y, given, splits, make_models):
    """Predictions of the rows held out by the models that ``make_models`` yields by strength."""
    found = {}
    for fitted, held in splits:
        part = {name: value[fitted] for name, value in given.items()}
        for strength, predict in make_models(X.iloc[fitted], y[fitted], part):
            new = found.setdefault(strength, np.full(len(y), np.nan))
            rows = held[np.isnan(new[held])]
            if len(rows):
                new[rows] = predict(X.iloc[rows], given["sensitive_features"][rows])
    return found


def references(aware):
    def make(X, y, part):
        reference = clone(REFERENCE).set_params(aware=aware)
        for model in reference.strength_path(X, y, STRENGTHS, **part):
            yield model.strength, lambda rows, group, model=model: model.predict(rows, sensitive_features=group)

    return make


def chosen(X, y, part):
    *_, model = DCovPoissonRegressor(alpha=1e-3).strength_path(X, y, [0, 0.5], **part)
    yield 0.5, lambda rows, group: model.predict(rows)


def at_divergence(path, wanted, divergence, deviance):
    """Deviance of a path at a divergence between two of its strengths."""
    points = [(divergence(path[strength]), deviance(path[strength])) for strength in STRENGTHS]
    for (high, first), (low, second) in pairwise(points):
        if low <= wanted <= high:
            return first + (second - first) * (high - wanted) / (high - low)
    raise AssertionError(points)


@pytest.mark.parametrize(
    "cv",
    [KFold(3), RepeatedKFold(n_splits=3, n_repeats=2, random_state=0), ShuffleSplit(3, test_size=0.4, random_state=0)],
)
def test_by_hand(book, cv):
    X, y, given = book
    calibrator = JSDivergenceCalibrator(DCovPoissonRegressor(alpha=1e-3), reference=REFERENCE, cv=cv, **OPTIONS)
    gap = calibrator.fit(X, y, **given).frontier_gap_
    splits = list(cv.split(X))
    own = held_out(X, y, given, splits, chosen)[0.5]
    rows = np.isfinite(own)
    assert rows.all() == (not isinstance(cv, ShuffleSplit))
    weights, group = given["sample_weight"][rows], given["sensitive_features"][rows]

    def divergence(prediction):
        return js_divergence(None, prediction[rows], sensitive_features=group, sample_weight=weights, net=True)

    def deviance(prediction):
        return mean_poisson_deviance(y[rows], prediction[rows], sample_weight=weights)

    wanted = divergence(own)
    unaware, aware = (
        at_divergence(held_out(X, y, given, splits, references(aware)), wanted, divergence, deviance)
        for aware in (False, True)
    )
    table = gap.table
    assert_allclose(table["deviance"], [deviance(own), unaware, aware], rtol=1e-5)
    assert_allclose(table["divergence"], wanted, rtol=1e-5)
    assert gap.left_on_the_table == pytest.approx(deviance(own) - unaware, abs=1e-5)
    assert gap.cost_of_not_seeing == pytest.approx(unaware - aware, abs=1e-5)
    assert table["reached"].all()


def test_it_is_said_in_the_table_of_the_cost_and_in_the_summary(book):
    X, y, given = book
    calibrator = JSDivergenceCalibrator(DCovPoissonRegressor(alpha=1e-3), cv=KFold(3), **OPTIONS)
    without = calibrator.fit(X, y, **given)
    assert without.frontier_gap_ is None
    rows, text = len(without.cost_), without.summary()
    assert "S costs" not in text
    calibrator.set_params(reference=REFERENCE).fit(X, y, **given)
    gap = calibrator.frontier_gap_
    assert calibrator.summary().startswith(text)
    assert f"best without S {gap.table['deviance'].iloc[1]:.5g}" in calibrator.summary()
    assert f"not seeing S costs {gap.cost_of_not_seeing:.2g} ± " in calibrator.summary()
    table = calibrator.cost_.set_index("measure")["chosen"]
    assert len(table) == rows + 2
    assert table["Poisson deviance that this model leaves on the table"] == gap.left_on_the_table
    assert table["Poisson deviance that not seeing S costs"] == gap.cost_of_not_seeing
    again = pickle.loads(pickle.dumps(calibrator))
    assert again.summary() == calibrator.summary()
    assert calibrator.set_params(reference=None).fit(X, y, **given).frontier_gap_ is None


@pytest.mark.parametrize(
    ("left", "words"), [(0.01, "leaves 0.01 ± 0.002 on the table"), (-0.01, "below the reference")]
)
def test_a_reference_that_is_worse_is_said_to_be(left, words):
    table = pd.DataFrame(
        {"deviance": [0.5, 0.5 - left, 0.4], "divergence": [0.1, 0.1, 0.2], "reached": [True, True, False]},
        index=["this model", "best without S", "best with S"],
    ).assign(difference=[0, left, 0.1], std_error=[0, 0.002, 0.003], strength=1.0)
    table.attrs["cost_std_error"] = 0.001
    from fairdcov.inference import FrontierGap

    lines = _frontier.gap_lines(FrontierGap(table, True, "poisson"))
    assert words in lines[1]
    assert lines[2] == "best with S does not reach this divergence; compared at its lowest, 0.2"


class Spy(FairBarycentreRegressor):
    """A reference that keeps what it is given, in lists of the test."""

    calls: list = []  # noqa: RUF012

    def strength_path(self, X, y, strengths, sample_weight=None, *, sensitive_features=None):
        Spy.calls.append(("fit", self.aware, X, sample_weight))
        return super().strength_path(X, y, strengths, sample_weight, sensitive_features=sensitive_features)

    def _ingredients(self, X, sensitive_features):
        Spy.calls.append(("predict", self.aware, X, None))
        return super()._ingredients(X, sensitive_features)


def test_no_reference_predicts_rows_that_it_was_fitted_to(book):
    X, y, given = book
    Spy.calls.clear()
    reference = Spy(**REFERENCE.get_params(deep=False))
    JSDivergenceCalibrator(DCovPoissonRegressor(), reference=reference, cv=3, **OPTIONS).fit(X, y, **given)
    fitted = None
    assert {aware for _, aware, *_ in Spy.calls} == {True, False}
    for what, _, rows, weights in Spy.calls:
        if what == "fit":
            fitted = rows.index
            assert_allclose(weights, given["sample_weight"][fitted])
        else:
            assert not set(rows.index) & set(fitted)
            assert len(rows) + len(fitted) == len(X)
    assert sum(what == "fit" for what, *_ in Spy.calls) == 6


def test_columns_with_protected_attributes_are_no_features_of_references(book):
    X, y, given = book
    X = X.assign(group=np.where(given["sensitive_features"] == "m", 1.0, 0.0))
    Spy.calls.clear()
    reference = Spy(**REFERENCE.get_params(deep=False))
    model = DCovPoissonRegressor(sensitive_columns="group")
    JSDivergenceCalibrator(model, reference=reference, cv=3, **OPTIONS).fit(X, y)
    assert all(list(rows.columns) == ["near", "own"] for _, _, rows, _ in Spy.calls)


@pytest.mark.parametrize("pipeline", [False, True])
def test_columns_that_a_pipeline_leaves_aside_are_none_either(book, pipeline):
    X, y, given = book
    groups = pd.DataFrame({"group": given.pop("sensitive_features")})
    X = X.assign(group=1.0 * (groups["group"] == "m"))
    model = DCovPoissonRegressor()
    model = make_pipeline(make_column_transformer(("passthrough", ["near", "own"])), model) if pipeline else model
    Spy.calls.clear()
    reference = Spy(**REFERENCE.get_params(deep=False))
    calibrator = JSDivergenceCalibrator(model, reference=reference, cv=3, **OPTIONS)
    calibrator.fit(X, y, **given, sensitive_features=groups)
    assert all(list(rows.columns) == ["near", "own"] for _, _, rows, _ in Spy.calls)


def test_positions_within_a_pipeline(book):
    X, y, given = book
    X = np.column_stack([given["sensitive_features"] == "m", X])
    model = make_pipeline(StandardScaler(), DCovPoissonRegressor(sensitive_columns=[0]))
    calibrator = JSDivergenceCalibrator(model, reference=REFERENCE, cv=3, **OPTIONS)
    with pytest.raises(ValueError, match=r"are positions within the Pipeline.*name them"):
        calibrator.fit(X, y, sensitive_features=given["sensitive_features"])


def test_classifier(book):
    X, y, given = book
    labels = np.where(y > 0, "yes", "no")
    reference = FairBarycentreRegressor(LogisticRegression(), GaussianNB(), loss="binomial")
    calibrator = JSDivergenceCalibrator(DCovLogisticRegression(), reference=reference, cv=KFold(3), **OPTIONS)
    gap = calibrator.fit(X, labels, **given).frontier_gap_
    splits = list(KFold(3).split(X))

    def models(X, y, part):
        *_, model = DCovLogisticRegression().strength_path(X, y, [0, 0.5], **part)
        yield 0.5, lambda rows, group: model.predict_proba(rows)[:, 1]

    own = np.full(len(y), np.nan)
    for fitted, held in splits:
        part = {name: value[fitted] for name, value in given.items()}
        ((_, predict),) = models(X.iloc[fitted], labels[fitted], part)
        own[held] = predict(X.iloc[held], None)
    expected = 2 * log_loss(labels, np.column_stack([1 - own, own]), sample_weight=given["sample_weight"])
    assert gap.table["deviance"].iloc[0] == pytest.approx(expected, rel=1e-5)
    assert gap.loss == "binomial"


def test_control_features_and_seeds(book, rng):
    X, y, given = book
    control = rng.choice(["a", "b"], len(y))
    calibrator = JSDivergenceCalibrator(DCovPoissonRegressor(alpha=1e-3), reference=REFERENCE, cv=KFold(3), **OPTIONS)
    gap = calibrator.fit(X, y, **given, control_features=control).frontier_gap_
    own = np.full(len(y), np.nan)
    for fitted, held in KFold(3).split(X):
        part = {name: value[fitted] for name, value in given.items()}
        *_, model = DCovPoissonRegressor(alpha=1e-3).strength_path(
            X.iloc[fitted], y[fitted], [0, 0.5], **part, control_features=control[fitted]
        )
        own[held] = model.predict(X.iloc[held])
    expected = js_divergence(None, own, **given, control_features=control, net=True)
    assert gap.table["divergence"].iloc[0] == pytest.approx(expected, rel=1e-4)


def test_bad_references(book):
    X, y, given = book
    calibrator = JSDivergenceCalibrator(DCovPoissonRegressor(), cv=3, **OPTIONS)

    def fit(reference, X=X, y=y, model=None, **more):
        calibrator.set_params(reference=reference, estimator=model or DCovPoissonRegressor())
        calibrator.fit(X, y, **{**given, **more})

    with pytest.raises(TypeError, match=r"reference must be a FairBarycentreRegressor.*found Ridge"):
        fit(Ridge())
    with pytest.raises(TypeError, match="found bool"):
        fit(True)
    with pytest.raises(TypeError, match="found type"):
        fit(FairBarycentreRegressor)
    with pytest.raises(ValueError, match=r"fitted by the gamma deviance.*Take FairBarycentreRegressor\(loss='gamma'\)"):
        fit(REFERENCE, y=y + 1, model=DCovGammaRegressor())
    with pytest.raises(ValueError, match="reference knows no offset"):
        fit(REFERENCE, offset=np.zeros(len(y)))
    text = X.assign(colour=np.where(X["own"] > 0, "red", "blue"))
    with pytest.raises(ValueError, match=r"the reference \(unaware\) cannot be fitted to fold 0 of 3"):
        fit(FairBarycentreRegressor(GaussianNB()), X=text)
    alone = given["sensitive_features"].astype(object)
    alone[0] = "x"
    with pytest.raises(ValueError, match=r"the reference \((un)?aware\) cannot be fitted to fold \d of 3.*'x'"):
        fit(REFERENCE, sensitive_features=alone)
    assert not hasattr(calibrator, "best_estimator_")
