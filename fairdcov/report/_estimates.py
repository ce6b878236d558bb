"""Proxy discrimination of the prices, by best estimates for each level of the protected attributes."""

import numpy as np

from fairdcov.metrics import admissible_price, proxy_discrimination, proxy_discrimination_by_feature
from fairdcov.report._differences import compared_groups, measure_groups
from fairdcov.report._proxies import read_columns

__all__ = ["proxy_discrimination_section"]

# Rows of the attribution to features, and fits of small trees that it may take.
_ROWS = 5000
_FITS = 100
# What rounding leaves of a price without proxy discrimination.
_NOTHING = 1e-9


def proxy_discrimination_section(sample, settings):
    """Proxy discrimination of each price beside unfairness ratio and distance covariance, and the features behind it.

    Parameters
    ----------
    sample : AuditSample
        Data.
    settings : dict
        ``min_group_size``.

    Returns
    -------
    dict or None
        None without best estimates. ``prices``: the predictions, the baseline, the admissible price that is nearest to
        the predictions and, where the shares of the levels are known, the discrimination-free price.
    """
    if sample.best_estimates is None:
        return None
    estimates, exposure = sample.best_estimates.estimates, sample.book.exposure
    nearest = admissible_price(sample.predictions, estimates, sample_weight=exposure)
    prices = sample.book.predictions
    prices["admissible"] = nearest.price
    if sample.best_estimates.price is not None:
        prices["discrimination_free"] = sample.best_estimates.price
    shown = [name for name in ("y_pred", "baseline", "admissible", "discrimination_free") if name in prices]
    section = {
        "source": sample.best_estimates.source,
        "n_levels": estimates.shape[1],
        "constant": nearest.constant,
        "shares": nearest.shares,
        "prices": [_price(sample, name, settings) for name in shown],
        "n_samples": 0,
        "features": [],
    }
    if sample.features is not None and nearest.proxy_discrimination > _NOTHING:
        section |= _features(sample, nearest.proxy_discrimination)
    return section


def _price(sample, which, settings):
    """Figures of one price; the measures of groups are of the intersection of all attributes."""
    price, names = sample.book.predictions[which], tuple(sample.names)
    measures = measure_groups(compared_groups(sample, names, settings, which=which), ("unfairness_ratio_by_share",))
    value = proxy_discrimination(price, sample.best_estimates.estimates, sample_weight=sample.book.exposure)
    return {
        "price": which,
        "mean": float(np.average(price, weights=sample.book.exposure)),
        "proxy_discrimination": value if value > _NOTHING else 0.0,
        **measures,
        "ccdcov_normalized": sample.dependence(names, "ccdcov", which)[1],
    }


def _features(sample, total):
    """Attribution to the features, on a subsample, scaled to the figure of all rows."""
    rows = sample.subset("proxy discrimination", _ROWS)
    protected = {*sample.names, *sample.attributes.names}
    names = [
        column.name
        for column in read_columns(sample.features, rows)
        if not column.skipped and not column.constant and column.name not in protected
    ]
    if not names:
        return {}
    table = proxy_discrimination_by_feature(
        sample.predictions[rows],
        sample.best_estimates.estimates[rows],
        sample.features[rows, :].select(names).to_native(),
        sample_weight=sample.book.exposure[rows],
        n_orders=max(2, _FITS // len(names)),
        random_state=sample.seed,
    )
    features = [
        {"feature": name, "effect": row["share"] * total, "share": row["share"], "alone": row["alone"]}
        for name, row in table.to_dict("index").items()
    ]
    return {"n_samples": len(rows), "features": features}
