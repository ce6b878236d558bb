"""The folds: stratified ones, and what must be in each."""

import warnings
from collections import Counter

import numpy as np
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_random_state

from fairdcov._checks import warn_user
from fairdcov.calibration._data import count_rows
from fairdcov.calibration._parameters import number_of_folds
from fairdcov.encoding import as_given, describe_groups
from fairdcov.exceptions import CalibrationWarning, SensitiveFeaturesWarning

__all__ = ["make_splits", "stratified_splits"]


def make_splits(calibrator, splitter, data, groups, split_params):
    """Folds that have something to fit, to score and to compare, a list of (fitted, held out).

    They are stratified by group, or those of ``splitter``, which gets ``split_params``.
    """
    if splitter is None:
        splits = stratified_splits(number_of_folds(calibrator.cv), groups.sections, calibrator.random_state)
    else:
        params = {name: as_given(value) for name, value in split_params.items()}
        splits = _read_splits(list(splitter.split(data.X, data.y, **params)), count_rows(data.X))
    counted = np.ones(count_rows(data.X), dtype=bool) if data.sample_weight is None else data.sample_weight > 0
    _check_groups(splits, groups, counted, calibrator.min_group_size)
    _check_targets(splits, data.y, counted)
    return splits


def _read_splits(splits, n_samples):
    """Splits of a splitter as positions of rows; raise for what are none, warn of rows on both sides."""
    found = []
    for fold, split in enumerate(splits):
        where = f"fold {fold} of {len(splits)} in cv"
        fitted, held = (_positions(rows, n_samples, where) for rows in split)
        if len(fitted) == 0:
            raise ValueError(f"{where} has no row to fit")
        n_seen = int(np.isin(held, fitted).sum())
        if n_seen:
            warn_user(
                f"{where} holds out {n_seen} row(s) that its models are fitted to: divergence and score there are not "
                "those of new rows, and what is chosen by them may not hold",
                CalibrationWarning,
            )
        found.append((fitted, held))
    return found


def _positions(rows, n_samples, where):
    """Positions of rows, given by themselves or by a mask."""
    rows = np.asarray(rows)
    if rows.dtype == bool and rows.shape == (n_samples,):
        return np.flatnonzero(rows)
    if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
        raise ValueError(
            f"{where} must have arrays of positions of rows, or masks ({n_samples},); found an array of shape "
            f"{rows.shape} and type {rows.dtype}"
        )
    wrong = (rows < 0) | (rows >= n_samples)
    if wrong.any():
        raise ValueError(f"{where} has the row {rows[wrong][0]}; X has rows 0 to {n_samples - 1}")
    return rows.astype(np.int64)


def stratified_splits(n_folds, codes, random_state):
    """Shuffled folds that mix the groups, a list of (fitted, held out)."""
    if n_folds < 2 or n_folds > len(codes):
        raise ValueError(f"cv must be between 2 and the number of rows, {len(codes)}; found {n_folds}")
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        # Groups too small to stratify share one stratum.
        strata = np.where(np.isin(codes, np.flatnonzero(np.bincount(codes) < n_folds)), -1, codes)
        if Counter(strata.tolist()).most_common()[0][1] < n_folds:
            strata = np.zeros_like(codes)
        return list(folds.split(np.zeros(len(codes)), strata))


def _check_groups(splits, groups, counted, min_group_size):
    """Name the groups that are not compared in some fold; raise where a fold has nothing to compare."""
    if not splits:
        raise ValueError("cv gives no split")
    labels = groups.labels
    held_out = [np.asarray(test)[counted[test]] for _, test in splits]
    if groups.shares is None:
        counts = np.array([np.bincount(groups.codes[rows], minlength=len(labels)) for rows in held_out])
    else:
        counts = np.array([np.ceil(groups.shares[rows].sum(axis=0)) for rows in held_out])
    compared = counts >= min_group_size
    empty = np.flatnonzero(compared.sum(axis=1) < 2)
    if len(empty):
        raise ValueError(
            f"{len(empty)} of {len(splits)} folds hold out fewer than two groups of at least "
            f"min_group_size={min_group_size} rows, the first of them fold {empty[0]}, where nothing can be "
            "compared: choose folds that mix the groups (such as cv=5), coarser bins or a smaller min_group_size"
        )
    missing = (~compared).sum(axis=0)
    small = np.flatnonzero(missing)
    if len(small):
        warn_user(
            f"{len(small)} group(s) have fewer than min_group_size={min_group_size} rows in some of the "
            f"{len(splits)} folds and are not compared there (group: number of such folds): "
            f"{describe_groups([labels[k] for k in small], missing[small])}; set coarser bins or fewer folds",
            SensitiveFeaturesWarning,
        )


def _check_targets(splits, y, counted):
    """Raise for folds with one value of the target, where nothing can be fitted or scored."""
    values = np.asarray(y)
    if values.ndim != 1:
        return  # the estimator refuses it, or knows what to do

    def constant(rows):
        known = values[rows][counted[rows]]
        return len(known) > 0 and bool((known == known[0]).all())

    if constant(np.arange(len(values))):
        raise ValueError(f"y is {values[counted][0]} in every row, one value or class: there is nothing to calibrate")
    for fold, (fitted, held) in enumerate(splits):
        for rows, what in ((fitted, "is fitted to"), (held, "holds out")):
            if constant(rows):
                raise ValueError(
                    f"fold {fold} of {len(splits)} {what} rows of one value of y only, {values[rows][0]}: choose fewer "
                    "folds, or pass cv a splitter that spreads the values of y, such as claims, over all folds"
                )
