"""Leaves of all penalised trees moved together: how far a strength goes, and that the learners keep what was moved."""

import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from fairdcov import CCDCovPenalty
from fairdcov._fitting import HalfTweedieLoss
from fairdcov.boosting._leaves import Leaves, refine_leaves, spread_over
from fairdcov.boosting._objective import BalancedObjective
from fairdcov.exceptions import StrengthWarning
from fairdcov.metrics import js_divergence

ROUNDS = {"objective": "poisson", "n_estimators": 20, "n_penalised_rounds": 25, "random_state": 0, "n_jobs": 1}


def lightgbm(**options):
    pytest.importorskip("lightgbm")
    from fairdcov import DCovLGBMRegressor

    return DCovLGBMRegressor(**{**ROUNDS, "num_leaves": 8, **options})


def xgboost(**options):
    pytest.importorskip("xgboost")
    from fairdcov import DCovXGBRegressor

    return DCovXGBRegressor(**{**ROUNDS, "max_depth": 3, **options})


both = pytest.mark.parametrize("make", [lightgbm, xgboost], ids=lambda make: make.__name__)


@pytest.fixture
def steep():
    """Frequencies of which little is explained, nearly all of it by proxies; skewed exposures and a rare group."""
    rng = np.random.default_rng(4)
    n = 4_000
    region = rng.choice(4, n, p=[0.5, 0.3, 0.17, 0.03])
    gender = rng.integers(0, 2, n)
    X = np.column_stack(
        [0.5 * region + rng.normal(0, 0.4, n), rng.poisson(3 + 2 * gender), rng.normal(size=n), rng.exponential(size=n)]
    )
    exposure = np.where(rng.random(n) < 0.3, 1.0, rng.beta(0.7, 1.2, n)).clip(0.01, 1)
    claims = rng.poisson(exposure * np.exp(-1.5 + 0.2 * region + 0.3 * gender + 0.05 * X[:, 2]))
    people = pd.DataFrame({"region": region.astype(str), "gender": gender.astype(str)})
    return {"X": X, "y": claims / exposure, "sample_weight": exposure, "sensitive_features": people}


def fit(model, data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StrengthWarning)
        return clone(model).fit(**data)


def said(model, data):
    """What a fit warns of."""
    with pytest.warns(StrengthWarning) as caught:
        model.fit(**data)
    return "; ".join(str(warning.message) for warning in caught)


# -- sums over leaves --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "n_trees", "n_leaves"), [(1, 1, 1), (7, 3, 2), (257, 9, 31), (300, 2, 5000)])
def test_sums_are_those_of_indicators(rng, n, n_trees, n_leaves):
    # A learner's numbers have gaps.
    nodes = 3 * rng.integers(0, n_leaves, (n, n_trees)) + 2
    leaves = Leaves(nodes)
    columns = [np.unique(nodes[:, tree], return_inverse=True)[1] for tree in range(n_trees)]
    indicators = np.hstack([np.eye(column.max() + 1)[column] for column in columns])
    assert leaves.n_leaves == indicators.shape[1]
    values, row_values = rng.normal(size=leaves.n_leaves), rng.normal(size=n)
    np.testing.assert_allclose(leaves.spread(values), indicators @ values, atol=1e-12)
    np.testing.assert_allclose(leaves.sums(row_values), indicators.T @ row_values, atol=1e-12)
    np.testing.assert_allclose(spread_over(nodes, leaves.by_tree(values)), indicators @ values, atol=1e-12)


def test_leaves_that_are_not_among_the_training_rows_do_not_move():
    moves = Leaves(np.array([[1], [3]])).by_tree(np.array([10.0, 20.0]))
    np.testing.assert_array_equal(spread_over(np.array([[0], [1], [2], [3], [9]]), moves), [0, 10, 0, 20, 0])


# -- the descent -------------------------------------------------------------------------------------------------------


def problem(rng, n=400, n_telling=6):
    """Six trees, of which so many tell the groups apart."""
    group, nodes = rng.integers(0, 3, n), rng.integers(0, 5, (n, 6))
    nodes[:, :n_telling] += 5 * group[:, None]
    y = rng.poisson(np.exp(0.3 * group)).astype(float)
    probabilities = rng.uniform(0.2, 1.0, n)
    probabilities /= probabilities.sum()
    penalty = CCDCovPenalty().bind(group.astype(str), probabilities)
    objective = BalancedObjective(HalfTweedieLoss(1.0), y, probabilities, penalty)
    return objective, 0.3 * group + 0.1 * rng.normal(size=n), Leaves(nodes)


def test_the_objective_falls_and_the_outcome_is_in_balance(rng):
    objective, raw, leaves = problem(rng)
    start = objective.terms(raw + objective.best_shift(raw), 1.0)
    refined = refine_leaves(objective, raw, leaves, 50.0, 0.5, lambda following, before: True)
    np.testing.assert_allclose(refined.raw, raw + spread_over(_nodes(leaves, raw), refined.moves) + refined.shift)
    loss, penalty, _ = objective.terms(refined.raw, 50.0)
    assert (loss, penalty) == pytest.approx((refined.loss, refined.penalty), rel=1e-12)
    assert penalty < 0.05 * start[1]
    assert refined.loss <= objective.constant_loss()
    assert refined.total == refined.loss + refined.strength * refined.penalty
    assert 0.5 < refined.strength <= 50.0
    mean = objective.loss.response(refined.raw) @ objective.probabilities
    assert mean == pytest.approx(objective.y @ objective.probabilities, rel=1e-9)


def test_what_one_tree_alone_can_do_costs_more_than_what_all_share(rng):
    left = []
    for n_telling in (1, 6):
        objective, raw, leaves = problem(np.random.default_rng(0), n_telling=n_telling)
        refined = refine_leaves(objective, raw, leaves, 2.0, 1.0, lambda following, before: True)
        left.append(refined.penalty / objective.terms(raw, 1.0)[1])
    assert left[1] < 0.5 * left[0]


def _nodes(leaves, raw):
    """Numbers of the leaves again, by spreading one tree's numbers at a time."""
    nodes = []
    for tree in range(len(leaves.numbers)):
        parts = [
            numbers.astype(float) if other == tree else 0.0 * numbers for other, numbers in enumerate(leaves.numbers)
        ]
        nodes.append(leaves.spread(np.concatenate(parts)))
    return np.column_stack(nodes).astype(int)


def test_a_stage_that_is_refused_leaves_what_there_was(rng):
    objective, raw, leaves = problem(rng)
    assert refine_leaves(objective, raw, leaves, 50.0, 0.5, lambda following, before: False) is None
    seen = []
    once = refine_leaves(objective, raw, leaves, 50.0, 0.5, lambda *pair: not seen.append(pair) and len(seen) == 1)
    assert once is seen[0][0]
    assert seen[1][1] is once


# -- the learners ------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("family", ["poisson", "squared_error"])
def test_what_was_moved_is_what_is_predicted(make, steep, family):
    model = fit(make(strength=300.0, objective=family), steep)
    trees_alone = fit(make(strength=300.0, objective=family, n_penalised_rounds=25), steep)
    bound = CCDCovPenalty().bind(steep["sensitive_features"], steep["sample_weight"])
    prediction = model.predict(steep["X"])
    assert model.penalty_value_ == pytest.approx(bound.value(prediction), rel=1e-3)
    assert model.penalty_value_ == pytest.approx(model.history_["penalty"][-1], rel=1e-6)
    assert model.penalty_value_ < 0.5 * model.history_["penalty"][-2]
    total = steep["sample_weight"] @ prediction / (steep["sample_weight"] @ steep["y"])
    assert total == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_array_equal(trees_alone.predict(steep["X"]), prediction)


@both
def test_a_strength_goes_on_buying_independence(make, steep):
    """The largest strength that trees are grown at is about 0.5 here, where the penalty still is a multiple."""
    values = [fit(make(strength=strength), steep).penalty_value_ for strength in (0.0, 0.3, 3.0, 30.0, 1000.0)]
    assert all(later < earlier for earlier, later in pairwise(values))
    assert values[-1] < 0.15 * values[1]


@both
def test_a_path_goes_as_far(make, steep):
    data = {name: values for name, values in steep.items() if name not in ("X", "y")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StrengthWarning)
        path = list(make().strength_path(steep["X"], steep["y"], [0.1, 30.0, 1000.0], **data))
    values = [model.penalty_value_ for model in path]
    assert all(later < earlier for earlier, later in pairwise(values))
    assert [model.n_penalised_rounds_ for model in path] == sorted(model.n_penalised_rounds_ for model in path)
    bound = CCDCovPenalty().bind(steep["sensitive_features"], steep["sample_weight"])
    for model in path:
        assert model.penalty_value_ == pytest.approx(bound.value(model.predict(steep["X"])), rel=1e-3)


@both
def test_rows_that_are_watched_see_the_moved_leaves(make, steep):
    half = len(steep["y"]) // 2
    parts = [{name: values[rows] for name, values in steep.items()} for rows in (slice(None, half), slice(half, None))]
    watched = parts[1]
    evaluation = {
        "eval_set": (watched["X"], watched["y"]),
        "eval_sample_weight": watched["sample_weight"],
        "eval_sensitive_features": watched["sensitive_features"],
    }
    for patience in (None, 10):
        model = fit(make(strength=300.0, early_stopping_rounds=patience), {**parts[0], **evaluation})
        bound = CCDCovPenalty().bind(watched["sensitive_features"], watched["sample_weight"])
        value = bound.value(model.predict(watched["X"]))
        if patience is None:
            assert model.effective_strength_ > 10
            assert model.history_["validation_penalty"][-1] == pytest.approx(value, rel=1e-3)
        else:
            # No stage is taken that is worse on these rows.
            worst = model.history_["validation_loss"] + model.effective_strength_ * model.history_["validation_penalty"]
            assert worst[-1] <= worst[0]


@both
def test_monotone_constraints_are_kept(make, steep):
    model = make(strength=300.0, monotone_constraints=[0, 0, 0, 1] if make is lightgbm else (0, 0, 0, 1))
    assert "instead of strength=300" in said(model, steep)
    assert model.effective_strength_ < 10
    rows = np.repeat(steep["X"][:50], 20, axis=0)
    rows[:, 3] = np.tile(np.linspace(0, 5, 20), 50)
    assert (np.diff(model.predict(rows).reshape(50, 20), axis=1) >= -1e-7).all()


# -- what is said ------------------------------------------------------------------------------------------------------


@both
def test_a_fit_says_that_a_strength_has_not_bought_independence(make, steep):
    weak = make(strength=1000.0, n_penalised_rounds=1)
    assert "on its training rows, where attributes that do not matter show at most" in said(weak, steep)
    assert weak.penalty_value_ > weak.penalty_null_level_ > 0
    strong = fit(make(strength=1000.0), steep)
    assert not strong.penalty_value_ > strong.penalty_null_level_
    assert np.isnan(fit(make(strength=0.1), steep).penalty_null_level_)


@both
def test_a_fit_says_that_independence_does_not_hold_on_rows_that_are_watched(make, steep):
    half = len(steep["y"]) // 2
    fitted, watched = (
        {name: values[rows] for name, values in steep.items()} for rows in (slice(None, half), slice(half, None))
    )
    # The same features with other people: what was learnt of them does not hold.
    X = watched["X"] + [[1.5, 4.0, 0.0, 0.0]] * (watched["sensitive_features"]["region"] == "0").to_numpy()[:, None]
    evaluation = {
        "eval_set": (X, watched["y"]),
        "eval_sample_weight": watched["sample_weight"],
        "eval_sensitive_features": watched["sensitive_features"],
    }
    assert "on the rows of eval_set, where" in said(make(strength=1000.0), {**fitted, **evaluation})


# -- rows that a fit has not seen --------------------------------------------------------------------------------------


def proxies(n=4_000, seed=4):
    """Claim counts in three groups that two features all but give away."""
    rng = np.random.default_rng(seed)
    region = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    X = np.column_stack([region + rng.normal(0, 0.3, n), region + rng.normal(0, 0.3, n), rng.normal(size=n)])
    y = rng.poisson(np.exp(-1 + 0.3 * region + 0.2 * X[:, 2])).astype(float)
    return {"X": X, "y": y, "sensitive_features": region.astype(str)}


@both
def test_independence_of_the_training_rows_alone_is_said(make):
    trees = {"num_leaves": 8, "n_penalised_rounds": 50}
    if make is xgboost:
        trees = {"max_depth": 2, "n_penalised_rounds": 100}
    data = proxies()
    model = make(strength=1000.0, **trees)
    assert "new rows will show more than attributes that do not matter" in said(model, data)
    assert model.unseen_divergence_ > model.unseen_divergence_level_ > 0
    assert model.unseen_exceedance_ > 0.5
    # Sets of rows drawn anew, a third as many, do show it.
    shown = []
    for seed in range(100, 110):
        new = proxies(len(data["y"]) // 3, seed=seed)
        shown.append(js_divergence(None, model.predict(new["X"]), sensitive_features=new["sensitive_features"]))
    assert np.mean(shown) > model.unseen_divergence_level_
    # The other fits change nothing else.
    alone = fit(make(strength=1000.0, validation_fraction=None, **trees), data)
    np.testing.assert_array_equal(model.predict(data["X"]), alone.predict(data["X"]))
    assert np.isnan(alone.unseen_penalty_)
    assert np.isnan(alone.unseen_exceedance_)


def test_what_is_said_is_where_two_parts_lead_to(steep):
    """The same by hand: two fits, each without other rows, measured on these."""
    model = fit(lightgbm(strength=1000.0, validation_fraction=0.25), steep)
    n, of_seen, of_unseen, null = len(steep["y"]), [], [], []
    order = np.random.default_rng(0).permutation(n)
    n_trees = {"n_estimators": model.n_unpenalised_rounds_, "n_penalised_rounds": model.n_penalised_rounds_}
    for held in (order[: n // 4], order[n // 4 : n // 2]):
        keep = np.ones(n, dtype=bool)
        keep[held] = False
        seen, unseen = ({name: values[rows] for name, values in steep.items()} for rows in (keep, ~keep))
        second = fit(lightgbm(strength=1000.0, validation_fraction=None, **n_trees), seen)
        of_seen.append(second.penalty_value_)
        predicted, rng = second.predict(unseen["X"]), np.random.default_rng(0)
        bound = CCDCovPenalty().bind(unseen["sensitive_features"], unseen["sample_weight"])
        of_unseen.append(bound.value(predicted))
        null.append([bound.value(predicted[rng.permutation(len(predicted))]) for _ in range(19)])
    chance = np.mean(null)
    beyond = np.mean(of_unseen) - chance
    left = (model.penalty_value_ - 0.75 * np.mean(of_seen)) / 0.25
    assert model.penalty_value_ < 0.25 * chance
    expected = 0.75 * beyond + 0.25 * np.clip(left, 0.0, beyond)
    # A third as many rows show three quarters of the chance in a quarter.
    assert model.unseen_penalty_ == pytest.approx(0.75 * chance + expected, rel=1e-5)
    residuals = np.concatenate(null) - np.repeat(np.mean(null, axis=1), 19)
    assert model.unseen_null_level_ == pytest.approx(0.75 * (chance + np.quantile(residuals, 0.95)), rel=1e-5)


@pytest.mark.parametrize("weighted", [True, False])
def test_the_divergence_of_rows_is_that_of_the_metric(steep, weighted):
    from fairdcov._fitting import RawObjective, beside_chance, measures_of

    people, weights = steep["sensitive_features"], steep["sample_weight"] if weighted else np.ones(len(steep["y"]))
    bound = CCDCovPenalty().bind(people, weights)
    objective = RawObjective(HalfTweedieLoss(1.0), steep["y"], weights / weights.sum(), bound)
    raw = 0.3 * steep["X"][:, 0] + 0.1 * steep["X"][:, 2]
    # Three times as many rows as new ones would be: those of the fit have a bandwidth for a third of them.
    found = measures_of(objective, raw, people, share=1 / 3)
    metric = js_divergence(None, np.exp(raw), sensitive_features=people, sample_weight=weights)
    np.testing.assert_allclose(found, [bound.value(np.exp(raw)), metric], rtol=0.01)
    beside = beside_chance(objective, raw, people)
    assert beside.values[1] < metric
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(raw)) for _ in range(19)]
    np.testing.assert_allclose(beside.null[:, 0], [bound.value(np.exp(raw[order])) for order in orders], rtol=1e-9)
    assert beside.values[1] > beside.null[:, 1].max() > beside.null[:, 1].min() > 0
    assert np.isnan(beside_chance(objective, raw).values[1])


@both
def test_where_features_say_nothing_of_the_groups_nothing_is_said(make, rng):
    n, warned = 1_000, 0
    for _ in range(12):
        X, group = rng.normal(size=(n, 3)), rng.integers(0, 3, n)
        y = rng.poisson(np.exp(0.3 * X[:, 0] + 0.3 * (group == 2))).astype(float)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", StrengthWarning)
            small = make(strength=100.0, n_estimators=5, n_penalised_rounds=5)
            small.fit(X, y, sensitive_features=group.astype(str))
        warned += any("need not carry over" in str(warning.message) for warning in caught)
    # Chance in the parts is small beside what chance shows in a third of the rows.
    assert warned == 0


def test_a_path_and_few_rows_have_no_further_fits(steep):
    data = {name: values for name, values in steep.items() if name not in ("X", "y")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StrengthWarning)
        (*_, last) = lightgbm().strength_path(steep["X"], steep["y"], [1.0, 1000.0], **data)
    assert np.isnan(last.unseen_penalty_)
    few = fit(lightgbm(strength=100.0), {name: values[:150] for name, values in steep.items()})
    assert np.isnan(few.unseen_penalty_)
    with pytest.raises(ValueError, match=r"validation_fraction must be at most 0\.5, or None: two parts .* found 0\.6"):
        lightgbm(validation_fraction=0.6).fit(**steep)


def test_a_part_that_cannot_be_fitted_leaves_the_fit_as_it_is():
    """The only row of the second class is in one of the parts."""
    pytest.importorskip("lightgbm")
    from fairdcov import DCovLGBMClassifier

    rng = np.random.default_rng(0)
    X, group = rng.normal(size=(600, 2)), rng.integers(0, 2, 600)
    y = np.arange(600) == 5
    model = DCovLGBMClassifier(strength=100.0, n_estimators=3, n_penalised_rounds=3, n_jobs=1)
    model = fit(model, {"X": X, "y": y, "sensitive_features": group.astype(str)})
    assert model.predict_proba(X).shape == (600, 2)


def test_columns_of_X_and_offsets_go_into_the_further_fits(steep):
    X = pd.DataFrame(steep["X"], columns=list("abcd")).assign(gender=steep["sensitive_features"]["gender"])
    offset = 0.1 * steep["X"][:, 0]
    given = {"y": steep["y"], "sample_weight": steep["sample_weight"], "offset": offset}
    named = fit(lightgbm(strength=300.0, sensitive_columns=["gender"]), {"X": X, **given})
    beside = {"X": X.drop(columns="gender"), "sensitive_features": X[["gender"]], **given}
    assert named.unseen_penalty_ > 0
    assert named.unseen_penalty_ == fit(lightgbm(strength=300.0), beside).unseen_penalty_
