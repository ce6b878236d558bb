"""XGBoost: how it grows trees on a given gradient, and the estimator."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from fairdcov._checks import PenaltyLike, RandomState, Table, import_optional, resolve_n_threads
from fairdcov._fitting import is_tensor
from fairdcov.boosting._docs import OBJECTIVE, describe
from fairdcov.boosting._grower import Grower
from fairdcov.boosting._objective import DeviceBalancedObjective
from fairdcov.boosting._parameters import PassThroughParameters, check_monotone
from fairdcov.boosting._problem import (
    BoostedRegressor,
    learners_loss,
    learners_names,
    own_gradients,
    step_bounds,
    threads_for,
)

__all__ = ["DCovXGBRegressor"]

# Of a booster grown on gradients of ours: how its sums become predictions.
_OBJECTIVE_OF_LINK = {"identity": "reg:squarederror", "log": "count:poisson"}
_REFUSED_IN_NAMES = r"[\[\]<]+"
_REFUSED = {
    "eta": "use learning_rate and penalised_learning_rate",
    "obj": "the penalised rounds have their own objective",
    "num_boost_round": "use n_estimators and n_penalised_rounds",
    "num_parallel_tree": "a penalised round grows one tree",
    "multi_strategy": "one raw prediction for each row is penalised",
    "nthread": "use n_jobs",
    "seed": "use random_state",
    "tweedie_variance_power": "use tweedie_power",
}


class XGBoostGrower(Grower):
    """Adds trees to an XGBoost booster on gradients of our own.

    Parameters
    ----------
    booster : xgboost.Booster
        The unpenalised model.
    train : xgboost.DMatrix
        Training rows.
    monitored : xgboost.DMatrix or None
        Rows to watch.
    link : str
        Name of the link function.
    bounds : dict
        Parameters of XGBoost for these trees alone.
    offsets : tuple of (n,) array or None
        Of the training rows and of the rows to watch, which their margins have in them.
    moves_leaves : bool
        False where leaves must stay as they are grown.
    """

    def __init__(self, booster, train, monitored, link, bounds, offsets=(None, None), moves_leaves=True):
        self.booster = booster
        self._offsets = offsets
        self._link = link
        self._bounds = bounds
        self._train = train
        self._monitored = monitored
        self._moves_leaves = moves_leaves
        self._has_predicted = False

    def n_trees(self):
        """See :meth:`Grower.n_trees`."""
        return self.booster.num_boosted_rounds()

    def grow(self, gradient, curvature, learning_rate):
        """See :meth:`Grower.grow`."""
        if is_tensor(gradient) and gradient.is_cuda:
            # XGBoost reads them where they are, on a stream of its own.
            import_optional("torch", "penalised rounds on a card").cuda.synchronize(gradient.device)
        if not self._has_predicted:
            # XGBoost 3.4 adds the new tree to the predictions that this booster keeps of the rows; of a booster that
            # is a part, or a copy, of another and has not predicted yet these are nothing, and the sum is wrong.
            self.raw()
        self.booster.set_param({"learning_rate": learning_rate, **self._bounds})
        self.booster.boost(self._train, self.n_trees(), grad=gradient, hess=curvature)
        if _splits(self.booster, self.n_trees() - 1):
            return True
        self.drop()
        return False

    def drop(self):
        """See :meth:`Grower.drop`."""
        self.booster = self.booster[: self.n_trees() - 1]
        self._has_predicted = False

    def raw(self):
        """See :meth:`Grower.raw`."""
        self._has_predicted = True
        return self._margins(self._train, self._offsets[0])

    def monitored_raw(self):
        """See :meth:`Grower.monitored_raw`."""
        return self._margins(self._monitored, self._offsets[1])

    def _margins(self, rows, offset):
        margins = self.booster.predict(rows, output_margin=True).astype(np.float64)
        return margins if offset is None else margins - offset

    def leaf_nodes(self, first, *, monitored=False):
        """See :meth:`Grower.leaf_nodes`."""
        if not self._moves_leaves:
            return None
        rows = self._monitored if monitored else self._train
        nodes = self.booster[first : self.n_trees()].predict(rows, pred_leaf=True)
        return nodes.reshape(rows.num_row(), -1).astype(np.intp)

    def with_leaves_moved(self, booster, first, moves):
        """See :meth:`Grower.with_leaves_moved`."""
        # Of a leaf the condition of the split is its value.
        model = json.loads(bytes(booster.save_raw("json")))
        trees = model["learner"]["gradient_booster"]["model"]["trees"]
        for tree, (leaves, values) in zip(trees[first:], moves, strict=True):
            for leaf, value in zip(leaves.tolist(), values.tolist(), strict=True):
                tree["split_conditions"][leaf] += value
        booster.load_model(bytearray(json.dumps(model), "utf-8"))
        return booster

    def after_round(self, callbacks, n_rounds):
        """See :meth:`Grower.after_round`."""
        if not callbacks:
            return None
        first, log = self.n_trees(), {}

        def call(number, row):
            for name, value in row.items():
                data_name = "validation" if name.startswith("validation_") else "train"
                log.setdefault(data_name, {}).setdefault(name.removeprefix("validation_"), []).append(value)
            answers = [callback.after_iteration(self.booster, first + number - 1, log) for callback in callbacks]
            return any(answers)

        return call

    def snapshot(self, shift):
        """A copy of the booster, with ``shift`` added to its raw predictions."""
        booster = self.booster.copy()
        if shift:
            base_score = _base_score(booster)
            shifted = base_score + shift if self._link == "identity" else base_score * np.exp(shift)
            booster.set_param({"base_score": shifted})
        return booster


def device_of(name):
    """The card of XGBoost's parameter ``device`` for PyTorch; None for the CPU, and without PyTorch's CUDA build."""
    kind, _, number = str(name).partition(":")
    if kind not in ("cuda", "gpu") or importlib.util.find_spec("torch") is None:
        return None
    torch = import_optional("torch", "penalised rounds on a card")
    if not torch.cuda.is_available():
        return None
    return torch.device("cuda", int(number) if number else torch.cuda.current_device())


def _base_score(booster):
    """What predictions begin with, on the scale of the target."""
    learner = json.loads(booster.save_config())["learner"]
    # A list since XGBoost 3.1.
    return float(learner["learner_model_param"]["base_score"].strip("[]"))


def _splits(booster, position):
    """Whether a tree has more than one leaf: the dump of a single leaf has no condition."""
    (tree,) = booster[position : position + 1].get_dump()
    return "[" in tree


@describe(
    "XGBoost",
    objective=OBJECTIVE,
    rate="0.3",
    importances='{"gain", "weight", "cover", "total_gain", "total_cover"}, default="gain"',
    booster="xgboost.Booster",
    sum=", of sum 1",
    further="""early_stopping_rounds : int, optional
        Rounds without improvement on ``eval_set`` that end either phase; both go back to their best round.
    max_depth, min_child_weight, subsample, colsample_bytree, reg_alpha, reg_lambda
        As in ``xgboost.XGBModel``, in all rounds.""",
    others="""**xgboost_parameters
        Any other parameter of ``xgboost.train``, by its name there.""",
)
class DCovXGBRegressor(PassThroughParameters, BoostedRegressor):
    """XGBoost regression whose predictions do not depend on protected attributes.

    The objective and the two phases of the training are those of :class:`DCovLGBMRegressor`.

    Parameters
    ----------
    <parameters>

    Attributes
    ----------
    <attributes>

    See Also
    --------
    DCovLGBMRegressor : The same on LightGBM, faster where steps have to be taken back.
    xgboost.XGBRegressor : The same model with ``strength=0``.

    Notes
    -----
    With ``device="cuda"`` XGBoost grows all trees on the card. Where PyTorch finds that card, loss, penalty, gradient
    and curvature of the penalised rounds are computed there as well; the result differs by rounding.

    Whole-number weights are repetition, penalised or not, up to XGBoost's single precision and as long as its sketch
    keeps all values of a feature apart. Where features have many thousands of values, XGBoost chooses other candidate
    splits for weights than for repeated rows, with ``strength=0`` as well.

    Examples
    --------
    >>> from fairdcov import DCovXGBRegressor
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(2_000, random_state=0)
    >>> model = DCovXGBRegressor(strength=30, objective="poisson", n_estimators=20, n_penalised_rounds=20, max_depth=3)
    >>> model = model.fit(  # doctest: +SKIP
    ...     book.data.select_dtypes("number"),
    ...     book.target,
    ...     sample_weight=book.exposure,
    ...     sensitive_features=book.sensitive_features,
    ... )
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
        learning_rate: float = 0.3,
        n_penalised_rounds: int = 100,
        penalised_learning_rate: float = 0.5,
        penalised_target: Literal["unpenalised", "observed"] = "unpenalised",
        validation_fraction: float = 0.5,
        early_stopping_rounds: int | None = None,
        max_depth: int = 6,
        min_child_weight: float = 1.0,
        subsample: float = 1.0,
        colsample_bytree: float = 1.0,
        reg_alpha: float = 0.0,
        reg_lambda: float = 1.0,
        random_state: RandomState | None = None,
        n_jobs: int | None = None,
        importance_type: Literal["gain", "weight", "cover", "total_gain", "total_cover"] = "gain",
        sensitive_columns: Sequence[str | int] | None = None,
        drop_sensitive_columns: bool = True,
        verbose: int = 0,
        **xgboost_parameters: Any,
    ) -> None:
        self.penalty = penalty
        self.strength = strength
        self.objective = objective
        self.tweedie_power = tweedie_power
        self.dispersion = dispersion
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.n_penalised_rounds = n_penalised_rounds
        self.penalised_learning_rate = penalised_learning_rate
        self.penalised_target = penalised_target
        self.validation_fraction = validation_fraction
        self.early_stopping_rounds = early_stopping_rounds
        self.max_depth = max_depth
        self.min_child_weight = min_child_weight
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.reg_alpha = reg_alpha
        self.reg_lambda = reg_lambda
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.importance_type = importance_type
        self.sensitive_columns = sensitive_columns
        self.drop_sensitive_columns = drop_sensitive_columns
        self.verbose = verbose
        self._set_further(xgboost_parameters)

    _takes_offset = True

    def _check_learner(self):
        further = self._further_parameters()
        if further.get("booster", "gbtree") != "gbtree":
            raise ValueError(f"booster must be 'gbtree': penalised rounds add trees; found {further['booster']!r}")
        self._check_further(_REFUSED)

    def _objective_of_rounds(self, objective):
        """On the card of ``device="cuda"`` if PyTorch is there to make gradients on it; on the host otherwise."""
        device = device_of(self._further_parameters().get("device", "cpu"))
        return objective if device is None or objective.penalty is None else DeviceBalancedObjective(objective, device)

    def _start(self, data, monitored, seed, callbacks, objective, watched_objective):
        xgboost = import_optional("xgboost", type(self).__name__)
        family, loss = self._family(), objective.loss
        kinds = getattr(data.X, "dtypes", [])
        categories = [k for k, kind in enumerate(kinds) if isinstance(kind, pd.CategoricalDtype)]
        check_monotone(self._further_parameters(), ["monotone_constraints"], data.X, categories)
        parameters = {
            "objective": family.xgboost or _OBJECTIVE_OF_LINK[loss.link],
            "learning_rate": self.learning_rate,
            "max_depth": self.max_depth,
            "min_child_weight": self.min_child_weight,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample_bytree,
            "reg_alpha": self.reg_alpha,
            "reg_lambda": self.reg_lambda,
            "nthread": threads_for(self.n_jobs, data.X),
            "verbosity": 2 if self.verbose > 1 else 0,
            **self._further_parameters(),
            **family.parameter_of_learner(self),
        }
        if seed is not None:
            parameters["seed"] = seed
        bounds, custom = step_bounds(loss, parameters), {}
        if family.xgboost is None or data.offset is not None:
            # XGBoost starts anywhere with gradients of ours, and from base margins alone where there are some.
            start = float(loss.response(np.array([objective.constant()]))[0])
            parameters = {"base_score": start, **parameters}
        if family.xgboost is None:
            # It would stop by the metric of the objective above.
            parameters = {"disable_default_eval_metric": True, **bounds, **parameters}
            custom["obj"] = own_gradients(objective, data.total_weight)
            custom["custom_metric"] = lambda raw, rows: ("loss", learners_loss(watched_objective, raw))

        def rows_of(part):
            weights, margins = part.weights if part.weighted else None, None
            if part.offset is not None:
                # They stand in the place of the base score, which predictions of other rows begin with.
                margins = part.offset + loss.intercept(parameters["base_score"])
            names = learners_names(part.X, _REFUSED_IN_NAMES)
            options = {"enable_categorical": True, "feature_names": names}
            return xgboost.DMatrix(part.X, part.y, weight=weights, base_margin=margins, **options)

        train = rows_of(data)
        watched = None if monitored is None else rows_of(monitored)
        booster = xgboost.train(
            parameters,
            train,
            self.n_estimators,
            evals=[] if watched is None else [(watched, "validation")],
            early_stopping_rounds=self.early_stopping_rounds,
            callbacks=list(callbacks) or None,
            verbose_eval=False,
            **custom,
        )
        if self.early_stopping_rounds is not None:
            booster = booster[: booster.best_iteration + 1]
        offsets = (data.offset, None if monitored is None else monitored.offset)
        moves_leaves = "monotone_constraints" not in parameters
        return XGBoostGrower(booster, train, watched, loss.link, bounds, offsets, moves_leaves)

    def _continued(self, X, y):
        xgboost = import_optional("xgboost", type(self).__name__)
        booster, loss, further = self.booster_.copy(), self._loss(), self._further_parameters()
        options = {"enable_categorical": True, "feature_names": learners_names(X, _REFUSED_IN_NAMES)}
        rows = xgboost.DMatrix(X, y, **options)
        moves_leaves = "monotone_constraints" not in further
        return XGBoostGrower(booster, rows, None, loss.link, step_bounds(loss, further), moves_leaves=moves_leaves)

    def _rows(self, X):
        """Features for predictions; XGBoost itself would read numbers as positions of categories."""
        xgboost = import_optional("xgboost", type(self).__name__)
        X, n_threads = self._features(X), resolve_n_threads(self.n_jobs)
        names = learners_names(X, _REFUSED_IN_NAMES)
        rows = xgboost.DMatrix(X, enable_categorical=True, feature_names=names, nthread=n_threads)
        fitted, found = (self.booster_.feature_types or [], rows.feature_types or [])
        for position, was in enumerate(fitted):
            now = found[position] if found else "float"
            if (was == "c") != (now == "c"):
                name = self.booster_.feature_names[position] if self.booster_.feature_names else position
                kinds = {True: "categories", False: "numbers"}
                raise ValueError(
                    f"X must have the columns of the fit: {name!r} held {kinds[was == 'c']} there and holds "
                    f"{kinds[now == 'c']} here"
                )
        return rows

    def _raw_predict(self, X):
        rows = self._rows(X)
        return self.booster_.predict(rows, output_margin=True).astype(np.float64)

    @property
    def feature_importances_(self) -> Any:
        """Importance of each feature over the trees of all rounds, (p,), of sum 1; see ``importance_type``."""
        check_is_fitted(self, "booster_")
        scores = self.booster_.get_score(importance_type=self.importance_type)
        names = self.booster_.feature_names or [f"f{position}" for position in range(self.n_features_in_)]
        importances = np.array([scores.get(name, 0.0) for name in names])
        return importances / max(importances.sum(), np.finfo(float).tiny)

    def shap_values(self, X: Table) -> NDArray[Any]:
        """Contribution of each feature to each raw prediction, (n, p + 1); see :meth:`DCovLGBMRegressor.shap_values`.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame, (n, p)
            Features.

        Returns
        -------
        (n, p + 1) array
            The last column is the expected raw prediction.
        """
        return self.booster_.predict(self._rows(X), pred_contribs=True)
