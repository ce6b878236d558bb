"""Which features carry the protected attributes: distance correlations one by one, and a prediction from all."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from fairdcov._checks import is_constant
from fairdcov.dependence import bind_dependence
from fairdcov.encoding import MISSING, SensitiveBlocks, factorise, missing_rows

__all__ = ["FeatureColumn", "proxies_section", "read_columns"]

# Features times rows that are screened, and profiles of the attributes that still make a small matrix.
_SCREENED = 1_500_000
_LEAST_SCREENED = 5000
_MOST_PROFILES = 2000
# A text column with more levels than this is a name or a number of a policy, not a factor.
_MOST_LEVELS = 1000
# Rows and folds of the prediction of the attributes from the features; enough to find a proxy, not to fit one well.
_LEARNED_ROWS = 6000
_FOLDS = 3
_LEAST_OF_CLASS = 10
# scikit-learn's histogram boosting takes categories below this number.
_MOST_CATEGORIES = 254


@dataclass(frozen=True, eq=False)
class FeatureColumn:
    """A feature as numbers (with NaN) or as codes of levels, or the reason why it is neither."""

    name: str
    numeric: bool = False
    values: np.ndarray | None = None
    codes: np.ndarray | None = None
    levels: list | None = None
    skipped: str | None = None
    share_missing: float = 0.0

    @property
    def constant(self):
        """Whether it says nothing."""
        if self.numeric:
            known = self.values[np.isfinite(self.values)]
            return len(known) == 0 or (bool((known == known[0]).all()) and len(known) == len(self.values))
        return len(np.unique(self.codes)) < 2


def _read_column(name, column):
    missing = missing_rows(column)
    share = float(missing.mean())
    dtype = column.dtype
    if dtype.is_temporal():
        stamps = pd.to_datetime(pd.Series(column.to_list()), errors="coerce").to_numpy().astype("datetime64[s]")
        values = np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64).astype(np.float64))
        return FeatureColumn(name, numeric=True, values=values, share_missing=share)
    if dtype.is_numeric():
        values = np.array(column.to_numpy(), dtype=np.float64)
        values[missing | ~np.isfinite(values)] = np.nan
        return FeatureColumn(name, numeric=True, values=values, share_missing=float(np.isnan(values).mean()))
    texts = pd.Series(column.to_list(), dtype=object)
    texts[missing] = None
    codes, first = factorise(texts.to_numpy())
    levels = [texts.iloc[row] for row in first]
    if len(levels) > min(_MOST_LEVELS, max(20, len(texts) / 2)):
        reason = f"{len(levels)} different values in {len(texts)} rows: not a factor"
        return FeatureColumn(name, skipped=reason, share_missing=share)
    if missing.any():
        codes = np.where(codes < 0, len(levels), codes)
        levels = [*levels, MISSING]
    return FeatureColumn(name, codes=codes, levels=levels, share_missing=share)


def read_columns(frame, rows, names=None):
    """Features of some rows.

    Parameters
    ----------
    frame : narwhals.DataFrame, (n, p)
        Features.
    rows : (m,) integer array
        Which rows.
    names : list of str, optional
        Which columns; all of them by default.

    Returns
    -------
    list of FeatureColumn
    """
    columns = [name for name in frame.columns if names is None or str(name) in names]
    return [_read_column(str(name), frame.get_column(name)[rows]) for name in columns]


# --- one feature at a time -----------------------------------------------------------------------------------------


class _Attribute:
    """An attribute (or all of them) bound once for the distance covariances with many features; U-statistics."""

    def __init__(self, blocks):
        self.blocks = blocks.concatenated() if len(blocks.points) > 1 else blocks
        self.form = None if blocks.is_constant() else _bind(self.blocks)
        self.length = 0.0 if self.form is None else self.form.norm()

    def covariance_with_levels(self, codes, n_levels, form):
        """Squared distance covariance with a categorical feature, bound as ``form``; None where out of reach."""
        (points,) = self.blocks.points
        n_profiles = len(points)
        if n_profiles <= _MOST_PROFILES:
            counts = np.bincount(codes * n_profiles + self.blocks.codes, minlength=n_levels * n_profiles)
            counts = counts.reshape(n_levels, n_profiles).astype(np.float64)
            return table_distance_covariance(counts, 1.0 - np.eye(n_levels), cdist(points, points))
        if points.shape[1] == 1:
            # Numbers of many values take the place of the prediction.
            return form.value_gradient(points[self.blocks.codes, 0])[0]
        return None


def table_distance_covariance(counts, distances_x, distances_y):
    """Squared distance covariance, U-statistic, of two variables of few values, from their table of counts.

    ``[sum_ij a_ij b_ij - 2 / (n - 2) sum_i a_i. b_i. + a.. b.. / ((n - 1) (n - 2))] / (n (n - 3))`` with the distances
    a and b, whose sums over rows are sums over the table.
    """
    n = counts.sum()
    sums_x, sums_y = distances_x @ counts.sum(axis=1), distances_y @ counts.sum(axis=0)
    products = float((distances_x * (counts @ distances_y @ counts.T)).sum())
    crossed = float(sums_x @ counts @ sums_y)
    totals = float(counts.sum(axis=1) @ sums_x) * float(counts.sum(axis=0) @ sums_y)
    return (products - 2.0 / (n - 2) * crossed + totals / ((n - 1) * (n - 2))) / (n * (n - 3))


def _bind(blocks):
    return bind_dependence(blocks, "ccdcov", statistic="u", approximate=False)


def _correlations(column, attributes):
    """Bias-corrected squared distance correlations of a feature with each attribute; None where out of reach."""
    if column.numeric:
        known = np.isfinite(column.values)
        values = np.where(known, column.values, np.median(column.values[known]) if known.any() else 0.0)
        values = values - values.mean()
        constant = is_constant(values) or not known.any()
        order = np.argsort(values)
        blocks = SensitiveBlocks.from_arrays([values[:, None]])
    else:
        # Codes of levels that some row has; levels are points at distance 1 from each other.
        codes, first = factorise(column.codes)
        constant = len(first) < 2
        blocks = SensitiveBlocks(codes.astype(np.int32), (np.eye(len(first)) / np.sqrt(2.0),), ("levels",))
    if constant:
        return [0.0] * len(attributes)
    form = _bind(blocks)
    length = form.norm()
    found = []
    for attribute in attributes:
        if length * attribute.length <= 0:
            found.append(0.0)
            continue
        if column.numeric:
            covariance = attribute.form.value_gradient(values, order)[0]
        else:
            covariance = attribute.covariance_with_levels(codes, len(first), form)
        if covariance is not None:
            covariance = float(np.clip(covariance / (length * attribute.length), 0.0, 1.0))
        found.append(covariance)
    return found


# --- all features together -----------------------------------------------------------------------------------------


def _learning_matrix(columns):
    """Features for histogram boosting, and which of them are categories."""
    parts, categorical = [], []
    for column in columns:
        if column.numeric:
            parts.append(column.values)
        else:
            counts = np.bincount(column.codes, minlength=len(column.levels))
            rank = np.empty(len(counts), dtype=np.int64)
            rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
            ranks = rank[column.codes].astype(np.float64)
            parts.append(np.where(ranks < _MOST_CATEGORIES, ranks, np.nan))
        categorical.append(not column.numeric)
    return np.column_stack(parts), np.array(categorical)


def _predict_attribute(values, X, categorical, seed):
    """Cross-validated AUC (categories) or R^2 (numbers) of an attribute predicted from the features."""
    options = {
        "max_iter": 30,
        "max_leaf_nodes": 15,
        "learning_rate": 0.2,
        "early_stopping": False,
        "categorical_features": categorical,
        "random_state": seed,
    }
    found = {"score": None, "value": None, "n_samples": len(X), "folds": _FOLDS, "note": None}
    if values.dtype.kind == "f" and len(np.unique(values)) > 2:
        found["score"] = "r2"
        predicted = np.empty(len(values))
        for train, test in KFold(_FOLDS, shuffle=True, random_state=seed).split(X):
            predicted[test] = HistGradientBoostingRegressor(**options).fit(X[train], values[train]).predict(X[test])
        return found | {"value": float(r2_score(values, predicted))}
    codes, _ = factorise(values)
    counts = np.bincount(codes)
    kept = np.flatnonzero(counts >= _LEAST_OF_CLASS)
    found["score"] = "auc"
    if len(kept) < 2:
        return found | {"note": f"fewer than two levels have {_LEAST_OF_CLASS} rows of the subsample"}
    if len(kept) < len(counts):
        found["note"] = f"{len(counts) - len(kept)} level(s) of fewer than {_LEAST_OF_CLASS} rows left out"
        rows = np.flatnonzero(np.isin(codes, kept))
        codes, X = factorise(codes[rows])[0], X[rows]
        found["n_samples"] = len(rows)
    probabilities = np.empty((len(codes), len(kept)))
    for train, test in StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(X, codes):
        model = HistGradientBoostingClassifier(**options).fit(X[train], codes[train])
        probabilities[test] = model.predict_proba(X[test])
    if len(kept) == 2:
        return found | {"value": float(roc_auc_score(codes, probabilities[:, 1]))}
    return found | {"value": float(roc_auc_score(codes, probabilities, multi_class="ovr"))}


def proxies_section(sample, settings):
    """Screening of the features.

    Parameters
    ----------
    sample : AuditSample
        Data.
    settings : dict
        ``max_screening_rows``, ``max_learning_rows``.

    Returns
    -------
    dict or None
        None without features.
    """
    if sample.features is None:
        return None
    for name in sample.probabilities:
        sample.leave_out("proxies", [name], "screening of the features")
    observed = sample.observed_names
    if not observed:
        return None
    n_features = sample.features.shape[1]
    size = settings["max_screening_rows"] or max(_LEAST_SCREENED, _SCREENED // n_features)
    rows = sample.subset("screening", size)
    attributes = sample.attributes.rows(rows)
    section = {
        "n_samples": len(rows),
        "attributes": observed,
        "features": [],
        "protected_features": [],
        "skipped": [],
        "prediction": None,
    }
    columns = read_columns(sample.features, rows)
    protected = {*sample.names, *sample.attributes.names}
    if len(rows) >= 4:
        sets = [(name,) for name in observed] + ([tuple(observed)] if len(observed) > 1 else [])
        bound = [_Attribute(attributes.select(names).profiles()) for names in sets]
        for column in columns:
            if column.name in protected:
                section["protected_features"].append(column.name)
            elif column.skipped:
                section["skipped"].append({"feature": column.name, "reason": column.skipped})
            else:
                values = _correlations(column, bound)
                section["features"].append(
                    {
                        "feature": column.name,
                        "kind": "numeric" if column.numeric else "categorical",
                        "share_missing": column.share_missing,
                        "legitimate": column.name in sample.legitimate,
                        "distance_correlation": dict(zip(observed, values, strict=False)),
                        "jointly": values[-1] if len(observed) > 1 else None,
                    }
                )
    section["features"].sort(key=_strongest, reverse=True)
    section["prediction"] = _prediction(sample, settings)
    return section


def _strongest(feature):
    return max([*feature["distance_correlation"].values(), feature["jointly"]], key=lambda value: value or 0.0) or 0.0


def _prediction(sample, settings):
    """How well each attribute is predicted from all features but the attributes themselves."""
    protected = {*sample.names, *sample.attributes.names}
    rows = sample.subset("learning", settings["max_learning_rows"] or _LEARNED_ROWS)
    columns = [
        column
        for column in read_columns(sample.features, rows)
        if not column.skipped and column.name not in protected and not column.constant
    ]
    if not columns or len(rows) < 2 * _FOLDS:
        return []
    X, categorical = _learning_matrix(columns)
    found = []
    # Few rows: threads would wait for each other longer than they work.
    with threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for name in sample.observed_names:
            column = sample.attributes.columns[name]
            values = (column.values if column.numeric else sample.groups((name,)).codes)[rows]
            result = {"attribute": name, "score": None, "value": None, "n_samples": len(rows), "folds": _FOLDS}
            if len(np.unique(values)) < 2:
                found.append(result | {"note": "constant"})
            else:
                found.append(result | _predict_attribute(values, X, categorical, sample.seed))
    return found
