"""What travels between processes and computes to the same bits wherever it has come from.

Arrays that arrive over a wire may lie anywhere in a buffer. NumPy takes other loops for those that begin at an odd
address, and sums in another order.
"""

import numpy as np

__all__ = ["Held", "aligned", "run", "value_of"]

# What NumPy's own arrays have.
_ALIGNMENT = 16
_OPEN = ("fairdcov", "scipy", "types")


class Held:
    """A value whose arrays begin where NumPy would have put them, also after they have travelled.

    Attributes
    ----------
    value : object
        Not to be changed.
    """

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = aligned(value)

    def __reduce__(self):
        return Held, (self.value,)

    def __sizeof__(self):
        # By it Dask decides what is worth moving to another worker, and what goes on disk.
        return object.__sizeof__(self) + _n_bytes(self.value, set())


def value_of(thing):
    """What is held, or the thing itself."""
    return thing.value if isinstance(thing, Held) else thing


def run(function, *arguments):
    """``function`` of values, some of which may be held; what it returns is."""
    return Held(function(*map(value_of, arguments)))


def aligned(value, seen=None):
    """The value with each array in it at an address that NumPy would give it; objects are changed in place."""
    if isinstance(value, np.ndarray):
        return value.copy(order="K") if value.ctypes.data % _ALIGNMENT and value.dtype != object else value
    if type(value).__module__.split(".")[0] == "pandas":
        return value.copy() if hasattr(value, "copy") else value
    if isinstance(value, tuple | list):
        parts = [aligned(part, seen) for part in value]
        if all(part is given for part, given in zip(parts, value, strict=True)):
            return value
        return type(value)(parts) if type(value) in (tuple, list) else type(value)(*parts)
    if type(value) is dict:
        parts = {name: aligned(part, seen) for name, part in value.items()}
        return value if all(parts[name] is given for name, given in value.items()) else parts
    if _is_open(value):
        seen = set() if seen is None else seen
        if id(value) not in seen:
            seen.add(id(value))
            for name, part in vars(value).items():
                found = aligned(part, seen)
                if found is not part:
                    vars(value)[name] = found
    return value


def _is_open(value):
    """Whether what an object consists of is known, and worth a look."""
    return type(value).__module__.split(".")[0] in _OPEN and hasattr(value, "__dict__") and not isinstance(value, type)


def _n_bytes(value, seen):
    """Bytes of all arrays in a value, each counted once."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        return value.nbytes
    if hasattr(value, "memory_usage"):
        return int(np.sum(value.memory_usage(deep=False)))
    parts = value if isinstance(value, tuple | list) else ()
    if isinstance(value, dict):
        parts = value.values()
    elif _is_open(value):
        parts = vars(value).values()
    return sum(_n_bytes(part, seen) for part in parts)
