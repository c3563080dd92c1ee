"""A verification's, or a run's, report as Markdown, JSON or CSV, and the file it is written to."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

from engine.errors import UsageError
from engine.protocol import RunState, Snapshot, TableCounts, Verification, VerifyReport
from tui.files import typed_path, write_new
from tui.words.format import number
from tui.words.safe import safe

_COUNTS = ("source", "read", "written", "rejected", "target")
_FULL = ("equal", "different", "missing", "extra", "kept")
_DIFFERENCE = ("namespace", "table", "kind", "id", "field", "column", "source", "target", "reason", "source_changed")


def report_of(end: Snapshot, *, goes_on: bool = False) -> VerifyReport:
    """What the end of a run says as a report; tables that were not compared say so.

    Args:
        goes_on: it is not the end: an engine is at the run.
    """
    why_not = f"not compared: the run {'goes on' if goes_on else 'has not finished'}"
    tables = [
        TableCounts(
            namespace=table.namespace, table=table.table, source=table.source_count, read=table.read,
            written=table.written, rejected=table.rejected, target=table.target_count, ok=table.ok is True,
            message="" if table.ok is not None else why_not,
        )
        for table in end.tables
    ]  # fmt: skip
    result = end.verification if end.state is RunState.COMPLETED else Verification.NONE
    return VerifyReport(run_id=end.run_id, level="counts", result=result, tables=tables)


def markdown(report: VerifyReport) -> str:
    """A page to read: the counts of each table, then the differences."""
    names = _counts_of(report)
    lines = [
        f"# Verification of run {safe(report.run_id, 40)}",
        "",
        f"Result: **{report.result.value}**, level {safe(report.level, 20)}.",
        "",
        f"| table | {' | '.join(names)} | result |",
        f"|---|{'---:|' * len(names)}---|",
    ]
    for table in report.tables:
        counts = " | ".join(number(getattr(table, name)) for name in names)
        lines.append(f"| {_cell(f'{table.namespace} → {table.table}')} | {counts} | {_cell(_result(table))} |")
    if report.differences:
        lines += [
            "",
            "## Differences",
            "",
            "| table | kind | _id | field | source | target |",
            "|---|---|---|---|---|---|",
        ]
        for each in report.differences:
            values = (each.table, each.kind, each.id, each.field, each.source, each.target)
            lines.append("| " + " | ".join(_cell("–" if value is None else value) for value in values) + " |")
    if report.less_strict:
        lines += [
            "",
            "## Compared less strictly, by value",
            "",
            "| table | field | values | why |",
            "|---|---|---:|---|",
        ]
        for less in report.less_strict:
            lines.append(f"| {_cell(less.table)} | {_cell(less.field)} | {number(less.count)} | {_cell(less.reason)} |")
    return "\n".join(lines) + "\n"


def json_text(report: VerifyReport) -> str:
    """The report as it came from the engine."""
    return json.dumps(report.model_dump(mode="json"), indent=2) + "\n"


def csv_text(report: VerifyReport) -> str:
    """A line for each table; when there are differences, a second block with a line for each."""
    names = _counts_of(report)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "namespace", "table", *names, "ok", "message"])
    for table in report.tables:
        counts = [getattr(table, name) for name in names]
        writer.writerow(
            [report.run_id, _plain(table.namespace), _plain(table.table), *counts, table.ok, _plain(table.message)]
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
    return text.getvalue()


FORMATS: dict[str, Callable[[VerifyReport], str]] = {".md": markdown, ".json": json_text, ".csv": csv_text}
"""By the ending of the file's name."""


def write_report(report: VerifyReport, name: str) -> Path:
    """Write the report into a new file, in the format that its name ends with.

    Raises:
        UsageError: the name has another ending, the file exists, or it cannot be written.
    """
    path = typed_path(name)
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise UsageError(f"The name must end with {', '.join(FORMATS)}: it says which format is written.")
    write_new(path, form(report))
    return path


def _counts_of(report: VerifyReport) -> tuple[str, ...]:
    return _COUNTS + _FULL if report.level == "full" else _COUNTS


def _result(table: TableCounts) -> str:
    return table.message or ("agrees" if table.ok else "differs")


def _cell(text: str) -> str:
    return safe(text, 300).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _plain(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
