"""
From boosted trees to a rating table
====================================

A tariff is filed as a table. :meth:`RatingTable.from_model <fairdcov.actuarial.RatingTable.from_model>` distils any
model into one: it chooses the levels, fits a penalised GLM to the predictions, and says what the table keeps of the
model, dependence on the protected attributes included.
"""

# %%
import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from fairdcov import DCovLGBMRegressor
from fairdcov.actuarial import RatingTable
from fairdcov.datasets import make_motor_portfolio

parser = argparse.ArgumentParser(description="A rating table of boosted trees.")
parser.add_argument("--output", metavar="FOLDER", help="write the picture there")
# An editor or a documentation builder passes arguments of its own.
options, _ = parser.parse_known_args()

book = make_motor_portfolio(20_000, random_state=0)
X, frequency = book.data[["vehicle_type", "vehicle_power", "mileage", "bonus_malus"]], book.claims / book.exposure
groups = book.sensitive_features[["gender", "region"]]
train, test = slice(0, 10_000), slice(10_000, None)
fitted = {"sample_weight": book.exposure[train], "sensitive_features": groups[train]}

# %%
# Model and table
# ---------------

trees = DCovLGBMRegressor(
    objective="poisson", strength=3, n_estimators=60, n_penalised_rounds=60, num_leaves=8, verbose=0
).fit(X[train], frequency[train], **fitted)
table = RatingTable.from_model(trees, X[train], frequency[train], max_relativities=28, **fitted)
print(table.frame[["factor", "level", "exposure", "relativity"]].round(3).to_string(index=False))

# %%
# What it keeps
# -------------
#
# On policies that neither has seen. Rounded to two digits the table is the tariff that goes into a rating engine.

filed = table.adjusted(X[train], sample_weight=book.exposure[train], decimals=2)
held_back = {"sample_weight": book.exposure[test], "sensitive_features": groups[test]}
print(filed.compare(trees, X[test], frequency[test], unknown="nearest", **held_back).round(4).to_string(index=False))

# %%
# Relativities
# ------------
#
# Points as large as the exposure behind them.

factors = list(dict.fromkeys(table.frame["factor"]))
figure, panels = plt.subplots(1, len(factors), figsize=(9.5, 3.4), sharey=True, layout="constrained")
for axes, factor in zip(np.atleast_1d(panels), factors, strict=True):
    levels = table.frame[table.frame["factor"] == factor]
    axes.axhline(1, color="0.8", zorder=0)
    axes.plot(range(len(levels)), levels["relativity"], color="#0072B2", linewidth=1)
    axes.scatter(range(len(levels)), levels["relativity"], s=10 + 200 * levels["exposure"] / levels["exposure"].sum())
    axes.set_xticks(range(len(levels)), levels["level"].astype(str), rotation=90, fontsize="x-small")
    axes.set_title(factor, fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
np.atleast_1d(panels)[0].set_ylabel("relativity")
if options.output:
    Path(options.output).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(options.output) / "rating_table.png", dpi=110)
else:
    plt.show()
