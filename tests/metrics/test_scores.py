import numpy as np
import pytest
from fairlearn.metrics import MetricFrame
from scipy.stats import poisson
from sklearn import metrics as sk
from sklearn.exceptions import UndefinedMetricWarning

from fairdcov.metrics import (
    binary_log_loss,
    gini,
    group_summary,
    lorenz_curve,
    mean_deviance,
    predicted_to_observed,
    root_mean_squared_error,
    rps,
)


@pytest.fixture
def claims(book):
    people, prediction, exposure = book
    counts = np.random.default_rng(11).poisson(4 * exposure * prediction)
    return people, counts, 4 * prediction, exposure


def test_poisson_rps_against_scipy(claims):
    _, counts, rate, exposure = claims
    k = np.arange(11)[:, None]
    terms = (poisson.cdf(k, exposure * rate) - (counts <= k)) ** 2
    expected = terms.sum(axis=0)
    assert rps(counts, exposure * rate) == pytest.approx(expected.mean(), rel=1e-12)
    assert rps(counts, exposure * rate, sample_weight=exposure) == pytest.approx(
        np.average(expected, weights=exposure), rel=1e-12
    )
    assert rps(counts / exposure, rate, exposure=exposure) == pytest.approx(expected.mean(), rel=1e-12)
    assert rps(counts, exposure * rate, max_count=2) == pytest.approx(terms[:3].sum(axis=0).mean(), rel=1e-12)


def test_poisson_rps_by_hand_and_at_the_ends():
    assert rps([0], [0.0]) == 0.0
    assert rps([12], [0.0]) == 11.0
    assert rps([0], [1e4]) == pytest.approx(11.0)
    assert rps([0], [0.3], max_count=0) == pytest.approx((1 - np.exp(-0.3)) ** 2)


def test_binary_rps_is_the_brier_score():
    rng = np.random.default_rng(0)
    p, w = rng.random(500), rng.random(500)
    y = rng.random(500) < p
    assert rps(y, p, family="binary", sample_weight=w) == pytest.approx(sk.brier_score_loss(y, p, sample_weight=w))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([0.5, 1.0], [0.1, 0.1]), {}, "whole numbers.*pass exposure="),
        (([-1.0, 1.0], [0.1, 0.1]), {}, "whole numbers"),
        (([0, 1], [-0.1, 0.1]), {}, "y_pred must not be negative"),
        (([0, 2], [0.1, 0.1]), {"family": "binary"}, "0 and 1 only"),
        (([0, 1], [0.1, 1.1]), {"family": "binary"}, "probabilities"),
        (([0, 1], [0.1, 0.1]), {"family": "binary", "exposure": [1, 1]}, "exposure has no meaning"),
        (([0, 1], [0.1, 0.1]), {"family": "gamma"}, "family must be one of"),
        (([0, 1], [0.1, 0.1]), {"max_count": -1}, "max_count"),
        (([0, 1], [0.1, 0.1]), {"exposure": [1.0, -1.0]}, "exposure must not be negative"),
        (([0, 1], [0.1]), {}, "y_pred must have as many rows"),
        (([0, np.nan], [0.1, 0.1]), {}, "y_true must be finite"),
        (([], []), {}, "at least one row"),
    ],
)
def test_rps_errors(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        rps(*arguments, **options)


def test_gini_is_that_of_the_tweedie_example(claims):
    """scikit-learn's insurance example: sort by prediction, cumulate, area by trapezes."""
    _, counts, rate, exposure = claims
    frequency = counts / exposure
    order = np.argsort(rate)
    paid = np.cumsum((frequency * exposure)[order])
    earned = np.cumsum(exposure[order])
    expected = 1 - 2 * sk.auc(np.r_[0, earned / earned[-1]], np.r_[0, paid / paid[-1]])
    assert gini(frequency, rate, sample_weight=exposure) == pytest.approx(expected, rel=1e-12)
    assert expected > 0.1
    assert gini(frequency, -rate, sample_weight=exposure) == pytest.approx(-expected, rel=1e-12)
    assert gini(frequency, np.log(rate), sample_weight=exposure) == pytest.approx(expected, rel=1e-12)


def test_gini_of_ties_does_not_depend_on_their_order(claims):
    _, counts, rate, exposure = claims
    tied = np.round(rate, 1)
    rows = np.argsort(-counts, kind="stable")
    expected = gini(counts, tied, sample_weight=exposure)
    assert gini(counts[rows], tied[rows], sample_weight=exposure[rows]) == pytest.approx(expected, rel=1e-12)
    assert gini(counts, np.ones(len(counts)), sample_weight=exposure) == pytest.approx(0.0, abs=1e-15)


def test_gini_weights_are_repetition_and_normalisation_reaches_one(claims):
    _, counts, rate, _ = claims
    weights = np.random.default_rng(0).integers(0, 4, len(counts))
    rows = np.repeat(np.arange(len(counts)), weights)
    for normalize in (False, True):
        weighted = gini(counts, rate, sample_weight=weights, normalize=normalize)
        assert weighted == pytest.approx(gini(counts[rows], rate[rows], normalize=normalize), rel=1e-12)
    assert gini(counts, counts, sample_weight=weights, normalize=True) == 1.0
    assert gini(counts, rate, normalize=True) == pytest.approx(gini(counts, rate) / gini(counts, counts))


def test_gini_where_it_is_undefined():
    with pytest.warns(UndefinedMetricWarning, match="no positive value"):
        assert np.isnan(gini([0.0, 0.0], [1.0, 2.0]))
    with pytest.warns(UndefinedMetricWarning, match="all observed values are equal"):
        assert np.isnan(gini([1.0, 1.0], [1.0, 2.0], normalize=True))
    with pytest.warns(UndefinedMetricWarning, match="all observed values are equal"):
        # But for rounding: the index of their order is 2e-16, and so is that of any other order.
        assert np.isnan(gini([1.0, 1.0 + 4 * 2.0**-52], [2.0, 1.0], normalize=True))
    with pytest.raises(ValueError, match="must not be negative"):
        gini([-1.0, 2.0], [1.0, 2.0])


def test_lorenz_curve_by_hand():
    exposure, observed = lorenz_curve([2.0, 0.0, 1.0], [0.3, 0.1, 0.1], sample_weight=[1.0, 1.0, 2.0])
    assert exposure.tolist() == [0.0, 0.75, 1.0]
    assert observed.tolist() == [0.0, 0.5, 1.0]


def test_balance(claims):
    _, counts, rate, exposure = claims
    frequency = counts / exposure
    expected = (exposure * rate).sum() / counts.sum()
    assert predicted_to_observed(frequency, rate, sample_weight=exposure) == pytest.approx(expected, rel=1e-12)
    assert predicted_to_observed(counts, rate) == pytest.approx(rate.sum() / counts.sum())
    with pytest.warns(UndefinedMetricWarning, match="observed total is 0"):
        assert np.isnan(predicted_to_observed([0, 0], [0.1, 0.1]))


@pytest.mark.parametrize(
    ("power", "reference"),
    [(0, sk.mean_squared_error), (1, sk.mean_poisson_deviance), (2, sk.mean_gamma_deviance)],
)
def test_deviances_are_those_of_scikit_learn(claims, power, reference):
    _, _, rate, exposure = claims
    y = rate * np.random.default_rng(0).gamma(2.0, 0.5, len(rate))
    assert mean_deviance(y, rate, sample_weight=exposure, power=power) == pytest.approx(
        reference(y, rate, sample_weight=exposure), rel=1e-12
    )
    assert mean_deviance(y, rate, power=power) == pytest.approx(reference(y, rate), rel=1e-12)


def test_other_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    p, w = rng.random(200), rng.random(200)
    y = (rng.random(200) < p).astype(float)
    expected = sk.log_loss(y, p, sample_weight=w)
    assert binary_log_loss(y, p, sample_weight=w) == pytest.approx(expected, rel=1e-12)
    assert root_mean_squared_error(y, p, sample_weight=w) == pytest.approx(
        sk.root_mean_squared_error(y, p, sample_weight=w), rel=1e-12
    )
    with pytest.raises(ValueError, match="0 and 1 only"):
        binary_log_loss([1.0, 2.0], [0.5, 0.5])


def test_metric_frame_splits_the_scores_by_group(claims):
    people, counts, rate, exposure = claims
    frequency = counts / exposure
    functions = {"rps": rps, "gini": gini, "balance": predicted_to_observed, "deviance": mean_deviance}
    frame = MetricFrame(
        metrics=functions,
        y_true=frequency,
        y_pred=rate,
        sensitive_features=people,
        sample_params={
            "rps": {"exposure": exposure},
            "gini": {"sample_weight": exposure},
            "balance": {"sample_weight": exposure},
            "deviance": {"sample_weight": exposure},
        },
    )
    assert frame.overall["gini"] == pytest.approx(gini(frequency, rate, sample_weight=exposure))
    assert len(frame.by_group) == 6
    for (region, gender), row in frame.by_group.iterrows():
        rows = ((people["region"] == region) & (people["gender"] == gender)).to_numpy()
        y, u, w = frequency[rows], rate[rows], exposure[rows]
        assert row["rps"] == pytest.approx(rps(counts[rows], w * u))
        assert row["gini"] == pytest.approx(gini(y, u, sample_weight=w))
        assert row["balance"] == pytest.approx((w * u).sum() / counts[rows].sum())
        assert row["deviance"] == pytest.approx(sk.mean_poisson_deviance(y, u, sample_weight=w))
    balance = group_summary(frequency, rate, sensitive_features=people, sample_weight=exposure)
    assert balance["predicted_to_observed"].to_numpy() == pytest.approx(frame.by_group["balance"].to_numpy(float))
