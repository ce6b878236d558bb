"""A copy of the source whose kernels were not compiled says what to run."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fairdcov._kernels


def copy_of_the_source(folder):
    kernels = folder / "fairdcov" / "_kernels"
    kernels.mkdir(parents=True)
    (folder / "fairdcov" / "__init__.py").touch()
    for file in Path(fairdcov._kernels.__file__).parent.glob("*.py"):
        shutil.copy(file, kernels)
    return kernels


def last_line_of_an_import(folder):
    python = subprocess.run(
        [sys.executable, "-c", "import fairdcov._kernels"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert python.returncode == 1
    return python.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("is_checkout", "advice"),
    [(True, "-m pip install -e .' in {folder}, which needs a C compiler"), (False, "--force-reinstall --no-deps")],
    ids=["checkout", "installed"],
)
def test_it_says_what_to_run(tmp_path, is_checkout, advice):
    copy_of_the_source(tmp_path)
    if is_checkout:
        (tmp_path / "pyproject.toml").touch()
    message = last_line_of_an_import(tmp_path)
    assert message.startswith(f"ImportError: the kernels in {tmp_path / 'fairdcov'} are not compiled for this Python")
    assert advice.format(folder=tmp_path) in message


def test_a_kernel_that_cannot_be_loaded_speaks_for_itself(tmp_path):
    (copy_of_the_source(tmp_path) / "_features.py").write_text("raise ImportError('libgomp.so.1 is not there')\n")
    assert last_line_of_an_import(tmp_path) == "ImportError: libgomp.so.1 is not there"
