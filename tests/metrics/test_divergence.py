import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon

from fairdcov.metrics import group_densities, js_divergence


def direct_masses(prediction, codes, n_groups, bandwidth, n_points, weights):
    """The published recipe, kernel by kernel."""
    grid = np.linspace(prediction.min(), prediction.max(), n_points)
    masses = np.empty((n_groups, n_points))
    for g in range(n_groups):
        rows = codes == g
        kernels = np.exp(-0.5 * ((grid[None, :] - prediction[rows][:, None]) / bandwidth) ** 2)
        density = weights[rows] @ kernels
        masses[g] = density / density.sum()
    return grid, masses


def direct_divergence(prediction, codes, bandwidth, n_points=1000, weights=None, equal=False):
    weights = np.ones(len(prediction)) if weights is None else weights
    n_groups = codes.max() + 1
    _, masses = direct_masses(prediction, codes, n_groups, bandwidth, n_points, weights)
    masses = np.clip(masses, 1e-10, None)
    shares = np.bincount(codes, weights) / weights.sum()
    if equal:
        shares = np.full(n_groups, 1 / n_groups)

    def entropy(p):
        return -(p * np.log2(p)).sum()

    return entropy(shares @ masses) - sum(share * entropy(p) for share, p in zip(shares, masses, strict=True))


def sample(shape, n=2000, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.choice(4, n, p=[0.5, 0.3, 0.15, 0.05])
    if shape == "lognormal":
        prediction = np.exp(rng.normal(-2 + 0.2 * codes, 0.4))
    elif shape == "bimodal":
        prediction = np.where(rng.random(n) < 0.2 + 0.15 * codes, 5.0, 1.0) + rng.normal(0, 0.3, n)
    elif shape == "discrete":
        prediction = rng.binomial(6, 0.2 + 0.15 * codes).astype(float)
    else:  # heavy tail: the range is many times the spread
        prediction = rng.standard_t(2, n) + 0.5 * codes
    return prediction, codes, rng.uniform(0.1, 1.0, n)


SHAPES = ["lognormal", "bimodal", "discrete", "heavy"]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_published_recipe_against_direct_kernels(shape, weighted):
    prediction, codes, weights = sample(shape)
    weights = weights if weighted else None
    scale = 1.0 if shape in ("lognormal", "bimodal") else 3.0
    expected = direct_divergence(prediction, codes, 0.15 * scale, weights=weights)
    found = js_divergence(
        None, prediction, sensitive_features=codes, sample_weight=weights, bandwidth=0.15 * scale, n_points=1000
    )
    assert found == pytest.approx(expected, rel=5e-4)
    assert found > 1e-4


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("bandwidth", ["silverman", "scott"])
@pytest.mark.parametrize("shape", SHAPES)
def test_rules_against_direct_kernels(shape, bandwidth, equal):
    prediction, codes, weights = sample(shape)
    options = {
        "sensitive_features": codes,
        "sample_weight": weights,
        "bandwidth": bandwidth,
        "group_weights": "equal" if equal else "proportion",
    }
    details = group_densities(prediction, **options)
    expected = direct_divergence(
        prediction, codes, details.bandwidth, n_points=len(details.grid), weights=weights, equal=equal
    )
    assert js_divergence(None, prediction, **options) == pytest.approx(expected, rel=1e-3)
    assert details.divergence == js_divergence(None, prediction, **options)


@pytest.mark.parametrize("n_points", [10, 101, 1000])
def test_narrow_kernels_on_a_coarse_grid(n_points):
    """Few evaluation points do not coarsen the densities that are evaluated there."""
    prediction, codes, weights = sample("lognormal", n=20_000)
    bandwidth = np.ptp(prediction) / 150
    expected = direct_divergence(prediction, codes, bandwidth, n_points, weights)
    found = js_divergence(
        None, prediction, sensitive_features=codes, sample_weight=weights, bandwidth=bandwidth, n_points=n_points
    )
    assert found == pytest.approx(expected, rel=5e-3)


def test_densities_lose_the_mass_outside_and_are_normalised():
    prediction, codes, weights = sample("lognormal")
    details = group_densities(prediction, sensitive_features=codes, sample_weight=weights, bandwidth=0.15, n_points=500)
    grid, masses = direct_masses(prediction, codes, 4, 0.15, 500, weights)
    assert details.grid == pytest.approx(grid)
    assert np.trapezoid(details.densities, grid, axis=1) == pytest.approx(np.ones(4))
    density = masses / np.trapezoid(masses, grid, axis=1)[:, None]
    assert np.abs(details.densities - density).max() < 1e-4 * density.max()
    assert details.shares == pytest.approx(np.bincount(codes, weights) / weights.sum())
    # Most of a kernel as wide as the data lies outside; a reflected one would bring it back: a different density.
    assert details.densities[0, 0] < 0.9 * details.densities[0].max()


def test_kernels_reach_as_far_as_they_count():
    """Six standard deviations out a Gaussian is 1.5e-8 of its peak: more than the share at which masses are cut off."""
    prediction, codes, bandwidth = np.array([0.0, 1.0]), np.array([0, 1]), 0.125
    details = group_densities(prediction, sensitive_features=codes, bandwidth=bandwidth, n_points=65)
    density = np.exp(-0.5 * (details.grid / bandwidth) ** 2)
    near = details.grid <= 7 * bandwidth
    found = details.densities[0] / details.densities[0, 0]
    assert found[near] == pytest.approx(density[near], rel=0.01)
    assert density[near].min() < 1e-10


def test_two_groups_against_scipy():
    prediction, codes, _ = sample("lognormal")
    codes = np.minimum(codes, 1)
    _, masses = direct_masses(prediction, codes, 2, 0.05, 1000, np.ones(len(codes)))
    found = js_divergence(
        None, prediction, sensitive_features=codes, bandwidth=0.05, n_points=1000, group_weights="equal"
    )
    assert found == pytest.approx(jensenshannon(*masses, base=2) ** 2, rel=1e-3)


def test_separate_groups_reach_the_entropy_of_the_shares():
    prediction = np.repeat([0.0, 100.0, 200.0, 300.0], [10, 20, 30, 40]) + np.tile([0.0, 1.0], 50)
    codes = np.repeat([0, 1, 2, 3], [10, 20, 30, 40])
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    entropy = -(shares * np.log2(shares)).sum()
    # Ends of the range lose half of their kernels before the normalisation, which changes no group's support.
    assert js_divergence(None, prediction, sensitive_features=codes, bandwidth=2.0) == pytest.approx(entropy, rel=1e-4)
    equal = js_divergence(None, prediction, sensitive_features=codes, bandwidth=2.0, group_weights="equal")
    assert equal == pytest.approx(2.0, rel=1e-4)


def test_densities_of_zero_count_as_the_published_share():
    """What two groups far apart fall short of one bit by is due to that share alone."""
    prediction = np.repeat([0.0, 1.0], 50) + np.tile(np.linspace(0, 0.1, 50), 2)
    codes = np.repeat([0, 1], 50)
    short = 1 - js_divergence(None, prediction, sensitive_features=codes, bandwidth=0.01, n_points=1000)
    assert short == pytest.approx(1 - direct_divergence(prediction, codes, 0.01), rel=0.05)
    assert 3e-7 < short < 3.7e-7


def test_equal_distributions_are_zero():
    prediction = np.tile(np.random.default_rng(0).normal(size=300), 3)
    groups = np.repeat(["a", "b", "c"], 300)
    assert js_divergence(None, prediction, sensitive_features=groups) < 1e-12


@pytest.mark.parametrize("rule", ["silverman", "scott"])
def test_rules_follow_scale_and_shift(rule):
    prediction, codes, weights = sample("lognormal")
    options = {"sensitive_features": codes, "sample_weight": weights, "bandwidth": rule}
    expected = js_divergence(None, prediction, **options)
    for scale, shift in ((1e6, 0.0), (1e-9, 0.0), (-3.0, 10.0)):
        assert js_divergence(None, scale * prediction + shift, **options) == pytest.approx(expected, rel=1e-6)
    fixed = [js_divergence(None, scale * prediction, sensitive_features=codes, bandwidth=0.15) for scale in (1, 10)]
    assert fixed[0] < 0.5 * fixed[1]


def test_bandwidth_by_hand():
    """Effective rows after Kish and the smaller of the two spreads."""
    rng = np.random.default_rng(0)
    prediction, weights = rng.standard_t(2, 5000), rng.uniform(0.1, 1.0, 5000)
    order = np.argsort(prediction)
    share = np.cumsum(weights[order]) / weights.sum()
    quartiles = prediction[order][np.searchsorted(share, [0.25, 0.75])]
    spread = (quartiles[1] - quartiles[0]) / 1.349
    assert spread < np.sqrt(np.cov(prediction, aweights=weights))
    effective = weights.sum() ** 2 / (weights**2).sum()
    for rule, factor in (("silverman", 0.9), ("scott", 1.06)):
        found = group_densities(
            prediction, sensitive_features=prediction > 0, sample_weight=weights, bandwidth=rule
        ).bandwidth
        assert found == pytest.approx(factor * spread * effective**-0.2, rel=1e-9)


def test_interquartile_range_of_zero_falls_back_on_the_deviation():
    prediction = np.r_[np.zeros(90), np.arange(10.0)]
    found = group_densities(prediction, sensitive_features=prediction > 4).bandwidth
    assert found == pytest.approx(0.9 * prediction.std() * 100**-0.2)


def test_auto_grid_follows_the_bandwidth():
    prediction, codes, _ = sample("heavy", n=5000)
    wide = group_densities(prediction, sensitive_features=codes, bandwidth=np.ptp(prediction) / 10)
    narrow = group_densities(prediction, sensitive_features=codes, bandwidth=np.ptp(prediction) / 500)
    assert len(wide.grid) == 1000
    assert len(narrow.grid) == 5001


def test_one_far_outlier_neither_fails_nor_hides_the_divergence():
    prediction, codes, _ = sample("lognormal", n=4000)
    expected = js_divergence(None, prediction, sensitive_features=codes)
    prediction[0] = 1e4
    assert js_divergence(None, prediction, sensitive_features=codes) > 0.5 * expected


def test_grid_that_misses_a_group():
    options = {"sensitive_features": ["a", "a", "b", "b"], "bandwidth": 1e-6}
    with pytest.raises(ValueError, match="too small for n_points=3"):
        js_divergence(None, [0.0, 1.0, 0.3, 0.3], n_points=3, **options)
    assert js_divergence(None, [0.0, 1.0, 0.3, 0.3], **options) == pytest.approx(1.0, abs=1e-3)


def test_gerrymandering_shows_in_the_intersection_only():
    rng = np.random.default_rng(0)
    people = pd.DataFrame({"a": rng.integers(0, 2, 4000), "b": rng.integers(0, 2, 4000)})
    prediction = np.logical_xor(people["a"], people["b"]) + rng.normal(0, 0.5, 4000)
    crossed = js_divergence(None, prediction, sensitive_features=people)
    assert crossed > 0.3
    assert js_divergence(None, prediction, sensitive_features=people["a"]) < 0.02 * crossed


def test_many_small_groups():
    rng = np.random.default_rng(0)
    value = js_divergence(None, rng.normal(size=5000), sensitive_features=rng.integers(0, 900, 5000), bins={0: None})
    assert 0 < value < np.log2(900)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bandwidth": "botev"}, ValueError, "bandwidth must be one of 'silverman', 'scott'"),
        ({"bandwidth": 0}, ValueError, "bandwidth must be a finite number > 0"),
        ({"bandwidth": np.nan}, ValueError, "bandwidth"),
        ({"bandwidth": None}, TypeError, "bandwidth"),
        ({"n_points": 1}, ValueError, "n_points"),
        ({"n_points": 10.5}, ValueError, "n_points"),
        ({"group_weights": "size"}, ValueError, "group_weights must be one of 'proportion', 'equal'"),
    ],
)
@pytest.mark.parametrize("prediction", [[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]], ids=["varying", "constant"])
def test_wrong_options(options, error, message, prediction):
    with pytest.raises(error, match=message):
        js_divergence(None, prediction, sensitive_features=["a", "b", "b"], **options)


def test_constant_has_no_density():
    with pytest.raises(ValueError, match="constant"):
        group_densities([1.0, 1.0], sensitive_features=["a", "b"])
