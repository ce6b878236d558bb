"""Errors and warnings of fairdcov that callers may want to catch by name."""

from sklearn.exceptions import ConvergenceWarning

__all__ = ["ConvergenceWarning", "IntegrityError", "MissingSensitiveFeaturesError", "SensitiveFeaturesWarning"]


class MissingSensitiveFeaturesError(ValueError):
    """A penalty, metric or scorer needs ``sensitive_features`` and did not get them."""


class SensitiveFeaturesWarning(UserWarning):
    """The protected attributes cannot do what was asked of them, for example because they are constant."""


class IntegrityError(OSError):
    """A downloaded or local data file does not have the checksum of the published original."""
