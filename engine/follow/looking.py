"""What it would be to follow the source of a run that is over: whether all its changes are known, and who has written since."""

from __future__ import annotations

import asyncio
import json

from engine.config import Settings, source_uri
from engine.errors import MigrationError
from engine.ledger import follow, history, runs
from engine.ledger.ledger import Ledger
from engine.ledger.runs import LedgerRun
from engine.mongo import causal
from engine.mongo import connect as mongo
from engine.mongo.causal import SourceSet
from engine.plan import kept_plan
from engine.protocol import FollowableReport, LiveTable, LookAtFollowing


async def look_at(command: LookAtFollowing, settings: Settings) -> FollowableReport:
    """Look at a run, both servers and the run's tables.

    Raises:
        UsageError: no such run, or a source or target is not named.
        MigrationError: a server cannot be asked.
    """
    uri = source_uri(settings)
    async with Ledger.for_question(settings) as ledger:
        record = await history.find_run(ledger, command.run)
        plan = kept_plan(record.plan, record.run_id)
        ledger.run_id = record.run_id
        refused = ""
        remarks: list[str] = []
        async with ledger.session() as connection:
            followed = await follow.find(connection, record.run_id)
            written = await runs.writes_since(connection, record.run_id)
            try:
                await runs.check_same_tables(connection, record.run_id)
            except MigrationError as error:
                refused = error.message
        if not refused:
            remarks = await ledger.remarks_on_following()
    if followed is not None and followed.phase == follow.DONE:
        refused = f"Run {record.run_id} was cut over, and its tables are others' now."
    elif record.is_resumable and (followed is None or followed.phase == follow.COPYING):
        refused = (
            f"Run {record.run_id} is {record.state}, its copy is not complete: go on with it by `mongopg-tui run --resume "
            f"{record.run_id}{'' if followed is not None else ' --follow'}`."
        )
    lost = "" if refused else await asyncio.to_thread(_lost, uri, record, is_followed=followed is not None)
    return FollowableReport(
        run_id=record.run_id,
        state=record.state,
        since_unix=float(record.start_time >> 32) if record.start_time is not None else None,
        refused=refused,
        lost=lost,
        is_live=not record.is_resumable or record.mode != "replace",
        tables=[
            LiveTable(namespace=table.namespace, table=table.target, written_since=written.get(table.task_id))
            for table in plan.tables
        ],
        remarks=remarks,
    )


def _lost(uri: str, record: LedgerRun, *, is_followed: bool) -> str:
    """Why not all changes since the run's beginning are known; empty where they are, as far as can be seen. Blocks."""
    if record.cannot_follow or record.start_time is None:
        return record.cannot_follow or "its beginning is not known"
    client = mongo.connect(uri, app_name="mongopg-tui follow")
    try:
        now = causal.go_on(client, record.start_time, SourceSet(**json.loads(record.source_set)))
    finally:
        client.close()
    if now.cannot_follow:
        return now.cannot_follow
    if not is_followed and now.oplog_from is not None and now.oplog_from > record.start_time:
        return "the source's oplog does not reach back to it"
    return ""
