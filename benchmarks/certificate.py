"""What an equivalence certificate promises, measured where the true gaps are known.

    python benchmarks/certificate.py [--rows 2000 50000] [--replications 2000] [--seed 0] [--processes 1] [--json FILE]
        [--measures relative_mean ...] [--attributes gender origin imputed] [--spread 1]

Policies are drawn from a population of finitely many cells, in each of which the price is one number: a function of
the features, as of any tariff. The exposure of a policy is random, with a distribution that depends on the cell. So the
true gaps are sums over cells. Of each sample size the script prints how often the 90 % intervals hold the true gap
(88 % to 92 % are wanted), and how often a gap is called within tolerance where the tolerance is exactly the true gap
(at most 6.5 %), beside the same with the textbook errors of weighted least squares. The attribute ``imputed`` is the
origin known as probabilities: what region, power and age say of it, and a name that tells some of it. ``--spread 1.5``
has prices further apart, with more skewed means.
"""

import argparse
import itertools
import json
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import norm
from timing import timed

from fairdcov import with_probabilities
from fairdcov.inference import equivalence_test

__all__ = ["Population", "simulate", "textbook_error"]

MEASURES = ("relative_mean", "given_factors", "tier", "distance_correlation")
ATTRIBUTES = ("gender", "origin", "imputed")
FACTORS = ["region", "power"]
THRESHOLD = 1.4
# Of the probability of an origin, the part that is known of each policy.
KNOWN = 0.3


@dataclass(frozen=True, eq=False)
class Population:
    """Cells with their probabilities, prices and exposures.

    Attributes
    ----------
    cells : DataFrame
        ``gender`` (2), ``origin`` (4 levels, the smallest of 8 %), ``region``, ``power`` and ``age``, as whole numbers.
    probability, price, full : (C,) arrays
        Of a cell, in a cell, and that a policy of the cell is in force all year (otherwise a uniform part of it).
    imputed : (C, 4) array
        Probabilities of the origins.
    """

    cells: pd.DataFrame
    probability: np.ndarray
    price: np.ndarray
    full: np.ndarray
    imputed: np.ndarray

    @classmethod
    def make(cls, spread=1.0):
        """Attributes go with age, region and exposure, and the price has interactions that no regression here has."""
        grid = itertools.product(range(2), range(4), range(3), range(6), range(12))
        cells = pd.DataFrame(list(grid), columns=["gender", "origin", "region", "power", "age"])
        gender, origin, region, power, age = (cells[name].to_numpy() for name in cells.columns)
        weight = np.array([0.50, 0.27, 0.15, 0.08])[origin] * np.array([0.55, 0.45])[gender]
        weight = weight * np.exp(-0.25 * np.abs(region - origin % 3) + 0.06 * gender * power)
        weight = weight * np.exp(-((age - 6 - 0.8 * (origin == 3)) ** 2) / 30)
        youth = np.exp(-age / 3.0)
        price = np.exp(0.15 * region + 0.05 * power + 1.2 * youth + 0.5 * youth * power / 5 * (region == 2))
        price = price * np.exp(np.array([0.0, 0.2, -0.15, 0.3])[origin] * (power > 1) + 0.2 * gender * (age > 3))
        # Prices of the smallest group are further apart: one variance of all residuals is too small for it.
        price = price * np.exp(0.9 * (origin == 3) * np.cos(age))
        full = 0.3 + 0.5 * (age > 5) - 0.15 * gender
        probability = weight / weight.sum()
        inputs = cells.groupby(["region", "power", "age"]).ngroup().to_numpy()
        of_inputs = np.zeros((inputs.max() + 1, 4))
        np.add.at(of_inputs, (inputs, origin), probability)
        of_inputs /= of_inputs.sum(axis=1, keepdims=True)
        imputed = KNOWN * np.eye(4)[origin] + (1 - KNOWN) * of_inputs[inputs]
        return cls(cells, probability, price**spread, full, imputed)

    def draw(self, n, rng):
        """Cells of n policies and their exposures, (n,) each."""
        cell = np.searchsorted(np.cumsum(self.probability), rng.uniform(size=n), side="right")
        cell = np.minimum(cell, len(self.probability) - 1)
        # Nobody is insured for less than some days.
        part = rng.uniform(0.02, 1.0, size=n)
        return cell, np.where(rng.uniform(size=n) < self.full[cell], 1.0, part)

    def mean_exposure(self):
        """Mean exposure in each cell times its probability, (C,)."""
        return self.probability * (self.full + (1 - self.full) * 0.51)

    def truth(self, attribute, level, measure):
        """Logarithm of the true ratio of a group to the rest."""
        weights = self.mean_exposure()
        if measure == "distance_correlation":
            return dcor_of_cells(self.price, self.cells[attribute].to_numpy(), weights)
        inside = self.imputed[:, level] if attribute == "imputed" else (self.cells[attribute] == level).to_numpy() * 1.0
        if measure == "given_factors":
            return weighted_least_squares(design(inside, self.cells), np.log(self.price), weights)[0][0]
        values = self.price if measure == "relative_mean" else self.price > THRESHOLD
        return math.log(
            np.average(values, weights=weights * inside) / np.average(values, weights=weights * (1 - inside))
        )


def dcor_of_cells(prices, levels, weights):
    """Distance correlation of prices with a nominal attribute, by its definition over all pairs of cells."""
    weights = weights / weights.sum()

    def centred(distances):
        means = distances @ weights
        return distances - means[:, None] - means + weights @ means

    a = centred(np.abs(prices[:, None] - prices))
    b = centred((levels[:, None] != levels).astype(np.float64))
    covariance, *variances = (weights @ product @ weights for product in (a * b, a * a, b * b))
    return math.sqrt(covariance / math.sqrt(variances[0] * variances[1]))


def design(inside, cells):
    """Columns of the regression on the indicator of a group and the factors."""
    columns = [inside, np.ones(len(cells))]
    for name in FACTORS:
        levels = cells[name].to_numpy()
        columns += [levels == level for level in range(1, levels.max() + 1)]
    return np.column_stack(columns).astype(np.float64)


def weighted_least_squares(X, y, weights):
    """Coefficients, and the inverse of X'WX."""
    inverse = np.linalg.inv(X.T @ (X * weights[:, None]))
    return inverse @ (X.T @ (weights * y)), inverse


def textbook_error(prices, inside, cells, weights):
    """Standard error of a group's coefficient that a table of weighted least squares prints."""
    X, y = design(inside, cells), np.log(prices)
    coefficients, inverse = weighted_least_squares(X, y, weights)
    residuals = y - X @ coefficients
    variance = np.sum(weights * residuals**2) / (len(y) - X.shape[1])
    return math.sqrt(variance * inverse[0, 0])


def simulate(
    n, n_replications, *, seed=0, attributes=ATTRIBUTES[:2], measures=MEASURES, spread=1.0, textbook=False, processes=1
):
    """Coverage and error of the certificate for each group.

    Returns
    -------
    list of dict
        ``coverage`` of the 90 % interval, share ``within`` where the tolerance is the size of the true gap.
        ``textbook_coverage`` and ``textbook_within`` given factors, if asked for.
    """
    population = Population.make(spread)
    draw = partial(_draws, population, n, attributes=attributes, measures=measures, textbook=textbook)
    sizes = [len(part) for part in np.array_split(np.arange(n_replications), processes)]
    seeds = np.random.SeedSequence(seed).spawn(processes)
    if processes == 1:
        parts = [draw(*sizes, *seeds)]
    else:
        with ProcessPoolExecutor(processes) as pool:
            parts = list(pool.map(draw, sizes, seeds))
    lines = []
    for key in parts[0]:
        intervals = [np.concatenate(columns) for columns in zip(*(part[key] for part in parts), strict=True)]
        lines.append(_line(n, key, population.truth(key[0], level_of(key[1]), key[2]), *intervals))
    return lines


def _draws(population, n, n_replications, seed, *, attributes, measures, textbook):
    """Intervals of each attribute, group and measure: ours, and those of a table of weighted least squares."""
    rng, found = np.random.default_rng(seed), {}
    for _ in range(n_replications):
        cell, exposure = population.draw(n, rng)
        rows, prices = population.cells.iloc[cell].reset_index(drop=True), population.price[cell]
        for attribute, measure in itertools.product(attributes, measures):
            if attribute == "imputed":
                if measure == "distance_correlation":
                    continue  # is refused for probabilities
                levels = [f"level {level}" for level in range(4)]
                people = pd.DataFrame(population.imputed[cell], columns=levels)
                people = with_probabilities(people, {"origin": levels})
            else:
                # Of four levels no number: they are nominal.
                people = rows[attribute].map("level {}".format)
            result = equivalence_test(
                prices,
                people,
                # Decisions at the true gap of each group are read off the interval.
                tolerance=0.999,
                measure=measure,
                sample_weight=exposure,
                legitimate_features=rows[FACTORS] if measure == "given_factors" else None,
                threshold=THRESHOLD if measure == "tier" else None,
                adjust=None,
            )
            for row in result.groups:
                # The second group of two has the gap of the first with the sign changed.
                if attribute == "gender" and row["group"] == "level 1":
                    continue
                ours, theirs = found.setdefault((attribute, row["group"], measure), ([], []))
                bounds = row["lower"], row["upper"]
                ours.append(bounds if measure == "distance_correlation" else tuple(map(math.log1p, bounds)))
                if textbook and measure == "given_factors" and attribute != "imputed":
                    inside = (rows[attribute] == level_of(row["group"])).to_numpy()
                    half = norm.isf(0.05) * textbook_error(prices, inside, rows, exposure)
                    middle = math.log1p(row["gap"])
                    theirs.append((middle - half, middle + half))
    return {key: tuple(np.reshape(part, (-1, 2)) for part in parts) for key, parts in found.items()}


def level_of(group):
    """Level of the attribute that a row of the result is of; None of all together."""
    return None if group == "all groups" else int(group.removeprefix("level "))


def _line(n, key, truth, ours, theirs):
    attribute, group, measure = key
    gap = truth if measure == "distance_correlation" else math.expm1(truth)
    line = {"n": n, "measure": measure, "attribute": attribute, "group": group, "gap": gap}
    for name, bounds in (("", ours), ("textbook_", theirs)):
        if len(bounds):
            lower, upper = bounds.T
            line[f"{name}coverage"] = float(np.mean((lower <= truth) & (truth <= upper)))
            line[f"{name}within"] = float(np.mean((lower >= -abs(truth)) & (upper <= abs(truth))))
    return line


def main(arguments=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", nargs="+", type=int, default=[2_000, 50_000])
    parser.add_argument("--replications", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--measures", nargs="+", choices=MEASURES, default=MEASURES)
    parser.add_argument("--attributes", nargs="+", choices=ATTRIBUTES, default=ATTRIBUTES)
    parser.add_argument("--spread", type=float, default=1.0)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    lines = []
    given = {name: getattr(options, name) for name in ("seed", "attributes", "measures", "spread", "processes")}
    for n in options.rows:
        found, elapsed = timed(lambda n=n: simulate(n, options.replications, textbook=n <= 5_000, **given))
        print(f"n = {n:,}: {options.replications:,} replications in {elapsed:.0f} s")
        lines += found
    print(pd.DataFrame(lines).to_string(index=False, float_format="{:.3f}".format))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(lines, file, indent=2)


if __name__ == "__main__":
    main()
