"""Statements about the predictions of a whole book that come with their uncertainty."""

from fairdcov.inference._equivalence import EquivalenceTestResult, equivalence_test
from fairdcov.inference._families import OUTCOMES
from fairdcov.inference._frontier import FrontierGap, frontier_gap
from fairdcov.inference._independence import IndependenceTestResult, independence_test

__all__ = [
    "EquivalenceTestResult",
    "FrontierGap",
    "IndependenceTestResult",
    "equivalence_test",
    "frontier_gap",
    "independence_test",
]
