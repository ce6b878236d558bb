# `make demo` and `make test` each work alone on a machine that has python3 >= 3.11 and a C compiler.

PYTHON ?= python3
VENV ?= .venv
WHEEL_VENV := .venv-wheel
WHEEL_INSTALLED := $(WHEEL_VENV)/.installed
# Compiled modules, templates, the command line, optional packages and every module: what a wheel could lack.
WHEEL_TESTS := tests/kernels/test_inputs.py tests/report/test_page.py tests/cli/test_parser.py tests/cli/test_predict.py tests/test_imports.py tests/checks/test_optional.py \
	tests/test_docstrings.py::test_examples_are_found tests/test_docstrings.py::test_public_names_are_documented
# What is installed into $(VENV): the package in place, and what the tests need. .ci/lanes asks for other things.
INSTALL ?= --editable '.[test]'
# Processes that share the tests, each with one thread; WORKERS=0 runs them in one process with two threads.
WORKERS ?= 2
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
KERNELS := $(wildcard fairdcov/_kernels/*.pyx fairdcov/_kernels/*.h)
# All that goes into a wheel: what git ignores in there is made by builds and by Python.
SOURCES := $(shell find fairdcov -name __pycache__ -prune -o -type f ! -name '*.so' ! -name '*.c' -print)
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
# Tests that share a fitted model stay together as long as no worker is idle.
QUICK_TESTS = -m pytest -m "not slow" --numprocesses $(WORKERS) --dist worksteal
# dcor, which some tests compare with, compiles itself when it is first imported: once here, where it is installed, not in
# all processes at the same time.
COMPILE_ONCE = -c "import importlib.util as u; u.find_spec('dcor') and __import__('dcor')"
TOOLS := $(VENV)/.tools

# A copy to build from: no object file of another build is taken for up to date, and builds can run side by side.
copy_sources = rm -rf $(1) && mkdir -p $(1) && cp -R setup.py pyproject.toml README.md LICENSE fairdcov $(1)/ && rm -f $(1)/fairdcov/_kernels/*.so

.PHONY: help demo test quick-tests lanes lint docs linkcheck debug-test asan-test wheel-test benchmark clean

help:
	@echo "make demo        claim frequencies with a calibrated penalty on a synthetic book; results in demo-output/"
	@echo "make test        build into $(VENV) and run the tests"
	@echo "make lanes       the same on Python 3.12, 3.13 and 3.14, on the lowest versions, and without extras"
	@echo "make lint        ruff, cython-lint and mypy"
	@echo "make docs        build the documentation into docs/_build/html and run its examples"
	@echo "make linkcheck   follow the links of the documentation to other sites"
	@echo "make debug-test  run the kernel tests against a build with bounds checks"
	@echo "make asan-test   run the kernel tests against a build with gcc's sanitizers of addresses and undefined behaviour"
	@echo "make wheel-test  build a wheel, install it apart and run tests of what could be missing from it"
	@echo "make benchmark   print the benchmark tables (FAIRDCOV_DATA for the GLM part)"
	@echo "make clean       remove environments and builds"

demo: $(INSTALLED)
	$(BIN)/fairdcov demo --output demo-output --force

test: $(INSTALLED)
	$(BIN)/python $(COMPILE_ONCE)
	$(BIN)/python $(QUICK_TESTS)

# In an environment that is there, without installing anything: for .ci/lanes.
quick-tests:
	$(BIN)/python $(COMPILE_ONCE)
	$(BIN)/python $(QUICK_TESTS) $(TESTS)

lanes:
	.ci/lanes

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("fairdcov needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "$(PYTHON) lacks the venv module (Debian: apt-get install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --upgrade pip

# The extension modules are compiled at installation: again when one of these files changes.
$(INSTALLED): $(VENV)/bin/python pyproject.toml setup.py $(KERNELS)
	$(BIN)/python $(PIP_INSTALL) $(INSTALL)
	@touch $@

# Only what the extras ask for: the package is there already and is not compiled again.
$(TOOLS): $(INSTALLED)
	$(BIN)/python $(PIP_INSTALL) 'fairdcov[lint,docs]'
	@touch $@

# cython-lint looks for pycodestyle on the path.
lint: $(TOOLS)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/cython-lint fairdcov
	$(BIN)/python .ci/kernel_stubs.py --check
	$(BIN)/mypy
	$(BIN)/mypy --strict --config-file= --ignore-missing-imports --follow-imports=silent tests/typing

# The gallery runs its quick scripts. The examples of the pages are run; those of the docstrings are run by the tests, and
# what numpydoc says of docstrings is checked here, where it is installed.
# One thread: the scripts are small, and waiting threads are slow where others work too.
docs: export OMP_NUM_THREADS = 1
docs: $(TOOLS)
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -b doctest docs docs/_build/doctest $(wildcard docs/*.rst)
	$(BIN)/python -m pytest -q tests/test_docstrings.py -k numpydoc

# Links to other sites; needs them. Those within the pages are followed by `make docs`.
linkcheck: $(TOOLS)
	$(BIN)/python -m sphinx -q -b linkcheck -D plot_gallery=0 docs docs/_build/linkcheck

# Both run copies of the tests away from the source tree; tests/conftest.py refuses to run on any other build than the
# one that FAIRDCOV_TEST_LOCATION names.
debug-test: $(INSTALLED)
	$(call copy_sources,build/debug-source)
	rm -rf build/debug
	FAIRDCOV_DEBUG=1 $(BIN)/python $(PIP_INSTALL) --no-deps --target build/debug ./build/debug-source
	PYTHONPATH=build/debug $(BIN)/python -P -c "$$CHECK_BOUNDS_CHECKS"
	rm -rf build/debug-tests && mkdir -p build/debug-tests && cp -R tests pyproject.toml build/debug-tests/
	cd build/debug-tests && PYTHONPATH=$(abspath build/debug) FAIRDCOV_TEST_LOCATION=$(abspath build/debug) \
		$(abspath $(BIN))/python -m pytest --numprocesses $(WORKERS) --dist worksteal tests/kernels

# Leaks are Python's own business. Without Python's pools of memory every array has an end that is watched; the first
# command makes sure of that.
asan-test: SANITIZED = LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libstdc++.so.6)" \
	ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc
asan-test: $(INSTALLED)
	$(call copy_sources,build/asan-source)
	rm -rf build/asan build/asan-tests
	FAIRDCOV_SANITIZE=address $(BIN)/python $(PIP_INSTALL) --no-deps --target build/asan ./build/asan-source
	$(SANITIZED) PYTHONPATH=build/asan $(BIN)/python -P -c "$$CHECK_BOUNDS_CHECKS" 2>&1 | grep -q heap-buffer-overflow
	mkdir -p build/asan-tests && cp -R tests pyproject.toml build/asan-tests/
	cd build/asan-tests && $(SANITIZED) PYTHONPATH=../asan FAIRDCOV_TEST_LOCATION=../asan \
		$(abspath $(BIN))/python -m pytest tests/kernels

wheel-test: $(WHEEL_INSTALLED)
	rm -rf build/wheel-tests && mkdir -p build/wheel-tests && cp -R tests pyproject.toml README.md build/wheel-tests/
	$(WHEEL_VENV)/bin/python $(COMPILE_ONCE)
	cd build/wheel-tests && FAIRDCOV_TEST_LOCATION=$(abspath $(WHEEL_VENV)) $(abspath $(WHEEL_VENV))/bin/python $(QUICK_TESTS) $(WHEEL_TESTS)

$(WHEEL_INSTALLED): setup.py pyproject.toml README.md $(SOURCES) | $(VENV)/bin/python
	$(call copy_sources,build/wheel-source)
	rm -rf build/wheel $(WHEEL_VENV)
	$(PYTHON) -m venv $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python $(PIP_INSTALL) --upgrade pip
	$(WHEEL_VENV)/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel ./build/wheel-source
	$(WHEEL_VENV)/bin/python $(PIP_INSTALL) "$$(ls build/wheel/fairdcov-*.whl)[test]"
	@touch $@

# A position beyond the end raises only where bounds are checked.
define CHECK_BOUNDS_CHECKS
import numpy as np
from fairdcov._kernels import _scan
one = np.zeros(1)
try:
    _scan.signed_weights(one, np.ones(1, np.int64), one, np.zeros(1))
except IndexError:
    pass
else:
    raise SystemExit(_scan.__file__ + ' was compiled without bounds checks')
endef
export CHECK_BOUNDS_CHECKS

benchmark: $(INSTALLED)
	$(BIN)/python benchmarks/kernels.py
	$(BIN)/python benchmarks/glm.py

clean:
	rm -rf $(VENV) $(WHEEL_VENV) .venv-3.* .venv-lowest .venv-bare build demo-output docs/_build docs/api/generated docs/auto_examples fairdcov.egg-info
	find fairdcov -name '*.so' -delete
