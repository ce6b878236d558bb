"""
Parity is not the absence of proxies
====================================

Men are the greater risk in this made-up book and have more powerful cars. A price that never sees gender charges power
for what gender explains. The discrimination-free price takes that out and still differs between the groups; the
penalised one makes the groups pay alike, by leaving power out of account. Each is what one duty asks for.
"""

# %%
import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from fairdcov import DCovPoissonRegressor, DiscriminationFreeRegressor
from fairdcov.metrics import group_summary, proxy_discrimination

parser = argparse.ArgumentParser(description="Prices without proxies, and prices that are the same for all groups.")
parser.add_argument("--output", metavar="FOLDER", help="write the picture there")
# An editor or a documentation builder passes arguments of its own.
options, _ = parser.parse_known_args()

rng = np.random.default_rng(0)
n = 40_000
gender = rng.choice(["women", "men"], n)
X = pd.DataFrame({"power": rng.normal(1.0 * (gender == "men")), "age": rng.normal(size=n)})
claims = rng.poisson(np.exp(-1 + 0.3 * X["power"] - 0.2 * X["age"] + 0.4 * (gender == "men")))

# %%
# Three prices
# ------------

free = DiscriminationFreeRegressor(DCovPoissonRegressor(strength=0, alpha=1e-6))
free.fit(X, claims, sensitive_features=gender)
prices = {
    "without gender": DCovPoissonRegressor(strength=0, alpha=1e-6).fit(X, claims),
    "discrimination-free": free,
    "penalised": DCovPoissonRegressor(strength=100, alpha=1e-6).fit(X, claims, sensitive_features=gender),
}
rows, best = {}, free.best_estimates(X)
for name, model in prices.items():
    price = model.predict(X)
    means = group_summary(claims, price, sensitive_features=gender)["mean_predicted"]
    like = pd.DataFrame({"power": [0.0, 1.0], "age": 0.0})
    rows[name] = {
        "men over women": means["men"] / means["women"],
        "price of one unit of power": model.predict(like)[1] / model.predict(like)[0],
        "proxy discrimination": proxy_discrimination(price, best),
    }
table = pd.DataFrame(rows).T
print(table.round(3).to_string())

# %%
# The picture
# -----------
#
# Whether groups pay alike, and what power costs: the risk of one more unit is 1.35 times as high.

figure, panels = plt.subplots(1, 2, figsize=(9, 2.8), sharey=True, layout="constrained")
for axes, column, right in zip(panels, table.columns[:2], (1.0, np.exp(0.3)), strict=True):
    axes.axvline(right, color="0.6", linestyle="--", zorder=0)
    axes.hlines(table.index, right, table[column], color="0.6", zorder=1)
    axes.scatter(table[column], table.index, s=70, color=["0.35", "#009E73", "#0072B2"], zorder=2)
    axes.set_xlabel(column)
    axes.set_xlim(0.9, 1.6)
    axes.set_ylim(2.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)
panels[0].text(1.0, -0.5, " alike", color="0.35", va="bottom")
panels[1].text(np.exp(0.3), -0.5, " the risk", color="0.35", va="bottom")
if options.output:
    Path(options.output).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(options.output) / "reference_prices.png", dpi=110)
else:
    plt.show()
