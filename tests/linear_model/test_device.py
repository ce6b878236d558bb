"""Linear models on the device of their features: the fit on the host to rounding, on every kind of array.

The same code runs on the CPU, for tensors of PyTorch and arrays that know nothing but the array API standard; what
needs a card is marked ``gpu``.
"""

import importlib

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose

from fairdcov import (
    CCDCovPenalty,
    DCovGammaRegressor,
    DCovLGBMRegressor,
    DCovLogisticRegression,
    DCovNegativeBinomialRegressor,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
    FrequencySeverityRegressor,
    SensitiveEncoder,
    with_probabilities,
)
from fairdcov._fitting import CoefficientObjective, DeviceCoefficientObjective, DeviceObjective, RawObjective
from fairdcov._fitting import _device_objective as objective_module
from fairdcov._fitting import _device_penalty as penalty_module
from fairdcov._fitting._device_penalty import DevicePenalty
from fairdcov.linear_model import _device_problem as problem_module

torch = pytest.importorskip("torch")

N = 600
MODELS = {
    "poisson": (DCovPoissonRegressor, {"alpha": 1e-4}),
    "gamma": (DCovGammaRegressor, {"alpha": 1e-4}),
    "tweedie": (DCovTweedieRegressor, {"alpha": 1e-4, "power": 1.5}),
    "normal": (DCovTweedieRegressor, {"alpha": 1e-4, "power": 0}),
    "inverse gaussian": (DCovTweedieRegressor, {"alpha": 1e-2, "power": 3}),
    "ridge": (DCovRidge, {}),
    "negative binomial": (DCovNegativeBinomialRegressor, {"alpha": 1e-4}),
    "logistic": (DCovLogisticRegression, {}),
}
IDENTITY = DCovTweedieRegressor, {"power": 1.5, "link": "identity"}
CUDA = torch.cuda.is_available()
CUPY = CUDA and importlib.util.find_spec("cupy") is not None


def _strict(values):
    return pytest.importorskip("array_api_strict").asarray(values)


def _cupy(values):
    return importlib.import_module("cupy").asarray(values)


# How an array gets to a device, by the name of its library.
ARRAYS = {
    "torch": torch.tensor,
    "strict": _strict,
    "cuda": lambda values: torch.tensor(values, device="cuda"),
    "cupy": _cupy,
}
ON_CARDS = [
    pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not CUDA, reason="no CUDA device")]),
    pytest.param("cupy", marks=[pytest.mark.gpu, pytest.mark.skipif(not CUPY, reason="no CuPy with a CUDA device")]),
]


@pytest.fixture(autouse=True)
def dispatch(monkeypatch):
    """Array API dispatch on, which scikit-learn wants SciPy to know of; sums of a device on the CPU as well."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    monkeypatch.setattr(penalty_module, "COMPILED_ON_CPU", False)
    with sklearn.config_context(array_api_dispatch=True):
        yield


@pytest.fixture(params=["torch", "strict", *ON_CARDS])
def there(request):
    """What brings an array to a device."""
    return ARRAYS[request.param]


@pytest.fixture
def book(rng):
    people = np.column_stack([rng.integers(0, 2, N), rng.integers(0, 4, N)])
    X = rng.normal(size=(N, 4))
    X[:, 0] += people[:, 0]
    X[:, 1] += 0.5 * people[:, 1]
    weights = rng.uniform(0.2, 1.0, N)
    weights[rng.uniform(size=N) < 0.05] = 0
    mean = np.exp(-0.5 + X @ [0.4, 0.2, -0.1, 0.0])
    return {"X": X, "count": rng.poisson(mean), "positive": rng.gamma(2.0, mean / 2), "people": people, "w": weights}


def target(name, book):
    if name == "logistic":
        return (book["count"] > 0).astype(float)
    if name in ("gamma", "inverse gaussian", "identity"):
        return book["positive"] + 0.1
    return book["count"].astype(float)


@pytest.mark.parametrize("strength", [0, 2.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_fit_is_the_one_on_the_host(book, there, name, weighted, strength):
    make, options = MODELS[name]
    X, y, people = book["X"], target(name, book), book["people"]
    weights = book["w"] if weighted else None
    model = make(strength=strength, tol=1e-6, **options)
    host = sklearn.clone(model).fit(X, y, sample_weight=weights, sensitive_features=people)
    given = there(X)
    fitted = model.fit(
        given,
        there(y),
        sample_weight=None if weights is None else there(weights),
        sensitive_features=there(people),
    )
    assert type(fitted.coef_) is type(given)
    assert fitted.coef_.device == given.device
    # Objectives are the same to rounding, of which a search among kinks of the penalty makes a little more.
    tolerance = {"rtol": 1e-3, "atol": 1e-4} if strength else {"rtol": 1e-9, "atol": 1e-11}
    assert_allclose(on_host(fitted.coef_), host.coef_, **tolerance)
    assert_allclose(fitted.objective_value_, host.objective_value_, rtol=1e-8)
    assert_allclose(fitted.penalty_value_, host.penalty_value_, **tolerance)
    assert fitted.n_features_in_ == 4
    predicted = fitted.predict(given)
    assert type(predicted) is type(given)
    assert predicted.device == given.device
    assert_allclose(on_host(predicted), host.predict(X), **tolerance)
    # A model that was fitted on a device predicts on the host, and the other way round.
    assert_allclose(fitted.predict(X), on_host(predicted), rtol=1e-12)
    assert_allclose(on_host(host.predict(given)), host.predict(X), rtol=1e-12)
    assert_allclose(fitted.score(given, there(y)), fitted.score(X, y), rtol=1e-12)
    if name == "logistic":
        for method in ("predict_proba", "predict_log_proba", "decision_function"):
            found = getattr(fitted, method)(given)
            assert type(found) is type(given)
            assert_allclose(on_host(found), getattr(fitted, method)(X), rtol=1e-10, atol=1e-12)


def on_host(array):
    if isinstance(array, torch.Tensor):
        return array.cpu().numpy()
    return array.get() if hasattr(array, "get") else np.from_dlpack(array)


def test_attributes_on_the_host_and_an_offset(book, there):
    X, y = book["X"], book["count"].astype(float)
    people = pd.DataFrame({"gender": np.array(["f", "m"])[book["people"][:, 0]], "region": book["people"][:, 1]})
    offset = 0.3 * X[:, 2]
    host = DCovPoissonRegressor(alpha=1e-3, tol=1e-6).fit(
        X, y, sample_weight=book["w"], sensitive_features=people, offset=offset
    )
    fitted = DCovPoissonRegressor(alpha=1e-3, tol=1e-6).fit(
        there(X), y, sample_weight=book["w"], sensitive_features=people, offset=there(offset)
    )
    assert_allclose(on_host(fitted.coef_), host.coef_, rtol=1e-7, atol=1e-9)
    assert_allclose(on_host(fitted.predict(there(X), offset=offset)), host.predict(X, offset=offset), rtol=1e-8)
    with pytest.raises(ValueError, match="was fitted with an offset"):
        fitted.predict(there(X))


@pytest.mark.parametrize("penalty", ["ccdcov", "jdcov", CCDCovPenalty(normalize=False, scale="link"), "dcov"])
@pytest.mark.parametrize("weighted_penalty", [False, True])
def test_profiles_on_the_device_are_those_of_the_host(book, penalty, weighted_penalty):
    X, y, w = torch.tensor(book["X"]), torch.tensor(book["count"] * 1.0), torch.tensor(book["w"])
    if not isinstance(penalty, str):
        penalty = sklearn.clone(penalty).set_params(weighted=weighted_penalty)
    fits = [
        DCovPoissonRegressor(penalty, strength=0.5, tol=1e-6).fit(X, y, sample_weight=w, sensitive_features=people)
        for people in (book["people"], torch.tensor(book["people"]))
    ]
    assert_allclose(fits[1].coef_, fits[0].coef_, rtol=1e-7, atol=1e-10)
    assert_allclose(fits[1].penalty_value_, fits[0].penalty_value_, rtol=1e-9)


def test_standardised_attributes_weigh_profiles_as_rows(book):
    penalty = CCDCovPenalty(encoder=SensitiveEncoder(continuous_scaling="standard"))
    X, y = torch.tensor(book["X"]), torch.tensor(book["count"] * 1.0)
    for w in (None, torch.tensor(book["w"])):
        values = [
            DCovPoissonRegressor(penalty).fit(X, y, sample_weight=w, sensitive_features=people).penalty_value_
            for people in (book["people"], torch.tensor(book["people"]))
        ]
        assert_allclose(values[1], values[0], rtol=1e-8)


def test_single_precision_is_near(book, there):
    X, y, people = book["X"], book["count"].astype(float), book["people"]
    host = DCovPoissonRegressor(alpha=1e-3).fit(X, y, sensitive_features=people)
    given = there(X.astype(np.float32))
    fitted = DCovPoissonRegressor(alpha=1e-3).fit(given, there(y.astype(np.float32)), sensitive_features=people)
    assert fitted.coef_.dtype == given.dtype
    assert_allclose(on_host(fitted.coef_), host.coef_, rtol=2e-3, atol=2e-4)
    assert_allclose(fitted.objective_value_, host.objective_value_, rtol=1e-5)


@pytest.mark.parametrize("name", ["poisson", "gamma", "logistic", "identity", "negative binomial"])
@pytest.mark.parametrize("digits", [12, 0])
def test_the_objective_is_the_same_function(rng, book, name, digits):
    """Value, gradient and Hessian; with ties in the predictions, where digits of the features are few."""
    make, options = IDENTITY if name == "identity" else MODELS[name]
    loss = make(**options)._loss()
    X, y, w = book["X"].round(digits), target(name, book), book["w"] / book["w"].sum()
    bound = CCDCovPenalty().bind(book["people"], book["w"])
    offset = rng.normal(size=N) * 0.1
    host = CoefficientObjective(X, RawObjective(loss, y, w, bound, offset), 0.1, True)
    penalty = DevicePenalty(bound, bound.profile_terms(), torch.device("cpu"))
    vectors = [torch.tensor(vector) for vector in (y, w)]
    raw_objective = DeviceObjective(loss, *vectors, penalty, torch.tensor(offset))
    there = DeviceCoefficientObjective(torch.tensor(X), raw_objective, 0.1, True)
    parameters = np.array([0.1, -0.2, 0.3, 0.05, 1.5])
    (parts, gradient), (expected, expected_gradient) = (
        objective.parts_gradient(parameters, 0.7) for objective in (there, host)
    )
    assert_allclose([parts.loss, parts.penalty, parts.total], [expected.loss, expected.penalty, expected.total], 1e-10)
    assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-12)
    assert_allclose(there.hessian(parameters), host.hessian(parameters), rtol=1e-10, atol=1e-14)
    assert_allclose(there.hessian_diagonal(parameters), host.hessian_diagonal(parameters), rtol=1e-10)
    if digits == 12:
        step = 1e-4 * rng.normal(size=5)
        around = [there.parts_gradient(parameters + t * step, 0.7)[0].total for t in (-2, -1, 1, 2)]
        slope = (around[0] - 8 * around[1] + 8 * around[2] - around[3]) / 12
        assert_allclose(gradient @ step, slope, rtol=5e-3, atol=1e-9)


def test_products_in_parts_are_the_same(rng, monkeypatch):
    monkeypatch.setattr(objective_module, "_SUM_ROWS", 32)
    monkeypatch.setattr(objective_module, "_CHUNK_ROWS", 50)
    X, g = rng.normal(size=(333, 3)), rng.uniform(size=333)
    products = objective_module._Products(torch.tensor(X))
    assert_allclose(products.columns(torch.tensor(g)), X.T @ g, rtol=1e-12)
    assert_allclose(products.cross(torch.tensor(g)), X.T @ (g[:, None] * X), rtol=1e-12)
    assert_allclose(products.squares(torch.tensor(g)), (X**2).T @ g, rtol=1e-12)


def test_extreme_predictions_are_in_another_unit(rng, book):
    bound = CCDCovPenalty().bind(book["people"])
    raw = CCDCovPenalty(normalize=False).bind(book["people"])
    u = rng.gamma(2.0, size=N)
    for one in (bound, raw):
        there = DevicePenalty(one, one.profile_terms(), torch.device("cpu"))
        for unit in (1e150, 1e-150):
            value, gradient = there.value_gradient(torch.tensor(u * unit))
            expected, expected_gradient = one.value_gradient(u * unit)
            assert_allclose(value, expected, rtol=1e-10)
            assert_allclose(gradient, expected_gradient, rtol=1e-8, atol=1e-12 * np.abs(expected_gradient).max())


def test_warm_starts_and_paths(book, there):
    given = there(book["X"]), there(book["count"] * 1.0)
    people = {"sensitive_features": there(book["people"])}
    model = DCovPoissonRegressor(strength=1.0, alpha=1e-3, warm_start=True).fit(*given, **people)
    first = model.n_iter_
    model.fit(*given, **people)
    assert model.n_iter_ < first
    path = list(DCovPoissonRegressor(alpha=1e-3).strength_path(*given, [0.0, 1.0, 5.0], **people))
    penalties = [one.penalty_value_ for one in path]
    assert penalties[0] > penalties[1] > penalties[2]
    assert all(type(one.coef_) is type(given[0]) for one in path)


def test_tensors_on_the_cpu_go_to_the_compiled_kernels(book, monkeypatch):
    X, y, w = torch.tensor(book["X"]), torch.tensor(book["count"] * 1.0), torch.tensor(book["w"])
    fits = []
    for compiled in (False, True):
        monkeypatch.setattr(penalty_module, "COMPILED_ON_CPU", compiled)
        fits.append(DCovPoissonRegressor(tol=1e-6).fit(X, y, sample_weight=w, sensitive_features=book["people"]))
        with pytest.raises(ValueError, match="penalty is bound by method 'profiles on a grid'"):
            DCovPoissonRegressor(CCDCovPenalty(method="grid")).fit(X, y, sensitive_features=book["people"])
    assert_allclose(fits[1].coef_, fits[0].coef_, rtol=1e-3, atol=1e-5)
    assert_allclose(fits[1].objective_value_, fits[0].objective_value_, rtol=1e-8)


def test_labels_of_any_kind(book, there):
    y = book["count"] > 0
    for labels in (y * 1, y * 5 - 2, np.where(y, "yes", "no")):
        given = labels if labels.dtype.kind == "U" else there(labels)
        model = DCovLogisticRegression(strength=0.5).fit(
            there(book["X"]), given, sensitive_features=there(book["people"])
        )
        assert list(model.classes_) == sorted(set(labels.tolist()))
        predicted = model.predict(there(book["X"]))
        predicted = predicted if labels.dtype.kind == "U" else on_host(predicted)
        assert set(predicted.tolist()) <= set(labels.tolist())
        assert (predicted == labels).mean() > 0.5


BAD = {
    "rows of y": ({"y": lambda y: y[1:]}, "y must have as many rows as X: found 599 instead of 600"),
    "NaN in y": ({"y": lambda y: torch.where(y > 0, y, torch.nan)}, "y must be finite"),
    "negative y": ({"y": lambda y: -y - 1}, "the Tweedie family of power 1 needs y >= 0"),
    "matrix y": ({"y": lambda y: torch.stack([y, y], 1)}, "y must have one dimension"),
    "negative weights": ({"sample_weight": lambda w: w - 1}, "sample_weight must not be negative"),
    "no weight": ({"sample_weight": lambda w: 0 * w}, "sample_weight must not be all zero"),
    "NaN in X": ({"X": lambda X: X.log()}, "NaN"),
    "rows of people": ({"sensitive_features": lambda s: s[1:]}, "sensitive_features must have as many rows as X"),
    "NaN in people": ({"sensitive_features": lambda s: s.double().log()}, "sensitive_features must be finite"),
    "continuous people": (
        {"X": lambda X: X.repeat(8, 1), "y": lambda y: y.repeat(8), "sample_weight": lambda w: w.repeat(8),
         "sensitive_features": lambda s: torch.rand(8 * len(s), dtype=torch.float64)},
        "sensitive_features have [0-9]+ distinct rows",
    ),
    "control features": ({"control_features": lambda _: np.zeros(N)}, "control_features are not supported on a device"),
    "no people": ({"sensitive_features": lambda s: None}, "strength > 0 needs sensitive_features"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(book, case):
    changes, message = BAD[case]
    given = {
        "X": torch.tensor(book["X"]),
        "y": torch.tensor(book["count"] * 1.0),
        "sample_weight": torch.tensor(book["w"]),
        "sensitive_features": torch.tensor(book["people"]),
    }
    for name, change in changes.items():
        given[name] = change(given.get(name))
    model = DCovPoissonRegressor()
    with pytest.raises(ValueError, match=message):
        model.fit(**given)
    assert not hasattr(model, "coef_")


def test_penalties_that_a_device_does_not_have(book):
    X, y, people = torch.tensor(book["X"]), torch.tensor(book["count"] * 1.0), torch.tensor(book["people"])
    with pytest.raises(ValueError, match="penalty is bound by method 'profiles on a grid'"):
        DCovPoissonRegressor(CCDCovPenalty(method="grid")).fit(X, y, sensitive_features=book["people"])
    for penalty in (CCDCovPenalty(method="grid"), CCDCovPenalty(statistic="u")):
        with pytest.raises(ValueError, match="penalty must have method='auto' or 'profiles' and statistic='v'"):
            DCovPoissonRegressor(penalty).fit(X, y, sensitive_features=people)
    with pytest.raises(ValueError, match="scale='total' needs sensitive_features on the host"):
        DCovPoissonRegressor(CCDCovPenalty(scale="total")).fit(X, y, sensitive_features=people)
    shares = pd.DataFrame({"a": np.linspace(0, 1, N), "b": 1 - np.linspace(0, 1, N)})
    with pytest.raises(ValueError, match="no probabilities"):
        DCovPoissonRegressor().fit(X, y, sensitive_features=with_probabilities(shares, {"race": ["a", "b"]}))
    with pytest.raises(ValueError, match="sensitive_columns are not supported on a device"):
        DCovPoissonRegressor(sensitive_columns=[0]).fit(X, y)


def test_estimators_of_the_host_say_so(book):
    X, y = torch.tensor(book["X"]), torch.tensor(book["count"] * 1.0)
    with pytest.raises(TypeError, match=r"X is a torch Tensor.*DCovLGBMRegressor works on NumPy arrays"):
        DCovLGBMRegressor(strength=0).fit(X, y)
    with pytest.raises(TypeError, match="FrequencySeverityRegressor works on NumPy arrays"):
        FrequencySeverityRegressor(strength=0).fit(X, y, claims=book["count"])


def test_tensors_on_the_cpu_are_arrays_without_dispatch(book):
    with sklearn.config_context(array_api_dispatch=False):
        model = DCovPoissonRegressor(strength=0).fit(torch.tensor(book["X"]), torch.tensor(book["count"] * 1.0))
        assert isinstance(model.coef_, np.ndarray)
        assert isinstance(model.predict(torch.tensor(book["X"])), np.ndarray)


def test_a_tensor_elsewhere_needs_dispatch():
    X = torch.empty((5, 2), device="meta")
    with (
        sklearn.config_context(array_api_dispatch=False),
        pytest.raises(TypeError, match="X is a torch Tensor on meta: call"),
    ):
        DCovPoissonRegressor(strength=0).fit(X, np.ones(5))
    with pytest.raises(TypeError, match="sample_weight is a torch Tensor on meta"):
        DCovPoissonRegressor(strength=0).fit(np.ones((5, 2)), np.ones(5), sample_weight=X[:, 0])


def test_devices_are_not_mixed(book):
    X = torch.tensor(book["X"])
    elsewhere = torch.empty(N, device="meta")
    with pytest.raises(ValueError, match="y is on meta and X on cpu: move one of them"):
        DCovPoissonRegressor(strength=0).fit(X, elsewhere)
    with pytest.raises(ValueError, match="sensitive_features are on meta and X on cpu"):
        DCovPoissonRegressor().fit(X, torch.ones(N), sensitive_features=elsewhere)


@pytest.mark.gpu
@pytest.mark.skipif(not CUDA, reason="no CUDA device")
def test_three_fits_on_a_card_have_the_same_bits(rng):
    n = 50_000
    people = torch.tensor(rng.integers(0, 20, n), device="cuda")
    X = torch.tensor(rng.normal(size=(n, 10)), device="cuda", dtype=torch.float32)
    X[:, 0] += people / 10
    y = torch.tensor(rng.poisson(0.3, n), device="cuda")
    w = torch.tensor(rng.uniform(0.1, 1, n), device="cuda")
    coefs = [
        DCovPoissonRegressor(alpha=1e-4).fit(X, y, sample_weight=w, sensitive_features=people).coef_ for _ in range(3)
    ]
    assert torch.equal(coefs[0], coefs[1])
    assert torch.equal(coefs[0], coefs[2])
    # On the card y alone may come from the host.
    other = DCovPoissonRegressor(alpha=1e-4).fit(X, y.cpu(), sample_weight=w.cpu(), sensitive_features=people.cpu())
    assert_allclose(other.coef_.cpu(), coefs[0].cpu(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("spread", [1.0, 1e-7, 1e-13, 0.0, 1e-40])
def test_predictions_compared_in_single_precision(rng, book, spread):
    bound = CCDCovPenalty().bind(book["people"], book["w"])
    there = DevicePenalty(bound, bound.profile_terms(), torch.device("cpu"), single=True)
    u = (0.0 if spread == 1e-40 else 3.0) + spread * rng.gamma(2.0, size=N)
    value, gradient = there.value_gradient(torch.tensor(u))
    expected, expected_gradient = bound.value_gradient(u)
    assert gradient.dtype == torch.float64
    assert_allclose(value, expected, rtol=1e-6)
    assert_allclose(gradient, expected_gradient, rtol=1e-3, atol=1e-5 * np.abs(expected_gradient).max())


@pytest.mark.parametrize(
    ("name", "strength"),
    [("poisson", 0.0), ("poisson", 2.0), ("poisson", 1e6), ("logistic", 2.0), ("gamma", 0.0), ("gamma", 2.0)],
)
@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
def test_a_start_on_part_of_the_rows_ends_where_others_do(book, monkeypatch, name, strength):
    make, options = MODELS[name]
    model = make(strength=strength, tol=1e-6, **options)
    given = torch.tensor(book["X"]), torch.tensor(target(name, book))
    further = {"sample_weight": torch.tensor(book["w"]), "sensitive_features": torch.tensor(book["people"])}
    whole = sklearn.clone(model).fit(*given, **further)
    monkeypatch.setattr(problem_module, "_PART_ROWS", 100)
    for people in (torch.tensor(book["people"]), book["people"]):
        found = sklearn.clone(model).fit(*given, **{**further, "sensitive_features": people})
        assert found.converged_
        if strength < 1e6:
            # Among kinks a search from another place may end a little lower.
            assert found.objective_value_ <= whole.objective_value_ * (1 + 1e-6)
            assert_allclose(found.objective_value_, whole.objective_value_, rtol=2e-5)
        else:
            # A strength that the guard may lower: at most to a constant's loss either way.
            assert found.loss_value_ == pytest.approx(whole.loss_value_, rel=0.05)


def test_a_part_without_a_claim_is_no_start(book, monkeypatch):
    monkeypatch.setattr(problem_module, "_PART_ROWS", 100)
    y = torch.tensor(book["count"] * 1.0)
    y[::6] = 0
    given = torch.tensor(book["X"]), y
    model = DCovPoissonRegressor(strength=1.0, alpha=1e-3).fit(*given, sensitive_features=torch.tensor(book["people"]))
    assert model.converged_
    assert model.predict(given[0]).mean() == pytest.approx(float(y.mean()), rel=1e-3)
