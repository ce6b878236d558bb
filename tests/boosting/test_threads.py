"""Threads of the learners: no more than have something to do, unless the user says how many."""

import numpy as np
import pytest
import scipy.sparse as sp

from fairdcov._checks import resolve_n_threads
from fairdcov.boosting import DCovLGBMRegressor
from fairdcov.boosting._problem import threads_for


def test_small_data_is_for_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert threads_for(None, np.zeros((1_000, 10))) == 1
    assert threads_for(None, np.zeros((35_000, 10))) == 3
    assert threads_for(None, np.zeros((1_000, 5_000))) == 8
    assert threads_for(None, sp.csr_array((1_000, 5_000))) == 1


@pytest.mark.parametrize("n_jobs", [1, 2, -1])
def test_who_says_how_many_gets_them(n_jobs):
    assert threads_for(n_jobs, np.zeros((1_000, 10))) == resolve_n_threads(n_jobs)


def test_the_learner_trains_with_them(rng, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    X = rng.normal(size=(300, 2))
    few = {"strength": 0, "n_estimators": 2}
    for n_jobs, expected in ((None, 1), (2, 2)):
        model = DCovLGBMRegressor(n_jobs=n_jobs, **few).fit(X, X[:, 0])
        assert f"[num_threads: {expected}]" in model.booster_.model_to_string()
