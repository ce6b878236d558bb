"""scikit-learn's own checks, for unpenalised fits and for fits whose penalty takes its attribute from X."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fairdcov import DCovLGBMClassifier, DCovLGBMRegressor, DCovXGBRegressor

pytest.importorskip("lightgbm")

SMALL = {"n_estimators": 5, "n_fair_rounds": 3, "min_child_weight": 1e-3, "n_jobs": 1}
# LightGBM cuts features into bins, and forms leaves, by the number of rows, not by their weight.
BINNED = {
    "check_sample_weight_equivalence_on_dense_data": "bins and leaves depend on the number of rows",
    "check_sample_weight_equivalence_on_sparse_data": "bins and leaves depend on the number of rows",
}


def _estimators():
    yield DCovLGBMRegressor(strength=0, min_child_samples=1, **SMALL)
    yield DCovLGBMClassifier(strength=0, min_child_samples=1, **SMALL)
    try:
        import xgboost  # noqa: F401
    except ImportError:
        return
    yield DCovXGBRegressor(strength=0, **SMALL)


@parametrize_with_checks(
    list(_estimators()), expected_failed_checks=lambda estimator: BINNED if "LGBM" in type(estimator).__name__ else {}
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


class PenalisedByFirstFeature(DCovLGBMRegressor):
    """Penalises dependence on its own first feature, so that generic checks meet the fair rounds."""

    def fit(self, X, y, sample_weight=None, *, sensitive_features=None):
        if sensitive_features is None:
            first = np.asarray(X.toarray() if hasattr(X, "toarray") else X)
            first = first[:, 0] if first.ndim == 2 and first.shape[1] else np.zeros(len(first))
            first = first.real.astype(float) if first.dtype.kind in "biufc" else np.zeros(len(first))
            sensitive_features = np.where(np.isfinite(first), first, 0.0)
        return super().fit(X, y, sample_weight, sensitive_features=sensitive_features)


@pytest.mark.filterwarnings("ignore::fairdcov.exceptions.SensitiveFeaturesWarning")
@parametrize_with_checks(
    [PenalisedByFirstFeature(strength=1.0, min_child_samples=1, **SMALL)],
    expected_failed_checks=lambda estimator: BINNED,
)
def test_scikit_learn_checks_with_a_penalty(estimator, check):
    check(estimator)
