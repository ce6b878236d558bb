"""
LightGBM with a penalty
=======================

Boosted trees learn the loss first; *penalised rounds* then add trees on the gradient of loss plus penalty of the whole
sample. Deviance and dependence of trees and of a GLM along a path of strengths, on policies that were held back, and
what the trees take from the features before and after.
"""

# %%
import argparse
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from fairdcov import DCovLGBMRegressor, DCovPoissonRegressor
from fairdcov.datasets import make_motor_portfolio
from fairdcov.plots import FrontierDisplay

parser = argparse.ArgumentParser(description="Boosted trees with a penalty beside a GLM.")
parser.add_argument("--output", metavar="FOLDER", help="write the pictures there")
# An editor or a documentation builder passes arguments of its own.
options, _ = parser.parse_known_args()
# The strongest penalties here ask for more than the trees can give: a warning says so, and the picture shows it.
warnings.simplefilter("ignore", UserWarning)

book = make_motor_portfolio(20_000, random_state=0)
X, frequency = book.data, book.claims / book.exposure
groups = book.sensitive_features[["gender", "region"]]
train, test = slice(0, 10_000), slice(10_000, None)
fitted = {"sample_weight": book.exposure[train], "sensitive_features": groups[train]}
strengths = [0.0, 1.0, 3.0, 10.0, 30.0]

# %%
# Two paths
# ---------
#
# Categories go to LightGBM as they are; the GLM gets the numbers. The frequencies of this made-up book are those of a
# GLM, so trees have nothing to gain here and pay for their freedom; on real books it is usually the other way round.

trees = DCovLGBMRegressor(objective="poisson", n_estimators=60, n_penalised_rounds=60, num_leaves=8, verbose=0)
tree_path = list(trees.strength_path(X[train], frequency[train], strengths, **fitted))
numbers = X.select_dtypes("number")
glm = DCovPoissonRegressor(alpha=1e-4)
glm_path = list(glm.strength_path(numbers[train], frequency[train], strengths, **fitted))
predictions = {
    "LightGBM": [model.predict(X[test]) for model in tree_path],
    "GLM": [model.predict(numbers[test]) for model in glm_path],
}

display = FrontierDisplay.from_predictions(
    frequency[test],
    predictions,
    sensitive_features=groups[test],
    sample_weight=book.exposure[test],
    n_permutations=20,
)
print(display.points.assign(strength=2 * strengths)[["name", "strength", "divergence", "score"]].round(4).to_string())
if options.output:
    Path(options.output).mkdir(parents=True, exist_ok=True)
    display.figure_.savefig(Path(options.output) / "frontier.png", dpi=110)

# %%
# What the trees use
# ------------------
#
# Mean absolute SHAP values. The mileage gives the combinations of gender and region away, and is what the penalty takes
# out; other features keep what they say about the risk.

shares = {}
for strength, model in zip(strengths, tree_path, strict=True):
    if strength in (0.0, 10.0):
        values = model.shap_values(X[test])[:, :-1]  # the last column is the mean
        shares[f"strength {strength:g}"] = np.abs(values).mean(axis=0)
table = pd.DataFrame(shares, index=X.columns).sort_values("strength 0")
print(table.iloc[::-1].round(3).to_string())

figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
places = np.arange(len(table))
for name, colour, hatch, shift in (("strength 0", "0.65", "", 0.2), ("strength 10", "#0072B2", "///", -0.2)):
    axes.barh(places + shift, table[name], height=0.38, color=colour, hatch=hatch, edgecolor="white", label=name)
axes.set_yticks(places, table.index)
axes.set_xlabel("mean absolute SHAP value, on the log scale")
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False, loc="lower right")
if options.output:
    figure.savefig(Path(options.output) / "shap.png", dpi=110)
else:
    plt.show()
