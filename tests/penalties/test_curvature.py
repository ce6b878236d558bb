"""The curvature of a penalty, the bound on its gradient, and penalties on totals."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from fairdcov import CCDCovPenalty, DCovPenalty, JDCovPenalty
from fairdcov._fitting._families import regression_family
from fairdcov._fitting._losses import HalfBinomialLoss, HalfSquaredError, HalfTweedieLoss
from fairdcov.boosting._objective import BalancedObjective
from fairdcov.dependence import bind_dependence, local_density
from fairdcov.encoding._blocks import SensitiveBlocks


def centred(points, probabilities):
    """-M_ij / (p_i p_j) of the V-statistic of a distance covariance, from its definition."""
    distances = cdist(points, points)
    rows = distances @ probabilities
    return -(distances - rows[:, None] - rows[None, :] + probabilities @ rows)


@pytest.fixture
def people(rng):
    n = 400
    return pd.DataFrame({"gender": rng.choice(["f", "m"], n), "region": rng.choice(list("abc"), n)})


@pytest.mark.parametrize("weighted", [False, True])
def test_pull_bounds_are_absolute_row_sums(rng, weighted):
    points = rng.integers(0, 4, size=(60, 2)).astype(float)
    weights = rng.uniform(0.2, 1.0, 60) if weighted else np.ones(60)
    p = weights / weights.sum()
    expected = p * (np.abs(centred(points, p)) @ p)
    blocks = SensitiveBlocks.from_arrays([points])
    for method in ("profiles", "tiles", "approximate"):
        form = bind_dependence(blocks, "ccdcov", sample_weight=weights if weighted else None, method=method)
        np.testing.assert_allclose(form.pull_bounds(), expected, rtol=1e-12)


@pytest.mark.parametrize("measure", ["dcov", "jdcov", "ccdcov"])
@pytest.mark.parametrize("statistic", ["u", "v"])
@pytest.mark.parametrize("n_levels", [8, 800])
def test_pull_bounds_are_the_same_whatever_the_method(rng, measure, statistic, n_levels):
    """From the definition of W where there is no matrix over the profiles, and summed over blocks."""
    n = 2_000
    blocks = SensitiveBlocks.from_arrays([rng.normal(size=n_levels)[rng.integers(0, n_levels, (n, 1))] for _ in "ab"])
    first, *others = (
        bind_dependence(blocks, measure, statistic=statistic, method=method, c=0.7, n_components=4, n_threads=1)
        for method in ("profiles", "tiles", "approximate")
    )
    for form in others:
        np.testing.assert_allclose(form.pull_bounds(), first.pull_bounds(), rtol=1e-9)
    assert (np.ptp(first.pull_bounds()) > 0) == (n_levels == 8)


def test_pull_bounds_of_many_profiles_are_their_mean(rng):
    points = rng.normal(size=(3_000, 2))
    p = np.full(3_000, 1 / 3_000)
    mean = p @ np.abs(centred(points, p)) @ p
    found = bind_dependence(SensitiveBlocks.from_arrays([points]), "ccdcov").pull_bounds()
    assert found.sum() == pytest.approx(mean, rel=0.1)
    assert np.ptp(found) == 0


def test_pull_bounds_of_many_profiles_take_those_of_weight(rng):
    """The part of the rows that stands for all is drawn by weight: next to none of the scattered ones."""
    scattered = np.arange(3_000) % 2 == 0
    points = rng.normal(size=(3_000, 2)) * np.where(scattered, 100.0, 1.0)[:, None]
    weights = np.where(scattered, 1e-9, 1.0)
    p = weights / weights.sum()
    found = bind_dependence(SensitiveBlocks.from_arrays([points]), "ccdcov", sample_weight=weights).pull_bounds()
    assert found.sum() == pytest.approx(p @ np.abs(centred(points, p)) @ p, rel=0.1)


@pytest.mark.parametrize("c", [0.0, 1.0, 5.0])
def test_pull_bounds_are_those_of_the_measure_with_its_options(c, rng):
    p = np.full(60, 1 / 60)
    first, second = rng.integers(0, 4, size=(2, 60, 1)).astype(float)
    joint = (centred(first, p) + c) * (centred(second, p) + c)
    joint = joint - np.add.outer(joint @ p, joint @ p) + p @ joint @ p
    found = bind_dependence(SensitiveBlocks.from_arrays([first, second]), "jdcov", c=c).pull_bounds()
    np.testing.assert_allclose(found, p * (np.abs(joint) @ p), rtol=1e-10)


@pytest.mark.parametrize("penalty", [CCDCovPenalty(), JDCovPenalty(c=0.5), DCovPenalty(), CCDCovPenalty(statistic="u")])
def test_no_gradient_exceeds_twice_its_bound(rng, people, penalty):
    bound = penalty.set_params(normalize=False).bind(people)
    for u in (rng.normal(size=len(people)), (people["gender"] == "f") + 0.1 * rng.normal(size=len(people))):
        _, gradient = bound.value_gradient(np.asarray(u))
        assert (np.abs(gradient) <= 2 * bound._pulls * (1 + 1e-12)).all()


@pytest.mark.parametrize("penalty", [CCDCovPenalty(), CCDCovPenalty(normalize=False), JDCovPenalty(scale="link")])
@pytest.mark.parametrize("weighted", [False, True])
def test_value_and_gradient_are_the_same_with_and_without_curvature(rng, people, penalty, weighted):
    bound = penalty.bind(people, rng.uniform(0.2, 1, len(people)) if weighted else None)
    u = rng.gamma(2.0, size=len(people))
    value, gradient, curvature = bound.value_gradient_curvature(u)
    assert value == bound.value(u)
    np.testing.assert_array_equal(gradient, bound.value_gradient(u)[1])
    assert (curvature > 0).all()


def test_curvature_scales_as_a_second_derivative(rng, people):
    u = rng.gamma(2.0, size=len(people))
    raw, free = CCDCovPenalty(normalize=False).bind(people), CCDCovPenalty().bind(people)
    # The raw penalty is of degree 1 in u, the scale-free one of degree 0: their second derivatives of -1 and -2.
    for bound, degree in ((raw, -1), (free, -2)):
        once, tenfold = bound.value_gradient_curvature(u)[2], bound.value_gradient_curvature(10 * u)[2]
        np.testing.assert_allclose(tenfold, once * 10.0**degree, rtol=1e-9)


def test_curvature_bounds_what_independent_predictions_gain(rng):
    """Near independence a step against the gradient, divided by the curvature, never overshoots: the penalty falls."""
    n = 4_000
    people = pd.DataFrame({"gender": rng.choice(["f", "m"], n), "region": rng.choice(list("abcdefgh"), n)})
    bound = CCDCovPenalty().bind(people)
    shift = 0.4 * (people["gender"] == "f").to_numpy()
    u = rng.gamma(2.0, size=n) + shift
    start = bound.value(u)
    for _ in range(20):
        value, gradient, curvature = bound.value_gradient_curvature(u)
        # Steps of whole profiles, as a tree takes them: sums over a leaf of gradients and curvatures.
        codes = people.groupby(["gender", "region"]).ngroup().to_numpy()
        step = np.bincount(codes, gradient) / np.bincount(codes, curvature)
        u = u - step[codes]
        assert bound.value(u) <= value * (1 + 1e-9)
    assert bound.value(u) < 0.5 * start


def test_constant_predictions_have_no_curvature(people):
    value, gradient, curvature = CCDCovPenalty().bind(people).value_gradient_curvature(np.ones(len(people)))
    assert value == 0
    assert not gradient.any()
    assert not curvature.any()


def test_density_is_taken_over_three_percent_of_the_rows():
    """Of equally spaced predictions with a gap, those feel the gap that have it in their window."""
    for n in (640, 6_400):
        u = np.arange(n) + np.where(np.arange(n) < n // 2, 0.0, 2.0 * n)
        density = local_density(u)
        feels = density < 0.5 / n
        assert 0.03 <= feels.mean() <= 0.0325
        assert feels[n // 2 - 1]
        assert feels[n // 2]
        # At the ends half of the window is cut off, with half of its weight.
        np.testing.assert_allclose(density[~feels], 1 / n, rtol=1e-9)


def test_no_window_is_narrower_than_a_thousandth_of_the_range():
    """A window reaches the next predictions on both sides; these are closer than that."""
    u = np.concatenate([[0.0], np.full(100, 2 - 1e-6), np.full(6_200, 2.0), np.full(98, 2 + 1e-6), [10.0]])
    # Half of the rows of the outer two are within the window.
    weight = (50 + 6_200 + 49) / 6_400
    for scale in (1.0, 1e-6):
        density = local_density(scale * u)[3_000]
        np.testing.assert_allclose(density, weight * 1_000 / (10 * scale), rtol=1e-9)
    spaced = np.linspace(0, 1, 6_400)
    np.testing.assert_allclose(local_density(spaced), 1.0, rtol=1e-3)  # a window of 0.03 is wide enough


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("statistic", ["v", "u"])
def test_density_in_the_tails_is_at_least_two_percent_of_the_inverse_gini_mean_difference(
    rng, people, normalize, statistic
):
    n = len(people)
    u = np.append(rng.normal(size=n - 1), 300.0)
    bound = CCDCovPenalty(statistic, normalize).bind(people)
    curvature = bound.value_gradient_curvature(u)[2]
    spread = np.abs(np.subtract.outer(u, u)).sum() / (n**2 if statistic == "v" else n * (n - 1))
    lone = curvature[-1] / (4 * bound._pulls[-1]) * (spread if normalize else 1.0)
    assert lone * spread == pytest.approx(0.02, rel=1e-9)
    # Elsewhere the density of the rows decides.
    middle = np.argsort(u)[n // 2]
    found = curvature[middle] / (4 * bound._pulls[middle]) * (spread if normalize else 1.0)
    assert found == pytest.approx(local_density(u)[middle], rel=1e-9)
    assert found > 0.05


# -- totals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", [False, True])
def test_a_penalty_on_totals_is_that_of_the_products(rng, people, normalize):
    exposure, rate = rng.uniform(0.2, 1.0, len(people)), rng.gamma(2.0, size=len(people))
    totals = CCDCovPenalty(scale="total", normalize=normalize).bind(people, exposure)
    plain = CCDCovPenalty(normalize=normalize).bind(people)
    value, gradient = totals.value_gradient(rate)
    expected, slope = plain.value_gradient(rate * exposure)
    assert value == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(gradient, slope * exposure, rtol=1e-12)
    curvature = totals.value_gradient_curvature(rate)[2]
    np.testing.assert_allclose(curvature, plain.value_gradient_curvature(rate * exposure)[2] * exposure**2, rtol=1e-9)


def test_totals_take_the_u_statistic_and_need_no_weights(rng, people):
    rate = rng.gamma(2.0, size=len(people))
    exposure = rng.uniform(0.2, 1.0, len(people))
    assert np.isfinite(CCDCovPenalty(scale="total", statistic="u").bind(people, exposure).value(rate))
    without = CCDCovPenalty(scale="total").bind(people)
    assert without.value(rate) == CCDCovPenalty().bind(people).value(rate)


# -- the objective ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "penalty", "shift_is"),
    [
        (HalfTweedieLoss(1.0), CCDCovPenalty(), "best for the objective"),
        (HalfTweedieLoss(1.5), CCDCovPenalty(scale="total"), "best for the objective"),
        (HalfTweedieLoss(2.0), CCDCovPenalty(scale="link", normalize=False), "best for the objective"),
        (HalfSquaredError(), CCDCovPenalty(normalize=False), "best for the objective"),
        (HalfBinomialLoss(), CCDCovPenalty(scale="link"), "best for the objective"),
        (HalfSquaredError(), CCDCovPenalty(scale="total"), "best for the loss"),
        (HalfBinomialLoss(), CCDCovPenalty(), "best for the loss"),
        (HalfTweedieLoss(1.0), CCDCovPenalty(normalize=False), "best for the loss"),
        (HalfBinomialLoss(), CCDCovPenalty(normalize=False), "best for the loss"),
    ],
)
def test_best_shift(rng, people, loss, penalty, shift_is):
    n = len(people)
    y = rng.gamma(2.0, size=n) if not isinstance(loss, HalfBinomialLoss) else rng.integers(0, 2, n).astype(float)
    weights = rng.uniform(0.2, 1.0, n)
    objective = BalancedObjective(loss, y, weights / weights.sum(), penalty.bind(people, weights))
    raw = 0.5 * rng.normal(size=n)
    shift = objective.best_shift(raw)
    strength = 0.0 if shift_is == "best for the loss" else 3.0

    def total(by):
        value, penalty_value, _ = objective.terms(raw + by, strength)
        return value + strength * penalty_value

    _, _, gradient = objective.terms(raw + shift, strength)
    assert gradient.sum() == pytest.approx(0.0, abs=1e-10)
    assert total(shift) < min(total(shift - 0.05), total(shift + 0.05), total(0.0))


@pytest.mark.parametrize(
    ("loss", "penalty"),
    [
        (HalfBinomialLoss(), CCDCovPenalty()),
        (HalfBinomialLoss(), JDCovPenalty(scale="total")),
        (HalfSquaredError(), CCDCovPenalty(scale="total")),
        (HalfTweedieLoss(1.0), CCDCovPenalty()),
        (HalfTweedieLoss(1.0), CCDCovPenalty(normalize=False)),
    ],
)
def test_gradient_in_balance_by_finite_differences(rng, people, loss, penalty):
    """The shift follows the predictions, and so does what it does to the penalty."""
    n = len(people)
    y = rng.poisson(0.4, n).clip(max=1).astype(float)
    weights = rng.uniform(0.2, 1.0, n)
    objective = BalancedObjective(loss, y, weights / weights.sum(), penalty.bind(people, weights))
    raw = rng.normal(size=n) - 1.0
    _, (_, _, gradient, _) = objective.balanced_terms_curvature(raw, 5.0)

    def total(raw):
        _, (value, penalty_value, _, _) = objective.balanced_terms_curvature(raw, 5.0)
        return value + 5.0 * penalty_value

    for _ in range(5):
        direction = rng.normal(size=n)
        numeric = (total(raw + 1e-7 * direction) - total(raw - 1e-7 * direction)) / 2e-7
        assert gradient @ direction == pytest.approx(numeric, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0, 1e3])
@pytest.mark.parametrize("centre", [0.0, -50.0, 700.0])
def test_shift_of_log_odds_balances_any_predictions(rng, spread, centre):
    """Newton steps alone would leave the range of floats where most probabilities are 0 or 1."""
    n = 200
    y, p = (rng.uniform(size=n) < 0.3).astype(float), rng.dirichlet(np.ones(n))
    raw = centre + spread * rng.choice([-1.0, 1.0], n) + 0.01 * rng.normal(size=n)
    shift = HalfBinomialLoss().best_shift(y, raw, p)
    assert p @ HalfBinomialLoss().response(raw + shift) == pytest.approx(p @ y, rel=1e-9)
    assert HalfBinomialLoss().best_shift(np.zeros(n), raw, p) is None


@pytest.mark.parametrize("penalty", [CCDCovPenalty(), CCDCovPenalty(scale="total"), CCDCovPenalty(normalize=False)])
def test_predictions_out_of_range_have_no_penalty_to_speak_of(rng, people, penalty):
    """A line search may step there, where a loss can still be finite: it has to see that, and no error."""
    n = len(people)
    bound = penalty.bind(people, rng.uniform(0.2, 1.0, n))
    objective = BalancedObjective(HalfTweedieLoss(2.0), np.ones(n), np.full(n, 1 / n), bound)
    raw = np.where(np.arange(n) == 3, 800.0, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        loss, value, gradient = objective.terms(raw, 1.0)
        assert np.isfinite(loss)
        assert np.isnan(value)
        assert len(gradient) == n
        _, value, gradient, curvature = objective.terms_curvature(raw, 1.0)
        assert np.isnan(value)
        assert len(gradient) == len(curvature) == n


def test_terms_with_curvature_are_the_terms(rng, people):
    n = len(people)
    y, p = rng.poisson(1.0, n).astype(float), np.full(n, 1 / n)
    for penalty in (CCDCovPenalty(), CCDCovPenalty(scale="link"), None):
        bound = None if penalty is None else penalty.bind(people)
        objective = BalancedObjective(HalfTweedieLoss(1.0), y, p, bound)
        raw = rng.normal(size=n)
        *terms, curvature = objective.terms_curvature(raw, 2.0)
        for found, expected in zip(terms, objective.terms(raw, 2.0), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert (curvature >= p * np.exp(raw)).all()
        constant = np.full(n, np.log(y.mean()))
        assert objective.constant_loss() == pytest.approx(objective.mean_loss(constant))


@pytest.mark.parametrize(("objective", "power"), [("poisson", 1.0), ("gamma", 2.0), ("tweedie", 1.3)])
def test_losses_by_name(objective, power):
    assert regression_family(objective).loss(1.3).power == power
    with pytest.raises(ValueError, match="tweedie_power must be above 1 and below 2"):
        regression_family("tweedie").loss(1.0)
    with pytest.raises(ValueError, match="objective must be one of"):
        regression_family("quantile")
