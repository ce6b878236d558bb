"""Data to try and test with: a synthetic motor book with a known intersectional bias, and two public data sets."""

from fairdcov.datasets._fetch import fetch_compas, fetch_pg15training
from fairdcov.datasets._motor import make_motor_portfolio
from fairdcov.datasets._published import load_published_results

__all__ = ["fetch_compas", "fetch_pg15training", "load_published_results", "make_motor_portfolio"]
