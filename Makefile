# `make demo` and `make test` each work alone on a machine that has python3 >= 3.11 and a C compiler.

PYTHON ?= python3
VENV ?= .venv
WHEEL_VENV := .venv-wheel
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
KERNELS := $(wildcard fairdcov/_kernels/*.pyx fairdcov/_kernels/*.h)
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test lint docs debug-test wheel-test benchmark clean

help:
	@echo "make demo        fit a fair motor tariff on a synthetic book; results in demo-output/"
	@echo "make test        build into $(VENV) and run the tests"
	@echo "make lint        ruff and cython-lint"
	@echo "make docs        build the documentation into docs/_build/html"
	@echo "make debug-test  run the kernel tests against a build with bounds checks"
	@echo "make wheel-test  build a wheel, install it apart and run the tests against it"
	@echo "make benchmark   print the benchmark tables (FAIRDCOV_DATA for the GLM part)"
	@echo "make clean       remove environments and builds"

demo: $(INSTALLED)
	$(BIN)/fairdcov demo --output demo-output --force

test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("fairdcov needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "$(PYTHON) lacks the venv module (Debian: apt-get install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --upgrade pip

# The extension modules are compiled at installation: again when one of these files changes.
$(INSTALLED): $(VENV)/bin/python pyproject.toml setup.py $(KERNELS)
	$(BIN)/python $(PIP_INSTALL) --editable '.[test]'
	@touch $@

$(VENV)/.linted: $(INSTALLED)
	$(BIN)/python $(PIP_INSTALL) --editable '.[lint]'
	@touch $@

lint: $(VENV)/.linted
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/cython-lint fairdcov

docs: $(INSTALLED)
	$(BIN)/python $(PIP_INSTALL) --editable '.[docs]'
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# The debug build lives in its own folder; -P and the changed directory keep the source tree off the import path.
debug-test: $(INSTALLED)
	$(BIN)/python $(PIP_INSTALL) 'setuptools>=77' 'Cython>=3.1'
	rm -rf build/debug
	FAIRDCOV_DEBUG=1 $(BIN)/python setup.py --quiet build --build-lib build/debug --build-temp build/debug-objects
	rm -rf build/debug-tests && mkdir -p build/debug-tests && cp -r tests pyproject.toml build/debug-tests/
	cd build/debug-tests && PYTHONPATH=../debug ../../$(BIN)/python -P -c 'import fairdcov; assert "build/debug" in fairdcov.__file__, fairdcov.__file__'
	cd build/debug-tests && PYTHONPATH=../debug ../../$(BIN)/python -P -m pytest tests/kernels

wheel-test:
	rm -rf build/wheel build/wheel-tests $(WHEEL_VENV)
	$(PYTHON) -m venv $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python $(PIP_INSTALL) --upgrade pip
	$(WHEEL_VENV)/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(WHEEL_VENV)/bin/python $(PIP_INSTALL) "$$(ls build/wheel/fairdcov-*.whl)[test]"
	mkdir -p build/wheel-tests && cp -r tests pyproject.toml build/wheel-tests/
	cd build/wheel-tests && ../../$(WHEEL_VENV)/bin/python -P -c 'import fairdcov; assert "site-packages" in fairdcov.__file__, fairdcov.__file__'
	cd build/wheel-tests && ../../$(WHEEL_VENV)/bin/python -P -m pytest -m "not slow"

benchmark: $(INSTALLED)
	$(BIN)/python benchmarks/kernels.py
	$(BIN)/python benchmarks/glm.py

clean:
	rm -rf $(VENV) $(WHEEL_VENV) build demo-output docs/_build fairdcov.egg-info
	find fairdcov -name '*.so' -delete
