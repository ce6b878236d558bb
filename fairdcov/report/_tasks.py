"""What is predicted, found out from what was observed, and the deviance that goes with it."""

import numpy as np

from fairdcov._fitting import FAMILIES

__all__ = ["PREDICTION_RANGES", "TASKS", "check_predictions", "find_task", "out_of_range", "unit_deviance"]

# What is predicted, and the deviance that goes with it: that of the first family of this task.
TASKS: dict = {}
for _family in FAMILIES.values():
    TASKS.setdefault(_family.task, (_family.deviance_name, _family.loss()))
# What the predictions of a task have to be, beside any number.
PREDICTION_RANGES = {
    "frequency": "predictions that are not negative, and positive where something was observed",
    "pure_premium": "predictions that are not negative, and positive where something was observed",
    "severity": "positive predictions",
    "classification": "predictions between 0 and 1",
}
# Rows that an error names.
_ROWS_NAMED = 5


def unit_deviance(observed, predicted, task):
    """Deviance of each row of a task's family.

    Parameters
    ----------
    observed, predicted : (n,) float64 arrays
        Values per unit of exposure.
    task : str
        One of :data:`TASKS`.

    Returns
    -------
    deviances : (n,) array or None
        None where some value is outside the range of the family.
    reason : str or None
        Why there are none.
    """
    name, loss = TASKS[task]
    if loss.target_range == "binary":
        if not np.isin(observed, (0.0, 1.0)).all() or out_of_range(observed, predicted, task).any():
            return None, f"the {name} needs outcomes 0 and 1 and {PREDICTION_RANGES[task]}"
    elif loss.out_of_range(observed).any():
        return None, f"the {name} needs observed values that are {loss.target_range}"
    elif out_of_range(observed, predicted, task).any():
        return None, f"the {name} needs {PREDICTION_RANGES[task]}"
    if loss.link != "log":
        return loss.deviance(observed, predicted), None
    # Where nothing is predicted nothing is observed either, and the deviance is 0.
    deviances, some = np.zeros(len(predicted)), predicted > 0
    deviances[some] = loss.deviance(observed[some], predicted[some])
    return deviances, None


def out_of_range(observed, predicted, task):
    """Rows whose prediction the family of a task does not have, or gives an infinite deviance, (n,) bool array."""
    if task == "regression":
        return np.zeros(len(predicted), dtype=bool)
    if task == "classification":
        return (predicted < 0) | (predicted > 1)
    if task == "severity":
        return predicted <= 0
    return (predicted < 0) | ((predicted == 0) & (observed > 0))


def find_task(observed, exposure):
    """Task by the observed values, and why; the predictions, which are what is audited, have no say.

    Parameters
    ----------
    observed : (n,) float64 array or None
        Observed values per unit of exposure.
    exposure : (n,) float64 array
        Exposure.

    Returns
    -------
    task : str
        One of :data:`TASKS`.
    reason : str
        What the observed values are.
    """
    if observed is None:
        return "regression", "nothing was observed"
    negative = int((observed < 0).sum())
    if negative:
        return "regression", f"{negative:,} of {len(observed):,} observed values are negative"
    unweighted = bool((exposure == exposure[0]).all())
    if unweighted and np.array_equal(np.unique(observed), (0.0, 1.0)):
        return "classification", "the observed values are 0 and 1, without an exposure"
    counts = exposure * observed
    values = "observed values" if unweighted and exposure[0] == 1 else "observed values times exposure"
    broken = int((np.abs(counts - np.rint(counts)) > 1e-6 * np.maximum(1.0, counts)).sum())
    if not broken:
        return "frequency", f"{values} are whole numbers"
    if (observed == 0).any():
        return "pure_premium", f"{broken:,} of {len(observed):,} {values} are no whole numbers, and some are 0"
    return "severity", f"{broken:,} of {len(observed):,} {values} are no whole numbers, and none is 0"


def check_predictions(book, task, reason):
    """Raise for predictions that the deviance of the task cannot judge."""
    if book.observed is None:
        return
    predicted = book.predictions["y_pred"]
    wrong = np.flatnonzero(out_of_range(book.observed, predicted, task))
    if len(wrong) == 0:
        return
    first = ", ".join(f"row {book.rows[row]}: {predicted[row]:g}" for row in wrong[:_ROWS_NAMED])
    found_by = f", which task='auto' found since {reason}" if reason else ""
    raise ValueError(
        f"the {TASKS[task][0]} of task={task!r}{found_by}, needs {PREDICTION_RANGES[task]}: y_pred has "
        f"{len(wrong):,} other value(s) ({first}{', ...' if len(wrong) > _ROWS_NAMED else ''}). Correct them or leave "
        "these rows out, or pass the task that the predictions are for; task='regression' takes any"
    )
