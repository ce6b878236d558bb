"""How far a price is from those that do without proxies of the protected attributes, and which features carry it."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import nnls
from sklearn.utils import check_random_state

from fairdcov._checks import (
    RandomState,
    Table,
    check_consistent_rows,
    check_finite_matrix,
    check_finite_vector,
    check_sample_weight,
    check_whole_number,
    is_constant,
)
from fairdcov.encoding import missing_rows, read_frame

__all__ = ["AdmissiblePrice", "admissible_price", "proxy_discrimination", "proxy_discrimination_by_feature"]

# All subsets of so many features are fitted; of more features, orders are drawn.
_ALL_SUBSETS = 7
# Categories beyond so many are no levels to the trees.
_MOST_CATEGORIES = 63


class AdmissiblePrice(NamedTuple):
    """The price without proxy discrimination that is nearest to another.

    Attributes
    ----------
    price : (n,) array
        ``constant + best_estimates @ shares``.
    constant : float
        The same for all rows.
    shares : (K,) array
        Weights of the best estimates, none negative and of sum at most 1.
    proxy_discrimination : float
        Mean squared distance over the variance of the other price.
    """

    price: np.ndarray
    constant: float
    shares: np.ndarray
    proxy_discrimination: float


def _read_prices(y_pred, best_estimates, sample_weight):
    """Price (n,), best estimates (n, K) and weights of sum 1, zero for rows that are absent."""
    price = check_finite_vector(y_pred, "y_pred")
    if len(price) == 0:
        raise ValueError("y_pred must have at least one row; found 0")
    if np.ndim(best_estimates) != 2:
        raise ValueError(
            "best_estimates must have shape (n, K), a column for each level of the protected attributes; found shape "
            f"{np.shape(best_estimates)}"
        )
    estimates = check_finite_matrix(best_estimates, "best_estimates")
    check_consistent_rows(len(price), estimates, "best_estimates", reference="y_pred")
    if estimates.shape[1] == 0:
        raise ValueError("best_estimates must have at least one column; found none")
    weights = check_sample_weight(sample_weight, len(price), reference="y_pred")
    return price, estimates, weights / weights.sum()


def admissible_price(
    y_pred: ArrayLike, best_estimates: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> AdmissiblePrice:
    """Price without proxy discrimination that is nearest to a price, see :func:`proxy_discrimination`.

    Parameters
    ----------
    y_pred : (n,) array
        Price.
    best_estimates : (n, K) array
        Best estimates of each row for each level of the protected attributes.
    sample_weight : (n,) array, optional
        Row weights such as exposure.

    Returns
    -------
    AdmissiblePrice
        ``y_pred - price`` is how much each policy pays for what its features say about its attributes.

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov.metrics import admissible_price
    >>> estimates = np.array([[1.0, 2.0], [2.0, 3.0], [4.0, 4.0]])
    >>> nearest = admissible_price(estimates @ [0.3, 0.7], estimates)
    >>> nearest.shares.round(6).tolist(), round(nearest.proxy_discrimination, 6)
    ([0.3, 0.7], 0.0)
    """
    price, estimates, weights = _read_prices(y_pred, best_estimates, sample_weight)
    mean, means = weights @ price, weights @ estimates
    counted = weights > 0
    shares = np.zeros(estimates.shape[1])
    if is_constant(price[counted]):
        return AdmissiblePrice(np.full(len(price), mean), float(mean), shares, 0.0)
    # With the constant that is best for given shares v, the residual is sum_s v_s (mu_s - pi) + v_0 (0 - pi), centred,
    # where v_0 is what v lacks to 1: the point of a simplex that is nearest to 0.
    root = np.sqrt(weights[counted])[:, None]
    centred = (price - mean)[counted, None]
    scale = np.sqrt(weights[counted] @ centred[:, 0] ** 2)
    corners = np.column_stack([(estimates - means)[counted] - centred, -centred]) * (root / scale)
    # Without loss a triangle of K + 1 rows. Of t v with v in the simplex the sum of squares |t P v|^2 + (t - 1)^2 is
    # |P v|^2 / (1 + |P v|^2) at the best t >= 0, so that non-negative least squares finds v.
    triangle: Any = np.linalg.qr(corners, mode="r")
    system = np.vstack([triangle, np.ones(triangle.shape[1])])
    found, _ = nnls(system, np.append(np.zeros(len(triangle)), 1.0), maxiter=100 * system.shape[1])
    found /= found.sum()
    shares = found[:-1]
    constant = float(mean - means @ shares)
    value = float(np.sum((triangle @ found) ** 2))
    return AdmissiblePrice(constant + estimates @ shares, constant, shares, min(1.0, value))


def proxy_discrimination(
    y_pred: ArrayLike, best_estimates: ArrayLike, *, sample_weight: ArrayLike | None = None
) -> float:
    """Proxy discrimination of a price: its squared distance from the nearest admissible price, over its variance.

    ``min over c and v >= 0 with sum(v) <= 1 of E[(pi - c - sum_s mu(X, s) v_s)^2] / Var(pi)``, where the best estimates
    ``mu(x, s)`` are what a policy x costs if it has the attributes s. Prices within the set average the best estimates
    with weights that do not depend on x: they do not infer attributes from features. The discrimination-free price is
    one of them. A price that is best without S, ``sum_s mu(x, s) P(s | x)``, is none where x says something about s.

    Parameters
    ----------
    y_pred : (n,) array
        Price.
    best_estimates : (n, K) array
        Best estimates of each row for each level of the protected attributes, such as
        :meth:`fairdcov.DiscriminationFreeRegressor.best_estimates` or predictions of a model that has S among its
        features, with S set to each of its levels in turn.
    sample_weight : (n,) array, optional
        Row weights such as exposure. Rows of weight 0 are absent.

    Returns
    -------
    float
        In [0, 1]; 0 if and only if the price is admissible, a constant price included, and 1 where the price has
        nothing in common with the best estimates. Adding to a price changes nothing; loading it by a factor can, as the
        weights have a sum of at most 1.

    Raises
    ------
    ValueError
        For NaN and infinite values, and shapes that do not fit.

    See Also
    --------
    admissible_price : The nearest admissible price, row by row.
    proxy_discrimination_by_feature : The features that carry it.
    unfairness_ratio : Differences between groups, which is another matter: either can be 0 without the other.

    Notes
    -----
    A convex quadratic problem in K + 1 shares, solved exactly by non-negative least squares on a triangle of K + 1
    rows: O(n K^2) time. It is as good as the best estimates are: what these have not learned counts as proxy
    discrimination, and noise in them too.

    References
    ----------
    M. Lindholm, R. Richman, A. Tsanakas, M. V. Wüthrich (2026), Sensitivity-based measures of discrimination in
    insurance pricing, European Journal of Operational Research 333(2).

    Examples
    --------
    A feature that says which group one is in, and a price that uses it for that:

    >>> import numpy as np
    >>> from fairdcov.metrics import proxy_discrimination
    >>> age = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])
    >>> proxy = np.array([0, 0, 0, 1, 1, 1])
    >>> estimates = np.column_stack([age, age + 2.0])
    >>> round(proxy_discrimination(age + 2.0 * proxy, estimates), 6)
    0.6
    >>> round(proxy_discrimination(age + 1.0, estimates), 6)
    0.0
    """
    return admissible_price(y_pred, best_estimates, sample_weight=sample_weight).proxy_discrimination


# --- attribution ---------------------------------------------------------------------------------------------------


def _tree_features(X, n_samples):
    """Columns of X as numbers (n, q) with NaN for missing values, their names, and which are categories."""
    frame = read_frame(X, "X")
    check_consistent_rows(n_samples, frame, "X", reference="y_pred")
    table, categorical = np.empty((n_samples, frame.shape[1])), []
    for position, column in enumerate(frame.iter_columns()):
        if column.dtype.is_numeric() or column.dtype.is_float():
            values = np.array(column.to_numpy(), dtype=np.float64)
            values[missing_rows(column)] = np.nan
            categorical.append(False)
        else:
            codes, levels = pd.factorize(np.array([str(value) for value in column.to_list()], dtype=object))
            # Rare levels of very many are one.
            order = np.argsort(np.argsort(-np.bincount(codes, minlength=len(levels)), kind="stable"))
            values = np.minimum(order[codes], _MOST_CATEGORIES - 1).astype(np.float64)
            categorical.append(True)
        table[:, position] = values
    return table, list(frame.columns), np.array(categorical)


class _Explained:
    """Variance of a residual that subsets of features explain, by trees that predict the rows they have not seen."""

    def __init__(self, table, categorical, residual, weights, seed):
        self._table, self._categorical, self._residual, self._weights = table, categorical, residual, weights
        self._seed = seed
        self._halves = np.random.default_rng(seed).permutation(len(residual)) % 2
        self._total = self._spread(residual)
        self._known = {(): 0.0, tuple(range(table.shape[1])): self._total}

    def _spread(self, values):
        mean = np.average(values, weights=self._weights)
        return float(np.average((values - mean) ** 2, weights=self._weights))

    def __call__(self, features):
        features = tuple(sorted(features))
        if features not in self._known:
            left = self._residual - self._predicted(list(features))
            unexplained = float(np.average(left**2, weights=self._weights))
            self._known[features] = min(max(0.0, self._total - unexplained), self._total)
        return self._known[features]

    def _predicted(self, features):
        from sklearn.ensemble import HistGradientBoostingRegressor

        found = np.empty(len(self._residual))
        for half in (0, 1):
            fitted, asked = self._halves != half, self._halves == half
            trees = HistGradientBoostingRegressor(
                max_iter=20,
                learning_rate=0.25,
                max_leaf_nodes=15,
                max_bins=63,
                early_stopping=False,
                categorical_features=self._categorical[features],
                random_state=self._seed,
            )
            trees.fit(self._table[fitted][:, features], self._residual[fitted], self._weights[fitted])
            found[asked] = trees.predict(self._table[asked][:, features])
        return found


def proxy_discrimination_by_feature(
    y_pred: ArrayLike,
    best_estimates: ArrayLike,
    X: Table,
    *,
    sample_weight: ArrayLike | None = None,
    n_orders: int = 20,
    max_rows: int = 10_000,
    random_state: RandomState = 0,
) -> pd.DataFrame:
    """Which features carry the proxy discrimination of a price.

    The distance ``L = pi - c - sum_s mu(X, s) v_s`` from the nearest admissible price is a function of the features.
    Its variance is attributed to them by their Shapley effects: what a feature adds to the explained variance
    ``Var(E[L | X_A])``, on average over all orders in which features can be added.

    Parameters
    ----------
    y_pred : (n,) array
        Price.
    best_estimates : (n, K) array
        Best estimates of each row for each level of the protected attributes.
    X : DataFrame or array, (n, q)
        Features of the price. Leave out what it does not depend on.
    sample_weight : (n,) array, optional
        Row weights such as exposure.
    n_orders : int, default=20
        Orders that are drawn where there are more than 7 features; of fewer features all subsets are fitted.
    max_rows : int, default=10000
        The explained variances are estimated on so many rows, drawn at random.
    random_state : int, RandomState or None, default=0
        Seed.

    Returns
    -------
    pandas.DataFrame
        Indexed by feature: ``effect``, its part of :func:`proxy_discrimination`, which is their sum; ``share``, in
        that; and ``alone``, what it explains by itself, over the variance of the price. The largest effect first.

    Notes
    -----
    Conditional expectations are those of boosted trees, fitted on one half of the rows and asked on the other, so that
    chance explains nothing; all features together explain all. This estimator is the package's own. For q features that
    is up to ``2^q``, or ``q n_orders``, fits of twenty small trees. Of features that say the same each gets a part. A
    feature can carry some of the distance without being a proxy: the nearest admissible price makes up for a proxy as
    far as it can, at the expense of other features.

    References
    ----------
    M. Lindholm, R. Richman, A. Tsanakas, M. V. Wüthrich (2026), Sensitivity-based measures of discrimination in
    insurance pricing, European Journal of Operational Research 333(2).
    A. B. Owen (2014), Sobol' indices and Shapley value, SIAM/ASA Journal on Uncertainty Quantification 2(1).

    Examples
    --------
    >>> import numpy as np
    >>> from fairdcov.metrics import proxy_discrimination_by_feature
    >>> rng = np.random.default_rng(0)
    >>> age, postcode = rng.uniform(0, 1, 2_000), rng.integers(4, size=2_000).astype(float)
    >>> estimates = np.column_stack([age, age + 1.0])
    >>> table = proxy_discrimination_by_feature(
    ...     age + (postcode == 2), estimates, {"age": age, "postcode": postcode}
    ... )
    >>> table["share"].round(1).to_dict()
    {'postcode': 1.0, 'age': 0.0}
    """
    check_whole_number(n_orders, "n_orders")
    check_whole_number(max_rows, "max_rows", 50)
    price, _, weights = _read_prices(y_pred, best_estimates, sample_weight)
    nearest = admissible_price(y_pred, best_estimates, sample_weight=sample_weight)
    table, names, categorical = _tree_features(X, len(price))
    generator = check_random_state(random_state)
    rows = np.flatnonzero(weights > 0)
    if len(rows) > max_rows:
        rows = np.sort(generator.permutation(rows)[:max_rows])
    q = len(names)
    effects, alone = np.zeros(q), np.zeros(q)
    # What rounding has left of an admissible price is nobody's.
    if nearest.proxy_discrimination > 1e-12:
        seed = int(generator.randint(np.iinfo(np.int32).max))
        residual = (price - nearest.price)[rows]
        explained = _Explained(table[rows], categorical, residual, weights[rows], seed)
        orders = _orders(q, n_orders, generator)
        for order in orders:
            before = 0.0
            for position, feature in enumerate(order):
                after = explained(order[: position + 1])
                effects[feature] += (after - before) / len(orders)
                before = after
        everything = explained(range(q))
        alone = np.array([explained([feature]) for feature in range(q)])
        effects, alone = (part * (nearest.proxy_discrimination / everything) for part in (effects, alone))
    total = effects.sum()
    found = pd.DataFrame(
        {"effect": effects, "share": effects / total if total > 0 else np.nan, "alone": alone},
        index=pd.Index(names, name="feature"),
    )
    return found.sort_values("effect", ascending=False, kind="stable")


def _orders(q, n_orders, generator):
    """All orders of few features, or some of many: pairs of an order and its reverse."""
    if q <= _ALL_SUBSETS:
        return list(itertools.permutations(range(q)))
    drawn = [generator.permutation(q).tolist() for _ in range((n_orders + 1) // 2)]
    return [order for first in drawn for order in (first, first[::-1])][:n_orders]
