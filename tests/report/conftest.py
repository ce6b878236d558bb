"""A small motor book with everything that an audit can use, and one report on it."""

import numpy as np
import pytest

from fairdcov.datasets import make_motor_portfolio
from fairdcov.report import audit

BINS = {"age": [18, 30, 45, 100]}
LEGITIMATE = ["vehicle_power", "policy_duration"]


@pytest.fixture(scope="session")
def book():
    """3,000 policies."""
    return make_motor_portfolio(3000, random_state=1)


@pytest.fixture(scope="session")
def prediction(book):
    """A biased tariff that knows more than the attributes."""
    return book.true_rate * np.exp(0.1 * np.sin(np.arange(len(book.true_rate))))


@pytest.fixture(scope="session")
def report(book, prediction):
    """A report with every section."""
    return audit(
        book.target,
        prediction,
        book.sensitive_features,
        sample_weight=book.exposure,
        features=book.data,
        baseline=book.fair_rate,
        legitimate_features=LEGITIMATE,
        tolerance=0.1,
        bins=BINS,
        min_group_size=40,
        n_permutations=19,
        n_bootstrap=50,
        max_partial_rows=200,
        max_learning_rows=600,
        metadata={
            "scope": "motor third-party liability, all of 2024",
            "attributes": {"gender": "observed", "region": "observed", "age": "observed"},
            "strength": 0.0,
            "rule": "none",
            "data_sha256": "0" * 64,
            "alternatives": [
                {"model": "GLM, strength 0", "deviance": 0.61, "js_divergence": 0.2},
                {"model": "GLM, strength 10", "deviance": 0.62, "js_divergence": 0.04},
            ],
        },
        verbose=0,
    )


@pytest.fixture(scope="session")
def data(report):
    """The same as plain data."""
    return report.to_dict()


def page_of(report, path=None):
    """The report as a page, for which the packages of an extra are needed."""
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    return report.to_html(path)


def section_of(data, *attributes):
    """Section of the groups of some attributes."""
    return next(section for section in data["groups"] if section["attributes"] == list(attributes))
