"""``fairdcov predict``: score a book with a model of ``fairdcov fit``."""

import time
from pathlib import Path

import numpy as np
import pandas as pd

from fairdcov.cli._features import level_columns
from fairdcov.cli._files import file_format, file_sha256, open_table
from fairdcov.cli._inventory import column_read, notes_on_range, print_columns, range_of
from fairdcov.cli._models import FAMILIES, MODELS, PARTS, load_model, parts_of, response
from fairdcov.cli._offset import check_offset
from fairdcov.cli._output import check_output_file
from fairdcov.cli._remarks import notes_of_warnings, say_notes
from fairdcov.cli._scored import write_table
from fairdcov.cli._settings import MODEL_FILE, SETTINGS_FILE, other_versions, read_settings
from fairdcov.encoding import MISSING, nearest_name

__all__ = ["run_predict"]

# Unknown levels that a remark names.
_SHOWN = 5


def _check_columns(source, features):
    """Raise for features that a book does not have, with the nearest names."""
    absent = [name for name in features if name not in source.names]
    if not absent:
        return
    if len(absent) == 1:
        raise ValueError(
            f"{source.path} has no column {absent[0]!r}, which the model needs{nearest_name(absent[0], source.names)}"
        )
    hints = ", ".join(f"{name!r}{_did_you_mean(name, source.names)}" for name in absent)
    raise ValueError(f"{source.path} lacks {len(absent)} columns that the model needs: {hints}")


def _offset_name(source, settings, options):
    """Column of the offset; None for a model that was fitted without one."""
    fitted = settings.get("offset")
    if fitted is None:
        if options.offset is not None:
            raise ValueError(f"--offset names {options.offset!r}, but the model was fitted without an offset")
        return None
    name = options.offset or fitted
    if name not in source.names:
        raise ValueError(
            f"{source.path} has no column {name!r}, the offset that the model was fitted with: name another column of "
            f"it with --offset{nearest_name(name, source.names)}"
        )
    return name


def _did_you_mean(name, names):
    hint = nearest_name(name, names)
    return f" ({hint.removeprefix('; ')})" if "did you mean" in hint else ""


def _read_features(table, settings):
    """Features as they were when the model was fitted, and what is new about them."""
    columns, notes = {}, []
    levels_of_numbers = MODELS[settings["model"]].levels_of_numbers
    for name, feature in settings["features"].items():
        if feature["kind"] == "category":
            known = feature["levels"]
            columns[name] = table.attribute(name, "BOOK", levels=known)
        else:
            values = table.numbers(name, "BOOK", allow_missing=True)
            columns[name] = pd.Series(values, name=name)
            if np.isnan(values).any() and not feature.get("missing"):
                notes.append(
                    f"{int(np.isnan(values).sum()):,} row(s) lack {name}, which was complete when the model was fitted"
                )
            levels = feature.get("levels") if feature["kind"] == "number" else None
            known = levels if levels_of_numbers else None
            if known is None:
                notes += notes_on_range(name, values, range_of(levels) if levels else feature.get("range"))
        if known is not None:
            notes += _unknown_levels(columns[name], known)
    return pd.DataFrame(columns), notes


def _unknown_levels(column, known):
    counts = column.value_counts()
    counts = counts[(counts > 0) & ~counts.index.isin(known)]
    if not len(counts):
        return []
    shown = ", ".join(repr(level if level != MISSING else "missing") for level in counts.index[:_SHOWN])
    more = ", ..." if len(counts) > _SHOWN else ""
    what = f"{len(counts)} level(s) that the model does not know, in {counts.sum():,} row(s)"
    return [f"{column.name} has {what}: {shown}{more}"]


def run_predict(options):
    """Run the command with parsed options."""
    started = time.perf_counter()
    folder = Path(options.model)
    file_format(options.output, "--output")
    output = check_output_file(options.output, force=options.force, inputs=[options.book, folder])
    settings = read_settings(folder)
    if file_sha256(folder / MODEL_FILE) != settings["model_sha256"]:
        raise ValueError(f"{folder / MODEL_FILE} is not the model that {folder} was written with: its SHA-256 differs")
    say_notes(other_versions(settings))
    model = load_model(folder / MODEL_FILE, settings["model"])
    if list(settings["features"]) != list(getattr(model, "feature_names_in_", settings["features"])):
        raise ValueError(f"{folder / SETTINGS_FILE} is damaged: it has other features than the model beside it")

    source = open_table(options.book, separator=options.separator, decimal=options.decimal, encoding=options.encoding)
    _check_columns(source, settings["features"])
    offset_name = _offset_name(source, settings, options)
    added = [options.prediction_name]
    if MODELS[settings["model"]].premium:
        added += [f"{options.prediction_name}_{part}" for part in PARTS]
    for name in added:
        if name in source.names:
            raise ValueError(f"{source.path} has a column {name!r} already: choose another --prediction-name")
    categories = [name for name, feature in settings["features"].items() if feature["kind"] == "category"]
    table = source.read(as_text=categories, used={*settings["features"], offset_name} - {None})
    print(f"read {source.path}: {table.n_rows:,} rows, {len(source.names)} columns")
    features, notes = _read_features(table, settings)
    offset = None if offset_name is None else table.numbers(offset_name, "--offset")
    if offset is not None:
        family = FAMILIES.get(str(settings.get("family")))
        check_offset(offset_name, offset, None, family.link if family else "identity")
        notes += notes_on_range(offset_name, offset, settings.get("offset_range"))
    known = [] if offset is None else [column_read(pd.Series(offset, name=offset_name), "offset")]
    print_columns([*known, *(column_read(features[name], "feature") for name in features)])
    say_notes([*table.remarks, *notes])
    try:
        # Levels that it does not know have been named.
        with notes_of_warnings(options.command, level_columns(model)):
            prediction = response(model, features, offset)
            scored = dict(zip(added, [prediction, *parts_of(model, features, prediction).values()], strict=True))
    except Exception as error:  # a model that somebody has made by hand fails anywhere
        raise ValueError(f"the model of {folder} cannot score {source.path}: {error}") from error
    write_table(table, scored, output)
    seconds = time.perf_counter() - started
    print(f"wrote {options.output}: mean {options.prediction_name} {prediction.mean():.5g}, in {seconds:.0f} s")
