"""The pieces of the frontier benchmark run on a few hundred rows and measure what they say."""

import json

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
    held = policy_task.held
    rate = rng.gamma(2.0, 0.2, len(held.target))
    expected = mean_poisson_deviance(held.target, rate, sample_weight=held.exposure)
    assert frontier.measure(policy_task, rate)["deviance"] == pytest.approx(expected)

    probability = rng.uniform(0.1, 0.9, len(binary_task.held.target))
    expected = 2 * log_loss(binary_task.held.target, probability)
    assert frontier.measure(binary_task, probability)["deviance"] == pytest.approx(expected)


def test_divergences_are_weighted_and_net(frontier, policy_task, rng):
    rate, held = rng.gamma(2.0, 0.2, len(policy_task.held.target)), policy_task.held
    given = {"sensitive_features": held.protected, "sample_weight": held.exposure}
    row = frontier.measure(policy_task, rate)
    assert row["JSD"] == pytest.approx(js_divergence(None, rate, **given))
    assert row["net JSD"] == pytest.approx(js_divergence(None, rate, net=True, **given))
    # Rates that know nothing of the groups.
    assert abs(row["net JSD"]) < 0.5 * row["JSD"]


def test_paths_are_matched_between_two_strengths(frontier):
    points = [
        ({"UF": 0.4}, np.array([1.0, 2.0])),
        ({"UF": 0.2}, np.array([2.0, 6.0])),
        ({"UF": 0.3}, np.array([9.0, 9.0])),
    ]
    found, reached = frontier.at_measure(points, "UF", 0.25)
    assert reached
    assert found == pytest.approx([1.75, 5.0])
    # As fair before any strength; and not at all: its lowest, and it says so.
    assert frontier.at_measure(points, "UF", 0.5)[1]
    found, reached = frontier.at_measure(points, "UF", 0.1)
    assert not reached
    assert found == pytest.approx([2.0, 6.0])


def test_comparisons_are_paired(frontier, policy_task, rng):
    weights = policy_task.held.exposure / policy_task.held.exposure.sum()
    n = len(weights)
    measured = [dict.fromkeys(frontier.MEASURES, value) for value in (0.2, 0.1)]
    first, shift = rng.gamma(1.0, size=n), rng.normal(size=n)
    paths = {
        frontier.REFERENCE: [(1.0, dict.fromkeys(frontier.MEASURES, 0.15), first)],
        "own": [(0.0, measured[0], first + shift), (9.0, measured[1], first + 3 * shift)],
        "a single point": [(None, measured[0], first)],
    }
    rows = list(frontier.compare(policy_task, paths))
    assert {row["path"] for row in rows} == {"own"}
    assert [row["measure"] for row in rows] == list(frontier.MEASURES)
    mean = weights @ (2 * shift)
    assert rows[0]["difference"] == pytest.approx(mean)
    assert rows[0]["std_error"] == pytest.approx(np.sqrt((weights**2) @ (2 * shift - mean) ** 2))


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
def test_own_models(frontier, policy_task, few_forms, binary_task):
    sources = frontier.SOURCES | frontier.BINARY
    for source, task in (
        (frontier.glm_paths, policy_task),
        (frontier.boosted_paths, policy_task),
        (frontier.staged_paths, policy_task),
        (sources["GLM"][0], binary_task),
    ):
        rows = {candidate.label: candidate for candidate in source(task, tiny(frontier))}
        assert all(candidate.prediction.shape == (len(task.held.target),) for candidate in rows.values())
        by_path = {}
        for candidate in rows.values():
            by_path.setdefault(candidate.path, {})[candidate.strength] = candidate
        without = frontier.glm_paths, frontier.staged_paths
        assert any(candidate.aware for candidate in rows.values()) == (source not in without)
        for path in by_path.values():
            if {0.0, 30.0} <= set(path):
                free, fair = (frontier.measure(task, path[strength].prediction) for strength in (0.0, 30.0))
                assert fair["CCdCov"] < free["CCdCov"]


@pytest.mark.parametrize("name", ["barycentre", "discrimination-free"])
def test_reference_prices(frontier, policy_task, name):
    found = list(frontier.SOURCES[name][0](policy_task, tiny(frontier)))
    assert {candidate.aware for candidate in found} == ({True, False} if name == "barycentre" else {False})
    for candidate in found:
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
    source, packages = (frontier.SOURCES | frontier.OTHERS)[name]
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


def test_missing_packages_are_named(frontier, policy_task):
    said, sources = [], {"other": (None, ("a_package_that_is_not_there",))}
    assert list(frontier.all_candidates(policy_task, tiny(frontier), sources, said.append)) == []
    assert said == ["other left out: a_package_that_is_not_there not installed"]


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
def test_tables_and_pictures(frontier, candidates, policy_task, capsys, tmp_path):
    pytest.importorskip("matplotlib")

    def other(task, settings):
        """A competitor whose divergence is large, and smaller at its end."""
        men = task.held.protected.iloc[:, 0] == task.held.protected.iloc[0, 0]
        for strength, high in ((0.0, 0.9), (1.0, 0.4)):
            yield candidates.Candidate("EquiPy", "LightGBM with S", strength, True, np.where(men, 0.1, high))

    sources = {"constant": frontier.SOURCES["constant"], "GLM": frontier.SOURCES["GLM"], "EquiPy": (other, ())}
    split = frontier.run(policy_task, tiny(frontier), sources)
    assert {row["path"] for row in split["rows"]} >= {frontier.REFERENCE, "GLM, features", "GLM, UnawareFeatures"}
    splits = {"0": json.loads(json.dumps(split, allow_nan=False)), "1": split}
    frontier.show(splits)
    printed = capsys.readouterr().out
    assert "nan" not in printed
    assert "2 of 2" in printed
    frontier.draw(splits, tmp_path / "frontier.png")
    assert (tmp_path / "frontier.png").stat().st_size > 10_000


def test_some_models_are_added_to_what_is_stored(frontier):
    def row(path, value):
        return {"path": path, "strength": 1.0, "deviance": value}

    def comparison(path, value):
        return {"epsilon": 0.0, "path": path, "measure": "UF", "difference": value}

    stored = {"rows_fitted": 9, "rows": [row("a", 1), row("b", 2)], "comparisons": [comparison("b", 3)]}
    found = {"rows_fitted": 9, "rows": [row("b", 4), row("c", 5)], "comparisons": [comparison("c", 6)]}
    assert frontier.merged(stored, found) == {
        "rows_fitted": 9,
        "rows": [row("a", 1), row("b", 4), row("c", 5)],
        "comparisons": [comparison("b", 3), comparison("c", 6)],
    }
    assert frontier.merged({}, found) == found
    parts = frontier.parts_of_source("EquiPy", frontier.Settings(epsilons=(0.0, 0.5)))
    assert [part.epsilons for part in parts] == [(0.0,), (0.5,)]


def test_what_is_stored_is_read_again(frontier, tmp_path):
    rows = [{"path": "a", "strength": value, "charged": [0.5, 2.0]} for value in (1.0, np.inf, None)]
    stored = {"compas": {"0": {"rows_fitted": 9, "rows": rows, "comparisons": []}}}
    file = tmp_path / "frontier.json"
    file.write_text(frontier.a_line_each(stored), encoding="utf-8")
    assert frontier.stored_frontier(file) == stored
    assert file.read_text(encoding="utf-8").count("charged") == 1


def test_rows_to_predict_are_distinct(script, policy_task):
    X = policy_task.held.features
    more = script("unaware").distinct_rows(X, 3 * len(X))
    assert len(more) == 3 * len(X)
    numbers = more.select_dtypes("number")
    assert not more[(numbers != 0).any(axis=1).to_numpy()].duplicated().any()
    assert list(more.dtypes) == list(X.dtypes)
