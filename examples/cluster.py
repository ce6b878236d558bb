"""
A penalised fit on a cluster
============================

A Poisson GLM on a book that is in partitions, with Dask. Every partition compares its rows with all others by way of a
small table that is added up, so the penalty is that of the whole book and not a mean over partitions.

Run it with ``pip install 'fairdcov[distributed]'``: ``python examples/cluster.py`` starts two workers on this machine,
``python examples/cluster.py tcp://scheduler:8786`` takes a cluster that is there. It takes less than a minute.
"""

# %%
import sys
import time

import dask.array as da
from dask.distributed import Client, LocalCluster

from fairdcov import DCovPoissonRegressor
from fairdcov.distributed import DaskDCovRegressor, ccdcov, group_summary

N, N_FEATURES, ROWS = 400_000, 10, 50_000


# %%
# A made-up book, drawn where the partitions are; nothing of it is here. What drives claims goes along with gender and
# region.
def made_up_book():
    """Features, claim frequency, exposure and protected attributes as Dask arrays."""
    random = da.random.default_rng(0)
    gender = random.integers(0, 2, N, chunks=ROWS)
    region = random.integers(0, 10, N, chunks=ROWS)
    noise = random.normal(size=(N, N_FEATURES), chunks=(ROWS, N_FEATURES))
    X = noise + da.stack([gender, 0.2 * region] + [0 * gender] * (N_FEATURES - 2), axis=1).rechunk((ROWS, N_FEATURES))
    exposure = random.uniform(0.1, 1.0, N, chunks=ROWS)
    claims = random.poisson(exposure * da.exp(0.3 * X[:, 0] + 0.2 * X[:, 1] - 3.0))
    # Drawn once, or every pass would draw another book.
    return [part.persist() for part in (X, claims / exposure, exposure, da.stack([gender, region], axis=1))]


# %%
# The fit, the dependence of its predictions on both attributes together, and what the groups pay. Metrics take
# collections as well, and bring in no more than sums.
def main():
    """Fit without and with a penalty."""
    # A worker starts with this module, hence the guard below.
    client = Client(sys.argv[1]) if len(sys.argv) > 1 and "://" in sys.argv[1] else Client(LocalCluster(n_workers=2))
    with client:
        X, frequency, exposure, people = made_up_book()
        data = {"sample_weight": exposure, "sensitive_features": people}
        for strength in (0.0, 0.3):
            start = time.perf_counter()
            model = DaskDCovRegressor(DCovPoissonRegressor(strength=strength, alpha=1e-4))
            model.fit(X, frequency, **data)
            seconds = time.perf_counter() - start
            premium = model.predict(X).persist()
            dependence = ccdcov(None, premium, normalize=True, **data)
            print(f"\nstrength {strength:g}: {seconds:.1f} s, dependence {dependence:.5f}")
            by_gender = {"sensitive_features": people[:, :1], "sample_weight": exposure}
            print(group_summary(frequency, premium, **by_gender)[["rows", "mean_predicted"]])
        # What comes back is an ordinary model, which needs no Dask.
        print("\n", model.estimator_)


if __name__ == "__main__":
    main()
