"""The examples of the guide to the networks run; `make docs` leaves them out where PyTorch is not installed."""

import doctest
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

REPOSITORY = Path(__file__).parents[2]
# As Sphinx runs the other pages.
OPTIONS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL | doctest.DONT_ACCEPT_TRUE_FOR_1


@pytest.mark.filterwarnings("default")
def test_examples_of_the_guide(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    guide = REPOSITORY / "docs" / "neural.rst"
    if not guide.exists():
        pytest.skip("the tests run away from the repository, without docs/")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(REPOSITORY / "examples")
    parts = {"module_relative": False, "globs": {"np": np, "pd": pd}, "encoding": "utf-8"}
    result = doctest.testfile(str(guide), optionflags=OPTIONS, **parts)
    assert result.attempted > 5
    assert result.failed == 0
