"""What a pricing actuary files beside a model, as tables: balance, relativities, one-way analyses, lift, dislocation.

Everywhere ``y_true`` and ``y_pred`` are per unit of exposure and ``sample_weight`` is the exposure: with claim counts
these are claims / exposure and the predicted frequency. Tables are pandas DataFrames whatever frame comes in;
:func:`write_csv` saves them for a spreadsheet. :mod:`fairdcov.metrics` has the Lorenz curve and the Gini index.
"""

from fairdcov.actuarial._changes import largest_dislocations, premium_change_by_group, premium_changes
from fairdcov.actuarial._comparison import compare, comparison_lines, comparison_table
from fairdcov.actuarial._experience import ALL, balance_table, double_lift_table, lift_table, one_way
from fairdcov.actuarial._export import armed, disarmed, excel_safe, whole_file, write_csv
from fairdcov.actuarial._policies import (
    check_positive_baseline,
    experience,
    exposure_bins,
    read_policies,
)
from fairdcov.actuarial._rating_table import RatingTable
from fairdcov.actuarial._rebalance import Rebalancer
from fairdcov.actuarial._relativities import relativities

__all__ = [
    "RatingTable",
    "Rebalancer",
    "balance_table",
    "comparison_table",
    "double_lift_table",
    "excel_safe",
    "largest_dislocations",
    "lift_table",
    "one_way",
    "premium_change_by_group",
    "premium_changes",
    "relativities",
    "write_csv",
]
