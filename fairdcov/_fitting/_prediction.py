"""What every penalised estimator does with its raw predictions, whatever gives them."""

import warnings

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils.validation import column_or_1d

from fairdcov._checks import check_consistent_rows, check_finite_vector, check_sample_weight
from fairdcov._fitting._families import FAMILIES, regression_family
from fairdcov._fitting._training_data import encode_binary_target

__all__ = ["BinaryClassifier", "DevianceRegressor", "ObjectiveRegressor"]


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

    Subclasses provide ``_loss()`` and ``_raw_predict(X)``.
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
        loss = self._loss()
        # Of what predict gives, whoever has put it in the place of the model's own.
        prediction = self.predict(X)
        target = check_finite_vector(column_or_1d(y, warn=True), "y")
        check_consistent_rows(len(prediction), target, "y")
        weights = check_sample_weight(sample_weight, len(prediction))
        keep = weights > 0
        prediction, target, weights = prediction[keep], target[keep], weights[keep]
        if len(target) < 2:
            warnings.warn(
                "D^2 score is not well-defined with less than two samples.", UndefinedMetricWarning, stacklevel=2
            )
            return float("nan")
        if (target == target[0]).all():
            return float((prediction == target).all())
        loss.check_target(target)
        deviances = loss.deviance(target, prediction)
        if not np.isfinite(deviances).all():
            _check_finite(self._raw_predict(X)[keep], deviances, "deviances")
        mean = np.average(target, weights=weights)
        constant = np.average(loss.deviance(target, mean), weights=weights)
        if not np.isfinite(constant):
            raise ValueError(f"y has a mean of {mean:g}, which the {loss.name} does not have")
        return float(1 - np.average(deviances, weights=weights) / constant)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = self._loss().target_range != "any"
        return tags


class ObjectiveRegressor(DevianceRegressor):
    """Regression by a parameter ``objective``, the name of a family."""

    def _family(self):
        return regression_family(self.objective)

    def _loss(self):
        return self._family().loss_of(self)


class BinaryClassifier(ClassifierMixin):
    """Two classes by the log loss.

    Subclasses provide ``_raw_predict(X)``, log odds of the second of ``classes_``.
    """

    def _family(self):
        return FAMILIES["binomial"]

    def _loss(self):
        return self._family().loss()

    def _encode_target(self, y):
        self.classes_, target = encode_binary_target(y)
        return target

    def _encode_known_target(self, y):
        y = column_or_1d(y, warn=True)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y has the label {unknown.tolist()[0]!r}, which is none of {self.classes_.tolist()}")
        return (y == self.classes_[1]).astype(np.float64)

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
