"""Errors and warnings of fairdcov that callers may want to catch by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.exceptions import ConvergenceWarning

__all__ = [
    "CalibrationError",
    "CalibrationWarning",
    "ConvergenceWarning",
    "IntegrityError",
    "MissingSensitiveFeaturesError",
    "SensitiveFeaturesWarning",
    "StrengthWarning",
]


class MissingSensitiveFeaturesError(ValueError):
    """A penalty, metric or scorer needs ``sensitive_features`` and did not get them."""


class SensitiveFeaturesWarning(UserWarning):
    """The protected attributes cannot do what was asked of them, for example because they are constant."""


class StrengthWarning(UserWarning):
    """The fit goes by another strength than the one asked for, has lost its level, or has not bought independence.

    ``effective_strength_`` is the strength that the fit goes by.
    """


class IntegrityError(OSError):
    """A downloaded or local data file does not have the checksum of the published original."""


class CalibrationWarning(UserWarning):
    """A strength was chosen that one should look at: the model explains little with it, or it ends the grid."""


class CalibrationError(ValueError):
    """No strength meets the calibration rule.

    Parameters
    ----------
    message : str
        What was asked and the best that was reached.
    calibration_results : dict of arrays
        What has been computed, as ``JSDivergenceCalibrator.calibration_results_``.
    best_index : int
        Index of the strength that comes closest.
    """

    def __init__(
        self, message: str, calibration_results: Mapping[str, Any] | None = None, best_index: int | None = None
    ) -> None:
        super().__init__(message)
        self.calibration_results = calibration_results
        self.best_index = best_index
