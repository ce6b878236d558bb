"""The pieces of the frontier benchmark run on a few hundred rows and measure what they say."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_poisson_deviance

from fairdcov.metrics import js_divergence


@pytest.fixture(scope="module")
def frontier(script):
    """The module benchmarks/frontier.py."""
    pytest.importorskip("lightgbm")
    return script("frontier")


@pytest.fixture(scope="module")
def candidates(script):
    """The module benchmarks/candidates.py."""
    return script("candidates")


@pytest.fixture
def policy_task(frontier, script, book, monkeypatch):
    """A claim frequency."""
    monkeypatch.setattr(script("comparison"), "fetch_pg15training", lambda: book)
    return frontier.load_task("pg15training")


@pytest.fixture
def binary_task(frontier, script, defendants, monkeypatch):
    """A probability, with age in years among the protected attributes."""
    monkeypatch.setattr(script("comparison"), "fetch_compas", lambda: defendants)
    return frontier.load_task("compas")


def tiny(frontier, **changes):
    """Settings that take a moment."""
    settings = {
        "strengths": (0, 30),
        "few_strengths": (0, 30),
        "published_form": (1200,),
        "published_form_binary": (50,),
        "boosting_strengths": (0, 30),
        "network_strengths": (0, 30),
        "n_estimators": 10,
        "n_penalised_rounds": 10,
        "epochs": 2,
        "n_resamples": 5,
    }
    return frontier.Settings(**settings | changes)


@pytest.fixture
def few_forms(candidates, monkeypatch):
    """Three forms stand for all."""
    everything = candidates.all_forms
    wanted = ("CCdCov", "JdCov, age in groups", "CCdCov, published form")
    monkeypatch.setattr(
        candidates,
        "all_forms",
        lambda *arguments: (form for form in everything(*arguments) if form.name in wanted),
    )


def test_every_measure_and_form_is_there_once(candidates, policy_task, binary_task):
    for task in (policy_task, binary_task):
        everything = list(candidates.all_forms(task, (0, 1), candidates.Settings()))
        names = [form.name for form in everything]
        assert len(names) == len(set(names))
        assert {type(form.penalty).__name__ for form in everything} == {"CCDCovPenalty", "JDCovPenalty", "DCovPenalty"}
        for form in everything:
            assert form.penalty.normalize == ("published form" not in form.name)
            assert (form.penalty.scale == "total") == (
                not task.binary and ("published" in form.name or "counts" in form.name)
            )
        aware = [form.name for form in candidates.forms(task, (0, 1), candidates.Settings(), aware=True)]
        assert set(aware) < set(names)


def test_parts_of_the_task_do_not_overlap(policy_task, binary_task):
    for task in (policy_task, binary_task):
        assert not set(task.fit.features.index) & set(task.held.features.index)
        assert not set(task.base.features.index) & set(task.calibration.features.index)
        assert sorted([*task.base.features.index, *task.calibration.features.index]) == sorted(task.fit.features.index)


def test_deviances_are_scikit_learns(frontier, policy_task, binary_task, rng):
    rate = rng.gamma(2.0, 0.2, len(policy_task.held.target))
    claims = policy_task.held.claims
    expected = mean_poisson_deviance(claims, rate * policy_task.held.exposure)
    assert frontier.deviances(policy_task, rate).mean() == pytest.approx(expected)
    assert frontier.measure(policy_task, rate)["deviance"] == pytest.approx(expected)

    probability = rng.uniform(0.1, 0.9, len(binary_task.held.target))
    expected = 2 * log_loss(binary_task.held.target, probability)
    assert frontier.measure(binary_task, probability)["deviance"] == pytest.approx(expected)


def test_resamples_are_repeated_rows(frontier, policy_task, binary_task, rng):
    for task in (policy_task, binary_task):
        prediction = rng.uniform(0.1, 0.9, len(task.held.target))
        resamples = frontier.Resamples(task, 3, 0)
        drawn = resamples.draws(prediction)
        for multiplicity, deviance, divergence in zip(
            resamples.multiplicities, drawn["deviance"], drawn["JSD"], strict=True
        ):
            rows = np.repeat(np.arange(len(prediction)), multiplicity)
            assert deviance == pytest.approx(frontier.deviances(task, prediction)[rows].mean())
            rows = rows[resamples.large_enough[rows]]
            expected = js_divergence(
                None,
                (prediction * task.held.exposure)[rows],
                sensitive_features=frontier.levels(task, task.held.protected).iloc[rows],
                bandwidth=0.15,
                n_points=1000,
            )
            assert divergence == pytest.approx(expected)


def test_interval_lies_around_the_estimate(frontier, rng):
    draws = 3.0 + rng.normal(size=4_000)
    low, high = frontier.interval(draws, 1.0)
    assert (low, high) == pytest.approx((1 - 1.96, 1 + 1.96), abs=0.15)


def test_a_row_beats_a_published_one_only_in_all_six_columns(frontier):
    published = frontier.PUBLISHED_TEST["CCdCov", 40]
    row = {column: 0.99 * value for column, value in published.items()}
    beaten = "CCdCov, λ = 40"
    assert beaten in frontier.published_beaten(row)
    assert "JdCov, λ = 30" not in frontier.published_beaten(row)
    for column in published:
        assert beaten not in frontier.published_beaten(row | {column: 1.01 * published[column]})


def test_matches_are_at_most_as_divergent(frontier):
    def row(family, aware, deviance, jsd):
        return {"family": family, "aware": aware, "deviance": deviance, "JSD": jsd}

    rows = {
        "reference": row("EquiPy", True, 0.50, 0.010),
        "fair": row("GLM", False, 0.52, 0.009),
        "fairer": row("GLM", False, 0.53, 0.001),
        "accurate": row("GLM", False, 0.40, 0.011),
        "aware": row("LightGBM", True, 0.49, 0.010),
    }
    draws = {
        name: {column: value[column] + np.linspace(-0.1, 0.1, 9) for column in ("deviance", "JSD")}
        for name, value in rows.items()
    }
    matches = dict(frontier.matched_to("reference", rows, draws))
    assert set(matches) == {"fair", "aware"}
    # The draws move together: the differences do not move.
    assert matches["fair"]["deviance"] == pytest.approx((0.02, 0.02, 0.02))


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
@pytest.mark.parametrize("binary", [False, True])
def test_own_models(frontier, few_forms, policy_task, binary_task, binary):
    task = binary_task if binary else policy_task
    settings = tiny(frontier)
    for source in (frontier.linear_candidates, frontier.boosted_candidates):
        rows = {candidate.label: candidate for candidate in source(task, settings)}
        n_held = len(task.held.target)
        assert all(candidate.prediction.shape == (n_held,) for candidate in rows.values())
        family = next(iter(rows.values())).family
        free, fair = rows[f"{family}, no penalty, 0"], rows[f"{family}, CCdCov, 30"]
        assert not free.aware
        assert rows[f"{family}, CCdCov, S in X, 30"].aware
        for column in ("CCdCov", "UF"):
            assert frontier.measure(task, fair.prediction)[column] < frontier.measure(task, free.prediction)[column]
        if not binary:
            short = rows[f"{family}, CCdCov, published form, 1200"]
            level = frontier.rebalanced(short)
            assert level.prediction == pytest.approx(short.prediction * short.balance)
            assert "rebalanced" in level.label


def test_the_discrimination_free_price_has_no_proxies(frontier, policy_task, binary_task):
    source, _ = frontier.SOURCES["discrimination-free"]
    assert list(source(binary_task, tiny(frontier))) == []
    (candidate,) = source(policy_task, tiny(frontier))
    model = frontier.discrimination_free_model(policy_task, tiny(frontier))
    estimates = model.best_estimates(frontier.frame_features(policy_task.held, False))
    assert not candidate.aware
    assert frontier.proxy_discrimination(candidate.prediction, estimates) < 1e-20
    row = frontier.measure(policy_task, candidate.prediction)
    assert all(np.isfinite(value) for value in row.values())


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    ("name", "aware"),
    [("MLP", False), ("EquiPy", True), ("CorrelationRemover", True), ("fairlearn adversarial", False)],
)
@pytest.mark.filterwarnings("ignore:.*was still getting better when it stopped")
@pytest.mark.filterwarnings("ignore:One of your sample data contains a single value:UserWarning")
# LightGBM 4.6 names the columns of arrays, and misses the names when it predicts.
@pytest.mark.filterwarnings("ignore:X does not have valid feature names, but LGBM:UserWarning")
def test_models_of_other_packages(frontier, policy_task, binary_task, binary, name, aware):
    source, packages = frontier.SOURCES[name]
    for package in packages:
        pytest.importorskip(package)
    task = binary_task if binary else policy_task
    candidates = list(source(task, tiny(frontier)))
    assert candidates
    for candidate in candidates:
        assert candidate.family == name
        assert candidate.aware == aware
        row = frontier.measure(task, candidate.prediction)
        assert all(np.isfinite(value) for value in row.values())
    assert len({candidate.label for candidate in candidates}) >= len(candidates) - 2  # strength 0 of each path


def test_missing_packages_are_named(frontier, policy_task, monkeypatch):
    monkeypatch.setattr(frontier, "SOURCES", {"other": (None, ("a_package_that_is_not_there",))})
    said = []
    assert list(frontier.all_candidates(policy_task, tiny(frontier), said.append)) == []
    assert said == ["other left out: a_package_that_is_not_there not installed"]


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
def test_tables_and_pictures(frontier, candidates, few_forms, policy_task, binary_task, monkeypatch, capsys, tmp_path):
    pytest.importorskip("matplotlib")

    def other(task, settings):
        """A competitor whose divergence is large."""
        prediction = np.where(task.held.protected.iloc[:, 0] == task.held.protected.iloc[0, 0], 0.1, 0.9)
        yield candidates.Candidate("EquiPy", "made up", None, True, prediction)

    monkeypatch.setattr(
        frontier, "SOURCES", {name: frontier.SOURCES[name] for name in ("constant", "GLM")} | {"EquiPy": (other, ())}
    )
    for task in (policy_task, binary_task):
        rows, draws = frontier.run(task, tiny(frontier), 0)
        frontier.print_rows(task, rows)
        frontier.print_matches(rows, draws)
        printed = capsys.readouterr().out
        assert "nan" not in printed
        assert printed.count("published: no penalty") == (0 if task.binary else 1)
        assert "own, lowest deviance" in printed
        file = tmp_path / f"{task.name}.png"
        frontier.draw(task, rows, file)
        assert file.stat().st_size > 10_000
