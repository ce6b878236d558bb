"""Metrics of collections against those of the same rows in memory."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

from fairdcov import distributed, metrics  # noqa: E402


def collections(book, weighted=True):
    people = dd.from_pandas(book["people"], npartitions=3, sort=False)
    weight = da.from_array(book["weight"], chunks=700) if weighted else None
    return da.from_array(book["prediction"], chunks=801), {"sensitive_features": people, "sample_weight": weight}


def in_memory(book, weighted=True):
    return book["prediction"], {
        "sensitive_features": book["people"],
        "sample_weight": book["weight"] if weighted else None,
    }


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("name", ["dcov", "ccdcov", "jdcov"])
def test_dependence(book, name, normalize, weighted):
    prediction, given = collections(book, weighted)
    found = getattr(distributed, name)(None, prediction, normalize=normalize, **given)
    prediction, given = in_memory(book, weighted)
    assert_allclose(found, getattr(metrics, name)(None, prediction, normalize=normalize, **given), rtol=1e-4)


def test_the_error_falls_with_the_square_of_the_nodes(book):
    prediction, given = in_memory(book)
    exact = metrics.ccdcov(None, prediction, **given)
    prediction, given = collections(book)
    errors = [abs(distributed.ccdcov(None, prediction, n_nodes=n, **given) - exact) for n in (64, 256, 1024)]
    # Of rows with themselves there is a part that falls with the nodes alone.
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("options", [{}, {"bandwidth": "scott"}, {"bandwidth": 0.1, "group_weights": "equal"}])
def test_divergence(book, options, weighted):
    prediction, given = collections(book, weighted)
    given["sensitive_features"] = given["sensitive_features"][["gender", "region"]]
    found = distributed.js_divergence(None, prediction, **given, **options)
    prediction, given = in_memory(book, weighted)
    given["sensitive_features"] = given["sensitive_features"][["gender", "region"]]
    assert_allclose(found, metrics.js_divergence(None, prediction, **given, **options), rtol=2e-3)


def test_groups(book):
    prediction, given = collections(book)
    observed = da.from_array(book["y"], chunks=1000)
    table = distributed.group_summary(observed, prediction, bins={"age": [18, 24, 30]}, min_group_size=250, **given)
    gap = distributed.demographic_parity_gap(None, prediction, bins={"age": 2}, **given)
    distance = distributed.wasserstein_disparity(None, prediction, bins={"age": 2}, **given)
    prediction, given = in_memory(book)
    expected = metrics.group_summary(book["y"], prediction, bins={"age": [18, 24, 30]}, min_group_size=250, **given)
    pd.testing.assert_frame_equal(table, expected)
    assert expected["too_small"].any()
    assert_allclose(gap, metrics.demographic_parity_gap(None, prediction, bins={"age": 2}, **given), rtol=1e-9)
    assert_allclose(distance, metrics.wasserstein_disparity(None, prediction, bins={"age": 2}, **given), rtol=1e-3)


def test_rows_of_weight_zero_are_absent(book):
    # All of a partition, and a level of an attribute.
    book["weight"][:900] = 0.0
    book["people"].loc[:99, "gender"] = "unknown"
    prediction, given = collections(book)
    found = distributed.ccdcov(None, prediction, **given)
    table = distributed.group_summary(prediction, prediction, **given, bins=2)
    prediction, given = in_memory(book)
    assert_allclose(found, metrics.ccdcov(None, prediction, **given), rtol=1e-4)
    assert int(table["rows"].sum()) == 2_100


def test_constant_predictions(book):
    _, given = collections(book)
    constant = da.ones(3_000, chunks=500)
    assert distributed.ccdcov(None, constant, normalize=True, **given) == 0.0
    assert distributed.js_divergence(None, constant, bins=2, **given) == 0.0
    assert distributed.demographic_parity_gap(None, constant, bins=2, **given) == pytest.approx(0.0, abs=1e-12)


def test_bad_rows_are_named(book):
    book["prediction"][1_700] = np.nan
    prediction, given = collections(book)
    with pytest.raises(ValueError, match=r"^partition 2 \(rows 1602 to 2402\): y_pred"):
        distributed.ccdcov(None, prediction, **given)
    book["prediction"][1_700], book["weight"][0] = 1.0, -1.0
    prediction, given = collections(book)
    with pytest.raises(ValueError, match=r"^partition 0 \(rows 0 to 800\): sample_weight must not be negative"):
        distributed.ccdcov(None, prediction, **given)


def test_what_is_not_there(book):
    prediction, given = collections(book)
    with pytest.raises(ValueError, match="control_features are not there for Dask"):
        distributed.ccdcov(None, prediction, control_features=prediction, **given)
    given["sensitive_features"] = da.from_array(np.arange(120_000.0), chunks=50_000)
    with pytest.raises(ValueError, match="sensitive_features has 120,000 distinct rows, more than 100,000: cut"):
        distributed.ccdcov(None, da.ones(120_000, chunks=60_000), sensitive_features=given["sensitive_features"])


def test_a_sample_is_what_was_asked_for(book):
    _, given = collections(book)
    rows = da.arange(3_000, chunks=950)

    def seen(positions, *, people, extra):
        return positions, people, extra

    positions, people, extra = distributed.on_sample(
        seen, rows, people=given["sensitive_features"], extra="as it is", n_rows=100, random_state=3
    )
    assert extra == "as it is"
    assert len(np.unique(positions)) == 100
    assert (np.diff(positions) > 0).all()
    expected = book["people"].iloc[positions].reset_index(drop=True)
    pd.testing.assert_frame_equal(people, expected, check_dtype=False)
    again, *_ = distributed.on_sample(seen, rows, people=1, extra=1, n_rows=100, random_state=3)
    assert again.tolist() == positions.tolist()
    other, *_ = distributed.on_sample(seen, rows, people=1, extra=1, n_rows=100, random_state=4)
    assert other.tolist() != positions.tolist()
    everything, *_ = distributed.on_sample(seen, rows, people=1, extra=1)
    assert everything.tolist() == list(range(3_000))


def test_samples_that_do_not_fit(book):
    prediction, _ = collections(book)
    with pytest.raises(ValueError, match=r"3,000 rows of .* take about .* pass fewer columns, or n_rows=\d+"):
        distributed.on_sample(len, prediction, max_gigabytes=1e-6)
    with pytest.raises(TypeError, match="at least one Dask collection"):
        distributed.on_sample(len, [1.0])


def test_tests_and_audits_on_a_sample(book):
    from fairdcov.inference import independence_test
    from fairdcov.report import audit

    prediction, given = collections(book)
    people = given["sensitive_features"][["gender"]]
    result = distributed.on_sample(independence_test, prediction, people, n_rows=500, n_permutations=99)
    assert 0 < result.p_value < 0.05
    observed = da.from_array(book["y"], chunks=1000)
    report = distributed.on_sample(
        audit, observed, prediction, people, n_rows=600, n_permutations=9, n_bootstrap=9, verbose=0
    )
    assert "gender" in report.to_markdown()
