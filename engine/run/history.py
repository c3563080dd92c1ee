"""Runs that the ledger remembers: listed, found, replayed, discarded, and what they rejected."""

from __future__ import annotations

from typing import Any

from engine.config import Settings, merged
from engine.errors import UsageError
from engine.ledger import rejects, runs
from engine.ledger.runs import RunRecord
from engine.plan import kept_plan
from engine.protocol import Recording, RejectGroup, RejectsReport, RunInfo, Start
from engine.run.journal import Journal
from engine.run.replay import Player, settings_of


async def list_runs(journal: Journal) -> list[RunInfo]:
    """Every run of the ledger, newest first."""
    async with journal.session() as connection:
        return [_info(record) for record in await runs.list_runs(connection)]


async def find_run(journal: Journal, run: str) -> RunRecord:
    """A run by a prefix of its id, "" for the newest; raises UsageError when there is none."""
    async with journal.session() as connection:
        found = await runs.find_run(connection, prefix=run)
    if found is None:
        raise UsageError("The ledger of the target has no runs yet.")
    return found


async def recording(journal: Journal, run: str, max_frames: int) -> Recording:
    """A run as its events tell it; raises UsageError when there is no such run."""
    record = await find_run(journal, run)
    player = Player(_info(record), max_frames)
    async with journal.session() as connection:
        async for at, kind, facts, worker in runs.recorded_events(connection, record.run_id):
            player.take(at, kind, facts, worker)
    plan = kept_plan(record.plan, record.run_id)
    return player.recording(settings_of(plan.request)).model_copy(update={"plan": plan.saved})


async def as_it_was(settings: Settings, command: Start) -> tuple[Settings, Start]:
    """Settings and command that go on with the run that `command.resume` names, as it was asked for.

    What somebody gave (`command.said`) stays, and is compared with the run's plan when it is taken up.

    Raises:
        UsageError: the ledger has no such run.
    """
    said = set(command.said or ())
    async with Journal.opened(settings) as journal:
        record = await find_run(journal, command.resume or "")
    plan = kept_plan(record.plan, record.run_id)
    own = {
        section: {name: value for name, value in values.items() if f"{section}.{name}" not in said}
        for section, values in settings_of(plan.request).items()
    }
    saved = command.plan if command.plan or "run.collections" in said else plan.saved
    return merged(settings, own), command.model_copy(update={"plan": saved})


async def discard(journal: Journal, run: str, *, drop_tables: bool) -> dict[str, Any]:
    """Drop a run's staging tables and its rows in the ledger; with `drop_tables` also the tables that it made.

    Raises:
        TargetHeld: it is going on. UsageError: there is no such run, or something depends on a table.
    """
    record = await find_run(journal, run)
    async with journal.session() as connection:
        loads = await runs.table_loads(connection, record.run_id)
    await journal.hold([load.target for load in loads])
    async with journal.session() as connection:
        dropped = await runs.discard(connection, record.run_id, drop_tables=drop_tables)
    return {"run_id": record.run_id, "dropped": [str(table) for table in dropped]}


async def list_rejects(journal: Journal, run: str, samples: int) -> RejectsReport:
    """A run's rejects by reason."""
    record = await find_run(journal, run)
    async with journal.session() as connection:
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


def _info(record: RunRecord) -> RunInfo:
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
