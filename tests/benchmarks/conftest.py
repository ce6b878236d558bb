"""The scripts beside the package, and made-up data with the columns of the public sets, on which they run at once."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def script():
    """Function that imports a module of benchmarks/, which is no part of the package, by name."""
    if not FOLDER.exists():
        pytest.skip("the tests run away from the repository, without benchmarks/")
    names = {file.stem for file in FOLDER.glob("*.py")}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        for name in names:
            patch.delitem(sys.modules, name, raising=False)
        yield importlib.import_module
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture
def book(rng):
    """Policies as ``fetch_pg15training`` has them; age tells the region, and claims depend on both."""
    n = 700
    region = rng.choice(list("LMN"), n)
    features = pd.DataFrame(
        {
            "Age": rng.uniform(18, 75, n) + 10 * (region == "L"),
            "Bonus": rng.integers(-5, 15, n) * 10.0,
            "Poldur": rng.integers(0, 15, n) * 1.0,
            "Value": rng.uniform(1_000, 50_000, n),
            "Density": rng.uniform(14, 300, n),
            "Type": pd.Categorical(rng.choice(list("ABC"), n)),
            "Occupation": pd.Categorical(rng.choice(["Employed", "Retired"], n)),
            "Group1": pd.Categorical(rng.choice([f"{k}" for k in range(1, 5)], n)),
            "Category": pd.Categorical(rng.choice(["Small", "Large"], n)),
        }
    )
    protected = pd.DataFrame({"region": pd.Categorical(region), "gender": pd.Categorical(rng.choice(["f", "m"], n))})
    exposure = rng.uniform(0.3, 1.0, n)
    claims = rng.poisson(exposure * np.exp(-3.0 + 0.04 * features["Age"] + 0.5 * (region == "L"))).astype(float)
    return Bunch(data=features, sensitive_features=protected, claims=claims, exposure=exposure)


@pytest.fixture
def defendants(rng):
    """Defendants as ``fetch_compas`` has them, with age in years among the protected attributes."""
    n = 700
    age = rng.integers(18, 70, n).astype(float)
    data = pd.DataFrame(
        {
            "priors_count": rng.poisson(2 + 3 * (age < 30), n).astype(float),
            "juv_fel_count": rng.poisson(0.1, n).astype(float),
            "juv_misd_count": rng.poisson(0.1, n).astype(float),
            "juv_other_count": rng.poisson(0.1, n).astype(float),
            "c_charge_degree": pd.Categorical(rng.choice(["F", "M"], n)),
        }
    )
    protected = pd.DataFrame(
        {
            "sex": pd.Categorical(rng.choice(["Female", "Male"], n)),
            "race": pd.Categorical(rng.choice(["A", "B"], n)),
            "age": age,
        }
    )
    target = rng.binomial(1, 1 / (1 + np.exp(1.5 - 0.4 * data["priors_count"])))
    return Bunch(data=data, sensitive_features=protected, target=target)
