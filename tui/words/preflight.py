"""What preflight found, as text: a line for all of it, and a line for each thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.protocol import CheckStatus, PreflightReport, TargetTable
from tui.words.format import counted, number
from tui.words.safe import safe

FrontEnd = Literal["cockpit", "command line"]

TO_DO = "to do"
"""What the line is called that says what to do about all of them."""
_REMEDIES: dict[FrontEnd, str] = {
    "cockpit": "give another table on the Plan screen, or choose another mode on Setup.",
    "command line": "name another table with --collection {namespace}:schema.table, or use --mode append, replace or upsert.",
}
"""For tables that are there in mode `create`."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at."""

    status: CheckStatus
    what: str
    text: str


def rows_words(table: TargetTable) -> str:
    """How many rows a table that is there has."""
    if table.rows is None:
        return "rows not known"
    prefix = {"exact": "", "about": "about ", "at least": "more than "}[table.rows_are]
    return f"{prefix}{counted(table.rows, 'row')}"


def table_words(table: TargetTable) -> str:
    """What a table is now and what becomes of it, in a few words."""
    if table.state == "unknown":
        return "not checked"
    there = f"exists, {rows_words(table)}"
    if table.fate == "created":
        return "new"
    if table.fate == "replaced" and table.stays:
        return f"{there}: all rows will be DROPPED, the table stays"
    if table.fate == "replaced":
        return f"{there}: will be DROPPED and replaced"
    if table.fate == "appended":
        return f"{there}: appended to"
    if table.fate == "upserted":
        return f"{there}: same _id replaced, others added"
    return f"{there}: would stop the run" if table.state == "exists" else "would stop the run"


def reason(table: TargetTable) -> str:
    """Why a table would stop the run beyond being there, and what to do; or what there is to know of it; empty for nothing."""
    return "" if _is_in_the_way(table) else safe(table.message, 600)


def _is_in_the_way(table: TargetTable) -> bool:
    """The run makes its tables, and this one is there."""
    return table.code == "table_exists" and table.state == "exists"


def remedy(report: PreflightReport, front_end: FrontEnd) -> str:
    """What to do about tables that are there; empty where they are in no way."""
    found = [table for table in report.tables if _is_in_the_way(table)]
    if not found:
        return ""
    count = f"{len(found)} tables exist" if len(found) > 1 else f"{safe(found[0].table, 120)} exists"
    namespace = "db.coll" if len(found) > 1 else safe(found[0].namespace, 200)
    return f"{count} already: {_REMEDIES[front_end].format(namespace=namespace)}"


def summary(report: PreflightReport) -> str:
    """All of it in a line: "target shop: 1 table would stop the run, 3 new, schema x will be created"."""
    if report.target == "not checked":
        return "target not checked"
    if report.target == "unreachable":
        return "target unreachable"
    counts: dict[str, int] = {}
    for table in report.tables:
        counts[table.fate] = counts.get(table.fate, 0) + 1
    words: list[str] = []
    for fate, first, many in (
        ("stops", "{tables} would stop the run", "{n} would stop the run"),
        ("replaced", "{tables} will be DROPPED and replaced", "{n} will be DROPPED and replaced"),
        ("appended", "{tables} appended to", "{n} appended to"),
        ("upserted", "{tables} upserted into", "{n} upserted into"),
        ("created", "{n} new {noun}", "{n} new"),
    ):
        if n := counts.get(fate, 0):
            noun = "table" if n == 1 else "tables"
            words.append((many if words else first).format(n=number(n), noun=noun, tables=counted(n, "table")))
    words += schemas_words(report.schemas)
    stops = [check.what for check in report.checks if check.status == "stop"]
    if stops:
        words.append(f"{', '.join(stops)} would stop the run")
    return f"target {safe(report.database, 63)}: {', '.join(words)}"


def schemas_words(schemas: Sequence[str]) -> list[str]:
    """That schemas will be created."""
    if not schemas:
        return []
    named = ", ".join(safe(each, 63) for each in schemas)
    return [f"schema{'s' * (len(schemas) > 1)} {named} will be created"]


def mapping_words(report: PreflightReport) -> list[str]:
    """Into which tables rows go as an earlier run has mapped them: "mapping as in run 20261123-1402-k3f9: public.orders"."""
    tables: dict[str, list[str]] = {}
    for table in report.tables:
        if table.mapped_by:
            tables.setdefault(table.mapped_by, []).append(safe(table.table, 120))
    return [f"mapping as in run {safe(run, 40)}: {', '.join(named)}" for run, named in tables.items()]


def lines(report: PreflightReport, front_end: FrontEnd) -> list[Line]:
    """A line for each thing, what would stop the run first."""
    found = [Line(check.status, safe(check.what, 40), safe(check.message, 800)) for check in report.checks]
    found += [Line("warning", "schema", f"Schema {safe(each, 63)} will be created.") for each in report.schemas]
    for table in report.tables:
        if table.state == "unknown":
            continue  # the line of the target says why
        because = reason(table)
        text = f"{table_words(table)}{f'. {because}' if because else ''}"
        status: CheckStatus = "warning" if table.fate == "replaced" and table.state == "exists" else table.status
        found.append(Line(status, f"{safe(table.namespace, 200)} → {safe(table.table, 200)}", text))
    if advice := remedy(report, front_end):
        found.append(Line("stop", TO_DO, advice))
    order: Sequence[CheckStatus] = ("stop", "warning", "ok")
    return sorted(found, key=lambda line: order.index(line.status))
