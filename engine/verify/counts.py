"""Comparing both sides of a run of the ledger: counts of source, ledger and target."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from engine.config import Settings
from engine.ledger import history
from engine.ledger.ledger import Ledger
from engine.ledger.partitions import TableTotals
from engine.mongo import catalogue
from engine.mongo import connect as mongo
from engine.mongo.causal import CausalTime, majority, session_after
from engine.mongo.collections import collection_of
from engine.mongo.faults import explained
from engine.mongo.filters import encode_filter
from engine.mongo.many_counts import exact_counts
from engine.mongo.reader import filter_query
from engine.mongo.snapshot import session_at
from engine.plan import TablePlan, kept_plan
from engine.plurals import counted
from engine.postgres import finish, obstacles
from engine.protocol import TableCounts, Verification, Verify, VerifyReport
from engine.rows import TableLoad

SMALL_DOCUMENTS = 10_000
"""A collection with more is counted by a question of its own."""


async def verify(command: Verify, settings: Settings) -> VerifyReport:
    """Count both sides of a run now.

    Raises:
        UsageError: no such run.
    """
    async with Ledger.for_question(settings) as ledger:
        record = await history.find_run(ledger, command.run)
        ledger.run_id = record.run_id
        plan = kept_plan(record.plan, record.run_id)
        uri = settings.source.connection
        counting = asyncio.create_task(asyncio.to_thread(count_source, uri, plan.tables))
        loads, totals, target = await ledger.counts()
        source = await counting
        tables = []
        async with ledger.session() as connection:
            for table in plan.tables:
                task_id = table.task_id
                load = loads[task_id]
                counts = compare_counts(record.mode, table, load, totals[task_id], source[task_id], target[task_id])
                if not counts.ok:
                    name = await finish.current_name(connection, load)
                    counts = blaming(counts, await obstacles.triggers_of(connection, name, record.mode))
                tables.append(counts)
        replaced = await history.replaced_since(ledger, record.run_id)
    result = Verification.VERIFIED if all(table.ok for table in tables) else Verification.MISMATCH
    return VerifyReport(
        run_id=record.run_id, level="counts", result=result, tables=tables, unix=round(time.time(), 3),
        replaced_since=replaced,
    )  # fmt: skip


def count_source(
    uri: str, tables: tuple[TablePlan, ...], at: int | None = None, *, after: CausalTime | None = None
) -> dict[int, int]:
    """Documents of each collection, by task; at most as many as the plan lets be copied. Blocks.

    Args:
        at: count what was there at that time; None counts what is there now.
        after: count what the majority has, then or later.
    """
    client = mongo.connect(uri, app_name="mongopg-tui count")
    try:
        together = _counted_together(client, tables) if at is None and after is None else {}
        with _session(client, at, after) as session:
            return {
                table.task_id: together[table.namespace]
                if table.namespace in together and _is_small(table)
                else catalogue.exact_count(
                    _majority_if(after, collection_of(client, table.database, table.collection)),
                    filter_query(encode_filter(table.filter)),
                    limit=table.limit,
                    session=session,
                )
                for table in tables
            }
    finally:
        client.close()


def _counted_together(client: mongo.Client, tables: Sequence[TablePlan]) -> dict[str, int]:
    """Documents of small collections, by `db.collection`; those that have to be counted by themselves are missing."""
    small: dict[str, dict[str, str]] = {}
    for table in tables:
        if _is_small(table):
            small.setdefault(table.database, {})[table.collection] = table.namespace
    found: dict[str, int] = {}
    for database, namespaces in small.items():
        with explained():
            counts = exact_counts(client, database, [*namespaces])
        found |= {namespaces[name]: count for name, count in counts.items()}
    return found


def _is_small(table: TablePlan) -> bool:
    """To ask for its count by itself would take longer than to count; all of its documents are counted."""
    return table.documents <= SMALL_DOCUMENTS and table.has_range_reads and not table.filter and not table.limit


def _session(
    client: mongo.Client, at: int | None, after: CausalTime | None
) -> AbstractContextManager[ClientSession | None]:
    if at is not None:
        return session_at(client, at)
    return session_after(client, after) if after is not None else nullcontext()


def _majority_if(after: CausalTime | None, collection: Collection[mongo.Document]) -> Collection[mongo.Document]:
    return collection if after is None else majority(collection)


def compare_counts(
    mode: str, table: TablePlan, load: TableLoad, totals: TableTotals, source: int, target: int
) -> TableCounts:
    """The counts of one table, and whether they hold."""
    problems = explain(load, mode, totals.n_read, totals.n_written, totals.n_rejected, source, target)
    return TableCounts(
        namespace=table.namespace,
        table=table.target,
        source=source,
        read=totals.n_read,
        written=totals.n_written,
        rejected=totals.n_rejected,
        target=target,
        altered=totals.altered,
        ok=not problems,
        message="; ".join(problems),
    )


def blaming(counts: TableCounts, triggers: Sequence[str]) -> TableCounts:
    """Counts that do not hold, with the triggers of the table that may be why."""
    if counts.ok or not triggers:
        return counts
    return counts.model_copy(update={"message": "; ".join(filter(None, (counts.message, blame(triggers))))})


def blame(triggers: Sequence[str]) -> str:
    """That triggers may be why rows are missing or others."""
    what = "a trigger of the table, which" if len(triggers) == 1 else "triggers of the table, which"
    return f"{what} may leave rows out or change them: {', '.join(triggers)}"


def explain(load: TableLoad, mode: str, read: int, written: int, rejected: int, source: int, target: int) -> list[str]:
    """Which of the counts that must hold do not, each in a few words; empty when all do."""
    problems = []
    if read != written + rejected:
        problems.append(f"{read:,} read are not {written:,} written + {rejected:,} rejected")
    if source != read:
        problems.append(f"the source has {counted(source, 'document')} now, {counted(read, 'was', 'were')} read")
    gained = target - load.count_before
    if mode == "upsert":
        if target < written:
            problems.append(
                f"the table has {counted(target, 'row')}, {counted(written, 'key was', 'keys were')} written"
            )
    elif gained != written:
        problems.append(f"the table gained {counted(gained, 'row')}, {counted(written, 'was', 'were')} written")
    return problems


def explain_followed(mode: str, load: TableLoad, source: int, target: int, rejected: int) -> list[str]:
    """Of a run that followed its source: which of the counts that must hold when it is still do not, each in a few words."""
    rows, wanted = target - load.count_before, source - rejected
    if mode == "upsert":
        documents = counted(wanted, "document that is no reject", "documents that are no rejects")
        return [] if target >= wanted else [f"the table has {counted(target, 'row')}, the source {documents}"]
    if rows == wanted:
        return []
    return [
        f"the table gained {counted(rows, 'row')}, the source has {counted(source, 'document')}, of which "
        f"{counted(rejected, 'is a reject', 'are rejects')}"
    ]
