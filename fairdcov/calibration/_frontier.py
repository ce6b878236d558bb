"""How far the chosen model is from the best that parity allows, on the rows held out.

The references are fitted to the same rows as the models of a fold, and predict the same rows. Each row counts once.
"""

import warnings

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.pipeline import Pipeline
from tqdm import tqdm

from fairdcov._fitting import FAMILIES_BY_LOSS, family_of
from fairdcov.calibration._data import count_rows
from fairdcov.calibration._parameters import sensitive_columns_within
from fairdcov.encoding import read_sensitive_columns, take_rows
from fairdcov.exceptions import SensitiveFeaturesWarning
from fairdcov.inference import frontier_gap

__all__ = ["check_reference", "gap_lines", "gap_of_choice", "gap_rows", "predict_references"]

# Of the references' penalty: about a factor of three apart, to where groups can hardly be told apart on new rows.
_STRENGTHS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


def check_reference(calibrator, metadata):
    """Raise where a reference is none, of another loss than the estimator, or without what predictions need."""
    reference, estimator = calibrator.reference, calibrator.estimator
    if reference is None:
        return
    name = type(reference).__name__
    known = hasattr(reference, "strength_path") and not isinstance(reference, type)
    if not known or not {"aware", "loss"} <= set(reference.get_params(deep=False)):
        raise TypeError(
            f"reference must be a FairBarycentreRegressor, the best predictions that parity allows; found {name}"
        )
    family = family_of(estimator)
    if family is not None and FAMILIES_BY_LOSS.get(reference.loss) is not family:
        expected = next(loss for loss, other in FAMILIES_BY_LOSS.items() if other is family)
        raise ValueError(
            f"the reference has loss={reference.loss!r}, {type(estimator).__name__} is fitted by the "
            f"{family.deviance_name}: deviances of two kinds cannot be compared. Take {name}(loss={expected!r})"
        )
    if metadata.predict:
        raise ValueError(
            f"reference knows no {', '.join(sorted(metadata.predict))}, without which its predictions would be worse "
            "for a reason that is none of parity's: leave reference out, and compare with fairdcov.frontier_gap"
        )


def predict_references(calibrator, data, splits):
    """Predictions of the rows held out by references that do not see the attributes and that do.

    Returns
    -------
    dict of str to dict of float to (n,) array
        ``unaware`` and ``aware``: for each strength, NaN for rows that no fold holds out. Empty without a reference.
    """
    reference = calibrator.reference
    if reference is None:
        return {}
    X, n_samples = _without_attributes(calibrator.estimator, data.X, data.attributes), count_rows(data.X)
    found = {kind: {strength: np.full(n_samples, np.nan) for strength in _STRENGTHS} for kind in ("unaware", "aware")}
    rows_of_folds = [(fold, held) for fold, held in enumerate(_rows_of_folds(splits, data)) if len(held)]
    if not rows_of_folds:
        raise ValueError("reference needs folds that hold out rows that they are not fitted to; cv has none")
    total = len(rows_of_folds) * len(found) * len(_STRENGTHS)
    bar = tqdm(total=total, desc="references", unit="fit", disable=not calibrator.verbose, leave=False)
    with bar, warnings.catch_warnings():
        # Remarks on attributes have been made for all folds together.
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        for fold, held in rows_of_folds:
            for kind, predictions in found.items():
                try:
                    for strength, prediction in _path(reference, X, data, splits[fold][0], held, aware=kind == "aware"):
                        predictions[strength][held] = prediction
                        bar.update()
                except (TypeError, ValueError) as error:
                    raise (ValueError if isinstance(error, ValueError) else TypeError)(
                        f"the reference ({kind}) cannot be fitted to fold {fold} of {len(splits)}, or predict what it "
                        f"holds out: {error}"
                    ) from error
    return found


def _without_attributes(estimator, X, attributes):
    """Features without the protected attributes, whatever the estimator makes of columns that hold them."""
    columns = sensitive_columns_within(estimator)
    if columns is not None and all(isinstance(name, str) for name in columns):
        X = read_sensitive_columns(X, None, columns)[0]
    elif columns is not None and isinstance(estimator, Pipeline):
        raise ValueError(
            f"sensitive_columns={columns!r} are positions within the Pipeline, and the reference cannot tell which "
            "columns of X hold the protected attributes: name them"
        )
    elif columns is not None:
        return read_sensitive_columns(X, None, columns)[0]
    # Those that a Pipeline may well leave aside.
    named = [name for name in attributes.columns if name in list(getattr(X, "columns", []))]
    return read_sensitive_columns(X, None, named)[0] if named else X


def _rows_of_folds(splits, data):
    """Rows of positive weight that each fold is the first to hold out: of repeated folds a row counts once."""
    new = np.ones(count_rows(data.X), dtype=bool) if data.sample_weight is None else data.sample_weight > 0
    found = []
    for fitted, held in splits:
        held = np.setdiff1d(held, fitted)
        found.append(held[new[held]])
        new[held] = False
    return found


def _path(reference, X, data, fitted, held, *, aware):
    """Strengths, and predictions of the rows ``held`` by references that are fitted to the rows ``fitted``."""
    weights = None if data.sample_weight is None else data.sample_weight[fitted]
    models = (
        clone(reference)
        .set_params(aware=aware)
        .strength_path(
            take_rows(X, fitted),
            take_rows(data.y, fitted),
            _STRENGTHS,
            weights,
            sensitive_features=data.attributes.rows(fitted),
        )
    )
    rows = take_rows(X, held)
    if not aware:
        prepared = None
        for model in models:
            prepared = model.prepare(rows) if prepared is None and hasattr(model, "prepare") else prepared
            yield model.strength, model.predict(rows if prepared is None else prepared)
        return
    attributes = data.attributes.rows(held)
    for model in models:
        yield model.strength, model.predict(rows, sensitive_features=attributes)


def gap_of_choice(calibrator, model, data, splits, references, found, best, divergence):
    """Gap between the chosen model and the references, or None without these.

    Parameters
    ----------
    calibrator : JSDivergenceCalibrator
        With a reference.
    model : estimator
        The chosen one; of a classifier its second class is what is predicted.
    data : CalibrationData
        All rows.
    splits : list
        Folds.
    references : dict
        From :func:`predict_references`.
    found : list of dict
        What was measured in each fold, for each seed, with ``predictions``.
    best : int
        Chosen strength.
    divergence : dict
        Options of the divergence.
    """
    if not references:
        return None
    prediction = np.full(count_rows(data.X), np.nan)
    for fold, rows in enumerate(_rows_of_folds(splits, data)):
        held = np.asarray(splits[fold][1])
        # Of several seeds the first.
        found_there = found[fold * calibrator.n_seeds]["predictions"][best]
        place = np.empty(len(prediction), dtype=np.int64)
        place[held] = np.arange(len(held))
        prediction[rows] = found_there[place[rows]]
    rows = np.flatnonzero(np.isfinite(prediction))
    y = np.asarray(data.y)
    y = (y == model.classes_[-1]).astype(np.float64) if is_classifier(model) else y.astype(np.float64)
    options = dict(divergence)
    if data.control is not None:
        options["control_features"] = data.control.rows(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        return frontier_gap(
            y.ravel()[rows],
            prediction[rows],
            sensitive_features=data.attributes.rows(rows),
            sample_weight=None if data.sample_weight is None else data.sample_weight[rows],
            loss=calibrator.reference.loss,
            **{kind: {strength: path[strength][rows] for strength in path} for kind, path in references.items()},
            **options,
        )


def gap_rows(gap):
    """Rows of the table of what the choice costs: measure, without penalty, chosen, kept."""
    deviance = FAMILIES_BY_LOSS[gap.loss].deviance_name
    return [
        (f"{deviance} that this model leaves on the table", np.nan, gap.left_on_the_table, np.nan),
        (f"{deviance} that not seeing S costs", np.nan, gap.cost_of_not_seeing, np.nan),
    ]


def gap_lines(gap):
    """The same in words, with the deviances that are compared and the errors of their differences."""
    table, left, cost = gap.table, gap.left_on_the_table, gap.cost_of_not_seeing
    compared = ", ".join(f"{name} {row['deviance']:.5g}" for name, row in table.iterrows())
    said = "this model leaves" if left > 0 else "no better one without S is known, this one is below the reference by"
    lines = [
        f"{FAMILIES_BY_LOSS[gap.loss].deviance_name} at a net divergence of {table['divergence'].iloc[0]:.2g}: "
        f"{compared}",
        f"{said} {abs(left):.2g} ± {gap.left_on_the_table_std_error:.2g}{' on the table' if left > 0 else ''}; not "
        f"seeing S costs {cost:.2g} ± {gap.cost_of_not_seeing_std_error:.2g}",
    ]
    for name, row in table.iloc[1:].iterrows():
        if not row["reached"]:
            lines.append(f"{name} does not reach this divergence; compared at its lowest, {row['divergence']:.2g}")
    return lines
