"""Configuration of the documentation; ``make docs`` builds it with warnings as errors."""

import os
import sys
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path

from docutils.nodes import doctest_block
from sphinx.util.logging import getLogger

os.environ["MPLBACKEND"] = "Agg"
REPOSITORY = Path(__file__).parent.parent
sys.path.insert(0, str(REPOSITORY / "examples"))  # the pages import what they show
sys.path.insert(0, str(Path(__file__).parent / "_extensions"))
from gallery import Order  # noqa: E402

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
exclude_patterns = [
    "_build",
    "api/generated/backreferences",
    "auto_examples/*.ipynb",
    "auto_examples/sg_execution_times.rst",
]
html_math_renderer = "mathml"
templates_path = ["_templates"]
default_role = "literal"
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
    "plot_how_it_works",
    "plot_gerrymandering",
    "plot_choosing_a_strength",
    "plot_lightgbm",
    "plot_conditional_parity",
    "plot_unaware_features",
    "plot_reference_prices",
    "plot_certificate",
    "plot_rating_table",
    "plot_displays",
    "audit_a_file",
    "frequency_severity",
    "imputed_race",
)
Order.first = RUN
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": rf"[\\/]({'|'.join(RUN)})\.py$",
    "within_subsection_order": "gallery.Order",
    "copyfile_regex": "",
    "default_thumb_file": str(Path(__file__).parent / "_static" / "script.png"),  # of scripts without a picture
    "backreferences_dir": "api/generated/backreferences",
    "doc_module": ("fairdcov",),
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

html_theme = "pydata_sphinx_theme"
html_title = f"fairdcov {release}"
# Read the Docs keeps the pages of each version and links them; elsewhere there is one version and no address.
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "")
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["llms.txt"]
html_sidebars = {"getting_started": [], "changelog": []}
html_theme_options = {
    "navigation_with_keys": True,
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "navigation_depth": 2,
    "collapse_navigation": True,
    "footer_end": [],
}

# Links to other sites, for `make linkcheck`, which needs them; those within the pages are checked by `make docs`.
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_anchors = False
linkcheck_ignore = [
    r"https://fairdcov\.readthedocs\.io",  # these pages, which may not be there yet
    r"https://doi\.org/",  # leads to publishers who turn programs away
]


def skip_inherited_from_sklearn(app, what, name, obj, skip, options):
    """Leave out what scikit-learn's base classes document, with references into its own pages."""
    return True if getattr(obj, "__module__", None) and obj.__module__.startswith("sklearn") else skip


def skip_examples_of_torch(app, doctree):
    """Where PyTorch is not installed, take out the examples that need it before they are run."""
    page = app.env.docname
    if (
        has_torch
        or app.builder.name != "doctest"
        or not page.startswith(("neural", "gpu", "api/generated/fairdcov.neural"))
    ):
        return
    examples = list(doctree.findall(doctest_block))
    for example in examples:
        example.parent.remove(example)
    getLogger(__name__).info("%s: %d examples left out, PyTorch is not installed", page, len(examples))


# Pages that are files of the repository, and where their links to other files of it lead.
OF_THE_REPOSITORY = {"contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md"}
LINKS = {
    "](docs/": "](",
    "](CHANGELOG.md": "](changelog.md",
    "](examples/own_metric.py": "](auto_examples/own_metric.rst",
}


def read_file_of_the_repository(app, docname, source):
    """Put the file in the place of the page of its name."""
    if docname in OF_THE_REPOSITORY:
        file = REPOSITORY / OF_THE_REPOSITORY[docname]
        app.env.note_dependency(str(file))
        source[0] = file.read_text(encoding="utf-8")
        for link, target in LINKS.items():
            source[0] = source[0].replace(link, target)


def setup(app):
    """Sphinx calls this."""
    app.connect("source-read", read_file_of_the_repository)
    app.connect("doctree-read", skip_examples_of_torch)
    app.connect("autodoc-skip-member", skip_inherited_from_sklearn)
