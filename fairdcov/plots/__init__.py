"""Pictures of a calibration, of what fairness costs, of the predictions in each group, and of a tariff and its book.

scikit-learn's Display convention: a display holds arrays, ``plot`` draws them and returns the display, and the class
methods ``from_...`` compute them. Colours can be told apart by colour-blind readers, and never are the only sign.
matplotlib is loaded when something is drawn, and comes with ``pip install 'fairdcov[plots]'``.
"""

from fairdcov.plots._calibration import CalibrationDisplay
from fairdcov.plots._changes import PremiumChangeDisplay
from fairdcov.plots._distributions import GroupDistributionDisplay, GroupDistributions
from fairdcov.plots._frontier import FrontierDisplay
from fairdcov.plots._levels import level_rows
from fairdcov.plots._lift import DoubleLiftDisplay, LiftDisplay
from fairdcov.plots._lorenz import LorenzDisplay
from fairdcov.plots._one_way import OneWayDisplay
from fairdcov.plots._style import GREY, cell_label, group_label, light_grid, series_style

__all__ = [
    "CalibrationDisplay",
    "DoubleLiftDisplay",
    "FrontierDisplay",
    "GroupDistributionDisplay",
    "GroupDistributions",
    "LiftDisplay",
    "LorenzDisplay",
    "OneWayDisplay",
    "PremiumChangeDisplay",
]
