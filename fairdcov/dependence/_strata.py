"""Dependence within strata: ``sum_l pi_l psi(u, S | L = l)``, the forms of the strata side by side.

The rows are kept grouped by stratum, so that the sweep of each stratum runs on memory of its own.
"""

from functools import cached_property
from itertools import islice

import numpy as np
import sklearn

from fairdcov._checks import check_consistent_rows, is_constant, row_probabilities
from fairdcov.dependence._binding import MANY_ROWS, bind_dependence
from fairdcov.dependence._curvature import LEAST_DENSITY, local_density
from fairdcov.dependence._forms import DependenceForm
from fairdcov.dependence._functions import gini_mean_difference
from fairdcov.dependence._permutation import ROWS_AT_A_TIME, PermutableDependence
from fairdcov.encoding import (
    Attributes,
    SensitiveBlocks,
    SoftBlocks,
    combine_codes,
    describe_groups,
    warn_of_attributes,
)

__all__ = ["PermutableStrata", "Strata", "StrataForm", "bind_strata", "permutable_dependence"]

# Rows of a stratum that the statistics need.
_LEAST_ROWS = {"u": 4, "v": 2}
# Codes of so many values are sorted in linear time.
_DIGIT = 2**16


class Strata:
    """Rows grouped by the levels of control features; several features are crossed.

    Parameters
    ----------
    codes : (n,) integer array
        Stratum of each row, in ``range(L)``.
    labels : list of L tuples, optional
        Level of each stratum in every control feature.
    names : list of str, optional
        Names of the control features.
    columns : dict of str to SensitiveColumn, optional
        The control features as they were read, before numbers were cut.

    Attributes
    ----------
    rows : (n,) int64 array
        All rows, stratum after stratum, in their order within each.
    starts : (L + 1,) int64 array
        Where the strata begin in ``rows``.
    """

    def __init__(self, codes, labels=None, names=("control feature",), columns=None):
        self.codes = np.asarray(codes, dtype=np.int64)
        n_strata = int(self.codes.max(initial=-1)) + 1 if labels is None else len(labels)
        self.labels = [(k,) for k in range(n_strata)] if labels is None else labels
        self.names = list(names)
        self.rows = _grouping(self.codes, n_strata)
        self.starts = np.concatenate([[0], np.cumsum(np.bincount(self.codes, minlength=n_strata))])
        self._columns = columns or {}

    @classmethod
    def read(cls, control_features, n_samples, bins, sample_weight=None, *, reference="sensitive_features"):
        """The strata of control features of any type.

        Parameters
        ----------
        control_features : DataFrame, Series, array or list, (n,) or (n, d)
            What is conditioned on.
        n_samples : int
            Rows that there should be.
        bins : int or dict
            How numbers are cut, as ``bins`` in :func:`fairdcov.metrics.js_divergence`.
        sample_weight : (n,) array, optional
            Weights of the quantiles.
        reference : str
            Argument that has so many rows, for the error.
        """
        try:
            attributes = Attributes.read(control_features)
            weights = sample_weight if len(attributes) == n_samples else None
            codes, labels, names = attributes.groups(bins, weights)
        except (TypeError, ValueError) as error:
            # The rules and their words are those of protected attributes.
            raise type(error)(_of_control_features(str(error))) from error
        check_consistent_rows(n_samples, attributes, "control_features", reference=reference)
        names = [_of_control_features(name) for name in names]
        return cls(codes, labels, names, dict(zip(names, attributes.columns.values(), strict=True)))

    def __len__(self):
        return len(self.labels)

    @cached_property
    def positions(self):
        """Position of each row within its stratum, (n,)."""
        positions = np.empty_like(self.rows)
        positions[self.rows] = np.arange(len(self.rows)) - np.repeat(self.starts[:-1], np.diff(self.starts))
        return positions

    def rows_of(self, stratum):
        """Rows of a stratum, ascending."""
        return self.rows[self.starts[stratum] : self.starts[stratum + 1]]

    def part(self, keep):
        """The strata of some rows by a mask; those without any are none."""
        _, first, codes = np.unique(self.codes[keep], return_index=True, return_inverse=True)
        labels = [self.labels[k] for k in self.codes[keep][first]]
        columns = {name: column.rows(keep) for name, column in self._columns.items()}
        return Strata(codes, labels, self.names, columns)

    def describe(self, strata):
        """Names of some strata with their rows, for a message."""
        return describe_groups([self.labels[k] for k in strata], np.diff(self.starts)[strata])

    def permutation(self, generator):
        """A random permutation of the rows that leaves each in its stratum, (n,)."""
        permuted = np.empty_like(self.rows)
        for stratum in range(len(self)):
            rows = self.rows_of(stratum)
            permuted[rows] = generator.permutation(rows)
        return permuted

    def warn_of_attributes_among(self, blocks, keep=slice(None)):
        """Warn where a control feature is a protected attribute under the same or other names of its levels."""
        for name, column in self._columns.items():
            codes = column.level_codes()[0][keep]
            n_levels = np.count_nonzero(np.bincount(codes))
            for b, attribute in enumerate(blocks.names if n_levels > 1 else ()):
                block = blocks.single(b)
                if isinstance(block, SoftBlocks):
                    continue  # nobody's level is known
                block = block.codes[keep]
                if (
                    np.count_nonzero(np.bincount(block)) == n_levels
                    and len(combine_codes([codes, block])[1]) == n_levels
                ):
                    warn_of_attributes(
                        f"the control feature {name!r} has a level for each of those of the protected attribute "
                        f"{attribute!r} and no other: within a stratum there is nothing of {attribute!r} left to "
                        "depend on, and any dependence on it counts as legitimate"
                    )


def _of_control_features(message):
    for written, meant in (
        ("sensitive_features", "control_features"),
        ("sensitive feature", "control feature"),
        ("protected attributes", "control features"),
        ("pass bins", "pass control_bins"),
        (", bins={", ", control_bins={"),
        ("or bins={", "or control_bins={"),
    ):
        message = message.replace(written, meant)
    return f"control_{message}" if message.startswith("bins ") else message


def _grouping(codes, n_codes):
    """``np.argsort(codes, kind="stable")`` for codes in ``range(n_codes)`` in linear time."""
    if n_codes <= _DIGIT:
        return np.argsort(codes.astype(np.uint16, copy=False), kind="stable")
    rows = np.argsort((codes % _DIGIT).astype(np.uint16), kind="stable")
    while n_codes > _DIGIT:
        codes, n_codes = codes // _DIGIT, -(-n_codes // _DIGIT)
        rows = rows[np.argsort((codes[rows] % _DIGIT).astype(np.uint16), kind="stable")]
    return rows


def _informative(blocks, strata, weights, statistic):
    """Shares of the weight, and the strata in which the attributes vary; warns of the others, raises without any."""
    totals = np.bincount(strata.codes, weights=weights, minlength=len(strata))
    least = _LEAST_ROWS[statistic]
    counted = None if weights is None or weights.all() else weights > 0
    counts = np.bincount(strata.codes if counted is None else strata.codes[counted], minlength=len(strata))
    varies = (counts >= least) & _vary(blocks, strata, counted)
    if not varies.any():
        raise ValueError(
            f"the control features {strata.names} determine the protected attributes {list(blocks.names)}: none of the "
            f"{np.count_nonzero(counts)} strata has at least {least} rows and two levels among them, so that nothing "
            "is left to compare. Drop control features, or cut them more coarsely by control_bins"
        )
    idle = np.flatnonzero((counts > 0) & ~varies)
    if len(idle):
        share = totals[idle].sum() / totals.sum()
        needed = f"fewer than {least} rows" + (" (which the U-statistic needs)" if statistic == "u" else "")
        warn_of_attributes(
            f"{len(idle)} of {np.count_nonzero(counts)} strata of {strata.names}, with {share:.1%} of the weight, have "
            f"{needed} or the same protected attributes in all: nothing can depend on them there, and they count as "
            f"0: {strata.describe(idle)}"
        )
    return totals / totals.sum(), np.flatnonzero(varies)


def _vary(blocks, strata, counted):
    """Whether the attributes of the rows that count vary within each stratum, (L,)."""
    if isinstance(blocks, SoftBlocks):
        of_rows = (strata.rows_of(k) for k in range(len(strata)))
        of_rows = (rows if counted is None else rows[counted[rows]] for rows in of_rows)
        return np.array([len(rows) > 0 and not blocks[rows].is_constant() for rows in of_rows])
    codes, profiles = strata.codes, blocks.codes
    if counted is not None:
        codes, profiles = codes[counted], profiles[counted]
    _, first = combine_codes([codes, profiles])
    return np.bincount(codes[first], minlength=len(strata)) > 1


def _only_stratum(strata, weights):
    """Whether all rows that count are in one stratum."""
    return np.count_nonzero(np.bincount(strata.codes, weights=weights, minlength=len(strata))) < 2


def _part_weights(weights, rows):
    """Weights of some rows; None where they are equal."""
    if weights is None:
        return None
    weights = weights[rows]
    return None if (weights == weights[0]).all() else weights


class StrataForm(DependenceForm):
    """``sum_l pi_l sum_ij |u_i - u_j| M^l_ij`` with the form M^l of each stratum and its share pi_l of the weight.

    Predictions that are equal up to rounding within a stratum depend on nothing there: no value and no gradient.

    As ``2 E|X - Y| >= E|X - X'| + E|Y - Y'|``, the Gini mean difference of all rows is not less than the mean of those
    of the strata: the largest error bound of a stratum bounds that of the whole.

    Parameters
    ----------
    strata : Strata
        Of all rows.
    forms : dict of int to DependenceForm
        Forms of those strata in which the attributes vary, each bound to the rows of its stratum.
    shares : (L,) array
        Share of each stratum in the weight.
    """

    def __init__(self, strata, forms, shares):
        self.n_samples = len(strata.codes)
        self.forms, self.shares = forms, shares
        self.constant = sum(shares[k] * form.constant for k, form in forms.items())
        self.method = " + ".join(dict.fromkeys(form.method for form in forms.values()))
        self._strata = strata
        self._codes = strata.codes.astype(np.uint16 if len(strata) <= _DIGIT else np.int64)

    @property
    def error_bound(self):
        """See :class:`DependenceForm`."""
        return max((form.error_bound for form in self.forms.values()), default=0.0)

    def _grouped(self, u, order):
        """Rows, predictions and their order in each stratum; one pass over the order of all rows."""
        ascending = order[_grouping(self._codes[order], len(self._strata))]
        positions, u = self._strata.positions[ascending], u[self._strata.rows]
        starts = self._strata.starts
        for k in self.forms:
            part = slice(starts[k], starts[k + 1])
            yield k, part, u[part], positions[part]

    def signed_sums(self, u, order):
        """See :meth:`DependenceForm.signed_sums`; the sums of the weights are None."""
        sums = np.zeros(self.n_samples)
        for k, part, u_within, order_within in self._grouped(u, order):
            if not is_constant(u_within):
                form = self.forms[k]
                sums[part] = self.shares[k] * form.factor * form.signed_sums(u_within, order_within)[0]
        return self._scattered(sums), None

    def value_gradient_weights(self, u, order):
        """See :meth:`DependenceForm.value_gradient_weights`; each stratum about its own mean, no sums of weights."""
        value, gradient = 0.0, np.zeros(self.n_samples)
        for k, part, u_within, order_within in self._grouped(u, order):
            if not is_constant(u_within):
                value_within, gradient_within, _ = self.forms[k].value_gradient_weights(u_within, order_within)
                value += self.shares[k] * value_within
                gradient_within *= self.shares[k] * self.factor
                gradient[part] = gradient_within
        return self.factor * value, self._scattered(gradient), None

    def values_within(self, u, order):
        """Value of each stratum in which the attributes vary, before its share, (number of such strata,)."""
        values = np.zeros(len(self.forms))
        for position, (k, _, u_within, order_within) in enumerate(self._grouped(u, order)):
            if not is_constant(u_within):
                values[position] = self.forms[k].value_gradient_weights(u_within, order_within)[0]
        return values

    def smoothed(self, u, order, width):
        """The form without its kinks: below ``width`` a parabola stands in the place of the value of a stratum.

        Predictions that are constant within a stratum are a kink of its value, as 0 is of an absolute value. Only for
        V-statistics, which are not negative.

        Returns
        -------
        value : float
        gradient : (n,) array
        slope : float
            Derivative with respect to ``width``.
        """
        value, slope, gradient = 0.0, 0.0, np.zeros(self.n_samples)
        for k, part, u_within, order_within in self._grouped(u, order):
            within, gradient_within = 0.0, 0.0
            if not is_constant(u_within):
                within, gradient_within, _ = self.forms[k].value_gradient_weights(u_within, order_within)
            steepness = min(within / width, 1.0)
            if steepness < 1:
                within = (within * steepness + width) / 2
                slope += self.shares[k] * (1 - steepness**2) / 2
            value += self.shares[k] * within
            gradient[part] = self.shares[k] * steepness * gradient_within
        return value, self._scattered(gradient), slope

    def _scattered(self, grouped):
        values = np.empty_like(grouped)
        values[self._strata.rows] = grouped
        return values

    def norm(self):
        """See :meth:`DependenceForm.norm`; the root of the mean square over the strata."""
        return float(self.factor * np.sqrt(sum(self.shares[k] * form.norm() ** 2 for k, form in self.forms.items())))

    def between(self, rows):
        """See :meth:`DependenceForm.between`; rows of different strata are not compared, and 0 stands there."""
        found = np.zeros((len(rows), len(rows)))
        for k, form in self.forms.items():
            here = np.flatnonzero(self._codes[rows] == k)
            if len(here):
                found[np.ix_(here, here)] = form.factor * form.between(self._strata.positions[rows[here]])
        return found

    def pull_bounds(self, random_state=0):
        """See :meth:`DependenceForm.pull_bounds`."""
        bounds = np.zeros(self.n_samples)
        for k, form in self.forms.items():
            bounds[self._strata.rows_of(k)] = self.shares[k] * form.pull_bounds(random_state)
        return abs(self.factor) * bounds

    def density(self, u, order, probabilities, width):
        """See :meth:`DependenceForm.density`: among the rows of the same stratum, which alone a row is compared with.

        Where predictions do not vary within a stratum it is the density among all rows.
        """
        density = super().density(u, order, probabilities, width)
        for k, _, u_within, order_within in self._grouped(u, order):
            if is_constant(u_within):
                continue
            rows, weights = self._strata.rows_of(k), None
            if probabilities is not None:
                weights = row_probabilities(probabilities[rows])
            width_within, _ = gini_mean_difference(u_within, weights, order=order_within)
            if width_within > 0:
                found = local_density(u_within, weights, order=order_within)
                density[rows] = np.maximum(found, LEAST_DENSITY / width_within)
        return density


def bind_strata(
    blocks, strata, measure, *, statistic="v", sample_weight=None, method="auto", n_components=256, **options
):
    """Bind a measure within strata: :func:`bind_dependence` of the rows of each, at the geometry of all rows.

    Parameters
    ----------
    blocks : SensitiveBlocks
        Protected attributes of all rows.
    strata : Strata
        Strata of the same rows.
    measure, statistic, sample_weight, method, n_components, **options
        As in :func:`bind_dependence`.

    Returns
    -------
    DependenceForm
        The unconditional one where all rows that count are in one stratum, or where attributes are constant.

    Raises
    ------
    ValueError
        Where the attributes vary within no stratum.

    Warns
    -----
    SensitiveFeaturesWarning
        Of strata with too few rows (two, or four for the U-statistic) or without variation, which count as 0.
    """
    options = {**options, "statistic": statistic}
    if _only_stratum(strata, sample_weight) or blocks.is_constant(sample_weight):
        return bind_dependence(
            blocks, measure, sample_weight=sample_weight, method=method, n_components=n_components, **options
        )
    shares, varying = _informative(blocks, strata, sample_weight, statistic)
    parts = {k: blocks[strata.rows_of(k)].present() for k in varying}
    # The strata together are given the time and the memory of one form.
    options["many_rows"] = MANY_ROWS**2 / blocks.n_samples
    n_profiles = sum(part.n_profiles for part in parts.values())
    affordable = sklearn.get_config()["working_memory"] * 2**20 / (3 * 8 * n_profiles)
    options["n_components"] = max(1, min(n_components, int(affordable)))
    forms = {}
    for k, part in parts.items():
        weights = _part_weights(sample_weight, strata.rows_of(k))
        forms[k] = bind_dependence(part, measure, sample_weight=weights, method=method, **options)
    return StrataForm(strata, forms, shares)


class PermutableStrata:
    """A measure within strata, whose rows of attributes can be permuted within each; see :class:`PermutableDependence`.

    Parameters
    ----------
    u, blocks, measure, statistic, sample_weight, normalize, **options
        As in :class:`PermutableDependence`.
    strata : Strata
        Of the same rows.

    Attributes
    ----------
    form : StrataForm
        Bound to the attributes as they are.
    evaluation_cost : float
        Operations of one permutation, as in :class:`PermutableDependence`.
    """

    def __init__(self, u, blocks, strata, measure, *, statistic="v", sample_weight=None, normalize=False, **options):
        self._strata = strata
        shares, varying = _informative(blocks, strata, sample_weight, statistic)
        if normalize:
            # Measures are homogeneous: what is divided by the spread of all rows is measured in units of it.
            probabilities = None if sample_weight is None else row_probabilities(sample_weight)
            u = u / gini_mean_difference(u, probabilities, statistic=statistic)[0]
        self._statistic = statistic
        self._parts, self._predictions = {}, {}
        for k in varying:
            rows = strata.rows_of(k)
            within = np.zeros(len(rows)) if is_constant(u[rows]) else u[rows]
            weights = _part_weights(sample_weight, rows)
            self._predictions[k] = within, weights
            self._parts[k] = PermutableDependence(
                within, blocks[rows].present(), measure, statistic=statistic, sample_weight=weights, **options
            )
        self.form = StrataForm(strata, {k: part.form for k, part in self._parts.items()}, shares)
        self.evaluation_cost = sum(part.evaluation_cost for part in self._parts.values())

    def _sum(self, value_of_part):
        return sum(self.form.shares[k] * value_of_part(k, part) for k, part in self._parts.items())

    def value(self):
        """Value of the data as they are."""
        return float(self._sum(lambda k, part: part.value()))

    def value_of(self, form):
        """Value of the predictions as they are with a form of other attributes in the same strata."""
        return float(self._sum(lambda k, part: part.value_of(form.forms[k])))

    def permuted_values(self, n_permutations, generator):
        """Values of random permutations within the strata, (n_permutations,)."""
        return self._sum(lambda k, part: part.permuted_values(n_permutations, generator))

    def values_of(self, permutations):
        """Values after given permutations, which leave each row in its stratum, (B,)."""
        strata, found, permutations = self._strata, [], iter(permutations)
        size = max(4, ROWS_AT_A_TIME // len(strata.rows) // 4 * 4)
        while lines := list(islice(permutations, size)):
            # Each row's partner, by its position in the stratum that they share.
            within = [strata.positions[rows] for rows in lines]
            parts = ((k, part, strata.rows_of(k)) for k, part in self._parts.items())
            values = (self.form.shares[k] * part.values_of(line[rows] for line in within) for k, part, rows in parts)
            found.append(sum(values))
        return np.concatenate(found)

    def norm_of_predictions(self):
        """Length of the centred distances of the predictions in the strata that count, as :meth:`StrataForm.norm`."""
        squares = 0.0
        for k, (u, weights) in self._predictions.items():
            blocks = SensitiveBlocks.from_arrays([u[:, None]])
            form = bind_dependence(
                blocks, "ccdcov", statistic=self._statistic, sample_weight=weights, approximate=False
            )
            squares += self.form.shares[k] * form.norm() ** 2
        return float(np.sqrt(squares))

    def bind_single(self, block):
        """One block alone, bound as the whole is."""
        return StrataForm(
            self._strata, {k: part.bind_single(block) for k, part in self._parts.items()}, self.form.shares
        )


def permutable_dependence(u, blocks, measure, strata=None, *, sample_weight=None, **options):
    """Predictions and attributes to be permuted, within ``strata`` where there are several.

    Parameters
    ----------
    u, blocks, measure, sample_weight, **options
        As in :class:`PermutableDependence`.
    strata : Strata, optional
        Of the same rows.

    Returns
    -------
    PermutableDependence or PermutableStrata
    """
    if strata is None or _only_stratum(strata, sample_weight) or blocks.is_constant(sample_weight):
        return PermutableDependence(u, blocks, measure, sample_weight=sample_weight, **options)
    return PermutableStrata(u, blocks, strata, measure, sample_weight=sample_weight, **options)
