"""What an estimator is fitted by and scored by, in words: for tables, pictures and comparisons."""

from sklearn.base import ClassifierMixin, RegressorMixin

from fairdcov._checks import last_step
from fairdcov._fitting._families import FAMILIES
from fairdcov._fitting._losses import HalfTweedieLoss
from fairdcov._fitting._negative_binomial import HalfNegativeBinomialLoss
from fairdcov._fitting._prediction import BinaryClassifier, DevianceRegressor

__all__ = ["family_of", "name_of_own_score"]

_FAMILY_OF_POWER = {0.0: "gaussian", 1.0: "poisson", 2.0: "gamma"}


def family_of(estimator):
    """Family that an estimator of this package, or the one within a Pipeline or meta-estimator, is fitted by.

    Returns
    -------
    Family or None
        None for estimators of others.
    """
    estimator = last_step(estimator)
    if isinstance(estimator, DevianceRegressor | BinaryClassifier):
        return _family_of_loss(estimator._loss())
    inner = getattr(estimator, "estimator", None)
    return None if inner is None else family_of(inner)


def _family_of_loss(loss):
    if isinstance(loss, HalfTweedieLoss):
        return FAMILIES[_FAMILY_OF_POWER.get(loss.power, "tweedie")]
    return next(family for family in FAMILIES.values() if type(family.loss()) is type(loss))


def _name_of_deviance(loss):
    """The deviance of a loss, with its parameter where it has one."""
    if isinstance(loss, HalfNegativeBinomialLoss):
        return f"negative binomial deviance of dispersion {loss.dispersion:g}"
    family = _family_of_loss(loss)
    return f"Tweedie deviance of power {loss.power:g}" if family.name == "tweedie" else family.deviance_name


def name_of_own_score(estimator):
    """Name of what ``estimator.score`` gives, such as "share of the Poisson deviance explained"; None if not known."""
    estimator = last_step(estimator)
    score = getattr(type(estimator), "score", None)
    if isinstance(estimator, DevianceRegressor):
        loss = estimator._loss()
        # Of the squared error that share goes by another name.
        return "R²" if _family_of_loss(loss).name == "gaussian" else f"share of the {_name_of_deviance(loss)} explained"
    if score is RegressorMixin.score:
        return "R²"
    if score in (ClassifierMixin.score, BinaryClassifier.score):
        return "accuracy"
    inner = getattr(estimator, "estimator", None)
    # A search with a scorer scores by that.
    return None if inner is None or getattr(estimator, "scoring", None) is not None else name_of_own_score(inner)
