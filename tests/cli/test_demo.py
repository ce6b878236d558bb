"""The command line: the demo end to end on a small book, and folders that are whole or not there."""

import os

import numpy as np
import pandas as pd
import pytest

from fairdcov.cli import main
from fairdcov.cli._output import output_folder

pytest.importorskip("matplotlib")
skops_io = pytest.importorskip("skops.io")

ARGUMENTS = ["demo", "--policies", "4000", "--quiet"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Folder and printed text of one run."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch:
        import io
        import sys

        printed = io.StringIO()
        patch.setattr(sys, "stdout", printed)
        assert main([*ARGUMENTS, "--output", str(folder)]) == 0
    return folder, printed.getvalue()


def test_demo_shows_that_joint_measures_see_what_marginal_ones_miss(demo):
    folder, printed = demo
    table = pd.read_csv(folder / "models.csv")
    assert table["measure"].tolist()[0] == "none"
    assert set(table["measure"]) == {"none", "ccdcov", "jdcov", "dcov"}
    columns = ["deviance", "Gini", "dCov", "JdCov", "CCdCov", "JSD", "UF", "total", "seconds"]
    assert table.columns.tolist() == ["measure", "strength", *columns]
    lowest = table.groupby("measure")["CCdCov"].min()
    assert lowest["ccdcov"] < 0.2 * lowest["none"]
    assert lowest["jdcov"] < 0.2 * lowest["none"]
    assert lowest["dcov"] > 0.5 * lowest["none"]
    assert "chosen:" in printed
    assert "null level" in printed
    # What it costs, and who pays.
    after = printed[printed.index("what it costs there") :]
    assert "explained deviance " in after
    assert "of the premium changes; " in after
    assert "gender female" in after
    cost = pd.read_csv(folder / "cost.csv")
    assert "A/E of gender female" in cost["measure"].tolist()
    # A table as soon as a measure is ready, with its calibrated strength marked: the first comes before the others.
    heads = [printed.index(f"\n{measure}\n") for measure in ("ccdcov", "jdcov", "dcov")]
    assert printed.index("none        0") < heads[1] < heads[2]
    assert printed.count("\n* ") + printed.count("\n  * ") + printed.count("\n * ") == 3


def test_demo_writes_the_model_that_it_reports(demo):
    folder, _ = demo
    file = folder / "model.skops"
    model = skops_io.load(file, trusted=skops_io.get_untrusted_types(file=file))
    scored = pd.read_csv(folder / "scored_policies.csv")
    features = scored[list(model.feature_names_in_)]
    np.testing.assert_allclose(model.predict(features), scored["frequency_penalised"], rtol=1e-8)
    assert len(scored) == 800
    calibration = pd.read_csv(folder / "calibration.csv")
    assert {"measure", "strengths", "mean_divergence", "null_level", "mean_score"} <= set(calibration)
    for picture in ("calibration", "trade_off", "distributions", "group_means"):
        assert (folder / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_name_the_measure_and_the_strength(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from fairdcov.cli import _pictures

    drawn, titles = {}, []

    class Display:
        def __init__(self):
            self.figure_ = SimpleNamespace(suptitle=titles.append)

        from_estimator = from_calibrators = classmethod(lambda cls, *_, **options: cls())

        @classmethod
        def from_predictions(cls, *_, **options):
            drawn.update(options)
            return cls()

    for name in ("CalibrationDisplay", "FrontierDisplay", "GroupDistributionDisplay"):
        monkeypatch.setattr(_pictures, name, Display)
    monkeypatch.setattr(_pictures, "save", lambda figure, file: None)
    calibrators = {"dcov": SimpleNamespace(best_strength_=3.0), "jdcov": SimpleNamespace(best_strength_=30.0)}
    _pictures.draw_calibrations(tmp_path, calibrators, "jdcov", None, None, score_name="D²")
    assert titles == ["chosen: jdcov, strength 30"] * 2
    assert drawn["titles"] == ("no penalty", "jdcov, strength 30")


def test_ages_are_cut_as_the_help_and_the_readme_cut_them():
    from fairdcov.cli._demo import AGE_LABELS
    from fairdcov.cli._parser import AGE_EDGES, make_parser

    assert len(AGE_LABELS) == len(AGE_EDGES) - 1
    fit = make_parser()._subparsers._group_actions[0].choices["fit"].format_help()
    assert f"--bins age={','.join(map(str, AGE_EDGES))}" in fit
    assert AGE_EDGES == (0, 25, 40, 60, 120)


def test_existing_folder_is_kept_without_force(demo, capsys):
    folder, _ = demo
    before = sorted(os.listdir(folder))
    assert main([*ARGUMENTS, "--output", str(folder)]) == 2
    assert "exists" in capsys.readouterr().err
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policies", "10"], "--policies must be at least 1000"),
        (["--data", "pg15training"], "not a folder of pg15training"),
    ],
)
def test_bad_arguments_say_what_is_wrong_and_write_nothing(tmp_path, capsys, monkeypatch, arguments, message):
    from fairdcov.datasets import _fetch

    def no_network(*_, **__):
        raise OSError("not a folder of pg15training, no network")

    monkeypatch.setattr(_fetch, "fetch_file", no_network)
    monkeypatch.setenv("FAIRDCOV_DATA", str(tmp_path))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "cache"))
    assert main(["demo", "--output", str(tmp_path / "out"), "--quiet", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_and_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("fairdcov ")
    assert main([]) == 2
    assert "demo" in capsys.readouterr().out


def test_interruption_writes_nothing(tmp_path, monkeypatch, capsys):
    from fairdcov.cli import _demo

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_demo, "load_book", interrupt)
    assert main([*ARGUMENTS, "--output", str(tmp_path / "out")]) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_output_folder_appears_only_when_it_is_whole(tmp_path):
    target = tmp_path / "out"

    def fail_half_way():
        with output_folder(target) as folder:
            (folder / "a.txt").write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []
    with output_folder(target) as folder:
        (folder / "a.txt").write_text("whole")
        assert not target.exists()
    assert (target / "a.txt").read_text() == "whole"
    with pytest.raises(FileExistsError, match="--force"), output_folder(target):
        pass
    with output_folder(target, force=True) as folder:
        (folder / "b.txt").write_text("new")
    assert not (target / "a.txt").exists()
    assert (target / "b.txt").exists()


def test_folders_of_others_are_not_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="not written by fairdcov"), output_folder(tmp_path, force=True):
        pass
    file = tmp_path / "mine.txt"
    with pytest.raises(FileExistsError, match="is a file"), output_folder(file, force=True):
        pass
    assert file.read_text() == "precious"
