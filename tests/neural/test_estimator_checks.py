"""scikit-learn's own checks, for unpenalised fits and for fits whose penalty takes its attribute from X."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

pytest.importorskip("torch")

from fairdcov.neural import DCovMLPClassifier, DCovMLPRegressor

SETTINGS = {"hidden_layer_sizes": (5,), "max_epochs": 20, "max_iter": 5, "learning_rate_init": 0.02}
# Mini-batches split and weight rows otherwise than their repetitions do; so do scikit-learn's networks. On the full
# sample weights are repetition: tests/neural/test_networks.py.
EXPECTED = {"check_sample_weight_equivalence_on_dense_data": "mini-batches and rows held back are drawn by row"}


def _first_column(X):
    """The first feature of whatever the checks pass as X; zeros where no number can be had from it."""
    X = X.iloc[:, 0].to_numpy() if hasattr(X, "iloc") else X
    if hasattr(X, "toarray"):
        return np.zeros(X.shape[0])
    X = np.asarray(X)
    if X.ndim == 2 and X.shape[1] > 0:
        X = X[:, 0]
    elif X.ndim != 1:
        return np.zeros(X.shape[0] if X.ndim else 1)
    try:
        X = X.real.astype(float)
    except (TypeError, ValueError):
        return np.zeros(len(X))
    return np.where(np.isfinite(X), X, 0.0)


class PenalisedRegressor(DCovMLPRegressor):
    """Penalises dependence on its own first feature, so that every generic check meets the penalty."""

    def fit(self, X, y, sample_weight=None, *, sensitive_features=None):
        """Fit with the first feature protected."""
        return super().fit(X, y, sample_weight, sensitive_features=_first_column(X))


class PenalisedClassifier(DCovMLPClassifier):
    """Penalises dependence on its own first feature, so that every generic check meets the penalty."""

    def fit(self, X, y, sample_weight=None, *, sensitive_features=None):
        """Fit with the first feature protected."""
        return super().fit(X, y, sample_weight, sensitive_features=_first_column(X))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.SensitiveFeaturesWarning")
@pytest.mark.filterwarnings("ignore:.*with less than two samples:sklearn.exceptions.UndefinedMetricWarning")
@parametrize_with_checks(
    [
        DCovMLPRegressor(strength=0, early_stopping=False, **SETTINGS),
        DCovMLPRegressor(strength=0, objective="poisson", **SETTINGS),
        DCovMLPClassifier(strength=0, early_stopping=False, **SETTINGS),
        PenalisedRegressor(strength=0.1, early_stopping=False, **SETTINGS),
        PenalisedClassifier(strength=0.1, early_stopping=False, **SETTINGS),
    ],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
