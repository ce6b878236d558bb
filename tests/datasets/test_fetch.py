"""Loaders: download, cache, offline folder, and files that are not what they should be."""

import hashlib
import http.server
import os
import threading
import warnings
from http.client import IncompleteRead
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import get_data_home

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


@pytest.mark.parametrize("error", [TimeoutError("timed out"), IncompleteRead(b"half")])
def test_any_broken_download_is_an_os_error(network, error):
    network["content"] = error
    with pytest.raises(OSError, match=r"file\.txt could not be downloaded .*FAIRDCOV_DATA"):
        _fetch.locate(REMOTE, network["home"])


def test_without_download_nothing_is_created(network, monkeypatch, tmp_path):
    monkeypatch.setenv("FAIRDCOV_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match=r"not in .*cache.*elsewhere.* download_if_missing=False"):
        _fetch.locate(REMOTE, download_if_missing=False)
    assert network["calls"] == 0
    assert list(tmp_path.iterdir()) == []


def test_default_cache_lies_in_scikit_learns_folder(network, monkeypatch, tmp_path):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "cache"))
    assert _fetch.locate(REMOTE) == Path(get_data_home()) / "fairdcov" / "file.txt"
    monkeypatch.delenv("SCIKIT_LEARN_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert _fetch.locate(REMOTE) == Path(get_data_home()) / "fairdcov" / "file.txt"


def test_a_damaged_file_in_the_default_cache_is_set_aside_and_replaced(network, monkeypatch, tmp_path):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    path = _fetch.locate(REMOTE)
    path.write_bytes(b"damaged")
    with pytest.raises(IntegrityError, match=r"kept as .*file\.txt\.rejected"):
        _fetch.locate(REMOTE)
    assert (path.parent / "file.txt.rejected").read_bytes() == b"damaged"
    assert _fetch.locate(REMOTE).read_bytes() == CONTENT


def test_home_is_expanded(network, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert _fetch.locate(REMOTE, "~/data") == tmp_path / "data" / "file.txt"
    monkeypatch.setenv("FAIRDCOV_DATA", "~/data")
    assert _fetch.locate(REMOTE) == tmp_path / "data" / "file.txt"
    assert network["calls"] == 1


def test_a_folder_that_cannot_be_used_is_named(network, tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(OSError, match=r"taken.*FAIRDCOV_DATA"):
        _fetch.locate(REMOTE, tmp_path / "taken")
    with pytest.raises(TypeError, match="data_home must be None or the path of a folder; found 3"):
        _fetch.locate(REMOTE, 3)


@pytest.fixture
def server():
    """Web server on this machine, to see scikit-learn's own download at work."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body, announced = self.server.answers.pop(0)
            self.send_response(status)
            self.send_header("Content-Length", str(announced))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def served(server, monkeypatch):
    """The test's file at the address of the server, asked without a proxy and without pauses between attempts."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("FAIRDCOV_DATA", raising=False)
    original = _fetch.fetch_file
    monkeypatch.setattr(_fetch, "fetch_file", lambda *args, **options: original(*args, **{**options, "delay": 0}))
    return _fetch.RemoteFile("file.txt", f"http://127.0.0.1:{server.server_port}/file.txt", REMOTE.sha256)


WHOLE = (200, CONTENT, len(CONTENT))
BROKEN = (500, b"", 0)
CUT = (200, CONTENT[:5], len(CONTENT))


def test_a_second_attempt_is_made_without_a_warning(server, served, tmp_path):
    server.answers = [BROKEN, CUT, WHOLE]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _fetch.locate(served, tmp_path).read_bytes() == CONTENT
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("answer", [BROKEN, CUT], ids=["error", "cut short"])
def test_nothing_half_written_remains(server, served, tmp_path, answer):
    server.answers = [answer] * 3
    with pytest.raises(OSError, match="could not be downloaded"):
        _fetch.locate(served, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_after_the_download_leaves_nothing(network, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_fetch, "_sha256", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _fetch.locate(REMOTE, network["home"])
    assert list(network["home"].iterdir()) == []


def test_another_file_at_the_address_is_set_aside(server, served, tmp_path):
    server.answers = [(200, b"moved", 5)]
    with pytest.raises(IntegrityError, match=hashlib.sha256(b"moved").hexdigest()):
        _fetch.locate(served, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt.rejected"]


@pytest.mark.parametrize(
    ("fetch", "name"), [(fetch_compas, "compas-scores-two-years.csv"), (fetch_pg15training, "pg15training.rda")]
)
def test_loaders_refuse_other_files(network, tmp_path, fetch, name):
    pytest.importorskip("rdata")
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(IntegrityError, match=rf"{name} has the SHA-256 {hashlib.sha256(b'damaged').hexdigest()}"):
        fetch(data_home=tmp_path)
    with pytest.raises(FileNotFoundError, match=name):
        fetch(data_home=tmp_path / "empty", download_if_missing=False)


def accept(monkeypatch, path, remote):
    """Let the loader of ``remote`` accept the file that a test has made."""
    made = _fetch.RemoteFile(path.name, "", (hashlib.sha256(path.read_bytes()).hexdigest(),))
    monkeypatch.setattr(_fetch, remote, made)


# One row for each reason to leave a row out, and two columns that identify people; "priors_count" twice, as published.
COMPAS_ROWS = """\
id,name,compas_screening_date,sex,dob,age,age_cat,race,juv_fel_count,decile_score,juv_misd_count,juv_other_count,\
priors_count,days_b_screening_arrest,c_charge_degree,is_recid,violent_recid,is_violent_recid,score_text,priors_count,\
two_year_recid
1,a,2013-01-01,Male,1980-01-01,33,25 - 45,Asian,1,2,0,3,4,30,F,0,,0,Low,99,0
2,b,2013-01-01,Female,1980-01-01,20,Less than 25,Hispanic,0,9,2,0,0,-30,M,1,,0,High,99,1
3,too late,2013-01-01,Male,1980-01-01,33,25 - 45,Asian,0,2,0,0,4,31,F,0,,0,Low,99,0
4,too early,2013-01-01,Male,1980-01-01,33,25 - 45,Asian,0,2,0,0,4,-31,F,0,,0,Low,99,0
5,unknown arrest,2013-01-01,Male,1980-01-01,33,25 - 45,Asian,0,2,0,0,4,,F,0,,0,Low,99,0
6,no case,2013-01-01,Male,1980-01-01,33,25 - 45,Asian,0,2,0,0,4,0,F,-1,,0,Low,99,0
7,traffic,2013-01-01,Male,1980-01-01,33,25 - 45,Asian,0,2,0,0,4,0,O,0,,0,Low,99,0
8,no score,2013-01-01,Male,1980-01-01,33,25 - 45,Asian,0,2,0,0,4,0,F,0,,0,N/A,99,0
"""


def test_compas_rows_and_columns(monkeypatch, tmp_path):
    path = tmp_path / "compas-scores-two-years.csv"
    path.write_text(COMPAS_ROWS, encoding="utf-8")
    accept(monkeypatch, path, "COMPAS")
    compas = fetch_compas(data_home=tmp_path)
    assert compas.frame["id"].tolist() == [1, 2]
    assert compas.target.tolist() == [0, 1]
    assert compas.data.iloc[0].tolist() == [4.0, 1.0, 0.0, 3.0, "F"]
    assert compas.sensitive_features.to_dict("list") == {
        "sex": ["Male", "Female"],
        "race": ["Other", "Hispanic"],
        "age": [33.0, 20.0],
    }
    assert not {"name", "dob"} & set(compas.frame)
    everyone = fetch_compas(data_home=tmp_path, propublica_filter=False, group_rare_races=False)
    assert len(everyone.target) == 8
    assert everyone.sensitive_features["race"].cat.categories.tolist() == ["Asian", "Hispanic"]
    X, y = fetch_compas(data_home=tmp_path, return_X_y=True)
    pd.testing.assert_frame_equal(X, compas.data)
    np.testing.assert_array_equal(y, compas.target)


def test_pg15training_columns(monkeypatch, tmp_path):
    rdata = pytest.importorskip("rdata")
    rows = pd.DataFrame(
        {
            "Gender": pd.Categorical(["Male", "Female", "Male"], categories=["Male", "Female"]),
            "Type": pd.Categorical(["B", "A", "B"]),
            "Category": pd.Categorical(["Large", "Small", "Small"]),
            "Occupation": pd.Categorical(["Retired", "Employed", "Employed"]),
            "Group2": pd.Categorical(["L", "M", "L"]),
            **{
                name: pd.array(values, dtype="Int32")
                for name, values in {
                    "Age": [70, 30, 25],
                    "Group1": [20, 3, 11],
                    "Bonus": [-50, 0, 30],
                    "Poldur": [15, 1, 0],
                    "Value": [5000, 12000, 9000],
                    "Exppdays": [365, 73, 146],
                    "Numtppd": [2, 1, 0],
                }.items()
            },
            "Density": [72.5, 39.25, 100.0],
        }
    )
    path = tmp_path / "pg15training.rda"
    rdata.write_rda(path, {"pg15training": rows})
    accept(monkeypatch, path, "PG15TRAINING")
    book = fetch_pg15training(data_home=tmp_path, drop_first=1)
    assert book.claims.tolist() == [1.0, 0.0]
    np.testing.assert_allclose(book.exposure, [0.2, 0.4])
    np.testing.assert_allclose(book.target, [5.0, 0.0])
    assert book.sensitive_features.to_dict("list") == {"region": ["M", "L"], "gender": ["Female", "Male"]}
    assert book.sensitive_features["gender"].cat.categories.tolist() == ["Female", "Male"]
    assert book.data.iloc[0].tolist() == [30.0, 0.0, 1.0, 12000.0, 39.25, "A", "Employed", 3, "Small"]
    for wrong in (-1, 1.5, True, "a", 3):
        with pytest.raises(ValueError, match=f"drop_first must be .*; found {wrong!r}"):
            fetch_pg15training(data_home=tmp_path, drop_first=wrong)


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


@pytest.fixture
def parsed_once(monkeypatch):
    """Parsing takes seconds; two loads of the same file need it once."""
    rdata = pytest.importorskip("rdata")
    parsed = {}
    read = rdata.read_rda

    def read_once(path):
        if path not in parsed:
            parsed[path] = read(path)
        return {name: frame.copy() for name, frame in parsed[path].items()}

    monkeypatch.setattr(rdata, "read_rda", read_once)


@pytest.mark.real_data
@real_data
def test_pg15training(parsed_once):
    book = fetch_pg15training()
    assert book.data.shape == (100_000, 9)
    # sums of the columns of the R data frame without its first 21 rows
    assert book.claims.sum() == 14_724
    np.testing.assert_allclose(book.exposure.sum() * 365, 32_758_025)
    assert (book.exposure.min(), book.exposure.max()) == (91 / 365, 1.0)
    assert {name: book.sensitive_features[name].nunique() for name in book.sensitive_features} == {
        "region": 10,
        "gender": 2,
    }
    assert book.data["Group1"].cat.categories.tolist() == list(range(1, 21))
    assert not book.frame.isna().any().any()
    # The rows that are dropped repeat policies that follow, apart from one amount.
    assert book.frame["PolNum"].is_unique
    whole = fetch_pg15training(drop_first=0).frame
    assert len(whole) == 100_021
    repeated = whole.drop(columns="Indtppd").duplicated(keep=False)
    assert repeated.sum() == 42
    assert repeated.iloc[:21].all()


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
