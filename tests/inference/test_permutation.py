"""Permuted values and norms against the definitions, for every method, statistic and kind of permutation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fairdcov._kernels import _reference
from fairdcov.dependence import PermutableDependence, bind_dependence
from fairdcov.encoding._blocks import SensitiveBlocks

REFERENCES = {
    "dcov": _reference.distance_covariance,
    "ccdcov": _reference.concatenated_distance_covariance,
    "jdcov": _reference.joint_distance_covariance,
}


class Recorder:
    """A generator that keeps what it has handed out."""

    def __init__(self, seed):
        self._generator = np.random.default_rng(seed)
        self.lines = []

    def permuted(self, values, axis=None):
        result = self._generator.permuted(values, axis=axis)
        self.lines.extend(np.atleast_2d(result).copy())
        return result


def attributes(rng, n, kind):
    gender = rng.integers(0, 2, (n, 1)).astype(float)
    region = np.eye(3)[rng.integers(0, 3, n)]
    age = rng.normal(size=(n, 1))
    return {"one": [gender], "few": [gender, region], "continuous": [age], "many": [gender, age, region]}[kind]


def definition(measure, u, arrays, statistic, weights=None, c=1.0):
    probabilities = None if weights is None else weights / weights.sum()
    options = {"c": c} if measure == "jdcov" else {}
    return REFERENCES[measure](u, *arrays, statistic=statistic, probabilities=probabilities, **options)


def constant(measure, arrays, statistic, weights=None, c=1.0):
    """What JdCov is for a prediction that is constant: the terms of the attributes alone."""
    if measure != "jdcov":
        return 0.0
    return definition(measure, np.zeros(len(arrays[0])), arrays, statistic, weights, c)


CASES = [
    ("few", "profiles"),
    ("few", "tiles"),
    ("one", "univariate"),
    ("one", "auto"),
    ("continuous", "univariate"),
    ("continuous", "tiles"),
    ("many", "tiles"),
    ("many", "profiles"),
]


@pytest.mark.parametrize("statistic", ["u", "v"])
@pytest.mark.parametrize("measure", ["ccdcov", "dcov", "jdcov"])
@pytest.mark.parametrize(("kind", "method"), CASES)
def test_permuted_values_are_the_measure_of_permuted_rows(kind, method, measure, statistic, rng):
    n = 23
    u, arrays = rng.integers(0, 15, n) / 7, attributes(rng, n, kind)
    blocks = SensitiveBlocks.from_arrays(arrays)
    sample = PermutableDependence(u, blocks, measure, statistic=statistic, method=method, c=0.7, n_threads=1)
    net = constant(measure, arrays, statistic, c=0.7)
    expected = definition(measure, u, arrays, statistic, c=0.7) - net
    assert_allclose(sample.value(), expected, rtol=1e-10, atol=1e-13)
    recorder = Recorder(3)
    values = sample.permuted_values(5, recorder)
    assert values.shape == (5,) == (len(recorder.lines),)
    for value, line in zip(values, recorder.lines, strict=True):
        # Lines are in the order of the predictions; profiles are permuted themselves, other methods permute rows.
        own_profiles = "profiles" in sample.form.method
        rows = _first_rows(blocks.codes)[line] if own_profiles else line
        moved = [array[rows] for array in arrays]
        assert_allclose(value, definition(measure, np.sort(u), moved, statistic, c=0.7) - net, rtol=1e-10, atol=1e-13)
    assert np.unique(values.round(12)).size > 1


def _first_rows(codes):
    """A row of each profile."""
    return np.array([np.flatnonzero(codes == code)[0] for code in range(codes.max() + 1)])


@pytest.mark.parametrize("measure", ["ccdcov", "dcov", "jdcov"])
@pytest.mark.parametrize(("kind", "method"), CASES)
def test_weights_stay_with_their_predictions(kind, method, measure, rng):
    n = 23
    u, weights, arrays = rng.normal(size=n), rng.exponential(size=n), attributes(rng, n, kind)
    blocks = SensitiveBlocks.from_arrays(arrays)
    sample = PermutableDependence(u, blocks, measure, sample_weight=weights, method=method, n_threads=1)
    recorder = Recorder(5)
    values = sample.permuted_values(4, recorder)
    for value, codes in zip(values, recorder.lines, strict=True):
        moved = [points[codes] for points in blocks.points]
        expected = definition(measure, u, moved, "v", weights) - constant(measure, moved, "v", weights)
        assert_allclose(value, expected, rtol=1e-10, atol=1e-13)
    expected = definition(measure, u, arrays, "v", weights) - constant(measure, arrays, "v", weights)
    assert_allclose(sample.value(), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("kind", "n_levels"), [("few", 2), ("many", 2), ("few", 40)])
def test_mutual_permutes_every_block_on_its_own(kind, n_levels, weighted, rng):
    """Over all combinations of few levels, and where their product is too large to keep."""
    n = 61
    u, weights = rng.normal(size=n), rng.exponential(size=n) if weighted else None
    arrays = attributes(rng, n, kind)
    if n_levels > 2:
        arrays = [rng.integers(0, n_levels, (n, 1)) / 7.0, rng.integers(0, n_levels, (n, 1)) / 5.0]
    blocks = SensitiveBlocks.from_arrays(arrays)
    statistic = "v" if weighted else "u"
    options = {"statistic": statistic, "sample_weight": weights, "c": 0.7, "n_threads": 1}
    sample = PermutableDependence(u, blocks, "jdcov", mutual=True, **options)
    expected = definition("jdcov", u, arrays, statistic, weights, c=0.7)
    assert_allclose(sample.value(), expected, rtol=1e-10, atol=1e-13)
    recorder = Recorder(1)
    values = sample.permuted_values(3, recorder)
    singles = [blocks.single(b) for b in range(len(arrays))]
    assert len(recorder.lines) == 3 * len(arrays)
    for value, lines in zip(values, np.split(np.array(recorder.lines), 3), strict=True):
        moved = [single.points[0][codes] for single, codes in zip(singles, lines, strict=True)]
        assert_allclose(value, definition("jdcov", u, moved, statistic, weights, c=0.7), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("measure", ["ccdcov", "jdcov"])
@pytest.mark.parametrize("weighted", [False, True])
def test_features_without_error_give_the_exact_values(measure, weighted, rng):
    """As many features as profiles: the approximation is exact, permuted and weighted as well."""
    n = 40
    u, weights = rng.normal(size=n), rng.exponential(size=n) if weighted else None
    blocks = SensitiveBlocks.from_arrays(attributes(rng, n, "many"))
    statistic = "v" if weighted else "u"
    options = {"statistic": statistic, "sample_weight": weights, "n_threads": 1}
    exact, approximate = (
        PermutableDependence(u, blocks, measure, method=method, **options) for method in ("tiles", "approximate")
    )
    assert "approximate" in approximate.form.method
    assert_allclose(approximate.value(), exact.value(), rtol=1e-8)
    found, expected = (sample.permuted_values(6, np.random.default_rng(2)) for sample in (approximate, exact))
    assert_allclose(found, expected, rtol=1e-7)


def test_permuting_reaches_the_same_statistic_whatever_the_pairing(rng):
    """A statistic of the permuted data must not remember the pairing that was observed: the level hangs on it."""
    n = 400  # more profiles than features
    u, weights = rng.normal(size=n), rng.exponential(size=n)
    blocks = SensitiveBlocks.from_arrays(attributes(rng, n, "many"))
    rows = rng.permutation(n)
    moved = SensitiveBlocks(blocks.codes[rows], blocks.points, blocks.names)
    for method in ("approximate", "tiles"):
        sample = PermutableDependence(u, blocks, "ccdcov", sample_weight=weights, method=method, n_threads=1)
        other = PermutableDependence(u, moved, "ccdcov", sample_weight=weights, method=method, n_threads=1)
        assert_allclose(sample.value_of(sample._bind(moved)), other.value(), rtol=1e-12)


def test_many_permutations_of_many_rows_take_the_approximation(rng):
    u, arrays = rng.normal(size=700), attributes(rng, 700, "many")
    blocks = SensitiveBlocks.from_arrays(arrays)

    def method(**options):
        return PermutableDependence(u, blocks, "ccdcov", n_threads=1, **options).form.method

    assert method(n_permutations=10_000) == "tiles"
    assert method(n_permutations=100_000) == "approximate"
    assert method(n_permutations=100_000, method="tiles") == "tiles"
    assert method(n_permutations=100_000, sample_weight=rng.exponential(size=700)) == "approximate"


NORMS = [
    ("few", "profiles"),
    ("few", "tiles"),
    ("continuous", "univariate"),
    ("continuous", "tiles"),
    ("many", "tiles"),
]


@pytest.mark.parametrize("weighting", ["u", "v", "weighted"])
@pytest.mark.parametrize("measure", ["ccdcov", "jdcov"])
@pytest.mark.parametrize(("kind", "method"), NORMS)
def test_norm_is_the_length_of_the_centred_matrix(kind, method, measure, weighting, rng):
    n = 31
    arrays = attributes(rng, n, kind)
    weights = rng.exponential(size=n) if weighting == "weighted" else np.ones(n)
    statistic, p = "u" if weighting == "u" else "v", weights / weights.sum()
    form = bind_dependence(
        SensitiveBlocks.from_arrays(arrays),
        measure,
        statistic=statistic,
        sample_weight=weights if weighting == "weighted" else None,
        method=method,
        c=0.7,
        n_threads=1,
    )
    if measure == "ccdcov":
        centred = _reference.centred(np.hstack(arrays), statistic, p)
    else:
        centred = _centre(np.prod([_reference.centred(array, statistic, p) + 0.7 for array in arrays], axis=0), p, n)
        if statistic == "u":
            centred = _centre_u(np.prod([_reference.u_centred(array) + 0.7 for array in arrays], axis=0))
    expected = np.sqrt(_reference.mean_product(centred**2, statistic, p))
    assert_allclose(form.norm(), expected, rtol=1e-6 if method == "approximate" else 1e-9)


def _centre(matrix, p, n):
    project = np.eye(n) - np.outer(np.ones(n), p)
    return project @ matrix @ project.T


def _centre_u(matrix):
    n = len(matrix)
    matrix = matrix - np.diag(np.diag(matrix))
    rows = matrix.sum(axis=1) / (n - 2)
    centred = matrix - rows[:, None] - rows[None, :] + matrix.sum() / ((n - 1) * (n - 2))
    return centred - np.diag(np.diag(centred))


@pytest.mark.parametrize("statistic", ["u", "v"])
def test_norm_of_a_covariance_is_the_distance_deviation_of_dcor(statistic, rng, dcor):
    z = np.hstack(attributes(rng, 80, "many"))
    oracle = dcor.u_distance_covariance_sqr if statistic == "u" else dcor.distance_covariance_sqr
    for method in ("profiles", "tiles"):
        form = bind_dependence(SensitiveBlocks.from_arrays([z]), "ccdcov", statistic=statistic, method=method)
        assert_allclose(form.norm() ** 2, oracle(z, z), rtol=1e-10)


def test_norm_of_several_summed_forms(rng, dcor):
    """The sum over attributes: the norms add up, whatever methods they take."""
    arrays = [rng.normal(size=(600, 1)), rng.normal(size=(600, 1))]
    form = bind_dependence(SensitiveBlocks.from_arrays(arrays), "dcov", statistic="u")
    assert form.method == "univariate"
    expected = sum(np.sqrt(dcor.u_distance_covariance_sqr(z[:, 0], z[:, 0])) for z in arrays)
    assert_allclose(form.norm(), expected, rtol=1e-9)


@pytest.mark.parametrize("method", ["profiles", "univariate", "tiles", "approximate"])
def test_attributes_on_which_nothing_can_depend_have_no_norm(method):
    """A constant one; and for U-statistics one that differs in a single row, whose centred distances are all 0."""
    for n in (5, 30):
        for z in (np.zeros((n, 1)), np.full((n, 1), 0.1)):
            for statistic in ("u", "v"):
                blocks = SensitiveBlocks.from_arrays([z])
                assert bind_dependence(blocks, "ccdcov", statistic=statistic, method=method).norm() == 0
        single = SensitiveBlocks.from_arrays([np.arange(n)[:, None] == 2.0])
        assert bind_dependence(single, "ccdcov", statistic="u", method=method).norm() == 0
        assert bind_dependence(single, "ccdcov", statistic="v", method=method).norm() > 0
