"""Figures published on pg15training, in one place: the demo, the example and the benchmarks compare with them."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from fairdcov._checks import check_choice

__all__ = ["load_published_results"]

# Smaller is better in all six. JdCov is raw: it contains the dependence of gender and region on each other.
COLUMNS = ("RPS", "deviance", "CCdCov", "JdCov", "JSD", "UF")
RESULTS: dict[str, dict] = {
    "test": {
        ("none", 0): (0.12248, 0.54503, 1.0083e-3, 1.3230e-3, 2.8238e-2, 8.0775e-2),
        ("CCdCov", 40): (0.12314, 0.54936, 5.846e-5, 8.452e-5, 1.817e-3, 6.175e-3),
        ("JdCov", 30): (0.12366, 0.55378, 5.288e-5, 7.522e-5, 1.504e-3, 5.654e-3),
    },
    # Means of ten seeds; the deviance was not published.
    "validation": {
        ("CCdCov", 0): (0.11919, None, 9.138e-4, 1.478e-3, 2.889e-2, 7.736e-2),
        ("CCdCov", 10): (0.11974, None, 1.965e-4, 5.463e-4, 7.883e-3, 2.030e-2),
        ("CCdCov", 40): (0.12081, None, 4.452e-5, 3.479e-4, 1.639e-3, 4.700e-3),
        ("CCdCov", 80): (0.12148, None, 2.513e-5, 3.219e-4, 8.171e-4, 2.640e-3),
        ("CCdCov", 150): (0.12212, None, 1.877e-5, 3.123e-4, 5.648e-4, 2.133e-3),
        ("JdCov", 0): (0.11919, None, 9.138e-4, 1.478e-3, 2.889e-2, 7.736e-2),
        ("JdCov", 10): (0.11992, None, 1.522e-4, 4.884e-4, 6.147e-3, 1.594e-2),
        ("JdCov", 40): (0.12120, None, 3.381e-5, 3.331e-4, 1.172e-3, 3.614e-3),
        ("JdCov", 80): (0.12196, None, 2.117e-5, 3.153e-4, 6.789e-4, 2.439e-3),
        ("JdCov", 150): (0.12286, None, 1.475e-5, 3.039e-4, 4.548e-4, 2.080e-3),
    },
}


def load_published_results(sample: Literal["test", "validation"] = "test") -> pd.DataFrame:
    """Figures of Lee et al. (2025) on pg15training, to compare own models with.

    Their model is a neural network that is trained on mini-batches with a penalty on expected counts, in the units of
    the counts: a penalty with ``normalize=False`` is of that form. All figures are unweighted, on expected counts, with
    U-statistics, and a bandwidth of 0.15 for the Jensen–Shannon divergence; smaller is better in each. JdCov is raw: it
    contains the dependence of gender and region on each other.

    Parameters
    ----------
    sample : {"test", "validation"}, default="test"
        The models that were chosen, on the policies held back; or the sweep of the strength, means of ten seeds.

    Returns
    -------
    DataFrame
        With columns ``RPS``, ``deviance`` (NaN for the sweep: not published), ``CCdCov``, ``JdCov``, ``JSD`` and
        ``UF``, by ``measure`` (``"none"`` for the model without a penalty) and ``strength``.

    References
    ----------
    H. M. Lee, K. Antonio, B. Avanzi, L. Marchi, R. Zhou (2025), Machine Learning with Multitype Protected Attributes:
    Intersectional Fairness through Regularisation, arXiv 2509.08163.

    Examples
    --------
    >>> from fairdcov.datasets import load_published_results
    >>> published = load_published_results()
    >>> float(published.loc[("CCdCov", 40), "deviance"])
    0.54936
    >>> list(load_published_results("validation").columns)
    ['RPS', 'deviance', 'CCdCov', 'JdCov', 'JSD', 'UF']
    """
    check_choice(sample, "sample", RESULTS)
    index = pd.MultiIndex.from_tuples(RESULTS[sample], names=["measure", "strength"])
    return pd.DataFrame(list(RESULTS[sample].values()), index=index, columns=list(COLUMNS), dtype=float)
