"""Loaders: download, cache, offline folder, and files that are not what they should be."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from fairdcov.datasets import _fetch, fetch_compas, fetch_pg15training
from fairdcov.exceptions import IntegrityError

CONTENT = b"made for a test\n"
REMOTE = _fetch.RemoteFile("file.txt", "https://example.invalid/file.txt", (hashlib.sha256(CONTENT).hexdigest(),))


@pytest.fixture
def network(monkeypatch, tmp_path):
    """A cache folder, and downloads that deliver what the test says."""
    served = {"content": CONTENT, "calls": 0}

    def fetch_file(url, folder, local_filename, **_):
        served["calls"] += 1
        if isinstance(served["content"], Exception):
            raise served["content"]
        path = Path(folder) / local_filename
        path.write_bytes(served["content"])
        return path

    monkeypatch.setattr(_fetch, "fetch_file", fetch_file)
    monkeypatch.delenv("FAIRDCOV_DATA", raising=False)
    served["home"] = tmp_path / "home"
    return served


def test_downloaded_once_and_cached(network):
    path = _fetch.locate(REMOTE, network["home"])
    assert path.read_bytes() == CONTENT
    assert _fetch.locate(REMOTE, network["home"]) == path
    assert network["calls"] == 1
    assert [file.name for file in network["home"].iterdir()] == ["file.txt"]


def test_wrong_download_is_kept_aside_and_not_loaded(network):
    network["content"] = b"something else"
    with pytest.raises(IntegrityError, match=r"expected .* kept as .*file\.txt\.rejected"):
        _fetch.locate(REMOTE, network["home"])
    assert [file.name for file in network["home"].iterdir()] == ["file.txt.rejected"]
    network["content"] = CONTENT
    assert _fetch.locate(REMOTE, network["home"]).read_bytes() == CONTENT


def test_no_network_says_where_to_put_the_file(network):
    network["content"] = OSError("no route to host")
    with pytest.raises(OSError, match=r"no route to host.*FAIRDCOV_DATA.*example\.invalid"):
        _fetch.locate(REMOTE, network["home"])
    assert list(network["home"].iterdir()) == []
    with pytest.raises(FileNotFoundError, match="download_if_missing=False"):
        _fetch.locate(REMOTE, network["home"], download_if_missing=False)


def test_offline_folder_is_read_and_never_written(network, monkeypatch, tmp_path):
    folder = tmp_path / "offline"
    folder.mkdir()
    (folder / "file.txt").write_bytes(CONTENT)
    monkeypatch.setenv("FAIRDCOV_DATA", str(folder))
    assert _fetch.locate(REMOTE) == folder / "file.txt"
    (folder / "file.txt").write_bytes(b"damaged")
    with pytest.raises(IntegrityError, match="not loaded"):
        _fetch.locate(REMOTE)
    assert [file.name for file in folder.iterdir()] == ["file.txt"]
    assert network["calls"] == 0


def test_a_users_own_folder_is_not_renamed_in(network):
    network["home"].mkdir()
    (network["home"] / "file.txt").write_bytes(b"damaged")
    with pytest.raises(IntegrityError):
        _fetch.locate(REMOTE, network["home"])
    assert [file.name for file in network["home"].iterdir()] == ["file.txt"]


def test_data_home_goes_before_the_environment(network, monkeypatch, tmp_path):
    monkeypatch.setenv("FAIRDCOV_DATA", str(tmp_path))
    (tmp_path / "file.txt").write_bytes(CONTENT)
    assert _fetch.locate(REMOTE, network["home"]).parent == network["home"]


real_data = pytest.mark.skipif(not os.environ.get("FAIRDCOV_DATA"), reason="FAIRDCOV_DATA is not set")


@pytest.mark.real_data
@real_data
def test_pg15training():
    book = fetch_pg15training()
    assert book.data.shape == (100_000, 9)
    assert book.claims.sum() == 14_724
    np.testing.assert_allclose(book.exposure.max(), 1.0)
    assert {name: book.sensitive_features[name].nunique() for name in book.sensitive_features} == {
        "region": 10,
        "gender": 2,
    }
    assert not book.frame.isna().any().any()
    X, y = fetch_pg15training(drop_first=0, return_X_y=True)
    assert len(X) == len(y) == 100_021


@pytest.mark.real_data
@real_data
def test_compas():
    compas = fetch_compas()
    # ProPublica's own counts after its filter
    assert len(compas.target) == 6_172
    assert compas.target.sum() == 2_809
    assert compas.sensitive_features["race"].value_counts().to_dict() == {
        "African-American": 3_175,
        "Caucasian": 2_103,
        "Hispanic": 509,
        "Other": 385,
    }
    everything = fetch_compas(propublica_filter=False, group_rare_races=False)
    assert len(everything.target) == 7_214
    assert everything.sensitive_features["race"].nunique() == 6
