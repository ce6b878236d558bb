"""The gate says slower only beyond both limits, and says what is wrong with what it is given."""

import shutil

import pytest


@pytest.fixture(scope="module")
def gate(script):
    return script("gate")


@pytest.mark.parametrize(
    ("base", "head", "slower"),
    [
        (1.0, 1.0, False),
        (1.0, 0.2, False),
        (1.0, 1.14, False),
        (1.0, 1.16, True),
        (0.1, 0.14, False),  # 40 %, but 40 ms
        (0.1, 0.16, True),
        (10.0, 11.0, False),  # 1 s, but 10 %
        (10.0, 11.6, True),
    ],
)
def test_slower_means_by_share_and_by_seconds(gate, base, head, slower):
    assert gate.is_slower(base, head) == slower


def test_the_fastest_runs_count(gate):
    found = {"glm": {"base": [1.0, 5.0], "head": [9.0, 1.1]}, "boosting": {"base": [1.0], "head": [2.0]}}
    rows = gate.verdict(found)
    assert rows == [("glm", 1.0, 1.1, False), ("boosting", 1.0, 2.0, True)]
    printed = gate.table(rows).splitlines()
    assert printed[1].split() == ["glm", "1.0000", "1.1000", "1.10"]
    assert printed[2].split() == ["boosting", "1.0000", "2.0000", "2.00", "slower"]


@pytest.mark.parametrize(("head_seconds", "code"), [(0.5, 0), (0.56, 0), (0.6, 1)])
def test_builds_alternate_and_the_exit_code_is_the_verdict(gate, tmp_path, monkeypatch, capsys, head_seconds, code):
    order = []

    def time_build(folder, names):
        order.append(folder)
        return dict.fromkeys(names, 0.5 if folder == "base" else head_seconds)

    monkeypatch.setattr(gate, "find_build", lambda name, temporary: name)
    monkeypatch.setattr(gate, "time_build", time_build)
    assert gate.main(["base", "head", "--alternations", "3", "--jobs", "glm"]) == code
    assert order == ["base", "head", "head", "base", "base", "head"]
    assert ("slower by more than 15% and 50 ms: glm" in capsys.readouterr().out) == bool(code)


def test_what_cannot_be_measured_is_said(gate, tmp_path, capsys):
    assert gate.main([str(tmp_path), "HEAD"]) == 2
    assert "is a folder without the package fairdcov" in capsys.readouterr().err
    if shutil.which("git"):
        assert gate.main(["no-such-revision", str(tmp_path)]) == 2
        assert "'no-such-revision' is neither a folder nor a revision" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gate.main(["HEAD", "HEAD", "--alternations", "0"])
    assert "must be at least 1" in capsys.readouterr().err


def test_the_child_refuses_another_package(gate, tmp_path):
    with pytest.raises(SystemExit, match="should be timed"):
        gate.run_jobs(["glm"], tmp_path)
