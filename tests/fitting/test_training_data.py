"""The input of a fit: rows of weight 0 are absent, bad input is refused before anything is fitted."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from fairdcov import DCovLogisticRegression, DCovRidge
from fairdcov._fitting import HalfSquaredError, check_strengths, encode_binary_target, read_training_data
from fairdcov.penalties import CCDCovPenalty


def read(X, y, sample_weight=None, sensitive_features=None, *, penalised=True, learner=None):
    learner = DCovRidge() if learner is None else learner
    return read_training_data(learner, X, y, sample_weight, sensitive_features, HalfSquaredError(), penalised=penalised)


@pytest.fixture
def rows(rng):
    """Features, target, weights of which every third is 0, and groups."""
    n = 30
    weights = rng.uniform(0.5, 2.0, n)
    weights[::3] = 0.0
    return rng.normal(size=(n, 2)), rng.poisson(1.0, n), weights, rng.choice(["a", "b"], n)


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array], ids=["dense", "sparse"])
def test_rows_of_weight_0_are_absent(rows, container):
    X, y, weights, groups = rows
    keep = weights > 0
    data = read(container(X), y, weights, pd.DataFrame({"group": groups}))
    np.testing.assert_array_equal(data.X.toarray() if sparse.issparse(data.X) else data.X, X[keep])
    np.testing.assert_array_equal(data.y, y[keep])
    assert data.y.dtype == np.float64
    np.testing.assert_array_equal(data.weights, weights[keep])
    np.testing.assert_array_equal(data.sensitive_features["group"], groups[keep])
    assert data.probabilities.sum() == pytest.approx(1.0)
    assert data.weighted
    # What a row of weight 0 has as its group tells nothing.
    other = np.where(keep, groups, "c")
    bound, again = (read(X, y, weights, g).bind(CCDCovPenalty(), penalised=True) for g in (groups, other))
    u = X[keep, 0]
    assert bound.value(u) == again.value(u)


def test_without_weights_every_row_counts_once(rows):
    X, y, _, groups = rows
    data = read(X, y, None, groups)
    np.testing.assert_array_equal(data.weights, np.ones(30))
    assert len(data.y) == 30
    assert not data.weighted


def test_attributes_may_be_columns_of_X(rows):
    X, y, weights, _ = rows
    frame = pd.DataFrame(X, columns=["x", "age"])
    beside = read(X[:, :1], y, weights, X[:, 1])
    for drop in (True, False):
        within = read(frame, y, weights, learner=DCovRidge(sensitive_columns=["age"], drop_sensitive_columns=drop))
        assert within.X.shape[1] == (1 if drop else 2)
        np.testing.assert_array_equal(np.ravel(within.sensitive_features), beside.sensitive_features)


def test_a_penalty_is_bound_only_where_it_is_needed(rows):
    X, y, _, groups = rows
    unpenalised = read(X, y, penalised=False)
    assert unpenalised.bind(CCDCovPenalty(), penalised=False) is None
    with pytest.raises(ValueError, match="sensitive_features"):
        unpenalised.bind(CCDCovPenalty(), penalised=True)
    assert read(X, y, None, groups, penalised=False).bind(CCDCovPenalty(), penalised=False) is not None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_weight": np.r_[np.ones(3), np.zeros(27)]}, "at least 4 rows of positive sample_weight; found 3"),
        ({"sample_weight": -np.ones(30)}, "sample_weight must not be negative; found 30"),
        ({"sample_weight": np.ones(29)}, "sample_weight"),
        ({"sample_weight": np.zeros(30)}, "must not be all zero"),
        ({"sensitive_features": np.repeat("a", 29)}, "sensitive_features"),
        ({"X": np.full((30, 2), np.nan)}, "NaN"),
        ({"y": np.full(30, np.inf)}, "infinity"),
    ],
)
def test_bad_input_is_refused(rows, change, message):
    X, y, weights, groups = rows
    with pytest.raises(ValueError, match=message):
        read(**{"X": X, "y": y, "sample_weight": weights, "sensitive_features": groups} | change)


def test_an_unpenalised_fit_may_have_few_rows(rows):
    X, y, _, groups = rows
    assert len(read(X[:1], y[:1], penalised=False).y) == 1
    with pytest.raises(ValueError, match="minimum of 4"):
        read(X[:3], y[:3], None, groups[:3])


def test_the_target_can_be_encoded(rows):
    X, y, weights, groups = rows
    data = read(X, np.where(y > 0, "yes", "no"), weights, groups, learner=DCovLogisticRegression())
    np.testing.assert_array_equal(data.y, y[weights > 0] > 0)


@pytest.mark.parametrize(
    ("labels", "second"),
    [(["yes", "no", "yes"], "yes"), ([3, -1, 3], 3), ([True, False, True], True), ([1.0, 0, 1], 1)],
)
def test_the_second_label_is_1(labels, second):
    classes, target = encode_binary_target(np.asarray(labels))
    assert classes[1] == second
    np.testing.assert_array_equal(target, [1.0, 0.0, 1.0])
    assert target.dtype == np.float64


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", "b", "c"], "Only binary classification is supported. The type of the target is multiclass"),
        (["a", "a", "a"], "y must have two classes; found one class"),
        ([0.5, 1.5, 0.25], "continuous"),
    ],
)
def test_targets_that_are_not_binary(labels, message):
    with pytest.raises(ValueError, match=message):
        encode_binary_target(np.asarray(labels))


def test_strengths_are_numbers_at_least_0():
    assert check_strengths((0, 1, np.float32(2))) == [0.0, 1.0, 2.0]
    for wrong in ([-1.0], [np.nan], ["3"], [True], []):
        with pytest.raises((TypeError, ValueError), match="path"):
            check_strengths(wrong, "path")


def test_an_estimator_is_as_before_when_its_fit_fails(rows):
    X, y, weights, groups = rows
    model = DCovRidge().fit(X, y, sample_weight=weights, sensitive_features=groups)
    before = dict(vars(model))
    with pytest.raises(ValueError, match="sensitive_features"):
        model.fit(np.ones((30, 5)), y, sample_weight=weights, sensitive_features=groups[:3])
    assert vars(model) == before
