"""Value and gradient of a bound penalty, for each way in which its matrix is represented."""

import numpy as np

from fairdcov import CCDCovPenalty, JDCovPenalty
from fairdcov.metrics import js_divergence

from .book import make_book

# Rows, and columns of the book: "people" have 20 profiles, numbers one for each row.
METHODS = {
    "profiles": (200_000, "people"),
    "univariate": (100_000, [1]),
    "tiles": (2_000, [1, 2]),
    "approximate": (20_000, [1, 2]),
    "nodes": (50_000, [1]),
    "grid": (200_000, "people"),
}


class ValueGradient:
    """One evaluation, one thread."""

    params = tuple(METHODS)
    param_names = ("method",)

    def setup(self, method):
        """Bind, which is timed apart."""
        n, columns = METHODS[method]
        X, _, weight, people = make_book(n)
        attributes = people if columns == "people" else X[:, columns]
        self.bound = CCDCovPenalty(method=method).bind(attributes, weight, n_threads=1)
        self.u = np.exp(0.3 * X[:, 0])

    def time_value_gradient(self, method):
        self.bound.value_gradient(self.u)

    def peakmem_value_gradient(self, method):
        self.bound.value_gradient(self.u)


class Joint:
    """The joint measure, and what is done once for a fit."""

    def setup(self):
        """Rows in 20 profiles."""
        X, _, self.weight, self.people = make_book(100_000)
        self.u = np.exp(0.3 * X[:, 0])
        self.bound = JDCovPenalty().bind(self.people, self.weight, n_threads=1)

    def time_value_gradient(self):
        self.bound.value_gradient(self.u)

    def time_value_gradient_curvature(self):
        self.bound.value_gradient_curvature(self.u)

    def time_bind(self):
        JDCovPenalty().bind(self.people, self.weight, n_threads=1)


class Divergence:
    """What a calibration asks of every fold and strength."""

    def setup(self):
        """Predictions in 20 groups."""
        X, self.y, self.weight, self.people = make_book(100_000)
        self.u = np.exp(0.3 * X[:, 0])

    def time_js_divergence(self):
        js_divergence(self.y, self.u, sensitive_features=self.people, sample_weight=self.weight)
