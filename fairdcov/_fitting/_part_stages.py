"""What each part of the rows computes in a fit, and what is summed: the stages of a fit whose rows are in many places.

A stage is a function of a part's rows, their raw predictions and a few small arguments; it returns :class:`Sums`, which
are small, are added in the order of the parts, and are all that leaves the part. The chain rule is that of
:class:`RawObjective` and :class:`CoefficientObjective`, which each part has for its own rows.
"""

from copy import copy
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone

from fairdcov._checks import resolve_n_threads
from fairdcov._fitting._objective import CoefficientObjective, RawObjective
from fairdcov.encoding import SensitiveEncoder
from fairdcov.penalties import BoundPenalty, DependencePenalty, bind_penalty, resolve_penalty

__all__ = [
    "HeldRows",
    "PartPlan",
    "Sums",
    "curvature_diagonal",
    "curvature_gradient",
    "hold_part",
    "loss_extent",
    "loss_shifted",
    "mean_response",
    "mean_target",
    "node_masses",
    "objective_gradient",
    "raw_predictions",
]


class Sums:
    """Arrays or numbers that are added entry by entry, and one array of which the larger entries count.

    Parameters
    ----------
    *added : arrays or numbers
    largest : array, optional

    Examples
    --------
    >>> import numpy as np
    >>> found = Sums(1.0, largest=np.array([1.0, 5.0])) + Sums(2.0, largest=np.array([3.0, 4.0]))
    >>> found.added, found.largest.tolist()
    ((3.0,), [3.0, 5.0])
    """

    def __init__(self, *added, largest=None):
        self.added = added
        self.largest = largest

    def __add__(self, other):
        largest = None if self.largest is None else np.maximum(self.largest, other.largest)
        return Sums(*(mine + theirs for mine, theirs in zip(self.added, other.added, strict=True)), largest=largest)


@dataclass(frozen=True, eq=False)
class PartPlan:
    """What all parts are told once they have been described; the same for all, and small.

    Attributes
    ----------
    loss : PointwiseLoss
    labels : list or None
        The two labels of a classifier, sorted.
    total_weight : float
    n_rows : int
        Rows of positive weight in all parts.
    fit_intercept : bool
    n_threads : int
    standing : dict of tuple to int
        Position of each distinct row of protected attributes.
    terms : GridTerms or None
        The penalty on a grid; None without protected attributes.
    scale : {"response", "link"}
    normalize : bool
    totals : bool
        Whether predictions are multiplied by the weights before they are compared.
    weighted : bool
        Whether rows have the same shares in the penalty as in the loss.
    method : str or None
        Of the penalty, for the fitted attribute.
    """

    loss: object
    labels: list | None
    total_weight: float
    n_rows: int
    fit_intercept: bool
    n_threads: int
    standing: dict
    terms: object = None
    scale: str = "response"
    normalize: bool = True
    totals: bool = False
    weighted: bool = False
    method: str | None = None

    @classmethod
    def of(cls, estimator, description, *, penalised):
        """The plan of a fit, by what all parts are together.

        Parameters
        ----------
        estimator : PenalisedEstimator
        description : PartDescription
            Sum of those of all parts.
        penalised : bool
            Whether there will be a strength above 0.

        Raises
        ------
        ValueError, TypeError
            For penalties that are not to be had on a grid; as :meth:`DependencePenalty.bind` does.
        """
        labels = None if description.labels is None else sorted(description.labels)
        common = (
            estimator._loss(),
            labels,
            float(description.sums[0]),
            description.n_rows,
            bool(getattr(estimator, "fit_intercept", True)),
            resolve_n_threads(estimator.n_threads),
        )
        if description.kinds is None:
            if penalised:
                bind_penalty(estimator.penalty, None, None)
            return cls(*common, {})
        standing = {row: position for position, row in enumerate(description.people)}
        return cls(*common, standing, **_penalty_of_profiles(estimator, description))

    @property
    def penalised(self):
        """Whether there is a penalty."""
        return self.terms is not None


def _penalty_of_profiles(estimator, description):
    """The penalty bound to one row for each distinct row of the attributes, which stands for all rows that are equal.

    Weights act as repetition in the V-statistic, so that this is the penalty of all rows. For the U-statistic, which
    has no weights, rows are repeated.
    """
    penalty = resolve_penalty(estimator.penalty)
    if not isinstance(penalty, DependencePenalty):
        raise TypeError(
            f"rows in blocks take the distance-covariance penalties of fairdcov; found {type(penalty).__name__}, whose "
            "rows have to be in memory: use fit"
        )
    if penalty.method not in ("auto", "grid"):
        raise ValueError(
            f"rows in blocks are compared on a grid: use method='grid' or 'auto' in the penalty; found "
            f"{penalty.method!r}"
        )
    if getattr(penalty.encoder, "probabilities", None):
        raise ValueError(
            "protected attributes that are known as probabilities are not to be had with rows in blocks: fit a sample "
            "of the rows in memory"
        )
    totals = penalty.scale == "total"
    equal = description.weight_range[0] == description.weight_range[1]
    weighted = bool(penalty.weighted) and description.given[0] and not totals and not equal
    if weighted and penalty.statistic == "u":
        raise ValueError(
            "a weighted U-statistic is not defined: use statistic='v', or weighted=False for an unweighted penalty "
            "beside a weighted loss"
        )
    counts = np.array([count for count, _ in description.people.values()])
    shares = np.array([weight for _, weight in description.people.values()])
    frame = description.frame()
    encoder = SensitiveEncoder() if penalty.encoder is None else clone(penalty.encoder)
    blocks = encoder.fit_encode(frame, shares if weighted else counts.astype(np.float64))
    if blocks.n_samples != len(frame):
        raise TypeError(f"{type(encoder).__name__}.fit_encode must return a profile for each row")
    plain = clone(penalty).set_params(
        method="grid", scale="response" if totals else penalty.scale, weighted=True, encoder=None
    )
    rows = np.arange(len(frame))
    if penalty.statistic == "u":
        repeated = np.repeat(rows.astype(np.int32), counts)
        bound = plain.bind(blocks[repeated], n_threads=estimator.n_threads)
        rows = np.append(0, np.cumsum(counts)[:-1])
    else:
        bound = plain.bind(blocks, shares if weighted else counts, n_threads=estimator.n_threads)
    terms = bound.grid_terms(rows)
    if terms is None:
        raise ValueError(
            f"the protected attributes {list(description.kinds)} have {blocks.n_profiles:,} distinct rows, too many "
            "for rows in blocks: round continuous attributes, merge levels, or raise "
            "sklearn.set_config(working_memory=...)"
        )
    return {
        "terms": terms,
        "scale": bound.scale,
        "normalize": bound.scale_free,
        "totals": totals,
        "weighted": weighted or bool(equal),
        "method": bound.method,
    }


class _PartPenalty(BoundPenalty):
    """The penalty as a part of the rows knows it: its gradient, once an answer has come from the sums over all rows."""

    def __init__(self, scale, rows, multiplier, n_threads, answer=None):
        self.scale = scale
        self._rows, self._multiplier, self._n_threads, self._answer = rows, multiplier, n_threads, answer

    def compared(self, prediction):
        """What is compared, of predictions of the rows."""
        return prediction if self._multiplier is None else prediction * self._multiplier

    def masses(self, terms, prediction, lattice, exponent):
        """Tables of the rows and the sums beside, see :meth:`GridTerms.masses`."""
        u = self.compared(prediction)
        return terms.masses(u, self._rows, lattice, exponent, n_threads=self._n_threads)

    def at(self, answer):
        """The same with an answer; None for predictions that are constant."""
        return _PartPenalty(self.scale, self._rows, self._multiplier, self._n_threads, answer)

    def value_gradient(self, u):
        """Of the value nothing, which is not this part's; the gradient (n,) of the rows."""
        if self._answer is None:
            return 0.0, np.zeros(len(u))
        gradient = self._answer.whole_gradient(self.compared(u), self._rows, n_threads=self._n_threads)
        return 0.0, gradient if self._multiplier is None else gradient * self._multiplier


@dataclass(frozen=True, eq=False)
class HeldRows:
    """A part's rows as the stages need them, of positive weight and without features.

    Attributes
    ----------
    n_given, keep
        As in :class:`KeptRows`.
    objective : RawObjective
        Of these rows, by shares of the weight of all rows.
    fit_intercept : bool
    n_threads : int
        No bit depends on them.
    """

    n_given: int
    keep: np.ndarray | None
    objective: RawObjective
    fit_intercept: bool
    n_threads: int

    @property
    def n_rows(self):
        """Rows of positive weight."""
        return len(self.objective.y)

    def linear(self, X, raw_objective=None):
        """The linear model on these rows, without its ridge term."""
        return CoefficientObjective(X, raw_objective or self.objective, 0.0, self.fit_intercept, self.n_threads)


def hold_part(plan, kept):
    """A part's rows for the stages.

    Parameters
    ----------
    plan : PartPlan
    kept : KeptRows

    Returns
    -------
    HeldRows
    """
    target = kept.target
    if plan.labels is not None:
        target = np.array([label == plan.labels[1] for label in kept.labels], dtype=np.float64)[target]
    shares = kept.weights / plan.total_weight
    penalty = None
    if plan.penalised and kept.n_rows:
        standing = np.array([plan.standing[row] for row in kept.people], dtype=np.intp)[kept.profiles]
        weights = shares if plan.weighted else np.full(kept.n_rows, 1.0 / plan.n_rows)
        rows = plan.terms.rows(standing, weights)
        penalty = _PartPenalty(plan.scale, rows, kept.weights if plan.totals else None, plan.n_threads)
    objective = RawObjective(plan.loss, target, shares, penalty, kept.offset)
    return HeldRows(kept.n_given, kept.keep, objective, plan.fit_intercept, plan.n_threads)


# -- stages without features -------------------------------------------------------------------------------------------


def loss_extent(rows, raw):
    """Mean loss; the sum of absolute predictions that are compared, and their negative smallest and largest one."""
    with np.errstate(over="ignore", invalid="ignore"):
        loss = rows.objective.mean_loss(raw)
        if rows.objective.penalty is None:
            return Sums(loss, 0.0, largest=np.full(2, -np.inf))
        u = rows.objective.penalty.compared(rows.objective.prediction(raw))
        absolute = float(np.abs(u).sum())
    if not np.isfinite(absolute):
        return Sums(loss, np.nan, largest=np.full(2, -np.inf))
    return Sums(loss, absolute, largest=np.array([-u.min(initial=np.inf), u.max(initial=-np.inf)]))


def node_masses(rows, raw, terms, lattice, exponent):
    """Tables of masses of the predictions at the nodes, and two sums beside for each."""
    penalty = rows.objective.penalty
    if penalty is None:
        return Sums(*([0] * (2 * len(terms.matrices))))
    tables, own = penalty.masses(terms, rows.objective.prediction(raw), lattice, exponent)
    return Sums(*tables, *own)


def loss_shifted(rows, raw, shift):
    """Loss, slope and curvature for one number as raw prediction of all rows; ``raw`` does not count."""
    objective = rows.objective
    constant = np.full(rows.n_rows, shift)
    with np.errstate(over="ignore", invalid="ignore"):
        loss, _, gradient = objective.terms(constant)
        return Sums(loss, float(gradient.sum()), float(objective.probabilities @ objective.curvature(constant)))


def mean_response(rows, raw):
    """Mean prediction on the scale of the target."""
    return Sums(float(rows.objective.probabilities @ rows.objective.response(raw)))


def mean_target(rows, raw):
    """Mean target; ``raw`` does not count."""
    return Sums(float(rows.objective.probabilities @ rows.objective.y))


# -- stages with features ----------------------------------------------------------------------------------------------


def raw_predictions(X, rows, parameters):
    """Raw predictions of the rows, (n,), which stay where the rows are."""
    with np.errstate(over="ignore", invalid="ignore"):
        return rows.linear(X).raw(parameters)


def objective_gradient(X, rows, raw, strength, answer):
    """Gradient (parameters,) of loss and penalty, by the answer to the tables of all rows."""
    objective = rows.objective
    if objective.penalty is not None:
        objective = copy(objective)
        objective.penalty = rows.objective.penalty.at(answer)
    with np.errstate(over="ignore", invalid="ignore"):
        slope = objective.terms(raw, strength)[2]
        linear = rows.linear(X, objective)
        return Sums(linear.gradient(np.zeros(linear.n_parameters), slope))


def curvature_gradient(X, rows, parameters):
    """Loss, its gradient (parameters,) and its expected Hessian, by one pass over the features."""
    linear = rows.linear(X)
    parts, gradient = linear.parts_gradient(parameters)
    with np.errstate(over="ignore", invalid="ignore"):
        return Sums(parts.loss, gradient, linear.hessian(parameters))


def curvature_diagonal(X, rows, parameters):
    """Loss, its gradient (parameters,) and the diagonal of its Hessian, for models too wide for the whole."""
    linear = rows.linear(X)
    parts, gradient = linear.parts_gradient(parameters)
    with np.errstate(over="ignore", invalid="ignore"):
        return Sums(parts.loss, gradient, linear.hessian_diagonal(parameters))
