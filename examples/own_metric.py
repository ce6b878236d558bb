"""
A metric of one's own
=====================

How far apart are the groups in predicted over observed claims? A metric is a function of observed values, predictions,
protected attributes and weights; null distributions and scorers take any such function.
"""

# %%
import numpy as np
import pandas as pd

from fairdcov import DCovPoissonRegressor
from fairdcov.datasets import make_motor_portfolio
from fairdcov.metrics import make_fairness_scorer, null_distribution, sensitive_groups


# [metric]
def balance_gap(y_true, y_pred, *, sensitive_features, sample_weight=None, bins=None):
    """Largest less smallest predicted / observed total of the intersectional groups; 0 where all are in balance."""
    weights = np.ones(len(y_pred)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
    groups = sensitive_groups(sensitive_features, bins=bins).astype(str).agg("|".join, axis=1)
    totals = pd.DataFrame({"observed": weights * np.asarray(y_true), "predicted": weights * np.asarray(y_pred)})
    # Rows of weight 0 are absent, and so are groups that have no others.
    totals = totals[weights > 0].groupby(groups.to_numpy()[weights > 0]).sum()
    if (totals["observed"] <= 0).any():
        empty = ", ".join(totals.index[totals["observed"] <= 0])
        raise ValueError(f"y_true has a total of 0 in some groups, for which there is no balance: {empty}")
    ratios = totals["predicted"] / totals["observed"]
    return float(ratios.max() - ratios.min())


# [use]
if __name__ == "__main__":
    book = make_motor_portfolio(10_000, random_state=0)
    X, protected = book.data.select_dtypes("number"), book.sensitive_features[["gender", "region"]]
    model = DCovPoissonRegressor(strength=10.0).fit(
        X, book.target, sample_weight=book.exposure, sensitive_features=protected
    )
    data = {"sensitive_features": protected, "sample_weight": book.exposure}
    # Groups that do not matter are out of balance by chance: a value says something beside these.
    null = null_distribution(balance_gap, book.target, model.predict(X), n_permutations=50, random_state=0, **data)
    print(f"gap {null.observed:.3f}; 95 % of permutations of the groups stay below {null.quantile(0.95):.3f}")
    # For searches; its sign is changed, so that larger is better.
    scorer = make_fairness_scorer(balance_gap)
    print(f"score {scorer(model, X, book.target, **data):.3f}")
