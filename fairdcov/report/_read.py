"""The arguments of an audit, checked once."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from fairdcov._checks import check_choice, check_consistent_rows, check_sample_weight
from fairdcov.actuarial import check_positive_baseline, read_policies
from fairdcov.dependence import Strata
from fairdcov.encoding import (
    DEFAULT_GROUPS,
    MAX_NUMERIC_LEVELS,
    Attributes,
    MissingSensitiveFeaturesError,
    column_named,
    nearest_name,
    read_frame,
    select_rows,
    warn_about_order,
    with_probabilities,
    with_target,
)
from fairdcov.report._sample import AuditSample
from fairdcov.report._tasks import TASKS, check_predictions, find_task

__all__ = ["read_sample"]


def _read_attributes(sensitive_features, probabilities, n_samples, rows):
    """Protected attributes of the rows that count, whatever they came in."""
    if sensitive_features is None:
        raise MissingSensitiveFeaturesError("audit needs sensitive_features; found None")
    if isinstance(sensitive_features, dict):
        sensitive_features = read_frame(sensitive_features, "sensitive_features", n_samples).to_native()
    attributes = Attributes.read(sensitive_features)
    for column in attributes.columns.values():
        check_consistent_rows(n_samples, column, "sensitive_features", reference="y_pred")
        column.warn_of_numbers_as_text()
    if probabilities is not None:
        attributes = with_probabilities(attributes, probabilities)
    attributes.warn_of_likely_probabilities()
    return attributes if len(rows) == n_samples else attributes.rows(rows)


def _read_bins(attributes, bins, weights):
    """Edges of all bins; measurements that nobody has said how to cut become quantile groups."""
    asked = bins
    if bins is None or isinstance(bins, dict):
        shares = {column for columns in attributes.probabilities.values() for column in columns}
        asked = {column_named(key, attributes.names, "bins"): value for key, value in (bins or {}).items()}
        cut = [name for name in asked if name in shares]
        if cut:
            raise ValueError(f"bins names {cut[0]!r}, which holds the probability of a level: only numbers can be cut")
        for name, column in attributes.columns.items():
            if name in shares or name in asked or not column.numeric:
                continue
            if len(column.distinct()[1]) > MAX_NUMERIC_LEVELS:
                asked[name] = DEFAULT_GROUPS
    edges = attributes.edges(asked, weights)
    if not isinstance(asked, dict):
        asked = dict.fromkeys(edges, asked)
    return edges, asked


def _read_strata(control_features, control_bins, given, y_true, book, weights):
    """Strata of the control features of the rows that count, and these features of the same rows."""
    if isinstance(control_features, dict):
        control_features = read_frame(control_features, "control_features", book.n_samples).to_native()
    control_features, control_bins = with_target(given, control_features, control_bins, y_true, weights)
    if control_features is None:
        return None, None
    strata = Strata.read(control_features, book.n_samples, control_bins, weights, reference="y_pred")
    if len(book.rows) < book.n_samples:
        keep = np.zeros(book.n_samples, dtype=bool)
        keep[book.rows] = True
        strata, control_features = strata.part(keep), select_rows(control_features, keep)
    return strata, read_frame(control_features, "control_features", len(book.rows))


@dataclass(frozen=True, eq=False)
class BestEstimates:
    """Prices of each row for each level of the protected attributes.

    Attributes
    ----------
    estimates : (n, K) array
        One column for each level.
    price : (n,) array or None
        Discrimination-free price; None where the shares of the levels are not known.
    source : str
        Where they come from.
    """

    estimates: np.ndarray
    price: np.ndarray | None
    source: str


def _read_best_estimates(best_estimates, features, book):
    if best_estimates is None:
        return None
    if not hasattr(best_estimates, "best_estimates"):
        check_consistent_rows(book.n_samples, best_estimates, "best_estimates", reference="y_pred")
        try:
            estimates = np.asarray(best_estimates, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(
                "best_estimates must be an array (n, K) of numbers, a column for each level of the protected "
                f"attributes, or a fitted DiscriminationFreeRegressor; found {type(best_estimates).__name__}"
            ) from error
        if estimates.ndim != 2:
            raise ValueError(f"best_estimates must have shape (n, K); found shape {estimates.shape}")
        return BestEstimates(estimates[book.rows], None, "an array")
    if features is None:
        raise ValueError("best_estimates is a model, which needs features to predict from; found features=None")
    names = getattr(best_estimates, "feature_names_in_", None)
    if names is not None:
        frame = read_frame(features, "features", book.n_samples)
        absent = [name for name in names if name not in frame.columns]
        if absent:
            raise ValueError(
                f"best_estimates was fitted to {absent[0]!r}, which is not a column of features"
                f"{nearest_name(absent[0], frame.columns)}"
            )
        features = frame.select(list(names)).to_native()
    estimates = best_estimates.best_estimates(features)[book.rows]
    return BestEstimates(estimates, estimates @ best_estimates.reference_shares_, type(best_estimates).__name__)


def _read_features(features, legitimate_features, n_samples, rows):
    """Features and the names of the legitimate ones, which may come beside them."""
    names = []
    if legitimate_features is not None and not isinstance(legitimate_features, list | tuple | str):
        frame = read_frame(legitimate_features, "legitimate_features", n_samples)
        names = [str(name) for name in frame.columns]
        if features is None:
            return frame[rows, :], names
        known = read_frame(features, "features", n_samples)
        twice = sorted(set(names) & {str(name) for name in known.columns})
        if twice:
            raise ValueError(
                f"legitimate_features has column(s) {twice} that features has too: name them, "
                f"legitimate_features={twice}, instead of passing them twice"
            )
        pandas = [
            pd.DataFrame({str(name): part.get_column(name).to_numpy() for name in part.columns})
            for part in (known, frame)
        ]
        return read_frame(pd.concat(pandas, axis=1), "features", n_samples)[rows, :], names
    frame = None if features is None else read_frame(features, "features", n_samples)
    if legitimate_features is not None:
        names = [legitimate_features] if isinstance(legitimate_features, str) else list(legitimate_features)
        if names and frame is None:
            raise ValueError(f"legitimate_features={names} names columns of features, and there are no features")
        for name in names:
            if str(name) not in {str(known) for known in frame.columns}:
                raise ValueError(
                    f"legitimate_features names {name!r}, which is not a column of features"
                    f"{nearest_name(name, frame.columns)}"
                )
    if frame is not None and len(rows) < n_samples:
        frame = frame[rows, :]
    return frame, [str(name) for name in names]


def read_sample(
    y_true,
    y_pred,
    sensitive_features,
    *,
    sample_weight,
    features,
    baseline,
    legitimate_features,
    task,
    bins,
    random_state,
    probabilities=None,
    control_features=None,
    control_bins=DEFAULT_GROUPS,
    given=None,
    best_estimates=None,
):
    """Check the arguments of an audit.

    Parameters
    ----------
    y_true, y_pred, sensitive_features, sample_weight, features, baseline, legitimate_features, task, bins, random_state
    probabilities, control_features, control_bins, given, best_estimates
        See :func:`fairdcov.report.audit`.

    Returns
    -------
    AuditSample
    """
    check_choice(task, "task", ("auto", *TASKS))
    book = read_policies(y_true, sample_weight, y_pred=y_pred, baseline=baseline)
    warn_about_order(
        **book.row_labels,
        sensitive_features=sensitive_features,
        features=features,
        legitimate_features=legitimate_features,
        control_features=control_features,
        best_estimates=best_estimates,
    )
    if baseline is not None:
        check_positive_baseline(book)
        negative = int((book.predictions["y_pred"] < 0).sum())
        if negative:
            raise ValueError(
                f"y_pred must not be negative where there is a baseline, since changes are relative; found {negative} "
                "negative value(s)"
            )
    reason = None
    if task == "auto":
        task, reason = find_task(book.observed, book.exposure)
    check_predictions(book, task, reason)
    weighted = bool((book.exposure != book.exposure[0]).any())
    attributes = _read_attributes(sensitive_features, probabilities, book.n_samples, book.rows)
    edges, asked = _read_bins(attributes, bins, book.exposure if weighted else None)
    weights = None if sample_weight is None else check_sample_weight(sample_weight, book.n_samples, reference="y_pred")
    strata, control = _read_strata(control_features, control_bins, given, y_true, book, weights)
    estimates = _read_best_estimates(best_estimates, features, book)
    features, legitimate = _read_features(features, legitimate_features, book.n_samples, book.rows)
    return AuditSample(
        book=book,
        attributes=attributes,
        features=features,
        legitimate=legitimate,
        strata=strata,
        control=control,
        best_estimates=estimates,
        weighted=weighted,
        bins=edges,
        bins_asked=asked,
        task=task,
        task_reason=reason,
        seed=int(check_random_state(random_state).randint(np.iinfo(np.int32).max)),
    )
