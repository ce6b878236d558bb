"""Claim frequency and severity as two models with one penalty on the premium, their product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import column_or_1d, validate_data

from fairdcov._checks import (
    Estimator,
    FloatArray,
    PenaltyLike,
    Table,
    check_consistent_rows,
    check_finite_vector,
    check_flag,
    check_positive_number,
    check_squarable,
    check_whole_number,
    fill_docstring,
)
from fairdcov._fitting import (
    FIT_PARTS,
    CoefficientObjective,
    DevianceRegressor,
    HalfTweedieLoss,
    PenalisedEstimator,
    RawObjective,
    check_offset,
    explained_deviance,
)
from fairdcov.linear_model._estimators import DCovGammaRegressor, DCovPoissonRegressor
from fairdcov.linear_model._frequency_severity_problem import PARTS, FrequencySeverityProblem, read_premiums
from fairdcov.linear_model._problem import PenalisedLinearModel

__all__ = ["FrequencySeverityRegressor"]

_OFFSETS = """frequency_offset, severity_offset : (n,) array or float, optional
        Offsets on the logarithmic scale, of models that were fitted with them."""


def _problem_of(model):
    """What fits two models of this kind with one penalty on their product; None for others."""
    if isinstance(model, PenalisedLinearModel) and hasattr(model, "_loss"):
        return FrequencySeverityProblem
    return getattr(model, "_product_problem", None)


def _check_no_offset(offset, method):
    """Raise for the offset of other regressors: which of the two models it is of, only who passes it knows."""
    if offset is not None:
        raise TypeError(
            "FrequencySeverityRegressor has two models and an offset for each: pass "
            f"{method}(..., frequency_offset=offset) for a known part of the number of claims, severity_offset=offset "
            "for one of their cost, on the logarithmic scale"
        )


class FrequencySeverityRegressor(DevianceRegressor, PenalisedEstimator):
    """Claim frequency and severity, fitted together so that the *premium* does not depend on protected attributes.

    Minimises, over the coefficients of a frequency model ``f = exp(X coef_f + ...)`` and of a severity model
    ``s = exp(X coef_s + ...)``,

        [sum_i w_i d_P(c_i / w_i, f_i) + sum_{c_i > 0} c_i d_G(a_i / c_i, s_i)] / (2 sum_i w_i)
        + strength * penalty(f s, S) + ridge terms

    with exposures ``w``, claim counts ``c``, claim amounts ``a``, and the unit deviances ``d_P`` and ``d_G`` of Poisson
    and gamma distribution. The penalty is of the premium that is charged, for every policy: the product of two
    models that are independent of the attributes need not be.

    Parameters
    ----------
    frequency : estimator, default=DCovPoissonRegressor()
        Linear model or booster of this package with a log link, or a Pipeline that ends in one. Of a linear model
        family, ``alpha`` and ``fit_intercept`` count, of a booster all that shapes its trees; penalty, strength and
        solver options do not. Not fitted itself.
    severity : estimator, default=DCovGammaRegressor()
        The same for the mean cost of a claim: a linear model beside one, a booster beside one.
    penalty : {"ccdcov", "jdcov", "dcov"} or penalty object, default="ccdcov"
        Dependence measure of the premium; see :class:`fairdcov.CCDCovPenalty`.
    strength : float, default=1.0
        Multiplier of the penalty, in units of the loss above for the default, scale-free penalty. 0 gives the two
        models fitted apart.
    frequency_features, severity_features : list of str or int, optional
        Columns of X that the one and the other model takes, by name (or position in an array). None: all.
    balance : bool, default=True
        Move both intercepts at the end so that expected claims and expected cost of the training rows equal the
        observed ones, where both models have one. A gamma model has no such balance by itself. No relativity changes.
    power : float, default=1.5
        Of the Tweedie deviance of the premium that :meth:`score` explains a share of, above 1 and below 2.
    max_iter : int, default=500
        Iterations at most, of the unpenalised start and of the penalised fit each. For linear models.
    tol : float, default=1e-4
        Tolerance, as in :class:`DCovPoissonRegressor`. For linear models.
    sensitive_columns : list of str or int, optional
        Columns of X that hold the protected attributes, instead of ``sensitive_features``.
    drop_sensitive_columns : bool, default=True
        Whether these columns are no features. They are then not needed in ``predict``.
    n_threads : int, optional
        Threads of the tile kernels; all available for None.
    verbose : int, default=0
        2 prints a line for each iteration, of boosters 1 a line for each strength.

    Attributes
    ----------
    frequency_, severity_ : estimator
        The fitted models, as ``frequency`` and ``severity`` were given; each predicts on its own from the columns it
        takes.
    n_iter_ : int
        Iterations taken by linear models.
    converged_ : bool
        Whether the tolerance was met. Of linear models.
    n_penalised_rounds_ : int
        Rounds of two boosters, each of which grows a tree on both.
    penalty_null_level_ : float
        Of two boosters, as in :class:`DCovLGBMRegressor`.
    effective_strength_ : float
        Strength that the fit goes by: ``strength``, or the largest one below it that was found to give a loss not worse
        than that of two constants on the training rows.
    loss_value_ : float
        The loss above, on the training rows.
    penalty_value_ : float
        Penalty of the premiums of the training rows, before ``strength``; NaN when fitted without protected attributes.
    objective_value_ : float
        ``loss_value_ + effective_strength_ * penalty_value_`` plus the ridge terms.
    penalty_method_ : str or None
        Algorithm the penalty used.
    penalty_error_bound_ : float or None
        Bound on the error of the normalised penalty.
    fitted_with_offsets_ : dict of bool
        Whether the fit had a ``frequency_offset`` and a ``severity_offset``.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (p,) array of str
        Names of the features, where X had names.

    See Also
    --------
    DCovTweedieRegressor : One model of the premium, which cannot say whether claims are many or dear.
    DCovPoissonRegressor, DCovGammaRegressor : The two models apart.

    Notes
    -----
    **Units.** As everywhere in the package ``y`` is per unit of exposure: the observed pure premium, claim *amount*
    divided by exposure, with the exposure as ``sample_weight``. ``claims`` is the *number* of claims of each row, not
    divided by anything. So rows of half a year are half a row, and scores, the calibrator and the audit compare ``y``
    with what :meth:`predict` gives.

    **Preprocessing.** Steps of a Pipeline before its model are fitted to all rows, also for the severity: the penalty
    needs the severity of policies without claims as well. Those of the frequency see ``claims / exposure`` as their
    target, those of the severity none.

    **Boosters** begin as the two fitted apart, the severity on the rows with claims. Each penalised round then grows a
    tree on both, on all rows, and keeps the predictions of the start, of rows without claims as well, as close as the
    penalty allows; leaves are moved together at the end, as for one booster. ``n_penalised_rounds`` and
    ``penalised_learning_rate`` have to be the same in both. LightGBM and XGBoost may stand beside each other.

    **Ridge terms** are those of the two models fitted apart: ``alpha`` stands beside the mean half deviance of each.

    Examples
    --------
    >>> from fairdcov import FrequencySeverityRegressor
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(5_000, random_state=0)
    >>> X = book.data.select_dtypes("number")
    >>> X = (X - X.mean()) / X.std()
    >>> premium = book.cost / book.exposure
    >>> data = {"sample_weight": book.exposure, "claims": book.claims, "sensitive_features": book.sensitive_features}
    >>> apart = FrequencySeverityRegressor(strength=0).fit(X, premium, **data)
    >>> joint = FrequencySeverityRegressor(strength=3.0).fit(X, premium, **data)
    >>> joint.penalty_value_ < 0.5 * apart.penalty_value_
    True
    >>> bool(abs(joint.predict(X) @ book.exposure / book.cost.sum() - 1) < 1e-9)
    True
    >>> bool(abs(joint.predict_frequency(X) @ book.exposure / book.claims.sum() - 1) < 1e-9)
    True
    """

    __metadata_request__fit = {  # noqa: RUF012
        "claims": True,
        "frequency_offset": True,
        "severity_offset": True,
        "offset": UNUSED,
    }
    __metadata_request__predict = {  # noqa: RUF012
        "frequency_offset": True,
        "severity_offset": True,
        "offset": UNUSED,
    }
    __metadata_request__score = {  # noqa: RUF012
        "frequency_offset": True,
        "severity_offset": True,
        "offset": UNUSED,
    }

    _learnt = "frequency_"
    _input = {  # noqa: RUF012
        "accept_sparse": "csr",
        "dtype": None,
        "ensure_all_finite": "allow-nan",
    }

    def __init__(
        self,
        frequency: Estimator = None,
        severity: Estimator = None,
        *,
        penalty: PenaltyLike = "ccdcov",
        strength: float = 1.0,
        frequency_features: Sequence[str | int] | None = None,
        severity_features: Sequence[str | int] | None = None,
        balance: bool = True,
        power: float = 1.5,
        max_iter: int = 500,
        tol: float = 1e-4,
        sensitive_columns: Sequence[str | int] | None = None,
        drop_sensitive_columns: bool = True,
        n_threads: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.frequency = frequency
        self.severity = severity
        self.penalty = penalty
        self.strength = strength
        self.frequency_features = frequency_features
        self.severity_features = severity_features
        self.balance = balance
        self.power = power
        self.max_iter = max_iter
        self.tol = tol
        self.sensitive_columns = sensitive_columns
        self.drop_sensitive_columns = drop_sensitive_columns
        self.n_threads = n_threads
        self.verbose = verbose

    # -- fit -----------------------------------------------------------------------------------------------------------

    def fit(  # type: ignore[override]  # an offset for each model
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        claims: ArrayLike | None = None,
        sensitive_features: Table | None = None,
        control_features: Table | None = None,
        frequency_offset: ArrayLike | None = None,
        severity_offset: ArrayLike | None = None,
        offset: None = None,
    ) -> Self:
        """Fit both models.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features of both, one row for each policy.
        y : (n,) array
            Observed pure premium: cost of the claims of the row, divided by its exposure.
        sample_weight : (n,) array, optional
            Exposure; 1 for None. Rows of exposure 0 take no part.
        claims : (n,) array
            Number of claims of each row, a whole number: above 0 exactly where ``y`` is.
        sensitive_features : DataFrame, Series or array, (n,) or (n, d), optional
            Protected attributes of any type, needed when ``strength > 0`` and never in ``predict``.
        control_features : DataFrame, Series or array, (n,) or (n, d), optional
            Legitimate factors of any type, within whose strata the premium is penalised.
        frequency_offset, severity_offset : (n,) array or float, optional
            Known parts of the logarithms of frequency and severity, such as the factors of a tariff that stay as they
            are. The penalty is of the whole premium. Then needed in ``predict`` as well.
        offset : None
            Other regressors take one; a known part of the premium has to be of the frequency or of the severity here.

        <outcome>
            Among them claims without an amount, amounts without claims, and claims that are no whole numbers.

        Warns
        -----
        ConvergenceWarning
            When ``max_iter`` is reached; the message says what to do.
        StrengthWarning
            When models of this strength would be worse than two constants, and a smaller one was taken.
        """
        _check_no_offset(offset, "fit")
        return self._fit(
            X,
            y,
            sample_weight,
            sensitive_features,
            claims=claims,
            control_features=control_features,
            frequency_offset=frequency_offset,
            severity_offset=severity_offset,
        )

    fill_docstring(fit, **FIT_PARTS)

    def _loss(self):
        if isinstance(self.power, bool) or not 1 < self.power < 2:
            raise ValueError(f"power must be above 1 and below 2; found {self.power!r}")
        return HalfTweedieLoss(float(self.power))

    @property
    def _problem_class(self):
        """What fits the two models: that of their kind."""
        kinds = [_problem_of(self._final(name)) for name in PARTS]
        if kinds[0] is not kinds[1]:
            names = " and ".join(type(self._final(name)).__name__ for name in PARTS)
            raise TypeError(f"frequency and severity must be two linear models or two boosters; found {names}")
        return kinds[0]

    def _check_path(self, strengths):
        for name in PARTS:
            self._final(name)._check_path(strengths)

    def _check_parameters(self):
        check_positive_number(self.tol, "tol")
        check_whole_number(self.max_iter, "max_iter")
        check_flag(self.balance, "balance")
        for name in PARTS:
            final = self._final(name)
            if isinstance(final, PenalisedLinearModel):
                check_positive_number(final.alpha, f"alpha of {name}", allow_zero=True)
            if final.sensitive_columns is not None:
                raise ValueError(
                    f"{name} names sensitive_columns of its own: name them in FrequencySeverityRegressor, whose "
                    "penalty takes them"
                )

    def _part(self, name):
        part = getattr(self, name)
        if part is None:
            return DCovPoissonRegressor() if name == "frequency" else DCovGammaRegressor()
        return part

    def _final(self, name):
        part = self._part(name)
        final = part.steps[-1][1] if isinstance(part, Pipeline) else part
        if _problem_of(final) is None or final._loss().link != "log":
            found = type(final).__name__
            if hasattr(final, "objective"):
                found += f" with objective={final.objective!r}"
            raise TypeError(
                f"{name} must be a model of fairdcov with a log link, such as DCovPoissonRegressor or "
                f"DCovGammaRegressor, or DCovLGBMRegressor(objective='poisson') and (objective='gamma'), or a Pipeline "
                f"that ends in one; found {found}. Networks are not fitted together: fit them apart, or one to the "
                "premium with objective='tweedie'"
            )
        return final

    def _read(self, *given, **named):
        return read_premiums(self, *given, **named)

    def _transformed_part(self, name, X, target):
        """An unfitted part (pipeline or None, final model) and its features, its preprocessing fitted."""
        part, final = clone(self._part(name)), clone(self._final(name))
        head, X = None, self._columns(name, X)
        if isinstance(part, Pipeline):
            head = part
            if len(part.steps) > 1:
                X = part[:-1].fit_transform(X, target if name == "frequency" else None)
        return (head, final), X

    def _finish_part(self, head, final, learnt):
        """A part with these attributes."""
        finished = clone(final)
        finished.__dict__.update(learnt)
        # Its own penalty and strength had no part in the fit.
        return finished if head is None else Pipeline([*head.steps[:-1], (head.steps[-1][0], finished)])

    def _prepare_part(self, name, X, target, weights, offset):
        """A linear part with its preprocessing fitted, (pipeline or None, final), and the objective of its loss."""
        (head, final), X = self._transformed_part(name, X, target)
        X, target = final._validate(X, target, ensure_min_samples=1, reset=True)
        check_squarable(X)
        loss = final._loss()
        loss.check_target(target[weights > 0])
        final.fitted_with_offset_ = offset is not None
        raw_objective = RawObjective(loss, target, weights / weights.sum(), offset=offset)
        ridge = final._ridge(weights.sum())
        self.fitted_with_offsets_ = {**getattr(self, "fitted_with_offsets_", {}), name: offset is not None}
        return (head, final), CoefficientObjective(X, raw_objective, ridge, final.fit_intercept)

    def _columns(self, name, X):
        """Features of a part."""
        wanted = getattr(self, f"{name}_features")
        if wanted is None:
            return X
        wanted = [wanted] if isinstance(wanted, str) else list(wanted)
        if isinstance(X, pd.DataFrame):
            absent = [column for column in wanted if column not in X.columns]
            if absent:
                raise ValueError(f"{name}_features names {absent}, which X does not have; its columns are {list(X)}")
            return X[wanted]
        if not all(isinstance(column, int | np.integer) and 0 <= column < X.shape[1] for column in wanted):
            raise ValueError(f"{name}_features={wanted} are not column positions of X with shape {X.shape}")
        return X[:, wanted]

    # -- features ------------------------------------------------------------------------------------------------------

    def _validate(self, X, y, *, ensure_min_samples, reset):
        if not isinstance(X, pd.DataFrame):
            return super()._validate(X, y, ensure_min_samples=ensure_min_samples, reset=reset)
        validate_data(self, X, skip_check_array=True, reset=reset)
        y = check_finite_vector(column_or_1d(y, warn=True), "y")
        check_consistent_rows(len(X), y, "y")
        if len(X) < ensure_min_samples:
            raise ValueError(f"X must have at least {ensure_min_samples} rows; found {len(X)}")
        return X, y

    def _validate_features(self, X):
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, skip_check_array=True, reset=False)
            return X
        return super()._validate_features(X)

    # -- predict -------------------------------------------------------------------------------------------------------

    def predict(  # type: ignore[override]  # an offset for each model
        self,
        X: Table,
        *,
        frequency_offset: ArrayLike | None = None,
        severity_offset: ArrayLike | None = None,
        offset: None = None,
    ) -> FloatArray:
        """Predict the pure premium per unit of exposure; no protected attribute is needed.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features as in ``fit``; ``sensitive_columns`` may be there or not.
        <offsets>
        offset : None
            As in ``fit``.

        Returns
        -------
        (n,) array
            Expected cost of claims per unit of exposure, the product of the next two.

        Raises
        ------
        ValueError
            When a prediction is not finite, and for offsets that are missing where the fit had them or there where it
            had none.
        """
        _check_no_offset(offset, "predict")
        X = self._features(X)
        frequency = self._predict_part("frequency", X, frequency_offset)
        return frequency * self._predict_part("severity", X, severity_offset)

    def predict_frequency(self, X: Table, *, frequency_offset: ArrayLike | None = None) -> FloatArray:
        """Predict the number of claims per unit of exposure.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        frequency_offset : (n,) array or float, optional
            Offset on the logarithmic scale, of models that were fitted with one.

        Returns
        -------
        (n,) array
        """
        return self._predict_part("frequency", self._features(X), frequency_offset)

    def predict_severity(self, X: Table, *, severity_offset: ArrayLike | None = None) -> FloatArray:
        """Predict the mean cost of a claim.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.
        severity_offset : (n,) array or float, optional
            Offset on the logarithmic scale, of models that were fitted with one.

        Returns
        -------
        (n,) array
        """
        return self._predict_part("severity", self._features(X), severity_offset)

    def _predict_part(self, name, X, offset):
        fitted_with_offset, argument = self.fitted_with_offsets_[name], f"{name}_offset"
        if fitted_with_offset != (offset is not None):
            raise ValueError(
                f"this {type(self).__name__} was fitted with a {argument} and predicts what is added to it: pass "
                f"{argument} of these rows, on the logarithmic scale"
                if fitted_with_offset
                else f"this {type(self).__name__} was fitted without a {argument}: leave it out, or fit with one"
            )
        part = getattr(self, f"{name}_")
        if offset is not None:
            offset = check_offset(offset, X.shape[0], name=argument, X=X)
        X, final = self._columns(name, X), part
        if isinstance(part, Pipeline):
            final = part.steps[-1][1]
            X = part[:-1].transform(X) if len(part.steps) > 1 else X
        if offset is None:
            return final.predict(X)
        return final.predict(X, offset=offset)

    def score(  # type: ignore[override]  # an offset for each model
        self,
        X: Table,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        frequency_offset: ArrayLike | None = None,
        severity_offset: ArrayLike | None = None,
        offset: None = None,
    ) -> float:
        """Share of the Tweedie deviance of the premium that the models explain, D^2.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features as in ``fit``.
        y : (n,) array
            Observed pure premium, cost per unit of exposure.
        sample_weight : (n,) array, optional
            Exposure.
        <offsets>
        offset : None
            As in ``fit``.

        Returns
        -------
        float
            1 at best; 0 for the mean of ``y`` in all rows.
        """
        _check_no_offset(offset, "score")
        given: dict[str, Any] = {"frequency_offset": frequency_offset, "severity_offset": severity_offset}
        # What answers in the place of predict where predictions are made already is asked without them.
        given = {name: value for name, value in given.items() if value is not None}
        prediction = self.predict(X, **given)
        return explained_deviance(self._loss(), prediction, y, sample_weight)

    for _method in (predict, score):
        fill_docstring(_method, offsets=_OFFSETS)
    del _method

    def __sklearn_is_fitted__(self):
        return hasattr(self, self._learnt)
