"""Penalties: binding, the scale-free form, and agreement with the measures as functions."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from fairdcov import (
    CCDCovPenalty,
    DCovPenalty,
    JDCovPenalty,
    SensitiveEncoder,
    concatenated_distance_covariance,
    distance_covariance,
    joint_distance_covariance,
)
from fairdcov._kernels import _reference
from fairdcov.exceptions import MissingSensitiveFeaturesError, SensitiveFeaturesWarning
from fairdcov.penalties import resolve_penalty

PENALTIES = {
    CCDCovPenalty: concatenated_distance_covariance,
    JDCovPenalty: joint_distance_covariance,
    DCovPenalty: distance_covariance,
}


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    n = 80
    people = pd.DataFrame(
        {"gender": rng.choice(["f", "m"], n), "region": rng.choice(["n", "s", "w"], n), "age": rng.integers(18, 70, n)}
    )
    return rng.gamma(2.0, size=n), people, rng.uniform(0.1, 1.0, n)


def _blocks(people):
    return [
        (people["gender"] == "m").to_numpy(float),
        pd.get_dummies(people["region"]).to_numpy(float),
        ((people["age"] - people["age"].min()) / (people["age"].max() - people["age"].min())).to_numpy(),
    ]


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_value_is_the_measure_of_the_encoded_attributes(sample, penalty, weighted):
    u, people, weights = sample
    bound = penalty(normalize=False, weighted=weighted).bind(people, weights)
    measure = PENALTIES[penalty]
    expected = measure(u, *_blocks(people), statistic="v", sample_weight=weights if weighted else None)
    np.testing.assert_allclose(bound.value(u) + bound.constant, expected, rtol=1e-12)


@pytest.mark.parametrize("statistic", ["u", "v"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_scale_free_form_divides_by_the_gini_mean_difference(sample, penalty, statistic):
    u, people, _ = sample
    raw = penalty(statistic, normalize=False).bind(people)
    free = penalty(statistic).bind(people)
    n = len(u)
    spread = _reference.gini_mean_difference(u, np.full(n, 1 / n)) * (n / (n - 1) if statistic == "u" else 1.0)
    np.testing.assert_allclose(free.value(u), raw.value(u) / spread, rtol=1e-12)
    for scaled in (10 * u, u + 3.0, 1e-6 * u - 1.0):
        np.testing.assert_allclose(free.value(scaled), free.value(u), rtol=1e-8)
    gradient = free.value_gradient(u)[1]
    np.testing.assert_allclose([gradient.sum(), gradient @ u], 0.0, atol=1e-12)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradient_by_finite_differences(sample, penalty, normalize):
    u, people, weights = sample
    bound = penalty(normalize=normalize).bind(people, weights)
    gradient = bound.value_gradient(u)[1]
    rng = np.random.default_rng(1)
    step = 1e-7  # smaller than any gap between neighbours: the penalty is piecewise linear
    assert np.diff(np.sort(u)).min() > 4 * step
    for _ in range(20):
        direction = rng.uniform(-1, 1, len(u))
        numeric = (bound.value(u + step * direction) - bound.value(u - step * direction)) / (2 * step)
        np.testing.assert_allclose(gradient @ direction, numeric, rtol=1e-5, atol=1e-9)


EVERY_FORM = [
    (penalty, options)
    for penalty in PENALTIES
    for options in (
        {},
        {"normalize": False},
        {"statistic": "u"},
        {"scale": "link"},
        {"scale": "total", "statistic": "u"},
    )
]


@pytest.mark.parametrize(("penalty", "options"), EVERY_FORM)
@pytest.mark.parametrize("level", [0.0, -0.1, 2.0, 1e-310, 1e307])
def test_constant_predictions_have_no_penalty_and_no_gradient(sample, penalty, options, level):
    """0 / 0 of the scale-free form is 0, and so where rounding alone tells rows apart."""
    _, people, weights = sample
    n = len(people)
    u = np.full(n, level)
    last_place = np.resize([1.0, 1.0 + 2.0**-52, 1.0 - 2.0**-53], n) if abs(level) < 1e307 else np.ones(n)
    bound = penalty(**options).bind(people)
    for predictions in (u, u * last_place, u[:, None]):
        value, gradient, curvature = bound.value_gradient_curvature(predictions)
        assert value == bound.value(predictions) == 0.0
        np.testing.assert_array_equal(gradient, np.zeros(n))
        np.testing.assert_array_equal(curvature, np.zeros(n))
        np.testing.assert_array_equal(bound.value_gradient(predictions)[1], np.zeros(n))
    if options.get("scale") == "total":
        assert penalty(scale="total").bind(people, weights).value(u / weights) == 0.0


@pytest.mark.parametrize(("penalty", "options"), [form for form in EVERY_FORM if "statistic" not in form[1]])
def test_rows_of_no_weight_do_not_make_a_prediction_vary(sample, penalty, options):
    """The Gini mean difference of the others is 0, and was divided by."""
    u, people, weights = sample
    absent = np.arange(len(u)) % 3 == 0
    weights = np.where(absent, 0.0, weights)
    bound = penalty(**options).bind(people, weights)
    value, gradient, curvature = bound.value_gradient_curvature(np.where(absent, u, 0.7))
    assert value == 0.0
    assert not gradient.any()
    assert not curvature.any()
    # Nor do they matter to one that does.
    expected = bound.value_gradient(np.where(absent, -5.0, u))
    value, gradient = bound.value_gradient(np.where(absent, 1e3 * u, u))
    np.testing.assert_allclose(value, expected[0], rtol=1e-10)
    np.testing.assert_allclose(gradient, expected[1], atol=1e-12)


FORMS_OF_PREDICTIONS = {
    "column": lambda u: u[:, None],
    "list": lambda u: u.tolist(),
    "series": lambda u: pd.Series(u, index=np.arange(len(u))[::-1]),
    "objects": lambda u: u.astype(object),
    "strided": lambda u: np.repeat(u, 2)[::2],
    "read-only": lambda u: np.frombuffer(u.tobytes()),
    "float32": lambda u: u.astype(np.float32),
    "integers": lambda u: u.astype(np.int16),
    "Fortran order": lambda u: np.asfortranarray(np.column_stack([u, u]))[:, :1],
}


@pytest.mark.parametrize("form", FORMS_OF_PREDICTIONS.values(), ids=FORMS_OF_PREDICTIONS)
@pytest.mark.parametrize("scale", ["response", "total"])
def test_any_form_of_the_same_predictions(sample, form, scale):
    """A column was taken for a constant prediction."""
    _, people, weights = sample
    u = np.random.default_rng(5).integers(0, 30, len(people)).astype(float)
    bound = CCDCovPenalty(scale=scale).bind(people, weights)
    for method in ("value_gradient", "value_gradient_curvature"):
        for found, expected in zip(getattr(bound, method)(form(u)), getattr(bound, method)(u), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert bound.value(form(u)) == bound.value(u) > 0.001


WRONG_PREDICTIONS = {
    "two columns": (lambda u: np.column_stack([u, u]), r"u must have one dimension, \(n,\); found shape \(80, 2\)"),
    "a row": (lambda u: u[None], r"u must have one dimension, \(n,\); found shape \(1, 80\)"),
    "a number": (lambda u: 1.0, r"u must have one dimension, \(n,\); found shape \(\)"),
    "too few": (lambda u: u[1:], "u must have as many rows as the protected attributes .*: found 79 instead of 80"),
    "none": (lambda u: u[:0], "u must have as many rows as the protected attributes .*: found 0 instead of 80"),
    "too many": (lambda u: np.append(u, 1.0), "found 81 instead of 80"),
    "NaN": (lambda u: np.where(u > 2, np.nan, u), "u must be finite; found .* NaN"),
    "infinite": (lambda u: np.append(u[1:], np.inf), "u must be finite; found 1 infinite values"),
    "text": (lambda u: u.astype(str), "u must be numeric"),
    "complex": (lambda u: u * 1j, "u must be numeric"),
    "missing": (lambda u: [None] * len(u), "u must be "),
}


@pytest.mark.parametrize(("form", "message"), WRONG_PREDICTIONS.values(), ids=WRONG_PREDICTIONS)
@pytest.mark.parametrize("options", [{}, {"normalize": False}, {"scale": "total"}], ids=str)
def test_wrong_predictions(sample, form, message, options):
    u, people, weights = sample
    bound = CCDCovPenalty(**options).bind(people, weights)
    for method in (bound.value, bound.value_gradient, bound.value_gradient_curvature):
        with pytest.raises(ValueError, match=message):
            method(form(u))


def test_totals_beyond_the_range_of_floats(sample):
    u, people, weights = sample
    bound = CCDCovPenalty(scale="total").bind(people, 1e10 * weights)
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="u times sample_weight must be finite"):
        bound.value(1e305 * u)


def test_equal_weights_are_no_weights(sample):
    u, people, _ = sample
    unweighted = CCDCovPenalty().bind(people)
    equal = CCDCovPenalty().bind(people, np.full(len(u), 7.0))
    assert unweighted.value(u) == equal.value(u)
    assert CCDCovPenalty("u").bind(people, np.full(len(u), 7.0)).value(u) == CCDCovPenalty("u").bind(people).value(u)


def test_whole_weights_repeat_rows(sample):
    u, people, _ = sample
    counts = np.random.default_rng(2).integers(0, 4, len(u))
    # Rows that are repeated no times must neither set the scale of age nor bring in a level.
    people.loc[counts == 0, ["gender", "age"]] = ["x", 1000]
    repeated = np.repeat(np.arange(len(u)), counts)
    for penalty in PENALTIES:
        weighted = penalty().bind(people, counts.astype(float))
        again = penalty().bind(people.iloc[repeated])
        np.testing.assert_allclose(weighted.value(u), again.value(u[repeated]), rtol=1e-10)


def test_rows_of_no_weight_and_the_others_in_the_scale_of_an_encoder(sample):
    """The standard deviation of a continuous attribute is that of the weighted rows."""
    u, people, _ = sample
    counts = np.random.default_rng(6).integers(0, 4, len(u))
    repeated = np.repeat(np.arange(len(u)), counts)
    penalty = CCDCovPenalty(encoder=SensitiveEncoder(continuous_scaling="standard"))
    weighted, again = penalty.bind(people, counts.astype(float)), penalty.bind(people.iloc[repeated])
    np.testing.assert_allclose(weighted.value(u), again.value(u[repeated]), rtol=1e-10)


def test_totals_carry_the_weights_of_an_unweighted_penalty_too(sample):
    """What makes a total of a prediction is no row weight of the penalty."""
    u, people, weights = sample
    bound = CCDCovPenalty(scale="total", weighted=False).bind(people, weights)
    np.testing.assert_array_equal(bound.multiplier, weights)
    assert bound.value(u) == CCDCovPenalty().bind(people).value(u * weights)


def test_bound_penalty_says_what_it_uses(sample):
    _, people, weights = sample
    assert CCDCovPenalty().bind(people, weights).method == "profiles"
    rng = np.random.default_rng(3)
    ages = rng.normal(size=600)
    assert CCDCovPenalty().bind(ages).method == "univariate"
    plane = rng.normal(size=(600, 2))
    assert CCDCovPenalty().bind(plane).method == "tiles"
    assert DCovPenalty().bind(plane).method == "univariate"
    approximate = CCDCovPenalty().bind(rng.normal(size=(20_001, 3)))
    assert approximate.method == "approximate"
    assert 0 < approximate.error_bound < 0.1
    by_nodes = CCDCovPenalty().bind(rng.normal(size=(20_001, 2)))
    assert by_nodes.method == "nodes"
    assert 0 < by_nodes.error_bound < 0.01
    assert CCDCovPenalty().bind(people).n_profiles == len(people.drop_duplicates())


def test_approximation_is_within_its_bound():
    rng = np.random.default_rng(4)
    S = rng.normal(size=(700, 3))
    for penalty in (CCDCovPenalty, JDCovPenalty):
        exact = penalty(method="tiles").bind(S)
        for n_components in (8, 32, 128):
            rough = penalty(method="approximate", n_components=n_components).bind(S)
            for u in (S[:, 0], S[:, 0] * S[:, 1], rng.normal(size=700), (S**2).sum(axis=1), np.sin(5 * S[:, 2])):
                error = exact.value(u) - rough.value(u)
                assert -1e-12 <= error <= rough.error_bound


def test_penalties_are_estimators_without_data(sample):
    _, people, _ = sample
    penalty = JDCovPenalty(c=0.5, encoder=SensitiveEncoder(continuous_scaling="standard"))
    before = repr(vars(penalty))
    bound = penalty.bind(people)
    assert repr(vars(penalty)) == before
    assert not hasattr(penalty.encoder, "attributes_")
    assert bound.encoder.attributes_ == list(people)
    assert clone(penalty).get_params()["c"] == 0.5
    assert clone(penalty).get_params()["encoder__continuous_scaling"] == "standard"


def test_names_stand_for_default_penalties():
    assert isinstance(resolve_penalty("dcov"), DCovPenalty)
    own = CCDCovPenalty()
    assert resolve_penalty(own) is own
    with pytest.raises(ValueError, match=r"found 3"):
        resolve_penalty(3)


def test_docstrings_describe_every_parameter():
    for penalty in PENALTIES:
        for parameter in penalty().get_params(deep=False):
            assert re.search(rf"^ *{parameter} : ", penalty.__doc__, re.MULTILINE)


def test_errors_and_warnings(sample):
    u, people, weights = sample
    with pytest.raises(MissingSensitiveFeaturesError, match=r"CCDCovPenalty\.bind needs"):
        CCDCovPenalty().bind(None)
    with pytest.raises(ValueError, match="weighted U-statistic"):
        CCDCovPenalty("u").bind(people, weights)
    with pytest.raises(ValueError, match="sample_weight must have as many rows as sensitive_features"):
        CCDCovPenalty().bind(people, weights[:-1])
    with pytest.raises(ValueError, match="at least 4 rows; found 3"):
        CCDCovPenalty("u").bind(people[:3])
    with pytest.warns(SensitiveFeaturesWarning, match=r"\['gender'\] are constant"):
        bound = CCDCovPenalty().bind(people[["gender"]].assign(gender="f"))
    assert bound.value(u) == 0.0
    # constant among the rows that count
    with pytest.warns(SensitiveFeaturesWarning, match="constant"):
        CCDCovPenalty().bind(people[["gender"]], np.where(people["gender"] == "f", weights, 0.0))


WRONG_OPTIONS = {
    "normalize as text": ({"normalize": "no"}, ValueError, "normalize must be True or False; found 'no'"),
    "normalize as a number": ({"normalize": 2}, ValueError, "normalize must be True or False; found 2"),
    "weighted": ({"weighted": None}, ValueError, "weighted must be True or False; found None"),
    "encoder": (
        {"encoder": "onehot"},
        TypeError,
        r"encoder must be None or a fairdcov\.SensitiveEncoder; found 'onehot'",
    ),
    "no components": ({"n_components": 0}, ValueError, "n_components must be a whole number >= 1; found 0"),
    "negative components": ({"n_components": -5}, ValueError, "n_components must be a whole number >= 1; found -5"),
    "half a component": ({"n_components": 2.5}, ValueError, "n_components must be a whole number >= 1; found 2.5"),
    "components as a flag": (
        {"n_components": True},
        ValueError,
        "n_components must be a whole number >= 1; found True",
    ),
    "seed as text": ({"random_state": "a"}, ValueError, "random_state must be a whole number >= 0; found 'a'"),
    "negative seed": ({"random_state": -1}, ValueError, "random_state must be a whole number >= 0; found -1"),
    "scale": ({"scale": "totals"}, ValueError, "scale must be one of 'response', 'link', 'total'; found 'totals'"),
    "statistic": ({"statistic": None}, ValueError, "statistic must be one of 'u', 'v'; found None"),
}


@pytest.mark.parametrize(("options", "error", "message"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("method", ["auto", "approximate"])
def test_wrong_options(sample, penalty, options, error, message, method):
    with pytest.raises(error, match=message):
        penalty(method=method, **options).bind(sample[1])


def test_attributes_without_a_length(sample):
    for wrong in (3.0, (row for row in "abc")):
        with pytest.raises(TypeError, match="sensitive_features must be a DataFrame, a Series or an array; found a "):
            CCDCovPenalty().bind(wrong)
