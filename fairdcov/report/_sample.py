"""The data of an audit, checked once: what every section starts from."""

import warnings
import zlib
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from fairdcov._checks import is_constant
from fairdcov.actuarial import exposure_bins
from fairdcov.dependence import Strata, bind_dependence, bind_strata, gini_mean_difference
from fairdcov.encoding import Attributes, SensitiveFeaturesWarning
from fairdcov.metrics import kernel_bandwidth
from fairdcov.report._membership import Membership, Weighted
from fairdcov.report._tasks import unit_deviance

__all__ = ["CELLS", "AuditSample", "Grouping"]

# Up to this many rows distribution functions are compared at every prediction; of more, between so many cells of equal
# exposure, where they are exact. Between two of them they cannot move by more than the exposure of a cell.
_EVERY_ROW = 20_000
CELLS = 4096
# Rows times squared profiles of attributes that are known as probabilities, and the fewest and the most rows.
_SOFT_OPERATIONS = 3e9
_SOFT_ROWS = 20_000, 200_000
# Rows and permutations of the level of a V-statistic by chance.
_NULL_ROWS = 20_000
_NULL_PERMUTATIONS = 10


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
        Protected attributes; several of its columns are one attribute where that is known as probabilities.
    features : DataFrame (of narwhals), (n, p), or None
        Rating factors and other columns.
    legitimate : list of str
        Features that are called legitimate.
    strata : Strata or None
        Strata of the control features.
    control : DataFrame (of narwhals), (n, c), or None
        The control features.
    best_estimates : BestEstimates or None
        Prices for each level of the protected attributes.
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
    left_out : list of dict
        What could not be said of attributes that are known as probabilities: ``section``, ``attributes``, ``what``.
    """

    book: object
    attributes: Attributes
    features: object
    legitimate: list
    strata: Strata | None
    control: object
    best_estimates: object
    weighted: bool
    bins: dict
    bins_asked: dict
    task: str
    task_reason: str | None
    seed: int
    left_out: list = field(default_factory=list)
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
        attribute_of = {column: name for name, levels in self.probabilities.items() for column in levels}
        return list(dict.fromkeys(attribute_of.get(column, column) for column in self.attributes.names))

    @property
    def probabilities(self):
        """Attributes that are known as probabilities, and the columns of their levels."""
        return self.attributes.probabilities

    @property
    def observed_names(self):
        """Names of the attributes whose level is known in each row."""
        return [name for name in self.names if name not in self.probabilities]

    def is_soft(self, names):
        """Whether some of the attributes are known as probabilities."""
        return any(name in self.probabilities for name in names)

    def select(self, names):
        """The columns of some attributes."""
        return self.attributes.select([column for name in names for column in self.probabilities.get(name, [name])])

    def leave_out(self, section, names, what):
        """Note that a section of the report has no ``what`` for some attributes, since they are probabilities."""
        entry = {"section": section, "attributes": list(names), "what": what}
        if entry not in self.left_out:
            self.left_out.append(entry)

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
            self._known["blocks", names] = self.select(names).profiles(None, self.weights)
        return self._known["blocks", names]

    def groups(self, names, bins=None):
        """Groups of the rows by some of the attributes, cut by the bins of the audit or by others.

        Returns
        -------
        Membership
        """
        own, names = bins is None, tuple(names)
        bins = {name: edges for name, edges in (self.bins if own else bins).items() if name in names}
        attributes = self.select(names)
        if not self.is_soft(names):
            return Membership.of_groups(attributes.groups(bins, self.weights))
        if own and ("shares", names) in self._known:
            return self._known["shares", names]
        with warnings.catch_warnings():
            # Levels without mass have been named when the attributes were read.
            warnings.simplefilter("ignore", SensitiveFeaturesWarning)
            found = Membership.of_shares(*attributes.memberships(bins, self.weights))
        if own:
            self._known["shares", names] = found
        return found

    def n_levels(self, name):
        """Distinct values of an attribute, or levels that it has probabilities of."""
        if name in self.probabilities:
            return len(self.probabilities[name])
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

    def rows_of_dependence(self, names):
        """Rows that a distance covariance is computed on, None for all.

        Where a row has shares in K profiles it costs K^2 operations: of very many profiles a subsample does.
        """
        if not self.is_soft(names):
            return None
        rows = int(np.clip(_SOFT_OPERATIONS / self.blocks(names).n_profiles ** 2, *_SOFT_ROWS))
        return None if rows >= self.n else self.subset("dependence on " + " × ".join(names), rows)

    def _to_bind(self, names, which, rows):
        """Attributes, predictions, weights and order of some rows, and the Gini mean difference of the predictions."""
        if rows is None:
            prices = self.book.predictions[which]
            return self.blocks(names), prices, self.weights, self.order(which), self.spread(which)
        prices = self.book.predictions[which][rows]
        weights = None if self.weights is None else self.weights[rows]
        order = np.argsort(prices)
        probabilities = None if weights is None else weights / weights.sum()
        spread = 0.0 if is_constant(prices) else gini_mean_difference(prices, probabilities, order=order)[0]
        return self.blocks(names)[rows], prices, weights, order, spread

    def by_chance(self, names, strata=None):
        """Mean of the second figure of :meth:`dependence` when the attributes do not matter.

        By permutations of predictions (within strata) on a subsample: the level of a V-statistic falls with the rows.
        """
        used = self.rows_of_dependence(names)
        used = np.arange(self.n) if used is None else used
        rows = used if len(used) <= _NULL_ROWS else used[:: len(used) // _NULL_ROWS]
        blocks, prices, weights, _, spread = self._to_bind(names, "y_pred", rows)
        part = None if strata is None else self._part_of(strata, rows)
        if spread == 0 or blocks.is_constant(weights):
            return 0.0
        try:
            form = self._bound(blocks, "ccdcov", weights, part)
        except ValueError:  # no stratum of the subsample is left to vary
            return None
        generator = self.generator("by chance: " + " × ".join(names))
        values = []
        for _ in range(_NULL_PERMUTATIONS):
            order = generator.permutation(len(rows)) if part is None else part.permutation(generator)
            permuted = prices[order]
            values.append(form.value_gradient(permuted, np.argsort(permuted))[0])
        return float(np.mean(values)) / spread * len(rows) / len(used)

    def _part_of(self, strata, rows):
        keep = np.zeros(self.n, dtype=bool)
        keep[rows] = True
        return strata.part(keep)

    def _bound(self, blocks, measure, weights, strata):
        if strata is None:
            return bind_dependence(blocks, measure, statistic="v", sample_weight=weights)
        with warnings.catch_warnings():
            # The report names strata that say nothing itself.
            warnings.simplefilter("ignore", SensitiveFeaturesWarning)
            return bind_strata(blocks, strata, measure, statistic="v", sample_weight=weights)

    def dependence(self, names, measure, which="y_pred", strata=None):
        """Distance covariance of a tariff with some attributes, and the same over the Gini mean difference.

        The V-statistic weighted by exposure; no rescaling of the tariff changes the second. Within strata where there
        are ``strata``, in which the attributes must vary.
        """
        rows = self.rows_of_dependence(names)
        blocks, prices, weights, order, spread = self._to_bind(names, which, rows)
        if spread == 0 or blocks.is_constant(weights):
            return 0.0, 0.0
        if strata is not None and rows is not None:
            strata = self._part_of(strata, rows)
        form = self._bound(blocks, measure, weights, strata)
        value = form.value_gradient(prices, order)[0]
        return value, value / spread

    def varies_within(self, names):
        """Whether some of the attributes vary within each of the strata, (L,) bool array."""
        strata = self.strata
        first = strata.rows[np.minimum(strata.starts[:-1], self.n - 1)]
        found = np.zeros(len(strata), dtype=bool)
        for name in names:
            for column in self.probabilities.get(name, [name]):
                column = self.attributes.columns[column]
                values = column.values if name in self.probabilities else column.level_codes()[0]
                found |= np.bincount(strata.codes, values != values[first][strata.codes], len(strata)) > 0
        return found

    def bandwidth(self, which):
        """Standard deviation of the kernel of all densities of one tariff, None where the predictions are constant."""

        def compute(values):
            return None if is_constant(values) else kernel_bandwidth(Weighted(values, self.book.exposure), "silverman")

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
