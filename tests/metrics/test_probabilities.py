"""Metrics of attributes that are known as probabilities: rows weighted by their share in each group."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from fairdcov import (
    CCDCovPenalty,
    DCovPoissonRegressor,
    JSDivergenceCalibrator,
    SensitiveEncoder,
    independence_test,
    with_probabilities,
)
from fairdcov.actuarial import premium_change_by_group
from fairdcov.exceptions import CalibrationWarning, SensitiveFeaturesWarning
from fairdcov.metrics import (
    calibration_by_group,
    ccdcov,
    dcov,
    demographic_parity_gap,
    divergence_summary,
    group_densities,
    group_summary,
    jdcov,
    js_divergence,
    ks_disparity,
    make_fairness_scorer,
    null_distribution,
    sensitive_groups,
    sufficiency_gap,
    tier_parity_gap,
    tier_parity_ratio,
    tier_summary,
    unfairness_ratio,
    wasserstein_disparity,
)

LEVELS = ["p_a", "p_b", "p_c"]
N = 400
GROUP_METRICS = [demographic_parity_gap, js_divergence, ks_disparity, unfairness_ratio, wasserstein_disparity]


@pytest.fixture
def people(rng):
    frame = pd.DataFrame(rng.dirichlet([1.0, 1.0, 0.5], N), columns=LEVELS)
    frame.insert(0, "gender", rng.choice(["f", "m"], N))
    return frame


def declared(people):
    return with_probabilities(people, {"race": LEVELS})


def certain(people, rng):
    race = rng.integers(0, 3, N)
    soft = people.assign(**dict(zip(LEVELS, np.eye(3)[race].T, strict=True)))
    return declared(soft), people[["gender"]].assign(race=np.array(LEVELS)[race])


def test_group_summary_weights_by_the_shares(people, rng):
    y, u, w = rng.poisson(1.0, N), rng.uniform(size=N), rng.uniform(0.1, 1, N)
    table = group_summary(y, u, sensitive_features=declared(people), sample_weight=w)
    assert list(table.index.names) == ["gender", "race"]
    for gender in ("f", "m"):
        for level in LEVELS:
            share = (people["gender"] == gender) * people[level]
            row = table.loc[(gender, level)]
            assert_allclose(row["rows"], share.sum())
            assert_allclose(row["weight"], w @ share)
            assert_allclose(row["mean_predicted"], (w * share) @ u / (w @ share))
            assert_allclose(row["mean_observed"], (w * share) @ y / (w @ share))
    assert_allclose(table["weight"].sum(), w.sum())
    means = table["mean_predicted"]
    gap = demographic_parity_gap(y, u, sensitive_features=declared(people), sample_weight=w)
    assert_allclose(gap, means.max() - means.min())


@pytest.mark.parametrize("metric", [*GROUP_METRICS, ccdcov])
@pytest.mark.parametrize("weighted", [False, True])
def test_certain_rows_are_the_observed_groups(people, metric, weighted, rng):
    soft, observed = certain(people, rng)
    u, w = rng.normal(size=N), rng.uniform(0.1, 1, N) if weighted else None
    found = metric(None, u, sensitive_features=soft, sample_weight=w)
    assert_allclose(found, metric(None, u, sensitive_features=observed, sample_weight=w), rtol=1e-12)


def test_the_bandwidth_is_that_of_the_rows(people, rng):
    """Splitting rows between groups makes no more of them."""
    u = rng.normal(size=N)
    soft = group_densities(u, sensitive_features=declared(people))
    assert soft.bandwidth == group_densities(u, sensitive_features=people["gender"]).bandwidth
    assert_allclose(soft.shares.sum(), 1.0)


@pytest.mark.parametrize("metric", GROUP_METRICS)
def test_null_levels_move_the_shares(people, metric, rng):
    """The level by chance of a null distribution is that of permuted frames."""
    u = rng.normal(size=N)
    null = null_distribution(metric, None, u, sensitive_features=declared(people), n_permutations=100, random_state=0)
    assert_allclose(null.observed, metric(None, u, sensitive_features=declared(people)))
    moved = [
        metric(None, u, sensitive_features=declared(people.iloc[rng.permutation(N)].reset_index(drop=True)))
        for _ in range(100)
    ]
    assert abs(null.mean - np.mean(moved)) < 5 * np.std(moved) / np.sqrt(50)


def test_rows_slices_and_small_groups(people, rng):
    u, soft = rng.normal(size=N), declared(people)
    part = soft.rows(np.arange(50))
    assert_allclose(
        demographic_parity_gap(None, u[:50], sensitive_features=part),
        demographic_parity_gap(None, u[:50], sensitive_features=declared(people[:50])),
    )
    w = np.r_[np.ones(50), np.zeros(N - 50)]
    assert_allclose(
        demographic_parity_gap(None, u, sensitive_features=soft, sample_weight=w),
        demographic_parity_gap(None, u[:50], sensitive_features=part),
    )
    with pytest.warns(SensitiveFeaturesWarning, match=r"fewer than min_group_size=60 expected rows"):
        js_divergence(None, u, sensitive_features=soft, min_group_size=60)
    with pytest.raises(ValueError, match="no group has min_group_size=300 expected rows; the largest of 6 has"):
        js_divergence(None, u, sensitive_features=soft, min_group_size=300)


def test_declared_attributes_are_those_of_the_encoder(people, rng):
    X, y = rng.normal(size=(N, 2)), rng.poisson(1.0, N)
    X[:, 0] += people["p_a"]
    encoder = SensitiveEncoder(probabilities={"race": LEVELS})
    by_encoder = DCovPoissonRegressor(strength=0.5, penalty=CCDCovPenalty(encoder=encoder))
    by_encoder.fit(X, y, sensitive_features=people)
    by_declaration = DCovPoissonRegressor(strength=0.5).fit(X, y, sensitive_features=declared(people))
    np.testing.assert_array_equal(by_declaration.coef_, by_encoder.coef_)
    both = ccdcov(None, y, sensitive_features=declared(people), encoder=encoder)
    assert both == ccdcov(None, y, sensitive_features=declared(people))
    other = SensitiveEncoder(probabilities={"race": LEVELS[::-1]})
    with pytest.raises(ValueError, match="are not those that sensitive_features were declared with"):
        other.fit(declared(people))
    options = {"n_permutations": 9, "random_state": 0}
    assert (
        independence_test(y, declared(people), **options).statistic
        == independence_test(y, people, encoder=encoder, **options).statistic
    )


def test_the_calibrator_compares_by_shares(people, rng):
    X = rng.normal(size=(N, 2))
    X[:, 0] += 3 * people["p_a"]
    y = rng.poisson(np.exp(X[:, 0] / 2))
    calibrator = JSDivergenceCalibrator(
        DCovPoissonRegressor(),
        strengths=[0.1, 1.0, 50.0],
        cv=2,
        n_permutations=5,
        rule="score_budget",
        score_budget=0.5,
        verbose=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)  # what is chosen does not matter here
        calibrator.fit(X, y, sensitive_features=declared(people))
    assert calibrator.group_labels_ == [(gender, level) for gender in ("f", "m") for level in LEVELS]
    divergences = calibrator.calibration_results_["mean_divergence"]
    assert divergences[-1] < divergences[0]


def test_undeclared_probabilities_get_a_remark(people, rng):
    u = rng.normal(size=N)
    with pytest.warns(SensitiveFeaturesWarning, match=r"\['p_a', 'p_b', 'p_c'\] lie between 0 and 1 and sum"):
        js_divergence(None, u, sensitive_features=people, bins=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SensitiveFeaturesWarning)
        js_divergence(None, u, sensitive_features=people[LEVELS[:2]], bins=2)
        js_divergence(None, u, sensitive_features=people.assign(p_c=1.0), bins=2)
        js_divergence(None, u, sensitive_features=people[["gender"]].assign(a=1, b=0), bins=2)
        js_divergence(None, u, sensitive_features=declared(people), bins=2)


def test_what_is_not_defined_for_shares_raises(people, rng):
    u, soft = rng.uniform(size=N), declared(people)
    message = r"the protected attributes \['race'\] are known as probabilities, for which there is not"
    with pytest.raises(TypeError, match=message):
        sensitive_groups(soft)
    with pytest.raises(TypeError, match=message):
        premium_change_by_group(u, u + 1, soft)
    for some in (soft.factor, soft.select):
        with pytest.raises(
            ValueError, match=r"\['p_a'\] are some of the levels' probabilities only, of \['race'\]: name"
        ):
            some("p_a")
    assert soft.select("gender").groups().names == ["gender"]

    def own(y_true, y_pred, *, sensitive_features):
        return 0.0

    with pytest.raises(TypeError, match=r"own is not of this package and would not know that \['race'\]"):
        null_distribution(own, None, u, sensitive_features=soft)


def test_declarations_are_checked_at_once(people):
    people.loc[3, "p_a"] += 0.5
    with pytest.raises(ValueError, match=r"must sum to 1 in each row|must lie between"):
        declared(people)
    with pytest.raises(ValueError, match="probabilities names 'p_d'"):
        with_probabilities(people, {"race": ["p_a", "p_d"]})


def test_other_code_passes_them_on_or_fails(people, rng):
    """Nothing outside reads the columns as numbers: a pipeline passes them on, a metric gets an error."""
    X = pd.DataFrame(rng.normal(size=(N, 2)), columns=["x0", "x1"])
    X["x0"] += 3 * people["p_a"]
    y = rng.poisson(np.exp(X["x0"] / 2))
    soft = declared(people)
    options = {"strengths": [0.1, 5.0], "cv": 2, "n_permutations": 5, "rule": "score_budget", "score_budget": 0.5}
    with sklearn.config_context(enable_metadata_routing=True), warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        alone = JSDivergenceCalibrator(DCovPoissonRegressor(), verbose=False, **options)
        alone.fit(X, y, sensitive_features=soft)
        piped = JSDivergenceCalibrator(
            make_pipeline(FunctionTransformer(), DCovPoissonRegressor()), verbose=False, **options
        )
        piped.fit(X, y, sensitive_features=soft)
    results = (calibrator.calibration_results_["mean_divergence"] for calibrator in (alone, piped))
    assert_allclose(*results)

    def own(y_true, y_pred, *, sensitive_features):
        return float(np.asarray(sensitive_features)[0, 0])

    model = DCovPoissonRegressor(strength=0).fit(X, y)
    with pytest.raises(TypeError, match="known as probabilities: an array would not say so"):
        make_fairness_scorer(own)(model, X, y, sensitive_features=soft)


# --- what compares groups by tiers, at equal prediction, or less its level by chance ----------------------------------


def test_tiers_and_sufficiency_weight_by_the_shares(people, rng):
    u = rng.gamma(3.0, size=N)
    y = u + rng.normal(size=N)
    weights = rng.uniform(0.2, 1.0, N)
    soft, observed = certain(people, rng)
    for metric in (tier_parity_gap, tier_parity_ratio, sufficiency_gap):
        found, expected = (
            metric(y, u, sensitive_features=attributes, sample_weight=weights) for attributes in (soft, observed)
        )
        assert_allclose(found, expected, rtol=1e-9)
    # A row that is not certain counts in each group with its share.
    race = people[LEVELS]
    rows = np.tile(np.arange(N), 3)
    level, shares = np.repeat(LEVELS, N), race.to_numpy().T.ravel() * np.tile(weights, 3)
    soft = with_probabilities(race, {"race": LEVELS})
    for metric in (tier_parity_gap, tier_parity_ratio, sufficiency_gap):
        found = metric(y, u, sensitive_features=soft, sample_weight=weights)
        expected = metric(y[rows], u[rows], sensitive_features=level, sample_weight=shares)
        assert_allclose(found, expected, rtol=1e-9)
    table = calibration_by_group(y, u, sensitive_features=soft, sample_weight=weights)
    assert_allclose(table["rows"].groupby(level=1).sum(), race.sum()[table.index.levels[1]])


def test_the_net_divergence_is_less_the_mean_of_permuted_shares(people, rng):
    u = rng.gamma(3.0, size=N)
    data = {"sensitive_features": declared(people), "sample_weight": rng.uniform(0.2, 1.0, N)}
    null = null_distribution(js_divergence, None, u, n_permutations=200, random_state=1, **data)
    taken = js_divergence(None, u, **data) - js_divergence(None, u, net=True, **data)
    error = null.values.std() * np.sqrt(1 / 50 + 1 / 200)
    assert abs(taken - null.mean) < 4 * error
    assert error < 0.05 * null.mean


def test_errors_that_shares_do_not_have_are_refused(people, rng):
    u = rng.gamma(3.0, size=N)
    with pytest.raises(TypeError, match=r"divergence_summary has errors for observed protected attributes"):
        divergence_summary(None, u, sensitive_features=declared(people))


def test_intervals_of_tiers_by_shares_have_the_errors_of_the_jackknife(rng):
    n, level = 3_000, ["p_a", "p_b", "p_c"]
    shares = rng.dirichlet([0.6, 0.4, 0.3], n)
    premium, w = rng.gamma(3.0, size=n) * (1 + shares[:, 2]), rng.uniform(0.2, 2.0, n)
    people = with_probabilities(pd.DataFrame(shares, columns=level), {"race": level})
    given = {"sensitive_features": people, "sample_weight": w}
    table = tier_summary(None, premium, thresholds=[3.0, 5.0], **given).reset_index()
    above = premium[:, None] > [3.0, 5.0]
    for k, name in enumerate(level):
        rows = table[table["race"] == name].reset_index(drop=True)
        # Without one row: means of the group and of the rest, (n, 2).
        means = []
        for member in (w * shares[:, k], w * (1 - shares[:, k])):
            part = member[:, None] * above
            means.append((part.sum(axis=0) - part) / (member.sum() - member)[:, None])
        share, rest = means
        assert_allclose(rows["share"], share.mean(axis=0), rtol=1e-3)
        assert_allclose(rows["rest"], rest.mean(axis=0), rtol=1e-3)
        assert_allclose(rows["rows"], shares[:, k].sum())
        assert_allclose(rows["rows_above"], shares[:, k] @ above)
        for figure, values in (("share", share), ("difference", share - rest)):
            error = np.sqrt((n - 1) * values.var(axis=0))
            width = rows[f"{figure}_upper"] - rows[f"{figure}_lower"]
            assert_allclose(width, 2 * 1.96 * error, rtol=0.02)
        error = np.sqrt((n - 1) * np.log(share / rest).var(axis=0))
        assert_allclose(np.log(rows["ratio_upper"] / rows["ratio_lower"]), 2 * 1.96 * error, rtol=0.03)


def test_intervals_of_tiers_of_certain_shares_are_those_of_the_observed_attribute(rng):
    code, level = rng.integers(3, size=400), ["p_a", "p_b", "p_c"]
    people = with_probabilities(pd.DataFrame(np.eye(3)[code], columns=level), {"race": level})
    premium, w = rng.gamma(3.0, size=400), rng.uniform(0.2, 2.0, 400)
    soft, hard = (
        tier_summary(None, premium, sensitive_features=given, sample_weight=w).to_numpy()
        for given in (people, np.array(level)[code])
    )
    assert_allclose(soft, hard, rtol=1e-12)


# --- within strata ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("metric", [ccdcov, dcov, jdcov])
def test_dependence_within_strata_is_the_mean_over_them(metric, weighted, people, rng):
    u, cover = rng.gamma(3.0, size=N), rng.choice(["basic", "full", "plus"], N, p=[0.2, 0.3, 0.5])
    weights = rng.uniform(0.2, 1.0, N) if weighted else np.ones(N)
    soft = declared(people)
    passed = {"sample_weight": weights} if weighted else {}
    found = metric(None, u, sensitive_features=soft, control_features=cover, **passed)
    expected = 0.0
    for level in np.unique(cover):
        rows = np.flatnonzero(cover == level)
        part = {"sample_weight": weights[rows]} if weighted else {}
        expected += weights[rows].sum() * metric(None, u[rows], sensitive_features=soft.rows(rows), **part)
    assert_allclose(found, expected / weights.sum(), rtol=1e-9)


def test_a_certain_attribute_within_strata_is_the_observed_one(people, rng):
    u, cover = rng.gamma(3.0, size=N), rng.choice(["basic", "full"], N)
    soft, observed = certain(people, rng)
    found, expected = (
        ccdcov(None, u, sensitive_features=attributes, control_features=cover) for attributes in (soft, observed)
    )
    assert found == expected


def test_fits_and_tests_within_strata_take_probabilities(people, rng):
    cover = rng.choice(["basic", "full"], N)
    X = np.column_stack([people["p_a"] + 0.3 * rng.normal(size=N), cover == "full"]).astype(float)
    y = rng.poisson(np.exp(0.8 * X[:, 0]))
    data = {"sensitive_features": declared(people), "control_features": cover}
    unaware, penalised = (DCovPoissonRegressor(strength=strength).fit(X, y, **data) for strength in (0.0, 20.0))
    assert penalised.penalty_value_ < 0.1 * unaware.penalty_value_
    before, after = (independence_test(model.predict(X), n_permutations=99, **data) for model in (unaware, penalised))
    assert before.p_value == 0.01
    assert after.statistic < 0.1 * before.statistic


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("metric", GROUP_METRICS)
def test_group_metrics_within_strata_are_the_mean_over_them(metric, weighted, people, rng):
    u, cover = rng.gamma(3.0, size=N), rng.choice(["basic", "full", "plus"], N, p=[0.2, 0.3, 0.5])
    weights = rng.uniform(0.2, 1.0, N) if weighted else np.ones(N)
    soft = declared(people)
    passed = {"sample_weight": weights} if weighted else {}
    found = metric(None, u, sensitive_features=soft, control_features=cover, **passed)
    expected = 0.0
    for level in np.unique(cover):
        rows = np.flatnonzero(cover == level)
        part = {"sample_weight": weights[rows]} if weighted else {}
        expected += weights[rows].sum() * metric(None, u[rows], sensitive_features=soft.rows(rows), **part)
    assert_allclose(found, expected / weights.sum(), rtol=1e-9)


@pytest.mark.parametrize("metric", GROUP_METRICS)
def test_groups_of_a_certain_attribute_within_strata_are_the_observed_ones(metric, people, rng):
    u, cover = rng.gamma(3.0, size=N), rng.choice(["basic", "full"], N)
    cover[:3] = "rare"
    soft, observed = certain(people, rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        found, expected = (
            metric(None, u, sensitive_features=attributes, control_features=cover, min_group_size=9)
            for attributes in (soft, observed)
        )
    assert_allclose(found, expected, rtol=1e-12)


def test_a_level_left_out_takes_its_rows_along(people, rng):
    u, (soft, observed) = rng.gamma(3.0, size=N), certain(people, rng)
    least = int(group_summary(u, u, sensitive_features=observed)["rows"].min()) + 1
    for metric in GROUP_METRICS:
        with pytest.warns(SensitiveFeaturesWarning, match="left out"):
            found, expected = (
                metric(None, u, sensitive_features=attributes, min_group_size=least) for attributes in (soft, observed)
            )
        assert_allclose(found, expected, rtol=1e-12)


def test_null_levels_within_strata_take_probabilities(people, rng):
    cover = rng.choice(["basic", "full"], N)
    data = {"sensitive_features": declared(people), "control_features": cover, "n_permutations": 30, "random_state": 0}
    legitimate = np.where(cover == "full", 1.0, 2.0) * rng.gamma(50.0, size=N)
    null = null_distribution(js_divergence, None, legitimate, **data)
    assert null.observed == js_divergence(None, legitimate, **dict(list(data.items())[:2]))
    assert 0.5 < null.observed / null.mean < 1.6
    dependent = null_distribution(js_divergence, None, legitimate * np.exp(people["p_a"]), **data)
    assert dependent.observed > 3 * dependent.quantile(0.95)


def test_a_stratum_of_equal_shares_counts_as_nothing(people, rng):
    cover = np.repeat(["basic", "full"], N // 2)
    people.loc[cover == "full", LEVELS] = [0.2, 0.3, 0.5]
    soft, u = with_probabilities(people[LEVELS], {"race": LEVELS}), rng.gamma(3.0, size=N)
    with pytest.warns(SensitiveFeaturesWarning, match="1 of 2 strata .* count as 0: 'full': 200"):
        found = ccdcov(None, u, sensitive_features=soft, control_features=cover)
    half = np.arange(N // 2)
    assert_allclose(found, 0.5 * ccdcov(None, u[half], sensitive_features=soft.rows(half)), rtol=1e-9)
    people.loc[cover == "basic", LEVELS] = [0.3, 0.2, 0.5]
    soft = with_probabilities(people[LEVELS], {"race": LEVELS})
    with pytest.raises(ValueError, match="determine the protected attributes"):
        ccdcov(None, u, sensitive_features=soft, control_features=cover)
