"""What every penalised estimator does with its raw predictions, whatever gives them."""

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import d2_tweedie_score
from sklearn.utils.validation import column_or_1d

from fairdcov._fitting._losses import HalfBinomialLoss

__all__ = ["BinaryClassifier", "DevianceRegressor"]


def _check_finite(raw, values, what):
    """Return ``values``, or raise: a prediction that is not a finite number is none, and must not go unnoticed."""
    wrong = ~np.isfinite(values)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{int(wrong.sum())} of {len(values)} {what} are not finite, first in row {first}: the raw prediction "
            f"there is {raw[first]:.4g}. Either the row lies far outside the training data, or the fit has diverged"
        )
    return values


class DevianceRegressor(RegressorMixin):
    """Regression with a link, scored by the share of deviance explained.

    Subclasses provide ``_loss()``, a loss with a ``power``, and ``_raw_predict(X)``.
    """

    def predict(self, X):
        """Predict the mean of ``y``; no protected attribute is needed.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features as in ``fit``; ``sensitive_columns`` may be there or not.

        Returns
        -------
        (n,) array
            Predictions on the scale of ``y``: for a frequency model, expected claims per unit of exposure.

        Raises
        ------
        ValueError
            When a prediction is not finite, such as exp of a raw prediction of 800.
        """
        raw = self._raw_predict(X)
        return _check_finite(raw, self._loss().response(raw), "predictions")

    def score(self, X, y, sample_weight=None):
        """Share of the deviance that the model explains, D^2; R^2 for the squared error.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features as in ``fit``.
        y : (n,) array
            Target.
        sample_weight : (n,) array, optional
            Row weights, such as exposure.

        Returns
        -------
        float
            1 at best; 0 for the constant model. Where ``y`` is the same in all rows nothing is to be explained: 1 for
            predictions that equal it and 0 for any others, as in ``sklearn.metrics.r2_score``.
        """
        prediction = self.predict(X)
        target = column_or_1d(y, warn=True)
        keep = slice(None) if sample_weight is None else np.asarray(sample_weight) > 0
        counted = target[keep]
        if len(counted) > 1 and (counted == counted[0]).all():
            return float((prediction[keep] == counted).all())
        return d2_tweedie_score(y, prediction, sample_weight=sample_weight, power=self._loss().power)


class BinaryClassifier(ClassifierMixin):
    """Two classes by the log loss.

    Subclasses provide ``_raw_predict(X)``, log odds of the second of ``classes_``.
    """

    def _loss(self):
        return HalfBinomialLoss()

    def decision_function(self, X):
        """Log odds of the second class.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features as in ``fit``.

        Returns
        -------
        (n,) array
        """
        raw = self._raw_predict(X)
        return _check_finite(raw, raw, "log odds")

    def predict_proba(self, X):
        """Probability of each class; no protected attribute is needed.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features as in ``fit``; ``sensitive_columns`` may be there or not.

        Returns
        -------
        (n, 2) array
            Columns in the order of ``classes_``.
        """
        raw = self.decision_function(X)
        loss = self._loss()
        return np.column_stack([loss.response(-raw), loss.response(raw)])

    def predict_log_proba(self, X):
        """Logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features as in ``fit``.

        Returns
        -------
        (n, 2) array
        """
        raw = self.decision_function(X)
        return np.column_stack([-np.logaddexp(0.0, raw), -np.logaddexp(0.0, -raw)])

    def predict(self, X):
        """Predict the more probable class.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features as in ``fit``.

        Returns
        -------
        (n,) array of class labels
        """
        raw = self.decision_function(X)
        return self.classes_[(raw > 0).astype(int)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags
