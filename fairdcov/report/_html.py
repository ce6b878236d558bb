"""The report as a page that needs nothing but itself."""

from functools import cache
from importlib.resources import files

from fairdcov._checks import import_optional
from fairdcov.report._blocks import Boxes, Items, Picture, Table, Text
from fairdcov.report._readable import with_readable_bins
from fairdcov.report._view import view

__all__ = ["render_html"]

_KINDS = {Boxes: "boxes", Items: "items", Picture: "picture", Table: "table", Text: "text"}


@cache
def _template():
    jinja2 = import_optional("jinja2", "AuditReport.to_html")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["pair"] = lambda value: isinstance(value, tuple)
    source = files("fairdcov.report").joinpath("templates", "report.html").read_text(encoding="utf-8")
    return environment.from_string(source)


def render_html(data):
    """The page.

    Parameters
    ----------
    data : dict
        Plain data of the report.

    Returns
    -------
    str
    """
    import_optional("matplotlib", "AuditReport.to_html")
    template = _template()
    # Comes with Jinja2, as what it takes for safe.
    from markupsafe import Markup

    from fairdcov.report._figures import draw

    data = with_readable_bins(data, data["settings"]["bins"])
    sections = view(data)
    pictures = {}
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Picture):
                pictures[block.name] = [Markup(draw(data, block, narrow=narrow)) for narrow in (False, True)]
    return template.render(data=data, sections=sections, pictures=pictures, kind=lambda block: _KINDS[type(block)])
