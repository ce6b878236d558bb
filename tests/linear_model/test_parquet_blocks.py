"""Fits from Parquet files are those of the frames that were written, in a bounded part of the memory."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from fairdcov import CCDCovPenalty, DCovPoissonRegressor
from fairdcov.linear_model import ArrayBlocks, ParquetBlocks

pytest.importorskip("pyarrow")

GRID = CCDCovPenalty(method="grid")


@pytest.fixture
def policies(book):
    frame = book["X"].assign(exposure=book["weight"], offset=book["offset"])
    frame["claims"] = np.round(book["y"] * book["weight"])
    frame["frequency"] = frame["claims"] / frame["exposure"]
    return frame.assign(**book["people"])


def test_parquet_is_the_frame(policies, tmp_path):
    policies.to_parquet(tmp_path / "policies.parquet", row_group_size=150)
    people = ["gender", "region", "age"]
    model = DCovPoissonRegressor(GRID, strength=2.0, alpha=1e-3)
    given = {
        "sample_weight": policies["exposure"],
        "sensitive_features": policies[people],
        "offset": policies["offset"],
    }
    expected = model.fit_blocks(ArrayBlocks(policies[list("abcd")], policies["frequency"], rows=64, **given))
    expected = expected.coef_.copy()
    options = {"features": list("abcd"), "sensitive_features": people, "offset": "offset", "rows": 64}
    by_exposure = ParquetBlocks(tmp_path / "policies.parquet", target="claims", exposure="exposure", **options)
    by_weight = ParquetBlocks(str(tmp_path), target="frequency", sample_weight="exposure", **options)
    for blocks in (by_exposure, by_weight):
        assert_allclose(model.fit_blocks(blocks).coef_, expected, rtol=1e-6, atol=1e-9)
        assert model.feature_names_in_.tolist() == list("abcd")


def test_several_files_and_a_transform(policies, tmp_path):
    policies[:250].to_parquet(tmp_path / "1.parquet")
    policies[250:].to_parquet(tmp_path / "2.parquet")
    options = {"target": "claims", "exposure": "exposure", "sensitive_features": "gender"}
    model = DCovPoissonRegressor(strength=1.0, alpha=1e-3)

    def made(frame):
        return np.column_stack([frame["a"], frame["b"] ** 2, frame["region"] == "n"]).astype(float)

    blocks = ParquetBlocks(tmp_path, features=["a", "b", "region"], transform=made, rows=100, **options)
    model.fit_blocks(blocks)
    rows = [len(block["y"]) for block in blocks]
    assert rows == [100, 100, 50, 100, 100, 100, 50]
    assert model.n_features_in_ == 3
    files = ParquetBlocks([tmp_path / "1.parquet", tmp_path / "2.parquet"], features=["a"], rows=1000, **options)
    assert [len(block["y"]) for block in files] == [250, 350]
    for block, features in zip(files, files.features_only(), strict=True):
        pd.testing.assert_frame_equal(block["X"], features["X"])


def test_what_parquet_lacks_is_said(policies, tmp_path):
    path = tmp_path / "policies.parquet"
    policies.to_parquet(path)
    with pytest.raises(ValueError, match=r"has no column\(s\) \['z'\]"):
        ParquetBlocks(path, features=["a", "z"], target="claims")
    with pytest.raises(ValueError, match="both given"):
        ParquetBlocks(path, features=["a"], target="claims", exposure="exposure", sample_weight="exposure")
    with pytest.raises(ValueError, match="features must be a list"):
        ParquetBlocks(path, features="a", target="claims")
    with pytest.raises(ValueError, match="found none"):
        ParquetBlocks([], features=["a"], target="claims")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="found none"):
        ParquetBlocks(tmp_path / "empty", features=["a"], target="claims")
    policies.loc[3, "claims"] = None
    policies.to_parquet(path)
    with pytest.raises(ValueError, match="block 0: y in row 3: Input y contains NaN"):
        DCovPoissonRegressor(strength=0).fit_blocks(ParquetBlocks(path, features=["a"], target="claims"))
    policies.loc[3, ["claims", "exposure"]] = 2, 0
    policies.to_parquet(path)
    with pytest.raises(ValueError, match=r"row 3 of a block has a target of 2.0 and an exposure of 0"):
        list(ParquetBlocks(path, features=["a"], target="claims", exposure="exposure"))


def test_a_policy_without_exposure_takes_no_part(policies, tmp_path):
    path = tmp_path / "policies.parquet"
    policies.loc[3, ["claims", "exposure"]] = 0, 0
    policies.to_parquet(path)
    (block,) = ParquetBlocks(path, features=["a"], target="claims", exposure="exposure")
    assert block["y"][3] == 0
    assert block["sample_weight"][3] == 0
    DCovPoissonRegressor(strength=0).fit_blocks(
        ParquetBlocks(path, features=["a"], target="claims", exposure="exposure")
    )


# Row groups of a million rows are 160 MB of features; the limit is far below what reading one at once would take.
MEMORY = """
import sys

import numpy as np
import pandas as pd

from fairdcov import DCovPoissonRegressor
from fairdcov.linear_model import ParquetBlocks

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name)) / 1024

path, names = sys.argv[1], [f"x{column}" for column in range(20)]
blocks = ParquetBlocks(path, features=names, target="y", sensitive_features="gender")
# A first fit has loaded what there is to load.
small = np.random.default_rng(0).normal(size=(400, 20))
few = [(pd.DataFrame(small, columns=names), np.ones(400) + (small[:, 0] > 0), None, small[:, 0] > 0)]
DCovPoissonRegressor(strength=1.0, alpha=1e-3).fit_blocks(few)
before = status("VmRSS")
model = DCovPoissonRegressor(strength=1.0, alpha=1e-3).fit_blocks(blocks)
assert model.converged_
print(status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_features_are_never_in_memory(tmp_path, rng):
    n = 1_000_000
    X = pd.DataFrame(rng.normal(size=(n, 20)), columns=[f"x{column}" for column in range(20)])
    gender = np.where(X["x0"] + rng.normal(size=n) > 0, "f", "m")
    X.assign(y=rng.poisson(np.exp(0.2 * X["x0"] - 1)), gender=gender).to_parquet(
        tmp_path / "rows.parquet", row_group_size=n
    )
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "rows.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # 50 bytes a row, and some blocks of 10 MB; a row group alone is read ahead as 160 MB, and decoded to as much.
    assert float(done.stdout) < 300
