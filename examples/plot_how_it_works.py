"""
How it works, in five pictures
==============================

A penalty adds up differences of predictions over pairs of policies. Which pairs count for it, and which against it, is
decided by the protected attributes alone. Everything else follows: what the penalty does to a prediction, why it sees
combinations of attributes, what a strength costs, and why the measure of a finite book is never exactly 0.
"""

# %%
import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from fairdcov import CCDCovPenalty, DCovPoissonRegressor, concatenated_distance_covariance, distance_covariance
from fairdcov.datasets import make_motor_portfolio
from fairdcov.metrics import ccdcov, null_distribution

parser = argparse.ArgumentParser(description="Five pictures of how a dependence penalty works.")
parser.add_argument("--output", metavar="FOLDER", help="write the pictures there")
# An editor or a documentation builder passes arguments of its own.
options, _ = parser.parse_known_args()
BLUE, RED, GREY = "#0072B2", "#D55E00", "0.6"


def show(figure, name):
    """Write the picture to the folder, or show it."""
    if options.output:
        Path(options.output).mkdir(parents=True, exist_ok=True)
        figure.savefig(Path(options.output) / f"{name}.png", dpi=110)
    else:
        plt.show()


# %%
# 1. A sum over pairs
# -------------------
#
# Ten policies, five of women and five of men. On the left, how far the predictions of each pair are apart. In the
# middle, the weight of the pair: the doubly centred distance of the attributes, positive for a woman and a man,
# negative for two women or two men. The measure is the sum of their products: differences between the groups, less
# differences within.

rng = np.random.default_rng(1)
woman = np.repeat([1.0, 0.0], 5)
prediction = rng.gamma(9, 1, 10) + 3 * woman


def centred(distances):
    """Less the means of rows and columns, plus the mean of all."""
    return distances - distances.mean(axis=0) - distances.mean(axis=1)[:, None] + distances.mean()


differences = np.abs(prediction[:, None] - prediction)
weights = centred(np.abs(woman[:, None] - woman)) / len(woman) ** 2
products = differences * weights
print(f"sum over pairs {products.sum():.6f}")
print(f"dCov, squared  {distance_covariance(prediction, woman, statistic='v'):.6f}")

figure, panels = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
titles = ("predictions: $|u_i - u_j|$", "attributes: $M_{ij}$", "their product, summed: the measure")
for axes, matrix, title, colours in zip(
    panels, (differences, weights, products), titles, ("Greys", "RdBu_r", "RdBu_r"), strict=True
):
    span = np.abs(matrix).max()
    drawn = axes.imshow(matrix, cmap=colours, vmin=0 if colours == "Greys" else -span, vmax=span)
    figure.colorbar(drawn, ax=axes, shrink=0.6, location="bottom")
    axes.set_xticks([2, 7], ["women", "men"])
    axes.set_yticks([2, 7], ["women", "men"], rotation=90, va="center")
    axes.tick_params(length=0)
    axes.set_title(title, fontsize="medium")
show(figure, "1_pairs")

# %%
# 2. Few profiles, one sort
# -------------------------
#
# A book of forty thousand policies has 1.6 billion pairs. But there are twelve combinations of gender and region, and
# so twelve times twelve different weights (left). With the predictions in ascending order, running sums of each
# combination give every policy's share of the measure in one sweep, and its derivative (right). Where that is
# positive a fit with the penalty pushes the prediction down, where it is negative up: women of the north, of whom
# many pay more than others, down nearly everywhere, and men of the north up.

book = make_motor_portfolio(40_000, random_state=0)
X, frequency = book.data.select_dtypes("number"), book.claims / book.exposure
groups = book.sensitive_features[["gender", "region"]]
train, test = slice(0, 20_000), slice(20_000, None)
fitted = {"sample_weight": book.exposure[train], "sensitive_features": groups[train]}
held_back = {"sample_weight": book.exposure[test], "sensitive_features": groups[test]}
unaware = DCovPoissonRegressor(strength=0, alpha=1e-4).fit(X[train], frequency[train], **fitted).predict(X[test])

bound = CCDCovPenalty(weighted=False).bind(groups[test])
value, gradient = bound.value_gradient(unaware)
names = groups[test].agg(" ".join, axis=1)
levels = sorted(names.unique())
# As the penalty does it: one column for an attribute of two levels, one for each level of an attribute of more.
gender, region = np.array([level.split() for level in levels]).T
points = np.column_stack([gender == "female", region[:, None] == np.unique(region)]).astype(float)
distances = np.sqrt(((points[:, None] - points) ** 2).sum(axis=2))
share = names.value_counts(normalize=True)[levels].to_numpy()
middle = distances - distances @ share - (distances @ share)[:, None] + share @ distances @ share

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained", width_ratios=[1, 1.25])
drawn = left.imshow(middle, cmap="RdBu_r", vmin=-1, vmax=1)
left.set_xticks([])
left.set_yticks(range(len(levels)), levels, fontsize="small")
left.tick_params(length=0)
left.set_title("weight of a pair, by their combinations", fontsize="medium")
figure.colorbar(drawn, ax=left, shrink=0.7)
order = np.argsort(unaware)
order = order[unaware[order] < np.quantile(unaware, 0.98)]
for level in levels:
    rows = order[(names.to_numpy() == level)[order]]
    shown = {"female north": (RED, "women, north"), "male north": (BLUE, "men, north")}
    colour, label = shown.get(level, (GREY, None))
    width, layer = (0.7, 1) if label is None else (2.2, 2)
    right.plot(unaware[rows], len(unaware) * gradient[rows], color=colour, linewidth=width, label=label, zorder=layer)
right.plot([], [], color=GREY, linewidth=0.7, label="the other ten combinations")
right.axhline(0, color="black", linewidth=0.8)
right.set_xlabel("predicted claims per year")
right.set_ylabel("derivative by a prediction, times policies")
right.spines[["top", "right"]].set_visible(False)
right.legend(frameon=False, fontsize="small")
show(figure, "2_profiles")

# %%
# 3. Combinations count
# ---------------------
#
# Four groups of equal size. Women in the city and men in the country pay 130, the others 70. On average women pay
# what men pay, and the city what the country does: attributes looked at one by one show nothing. The measure of all
# attributes together does.

woman, city = np.tile([0, 0, 1, 1], 250), np.tile([0, 1, 0, 1], 250)
premium = 70.0 + 60.0 * (woman == city)
one_by_one = distance_covariance(premium, woman, city, statistic="v")
together = concatenated_distance_covariance(premium, woman, city, statistic="v")
print(f"one attribute at a time {one_by_one:.4f}, jointly {together:.4f}")

figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
bars = {
    "women": premium[woman == 1].mean(),
    "men": premium[woman == 0].mean(),
    "city": premium[city == 1].mean(),
    "country": premium[city == 0].mean(),
    "women,\ncity": premium[(woman == 1) & (city == 1)].mean(),
    "men,\ncity": premium[(woman == 0) & (city == 1)].mean(),
    "women,\ncountry": premium[(woman == 1) & (city == 0)].mean(),
    "men,\ncountry": premium[(woman == 0) & (city == 0)].mean(),
}
drawn = axes.bar(bars.keys(), bars.values(), color=[GREY] * 4 + [RED, BLUE, BLUE, RED], width=0.6)
axes.bar_label(drawn, fmt="%.0f")
axes.axvline(3.5, color="0.8")
axes.set_ylim(0, 165)
axes.set_ylabel("mean premium")
axes.text(1.5, 158, f"one at a time: dCov {abs(one_by_one):.2f}", ha="center", va="top")
axes.text(5.5, 158, f"jointly: CCdCov {together:.2f}", ha="center", va="top")
axes.spines[["top", "right"]].set_visible(False)
show(figure, "3_combinations")

# %%
# 4. What a strength costs
# ------------------------
#
# A path of models, each begun where the one before ended, on policies that were held back. Dependence falls, and with
# it what the model explains: in this book the groups do differ.

strengths = [0, 0.3, 1, 2, 3, 5, 10, 30, 100]
path = list(DCovPoissonRegressor(alpha=1e-4).strength_path(X[train], frequency[train], strengths, **fitted))
rows = []
for strength, model in zip(strengths, path, strict=True):
    predicted = model.predict(X[test])
    rows.append(
        {
            "strength": strength,
            "dependence": ccdcov(None, predicted, normalize=True, **held_back),
            "explained": model.score(X[test], frequency[test], sample_weight=book.exposure[test]),
        }
    )
table = pd.DataFrame(rows)
print(table.round(4).to_string(index=False))

figure, axes = plt.subplots(figsize=(8, 3.4), layout="constrained")
for column, colour, marker in (("dependence", RED, "o"), ("explained", BLUE, "s")):
    axes.plot(range(len(table)), table[column] / table[column][0], color=colour, marker=marker, label=column)
axes.set_xticks(range(len(table)), [f"{strength:g}" for strength in strengths])
axes.set_xlabel("strength")
axes.set_ylabel("share of what it is\nwithout a penalty")
axes.set_ylim(0, 1.05)
axes.legend(["dependence on gender × region", "deviance explained"], frameon=False)
axes.spines[["top", "right"]].set_visible(False)
show(figure, "4_strength")

# %%
# 5. The level of chance
# ----------------------
#
# In a finite book nothing is exactly independent. Give every policy the attributes of another one at random, two
# hundred times, and look at the measure: that is what it is where attributes do not matter. A model is not to be
# blamed for less than that, and a strength that goes below it pays for nothing.

penalised = path[strengths.index(10)].predict(X[test])
figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
null = null_distribution(ccdcov, None, penalised, normalize=True, n_permutations=200, random_state=0, **held_back)
observed = {"no penalty": table["dependence"][0], "strength 10": null.observed}
axes.hist(null.values, bins=np.geomspace(null.values.min(), null.values.max(), 25), color="0.75")
for (name, value), colour in zip(observed.items(), (RED, BLUE), strict=True):
    axes.axvline(value, color=colour, linewidth=2)
    axes.annotate(name, (value, 0.95), (-5, 0), xycoords=("data", "axes fraction"), textcoords="offset points",
                  ha="right", va="top", color=colour)  # fmt: skip
axes.set_xscale("log")
axes.set_xlabel("CCdCov, scale-free (logarithmic)")
axes.set_ylabel("permutations")
axes.spines[["top", "right"]].set_visible(False)
print(f"by chance {null.mean:.2e}, no penalty {observed['no penalty']:.2e}, strength 10 {null.observed:.2e}")
show(figure, "5_chance")
