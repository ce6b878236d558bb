"""The timed suite runs: every benchmark once, on few rows."""

import inspect
import itertools

import pytest

MODULES = ("kernels", "fits")


@pytest.mark.parametrize("name", MODULES)
def test_every_benchmark_runs(name, script, monkeypatch):
    if name == "fits":
        pytest.importorskip("lightgbm")
    module = script(f"suite.{name}")
    book = module.make_book
    monkeypatch.setattr(module, "make_book", lambda n: book(min(n, 400)))
    classes = [value for _, value in inspect.getmembers(module, inspect.isclass) if value.__module__ == module.__name__]
    ran = 0
    for benchmarks in classes:
        timed = [method for method in dir(benchmarks) if method.startswith(("time_", "peakmem_"))]
        parameters = [(value,) for value in getattr(benchmarks, "params", ())] or [()]
        for method, arguments in itertools.product(timed, parameters):
            benchmark = benchmarks()
            benchmark.setup(*arguments)
            getattr(benchmark, method)(*arguments)
            ran += 1
    assert ran >= len(classes) > 0
