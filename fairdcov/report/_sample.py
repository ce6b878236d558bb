"""The data of an audit, checked once: what every section starts from."""

import zlib
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from fairdcov._checks import check_choice, check_consistent_rows, is_constant
from fairdcov._fitting import FAMILIES
from fairdcov.actuarial import check_positive_baseline, exposure_bins, read_policies
from fairdcov.dependence import bind_dependence, gini_mean_difference
from fairdcov.encoding import (
    DEFAULT_GROUPS,
    MAX_NUMERIC_LEVELS,
    Attributes,
    column_named,
    nearest_name,
    read_frame,
    warn_about_order,
)
from fairdcov.exceptions import MissingSensitiveFeaturesError
from fairdcov.metrics import kernel_bandwidth

__all__ = [
    "CELLS",
    "PREDICTION_RANGES",
    "TASKS",
    "AuditSample",
    "Grouping",
    "find_task",
    "out_of_range",
    "read_sample",
    "unit_deviance",
]

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
# Up to this many rows distribution functions are compared at every prediction; of more, between so many cells of equal
# exposure, where they are exact. Between two of them they cannot move by more than the exposure of a cell.
_EVERY_ROW = 20_000
CELLS = 4096


@dataclass(frozen=True, eq=False)
class _Weighted:
    """Predictions with their weights, all that a bandwidth needs."""

    predictions: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class Grouping:
    """Attributes that are crossed into groups.

    Attributes
    ----------
    names : tuple of str
        Attributes.
    kind : {"attribute", "pair", "intersection"}
        One, two, or all of the attributes of the audit (with two attributes, their pair is all of them).
    """

    names: tuple
    kind: str

    @property
    def title(self):
        """Names of the attributes."""
        return " × ".join(self.names)


@dataclass(frozen=True, eq=False)
class AuditSample:
    """Rows of positive exposure.

    Attributes
    ----------
    book : Policies
        Observed values (or None), predictions, exposure.
    attributes : Attributes, (n, d)
        Protected attributes.
    features : DataFrame (of narwhals), (n, p), or None
        Rating factors and other columns.
    legitimate : list of str
        Features that are called legitimate.
    weighted : bool
        Whether the exposures differ.
    bins : dict
        Edges of the attributes that are cut into bins.
    bins_asked : dict
        The same as they were given: edges, a number of quantile groups, or the default.
    task : str
        One of :data:`TASKS`.
    task_reason : str or None
        Why it was found to be that; None where it was given.
    seed : int
        Seed of everything random.
    """

    book: object
    attributes: Attributes
    features: object
    legitimate: list
    weighted: bool
    bins: dict
    bins_asked: dict
    task: str
    task_reason: str | None
    seed: int
    _known: dict = field(default_factory=dict)

    @property
    def n(self):
        """Number of rows."""
        return len(self.book.rows)

    @property
    def predictions(self):
        """Predictions per unit of exposure, (n,)."""
        return self.book.predictions["y_pred"]

    @property
    def baseline(self):
        """Predictions of the present tariff, (n,), or None."""
        return self.book.predictions.get("baseline")

    @property
    def weights(self):
        """Exposure, (n,), or None where all rows have the same."""
        return self.book.exposure if self.weighted else None

    @property
    def interval(self):
        """Kind of the intervals of actual to expected: amounts that happen to be whole numbers are no counts."""
        return "auto" if self.task in ("frequency", "classification") else "normal"

    @property
    def names(self):
        """Names of the protected attributes."""
        return self.attributes.names

    @property
    def singles_and_all(self):
        """Names of each attribute, and of all of them."""
        return [(name,) for name in self.names] + ([tuple(self.names)] if len(self.names) > 1 else [])

    def generator(self, purpose):
        """Random generator of one section, so that no section depends on which others there are."""
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])

    def subset(self, purpose, size):
        """Rows of a subsample without replacement, in their order; all rows if there are no more."""
        if size >= self.n:
            return np.arange(self.n)
        return np.sort(self.generator(f"rows of {purpose}").choice(self.n, int(size), replace=False, shuffle=False))

    def _once(self, what, which, compute):
        """What is needed more than once of one tariff."""
        if (what, which) not in self._known:
            self._known[what, which] = compute(self.book.predictions[which])
        return self._known[what, which]

    def blocks(self, names):
        """Attributes as points, for the distance covariances."""
        if ("blocks", names) not in self._known:
            self._known["blocks", names] = self.attributes.select(names).profiles(None, self.weights)
        return self._known["blocks", names]

    def groups(self, names, bins=None):
        """Groups of the rows by some of the attributes, cut by the bins of the audit or by others."""
        bins = self.bins if bins is None else bins
        return self.attributes.select(names).groups({name: bins[name] for name in names if name in bins}, self.weights)

    def n_levels(self, name):
        """Distinct values of an attribute."""
        return len(np.unique(self.attributes.columns[name].level_codes()[0]))

    def cells(self, which):
        """Cell of each row by its prediction, (n,), or None where there are few enough rows to look at each."""
        if self.n <= _EVERY_ROW:
            return None
        return self._once("cells", which, lambda values: exposure_bins(values, self.book.exposure, CELLS))

    def order(self, which):
        """Rows from the lowest to the highest prediction, (n,)."""
        return self._once("order", which, np.argsort)

    def spread(self, which):
        """Gini mean difference of the predictions, weighted by exposure; 0 where they are constant."""

        def compute(values):
            probabilities = None if self.weights is None else self.weights / self.weights.sum()
            constant = is_constant(values)
            return 0.0 if constant else gini_mean_difference(values, probabilities, order=self.order(which))[0]

        return self._once("spread", which, compute)

    def dependence(self, names, measure, which="y_pred"):
        """Distance covariance of a tariff with some attributes, and the same over the Gini mean difference.

        The V-statistic weighted by exposure; no rescaling of the tariff changes the second.
        """
        spread, blocks = self.spread(which), self.blocks(names)
        if spread == 0 or blocks.is_constant(self.weights):
            return 0.0, 0.0
        form = bind_dependence(blocks, measure, statistic="v", sample_weight=self.weights)
        value = form.value_gradient(self.book.predictions[which], self.order(which))[0]
        return value, value / spread

    def bandwidth(self, which):
        """Standard deviation of the kernel of all densities of one tariff, None where the predictions are constant."""

        def compute(values):
            return None if is_constant(values) else kernel_bandwidth(_Weighted(values, self.book.exposure), "silverman")

        return self._once("bandwidth", which, compute)

    def groupings(self, max_pairs):
        """Single attributes, pairs of them and their full intersection; and the pairs that are too many."""
        names = self.names
        found = [Grouping((name,), "attribute") for name in names]
        omitted = []
        if len(names) > 2:
            pairs = list(combinations(names, 2))
            found += [Grouping(pair, "pair") for pair in pairs[:max_pairs]]
            omitted = pairs[max_pairs:]
        if len(names) > 1:
            found.append(Grouping(tuple(names), "intersection"))
        return found, omitted

    def unit_deviances(self, which="y_pred"):
        """Deviance of each row (n,), or None with the reason why there is none."""
        return self._once("deviances", which, lambda values: unit_deviance(self.book.observed, values, self.task))


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


def _check_predictions(book, task, reason):
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


def _read_attributes(sensitive_features, n_samples, rows):
    """Protected attributes of the rows that count, whatever they came in."""
    if sensitive_features is None:
        raise MissingSensitiveFeaturesError("audit needs sensitive_features; found None")
    if isinstance(sensitive_features, dict):
        sensitive_features = read_frame(sensitive_features, "sensitive_features", n_samples).to_native()
    attributes = Attributes.read(sensitive_features)
    attributes.require_observed("an audit")
    attributes.warn_of_likely_probabilities()
    for column in attributes.columns.values():
        check_consistent_rows(n_samples, column, "sensitive_features", reference="y_pred")
        column.warn_of_numbers_as_text()
    return attributes if len(rows) == n_samples else attributes.rows(rows)


def _read_bins(attributes, bins, weights):
    """Edges of all bins; measurements that nobody has said how to cut become quantile groups."""
    asked = bins
    if bins is None or isinstance(bins, dict):
        asked = {column_named(key, attributes.names, "bins"): value for key, value in (bins or {}).items()}
        for name, column in attributes.columns.items():
            if name not in asked and column.numeric and len(column.distinct()[1]) > MAX_NUMERIC_LEVELS:
                asked[name] = DEFAULT_GROUPS
    edges = attributes.edges(asked, weights)
    if not isinstance(asked, dict):
        asked = dict.fromkeys(edges, asked)
    return edges, asked


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
):
    """Check the arguments of an audit.

    Parameters
    ----------
    y_true, y_pred, sensitive_features, sample_weight, features, baseline, legitimate_features, task, bins, random_state
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
    _check_predictions(book, task, reason)
    weighted = bool((book.exposure != book.exposure[0]).any())
    attributes = _read_attributes(sensitive_features, book.n_samples, book.rows)
    edges, asked = _read_bins(attributes, bins, book.exposure if weighted else None)
    features, legitimate = _read_features(features, legitimate_features, book.n_samples, book.rows)
    return AuditSample(
        book=book,
        attributes=attributes,
        features=features,
        legitimate=legitimate,
        weighted=weighted,
        bins=edges,
        bins_asked=asked,
        task=task,
        task_reason=reason,
        seed=int(check_random_state(random_state).randint(np.iinfo(np.int32).max)),
    )
