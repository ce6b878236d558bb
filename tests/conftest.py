"""What all tests share. Set before anything imports NumPy or matplotlib: threads and the drawing backend."""

import importlib.util
import os
import zlib
from pathlib import Path

# Two threads on any machine: the threaded paths run, and a large machine is not flooded. One where several processes
# share the tests: those of threads ask for them by number.
_UNSET = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"} - set(os.environ)
os.environ.update(dict.fromkeys(_UNSET, "2"))
# Threads that wait leave the cores to those that work: of two processes with two threads each, and of any small test.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["MPLBACKEND"] = "Agg"

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import sklearn  # noqa: E402

import fairdcov  # noqa: E402
from fairdcov import _kernels  # noqa: E402

# Several threads for samples of the size that tests have: no result depends on their number.
_kernels._ROWS_OF_A_THREAD, _kernels._MANY_ENTRIES = 4_096, 2**14


def pytest_configure(config):
    """Refuse to test another build than the one that FAIRDCOV_TEST_LOCATION names (see the Makefile)."""
    if getattr(config.option, "numprocesses", None):
        os.environ.update(dict.fromkeys(_UNSET, "1"))  # which the processes inherit
    wanted = os.environ.get("FAIRDCOV_TEST_LOCATION")
    found = Path(fairdcov.__file__).resolve()
    if wanted and Path(wanted).resolve() not in found.parents:
        raise pytest.UsageError(f"the tests should run on the build in {wanted}, but import {found}")


def pytest_report_header():
    """Say what is tested, and with what."""
    return (
        f"fairdcov {fairdcov.__version__} from {Path(fairdcov.__file__).parent}\n"
        f"numpy {np.__version__}, scikit-learn {sklearn.__version__}, {os.environ['OMP_NUM_THREADS']} threads, "
        f"real data: {'yes' if os.environ.get('FAIRDCOV_DATA') else 'no (FAIRDCOV_DATA is not set)'}"
    )


@pytest.fixture
def rng(request):
    """Random generator with a seed of the test's own; the seed is printed when the test fails."""
    seed = zlib.crc32(request.node.nodeid.encode())
    request.node.add_report_section("setup", "rng", f"numpy.random.default_rng({seed})")
    return np.random.default_rng(seed)


@pytest.fixture(scope="session")
def dcor():
    """What distance statistics are compared with. Only tests need it; it compiles itself when it is first imported."""
    return pytest.importorskip("dcor")


@pytest.fixture(scope="session")
def import_example():
    """Function that imports a script of examples/ by name, as a user would who keeps it beside the own code."""

    def load(name):
        file = Path(__file__).parents[1] / "examples" / f"{name}.py"
        if not file.exists():
            pytest.skip("the tests run away from the repository, without examples/")
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
