"""Formulas as MathML, which browsers draw by themselves: nothing is loaded from elsewhere.

docutils translates LaTeX; what it does not know is a warning, and warnings are errors in ``make docs``.
"""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util.logging import getLogger
from sphinx.util.math import get_node_equation_number

logger = getLogger(__name__)


def translate(node, as_block):
    """MathML of a formula; commands that docutils lacks are replaced by those that it has."""
    # Backslashes that a docstring escapes twice, dots whose height TeX chooses, sizes that MathML chooses.
    text = re.sub(r"\\dots(?![a-z])", r"\\ldots", node.astext())
    text = re.sub(r"\\[Bb]ig+[lr]?(?![a-z])", "", text)
    try:
        return tex2mathml(text, as_block=as_block)
    except MathError as error:
        logger.warning("formula not translated, %s: %s", error, node.astext(), location=node)
        return f"<code>{node.astext()}</code>"


def visit_inline(self, node):
    """Formula within a line."""
    self.body.append(f'<span class="math notranslate">{translate(node, as_block=False)}</span>')
    raise nodes.SkipNode


def visit_display(self, node):
    """Formula on lines of its own, with its number if it has one."""
    self.body.append(self.starttag(node, "div", CLASS="math notranslate"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(translate(node, as_block=True) + "</div>\n")
    raise nodes.SkipNode


def setup(app):
    """Sphinx calls this."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
