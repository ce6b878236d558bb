"""
Differences that mileage explains are free: conditional parity
==============================================================

A made-up motor book in which women drive less. Mileage is a legitimate rating factor here, and claims rise with it, so
that a price that is independent of gender has to give up much of what mileage tells. *Conditional* parity asks for
less: equal prices for women and men *of the same mileage*. What is left to remove is what the other features, proxies
of gender, tell about it.

Both penalties are fitted at the same strengths, and both measures are taken of both on policies held back.
"""

# %%
import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from fairdcov import CCDCovPenalty, DCovPoissonRegressor
from fairdcov.metrics import ccdcov, mean_deviance

parser = argparse.ArgumentParser(description="Conditional and unconditional parity at the same strengths.")
parser.add_argument("--output", metavar="FOLDER", help="write the picture there")
parser.add_argument("--policies", type=int, default=100_000, metavar="N", help="size of the book (%(default)s)")
# An editor or a documentation builder passes arguments of its own.
options, _ = parser.parse_known_args()

# %%
# The book
# --------
#
# Gender shows in the mileage, which is legitimate, and in a score and the type of the vehicle, which are proxies of it.
# Claims depend on all three, and on the power of the vehicle, which has nothing to do with gender.

rng = np.random.default_rng(0)
n = options.policies
female = rng.random(n) < 0.5
gender = pd.Series(np.where(female, "female", "male"), name="gender")
mileage = pd.Series(np.where(female, 9, 14) * rng.gamma(4.0, 0.25, n), name="mileage")
score = rng.normal(size=n) - 0.8 * female
city_car = rng.random(n) < np.where(female, 0.6, 0.3)
power = rng.normal(size=n)
X = pd.DataFrame({"mileage": np.log(mileage), "score": score, "city car": city_car * 1.0, "power": power})
exposure = rng.uniform(0.3, 1.0, n)
rate = 0.05 * np.exp(0.6 * X["mileage"] + 0.25 * score - 0.2 * city_car + 0.3 * power).to_numpy()
frequency = rng.poisson(exposure * rate) / exposure
held = np.arange(n) % 2 == 1

# %%
# Two paths over the same strengths
# ---------------------------------

STRENGTHS = [0, 0.03, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2]
PENALTY = CCDCovPenalty(control_bins=20)
data = {"sample_weight": exposure[~held], "sensitive_features": gender[~held]}
model = DCovPoissonRegressor(PENALTY, alpha=1e-4)
paths = {
    "unconditional": model.strength_path(X[~held], frequency[~held], STRENGTHS, **data),
    "conditional": model.strength_path(X[~held], frequency[~held], STRENGTHS, control_features=mileage[~held], **data),
}


def measure(model):
    """Deviance and both dependences of a model on the policies held back."""
    prediction = model.predict(X[held])
    given = {"sensitive_features": gender[held], "sample_weight": exposure[held], "normalize": True}
    return {
        "strength": model.strength,
        "deviance": mean_deviance(frequency[held], prediction, sample_weight=exposure[held]),
        "dependence": ccdcov(None, prediction, **given),
        "given mileage": ccdcov(None, prediction, control_features=mileage[held], control_bins=20, **given),
    }


tables = {name: pd.DataFrame([measure(model) for model in path]) for name, path in paths.items()}
for name, table in tables.items():
    print(f"{name} penalty")
    print(table.to_string(index=False, float_format="{:.5f}".format))

# %%
# What each costs
# ---------------
#
# At equal dependence given mileage, read off the paths by interpolation.

levels = np.array([0.5, 0.25, 0.1]) * tables["conditional"]["given mileage"].iloc[0]
costs = {}
for name, table in tables.items():
    ordered = table.sort_values("given mileage")
    costs[name] = np.interp(levels, ordered["given mileage"], ordered["deviance"])
print("\ndeviance at equal dependence given mileage")
for position, level in enumerate(levels):
    found = ", ".join(f"{name} {values[position]:.5f}" for name, values in costs.items())
    print(f"  {level:.5f}: {found}")

# %%
# The picture
# -----------

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for (name, table), marker in zip(tables.items(), ("s", "o"), strict=True):
    own = "given mileage" if name == "conditional" else "dependence"
    falls = table[own] / table[own].iloc[0]
    label = "ψ given mileage, conditional fit" if name == "conditional" else "ψ, unconditional fit"
    left.plot(table["strength"], falls, marker=marker, label=label)
    right.plot(table["given mileage"], table["deviance"], marker=marker, label=f"{name} fit")
left.set(xlabel="strength", ylabel="dependence / that without penalty", ylim=(0, None))
left.set_title("What each penalty removes", loc="left")
right.set(xlabel="dependence on gender given mileage", ylabel="Poisson deviance")
right.set_title("What it costs (policies held back)", loc="left")
for axes in (left, right):
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
if options.output:
    Path(options.output).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(options.output) / "conditional_parity.png", dpi=120)
else:
    plt.show()
