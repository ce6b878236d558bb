"""Make a site that runs examples, and audits files, in the browser: ``python .ci/browser_site.py WHEEL OUTPUT``.

WHEEL is fairdcov's for Pyodide (see the workflow "wheels"), OUTPUT a new folder for a web server, such as
``python -m http.server``. Needs jupyterlite-core[contents], jupyterlite-pyodide-kernel and sphinx-gallery. What is
opened in the browser stays there: data that a user uploads are read by Python in the page and sent nowhere.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sphinx_gallery.notebook import python_to_jupyter_cli

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ("plot_quickstart", "plot_choosing_a_strength", "plot_conditional_parity", "audit_a_file")
# fairdcov is the wheel beside the notebooks; what it needs is Pyodide's, or pure Python on PyPI.
FIRST_CELL = ["import piplite\n", 'await piplite.install(["fairdcov", "jinja2", "matplotlib"])']
# After the example of that name: in the list of files on the left, where a file of one's own is put too.
LAST_CELLS = {"audit_a_file": ["import shutil\n", 'shutil.copy(page, "audit.html")']}


def code_cell(lines):
    """A cell that has not been run."""
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": lines}


def main(wheel, output):
    """Notebooks of the examples, and the site around them."""
    with tempfile.TemporaryDirectory() as temporary:
        notebooks = Path(temporary, "notebooks")
        notebooks.mkdir()
        for name in EXAMPLES:
            script = shutil.copy(ROOT / "examples" / f"{name}.py", notebooks)
            python_to_jupyter_cli([str(script)])
            notebook = Path(script).with_suffix(".ipynb")
            content = json.loads(notebook.read_text(encoding="utf-8"))
            content["cells"].insert(0, code_cell(FIRST_CELL))
            content["cells"] += [code_cell(LAST_CELLS[name])] if name in LAST_CELLS else []
            notebook.write_text(json.dumps(content, indent=1), encoding="utf-8")
            Path(script).unlink()
        command = [
            sys.executable,
            "-m",
            "jupyterlite_core",
            "build",
            "--contents",
            notebooks,
            "--piplite-wheels",
            wheel,
        ]
        subprocess.run([*map(str, command), "--output-dir", str(Path(output).resolve())], cwd=temporary, check=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).resolve(), sys.argv[2])
