"""What `plan`, `verify`, `rejects` and `runs` do: start an engine, ask it one thing, print the answer, end it."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from pydantic import BaseModel

from engine.config import Loaded, Settings
from engine.control.client import EngineClient
from engine.control.protocol import (
    DiscardRun,
    ListRejects,
    ListRuns,
    MakePlan,
    PlanView,
    RejectsReport,
    RunInfo,
    TableView,
    Verification,
    Verify,
    VerifyReport,
)
from engine.errors import EXIT_DONE, EXIT_INCOMPLETE
from tui.format import NO_NUMBER, bytes_size, duration, number, percent, rate
from tui.headless import ended, started
from tui.output import say, say_json
from tui.running import require
from tui.safe import safe, safe_block
from tui.tables import text_table

END_TIMEOUT_S = 2.0


def show_plan(loaded: Loaded, *, as_json: bool, ddl: bool) -> int:
    """Print what would go where."""
    require(loaded, "source", "target")
    answer = _ask(loaded.settings, MakePlan(collections=loaded.settings.run.collections))
    plan = PlanView.model_validate(answer)
    if as_json:
        say_json(answer)
    elif ddl:
        statements = "\n\n".join(table.ddl for table in plan.tables)
        # A pipe gets the exact statements; on a terminal, a field's name could be an escape sequence.
        say(safe_block(statements, len(statements)) if sys.stdout.isatty() else statements)
    else:
        say(_plan_text(plan))
    return EXIT_DONE


def show_verification(loaded: Loaded, run_id: str, *, full: bool, as_json: bool) -> int:
    """Compare both sides and print the counts; exit code 4 when they differ."""
    require(loaded, "source", "target")
    answer = _ask(loaded.settings, Verify(run=run_id, level="full" if full else "counts"))
    report = VerifyReport.model_validate(answer)
    if as_json:
        say_json(answer)
    else:
        say(_verification_text(report))
    return EXIT_DONE if report.result is Verification.VERIFIED else EXIT_INCOMPLETE


def show_rejects(loaded: Loaded, run_id: str, *, as_json: bool) -> int:
    """Print rejected documents by reason."""
    require(loaded, "target")
    answer = _ask(loaded.settings, ListRejects(run=run_id))
    if as_json:
        say_json(answer)
    else:
        say(_rejects_text(RejectsReport.model_validate(answer)))
    return EXIT_DONE


def show_runs(loaded: Loaded, *, as_json: bool) -> int:
    """Print the runs in the ledger."""
    require(loaded, "target")
    answer = _ask(loaded.settings, ListRuns())
    if as_json:
        say_json(answer)
    else:
        say(_runs_text([RunInfo.model_validate(run) for run in answer["runs"]]))
    return EXIT_DONE


def discard_run(loaded: Loaded, run_id: str, *, as_json: bool) -> int:
    """Drop a run's staging tables and its rows in the ledger."""
    require(loaded, "target")
    answer = _ask(loaded.settings, DiscardRun(run=run_id))
    if as_json:
        say_json(answer)
    else:
        say(f"Run {safe(str(answer.get('run_id', run_id)))} is discarded; its target tables stay.")
    return EXIT_DONE


def _ask(settings: Settings, question: BaseModel) -> Any:
    return asyncio.run(_answer(settings, question))


async def _answer(settings: Settings, question: BaseModel) -> Any:
    process = await started(settings)
    try:
        client = await EngineClient.connect(process.socket, owner=True, on_disconnect="cancel")
        try:
            return await client.call(question)
        finally:
            await client.close()
    finally:
        await ended(process, END_TIMEOUT_S)


# --- text -------------------------------------------------------------------------------------------------------------


def _plan_text(plan: PlanView) -> str:
    blocks = [f"plan {safe(plan.fingerprint)}, mode {safe(plan.mode)}"]
    blocks += [_table_text(table) for table in plan.tables]
    blocks += [f"! {safe(warning)}" for warning in plan.warnings]
    return "\n\n".join(blocks)


def _table_text(table: TableView) -> str:
    key = f", primary key {safe(table.primary_key)}" if table.primary_key else ""
    lines = [
        f"{safe(table.namespace)} → {safe(table.table)}: {number(table.documents)} documents, "
        f"{bytes_size(table.size_bytes)}{key}"
    ]
    rows = [
        [
            column.field,
            percent(column.seen_percent / 100),
            ", ".join(f"{kind} {share:.0f}%" for kind, share in column.kinds.items()),
            column.column,
            column.type,
            column.note,
        ]
        for column in table.columns
    ]
    lines.append(text_table(["field", "seen", "BSON types", "column", "type", "note"], rows, right={1}))
    return "\n".join([*lines, *(f"! {safe(warning)}" for warning in table.warnings)])


def _verification_text(report: VerifyReport) -> str:
    rows = [
        [
            table.namespace, table.table, number(table.source), number(table.read), number(table.written),
            number(table.rejected), number(table.target), "ok" if table.ok else f"MISMATCH {table.message}".rstrip(),
        ]
        for table in report.tables
    ]  # fmt: skip
    headings = ["collection", "table", "source", "read", "written", "rejected", "target", ""]
    verdict = f"run {safe(report.run_id)}: {report.result.value} (level {safe(report.level)})"
    return "\n".join([verdict, text_table(headings, rows, right={2, 3, 4, 5, 6})])


def _rejects_text(report: RejectsReport) -> str:
    if not report.total:
        return f"run {safe(report.run_id)}: no rejected documents"
    rows = [
        [group.namespace, group.field, group.reason, group.sqlstate, number(group.count), " ".join(group.samples)]
        for group in report.groups
    ]
    headings = ["collection", "field", "reason", "sqlstate", "documents", "such as _id"]
    verdict = f"run {safe(report.run_id)}: {number(report.total)} rejected documents, kept in mongopg.reject"
    return "\n".join([verdict, text_table(headings, rows, right={4})])


def _runs_text(runs: list[RunInfo]) -> str:
    if not runs:
        return "There are no runs in the ledger of this target."
    rows = [
        [
            run.run_id,
            time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started_unix)),
            ", ".join(run.collections),
            run.mode,
            number(run.written),
            duration(run.seconds),
            rate(run.written / run.seconds) if run.seconds else NO_NUMBER,
            number(run.rejected),
            f"{run.state}, resumable" if run.resumable else f"{run.state}, {run.verification}",
        ]
        for run in runs
    ]
    headings = ["run", "when", "collections", "mode", "rows", "time", "rows/s", "rejects", "outcome"]
    return text_table(headings, rows, right={4, 5, 6, 7})
