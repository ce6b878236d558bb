"""
A certificate: are price gaps within a tolerance?
=================================================

A test of independence that finds nothing has shown nothing. Here the burden of proof is the other way round: a gap is
*within tolerance* only where the data rule out a larger one. Two tariffs of a made-up book, and the same tariff on a
twentieth of the policies.
"""

# %%
import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from fairdcov import equivalence_test
from fairdcov.datasets import make_motor_portfolio

parser = argparse.ArgumentParser(description="Price gaps of groups, and whether they are within a tolerance.")
parser.add_argument("--output", metavar="FOLDER", help="write the picture there")
# An editor or a documentation builder passes arguments of its own.
options, _ = parser.parse_known_args()

TOLERANCE = 0.05
book = make_motor_portfolio(60_000, random_state=0)
groups = book.sensitive_features[["gender", "region"]]


def certificate(price, rows):
    """Gaps of all groups, judged together."""
    return equivalence_test(price[rows], groups[rows], tolerance=TOLERANCE, sample_weight=book.exposure[rows])


# %%
# Three outcomes
# --------------
#
# The first tariff follows the claims, which differ between the combinations of gender and region. The second has the
# same price for all combinations; its gaps are chance. Of three thousand policies not much can be shown, and the
# result says how many it would take.

results = {
    "follows the claims": certificate(book.true_rate, slice(None)),
    "same for all groups": certificate(book.fair_rate, slice(None)),
    "the same, 3,000 policies": certificate(book.fair_rate, slice(0, 3_000)),
}
for name, result in results.items():
    print(f"{name}: {result.outcome}")
    for part in result.attributes:
        counts = f"{part['n_within']} within, {part['n_unsure']} unsure, {part['n_outside']} outside"
        print(f"  {' × '.join(part['attributes'])}: {part['outcome']} ({counts})")
needed = [group["rows_needed"] for group in results["the same, 3,000 policies"].groups if group["rows_needed"]]
print(f"rows needed: {min(needed):,.0f} to {max(needed):,.0f}")

# %%
# The picture
# -----------
#
# Gap of each combination to all other policies with its interval of 90 %. Inside the band it is within tolerance.

LOOK = {
    "within tolerance": ("#009E73", "o"),
    "not enough evidence": ("0.45", "D"),
    "outside tolerance": ("#D55E00", "s"),
}
figure, panels = plt.subplots(1, 3, figsize=(9.5, 3.8), sharey=True, layout="constrained")
for axes, (name, result) in zip(panels, results.items(), strict=True):
    found = result.to_frame()
    found = found[found["kind"] == "intersection"].reset_index(drop=True)
    axes.axvspan(-100 * TOLERANCE / (1 + TOLERANCE), 100 * TOLERANCE, color="0.92")
    axes.axvline(0, color="0.6", linewidth=0.8)
    for outcome, (colour, marker) in LOOK.items():
        chosen = found["outcome"] == outcome
        places = np.flatnonzero(chosen)
        axes.hlines(places, 100 * found["lower"][chosen], 100 * found["upper"][chosen], color=colour)
        axes.plot(100 * found["gap"][chosen], places, linestyle="", marker=marker, color=colour, label=outcome)
    axes.set_title(name, fontsize="medium", loc="left")
    axes.set_xlabel("gap to all others, %")
    axes.spines[["top", "right"]].set_visible(False)
panels[0].set_yticks(range(len(found)), found["group"], fontsize="small")
panels[0].invert_yaxis()
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
if options.output:
    Path(options.output).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(options.output) / "certificate.png", dpi=110)
else:
    plt.show()
