"""The example of imputed race: weights find the true differences, thresholds do not, and the penalty removes them."""

import pytest


@pytest.fixture(scope="module")
def compared(import_example):
    found = import_example("imputed_race").compare
    return {hidden: found(hidden, n=20_000, n_bootstrap=20) for hidden in (0.0, 0.5)}


def gap(table, way):
    return table.loc["b", way] / table.loc["a", way] - 1


def test_weights_are_right_and_thresholds_wrong(compared):
    means = compared[0.0][0]["unpenalised"]
    assert gap(means, "true") == pytest.approx(gap(means, "weighted"), abs=0.03)
    assert gap(means, "above 0.8 only") > 1.5 * gap(means, "true")
    assert gap(means, "likeliest level") > 1.15 * gap(means, "true")


def test_training_on_probabilities_removes_dependence_on_the_true_attribute(compared):
    reduction, (low, high) = compared[0.0][1]
    assert low <= reduction <= high
    assert low > 0.8


def test_what_no_probability_can_show_is_left(compared):
    means, (reduction, _) = compared[0.5]
    assert gap(means["penalised"], "true") > 3 * abs(gap(means["penalised"], "weighted"))
    assert 0.8 < reduction < compared[0.0][1][0]
