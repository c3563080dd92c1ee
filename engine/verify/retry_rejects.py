"""Writing rejected documents again, after a policy, the mapping or the table was changed.

::

    BEGIN
      SELECT ... FROM mongopg.reject ... FOR UPDATE      some rejects of one table
      compare them by key with the table                  the very row is there: done; another of its key: it stays a reject
      SAVEPOINT; COPY the others                          one bad row costs one row, as in a run
      DELETE and UPDATE rejects, UPDATE slice             what became of each
    COMMIT

So a document is a row or a reject, never both and never neither, also when this is killed in the middle.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence, Set
from dataclasses import dataclass, field

import asyncpg

from engine.config import Settings
from engine.convert import make_converter
from engine.convert.interface import Converter
from engine.errors import MigrationError, UsageError
from engine.ledger import history, partitions, retried_rejects, runs
from engine.ledger.altered import Altered
from engine.ledger.ledger import Ledger
from engine.ledger.rejects import Cause
from engine.ledger.retried_rejects import FailedAgain, KeptReject
from engine.ledger.slices import LOCK_TIMEOUT_S
from engine.mapping.equal_keys import may_share_rows
from engine.mapping.model import Mapping
from engine.mapping.names import TableName
from engine.mapping.options import POLICIES, choices
from engine.plan import TablePlan, kept_plan
from engine.plan.reading import read_plan
from engine.postgres import compare, finish, obstacles, sqlstates, tables
from engine.postgres.compare import Comparer
from engine.postgres.page import CopyTarget, Page
from engine.postgres.rows import KEY_TAKEN as KEY_TAKEN
from engine.postgres.rows import RowSender
from engine.protocol import RejectsRetried, RetriedReason, RetryRejects, RetryReport
from engine.rows import Converted, Piece, TableLoad

KEY_TAKEN_DETAIL = "the table has another row of this key"


@dataclass(slots=True)
class _Sums:
    tried: int = 0
    written: int = 0
    already_there: int = 0
    altered: Counter[str] = field(default_factory=Counter)
    tried_for: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By collection, field and reason; likewise the next one."""
    written_for: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    @property
    def reasons(self) -> list[RetriedReason]:
        """What was tried for which reason, the most frequent first."""
        return [
            RetriedReason(namespace=cause[0], field=cause[1], reason=cause[2], tried=n, written=self.written_for[cause])
            for cause, n in self.tried_for.most_common()
        ]


async def retry(command: RetryRejects, settings: Settings) -> RetryReport:
    """Write a run's rejects again.

    Raises:
        UsageError: no such run, one that is not complete, or a table that does not fit the mapping.
        TargetHeld: another run writes to its tables.
        MigrationError: the server failed it; what is committed stays.
    """
    _check_policies(command)
    lost: list[MigrationError] = []
    async with Ledger.for_question(settings, lost.append) as ledger:
        record = await history.find_run(ledger, command.run)
        if record.is_resumable:
            raise UsageError(
                f"Run {record.run_id} is {record.state}, not complete: finish it with `mongopg-tui run --resume "
                f"{record.run_id}` first.",
                code="state",
            )
        ledger.run_id = record.run_id
        if await ledger.followed() is not None:
            raise UsageError(
                f"Run {record.run_id} followed its source: its rejects are documents as they were last, and cannot be written "
                "again yet.",
                code="followed",
            )
        plan = kept_plan(record.plan, record.run_id)
        await ledger.hold([TableName(table.schema_name, table.table) for table in plan.tables])
        sums = _Sums()
        try:
            async with ledger.own_session() as connection:
                await connection.execute(compare.SESSION)
                loads = {load.task_id: load for load in await runs.table_loads(connection, record.run_id)}
                for table in plan.tables:
                    if lost:
                        raise lost[0]
                    load = loads[table.task_id]
                    work = await _prepared(connection, record.run_id, record.mode, table, load, command, settings)
                    await work.run(sums)
            report = await history.list_rejects(ledger, record.run_id, command.samples)
            retried = RetryReport(
                run_id=record.run_id,
                tried=sums.tried,
                written=sums.written,
                already_there=sums.already_there,
                left=report.total,
                altered=dict(sums.altered),
                reasons=sums.reasons,
                groups=report.groups,
            )
            async with ledger.session() as connection:
                await runs.append_afterwards(connection, record.run_id, as_event(retried, command.policies))
        except sqlstates.FAILURES as error:
            code, sentence = sqlstates.describe(error)
            raise MigrationError(f"{sentence} Rejects written before stay written; try again.", code=code) from error
    return retried


def as_event(report: RetryReport, policies: dict[str, str]) -> RejectsRetried:
    """What the record of the run keeps of a retry that has just ended.

    Args:
        policies: that were chosen for it.
    """
    return RejectsRetried(
        tried=report.tried,
        written=report.written,
        already_there=report.already_there,
        left=report.left,
        altered=report.altered,
        policies=policies,
        reasons=report.reasons,
        unix=round(time.time(), 3),
    )


async def _prepared(
    connection: asyncpg.Connection,
    run_id: str,
    mode: str,
    table: TablePlan,
    load: TableLoad,
    command: RetryRejects,
    settings: Settings,
) -> _Table:
    name = await finish.current_name(connection, load)
    existing = await tables.describe_table(connection, name)
    options = table.mapping.options if command.keeps_policies else settings.mapping
    mapping = _mapping_of(command, table) or retried_rejects.adapted(table.mapping, existing, options)
    mapping = retried_rejects.with_policies(mapping, command.policies)
    mapping = tables.bounded(mapping, existing)
    problems = tables.check_fits(mapping, existing)
    if problems:
        raise UsageError(f"Table {name} does not fit the mapping: {' '.join(problems)}", code="table_differs")
    await obstacles.require_writable(connection, name, "upsert" if mode == "upsert" else "append", mapping)
    converter = await asyncio.to_thread(make_converter, mapping, settings.run.converter)
    has_key = table.has_range_reads and not table.mapping.id_column.nullable
    causes = tuple((each.namespace, each.reason, each.field, each.sqlstate) for each in command.only)
    may_share = may_share_rows(mapping, mode, is_view=not table.has_range_reads)
    return _Table(
        connection, run_id, table.task_id, name, mapping, converter, mode == "upsert", has_key, causes, may_share
    )


def _check_policies(command: RetryRejects) -> None:
    """Raise UsageError for a policy or a choice that there is not."""
    for policy, choice in command.policies.items():
        if policy not in POLICIES:
            raise UsageError(f"There is no policy {policy!r}; there are {', '.join(POLICIES)}.")
        if choice not in choices(policy):
            raise UsageError(f"mapping.{policy} must be one of {', '.join(choices(policy))}, not {choice!r}.")


def _mapping_of(command: RetryRejects, table: TablePlan) -> Mapping | None:
    """What a saved plan says about the table; None without one."""
    if not command.plan:
        return None
    plan = read_plan(command.plan)
    entries = [each for each in plan.tables if each.namespace == table.namespace]
    entries.sort(key=lambda each: (each.schema_name, each.table) != (table.schema_name, table.table))
    mapping = next((each.mapping(plan.options) for each in entries), None)
    if mapping is None:
        raise UsageError(f"The plan has no columns for {table.namespace}, which the run copied.")
    return mapping


@dataclass(slots=True)
class _Table:
    """The rejects of one table."""

    connection: asyncpg.Connection
    run_id: str
    task_id: int
    name: TableName
    mapping: Mapping
    converter: Converter
    is_upsert: bool
    has_key: bool
    """Rows can be told apart by their key."""
    causes: tuple[Cause, ...]
    """Of the rejects to write; all of them where there are none."""
    may_share: bool
    """Several documents may have one row: none of them takes that of another."""
    _comparer: Comparer | None = field(default=None, init=False)

    async def run(self, sums: _Sums) -> None:
        """Write all of them that can be written."""
        if self.has_key:
            self._comparer = Comparer(self.connection, self.name, self.mapping, shows_values=False)
            await self._comparer.open()
        place = retried_rejects.FIRST
        while batch := await self._batch(place, sums):
            place = batch[-1].place
        if self._comparer is not None:
            await self._comparer.close()

    async def _batch(self, after: retried_rejects.Place, sums: _Sums) -> list[KeptReject]:
        """The next rejects behind `after`, in one transaction."""
        async with self.connection.transaction():
            # As in a run: a lock that does not come is an error, and constraints refuse a row, not the whole transaction.
            await self.connection.execute(
                f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'; SET CONSTRAINTS ALL IMMEDIATE"
            )
            kept = await retried_rejects.pending(self.connection, self.run_id, self.task_id, after, self.causes)
            if kept:
                await self._write(kept, sums)
        return kept

    async def _write(self, kept: Sequence[KeptReject], sums: _Sums) -> None:
        batch = b"".join(each.raw for each in kept)
        place_at, offset = {}, 0
        for each in kept:
            place_at[offset] = each.place
            offset += len(each.raw)
        converted = await asyncio.to_thread(self.converter.convert, batch, 0, len(kept))
        failed = [
            FailedAgain(place_at[each.offset], each.reason, each.field, "", each.detail) for each in converted.rejects
        ]
        places = [place_at[document] for document in converted.row_documents]
        same, taken = await self._already_there(batch, converted)
        if self.is_upsert:
            taken = set()  # the mode's very purpose: such rows take the new values
        if self.may_share:  # an equal row of the same key is another document's
            others = {each.place for each in kept if each.reason == KEY_TAKEN}
            same = {row for row in same if places[row] not in others}
        failed += [
            FailedAgain(places[row], KEY_TAKEN, self.mapping.id_column.name, "", KEY_TAKEN_DETAIL) for row in taken
        ]
        todo = [row for row in range(len(places)) if row not in same | taken]
        written = await self._send(batch, converted, todo, places, failed)
        done = [places[row] for row in sorted(same)] + written
        if done:
            await retried_rejects.begin(self.connection, self.run_id, self.task_id, self.mapping)
        altered = await self._altered(kept, set(written)) if converted.policy_hits else {}
        await retried_rejects.settle(self.connection, self.run_id, self.task_id, done, failed, len(written), altered)
        for counts in altered.values():
            sums.altered.update(counts)
        are_written = set(written)
        for each in kept:
            cause = (each.namespace, each.field, each.reason)
            sums.tried_for[cause] += 1
            sums.written_for[cause] += each.place in are_written
        sums.tried += len(kept)
        sums.written += len(written)
        sums.already_there += len(same)

    async def _altered(
        self, kept: Sequence[KeptReject], written: Set[retried_rejects.Place]
    ) -> dict[tuple[int, int], Altered]:
        """What policies changed in the rows that were written, for each slice that once had the documents."""
        by_slice: dict[tuple[int, int], list[bytes]] = {}
        for each in kept:
            if each.place in written:
                by_slice.setdefault(each.place[:2], []).append(each.raw)
        altered = {}
        for key, documents in by_slice.items():
            batch = b"".join(documents)
            converted = await asyncio.to_thread(self.converter.convert, batch, 0, len(documents))
            altered[key] = converted.policy_hits
        return {key: counts for key, counts in altered.items() if counts}

    async def _already_there(self, batch: bytes, converted: Converted) -> tuple[set[int], set[int]]:
        """Rows that the table has already, and those instead of which it has another one of the same key."""
        if self._comparer is None or not converted.row_ends:
            return set(), set()
        found = await self._comparer.look(_only(Piece(batch, converted)), details=0)
        taken = {problem.row for problem in found.problems if problem.is_there}
        # What the column types alone refuse is refused once more when it is written, and kept with the reason.
        absent = {problem.row for problem in found.problems} | {refusal.row for refusal in found.refusals}
        return set(range(len(converted.row_ends))) - absent, taken

    async def _send(
        self,
        batch: bytes,
        converted: Converted,
        todo: Sequence[int],
        places: Sequence[retried_rejects.Place],
        failed: list[FailedAgain],
    ) -> list[retried_rejects.Place]:
        """Write some of the rows; those that the table refuses are added to `failed`, the others returned."""
        if not todo:
            return []
        columns = tuple(column.name for column in self.mapping.columns)
        key = self.mapping.id_column.name if self.is_upsert else ""
        since = partitions.age_of_rows(self.run_id) if self.may_share else ""
        sender = RowSender(self.connection, CopyTarget(self.name, columns, "", upsert_key=key, written_since=since))
        await sender.prepare()
        _, refusals = await sender.send(Page(), _only(Piece(batch, _chosen(converted, todo))))
        refused = set()
        for refusal in refusals:
            refused.add(refusal.row)
            failed.append(
                FailedAgain(places[todo[refusal.row]], refusal.reason, refusal.column, refusal.sqlstate, refusal.detail)
            )
        return [places[row] for number, row in enumerate(todo) if number not in refused]


def _chosen(converted: Converted, rows: Sequence[int]) -> Converted:
    """Some of the rejects' rows."""
    copy, ends, documents = bytearray(), [], []
    for row in rows:
        copy += memoryview(converted.copy)[converted.row_ends[row - 1] if row else 0 : converted.row_ends[row]]
        ends.append(len(copy))
        documents.append(converted.row_documents[row])
    return Converted(bytes(copy), ends, documents, len(rows), converted.end, converted.last, 0)


async def _only(piece: Piece) -> AsyncIterator[Piece]:
    yield piece
