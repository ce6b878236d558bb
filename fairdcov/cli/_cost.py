"""What the chosen penalty costs on the rows held back: what is still explained, who pays for whom, what changes."""

import numpy as np

from fairdcov.actuarial import compare
from fairdcov.cli._remarks import kept_text, say_notes

__all__ = ["compare_rows", "cost_of_penalty", "print_cost"]


def compare_rows(first, second, rows, bins, family, options, **given):
    """Two predictions of some rows beside each other, by the deviance of the family."""
    people = {"sensitive_features": rows.sensitive, "control_features": rows.control}
    parameter = family.parameter(options)

    def deviance(observed, predicted, sample_weight):
        return family.deviance(observed, predicted, sample_weight, parameter)

    return compare(
        first,
        second,
        rows.target,
        exposure=rows.exposure,
        people={name: value for name, value in people.items() if value is not None},
        deviance=deviance,
        bins=bins,
        **given,
    )


def cost_of_penalty(before, after, rows, bins, family, options, penalty):
    """Table of the model without and with penalty on some rows, as cost.csv has it."""
    return compare_rows(before, after, rows, bins, family, options, names=("no penalty", penalty), changes=True)


def print_cost(cost):
    """Print what the penalty costs, and say so where nothing is left of what the model explains."""
    before, after = cost.columns[1:3]
    found = cost.set_index("measure")
    if "explained deviance" in found.index:
        row = found.loc["explained deviance"]
        print(f"  explained deviance {row[before]:.4f} -> {row[after]:.4f}: {kept_text(row['kept'])}")
    if "Gini" in found.index:
        row = found.loc["Gini"]
        kept = f": keeps {row['kept']:.0%}" if np.isfinite(row["kept"]) else ""
        print(f"  Gini {row[before]:.4f} -> {row[after]:.4f}{kept}")
    changes = [name for name in found.index if "that changes" in name]
    if changes:
        share, large = (found.loc[name, after] for name in changes)
        print(f"  {share:.1%} of the premium changes; {large:.0%} of the exposure by over 10%")
    groups = found[found.index.str.startswith("A/E of ")][[before, after]]
    if len(groups):
        groups.index = groups.index.str.removeprefix("A/E of ")
        groups = groups.rename_axis("actual / expected").reset_index()
        print(
            "\n".join(f"  {line}" for line in groups.to_string(index=False, float_format="{:.3f}".format).split("\n"))
        )
    if "explained deviance" in found.index and found.loc["explained deviance", after] <= 0:
        say_notes(
            [
                "the chosen model explains nothing of the rows held back: their mean would predict them as well. Take "
                "a smaller strength, or a rule that minds what is kept (--rule score_budget or elbow of fairdcov fit)"
            ]
        )
