"""Statements about the predictions of a whole book that come with their uncertainty."""

from fairdcov.inference._independence import IndependenceTestResult, independence_test

__all__ = ["IndependenceTestResult", "independence_test"]
