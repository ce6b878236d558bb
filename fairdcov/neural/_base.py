"""What the networks share: parameters, fit, the path over strengths, and predictions without PyTorch."""

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from fairdcov._checks import check_positive_number
from fairdcov._fitting import check_strengths, fitted_clone, unchanged_on_error
from fairdcov.encoding import drop_sensitive_columns
from fairdcov.neural._layers import raw_predictions
from fairdcov.neural._problem import Problem

__all__ = ["PenalisedNetwork"]


class PenalisedNetwork(BaseEstimator):
    """Fully connected network fitted to ``mean loss + strength * penalty + weight decay``.

    Subclasses say which loss and how predictions are returned.
    """

    # Requested by the class, so that pipelines and searches route them without set_fit_request.
    __metadata_request__fit = {  # noqa: RUF012
        "sensitive_features": True,
        "sample_weight": True,
        "eval_set": True,
        "eval_sample_weight": True,
        "eval_sensitive_features": True,
    }
    __metadata_request__score = {"sample_weight": True}  # noqa: RUF012

    # -- what subclasses provide ---------------------------------------------------------------------------------------

    def _loss(self):
        """Pointwise loss of the family."""
        raise NotImplementedError

    def _encode_target(self, y):
        """Target as floats."""
        return y.astype(np.float64, copy=False)

    def _encode_known_target(self, y):
        """Target of an ``eval_set`` as floats."""
        return self._encode_target(y)

    # -- fit -----------------------------------------------------------------------------------------------------------

    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        sensitive_features=None,
        eval_set=None,
        eval_sample_weight=None,
        eval_sensitive_features=None,
    ):
        """Fit the network.

        Parameters
        ----------
        X : array or DataFrame, (n, p)
            Numeric features, one column for each level of a category. They are standardised inside, and indicators of
            0 and 1 are centred.
        y : (n,) array
            Target. For a claim frequency: claims / exposure, with exposure as ``sample_weight``.
        sample_weight : (n,) array, optional
            Row weights of the loss and (unless the penalty says ``weighted=False``) of the penalty. Rows of weight 0
            take no part.
        sensitive_features : DataFrame, Series or array, (n,) or (n, d), optional
            Protected attributes of any type, needed when ``strength > 0`` and never in ``predict``.
        eval_set : tuple (X, y), or list of one such tuple, optional
            Rows to stop early by, instead of a part of ``X``.
        eval_sample_weight : array, optional
            Weights of the rows of ``eval_set``.
        eval_sensitive_features : DataFrame, Series or array, optional
            Protected attributes of the rows of ``eval_set``, needed when ``strength > 0``.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For invalid values anywhere; ``MissingSensitiveFeaturesError`` when the penalty lacks its attributes. A fit
            that fails leaves the estimator as it was.
        ImportError
            Without PyTorch; the message names the extra to install.

        Warns
        -----
        ConvergenceWarning
            When training ends at ``max_epochs`` or ``max_iter`` while it still gets better; the message says what to
            do.
        StrengthWarning
            When a network of this strength would be worse than a constant, and a smaller one was taken.
        """
        with unchanged_on_error(self):
            check_positive_number(self.strength, "strength", allow_zero=True)
            evaluation = (eval_set, eval_sample_weight, eval_sensitive_features)
            problem = Problem(self, X, y, sample_weight, sensitive_features, evaluation, [self.strength])
            start = None
            if self.warm_start and hasattr(self, "coefs_"):
                start = problem.starting_parameters(self.coefs_, self.intercepts_)
            _, attributes = problem.solve(self.strength, start)
            self.__dict__.update(attributes)
        return self

    def strength_path(
        self,
        X,
        y,
        strengths,
        sample_weight=None,
        *,
        sensitive_features=None,
        eval_set=None,
        eval_sample_weight=None,
        eval_sensitive_features=None,
    ):
        """Fit a network for each strength, each started from the one before.

        Input is validated, the penalty bound and the unpenalised network fitted once for the whole path.

        Parameters
        ----------
        X : array or DataFrame, (n, p)
            Features.
        y : (n,) array
            Target.
        strengths : sequence of float
            Strengths in the order in which to fit them; increasing ones start best.
        sample_weight : (n,) array, optional
            Row weights, as in :meth:`fit`.
        sensitive_features : DataFrame, Series or array, (n,) or (n, d), optional
            Protected attributes; needed unless all strengths are 0.
        eval_set, eval_sample_weight, eval_sensitive_features : optional
            Rows to stop early by, as in :meth:`fit`.

        Returns
        -------
        iterator of estimators
            Fitted clones of this estimator that differ in ``strength``, made as they are asked for.

        Raises
        ------
        ValueError
            At once, for invalid input as in :meth:`fit` and for empty or negative strengths.

        Examples
        --------
        >>> from fairdcov.datasets import make_motor_portfolio
        >>> from fairdcov.neural import DCovMLPRegressor
        >>> book = make_motor_portfolio(2_000, random_state=0)
        >>> X = book.data.select_dtypes("number")
        >>> model = DCovMLPRegressor(objective="poisson", hidden_layer_sizes=(8,), random_state=0)
        >>> data = {"sample_weight": book.exposure, "sensitive_features": book.sensitive_features}
        >>> path = model.strength_path(X, book.target, [0.0, 3.0, 30.0], **data)
        >>> penalties = [model.penalty_value_ for model in path]
        >>> penalties[0] > penalties[1] > penalties[2]
        True
        """
        strengths = check_strengths(strengths)
        evaluation = (eval_set, eval_sample_weight, eval_sensitive_features)
        problem = Problem(clone(self), X, y, sample_weight, sensitive_features, evaluation, strengths)
        return self._follow(problem, strengths)

    def _follow(self, problem, strengths):
        parameters = None
        for strength in strengths:
            parameters, attributes = problem.solve(strength, parameters)
            yield fitted_clone(problem.estimator, strength, attributes)

    # -- predict -------------------------------------------------------------------------------------------------------

    def _raw_predict(self, X):
        check_is_fitted(self, "coefs_")
        if self.drop_sensitive_columns:
            X = drop_sensitive_columns(X, self.sensitive_columns, self.n_features_in_)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return raw_predictions(X, self.coefs_, self.intercepts_, self.activation)
