"""What every penalised estimator does with its raw predictions, whatever gives them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import column_or_1d

from fairdcov._checks import FloatArray, Table, check_consistent_rows, check_finite_vector, check_sample_weight
from fairdcov._fitting._device_arrays import as_given, as_tensor, on_host
from fairdcov._fitting._families import FAMILIES, regression_family
from fairdcov._fitting._functions import functions_of, is_tensor
from fairdcov._fitting._training_data import check_offset, encode_binary_target

__all__ = ["BinaryClassifier", "DevianceRegressor", "ObjectiveRegressor", "explained_deviance"]


def _check_finite(raw, values, what):
    """Return ``values``, or raise: a prediction that is not a finite number is none, and must not go unnoticed."""
    wrong = ~functions_of(values).isfinite(values)
    if wrong.any():
        first = int((1 * wrong).argmax())
        raise ValueError(
            f"{int(wrong.sum())} of {len(values)} {what} are not finite, first in row {first}: the raw prediction "
            f"there is {raw[first]:.4g}. Either the row lies far outside the training data, or the fit has diverged"
        )
    return values


def given_offset(offset):
    """The argument where there is one: predictions may be answered by others, who know of none."""
    return {} if offset is None else {"offset": offset}


class _OffsetPrediction:
    """Raw predictions with the offset that a fit may have had; ``_raw_predict(X)`` of subclasses knows of none."""

    def _whole_raw(self, X, offset):
        raw = self._raw_predict(X)
        # Models of earlier versions have none.
        fitted_with_offset = getattr(self, "fitted_with_offset_", False)
        if fitted_with_offset != (offset is not None):
            name = type(self).__name__
            raise ValueError(
                f"this {name} was fitted with an offset and predicts what is added to it: pass the offset of these "
                "rows, on the link scale (offset=0 gives what is added alone)"
                if fitted_with_offset
                else f"this {name} was fitted without an offset and predicts without: leave offset out, or fit with one"
            )
        if offset is None:
            return raw
        if is_tensor(raw):
            offset = on_host(offset)
            return raw + raw.new_tensor(check_offset(offset, len(raw)))
        return raw + check_offset(offset, len(raw), X=X)


def explained_deviance(loss, prediction, y, sample_weight, raw=None):
    """Share of the deviance that predictions explain, D^2.

    ``raw()`` gives the raw predictions, which an error is about; without it they come from the predictions.
    """
    target = check_finite_vector(column_or_1d(y, warn=True), "y")
    check_consistent_rows(len(prediction), target, "y")
    weights = check_sample_weight(sample_weight, len(prediction))
    keep = weights > 0
    prediction, target, weights = prediction[keep], target[keep], weights[keep]
    if len(target) < 2:
        warnings.warn("D^2 score is not well-defined with less than two samples.", UndefinedMetricWarning, stacklevel=2)
        return float("nan")
    if (target == target[0]).all():
        return float((prediction == target).all())
    loss.check_target(target)
    deviances = loss.deviance(target, prediction)
    if not np.isfinite(deviances).all():
        _check_finite(loss.intercept(prediction) if raw is None else raw()[keep], deviances, "deviances")
    mean = np.average(target, weights=weights)
    constant = np.average(loss.deviance(target, mean), weights=weights)
    if not np.isfinite(constant):
        raise ValueError(f"y has a mean of {mean:g}, which the {loss.name} does not have")
    return float(1 - np.average(deviances, weights=weights) / constant)


class DevianceRegressor(_OffsetPrediction, RegressorMixin):
    """Regression with a link, scored by the share of deviance explained.

    Subclasses provide ``_loss()`` and ``_raw_predict(X)``.
    """

    def predict(self, X: Table, offset: ArrayLike | None = None) -> FloatArray:
        """Predict the mean of ``y``; no protected attribute is needed.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features as in ``fit``; ``sensitive_columns`` may be there or not.
        offset : (n,) array or float, optional
            Offset on the link scale, of models that were fitted with one.

        Returns
        -------
        (n,) array
            Predictions on the scale of ``y``: for a frequency model, expected claims per unit of exposure.

        Raises
        ------
        ValueError
            When a prediction is not finite, such as exp of a raw prediction of 800, and for an offset that is missing
            where the fit had one, is there where it had none, is not finite or has another number of rows.
        """
        raw = self._whole_raw(X, offset)
        return as_given(_check_finite(raw, self._loss().response(raw), "predictions"), X)

    def score(
        self, X: Table, y: ArrayLike, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None
    ) -> float:
        """Share of the deviance that the model explains, D^2; R^2 for the squared error.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features as in ``fit``.
        y : (n,) array
            Target.
        sample_weight : (n,) array, optional
            Row weights, such as exposure.
        offset : (n,) array or float, optional
            Offset on the link scale, of models that were fitted with one.

        Returns
        -------
        float
            1 at best; 0 for the mean of ``y`` in all rows, whatever the offset. Where ``y`` is the same in all rows
            nothing is to be explained: 1 for predictions that equal it and 0 for any others, as in
            ``sklearn.metrics.r2_score``.
        """
        # Of what predict gives, whoever has put it in the place of the model's own.
        prediction = self.predict(X, **given_offset(offset))
        y, sample_weight = on_host(y), on_host(sample_weight)
        return explained_deviance(
            self._loss(), on_host(prediction), y, sample_weight, lambda: on_host(self._whole_raw(X, offset))
        )

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


class BinaryClassifier(_OffsetPrediction, ClassifierMixin):
    """Two classes by the log loss.

    Subclasses provide ``_raw_predict(X)``, log odds of the second of ``classes_``.
    """

    __metadata_request__predict_proba = {"offset": True}  # noqa: RUF012
    __metadata_request__predict_log_proba = {"offset": True}  # noqa: RUF012
    __metadata_request__decision_function = {"offset": True}  # noqa: RUF012

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

    def decision_function(self, X: Table, offset: ArrayLike | None = None) -> FloatArray:
        """Log odds of the second class.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features as in ``fit``.
        offset : (n,) array or float, optional
            Offset on the link scale, of models that were fitted with one.

        Returns
        -------
        (n,) array
        """
        raw = self._whole_raw(X, offset)
        return as_given(_check_finite(raw, raw, "log odds"), X)

    def predict_proba(self, X: Table, offset: ArrayLike | None = None) -> FloatArray:
        """Probability of each class; no protected attribute is needed.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features as in ``fit``; ``sensitive_columns`` may be there or not.
        offset : (n,) array or float, optional
            Offset on the link scale, of models that were fitted with one.

        Returns
        -------
        (n, 2) array
            Columns in the order of ``classes_``.
        """
        raw = self.decision_function(X, **given_offset(offset))
        raw, loss = as_tensor(raw), self._loss()
        probabilities = functions_of(raw).column_stack([loss.response(-raw), loss.response(raw)])
        return as_given(probabilities, X)

    def predict_log_proba(self, X: Table, offset: ArrayLike | None = None) -> FloatArray:
        """Logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features as in ``fit``.
        offset : (n,) array or float, optional
            Offset on the link scale, of models that were fitted with one.

        Returns
        -------
        (n, 2) array
        """
        raw = self.decision_function(X, **given_offset(offset))
        raw = as_tensor(raw)
        functions = functions_of(raw)
        return as_given(functions.column_stack([-functions.log1pexp(raw), -functions.log1pexp(-raw)]), X)

    def predict(self, X: Table, offset: ArrayLike | None = None) -> NDArray[Any]:
        """Predict the more probable class.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features as in ``fit``.
        offset : (n,) array or float, optional
            Offset on the link scale, of models that were fitted with one.

        Returns
        -------
        (n,) array of class labels
        """
        raw = self.decision_function(X, **given_offset(offset))
        raw = as_tensor(raw)
        if is_tensor(raw) and self.classes_.dtype.kind in "biuf":
            return as_given(raw.new_tensor(self.classes_, dtype=None)[(raw > 0).long()], X)
        return self.classes_[(on_host(raw) > 0).astype(int)]

    def score(
        self, X: Table, y: ArrayLike, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None
    ) -> float:
        """Share of the rows whose class is predicted.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features as in ``fit``.
        y : (n,) array
            Class labels.
        sample_weight : (n,) array, optional
            Row weights.
        offset : (n,) array or float, optional
            Offset on the link scale, of models that were fitted with one.

        Returns
        -------
        float
        """
        predicted = on_host(self.predict(X, **given_offset(offset)))
        return accuracy_score(on_host(y), predicted, sample_weight=on_host(sample_weight))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags
