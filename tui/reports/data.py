"""A report for programs: JSON and CSV."""

from __future__ import annotations

import csv
import io
import json

from engine.protocol import RunReport, VerifyReport
from tui.reports.facts import counts_of
from tui.words.replaced import replaced_table_words

_DIFFERENCE = ("namespace", "table", "kind", "id", "field", "column", "source", "target", "reason", "source_changed")


def json_text(report: VerifyReport, run: RunReport | None = None) -> str:
    """The verification as it came from the engine, and, as `report`, everything else that is known of the run."""
    whole = {"report": run.model_dump(mode="json")} if run is not None else {}
    return json.dumps(report.model_dump(mode="json") | whole, indent=2) + "\n"


def csv_text(report: VerifyReport, run: RunReport | None = None) -> str:
    """A line for each table; when there are differences, a second block with a line for each."""
    names = counts_of(report)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "namespace", "table", *names, "ok", "message"])
    for table in report.tables:
        counts = [getattr(table, name) for name in names]
        message = "; ".join(filter(None, (table.message, replaced_table_words(report.replaced_since, table.table))))
        writer.writerow(
            [report.run_id, _plain(table.namespace), _plain(table.table), *counts, table.ok, _plain(message)]
        )
    if report.differences:
        writer.writerow([])
        writer.writerow(_DIFFERENCE)
        for each in report.differences:
            values = [getattr(each, name) for name in _DIFFERENCE]
            writer.writerow([_plain(value) if isinstance(value, str) else value for value in values])
    if report.less_strict:
        writer.writerow([])
        writer.writerow(["table", "field", "less_strictly_compared", "reason"])
        for less in report.less_strict:
            writer.writerow([_plain(less.table), _plain(less.field), less.count, _plain(less.reason)])
    if run is not None and run.rejects:
        writer.writerow([])
        writer.writerow(["collection", "field", "reason", "sqlstate", "rejected_documents"])
        for group in run.rejects:
            cells = map(_plain, (group.namespace, group.field, group.reason, group.sqlstate))
            writer.writerow([*cells, group.count])
    return text.getvalue()


def _plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
