"""Prices to compare a tariff with, whatever regressor gives the best estimates.

The discrimination-free price; prices that do not see the protected attributes and what they lack; the best that parity
allows, with the attributes and without, and how far a model is from it.
"""

from fairdcov.reference_prices._discrimination_free import DiscriminationFreeRegressor

__all__ = ["DiscriminationFreeRegressor"]
