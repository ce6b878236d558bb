"""Configuration of the documentation; ``make docs`` builds it with warnings as errors."""

import os
import sys
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path

from docutils.nodes import doctest_block
from sphinx.util.logging import getLogger

os.environ["MPLBACKEND"] = "Agg"
sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))  # the pages import what they show
sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "fairdcov"
author = "The fairdcov developers"
copyright = "The fairdcov developers"
version = release = installed_version("fairdcov")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "mathml",
    "stored_results",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "myst_parser",
]
exclude_patterns = ["_build", "auto_examples/*.ipynb", "auto_examples/sg_execution_times.rst"]
html_math_renderer = "mathml"
templates_path = ["_templates"]
default_role = "literal"
suppress_warnings = ["myst.xref_missing"]  # CONTRIBUTING.md links to files of the repository
myst_heading_anchors = 2

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = True
autodoc_typehints = "none"  # the docstrings have them, with shapes and units
# One class of the reference derives from a class of PyTorch's, which few need to build these pages.
has_torch = find_spec("torch") is not None
autodoc_mock_imports = [] if has_torch else ["torch"]
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

doctest_global_setup = """
import os
import tempfile

import numpy as np
import pandas as pd

os.chdir(tempfile.mkdtemp())  # some examples write files
"""

# Scripts that are run while the pages are built: no PyTorch, no data to download, and less than twenty seconds each.
# The others are shown without their output.
RUN = (
    "plot_quickstart",
    "plot_choosing_a_strength",
    "plot_conditional_parity",
    "plot_unaware_features",
    "frequency_severity",
    "imputed_race",
)
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": rf"[\\/]({'|'.join(RUN)})\.py$",
    "within_subsection_order": "FileNameSortKey",
    "copyfile_regex": "",
    "plot_gallery": True,
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "remove_config_comments": True,
}

html_theme = "furo"
html_title = f"fairdcov {release}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["formulas.css"]
html_extra_path = ["llms.txt"]
html_theme_options = {"navigation_with_keys": True}


def skip_inherited_from_sklearn(app, what, name, obj, skip, options):
    """Leave out what scikit-learn's base classes document, with references into its own pages."""
    return True if getattr(obj, "__module__", None) and obj.__module__.startswith("sklearn") else skip


def skip_examples_of_torch(app, doctree):
    """Where PyTorch is not installed, take out the examples that need it before they are run."""
    page = app.env.docname
    if has_torch or app.builder.name != "doctest" or not page.startswith(("neural", "api/generated/fairdcov.neural")):
        return
    examples = list(doctree.findall(doctest_block))
    for example in examples:
        example.parent.remove(example)
    getLogger(__name__).info("%s: %d examples left out, PyTorch is not installed", page, len(examples))


def setup(app):
    """Sphinx calls this."""
    app.connect("doctree-read", skip_examples_of_torch)
    app.connect("autodoc-skip-member", skip_inherited_from_sklearn)
