"""Separation: ``given="target"`` is the measure within strata of the observed values."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from fairdcov import DCovPoissonRegressor
from fairdcov import metrics as fm
from fairdcov.inference import equivalence_test, independence_test

GROUP_METRICS = [
    fm.demographic_parity_gap,
    fm.js_divergence,
    fm.ks_disparity,
    fm.tier_parity_gap,
    fm.tier_parity_ratio,
    fm.unfairness_ratio,
    fm.wasserstein_disparity,
]
DEPENDENCE = [fm.ccdcov, fm.dcov, fm.jdcov]


@pytest.fixture
def book(rng):
    n = 800
    gender = rng.choice(["f", "m"], n)
    exposure = rng.uniform(0.1, 1.0, n)
    u = np.exp(0.4 * rng.normal(size=n) + 0.3 * (gender == "m"))
    counts = rng.poisson(0.6 * u * exposure)
    cover = pd.Series(rng.choice(["basic", "full"], n), name="cover")
    return {"u": u, "gender": gender, "y": counts / exposure, "w": exposure, "counts": counts, "cover": cover}


# --- strata --------------------------------------------------------------------------------------------------------


def test_strata_of_rates_are_claim_counts_with_the_top_ones_together(book):
    strata = fm.target_strata(book["y"], book["w"])
    assert strata.name == "target"
    assert list(strata.cat.categories) == ["0", "1", "2+"]
    assert (strata.cat.codes == np.minimum(book["counts"], 2)).all()


def test_strata_keep_the_index_of_the_observed_values(book):
    y = pd.Series(book["y"], index=np.arange(800) + 7)
    assert fm.target_strata(y, book["w"]).index.equals(y.index)


def test_strata_of_amounts_are_the_zeros_and_quantile_groups_of_the_rest(rng):
    y = rng.gamma(2.0, 100.0, 1000) * (rng.uniform(size=1000) < 0.3)
    codes = fm.target_strata(y, bins=3).cat.codes.to_numpy()
    assert ((codes == 0) == (y == 0)).all()
    sizes = np.bincount(codes)[1:]
    assert len(sizes) == 3
    assert np.ptp(sizes) <= 2
    largest = [y[codes == k].max() for k in range(4)]
    assert largest == sorted(largest)


def test_strata_of_large_counts_and_of_few_values(rng):
    many = rng.poisson(30.0, 1000).astype(float)
    assert len(fm.target_strata(many).cat.categories) == 5
    assert list(fm.target_strata([0, 1, 1, 0, 1]).unique()) == ["0", "1"]
    # Weights of outcomes 0 and 1 are no exposure.
    assert list(fm.target_strata([0, 1, 1], [0.3, 0.7, 1.3]).cat.categories) == ["0", "1"]
    assert list(fm.target_strata([-1.5, 2.0, -1.5]).cat.categories) == ["-1.5", "2"]
    assert len(fm.target_strata(rng.normal(size=500)).cat.categories) == 5


def test_strata_by_edges_and_by_each_value(rng):
    y = rng.uniform(size=100)
    assert (fm.target_strata(y, bins=[0, 0.3, 1]).cat.codes == (y >= 0.3)).all()
    assert fm.target_strata(y, bins=None).nunique() == 100


def test_rows_of_weight_0_have_no_part_in_the_strata(book):
    y, w = np.append(book["y"], 0.123), np.append(book["w"], 0.0)
    assert fm.target_strata(y, w).tolist()[:-1] == fm.target_strata(book["y"], book["w"]).tolist()


# --- measures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", GROUP_METRICS + DEPENDENCE)
def test_given_target_is_the_mean_over_claim_counts(book, metric):
    given = {"sensitive_features": book["gender"], "sample_weight": book["w"]}
    found = metric(book["y"], book["u"], given="target", **given)
    assert found == metric(None, book["u"], control_features=np.minimum(book["counts"], 2), **given)
    both = metric(book["y"], book["u"], given="target", control_features=book["cover"], **given)
    crossed = pd.DataFrame({"cover": book["cover"], "claims": np.minimum(book["counts"], 2)})
    assert both == metric(None, book["u"], control_features=crossed, **given)
    with pytest.raises(ValueError, match="needs y_true"):
        metric(None, book["u"], given="target", **given)
    with pytest.raises(ValueError, match="given must be one of 'target'"):
        metric(book["y"], book["u"], given="claims", **given)


def test_means_of_groups_at_equal_claims(book):
    frame = pd.DataFrame({"u": book["u"], "g": book["gender"], "k": np.minimum(book["counts"], 2)})
    expected = 0.0
    for _, part in frame.groupby("k"):
        means = part.groupby("g")["u"].mean()
        expected += len(part) / 800 * (means.max() - means.min())
    given = {"sensitive_features": book["gender"], "given": "target"}
    assert_allclose(fm.demographic_parity_gap(book["counts"], book["u"], **given), expected, rtol=1e-12)


def test_bins_of_the_target_go_beside_those_of_other_control_features(book, rng):
    amounts, age = rng.gamma(2.0, size=800), pd.Series(rng.uniform(18, 80, 800), name="age")
    given = {"sensitive_features": book["gender"], "control_features": age}
    found = fm.ccdcov(amounts, book["u"], given="target", control_bins={"age": 3, "target": 2}, **given)
    frame = pd.DataFrame({"age": age, "claims": amounts})
    given["control_features"] = frame
    assert found == fm.ccdcov(None, book["u"], control_bins={"age": 3, "claims": 2}, **given)


def test_control_features_in_polars(book):
    polars = pytest.importorskip("polars")
    given = {"sensitive_features": book["gender"], "given": "target"}
    found = fm.ccdcov(book["y"], book["u"], control_features=polars.DataFrame({"c": book["cover"].tolist()}), **given)
    assert_allclose(found, fm.ccdcov(book["y"], book["u"], control_features=book["cover"], **given), rtol=1e-12)


def test_a_control_feature_of_the_same_name_is_an_error(book):
    given = {"sensitive_features": book["gender"], "given": "target"}
    with pytest.raises(ValueError, match="has a column 'target'"):
        fm.ccdcov(book["y"], book["u"], control_features=pd.DataFrame({"target": book["cover"]}), **given)


def test_null_distribution_and_scorers_take_it(book):
    given = {"sensitive_features": book["gender"], "sample_weight": book["w"]}
    options = {"n_permutations": 5, "random_state": 0}
    null = fm.null_distribution(fm.js_divergence, book["y"], book["u"], given="target", **options, **given)
    strata = fm.target_strata(book["y"], book["w"])
    same = fm.null_distribution(fm.js_divergence, None, book["u"], control_features=strata, **options, **given)
    assert (null.values == same.values).all()
    assert null.observed == fm.js_divergence(book["y"], book["u"], given="target", **given)
    X = np.log(book["u"])[:, None]
    model = DCovPoissonRegressor(strength=0.1).fit(
        X, book["y"], sample_weight=book["w"], sensitive_features=book["gender"], control_features=strata
    )
    scorer = fm.make_fairness_scorer(fm.ccdcov, given="target")
    assert scorer(model, X, book["y"], **given) == -fm.ccdcov(book["y"], model.predict(X), given="target", **given)


# --- tests of hypotheses -------------------------------------------------------------------------------------------


def test_independence_and_equivalence_at_equal_claims(book):
    data = (book["u"], pd.Series(book["gender"], name="gender"))
    weights, strata = {"sample_weight": book["w"]}, fm.target_strata(book["y"], book["w"])
    options = {"n_permutations": 19, **weights}
    found = independence_test(*data, given="target", y_true=book["y"], **options)
    assert found.p_value == independence_test(*data, control_features=strata, **options).p_value
    assert found.control_features == ("target",)
    options = {"measure": "given_factors", "tolerance": 0.1, **weights}
    result = equivalence_test(*data, given="target", y_true=book["y"], **options)
    assert result.groups == equivalence_test(*data, legitimate_features=strata, **options).groups
    assert result.legitimate_features == ["target"]
    for test, given in ((independence_test, {}), (equivalence_test, options)):
        with pytest.raises(ValueError, match="needs y_true"):
            test(*data, given="target", **given)
        with pytest.raises(ValueError, match="y_true must have as many rows"):
            test(*data, given="target", y_true=book["y"][:-1], **given)
    with pytest.raises(ValueError, match="given='target' is for measure='given_factors'"):
        equivalence_test(*data, given="target", y_true=book["y"], tolerance=0.1)
