"""Calls of a user's own code, for ``mypy --strict`` (``make lint``): nothing here is run.

``assert_type`` fails where a type is lost on the way, an unused ``type: ignore`` where a wrong call is not refused.
"""

from collections.abc import Iterator
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import fairdcov
from fairdcov import (
    AuditReport,
    CCDCovPenalty,
    DCovGammaRegressor,
    DCovLGBMRegressor,
    DCovPoissonRegressor,
    DCovRidge,
    SensitiveEncoder,
    UnawareFairRegressor,
    audit,
    concatenated_distance_covariance,
    distance_covariance,
    joint_distance_covariance,
    with_probabilities,
)
from fairdcov.actuarial import RatingTable
from fairdcov.metrics import (
    ccdcov,
    gini,
    js_divergence,
    lorenz_curve,
    make_fairness_scorer,
    null_distribution,
    root_mean_squared_error,
)
from fairdcov.penalties import BoundPenalty, Penalty
from fairdcov.plots import CalibrationDisplay, LorenzDisplay

Vector = NDArray[np.float64]

X: Vector = np.zeros((4, 2))
y: Vector = np.zeros(4)
people = [["f", "n"], ["m", "n"], ["f", "s"], ["m", "s"]]


def measures() -> None:
    """Functions of arrays."""
    assert_type(distance_covariance(y, X), float)
    assert_type(concatenated_distance_covariance(y, X, X, statistic="v"), float)
    assert_type(joint_distance_covariance(y, X, return_gradient=True, rank=True), tuple[float, Vector])
    distance_covariance(y, X, statistic="w")  # type: ignore[call-overload]
    distance_covariance(y, X, rank=True)  # type: ignore[call-overload]


def penalties() -> None:
    """A penalty is bound and evaluated."""
    bound = CCDCovPenalty(method="profiles", weighted=False).bind(people, n_threads=1)
    value, gradient = bound.value_gradient(y)
    assert_type(value, float)
    assert_type(gradient, Vector)
    CCDCovPenalty(scale="logarithmic")  # type: ignore[arg-type]


class Gap(BoundPenalty):
    """A penalty of one's own."""

    def value_gradient(self, u: Vector) -> tuple[float, Vector]:
        """The sum."""
        return float(u.sum()), np.ones_like(u)


class GapPenalty(Penalty):
    """What it is before it is bound."""

    def bind_attributes(self, attributes: Any, probabilities: Vector) -> BoundPenalty:
        """Of any attributes."""
        return Gap()


def estimators() -> None:
    """Fits give the estimator, predictions an array."""
    model = DCovPoissonRegressor("jdcov", 10.0, alpha=1e-4)
    assert_type(model.fit(X, y, y, sensitive_features=people), DCovPoissonRegressor)
    assert_type(model.strength_path(X, y, [0.0, 1.0], sensitive_features=people), Iterator[DCovPoissonRegressor])
    assert_type(model.predict(X), Vector)
    assert_type(model.score(X, y), float)
    DCovGammaRegressor(penalty=GapPenalty()).fit(X, y, sensitive_features=people, offset=1.0)
    DCovLGBMRegressor(objective="poisson", extra_parameter=1).fit(X, y, sensitive_features=people)
    UnawareFairRegressor(DCovRidge()).fit(X, y, sensitive_features=people)
    DCovPoissonRegressor(penalty="dcor")  # type: ignore[arg-type]
    DCovPoissonRegressor(strenght=1.0)  # type: ignore[call-arg]
    DCovLGBMRegressor(objective="huber")  # type: ignore[arg-type]


def attributes() -> None:
    """Encoders."""
    assert_type(SensitiveEncoder(drop_first=True).fit(people), SensitiveEncoder)  # type: ignore[call-arg]
    with_probabilities(X, {"race": ["p_white", "p_black"]})


def metrics() -> None:
    """Numbers, tables and scorers."""
    assert_type(js_divergence(None, y, sensitive_features=people), float)
    assert_type(ccdcov(None, y, sensitive_features=people), float)
    assert_type(gini(y, y, sample_weight=y), float)
    assert_type(lorenz_curve(y, y), tuple[Vector, Vector])
    assert_type(root_mean_squared_error([1.0], [1.0]), float)
    assert_type(null_distribution(js_divergence, None, y, sensitive_features=people).mean, float)
    make_fairness_scorer(js_divergence, greater_is_better=False)
    js_divergence(None, y)  # type: ignore[call-arg]
    js_divergence(None, y, sensitive_features=people, group_weights="size")  # type: ignore[arg-type]


def reports() -> None:
    """An audit, a table and pictures."""
    report = audit(y, y, sensitive_features=people)
    assert_type(report, AuditReport)
    assert_type(report.summary, str)
    table = RatingTable.from_model(DCovPoissonRegressor(), X)
    assert_type(table, RatingTable)
    assert_type(table.predict(X), Vector)
    LorenzDisplay.from_predictions(y, {"before": y, "after": y})
    CalibrationDisplay.from_estimator(object(), legend=False)
    assert_type(fairdcov.show_versions(), None)
