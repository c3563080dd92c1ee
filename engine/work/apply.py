"""A worker's applying of changes: the keys of a lane that changed, batch by batch, each one transaction.

A batch asks the source for the documents of its keys, as new as the newest change among them. What is there becomes a row, or a
reject in place of one; what is not, or not among what the plan takes, has no row any more. So insert, update and delete are one
case, and any number of changes of a document are one.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import asyncpg
from pymongo.collection import Collection

from engine.convert import make_converter
from engine.convert.interface import Converter
from engine.errors import MigrationError
from engine.ledger import lanes
from engine.ledger.changed import LaneKey
from engine.ledger.lanes import DirtyKey
from engine.ledger.rejects import Rejected
from engine.ledger.slices import LOCK_TIMEOUT_S
from engine.mapping.bson import documents
from engine.mapping.names import TableName
from engine.mongo import catalogue
from engine.mongo.bounds import key_of
from engine.mongo.by_key import among, equality_class
from engine.mongo.causal import CausalTime, majority, session_after
from engine.mongo.collections import collection_of
from engine.mongo.connect import Client, Document
from engine.mongo.rawcursor import raw_cursor
from engine.mongo.reader import COMMENT
from engine.postgres.page import CopyTarget, Page
from engine.postgres.removed import REFERRED, delete_free_keys, delete_keys
from engine.postgres.rows import Caution, RowSender
from engine.postgres.sqlstates import OF_OTHER_ROWS
from engine.rows import Buffer, Converted, Piece, document_at
from engine.work.check import Checker
from engine.work.connections import EXPLAINED, Ends
from engine.work.context import Work, WorkerContext
from engine.work.feed import THROTTLED_PAGE_S
from engine.work.joining import join_run
from engine.work.messages import (
    ANOTHER,
    Applied,
    ApplyLease,
    ApplyTask,
    CheckLease,
    CompareLease,
    Failed,
    Progress,
    Returned,
)
from engine.work.missing import KeyConverter
from engine.work.slots import Field

BATCH_KEYS = 5_000
"""Keys in a transaction, at most;"""
BATCH_KEY_BYTES = 4 * 1024 * 1024
"""and their bytes: they travel in one command, which may have 16 MB."""
READ_DOCUMENTS = 2_000
"""In one answer of the source, at most."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What the source has of the keys of a batch."""

    found: list[bytes]
    """Documents."""
    outside: set[bytes]
    """Equality classes of keys whose document is there, but not among those that the plan takes."""


@dataclass(frozen=True, slots=True)
class _Became:
    """What became of the keys of a batch."""

    n_written: int
    n_deleted: int
    n_rejected: int
    blocked: dict[bytes, str]
    """By hash, with the constraint."""
    altered: Counter[str]
    """Values that a policy changed in the rows."""

    @property
    def counts(self) -> tuple[int, int, int]:
        """Rows written, rows deleted, documents rejected."""
        return self.n_written, self.n_deleted, self.n_rejected


class _RefersToIt(Exception):
    """Rows of another table refer to one that is to be deleted."""


class Applier(Work[ApplyTask, ApplyLease | CheckLease | CompareLease]):
    """Applies lanes, and compares what was applied; keeps its connections and converters from lease to lease."""

    def __init__(self, context: WorkerContext) -> None:
        self.position: ApplyLease | None = None
        """The rest of the lease in hand: keys before it are applied."""
        self._ends = Ends(context)
        self._joined: asyncpg.Connection | None = None
        """The connection that is known to be one of a run that holds its table."""
        self._preference = context.start.converter
        self._slot = context.slot
        self._worker = context.worker
        self._pace = context.pace
        self._report = context.report
        self._converters: dict[int, tuple[Converter, Converter]] = {}
        """By task: of documents, and of keys."""
        self._cautions: dict[int, Caution] = {}
        self._checker = Checker(context, self._ends, self._connected, self._converters_of, _require_same)
        self._referred: set[int] = set()
        """Tasks of tables whose rows others refer to, so that they are not deleted all at once."""

    async def work(self, task: ApplyTask, lease: ApplyLease | CheckLease | CompareLease) -> Returned | Failed:
        """Apply a lane up to its generation, or compare, or as much of it as the engine lets us."""
        if not isinstance(lease, ApplyLease):
            return await self._checker.work(task, lease)
        self.position = lease
        self._slot[Field.PROGRESS_NS] = time.monotonic_ns()
        while True:
            try:
                while not await self._batch(task):
                    if self._pace.is_yielding:
                        return Returned(lease, finished=False, rest=self.position)
                return Returned(lease, finished=True)
            except lanes.LaneTaken:
                continue  # a worker that was taken for dead, or this one before its connection broke, committed it
            except _RefersToIt:
                self._referred.add(task.task_id)
            except EXPLAINED as error:
                if failed := await self._ends.recover(error, lease):
                    return failed
                if self._pace.is_yielding:
                    return Returned(lease, finished=False, rest=self.position)

    async def _batch(self, task: ApplyTask) -> bool:
        """One transaction; True when no key of the lease is left."""
        position = self._position()
        # What may pass now; nothing is open while it waits.
        await self._ends.threads.throttle.admit(BATCH_KEYS, self._pace, self._slot)
        limit = self._pace.rows_per_s
        if limit > 0 and self._pace.is_yielding:
            return False
        room = BATCH_KEYS if limit <= 0 else max(1, min(BATCH_KEYS, round(limit * THROTTLED_PAGE_S)))
        connection = await self._connected(task)
        lane = LaneKey(task.run_id, task.table_id, position.lane)
        number = await lanes.next_batch(connection, lane)
        await lanes.claim(connection, lane, number, self._worker, LOCK_TIMEOUT_S)
        try:
            keys, has_more = await lanes.dirty_keys(
                connection,
                lane,
                position.upto,
                position.after,
                room,
                BATCH_KEY_BYTES,
                with_blocked=position.with_blocked,
            )
            if not keys:
                await connection.execute("ROLLBACK")
                return True
            began = time.monotonic_ns()
            self._slot.state = "reading"
            read = await self._read(task, position.not_before, keys)
            self._slot.add(Field.READING_NS, time.monotonic_ns() - began)
            began = time.monotonic_ns()
            self._slot.state = "writing"
            became = await self._write(task, lane, connection, keys, read, is_final=position.is_final)
            await lanes.settle(
                connection, lane, number, position.upto, keys, became.counts, position.since, position.not_before.at,
                became.blocked, became.altered,
            )  # fmt: skip
            self._slot.add(Field.WRITING_NS, time.monotonic_ns() - began)
        except asyncio.CancelledError:
            raise
        except BaseException:
            if not connection.is_closed() and connection.is_in_transaction():
                await connection.execute("ROLLBACK")
            raise
        self._ends.patience.renew()
        self._ends.threads.throttle.charge(len(keys), self._pace)
        self._slot.add(Field.WRITTEN, became.n_written)
        self._slot.add(Field.REJECTED, became.n_rejected)
        self._slot[Field.PROGRESS_NS] = time.monotonic_ns()
        n_applied = len(keys) - len(became.blocked)
        self._report(Progress(task.task_id, Applied(task.task_id, position.lane, n_applied, *became.counts)))
        self.position = replace(position, after=keys[-1].hash)
        # A key that comes behind them has a newer generation, and wakes its lane: a look that finds none costs a claim.
        return not has_more

    async def _connected(self, task: ApplyTask) -> asyncpg.Connection:
        """The connection to PostgreSQL, as one of a run that holds its table."""
        connection = await self._ends.target()
        if connection is not self._joined:
            await join_run(connection, task.run_id, TableName(*task.held), task.generation)
            self._joined = connection
        return connection

    async def _read(self, task: ApplyTask, after: CausalTime, keys: Sequence[DirtyKey]) -> _Read:
        client = await self._ends.source()
        collection = majority(collection_of(client, task.database, task.collection))
        wanted = [each.key for each in keys]
        loop = asyncio.get_running_loop()

        def read() -> _Read:
            found, outside = _find(collection, wanted, task.filter, None, after), []
            if task.filter and task.keeps_outside:
                there = {equality_class(key_of(each)) for each in found}
                rest = [key for key in wanted if equality_class(key) not in there]
                outside = _find(collection, rest, b"", {"_id": 1}, after) if rest else []
            _require_same(client, task)
            return _Read(found, {equality_class(key_of(each)) for each in outside})

        return await loop.run_in_executor(self._ends.threads.reading, read)

    async def _write(
        self,
        task: ApplyTask,
        lane: LaneKey,
        connection: asyncpg.Connection,
        keys: Sequence[DirtyKey],
        read: _Read,
        *,
        is_final: bool,
    ) -> _Became:
        of_documents, of_keys = self._converters_of(task)
        batch = b"".join(read.found)
        loop, converting = asyncio.get_running_loop(), self._ends.threads.converting
        rows = await loop.run_in_executor(converting, of_documents.convert, batch, 0, len(read.found))
        found_keys = [key_of(each) for each in read.found]
        asked = [each.key for each in keys if not read.outside or equality_class(each.key) not in read.outside]
        stays = {key_of(batch, offset) for offset in rows.row_documents}
        every = list(dict.fromkeys([*asked, *found_keys]))
        as_row = _tuples(await loop.run_in_executor(converting, of_keys.convert, b"".join(every), 0, len(every)), every)
        kept = {as_row[key] for key in stays if key in as_row}
        going = {as_row[key]: key for key in every if key in as_row and as_row[key] not in kept}
        column = task.mapping.id_column.name
        blocked: dict[bytes, str] = {}
        """By key of a document, or of a row that is to go."""
        n_deleted = await self._delete(task, connection, going, blocked)
        rejected = [
            Rejected(each.reason, each.field, "", each.detail, document_at(batch, each.offset)) for each in rows.rejects
        ]
        n_written, altered = 0, Counter(rows.policy_hits)
        if rows.row_ends:
            caution = self._cautions.setdefault(task.task_id, Caution())
            columns = tuple(each.name for each in task.mapping.columns)
            table = TableName(task.schema, task.table)
            target = CopyTarget(table, columns, f"{task.database}.{task.collection}", upsert_key=column)
            sender = RowSender(connection, target, caution)
            await sender.prepare()
            page = Page()
            n_written, refusals = await sender.send(page, _only(Piece(batch, rows)))
            refused = {page.document(each.row): each for each in refusals}
            if refused and altered:
                raws = b"".join(refused)
                again = await loop.run_in_executor(converting, of_documents.convert, raws, 0, len(refused))
                altered -= Counter(again.policy_hits)
            for raw, each in refused.items():
                if each.sqlstate in OF_OTHER_ROWS and not is_final:
                    blocked[key_of(raw)] = each.constraint or each.reason
                else:
                    rejected.append(Rejected(each.reason, each.column, each.sqlstate, each.detail, raw))
            # The row of an earlier state must not stay where the document has no row now; and it makes room for another one,
            # as where two documents exchange a value that is unique.
            old = {as_row[key]: key for raw in refused if (key := key_of(raw)) in as_row}
            n_deleted += await self._delete(task, connection, old, blocked)
        await lanes.replace_rejects(connection, lane, f"{task.database}.{task.collection}", every, rejected)
        return _Became(n_written, n_deleted, len(rejected), _hashes(keys, blocked), altered)

    async def _delete(
        self, task: ApplyTask, connection: asyncpg.Connection, going: dict[bytes, bytes], blocked: dict[bytes, str]
    ) -> int:
        """Delete rows; how many.

        Args:
            going: keys as the table has them, each with the document's.
            blocked: what has to stay, since other tables refer to it, is added.

        Raises:
            _RefersToIt: that is so; begin the batch anew.
        """
        table, column = TableName(task.schema, task.table), task.mapping.id_column.name
        if task.task_id not in self._referred:
            try:
                return await delete_keys(connection, table, column, list(going))
            except REFERRED:
                raise _RefersToIt from None
        deleted, staying = await delete_free_keys(connection, table, column, list(going))
        keys = list(going.values())
        blocked.update({keys[place]: constraint for place, constraint in staying.items()})
        return deleted

    def _converters_of(self, task: ApplyTask) -> tuple[Converter, Converter]:
        if task.task_id not in self._converters:
            self._converters[task.task_id] = (
                make_converter(task.mapping, self._preference, has_checksum=False),
                KeyConverter(task.mapping, self._preference),
            )
        return self._converters[task.task_id]

    def rest(self, lease: ApplyLease | CheckLease | CompareLease) -> ApplyLease | CheckLease | CompareLease:
        """Behind the last batch that is known to be committed."""
        return (self.position if isinstance(lease, ApplyLease) else self._checker.rest) or lease

    def _position(self) -> ApplyLease:
        assert self.position is not None
        return self.position

    async def abort(self) -> None:
        """Roll back what is in hand."""
        await self._ends.abort()

    async def close(self) -> None:
        """Close the connections to both servers."""
        await self._ends.close()


def _hashes(keys: Sequence[DirtyKey], blocked: dict[bytes, str]) -> dict[bytes, str]:
    """Which of the keys are those of documents that are blocked, or equal to one."""
    if not blocked:
        return {}
    classes = {equality_class(key): constraint for key, constraint in blocked.items()}
    return {each.hash: classes[found] for each in keys if (found := equality_class(each.key)) in classes}


def _require_same(client: Client, task: ApplyTask) -> None:
    """Raise MigrationError when what was read is not the collection that was copied, or chosen since. Blocks.

    Asked when all is read: a collection that was dropped reads as empty, and its rows are not to be deleted for that. The
    stream tells of the drop, too, but maybe later. Where there was none, keys wait until it is known which one there is now.
    """
    name = (task.database, task.collection)
    uuid = catalogue.uuids_of(client, [name]).get(name, "")
    if not uuid or uuid != task.uuid:
        raise MigrationError(f"{task.database}.{task.collection} is not the collection that was copied.", code=ANOTHER)


def _find(
    collection: Collection[Document],
    keys: Sequence[bytes],
    query: bytes,
    projection: Document | None,
    after: CausalTime,
) -> list[bytes]:
    """The documents of these keys, as new as that. Blocks."""
    with session_after(collection.database.client, after) as session:
        cursor = raw_cursor(
            collection, among(keys, query), projection, batch_size=READ_DOCUMENTS, comment=COMMENT, session=session
        )
        try:
            return [document for batch in cursor for document in documents(batch)]
        finally:
            cursor.close()


def _tuples(converted: Converted, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    """The tuple of each key; a key that the table cannot have has none."""
    key_at, offset = {}, 0
    for key in keys:
        key_at[offset] = key
        offset += len(key)
    copy: Buffer = memoryview(converted.copy)
    ends: Iterable[tuple[int, int]] = pairwise([0, *converted.row_ends])
    return {key_at[at]: bytes(copy[first:end]) for at, (first, end) in zip(converted.row_documents, ends, strict=True)}


async def _only(piece: Piece) -> AsyncIterator[Piece]:
    yield piece
