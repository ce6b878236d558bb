"""LightGBM: how it grows trees on a given gradient, and the two estimators."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fairdcov._checks import PenaltyLike, RandomState, Table, import_optional, resolve_n_threads
from fairdcov.boosting._docs import OBJECTIVE, describe
from fairdcov.boosting._grower import Grower
from fairdcov.boosting._model_text import check_model_text
from fairdcov.boosting._parameters import PassThroughParameters, check_monotone
from fairdcov.boosting._problem import (
    BoostedClassifier,
    BoostedRegressor,
    learners_loss,
    learners_names,
    own_gradients,
    step_bounds,
    threads_for,
)

__all__ = ["DCovLGBMClassifier", "DCovLGBMRegressor"]

# What a finished booster is said to have been grown on, by its link, where that is not the name it was trained by.
_OBJECTIVE_OF_LINK = {"identity": "regression", "log": "poisson", "logit": "binary sigmoid:1"}
# Characters that JSON or LightGBM's text have a meaning for.
_REFUSED_IN_NAMES = r"[\s\",:\[\]{}]+"
# Leaves that were moved one by one would not keep these.
_MONOTONE = {"monotone_constraints", "mc", "monotone_constraint", "monotonic_cst"}
_CATEGORIES = ("categorical_feature", "cat_feature", "categorical_column", "cat_column", "categorical_features")
_REFUSED = {
    "fobj": "the penalised rounds have their own objective",
    "application": "use objective",
    "app": "use objective",
    "loss": "use objective",
    "tweedie_variance_power": "use tweedie_power",
    "num_class": "one raw prediction for each row is penalised",
    "linear_tree": "penalised rounds need trees of constant leaves",
    "num_iterations": "use n_estimators and n_penalised_rounds",
    "num_boost_round": "use n_estimators and n_penalised_rounds",
    "early_stopping_round": "use early_stopping_rounds",
    "num_threads": "use n_jobs",
    "seed": "use random_state",
    "verbosity": "use verbose",
}


class LightGBMGrower(Grower):
    """Adds trees to a LightGBM booster on gradients of our own.

    Parameters
    ----------
    booster : lightgbm.Booster
        In training; its objective is switched off.
    objective : str
        Objective that the finished booster is to have, so that its own ``predict`` is on the scale of the target.
    bounds : dict
        Parameters of LightGBM for these trees alone.
    offsets : tuple of (n,) array or None
        Of the training rows and of the rows to watch, which LightGBM's scores have in them.
    rows : (X, X) or None
        Features of the training rows and of those to watch (or None); None where leaves must stay as they are grown.
    """

    def __init__(self, booster, objective, bounds, offsets=(None, None), rows=None):
        self.booster = booster
        self._objective = objective
        self._bounds = bounds
        self._offsets = offsets
        self._rows = rows
        self._learning_rate = None
        # LightGBM shows scores on the scale of the target as long as it has an objective of its own.
        booster.reset_parameter({"objective": "none"})

    def n_trees(self):
        """See :meth:`Grower.n_trees`."""
        return self.booster.current_iteration()

    def grow(self, gradient, curvature, learning_rate):
        """See :meth:`Grower.grow`."""
        if learning_rate != self._learning_rate:
            self.booster.reset_parameter({"learning_rate": learning_rate, **self._bounds})
            self._learning_rate = learning_rate
        return not self.booster.update(fobj=lambda raw, data: (gradient, curvature))

    def drop(self):
        """See :meth:`Grower.drop`."""
        self.booster.rollback_one_iter()

    def raw(self):
        """See :meth:`Grower.raw`."""
        return self._scores(self.booster.eval_train, self._offsets[0])

    def monitored_raw(self):
        """See :meth:`Grower.monitored_raw`."""
        return self._scores(self.booster.eval_valid, self._offsets[1])

    @staticmethod
    def _scores(evaluate, offset):
        """The scores that LightGBM keeps up to date, by way of a metric, the public way to see them, less an offset."""
        seen = []

        def look(raw, data):
            seen.append(raw.copy())
            return "", 0.0, True

        evaluate(feval=look)
        return seen[-1] if offset is None else seen[-1] - offset

    def leaf_nodes(self, first, *, monitored=False):
        """See :meth:`Grower.leaf_nodes`."""
        if self._rows is None:
            return None
        options = {"pred_leaf": True, "start_iteration": first, "num_iteration": -1}
        return self.booster.predict(self._rows[monitored], **options)

    def with_leaves_moved(self, booster, first, moves):
        """See :meth:`Grower.with_leaves_moved`."""
        for tree, (leaves, values) in enumerate(moves, start=first):
            for leaf, value in zip(leaves.tolist(), values.tolist(), strict=True):
                booster.set_leaf_output(tree, leaf, booster.get_leaf_output(tree, leaf) + value)
        return booster

    def after_round(self, callbacks, n_rounds):
        """See :meth:`Grower.after_round`."""
        callbacks = [callback for callback in callbacks if not getattr(callback, "before_iteration", False)]
        if not callbacks:
            return None
        callback_module = import_optional("lightgbm.callback", "DCovLGBMRegressor")
        callbacks.sort(key=lambda callback: getattr(callback, "order", 0))
        first = self.n_trees()

        def call(number, row):
            environment = callback_module.CallbackEnv(
                model=self.booster,
                params={},
                iteration=first + number - 1,
                begin_iteration=first,
                end_iteration=first + n_rounds,
                evaluation_result_list=[
                    _result("valid_0" if name.startswith("validation_") else "training", name, value)
                    for name, value in row.items()
                ],
            )
            try:
                for callback in callbacks:
                    callback(environment)
            except callback_module.EarlyStopException:
                return True
            return False

        return call

    def snapshot(self, shift):
        """A booster of its own with ``shift`` added to its raw predictions; it predicts on the scale of the target."""
        lightgbm = import_optional("lightgbm", "DCovLGBMRegressor")
        lines = self.booster.model_to_string(num_iteration=-1, start_iteration=0).split("\n")
        # The objective of the trees grown on our gradients is "none", which would leave predictions on the link scale.
        lines = [line for line in lines if not line.startswith("objective=")]
        position = next(k for k, line in enumerate(lines) if line.startswith("feature_names="))
        lines.insert(position, f"objective={self._objective}")
        booster = lightgbm.Booster(model_str="\n".join(lines))
        if shift:
            _shift(booster, shift)
        return booster


class ConstantGrower(LightGBMGrower):
    """Where no feature has two values to tell apart: all trees are one leaf, and there will be no others.

    LightGBM's booster cannot change its parameters then, which :class:`LightGBMGrower` has to.

    Parameters
    ----------
    booster : lightgbm.Booster
        After the unpenalised rounds.
    objective : str
        As in :class:`LightGBMGrower`.
    n_features, n_rows, n_monitored : int
        Number of features, of training rows and of rows to watch.
    """

    def __init__(self, booster, objective, n_features, n_rows, n_monitored):
        self.booster = booster
        self._objective = objective
        self._row = np.zeros((1, n_features))
        self._n_rows, self._n_monitored = n_rows, n_monitored

    def grow(self, gradient, curvature, learning_rate):
        """No tree would split."""
        return False

    def leaf_nodes(self, first, *, monitored=False):
        """There are no penalised trees."""
        return

    def raw(self):
        """See :meth:`Grower.raw`."""
        return np.full(self._n_rows, self.booster.predict(self._row, raw_score=True).item())

    def monitored_raw(self):
        """See :meth:`Grower.monitored_raw`."""
        return np.full(self._n_monitored, self.booster.predict(self._row, raw_score=True).item())


def _shift(booster, shift):
    """Add a number to all raw predictions, by the leaves of the first tree."""
    (first,) = booster.dump_model(num_iteration=1)["tree_info"]
    for leaf in range(first["num_leaves"]):
        booster.set_leaf_output(0, leaf, booster.get_leaf_output(0, leaf) + shift)


def _result(data_name, metric, value):
    """An entry of evaluation_result_list; a named tuple since LightGBM 4.7."""
    basic = import_optional("lightgbm.basic", "DCovLGBMRegressor")
    return getattr(basic, "EvalResult", lambda *entries: entries)(
        data_name, metric.removeprefix("validation_"), value, False
    )


def _categories(parameters, X):
    """Positions of the features that LightGBM may read as categories: those named so, and unordered ones of a frame."""
    names = list(getattr(X, "columns", range(X.shape[1])))
    kinds = getattr(X, "dtypes", [])
    found = {k for k, kind in enumerate(kinds) if isinstance(kind, pd.CategoricalDtype) and not kind.ordered}
    for alias in set(_CATEGORIES) & set(parameters):
        named = parameters[alias]
        named = named.removeprefix("name:").split(",") if isinstance(named, str) else np.ravel(named).tolist()
        found |= {k for k, name in enumerate(names) if {k, str(k), name} & set(named)}
    return found


def _tells_nothing(rows):
    """Whether no feature of a constructed Dataset has two values to tell apart."""
    return all(rows.feature_num_bin(position) < 2 for position in range(rows.num_feature()))


def _nothing_to_learn(raw, rows):
    """Gradients that no tree grows on."""
    return np.zeros(len(raw)), np.ones(len(raw))


@contextmanager
def _named_errors(lightgbm):
    """What LightGBM refuses as a ValueError, as it is for every other learner."""
    try:
        yield
    except lightgbm.basic.LightGBMError as error:
        raise ValueError(f"LightGBM refuses these parameters or this data: {error}") from error


class _LightGBMModel(PassThroughParameters):
    """What the regressor and the classifier share."""

    _takes_offset = True
    booster_: Any
    _features: Any

    def __init__(
        self,
        penalty: PenaltyLike = "ccdcov",
        strength: float = 1.0,
        *,
        n_estimators: int = 100,
        learning_rate: float = 0.1,
        n_penalised_rounds: int = 100,
        penalised_learning_rate: float = 0.5,
        penalised_target: str = "unpenalised",
        validation_fraction: float = 0.5,
        early_stopping_rounds: int | None = None,
        boosting_type: str = "gbdt",
        num_leaves: int = 31,
        max_depth: int = -1,
        min_split_gain: float = 0.0,
        min_child_weight: float = 1e-3,
        min_child_samples: int = 20,
        subsample: float = 1.0,
        subsample_freq: int = 0,
        colsample_bytree: float = 1.0,
        reg_alpha: float = 0.0,
        reg_lambda: float = 0.0,
        random_state: RandomState | None = None,
        n_jobs: int | None = None,
        importance_type: str = "split",
        sensitive_columns: Sequence[str | int] | None = None,
        drop_sensitive_columns: bool = True,
        verbose: int = 0,
        **lightgbm_parameters: Any,
    ) -> None:
        self.penalty = penalty
        self.strength = strength
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.n_penalised_rounds = n_penalised_rounds
        self.penalised_learning_rate = penalised_learning_rate
        self.penalised_target = penalised_target
        self.validation_fraction = validation_fraction
        self.early_stopping_rounds = early_stopping_rounds
        self.boosting_type = boosting_type
        self.num_leaves = num_leaves
        self.max_depth = max_depth
        self.min_split_gain = min_split_gain
        self.min_child_weight = min_child_weight
        self.min_child_samples = min_child_samples
        self.subsample = subsample
        self.subsample_freq = subsample_freq
        self.colsample_bytree = colsample_bytree
        self.reg_alpha = reg_alpha
        self.reg_lambda = reg_lambda
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.importance_type = importance_type
        self.sensitive_columns = sensitive_columns
        self.drop_sensitive_columns = drop_sensitive_columns
        self.verbose = verbose
        self._set_further(lightgbm_parameters)

    def _learner_parameters(self, seed, X):
        parameters = {
            "boosting": self.boosting_type,
            "num_leaves": self.num_leaves,
            "max_depth": self.max_depth,
            "learning_rate": self.learning_rate,
            "min_split_gain": self.min_split_gain,
            "min_child_weight": self.min_child_weight,
            "min_child_samples": self.min_child_samples,
            "subsample": self.subsample,
            "subsample_freq": self.subsample_freq,
            "colsample_bytree": self.colsample_bytree,
            "reg_alpha": self.reg_alpha,
            "reg_lambda": self.reg_lambda,
            "num_threads": threads_for(self.n_jobs, X),
            "verbosity": 1 if self.verbose > 1 else -1,
            **self._family().parameter_of_learner(self),
            **self._further_parameters(),
        }
        if seed is not None:
            parameters["seed"] = seed
        return parameters

    def _check_learner(self):
        if self.boosting_type not in ("gbdt", "goss"):
            raise ValueError(
                f"boosting_type must be 'gbdt' or 'goss': penalised rounds never change earlier trees; found "
                f"{self.boosting_type!r}"
            )
        self._check_further(_REFUSED)

    def _start(self, data, monitored, seed, callbacks, objective, watched_objective):
        lightgbm = import_optional("lightgbm", type(self).__name__)
        parameters, known, loss = self._learner_parameters(seed, data.X), self._family().lightgbm, objective.loss
        callbacks = list(callbacks)
        check_monotone(parameters, _MONOTONE, data.X, _categories(parameters, data.X))

        def rows_of(part, **options):
            names = learners_names(part.X, _REFUSED_IN_NAMES)
            if names is not None:
                options["feature_name"] = names
            return lightgbm.Dataset(part.X, part.y, weight=part.weights if part.weighted else None, **options)

        with _named_errors(lightgbm):
            train = rows_of(data, params=parameters).construct()
        n_features = train.num_feature()
        tells_nothing = _tells_nothing(train)
        watched = [] if monitored is None else [rows_of(monitored, reference=train)]
        finished = known if known and loss.link != "logit" else _OBJECTIVE_OF_LINK[loss.link]
        # The best constant is the same for all families of a link; without a feature LightGBM takes no gradients.
        learner_objective, metric, own = known or finished, None, known is None and not tells_nothing
        level = None
        if own or data.offset is not None:
            # With gradients of ours, or an initial score, it starts from a raw score of 0 unless it is told another.
            level = objective.constant()
            for rows, part in zip([train, *watched], [data, monitored], strict=False):
                rows.set_init_score(np.full(len(part.y), level) if part.offset is None else level + part.offset)
        if own:
            learner_objective = own_gradients(objective, data.weights.sum())
            parameters.update(step_bounds(loss, parameters))
            metric = lambda raw, rows: ("loss", learners_loss(watched_objective, raw), False)  # noqa: E731
        if own or monitored is None:
            parameters.setdefault("metric", "none")
        if self.early_stopping_rounds is not None:
            callbacks.append(lightgbm.early_stopping(self.early_stopping_rounds, verbose=False))
        with _named_errors(lightgbm):
            booster = lightgbm.train(
                {**parameters, "objective": learner_objective},
                train,
                self.n_estimators,
                valid_sets=watched,
                feval=metric,
                callbacks=callbacks,
                keep_training_booster=True,
            )
        for _ in range(booster.current_iteration() - booster.best_iteration if booster.best_iteration > 0 else 0):
            booster.rollback_one_iter()
        if level is not None:
            # The trees are to predict it too; the scores of the rows in training have it already.
            _shift(booster, level)
        if tells_nothing:
            n_monitored = 0 if monitored is None else len(monitored.y)
            return ConstantGrower(booster, finished, n_features, len(data.y), n_monitored)
        offsets = (data.offset, None if monitored is None else monitored.offset)
        rows = None if _MONOTONE & set(parameters) else (data.X, None if monitored is None else monitored.X)
        return LightGBMGrower(booster, finished, step_bounds(loss, parameters), offsets, rows)

    def _continued(self, X, y):
        lightgbm = import_optional("lightgbm", type(self).__name__)
        parameters, loss, n_features = self._learner_parameters(None, X), self._loss(), X.shape[1]
        finished = self._family().lightgbm or _OBJECTIVE_OF_LINK[loss.link]
        names = learners_names(X, _REFUSED_IN_NAMES)
        options = {} if names is None else {"feature_name": names}
        with _named_errors(lightgbm):
            # The predictions of the model are added to what has been constructed.
            rows = lightgbm.Dataset(X, y, params=parameters, free_raw_data=False, **options).construct()
            if _tells_nothing(rows):
                return ConstantGrower(self.booster_, finished, n_features, len(y), 0)
            booster = lightgbm.train(
                {**parameters, "objective": _nothing_to_learn, "metric": "none"},
                rows,
                1,
                init_model=self.booster_,
                keep_training_booster=True,
            )
        rows = None if _MONOTONE & set(parameters) else (X, None)
        return LightGBMGrower(booster, finished, step_bounds(loss, parameters), rows=rows)

    def __getstate__(self):
        """Attributes with the booster as LightGBM's text, so that a saved model holds no object of LightGBM."""
        state = dict(super().__getstate__())
        if "booster_" in state:
            state["booster_"] = self.booster_.model_to_string(num_iteration=-1, start_iteration=0)
        return state

    def __setstate__(self, state):
        """Read the booster's text, the only way in from a file, once it has been checked."""
        state = dict(state)
        if "booster_" in state:
            check_model_text(state["booster_"])
            lightgbm = import_optional("lightgbm", type(self).__name__)
            state["booster_"] = lightgbm.Booster(model_str=state["booster_"])
            if state["booster_"].num_feature() != state.get("n_features_in_"):
                raise ValueError(
                    f"the LightGBM model has {state['booster_'].num_feature()} features, the {type(self).__name__} "
                    f"around it {state.get('n_features_in_')}"
                )
        super().__setstate__(state)

    def _raw_predict(self, X):
        X = self._features(X)
        return self.booster_.predict(X, raw_score=True, num_threads=resolve_n_threads(self.n_jobs))

    @property
    def feature_importances_(self) -> Any:
        """Importance of each feature over the trees of all rounds, (p,); see ``importance_type``."""
        check_is_fitted(self, "booster_")
        return self.booster_.feature_importance(importance_type=self.importance_type)

    def shap_values(self, X: Table) -> NDArray[Any]:
        """Contribution of each feature to each raw prediction (SHAP values of the trees).

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.

        Returns
        -------
        (n, p + 1) array
            On the link scale; the last column is the expected raw prediction, so that rows sum to the raw prediction.
        """
        X = self._features(X)
        return self.booster_.predict(X, pred_contrib=True, num_threads=resolve_n_threads(self.n_jobs))


_OWN = {
    "rate": "0.1",
    "importances": '{"split", "gain"}, default="split"',
    "booster": "lightgbm.Booster",
    "sum": "",
    "further": """early_stopping_rounds : int, optional
        Rounds without improvement on ``eval_set`` that end the unpenalised rounds (by LightGBM's metric) and the
        penalised rounds (by loss plus penalty on ``eval_set``); both go back to their best round.
    boosting_type : {"gbdt", "goss"}, default="gbdt"
        How LightGBM samples rows.
    num_leaves, max_depth, min_split_gain, min_child_weight, min_child_samples, subsample, subsample_freq, \
colsample_bytree, reg_alpha, reg_lambda
        As in ``lightgbm.LGBMModel``, in all rounds.""",
    "others": """**lightgbm_parameters
        Any other parameter of LightGBM, by its name there.""",
}


@describe("LightGBM", objective=OBJECTIVE, **_OWN)
class DCovLGBMRegressor(_LightGBMModel, BoostedRegressor):
    """LightGBM regression whose predictions do not depend on protected attributes.

    Minimises ``sum_i w_i loss_i / sum_i w_i + strength * penalty(u, S)`` over sums of trees: ``n_estimators`` rounds of
    LightGBM on the loss of ``y``, then up to ``n_penalised_rounds`` trees on the gradient of the whole objective, with
    the loss of ``penalised_target``, each kept only if the exact objective of the whole sample falls. For claim
    frequencies pass ``objective="poisson"``, ``y = claims / exposure`` and ``sample_weight = exposure``. Categorical
    columns, missing values, constraints and all other parameters of LightGBM work as there.

    Parameters
    ----------
    <parameters>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    lightgbm.LGBMRegressor : The same model with ``strength=0``.
    fairdcov.DCovPoissonRegressor : The linear model.

    Notes
    -----
    Every penalised round moves all raw predictions by the shift that is best for the loss, so that the Poisson total
    stays the observed one, and the mean with the squared error, whatever the penalty and its strength.

    In expectation the loss of ``y`` and that of the best unpenalised predictions differ by a constant, so that both
    targets have the same minimum; keeping close to the predictions has less noise.

    The penalty is piecewise linear in the predictions and gives second-order learners no curvature, so that a plain
    custom objective overshoots at large strengths. Here the Hessian of LightGBM's split gains and leaf values has a
    term for the penalty, the bound of its smoothed second derivative that the theory page of the documentation derives.

    Weights count in loss, penalty and curvature, but LightGBM cuts features into bins, and limits bins and leaves
    (``min_data_in_bin``, ``min_child_samples``, ``min_data_per_group``), by the number of rows, so that a row of weight
    2 is not quite two rows, with ``strength=0`` as well.

    Examples
    --------
    >>> from fairdcov import DCovLGBMRegressor
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(4_000, random_state=0)
    >>> X = book.data.select_dtypes("number")
    >>> data = {"sample_weight": book.exposure, "sensitive_features": book.sensitive_features}
    >>> options = {"objective": "poisson", "n_estimators": 20, "n_penalised_rounds": 50, "num_leaves": 8}
    >>> unaware = DCovLGBMRegressor(strength=0, **options).fit(X, book.target, **data)
    >>> penalised = DCovLGBMRegressor(strength=10.0, **options).fit(X, book.target, **data)
    >>> penalised.penalty_value_ < 0.3 * unaware.penalty_value_
    True
    >>> bool(abs(penalised.predict(X) @ book.exposure / book.claims.sum() - 1) < 1e-6)
    True
    >>> penalised.predict(X).shape
    (4000,)
    """

    def __init__(
        self,
        penalty: PenaltyLike = "ccdcov",
        strength: float = 1.0,
        *,
        objective: Literal["squared_error", "poisson", "negative_binomial", "gamma", "tweedie"] = "squared_error",
        tweedie_power: float = 1.5,
        dispersion: float = 1.0,
        n_estimators: int = 100,
        learning_rate: float = 0.1,
        n_penalised_rounds: int = 100,
        penalised_learning_rate: float = 0.5,
        penalised_target: Literal["unpenalised", "observed"] = "unpenalised",
        validation_fraction: float = 0.5,
        early_stopping_rounds: int | None = None,
        boosting_type: Literal["gbdt", "goss"] = "gbdt",
        num_leaves: int = 31,
        max_depth: int = -1,
        min_split_gain: float = 0.0,
        min_child_weight: float = 1e-3,
        min_child_samples: int = 20,
        subsample: float = 1.0,
        subsample_freq: int = 0,
        colsample_bytree: float = 1.0,
        reg_alpha: float = 0.0,
        reg_lambda: float = 0.0,
        random_state: RandomState | None = None,
        n_jobs: int | None = None,
        importance_type: Literal["split", "gain"] = "split",
        sensitive_columns: Sequence[str | int] | None = None,
        drop_sensitive_columns: bool = True,
        verbose: int = 0,
        **lightgbm_parameters: Any,
    ) -> None:
        super().__init__(
            penalty,
            strength,
            n_estimators=n_estimators,
            learning_rate=learning_rate,
            n_penalised_rounds=n_penalised_rounds,
            penalised_learning_rate=penalised_learning_rate,
            penalised_target=penalised_target,
            validation_fraction=validation_fraction,
            early_stopping_rounds=early_stopping_rounds,
            boosting_type=boosting_type,
            num_leaves=num_leaves,
            max_depth=max_depth,
            min_split_gain=min_split_gain,
            min_child_weight=min_child_weight,
            min_child_samples=min_child_samples,
            subsample=subsample,
            subsample_freq=subsample_freq,
            colsample_bytree=colsample_bytree,
            reg_alpha=reg_alpha,
            reg_lambda=reg_lambda,
            random_state=random_state,
            n_jobs=n_jobs,
            importance_type=importance_type,
            sensitive_columns=sensitive_columns,
            drop_sensitive_columns=drop_sensitive_columns,
            verbose=verbose,
            **lightgbm_parameters,
        )
        self.objective = objective
        self.tweedie_power = tweedie_power
        self.dispersion = dispersion


@describe("LightGBM", **_OWN)
class DCovLGBMClassifier(_LightGBMModel, BoostedClassifier):
    """LightGBM classification of two classes whose probabilities do not depend on protected attributes.

    As :class:`DCovLGBMRegressor` with the log loss; the probability of the second class is penalised (or, with
    ``scale="link"`` in the penalty, its logit).

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
    lightgbm.LGBMClassifier : The same model with ``strength=0``.
    fairdcov.DCovLogisticRegression : The linear model.

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov import DCovLGBMClassifier
    >>> rng = np.random.default_rng(0)
    >>> gender = rng.choice(["f", "m"], size=500)
    >>> X = np.column_stack([(gender == "f") + rng.normal(size=500), rng.normal(size=500)])
    >>> y = X.sum(axis=1) + rng.normal(size=500) > 0
    >>> model = DCovLGBMClassifier(strength=3.0, n_estimators=20, n_penalised_rounds=20, num_leaves=4)
    >>> model.fit(X, y, sensitive_features=gender).predict_proba(X).shape
    (500, 2)
    """
