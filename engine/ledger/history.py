"""Runs that the ledger remembers: listed, found, discarded, and what they rejected."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from engine.config import Settings, merged
from engine.errors import UsageError
from engine.ledger import later_runs, rejects, retried_rejects, runs
from engine.ledger.ledger import Ledger
from engine.ledger.rejects import KeptDocument, RejectCause
from engine.ledger.retried_rejects import FIRST, Place
from engine.ledger.runs import LedgerRun
from engine.mapping.model import Mapping
from engine.mapping.options import POLICIES, choices
from engine.plan import kept_plan
from engine.plan.request import settings_of
from engine.plurals import counted
from engine.postgres import finish
from engine.protocol import (
    DiscardedTable,
    DiscardPreview,
    ListRejected,
    RejectedDocument,
    RejectedPage,
    RejectGroup,
    RejectsReport,
    ReplacedTables,
    RunInfo,
    Start,
)
from engine.rows import TableLoad

COUNTED_ROWS = 2_000_000
"""A table with more rows is not counted for a question: PostgreSQL's estimate does."""
PAGE_BYTES = 4 * 1024 * 1024
"""BSON of the documents in one page of rejects, unless a single one is larger."""
MOST_CHARS = 24 * 1024 * 1024
"""Of a document's text: a reply has to fit into a line of the protocol."""


async def list_runs(ledger: Ledger) -> list[RunInfo]:
    """Every run of the ledger, newest first."""
    async with ledger.session() as connection:
        replaced = await later_runs.replaced_tables(connection)
        return [info_of(record, replaced.get(record.run_id)) for record in await runs.list_runs(connection)]


async def find_run(ledger: Ledger, run: str) -> LedgerRun:
    """A run by a prefix of its id, "" for the newest; raises UsageError when there is none."""
    async with ledger.session() as connection:
        found = await runs.find_run(connection, prefix=run)
    if found is None:
        raise UsageError("The ledger of the target has no runs yet.")
    return found


async def as_it_was(settings: Settings, command: Start) -> tuple[Settings, Start]:
    """Settings and command that go on with the run that `command.resume` names, as it was asked for.

    What was given (`command.said`) stays, and is compared with the run's plan when it is taken up.

    Raises:
        UsageError: the ledger has no such run.
    """
    said = set(command.said or ())
    async with Ledger.for_question(settings) as ledger:
        record = await find_run(ledger, command.resume or "")
    plan = kept_plan(record.plan, record.run_id)
    own = {
        section: {name: value for name, value in values.items() if f"{section}.{name}" not in said}
        for section, values in settings_of(plan.request).items()
    }
    saved = command.plan if command.plan or "run.collections" in said else plan.saved
    return merged(settings, own), command.model_copy(update={"plan": saved})


async def discard(ledger: Ledger, run: str, *, drop_tables: bool, force: bool = True) -> dict[str, Any]:
    """Drop a run's staging tables and its rows in the ledger; with `drop_tables` also the tables that it made.

    Args:
        force: also when documents are kept as rejects.

    Raises:
        TargetHeld: it is going on. UsageError: there is no such run, it has rejects, or something depends on a table.
    """
    record = await find_run(ledger, run)
    async with ledger.session() as connection:
        loads = await runs.table_loads(connection, record.run_id)
        n_rejects = await rejects.count_rejects(connection, record.run_id)
    if n_rejects and not force:
        raise UsageError(
            f"Run {record.run_id} has {counted(n_rejects, 'rejected document')}, and the ledger has the only copy of what was "
            f"read: see `mongopg-tui rejects {record.run_id} --documents`, or delete it with --force.",
            code="rejects",
        )
    await ledger.hold([load.target for load in loads])
    async with ledger.session() as connection:
        dropped = await runs.discard(connection, record.run_id, drop_tables=drop_tables)
    return {
        "run_id": record.run_id,
        "dropped": [str(table) for table in dropped],
        "rejected": n_rejects,
        "writes_blocked": record.blocks_writes,
    }


async def preview_discard(ledger: Ledger, run: str) -> DiscardPreview:
    """What goes when a run is discarded."""
    record = await find_run(ledger, run)
    async with ledger.session() as connection:
        tables = [
            await _discarded(connection, load, written)
            for load, written in await runs.loads_with_rows(connection, record.run_id)
        ]
        return DiscardPreview(
            run_id=record.run_id,
            tables=tables,
            rejected=await rejects.count_rejects(connection, record.run_id),
            events=await runs.count_events(connection, record.run_id),
            writes_blocked=record.blocks_writes,
        )


async def _discarded(connection: asyncpg.Connection, load: TableLoad, written: int) -> DiscardedTable:
    """A table of the run as it is now."""
    estimate = await connection.fetchval("SELECT reltuples::bigint FROM pg_class WHERE oid = $1", load.table_oid)
    is_exact = estimate is not None and max(estimate, written) <= COUNTED_ROWS
    if estimate is None:
        rows = -1
    elif is_exact:
        rows = await finish.count_rows(connection, load)
    else:
        rows = max(estimate, written)
    return DiscardedTable(table=str(load.target), rows=rows, is_exact=is_exact, is_own=load.made)


async def list_rejects(ledger: Ledger, run: str, samples: int) -> RejectsReport:
    """A run's rejects by reason."""
    record = await find_run(ledger, run)
    async with ledger.session() as connection:
        groups = await rejects.rejects_report(connection, record.run_id, samples)
    mappings = {table.namespace: table.mapping for table in kept_plan(record.plan, record.run_id).tables}
    return RejectsReport(
        run_id=record.run_id,
        mode=record.mode,
        total=sum(group.count for group in groups),
        groups=[_group(group, mappings.get(group.collection)) for group in groups],
    )


def _group(cause: RejectCause, mapping: Mapping | None) -> RejectGroup:
    group = RejectGroup(
        namespace=cause.collection, reason=cause.reason, field=cause.field, sqlstate=cause.sqlstate, count=cause.count,
        samples=list(cause.samples), detail=cause.detail,
    )  # fmt: skip
    if cause.reason not in POLICIES or mapping is None:
        return group
    takes = [choice for choice in choices(cause.reason) if choice != "reject"]
    in_force = retried_rejects.policy_in_force(mapping, cause.reason, cause.field)
    return group.model_copy(update={"policy": cause.reason, "in_force": in_force, "takes": takes})


async def list_rejected(ledger: Ledger, command: ListRejected) -> RejectedPage:
    """A page of a run's rejected documents."""
    record = await find_run(ledger, command.run)
    only = command.only
    cause = (only.namespace, only.reason, only.field, only.sqlstate) if only is not None else None
    async with ledger.session() as connection:
        found = await rejects.kept_documents(
            connection,
            record.run_id,
            cause,
            _place(command.after),
            command.limit,
            PAGE_BYTES if command.documents else 0,
        )
    documents = await asyncio.to_thread(lambda: [_document(each, command) for each in found])
    return RejectedPage(
        run_id=record.run_id,
        documents=documents,
        following=".".join(map(str, found[-1].place)) if found else "",
    )


def _place(after: str) -> Place:
    if not after:
        return FIRST
    try:
        partition, slice_no, number = map(int, after.split("."))
    except ValueError:
        raise UsageError("A page of rejects begins behind three numbers, as the page before it says.") from None
    return partition, slice_no, number


def _document(kept: KeptDocument, command: ListRejected) -> RejectedDocument:
    text = rejects.extended_document(kept.raw) if command.documents else None
    most = min(command.most_chars or MOST_CHARS, MOST_CHARS)
    is_cut = text is not None and len(text) > most
    return RejectedDocument(
        id=kept.id, namespace=kept.collection, reason=kept.reason, field=kept.field, sqlstate=kept.sqlstate,
        detail=kept.detail, rejected_unix=kept.rejected_at.timestamp(), size=kept.size,
        document=text[:most] if text is not None else None, is_cut=is_cut,
    )  # fmt: skip


def _rate(rows: int, seconds: float) -> float:
    """Rows per second; 0 when there is no time."""
    return round(rows / seconds, 1) if seconds > 0 else 0.0


def copying_rate(measured: float, overall: float) -> float:
    """Rows per second while copying, where that was measured: never below the overall rate, whose time has more in it.

    The measure alone would be lower where a pause, or the end of a run that is stopped, has most of the rows: those that are
    committed meanwhile are not in it.
    """
    return max(measured, overall) if measured else 0.0


async def replaced_since(ledger: Ledger, run_id: str) -> ReplacedTables | None:
    """Tables of a run that are not any more what it wrote; None while all are."""
    async with ledger.session() as connection:
        return (await later_runs.replaced_tables(connection, run_id)).get(run_id)


def info_of(record: LedgerRun, replaced: ReplacedTables | None = None) -> RunInfo:
    """A run of the ledger as front ends show it."""
    overall = _rate(max(0, record.n_written - record.retried_rows), record.driven_s)
    return RunInfo(
        run_id=record.run_id,
        state=record.state,
        started_unix=record.started_at.timestamp(),
        ended_unix=record.ended_at.timestamp() if record.ended_at is not None else None,
        source=record.source,
        target=record.target,
        collections=list(record.namespaces),
        mode=record.mode,
        read=record.n_read,
        written=record.n_written,
        rejected=record.n_rejected,
        altered=record.altered,
        seconds=round(record.driven_s, 3),
        rows_per_s_overall=overall,
        rows_per_s_copying=copying_rate(_rate(record.copied, record.copying_s), overall),
        verification=record.verification,
        verification_level=record.verification_level,
        verified_before_retry=record.verified_before_retry,
        replaced_since=replaced,
        resumable=record.is_resumable,
        heartbeat_unix=record.heartbeat_at.timestamp(),
        engine_host=record.engine_host,
        writes_blocked=record.blocks_writes,
        follow_phase=record.follow_phase,
    )
