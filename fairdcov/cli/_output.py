"""Output folders and files that are whole or not there."""

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

__all__ = ["check_output_file", "check_output_folder", "output_folder"]

_MARK = ".fairdcov-output"


def check_output_folder(path, *, force):
    """Raise when ``path`` may not be written: it exists and ``force`` is off, or it is not a folder of ours."""
    path = Path(path)
    if not path.exists():
        return
    if not path.is_dir():
        raise FileExistsError(f"--output {path} is a file; name a folder")
    if not any(path.iterdir()):
        return
    if not force:
        raise FileExistsError(f"--output {path} exists; name another folder, or replace it with --force")
    if not (path / _MARK).exists():
        raise FileExistsError(f"--output {path} was not written by fairdcov and is not replaced, even with --force")


def check_output_file(path, *, force):
    """Raise when the file ``path`` may not be written: it exists and ``force`` is off, or has no folder to be in."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"--output {path} is a folder; name a file")
    if path.exists() and not force:
        raise FileExistsError(f"--output {path} exists; name another file, or replace it with --force")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--output {path} is in a folder that does not exist: make {path.parent} first")


@contextmanager
def output_folder(path, *, force=False):
    """Folder to write into, put in its place only when the block ends without an error.

    Parameters
    ----------
    path : str or Path
        Where the folder will be.
    force : bool, default=False
        Replace a folder that an earlier run has written.

    Yields
    ------
    Path
        Temporary folder beside ``path``, moved there at the end and removed after an error or an interruption.

    Raises
    ------
    FileExistsError
        When ``path`` exists, and at the latest before anything is replaced.
    """
    path = Path(path)
    check_output_folder(path, force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        (temporary / _MARK).touch()
        temporary.chmod(0o755)
        check_output_folder(path, force=force)
        if path.exists():
            retired = temporary.with_name(temporary.name + "-old")
            path.rename(retired)
            temporary.rename(path)
            shutil.rmtree(retired)
        else:
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
