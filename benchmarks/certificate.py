"""What an equivalence certificate promises, measured where the true gaps are known.

    python benchmarks/certificate.py [--rows 2000 50000] [--replications 2000] [--seed 0] [--json FILE]

Policies are drawn from a population of finitely many cells, in each of which the price is one number: a function of
the features, as of any tariff. The exposure of a policy is random, with a distribution that depends on the cell. So the
true gaps are sums over cells. Of each sample size the script prints how often the 90 % intervals hold the true gap
(88 % to 92 % are wanted), and how often a gap is called within tolerance where the tolerance is exactly the true gap
(at most 6.5 %), beside the same with the textbook errors of weighted least squares.
"""

import argparse
import itertools
import json
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm
from timing import timed

from fairdcov.inference import equivalence_test

__all__ = ["Population", "simulate", "textbook_error"]

MEASURES = ("relative_mean", "given_factors", "tier", "distance_correlation")
FACTORS = ["region", "power"]
THRESHOLD = 1.4


@dataclass(frozen=True, eq=False)
class Population:
    """Cells with their probabilities, prices and exposures.

    Attributes
    ----------
    cells : DataFrame
        ``gender`` (2), ``origin`` (4 levels, the smallest of 8 %), ``region``, ``power`` and ``age``, as whole numbers.
    probability, price, full : (C,) arrays
        Of a cell, in a cell, and that a policy of the cell is in force all year (otherwise a uniform part of it).
    """

    cells: pd.DataFrame
    probability: np.ndarray
    price: np.ndarray
    full: np.ndarray

    @classmethod
    def make(cls):
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
        return cls(cells, weight / weight.sum(), price, full)

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
        inside = (self.cells[attribute] == level).to_numpy()
        if measure == "given_factors":
            return weighted_least_squares(design(inside, self.cells), np.log(self.price), weights)[0][0]
        values = self.price if measure == "relative_mean" else self.price > THRESHOLD
        return math.log(
            np.average(values[inside], weights=weights[inside]) / np.average(values[~inside], weights=weights[~inside])
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


def simulate(n, n_replications, *, seed=0, attributes=("gender", "origin"), measures=MEASURES, textbook=False):
    """Coverage and error of the certificate for each group.

    Returns
    -------
    list of dict
        ``coverage`` of the 90 % interval, share ``within`` where the tolerance is the size of the true gap, and
        ``bias`` in standard errors. ``textbook_coverage`` and ``textbook_within`` given factors, if asked for.
    """
    population, rng = Population.make(), np.random.default_rng(seed)
    cases = [(attribute, measure) for attribute in attributes for measure in measures]
    found = {}
    for _ in range(n_replications):
        cell, exposure = population.draw(n, rng)
        rows, prices = population.cells.iloc[cell].reset_index(drop=True), population.price[cell]
        for attribute, measure in cases:
            result = equivalence_test(
                prices,
                # Of four levels no number: they are nominal.
                rows[attribute].map("level {}".format),
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
                key = attribute, row["group"], measure
                entry = found.get(key)
                if entry is None:
                    truth = population.truth(attribute, level_of(row), measure)
                    entry = found[key] = {"truth": truth, "bounds": [], "textbook": []}
                bounds = row["lower"], row["upper"]
                if measure != "distance_correlation":
                    bounds = tuple(math.log1p(end) for end in bounds)
                entry["bounds"].append(bounds)
                if textbook and measure == "given_factors":
                    inside = (rows[attribute] == level_of(row)).to_numpy()
                    half = norm.isf(0.05) * textbook_error(prices, inside, rows, exposure)
                    middle = math.log1p(row["gap"])
                    entry["textbook"].append((middle - half, middle + half))
    return [_line(n, key, entry) for key, entry in found.items()]


def level_of(row):
    """Level of the attribute that a row of the result is of; None of all together."""
    return None if row["group"] == "all groups" else int(row["group"].removeprefix("level "))


def _line(n, key, entry):
    attribute, group, measure = key
    truth = entry["truth"] if measure == "distance_correlation" else math.expm1(entry["truth"])
    line = {"n": n, "measure": measure, "attribute": attribute, "group": group, "gap": truth}
    for name, bounds in (("", entry["bounds"]), ("textbook_", entry["textbook"])):
        if bounds:
            lower, upper = np.array(bounds).T
            size = abs(entry["truth"])
            line[f"{name}coverage"] = float(np.mean((lower <= entry["truth"]) & (entry["truth"] <= upper)))
            line[f"{name}within"] = float(np.mean((lower >= -size) & (upper <= size)))
    return line


def main(arguments=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", nargs="+", type=int, default=[2_000, 50_000])
    parser.add_argument("--replications", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(arguments)
    lines = []
    for n in options.rows:
        found, elapsed = timed(lambda n=n: simulate(n, options.replications, seed=options.seed, textbook=n <= 5_000))
        print(f"n = {n:,}: {options.replications:,} replications in {elapsed:.0f} s")
        lines += found
    print(pd.DataFrame(lines).to_string(index=False, float_format="{:.3f}".format))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(lines, file, indent=2)


if __name__ == "__main__":
    main()
