"""From the predictions of any model to the factors of a multiplicative table: few levels, pairs that pay, one GLM.

The GLM is fitted to the predictions, not to claims: they have no noise, so that levels of equal relativity show, and
what the model has learnt of the claims is not learnt again. The penalty of the model is kept by the same GLM.
"""

import warnings
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import sparse

from fairdcov.actuarial._rating_levels import CategoryLevels, NumberLevels, category_text, column_values, is_number
from fairdcov.encoding import MAX_NUMERIC_LEVELS, MISSING, nearest_name, read_factor
from fairdcov.exceptions import StrengthWarning
from fairdcov.linear_model import DCovTweedieRegressor
from fairdcov.metrics import ccdcov, dcov, jdcov

__all__ = ["Coded", "Distilled", "dependence", "distil", "read_columns"]

# Whole numbers of up to so many values start with a level each, other numbers with so many bins of equal exposure.
_MOST_WHOLE_NUMBERS = 100
_FINE_BINS = 40
# Beyond, a power of ten is no number.
_MOST_DECIMALS = 300
# Levels are merged until this share of the variation of the premiums is lost, however many there may be.
_LOST = 0.001
# Differences of logarithms that are rounding, of boosted trees in single precision among others.
_ROUNDING = 1e-5
# Levels of a factor within a pair, pairs at most, the columns they are sought among, and the least share of the model's
# deviance that one has to add: rows of a table cost those who have to read it.
_PAIR_LEVELS = 5
_MOST_PAIRS = 3
_PAIRED_COLUMNS = 15
_LEAST_GAIN = 0.01
# Beside a curvature of 1: so little that no relativity shrinks, enough where one factor is a function of another.
_RIDGE = 1e-8
# Strengths that are tried until the table is no more dependent than the model: a quarter of a decade each.
_FIRST_STRENGTH, _LAST_STRENGTH, _STEP = 0.1, 1e5, 10.0**0.25
# Of the predictions, for the dependence that there is by chance: of a scale-free measure it hardly varies.
_PERMUTATIONS = 5
_MEASURES = {"ccdcov": ccdcov, "dcov": dcov, "jdcov": jdcov}


@dataclass(frozen=True, eq=False)
class Coded:
    """A column with its levels and the level of each row.

    Attributes
    ----------
    levels : NumberLevels or CategoryLevels
        Its levels.
    codes : (n,) int64 array
        Level of each row.
    values : (n,) float64 array or None
        Numbers of the rows, NaN where missing.
    fixed : bool
        Whether the levels are those that were asked for, and stay.
    """

    levels: NumberLevels | CategoryLevels
    codes: np.ndarray
    values: np.ndarray | None
    fixed: bool

    @property
    def name(self):
        """Name of the column."""
        return self.levels.name

    def merged(self, groups):
        """The column with levels made one."""
        groups = np.asarray(groups, dtype=np.int64)
        distinct = None
        if self.values is not None:
            distinct = np.unique(self.values[~np.isnan(self.values)])
        return Coded(self.levels.merged(groups, distinct), groups[self.codes], self.values, self.fixed)


@dataclass(frozen=True, eq=False)
class Distilled:
    """What a table is made of.

    Attributes
    ----------
    base_premium : float
        Premium at the base of all factors, such that the total of the table is that of the model.
    off_balance : float
        What the GLM predicted in all, over the total of the model.
    factors : list of (tuple of Coded, array)
        Columns of each factor and the logarithms of its relativities, an axis for each column.
    strength : float
        Strength of the penalty that the factors were fitted with.
    kept : bool
        Whether the table is no more dependent on the protected attributes than the model, or than by chance, where a
        strength was looked for.
    """

    base_premium: float
    off_balance: float
    factors: list
    strength: float
    kept: bool


# ---------------------------------------------------------------------------------------------------------------------
# Fine levels
# ---------------------------------------------------------------------------------------------------------------------


def read_columns(frame, names, bins, exposure, max_levels):
    """Columns with their finest levels.

    Parameters
    ----------
    frame : narwhals.DataFrame, (n, p)
        Rows of positive exposure.
    names : list of str
        Columns to read.
    bins : dict of str to int, list of float or None
        How some of the numbers are cut; every value for None. These levels are not merged.
    exposure : (n,) array
        Positive.
    max_levels : int or None
        Levels that a column may start with.

    Returns
    -------
    list of Coded
    """
    columns = [_read_column(frame.get_column(name), name, bins, exposure) for name in names]
    for column in columns:
        n_levels = len(column.levels)
        if max_levels is not None and n_levels > max_levels:
            raise ValueError(
                f"column {column.name!r} has {n_levels:,} levels, more than max_levels={max_levels:,}: group its rare "
                "levels before the fit (such as postcodes to zones), cut its numbers by bins, leave it out of factors, "
                "or raise max_levels"
            )
    return columns


def _read_column(column, name, bins, exposure):
    if not is_number(column):
        if name in bins:
            raise TypeError(f"bins names {name!r}, which holds categories: only numbers can be cut into bins")
        factor = read_factor(column, "X", 1, exposure)
        levels = CategoryLevels(name, tuple((category_text(level),) for level in factor.levels))
        if len({level for (level,) in levels.categories}) < len(levels):
            raise TypeError(f"X column {name!r} has categories that read the same as text, such as 1 and '1'")
        return Coded(levels, factor.codes, None, False)
    values = column_values(column)
    if np.isinf(values).any():
        raise ValueError(f"X column {name!r} has infinite values, which no range of a table contains")
    known = ~np.isnan(values)
    distinct = np.unique(values[known])
    missing = bool((~known).any())
    if name in bins and bins[name] is not None:
        factor = read_factor(column, "X", {name: bins[name]}, exposure)
        edges = _edges(factor.levels) if np.ndim(bins[name]) == 0 else np.asarray(bins[name], dtype=np.float64)
        lower, upper = edges[:-1], edges[1:]
    elif name in bins or _at_each_value(distinct):
        lower, upper = distinct, np.append(distinct[1:], distinct[-1:])
    else:
        shares = np.linspace(0.0, 1.0, _FINE_BINS + 1)
        quantiles = np.quantile(values[known], shares, weights=exposure[known], method="inverted_cdf")
        quantiles[[0, -1]] = distinct[[0, -1]]
        edges = _short_edges(np.unique(quantiles))
        filled = np.unique(np.searchsorted(edges[1:-1], distinct, side="right"))
        lower, upper = edges[filled], np.append(edges[filled][1:], edges[-1])
        if quantiles[-2] == distinct[-1]:
            # A limit that many policies have is a level of its own.
            lower, upper = np.append(lower, distinct[-1]), np.append(np.append(lower[1:], distinct[-1]), distinct[-1])
    levels = NumberLevels.of_ranges(name, lower, upper, missing, distinct)
    return Coded(levels, levels.codes(column), values, name in bins)


def _at_each_value(distinct):
    """Whether numbers start with a level for each value: few values, and whole numbers such as ages."""
    whole = len(distinct) <= _MOST_WHOLE_NUMBERS and (distinct == np.rint(distinct)).all()
    return len(distinct) <= MAX_NUMERIC_LEVELS or whole


def _short_edges(edges):
    """The same with no more digits than they need to differ, which contain the first and the last one."""
    span = edges[-1] - edges[0]
    for digits in range(3, 15):
        decimals = digits - 1 - int(np.floor(np.log10(span)))
        if decimals > _MOST_DECIMALS:
            break
        unit = 10.0**-decimals
        short = np.round(edges, decimals)
        for end, direction in ((0, -1), (-1, 1)):
            if (short[end] - edges[end]) * direction < 0:
                short[end] = np.round(short[end] + direction * unit, decimals)
        if (np.diff(short) > 0).all():
            return short
    return edges


def _edges(levels):
    intervals = [level for level in levels if level is not MISSING]
    if not hasattr(intervals[0], "left"):
        return np.append(np.asarray(intervals, dtype=np.float64), float(intervals[-1]))
    return np.array([level.left for level in intervals] + [intervals[-1].right], dtype=np.float64)


# ---------------------------------------------------------------------------------------------------------------------
# The GLM
# ---------------------------------------------------------------------------------------------------------------------


class _Design:
    """One column of indicators for each level but the base, of single columns and of pairs of them."""

    def __init__(self, groups, exposure):
        self.groups = groups
        self._positions, blocks, start = [], [], 0
        for columns in groups:
            shape = tuple(len(column.levels) for column in columns)
            codes = np.ravel_multi_index([column.codes for column in columns], shape)
            filled = np.bincount(codes, exposure, int(np.prod(shape))).reshape(shape) > 0
            for axis, column in enumerate(columns):
                # Interactions are beside the effects of the columns alone: none at the base of either one.
                mass = np.bincount(column.codes, exposure, shape[axis])
                np.moveaxis(filled, axis, 0)[int(np.argmax(mass))] = False
            positions = np.full(shape, -1, dtype=np.int64)
            positions[filled] = start + np.arange(int(filled.sum()))
            self._positions.append(positions)
            blocks.append(positions.ravel()[codes])
            start += int(filled.sum())
        position = np.concatenate([*blocks, np.empty(0, dtype=np.int64)])
        rows = np.tile(np.arange(len(exposure)), len(blocks))
        kept = position >= 0
        ones = np.ones(int(kept.sum()))
        self.matrix = sparse.csr_matrix((ones, (rows[kept], position[kept])), shape=(len(exposure), start))

    def effects(self, coefficients):
        """Logarithms of the relativities of each group, 0 at the base."""
        padded = np.append(coefficients, 0.0)
        return [padded[positions] for positions in self._positions]


def _of_rows(groups, effects):
    """Sum of the effects of each row."""
    return sum(
        (effect[tuple(column.codes for column in columns)] for columns, effect in zip(groups, effects, strict=True)),
        start=0.0,
    )


def _glm(predicted, exposure, power, **options):
    # The curvature of a level is its share of the exposure times this.
    scale = float(np.average(predicted, weights=exposure)) ** (2.0 - power)
    return DCovTweedieRegressor(power=power, link="log", alpha=_RIDGE * scale, **options)


class _Fits:
    """Fits of tables to the predictions of a model."""

    def __init__(self, predicted, exposure, power):
        self.predicted, self.exposure, self.power = predicted, exposure, power

    def plain(self, groups):
        """Effects of each group without any penalty, and the logarithm of the table on each row."""
        if not groups:
            return [], np.full(len(self.predicted), np.log(np.average(self.predicted, weights=self.exposure)))
        design = _Design(groups, self.exposure)
        model = _glm(self.predicted, self.exposure, self.power, strength=0.0)
        model.fit(design.matrix, self.predicted, sample_weight=self.exposure)
        effects = design.effects(model.coef_)
        return effects, model.intercept_ + _of_rows(groups, effects)

    def penalised(self, groups, penalty, strengths, people):
        """Effects, logarithms on the rows and strength that counts, for each strength, made as they are asked for."""
        design = _Design(groups, self.exposure)
        model = _glm(self.predicted, self.exposure, self.power, penalty=penalty)
        path = model.strength_path(design.matrix, self.predicted, strengths, sample_weight=self.exposure, **people)
        for fitted in path:
            effects = design.effects(fitted.coef_)
            yield effects, fitted.intercept_ + _of_rows(groups, effects), fitted.effective_strength_


def dependence(penalty, predicted, exposure, people):
    """How much predictions depend on the protected attributes, by the measure of a penalty; scale-free by name."""
    if isinstance(penalty, str):
        return _MEASURES[penalty](
            None,
            predicted,
            sensitive_features=people["sensitive_features"],
            control_features=people.get("control_features"),
            sample_weight=exposure,
            normalize=True,
        )
    others = {name: value for name, value in people.items() if name != "sensitive_features"}
    bound = penalty.bind(people["sensitive_features"], exposure, **others)
    return float(bound.value(np.log(predicted) if getattr(bound, "scale", "response") == "link" else predicted))


# ---------------------------------------------------------------------------------------------------------------------
# Few levels
# ---------------------------------------------------------------------------------------------------------------------


class _Merging:
    """Levels of one column that become fewer, neighbours in the order of the numbers or of the effects."""

    def __init__(self, column, effect, mass):
        self.column = column
        self.missing = isinstance(column.levels, NumberLevels) and column.levels.missing
        n_levels = len(effect) - self.missing
        order = np.arange(n_levels) if isinstance(column.levels, NumberLevels) else np.argsort(effect, kind="stable")
        self.members = [[int(k)] for k in order]
        self.effects = [float(effect[k]) for k in order]
        self.masses = [float(mass[k]) for k in order]

    def __len__(self):
        return len(self.members) + self.missing

    def cheapest(self):
        """Cost in deviance of the cheapest merger of neighbours, and where it is."""
        best, place = np.inf, None
        if not self.column.fixed:
            for k in range(len(self.members) - 1):
                both = self.masses[k] + self.masses[k + 1]
                distance = self.effects[k + 1] - self.effects[k]
                cost = distance**2 * self.masses[k] * self.masses[k + 1] / both if both > 0 else 0.0
                if cost < best:
                    best, place = cost, k
        return best, place

    def merge(self, place):
        """Make a level and the next one the same."""
        masses = self.masses[place : place + 2]
        mean = np.average(self.effects[place : place + 2], weights=masses) if sum(masses) > 0 else self.effects[place]
        self.members[place : place + 2] = [self.members[place] + self.members[place + 1]]
        self.effects[place : place + 2] = [float(mean)]
        self.masses[place : place + 2] = [sum(masses)]

    def merge_down_to(self, n_levels):
        """Merge until there are so few levels."""
        while len(self) > n_levels:
            _, place = self.cheapest()
            if place is None:
                break
            self.merge(place)
        return self

    def result(self):
        """The column with the levels that are left."""
        groups = np.empty(len(self.column.levels), dtype=np.int64)
        # In the order of their first members: categories were sorted by their effects.
        for new, members in enumerate(sorted(self.members, key=min)):
            groups[members] = new
        if self.missing:
            groups[-1] = len(self.members)
        return self.column.merged(groups)


def _start_merging(columns, effects, mass):
    return [
        _Merging(column, effect, np.bincount(column.codes, mass, len(column.levels)))
        for column, effect in zip(columns, effects, strict=True)
    ]


def _few_levels(columns, effects, mass, most):
    """Columns with at most so many levels in all; first those are merged whose relativities agree, or nearly."""
    parts = _start_merging(columns, effects, mass)
    of_rows = _of_rows([(column,) for column in columns], effects)
    variation = float(mass @ (of_rows - np.average(of_rows, weights=mass)) ** 2) if columns else 0.0
    # Relativities that differ by rounding agree, too.
    allowed = max(_LOST * variation, _ROUNDING**2 * float(mass.sum()))
    costs = [part.cheapest() for part in parts]
    spent = 0.0

    def size():
        # A column of one level is no factor.
        return sum(len(part) for part in parts if len(part) > 1)

    while any(place is not None for _, place in costs):
        chosen = int(np.argmin([cost for cost, _ in costs]))
        spent += costs[chosen][0]
        if size() <= most and spent > allowed:
            break
        parts[chosen].merge(costs[chosen][1])
        costs[chosen] = parts[chosen].cheapest()
    if size() > most:
        raise ValueError(
            f"the levels asked for by bins, and those of missing values, are {size():,} relativities, more than the "
            f"{most:,} that max_relativities leaves: ask for fewer bins, leave columns out of factors, or raise "
            "max_relativities"
        )
    return [part.result() for part in parts if len(part) > 1]


# ---------------------------------------------------------------------------------------------------------------------
# Pairs
# ---------------------------------------------------------------------------------------------------------------------


def _cells(pair):
    return len(pair[0].levels) * len(pair[1].levels)


def _gain(pair, model, table):
    """By how much relativities of a pair would lower the deviance, the half of a Poisson's, of the model's totals."""
    shape = tuple(len(column.levels) for column in pair)
    codes = np.ravel_multi_index([column.codes for column in pair], shape)
    wanted = np.bincount(codes, model, int(np.prod(shape)))
    found = np.bincount(codes, table, int(np.prod(shape)))
    filled = wanted > 0
    return float((wanted[filled] * np.log(wanted[filled] / found[filled])).sum() - (wanted - found).sum())


def _find_pair(candidates, model, table, room):
    """The pair of columns, each with few levels, whose interaction explains most, and what it adds."""
    best, chosen = 0.0, None
    for pair in combinations(candidates, 2):
        if _cells(pair) <= room and (gain := _gain(pair, model, table)) > best:
            best, chosen = gain, pair
    return best, chosen


# ---------------------------------------------------------------------------------------------------------------------
# All of it
# ---------------------------------------------------------------------------------------------------------------------


def distil(predicted, exposure, columns, *, most, pairs, power, penalty, strength, people):
    """A multiplicative table for the predictions of a model.

    Parameters
    ----------
    predicted, exposure : (n,) float64 array
        Positive.
    columns : list of Coded
        Columns with their finest levels.
    most : int
        Relativities that the table may have.
    pairs : {"auto"}, None or list of pairs of str
        Pairs of columns that have relativities of their own.
    power : float
        Variance power of the deviance.
    penalty : str or penalty object
        Of the GLM.
    strength : {"auto"} or float
        Of the penalty; ``"auto"`` is the least of a grid at which the table is no more dependent than the model, or
        than the model's predictions would be by chance.
    people : dict
        ``sensitive_features`` and ``control_features`` of the rows, where there are any.

    Returns
    -------
    Distilled
    """
    fits = _Fits(predicted, exposure, power)
    model = exposure * predicted
    columns = [column for column in columns if len(column.levels) > 1]
    effects, _ = fits.plain([(column,) for column in columns])
    coarse = _paired_columns(columns, effects, model, pairs)
    # 1. Pairs first, since their cells take room from the levels of single columns.
    chosen = []
    if pairs != "auto":
        chosen = [tuple(next(part for part in coarse if part.name == name) for name in pair) for pair in pairs or ()]
    room = most - sum(map(_cells, chosen))
    if room < 0 or (room == 0 and columns):
        raise ValueError(
            f"pairs take {most - room:,} relativities, which leaves none of max_relativities={most:,} for single "
            "columns: name fewer pairs, or raise max_relativities"
        )
    single = _few_levels(columns, effects, model, room)
    if pairs == "auto":
        total = _gain_of_all(predicted, exposure)
        while len(chosen) < _MOST_PAIRS:
            groups = [*((column,) for column in single), *chosen]
            _, log_table = fits.plain(groups)
            # No more than half of the table is spent on pairs.
            free = most // 2 - sum(map(_cells, chosen))
            known = {frozenset(column.name for column in pair) for pair in chosen}
            gain, pair = _find_pair(coarse, model, exposure * np.exp(log_table), free)
            if pair is None or gain < _LEAST_GAIN * total or frozenset(column.name for column in pair) in known:
                break
            chosen.append(pair)
            single = _few_levels(columns, effects, model, most - sum(map(_cells, chosen)))
    groups = [*((column,) for column in single), *chosen]
    # 2. The relativities, with the penalty.
    found, log_table = fits.plain(groups)
    used, kept = 0.0, True
    if "sensitive_features" in people and groups:
        found, log_table, used, kept = _with_penalty(fits, groups, found, log_table, penalty, strength, people)
    table = exposure @ np.exp(log_table)
    off_balance = float(table / model.sum())
    base_log = log_table[0] - _of_rows(groups, found)[0] if groups else log_table[0]
    return Distilled(
        float(np.exp(base_log)) / off_balance, off_balance, list(zip(groups, found, strict=True)), used, kept
    )


def _paired_columns(columns, effects, mass, pairs):
    """Columns that pairs are made of, with few levels: those named, or those whose effects vary most."""
    if pairs is None or not columns:
        return []
    if pairs == "auto":
        spread = []
        for column, effect in zip(columns, effects, strict=True):
            of_rows = effect[column.codes]
            spread.append(np.average((of_rows - np.average(of_rows, weights=mass)) ** 2, weights=mass))
        kept = sorted(np.argsort(spread, kind="stable")[-_PAIRED_COLUMNS:].tolist())
    else:
        named = {name for pair in pairs for name in pair}
        known = [column.name for column in columns]
        for name in named:
            if name not in known:
                raise ValueError(f"pairs names {name!r}, which is no column with levels{nearest_name(name, known)}")
        kept = [position for position, name in enumerate(known) if name in named]
    parts = _start_merging([columns[k] for k in kept], [effects[k] for k in kept], mass)
    merged = [part.merge_down_to(_PAIR_LEVELS + part.missing).result() for part in parts]
    return [column for column in merged if len(column.levels) > 1]


def _gain_of_all(predicted, exposure):
    """What the model explains of its own predictions: half the Poisson deviance from their mean."""
    mean = np.average(predicted, weights=exposure)
    return float(exposure @ (predicted * np.log(predicted / mean)))


def _with_penalty(fits, groups, effects, log_table, penalty, strength, people):
    """Effects, logarithms on the rows, strength, and whether the strength that was looked for was found."""

    def measure(predicted):
        return dependence(penalty, predicted, fits.exposure, people)

    if strength != "auto":
        if strength > 0:
            effects, log_table, strength = next(fits.penalised(groups, penalty, [strength], people))
        return effects, log_table, float(strength), True
    # A penalised model may show less on the rows of its fit than predictions that fall to the rows at random: no table
    # has to go below those.
    generator = np.random.default_rng(0)
    by_chance = np.mean([measure(generator.permutation(fits.predicted)) for _ in range(_PERMUTATIONS)])
    allowed = max(measure(fits.predicted), by_chance) * (1 + 1e-6)
    best = measure(np.exp(log_table)), effects, log_table, 0.0
    if best[0] <= allowed:
        return effects, log_table, 0.0, True
    n_steps = int(np.ceil(np.log(_LAST_STRENGTH / _FIRST_STRENGTH) / np.log(_STEP)))
    strengths = [_FIRST_STRENGTH * _STEP**step for step in range(n_steps + 1)]
    with warnings.catch_warnings():
        # That a strength is too large for the table ends the search, and what it has found is compared with the model.
        warnings.simplefilter("ignore", StrengthWarning)
        for asked, (effects, log_table, used) in zip(
            strengths, fits.penalised(groups, penalty, strengths, people), strict=True
        ):
            value = measure(np.exp(log_table))
            if value < best[0]:
                best = value, effects, log_table, used
            if value <= allowed or used < asked:
                break
    value, effects, log_table, used = best
    return effects, log_table, used, value <= allowed
