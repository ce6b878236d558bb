"""The table of versions that reports of errors ask for."""

from importlib import metadata

import fairdcov


def test_versions_of_what_is_there_and_of_what_is_not(capsys, monkeypatch):
    fairdcov.show_versions()
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line)
    assert lines["numpy"] == metadata.version("numpy")
    assert lines["fairdcov"] == fairdcov.__version__
    version = metadata.version

    def without_two(name):
        if name in ("xgboost", "narwhals"):
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without_two)
    fairdcov.show_versions()
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line)
    assert lines["xgboost"] == "-"
    assert lines["narwhals"] == "missing, and needed"
