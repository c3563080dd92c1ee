"""Runs that the ledger remembers: listed, found, discarded, and what they rejected."""

from __future__ import annotations

from typing import Any

from engine.config import Settings, merged
from engine.errors import UsageError
from engine.ledger import rejects, runs
from engine.ledger.ledger import Ledger
from engine.ledger.runs import LedgerRun
from engine.plan import kept_plan
from engine.plan.request import settings_of
from engine.protocol import RejectGroup, RejectsReport, RunInfo, Start


async def list_runs(ledger: Ledger) -> list[RunInfo]:
    """Every run of the ledger, newest first."""
    async with ledger.session() as connection:
        return [info_of(record) for record in await runs.list_runs(connection)]


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


async def discard(ledger: Ledger, run: str, *, drop_tables: bool) -> dict[str, Any]:
    """Drop a run's staging tables and its rows in the ledger; with `drop_tables` also the tables that it made.

    Raises:
        TargetHeld: it is going on. UsageError: there is no such run, or something depends on a table.
    """
    record = await find_run(ledger, run)
    async with ledger.session() as connection:
        loads = await runs.table_loads(connection, record.run_id)
    await ledger.hold([load.target for load in loads])
    async with ledger.session() as connection:
        dropped = await runs.discard(connection, record.run_id, drop_tables=drop_tables)
    return {"run_id": record.run_id, "dropped": [str(table) for table in dropped]}


async def list_rejects(ledger: Ledger, run: str, samples: int) -> RejectsReport:
    """A run's rejects by reason."""
    record = await find_run(ledger, run)
    async with ledger.session() as connection:
        groups = await rejects.rejects_report(connection, record.run_id, samples)
    return RejectsReport(
        run_id=record.run_id,
        total=sum(group.count for group in groups),
        groups=[
            RejectGroup(
                namespace=group.collection, reason=group.reason, field=group.field, sqlstate=group.sqlstate,
                count=group.count, samples=list(group.samples),
            )
            for group in groups
        ],
    )  # fmt: skip


def info_of(record: LedgerRun) -> RunInfo:
    """A run of the ledger as front ends show it."""
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
        seconds=record.seconds,
        verification=record.verification,
        resumable=record.is_resumable,
        heartbeat_unix=record.heartbeat_at.timestamp(),
    )
