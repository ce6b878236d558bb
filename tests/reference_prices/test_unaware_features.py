"""Features of best estimates and posteriors: out of fold in fit_transform, averaged over folds in transform."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy.special import logit
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.model_selection import GroupKFold, KFold, PredefinedSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from fairdcov import (
    DCovLogisticRegression,
    DCovPoissonRegressor,
    JSDivergenceCalibrator,
    UnawareFairRegressor,
    UnawareFeatures,
    with_probabilities,
)
from fairdcov.exceptions import MissingSensitiveFeaturesError

FOLDS = KFold(3, shuffle=True, random_state=0)


@pytest.fixture
def book(rng):
    n = 300
    people = pd.DataFrame({"gender": rng.choice(["f", "m"], n), "age": rng.uniform(18, 80, n)})
    X = pd.DataFrame({"power": rng.normal(people["gender"] == "m"), "bonus": rng.normal(-people["age"] / 20)})
    exposure = rng.uniform(0.2, 1.0, n)
    y = rng.poisson(exposure * np.exp(0.3 * X["power"] + 0.1)) / exposure
    return X, y, exposure, people


def features(**options):
    options = {"regressor": PoissonRegressor(), "classifier": GaussianNB(), "cv": FOLDS, **options}
    return UnawareFeatures(**options)


def by_hand(X, y, weights, codes, n_levels, rows=None):
    """Estimates and posteriors out of fold, or the average of the folds' models for other rows."""
    eta, shares = np.zeros(len(X)), np.zeros((len(X), n_levels))
    if rows is not None:
        eta, shares = np.zeros(len(rows)), np.zeros((len(rows), n_levels))
    for fitted, held in FOLDS.split(X):
        model = PoissonRegressor().fit(X.iloc[fitted], y[fitted], sample_weight=weights[fitted])
        teller = GaussianNB().fit(X.iloc[fitted], codes[fitted], sample_weight=weights[fitted])
        if rows is None:
            eta[held], shares[held] = model.predict(X.iloc[held]), teller.predict_proba(X.iloc[held])
        else:
            eta += model.predict(rows) / 3
            shares += teller.predict_proba(rows) / 3
    return eta, shares


def test_out_of_fold_values_and_averages_of_the_folds(book):
    X, y, exposure, people = book
    codes = (people["gender"] == "m").to_numpy().astype(int)
    given = {"sample_weight": exposure, "sensitive_features": people[["gender"]]}
    model = features()
    table = model.fit_transform(X, y, **given)
    eta, shares = by_hand(X, y, exposure, codes, 2)
    splines = [f"estimate_spline_{k}" for k in range(1, 7)]
    assert table.columns.tolist() == [
        *X.columns, "log_estimate", *splines, "probability_gender_m", *(f"probability_gender_m_{k}" for k in splines)
    ]  # fmt: skip
    np.testing.assert_allclose(table["log_estimate"], np.log(eta))
    np.testing.assert_allclose(table["probability_gender_m"], shares[:, 1])
    expected = model.splines_.transform(np.log(eta)[:, None])
    np.testing.assert_allclose(table[splines], expected)
    np.testing.assert_allclose(table.iloc[:, -6:], expected * shares[:, 1:])
    pd.testing.assert_frame_equal(table[list(X)], X)

    new = X.iloc[::-1] + 0.1
    eta, shares = by_hand(X, y, exposure, codes, 2, new)
    transformed = model.transform(new)
    np.testing.assert_allclose(transformed["log_estimate"], np.log(eta))
    np.testing.assert_allclose(transformed["probability_gender_m"], shares[:, 1])
    assert transformed.index.equals(new.index)
    pd.testing.assert_frame_equal(features().fit(X, y, **given).transform(new), transformed)
    assert model.get_feature_names_out().tolist() == transformed.columns.tolist()
    assert model.levels_ == {"gender": ["f", "m"]}


def test_bands_and_profiles(book):
    X, y, _, people = book
    given = {"sensitive_features": people}
    marginals = features(bins={"age": [18, 30, 50, 80]}, n_knots=0).fit_transform(X, y, **given)
    assert marginals.columns.tolist()[3:] == [
        "probability_gender_m", "probability_age_30_50", "probability_age_from_50"
    ]  # fmt: skip
    alone = features(bins=2, columns="probabilities").fit(X, y, **given).get_feature_names_out()[2:]
    assert alone.tolist()[0] == "probability_gender_m"
    assert len(alone) == 2
    crossed = features(bins={"age": [18, 30, 50, 80]}, n_knots=0, summary="profiles").fit(X, y, **given)
    names = crossed.get_feature_names_out()[3:]
    assert len(names) == 5
    assert names[0] == "probability_gender_age_f_30_50"
    ((_, levels),) = crossed.levels_.items()
    assert [label[0] for label in levels] == ["f", "f", "f", "m", "m", "m"]


def test_forms_of_X(book):
    X, y, _, people = book
    given = {"sensitive_features": people[["gender"]]}
    expected = features().fit_transform(X, y, **given).to_numpy()
    array = features().fit(X.to_numpy(), y, **given)
    np.testing.assert_allclose(array.fit_transform(X.to_numpy(), y, **given), expected, atol=1e-12)
    assert array.get_feature_names_out()[:3].tolist() == ["x0", "x1", "log_estimate"]
    frame = features().fit_transform(pl.from_pandas(X), y, sensitive_features=pl.from_pandas(people[["gender"]]))
    assert isinstance(frame, pl.DataFrame)
    np.testing.assert_allclose(frame.to_numpy(), expected, atol=1e-12)
    alone = features(passthrough=False)
    np.testing.assert_allclose(
        alone.fit_transform(pl.from_pandas(X), y, **given).to_numpy(), expected[:, 2:], atol=1e-12
    )
    np.testing.assert_allclose(alone.fit_transform(X.to_numpy(), y, **given), expected[:, 2:], atol=1e-12)
    wanted = features().set_output(transform="pandas").fit_transform(X.to_numpy(), y, **given)
    assert wanted.columns.tolist() == array.get_feature_names_out().tolist()


def test_rows_without_weight_take_no_part(book):
    X, y, exposure, people = book
    exposure = exposure.copy()
    exposure[:50] = 0
    people, y = people.copy(), y.copy()
    people.loc[0, "gender"] = "x"
    y[:50] = 1e6
    given = {"sample_weight": exposure, "sensitive_features": people[["gender"]]}
    folds = PredefinedSplit(np.arange(300) % 3)
    model = features(cv=folds, n_knots=0).fit(X, y, **given)
    assert model.levels_ == {"gender": ["f", "m"]}
    kept = {name: value[50:] for name, value in given.items()}
    expected = features(cv=PredefinedSplit(np.arange(50, 300) % 3), n_knots=0).fit(X[50:], y[50:], **kept)
    np.testing.assert_allclose(model.transform(X), expected.transform(X))


def test_probabilities_of_y(book, rng):
    X, _, _, people = book
    y = np.where(rng.random(300) < 0.4, "yes", "no")
    model = features(regressor=LogisticRegression())
    table = model.fit_transform(X, y, sensitive_features=people[["gender"]])
    expected = np.empty(300)
    for fitted, held in FOLDS.split(X):
        expected[held] = LogisticRegression().fit(X.iloc[fitted], y[fitted]).predict_proba(X.iloc[held])[:, 1]
    np.testing.assert_allclose(table["logit_estimate"], logit(expected))
    pipeline = make_pipeline(clone(model), DCovLogisticRegression(strength=0.1))
    given = {f"{step}__sensitive_features": people["gender"] for step in pipeline.named_steps}
    assert pipeline.fit(X, y, **given).predict_proba(X).shape == (300, 2)


def test_equal_estimates_have_splines(book):
    X, y, _, people = book
    table = features(regressor=PoissonRegressor(alpha=1e12)).fit_transform(X, y, sensitive_features=people["gender"])
    assert np.isfinite(table.to_numpy()).all()


# ---------------------------------------------------------------------------------------------------------------------
# Bad input
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"classifier": LinearSVC()}, TypeError, "must have predict_proba.*LinearSVC has none"),
        ({"regressor": LinearRegression()}, ValueError, "estimates must be above 0 for link='log'; found .* log link"),
        ({"regressor": Ridge(), "link": "logit"}, ValueError, "between 0 and 1"),
        ({"regressor": LogisticRegression(), "link": "log"}, ValueError, "link='log' is not for a classifier"),
        ({"summary": "both"}, ValueError, "summary must be one of"),
        ({"n_knots": 1}, ValueError, "n_knots must be 0, for no splines, or at least 2"),
        ({"cv": 1}, ValueError, "cv must be a whole number >= 2"),
        ({"cv": 301}, ValueError, "cv must be at most the number of rows, 300"),
        ({"cv": PredefinedSplit(np.r_[[-1] * 100, [0] * 100, [1] * 100])}, ValueError, "hold out every row once"),
    ],
)
def test_bad_parameters(book, options, error, message):
    X, y, _, people = book
    model = features(**options)
    with pytest.raises(error, match=message):
        model.fit(X, y - 1 if "regressor" in options else y, sensitive_features=people["gender"])
    assert not hasattr(model, "models_")


def test_attributes_that_folds_cannot_learn(book):
    X, y, _, people = book
    with pytest.raises(MissingSensitiveFeaturesError, match="unawarefeatures__sensitive_features"):
        features().fit(X, y)
    with pytest.raises(ValueError, match="'f' in every row, one class only"):
        features().fit(X, y, sensitive_features=np.full(300, "f"))
    gender = people["gender"].where(np.arange(300) > 3, "x")
    with pytest.raises(ValueError, match=r"level of 'gender' 'x' .* has 4 row\(s\), fewer than cv=5 folds: merge it"):
        features(cv=5).fit(X, y, sensitive_features=gender)
    assert features(cv=4).fit(X, y, sensitive_features=gender).levels_ == {"gender": ["f", "m", "x"]}
    by_gender = PredefinedSplit(np.where(gender == "x", 1, np.arange(300) % 3))
    with pytest.raises(ValueError, match=r"level of 'gender' 'x' .* 4 .* held out in fold 1, .*: merge it"):
        features(cv=by_gender).fit(X, y, sensitive_features=gender)
    crossed = pd.DataFrame({"gender": gender, "zone": np.where(np.arange(300) % 2 == 0, "a", "b")})
    with pytest.raises(ValueError, match=r"profile 'x × a' .* 2 row"):
        features(cv=4, summary="profiles").fit(X, y, sensitive_features=crossed)
    known = with_probabilities(np.full((300, 2), 0.5), {"gender": [0, 1]})
    with pytest.raises(TypeError, match="known as probabilities"):
        features().fit(X, y, sensitive_features=known)
    with pytest.raises(ValueError, match="names of columns to be appended"):
        features().fit_transform(X.rename(columns={"bonus": "log_estimate"}), y, sensitive_features=gender)
    with pytest.raises(ValueError, match="as many rows as X"):
        features().fit(X, y[:-1], sensitive_features=gender)


def test_splitters_that_need_more_say_so(book):
    X, y, _, people = book
    with pytest.raises(ValueError, match="groups"):
        features(cv=GroupKFold(3)).fit(X, y, sensitive_features=people["gender"])


# ---------------------------------------------------------------------------------------------------------------------
# With a penalised estimator
# ---------------------------------------------------------------------------------------------------------------------


def meta(estimator=None):
    estimator = DCovPoissonRegressor(strength=1.0, alpha=1e-3) if estimator is None else estimator
    return UnawareFairRegressor(estimator, PoissonRegressor(), GaussianNB(), cv=3, n_knots=2)


def pipeline():
    own = UnawareFeatures(PoissonRegressor(), GaussianNB(), cv=3, n_knots=2)
    return make_pipeline(own, DCovPoissonRegressor(strength=1.0, alpha=1e-3))


def test_the_regressor_is_the_pipeline(book):
    X, y, exposure, people = book
    model = meta().fit(X, y, exposure, sensitive_features=people["gender"])
    steps = pipeline()
    given = {f"{step}__sensitive_features": people["gender"] for step in steps.named_steps}
    given |= {f"{step}__sample_weight": exposure for step in steps.named_steps}
    steps.fit(X, y, **given)
    np.testing.assert_allclose(model.estimator_.coef_, steps[-1].coef_)
    # The average of the predictions by each fold's columns.
    tables = list(model.features_.tables_of_folds(X))
    np.testing.assert_allclose(model.predict(X), np.mean([steps[-1].predict(table) for table in tables], axis=0))
    together = np.log(np.mean([np.exp(table["log_estimate"]) for table in tables], axis=0))
    np.testing.assert_allclose(together, model.features_.transform(X)["log_estimate"])
    np.testing.assert_allclose(model.predict(X), steps.predict(X), rtol=0.3)
    assert model.score(X, y, exposure) == pytest.approx(steps.score(X, y, sample_weight=exposure), abs=0.1)
    np.testing.assert_allclose(model.predict(model.prepare(X)), model.predict(X))
    assert model.effective_strength_ == model.estimator_.effective_strength_
    with pytest.raises(TypeError, match=r"UnawareFeatures\(link='logit'\)"):
        meta(DCovLogisticRegression()).fit(X, y, sensitive_features=people["gender"])
    with pytest.raises(MissingSensitiveFeaturesError):
        meta().fit(X, y)


def test_large_books_are_predicted_in_parts(book, monkeypatch):
    X, y, _, people = book
    model = meta().fit(X, y, sensitive_features=people["gender"])
    expected = model.predict(X)
    monkeypatch.setattr("fairdcov.reference_prices._unaware_fair._CHUNK", 77)
    np.testing.assert_allclose(model.predict(X), expected)
    np.testing.assert_allclose(model.predict(X.set_axis(np.zeros(300), axis="index")), expected)


def test_a_path_learns_the_features_once(book, monkeypatch):
    X, y, exposure, people = book
    path = list(meta().strength_path(X, y, [0.0, 1.0], exposure, sensitive_features=people["gender"]))
    assert [model.estimator.strength for model in path] == [0.0, 1.0]
    assert path[0].features_ is path[1].features_
    single = meta().fit(X, y, exposure, sensitive_features=people["gender"])
    np.testing.assert_allclose(path[1].predict(X), single.predict(X), rtol=1e-3)
    assert not hasattr(meta(PoissonRegressor()), "strength_path")


@pytest.mark.parametrize("make", [meta, pipeline])
@pytest.mark.parametrize("routing", [False, True])
def test_the_calibrator_learns_the_features_once_in_each_fold(book, make, routing, monkeypatch):
    X, y, exposure, people = book
    calls = {"_learn": 0, "_scale": 0}
    for name in calls:
        own = getattr(UnawareFeatures, name)

        def counted(self, *arguments, name=name, own=own):
            calls[name] += 1
            return own(self, *arguments)

        monkeypatch.setattr(UnawareFeatures, name, counted)
    with sklearn.config_context(enable_metadata_routing=routing):
        model = make()
        if routing:
            for value in model.get_params().values():
                if isinstance(value, PoissonRegressor | GaussianNB):
                    value.set_fit_request(sample_weight=True)
        calibrator = JSDivergenceCalibrator(
            model, strengths=[0, 0.5, 1], rule="elbow", if_unmet="warn", cv=2, n_permutations=2, verbose=0
        )
        with warnings.catch_warnings():
            # What there is to choose from is not looked at here.
            warnings.simplefilter("ignore")
            calibrator.fit(X, y, sample_weight=exposure, sensitive_features=people["gender"])
    # Two folds and the final model; each fold's rows held out are transformed once.
    # A table for each of three folds of the features in the one case, one average table in the other.
    assert calls == {"_learn": 3, "_scale": 9 if make is meta else 5}
    assert type(calibrator.best_estimator_) is type(model)
    assert np.isfinite(calibrator.predict(X)).all()
