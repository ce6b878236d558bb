"""The negative binomial family: the loss against SciPy, the models against statsmodels, weights as repetition."""

import pickle

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import nbinom

from fairdcov import (
    DCovLGBMRegressor,
    DCovNegativeBinomialRegressor,
    DCovPoissonRegressor,
    DCovXGBRegressor,
)
from fairdcov._fitting import FAMILIES
from fairdcov._fitting._losses import HalfTweedieLoss
from fairdcov._fitting._negative_binomial import HalfNegativeBinomialLoss

pytestmark = pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")

DISPERSION = 0.7


@pytest.fixture(scope="module")
def book():
    """Rates of over-dispersed counts, exposure, and an attribute that shows in a feature."""
    rng = np.random.default_rng(5)
    n = 800
    group = rng.integers(0, 2, n)
    X = np.column_stack([group + rng.normal(size=n), rng.normal(size=n), rng.uniform(size=n)])
    exposure = rng.integers(1, 4, n).astype(float)
    mean = np.exp(-0.5 + 0.5 * X[:, 0] - 0.3 * X[:, 1])
    # Counts of independent parts of unit exposure: dispersion / exposure.
    claims = rng.poisson(exposure * mean * rng.gamma(exposure / DISPERSION, DISPERSION / exposure))
    return {"X": X, "y": claims / exposure, "claims": claims, "exposure": exposure, "group": group}


def log_likelihood(y, mu, dispersion):
    return nbinom.logpmf(y, 1 / dispersion, 1 / (1 + dispersion * mu))


# -- the loss ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dispersion", [1e-3, 0.5, 1.0, 20.0])
def test_the_loss_is_half_the_deviance(dispersion, rng):
    y, mu = rng.integers(0, 9, 40).astype(float), rng.gamma(2.0, 1.0, 40)
    loss = HalfNegativeBinomialLoss(dispersion)
    saturated = np.where(y > 0, log_likelihood(y, np.maximum(y, 1e-300), dispersion), 0.0)
    expected = saturated - log_likelihood(y, mu, dispersion)
    np.testing.assert_allclose(loss.loss_gradient(y, np.log(mu))[0], expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(loss.deviance(y, mu), 2 * expected, rtol=1e-8, atol=1e-10)


def test_small_dispersions_are_the_poisson_distribution(rng):
    y, raw = rng.integers(0, 9, 40).astype(float), rng.normal(size=40)
    for own, poisson in zip(
        HalfNegativeBinomialLoss(1e-9).loss_gradient(y, raw), HalfTweedieLoss(1.0).loss_gradient(y, raw), strict=True
    ):
        np.testing.assert_allclose(own, poisson, atol=1e-6)


def test_a_weight_divides_the_dispersion(rng):
    """A weighted rate has the loss of the count: the sum of as many independent parts."""
    counts, weights, raw = rng.integers(0, 9, 40).astype(float), rng.uniform(0.2, 5.0, 40), rng.normal(size=40)
    for i in range(40):
        rate = weights[i] * HalfNegativeBinomialLoss(0.8).loss_gradient(counts[i] / weights[i], raw[i])[0]
        count = HalfNegativeBinomialLoss(0.8 / weights[i]).loss_gradient(counts[i], raw[i] + np.log(weights[i]))[0]
        np.testing.assert_allclose(rate, count, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("dispersion", [1e-6, 0.5, 1e4])
@pytest.mark.parametrize("level", [-50.0, 0.0, 50.0])
def test_best_shift(spread, dispersion, level, rng):
    y, raw, p = rng.poisson(0.4, 60).astype(float), level + spread * rng.normal(size=60), rng.dirichlet(np.ones(60))
    loss = HalfNegativeBinomialLoss(dispersion)
    shift = loss.best_shift(y, raw, p)
    # Rounding of the losses hides what a shift changes below about 1e-7 of itself; the derivative does not.
    parts = np.abs(loss.loss_gradient(y, raw + shift)[1]) @ p
    assert abs(loss.loss_gradient(y, raw + shift)[1] @ p) < 1e-9 * parts
    for other in (shift - 1e-3, shift + 1e-3):
        assert loss.loss_gradient(y, raw + other)[0] @ p > loss.loss_gradient(y, raw + shift)[0] @ p
    assert loss.best_shift(np.zeros(60), raw, p) is None


@pytest.mark.parametrize(
    ("dispersion", "error", "message"),
    [
        (0.0, ValueError, "dispersion must be a finite number > 0; found 0.0"),
        (-1.0, ValueError, "dispersion must be a finite number > 0"),
        (np.inf, ValueError, "dispersion must be a finite number > 0"),
        (True, TypeError, "dispersion must be a number"),
        ("auto", TypeError, "dispersion must be a number"),
        (5e-324, ValueError, "too small"),
    ],
)
def test_what_is_no_dispersion_is_refused(dispersion, error, message, book):
    with pytest.raises(error, match=message):
        DCovNegativeBinomialRegressor(strength=0, dispersion=dispersion).fit(book["X"], book["y"])


def test_targets_are_checked(book):
    with pytest.raises(ValueError, match="the negative binomial distribution needs y >= 0; found 1 negative value"):
        DCovNegativeBinomialRegressor(strength=0).fit(book["X"], np.r_[-0.5, book["y"][1:]])
    with pytest.raises(ValueError, match="positive mean"):
        DCovNegativeBinomialRegressor(strength=0).fit(book["X"], np.zeros(len(book["y"])))


# -- the linear model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dispersion", [0.1, 1.0])
def test_coefficients_and_deviance_are_those_of_statsmodels(weighted, dispersion, book):
    statsmodels = pytest.importorskip("statsmodels.api")
    weights = book["exposure"] if weighted else None
    model = DCovNegativeBinomialRegressor(strength=0, alpha=0, dispersion=dispersion, tol=1e-8)
    model.fit(book["X"], book["y"], weights)
    theirs = statsmodels.GLM(
        book["y"],
        statsmodels.add_constant(book["X"]),
        family=statsmodels.families.NegativeBinomial(alpha=dispersion),
        freq_weights=weights,
    ).fit(tol=1e-12)
    np.testing.assert_allclose(np.r_[model.intercept_, model.coef_], theirs.params, rtol=1e-6, atol=1e-7)
    total = len(book["y"]) if weights is None else weights.sum()
    np.testing.assert_allclose(2 * total * model.loss_value_, theirs.deviance, rtol=1e-9)
    np.testing.assert_allclose(model.score(book["X"], book["y"], weights), 1 - theirs.deviance / theirs.null_deviance)


def test_the_fit_has_the_highest_likelihood(book):
    """An independent check where statsmodels is not installed: counts by SciPy, exposure by the dispersion."""
    model = DCovNegativeBinomialRegressor(strength=0, alpha=0, dispersion=DISPERSION, tol=1e-8)
    model.fit(book["X"], book["y"], book["exposure"])

    def negative(step, direction):
        raw = model.intercept_ + step * direction[0] + book["X"] @ (model.coef_ + step * direction[1:])
        mean = book["exposure"] * np.exp(raw)
        return -log_likelihood(book["claims"], mean, DISPERSION / book["exposure"]).sum()

    for direction in np.eye(4):
        assert abs(minimize_scalar(negative, bounds=(-0.1, 0.1), args=(direction,), method="bounded").x) < 1e-4


def test_whole_number_weights_are_repetition(book):
    rows = np.repeat(np.arange(len(book["y"])), book["exposure"].astype(int))
    options = {"strength": 1.0, "alpha": 1e-3, "dispersion": DISPERSION, "tol": 1e-8}
    one = DCovNegativeBinomialRegressor(**options).fit(
        book["X"], book["y"], book["exposure"], sensitive_features=book["group"]
    )
    other = DCovNegativeBinomialRegressor(**options).fit(
        book["X"][rows], book["y"][rows], sensitive_features=book["group"][rows]
    )
    np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-4)


def test_the_dispersion_by_moments_is_that_of_the_convention():
    """The formula of the docstring, on counts whose variance is exposure * mean * (1 + dispersion * mean)."""
    rng = np.random.default_rng(0)
    n = 200_000
    exposure, mean = rng.uniform(0.2, 1.5, n), rng.gamma(4.0, 0.25, n)
    claims = rng.poisson(exposure * mean * rng.gamma(exposure / DISPERSION, DISPERSION / exposure))
    expected = exposure * mean
    estimate = ((claims - expected) ** 2 - expected).sum() / (expected**2 / exposure).sum()
    assert estimate == pytest.approx(DISPERSION, rel=0.03)


def test_strength_lowers_the_penalty(book):
    data = {"sample_weight": book["exposure"], "sensitive_features": book["group"]}
    path = DCovNegativeBinomialRegressor(alpha=1e-4, dispersion=DISPERSION).strength_path(
        book["X"], book["y"], [0.0, 0.1, 1.0, 10.0], **data
    )
    penalties = [model.penalty_value_ for model in path]
    assert penalties == sorted(penalties, reverse=True)
    assert penalties[-1] < 0.1 * penalties[0]


@pytest.mark.parametrize("strength", [1e3, 1e6])
def test_no_model_is_worse_than_a_constant(strength, book):
    data = {"sample_weight": book["exposure"], "sensitive_features": book["group"]}
    model = DCovNegativeBinomialRegressor(strength=strength, alpha=1e-4, dispersion=DISPERSION)
    model.fit(book["X"], book["y"], **data)
    assert model.score(book["X"], book["y"], book["exposure"]) >= -1e-9


# -- boosters and networks --------------------------------------------------------------------------------------------


def lightgbm(**options):
    pytest.importorskip("lightgbm")
    return DCovLGBMRegressor(
        objective="negative_binomial", dispersion=DISPERSION, num_leaves=6, random_state=0, n_jobs=1, **options
    )


def xgboost(**options):
    pytest.importorskip("xgboost")
    return DCovXGBRegressor(
        objective="negative_binomial", dispersion=DISPERSION, max_depth=3, random_state=0, n_jobs=1, **options
    )


boosters = pytest.mark.parametrize("make", [lightgbm, xgboost], ids=lambda make: make.__name__)


@boosters
def test_boosters_grow_the_trees_of_the_loss(make, book):
    """The first tree by hand: Newton steps from the constant in leaves that the booster has chosen."""
    options = {"reg_lambda": 0.0, "n_estimators": 1, "learning_rate": 0.3, "min_child_weight": 1e-3}
    model = make(strength=0, **options).fit(book["X"], book["y"], book["exposure"])
    raw = np.log(model.predict(book["X"]))
    constant = np.log(book["claims"].sum() / book["exposure"].sum())
    loss = HalfNegativeBinomialLoss(DISPERSION)
    leaves, numbers = np.unique(np.round(raw, 6), return_inverse=True)
    assert len(leaves) > 3
    gradient = book["exposure"] * loss.loss_gradient(book["y"], np.full(len(raw), constant))[1]
    curvature = book["exposure"] * loss.curvature(np.full(len(raw), constant))
    steps = -np.bincount(numbers, gradient) / np.bincount(numbers, curvature)
    expected = constant + 0.3 * np.clip(steps, -2.0, 2.0)
    # The guard moves all predictions by the shift that is best for the loss.
    difference = leaves - expected
    np.testing.assert_allclose(difference, difference[0], atol=1e-5)


@boosters
def test_boosters_explain_and_say_what_they_predict(make, book):
    model = make(strength=0, n_estimators=40).fit(book["X"], book["y"], book["exposure"])
    score = model.score(book["X"], book["y"], book["exposure"])
    linear = DCovNegativeBinomialRegressor(strength=0, alpha=1e-4, dispersion=DISPERSION)
    linear.fit(book["X"], book["y"], book["exposure"])
    assert score > linear.score(book["X"], book["y"], book["exposure"]) > 0.05
    np.testing.assert_allclose(model.loss_value_, own_loss(model, book), rtol=1e-5)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(book["X"]), model.predict(book["X"]))
    if make is lightgbm:
        np.testing.assert_allclose(model.booster_.predict(book["X"]), model.predict(book["X"]), rtol=1e-12)
    # Far from a mean of 1, where a custom objective of LightGBM would start.
    far = make(strength=0, n_estimators=5).fit(book["X"], 1e-4 * book["y"], book["exposure"])
    ratio = far.predict(book["X"]) @ book["exposure"] / (1e-4 * book["claims"].sum())
    assert ratio == pytest.approx(1.0, abs=0.1)


def own_loss(model, book):
    losses = HalfNegativeBinomialLoss(DISPERSION).deviance(book["y"], model.predict(book["X"])) / 2
    return np.average(losses, weights=book["exposure"])


@boosters
def test_penalised_rounds_lower_the_penalty(make, book):
    data = {"sample_weight": book["exposure"], "sensitive_features": book["group"]}
    path = make(n_estimators=20, n_penalised_rounds=40).strength_path(book["X"], book["y"], [0.0, 0.1, 10.0], **data)
    models = list(path)
    penalties = [model.penalty_value_ for model in models]
    assert penalties[0] > penalties[1] > penalties[2]
    assert penalties[2] < 0.3 * penalties[0]
    assert models[2].n_penalised_rounds_ > 0
    np.testing.assert_allclose(models[2].loss_value_, own_loss(models[2], book), rtol=1e-5)


@boosters
def test_boosters_stop_early_by_the_loss(make, book):
    rng = np.random.default_rng(1)
    held = rng.random(len(book["y"])) < 0.4
    arguments = {
        "X": book["X"][~held],
        "y": book["y"][~held],
        "sample_weight": book["exposure"][~held],
        "eval_set": (book["X"][held], book["y"][held]),
        "eval_sample_weight": book["exposure"][held],
    }
    stopped = make(strength=0, n_estimators=300, early_stopping_rounds=10).fit(**arguments)
    assert stopped.n_unpenalised_rounds_ < 200

    def held_loss(model):
        losses = HalfNegativeBinomialLoss(DISPERSION).deviance(book["y"][held], model.predict(book["X"][held]))
        return np.average(losses, weights=book["exposure"][held])

    best = stopped.n_unpenalised_rounds_
    for rounds in (best - 3, best + 3):
        assert held_loss(make(strength=0, n_estimators=max(rounds, 1)).fit(**arguments)) >= held_loss(stopped) - 1e-6


def test_a_network_without_hidden_layers_is_the_linear_model(book):
    pytest.importorskip("torch")
    from fairdcov.neural import DCovMLPRegressor

    network = DCovMLPRegressor(
        strength=0,
        objective="negative_binomial",
        dispersion=DISPERSION,
        hidden_layer_sizes=(),
        early_stopping=False,
        alpha=0,
        max_epochs=60,
        learning_rate_init=0.01,
        random_state=0,
        n_threads=1,
        tol=0,
        n_iter_no_change=60,
    )
    with pytest.warns(UserWarning, match="still getting better"):
        network.fit(book["X"], book["y"], book["exposure"])
    linear = DCovNegativeBinomialRegressor(strength=0, alpha=0, dispersion=DISPERSION)
    linear.fit(book["X"], book["y"], book["exposure"])
    assert network.loss_value_ == pytest.approx(linear.loss_value_, rel=1e-3)
    penalised = network.set_params(strength=10.0, tol=1e-4, n_iter_no_change=10, max_iter=40)
    penalised.fit(book["X"], book["y"], book["exposure"], sensitive_features=book["group"])
    assert penalised.penalty_value_ < 0.1


# -- the registry -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_family_has_its_estimator_and_loss(family):
    import fairdcov

    loss = family.loss()
    assert hasattr(fairdcov, family.glm)
    y, mu = np.array([0.0, 1.0, 1.0]), np.array([0.3, 0.6, 0.9])
    if loss.target_range == "positive":
        y = y + 0.5
    loss.check_target(y)
    half = loss.loss_gradient(y, loss.intercept(mu))[0]
    np.testing.assert_allclose(loss.deviance(y, mu), 2 * half, rtol=1e-10, atol=1e-12)
    assert (family.option is None) == (family.parameter is None)


def test_a_poisson_model_is_the_limit(book):
    poisson = DCovPoissonRegressor(strength=0, alpha=1e-3).fit(book["X"], book["y"], book["exposure"])
    limit = DCovNegativeBinomialRegressor(strength=0, alpha=1e-3, dispersion=1e-8)
    limit.fit(book["X"], book["y"], book["exposure"])
    np.testing.assert_allclose(limit.coef_, poisson.coef_, atol=1e-5)
