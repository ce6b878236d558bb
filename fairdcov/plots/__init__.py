"""Pictures of a calibration, of what fairness costs, and of the predictions in each group.

scikit-learn's Display convention: a display holds arrays, ``plot`` draws them and returns the display, and the class
methods ``from_...`` compute them. Colours can be told apart by colour-blind readers, and never are the only sign.
matplotlib is loaded when something is drawn, and comes with ``pip install 'fairdcov[plots]'``.
"""

from fairdcov.plots._calibration import CalibrationDisplay
from fairdcov.plots._frontier import FrontierDisplay
from fairdcov.plots._groups import GroupDistributionDisplay, GroupDistributions

__all__ = ["CalibrationDisplay", "FrontierDisplay", "GroupDistributionDisplay", "GroupDistributions"]
