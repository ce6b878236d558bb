"""Choose the strength of a penalty by how far the predictions' distributions differ between groups.

A meta-estimator that sweeps the strength in cross-validation, measures the Jensen-Shannon divergence between
intersectional groups and the score on the rows held out, and picks by a rule that can be defended. It knows no
estimator of this package: anything with a strength-like parameter will do, and what offers ``strength_path`` is swept
along its path.
"""

from fairdcov.calibration._calibrator import JSDivergenceCalibrator
from fairdcov.calibration._candidates import search_candidates

__all__ = ["JSDivergenceCalibrator", "search_candidates"]
