"""``settings.json``: what a model was fitted to and how, which ``fairdcov predict`` checks a book against."""

import json
from importlib.metadata import PackageNotFoundError, version

import fairdcov

__all__ = ["MODEL_FILE", "SETTINGS_FILE", "read_settings", "versions", "write_settings"]

MODEL_FILE = "model.skops"
SETTINGS_FILE = "settings.json"
FORMAT = 1
_NEEDED = {"format": int, "model": str, "model_sha256": str, "features": dict}
_KINDS = ("quantity", "number", "category")


def versions(*packages):
    """Versions of fairdcov and of the packages that a model is made with."""
    found = {"fairdcov": fairdcov.__version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_settings(folder, settings):
    """Write the settings of a model into its folder."""
    text = json.dumps({"format": FORMAT, **settings}, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / SETTINGS_FILE).write_text(text + "\n", encoding="utf-8")


def read_settings(folder):
    """Settings of a model.

    Raises
    ------
    FileNotFoundError
        When the folder holds no model.
    ValueError
        For a file that was not written by ``fairdcov fit``, or is no longer as it was.
    """
    file = folder / SETTINGS_FILE
    if not file.is_file() or not (folder / MODEL_FILE).is_file():
        raise FileNotFoundError(f"{folder} holds no model: name a folder that fairdcov fit has written")
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    wrong = [
        name
        for name, kind in _NEEDED.items()
        if not isinstance(settings, dict) or not isinstance(settings.get(name), kind)
    ]
    if wrong:
        raise ValueError(f"{file} is damaged: {wrong[0]!r} is missing or of the wrong type")
    if settings["format"] != FORMAT:
        raise ValueError(f"{file} has format {settings['format']}; this version of fairdcov reads format {FORMAT}")
    for name, feature in settings["features"].items():
        if not isinstance(feature, dict) or feature.get("kind") not in _KINDS:
            raise ValueError(f"{file} is damaged: feature {name!r} must be one of {', '.join(_KINDS)}")
        if not _has_levels(feature):
            raise ValueError(f"{file} is damaged: feature {name!r} has no list of its levels")
    return settings


def _has_levels(feature):
    if feature["kind"] == "quantity":
        return True
    kind = str if feature["kind"] == "category" else float | int
    levels = feature.get("levels")
    return isinstance(levels, list) and all(isinstance(level, kind) for level in levels)
