"""No fit ends worse than a constant model, whatever the strength, and a fit says when it goes by another strength."""

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import mean_poisson_deviance

from fairdcov import CCDCovPenalty, DCovGammaRegressor, DCovLogisticRegression, DCovPoissonRegressor, DCovRidge
from fairdcov._fitting import HalfTweedieLoss, RawObjective
from fairdcov._fitting._guard import (
    BesideChance,
    OfNewRows,
    StrengthGuard,
    largest_sensible_strength,
    of_new_rows,
    warn_of_dependence,
    warn_of_new_rows,
)
from fairdcov.datasets import make_motor_portfolio
from fairdcov.exceptions import StrengthWarning


def solver(limit_strength, tried):
    """A path of models whose loss rises with the strength, and passes 1 at ``limit_strength``."""

    def solve(strength):
        tried.append(strength)
        return SimpleNamespace(loss=strength / limit_strength, strength=strength)

    return solve


def test_an_admissible_strength_is_solved_once():
    tried = []
    assert StrengthGuard(1.0).solve(3.0, solver(4.0, tried), first_guess=lambda: 0.1)[0] == 3.0
    assert tried == [3.0]


@pytest.mark.parametrize("limit", [3.7, 812.0, 5e-3])
@pytest.mark.parametrize("guess", [1.0, np.inf, 1e-30])
def test_the_largest_admissible_strength_is_found_to_a_factor(limit, guess):
    tried = []
    effective, solution = StrengthGuard(1.0).solve(1e6, solver(limit, tried), first_guess=lambda: guess)
    assert limit / 1.5 <= effective <= limit
    assert solution.strength == effective
    assert len(tried) < 20


def test_what_one_strength_has_shown_holds_for_larger_ones():
    tried, guard = [], StrengthGuard(1.0)
    first = guard.solve(1e4, solver(50.0, tried), first_guess=lambda: 1.0)
    n_tried = len(tried)
    assert guard.solve(1e5, solver(50.0, tried), first_guess=lambda: 1.0) is first
    assert len(tried) == n_tried


def test_without_any_admissible_strength_the_unpenalised_model_remains():
    def solve(strength):
        return SimpleNamespace(loss=2.0 if strength else 0.5)

    effective, solution = StrengthGuard(1.0).solve(1.0, solve, first_guess=lambda: np.inf)
    assert (effective, solution.loss) == (0.0, 0.5)


@pytest.mark.parametrize("loss", [np.nan, np.inf, 1.0 + 1e-6])
def test_what_is_no_number_is_not_admitted(loss):
    assert not StrengthGuard(1.0).admits(loss)
    assert StrengthGuard(1.0).admits(1.0 + 1e-12)
    # A Gaussian or gamma deviance of a constant can be negative.
    assert not StrengthGuard(-1.0).admits(-0.999)
    assert StrengthGuard(-1.0).admits(-1.0)


def test_largest_sensible_strength():
    assert largest_sensible_strength(3.0, 1.0, 0.5) == 40.0
    assert largest_sensible_strength(1.0, 1.0, 0.5) == np.inf
    assert largest_sensible_strength(1.0, 0.5, 0.0) == np.inf


@pytest.mark.parametrize("scale", ["response", "total"])
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_dependence_that_a_constant_would_not_have_is_said(rng, scale, bias):
    n = 2_000
    gender, exposure = rng.integers(0, 2, n), rng.uniform(0.1, 1.0, n)
    raw = -1.0 + bias * gender + 0.05 * rng.normal(size=n)
    y = np.exp(-1.0 + 0.3 * gender)
    bound = CCDCovPenalty(scale=scale).bind(gender.astype(str), exposure)
    objective = RawObjective(HalfTweedieLoss(1.0), y, exposure / exposure.sum(), bound)
    estimator = DCovPoissonRegressor()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(warn_of_dependence(estimator, objective, raw, 0.0, "more rounds"))
        if bias:
            # What is left of the penalty weighs less than what the model explains.
            assert np.isnan(warn_of_dependence(estimator, objective, raw, 1e-3, "more rounds"))
    if bias:
        with pytest.warns(StrengthWarning, match=r"strength=1000 leaves a penalty of .* on these rows.*: more rounds"):
            level = warn_of_dependence(estimator, objective, raw, 1e3, "more rounds", rows="these rows")
        assert 0 < level < 0.2 * objective.penalty_value(raw)
    else:
        level = warn_of_dependence(estimator, objective, raw, 1e3, "more rounds")
        assert 0 < objective.penalty_value(raw) <= level


def test_the_null_level_is_the_largest_of_nineteen_permutations(rng):
    n = 300
    gender = rng.integers(0, 2, n).astype(str)
    bound = CCDCovPenalty().bind(gender)
    objective = RawObjective(HalfTweedieLoss(1.0), rng.poisson(1.0, n).astype(float), np.full(n, 1 / n), bound)
    raw = rng.normal(size=n)
    values = [bound.value(np.exp(rng.permutation(raw))) for _ in range(400)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StrengthWarning)
        level = warn_of_dependence(DCovPoissonRegressor(), objective, raw, 1e6, "more rounds")
    assert np.quantile(values, 0.8) < level < 1.5 * np.max(values)


# ---------------------------------------------------------------------------------------------------------------------
# The learners
# ---------------------------------------------------------------------------------------------------------------------


# -- new rows ----------------------------------------------------------------------------------------------------------


def beside(values, mean, spread):
    """Null values of a mean, evenly around it."""
    return BesideChance(np.asarray(values), mean + spread * np.linspace(-1.0, 1.0, 19)[:, None])


@pytest.mark.parametrize("share", [0.5, 0.2])
@pytest.mark.parametrize(("left", "moved", "fitted"), [(0.0, 0.3, 0.5), (0.2, 0.1, 0.3), (0.0, 0.0, 0.0)])
def test_what_new_rows_show_is_where_the_parts_lead_to(share, left, moved, fitted):
    """Numbers that follow the curves to the digit, of two parts that differ."""
    chance, rest = np.array([1.0, 2.0]), 1.0 - share
    seen = [(chance - fitted) / rest + left + apart for apart in (-0.1, 0.1)]
    unseen = [
        beside(chance / share + left + moved / rest + apart, chance / share, 0.1 / share) for apart in (-0.2, 0.2)
    ]
    found = of_new_rows(chance + left - fitted, seen, unseen, share)
    # A third as many rows show three times the chance.
    np.testing.assert_allclose([found.penalty, found.divergence], 3 * chance + left + moved, rtol=1e-12)
    levels = 3 * chance + 3 * np.quantile(0.1 * np.linspace(-1.0, 1.0, 19), 0.95)
    np.testing.assert_allclose([found.penalty_level, found.divergence_level], levels, rtol=0.01)
    # Nineteen null values evenly spaced, from three times -0.1 to 0.1: how many are above the level by that much.
    scattered = left + moved + 0.3 * np.linspace(-1.0, 1.0, 19)
    assert found.exceedance == pytest.approx((scattered > levels[0] - 3 * chance[0]).mean(), abs=1 / 19)


@pytest.mark.parametrize(
    ("whole", "seen", "beyond", "shown"),
    [
        # What parts show below chance is chance.
        (0.9, 1.9, -0.2, 0.0),
        # No more is left than parts show on new rows.
        (0.9, 1.0, 0.2, 0.2),
        (0.9, 1.9, 0.2, 0.1),
        # New rows show no less than those of the fit.
        (1.7, 2.5, 0.2, 0.7),
    ],
)
def test_bounds_of_what_is_left(whole, seen, beyond, shown):
    unseen = beside(np.full(2, 2.0 + beyond), np.full(2, 2.0), 0.1)
    found = of_new_rows(np.full(2, whole), [np.full(2, seen)] * 2, [unseen] * 2, 0.5)
    assert found.divergence == found.penalty == pytest.approx(3.0 + shown)


def test_the_penalty_speaks_where_there_is_no_divergence():
    for value, exceedance in ((2.0, 1.0), (1.0, 1 / 19)):
        unseen = beside([value, np.nan], np.array([1.0, np.nan]), 0.1)
        found = of_new_rows(np.array([0.4, np.nan]), [np.array([0.8, np.nan])] * 2, [unseen] * 2, 0.5)
        assert found.exceedance == pytest.approx(exceedance)
        assert np.isnan(found.divergence)


def test_as_many_sets_are_above_the_level_as_are_when_they_are_drawn(rng):
    """Rows whose measure scatters like the null values about another mean."""
    null = rng.gamma(4.0, 0.25, (4_000, 1)) * np.ones(2)
    for more in (0.0, 0.3, 1.0):
        unseen = BesideChance(null.mean(axis=0) + more, null)
        # Nothing is left in the rows of the fit, so that half of what a part has moved stays with twice the rows.
        found = of_new_rows(np.full(2, 0.4), [np.full(2, 0.8)] * 2, [unseen] * 2, 0.5)
        drawn = 1.5 * rng.gamma(4.0, 0.25, 100_000) + 0.5 * more
        assert found.exceedance == pytest.approx((drawn > found.divergence_level).mean(), abs=0.02)


@pytest.mark.parametrize(("exceedance", "warned"), [(0.05, False), (0.24, False), (0.25, True), (np.nan, False)])
def test_what_is_warned_of(exceedance, warned):
    found = OfNewRows(0.1, 0.2, 0.1, 0.2, exceedance)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", StrengthWarning)
        warn_of_new_rows(DCovPoissonRegressor(), 3.0, found, "Take more rows")
    assert [("25% of all sets" in str(warning.message)) for warning in caught] == [True] * warned


@pytest.fixture(scope="module")
def book():
    return make_motor_portfolio(3_000, random_state=3)


def estimators():
    """A small model of each learner, by name; those that are not installed skip."""
    small = {"objective": "poisson", "n_estimators": 20, "n_penalised_rounds": 30, "random_state": 0, "n_jobs": 1}

    def lightgbm():
        pytest.importorskip("lightgbm")
        from fairdcov import DCovLGBMRegressor

        return DCovLGBMRegressor(num_leaves=8, **small)

    def xgboost():
        pytest.importorskip("xgboost")
        from fairdcov import DCovXGBRegressor

        return DCovXGBRegressor(max_depth=3, **small)

    def network():
        pytest.importorskip("torch")
        from fairdcov.neural import DCovMLPRegressor

        return DCovMLPRegressor(
            objective="poisson", hidden_layer_sizes=(8,), max_epochs=15, max_iter=40, random_state=0, n_threads=1
        )

    def linear():
        return DCovPoissonRegressor(alpha=1e-4)

    return [linear, lightgbm, xgboost, network]


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("make", estimators(), ids=lambda make: make.__name__)
@pytest.mark.parametrize("strength", [1e5, 1e6])
def test_huge_strengths_are_said_and_no_model_is_worse_than_a_constant(book, make, strength):
    X, weights = book.data.select_dtypes("number"), book.exposure
    model = make().set_params(strength=strength)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", StrengthWarning)
        model.fit(X, book.target, sample_weight=weights, sensitive_features=book.sensitive_features)
    said = [str(warning.message) for warning in caught if warning.category is StrengthWarning]
    # What new rows will show is another matter.
    said = [text for text in said if "need not carry over" not in text]
    if model.effective_strength_ < strength:
        assert len(said) == 1
        assert (
            f"strength {model.effective_strength_:.4g} (effective_strength_) instead of strength={strength:g}"
            in said[0]
        )
        assert model.effective_strength_ > 0
    else:
        assert not said
    # A network may settle within the limit by itself.
    assert make.__name__ == "network" or said
    constant = np.full(len(weights), book.claims.sum() / weights.sum())
    highest = mean_poisson_deviance(book.target, constant, sample_weight=weights)
    assert mean_poisson_deviance(book.target, model.predict(X), sample_weight=weights) <= (1 + 1e-8) * highest
    # The reports of a model are about the strength that it goes by.
    unaware = make().set_params(strength=0).fit(X, book.target, sample_weight=weights)
    bound = CCDCovPenalty().bind(book.sensitive_features, weights)
    assert bound.value(model.predict(X)) < 0.2 * bound.value(unaware.predict(X))
    assert model.penalty_value_ == pytest.approx(bound.value(model.predict(X)), rel=1e-4)


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("make", estimators(), ids=lambda make: make.__name__)
def test_an_ordinary_strength_is_the_one_asked_for(book, make):
    X = book.data.select_dtypes("number")
    data = {"sample_weight": book.exposure, "sensitive_features": book.sensitive_features}
    with warnings.catch_warnings():
        warnings.simplefilter("error", StrengthWarning)
        for strength in (0.0, 1.0):
            assert make().set_params(strength=strength).fit(X, book.target, **data).effective_strength_ == strength


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
@pytest.mark.parametrize(
    "estimator", [DCovRidge(alpha=1e-3), DCovLogisticRegression()], ids=lambda estimator: type(estimator).__name__
)
def test_other_families(estimator, rng):
    n = 200
    gender = rng.integers(0, 2, n)
    X = np.column_stack([gender + rng.normal(size=n), rng.normal(size=n), np.where(rng.random(n) < 0.02, 9.0, 0.0)])
    raw = X @ [1.0, 1.0, 0.1] - 0.5
    y = raw + rng.normal(size=n) if isinstance(estimator, DCovRidge) else rng.random(n) < 1 / (1 + np.exp(-raw))
    model = estimator.set_params(strength=1e6).fit(X, y, sensitive_features=gender)
    if isinstance(estimator, DCovRidge):
        assert model.score(X, y) >= 0
    else:
        share = y.mean()
        entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
        probability = model.predict_proba(X)[np.arange(n), y.astype(int)]
        assert -np.log(probability).mean() <= entropy + 1e-9


def test_a_path_goes_on_from_the_largest_strength_it_found(book):
    X = book.data.select_dtypes("number")
    data = {"sample_weight": book.exposure, "sensitive_features": book.sensitive_features}
    path = DCovPoissonRegressor(alpha=1e-4).strength_path(X, book.target, [1.0, 1e5, 1e6], **data)
    with pytest.warns(StrengthWarning) as caught:
        first, second, third = path
    assert [warning.message.args[0].partition("strength=")[2].partition(":")[0] for warning in caught] == [
        "100000",
        "1e+06",
    ]
    assert first.effective_strength_ == 1.0 < second.effective_strength_ == third.effective_strength_
    np.testing.assert_array_equal(second.coef_, third.coef_)
    assert (second.strength, third.strength) == (1e5, 1e6)


def test_without_an_intercept_the_limit_is_the_model_without_coefficients(rng):
    """The best constant is out of reach of such a model, which is no reason to refuse every strength."""
    n = 300
    X = rng.normal(size=(n, 2))
    gender = (X[:, 0] > 0).astype(int)
    y = rng.poisson(3.0 * np.exp(0.3 * X[:, 0]))
    model = DCovPoissonRegressor(strength=0.1, alpha=1e-3, fit_intercept=False).fit(X, y, sensitive_features=gender)
    assert model.effective_strength_ == 0.1


# ---------------------------------------------------------------------------------------------------------------------
# Learners that run away by themselves
# ---------------------------------------------------------------------------------------------------------------------


def test_unpenalised_rounds_that_diverge_are_refused(rng):
    """LightGBM's gamma objective takes Newton steps of any length where the target is next to 0."""
    pytest.importorskip("lightgbm")
    from fairdcov import DCovLGBMRegressor

    n = 200
    X = pd.DataFrame({"x": rng.normal(size=n)})
    y = np.where(np.arange(n) % 2 == 0, 1e-9, 1.0) * np.where(X["x"] > 0.5, 1e-6, 1.0)
    model = DCovLGBMRegressor(strength=0, objective="gamma", n_estimators=10, min_child_samples=1, n_jobs=1)
    with pytest.raises(ValueError, match=r"unpenalised rounds diverge.*max_delta_step=1"):
        model.set_params(learning_rate=1.0).fit(X, y)
    assert not hasattr(model, "booster_")


# ---------------------------------------------------------------------------------------------------------------------
# The level
# ---------------------------------------------------------------------------------------------------------------------


def test_a_gamma_model_that_loses_its_level_says_so(book):
    """Better than a constant by its deviance, and many times the observed total."""
    X = book.data.select_dtypes("number").to_numpy()
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    y = np.exp(0.5 * X[:, 0]) * np.random.default_rng(0).gamma(1, 1, len(X))
    data = {"sample_weight": book.exposure, "sensitive_features": book.sensitive_features}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = DCovGammaRegressor(strength=30.0, alpha=1e-4).fit(X, y, **data)
    ratio = (model.predict(X) @ book.exposure) / (y @ book.exposure)
    said = [str(warning.message) for warning in caught if "times the observed total" in str(warning.message)]
    assert ratio > 2
    assert len(said) == 1
    assert f"predicts {ratio:.3g} times" in said[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error", StrengthWarning)
        DCovGammaRegressor(strength=0.0, alpha=1e-4).fit(X, y, **data)
        DCovPoissonRegressor(strength=3.0, alpha=1e-4).fit(X, y, **data)
