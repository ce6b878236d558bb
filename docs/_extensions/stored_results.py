"""Directive ``stored-table``: a table of the page of benchmarks from the results that are stored beside the scripts."""

import sys
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import tables  # noqa: E402


def list_table(table, widths=None):
    """Lines of a ``list-table`` with the columns and rows of a stored table, and how it was measured below it."""
    lines = [".. list-table::", "   :header-rows: 1"]
    lines += [f"   :widths: {widths}"] if widths else []
    lines.append("")
    for row in [table["columns"], *table["rows"]]:
        lines += [f"   {'*' if position == 0 else ' '} - {cell}".rstrip() for position, cell in enumerate(row)]
    facts = [table["measured"], table["machine"] or "any machine", table["versions"] or "versions not noted"]
    return [*lines, "", f"``python {table['script']}``: {'; '.join(facts)}."]


class StoredTable(SphinxDirective):
    """``.. stored-table:: NAME`` with the name of a file in benchmarks/results, or of a part of frontier.json."""

    required_arguments = 1
    option_spec = {"widths": directives.unchanged}  # noqa: RUF012

    def run(self):
        """The table, and where it comes from."""
        name = self.arguments[0]
        for file in (BENCHMARKS / "results" / f"{name}.json", BENCHMARKS / "frontier.json", Path(tables.__file__)):
            self.env.note_dependency(str(file))
        if name not in tables.names():
            raise self.error(f"no stored results {name!r}; there are {', '.join(tables.names())}")
        parent = nodes.container()
        lines = list_table(tables.read(name), self.options.get("widths"))
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), self.content_offset, parent)
        return parent.children


def plain_pictures(app, config):
    """Pictures alone, without links to their source and to other formats."""
    config.plot_formats, config.plot_html_show_source_link, config.plot_html_show_formats = ["png"], False, False


def setup(app):
    """Sphinx calls this; ``plot`` draws pictures of stored results."""
    app.add_directive("stored-table", StoredTable)
    app.setup_extension("matplotlib.sphinxext.plot_directive")
    app.connect("config-inited", plain_pictures)
    return {"parallel_read_safe": True}
