"""Output folders and files that are whole or not there, and that replace nothing but what an earlier run has written.

A folder holds a list of its files with their SHA-256. What is not on it, or is no longer as it was written, belongs to
somebody else.
"""

import json
import os
import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path

from fairdcov.cli._files import file_sha256

__all__ = ["MANIFEST", "check_output_file", "check_output_folder", "output_folder"]

MANIFEST = ".fairdcov-output"
_FORMAT = 1
# Files that a message names.
_SHOWN = 5


def _written_files(folder):
    """Files that a run has written into a folder, a dict of name to SHA-256, or None where there is no list of them."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = manifest["files"]
        if manifest["format"] != _FORMAT or not all(isinstance(digest, str) for digest in files.values()):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return files


def _foreign(folder, files):
    """What lies in a folder and was not written there, or is not as it was written."""
    found = []
    for entry in sorted(folder.iterdir()):
        if entry.name == MANIFEST:
            continue
        if entry.name not in files or entry.is_symlink() or not entry.is_file():
            found.append(entry.name)
        elif file_sha256(entry) != files[entry.name]:
            found.append(f"{entry.name} (changed)")
    return found


def _check_replaceable(folder, name):
    """Raise for a folder that holds anything but what an earlier run has written; ``name`` is what to call it."""
    if not any(folder.iterdir()):
        return
    if not (folder / MANIFEST).exists():
        raise FileExistsError(f"--output {name} was not written by fairdcov and is not replaced, even with --force")
    files = _written_files(folder)
    if files is None:
        raise FileExistsError(
            f"--output {name} has no list of the files that fairdcov wrote there, as folders of earlier versions have "
            "none, and is not replaced, even with --force: name another folder, or remove it by hand"
        )
    foreign = _foreign(folder, files)
    if foreign:
        more = f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else ""
        raise FileExistsError(
            f"--output {name} holds what fairdcov did not write there and is not replaced, even with --force: "
            f"{', '.join(foreign[:_SHOWN])}{more}; move that away or name another folder"
        )


def _real(path):
    """The place itself, whatever links lead to it: it is what a command replaces."""
    return Path(os.path.realpath(path))


def check_output_folder(path, *, force, inputs=()):
    """Raise when a folder may not be written.

    Parameters
    ----------
    path : str or Path
        Where the folder will be; a link stands for what it leads to.
    force : bool
        Replace a folder that an earlier run has written, if it still holds that and nothing else.
    inputs : iterable of str or Path
        Files and folders that the command reads, none of which may be in it.

    Raises
    ------
    FileExistsError
        Where ``path`` is a file, exists without ``force``, holds an input or what was not written there.
    """
    folder = _real(path)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"--output {path} is a file; name a folder")
    for given in inputs:
        if _real(given).is_relative_to(folder):
            raise FileExistsError(
                f"--output {path} is the folder that {given} is in, which would go: name another folder"
            )
    if not any(folder.iterdir()):
        return
    if not force:
        raise FileExistsError(f"--output {path} exists; name another folder, or replace it with --force")
    _check_replaceable(folder, path)


def check_output_file(path, *, force, inputs=()):
    """Raise when a file may not be written; see :func:`check_output_folder`.

    The ``inputs`` are files, and folders of which every file is one.

    Returns
    -------
    Path
        The file to write: the place itself where ``path`` is a link.

    Raises
    ------
    FileExistsError, IsADirectoryError, FileNotFoundError
        Where ``path`` exists without ``force``, is an input under any name, is a folder, or has no folder to be in.
    """
    file = _real(path)
    if file.is_dir():
        raise IsADirectoryError(f"--output {path} is a folder; name a file")
    if file.exists():
        for given in map(Path, inputs):
            for read in given.iterdir() if given.is_dir() else [given]:
                if read.exists() and file.samefile(read):
                    raise FileExistsError(
                        f"--output {path} is {read}, which the command reads and never overwrites: name another file"
                    )
        if not force:
            raise FileExistsError(f"--output {path} exists; name another file, or replace it with --force")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"--output {path} is in a folder that does not exist: make {file.parent} first")
    return file


@contextmanager
def output_folder(path, *, force=False, inputs=()):
    """Folder to write into, put in its place only when the block ends without an error.

    Parameters
    ----------
    path, force, inputs
        See :func:`check_output_folder`.

    Yields
    ------
    Path
        Temporary folder beside ``path``, moved there at the end and removed after an error or an interruption.

    Raises
    ------
    FileExistsError
        When ``path`` exists, and at the latest before anything is replaced.
    """
    check_output_folder(path, force=force, inputs=inputs)
    folder = _real(path)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    temporary.mkdir()
    try:
        yield temporary
        files = {file.name: file_sha256(file) for file in sorted(temporary.iterdir())}
        manifest = {"format": _FORMAT, "files": files}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        check_output_folder(path, force=force, inputs=inputs)
        if folder.exists():
            _replace(folder, temporary, path)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace(folder, new, name):
    """Put a new folder in the place of one that an earlier run has written, which comes back if anything goes wrong."""
    shutil.copymode(folder, new)
    retired = new.with_name(f"{new.name}-old")
    try:
        folder.rename(retired)
        # Nobody can put anything into it any more by its name.
        _check_replaceable(retired, name)
        new.rename(folder)
    except BaseException:
        if retired.exists() and not folder.exists():
            retired.rename(folder)
        raise
    # Everything in it has just been found on the list.
    for entry in list(retired.iterdir()):
        entry.unlink()
    retired.rmdir()
