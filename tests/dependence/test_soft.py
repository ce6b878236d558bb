"""Attributes known as probabilities: the expected V-statistic, against its definition, draws, and the observed case."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from numpy.testing import assert_allclose, assert_array_equal

from fairdcov._kernels import _reference
from fairdcov.dependence import MEASURES, PermutableDependence, bind_dependence
from fairdcov.encoding import SoftBlocks
from fairdcov.encoding._blocks import SensitiveBlocks

N, K = 60, 6
POINTS = (np.eye(K)[:, :3] + np.arange(K)[:, None] / 7, (np.arange(K) % 4 / 3)[:, None])

every_measure = pytest.mark.parametrize("measure", MEASURES)
every_weight = pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])


def probabilities(rng, n=N, k=K, *, few=False):
    shares = rng.dirichlet(np.full(k, 0.6), n)
    if few:
        shares[shares < 0.3 * shares.max(axis=1, keepdims=True)] = 0.0
        shares /= shares.sum(axis=1, keepdims=True)
    return shares


def soft(shares, points=POINTS):
    return SoftBlocks(shares, points, [f"block {b}" for b in range(len(points))])


def drawn(rng, shares, points=POINTS):
    codes = (rng.uniform(size=(len(shares), 1)) > np.cumsum(shares, axis=1)).sum(axis=1)
    return SensitiveBlocks(codes.astype(np.int32), points, tuple(f"block {b}" for b in range(len(points))))


def weights_of(rng, weighted, n=N):
    weights = rng.uniform(0.2, 3.0, n) if weighted else None
    return weights, np.full(n, 1 / n) if weights is None else weights / weights.sum()


def profile_matrix(measure, shares, q, c, points=POINTS):
    """D: the value of W for two profiles, from the definitions of the measures."""
    if measure == "ccdcov":
        return -_reference.distances(np.hstack(points))
    if measure == "dcov":
        return -sum(_reference.distances(block) for block in points)
    return np.prod([_reference.v_centred(block, shares.T @ q) + c for block in points], axis=0)


def definition(measure, shares, q, c=0.7, points=POINTS):
    expected = _reference.expected_matrix(shares, profile_matrix(measure, shares, q, c, points))
    return _reference.centred_form(expected, q)


@every_measure
@every_weight
@pytest.mark.parametrize("few", [False, True], ids=["dense", "few shares"])
@pytest.mark.parametrize("predictions", ["distinct", "tied", "all equal"])
def test_equals_the_definition(measure, weighted, few, predictions, rng):
    shares = probabilities(rng, few=few)
    weights, q = weights_of(rng, weighted)
    u = {"distinct": rng.normal(size=N), "tied": rng.integers(0, 9, N) / 3, "all equal": np.full(N, 0.1)}[predictions]
    form = bind_dependence(soft(shares), measure, sample_weight=weights, c=0.7)
    matrix = definition(measure, shares, q)
    value, gradient = form.value_gradient(u)
    assert form.method == "memberships"
    assert_allclose(value, _reference.pair_sum(u, matrix), rtol=1e-10, atol=1e-14)
    expected = 2 * (np.sign(np.subtract.outer(u, u)) * matrix).sum(axis=1)
    assert_allclose(gradient, expected, rtol=1e-10, atol=1e-14)
    assert_allclose(form.norm(), np.sqrt((matrix**2 / np.outer(q, q)).sum()), rtol=1e-10)
    assert_allclose(form.pull_bounds(), np.abs(matrix).sum(axis=1) - np.abs(np.diag(matrix)), rtol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 257])
@every_weight
def test_sizes(n, weighted, rng):
    shares = probabilities(rng, n)
    weights, q = weights_of(rng, weighted, n)
    u = rng.normal(size=n)
    value, _ = bind_dependence(soft(shares), "ccdcov", sample_weight=weights).value_gradient(u)
    assert_allclose(value, _reference.pair_sum(u, definition("ccdcov", shares, q)), rtol=1e-10, atol=1e-15)


@every_measure
@every_weight
def test_dense_and_sparse_rows_agree(measure, weighted, rng):
    """No memory for a vector of all profiles in each row: the same numbers from the sparse rows."""
    shares, u = probabilities(rng, 3_000), rng.normal(size=3_000)
    weights, _ = weights_of(rng, weighted, 3_000)
    dense = bind_dependence(soft(shares), measure, sample_weight=weights)
    with sklearn.config_context(working_memory=0.01):
        sparse = bind_dependence(soft(shares), measure, sample_weight=weights)
    order = np.argsort(u)
    for first, second in zip(
        dense.value_gradient_weights(u, order), sparse.value_gradient_weights(u, order), strict=True
    ):
        assert_allclose(first, second, rtol=1e-9, atol=1e-15)
    assert_allclose(dense.pull_bounds(3), sparse.pull_bounds(3), rtol=1e-12)


@every_measure
@every_weight
def test_is_the_mean_over_imputations(measure, weighted, rng):
    """2,000 draws, each an observed sample whose W is that of the drawn profiles, within the error of their mean.

    For the joint measure the factors stay those of the expected profile weights, as the definition says.
    """
    shares = probabilities(rng)
    weights, q = weights_of(rng, weighted)
    u = rng.normal(size=N)
    profile = profile_matrix(measure, shares, q, 0.7)
    values, constants = [], []
    for _ in range(2_000):
        codes = drawn(rng, shares).codes
        of_rows = profile[np.ix_(codes, codes)]
        values.append(_reference.pair_sum(u, _reference.centred_form(of_rows, q)))
        constants.append(0.7 * (q @ of_rows @ q) - 0.7**3)
    form = bind_dependence(soft(shares), measure, sample_weight=weights, c=0.7)
    value, _ = form.value_gradient(u)
    assert abs(np.mean(values) - value) < 4 * np.std(values) / np.sqrt(2_000)
    if measure == "jdcov":
        assert abs(np.mean(constants) - form.constant) < 4 * np.std(constants) / np.sqrt(2_000)


@every_measure
def test_is_the_mean_of_the_measure_itself(measure, rng):
    """The measures as they are bound to drawn attributes; the joint one then centres each draw by its own weights."""
    shares, u = probabilities(rng, 400), rng.normal(size=400)
    value, _ = bind_dependence(soft(shares), measure).value_gradient(u)
    values = [bind_dependence(drawn(rng, shares), measure).value_gradient(u)[0] for _ in range(2_000)]
    allowed = 4 * np.std(values) / np.sqrt(2_000) + (5 * np.mean(values) / 400 if measure == "jdcov" else 0.0)
    assert abs(np.mean(values) - value) < allowed


@every_measure
@every_weight
def test_certain_rows_are_the_observed_ones_to_the_last_digit(measure, weighted, rng):
    codes = rng.integers(0, K, N)
    weights, _ = weights_of(rng, weighted)
    u = rng.integers(0, 40, N) / 7
    observed = SensitiveBlocks.from_points([codes], lambda rows: [points[codes[rows]] for points in POINTS], ("a", "b"))
    hard = bind_dependence(observed, measure, sample_weight=weights, c=0.7)
    certain = bind_dependence(soft(np.eye(K)[codes]), measure, sample_weight=weights, c=0.7)
    assert (certain.method, certain.constant) == (hard.method, hard.constant)
    for ours, theirs in zip(certain.value_gradient(u), hard.value_gradient(u), strict=True):
        assert_array_equal(ours, theirs)


@every_measure
@every_weight
def test_nearly_certain_rows_are_near(measure, weighted, rng):
    """Also the path of its own, which certain rows do not take: the distance shrinks with the doubt."""
    codes = rng.integers(0, K, N)
    weights, _ = weights_of(rng, weighted)
    u = rng.normal(size=N)
    hard = bind_dependence(soft(np.eye(K)[codes]), measure, sample_weight=weights)
    value, gradient = hard.value_gradient(u)
    for doubt in (1e-3, 1e-6, 1e-9):
        near = bind_dependence(soft((1 - doubt) * np.eye(K)[codes] + doubt / K), measure, sample_weight=weights)
        assert near.method == "memberships"
        found, slope = near.value_gradient(u)
        assert_allclose(found, value, rtol=20 * doubt)
        assert_allclose(slope, gradient, atol=20 * doubt * np.abs(gradient).max())
        assert_allclose([near.norm(), near.constant], [hard.norm(), hard.constant], rtol=20 * doubt, atol=20 * doubt)
        assert_allclose(near.pull_bounds(), hard.pull_bounds(), rtol=0.3)  # the diagonal counts in the observed case


@every_measure
@every_weight
def test_gradient_by_finite_differences(measure, weighted, rng):
    weights, _ = weights_of(rng, weighted)
    form = bind_dependence(soft(probabilities(rng)), measure, sample_weight=weights)
    u, step = rng.permutation(N) / 7.0, 1e-3
    _, gradient = form.value_gradient(u)
    for row in range(0, N, 7):
        moved = np.tile(u, (4, 1))
        moved[:, row] += np.array([-2, -1, 1, 2]) * step
        values = [form.value_gradient(line)[0] for line in moved]
        assert_allclose(gradient[row], np.dot([1, -8, 8, -1], values) / (12 * step), rtol=1e-8, atol=1e-12)


def test_a_row_draws_once_whatever_its_weight(rng):
    """One policy is one person: twice the weight is not two rows, which would draw independently."""
    shares, u = probabilities(rng), rng.normal(size=N)
    weighted, _ = bind_dependence(soft(shares), "ccdcov", sample_weight=np.full(N, 2.0)).value_gradient(u)
    equal, _ = bind_dependence(soft(shares), "ccdcov").value_gradient(u)
    assert_allclose(weighted, equal, rtol=1e-12)
    twice, _ = bind_dependence(soft(np.repeat(shares, 2, axis=0)), "ccdcov").value_gradient(np.repeat(u, 2))
    assert twice < equal  # more independent draws: less dependence by chance
    # Twice the rows that are certain is repetition, as ever.
    certain = np.eye(K)[rng.integers(0, K, N)]
    one, _ = bind_dependence(soft(certain), "ccdcov").value_gradient(u)
    two, _ = bind_dependence(soft(np.repeat(certain, 2, axis=0)), "ccdcov").value_gradient(np.repeat(u, 2))
    assert_allclose(one, two, rtol=1e-12)


def test_rows_of_weight_zero_are_absent(rng):
    shares, u = probabilities(rng), rng.normal(size=N)
    weights = rng.uniform(0.2, 3.0, N)
    weights[::3] = 0.0
    shares[::3] = np.eye(K)[0]
    kept = weights > 0
    points = tuple(np.vstack([points, 1e6 * points[-1:]]) for points in POINTS)
    shares = np.column_stack([shares, np.zeros(N)])
    shares[0] = np.eye(K + 1)[K]  # a profile far away that no weight is on
    for measure in MEASURES:
        all_rows = bind_dependence(soft(shares, points), measure, sample_weight=weights)
        some = bind_dependence(soft(shares[kept, :K]), measure, sample_weight=weights[kept])
        value, gradient = all_rows.value_gradient(u)
        expected, slope = some.value_gradient(u[kept])
        assert_allclose(value, expected, rtol=1e-12)
        assert_allclose(gradient[kept], slope, rtol=1e-9, atol=1e-16)
        assert not gradient[~kept].any()


def test_blocks_of_many_values_one_at_a_time(rng):
    """A continuous attribute beside probabilities: too many combinations for a matrix of theirs."""
    n = 700
    race, age = probabilities(rng, n, 3), rng.normal(size=(n, 1))
    shares = sp.csr_array(
        (race.ravel(), (np.arange(n)[:, None] * 3 + np.arange(3)).ravel(), np.arange(0, 3 * n + 1, 3)), shape=(n, 3 * n)
    )
    blocks = soft(shares, (np.repeat(age, 3, axis=0), np.tile(np.eye(3), (n, 1))))
    u = rng.normal(size=n)
    q = np.full(n, 1 / n)
    expected = _reference.distance_covariance(u, age, statistic="v") + _reference.pair_sum(
        u, definition("dcov", race, q, points=(np.eye(3),))
    )
    joint = bind_dependence(blocks, "dcov")
    with sklearn.config_context(working_memory=10):
        form = bind_dependence(blocks, "dcov")
        for measure in ("ccdcov", "jdcov"):
            with pytest.raises(ValueError, match=r"2,100 combinations .* more than scikit-learn's working_memory"):
                bind_dependence(blocks, measure)
    assert joint.method == "memberships"
    assert form.method == "univariate + memberships"
    for found in (joint, form):
        assert_allclose(found.value_gradient(u)[0], expected, rtol=1e-9)
    assert_allclose(form.value_gradient(u)[1], joint.value_gradient(u)[1], rtol=1e-8, atol=1e-13)
    assert (form.pull_bounds() > 0).all()


def test_what_is_not_defined_raises(rng):
    blocks = soft(probabilities(rng))
    with pytest.raises(ValueError, match="U-statistic is not defined for protected attributes known as probabilities"):
        bind_dependence(blocks, "ccdcov", statistic="u")
    with pytest.raises(ValueError, match="scale_invariant is not defined for protected attributes known as"):
        bind_dependence(blocks, "jdcov", scale_invariant=True)
    for method in ("tiles", "univariate", "approximate"):
        with pytest.raises(ValueError, match=f"method='{method}' is not there for protected attributes known as"):
            bind_dependence(blocks, "ccdcov", method=method)
    with pytest.raises(TypeError, match="are probabilities: a row has a share in several profiles"):
        _ = blocks.codes


@every_weight
def test_permutations_move_rows_with_their_shares(weighted, rng):
    shares, u = probabilities(rng), rng.normal(size=N)
    weights, _ = weights_of(rng, weighted)
    sample = PermutableDependence(u, soft(shares), "ccdcov", sample_weight=weights)
    lines = [rng.permutation(N) for _ in range(5)]
    moved = [bind_dependence(soft(shares[line]), "ccdcov", sample_weight=weights) for line in lines]
    expected = [form.value_gradient(u)[0] for form in moved]
    assert_allclose(sample.values_of(lines), expected, rtol=1e-10)
    others = sample.values_of(rng.permutation(N) for _ in range(400))
    assert abs(sample.permuted_values(400, rng).mean() - others.mean()) < 5 * others.std() / np.sqrt(200)
