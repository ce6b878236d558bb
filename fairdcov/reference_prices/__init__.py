"""Prices to compare a tariff with, whatever regressor gives the best estimates.

The discrimination-free price; prices that do not see the protected attributes and what they lack; the best that parity
allows, with the attributes and without.
"""

from fairdcov.reference_prices._barycentre import FairBarycentreRegressor
from fairdcov.reference_prices._discrimination_free import DiscriminationFreeRegressor
from fairdcov.reference_prices._staged_fair import StagedFairRegressor
from fairdcov.reference_prices._unaware_fair import UnawareFairRegressor
from fairdcov.reference_prices._unaware_features import UnawareFeatures

__all__ = [
    "DiscriminationFreeRegressor",
    "FairBarycentreRegressor",
    "StagedFairRegressor",
    "UnawareFairRegressor",
    "UnawareFeatures",
]
