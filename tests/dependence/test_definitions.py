"""Value and gradient of every measure, statistic and method, for attributes of every shape, against the definitions.

The gradient is compared with finite differences of the definition, not of the library, away from ties and at ties.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fairdcov._kernels import _reference
from fairdcov.dependence import (
    METHODS,
    bind_dependence,
    concatenated_distance_covariance,
    distance_covariance,
    joint_distance_covariance,
)
from fairdcov.encoding._blocks import SensitiveBlocks

MEASURES = {
    "dcov": ("dcov", {}, _reference.distance_covariance),
    "ccdcov": ("ccdcov", {}, _reference.concatenated_distance_covariance),
    "jdcov": ("jdcov", {"c": 2.5}, _reference.joint_distance_covariance),
    "jdcov, c = 0": ("jdcov", {"c": 0.0}, _reference.joint_distance_covariance),
}
STATISTICS = {"u": ("u", False), "v": ("v", False), "v, weighted": ("v", True)}


def levels(rng, n, k):
    return np.eye(k)[rng.integers(0, k, n)]


ATTRIBUTES = {
    "binary": lambda rng, n: [rng.integers(0, 2, n)],
    "one-hot": lambda rng, n: [levels(rng, n, 4)],
    "continuous": lambda rng, n: [rng.normal(size=n)],
    "continuous, rounded, far from 0": lambda rng, n: [np.round(rng.normal(size=n), 1) + 1e4],
    "vectors": lambda rng, n: [rng.normal(size=(n, 5))],
    "more columns than rows": lambda rng, n: [rng.normal(size=(n, 2 * n)), rng.normal(size=(n, n + 1))],
    "constant": lambda rng, n: [np.full(n, 0.1)],
    "constant vectors": lambda rng, n: [np.full((n, 2), 0.1)],
    "region and gender": lambda rng, n: [levels(rng, n, 5), rng.integers(0, 2, n)],
    "region, gender and age": lambda rng, n: [levels(rng, n, 5), rng.integers(0, 2, n), rng.uniform(18, 80, n)],
    "two continuous": lambda rng, n: [rng.normal(size=n), rng.gamma(2.0, size=n)],
    "one of two is constant": lambda rng, n: [rng.normal(size=n), np.ones(n)],
    "the same twice": lambda rng, n: [np.arange(n) % 3, np.arange(n) % 3],
    "vectors and a constant": lambda rng, n: [rng.normal(size=(n, 3)), np.full((n, 2), 0.3)],
    "four blocks": lambda rng, n: [rng.normal(size=n), levels(rng, n, 2), rng.normal(size=(n, 2)), np.arange(n) % 2],
}

every_measure = pytest.mark.parametrize(("measure", "options", "definition"), MEASURES.values(), ids=MEASURES)
every_statistic = pytest.mark.parametrize(("statistic", "weighted"), STATISTICS.values(), ids=STATISTICS)
every_attribute = pytest.mark.parametrize("attributes", ATTRIBUTES.values(), ids=ATTRIBUTES)


def random_probabilities(rng, n):
    weights = rng.uniform(0.2, 2.0, size=n) * (np.arange(n) != 2)  # row 2 does not count
    return weights / weights.sum()


def suits(method, measure, blocks):
    """Whether ``method`` can represent the measure of these blocks."""
    columns = [1 if block.ndim == 1 else block.shape[1] for block in blocks]
    if method != "univariate":
        return True
    return max(columns) == 1 and (measure == "dcov" or len(columns) == 1)


def factorise(blocks):
    return SensitiveBlocks.from_arrays([np.asarray(block, dtype=float).reshape(len(block), -1) for block in blocks])


def magnitude(u, blocks, measure, options):
    """Size of the terms of a measure, which rounding errors are relative to: its value if all were dependent on u."""
    spread = [np.abs(_reference.distances(block)).mean() + 1e-3 for block in blocks]
    own = np.abs(_reference.distances(u)).mean()
    if measure == "jdcov":
        return own * np.prod([options.get("c", 1.0) + 4 * s for s in spread]) + options.get("c", 1.0) ** 4
    return own * sum(spread)


@every_measure
@every_statistic
@every_attribute
@pytest.mark.parametrize("n", [4, 5, 33])
def test_value(n, attributes, statistic, weighted, measure, options, definition, rng):
    blocks = attributes(rng, n)
    p = random_probabilities(rng, n) if weighted else None
    factored = factorise(blocks)
    forms = [
        bind_dependence(factored, measure, method=method, statistic=statistic, sample_weight=p, n_threads=1, **options)
        for method in METHODS
        if suits(method, measure, blocks)
    ]
    for u in (rng.normal(size=n), rng.integers(0, 3, n).astype(float)):
        expected = definition(u, *blocks, statistic=statistic, probabilities=p, **options)
        size = magnitude(u, blocks, measure, options)
        for form in forms:
            # The approximation has more features than there are rows here; it leaves out the smallest eigenvalues.
            tolerance = 1e-9 if "approximate" in form.method else 1e-13
            value = form.value_gradient(u)[0] + form.constant
            assert_allclose(value, expected, rtol=1e-10, atol=tolerance * size, err_msg=form.method)


FUNCTIONS = {
    "dcov": distance_covariance,
    "ccdcov": concatenated_distance_covariance,
    "jdcov": joint_distance_covariance,
}


@every_measure
@every_statistic
@every_attribute
def test_the_public_functions(attributes, statistic, weighted, measure, options, definition, rng):
    """They choose the method and add the terms without u; weights of any sum."""
    n = 24
    blocks, u = attributes(rng, n), rng.normal(size=n)
    p = random_probabilities(rng, n) if weighted else None
    weights = None if p is None else 7.0 * p
    value = FUNCTIONS[measure](u, *blocks, statistic=statistic, sample_weight=weights, n_threads=1, **options)
    expected = definition(u, *blocks, statistic=statistic, probabilities=p, **options)
    assert_allclose(value, expected, rtol=1e-10, atol=1e-13 * magnitude(u, blocks, measure, options))


def numerical_gradient(function, u, step):
    """Central differences of order 4, exact for functions that are linear on both sides of a kink at 0."""
    gradient = np.empty_like(u)
    for i in range(len(u)):
        unit = step * (np.arange(len(u)) == i)
        near, far = function(u + unit) - function(u - unit), function(u + 2 * unit) - function(u - 2 * unit)
        gradient[i] = (8 * near - far) / (12 * step)
    return gradient


@every_measure
@every_statistic
@every_attribute
@pytest.mark.parametrize("tied", [False, True], ids=["distinct", "tied"])
def test_gradient(tied, attributes, statistic, weighted, measure, options, definition, rng):
    """Moving one of several tied predictions up or down gives different slopes; sign(0) = 0 means their mean."""
    n = 11
    blocks = attributes(rng, n)
    p = random_probabilities(rng, n) if weighted else None
    u = rng.permutation(n) / 4 if not tied else rng.integers(0, 4, n) / 4
    expected = numerical_gradient(
        lambda x: definition(x, *blocks, statistic=statistic, probabilities=p, **options), u, step=1 / 32
    )
    size = magnitude(u, blocks, measure, options)
    factored = factorise(blocks)
    for method in METHODS:
        if suits(method, measure, blocks):
            bound = {"statistic": statistic, "sample_weight": p, "n_threads": 1, **options}
            form = bind_dependence(factored, measure, method=method, **bound)
            tolerance = 1e-9 if method == "approximate" else 1e-12
            assert_allclose(form.value_gradient(u)[1], expected, atol=tolerance * size, rtol=1e-9, err_msg=method)


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_of_a_constant_prediction_is_zero(method, rng):
    form = bind_dependence(factorise([rng.normal(size=20)]), "ccdcov", method=method)
    value, gradient = form.value_gradient(np.full(20, 0.1))
    assert abs(value) < 1e-15
    assert_allclose(gradient, 0.0, atol=1e-15)


@every_attribute
@every_statistic
def test_scale_invariant(attributes, statistic, weighted, rng):
    """Value and gradient; its own normalisation is smooth, so the differences of order 4 have an error of step^4."""
    n = 12
    blocks = attributes(rng, n)
    p = random_probabilities(rng, n) if weighted else None
    u = rng.permutation(n) + rng.uniform(-0.3, 0.3, n)

    def centred_and_scaled(block):
        matrix = _reference.centred(block, statistic, p if weighted else np.full(n, 1 / n))
        variance = _reference.mean_product(matrix**2, statistic, p if weighted else np.full(n, 1 / n))
        constant = not np.ptp(np.asarray(block), axis=0).any()  # counts as independent
        return 0 * matrix if constant else matrix / np.sqrt(variance)

    def definition(x):
        product = np.prod([centred_and_scaled(block) + 0.7 for block in (x, *blocks)], axis=0)
        mean = _reference.mean_product(product, statistic, p if weighted else np.full(n, 1 / n))
        return mean - 0.7 ** (1 + len(blocks)) * (n / (n - 3) if statistic == "u" else 1.0)

    for method in ("auto", "profiles", "tiles", "approximate"):
        value, gradient = joint_distance_covariance(
            u,
            *blocks,
            c=0.7,
            statistic=statistic,
            sample_weight=p,
            method=method,
            scale_invariant=True,
            return_gradient=True,
            n_threads=1,
        )
        tolerance = 1e-7 if method == "approximate" else 1e-9
        assert_allclose(value, definition(u), rtol=tolerance, atol=tolerance, err_msg=method)
        slopes = numerical_gradient(definition, u, 2e-3)
        assert_allclose(gradient, slopes, rtol=tolerance, atol=tolerance * np.abs(slopes).max() + 1e-11, err_msg=method)


@pytest.mark.parametrize("columns", [None, 1, 2, 12])
@pytest.mark.parametrize("n", [4, 5, 10, 101, 600])
def test_dcor(n, columns, rng, dcor):
    """An independent implementation, on dependent variables: relative errors mean something."""
    x = rng.gamma(2.0, size=n)
    z = rng.normal(size=n if columns is None else (n, columns)) + (x if columns is None else x[:, None])
    for statistic, oracle in (("u", dcor.u_distance_covariance_sqr), ("v", dcor.distance_covariance_sqr)):
        expected = oracle(x, z)
        for method in METHODS:
            if method == "approximate" or (method == "univariate" and z.size > n):
                continue
            value = distance_covariance(x, z, statistic=statistic, method=method, n_threads=1)
            assert_allclose(value, expected, rtol=1e-10, err_msg=f"{statistic} {method}")


def test_sums_of_dcor_over_blocks(rng, dcor):
    x, first, second = rng.normal(size=(3, 80))
    expected = dcor.u_distance_covariance_sqr(x, first) + dcor.u_distance_covariance_sqr(x, second)
    assert_allclose(distance_covariance(x, first, second), expected, rtol=1e-10)


def test_dcor_of_long_samples(rng, dcor):
    """O(n log n) against O(n log n), by different algorithms."""
    n = 20_000
    x = rng.normal(size=n)
    for z in (x + rng.normal(size=n), np.round(x + rng.normal(size=n), 1)):
        for statistic, oracle in (("u", dcor.u_distance_covariance_sqr), ("v", dcor.distance_covariance_sqr)):
            expected = oracle(x, z, method="mergesort")
            for method in ("auto", "univariate"):
                assert_allclose(distance_covariance(x, z, statistic=statistic, method=method), expected, rtol=1e-10)
