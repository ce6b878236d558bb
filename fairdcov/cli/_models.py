"""The families and models that ``fairdcov fit`` offers, and the types that a saved model may consist of."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

import fairdcov
from fairdcov import CCDCovPenalty, DCovPenalty, JDCovPenalty
from fairdcov._checks import import_optional
from fairdcov._fitting import FAMILIES as _FAMILIES
from fairdcov._fitting import Family
from fairdcov.actuarial import Rebalancer
from fairdcov.cli._features import QuantityColumns, feature_columns
from fairdcov.cli._model_file import check_model_file
from fairdcov.cli._model_options import read_model_options
from fairdcov.metrics import binary_log_loss

__all__ = [
    "FAMILIES",
    "MODELS",
    "PARTS",
    "PENALTIES",
    "AddedToOffset",
    "build_model",
    "load_model",
    "parts_of",
    "premium_model",
    "rebalanced",
    "response",
    "trusted_types",
]

PENALTIES = {"ccdcov": CCDCovPenalty, "jdcov": JDCovPenalty, "dcov": DCovPenalty}


# ---------------------------------------------------------------------------------------------------------------------
# Families
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FamilyOption:
    """A family in the words of the command line.

    Attributes
    ----------
    family : Family
        What learners know of it.
    score : str
        Name of the score that the calibration reports.
    scoring : str or None
        Scorer, the estimator's own for None.
    measure : str
        What the comparison on the rows held back calls it.
    """

    family: Family
    score: str = "D²"
    scoring: str | None = None
    measure: str = "deviance"

    @property
    def task(self):
        """Its name in :func:`fairdcov.report.audit`."""
        return self.family.task

    @property
    def link(self):
        """Name of the link."""
        return self.family.loss().link

    @property
    def log_link(self):
        """Whether the model is multiplicative."""
        return self.link == "log"

    def parameter(self, options):
        """What its option was set to; None without one."""
        return self.family.option and getattr(options, self.family.option)

    def check_target(self, target, option="--target"):
        """Raise for values that the family does not have."""
        name, loss = self.family.name, self.family.loss()
        wrong = loss.out_of_range(target)
        if wrong.any():
            positive = loss.target_range == "positive"
            who = f"--family {name}" if option == "--target" else option
            raise ValueError(
                f"{who} needs a target {'above 0' if positive else 'at least 0'}; found "
                f"{target[wrong].min():g}, and {int(wrong.sum()):,} such row(s) in all"
                + (": rows without claims have no severity, leave them out" if positive else "")
            )
        if loss.target_range == "binary" and not np.array_equal(np.unique(target), [0.0, 1.0]):
            found = ", ".join(f"{value:g}" for value in np.unique(target)[:5])
            raise ValueError(f"--family {name} needs a target of 0 and 1, both present; found {found}")
        if target.min() == target.max():
            raise ValueError(f"{option} is {target[0]:g} in every row: there is nothing to fit")

    def deviance(self, y_true, y_pred, sample_weight, parameter):
        """Mean deviance, or log loss, weighted."""
        if self.family.objective is None:
            return binary_log_loss(y_true, y_pred, sample_weight=sample_weight)
        deviances = self.family.loss(parameter).deviance(y_true, y_pred)
        return float(np.average(deviances, weights=sample_weight))


_WORDS = {
    "gaussian": {"score": "R²"},
    "binomial": {"score": "log loss (negative)", "scoring": "neg_log_loss", "measure": "log loss"},
}
FAMILIES = {name: FamilyOption(family, **_WORDS.get(name, {})) for name, family in _FAMILIES.items()}


# ---------------------------------------------------------------------------------------------------------------------
# Models
# ---------------------------------------------------------------------------------------------------------------------


def _glm(family, features, *, parameter, random_state):
    """Splines and levels, and a penalised linear model with next to no shrinkage."""
    options = {family.option: parameter} if family.option else {}
    model = getattr(fairdcov, family.glm)(alpha=1e-5, **options)
    return Pipeline([("features", feature_columns(features)), ("model", model)])


def _lightgbm(family, features, *, parameter, random_state):
    """Boosted trees on numbers and categories as they are."""
    import_optional("lightgbm", "--model lightgbm")
    from fairdcov.boosting import DCovLGBMClassifier, DCovLGBMRegressor

    options = {"random_state": random_state, "n_jobs": None}
    if family.objective is None:
        model = DCovLGBMClassifier(**options)
    else:
        options |= {family.parameter: parameter} if family.parameter else {}
        model = DCovLGBMRegressor(objective=family.objective, **options)
    return Pipeline([("model", model)])


def _frequency_severity(build):
    """What builds frequency and severity of a premium with one penalty, of the models that ``build`` builds."""

    def build_both(family, features, *, parameter, random_state):
        pipelines = {
            name: build(_FAMILIES[of_part], features, parameter=None, random_state=random_state)
            for name, of_part in PARTS.items()
        }
        parts = {name: pipeline[-1] for name, pipeline in pipelines.items()}
        model = fairdcov.FrequencySeverityRegressor(**parts, power=parameter)
        # What comes before is the same for both.
        return Pipeline([*pipelines["frequency"].steps[:-1], ("model", model)])

    return build_both


@dataclass(frozen=True)
class Model:
    """A learner.

    Attributes
    ----------
    build : callable
        ``build(family, features, parameter=..., random_state=...)`` returns a Pipeline whose step ``model`` has
        ``penalty`` and ``strength``.
    rating_table : bool
        Whether its predictions are a product of relativities when the family has a logarithmic link.
    estimators : tuple of str
        Classes of fairdcov that the end of its pipelines may be.
    parts : tuple of str
        Further classes of fairdcov that its files may hold.
    trusted : tuple of str
        Types of other packages that its files may hold beside those that skops trusts: public ones alone, since a file
        is read by other releases of a package than the one that wrote it.
    packages : tuple of str
        Optional packages that it needs.
    levels_of_numbers : bool
        Whether numbers of few values are levels to it, for which new values are unknown.
    monotone : tuple of str
        Its parameters of monotone constraints, each one of -1, 0 and 1 for each feature; none for a learner without.
    option : str
        ``--model`` that asks for it.
    premium : bool
        Whether it is of --amount and --claims.
    """

    build: Callable
    rating_table: bool = False
    estimators: tuple = ()
    parts: tuple = ()
    trusted: tuple = ()
    packages: tuple = ()
    levels_of_numbers: bool = False
    monotone: tuple = ()
    option: str = "glm"
    premium: bool = False

    def described(self, family_name):
        """What it is called for people, with the family that was asked for."""
        return f"{' and '.join(PARTS.values())} {self.option}" if self.premium else f"{family_name} {self.option}"


# Families of the two models of a premium.
PARTS = {"frequency": "poisson", "severity": "gamma"}

MODELS = {
    "glm": Model(
        _glm,
        rating_table=True,
        estimators=tuple(sorted({family.glm for family in _FAMILIES.values()})),
        levels_of_numbers=True,
    ),
    # A booster is kept as LightGBM's own text, which its estimator checks before LightGBM reads it.
    "lightgbm": Model(
        _lightgbm,
        estimators=("DCovLGBMRegressor", "DCovLGBMClassifier"),
        packages=("lightgbm",),
        monotone=("monotone_constraints",),
        option="lightgbm",
    ),
    # What --amount and --claims ask for.
    "frequency_severity": Model(
        _frequency_severity(_glm),
        rating_table=True,
        estimators=("FrequencySeverityRegressor",),
        parts=tuple(_FAMILIES[name].glm for name in PARTS.values()),
        levels_of_numbers=True,
        premium=True,
    ),
    "frequency_severity_lightgbm": Model(
        _frequency_severity(_lightgbm),
        estimators=("FrequencySeverityRegressor",),
        parts=("DCovLGBMRegressor",),
        packages=("lightgbm",),
        monotone=tuple(f"{part}__monotone_constraints" for part in PARTS),
        option="lightgbm",
        premium=True,
    ),
}


def premium_model(option):
    """Key of ``MODELS`` of the frequency and severity models of a ``--model``."""
    return next(name for name, model in MODELS.items() if model.premium and model.option == option)


def build_model(
    name, family, features, *, penalty, parameter, model_options, random_state, control_bins=None, monotone=None
):
    """Unfitted pipeline of one of ``MODELS``.

    Parameters
    ----------
    name : str
        Key of ``MODELS``.
    family : FamilyOption
        What is modelled.
    features : DataFrame
        Rating factors, from which knots and levels are taken.
    penalty : str
        Key of ``PENALTIES``.
    parameter : float or None
        That of the family.
    model_options : list of str
        ``NAME=VALUE`` for parameters of the estimator.
    random_state : int
        Seed, for learners that use one.
    control_bins : dict or int, optional
        How the penalty cuts numbers among the control features.
    monotone : dict of str to {"+", "-"}, optional
        Features that predictions may only rise or only fall with.

    Returns
    -------
    Pipeline

    Raises
    ------
    ValueError
        For options that the estimator does not have.
    """
    model = MODELS[name]
    pipeline = model.build(family.family, features, parameter=parameter, random_state=random_state)
    final = pipeline[-1]
    chosen = read_model_options(model_options or [], final, tuple(PARTS) if model.premium else ())
    signs = [{"+": 1, "-": -1}.get(monotone.get(column), 0) for column in features] if monotone else None
    if signs is not None:
        chosen |= dict.fromkeys(model.monotone, signs)
    measure = PENALTIES[penalty]() if control_bins is None else PENALTIES[penalty](control_bins=control_bins)
    final.set_params(penalty=measure, **chosen)
    return pipeline


def offset_of(offset):
    """The argument of a fit or a prediction, where there is an offset."""
    return {} if offset is None else {"offset": offset}


def response(model, features, offset=None):
    """Prediction of a model: the mean, or the probability of the second class."""
    if hasattr(model, "predict_proba"):
        return model.predict_proba(features, **offset_of(offset))[:, 1]
    return model.predict(features, **offset_of(offset))


def parts_of(model, features, premium):
    """Frequency and severity whose product a premium is, by name; nothing for a model of one target.

    Parameters
    ----------
    model : Pipeline
        Fitted.
    features : DataFrame, (n, p)
        As for its prediction.
    premium : (n,) array
        The prediction. A factor that rebalances it is one of the cost of a claim.

    Returns
    -------
    dict of str to (n,) array
    """
    learner = _learner(model)
    # One that is kept as it was fitted, within what balances it.
    if not hasattr(learner, "predict_frequency"):
        return {}
    columns = model[:-1].transform(features) if len(model) > 1 else features
    frequency = learner.predict_frequency(columns)
    return {"frequency": frequency, "severity": premium / frequency}


def rebalanced(model, rows, *, method):
    """A fitted pipeline whose predictions add up to the observed total of the rows it was fitted to.

    Parameters
    ----------
    model : Pipeline
        Fitted; it is not changed.
    rows : Rows
        That it was fitted to.
    method : {"multiplicative", "additive"}
        See :class:`~fairdcov.actuarial.Rebalancer`.

    Returns
    -------
    Pipeline
        The same with a Rebalancer around its last step.
    """
    balanced = Rebalancer(FrozenEstimator(model[-1]), method=method)
    columns = model[:-1].transform(rows.features) if len(model) > 1 else rows.features
    balanced.fit(columns, rows.target, rows.weights, **offset_of(rows.offset))
    return Pipeline([*model.steps[:-1], ("model", balanced)])


class AddedToOffset:
    """What a model that was fitted with an offset adds to it, as a model of its own."""

    def __init__(self, model):
        self.model = model
        self.feature_names_in_ = model.feature_names_in_

    def predict(self, features):
        """Prediction at an offset of 0."""
        return self.model.predict(features, offset=0)


# ---------------------------------------------------------------------------------------------------------------------
# Saved models
# ---------------------------------------------------------------------------------------------------------------------


def trusted_types(model_name):
    """Types that a file of this model may hold, beside those that skops trusts itself."""
    model = MODELS[model_name]
    own = [*PENALTIES.values(), fairdcov.SensitiveEncoder, QuantityColumns, Rebalancer]
    classes = [*(getattr(fairdcov, name) for name in (*model.estimators, *model.parts)), *own]
    return {f"{cls.__module__}.{cls.__qualname__}" for cls in classes} | set(model.trusted)


def load_model(path, model_name):
    """Load a model that ``fairdcov fit`` has saved, if it holds nothing but the types that such a file may hold.

    Parameters
    ----------
    path : Path
        File written by skops.
    model_name : str
        Key of ``MODELS``.

    Returns
    -------
    Pipeline

    Raises
    ------
    ValueError
        For files that skops cannot read, for other types, which are listed (nothing of them is loaded), for parts that
        do not fit together, such as a damaged booster, and for parts that the packages installed cannot make.
    """
    skops = import_optional("skops.io", "loading a model")
    if model_name not in MODELS:
        raise ValueError(f"{path} is a model of kind {model_name!r}, which is not one of {list(MODELS)}")
    check_model_file(path)
    try:
        found = set(skops.get_untrusted_types(file=path))
    except Exception as error:  # a file that is no skops file fails in ways of its own: zip, JSON, keys
        raise ValueError(f"{path} is not a model that can be read: {error}") from error
    unknown = sorted(found - trusted_types(model_name))
    if unknown:
        raise ValueError(
            f"{path} holds types that a model of fairdcov does not have and was not loaded: {', '.join(unknown)}"
        )
    if "lightgbm" in MODELS[model_name].packages:
        import_optional("lightgbm", f"a model of kind {model_name}")
    with warnings.catch_warnings():
        # One for each part of the model; fairdcov predict says it once.
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        try:
            model = skops.load(path, trusted=sorted(found))
        except Exception as error:  # each type checks its own state; those of another scikit-learn may not fit
            raise ValueError(
                f"{path} is not a model that can be read: {error}; settings.json beside it has the versions that it "
                "was written with"
            ) from error
    if not isinstance(model, Pipeline) or type(_learner(model)).__name__ not in MODELS[model_name].estimators:
        raise ValueError(f"{path} is not a model that can be read: it holds no pipeline of a {model_name}")
    return model


def _learner(model):
    """What predicts at the end of a pipeline, within what balances it."""
    final = model[-1]
    if not isinstance(final, Rebalancer):
        return final
    correction = [getattr(final, name, None) for name in ("factor_", "shift_")]
    usable = all(isinstance(value, float) and math.isfinite(value) for value in correction)
    return getattr(getattr(final, "estimator_", None), "estimator", None) if usable else None
