import pickle

import numpy as np
import pytest
from sklearn.base import clone

from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.metrics import best_score_below, fairest_within, lowest_divergence_within


def results(score, divergence, **extra):
    return {
        "mean_test_score": np.array(score, float),
        "mean_test_divergence": -np.array(divergence, float),
        "params": [{"strength": k} for k in range(len(score))],
        **extra,
    }


PATH = results([-1.0, -1.004, -1.02, -1.2], [0.3, 0.2, 0.1, 0.0])


@pytest.mark.parametrize(("tolerance", "index"), [(0.0, 0), (0.003, 0), (0.005, 1), (0.02, 2), (0.05, 2), (0.5, 3)])
def test_lowest_divergence_within(tolerance, index):
    found = lowest_divergence_within(tolerance)(PATH)
    assert found == index
    assert isinstance(found, int)


@pytest.mark.parametrize(("limit", "index"), [(1.0, 0), (0.3, 0), (0.29, 1), (0.1, 2), (0.05, 3), (0.0, 3)])
def test_best_score_below(limit, index):
    assert best_score_below(limit)(PATH) == index


def test_tolerance_of_a_positive_score():
    table = results([0.5, 0.48, 0.3], [0.3, 0.2, 0.1])
    assert lowest_divergence_within(0.05)(table) == 1
    assert lowest_divergence_within(0.03)(table) == 0


def test_one_standard_error():
    folds = np.array([[-0.9, -1.0, -1.1], [-1.0, -1.05, -1.1], [-1.4, -1.4, -1.4]])
    table = results(folds.mean(axis=1), [0.3, 0.2, 0.1], std_test_score=folds.std(axis=1))
    table |= {f"split{k}_test_score": folds[:, k] for k in range(3)}
    assert folds[0].std(ddof=1) / np.sqrt(3) == pytest.approx(0.0577, abs=1e-4)
    assert lowest_divergence_within("standard_error")(table) == 1
    folds[1] -= 0.01
    table["mean_test_score"] = folds.mean(axis=1)
    assert lowest_divergence_within("standard_error")(table) == 0
    with pytest.raises(ValueError, match="at least two folds"):
        lowest_divergence_within("standard_error")(PATH)


def test_ties_go_to_the_other_measure_then_to_the_first():
    table = results([-1.0, -0.9, -0.9, -1.0], [0.1, 0.1, 0.1, 0.1])
    assert lowest_divergence_within(0.5)(table) == 1
    table = results([-1.0, -1.0, -1.0], [0.3, 0.2, 0.2])
    assert best_score_below(0.5)(table) == 1


def test_candidates_that_failed_do_not_take_part():
    table = results([np.nan, -1.0, -1.1], [0.0, 0.3, np.nan])
    assert lowest_divergence_within(0.5)(table) == 1
    assert best_score_below(0.5)(table) == 1
    failed = results([np.nan, -1.0], [0.1, np.nan])
    for rule in (lowest_divergence_within(0.5), best_score_below(0.5)):
        with pytest.raises(ValueError, match="no candidate has finite values of both 'score' and 'divergence'"):
            rule(failed)


def test_unmet_limit_says_the_best_value_reached():
    table = results([-1.0, -1.1], [0.3, 0.2])
    message = r"at most 0\.1: the lowest reached is 0\.2, by \{'strength': 1\} \(score -1\.1\)"
    with pytest.raises(ValueError, match=message):
        best_score_below(0.1)(table)
    with pytest.warns(SensitiveFeaturesWarning, match=message):
        assert best_score_below(0.1, if_unmet="warn")(table) == 1


def test_other_names():
    table = {"mean_test_deviance": [-1.0, -1.01], "mean_test_js": [-0.3, -0.1], "params": [{}, {}]}
    assert lowest_divergence_within(0.05, score="deviance", divergence="js")(table) == 1
    assert best_score_below(0.2, score="deviance", divergence="js")(table) == 1
    with pytest.raises(ValueError, match=r"divergence='divergence' is not a key .*found \['deviance', 'js'\]"):
        lowest_divergence_within(score="deviance")(table)
    with pytest.raises(ValueError, match="score='score' is not a key"):
        best_score_below(0.1)(table)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: lowest_divergence_within(-0.1), ValueError, "score_tolerance"),
        (lambda: lowest_divergence_within("one"), ValueError, "score_tolerance must be one of 'standard_error'"),
        (lambda: lowest_divergence_within(None), TypeError, "score_tolerance"),
        (lambda: best_score_below(-1), ValueError, "max_divergence"),
        (lambda: best_score_below(0.1, if_unmet="ignore"), ValueError, "if_unmet must be one of 'raise', 'warn'"),
    ],
)
def test_wrong_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("rule", [lowest_divergence_within(0.005), best_score_below(0.2, if_unmet="warn")])
def test_pickle_clone_and_repr(rule):
    namespace = {"lowest_divergence_within": lowest_divergence_within, "best_score_below": best_score_below}
    for copy in (pickle.loads(pickle.dumps(rule)), clone(rule), eval(repr(rule), namespace)):
        assert repr(copy) == repr(rule)
        assert copy(PATH) == rule(PATH) == 1


def test_the_former_name_goes_on_working():
    with pytest.warns(FutureWarning, match="fairest_within is called lowest_divergence_within now"):
        rule = fairest_within(0.005)
    assert isinstance(rule, lowest_divergence_within)
    for copy in (rule, pickle.loads(pickle.dumps(rule)), clone(rule)):
        assert copy(PATH) == lowest_divergence_within(0.005)(PATH)
