"""The comparison with the published figures runs and measures what was published."""

import os

import numpy as np
import pandas as pd
import pytest
from scipy import stats

real_data = pytest.mark.skipif(not os.environ.get("FAIRDCOV_DATA"), reason="FAIRDCOV_DATA is not set")


@pytest.fixture(scope="module")
def paper(script):
    """The module benchmarks/paper.py."""
    return script("paper")


@pytest.fixture
def policies(script, rng):
    """A few made-up policies in four groups."""
    n = 120
    protected = pd.DataFrame(
        {"region": pd.Categorical(rng.choice(list("LMN"), n)), "gender": pd.Categorical(rng.choice(["f", "m"], n))}
    )
    exposure = rng.uniform(0.25, 1.0, n)
    claims = rng.poisson(0.4 * exposure).astype(float)
    return script("comparison").Rows(pd.DataFrame({"x": rng.normal(size=n)}), protected, claims, exposure)


def centred(distances):
    """U-centred distances."""
    n = len(distances)
    rows = distances.sum(axis=0) / (n - 2)
    matrix = distances - rows[:, None] - rows[None, :] + distances.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(matrix, 0.0)
    return -matrix


def test_columns_are_the_published_definitions(paper, policies, rng):
    rate = rng.gamma(2.0, 0.2, len(policies))
    row = paper.measure_counts(policies, rate)
    counts, n = rate * policies.exposure, len(policies)

    k = np.arange(11)
    steps = policies.claims[:, None] <= k
    assert row["RPS"] == pytest.approx(((stats.poisson.cdf(k, counts[:, None]) - steps) ** 2).sum(axis=1).mean())

    label = policies.protected.astype(str).agg("|".join, axis=1).to_numpy()
    means = pd.Series(counts).groupby(label).mean()
    assert row["UF"] == pytest.approx(means.var(ddof=1) / counts.var(ddof=1))

    grid = np.linspace(counts.min(), counts.max(), 1000)
    densities = np.array([stats.norm.pdf(grid[:, None], counts[label == g], 0.15).sum(axis=1) for g in means.index])
    densities /= densities.sum(axis=1, keepdims=True)
    shares = np.array([(label == g).mean() for g in means.index])
    entropy = [stats.entropy(p, base=2) for p in densities]
    assert row["JSD"] == pytest.approx(stats.entropy(shares @ densities, base=2) - shares @ entropy, rel=2e-3)

    region = np.sqrt(2.0) * (
        policies.protected["region"].to_numpy()[:, None] != policies.protected["region"].to_numpy()
    )
    gender = 1.0 * (policies.protected["gender"].to_numpy()[:, None] != policies.protected["gender"].to_numpy())
    u = centred(np.abs(counts[:, None] - counts))
    scale = n * (n - 3)
    assert row["CCdCov"] == pytest.approx((u * centred(np.hypot(region, gender))).sum() / scale)
    joint = ((u + 1) * (centred(region) + 1) * (centred(gender) + 1)).sum() / scale - n / (n - 3)
    assert row["JdCov"] == pytest.approx(joint)
    assert row["JdCov"] - row["JdCov net"] == pytest.approx((centred(region) * centred(gender)).sum() / scale)


def test_what_was_chosen_is_among_the_strengths(paper):
    assert paper.PUBLISHED_CHOICE == {"CCdCov": 40, "JdCov": 30}
    assert set(paper.PUBLISHED_CHOICE.values()) <= set(paper.PUBLISHED_STRENGTHS)
    assert set(paper.PUBLISHED_CHOICE) == set(paper.PENALTIES)


@pytest.mark.parametrize(
    ("own", "error", "published", "expected"),
    [(0.9, 0.01, 1.0, "better"), (1.1, 0.01, 1.0, "worse"), (1.01, 0.01, 1.0, "within"), (0.5, np.nan, 1.0, "one")],
)
def test_verdict_says_which_is_smaller(paper, own, error, published, expected):
    assert expected in paper.verdict(own, error, published)


@pytest.mark.real_data
@real_data
def test_reproduction_on_a_part_of_pg15training(paper, monkeypatch, capsys):
    pytest.importorskip("rdata")
    monkeypatch.setattr(paper, "PUBLISHED_STRENGTHS", (0, 10, 30, 40))
    monkeypatch.setattr(paper, "SCALE_FREE_STRENGTHS", (0, 3, 10))
    monkeypatch.setattr(
        paper, "PUBLISHED_VALIDATION", {key: row for key, row in paper.PUBLISHED_VALIDATION.items() if key[1] <= 40}
    )
    policies = paper.load_policies(10_000)
    train, validation, rest, test = paper.split_policies(policies, 0)
    assert (len(test), len(validation)) == (2_000, 2_400)
    assert len(train) + len(validation) == len(rest)
    assert test.claims.sum() / rest.claims.sum() == pytest.approx(0.25, abs=0.02)  # stratified on claims

    results = [paper.run_policies_seed(policies, seed) for seed in range(2)]
    for result in results:
        for part in ("test", "validation"):
            rows = result[part]
            free = [row for label, row in rows.items() if label.endswith("λ = 0")]
            penalised = [row for label, row in rows.items() if label.endswith(("= 30", "= 40"))]
            assert free
            assert penalised
            for row in penalised:
                # What was penalised falls on policies that were not fitted, and the score pays for it.
                assert row["CCdCov"] < 0.4 * free[0]["CCdCov"]
                assert row["JSD"] < free[0]["JSD"]
                assert row["deviance"] > free[0]["deviance"]
                # The term without predictions is the same for every model.
                assert row["JdCov"] - row["JdCov net"] == pytest.approx(free[0]["JdCov"] - free[0]["JdCov net"])

    paper.report_policies(results)
    printed = capsys.readouterr().out
    assert printed.count("published: λ = 0 |") == 1
    assert "nan" not in printed


@pytest.mark.real_data
@real_data
def test_compas_meets_the_divergence_asked_for(paper, monkeypatch, capsys):
    monkeypatch.setattr(paper, "COMPAS_STRENGTHS", (0, 4, 6, 10))
    monkeypatch.setattr(paper, "N_PERMUTATIONS", 20)
    result = paper.run_compas_seed(paper.load_defendants(), 0)
    rows = result["test"]
    free = rows["no penalty"]
    assert free["JSD sex × race × age"] > 2 * free["null sex × race × age"]
    for name in paper.PENALTIES:
        assert result["met"][f"{name}, threshold"]
        row = rows[f"{name}, threshold"]
        assert row["JSD sex × race × age"] < paper.COMPAS_MAX_DIVERGENCE
        assert row["Brier"] > free["Brier"]
        assert 0.55 < row["AUC"] < free["AUC"]
    paper.report_compas([result])
    assert "nan" not in capsys.readouterr().out
