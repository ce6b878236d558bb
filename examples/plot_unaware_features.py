"""
The best price that does not see gender, and how far a model is from it
=======================================================================

A made-up motor book in which the features tell gender apart in part, by an interaction. A penalised GLM gets the
features as they are, or with the best estimate and the probability of the gender beside them, out of fold. References
are the best that parity allows among all functions of estimate and probability: without gender, and with it.

The probabilities are inferred information on a protected attribute: whether a tariff may use them may need legal
review.
"""

# %%
import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from fairdcov import DCovPoissonRegressor, FairBarycentreRegressor, UnawareFairRegressor, frontier_gap
from fairdcov.metrics import js_divergence, mean_deviance

parser = argparse.ArgumentParser(description="Penalised GLMs with and without features of estimates and posteriors.")
parser.add_argument("--output", metavar="FOLDER", help="write the picture there")
parser.add_argument("--policies", type=int, default=20_000, metavar="N", help="size of the book (%(default)s)")
# An editor or a documentation builder passes arguments of its own.
options, _ = parser.parse_known_args()

# %%
# The book
# --------
#
# Men have powerful cars *and* drive far at the same time; each of the two alone tells little of gender.

rng = np.random.default_rng(0)
n = options.policies
man = rng.random(n) < 0.5
gender = pd.Series(np.where(man, "male", "female"), name="gender")
sign = rng.choice([-1.0, 1.0], n)
X = pd.DataFrame(
    {
        "power": rng.normal(0.8 * sign),
        "mileage": rng.normal(0.8 * sign * np.where(man, 1, -1)),
        "age": rng.normal(size=n),
    }
)
exposure = rng.uniform(0.3, 1.0, n)
rate = 0.3 * np.exp(0.4 * X["power"] * X["mileage"].clip(-2, 2) - 0.4 * X["age"] + 0.2 * X["power"]).to_numpy()
frequency = rng.poisson(exposure * rate) / exposure
train = np.arange(n) % 2 == 0
test = ~train

# %%
# Paths of strengths
# ------------------

STRENGTHS = [0, 0.3, 1, 3, 10, 100]
data = {"sample_weight": exposure[train], "sensitive_features": gender[train]}
trees = HistGradientBoostingRegressor(loss="poisson", max_iter=60, max_leaf_nodes=8, random_state=0)
teller = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, random_state=0)
glm = DCovPoissonRegressor(alpha=1e-4)
fair = FairBarycentreRegressor(trees, teller)
models = {
    "GLM": glm,
    "GLM with the features": UnawareFairRegressor(glm, trees, teller),
    "best without gender": fair,
    "best with gender": FairBarycentreRegressor(trees, aware=True),
}
predictions = {}
for name, model in models.items():
    seen = {"sensitive_features": gender[test]} if name == "best with gender" else {}
    path = model.strength_path(X[train], frequency[train], [float(s) for s in STRENGTHS], **data)
    predictions[name] = {s: fitted.predict(X[test], **seen) for s, fitted in zip(STRENGTHS, path, strict=True)}

# %%
# How far from the best
# ---------------------
#
# Deviance is compared at the divergence that a model has, by interpolation along the references' paths.

measured = {"sensitive_features": gender[test], "sample_weight": exposure[test]}
references = {"unaware": predictions["best without gender"], "aware": predictions["best with gender"]}
for name in ("GLM", "GLM with the features"):
    gap = frontier_gap(frequency[test], predictions[name][3], **measured, **references)
    print(f"{name}, strength 3: {gap}")

# %%
# The picture
# -----------

figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
for name, path in predictions.items():
    divergence = [js_divergence(None, prediction, net=True, **measured) for prediction in path.values()]
    deviance = [
        mean_deviance(frequency[test], prediction, sample_weight=exposure[test]) for prediction in path.values()
    ]
    ax.plot(divergence, deviance, marker="o", linestyle="--" if name.startswith("best") else "-", label=name)
ax.set(xlabel="Jensen-Shannon divergence between women and men, net (bits)", ylabel="Poisson deviance, rows held back")
ax.legend()
if options.output:
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "unaware_features.png", dpi=110)
