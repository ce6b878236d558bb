"""The one table of families: what learners, command line and report know of the distribution of a target."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fairdcov._checks import check_choice
from fairdcov._fitting._losses import HalfBinomialLoss, HalfSquaredError, HalfTweedieLoss
from fairdcov._fitting._negative_binomial import HalfNegativeBinomialLoss

__all__ = ["FAMILIES", "FAMILIES_BY_LOSS", "Family", "regression_family"]


@dataclass(frozen=True)
class Family:
    """Distribution of a target.

    Attributes
    ----------
    name : str
        Of the distribution, as on the command line.
    make_loss : callable
        Makes the loss, of the parameter where there is one.
    objective : str or None
        Its name as ``objective`` of a regressor; None for a classifier.
    glm : str
        Estimator of :mod:`fairdcov` that fits it as a generalised linear model.
    task : str
        What such a model is for, as in :func:`fairdcov.report.audit`.
    deviance_name : str
        Name of its deviance there.
    lightgbm, xgboost : str or None
        Objective of the learner. None: it has none, and its trees are grown on our gradients.
    parameter : str or None
        Parameter of regressors that the loss takes.
    default : float or None
        Its default.
    learner_parameter : str or None
        Its name in LightGBM and XGBoost.
    """

    name: str
    make_loss: Callable
    objective: str | None
    glm: str
    task: str
    deviance_name: str
    lightgbm: str | None = None
    xgboost: str | None = None
    parameter: str | None = None
    default: float | None = None
    learner_parameter: str | None = None

    @property
    def option(self):
        """Name of the parameter where the family is known, as in an estimator of its own; None without one."""
        return self.parameter and self.parameter.removeprefix(f"{self.name}_")

    def loss(self, parameter=None):
        """The loss; of the default where no parameter is given."""
        if self.parameter is None:
            return self.make_loss()
        return self.make_loss(self.default if parameter is None else parameter)

    def parameter_of_learner(self, estimator):
        """The parameter by its name in LightGBM and XGBoost, a dict."""
        return {self.learner_parameter: getattr(estimator, self.parameter)} if self.learner_parameter else {}

    def loss_of(self, estimator):
        """The loss with the parameter that an estimator has."""
        return self.loss(self.parameter and getattr(estimator, self.parameter))


def _compound_poisson(power):
    if isinstance(power, bool) or not 1 < power < 2:
        raise ValueError(
            f"tweedie_power must be above 1 and below 2; found {power!r} (1 is objective='poisson', 2 is "
            "objective='gamma')"
        )
    return HalfTweedieLoss(float(power))


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "poisson",
            partial(HalfTweedieLoss, 1.0),
            objective="poisson",
            glm="DCovPoissonRegressor",
            task="frequency",
            deviance_name="Poisson deviance",
            lightgbm="poisson",
            xgboost="count:poisson",
        ),
        Family(
            "negative_binomial",
            HalfNegativeBinomialLoss,
            objective="negative_binomial",
            glm="DCovNegativeBinomialRegressor",
            task="frequency",
            deviance_name="negative binomial deviance",
            parameter="dispersion",
            default=1.0,
        ),
        Family(
            "tweedie",
            _compound_poisson,
            objective="tweedie",
            glm="DCovTweedieRegressor",
            task="pure_premium",
            deviance_name="Tweedie deviance of power 1.5",
            lightgbm="tweedie",
            xgboost="reg:tweedie",
            parameter="tweedie_power",
            default=1.5,
            learner_parameter="tweedie_variance_power",
        ),
        Family(
            "gamma",
            partial(HalfTweedieLoss, 2.0),
            objective="gamma",
            glm="DCovGammaRegressor",
            task="severity",
            deviance_name="gamma deviance",
            lightgbm="gamma",
            xgboost="reg:gamma",
        ),
        Family(
            "gaussian",
            HalfSquaredError,
            objective="squared_error",
            glm="DCovRidge",
            task="regression",
            deviance_name="squared error",
            lightgbm="regression",
            xgboost="reg:squarederror",
        ),
        Family(
            "binomial",
            HalfBinomialLoss,
            objective=None,
            glm="DCovLogisticRegression",
            task="classification",
            deviance_name="Bernoulli deviance",
            lightgbm="binary",
        ),
    )
}

# By the name of their loss: that of the objective of a regressor, their own for a classifier.
FAMILIES_BY_LOSS = {family.objective or name: family for name, family in FAMILIES.items()}
_BY_OBJECTIVE = {family.objective: family for family in FAMILIES.values() if family.objective}


def regression_family(objective):
    """Family by the name that regressors give it; all but the squared error have a log link.

    Parameters
    ----------
    objective : {"poisson", "negative_binomial", "gamma", "tweedie", "squared_error"}
        Name.

    Returns
    -------
    Family

    Raises
    ------
    ValueError
        For another name.

    Examples
    --------
    >>> from fairdcov._fitting import regression_family
    >>> regression_family("gamma").loss().power
    2.0
    """
    return _BY_OBJECTIVE[check_choice(objective, "objective", tuple(_BY_OBJECTIVE))]
