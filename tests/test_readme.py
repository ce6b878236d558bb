"""The code in the README runs as it stands, block after block."""

import re
import warnings
from pathlib import Path

import pytest

from fairdcov.exceptions import SensitiveFeaturesWarning

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.skipif(not README.exists(), reason="the README is not beside the tests")
def test_code_blocks_run(capsys, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 3
    pytest.importorskip("lightgbm")
    pytest.importorskip("jinja2")
    monkeypatch.chdir(tmp_path)
    namespace = {}
    with warnings.catch_warnings():
        # The calibration in the README may say that its rule was not met: that is what if_unmet="warn" is for.
        warnings.simplefilter("ignore", SensitiveFeaturesWarning)
        for block in blocks:
            exec(compile(block, str(README), "exec"), namespace)
    assert (tmp_path / "report.html").stat().st_size > 10_000
    kept = re.search(r"premium kept: (\d\.\d+)", capsys.readouterr().out)
    assert abs(float(kept[1]) - 1) < 1e-3
