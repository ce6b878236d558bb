"""Penalties that are not ours: what learners need of them, what has defaults, and the example everywhere."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone

from fairdcov import (
    CCDCovPenalty,
    DCovLogisticRegression,
    DCovPoissonRegressor,
    DCovRidge,
    JSDivergenceCalibrator,
    SensitiveEncoder,
)
from fairdcov.datasets import make_motor_portfolio
from fairdcov.penalties import BoundDependence, BoundPenalty, Penalty, bind_penalty
from fairdcov.report import audit


@pytest.fixture(scope="module")
def example(import_example):
    """The module of the example, as a user would import it."""
    return import_example("own_penalty")


@pytest.fixture(scope="module")
def book():
    book = make_motor_portfolio(1_200, random_state=0)
    return {
        "X": book.data.select_dtypes("number"),
        "y": np.asarray(book.target),
        "sample_weight": np.asarray(book.exposure),
        "sensitive_features": book.sensitive_features,
    }


def covariances(u, sensitive_features, weights):
    """From NumPy's own covariance."""
    points = SensitiveEncoder().fit_transform(sensitive_features, sample_weight=weights)
    return np.cov(np.column_stack([u, points]).T, aweights=weights, ddof=0)[0, 1:]


# -- the penalty of the example ---------------------------------------------------------------------------------------


def test_the_example_is_short(example):
    assert len(Path(example.__file__).read_text(encoding="utf-8").splitlines()) <= 40


@pytest.mark.parametrize("weighted", [False, True])
def test_value_and_gradient_of_the_example(example, book, weighted, rng):
    weights = book["sample_weight"] if weighted else np.ones(len(book["y"]))
    bound = example.CovariancePenalty().bind(book["sensitive_features"], weights)
    u = rng.gamma(2.0, size=len(weights))
    value, gradient = bound.value_gradient(u)
    expected = covariances(u, book["sensitive_features"], weights)
    assert value == pytest.approx(expected @ expected, rel=1e-10)
    assert bound.value(u) == value
    for _ in range(5):
        direction = rng.normal(size=len(u))
        step = 1e-3 * direction
        # Central differences are exact for a quadratic function.
        numeric = (bound.value(u + step) - bound.value(u - step)) / 2e-3
        assert gradient @ direction == pytest.approx(numeric, rel=1e-8)


def test_linear_model_is_the_solution_of_its_equations(example, book):
    """Squared error, ridge term and a quadratic penalty: a linear system."""
    X, y, weights = book["X"].to_numpy(), book["y"], book["sample_weight"]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    strength, alpha = 5.0, 2.0
    model = DCovRidge(example.CovariancePenalty(), strength, alpha=alpha, tol=1e-10, max_iter=5_000)
    model.fit(X, y, weights, sensitive_features=book["sensitive_features"])
    p = weights / weights.sum()
    points = SensitiveEncoder().fit_transform(book["sensitive_features"])
    design = np.column_stack([X, np.ones(len(y))])
    of_parameters = design.T @ (p[:, None] * (points - p @ points))
    ridge = alpha / weights.sum() * np.diag([1.0] * X.shape[1] + [0.0])
    system = design.T @ (p[:, None] * design) + 2 * strength * of_parameters @ of_parameters.T + ridge
    solution = np.linalg.solve(system, design.T @ (p * y))
    np.testing.assert_allclose(np.append(model.coef_, model.intercept_), solution, rtol=1e-6, atol=1e-9)
    found = covariances(model.predict(X), book["sensitive_features"], weights)
    assert model.penalty_value_ == pytest.approx(found @ found, rel=1e-9)


def _lightgbm(penalty, strength):
    pytest.importorskip("lightgbm")
    from fairdcov import DCovLGBMRegressor

    small = {"n_estimators": 20, "n_penalised_rounds": 40, "num_leaves": 8, "n_jobs": 1, "random_state": 0}
    return DCovLGBMRegressor(penalty, strength, objective="poisson", **small)


def _xgboost(penalty, strength):
    pytest.importorskip("xgboost")
    from fairdcov import DCovXGBRegressor

    small = {"n_estimators": 20, "n_penalised_rounds": 40, "max_depth": 3, "n_jobs": 1, "random_state": 0}
    return DCovXGBRegressor(penalty, strength, objective="poisson", **small)


def _network(penalty, strength):
    pytest.importorskip("torch")
    from fairdcov.neural import DCovMLPRegressor

    return DCovMLPRegressor(
        penalty, strength, objective="poisson", hidden_layer_sizes=(8,), max_epochs=20, tol=1e-4, random_state=0
    )


LEARNERS = {
    "linear": lambda penalty, strength: DCovPoissonRegressor(penalty, strength),
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "network": _network,
}


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("scale", ["response", "link"])
def test_every_learner_takes_the_example(example, book, learner, scale):
    penalty = example.CovariancePenalty(scale=scale)
    unaware, fair = (LEARNERS[learner](penalty, strength) for strength in (0.0, 5_000.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        for model in (unaware, fair):
            model.fit(**book)
    assert fair.penalty_value_ < 0.15 * unaware.penalty_value_
    assert fair.loss_value_ > unaware.loss_value_ or learner == "network"
    raw = fair.predict(book["X"]) if scale == "response" else np.log(fair.predict(book["X"]))
    found = covariances(raw, book["sensitive_features"], book["sample_weight"])
    assert fair.penalty_value_ == pytest.approx(found @ found, rel=1e-4)
    assert fair.effective_strength_ == 5_000.0
    assert clone(fair).penalty.get_params() == penalty.get_params()


def test_classifiers_take_the_example(example, book):
    claims = book["y"] > 0
    unaware, fair = (
        DCovLogisticRegression(example.CovariancePenalty(), strength).fit(
            book["X"], claims, sensitive_features=book["sensitive_features"]
        )
        for strength in (0.0, 3e4)
    )
    assert fair.penalty_value_ < 0.1 * unaware.penalty_value_


def test_mini_batches_of_a_network_take_the_example(example, book, rng):
    torch = pytest.importorskip("torch")
    from fairdcov.neural import DependenceLoss

    loss = DependenceLoss(example.CovariancePenalty())
    encoded = loss.encode(book["sensitive_features"])
    rows = rng.permutation(len(book["y"]))[:64]
    u = torch.tensor(rng.gamma(2.0, size=64), requires_grad=True)
    weights = book["sample_weight"][rows]
    value = loss(u, encoded[rows], weights)
    value.backward()
    # A batch measures with the levels and scales of the whole.
    points = SensitiveEncoder().fit(book["sensitive_features"]).transform(book["sensitive_features"].iloc[rows])
    p = weights / weights.sum()
    directions = p[:, None] * (points - p @ points)
    expected = u.detach().numpy() @ directions
    assert value.item() == pytest.approx(expected @ expected, rel=1e-12)
    np.testing.assert_allclose(u.grad.numpy(), 2 * directions @ expected, rtol=1e-10)
    whole = loss.bind(book["sensitive_features"])
    assert whole(torch.tensor(book["y"])).item() > 0
    elsewhere = DependenceLoss(Elsewhere())
    assert elsewhere(torch.tensor(book["y"]), book["sensitive_features"]).item() > 0
    with pytest.raises(TypeError, match="Elsewhere has no parameter encoder"):
        elsewhere.encode(book["sensitive_features"])


def test_a_model_with_the_example_is_calibrated_and_audited(example, book):
    calibrator = JSDivergenceCalibrator(
        DCovPoissonRegressor(example.CovariancePenalty()),
        strengths=[0.0, 10.0, 1_000.0],
        cv=2,
        bins={"age": 3},
        if_unmet="warn",
        verbose=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        calibrator.fit(**book)
        prediction = calibrator.predict(book["X"])
        report = audit(
            book["y"],
            prediction,
            sensitive_features=book["sensitive_features"],
            sample_weight=book["sample_weight"],
            n_permutations=0,
            n_bootstrap=0,
            verbose=0,
        )
    assert isinstance(calibrator.best_estimator_.penalty, example.CovariancePenalty)
    assert "balance" in report.to_dict()


# -- defaults ---------------------------------------------------------------------------------------------------------


class Quadratic(BoundPenalty):
    """``u' H u / 2``."""

    def __init__(self, hessian):
        self.hessian = hessian

    def value_gradient(self, u):
        return 0.5 * u @ self.hessian @ u, self.hessian @ u


def test_default_curvature_is_the_norm_of_the_hessian(rng):
    directions = np.linalg.qr(rng.normal(size=(200, 3)))[0]
    bound = Quadratic((directions * [5.0, 2.0, 0.1]) @ directions.T)
    value, gradient, curvature = bound.value_gradient_curvature(rng.normal(size=200))
    assert np.ptp(curvature) == 0
    assert 4.5 < curvature[0] <= 5.0 * (1 + 1e-6)
    assert (value, gradient.shape) == (pytest.approx(value), (200,))
    assert not bound.value_gradient_curvature(np.zeros(200))[2].any()


def test_default_curvature_of_a_piecewise_linear_penalty_is_that_of_its_turns(rng):
    """The distance covariance without its own curvature: the default sees how its gradient turns on the way."""
    people = pd.DataFrame({"gender": rng.choice(["f", "m"], 2_000)})
    bound = CCDCovPenalty(normalize=False).bind(people)
    u = rng.gamma(2.0, size=2_000) + 0.3 * (people["gender"] == "f").to_numpy()
    default = BoundPenalty.value_gradient_curvature(bound, u)[2]
    assert 0.2 < default[0] / np.mean(bound.value_gradient_curvature(u)[2]) < 2.0


def test_a_bound_penalty_needs_a_gradient():
    class Without(BoundPenalty):
        pass

    with pytest.raises(TypeError, match="value_gradient"):
        Without()


def test_a_penalty_needs_a_way_to_be_bound():
    with pytest.raises(NotImplementedError, match=r"Penalty needs a method bind_attributes"):
        Penalty().bind(["a", "b", "a", "b"])


def test_options_of_the_base(example, book):
    penalty = example.CovariancePenalty(weighted=False, encoder=SensitiveEncoder(continuous_scaling="standard"))
    bound = penalty.bind(book["sensitive_features"], book["sample_weight"])
    points = penalty.encoder.fit_transform(book["sensitive_features"])
    np.testing.assert_allclose(bound.directions, (points - points.mean(axis=0)) / len(points), atol=1e-15)
    with pytest.raises(ValueError, match="scale must be one of 'response', 'link'"):
        example.CovariancePenalty(scale="total").bind(book["sensitive_features"])
    # Rows of weight 0 bring in no level and stretch no scale.
    ages = np.array([20.0, 30.0, 40.0, 900.0])
    bound = example.CovariancePenalty().bind(ages, np.array([1.0, 1.0, 2.0, 0.0]))
    np.testing.assert_allclose(bound.directions[:, 0], np.array([-0.625, -0.125, 0.75, 0.0]) / 4, atol=1e-15)


# -- objects that derive from nothing of ours -------------------------------------------------------------------------


class Elsewhere(BaseEstimator):
    """A penalty of somebody who has read that an object with ``bind`` will do."""

    def bind(self, sensitive_features, sample_weight=None):
        second = np.asarray(sensitive_features["gender"] == sensitive_features["gender"].iloc[0])
        return Bound(np.where(second, 1 / second.sum(), -1 / (~second).sum()))


class Bound:
    def __init__(self, direction):
        self.direction = direction

    def value_gradient(self, u):
        return (self.direction @ u) ** 2, 2 * (self.direction @ u) * self.direction


class Nothing(BaseEstimator):
    def bind(self, sensitive_features, sample_weight=None, *, n_threads=None):
        return object()


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_takes_an_object_from_elsewhere(book, learner):
    unaware, fair = (LEARNERS[learner](Elsewhere(), strength) for strength in (0.0, 1_000.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=UserWarning)
        for model in (unaware, fair):
            model.fit(**book)
    assert fair.penalty_value_ < 0.2 * unaware.penalty_value_
    assert fair.penalty_method_ == "exact"
    assert fair.penalty_error_bound_ == 0.0


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_is_missing_is_said_before_any_work(book, learner, monkeypatch):
    model = LEARNERS[learner](Nothing(), 1.0)
    if learner in ("lightgbm", "xgboost"):
        monkeypatch.setattr(f"{learner}.train", lambda *arguments, **options: pytest.fail("work was done"))
    with pytest.raises(TypeError, match=r"Nothing.bind must return an object with a method value_gradient\(u\)"):
        model.fit(**book)
    assert not hasattr(model, "n_features_in_")


def test_what_an_object_from_elsewhere_has_goes_before_the_defaults(book):
    class Full(Bound):
        scale, scale_free, shift_free, method, error_bound = "link", True, True, "by hand", 0.5

        def value(self, u):
            return 7.0

        def value_gradient_curvature(self, u):
            return (*self.value_gradient(u), np.full(len(u), 3.0))

    class Fully(Elsewhere):
        def bind(self, sensitive_features, sample_weight=None):
            bound = super().bind(sensitive_features)
            return Full(bound.direction)

    bound = bind_penalty(Fully(), book["sensitive_features"], None)
    assert isinstance(bound, BoundPenalty)
    found = (bound.scale, bound.scale_free, bound.shift_free, bound.method, bound.error_bound)
    assert found == ("link", True, True, "by hand", 0.5)
    assert bound.value(book["y"]) == 7.0
    assert (bound.value_gradient_curvature(book["y"])[2] == 3.0).all()


def test_scale_is_checked(book):
    class Total(Elsewhere):
        def bind(self, sensitive_features, sample_weight=None):
            bound = super().bind(sensitive_features)
            bound.scale = "total"
            return bound

    with pytest.raises(ValueError, match=r"Total.bind must return an object with scale 'response' or 'link'"):
        bind_penalty(Total(), book["sensitive_features"], None)


def test_further_keywords_reach_the_penalties_that_take_them(book):
    seen = {}

    class Takes(Elsewhere):
        def bind(self, sensitive_features, sample_weight=None, *, control_features=None, n_threads=None):
            seen.update(control_features=control_features, n_threads=n_threads)
            return super().bind(sensitive_features)

    people = book["sensitive_features"]
    bind_penalty(Takes(), people, None, n_threads=3, control_features="given")
    assert seen == {"control_features": "given", "n_threads": 3}
    bind_penalty(Elsewhere(), people, None, n_threads=3, control_features=None)
    with pytest.raises(TypeError, match=r"Elsewhere.bind does not take control_features"):
        bind_penalty(Elsewhere(), people, None, control_features="given")
    with pytest.raises(TypeError, match=r"CCDCovPenalty.bind does not take offset"):
        bind_penalty("ccdcov", people, None, offset="given")


def test_ours_are_bound_as_they_are(book):
    assert type(bind_penalty("ccdcov", book["sensitive_features"], None)) is BoundDependence
