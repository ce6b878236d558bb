"""Figures of an audit against computations that share no code with it."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import d2_tweedie_score, mean_gamma_deviance, mean_poisson_deviance, mean_tweedie_deviance

from fairdcov.actuarial import one_way, premium_change_by_group
from fairdcov.datasets import make_motor_portfolio
from fairdcov.inference import independence_test
from fairdcov.metrics import (
    ccdcov,
    demographic_parity_gap,
    gini,
    jdcov,
    js_divergence,
    ks_disparity,
    unfairness_ratio,
    wasserstein_disparity,
)
from fairdcov.report import audit
from fairdcov.report._differences import ComparedGroups, compared_groups, energy_distances, measure_groups
from fairdcov.report._partial import _partial_correlation, u_centred
from fairdcov.report._proxies import table_distance_covariance
from fairdcov.report._read import read_sample
from fairdcov.report._tasks import unit_deviance

AGE_EDGES = [18, 30, 45, 100]
LARGE, EVERY = {"min_group_size": 100}, {"min_group_size": 1}
QUICK = {"n_permutations": 0, "n_bootstrap": 0, "verbose": 0}


def section_of(data, *attributes):
    return next(section for section in data["groups"] if section["attributes"] == list(attributes))


@pytest.fixture
def frame(book, prediction):
    """Rows with age in bins, by pandas."""
    frame = book.sensitive_features.astype({"gender": str, "region": str})
    frame["age"] = pd.cut(frame["age"], AGE_EDGES, right=False)
    return frame.assign(
        w=book.exposure, claims=book.claims, expected=book.exposure * prediction, y=book.target, u=prediction
    )


def sample_of(y, u, S, **options):
    given = {
        "sample_weight": None,
        "features": None,
        "baseline": None,
        "legitimate_features": None,
        "task": "auto",
        "bins": None,
        "random_state": 0,
    }
    return read_sample(y, u, S, **(given | options))


# --- groups --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [["gender"], ["age"], ["gender", "region"], ["gender", "region", "age"]])
def test_groups_are_sums_over_their_rows(data, frame, names):
    section = section_of(data, *names)
    groups = frame.groupby(names, observed=True)
    assert len(section["groups"]) == len(groups) == section["n_groups"]
    for levels, rows in groups:
        texts = [
            f"[{x.left:g}, {x.right:g}{']' if x.right == 100 else ')'}" if isinstance(x, pd.Interval) else x
            for x in levels
        ]
        group = next(g for g in section["groups"] if g["label"] == " × ".join(texts))
        assert list(group["levels"].values()) == texts
        assert group["rows"] == len(rows)
        assert group["exposure"] == pytest.approx(rows["w"].sum())
        assert group["share"] == pytest.approx(rows["w"].sum() / frame["w"].sum())
        assert group["observed"] == pytest.approx(rows["claims"].sum() / rows["w"].sum())
        assert group["predicted"] == pytest.approx(rows["expected"].sum() / rows["w"].sum())
        assert group["observed_total"] == pytest.approx(rows["claims"].sum())
        ratio = rows["claims"].sum() / rows["expected"].sum()
        assert group["actual_to_expected"] == pytest.approx(ratio)
        assert group["deviance"] == pytest.approx(mean_poisson_deviance(rows["y"], rows["u"], sample_weight=rows["w"]))
        # Garwood's interval by the gamma distribution
        claims, expected = rows["claims"].sum(), rows["expected"].sum()
        assert group["lower"] == pytest.approx(stats.gamma.ppf(0.025, claims) / expected if claims else 0.0)
        assert group["upper"] == pytest.approx(stats.gamma.ppf(0.975, claims + 1) / expected)
        assert group["too_small"] == (len(rows) < 40)


def test_the_exact_interval_of_an_attribute_is_that_of_one_way(data, book, prediction):
    table = one_way(book.target, prediction, book.sensitive_features[["region"]], sample_weight=book.exposure)
    groups = section_of(data, "region")["groups"]
    assert [group["label"] for group in groups] == table["level"].tolist()
    np.testing.assert_allclose([group["lower"] for group in groups], table["lower"])
    np.testing.assert_allclose([group["upper"] for group in groups], table["upper"])


def test_small_groups_are_listed_and_kept_out_of_the_comparison(data, frame):
    section = section_of(data, "gender", "region", "age")
    counts = frame.groupby(["gender", "region", "age"], observed=True).size()
    assert 0 < (counts < 40).sum() < len(counts)
    assert section["n_compared"] == (counts >= 40).sum()
    assert sorted(group["rows"] for group in section["too_small"]) == sorted(counts[counts < 40])
    assert section["share_too_small"] == pytest.approx(sum(group["share"] for group in section["too_small"]))


@pytest.mark.parametrize("names", [["region"], ["gender", "region", "age"]])
def test_measures_are_those_of_the_metrics(data, book, prediction, names):
    section = section_of(data, *names)
    arguments = {
        "sensitive_features": book.sensitive_features[names],
        "sample_weight": book.exposure,
        "bins": {"age": AGE_EDGES} if "age" in names else None,
        "min_group_size": 40,
    }
    metrics = (demographic_parity_gap, unfairness_ratio, ks_disparity, wasserstein_disparity)
    with pytest.warns(UserWarning, match="fewer than") if len(names) > 1 else _nothing():
        for metric in metrics:
            assert section["measures"][metric.__name__]["value"] == pytest.approx(metric(None, prediction, **arguments))
        divergence = js_divergence(None, prediction, bandwidth=data["settings"]["bandwidth"], **arguments)
    assert section["measures"]["js_divergence"]["value"] == pytest.approx(divergence)


def _nothing():
    from contextlib import nullcontext

    return nullcontext()


def test_null_levels_are_what_shuffled_attributes_give(book):
    rng = np.random.default_rng(5)
    S = book.sensitive_features[["region"]]
    found = audit(None, book.true_rate, S, sample_weight=book.exposure, **(QUICK | {"n_permutations": 30})).to_dict()
    measure = section_of(found, "region")["measures"]
    for name, metric in (("js_divergence", js_divergence), ("ks_disparity", ks_disparity)):
        values = [
            metric(
                None,
                book.true_rate,
                sensitive_features=S.iloc[rng.permutation(len(S))],
                sample_weight=book.exposure,
                **({"bandwidth": found["settings"]["bandwidth"]} if metric is js_divergence else {}),
            )
            for _ in range(30)
        ]
        deviation = np.std(values) * np.sqrt(2 / 30)
        assert abs(measure[name]["null_mean"] - np.mean(values)) < 4 * deviation
        assert measure[name]["null_quantile_95"] > measure[name]["null_mean"]


@pytest.mark.parametrize("n", [1500, 6000])
def test_the_bootstrap_has_the_spread_of_the_ratio(n):
    """By rows (1,500) and by totals of random parts (6,000): against the delta method."""
    rng = np.random.default_rng(n)
    group = rng.choice(["a", "b"], n, p=[0.3, 0.7])
    exposure = rng.uniform(0.1, 1, n)
    rate = rng.gamma(4, 0.1, n)
    claims = rng.poisson(exposure * rate)
    found = audit(claims / exposure, rate, group, sample_weight=exposure, **(QUICK | {"n_bootstrap": 200})).to_dict()
    for row in found["groups"][0]["groups"]:
        rows = group == row["label"]
        residual = claims[rows] - row["actual_to_expected"] * (exposure * rate)[rows]
        error = np.sqrt((residual**2).sum()) / (exposure * rate)[rows].sum()
        width = row["bootstrap_upper"] - row["bootstrap_lower"]
        assert width == pytest.approx(2 * 1.96 * error, rel=0.35)
        assert row["bootstrap_lower"] < row["actual_to_expected"] < row["bootstrap_upper"]
    units = found["groups"][0]["intervals"]["bootstrap_units"]
    assert units == n if n == 1500 else 500 < units <= 1000


def test_distributions_in_cells_are_close_to_every_row():
    book = make_motor_portfolio(60_000, random_state=3)
    S = book.sensitive_features[["gender", "region"]]
    sample = sample_of(None, book.true_rate, S, sample_weight=book.exposure)
    assert sample.cells("y_pred") is not None
    in_cells = compared_groups(sample, ["gender", "region"], LARGE)
    every_row = ComparedGroups(in_cells.groups, None, in_cells.bandwidth)
    names = ("ks_disparity", "wasserstein_disparity")
    found, exact = measure_groups(in_cells, names), measure_groups(every_row, names)
    for name in names:
        assert found[name] == pytest.approx(exact[name], rel=1e-3)
    assert exact["ks_disparity"] == ks_disparity(
        None, book.true_rate, sensitive_features=S, sample_weight=book.exposure
    )
    np.testing.assert_allclose(energy_distances(in_cells), energy_distances(every_row), rtol=0.01, atol=1e-8)


# --- pairs ---------------------------------------------------------------------------------------------------------


def test_energy_distances_are_dcors(rng, dcor):
    group = rng.choice(list("abc"), 300)
    u = rng.gamma(2, 1, 300) + (group == "b") + np.round(rng.random(300), 1)
    u[:40] = np.round(u[:40])
    compared = compared_groups(sample_of(None, u, group), ["sensitive feature 0"], EVERY)
    found = energy_distances(compared)
    for i, a in enumerate("abc"):
        for j, b in enumerate("abc"):
            assert found[i, j] == pytest.approx(dcor.energy_distance(u[group == a], u[group == b]), abs=1e-12)


def test_weighted_energy_distances_are_scipys_squared(rng):
    group = rng.choice(list("ab"), 200)
    u, w = rng.random(200) + 0.3 * (group == "b"), rng.uniform(0.1, 1, 200)
    compared = compared_groups(
        sample_of(None, u, group, sample_weight=w), ["sensitive feature 0"], {"min_group_size": 1}
    )
    a, b = group == "a", group == "b"
    expected = stats.energy_distance(u[a], u[b], w[a], w[b]) ** 2
    assert energy_distances(compared)[0, 1] == pytest.approx(expected)


def test_the_furthest_pairs_come_first(data, book, prediction):
    pairs = next(part for part in data["pairs"] if part["attributes"] == ["gender", "region", "age"])
    assert len(pairs["pairs"]) == 10
    excess = [pair["energy_distance"] - pair["by_chance"] for pair in pairs["pairs"]]
    assert excess == sorted(excess, reverse=True)
    assert all(pair["mean_higher"] >= pair["mean_lower"] for pair in pairs["pairs"])
    # The bias of the book: the furthest groups are women of one half of the regions and men of it.
    assert {next(iter(pairs["pairs"][0][f"{side}_levels"])) for side in ("higher", "lower")} == {"gender"}


def test_the_level_by_chance_is_the_mean_of_shuffled_groups(rng, dcor):
    u = rng.gamma(2, 1, 400)
    group = np.repeat(["a", "b", "c"], [50, 150, 200])
    found = audit(None, u, group, min_group_size=1, **QUICK).to_dict()["pairs"][0]["pairs"]
    by_chance = {frozenset((pair["higher"], pair["lower"])): pair["by_chance"] for pair in found}
    values = []
    for _ in range(300):
        v = rng.permutation(u)
        values.append(dcor.energy_distance(v[group == "a"], v[group == "b"]))
    assert np.mean(values) == pytest.approx(by_chance[frozenset("ab")], rel=0.15)


# --- dependence ----------------------------------------------------------------------------------------------------


def test_dependence_values_are_those_of_the_metrics(data, book, prediction):
    S = book.sensitive_features
    by_measure = {e["measure"]: e for e in data["dependence"] if e["attributes"] == list(S.columns)}
    assert set(by_measure) == {"dcov", "jdcov", "ccdcov"}
    options = {"sensitive_features": S, "sample_weight": book.exposure}
    assert by_measure["ccdcov"]["value"] == pytest.approx(ccdcov(None, prediction, **options))
    assert by_measure["jdcov"]["value"] == pytest.approx(jdcov(None, prediction, **options))
    normalized = ccdcov(None, prediction, normalize=True, **options)
    assert by_measure["ccdcov"]["normalized"] == pytest.approx(normalized)


def test_tests_are_independence_tests_of_all_rows(data, book, prediction):
    S = book.sensitive_features[["gender", "region"]]
    entry = next(e for e in data["dependence"] if e["attributes"] == ["gender", "region"] and e["measure"] == "ccdcov")
    result = independence_test(prediction, S, n_permutations=19, random_state=0)
    assert entry["test"]["n_samples"] == len(S)
    assert entry["test"]["effect_size"] == pytest.approx(result.effect_size)
    assert entry["test"]["statistic"] == pytest.approx(result.statistic)
    assert entry["test"]["p_value"] == 0.05
    assert result.p_value == 0.05


def test_what_takes_too_long_is_done_on_subsamples(book, prediction, monkeypatch):
    monkeypatch.setattr("fairdcov.report._dependence._BUDGET", 1e5)
    monkeypatch.setattr("fairdcov.report._dependence._LEAST_ROWS", 500)
    options = {"max_screening_rows": 700, "max_learning_rows": 300, "max_partial_rows": 100}
    found = audit(
        book.target,
        prediction,
        book.sensitive_features[["gender", "region"]],
        features=book.data,
        legitimate_features=["vehicle_power"],
        n_permutations=19,
        n_bootstrap=0,
        verbose=0,
        **options,
    ).to_dict()
    assert {entry["test"]["n_samples"] for entry in found["dependence"]} == {500}
    assert found["proxies"]["n_samples"] == 700
    assert {entry["n_samples"] for entry in found["proxies"]["prediction"]} == {300}
    assert found["partial"]["n_samples"] == 100
    # What the subsamples are too small to blur: all rows show it, and so do they.
    assert found["dependence"][-1]["test"]["p_value"] == 0.05
    assert found["proxies"]["features"][0]["feature"] == "density"
    assert all(found["settings"][name] == size for name, size in options.items())


def test_a_fair_tariff_is_not_accused(book):
    S = book.sensitive_features[["gender", "region"]]
    found = audit(book.target, book.fair_rate, S, sample_weight=book.exposure, n_bootstrap=0, verbose=0).to_dict()
    joint = found["dependence"][-1]
    assert joint["test"]["p_value"] > 0.05
    assert joint["test"]["effect_size"] < 0.01


def test_partial_distance_correlation_is_dcors(rng, dcor):
    n = 120
    z = rng.normal(size=n)
    group = np.where(z + 0.3 * rng.normal(size=n) > 0, "a", "b")
    u = z + 0.1 * rng.normal(size=n)
    features = pd.DataFrame({"z": z, "other": rng.normal(size=n)})
    found = audit(None, u, group, features=features, legitimate_features=["z"], **QUICK).to_dict()["partial"]
    assert found["n_samples"] == n
    assert found["given"] == ["z"]
    (entry,) = found["results"]
    x, s, given = u[:, None] / u.std(), (group == "b").astype(float)[:, None], z[:, None] / z.std()
    assert entry["partial"] == pytest.approx(dcor.partial_distance_correlation(x, s, given))
    assert entry["distance_correlation"] == pytest.approx(dcor.u_distance_correlation_sqr(x, s))
    # z explains what there is
    assert entry["distance_correlation"] > 0.2
    assert abs(entry["partial"]) < 0.1


@pytest.mark.parametrize("n", [5, 60])
def test_partial_p_values_are_dcors(rng, dcor, n):
    x, y, z = rng.normal(size=(n, 1)), np.eye(3)[rng.integers(3, size=n)], rng.normal(size=(n, 2))
    y[:3] = np.eye(3)
    x += y[:, :1]
    found = _partial_correlation(u_centred(x), u_centred(y), u_centred(z), 39, 7)
    oracle = dcor.independence.partial_distance_covariance_test(x, y, z, num_resamples=39, random_state=7)
    # It counts what is above the statistic, and what is equal to it up to rounding by chance.
    assert oracle.pvalue <= found["p_value"] <= oracle.pvalue + (0.5 if n == 5 else 0.0)
    assert found["partial"] == pytest.approx(dcor.partial_distance_correlation(x, y, z))
    assert _partial_correlation(u_centred(x), u_centred(y), u_centred(z), 0, 7)["p_value"] is None


def test_nothing_is_left_of_predictions_that_are_a_factor(rng):
    """What is left is rounding: no dependence, and no p-value of it."""
    z = rng.normal(size=80)
    group = np.where(z + rng.normal(size=80) > 0, "a", "b")
    options = {"legitimate_features": ["z"], "n_permutations": 19, "n_bootstrap": 0, "verbose": 0}
    (entry,) = audit(None, 3 * z + 1, group, features=pd.DataFrame({"z": z}), **options).to_dict()["partial"]["results"]
    assert (entry["partial"], entry["p_value"]) == (0.0, 1.0)
    assert entry["distance_correlation"] > 0.1
    # All distances between levels are equal: nothing to be conditioned on, or to depend on.
    assert not u_centred(np.eye(6)).any()


def test_factors_that_are_none_are_named(rng):
    n = 60
    features = pd.DataFrame({"policy": [f"p{i}" for i in range(n)], "zone": rng.choice(list("nsw"), n)})
    group, u = rng.choice(["a", "b"], n), rng.random(n)
    report = audit(None, u, group, features=features, legitimate_features=["policy", "zone"], **QUICK)
    found = report.to_dict()["partial"]
    assert found["given"] == ["zone"]
    assert found["skipped"] == [{"feature": "policy", "reason": "60 different values in 60 rows: not a factor"}]
    alone = audit(None, u, group, features=features, legitimate_features=["zone"], **QUICK).to_dict()["partial"]
    assert found["results"] == alone["results"]
    assert "skipped" not in alone
    assert "Not among the factors given: policy (60 different values in 60 rows: not a factor)" in report.to_markdown()
    none = audit(None, u, group, features=features, legitimate_features=["policy"], **QUICK)
    assert none.to_dict()["partial"]["results"] == none.to_dict()["partial"]["given"] == []
    assert "No factor that was called legitimate can be taken as given" in none.to_markdown()


# --- proxies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["numeric", "few numbers", "categorical"])
def test_distance_correlations_of_features_are_dcors(rng, kind, dcor):
    n = 150
    region = rng.choice(["n", "s", "w"], n)
    age = rng.integers(18, 80, n).astype(float)
    if kind == "categorical":
        feature = np.where(region == "n", "city", rng.choice(["city", "land", "sea"], n))
        points = np.eye(3)[np.unique(feature, return_inverse=True)[1]] / np.sqrt(2)
    else:
        feature = age + rng.normal(size=n) * 5 + 10 * (region == "s")
        feature = np.round(feature, -1) if kind == "few numbers" else feature
        points = feature[:, None]
    S = pd.DataFrame({"region": region, "age": age})
    found = audit(None, rng.random(n), S, features=pd.DataFrame({"f": feature}), bins=3, **QUICK).to_dict()
    (entry,) = found["proxies"]["features"]
    by_region = np.eye(3)[np.unique(region, return_inverse=True)[1]]
    by_age = (age - age.min())[:, None] / (age.max() - age.min())
    expected = {
        "region": dcor.u_distance_correlation_sqr(points, by_region),
        "age": dcor.u_distance_correlation_sqr(points, by_age),
    }
    # What is below 0 by chance is shown as 0.
    assert entry["distance_correlation"] == pytest.approx({name: max(0, value) for name, value in expected.items()})
    jointly = dcor.u_distance_correlation_sqr(points, np.hstack([by_region, by_age]))
    assert entry["jointly"] == pytest.approx(jointly)


def test_a_categorical_feature_and_an_attribute_of_many_values(rng, dcor):
    n = 2500
    age = rng.gamma(3, 10, n)
    feature = np.where(age + rng.normal(size=n) * 10 > 30, "old", "young")
    found = audit(None, rng.random(n), pd.DataFrame({"age": age}), features=pd.DataFrame({"f": feature}), **QUICK)
    value = found.to_dict()["proxies"]["features"][0]["distance_correlation"]["age"]
    expected = dcor.u_distance_correlation_sqr((feature == "old").astype(float), age)
    assert value == pytest.approx(expected)


def test_the_covariance_of_a_table_is_dcors(rng, dcor):
    x, y = rng.integers(3, size=40), rng.integers(4, size=40)
    a, b = rng.random((3, 2)), rng.random((4, 1))
    counts = np.zeros((3, 4))
    np.add.at(counts, (x, y), 1)
    distances = [np.sqrt(((p[:, None] - p[None]) ** 2).sum(-1)) for p in (a, b)]
    expected = dcor.u_distance_covariance_sqr(a[x], b[y])
    assert table_distance_covariance(counts, *distances) == pytest.approx(expected)


def test_proxies_are_found(data):
    """The book says what its proxies are: see make_motor_portfolio."""
    found = {entry["feature"]: entry for entry in data["proxies"]["features"]}
    assert max(found, key=lambda name: found[name]["distance_correlation"]["region"]) == "density"
    assert max(found, key=lambda name: found[name]["distance_correlation"]["age"]) in ("bonus_malus", "occupation")
    mileage = found["mileage"]
    assert mileage["jointly"] > 5 * max(mileage["distance_correlation"]["gender"], 1e-4)
    assert found["vehicle_power"]["jointly"] < 0.005
    assert found["vehicle_power"]["legitimate"]
    scores = {entry["attribute"]: entry for entry in data["proxies"]["prediction"]}
    assert scores["region"]["score"] == "auc"
    assert scores["region"]["value"] > 0.7
    assert scores["age"]["score"] == "r2"
    assert scores["age"]["value"] > 0.4


def test_attributes_cannot_be_predicted_from_noise(rng):
    n = 900
    S = pd.DataFrame({"g": rng.choice(list("ab"), n), "age": rng.normal(size=n)})
    X = pd.DataFrame({"x": rng.normal(size=n), "c": rng.choice(list("xyz"), n)})
    scores = audit(None, rng.random(n), S, features=X, **QUICK).to_dict()["proxies"]["prediction"]
    assert scores[0]["value"] == pytest.approx(0.5, abs=0.1)
    assert scores[1]["value"] < 0.05


# --- the whole book, changes, bins ---------------------------------------------------------------------------------


def test_balance(data, book, prediction):
    found, w = data["balance"], book.exposure
    assert found["observed_total"] == pytest.approx(book.claims.sum())
    assert found["predicted_total"] == pytest.approx(w @ prediction)
    assert found["actual_to_expected"] == pytest.approx(book.claims.sum() / (w @ prediction))
    assert found["deviance"] == pytest.approx(mean_poisson_deviance(book.target, prediction, sample_weight=w))
    explained = d2_tweedie_score(book.target, prediction, sample_weight=w, power=1)
    assert found["deviance_explained"] == pytest.approx(explained)
    assert found["gini"] == pytest.approx(gini(book.target, prediction, sample_weight=w))
    assert found["task"] == "frequency"


@pytest.mark.parametrize(
    ("task", "reference"),
    [
        ("frequency", mean_poisson_deviance),
        ("severity", mean_gamma_deviance),
        ("pure_premium", lambda y, u: mean_tweedie_deviance(y, u, power=1.5)),
        ("regression", lambda y, u: mean_tweedie_deviance(y, u, power=0)),
    ],
)
def test_unit_deviances_have_scikit_learns_mean(rng, task, reference):
    y, u = rng.gamma(1, 1, 50), rng.gamma(1, 1, 50)
    if task != "severity":
        y[:20] = 0
    deviances, reason = unit_deviance(y, u, task)
    assert reason is None
    assert deviances.mean() == pytest.approx(reference(y, u))


def test_unit_deviance_of_outcomes_is_twice_the_log_loss(rng):
    from sklearn.metrics import log_loss

    y, u = rng.integers(2, size=50).astype(float), rng.random(50)
    assert unit_deviance(y, u, "classification")[0].mean() == pytest.approx(2 * log_loss(y, u))
    certain, _ = unit_deviance(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "classification")
    np.testing.assert_allclose(certain, 0, atol=1e-12)


def test_the_task_is_found_out(rng):
    u, group = rng.random(60) * 0.8 + 0.1, rng.choice(list("ab"), 60)
    w = rng.random(60) + 0.1
    cases = {
        "classification": (rng.integers(2, size=60), u, None),
        "frequency": (rng.poisson(1, 60) / w, u, w),
        "pure_premium": (rng.gamma(1, 1, 60) * (np.arange(60) % 3 > 0), u, None),
        "severity": (rng.gamma(1, 1, 60), u, None),
        "regression": (rng.normal(size=60), u, None),
    }
    for task, (y, prediction, weights) in cases.items():
        sample = sample_of(y, prediction, group, sample_weight=weights)
        assert sample.task == task
        assert sample.task_reason
    assert sample_of(cases["severity"][0], u, group, task="severity").task_reason is None
    assert sample_of(None, u, group).task == "regression"
    # an exposure makes rates of outcomes, and rounding no amounts of counts
    assert sample_of(cases["classification"][0], u, group, sample_weight=w).task == "pure_premium"
    noisy = cases["frequency"][0] + 1e-9
    assert sample_of(noisy, u, group, sample_weight=w).task == "frequency"
    # nothing but zeros, or ones, is no outcome of two kinds
    assert sample_of(np.zeros(60), 2 * u, group).task == sample_of(np.ones(60), 2 * u, group).task == "frequency"


@pytest.mark.parametrize("wrong", [-0.3, 0.0])
@pytest.mark.parametrize(
    ("task", "name"), [("frequency", "Poisson"), ("pure_premium", "Tweedie"), ("severity", "gamma")]
)
def test_predictions_do_not_change_the_task(rng, task, name, wrong):
    n = 5_000
    u, group, w = rng.gamma(5, 0.1, n), rng.choice(list("ab"), n), rng.uniform(0.5, 1, n)
    y = rng.poisson(u * w) / w if task == "frequency" else rng.gamma(1, 1, n)
    y[:10] = 0.0 if task == "pure_premium" else y[:10]
    u[17] = wrong
    y[17] = max(y[17], 1 / w[17])
    found = rf"the {name} deviance.* of task='{task}', which task='auto' found since .*"
    with pytest.raises(ValueError, match=found + rf": y_pred has 1 other .*\(row 17: {wrong:g}\)"):
        audit(y, u, group, sample_weight=w, **QUICK)
    with pytest.raises(ValueError, match=rf"of task='{task}', needs"):
        audit(y, u, group, sample_weight=w, task=task, **QUICK)
    found = audit(y, u, group, sample_weight=w, task="regression", **QUICK).to_dict()
    assert found["balance"]["deviance_name"] == "squared error"
    assert any("negative, although nothing negative was observed" in text for text in found["remarks"]) == (wrong < 0)


def test_rows_are_named_as_they_were_given(rng):
    u, w = rng.gamma(5, 0.1, 50), np.ones(50)
    y = rng.poisson(u) + 2.0
    w[:3], u[3:10] = 0.0, 0.0
    named = r"y_pred has 7 other value\(s\) \(row 3: 0, row 4: 0, row 5: 0, row 6: 0, row 7: 0, \.\.\.\)"
    with pytest.raises(ValueError, match=named):
        audit(y, u, list("ab") * 25, sample_weight=w, **QUICK)
    with pytest.raises(ValueError, match=r"Bernoulli deviance .* predictions between 0 and 1: .*\(row 0: 1.5\)"):
        audit([0, 1, 0, 1], [1.5, 0.7, 0.3, 0.6], list("abab"), **QUICK)


@pytest.mark.parametrize("power", [1.0, 1.5])
def test_nothing_predicted_where_nothing_is_observed(rng, power):
    y, u = rng.poisson(1.0, 400).astype(float), rng.gamma(5, 0.2, 400)
    empty = np.arange(400) < 40
    y, u = np.where(empty, 0.0, y), np.where(empty, 0.0, u)
    task = {1.0: "frequency", 1.5: "pure_premium"}[power]
    deviances, reason = unit_deviance(y, u, task)
    assert reason is None
    assert (deviances[empty] == 0).all()
    expected = mean_tweedie_deviance(y[~empty], u[~empty], power=power)
    assert deviances[~empty].mean() == pytest.approx(expected)
    found = audit(y, u, rng.choice(list("ab"), 400), task=task, **QUICK).to_dict()
    assert found["balance"]["deviance"] == pytest.approx(0.9 * expected)
    assert any(text.startswith("40 prediction(s) are 0") for text in found["remarks"])


def test_predictions_that_explain_nothing_are_called_that(rng):
    u, group = rng.gamma(5, 0.1, 500), rng.choice(list("ab"), 500)
    y = rng.poisson(u)
    for prediction, said in ((u, False), (1.0 / u, True)):
        remarks = audit(y, prediction, group, **QUICK).to_dict()["remarks"]
        assert any("explain nothing: their Poisson deviance is above" in text for text in remarks) == said


def test_whole_amounts_have_no_intervals_of_counts(rng):
    # Claim costs in whole units are no counts, whose intervals would be a hundred times too short.
    u, group = rng.gamma(5, 200, 2000), rng.choice(list("ab"), 2000)
    y = np.rint(rng.gamma(0.5, 2 * u))
    found = audit(y, u, group, task="pure_premium", baseline=u[::-1], **QUICK).to_dict()
    expected = one_way(y, u, group, interval="normal")
    rows = found["groups"][0]["groups"]
    assert [row["lower"] for row in rows] == pytest.approx(expected["lower"].tolist())
    kinds = found["balance"]["interval"], found["lift"]["interval"], found["groups"][0]["intervals"]["kind"]
    assert kinds == ("normal",) * 3
    low = [row["lower"] / row["actual_to_expected"] for row in found["change"]["double_lift"]]
    assert max(low) < 0.95


def test_change_by_group_is_premium_change_by_group(data, book, prediction):
    table = premium_change_by_group(
        prediction, book.fair_rate, book.sensitive_features, sample_weight=book.exposure, bins={"age": AGE_EDGES}
    )
    found = data["change"]["by_intersection"]
    np.testing.assert_allclose([row["change"] for row in found], table["change"])
    np.testing.assert_allclose([row["share_up"] for row in found], table["share_up"])
    assert len(found) == section_of(data, "gender", "region", "age")["n_groups"]
    whole = data["change"]["by_attribute"][0]
    total = book.exposure @ prediction / (book.exposure @ book.fair_rate) - 1
    assert whole["change"] == pytest.approx(total)


def test_before_and_after(data, book, prediction):
    entry = data["change"]["measures"][-1]
    options = {"sensitive_features": book.sensitive_features, "sample_weight": book.exposure, "normalize": True}
    assert entry["before"]["ccdcov_normalized"] == pytest.approx(ccdcov(None, book.fair_rate, **options))
    assert entry["after"]["ccdcov_normalized"] == pytest.approx(ccdcov(None, prediction, **options))
    assert entry["after"]["js_divergence"] == data["groups"][-1]["measures"]["js_divergence"]["value"]
    # The baseline is the fair rate.
    assert entry["before"]["demographic_parity_gap"] < entry["after"]["demographic_parity_gap"]
    assert data["change"]["before"]["deviance"] > data["change"]["after"]["deviance"]


def test_bins_of_age(data, book, prediction):
    found = [entry for entry in data["binning"] if entry["attributes"] == ["age"]]
    assert [entry["bins"] for entry in found] == [
        "bins of this audit",
        *(f"{k} quantile groups" for k in (3, 5, 10, 20)),
    ]
    for entry, bins in zip(found, (AGE_EDGES, 3, 5, 10, 20), strict=True):
        value = js_divergence(
            None,
            prediction,
            sensitive_features=book.sensitive_features[["age"]],
            sample_weight=book.exposure,
            bins={"age": bins},
            bandwidth=data["settings"]["bandwidth"],
        )
        assert entry["js_divergence"] == pytest.approx(value)
        assert entry["n_compared"] == (3 if bins is AGE_EDGES else bins)
