"""``--force`` replaces what an earlier run has written, as it was written, and nothing of anybody else."""

import json
import os
import stat
from pathlib import Path

import pytest

from fairdcov.cli._output import MANIFEST, check_output_file, check_output_folder, output_folder

posix = pytest.mark.skipif(os.name == "nt", reason="links and modes of POSIX")


def write(path, text="first", **options):
    with output_folder(path, **options) as folder:
        (folder / "model.txt").write_text(text)
        (folder / "table.csv").write_text(text)


def contents(folder):
    return {file.name: file.read_text() for file in folder.iterdir() if file.name != MANIFEST}


@pytest.fixture
def out(tmp_path):
    """A folder that an earlier run has written."""
    write(tmp_path / "out")
    return tmp_path / "out"


def check_kept(out, message, **options):
    before = contents(out)
    with pytest.raises(FileExistsError, match=message):
        write(out, "second", force=True, **options)
    assert contents(out) == before
    assert [entry.name for entry in out.parent.iterdir() if entry.name.startswith(".")] == []


def test_what_was_written_is_replaced(out):
    with pytest.raises(FileExistsError, match="replace it with --force"):
        write(out, "second")
    (out / "table.csv").unlink()  # what is gone cannot be lost
    write(out, "second", force=True)
    assert contents(out) == {"model.txt": "second", "table.csv": "second"}
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]
    files = json.loads((out / MANIFEST).read_text())["files"]
    assert set(files) == {"model.txt", "table.csv"}


def test_files_of_others_and_changed_ones_are_named_and_kept(out):
    (out / "notes.txt").write_text("mine")
    check_kept(out, r"did not write there .* --force: notes.txt; move that away")
    (out / "notes.txt").unlink()
    (out / "model.txt").write_text("edited by hand")
    check_kept(out, r"model.txt \(changed\)")
    (out / "model.txt").write_text("first")
    (out / "sub").mkdir()
    check_kept_folder = out / "sub"
    with pytest.raises(FileExistsError, match="sub; move"):
        write(out, "second", force=True)
    check_kept_folder.rmdir()
    write(out, "second", force=True)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 2, "files": {}}', '{"format": 1, "files": {"a": 1}}'])
def test_folders_without_a_list_of_files_are_kept(out, content):
    (out / MANIFEST).write_text(content)
    check_kept(out, "has no list of the files that fairdcov wrote there.* remove it by hand")
    (out / MANIFEST).unlink()
    check_kept(out, "was not written by fairdcov")


def test_a_list_cannot_name_files_elsewhere(out, tmp_path):
    (tmp_path / "precious").write_text("precious")
    manifest = json.loads((out / MANIFEST).read_text())
    manifest["files"]["../precious"] = manifest["files"]["model.txt"]
    (out / MANIFEST).write_text(json.dumps(manifest))
    write(out, "second", force=True)
    assert (tmp_path / "precious").read_text() == "precious"


def test_inputs_are_never_inside(out, monkeypatch):
    check_kept(out, "is the folder that .*table.csv is in", inputs=[out / "table.csv"])
    monkeypatch.chdir(out)
    check_kept(out, "is the folder that table.csv is in", inputs=["table.csv"])
    check_kept(out, "is the folder that", inputs=[Path("..") / "out"])


@posix
def test_links(out, tmp_path):
    link, book = tmp_path / "link", tmp_path / "book.csv"
    link.symlink_to(out)
    book.symlink_to(out / "table.csv")
    check_kept(out, "is the folder that", inputs=[book])
    check_kept(out, "is the folder that", inputs=[link / "table.csv"])
    # a link stands for the folder that it leads to
    write(link, "second", force=True)
    assert link.is_symlink()
    assert contents(out)["model.txt"] == "second"
    # a link in a folder is nothing that was written there
    (out / "model.txt").unlink()
    (tmp_path / "elsewhere").write_text("second")
    (out / "model.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match=r"model\.txt; move"):
        write(out, "third", force=True)
    assert (tmp_path / "elsewhere").read_text() == "second"


@posix
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o007])
def test_the_mask_of_the_user_is_respected(tmp_path, mask):
    before = os.umask(mask)
    try:
        write(tmp_path / "out")
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o777 & ~mask
        for file in (tmp_path / "out").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask
        # a folder that is there keeps its mode
        (tmp_path / "out").chmod(0o750)
        write(tmp_path / "out", "second", force=True)
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o750
    finally:
        os.umask(before)


def test_nothing_is_lost_between_two_renames(out, monkeypatch):
    rename, calls = Path.rename, []

    def interrupted(self, target):
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(out, "second", force=True)
    assert contents(out) == {"model.txt": "first", "table.csv": "first"}
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]


def test_a_file_put_there_at_the_last_moment_is_kept(out, monkeypatch):
    rename = Path.rename

    def slow(self, target):
        if self == out:
            (out / "notes.txt").write_text("mine")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", slow)
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        write(out, "second", force=True)
    assert contents(out) == {"model.txt": "first", "table.csv": "first", "notes.txt": "mine"}


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    write(tmp_path / "out")
    assert contents(tmp_path / "out")["model.txt"] == "first"


@posix
def test_a_file_is_no_input_under_any_name(out, tmp_path, monkeypatch):
    book = tmp_path / "book.csv"
    book.write_text("a,b\n1,2\n")
    (tmp_path / "hard.csv").hardlink_to(book)
    (tmp_path / "soft.csv").symlink_to(book)
    monkeypatch.chdir(tmp_path)
    for name in (book, "book.csv", "out/../book.csv", "hard.csv", "soft.csv", out / "table.csv"):
        with pytest.raises(FileExistsError, match="which the command reads and never overwrites"):
            check_output_file(name, force=True, inputs=[book, out])
    (tmp_path / "other.csv").write_text("x")
    (tmp_path / "other link.csv").symlink_to("other.csv")
    # what is to be written is the file that a link leads to
    assert check_output_file("other link.csv", force=True, inputs=[book, out]) == (tmp_path / "other.csv").resolve()
    check_output_folder(tmp_path / "new", force=True, inputs=[book])
