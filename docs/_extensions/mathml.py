"""Formulas as MathML, which browsers draw by themselves: nothing is loaded from elsewhere.

docutils translates LaTeX; what it does not know is a warning, and warnings are errors in ``make docs``.
"""

import html
import re
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util.logging import getLogger
from sphinx.util.math import get_node_equation_number

logger = getLogger(__name__)
NAMESPACE = "http://www.w3.org/1998/Math/MathML"
ElementTree.register_namespace("", NAMESPACE)


def translate(node, as_block):
    """MathML of a formula; commands that docutils lacks are replaced by those that it has."""
    # Dots whose height TeX chooses, sizes that MathML chooses.
    text = re.sub(r"\\dots(?![a-z])", r"\\ldots", node.astext())
    text = re.sub(r"\\[Bb]ig+[lr]?(?![a-z])", "", text)
    try:
        return with_accents(tex2mathml(text, as_block=as_block))
    except MathError as error:
        logger.warning("formula not translated, %s: %s", error, node.astext(), location=node)
        return f"<code>{node.astext()}</code>"


def with_accents(mathml):
    """Indices of a letter with an accent beside it, where docutils puts them below as if they were limits of a sum."""
    # XML knows five entities, HTML the others that docutils writes.
    mathml = re.sub(r"&(?!(?:lt|gt|amp|quot|apos);)\w+;", lambda entity: html.unescape(entity[0]), mathml)
    tree = ElementTree.fromstring(mathml)
    for element in list(tree.iter(f"{{{NAMESPACE}}}munderover")):
        base, index, accent = list(element)
        if accent.get("stretchy") != "false" or not base.tag.endswith("}mi"):
            continue
        element.clear()
        element.tag = f"{{{NAMESPACE}}}msub"
        accented = ElementTree.SubElement(element, f"{{{NAMESPACE}}}mover", accent="true")
        accented.extend([base, accent])
        element.append(index)
    # Braces within a row, which no ``left`` has asked for, do not grow.
    for row in tree.iter():
        for child in list(row)[1:-1]:
            if child.text in ("{", "}"):
                child.set("stretchy", "false")
    return ElementTree.tostring(tree, encoding="unicode")


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
