"""
Gerrymandering: fair to women, fair to every region, and not to women of a region
=================================================================================

A tariff can treat every attribute alike and still price their combinations apart. Here three penalties of the same
strength are compared on such a book: one on gender and region one at a time (``"dcov"``), and two that see all
attributes together (``"jdcov"``, ``"ccdcov"``). All figures are of policies that were held back.
"""

# %%
import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from fairdcov import DCovPoissonRegressor
from fairdcov.datasets import make_motor_portfolio
from fairdcov.inference import independence_test
from fairdcov.metrics import group_summary

parser = argparse.ArgumentParser(description="A penalty that is blind to combinations beside two that are not.")
parser.add_argument("--output", metavar="FOLDER", help="write the picture there")
# An editor or a documentation builder passes arguments of its own.
options, _ = parser.parse_known_args()

book = make_motor_portfolio(40_000, random_state=0)
X, frequency = book.data.select_dtypes("number"), book.claims / book.exposure
groups = book.sensitive_features[["gender", "region"]]
train, test = slice(0, 20_000), slice(20_000, None)

# %%
# Four models
# -----------
#
# Ratios of the highest to the lowest mean prediction, by gender, by region and by both. Without a penalty the first two
# are near 1 already: nothing is wrong with women, nor with any region. The penalty on one attribute at a time therefore
# has nothing to remove, and leaves the combinations as they are.

models = {"no penalty": ("ccdcov", 0), "dcov": ("dcov", 10), "jdcov": ("jdcov", 10), "ccdcov": ("ccdcov", 10)}
rows, means = {}, {}
for name, (penalty, strength) in models.items():
    model = DCovPoissonRegressor(penalty, strength, alpha=1e-4)
    model.fit(X[train], frequency[train], sample_weight=book.exposure[train], sensitive_features=groups[train])
    predicted = model.predict(X[test])

    def mean_of(attributes, predicted=predicted):
        """Mean prediction of each group."""
        given = {"sensitive_features": groups[attributes][test], "sample_weight": book.exposure[test]}
        return group_summary(frequency[test], predicted, **given)["mean_predicted"]

    rows[name] = {
        " × ".join(attributes): mean_of(attributes).max() / mean_of(attributes).min()
        for attributes in (["gender"], ["region"], ["gender", "region"])
    }
    rows[name]["deviance explained"] = model.score(X[test], frequency[test], sample_weight=book.exposure[test])
    means[name] = mean_of(["gender", "region"])
    if name in ("no penalty", "ccdcov"):
        for measure in ("dcov", "ccdcov"):
            tested = independence_test(predicted, groups[test], measure=measure, n_permutations=199)
            print(f"{name}, tested by {measure}: effect size {tested.effect_size:.4f}, p-value {tested.p_value:.3f}")
print(pd.DataFrame(rows).T.round(3).to_string())

# %%
# The picture
# -----------
#
# A point for each of the twelve combinations, in per cent of the mean of all policies.

figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
average = frequency[test] @ book.exposure[test] / book.exposure[test].sum()
for place, (_name, mean) in enumerate(means.items()):
    for gender, colour, marker, shift in (("female", "#b2182b", "o", -0.09), ("male", "#2166ac", "s", 0.09)):
        values = 100 * mean.xs(gender, level="gender") / average
        label = {"female": "women of a region", "male": "men of a region"}[gender] if place == 0 else None
        axes.scatter(values, [place + shift] * len(values), color=colour, marker=marker, alpha=0.75, label=label)
axes.axvline(100, color="0.8", zorder=0)
axes.set_yticks(range(len(means)), ["no penalty", "dcov: one at a time", "jdcov", "ccdcov"])
axes.set_ylim(len(means) - 0.5, -0.5)
axes.set_xlabel("mean predicted claim frequency, average = 100")
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False, loc="lower right")
if options.output:
    Path(options.output).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(options.output) / "gerrymandering.png", dpi=110)
else:
    plt.show()
