"""Independence within strata: exact whatever happens between them, with an effect size of its own."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.inference import independence_test
from fairdcov.metrics import ccdcov

MEASURES = ("ccdcov", "dcov", "jdcov")


@pytest.fixture
def book(rng):
    n = 400
    cover = rng.choice(["basic", "full", "plus"], n)
    gender = np.where(rng.uniform(size=n) < np.where(cover == "plus", 0.8, 0.3), "f", "m")
    people = pd.DataFrame({"gender": gender, "region": rng.choice(["n", "s"], n)})
    u = rng.gamma(2.0, size=n) + 3 * (cover == "plus")
    return u, people, pd.Series(cover, name="cover")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("measure", MEASURES)
def test_dependence_through_the_strata_alone_is_none(rng, book, measure, weighted):
    u, people, cover = book
    weights = {"sample_weight": rng.uniform(0.5, 2.0, len(u))} if weighted else {}
    options = {"measure": measure, "n_permutations": 199, **weights}
    assert independence_test(u, people, **options).p_value < 0.01
    result = independence_test(u, people, control_features=cover, **options)
    assert result.p_value > 0.005
    assert (result.control_features, result.n_strata) == (("cover",), 3)
    assert "given cover, 3 strata" in str(result)
    assert result.to_dict()["control_features"] == ["cover"]
    dependent = independence_test(u + 1.5 * (people["gender"] == "f"), people, control_features=cover, **options)
    assert dependent.p_value < 0.01
    assert 0 <= result.effect_size < dependent.effect_size < 1


def test_level_within_strata(rng):
    """Share of rejections at 10 % where the hypothesis is true and the strata differ in everything."""
    rejected = 0
    for _ in range(200):
        stratum = np.repeat([0, 1, 2], [10, 15, 25])
        group = rng.uniform(size=50) < np.array([0.2, 0.5, 0.8])[stratum]
        group[[0, 10, 25]], group[[1, 11, 26]] = True, False
        u = rng.normal(size=50) * (1 + stratum) + 5 * stratum
        rejected += (
            independence_test(u, group, control_features=stratum, n_permutations=19, random_state=1).p_value <= 0.1
        )
    assert rejected <= 0.1 * 200 + 3 * np.sqrt(200 * 0.09)
    assert rejected >= 0.1 * 200 - 3 * np.sqrt(200 * 0.09)


@pytest.mark.parametrize("measure", MEASURES)
def test_effect_size_is_a_cosine(rng, measure):
    """A prediction whose distances within each stratum are those of the attribute."""
    stratum = rng.integers(0, 4, 300)
    group = rng.integers(0, 2, 300)
    result = independence_test(
        group + 10.0 * stratum, group, measure=measure, control_features=stratum, n_permutations=9
    )
    assert_allclose(result.effect_size, 1.0, rtol=1e-9)
    # Strata in which the attribute does not vary say nothing.
    group[stratum == 3] = 1
    with pytest.warns(SensitiveFeaturesWarning, match="1 of 4 strata"):
        result = independence_test(
            group + 10.0 * stratum, group, measure=measure, control_features=stratum, n_permutations=9
        )
    assert_allclose(result.effect_size, 1.0, rtol=1e-9)


def test_statistic_is_the_metric(book):
    u, people, cover = book
    result = independence_test(u, people, control_features=cover, n_permutations=9)
    expected = ccdcov(None, u, sensitive_features=people, control_features=cover, statistic="u")
    assert_allclose(result.statistic, expected, rtol=1e-10)


@pytest.mark.parametrize("hypothesis", ["prediction", "mutual"])
def test_one_stratum_changes_nothing(book, hypothesis):
    u, people, _ = book
    options = {"measure": "jdcov", "hypothesis": hypothesis, "n_permutations": 19}
    plain = independence_test(u, people, **options)
    within = independence_test(u, people, control_features=["all"] * len(u), **options)
    assert within.p_value == plain.p_value
    assert within.statistic == plain.statistic
    assert within.effect_size == plain.effect_size
    np.testing.assert_array_equal(within.null_distribution, plain.null_distribution)


def test_threads_do_not_matter(book):
    u, people, cover = book
    first, second = (
        independence_test(u, people, control_features=cover, n_permutations=50, n_threads=threads) for threads in (1, 3)
    )
    np.testing.assert_array_equal(first.null_distribution, second.null_distribution)


def test_mutual_independence_within_strata(book):
    u, people, cover = book
    result = independence_test(
        u, people, measure="jdcov", hypothesis="mutual", control_features=cover, n_permutations=99
    )
    assert result.p_value > 0.005
    same = people.assign(region=np.where(people["gender"] == "f", "n", "s"))
    result = independence_test(u, same, measure="jdcov", hypothesis="mutual", control_features=cover, n_permutations=99)
    assert result.p_value == 0.01


def test_what_is_refused(book):
    u, people, cover = book
    with pytest.raises(ValueError, match="test='chi2' is not defined with control_features"):
        independence_test(u, people, test="chi2", control_features=cover)
    with pytest.raises(ValueError, match=r"\['gender'\] determine the protected attributes \['gender'\]"):  # noqa: SIM117
        with pytest.warns(SensitiveFeaturesWarning, match="has a level for each"):
            independence_test(u, people[["gender"]], control_features=people["gender"])
    with pytest.raises(ValueError, match="control_features must have as many rows as y_pred"):
        independence_test(u, people, control_features=cover[1:])
