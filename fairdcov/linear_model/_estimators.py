"""The estimators: what each family adds to the common fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from fairdcov._checks import PenaltyLike, check_choice, documented
from fairdcov._fitting import FAMILIES, BinaryClassifier, DevianceRegressor, HalfTweedieLoss
from fairdcov.linear_model._blocks import BlockFit
from fairdcov.linear_model._problem import PenalisedLinearModel

__all__ = [
    "DCovGammaRegressor",
    "DCovLogisticRegression",
    "DCovNegativeBinomialRegressor",
    "DCovPoissonRegressor",
    "DCovRidge",
    "DCovTweedieRegressor",
]

_PARAMETERS = """penalty : {"ccdcov", "jdcov", "dcov"} or penalty object, default="ccdcov"
        Dependence measure, with default options when given by name; see :class:`fairdcov.CCDCovPenalty`.
    strength : float, default=1.0
        Multiplier of the penalty, in units of the mean loss for the default, scale-free penalty. 0 gives scikit-learn's
        estimator. :class:`fairdcov.CCDCovPenalty` says what ``normalize=False`` means for it.
    alpha : float, default=1.0
        <alpha>
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is not shrunk.
    max_iter : int, default=500
        Iterations at most, of the unpenalised start and of the penalised fit each.
    tol : float, default=1e-4
        Tolerance on the gradient in coordinates of unit curvature; the objective is then within about ``tol ** 2`` per
        parameter of its minimum.
    warm_start : bool, default=False
        Start from the coefficients of the previous fit.
    sensitive_columns : list of str or int, optional
        Columns of X that hold the protected attributes, instead of ``sensitive_features``.
    drop_sensitive_columns : bool, default=True
        Whether these columns are no features. They are then not needed in ``predict``.
    n_threads : int, optional
        Threads of the penalty and of products with an array X; all available for None. No bit depends on them.
    verbose : int, default=0
        1 prints a line for each fit, 2 for each iteration."""

_ATTRIBUTES = """coef_ : <coef>
        Coefficients on the link scale.
    intercept_ : <intercept>
        Intercept; 0 without one.
    n_iter_ : int
        Iterations taken.
    converged_ : bool
        Whether the tolerance was met.
    effective_strength_ : float
        Strength that the fit goes by: ``strength``, or the largest one below it that was found to give a model not
        worse than a constant on the training rows.
    loss_value_ : float
        Weighted mean loss (half deviance) on the training rows.
    penalty_value_ : float
        Penalty on the training rows, before ``strength`` and net of the terms without predictions; NaN when fitted
        without protected attributes.
    objective_value_ : float
        ``loss_value_ + effective_strength_ * penalty_value_`` plus the ridge term.
    penalty_method_ : str or None
        Algorithm the penalty used.
    penalty_error_bound_ : float or None
        Bound on the error of the normalised penalty; 0 unless ``penalty_method_`` is ``"approximate"``.
    fitted_with_offset_ : bool
        Whether the fit had an offset, which predictions then need as well.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (p,) array of str
        Names of the features, where X had names."""


_SHAPES = {"coef": "(p,) array", "intercept": "float"}


class _Regressor(BlockFit, DevianceRegressor, PenalisedLinearModel):
    """Scores by the share of deviance explained, as scikit-learn's generalised linear models."""

    _family_name = ""

    def _loss(self):
        family = FAMILIES[self._family_name]
        return family.loss(family.option and getattr(self, family.option))


@documented(
    parameters=_PARAMETERS,
    attributes=_ATTRIBUTES,
    alpha="Multiplier of ``|coef|^2 / 2`` beside the mean half deviance, as in ``PoissonRegressor``.",
    **_SHAPES,
)
class DCovPoissonRegressor(_Regressor):
    """Poisson regression with log link whose predictions do not depend on protected attributes.

    Minimises ``sum_i w_i d(y_i, mu_i) / (2 sum_i w_i) + strength * penalty(mu, S) + alpha |coef|^2 / 2`` with the unit
    deviance ``d`` and ``mu = exp(X coef + intercept)``. For claim frequencies pass ``y = claims / exposure`` and
    ``sample_weight = exposure``. With the default penalty the fitted total of the training rows equals the observed
    total at every strength.

    Parameters
    ----------
    <parameters>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    sklearn.linear_model.PoissonRegressor : The same model with ``strength=0``.

    Examples
    --------
    >>> from fairdcov import DCovPoissonRegressor
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(5_000, random_state=0)
    >>> X = book.data.select_dtypes("number")
    >>> data = {"sample_weight": book.exposure, "sensitive_features": book.sensitive_features}
    >>> unaware = DCovPoissonRegressor(strength=0, alpha=1e-4).fit(X, book.target, **data)
    >>> penalised = DCovPoissonRegressor(strength=10.0, alpha=1e-4).fit(X, book.target, **data)
    >>> penalised.penalty_value_ < 0.5 * unaware.penalty_value_
    True
    >>> total = (penalised.predict(X) * book.exposure).sum()
    >>> bool(abs(total / book.claims.sum() - 1) < 1e-3)
    True
    """

    _family_name = "poisson"


@documented(
    parameters=_PARAMETERS,
    attributes=_ATTRIBUTES,
    alpha="Multiplier of ``|coef|^2 / 2`` beside the mean half deviance, as in ``PoissonRegressor``.",
    **_SHAPES,
)
class DCovNegativeBinomialRegressor(_Regressor):
    """Negative binomial regression (over-dispersed counts) whose predictions do not depend on protected attributes.

    The objective is that of :class:`DCovPoissonRegressor` with the deviance of the negative binomial distribution of
    mean ``mu = exp(X coef + intercept)`` and variance ``mu + dispersion mu^2`` (NB2), for a dispersion that is given.
    For claim frequencies pass ``y = claims / exposure`` and ``sample_weight = exposure``.

    Parameters
    ----------
    <parameters>
    dispersion : float, default=1.0
        Above 0, of a row of weight 1; towards 0 the model becomes :class:`DCovPoissonRegressor`.

    Attributes
    ----------
    <attributes>

    See Also
    --------
    DCovPoissonRegressor : The model for a variance that is equal to the mean.
    statsmodels.genmod.families.family.NegativeBinomial : The same model with ``strength=0`` and ``alpha=0``, where
        ``alpha`` is the dispersion and ``freq_weights`` are the weights.

    Notes
    -----
    **Exposure.** A weight ``w`` means ``w`` independent rows, or parts of a year: claims ``w y`` have mean ``w mu`` and
    variance ``w mu (1 + dispersion mu)``, a negative binomial distribution of dispersion ``dispersion / w``. So weights
    act as repetition, as everywhere in the package, and two half years tell as much as one year. That is another model
    than the one of counts with an offset ``log w``, where one unobserved factor acts on the whole row and the variance
    is ``w mu + dispersion (w mu)^2``; the two agree where all weights are 1.

    **Dispersion.** It is not estimated here. From expected claims ``e = exposure * predict(X)`` of a Poisson model it
    follows by moments as ``sum((claims - e)^2 - e) / sum(e^2 / exposure)``, or as the value at which Pearson's
    statistic, the sum of ``(claims - e)^2 / (e (1 + dispersion e / exposure))``, equals the number of rows less that of
    coefficients. For weights of 1, ``statsmodels.discrete.discrete_model.NegativeBinomial`` gives the one of the
    highest likelihood (its ``alpha``).

    **Balance.** The fitted total of the training rows is not the observed one exactly, since large expected counts
    weigh less than in a Poisson model; :class:`fairdcov.actuarial.Rebalancer` puts it right.

    Examples
    --------
    >>> from fairdcov import DCovNegativeBinomialRegressor, DCovPoissonRegressor
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(5_000, random_state=0)
    >>> X = book.data.select_dtypes("number")
    >>> data = {"sample_weight": book.exposure, "sensitive_features": book.sensitive_features}
    >>> poisson = DCovPoissonRegressor(strength=0, alpha=1e-4).fit(X, book.target, **data)
    >>> expected = book.exposure * poisson.predict(X)
    >>> dispersion = ((book.claims - expected) ** 2 - expected).sum() / (expected**2 / book.exposure).sum()
    >>> model = DCovNegativeBinomialRegressor(strength=10.0, alpha=1e-4, dispersion=max(dispersion, 0.01))
    >>> model.fit(X, book.target, **data).converged_
    True
    """

    _family_name = "negative_binomial"

    def __init__(
        self,
        penalty: PenaltyLike = "ccdcov",
        strength: float = 1.0,
        alpha: float = 1.0,
        *,
        dispersion: float = 1.0,
        fit_intercept: bool = True,
        max_iter: int = 500,
        tol: float = 1e-4,
        warm_start: bool = False,
        sensitive_columns: Sequence[str | int] | None = None,
        drop_sensitive_columns: bool = True,
        n_threads: int | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            penalty,
            strength,
            alpha,
            fit_intercept=fit_intercept,
            max_iter=max_iter,
            tol=tol,
            warm_start=warm_start,
            sensitive_columns=sensitive_columns,
            drop_sensitive_columns=drop_sensitive_columns,
            n_threads=n_threads,
            verbose=verbose,
        )
        self.dispersion = dispersion


@documented(
    parameters=_PARAMETERS,
    attributes=_ATTRIBUTES,
    alpha="Multiplier of ``|coef|^2 / 2`` beside the mean half deviance, as in ``GammaRegressor``.",
    **_SHAPES,
)
class DCovGammaRegressor(_Regressor):
    """Gamma regression with log link (claim severity) whose predictions do not depend on protected attributes.

    The objective is that of :class:`DCovPoissonRegressor` with the gamma deviance; ``y`` must be positive. For average
    costs pass the number of claims as ``sample_weight``.

    Parameters
    ----------
    <parameters>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    sklearn.linear_model.GammaRegressor : The same model with ``strength=0``.

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov import DCovGammaRegressor
    >>> rng = np.random.default_rng(0)
    >>> gender = rng.integers(0, 2, 300)
    >>> X = np.column_stack([gender + rng.normal(size=300), rng.normal(size=300)])
    >>> y = rng.gamma(2.0, np.exp(X[:, 0] / 2 + X[:, 1] / 2))
    >>> unaware = DCovGammaRegressor(strength=0, alpha=0.01).fit(X, y, sensitive_features=gender)
    >>> penalised = DCovGammaRegressor(strength=10.0, alpha=0.01).fit(X, y, sensitive_features=gender)
    >>> penalised.penalty_value_ < 0.2 * unaware.penalty_value_
    True
    """

    _family_name = "gamma"


@documented(
    parameters=_PARAMETERS,
    attributes=_ATTRIBUTES,
    alpha="Multiplier of ``|coef|^2 / 2`` beside the mean half deviance, as in ``TweedieRegressor``.",
    **_SHAPES,
)
class DCovTweedieRegressor(_Regressor):
    """Tweedie regression whose predictions do not depend on protected attributes.

    The objective is that of :class:`DCovPoissonRegressor` with the deviance of the chosen power; powers between 1 and 2
    suit pure premiums (claim cost per exposure, with exposure as ``sample_weight``).

    Parameters
    ----------
    <parameters>
    power : float, default=0.0
        0 normal, 1 Poisson, between 1 and 2 compound Poisson-gamma, 2 gamma, 3 inverse Gaussian.
    link : {"auto", "identity", "log"}, default="auto"
        ``"auto"`` is the identity for ``power <= 0`` and the logarithm otherwise.

    Attributes
    ----------
    <attributes>

    See Also
    --------
    sklearn.linear_model.TweedieRegressor : The same model with ``strength=0``.

    Examples
    --------
    >>> from fairdcov import DCovTweedieRegressor
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(5_000, random_state=0)
    >>> X = book.data.select_dtypes("number")
    >>> model = DCovTweedieRegressor(strength=1.0, power=1.5, alpha=1e-3)
    >>> model = model.fit(
    ...     X, book.cost / book.exposure, sample_weight=book.exposure, sensitive_features=book.sensitive_features
    ... )
    >>> model.converged_
    True
    """

    def __init__(
        self,
        penalty: PenaltyLike = "ccdcov",
        strength: float = 1.0,
        alpha: float = 1.0,
        *,
        power: float = 0.0,
        link: Literal["auto", "identity", "log"] = "auto",
        fit_intercept: bool = True,
        max_iter: int = 500,
        tol: float = 1e-4,
        warm_start: bool = False,
        sensitive_columns: Sequence[str | int] | None = None,
        drop_sensitive_columns: bool = True,
        n_threads: int | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            penalty,
            strength,
            alpha,
            fit_intercept=fit_intercept,
            max_iter=max_iter,
            tol=tol,
            warm_start=warm_start,
            sensitive_columns=sensitive_columns,
            drop_sensitive_columns=drop_sensitive_columns,
            n_threads=n_threads,
            verbose=verbose,
        )
        self.power = power
        self.link = link

    def _loss(self):
        if 0 < self.power < 1:
            raise ValueError(f"power must be <= 0 or >= 1, no distribution exists in between; found {self.power}")
        check_choice(self.link, "link", ("auto", "identity", "log"))
        link = self.link if self.link != "auto" else ("identity" if self.power <= 0 else "log")
        return HalfTweedieLoss(self.power, link)


@documented(
    parameters=_PARAMETERS,
    attributes=_ATTRIBUTES,
    alpha="Multiplier of ``|coef|^2`` beside the weighted *sum* of squared errors, as in ``Ridge``.",
    **_SHAPES,
)
class DCovRidge(_Regressor):
    """Least squares with ridge term whose predictions do not depend on protected attributes.

    Minimises ``[sum_i w_i (y_i - u_i)^2 + alpha |coef|^2] / (2 sum_i w_i) + strength * penalty(u, S)`` with
    ``u = X coef + intercept``.

    Parameters
    ----------
    <parameters>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    sklearn.linear_model.Ridge : The same model with ``strength=0``.

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov import DCovRidge
    >>> rng = np.random.default_rng(0)
    >>> age = rng.uniform(18, 80, size=400)
    >>> X = np.column_stack([age + 10 * rng.normal(size=400), rng.normal(size=400)])
    >>> y = X[:, 0] / 10 + X[:, 1] + rng.normal(size=400)
    >>> unaware = DCovRidge(strength=0).fit(X, y, sensitive_features=age)
    >>> penalised = DCovRidge(strength=100.0).fit(X, y, sensitive_features=age)
    >>> penalised.penalty_value_ < 0.05 * unaware.penalty_value_
    True
    """

    _family_name = "gaussian"

    def _ridge(self, total_weight):
        return float(self.alpha) / total_weight


@documented(
    parameters=_PARAMETERS,
    attributes=_ATTRIBUTES,
    alpha="Multiplier of ``|coef|^2 / 2`` beside the weighted *sum* of log losses; ``1 / C`` in sklearn.",
    coef="(1, p) array",
    intercept="(1,) array",
)
class DCovLogisticRegression(BlockFit, BinaryClassifier, PenalisedLinearModel):
    """Binary logistic regression whose probabilities do not depend on protected attributes.

    Minimises ``[sum_i w_i logloss_i + alpha |coef|^2 / 2] / sum_i w_i + strength * penalty(p, S)`` with the probability
    ``p`` of the second class (or, with ``scale="link"`` in the penalty, its logit).

    Parameters
    ----------
    <parameters>

    Attributes
    ----------
    classes_ : (2,) array
        Class labels.
    <attributes>

    See Also
    --------
    sklearn.linear_model.LogisticRegression : The same model with ``strength=0`` and ``C = 1 / alpha``.

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov import DCovLogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> gender = rng.choice(["f", "m"], size=500)
    >>> X = np.column_stack([(gender == "f") + rng.normal(size=500), rng.normal(size=500)])
    >>> y = X.sum(axis=1) + rng.normal(size=500) > 0
    >>> unaware = DCovLogisticRegression(strength=0).fit(X, y, sensitive_features=gender)
    >>> penalised = DCovLogisticRegression(strength=10.0).fit(X, y, sensitive_features=gender)
    >>> penalised.penalty_value_ < 0.2 * unaware.penalty_value_
    True
    >>> penalised.predict_proba(X).shape
    (500, 2)
    """

    def _ridge(self, total_weight):
        return float(self.alpha) / total_weight

    def _publish(self, coefficients, intercept):
        return {"coef_": coefficients[None, :], "intercept_": np.array([intercept])}
