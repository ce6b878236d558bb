"""
Race imputed, true race known
=============================

Insurers rarely know race; where they have to test for it they impute it from surname and address. On this synthetic
book the truth is known, so that one can see what imputed probabilities show: differences between groups by thresholds
and by weights, beside the true ones, and how much dependence on the *true* attribute a model loses that was trained on
the probabilities alone.
"""

# %%
import numpy as np
import pandas as pd

from fairdcov import DCovPoissonRegressor, with_probabilities
from fairdcov.metrics import ccdcov, group_summary

LEVELS = ["a", "b", "c"]


# [book]
def make_book(n, *, hidden=0.0, random_state=0):
    """Policies with their true race, its probabilities given surname and area, features, exposure and claim frequency.

    ``hidden`` is what a feature differs by between races among people of one surname and area, in standard deviations:
    what no probability given surname and area can show.
    """
    rng = np.random.default_rng(random_state)
    # Races live in some areas more than in others, and bear some surnames more than others: Bayes' rule for both.
    of_area = rng.dirichlet([2.0, 1.0, 0.7], 300)
    of_surname = rng.dirichlet([0.8, 0.8, 0.8], 400)
    area, surname = rng.integers(0, 300, n), rng.integers(0, 400, n)
    probabilities = of_area[area] * of_surname[surname]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    race = (rng.uniform(size=(n, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    features = pd.DataFrame(
        {
            "area_density": 2.5 * of_area[area, 1] + rng.normal(0, 0.3, n),  # a proxy: it goes with where people live
            "annual_mileage": rng.normal(size=n),
            "credit_score": -0.8 * of_area[area, 1] + hidden * (race == 1) + rng.normal(size=n),
        }
    )
    exposure = rng.uniform(0.2, 1.0, n)
    score = features @ np.array([0.5, 0.3, 0.2]) - 1.8
    frequency = rng.poisson(exposure * np.exp(score)) / exposure
    columns = pd.DataFrame(probabilities, columns=[f"p_{level}" for level in LEVELS])
    return features, frequency, exposure, columns, np.array(LEVELS)[race]


# [differences]
def mean_predictions(prediction, exposure, columns, race):
    """Mean prediction of each group, by the true race, by weights and by two thresholds."""

    def by_group(groups, rows=slice(None)):
        table = group_summary(
            prediction[rows], prediction[rows], sensitive_features=groups, sample_weight=exposure[rows]
        )
        means = table["mean_predicted"].droplevel(list(range(1, table.index.nlevels)))
        return means.rename(lambda level: str(level).removeprefix("p_"))

    likeliest = np.array(LEVELS)[columns.to_numpy().argmax(axis=1)]
    sure = columns.to_numpy().max(axis=1) > 0.8
    return pd.DataFrame(
        {
            "true": by_group(race),
            "weighted": by_group(with_probabilities(columns, {"race": list(columns)})),
            "likeliest level": by_group(likeliest),
            "above 0.8 only": by_group(likeliest[sure], sure),
        }
    )


# [dependence]
def dependence(prediction, race, rows=slice(None)):
    """Dependence of predictions on the true race, scale-free, at least 0."""
    return ccdcov(None, prediction[rows], sensitive_features=race[rows], normalize=True)


def reduction_of_dependence(before, after, race, *, n_bootstrap=100, random_state=0):
    """Share of the dependence on the true race that is gone, with a 95 % interval by the bootstrap over policies."""
    rng, n = np.random.default_rng(random_state), len(race)
    drawn = (rng.integers(0, n, n) for _ in range(n_bootstrap))
    shares = [1 - dependence(after, race, rows) / dependence(before, race, rows) for rows in drawn]
    reduction = 1 - dependence(after, race) / dependence(before, race)
    # Policies that are drawn twice look like dependence: the spread of the draws is right, their level is not.
    reach = 1.96 * np.std(shares)
    return reduction, (reduction - reach, min(reduction + reach, 1.0))


def compare(hidden, *, n=40_000, strength=30.0, n_bootstrap=100):
    """Fit on half of a book without and with the penalty on the probabilities; tables of the other half."""
    features, frequency, exposure, columns, race = make_book(n, hidden=hidden)
    train, test = slice(0, n // 2), slice(n // 2, n)
    predictions = {}
    for name, used in (("unpenalised", 0.0), ("penalised", strength)):
        protected = with_probabilities(columns[train], {"race": list(columns)})
        model = DCovPoissonRegressor(strength=used, alpha=1e-6)
        model.fit(features[train], frequency[train], sample_weight=exposure[train], sensitive_features=protected)
        predictions[name] = model.predict(features[test])
    means = {
        name: mean_predictions(prediction, exposure[test], columns[test].reset_index(drop=True), race[test])
        for name, prediction in predictions.items()
    }
    return means, reduction_of_dependence(*predictions.values(), race[test], n_bootstrap=n_bootstrap)


# %%
if __name__ == "__main__":
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
    for hidden, axes in zip((0.0, 0.5), panels, strict=True):
        means, (reduction, interval) = compare(hidden)
        print(f"\na feature differs by {hidden:g} standard deviations between races of one surname and area")
        for name, table in means.items():
            # Thresholds show a difference that is not there; weights are right where nothing is hidden.
            gaps = (table.loc["b"] / table.loc["a"] - 1).map("{:+.1%}".format)
            print(f"{name}: mean predictions\n{table.to_string(float_format='%.4f')}")
            print(f"b over a: {', '.join(f'{way} {gap}' for way, gap in gaps.items())}")
        print(f"dependence on the true race: {reduction:.0%} less (95 %: {interval[0]:.0%} to {interval[1]:.0%})")
        for name, marker in (("unpenalised", "o"), ("penalised", "D")):
            gaps = 100 * (means[name].loc["b"] / means[name].loc["a"] - 1)
            axes.plot(gaps, range(len(gaps)), linestyle="", marker=marker, label=name)
        axes.axvline(0, color="0.8", zorder=0)
        axes.set_title("nothing hidden" if hidden == 0 else "a feature knows more", loc="left")
        axes.set_xlabel("mean prediction of b over a, %")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(gaps)), gaps.index)
    panels[0].set_ylim(len(gaps) - 0.5, -0.5)
    panels[1].legend(frameon=False)
    plt.show()
