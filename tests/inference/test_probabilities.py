"""Permutation tests of attributes that are known as probabilities."""

import numpy as np
import pandas as pd
import pytest

from fairdcov import SensitiveEncoder, independence_test

ENCODER = SensitiveEncoder(probabilities={"race": ["p_a", "p_b", "p_c"]})


@pytest.fixture
def people(rng):
    return pd.DataFrame(rng.dirichlet([1, 1, 1], 300), columns=["p_a", "p_b", "p_c"])


@pytest.mark.parametrize("weighted", [False, True])
def test_finds_dependence_on_what_the_probabilities_say(people, weighted, rng):
    weights = rng.uniform(0.5, 1, 300) if weighted else None
    options = {"sample_weight": weights, "encoder": ENCODER, "n_permutations": 199, "random_state": 0}
    dependent = independence_test(people["p_a"] + 0.2 * rng.normal(size=300), people, **options)
    assert dependent.p_value == 1 / 200
    assert dependent.statistic_type == "v"
    assert dependent.method == "memberships"
    assert dependent.attributes == ("race",)
    p_values = [independence_test(rng.normal(size=300), people, **options).p_value for _ in range(20)]
    assert 0.2 < np.mean(p_values) < 0.8


def test_what_is_not_defined(people, rng):
    u = rng.normal(size=300)
    with pytest.raises(ValueError, match="test='chi2' is not defined for attributes known as probabilities"):
        independence_test(u, people, encoder=ENCODER, test="chi2")
    people["gender"] = rng.choice(["f", "m"], 300)
    with pytest.raises(TypeError, match="are probabilities: a row has a share in several profiles"):
        independence_test(u, people, encoder=ENCODER, measure="jdcov", hypothesis="mutual", n_permutations=9)
