"""What goes to a regulator beside a tariff: an audit of predictions, as a page, as Markdown, as JSON and as tables."""

from fairdcov.report._audit import audit
from fairdcov.report._report import AuditReport
from fairdcov.report._tasks import PREDICTION_RANGES, TASKS, find_task, out_of_range
from fairdcov.report._texts import TASK_NAMES

__all__ = ["AuditReport", "audit"]
