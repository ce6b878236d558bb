"""The published figures are complete, and say which were not published."""

import pytest

from fairdcov.datasets import load_published_results


def test_every_figure_is_there_but_the_deviance_of_the_sweep():
    columns = ["RPS", "deviance", "CCdCov", "JdCov", "JSD", "UF"]
    test, sweep = load_published_results(), load_published_results("validation")
    assert list(test.columns) == list(sweep.columns) == columns
    assert test.index.names == sweep.index.names == ["measure", "strength"]
    assert test.notna().all(axis=None)
    assert sweep["deviance"].isna().all()
    assert sweep.drop(columns="deviance").notna().all(axis=None)
    assert test.index.is_unique
    assert sweep.index.is_unique
    assert test.loc[("JdCov", 30), "JSD"] == 1.504e-3


@pytest.mark.parametrize("measure", ["CCdCov", "JdCov"])
def test_dependence_falls_with_the_strength_and_the_score_pays(measure):
    sweep = load_published_results("validation").loc[measure]
    assert sweep.index.is_monotonic_increasing
    assert sweep[["CCdCov", "JdCov", "JSD", "UF"]].apply(lambda column: column.is_monotonic_decreasing).all()
    assert sweep["RPS"].is_monotonic_increasing


def test_other_samples_are_refused():
    with pytest.raises(ValueError, match="sample must be one of 'test', 'validation'; found 'train'"):
        load_published_results("train")


def test_every_call_has_a_table_of_its_own():
    mine = load_published_results()
    mine.loc[("none", 0), "RPS"] = 0.0
    assert load_published_results().loc[("none", 0), "RPS"] == 0.12248
