"""DependenceLoss: the same numbers as in NumPy, right gradients, any shape and type, mini-batches, clear errors."""

import copy
import io
import pickle

import numpy as np
import pandas as pd
import pytest

from fairdcov import (
    CCDCovPenalty,
    DCovPenalty,
    JDCovPenalty,
    SensitiveEncoder,
    concatenated_distance_covariance,
    distance_covariance,
    joint_distance_covariance,
)
from fairdcov.exceptions import MissingSensitiveFeaturesError, SensitiveFeaturesWarning

torch = pytest.importorskip("torch")

from fairdcov.neural import DependenceLoss  # noqa: E402

MEASURES = {
    "ccdcov": (CCDCovPenalty, concatenated_distance_covariance),
    "jdcov": (JDCovPenalty, joint_distance_covariance),
    "dcov": (DCovPenalty, distance_covariance),
}


@pytest.fixture
def people(rng):
    n = 60
    return pd.DataFrame(
        {
            "gender": rng.choice(["f", "m"], n),
            "region": pd.Categorical(rng.choice(list("nsw"), n)),
            "age": rng.integers(18, 80, n),
        }
    )


def _blocks(people):
    encoded = SensitiveEncoder().fit_encode(people)
    return [points[encoded.codes] for points in encoded.points]


def _spaced(rng, n):
    """Predictions without ties: gaps of 0.05."""
    return 0.05 * rng.permutation(n) + 0.3


@pytest.mark.parametrize("statistic", ["u", "v"])
@pytest.mark.parametrize("measure", MEASURES)
def test_value_is_that_of_the_numpy_functions(rng, people, measure, statistic):
    penalty, function = MEASURES[measure]
    u = rng.normal(size=len(people))
    value, gradient = function(u, *_blocks(people), statistic=statistic, return_gradient=True)
    if measure == "jdcov":
        # Net of the terms without predictions, as all penalties.
        value = value - penalty(statistic=statistic).bind(people).constant
    tensor = torch.tensor(u, requires_grad=True)
    loss = DependenceLoss(penalty(statistic=statistic, normalize=False))(tensor, people)
    (3.0 * loss).backward()
    np.testing.assert_allclose(loss.item(), value, rtol=1e-12)
    np.testing.assert_allclose(tensor.grad.numpy(), 3.0 * gradient, rtol=1e-12, atol=1e-15)


def test_value_is_that_of_dcor(rng, people, dcor):
    u = rng.normal(size=len(people))
    S = np.hstack(_blocks(people))
    loss = DependenceLoss(CCDCovPenalty(statistic="u", normalize=False))(torch.tensor(u), people)
    np.testing.assert_allclose(loss.item(), dcor.u_distance_covariance_sqr(u, S), rtol=1e-10)
    # The scale-free form is divided by the mean absolute difference of all pairs.
    free = DependenceLoss()(torch.tensor(u), people)
    gini = np.abs(u[:, None] - u).mean()
    np.testing.assert_allclose(free.item(), dcor.distance_covariance_sqr(u, S) / gini, rtol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("measure", MEASURES)
def test_gradcheck(rng, people, measure, normalize, weighted):
    # Away from ties: the measure is linear between them (divided by something linear in the scale-free form).
    people = people[:20]
    weights = rng.uniform(0.2, 1.0, 20) if weighted else None
    bound = DependenceLoss(MEASURES[measure][0](normalize=normalize)).bind(people, weights)
    u = torch.tensor(_spaced(rng, 20), requires_grad=True)
    assert torch.autograd.gradcheck(bound, (u,), eps=1e-3, atol=1e-5)
    assert torch.autograd.gradcheck(lambda raw: bound(torch.exp(raw)), (u,), eps=1e-4, atol=1e-5)


def test_a_second_derivative_is_refused(people):
    u = torch.linspace(0, 1, len(people), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(DependenceLoss()(u, people) ** 2, u, create_graph=True)
    # Silently wrong curvature would be worse than none.
    with pytest.raises(RuntimeError):
        torch.autograd.grad(gradient.sum(), u)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("column", [False, True])
def test_shapes_and_types(rng, people, dtype, column):
    u = torch.tensor(_spaced(rng, len(people)), dtype=dtype)
    expected, expected_gradient = CCDCovPenalty().bind(people).value_gradient(u.double().numpy())
    u = (u[:, None] if column else u).requires_grad_()
    value = DependenceLoss()(u, people)
    assert value.dtype == dtype
    assert value.shape == ()
    value.backward()
    assert u.grad.shape == u.shape
    assert u.grad.dtype == dtype
    tolerance = 4 * torch.finfo(dtype).eps
    np.testing.assert_allclose(value.item(), expected, rtol=tolerance)
    np.testing.assert_allclose(
        u.grad.double().numpy().ravel(), expected_gradient, rtol=tolerance, atol=tolerance * 1e-2
    )


def test_views_and_no_gradients(rng, people):
    u = torch.tensor(rng.normal(size=2 * len(people)), requires_grad=True)
    loss = DependenceLoss()
    value = loss(u[::2], people)
    value.backward()
    assert (u.grad[1::2] == 0).all()
    with torch.no_grad():
        quiet = loss(u[::2], people)
    assert not quiet.requires_grad
    assert quiet == value


def test_attributes_and_weights_may_be_tensors(rng, people):
    u = torch.tensor(rng.normal(size=len(people)))
    weights = rng.uniform(size=len(people))
    ages = people["age"].to_numpy()
    loss = DependenceLoss()
    expected = loss(u, ages, weights)
    assert loss(u, torch.tensor(ages), torch.tensor(weights)[:, None]) == expected
    assert loss.bind(torch.tensor(ages), torch.tensor(weights))(u) == expected


def test_bound_form_is_the_same(rng, people):
    loss = DependenceLoss("jdcov")
    weights = rng.uniform(size=len(people))
    bound = loss.bind(people, weights)
    for _ in range(3):
        u = torch.tensor(rng.normal(size=len(people)))
        assert bound(u) == loss(u, people, weights)
    assert bound.bound.n_profiles == len(people.drop_duplicates())
    assert "n_samples=60" in repr(bound)
    assert "JDCovPenalty()" in repr(loss)


# -- mini-batches ------------------------------------------------------------------------------------------------------


def test_batches_measure_distances_as_the_whole_does(rng, people):
    # A batch without region "w" and with ages of a small range: its own encoding would be another one.
    loss = DependenceLoss(CCDCovPenalty(statistic="u", normalize=False))
    encoded = loss.encode(people)
    rows = np.flatnonzero((people["region"] != "w") & (people["age"] < 50))
    u = rng.normal(size=len(rows))
    expected = concatenated_distance_covariance(u, *[block[rows] for block in _blocks(people)])
    np.testing.assert_allclose(loss(torch.tensor(u), encoded[rows]).item(), expected, rtol=1e-10)
    mask = np.zeros(len(people), dtype=bool)
    mask[rows] = True
    for selected in (torch.tensor(rows), torch.tensor(mask), mask, rows.tolist()):
        np.testing.assert_allclose(loss(torch.tensor(u), encoded[selected]).item(), expected, rtol=1e-10)


def test_weighted_batches(rng, people):
    loss = DependenceLoss()
    encoded = loss.encode(people)
    weights = rng.integers(0, 3, len(people)).astype(float)
    u = rng.normal(size=len(people))
    repeated = np.repeat(np.arange(len(people)), weights.astype(int))
    np.testing.assert_allclose(
        loss(torch.tensor(u), encoded, weights).item(), loss(torch.tensor(u[repeated]), encoded[repeated]).item()
    )


def test_mean_over_batches_of_the_u_statistic_is_the_whole(rng, people):
    # Unbiased: over all batches of 6 out of 9 rows the mean is the statistic of the 9.
    import itertools

    loss = DependenceLoss(CCDCovPenalty(statistic="u", normalize=False))
    encoded = loss.encode(people)[:9]
    u = torch.tensor(rng.normal(size=9))
    values = [loss(u[list(rows)], encoded[list(rows)]).item() for rows in itertools.combinations(range(9), 6)]
    np.testing.assert_allclose(np.mean(values), loss(u, encoded).item(), rtol=1e-9)


@pytest.mark.parametrize("n_rows", [0, 1, 2, 3])
@pytest.mark.parametrize("penalty", ["ccdcov", CCDCovPenalty(statistic="u")])
def test_batches_of_fewer_than_four_rows_are_skipped(rng, people, n_rows, penalty):
    loss = DependenceLoss(penalty)
    weights = torch.tensor(rng.normal(size=n_rows), requires_grad=True)
    for sensitive_features in (people[:n_rows], loss.encode(people)[:n_rows]):
        value = loss(2 * weights, sensitive_features)
        value.backward()
        assert value.item() == 0.0
        assert (weights.grad == 0).all()


def test_rows_of_weight_zero_do_not_count(people):
    loss = DependenceLoss()
    u = torch.linspace(0, 1, len(people), requires_grad=True)
    few = np.zeros(len(people))
    few[:3] = 1.0
    assert loss(u, people, few).item() == 0.0
    assert loss(u, people, np.zeros(len(people))).item() == 0.0
    with pytest.raises(ValueError, match="at least 4 rows of positive sample_weight; found 3"):
        loss.bind(people, few)
    few[:40] = 1.0
    encoded = loss.encode(people)
    torch.testing.assert_close(loss(u, encoded, few), loss(u[:40], encoded[:40]))


def test_batches_of_one_kind_of_people_have_no_penalty(people):
    loss = DependenceLoss()
    same = np.flatnonzero(people["gender"] == "f")[:8]
    u = torch.linspace(0, 1, 8, requires_grad=True)
    value = loss(u, loss.encode(people["gender"])[same])
    value.backward()
    assert value.item() == 0.0
    assert (u.grad == 0).all()
    with pytest.warns(SensitiveFeaturesWarning, match="nothing to penalise"):
        loss.bind(people["gender"].iloc[same])


def test_training_a_module_removes_the_dependence(rng):
    # A module of one's own: two features, one of which is the attribute with noise.
    n = 300
    gender = rng.integers(0, 2, n)
    X = torch.tensor(np.column_stack([gender + 0.3 * rng.normal(size=n), rng.normal(size=n)]))
    y = X @ torch.tensor([1.0, 1.0], dtype=torch.float64)
    model = torch.nn.Linear(2, 1, dtype=torch.float64)
    dependence = DependenceLoss().bind(gender)
    optimiser = torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe", max_iter=100)

    def objective():
        optimiser.zero_grad()
        value = ((model(X)[:, 0] - y) ** 2).mean() + 30.0 * dependence(model(X))
        value.backward()
        return value

    optimiser.step(objective)
    first, second = model.weight.detach().numpy()[0]
    assert abs(first) < 0.3  # 1 without the penalty
    assert second > 0.8


def test_modules_hold_the_loss_and_travel(rng, people):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            self.fairness = DependenceLoss("jdcov").bind(people)

    model = Model()
    assert set(model.state_dict()) == {"layer.weight", "layer.bias"}
    u = torch.tensor(rng.normal(size=len(people)))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model.fairness))):
        assert getattr(twin, "fairness", twin)(u) == model.fairness(u)
    file = io.BytesIO()
    torch.save(DependenceLoss(), file)
    file.seek(0)
    assert isinstance(torch.load(file, weights_only=False), DependenceLoss)


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda u: u.numpy(), TypeError, "must be a torch tensor; found ndarray"),
        (lambda u: u.long(), TypeError, "floating point numbers; found torch.int64"),
        (lambda u: torch.complex(u, u), TypeError, "floating point numbers; found torch.complex128"),
        (lambda u: u.to("meta"), ValueError, "meta device, which holds no values"),
        (lambda u: u.masked_fill(u > 0, torch.nan), ValueError, r"predictions must be finite; found \d+ NaN"),
        (lambda u: u[:-1], ValueError, "predictions must have as many rows as sensitive_features: found 59 instead"),
        (lambda u: u.reshape(20, 3), ValueError, r"predictions must have one dimension, \(n,\); found shape \(20, 3\)"),
    ],
)
def test_bad_predictions(rng, people, change, error, message):
    u = torch.tensor(rng.normal(size=len(people)))
    loss = DependenceLoss()
    for function in (lambda u: loss(u, people), loss.bind(people), lambda u: loss(u, loss.encode(people))):
        with pytest.raises(error, match=message):
            function(change(u))


def test_bad_attributes_weights_and_penalties(rng, people):
    u = torch.tensor(rng.normal(size=len(people)))
    loss = DependenceLoss()
    with pytest.raises(MissingSensitiveFeaturesError, match="needs sensitive_features; found None"):
        loss(u, None)
    with pytest.raises(MissingSensitiveFeaturesError):
        loss.encode(None)
    with pytest.raises(TypeError, match="found a dict"):
        loss.bind({"gender": people["gender"]})
    with pytest.raises(ValueError, match="'age' has 1 missing value"):
        loss(u, people.assign(age=people["age"].astype(float).where(people.index > 0)))
    with pytest.raises(ValueError, match="as many rows as sensitive_features"):
        loss(u, people, np.ones(3))
    with pytest.raises(ValueError, match="must not be negative"):
        loss(u, people, -np.ones(len(people)))
    with pytest.raises(ValueError, match="weighted U-statistic is not defined"):
        DependenceLoss(CCDCovPenalty(statistic="u"))(u, people, rng.uniform(size=len(people)))
    with pytest.raises(ValueError, match="penalty must be one of"):
        DependenceLoss("dcor")
    with pytest.raises(IndexError, match="a slice or a vector"):
        loss.encode(people)[3]


def test_an_error_on_another_device_is_not_hidden(people):
    # No accelerator is needed to see that values go to the CPU and the gradient comes back in the tensor's own type.
    moved = []

    class Recorded(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            if getattr(function, "__name__", "") == "to":
                moved.append(kwargs)
            return super().__torch_function__(function, types, args, kwargs or {})

    u = torch.linspace(0, 1, len(people), dtype=torch.float32).as_subclass(Recorded)
    DependenceLoss()(u, people)
    assert {"device": "cpu", "dtype": torch.float64} in moved


def test_bound_within_strata(rng):
    people, control = rng.choice(["f", "m"], 60), rng.choice(["n", "s", "w"], 60)
    u, weights = rng.gamma(2.0, size=60), rng.uniform(0.5, 1.5, 60)
    predictions = torch.tensor(u, requires_grad=True)
    loss = DependenceLoss().bind(people, weights, control_features=control)(predictions)
    loss.backward()
    value, gradient = CCDCovPenalty().bind(people, weights, control_features=control).value_gradient(u)
    assert loss.item() == value
    np.testing.assert_array_equal(predictions.grad.numpy(), gradient)
    codes = torch.tensor(np.unique(control, return_inverse=True)[1])
    assert DependenceLoss().bind(people, weights, control_features=codes)(predictions).item() == value
    with pytest.raises(TypeError, match="control_features"):
        DependenceLoss()(predictions, people, weights, control_features=control)
