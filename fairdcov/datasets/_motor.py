"""A synthetic motor book in which no single protected attribute shows a bias, and their intersection does."""

from __future__ import annotations

import numbers

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from fairdcov._checks import RandomState, check_positive_number, check_whole_number

__all__ = ["make_motor_portfolio"]

# Names, shares, and mean logarithm of the population density. The first three hold half of the policies.
_REGIONS = (
    ("north", 0.20, 5.6),
    ("west", 0.16, 4.6),
    ("south", 0.14, 4.1),
    ("east", 0.22, 5.1),
    ("centre", 0.15, 3.7),
    ("coast", 0.13, 4.4),
)
_FIRST_HALF = 3
_YOUNG = 30
_BASE_FREQUENCY = 0.14
_SEVERITY_SHAPE = 2.0
# Beyond it, logarithms of factors overflow or leave nothing to chance.
_LARGEST_OPTION = 10.0


def make_motor_portfolio(
    n_policies: int = 20_000,
    *,
    intersectional_bias: float = 0.4,
    proxy_strength: float = 1.0,
    random_state: RandomState | None = None,
) -> Bunch:
    """Make a synthetic motor book with exposure, claims, proxies and a known intersectional bias.

    Gender, region and age are protected. The mean claim frequency is the same for women and men, for every region and
    for every age; yet women in three of the six regions, and men in the other three, have more claims than the others
    there, most of all under 30. The features let a model that never sees the protected attributes learn it.

    Parameters
    ----------
    n_policies : int, default=20000
        Number of policies, at least 10.
    intersectional_bias : float, default=0.4
        Logarithm of the factor between a biased group and the average (before the correction that keeps averages);
        doubled for drivers under 30. From 0, a fair book, to 10.
    proxy_strength : float, default=1.0
        How closely the features follow the protected attributes, from 0, where no feature tells anything about them,
        to 10.
    random_state : int, Generator, RandomState or None, default=None
        Seed. The same number gives the same book; a generator is advanced.

    Returns
    -------
    sklearn.utils.Bunch
        - ``data`` : DataFrame (n, 9) of rating factors, without protected attributes: ``density`` (people per km²),
          ``vehicle_type``, ``vehicle_power`` (kW), ``vehicle_value`` (euros), ``vehicle_age`` (years), ``mileage``
          (1,000 km a year), ``bonus_malus`` (percent, at least 50), ``policy_duration`` (years), ``occupation``
        - ``sensitive_features`` : DataFrame (n, 3) with ``gender``, ``region`` (categories) and ``age`` (whole years)
        - ``exposure`` : (n,) years in (0, 1]
        - ``claims`` : (n,) number of claims
        - ``cost`` : (n,) total cost of the claims, euros
        - ``target`` : (n,) claim frequency, claims / exposure; the exposure is the weight of a fit to it
        - ``true_rate`` : (n,) expected claims per year of exposure, bias included
        - ``fair_rate`` : (n,) the part of it that is independent of the protected attributes
        - ``frame`` : DataFrame of everything
        - ``feature_names`` : list of str
        - ``DESCR`` : str

    Raises
    ------
    ValueError
        For fewer than 10 policies, options out of range and a ``random_state`` that is no seed.
    TypeError
        For options that are no numbers.

    Notes
    -----
    With ``g = 1`` for women and -1 for men, ``r = 1`` in north, west and south and -1 elsewhere, and
    ``b = intersectional_bias`` (twice that under 30)::

        true_rate = fair_rate * exp(b g r) / cosh(b),
        fair_rate = 0.14 exp(0.35 m + 0.25 p - 0.2 (d - 5.2) / 4.5 - 0.01),

    where ``m`` (driving habits) and ``p`` (size of the vehicle) are standard normal and ``d`` (policy duration) is
    gamma of shape 1.3 and scale 4 years, cut at 25. They are independent of gender, region and age, and so is the fair
    rate.

    Gender is a fair coin; the regions have shares of 20, 16, 14, 22, 15 and 13 percent, so that each half of them holds
    half of the policies; age is 18 plus a gamma variable of shape 2.6 and scale 9.5, in whole years up to 90. The three
    are independent, ``g r`` is therefore 1 or -1 with probability one half given any *one* of them, and the mean of
    ``exp(b g r) / cosh(b)`` is 1 given gender, given region and given age, and also given gender and age or region and
    age. Gender and region alone leave the whole distribution of the rate unchanged; only its spread is larger under 30.

    The proxies, with ``q = proxy_strength`` and independent standard normal ``z``:

    - ``mileage = 12 exp(0.35 (m + 0.9 q g r))``, with 1.35 in place of 0.9 under 30: the intersection itself. It has
      the same distribution for women and men, and in all regions.
    - ``density = exp(4.7 + q (level of the region - 4.7) + 0.5 z)``, with levels from 3.7 (centre) to 5.6 (north).
    - ``bonus_malus = 60 + 18 (0.6 z - q (age - 42) / 15) + 6 z'``, in steps of 5, between 50 and 200.
    - ``vehicle_type`` and ``occupation`` are drawn with probabilities proportional to ``exp(q a)``, where ``a`` is 0
      but for these. City: 0.8 [woman] + 0.4 [under 30], saloon: 0.3 [30 or more], estate: 0.4 [30 or more],
      sports: 0.5 [under 30] + 0.6 [man], van: 0.3 [man]; employed: 0.3 [30 or more],
      self-employed: 0.3 [man], public service: 0.4 [woman], student: 1.5 [under 30], retired: 2 [over 62].

    Not proxies: ``vehicle_power = 90 + 25 p``, ``vehicle_value = 1000 exp(2.6 + 0.35 p + 0.4 z)`` and ``vehicle_age``,
    gamma of shape 1.6 and scale 4, which has no effect. The exposure is a full year with probability 0.6 and uniform
    between 0.05 and 1 otherwise, independent of everything. Claims are Poisson of mean ``exposure * true_rate``; single
    costs are gamma of shape 2 and mean ``1200 sqrt(vehicle_value / 14000)``.

    Examples
    --------
    >>> from fairdcov.datasets import make_motor_portfolio
    >>> book = make_motor_portfolio(50_000, random_state=0)
    >>> book.data.shape, list(book.sensitive_features)
    ((50000, 9), ['gender', 'region', 'age'])
    >>> rates = book.sensitive_features.assign(rate=book.true_rate)
    >>> by_gender = rates.groupby("gender", observed=True)["rate"].mean()
    >>> bool(abs(by_gender["female"] / by_gender["male"] - 1) < 0.02)
    True
    >>> north = rates[rates["region"] == "north"].groupby("gender", observed=True)["rate"].mean()
    >>> bool(north["female"] / north["male"] > 2)
    True
    """
    check_whole_number(n_policies, "n_policies", 10)
    bias = _check_option(intersectional_bias, "intersectional_bias")
    proxy = _check_option(proxy_strength, "proxy_strength")
    rng = _generator(random_state)
    n = int(n_policies)

    female = rng.random(n) < 0.5
    names, shares, log_densities = zip(*_REGIONS, strict=True)
    region = rng.choice(len(names), size=n, p=shares)
    age = np.clip(18 + rng.gamma(2.6, 9.5, n), 18, 90).astype(np.int64)
    sign = np.where(female, 1.0, -1.0) * np.where(region < _FIRST_HALF, 1.0, -1.0)
    young = age < _YOUNG

    habits = rng.normal(size=n)
    power = rng.normal(size=n)
    duration = rng.gamma(1.3, 4.0, n).clip(0, 25).round(1)
    fair_rate = _BASE_FREQUENCY * np.exp(0.35 * habits + 0.25 * power - 0.2 * (duration - 5.2) / 4.5 - 0.01)
    effect = bias * np.where(young, 2.0, 1.0)
    true_rate = fair_rate * np.exp(effect * sign) / np.cosh(effect)

    value = 1000 * np.exp(2.6 + 0.35 * power + 0.4 * rng.normal(size=n))
    mileage = 12.0 * np.exp(0.35 * (habits + proxy * 0.9 * sign * np.where(young, 1.5, 1.0)))
    log_density = 4.7 + proxy * (np.asarray(log_densities)[region] - 4.7) + 0.5 * rng.normal(size=n)
    experience = 0.6 * rng.normal(size=n) - proxy * (age - 42) / 15
    bonus_malus = np.clip(np.round((60 + 18 * experience + 6 * rng.normal(size=n)) / 5) * 5, 50, 200)
    data = pd.DataFrame(
        {
            "density": np.exp(log_density).round(1),
            "vehicle_type": _choose(
                rng,
                ("city", "saloon", "estate", "sports", "van"),
                np.column_stack(
                    [0.8 * female + 0.4 * young, 0.3 * ~young, 0.4 * ~young, 0.5 * young + 0.6 * ~female, 0.3 * ~female]
                ),
                proxy,
            ),
            "vehicle_power": np.round(90 + 25 * power).clip(40, 250),
            "vehicle_value": value.round(-1),
            "vehicle_age": rng.gamma(1.6, 4.0, n).clip(0, 30).round(),
            "mileage": mileage.round(2),
            "bonus_malus": bonus_malus,
            "policy_duration": duration,
            "occupation": _choose(
                rng,
                ("employed", "self-employed", "public service", "student", "retired"),
                np.column_stack([0.3 * ~young, 0.3 * ~female, 0.4 * female, 1.5 * young, 2.0 * (age > 62)]),
                proxy,
            ),
        }
    )
    exposure = np.where(rng.random(n) < 0.6, 1.0, rng.uniform(0.05, 1.0, n)).round(3)
    claims = rng.poisson(exposure * true_rate).astype(np.float64)
    mean_cost = 1_200 * np.sqrt(value / 14_000)
    cost = np.where(
        claims > 0, rng.gamma(np.maximum(claims, 1) * _SEVERITY_SHAPE, mean_cost / _SEVERITY_SHAPE), 0.0
    ).round(2)
    sensitive = pd.DataFrame(
        {
            "gender": pd.Categorical.from_codes(1 - female.astype(int), ["female", "male"]),
            "region": pd.Categorical.from_codes(region, list(names)),
            "age": age,
        }
    )
    numbers_of = {"exposure": exposure, "claims": claims, "cost": cost, "true_rate": true_rate, "fair_rate": fair_rate}
    return Bunch(
        data=data,
        sensitive_features=sensitive,
        target=claims / exposure,
        frame=pd.concat([data, sensitive], axis=1).assign(**numbers_of),
        feature_names=list(data.columns),
        DESCR=make_motor_portfolio.__doc__,
        **numbers_of,
    )


def _check_option(value, name):
    value = check_positive_number(value, name, allow_zero=True)
    if value > _LARGEST_OPTION:
        raise ValueError(f"{name} must be at most {_LARGEST_OPTION:g}; found {value!r}")
    return value


def _generator(random_state):
    """Generator from what scikit-learn's users pass as ``random_state``."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        # Older NumPy refuses to build a generator from one, so it draws the seed.
        return np.random.default_rng(random_state.randint(2**31))
    whole = isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool)
    if random_state is not None and (not whole or random_state < 0):
        raise ValueError(
            "random_state must be None, a whole number >= 0, a numpy Generator or a RandomState; "
            f"found {random_state!r}"
        )
    return np.random.default_rng(random_state)


def _choose(rng, levels, preferences, proxy):
    """Draw a level for each row with probabilities proportional to ``exp(proxy * preference)``."""
    weights = np.exp(proxy * preferences)
    cumulative = np.cumsum(weights, axis=1)
    draws = rng.random(len(weights)) * cumulative[:, -1]
    return pd.Categorical.from_codes((draws[:, None] > cumulative).sum(axis=1), list(levels))
