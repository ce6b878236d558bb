"""What a model file may consist of, looked at before skops builds anything from it.

skops trusts every estimator of scikit-learn, compiled trees and search structures among them that take indices on
trust. A model of fairdcov needs little of that; the rest is refused.
"""

import json
import math
from zipfile import ZIP_STORED, ZipFile

import numpy as np

__all__ = ["check_model_file"]

_SCHEMA = "schema.json"
# Kinds of nodes that skops writes for the parts of a model. Those that it does not are bound methods, partial
# functions, compiled trees, random generators, sparse matrices and the like.
_LOADERS = {
    "CachedNode",
    "DTypeNode",
    "DictNode",
    "FunctionNode",
    "JsonNode",
    "ListNode",
    "NdArrayNode",
    "ObjectNode",
    "SetNode",
    "SliceNode",
    "TupleNode",
    "TypeNode",
}
# Of scikit-learn; none of them has compiled state, reads files or calls what it is given.
_SKLEARN = tuple(
    f"sklearn.{module}." for module in ("compose", "frozen", "impute", "pipeline", "preprocessing", "utils")
)


def check_model_file(path):
    """Raise for a file that ``fairdcov fit`` cannot have written; nothing of it is loaded.

    Parameters
    ----------
    path : Path
        File in the format of skops.

    Raises
    ------
    ValueError
        For files that are no archive of a schema and arrays, each as long as it says, and for parts that no model has.
    """
    try:
        with ZipFile(path) as archive:
            names = _check_entries(archive)
            parts = list(_parts(json.loads(archive.read(_SCHEMA))))
            for name in names:
                if name != _SCHEMA:
                    _check_array(archive, name)
    except Exception as error:  # zip, JSON, NumPy and their arithmetic fail in ways of their own
        raise ValueError(f"{path} is not a model that can be read: {error}") from error
    unknown = sorted({f"{kind} ({loader})" for kind, loader in parts if not _is_known(kind, loader)})
    if unknown:
        raise ValueError(
            f"{path} holds types that a model of fairdcov does not have and was not loaded: {', '.join(unknown)}"
        )


def _check_entries(archive):
    """Names of the entries. Nothing is compressed, so that nothing is larger than the file."""
    names = archive.namelist()
    if len(set(names)) < len(names):
        raise ValueError("it has two entries of one name")
    for entry in archive.infolist():
        if entry.filename != _SCHEMA and (not entry.filename.endswith(".npy") or {"/", "\\"} & set(entry.filename)):
            raise ValueError(f"it has an entry {entry.filename!r}, which is neither the schema nor an array")
        if entry.compress_type != ZIP_STORED or entry.file_size != entry.compress_size:
            raise ValueError(f"its entry {entry.filename!r} is compressed")
    return names


def _parts(schema):
    """Type and loader of each part, wherever it is in the schema."""
    pending = [schema]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if "__loader__" in value:
                yield f"{value['__module__']}.{value['__class__']}", str(value["__loader__"])
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _is_known(kind, loader):
    return loader in _LOADERS and (not kind.startswith("sklearn.") or kind.startswith(_SKLEARN))


def _check_array(archive, name):
    """Raise for an array of another length than its entry: NumPy makes room for what it says."""
    with archive.open(name) as stream:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read:
            raise ValueError(f"its array {name!r} has the format {version}")
        shape, _, dtype = read[version](stream)
        n_bytes = archive.getinfo(name).file_size - stream.tell()
    if dtype.hasobject:
        raise ValueError(f"its array {name!r} holds pickled objects")
    if dtype.itemsize == 0 or math.prod(shape) * dtype.itemsize != n_bytes:
        raise ValueError(f"its array {name!r} is of shape {shape} and type {dtype}, which its {n_bytes} bytes are not")
