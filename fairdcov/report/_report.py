"""The report: plain data, and the forms it can be handed over in."""

from __future__ import annotations

import html
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from fairdcov.report._tables import TABLES

__all__ = ["SCHEMA", "SCHEMA_VERSION", "AuditReport"]

SCHEMA = "fairdcov.audit"
# Raised in the first place when a key changes its meaning or goes, in the second when keys are added.
SCHEMA_VERSION = "1.3"


def _flat(row):
    """A row with nested dicts spread over columns of their own."""
    found = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= {f"{name}_{inner}": part for inner, part in _flat(value).items()}
        elif isinstance(value, list):
            found[name] = " × ".join(str(part) for part in value)
        else:
            found[name] = value
    return found


class AuditReport:
    """Outcome of :func:`audit`: plain data in every form one may have to hand over.

    Parameters
    ----------
    data : dict
        What :meth:`to_dict` returns; a report that was saved as JSON can be made again from it.

    Attributes
    ----------
    summary : str
        A few sentences.

    See Also
    --------
    audit : Makes one.

    Examples
    --------
    >>> from fairdcov.report import AuditReport, audit
    >>> report = audit([0, 1, 0, 2], [0.5, 1.0, 0.5, 1.0], ["f", "m", "f", "m"], min_group_size=2, verbose=0)
    >>> same = AuditReport.from_json(report.to_json())
    >>> same.to_dict() == report.to_dict()
    True
    >>> report.to_frame("groups")[["label", "rows", "observed", "predicted", "actual_to_expected"]]
      label  rows  observed  predicted  actual_to_expected
    0     f     2       0.0        0.5                 0.0
    1     m     2       1.5        1.0                 1.5
    """

    def __init__(self, data: dict[str, Any]) -> None:
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise ValueError(f"data must be a report of schema {SCHEMA!r}, as AuditReport.to_dict returns it")
        major = str(data.get("schema_version")).partition(".")[0]
        if major != SCHEMA_VERSION.partition(".")[0]:
            raise ValueError(f"this version reads reports of schema {SCHEMA_VERSION}; found {data['schema_version']}")
        self._data = data

    @classmethod
    def from_json(cls, source: str | Path) -> AuditReport:
        """Read a report that :meth:`to_json` wrote.

        Parameters
        ----------
        source : str or path
            JSON text, or a file.

        Returns
        -------
        AuditReport
        """
        if isinstance(source, str) and source.lstrip().startswith("{"):
            return cls(json.loads(source))
        return cls(json.loads(Path(source).read_text(encoding="utf-8")))

    @staticmethod
    def json_schema() -> dict[str, Any]:
        """The JSON Schema (draft 2020-12) of what :meth:`to_json` writes.

        Returns
        -------
        dict
            Reports of this version have all keys that it requires; later ones of the same first number of
            ``schema_version`` may have more.
        """
        return json.loads(files("fairdcov.report").joinpath("report.schema.json").read_text(encoding="utf-8"))

    @property
    def summary(self) -> str:
        """A few sentences on the whole report."""
        return "\n".join(self._data["summary"])

    def __str__(self):
        return self.summary

    def __repr__(self):
        data = self._data["data"]
        names = ", ".join(attribute["name"] for attribute in data["attributes"])
        return f"<AuditReport of {data['rows']:,} rows, attributes: {names}>"

    def _repr_html_(self):
        sentences = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in self._data["summary"])
        return f"<div><strong>Audit report</strong><ul>{sentences}</ul></div>"

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types, with stable names.

        Returns
        -------
        dict
            A copy. ``schema_version`` says which names there are.
        """
        return json.loads(json.dumps(self._data))

    def to_json(self, path: str | Path | None = None, *, indent: int | None = 2) -> str:
        """The report as JSON; figures that are not defined are ``null``.

        Parameters
        ----------
        path : str or path, optional
            File to write, in UTF-8.
        indent : int or None, default=2
            Indentation.

        Returns
        -------
        str
        """
        # ASCII: names with broken characters survive any editor.
        text = json.dumps(self._data, indent=indent, allow_nan=False)
        return _write(text, path)

    def to_frame(self, section: str = "groups") -> pd.DataFrame:
        """A part of the report as a table.

        Parameters
        ----------
        section : str, default="groups"
            ``"groups"``, ``"measures"``, ``"too_small"``, ``"pairs"``, ``"tiers"``, ``"dependence"``,
            ``"conditional"``, ``"adjusted_gaps"``, ``"partial"``, ``"proxies"``, ``"proxy_prediction"``, ``"prices"``,
            ``"proxy_discrimination"``, ``"lift"``, ``"double_lift"``, ``"premium_changes"``,
            ``"premium_changes_by_group"``, ``"before_after"``, ``"cross_subsidies"``, ``"frontier"``, ``"binning"``,
            ``"alternatives"``, ``"equivalence"`` or ``"equivalence_groups"``.

        Returns
        -------
        pandas.DataFrame
            Without rows where the report has no such part.
            :func:`fairdcov.actuarial.write_csv` saves it so that no spreadsheet takes a category for a formula.
        """
        if section not in TABLES:
            raise ValueError(f"section must be one of {', '.join(map(repr, TABLES))}; found {section!r}")
        return pd.DataFrame([_flat(row) for row in TABLES[section](self._data)])

    def to_markdown(self, path: str | Path | None = None) -> str:
        """The report as Markdown, with the tables and without the pictures.

        Parameters
        ----------
        path : str or path, optional
            File to write, in UTF-8.

        Returns
        -------
        str
        """
        from fairdcov.report._markdown import render_markdown

        return _write(render_markdown(self._data), path)

    def to_html(self, path: str | Path | None = None) -> str:
        """The report as one self-contained page with pictures; it loads nothing from elsewhere.

        Parameters
        ----------
        path : str or path, optional
            File to write, in UTF-8.

        Returns
        -------
        str

        Raises
        ------
        ImportError
            Without Jinja2 and matplotlib, which come with the extra ``report``.
        """
        from fairdcov.report._html import render_html

        return _write(render_html(self._data), path)


def _write(text, path):
    """Write a text to a file, if there is one, and return it; broken characters of names become question marks."""
    text = text.encode("utf-8", errors="replace").decode("utf-8")
    if path is not None:
        Path(path).write_text(text, encoding="utf-8", newline="\n")
    return text
