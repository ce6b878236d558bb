"""``settings.json``: what a model was fitted to and how, which ``fairdcov predict`` checks a book against."""

import json
from importlib.metadata import PackageNotFoundError, version

import fairdcov

__all__ = ["MODEL_FILE", "SETTINGS_FILE", "other_versions", "read_settings", "versions", "write_settings"]

MODEL_FILE = "model.skops"
SETTINGS_FILE = "settings.json"
FORMAT = 1
_NEEDED = {"format": int, "model": str, "model_sha256": str, "features": dict}
# Packages whose objects a file of a model has, beside arrays.
_PARTS = ("scikit-learn", "lightgbm")
# Types of the levels of a feature of each kind; quantities have none.
_KINDS = {"quantity": None, "number": (int, float), "category": (str,)}


def versions(*packages):
    """Versions of fairdcov and of the packages that a model is made with."""
    found = {"fairdcov": fairdcov.__version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def other_versions(settings):
    """Remarks on packages that a model holds parts of and that are not of the version it was written with."""
    written = settings.get("versions", {})
    here = versions(*_PARTS)
    return [
        f"the model was written with {name} {written[name]}; here is {here[name]}: see that a few predictions are "
        "still those of the scored book beside it"
        for name in ("fairdcov", *_PARTS)
        if name in here and written.get(name, here[name]) != here[name]
    ]


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
    if isinstance(settings["format"], bool) or settings["format"] != FORMAT:
        raise ValueError(f"{file} has format {settings['format']}; this version of fairdcov reads format {FORMAT}")
    _check_range(settings, "offset_range", file)
    for name, feature in settings["features"].items():
        if not isinstance(feature, dict) or feature.get("kind") not in list(_KINDS):
            raise ValueError(f"{file} is damaged: feature {name!r} must be one of {', '.join(_KINDS)}")
        types, levels = _KINDS[feature["kind"]], feature.get("levels")
        if types and not (isinstance(levels, list) and all(isinstance(level, types) for level in levels)):
            raise ValueError(f"{file} is damaged: feature {name!r} has no list of its levels")
        _check_range(feature, "range", file)
    return settings


def _check_range(holder, name, file):
    """Raise for what is there and is not two numbers; folders of earlier versions have none."""
    ends = holder.get(name, [0, 0])
    if not isinstance(ends, list) or len(ends) != 2 or not all(isinstance(end, int | float) for end in ends):
        raise ValueError(f"{file} is damaged: {name!r} must be two numbers")
