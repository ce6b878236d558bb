import numpy as np
import pandas as pd
import pytest

from fairdcov import SensitiveEncoder
from fairdcov.dependence import (
    concatenated_distance_covariance,
    distance_covariance,
    joint_distance_covariance,
)
from fairdcov.exceptions import MissingSensitiveFeaturesError, SensitiveFeaturesWarning
from fairdcov.metrics import ccdcov, dcov, jdcov, null_distribution

ALL = [dcov, ccdcov, jdcov]


@pytest.fixture
def mixed(book):
    people, prediction, exposure = book
    age = np.random.default_rng(2).integers(18, 90, len(people))
    return people.assign(age=age)[:300], prediction[:300], exposure[:300]


def encode(people):
    """Independent of the encoder: one-hot regions, 0/1 gender, age on [0, 1]."""
    age = people["age"].to_numpy(float)
    return (
        pd.get_dummies(people["region"]).to_numpy(float),
        (people["gender"] == "m").to_numpy(float),
        (age - age.min()) / np.ptp(age),
    )


@pytest.mark.parametrize("statistic", ["v", "u"])
def test_values_are_those_of_the_functions_on_encoded_attributes(mixed, statistic):
    people, prediction, _ = mixed
    blocks = encode(people)
    options = {"sensitive_features": people, "statistic": statistic}
    assert dcov(None, prediction, **options) == pytest.approx(
        distance_covariance(prediction, *blocks, statistic=statistic), rel=1e-10
    )
    assert ccdcov(None, prediction, **options) == pytest.approx(
        concatenated_distance_covariance(prediction, *blocks, statistic=statistic), rel=1e-10
    )
    raw = jdcov(None, prediction, net=False, c=0.5, **options)
    assert raw == pytest.approx(joint_distance_covariance(prediction, *blocks, c=0.5, statistic=statistic), rel=1e-10)
    independent = joint_distance_covariance(np.full(len(people), 3.0), *blocks, c=0.5, statistic=statistic)
    assert jdcov(None, prediction, c=0.5, **options) == pytest.approx(raw - independent, rel=1e-9)
    assert abs(independent) > 1e-6


def test_against_dcor(mixed, dcor):
    people, prediction, _ = mixed
    joined = np.column_stack(encode(people))
    expected = dcor.distance_covariance_sqr(prediction, joined)
    assert ccdcov(None, prediction, sensitive_features=people) == pytest.approx(expected, rel=1e-10)
    expected = dcor.u_distance_covariance_sqr(prediction, joined)
    assert ccdcov(None, prediction, sensitive_features=people, statistic="u") == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("metric", ALL)
def test_weights_are_repetition(book, metric):
    people, prediction, _ = book
    weights = np.random.default_rng(0).integers(0, 3, len(people))
    rows = np.repeat(np.arange(len(people)), weights)
    weighted = metric(None, prediction, sensitive_features=people, sample_weight=weights)
    assert weighted == pytest.approx(metric(None, prediction[rows], sensitive_features=people.iloc[rows]), rel=1e-9)
    assert weighted != pytest.approx(metric(None, prediction, sensitive_features=people), rel=1e-3)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("statistic", ["u", "v"])
def test_equal_weights_are_no_weights(mixed, metric, statistic):
    """Of the rows that count, so that the U-statistic takes a selection of them as well."""
    people, prediction, _ = mixed
    keep = np.arange(len(people)) % 3 > 0
    found = metric(None, prediction, sensitive_features=people, sample_weight=7.0 * keep, statistic=statistic)
    assert found == metric(None, prediction[keep], sensitive_features=people[keep], statistic=statistic)


@pytest.mark.parametrize("statistic", ["v", "u"])
@pytest.mark.parametrize("metric", ALL)
def test_normalised_values_have_no_units(mixed, metric, statistic):
    people, prediction, _ = mixed
    options = {"sensitive_features": people, "statistic": statistic}
    normalised = metric(None, prediction, normalize=True, **options)
    assert metric(None, 1 - 7 * prediction, normalize=True, **options) == pytest.approx(normalised, rel=1e-9)
    differences = np.abs(prediction[:, None] - prediction[None, :])
    n = len(prediction)
    mean = differences.mean() if statistic == "v" else differences.sum() / (n * (n - 1))
    assert metric(None, prediction, **options) == pytest.approx(normalised * mean, rel=1e-9)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("normalize", [False, True])
def test_constant_predictions_depend_on_nothing(mixed, metric, normalize):
    people, _, exposure = mixed
    constant = np.full(len(people), 0.1)
    assert metric(None, constant, sensitive_features=people, sample_weight=exposure, normalize=normalize) == 0.0


def test_encoder_of_the_training_data_keeps_its_geometry(mixed):
    people, prediction, _ = mixed
    encoder = SensitiveEncoder().fit(people)
    part = (people["region"] != "west").to_numpy()
    refitted = ccdcov(None, prediction[part], sensitive_features=people[part], encoder=SensitiveEncoder())
    kept = ccdcov(None, prediction[part], sensitive_features=people[part], encoder=encoder)
    blocks = [block[part] for block in encode(people)]
    assert kept == pytest.approx(concatenated_distance_covariance(prediction[part], *blocks, statistic="v"), rel=1e-10)
    assert kept != pytest.approx(refitted, rel=1e-3)  # two levels lie at distance 1, two of three at sqrt(2)


@pytest.mark.parametrize("metric", ALL)
def test_errors_and_warnings(metric):
    with pytest.raises(ValueError, match="normalize must be True or False; found 'no'"):
        metric(None, [1.0, 2.0], sensitive_features=["a", "b"], normalize="no")
    with pytest.raises(TypeError, match="encoder must be None or a"):
        metric(None, [1.0, 2.0], sensitive_features=["a", "b"], encoder="onehot")
    with pytest.raises(MissingSensitiveFeaturesError, match="sensitive_features"):
        metric(None, [1.0, 2.0], sensitive_features=None)
    with pytest.raises(ValueError, match="y_pred must be finite"):
        metric(None, [1.0, np.nan], sensitive_features=["a", "b"])
    with pytest.raises(ValueError, match="sensitive_features must have as many rows"):
        metric(None, [1.0, 2.0], sensitive_features=["a", "b", "b"])
    with pytest.raises(ValueError, match="weighted U-statistic"):
        metric(None, [1.0, 2, 3, 4], sensitive_features=list("aabb"), sample_weight=[1, 2, 3, 4], statistic="u")
    with pytest.raises(ValueError, match="statistic must be one of"):
        metric(None, [1.0, 2.0], sensitive_features=["a", "b"], statistic="w")
    with pytest.warns(SensitiveFeaturesWarning, match="constant"):
        assert metric(None, [1.0, 2.0], sensitive_features=["a", "a"]) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("metric", ALL)
def test_rows_of_no_weight_do_not_make_a_prediction_vary(mixed, metric, normalize):
    """The Gini mean difference of the others is 0, and was divided by."""
    people, prediction, exposure = mixed
    absent = np.arange(len(people)) % 3 == 0
    weights = np.where(absent, 0.0, exposure)
    options = {"sensitive_features": people, "sample_weight": weights, "normalize": normalize}
    assert metric(None, np.where(absent, prediction, 0.7), **options) == 0.0
    null = null_distribution(metric, None, np.where(absent, prediction, 0.7), n_permutations=3, **options)
    assert not null.values.any()
    absurd = metric(None, np.where(absent, 1e3 * prediction, prediction), **options)
    assert absurd == pytest.approx(metric(None, prediction, **options), rel=1e-10)


@pytest.mark.parametrize("metric", ALL)
def test_rows_of_no_weight_bring_in_no_level_and_stretch_no_scale(mixed, metric):
    people, prediction, exposure = mixed
    absent = np.arange(len(people)) % 3 == 0
    expected = metric(None, prediction[~absent], sensitive_features=people[~absent], sample_weight=exposure[~absent])
    weights = np.where(absent, 0.0, exposure)
    people = people.assign(region=people["region"].astype(object)).copy()
    people.loc[absent, ["region", "age"]] = ["elsewhere", 1000]
    assert metric(None, prediction, sensitive_features=people, sample_weight=weights) == pytest.approx(expected)
    with pytest.raises(ValueError, match="sensitive_features must have as many rows"):
        metric(None, prediction, sensitive_features=people[1:], sample_weight=weights)
    null = null_distribution(
        metric, None, prediction, sensitive_features=people, sample_weight=weights, n_permutations=3
    )
    assert null.observed == pytest.approx(expected)


def test_a_level_of_rows_of_weight_zero_is_absent():
    """They were looked up among the levels of the others, and not found."""
    prediction = [1.0, 1.0, 2.0, 2.0, 9.0]
    with_absent = ccdcov(None, prediction, sensitive_features=["f", "f", "m", "m", "x"], sample_weight=[1, 2, 1, 2, 0])
    without = ccdcov(None, prediction[:4], sensitive_features=["f", "f", "m", "m"], sample_weight=[1, 2, 1, 2])
    assert with_absent == without
