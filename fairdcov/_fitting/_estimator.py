"""What every penalised estimator is: fit, the path over strengths, what it requests, and what it predicts from."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from inspect import Parameter, signature
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone, is_regressor
from sklearn.utils.validation import check_is_fitted, validate_data

from fairdcov._checks import Table, check_positive_number, fill_docstring
from fairdcov._fitting._device_arrays import refuse_dispatched
from fairdcov.encoding import drop_sensitive_columns

__all__ = ["FIT_PARTS", "PenalisedEstimator", "check_strengths"]

# Parts of the docstrings of ``fit``.
FIT_PARTS = {
    "rows": """y : (n,) array
        Target. For a claim frequency: claims / exposure, with exposure as ``sample_weight``.
    sample_weight : (n,) array, optional
        Row weights of the loss and (unless the penalty says ``weighted=False``) of the penalty. Rows of weight 0
        take no part.
    sensitive_features : DataFrame, Series or array, (n,) or (n, d), optional
        Protected attributes of any type, needed when ``strength > 0`` and never in ``predict``.
    control_features : DataFrame, Series or array, (n,) or (n, d), optional
        Legitimate factors of any type. The penalty then is of the dependence within their strata (conditional parity):
        differences between strata are free. See :meth:`fairdcov.CCDCovPenalty.bind`.
    offset : (n,) array or float, optional
        Known part of the prediction on the link scale, such as the logarithm of a base premium: the model learns what
        is to be added to it, and the penalty is of the whole prediction. Then needed in ``predict`` as well.""",
    "evaluation": """eval_set : tuple (X, y), or list of one such tuple, optional
        <use of eval_set>
    eval_sample_weight : (m,) array, or list of one, optional
        Row weights of ``eval_set``; rows of weight 0 take no part.
    eval_sensitive_features : DataFrame, Series or array, (m,) or (m, d), or list of one, optional
        Protected attributes of ``eval_set``, needed when ``strength > 0``.
    eval_control_features : DataFrame, Series or array, (m,) or (m, d), or list of one, optional
        Control features of ``eval_set``, needed where the fit has ``control_features``.
    eval_offset : (m,) array or float, or list of one, optional
        Offset of ``eval_set``, needed where the fit has an ``offset``.""",
    "outcome": """Returns
    -------
    self

    Raises
    ------
    ValueError
        For invalid values anywhere; ``MissingSensitiveFeaturesError`` when a penalty lacks its attributes. A fit
        that fails leaves the estimator as it was.""",
}


@contextmanager
def _unchanged_on_error(estimator):
    """Put the attributes of an estimator back when the block raises: no half-fitted estimators."""
    before = estimator.__dict__.copy()
    try:
        yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        raise


def check_strengths(strengths, name="strengths", *, allow_infinite=False):
    """Return strengths as floats, at least one and none negative, or raise."""
    if not np.iterable(strengths) or isinstance(strengths, str):
        raise TypeError(f"{name} must be a sequence of numbers; found {strengths!r}: pass [{strengths!r}] for one")
    strengths = [
        float(strength)
        if allow_infinite and isinstance(strength, numbers.Real) and strength == np.inf
        else check_positive_number(strength, name, allow_zero=True)
        for strength in strengths
    ]
    if not strengths:
        raise ValueError(f"{name} must have at least one value; found none")
    return strengths


class PenalisedEstimator(BaseEstimator):
    """A model fitted to ``mean loss + strength * penalty``, whatever learns it.

    Subclasses have ``penalty``, ``strength``, ``sensitive_columns`` and ``drop_sensitive_columns``; they provide
    :meth:`_loss`, ``_raw_predict`` and a problem.

    Attributes
    ----------
    _problem_class : type
        All of a fit that does not depend on the strength, made of the estimator, ``X``, ``y``, ``sample_weight``,
        ``sensitive_features``, a list of all strengths to come, and what else ``fit`` takes. Its ``solve(strength,
        start)`` returns where the next strength may start from and a dict of fitted attributes; ``estimator`` is the
        one it was made of.
    _learnt : str or None
        Fitted attribute that predictions are made of; None for any.
    _input : dict
        What ``validate_data`` is to accept.
    """

    # Requested by the class, so that pipelines and searches route them without set_fit_request.
    __metadata_request__fit = {  # noqa: RUF012
        "sensitive_features": True,
        "control_features": True,
        "sample_weight": True,
        "offset": True,
    }
    __metadata_request__predict = {"offset": True}  # noqa: RUF012
    __metadata_request__score = {"sample_weight": True, "offset": True}  # noqa: RUF012

    _problem_class: type
    _learnt: str | None = None
    _input: dict = {"dtype": np.float64}  # noqa: RUF012

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

    def _warm_start(self, problem):
        """Where ``fit`` starts from; None for the model without a penalty."""
        return

    def _check_path(self, strengths):
        """Raise for strengths that cannot be fitted in their order."""
        return

    # -- fit -----------------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sensitive_features: Table | None = None,
        control_features: Table | None = None,
        offset: ArrayLike | None = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        <rows>

        <outcome>

        Warns
        -----
        ConvergenceWarning
            When ``max_iter`` is reached; the message says what to do.
        StrengthWarning
            When a model of this strength would be worse than a constant, and a smaller one was taken.
        """
        return self._fit(X, y, sample_weight, sensitive_features, control_features=control_features, offset=offset)

    def _fit(self, X, y, sample_weight, sensitive_features, **further):
        with _unchanged_on_error(self):
            check_positive_number(self.strength, "strength", allow_zero=True)
            problem = self._problem_class(self, X, y, sample_weight, sensitive_features, [self.strength], **further)
            _, attributes = problem.solve(self.strength, self._warm_start(problem))
            self.__dict__.update(attributes)
        return self

    def strength_path(
        self,
        X: Table,
        y: ArrayLike,
        strengths: Iterable[float],
        sample_weight: ArrayLike | None = None,
        *,
        sensitive_features: Table | None = None,
        **fit_params: Any,
    ) -> Iterator[Self]:
        """Fit a model for each strength, each started from the one before.

        Input is validated, the penalty bound and the unpenalised model fitted once for the whole path.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        y : (n,) array
            Target.
        strengths : sequence of float
            Strengths in the order in which to fit them. Increasing ones start best, and boosters take no others: a
            model further along has the trees of the one before.
        sample_weight : (n,) array, optional
            Row weights, as in :meth:`fit`.
        sensitive_features : DataFrame, Series or array, (n,) or (n, d), optional
            Protected attributes; needed unless all strengths are 0.
        **fit_params
            What else :meth:`fit` takes, such as ``control_features``, ``offset``, or ``eval_set`` and its companions.

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
        >>> from fairdcov import DCovPoissonRegressor
        >>> from fairdcov.datasets import make_motor_portfolio
        >>> book = make_motor_portfolio(2_000, random_state=0)
        >>> X = book.data.select_dtypes("number")
        >>> data = {"sample_weight": book.exposure, "sensitive_features": book.sensitive_features}
        >>> path = DCovPoissonRegressor().strength_path(X, book.target, [0.0, 0.1, 1.0], **data)
        >>> penalties = [model.penalty_value_ for model in path]
        >>> penalties[0] > penalties[1] > penalties[2]
        True
        """
        strengths = check_strengths(strengths)
        self._check_path(strengths)
        problem = self._problem_class(clone(self), X, y, sample_weight, sensitive_features, strengths, **fit_params)
        return self._follow(problem, strengths)

    def _follow(self, problem, strengths):
        start = None
        for strength in strengths:
            start, attributes = problem.solve(strength, start)
            model = clone(problem.estimator).set_params(strength=strength)
            # Beside the attributes what validation has found out about X and y.
            learnt = {name: value for name, value in vars(problem.estimator).items() if name.endswith("_")}
            model.__dict__.update(learnt, **attributes)
            yield model

    # -- features ------------------------------------------------------------------------------------------------------

    def _validate(self, X, y, *, ensure_min_samples, reset):
        """Features and target of a fit, or (not ``reset``) of rows beside it."""
        refuse_dispatched(self, X=X, y=y)
        return validate_data(
            self,
            X,
            y,
            y_numeric=is_regressor(self),
            ensure_min_samples=ensure_min_samples,
            reset=reset,
            **self._input,
        )

    def _validate_features(self, X):
        refuse_dispatched(self, X=X)
        return validate_data(self, X, reset=False, **self._input)

    def _features(self, X):
        """Features to predict from, as the fitted model takes them."""
        check_is_fitted(self, self._learnt)
        if self.drop_sensitive_columns:
            X = drop_sensitive_columns(X, self.sensitive_columns, self.n_features_in_)
        return self._validate_features(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = "accept_sparse" in self._input
        return tags

    # -- models of earlier versions ------------------------------------------------------------------------------------

    def __setstate__(self, state):
        """Restore a state; parameters that it does not have, of an earlier version, get their defaults."""
        parameters = signature(type(self).__init__).parameters.values()
        defaults = {given.name: given.default for given in parameters if given.default is not Parameter.empty}
        super().__setstate__({**defaults, **state})


fill_docstring(PenalisedEstimator.fit, **FIT_PARTS)
