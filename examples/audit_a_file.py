"""
An audit of a file
==================

A file of prices goes in, a page comes out: what each group is charged beside what it claimed, how far prices depend on
the protected attributes, and what carries them. No model is needed, only what it predicted. Put a file of your own in
the place of the made-up one and say below what its columns are.
"""

# %%
# sphinx_gallery_thumbnail_path = "_static/audit_page.png"
import argparse
import tempfile
from pathlib import Path

import pandas as pd

from fairdcov import audit
from fairdcov.datasets import make_motor_portfolio

parser = argparse.ArgumentParser(description="An audit of a CSV file of prices.")
parser.add_argument("--file", metavar="CSV", help="one row per policy; a made-up book without it")
parser.add_argument("--output", metavar="FOLDER", help="write the page there")
# An editor or a documentation builder passes arguments of its own.
options, _ = parser.parse_known_args()

# %%
# The file
# --------
#
# Prices and claims are per year of exposure, as everywhere in the package. The made-up book has a tariff that follows
# the claims, which differ between combinations of gender and region.

if options.file is None:
    made_up = make_motor_portfolio(5_000, random_state=0)
    prices = pd.concat([made_up.data, made_up.sensitive_features], axis=1)
    prices = prices.assign(price=made_up.true_rate, claims=made_up.target, exposure=made_up.exposure)
else:
    prices = pd.read_csv(options.file)
print(prices.head(3).to_string())

# %%
# What its columns are
# --------------------

PRICE, CLAIMS, EXPOSURE = "price", "claims", "exposure"
PROTECTED = ["gender", "region"]
FACTORS = ["mileage", "vehicle_power", "density"]

# %%
# The audit
# ---------

report = audit(
    prices[CLAIMS],
    prices[PRICE],
    prices[PROTECTED],
    sample_weight=prices[EXPOSURE],
    features=prices[FACTORS],
    tolerance=0.05,
    verbose=0,
)
print(report.summary)

# %%
# The page loads nothing from elsewhere and prints; the same figures are to be had as tables and as JSON.

page = Path(options.output or tempfile.mkdtemp(), "audit.html")
report.to_html(page)
print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB")
