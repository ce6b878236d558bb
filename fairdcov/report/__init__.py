"""What goes to a regulator beside a tariff: an audit of predictions, as a page, as Markdown, as JSON and as tables."""

from fairdcov.report._audit import audit
from fairdcov.report._report import AuditReport

__all__ = ["AuditReport", "audit"]
