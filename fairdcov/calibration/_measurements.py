"""What is measured of each strength on the rows that a fold holds out, and what that makes over all folds."""

import time
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed
from tqdm import tqdm

from fairdcov.calibration._cost import FoldCost, summarise_cost
from fairdcov.calibration._data import handed_to
from fairdcov.calibration._parameters import name_of_seed
from fairdcov.calibration._stand_in import predicting_once, score_of_constant
from fairdcov.exceptions import SensitiveFeaturesWarning, StrengthWarning
from fairdcov.metrics import js_divergence, null_distribution, predictions_of

__all__ = ["end_of_grid", "measure_fold", "measure_folds", "summarise_folds"]


def effective_strength(model, strength):
    """Strength that a fitted model, or the last step of a Pipeline, goes by; the one asked for if it does not say."""
    final = model[-1] if isinstance(model, Pipeline) else model
    return getattr(final, "effective_strength_", strength)


def end_of_grid(found):
    """Index of the first strength at which the models of all folds go by a smaller one, as at later ones, or None."""
    capped = np.all([part["capped"] for part in found], axis=0)
    return int(np.argmax(capped)) if capped.any() else None


def _as_number(score, scorer):
    """One number, or an error that names the scorer."""
    try:
        return float(score)
    except (TypeError, ValueError):
        raise TypeError(f"scoring must give one number, which the rules compare; {scorer!r} gave {score!r}") from None


def measure_fold(
    sweep, data, split, strengths, scorer, *, n_permutations, divergence, seed, report=None, keep_predictions=False
):
    """What is measured on the rows held out, by name: arrays with an entry for each strength.

    ``divergence``, its values under permuted groups in ``permuted``, ``score``, ``seconds``, and ``capped``, whether
    the model goes by a smaller strength than the one asked for, and ``predictions`` where they are to be kept;
    ``constant_score`` is one number, the score of the constant prediction, and ``cost`` what :class:`FoldCost` has
    found. All strengths are compared with the same permutations, so that the null level is a smooth function of the
    strength.
    """
    fitted, held = (data.part(rows) for rows in split)
    score_params = handed_to(scorer, held.score_params)
    rows, prepared, cost = [], None, None
    start = time.perf_counter()
    with warnings.catch_warnings():
        # Groups too small to compare have been reported for all folds together.
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        # Strengths beyond the largest that a model can go by end the grid, which is said once.
        warnings.simplefilter("ignore", StrengthWarning)
        models = sweep.models(fitted.X, fitted.y, strengths, fitted.fit_params)
        for strength, model in zip(strengths, models, strict=True):
            seconds = time.perf_counter() - start
            if prepared is None:
                prepared = sweep.prepare(held.X, model)
                constant_score = score_of_constant(
                    model, scorer, fitted.y, fitted.sample_weight, (prepared, held.y), score_params
                )
            model = predicting_once(model, prepared, held.predict_params)
            predictions = predictions_of(model, prepared)
            if cost is None:
                cost = FoldCost(held.y, model, held.attributes, divergence["bins"], held.sample_weight)
            cost.add(predictions)
            null = null_distribution(
                js_divergence,
                None,
                predictions,
                sensitive_features=held.attributes,
                sample_weight=held.sample_weight,
                n_permutations=n_permutations,
                random_state=seed,
                control_features=held.control,
                **divergence,
            )
            rows.append(
                {
                    "divergence": null.observed,
                    "permuted": null.values,
                    "score": _as_number(scorer(model, prepared, held.y, **score_params), scorer),
                    "seconds": seconds,
                    "capped": effective_strength(model, strength) < strength,
                }
            )
            if keep_predictions:
                rows[-1]["predictions"] = predictions
            if report is not None:
                report()
            start = time.perf_counter()
    found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return found | {"constant_score": constant_score, "cost": cost.found()}


def measure_folds(calibrator, sweep, data, splits, strengths, scorer, options, *, keep_predictions=False):
    """What :func:`measure_fold` finds in each fold and, within it, for each seed of the learner."""
    estimator, n_seeds = calibrator.estimator, calibrator.n_seeds
    options = {**options, "keep_predictions": keep_predictions}
    generator = check_random_state(calibrator.random_state)
    tasks = []
    for split in splits:
        # One for the permutations of a fold, which its learners share.
        seed, *learner_seeds = generator.randint(np.iinfo(np.int32).max, size=1 + n_seeds).tolist()
        for learner_seed in learner_seeds:
            fold_sweep = sweep
            if n_seeds > 1:
                learner = clone(estimator).set_params(**{name_of_seed(estimator): learner_seed})
                fold_sweep = sweep.with_estimator(learner, data.fit_params)
            tasks.append(((fold_sweep, data, split, strengths.tolist(), scorer), {"seed": seed, **options}))
    sequential = calibrator.n_jobs in (None, 1)
    total = len(tasks) * (len(strengths) if sequential else 1)
    unit = "fit" if sequential else "fold"
    with tqdm(total=total, desc="calibrating", unit=unit, disable=not calibrator.verbose, leave=False) as bar:
        if sequential:
            return [measure_fold(*task, report=bar.update, **named) for task, named in tasks]
        workers = Parallel(n_jobs=calibrator.n_jobs, return_as="generator")
        found = []
        for result in workers(delayed(measure_fold)(*task, **named) for task, named in tasks):
            found.append(result)
            bar.update()
        return found


def summarise_folds(strengths, found, n_seeds, null_quantile):
    """Results of a calibration from what ``measure_fold`` found in each fold and, within it, for each seed.

    Seeds share the rows of their fold: they are averaged first, and the standard errors are those over the folds.
    """
    names = [name for name in found[0] if name not in ("cost", "predictions")]
    folds = {name: np.stack([part[name] for part in found], axis=-1) for name in names}
    # Of the strengths measured those up to the end of the grid.
    folds = {name: values if values.ndim == 1 else values[: len(strengths)] for name, values in folds.items()}
    # A draw of the mean divergence under permuted groups is the mean over the folds of one draw each.
    null = folds["permuted"].mean(axis=-1)

    def mean_and_error(values):
        folds = values.reshape(len(strengths), -1, n_seeds).mean(axis=-1)
        n_folds = folds.shape[1]
        with np.errstate(invalid="ignore"):
            # Of a score that is infinite.
            error = folds.std(axis=1, ddof=1) / np.sqrt(n_folds) if n_folds > 1 else np.zeros(len(strengths))
        return folds.mean(axis=1), error

    divergence, divergence_error = mean_and_error(folds["divergence"])
    net, net_error = mean_and_error(folds["divergence"] - folds["permuted"].mean(axis=1))
    score, score_error = mean_and_error(folds["score"])
    explained = score - folds["constant_score"].mean()
    return {
        "strengths": np.asarray(strengths),
        "mean_divergence": divergence,
        "std_error_divergence": divergence_error,
        "mean_net_divergence": net,
        "std_error_net_divergence": net_error,
        "mean_score": score,
        "std_error_score": score_error,
        "mean_explained": explained,
        "kept": explained / explained[0] if explained[0] > 0 else np.full(len(strengths), np.nan),
        **summarise_cost([part["cost"] for part in found], len(strengths)),
        "null_mean": null.mean(axis=1),
        "null_level": np.quantile(null, null_quantile, axis=1),
        "mean_fit_seconds": folds["seconds"].mean(axis=1),
        "fold_divergence": folds["divergence"],
        "fold_score": folds["score"],
        "fold_constant_score": folds["constant_score"],
    }
