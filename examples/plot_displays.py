"""
Every display, on one book
==========================

The pictures of :mod:`fairdcov.plots`: what a calibration saw, what fairness costs, how the groups are priced, and what
an actuary asks of any tariff. All but the first take predictions, of any system.
"""

# %%
import argparse
import warnings
from pathlib import Path

import matplotlib.pyplot as plt

from fairdcov import DCovPoissonRegressor, JSDivergenceCalibrator
from fairdcov.datasets import make_motor_portfolio
from fairdcov.exceptions import CalibrationWarning
from fairdcov.plots import (
    CalibrationDisplay,
    DoubleLiftDisplay,
    FrontierDisplay,
    GroupDistributionDisplay,
    LiftDisplay,
    LorenzDisplay,
    OneWayDisplay,
    PremiumChangeDisplay,
)

parser = argparse.ArgumentParser(description="The displays of fairdcov.plots on a made-up book.")
parser.add_argument("--output", metavar="FOLDER", help="write the pictures there")
# An editor or a documentation builder passes arguments of its own.
options, _ = parser.parse_known_args()


def show(display, name):
    """Write the picture to the folder, or show it."""
    if options.output:
        Path(options.output).mkdir(parents=True, exist_ok=True)
        display.figure_.savefig(Path(options.output) / f"{name}.png", dpi=110)
    else:
        plt.show()


book = make_motor_portfolio(20_000, random_state=0)
X, frequency = book.data.select_dtypes("number"), book.claims / book.exposure
groups = book.sensitive_features[["gender", "region"]]
train, test = slice(0, 10_000), slice(10_000, None)
fitted = {"sample_weight": book.exposure[train], "sensitive_features": groups[train]}
exposure, observed = book.exposure[test], frequency[test]

# %%
# A calibration
# -------------
#
# Divergence between the groups and score against the strength, from cross-validation, with the level of chance and the
# strength that was chosen.

with warnings.catch_warnings():
    warnings.simplefilter("ignore", CalibrationWarning)
    calibrator = JSDivergenceCalibrator(
        DCovPoissonRegressor(alpha=1e-4), strengths=[1, 3, 10, 30], rule="elbow", cv=3, n_permutations=20, verbose=0
    ).fit(X[train], frequency[train], **fitted)
show(CalibrationDisplay.from_estimator(calibrator), "calibration")

# %%
# What fairness costs
# -------------------
#
# Score against divergence of any models. Filled points are those that no other is better than in both.

strengths = [0.0, 1.0, 3.0, 10.0, 30.0]
paths = {
    name: list(DCovPoissonRegressor(penalty, alpha=1e-4).strength_path(X[train], frequency[train], strengths, **fitted))
    for name, penalty in (("CCdCov", "ccdcov"), ("JdCov", "jdcov"))
}
display = FrontierDisplay.from_predictions(
    observed,
    {name: [model.predict(X[test]) for model in path] for name, path in paths.items()},
    sensitive_features=groups[test],
    sample_weight=exposure,
    n_permutations=20,
    chosen={"CCdCov": strengths.index(3.0)},
)
show(display, "frontier")

# %%
# How the groups are priced
# -------------------------
#
# Densities and distribution functions of the groups that were furthest from all policies, before and after.

before, after = (paths["CCdCov"][strengths.index(strength)].predict(X[test]) for strength in (0.0, 10.0))
display = GroupDistributionDisplay.from_predictions(
    after, baseline=before, sensitive_features=groups[test], sample_weight=exposure, n_permutations=20
)
show(display, "distributions")

# %%
# Lift
# ----
#
# Predicted and observed by bins of the prediction.

show(LiftDisplay.from_predictions(observed, after, sample_weight=exposure, target_name="claims per year"), "lift")

# %%
# Double lift
# -----------
#
# Two tariffs where they differ most: which of them is closer to what was observed?

display = DoubleLiftDisplay.from_predictions(
    observed, after, before, sample_weight=exposure, names=("strength 10", "no penalty")
)
show(display, "double_lift")

# %%
# Order
# -----
#
# Lorenz curves and Gini indices.

tariffs = {"no penalty": before, "strength 10": after}
show(LorenzDisplay.from_predictions(observed, tariffs, sample_weight=exposure), "lorenz")

# %%
# One-way analysis
# ----------------
#
# Actual to expected by level, of both tariffs, for the protected attributes and age.

people = book.sensitive_features[test]
display = OneWayDisplay.from_predictions(
    observed,
    after,
    people,
    sample_weight=exposure,
    baseline=before,
    bins={"age": [18, 25, 40, 60, 100]},
    names=("strength 10", "no penalty"),
)
show(display, "one_way")

# %%
# Who pays more
# -------------
#
# Change of the premium from the tariff without a penalty to the one with it.

display = PremiumChangeDisplay.from_predictions(
    after, before, people, sample_weight=exposure, bins={"age": [18, 25, 40, 60, 100]}
)
show(display, "premium_changes")
