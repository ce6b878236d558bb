"""Penalties within strata of control features: the scale-free form, what is warned of, curvature, input forms."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from fairdcov import CCDCovPenalty, DCovPenalty, JDCovPenalty
from fairdcov._kernels import _reference
from fairdcov.dependence import local_density
from fairdcov.encoding import DEFAULT_GROUPS
from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.penalties import Penalty, bind_penalty

PENALTIES = (CCDCovPenalty, DCovPenalty, JDCovPenalty)


@pytest.fixture
def people(rng):
    n = 200
    return pd.DataFrame(
        {
            "gender": rng.choice(["f", "m"], n),
            "region": rng.choice(["n", "s", "w"], n),
            "cover": rng.choice(["basic", "full", "plus"], n),
            "mileage": rng.gamma(3.0, 5_000, n).round(),
        }
    )


def slope(function, u, rows, step=1e-6):
    """Gradient of some rows by finite differences of the 4th order."""
    found = []
    for row in rows:
        steps = step * (np.arange(len(u)) == row)
        outer = function(u - 2 * steps) - function(u + 2 * steps)
        found.append((outer + 8 * (function(u + steps) - function(u - steps))) / (12 * step))
    return found


@pytest.mark.parametrize("options", [{}, {"normalize": False}, {"statistic": "u"}, {"scale": "total"}], ids=str)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradient_by_finite_differences(rng, people, penalty, options):
    u = rng.gamma(2.0, size=len(people))
    weights = None if options.get("statistic") == "u" else rng.uniform(0.5, 1.5, len(people))
    attributes, control = people[["gender", "region"]], people[["cover", "mileage"]]
    bound = penalty(**options).bind(attributes, weights, control_features=control)
    assert bound.n_strata == 15
    rows = rng.integers(0, len(u), 20)
    assert_allclose(bound.value_gradient(u)[1][rows], slope(bound.value, u, rows), atol=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
def test_value_is_the_mean_over_strata_by_the_spread_of_all_rows(rng, people, weighted):
    u = rng.gamma(2.0, size=len(people)) * (1 + (people["cover"] == "plus"))
    u = u.to_numpy()
    weights = rng.uniform(0.5, 1.5, len(people)) if weighted else np.ones(len(people))
    shares = weights / weights.sum()
    points = np.column_stack([people["gender"] == "m", pd.get_dummies(people["region"])]).astype(float)
    expected = 0.0
    for level in ("basic", "full", "plus"):
        rows = (people["cover"] == level).to_numpy()
        inside = shares[rows] / shares[rows].sum()
        expected += shares[rows].sum() * _reference.distance_covariance(
            u[rows], points[rows], statistic="v", probabilities=inside
        )
    attributes = people[["gender", "region"]]
    bound = CCDCovPenalty().bind(attributes, weights if weighted else None, control_features=people["cover"])
    assert_allclose(bound.value(u), expected / _reference.gini_mean_difference(u, shares), rtol=1e-11)
    assert_allclose(bound.value(3 * u + 5), bound.value(u), rtol=1e-11)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_constant_control_feature_changes_nothing(rng, people, penalty):
    u, weights = rng.gamma(2.0, size=len(people)), rng.uniform(size=len(people))
    attributes = people[["gender", "region", "mileage"]]
    plain = penalty().bind(attributes, weights)
    within = penalty().bind(attributes, weights, control_features=np.full(len(people), "all"))
    for expected, found in zip(plain.value_gradient_curvature(u), within.value_gradient_curvature(u), strict=True):
        assert_array_equal(found, expected)
    assert within.constant == plain.constant


@pytest.mark.parametrize("penalty", PENALTIES)
def test_predictions_of_the_control_features_alone_are_free(people, penalty):
    # Gender depends on the cover, so that the unconditional penalty is not 0.
    people["gender"] = np.where((people["cover"] == "plus") & (people["region"] != "w"), "f", people["gender"])
    u = people["cover"].map({"basic": 1.0, "full": 1.1, "plus": 3.0}).to_numpy()
    attributes = people[["gender", "region"]]
    assert penalty().bind(attributes).value(u) > 0.01
    bound = penalty().bind(attributes, control_features=people["cover"])
    value, gradient, curvature = bound.value_gradient_curvature(u)
    assert value == 0
    assert not gradient.any()
    assert np.isfinite(curvature).all()
    # ... smoothly: a little variation within strata costs little.
    noise = 1e-6 * np.random.default_rng(0).normal(size=len(u))
    assert bound.value(u + noise) < 1e-6


def test_curvature_is_that_of_the_stratum(rng, people):
    u, weights = rng.gamma(2.0, size=len(people)), rng.uniform(0.5, 1.5, len(people))
    u = u + 100 * (people["cover"] == "plus").to_numpy()
    attributes, shares = people[["gender", "region"]], weights / weights.sum()
    bound = CCDCovPenalty(normalize=False).bind(attributes, weights, control_features=people["cover"])
    _, _, curvature = bound.value_gradient_curvature(u)
    for level in ("basic", "full", "plus"):
        rows = (people["cover"] == level).to_numpy()
        alone = (
            CCDCovPenalty(normalize=False).bind(attributes[rows], weights[rows]).value_gradient_curvature(u[rows])[2]
        )
        assert_allclose(curvature[rows], alone * shares[rows].sum(), rtol=1e-9)
    assert local_density(u).max() < local_density(u[rows]).max() / 2


@pytest.mark.parametrize("options", [{}, {"normalize": False}, {"scale": "total"}], ids=str)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_smoothed_penalty(rng, people, penalty, options):
    """Above the penalty by at most half the width, with a gradient of its own, and without a kink."""
    level = people["cover"].map({"basic": 1.0, "full": 1.1, "plus": 3.0}).to_numpy()
    u = level + rng.gamma(2.0, size=len(people)) * np.where(people["cover"] == "plus", 1e-3, 0.5)
    weights = rng.uniform(0.5, 1.5, len(people))
    bound = penalty(**options).bind(people[["gender", "region"]], weights, control_features=people["cover"])
    within = bound.values_within(u)
    shares = np.ones(len(u)) if options.get("scale") == "total" else weights
    shares = shares / shares.sum()
    totals = [shares[people["cover"] == cover].sum() for cover in ("basic", "full", "plus")]
    assert_allclose(within @ totals, bound.value(u), rtol=1e-11)
    for width in (1e-9, np.median(within), 1.0):
        smoothed = bound.smoothed(width)
        value, gradient = smoothed.value_gradient(u)
        assert bound.value(u) <= value <= bound.value(u) + width / 2
        rows = rng.integers(0, len(u), 10)
        assert_allclose(gradient[rows], slope(smoothed.value, u, rows, step=1e-7), atol=1e-6)
    if options.get("scale") != "total":
        value, gradient = smoothed.value_gradient(level)
        assert_allclose(value, 0.5, rtol=1e-12)
        assert_allclose(gradient, 0, atol=1e-12)
    assert penalty(statistic="u").bind(people["gender"], control_features=people["cover"]).smoothed(1.0) is None
    assert penalty().bind(people["gender"]).smoothed(1.0) is None
    assert penalty().bind(people["gender"]).values_within(u) is None


def test_numbers_are_cut_into_quantile_groups(people):
    attributes = people[["gender", "region"]]
    mileage = people["mileage"]
    assert CCDCovPenalty().control_bins == DEFAULT_GROUPS
    assert CCDCovPenalty().bind(attributes, control_features=mileage).n_strata == DEFAULT_GROUPS
    assert CCDCovPenalty(control_bins=2).bind(attributes, control_features=mileage).n_strata == 2
    edges = CCDCovPenalty(control_bins={"mileage": [0, 10_000, np.inf]})
    u = mileage.to_numpy() + 1000 * (people["gender"] == "f")
    cut = np.where(mileage < 10_000, "low", "high")
    found, expected = (
        edges.bind(attributes, control_features=mileage).value(u),
        CCDCovPenalty().bind(attributes, control_features=cut).value(u),
    )
    assert found == expected
    assert clone(edges).get_params()["control_bins"] == edges.control_bins


@pytest.mark.parametrize("penalty", PENALTIES)
def test_options_are_kept_by_clones(penalty):
    assert clone(penalty(control_bins=7)).control_bins == 7


def test_rows_of_weight_zero_are_absent(rng, people):
    u, weights = rng.gamma(2.0, size=len(people)), rng.uniform(0.5, 1.5, len(people))
    weights[:20] = 0
    people.loc[:4, "cover"] = "none"
    people.loc[5:9, "mileage"] = 1e6
    attributes, control = people[["gender", "region"]], people[["cover", "mileage"]]
    bound = CCDCovPenalty().bind(attributes, weights, control_features=control)
    kept = CCDCovPenalty().bind(attributes[20:], weights[20:], control_features=control[20:])
    assert_allclose(bound.value(u), kept.value(u[20:]), rtol=1e-12)
    assert_allclose(bound.value_gradient(u)[1][20:], kept.value_gradient(u[20:])[1], atol=1e-14)
    assert not bound.value_gradient(u)[1][:20].any()


def test_errors_name_the_control_features(people):
    attributes = people[["gender"]]

    def bind(control, **options):
        return CCDCovPenalty(**options).bind(attributes, control_features=control)

    with pytest.raises(ValueError, match=r"control_features column 'cover' has 1 missing"):
        bind(people["cover"].where(people.index != 3))
    with pytest.raises(ValueError, match=r"^control_features must have as many rows as sensitive_features"):
        bind(people["cover"][:-1])
    with pytest.raises(ValueError, match=r"control_features column 'mileage' .* pass control_bins=\{'mileage': 5\}"):
        bind(people["mileage"], control_bins=None)
    with pytest.raises(TypeError, match=r"^control_bins must be None"):
        bind(people["mileage"], control_bins=2.5)
    with pytest.raises(ValueError, match="control_bins for 'mileage' must be at least 1"):
        bind(people["mileage"], control_bins=0)
    with pytest.raises(ValueError, match=r"control_bins names 'age'; the control features are \['mileage'\]"):
        bind(people["mileage"], control_bins={"age": 2})


def test_control_feature_that_is_a_protected_attribute(people):
    code = people["region"].map({"n": 3, "s": 1, "w": 2})
    people = people.assign(zone=code)
    with pytest.warns(SensitiveFeaturesWarning, match="'zone' has a level for each.*attribute 'region'"):
        CCDCovPenalty().bind(people[["gender", "region"]], control_features=people[["zone", "cover"]])
    with (
        pytest.warns(SensitiveFeaturesWarning, match="'zone'.*'region'"),
        pytest.raises(ValueError, match=r"\['zone'\] determine the protected attributes \['region'\]"),
    ):
        CCDCovPenalty().bind(people[["region"]], control_features=people["zone"])
    # Numbers count as they were before they were cut.
    with pytest.warns(SensitiveFeaturesWarning, match="'km'.*'mileage'"):
        CCDCovPenalty().bind(people[["mileage", "gender"]], control_features=people["mileage"].rename("km"))
    # Finer or coarser is another feature.
    CCDCovPenalty().bind(people[["gender", "region"]], control_features=people["zone"] > 1)


def test_constant_attributes_are_warned_of_and_free(people):
    with pytest.warns(SensitiveFeaturesWarning, match="are constant"):
        bound = CCDCovPenalty().bind(np.full(len(people), "f"), control_features=people["cover"])
    assert bound.value(np.arange(len(people), dtype=float)) == 0


def test_penalties_without_strata_do_not_take_control_features(people):
    class Mean(Penalty):
        def bind_attributes(self, attributes, probabilities):
            raise AssertionError

    with pytest.raises(TypeError, match=r"Mean.bind does not take control_features"):
        bind_penalty(Mean(), people["gender"], None, control_features=people["cover"])
    bound = bind_penalty("ccdcov", people["gender"], None, control_features=people["cover"], n_threads=1)
    assert bound.n_strata == 3
