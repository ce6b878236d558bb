"""Statements about the predictions of a whole book that come with their uncertainty."""

from fairdcov.inference._equivalence import EquivalenceTestResult, equivalence_test
from fairdcov.inference._families import OUTCOMES
from fairdcov.inference._independence import IndependenceTestResult, independence_test

__all__ = ["EquivalenceTestResult", "IndependenceTestResult", "equivalence_test", "independence_test"]
