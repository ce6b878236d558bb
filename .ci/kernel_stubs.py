"""Write the types of the compiled modules from their source: ``python .ci/kernel_stubs.py [--check]``.

A file ``.pyi`` beside each ``.pyx``, with the functions and numbers that Python sees. ``--check`` writes nothing and
ends with 1 where a file is not what it would write; ``make lint`` does that.
"""

import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "fairdcov" / "_kernels"
ARRAYS = {
    "double": "np.float64",
    "int32_t": "np.int32",
    "int64_t": "np.int64",
    "uint64_t": "np.uint64",
    "ptrdiff_t": "np.intp",
}
SCALARS = {"double": "float", "int": "int", "int64_t": "int", "ptrdiff_t": "int", "bint": "bool"}


def type_of(declaration):
    """Name and Python type of a parameter such as ``const double[::1] u``."""
    kind, name = re.fullmatch(r"(?:const )?(\w+(?:\[[^\]]*\])?) (\w+)", declaration).groups()
    base, is_array, _ = kind.partition("[")
    return name, f"NDArray[{ARRAYS[base]}]" if is_array else SCALARS[base]


def stub(source):
    """Text of the stub of a module."""
    code = re.sub(r"#.*", "", source)
    lines = [
        f"{name}: int" for name in re.findall(r"^([A-Z_]+) = ", code, flags=re.MULTILINE) if not name.startswith("_")
    ]
    lines += [""] if lines else []
    functions = re.findall(r"^def (\w+)\((.*?)\):\n(.*?)(?=^\S|\Z)", code, flags=re.MULTILINE | re.DOTALL)
    for name, parameters, body in functions:
        # A memoryview's brackets have no commas between parameters in them, but those of two dimensions.
        parts = re.split(r",(?![^\[]*\])", parameters)
        typed = [type_of(" ".join(part.split())) for part in parts if part.strip()]
        returns = "int" if re.search(r"^    return \w", body, flags=re.MULTILINE) else "None"
        lines.append(f"def {name}(")
        lines += [f"    {parameter}: {kind}," for parameter, kind in typed]
        lines.append(f") -> {returns}: ...")
    head = ['"""Written by .ci/kernel_stubs.py from the Cython source."""', ""]
    return "\n".join([*head, "import numpy as np", "from numpy.typing import NDArray", "", *lines]) + "\n"


def main(arguments):
    """Write or check."""
    different = []
    for source in sorted(FOLDER.glob("*.pyx")):
        file, text = source.with_suffix(".pyi"), stub(source.read_text(encoding="utf-8"))
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            different.append(file.name)
            if "--check" not in arguments:
                file.write_text(text, encoding="utf-8")
    if different and "--check" in arguments:
        sys.exit(f"{', '.join(different)}: not what python .ci/kernel_stubs.py writes")


if __name__ == "__main__":
    main(sys.argv[1:])
