"""
Choosing a strength and a rule
==============================

Four rules on the same sweep of strengths: which strength each takes, how far the predicted frequencies of the groups
still differ, and what is left of what the model explains without a penalty.
"""

# %%
import argparse
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from fairdcov import DCovPoissonRegressor, JSDivergenceCalibrator
from fairdcov.datasets import make_motor_portfolio
from fairdcov.exceptions import CalibrationWarning
from fairdcov.plots import CalibrationDisplay

parser = argparse.ArgumentParser(description="Four rules on one sweep of strengths.")
parser.add_argument("--output", metavar="FOLDER", help="write the picture there")
# An editor or a documentation builder passes arguments of its own.
options, _ = parser.parse_known_args()
# A choice that leaves little explained, or that ends the grid, is warned of: here the table shows it.
warnings.simplefilter("ignore", CalibrationWarning)

book = make_motor_portfolio(20_000, random_state=0)
data = {
    "X": book.data.select_dtypes("number"),
    "y": book.claims / book.exposure,
    "sample_weight": book.exposure,
    "sensitive_features": book.sensitive_features[["gender", "region"]],
}
RULES = {
    "null_level": {},
    "threshold": {"max_divergence": 0.1},
    "elbow": {},
    "score_budget": {"score_budget": 0.1},
}

# %%
# What each rule takes
# --------------------

rows, calibrators = [], {}
for rule, limits in RULES.items():
    calibrator = JSDivergenceCalibrator(
        DCovPoissonRegressor(alpha=1e-4),
        strengths=[1, 3, 10, 30, 100],
        rule=rule,
        if_unmet="warn",
        cv=3,
        n_permutations=20,
        random_state=0,
        verbose=0,
        **limits,
    ).fit(**data)
    calibrators[rule], results, best = calibrator, calibrator.calibration_results_, calibrator.best_index_
    rows.append(
        {
            "rule": rule,
            "strength": calibrator.best_strength_,
            "divergence": results["mean_divergence"][best],
            "null level": results["null_level"][best],
            "kept": results["kept"][best],
        }
    )
print(pd.DataFrame(rows).round(3).to_string(index=False))

# %%
# The sweep
# ---------
#
# Divergence and score at each strength, with the choice of ``"elbow"``.

display = CalibrationDisplay.from_estimator(calibrators["elbow"])
figure = display.figure_
if options.output:
    Path(options.output).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(options.output) / "choosing_a_strength.png", dpi=110)
else:
    plt.show()
