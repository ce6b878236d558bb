"""scikit-learn's own checks, for unpenalised fits and for fits whose penalty takes its attribute from X."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fairdcov import (
    CCDCovPenalty,
    DCovGammaRegressor,
    DCovLogisticRegression,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
)

ESTIMATORS = (
    DCovGammaRegressor,
    DCovLogisticRegression,
    DCovPoissonRegressor,
    DCovRidge,
    DCovTweedieRegressor,
)


def _first_column(X):
    """The first feature of whatever the checks pass as X; zeros where no number can be had from it."""
    if hasattr(X, "iloc"):
        X = X.iloc[:, 0].to_numpy()
    elif hasattr(X, "toarray"):
        X = X.toarray()[:, 0]
    else:
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] == 0:
            return np.zeros(X.shape[0] if X.ndim else 1)
        X = X[:, 0]
    if np.iscomplexobj(X):
        X = X.real
    try:
        X = X.astype(float)
    except (TypeError, ValueError):
        return np.zeros(len(X))
    return np.where(np.isfinite(X), X, 0.0)


def _penalised(estimator_class):
    """Subclass that penalises dependence on its own first feature, so that every generic check meets the penalty."""

    class Penalised(estimator_class):
        def fit(self, X, y, sample_weight=None, *, sensitive_features=None):
            if sensitive_features is None:
                sensitive_features = _first_column(X)
            return super().fit(X, y, sample_weight, sensitive_features=sensitive_features)

    Penalised.__name__ = Penalised.__qualname__ = f"Penalised{estimator_class.__name__}"
    globals()[Penalised.__name__] = Penalised  # where pickle looks for it
    return Penalised


PENALISED = [_penalised(estimator_class) for estimator_class in ESTIMATORS]


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.SensitiveFeaturesWarning")
@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.StrengthWarning")
@pytest.mark.filterwarnings("ignore:.*with less than two samples:sklearn.exceptions.UndefinedMetricWarning")
@parametrize_with_checks(
    [estimator_class(strength=0) for estimator_class in ESTIMATORS]
    + [estimator_class(strength=0.1, tol=1e-7) for estimator_class in PENALISED]
    + [PENALISED[2](CCDCovPenalty(normalize=False), strength=0.1, tol=1e-7)],
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
