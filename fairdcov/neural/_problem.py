"""All of a fit that does not depend on the strength, in numbered stages, and the solution at a strength."""

import math
import warnings
from functools import partial
from types import SimpleNamespace

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from tqdm import tqdm

from fairdcov._checks import (
    check_choice,
    check_positive_number,
    check_squarable,
    check_whole_number,
    resolve_n_threads,
    warn_user,
)
from fairdcov._fitting import (
    LEAST_PENALISED_ROWS,
    DeviceObjective,
    Parts,
    RawObjective,
    StrengthGuard,
    largest_sensible_strength,
    read_evaluation_data,
    read_training_data,
    warn_of_dependence,
    warn_of_level,
    warn_of_strength,
)
from fairdcov.exceptions import ConvergenceWarning, SensitiveFeaturesWarning
from fairdcov.neural._descent import (
    RAMP_ITERATIONS,
    Watch,
    adam_phase,
    penalised_phase,
    settle_output,
    strength_ramp,
)
from fairdcov.neural._layers import ACTIVATIONS, Layers, Units, check_hidden_layer_sizes, raw_predictions

__all__ = ["NetworkProblem"]

# Batches by default: a hundred to an epoch, of these sizes.
_FEWEST_BATCHES = 100
_AUTO_BATCH = (32, 1024)
# Rows times parameters from which on threads share a pass over the full sample, which takes milliseconds there.
_THREADED_PRODUCTS = 10**7


class NetworkProblem:
    """Checked rows, bound penalties, units, and the network.

    Parameters
    ----------
    estimator : PenalisedNetwork
        Its parameters; validation leaves what it learns about X and y on it.
    X, y, sample_weight, sensitive_features
        As passed to ``fit``.
    strengths : list of float
        All strengths that will be asked for.
    control_features, eval_set, eval_sample_weight, eval_sensitive_features, eval_control_features : optional
        As passed to ``fit``.
    offset, eval_offset : optional
        As passed to ``fit``.
    """

    def __init__(
        self,
        estimator,
        X,
        y,
        sample_weight,
        sensitive_features,
        strengths,
        *,
        control_features=None,
        eval_set=None,
        eval_sample_weight=None,
        eval_sensitive_features=None,
        eval_control_features=None,
        offset=None,
        eval_offset=None,
    ):
        # 1. Parameters, and PyTorch, before any work is done.
        self.estimator = estimator
        self._check_parameters()
        from fairdcov.neural import _torch_network

        self._torch = _torch_network
        self._device = _torch_network.device_named(estimator.device)
        self._n_threads = resolve_n_threads(estimator.n_threads)
        penalised = any(strengths)

        # 2. Data: rows to train on, rows to watch, and all rows of the fit.
        loss = estimator._loss()
        data = read_training_data(
            estimator,
            X,
            y,
            sample_weight,
            sensitive_features,
            loss,
            penalised=penalised,
            control_features=control_features,
            offset=offset,
        )
        check_squarable(data.X)
        self._random_state = check_random_state(estimator.random_state)
        held = np.zeros(len(data.y), dtype=bool)
        evaluated = read_evaluation_data(
            estimator,
            eval_set,
            eval_sample_weight,
            eval_sensitive_features,
            loss,
            penalised=penalised,
            control_features=eval_control_features,
            conditional=control_features is not None,
            offset=eval_offset,
        )
        if evaluated is None and estimator.early_stopping:
            held = self._hold_back(data)

        # 3. What depends on the target or on the protected attributes alone.
        threads = {"n_threads": estimator.n_threads}
        penalty = data.bind(estimator.penalty, penalised=penalised, **threads)
        self._whole = self._objective(loss, data, penalty)
        self._train, self._watched = self._whole, None

        def part_objective(part):
            penalty = part.bind(estimator.penalty, penalised=True, **threads) if penalised else None
            return self._objective(loss, part, penalty)

        with warnings.catch_warnings():
            # A part may well hold people of one kind only; the whole has been looked at.
            warnings.simplefilter("ignore", SensitiveFeaturesWarning)
            if held.any():
                self._train = part_objective(data.part(~held))
                self._watched = self._objective(loss, data.part(held), None)
            elif evaluated is not None:
                self._watched = part_objective(evaluated)

        # 4. Units and layers.
        self._X = data.X
        self._units = units = Units(data.X, data.y, data.probabilities, loss, data.offset)
        self._layers = Layers(data.X.shape[1], check_hidden_layer_sizes(estimator.hidden_layer_sizes))
        standardised = units.standardise(data.X)
        self._held = held
        self._X_watched = None
        with _torch_network.training(1):
            self._network = _torch_network.Network(
                standardised[~held], self._layers.shapes, estimator.activation, self._device
            )
            if held.any():
                self._X_watched = self._network.tensor(standardised)
            elif evaluated is not None:
                self._X_watched = self._network.tensor(units.standardise(evaluated.X))
        if len(self._train.y) * len(self._layers.is_weight) < _THREADED_PRODUCTS:
            self._n_threads = 1
        # The objective in units in which the constant model has curvature 1, whatever the target is counted in.
        constant = self._whole.curvature(self._whole.constant_raw(units.shift))
        curvature = float(self._whole.probabilities @ constant) * units.spread**2
        self._unit = curvature if np.isfinite(curvature) and curvature > 0 else 1.0
        self._shrinkage = float(estimator.alpha) / data.weights.sum()
        self._guard = StrengthGuard(self._constant_loss(self._whole))
        self._unpenalised = None

    def _objective(self, loss, data, penalty):
        """Loss and penalty of rows, where the network is."""
        if self._device is not None:
            return DeviceObjective.of_data(loss, data, penalty, self._device)
        return RawObjective(loss, data.y, data.probabilities, penalty, data.offset)

    def _check_parameters(self):
        estimator = self.estimator
        check_hidden_layer_sizes(estimator.hidden_layer_sizes)
        check_choice(estimator.activation, "activation", tuple(ACTIVATIONS))
        check_positive_number(estimator.alpha, "alpha", allow_zero=True)
        check_positive_number(estimator.learning_rate_init, "learning_rate_init")
        check_positive_number(estimator.tol, "tol", allow_zero=True)
        for name in ("max_epochs", "max_iter", "n_iter_no_change"):
            check_whole_number(getattr(estimator, name), name)
        if estimator.batch_size != "auto":
            check_whole_number(estimator.batch_size, "batch_size")
        fraction = check_positive_number(estimator.validation_fraction, "validation_fraction")
        if fraction >= 1:
            raise ValueError(f"validation_fraction must be below 1; found {fraction!r}")

    def _hold_back(self, data):
        """Mask of the rows that are held back, at random."""
        n_rows = len(data.y)
        n_watched = max(LEAST_PENALISED_ROWS, math.ceil(self.estimator.validation_fraction * n_rows))
        if n_rows - n_watched < LEAST_PENALISED_ROWS:
            raise ValueError(
                f"early_stopping holds back {n_watched} rows and needs at least {LEAST_PENALISED_ROWS} more to train "
                f"on; found n_samples = {n_rows} of positive sample_weight: set early_stopping=False"
            )
        stratify = None
        if is_classifier(self.estimator) and min(data.y.sum(), (1 - data.y).sum()) >= 2:
            stratify = data.y
        _, rows = train_test_split(
            np.arange(n_rows), test_size=n_watched, random_state=self._random_state, stratify=stratify
        )
        held = np.zeros(n_rows, dtype=bool)
        held[rows] = True
        return held

    # -- solve ---------------------------------------------------------------------------------------------------------

    def solve(self, strength, parameters=None):
        """Parameters at a strength, from given ones or from the unpenalised network, and the fitted attributes."""
        estimator, unpenalised, n_epochs, null_level = self.estimator, None, 0, float("nan")
        with np.errstate(over="ignore", invalid="ignore"):
            if parameters is None or strength == 0:
                unpenalised = self._solve_unpenalised(parameters)
                parameters, n_epochs = unpenalised.parameters, unpenalised.n_epochs
            if strength > 0:
                effective_strength, solution = self._guard.solve(
                    strength, partial(self._solve_penalised, parameters), first_guess=partial(self._guess, parameters)
                )
                warn_of_strength(estimator, strength, effective_strength)
                warn_of_level(estimator, self._whole, lambda: self._whole.whole(solution.raw), effective_strength)
                null_level = self._warn_of_dependence(strength, solution)
            else:
                effective_strength, solution = 0.0, self._settle(parameters, 0.0, unpenalised.converged, 0, _curves())
        if not solution.converged:
            self._warn(effective_strength)
        attributes = dict(solution.attributes)
        for name, curve in solution.curves.items():
            attributes[name] = np.array((unpenalised.curves[name] if unpenalised else []) + curve)
        if self._watched is None:
            attributes["validation_curve_"] = None
        attributes.update(
            converged_=solution.converged,
            effective_strength_=effective_strength,
            penalty_null_level_=null_level,
            n_epochs_=n_epochs,
            n_iter_=max(1, n_epochs + solution.n_iterations),
        )
        return solution.parameters, attributes

    def _warn_of_dependence(self, strength, solution):
        estimator = self.estimator
        null_level = warn_of_dependence(
            estimator, self._whole, solution.raw, strength, f"raise max_iter={estimator.max_iter}, or take more units"
        )
        if self._X_watched is not None and not self._held.any():
            warn_of_dependence(
                estimator,
                self._watched,
                self._raw(self._network.raw(solution.parameters, self._X_watched)),
                strength,
                "what was learnt of the attributes does not hold there: take fewer units, or a larger alpha",
                rows="the rows of eval_set",
            )
        return null_level

    def _guess(self, parameters):
        """A strength to try where the one asked for gives a model worse than a constant."""
        raw = self._raw(self._network.raw(parameters))
        loss, penalty = self._train.mean_loss(raw), self._train.penalty_value(raw)
        return largest_sensible_strength(self._constant_loss(self._train), loss, penalty)

    def starting_parameters(self, coefs, intercepts):
        """Parameters of fitted layers; None if they do not fit these data."""
        return self._layers.read(coefs, intercepts, self._units)

    def _solve_unpenalised(self, parameters):
        if self._unpenalised is None:
            estimator, objective = self.estimator, self._train
            if parameters is None:
                parameters = self._layers.initial(estimator.activation, self._random_state)
            n_rows = len(objective.y)
            watch = Watch(estimator.tol, estimator.n_iter_no_change)
            losses = []
            bar = self._progress("loss", estimator.max_epochs, "epoch")

            def report(score):
                bar.set_postfix_str(f"{score:.6g}", refresh=False)
                bar.update()

            def slope_of(rows, output):
                # A batch stands for the whole: its weights are enlarged to the sum that they have there on average. Its
                # loss itself is of no use, and a number of a device would be waited for.
                raw = self._raw(output)
                if objective.offset is not None:
                    raw = raw + objective.offset[rows]
                _, slope = objective.loss.loss_gradient(objective.y[rows], raw, 0.0)
                slope *= objective.probabilities[rows] * (n_rows / len(rows))
                return slope * (self._units.spread / self._unit)

            def score_of(parameters):
                loss, _, _ = objective.terms(self._raw(self._network.raw(parameters)))
                losses.append(loss)
                return loss + self._ridge(parameters) if self._watched is None else self._watched_score(parameters, 0.0)

            options = SimpleNamespace(
                n_rows=n_rows,
                batch_size=min(self._batch_size(n_rows), n_rows),
                learning_rate=float(estimator.learning_rate_init),
                shrinkage=self._shrinkage / self._unit,
                max_epochs=estimator.max_epochs,
                random_state=self._random_state,
                report=report,
            )
            # A batch is too small to share: threads would wait for each other longer than they work.
            with bar, self._torch.training(1):
                converged = adam_phase(self._network, parameters, slope_of, score_of, watch, options)
            curves = {
                "loss_curve_": losses[1:],
                "penalty_curve_": [np.nan] * (len(losses) - 1),
                "validation_curve_": watch.scores[1:],
            }
            self._unpenalised = SimpleNamespace(
                parameters=watch.parameters, converged=converged, n_epochs=len(watch.scores) - 1, curves=curves
            )
        return self._unpenalised

    def _solve_penalised(self, start, strength):
        """The network at a strength: L-BFGS on the full sample from ``start``, and the output settled."""
        estimator, objective, curves = self.estimator, self._train, _curves()
        if strength == 0:
            return self._settle(start, 0.0, True, 0, curves)
        with self._torch.training(self._n_threads):
            loss, penalty, _ = objective.terms(self._raw(self._network.raw(start)), strength)
        if penalty == 0:
            # Constant attributes or a constant model: nothing to penalise, and the kink of the penalty.
            return self._settle(start, strength, True, 0, curves)

        bar = self._progress(f"strength {strength:g}", estimator.max_iter, "iteration")

        def report(parts):
            curves["loss_curve_"].append(parts.loss)
            curves["penalty_curve_"].append(parts.penalty)
            bar.set_postfix_str(f"loss {parts.loss:.6g}, penalty {parts.penalty:.4g}", refresh=False)
            bar.update()

        def training_score(parameters, parts):
            return parts.total

        def score_of(parameters, parts):
            score = parts.total if self._watched is None else self._watched_score(parameters, strength, watched_limit)
            curves["validation_curve_"].append(score)
            return score

        limit = max(loss, self._constant_loss(objective))
        left = estimator.max_iter
        with bar, self._torch.training(self._n_threads):
            for passing in strength_ramp(strength, loss, penalty, limit):
                watch = Watch(estimator.tol, estimator.n_iter_no_change)
                budget = min(RAMP_ITERATIONS, left - 1)
                passed = partial(self._value_gradient, strength=passing)
                penalised_phase(passed, start, limit, watch, training_score, budget, report)
                curves["validation_curve_"].extend([np.nan] * (len(watch.scores) - 1))
                start, left = watch.parameters, left - (len(watch.scores) - 1)
            watched_limit = self._watched_limit(start)
            watch = Watch(estimator.tol, estimator.n_iter_no_change)
            final = partial(self._value_gradient, strength=strength)
            converged = penalised_phase(final, start, limit, watch, score_of, left, report)
        # The score of the start belongs to no iteration.
        del curves["validation_curve_"][-len(watch.scores)]
        n_iterations = estimator.max_iter - left + len(watch.scores) - 1
        return self._settle(watch.parameters, strength, converged, n_iterations, curves)

    def _value_gradient(self, parameters, strength):
        """The objective of the training rows, and its gradient with respect to the parameters."""
        objective = self._train

        def of_output(output):
            loss, penalty, gradient = objective.terms(self._raw(output), strength)
            return (loss, penalty), gradient * self._units.spread

        (loss, penalty), gradient = self._network.value_gradient(parameters, of_output)
        gradient = gradient + self._shrinkage * np.where(self._layers.is_weight, parameters, 0.0)
        ridge = self._ridge(parameters)
        return Parts(loss, penalty, ridge, loss + strength * penalty + ridge), gradient

    def _settle(self, parameters, strength, converged, n_iterations, curves):
        """A solution: the output settled on all rows, and the terms of the objective there."""
        estimator, units, objective = self.estimator, self._units, self._whole
        coefs, intercepts = self._layers.publish(parameters, units)
        layers = coefs, intercepts, estimator.activation
        raw = (
            raw_predictions(self._X, *layers)
            if self._device is None
            else self._torch.raw_predictions_there(self._X, *layers, self._device)
        )
        slope, offset = settle_output(raw, objective, units.shift, strength)
        settled = units.shift + slope * (raw - units.shift) + offset
        if strength == 0 and not self._guard.admits(objective.mean_loss(settled)):
            # Training has found nothing that is better than a constant.
            slope, offset, settled = 0.0, 0.0, objective.constant_raw(units.shift)
        parameters = self._layers.settle(parameters, slope, offset / units.spread)
        coefs, intercepts = self._layers.publish(parameters, units)
        loss, penalty, _ = objective.terms(settled, strength)
        attributes = {
            "coefs_": coefs,
            "intercepts_": intercepts,
            **objective.attributes(
                loss, objective.penalty_value(settled), loss + strength * penalty + self._ridge(parameters)
            ),
        }
        return SimpleNamespace(
            parameters=parameters,
            loss=loss,
            raw=settled,
            attributes=attributes,
            converged=converged,
            n_iterations=n_iterations,
            curves=curves,
        )

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _raw(self, output):
        return self._units.shift + self._units.spread * output

    def _constant_loss(self, objective):
        """Loss of the constant model on the rows of an objective."""
        return objective.mean_loss(objective.constant_raw(self._units.shift))

    def _ridge(self, parameters):
        weights = parameters[self._layers.is_weight]
        return 0.5 * self._shrinkage * float(weights @ weights)

    def _watched_score(self, parameters, strength, limit=np.inf):
        """What early stopping goes by: no model whose loss is above a limit."""
        raw = self._raw(self._network.raw(parameters, self._X_watched))
        if not self._held.any():
            loss, penalty, _ = self._watched.terms(raw, strength)
        else:
            # A part is too small to tell the penalty of a good model from that of a better one. The loss of new rows
            # is what full-batch training spoils; the penalty is a functional of all rows, and is taken of all.
            loss = self._watched.mean_loss(raw[self._held])
            penalty = self._whole.penalty_value(raw) if strength > 0 else 0.0
        return np.inf if loss > limit else loss + strength * penalty

    def _watched_limit(self, start):
        """Largest loss of the watched rows that a penalised model may have.

        Where little is left of a model, it may be worse than a constant there from the start, by chance if there are
        few of them. All that comes after would be refused then, and the training go on to its end for nothing.
        """
        if self._watched is None:
            return np.inf
        constant_loss = self._constant_loss(self._watched)
        return constant_loss if self._watched_score(start, 0.0) <= constant_loss else np.inf

    def _batch_size(self, n_rows):
        if self.estimator.batch_size != "auto":
            return self.estimator.batch_size
        return int(np.clip(n_rows // _FEWEST_BATCHES, *_AUTO_BATCH))

    def _progress(self, description, total, unit):
        return tqdm(total=total, desc=description, unit=unit, disable=not self.estimator.verbose, leave=False)

    def _warn(self, strength):
        estimator = self.estimator
        limit = f"max_epochs={estimator.max_epochs}" if strength == 0 else f"max_iter={estimator.max_iter}"
        warn_user(
            f"{type(estimator).__name__} with strength={strength:g} was still getting better when it stopped "
            f"({limit}): increase it or tol, or set early_stopping=True",
            ConvergenceWarning,
        )


def _curves():
    """What is recorded of a training, by the names of the fitted attributes."""
    return {"loss_curve_": [], "penalty_curve_": [], "validation_curve_": []}
