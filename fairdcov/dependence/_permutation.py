"""Values of a measure after rows of the protected attributes have been permuted against the predictions."""

from itertools import islice

import numpy as np

from fairdcov._checks import row_probabilities, without_exponent
from fairdcov._kernels import ascending_order
from fairdcov.dependence._binding import bind_dependence
from fairdcov.dependence._forms import FeatureForm
from fairdcov.dependence._functions import gini_mean_difference
from fairdcov.dependence._sample import FEW_PROFILES, Sample
from fairdcov.encoding import SensitiveBlocks, combine_codes

__all__ = ["ROWS_AT_A_TIME", "PermutableDependence"]

# Beyond this many pairs of rows over all permutations (half a minute) "auto" prefers an approximation to tiles.
_MANY_PAIRS = 2e10
# Given permutations are evaluated together, about so many rows in all: enough to make a call of the kernels worth it.
ROWS_AT_A_TIME = 2**20


class PermutableDependence:
    """A measure of predictions and protected attributes whose rows can be permuted, with what is invariant kept.

    Sorting the predictions is done once. Without weights all that depends on the attributes is done once too, since
    permuting the attributes is permuting the predictions. Row weights stay with their predictions, so that with them
    the weights of the profiles, and with those the centring, change with every permutation; so does everything but
    the marginal distances if the attributes are permuted one by one.

    Parameters
    ----------
    u : (n,) array
        Predictions.
    blocks : SensitiveBlocks
        Protected attributes.
    measure : {"dcov", "jdcov", "ccdcov"}
        What is measured.
    statistic : {"u", "v"}, default="v"
        U- or V-statistic.
    sample_weight : (n,) array, optional
        Row weights of the V-statistic, which belong to ``u``.
    mutual : bool, default=False
        Permute every block on its own.
    net : bool, optional
        Whether values are without the terms of the attributes alone; by default unless ``mutual``.
    normalize : bool, default=False
        Divide the part that depends on the prediction by the Gini mean difference of ``u``.
    n_permutations : int, default=1
        How many are planned, 0 where the value alone is wanted; with ``method="auto"`` many of them make the
        approximation preferable to tiles.
    method, n_threads, random_state, c :
        See :func:`bind_dependence`.

    Attributes
    ----------
    form : DependenceForm
        Bound to the attributes as they are.
    evaluation_cost : float
        Operations of one permutation, roughly, in units of a pair of rows; 0 where it is not more than a sweep.

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov.encoding._blocks import SensitiveBlocks
    >>> from fairdcov.dependence import PermutableDependence
    >>> blocks = SensitiveBlocks.from_arrays([np.array([[0.0], [0.0], [1.0], [1.0]])])
    >>> sample = PermutableDependence(np.array([0.0, 0.0, 1.0, 1.0]), blocks, "ccdcov")
    >>> sample.value()
    0.25
    >>> np.unique(sample.permuted_values(50, np.random.default_rng(0))).tolist()
    [0.0, 0.25]
    """

    def __init__(
        self,
        u,
        blocks,
        measure,
        *,
        statistic="v",
        sample_weight=None,
        mutual=False,
        net=None,
        normalize=False,
        n_permutations=1,
        c=1.0,
        method="auto",
        n_threads=None,
        random_state=0,
    ):
        self._u, self._exponent = without_exponent(u)
        self._order = ascending_order(self._u)
        self._measure, self._statistic, self._mutual = measure, statistic, mutual
        self._net = not mutual if net is None else net
        self._options = {
            "statistic": statistic,
            "sample_weight": sample_weight,
            "c": c,
            "method": method,
            "n_threads": n_threads,
            "random_state": random_state,
        }
        self._fixed = sample_weight is None and not mutual
        self._probabilities = None if sample_weight is None else row_probabilities(sample_weight)
        self._spread = None
        if normalize:
            self._spread, _ = gini_mean_difference(self._u, self._probabilities, statistic=statistic, order=self._order)
        self._blocks = blocks.concatenated() if measure == "ccdcov" else blocks
        self._features = None
        n_pairs = blocks.n_samples**2 / 2
        self.form = bind_dependence(self._blocks, measure, **self._options)
        keeps_features = self._fixed or (measure == "ccdcov" and not mutual)
        many = keeps_features and n_pairs * n_permutations > _MANY_PAIRS
        if many and method == "auto" and "tiles" in self.form.method:
            self._options["method"] = "approximate"
            self.form = bind_dependence(self._blocks, measure, **self._options)
        if n_permutations and not self._fixed and keeps_features and isinstance(self.form, FeatureForm):
            # Pivots that are drawn without the weights are the same whatever the permutation.
            self._features = bind_dependence(self._blocks, measure, **{**self._options, "sample_weight": None})
            self.form = self._features.rebound(self._sample(self._blocks))
        self.evaluation_cost = 0.0
        if "tiles" in self.form.method:
            self.evaluation_cost = n_pairs
        elif "approximate" in self.form.method and not keeps_features:
            self.evaluation_cost = float(self._blocks.n_profiles) * 256**2
        if mutual:
            self._single_blocks()

    def value(self):
        """Value of the data as they are."""
        if self._fixed:
            return float(self._finish(self.form.sorted_value(self._u[self._order], self._order), self.form))
        return self.value_of(self.form)

    def permuted_values(self, n_permutations, generator):
        """Values of random permutations, (n_permutations,)."""
        if self._fixed:
            values = self.form.permuted_values(self._u[self._order], n_permutations, generator)
            return self._finish(values, self.form)
        return np.array([self.value_of(self._bind(self._permuted(generator))) for _ in range(n_permutations)])

    def values_of(self, permutations):
        """Values after each row's attributes were replaced by those of the rows that a permutation names.

        Parameters
        ----------
        permutations : iterable of (n,) integer arrays

        Returns
        -------
        (B,) array
        """
        if not self._fixed:
            blocks = self._blocks
            return np.array([self.value_of(self._bind(blocks[rows])) for rows in permutations])
        u, permutations, found = self._u[self._order], iter(permutations), []
        size = max(4, ROWS_AT_A_TIME // len(u) // 4 * 4)
        while lines := [rows[self._order] for rows in islice(permutations, size)]:
            found.append(self.form.sorted_values(u, np.array(lines)))
        return self._finish(np.concatenate(found), self.form)

    def bind_single(self, block):
        """One block alone, bound as the whole is."""
        options = {**self._options, "approximate": "approximate" in self.form.method}
        return bind_dependence(self._blocks.single(block), "ccdcov", **options)

    def value_of(self, form):
        """Value of the predictions as they are with a form of other attributes."""
        return float(self._finish(form.value_gradient(self._u, self._order)[0], form))

    def _finish(self, values, form):
        """Values of a form in the units that were asked for."""
        values = np.ldexp(values, self._exponent) if self._spread is None else values / self._spread
        return values if self._net else values + form.constant

    def _sample(self, blocks):
        return Sample(blocks, self._statistic, self._probabilities)

    def _bind(self, blocks):
        if self._features is not None:
            return self._features.rebound(self._sample(blocks))
        return bind_dependence(blocks, self._measure, **self._options)

    def _permuted(self, generator):
        blocks = self._blocks
        if not self._mutual:
            return blocks.permuted(generator)
        return self._combined([generator.permuted(codes) for codes in self._block_codes])

    def _single_blocks(self):
        """Codes of every block's own levels, and the profiles of all their combinations where these are few."""
        singles = [self._blocks.single(b) for b in range(len(self._blocks.points))]
        self._block_codes = [single.codes for single in singles]
        self._block_points = [single.points[0] for single in singles]
        self._shape = tuple(len(points) for points in self._block_points)
        self._grid = None
        if np.prod(self._shape, dtype=float) <= FEW_PROFILES:
            levels = np.unravel_index(np.arange(np.prod(self._shape)), self._shape)
            self._grid = tuple(points[level] for points, level in zip(self._block_points, levels, strict=True))

    def _combined(self, codes):
        if self._grid is not None:
            profile = np.ravel_multi_index(codes, self._shape).astype(np.int32)
            return SensitiveBlocks(profile, self._grid, self._blocks.names)
        profile, first = combine_codes(codes)
        points = tuple(points[level[first]] for points, level in zip(self._block_points, codes, strict=True))
        return SensitiveBlocks(profile.astype(np.int32), points, self._blocks.names)
