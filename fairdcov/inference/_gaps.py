"""Gaps between a group and the rest, with standard errors that hold for prices that are functions of the rows.

A row (weight, group, factors, price) is one independent draw, and all four vary from draw to draw. An estimate is then
a smooth function of means over rows, and its error is the spread of its influence function, estimated row by row.
Nothing is assumed of the price: a regression residual need have no constant variance and no mean 0 given the factors,
which residuals of a tariff, a function of the factors, do not have.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from fairdcov.encoding import DEFAULT_FACTOR_BINS, missing_rows, read_factor

__all__ = ["FactorRegression", "Gaps", "MeanGaps", "RegressionGaps", "correlations", "factor_design"]

# Contributions, of rows to estimates, that are held at once: several arrays of them stay in the cache.
_BLOCK = 2**18
# A group of which the factors leave less than this share of its spread is determined by them.
_DETERMINED = 1e-8
# The bend of a t-statistic that is more skewed than first-order corrections reach.
_MOST_BENT = 0.15
# No kurtosis.
_ZERO = np.zeros(1)
# Singular values of the factors below this share of the largest count as 0: levels that others add up to.
_RANK = 1e-10


@dataclass(frozen=True, eq=False)
class Gaps:
    """Gaps of K groups against the rest, on the scale they are tested on.

    Attributes
    ----------
    estimates, errors : (K,) arrays
        Logarithms of ratios and their standard errors; NaN where there is nothing to compare.
    degrees : (K,) array
        Degrees of freedom of t-quantiles (Satterthwaite), which are for groups of few rows and of prices far apart.
    skewness, bend : (K,) arrays
        Of the t-statistic, to first order: ``t + bend t^2 + skewness / 6`` has the quantiles of a t-distribution (Hall
        1992). Prices of small groups are skewed, and so are the errors of their means.
    values, references : (K,) arrays or None
        Weighted mean, or share above the threshold, of the group and of the rest.
    upper_estimates, upper_errors : (K,) arrays or None
        What the upper end of the interval is by, where it is by something else than the lower one.
    """

    estimates: np.ndarray
    errors: np.ndarray
    degrees: np.ndarray
    skewness: np.ndarray
    bend: np.ndarray
    values: np.ndarray | None
    references: np.ndarray | None
    upper_estimates: np.ndarray | None = None
    upper_errors: np.ndarray | None = None

    def __post_init__(self):
        if self.upper_estimates is None:
            object.__setattr__(self, "upper_estimates", self.estimates)
            object.__setattr__(self, "upper_errors", self.errors)


def _blocks(n, n_groups):
    """Slices of rows whose contributions to all estimates fit into memory."""
    step = max(1, _BLOCK // n_groups)
    return (slice(start, start + step) for start in range(0, n, step))


def _divide(numerator, denominator):
    """Quotients, NaN where the denominator is not positive."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator > 0)


def _with_degrees(estimates, group, rest, group_rows, rest_rows, moments, bend, values=None, references=None):
    """Gaps from the parts of the variance that the rows of the group and of the rest have.

    Both parts are scaled up as a variance is that is taken about an estimated mean, by effective numbers of rows.
    ``moments`` are the sums of third and fourth powers of the influence, ``bend`` what the bend of the t-statistic is
    beside its skewness.

    Taking the skewness off costs as much as is not known of it. In Edgeworth's expansion of a mean of n rows with
    skewness g and excess kurtosis k (Hall 1992), that its estimate goes with the t-statistic moves the tail beyond x by
    ``x phi(x) (k (3 x^2 + 5) / 12 - g^2 (32 x^2 + 31) / 72) / n`` beside what Student's quantiles allow for. The first
    part is that of ``k (x^2 + 1) / 4``, of 1 / degrees of freedom higher by ``k / n``, and some more. The second one
    would narrow intervals: it is left out, since both are estimated from few rows where they matter.
    """
    cubes, fourths = moments
    spreads = group + rest
    skewness = np.divide(cubes, spreads**1.5, out=np.zeros(len(spreads)), where=spreads > 0)
    bend = np.clip(np.nan_to_num(bend) + skewness / 3.0, -_MOST_BENT, _MOST_BENT)
    kurtosis = np.divide(fourths, spreads**2, out=np.zeros(len(spreads)), where=spreads > 0)
    group = group * _divide(group_rows, group_rows - 1.0)
    rest = rest * _divide(rest_rows, rest_rows - 1.0)
    variances = group + rest
    spread = _divide(group**2, group_rows - 1.0) + _divide(rest**2, rest_rows - 1.0)
    per_degree = np.divide(spread, variances**2, out=np.zeros(len(variances)), where=spread > 0)
    per_degree += np.maximum(kurtosis - 3.0 * per_degree, 0.0)
    degrees = np.divide(1.0, per_degree, out=np.full(len(variances), np.inf), where=per_degree > 0)
    return Gaps(estimates, np.sqrt(variances), np.maximum(degrees, 1.0), skewness, bend, values, references)


def _moments(weights, values, total):
    """For k = 2, 3 and 4 the totals of ``w^k u^q``, q = k, k - 1, ..., 0."""
    found, power = {}, weights
    for k in (2, 3, 4):
        power = power * weights
        # By products: powers of floats take many times as long.
        products = [power]
        for _ in range(k):
            products.append(products[-1] * values)
        found[k] = [total(product) for product in reversed(products)]
    return found


def _of_the_others(shifts, sums):
    """``sum_i w_i (u_i - r_k)^p`` over the rows of all groups but k, (K,).

    ``sums`` are ``sum w (u - m)^q`` of each group for q = p, p - 1, ..., 0, and ``shifts`` is ``m_l - r_k``.
    """
    power = len(sums) - 1
    table = sum(math.comb(power, j) * shifts**j * sums[j] for j in range(power + 1))
    np.fill_diagonal(table, 0.0)
    return table.sum(axis=1)


def _half_row(weight, means):
    """What the half row that is added to a share is taken to add to the variance of its total."""
    return 0.5 * weight**2 * ((1 - means) ** 2 + means**2)


class MeanGaps:
    """Logarithms of the ratio of weighted means, group over rest.

    The mean of a group is a ratio of two means over all rows, ``mean(w u 1_g) / mean(w 1_g)``, so that its influence is
    ``w 1_g (u - m_g) / mean(w 1_g)``: the weights are random as the prices are.

    Parameters
    ----------
    values : (n,) float64 array
        Not negative: prices, or 1 for those above a threshold and 0 for others.
    weights : (n,) float64 array
        Positive.
    codes : (n,) int64 array
        Group of each row.
    n_groups : int
        Number K of groups, each with rows.
    shares : bool, default=False
        Whether values are 0 and 1. Half a row of value 1 is then added to group and rest, which takes the bias out of
        the logarithm of a share of few rows (Walter 1975) and gives one of no row an error.
    """

    def __init__(self, values, weights, codes, n_groups, *, shares=False):
        # Squares of prices in any unit stay in the range of floats.
        unit = 1.0 if shares else values.mean()
        values = values / unit
        self._rows = values, weights, codes

        def totals(row_values):
            return np.bincount(codes, weights=row_values, minlength=n_groups)

        group_weights, group_sums, squares = totals(weights), totals(weights * values), totals(weights**2)
        rest_weights, rest_sums = group_weights.sum() - group_weights, group_sums.sum() - group_sums
        rest_squares = squares.sum() - squares
        extra, rest_extra = 0.0, 0.0
        if shares:
            extra, rest_extra = squares / group_weights, _divide(rest_squares, rest_weights)
        means = (group_sums + extra / 2) / (group_weights + extra / 2)
        rest_means = _divide(rest_sums + rest_extra / 2, rest_weights + rest_extra / 2)

        centred = values - means[codes]
        # Sums of w^k (u - m)^q in each group, and from them about the mean of the rest.
        sums = _moments(weights, centred, totals)
        shifts = means[None, :] - rest_means[:, None]
        spread, rest_spread = sums[2][0], _of_the_others(shifts, sums[2])
        if shares:
            spread = spread + _half_row(extra, means)
            rest_spread = rest_spread + _half_row(rest_extra, rest_means)
        cross, rest_cross = sums[2][1], _of_the_others(shifts, sums[2][1:])

        self._scale = group_weights * means, rest_weights * rest_means
        self._means = means, rest_means
        with np.errstate(divide="ignore"):
            estimates = np.log(means) - np.log(rest_means)
        spread = _divide(spread, self._scale[0] ** 2)
        rest_spread = _divide(np.maximum(rest_spread, 0.0), self._scale[1] ** 2)
        # A mean that is high by chance has a high logarithm and, divided by it, a low error; and its error is about
        # itself and not about the true mean.
        pull = spread * _divide(cross, group_weights * self._scale[0])
        pull = pull - rest_spread * _divide(rest_cross, rest_weights * self._scale[1])
        variances = spread + rest_spread
        bend = -0.5 * _divide(spread - rest_spread, np.sqrt(variances)) - _divide(pull, variances**1.5)
        self.gaps = _with_degrees(
            estimates,
            spread,
            rest_spread,
            _divide(group_weights**2, squares),
            _divide(rest_weights**2, rest_squares),
            (
                _divide(sums[3][0], self._scale[0] ** 3)
                - _divide(_of_the_others(shifts, sums[3]), self._scale[1] ** 3),
                # A share is 0 or 1: its variance goes by its mean, and so does its skewness.
                _ZERO
                if shares
                else _divide(sums[4][0], self._scale[0] ** 4)
                + _divide(_of_the_others(shifts, sums[4]), self._scale[1] ** 4),
            ),
            bend,
            means * unit,
            rest_means * unit,
        )

    def influence(self, rows):
        """Contributions of some rows (a slice) to the estimates, (m, K)."""
        values, weights, codes = (part[rows] for part in self._rows)
        means, rest_means = self._means
        scale, rest_scale = self._scale
        found = weights[:, None] * (rest_means - values[:, None]) / rest_scale
        found[np.arange(len(codes)), codes] = weights * (values - means[codes]) / scale[codes]
        return found


class SharedMeanGaps:
    """:class:`MeanGaps` of groups that each row has a share in.

    The mean of a group is ``sum(w p_g u) / sum(w p_g)`` and that of the rest ``sum(w (1 - p_g) u) / sum(w (1 - p_g))``,
    so that a row counts in both, and its influence is the difference of its two parts.

    Parameters
    ----------
    values, weights : (n,) float64 arrays
        As in :class:`MeanGaps`.
    memberships : (n, K) sparse array
        Shares of the rows, of sum 1 in each row.
    shares : bool, default=False
        As in :class:`MeanGaps`.
    """

    def __init__(self, values, weights, memberships, *, shares=False):
        unit = 1.0 if shares else values.mean()
        values = values / unit
        self._rows = values, weights, memberships
        group_weights, group_sums = memberships.T @ weights, memberships.T @ (weights * values)
        squares, products = (memberships**2).T @ weights**2, memberships.T @ weights**2
        # (1 - p)^2 = 1 - 2 p + p^2
        rest_squares = np.maximum(np.sum(weights**2) - 2 * products + squares, 0.0)
        rest_weights = weights.sum() - group_weights
        extra, rest_extra = 0.0, 0.0
        if shares:
            extra, rest_extra = _divide(squares, group_weights), _divide(rest_squares, rest_weights)
        means = _divide(group_sums + extra / 2, group_weights + extra / 2)
        rest_means = _divide(group_sums.sum() - group_sums + rest_extra / 2, rest_weights + rest_extra / 2)
        self._means = means, rest_means
        self._scale = group_weights * means, rest_weights * rest_means
        own, other, total, cubes, fourths, by_own, by_rest, own_pull, rest_pull = self._sums()
        if shares:
            added = _half_row(extra, means) / self._scale[0] ** 2
            rest_added = _half_row(rest_extra, rest_means) / self._scale[1] ** 2
            own, other, total = own + added, other + rest_added, total + added + rest_added
            by_own, by_rest = by_own + added, by_rest - rest_added
        with np.errstate(divide="ignore"):
            estimates = np.log(means) - np.log(rest_means)
        # A row that counts on both sides: the parts of the variance are those of the whole in their proportion.
        part = np.nan_to_num(_divide(own, own + other))
        pull = by_own * _divide(own_pull, group_weights) - by_rest * _divide(rest_pull, rest_weights)
        self.gaps = _with_degrees(
            estimates,
            total * part,
            total * (1.0 - part),
            _divide(group_weights**2, squares),
            _divide(rest_weights**2, rest_squares),
            (cubes, _ZERO if shares else fourths),
            -0.5 * _divide(by_own + by_rest, np.sqrt(total)) - _divide(pull, total**1.5),
            means * unit,
            rest_means * unit,
        )

    def _sums(self):
        """Sums over the rows of products of what they contribute to both means, (9, K).

        A row without a share in a group contributes ``-w (u - m_rest)`` over the scale of the rest: these are summed
        from moments of all rows, and what the shares change of them is added share by share.
        """
        values, weights, memberships = self._rows
        (means, rest_means), (scale, rest_scale) = self._means, self._scale
        n_groups = len(means)
        centre = np.average(values, weights=weights)
        moments, shifts = _moments(weights, values - centre, np.sum), centre - rest_means

        def about_rest(power, times):
            sums = moments[power][power - times :]
            about = sum(math.comb(times, j) * shifts**j * sums[j] for j in range(times + 1))
            return about / rest_scale**times

        found = np.zeros((9, n_groups))
        second = about_rest(2, 2)
        for k, sums in ((1, second), (2, second), (3, -about_rest(3, 3)), (4, about_rest(4, 4)), (6, -second)):
            found[k] = sums
        found[8] = -about_rest(2, 1)
        for rows in _blocks(len(values), max(1, memberships.nnz // len(values))):
            block = memberships[rows]
            codes, shares = block.indices, block.data
            of_entries = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
            price, weight = values[rows][of_entries], weights[rows][of_entries]
            without = weight * (price - rest_means[codes]) / rest_scale[codes]
            member = weight * shares
            own = member * (price - means[codes]) / scale[codes]
            rest = (1.0 - shares) * without
            influence = own - rest
            squared, squared_without = influence**2, without**2
            for k, entries in enumerate(
                (
                    own**2,
                    rest**2 - squared_without,
                    squared - squared_without,
                    squared * influence + squared_without * without,
                    squared**2 - squared_without**2,
                    influence * own,
                    influence * rest + squared_without,
                    influence * member,
                    influence * (weight - member) + without * weight,
                )
            ):
                found[k] += np.bincount(codes, entries, n_groups)
        return found

    def _weights_of(self, rows):
        """Weights of some rows in each group and outside of it, (m, K) each."""
        _, weights, memberships = (part[rows] for part in self._rows)
        member = memberships.toarray() * weights[:, None]
        return member, weights[:, None] - member

    def _parts(self, rows, member, rest):
        """Contributions of some rows to the logarithms of both means."""
        values = self._rows[0][rows, None]
        return member * (values - self._means[0]) / self._scale[0], rest * (values - self._means[1]) / self._scale[1]

    def influence(self, rows):
        """Contributions of some rows (a slice) to the estimates, (m, K)."""
        parts = self._parts(rows, *self._weights_of(rows))
        return parts[0] - parts[1]


def factor_design(frame, exposure):
    """Columns of a regression: a 0/1 column for each level of each factor but one, and numbers beside their bins.

    Parameters
    ----------
    frame : DataFrame (of narwhals), (n, p)
        Factors; numbers with more than 20 distinct values are cut into ten quantile groups, and enter as a straight
        line as well. Missing values are a level.
    exposure : (n,) array
        Positive weights of the quantiles.

    Returns
    -------
    sparse array, (n, q)
        With a column of ones first.
    """
    n = frame.shape[0]
    columns = [sp.csr_array(np.ones((n, 1)))]
    for name in frame.columns:
        column = frame.get_column(name)
        factor = read_factor(column, "legitimate_features", DEFAULT_FACTOR_BINS, exposure)
        if len(factor.levels) > 1:
            one_hot = sp.csr_array((np.ones(n), (np.arange(n), factor.codes)), shape=(n, len(factor.levels)))
            columns.append(one_hot[:, 1:])
        if column.dtype.is_numeric():
            columns.append(sp.csr_array(_line(column)[:, None]))
    return sp.csr_array(sp.hstack(columns))


def _line(column):
    """A column of numbers with mean 0 and standard deviation 1, missing values at the mean."""
    missing = missing_rows(column)
    values = np.zeros(len(missing))
    known = column.to_numpy()[~missing].astype(np.float64)
    if len(known) and known.std() > 0:
        values[~missing] = (known - known.mean()) / known.std()
    return values


class FactorRegression:
    """Weighted regression of log-prices on the factors, without any group: what all groups have in common.

    Parameters
    ----------
    prices, weights : (n,) float64 arrays
        Positive.
    design : sparse array, (n, q)
        Of :func:`factor_design`.

    Attributes
    ----------
    inverse : (q, q) array
        Pseudoinverse of ``X'WX``.
    rank : int
        Its rank.
    residuals : (n,) array
        Of the regression.
    """

    def __init__(self, prices, weights, design):
        logs = np.log(prices)
        logs = logs - logs.mean()
        self.weights, self.design = weights, design
        products = np.zeros((design.shape[1],) * 2)
        # Dense blocks: many times as fast as the product of sparse arrays.
        for rows in _blocks(*design.shape):
            block = design[rows].toarray()
            products += block.T @ (block * weights[rows, None])
        self.inverse, self.rank = scipy.linalg.pinvh(products, rtol=_RANK, return_rank=True)
        self.residuals = logs - design @ (self.inverse @ (design.T @ (weights * logs)))


class RegressionGaps:
    """Coefficients of each group's shares in weighted regressions of log-prices on them and the factors.

    One regression for each group. With ``g`` the share (0 or 1 where the group is observed) less what the factors
    predict of it and e the residual of the regression, the influence of a row is ``w g e / sum(w g^2)``: the sandwich
    estimator of White (1980).

    Parameters
    ----------
    regression : FactorRegression
        On the factors alone.
    memberships : (n, K) sparse array
        Shares of the rows in the groups, of sum 1 in each row.
    """

    def __init__(self, regression, memberships):
        weights, design = regression.weights, regression.design
        n, n_groups = memberships.shape
        products = (sp.csr_array(memberships.multiply(weights[:, None])).T @ design).toarray().T
        self._prediction = regression.inverse @ products
        self._residuals = regression.residuals
        self._rows = weights, memberships, design
        squared_shares = memberships**2
        group_weights, squares = memberships.T @ weights, squared_shares.T @ weights**2
        rest_weights = group_weights.sum() - group_weights
        # (1 - p)^2 = 1 - 2 p + p^2
        rest_squares = np.sum(weights**2) - 2 * (memberships.T @ weights**2) + squares
        scale = squared_shares.T @ weights - np.sum(products * self._prediction, axis=0)
        scale[scale <= _DETERMINED * np.minimum(group_weights, rest_weights)] = np.nan
        # The residuals have no weighted product with the factors: what the factors predict of the group adds nothing.
        estimates = memberships.T @ (weights * self._residuals) / scale
        self._scale, self._estimates = scale, estimates
        own, total, cubes, fourths, pull = (np.zeros(n_groups) for _ in range(5))
        for rows in _blocks(n, n_groups):
            indicators = self._indicators(rows)
            weighted = weights[rows, None] * indicators
            # Before it is divided by the scale.
            influence = weighted * self._residuals_of(rows, indicators)
            squared = influence**2
            total += np.ones(len(squared)) @ squared
            own += memberships[rows].multiply(squared).sum(axis=0)
            cubes += np.einsum("ij,ij->j", squared, influence)
            fourths += np.einsum("ij,ij->j", squared, squared)
            pull += np.einsum("ij,ij->j", influence, np.multiply(weighted, indicators, out=weighted))
        own, total, pull = (found / scale**2 for found in (own, total, pull))
        cubes, fourths = cubes / scale**3, fourths / scale**4
        correction = n / max(n - regression.rank - 1, 1)
        self.gaps = _with_degrees(
            estimates,
            own * correction,
            np.maximum(total - own, 0.0) * correction,
            _divide(group_weights**2, squares),
            _divide(rest_weights**2, rest_squares),
            (cubes, fourths),
            # The residuals are about the estimate and not about the true coefficient.
            -_divide(pull, np.sqrt(total)),
        )

    def _indicators(self, rows):
        """Shares of the groups less what the factors predict of them, for some rows, (m, K)."""
        _, memberships, design = (part[rows] for part in self._rows)
        return memberships.toarray() - design @ self._prediction

    def _residuals_of(self, rows, indicators):
        """Residuals of some rows in the regression of each group, (m, K)."""
        return self._residuals[rows, None] - self._estimates * indicators

    def influence(self, rows):
        """Contributions of some rows (a slice) to the estimates, (m, K); NaN for groups that the factors determine."""
        indicators = self._indicators(rows)
        return self._rows[0][rows, None] * indicators * self._residuals_of(rows, indicators) / self._scale


def correlations(parts, kept, n):
    """Correlations of the estimates of several sets of gaps, from their influence.

    Parameters
    ----------
    parts : list
        Gaps of the same rows, with their ``influence``.
    kept : (K,) bool array
        Which of all their gaps.
    n : int
        Rows.

    Returns
    -------
    (k, k) float64 array
    """
    products = np.zeros((int(kept.sum()),) * 2)
    for rows in _blocks(n, len(kept)):
        block = np.hstack([part.influence(rows) for part in parts])[:, kept]
        products += block.T @ block
    scale = np.sqrt(np.diag(products))
    scale[scale == 0] = 1.0
    return products / np.outer(scale, scale)
