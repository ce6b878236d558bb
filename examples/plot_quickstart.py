"""
Group means before and after: a claim frequency model in a minute
=================================================================

A made-up motor book in which women and men have the same claim frequency, and so have all regions, but women in some
regions have more claims than men there, and fewer in the others. The mileage gives that away, so that a model that
never saw gender or region still prices the combinations apart.

The model is fitted on half of the policies; all figures are of the other half.
"""

# %%
import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from fairdcov import DCovPoissonRegressor
from fairdcov.datasets import make_motor_portfolio
from fairdcov.metrics import group_summary

parser = argparse.ArgumentParser(description="Means of groups without and with a penalty on dependence.")
parser.add_argument("--output", metavar="FOLDER", help="write the picture there")
# An editor or a documentation builder passes arguments of its own.
options, _ = parser.parse_known_args()

book = make_motor_portfolio(40_000, random_state=0)
X, frequency, groups = book.data.select_dtypes("number"), book.claims / book.exposure, book.sensitive_features
train, test = slice(0, 20_000), slice(20_000, None)

# %%
# Two models
# ----------
#
# The same Poisson regression without and with a penalty. No protected attribute is needed to predict.

rows, means = [], {}
for strength in (0, 10):
    model = DCovPoissonRegressor(strength=strength, alpha=1e-4)
    model.fit(X[train], frequency[train], sample_weight=book.exposure[train], sensitive_features=groups[train])
    predicted = model.predict(X[test])
    summary = group_summary(
        frequency[test],
        predicted,
        sensitive_features=groups[["gender", "region"]][test],
        sample_weight=book.exposure[test],
    )
    means[strength] = summary["mean_predicted"].unstack("gender")
    rows.append(
        {
            "strength": strength,
            "highest / lowest group mean": summary["mean_predicted"].max() / summary["mean_predicted"].min(),
            "deviance explained": model.score(X[test], frequency[test], sample_weight=book.exposure[test]),
            "predicted / observed": (predicted @ book.exposure[test]) / book.claims[test].sum(),
        }
    )
print(pd.DataFrame(rows).round(3).to_string(index=False))

# %%
# The picture
# -----------
#
# One line per region joins the mean predicted frequency of women and of men, in per cent of the mean of all policies.

figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), sharex=True, sharey=True, layout="constrained")
average = frequency[test] @ book.exposure[test] / book.exposure[test].sum()
for axes, (strength, table) in zip(panels, means.items(), strict=True):
    table = 100 * table.sort_index(ascending=False) / average
    axes.axvline(100, color="0.8", linewidth=1)
    axes.hlines(table.index, table.min(axis=1), table.max(axis=1), color="0.6", linewidth=2)
    axes.scatter(table["female"], table.index, color="#b2182b", marker="o", s=45, label="women", zorder=3)
    axes.scatter(table["male"], table.index, color="#2166ac", marker="s", s=40, label="men", zorder=3)
    axes.set_title("before: no penalty" if strength == 0 else f"after: strength {strength}", loc="left")
    axes.set_xlabel("mean predicted claim frequency, average = 100")
    axes.spines[["top", "right"]].set_visible(False)
panels[1].legend(frameon=False, loc="upper right")
if options.output:
    Path(options.output).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(options.output) / "group_means.png", dpi=110)
else:
    plt.show()
