"""A worker's comparing of a source that is followed with its tables: of keys that were applied, and of whole collections.

A document is as it should be when its row has its values; when it is kept as a reject and has no row; or when it is gone, or
not among what the plan takes, and there is neither. What is not as it should be is written again: its key is to be applied.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import asyncpg

from engine.convert.interface import Converter
from engine.ledger import changed, follow
from engine.ledger.changed import LaneKey
from engine.ledger.rejects import keys_of_rejects
from engine.mapping.bson import documents
from engine.mapping.model import ColumnType
from engine.mapping.names import TableName
from engine.mongo.bounds import key_of
from engine.mongo.by_key import among, equality_class, lane_of
from engine.mongo.causal import CausalTime, majority, number_of, session_after
from engine.mongo.collections import collection_of
from engine.mongo.connect import Client
from engine.mongo.rawcursor import raw_cursor
from engine.mongo.reader import COMMENT, RangeReader, filter_query
from engine.postgres import keys as target_keys
from engine.postgres.compare import ComparedPage, Comparer
from engine.postgres.present import rows_present
from engine.rows import Piece, document_at
from engine.work.connections import EXPLAINED, Ends
from engine.work.context import WorkerContext
from engine.work.feed import Feed
from engine.work.messages import (
    ApplyTask,
    Checked,
    CheckLease,
    CompareLease,
    Failed,
    Progress,
    RangeCompared,
    Returned,
)
from engine.work.slots import Field

BATCH_KEYS = 2_000
"""Keys that are compared at once; a batch of a lane that was applied may have more."""
BY_INDEX = "SET LOCAL jit = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
"""Rows are looked up, never read all."""
LOOK_TABLE = "mongopg_look_{}"
"""Temporary table of a task."""
MOST_COMPARERS = 8
"""So many temporary tables are kept: each COMMIT empties them, with a lock on each, and a run may have thousands of tables."""
DIRTY_AGAIN = 0
"""Generation of a key that is to be applied though nothing has changed: older than all others."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What the source has of some keys."""

    found: list[bytes]
    """Documents."""
    outside: set[bytes]
    """Equality classes of keys whose document is there, but not among those that the plan takes and whose rows stay."""
    at: int
    """It was like that then."""


class Checker:
    """Compares with the connections and converters of the applying of changes."""

    def __init__(
        self,
        context: WorkerContext,
        ends: Ends,
        connected: Callable[[ApplyTask], Awaitable[asyncpg.Connection]],
        converters: Callable[[ApplyTask], tuple[Converter, Converter]],
        require_same: Callable[[Client, ApplyTask], None],
    ) -> None:
        """Nothing is compared yet.

        Args:
            connected: a connection to PostgreSQL that may write to the table.
            converters: of documents, and of keys.
            require_same: raises MigrationError when the collection is another one than was copied; blocks.
        """
        self._context = context
        self._slot = context.slot
        self._ends = ends
        self._connected = connected
        self._converters = converters
        self._require_same = require_same
        self._comparers: dict[int, Comparer] = {}
        """By task, of `_connection`; the one that was used last comes last."""
        self._connection: asyncpg.Connection | None = None
        self.rest: CompareLease | CheckLease | None = None
        """What is left of the lease in hand."""

    async def work(self, task: ApplyTask, lease: CheckLease | CompareLease) -> Returned | Failed:
        """Compare keys, or a range, or as much of it as the engine lets us."""
        self.rest = lease
        self._slot[Field.PROGRESS_NS] = time.monotonic_ns()
        while True:
            try:
                is_done = await (self._keys(task, lease) if isinstance(lease, CheckLease) else self._range(task))
                return Returned(lease, finished=is_done, rest=None if is_done else self.rest)
            except _Overtaken:
                continue
            except EXPLAINED as error:
                if failed := await self._ends.recover(error, lease):
                    return failed
                if self._context.pace.is_yielding:
                    return Returned(lease, finished=False, rest=self.rest)

    # --- keys that were applied ---------------------------------------------------------------------------------------

    async def _keys(self, task: ApplyTask, lease: CheckLease) -> bool:
        """One batch after the other; True when none is left."""
        lane = LaneKey(task.run_id, task.table_id, lease.lane)
        has_more = True
        while has_more:
            checked, has_more = await self._batch(task, lane, lease)
            self._ends.patience.renew()
            if checked is None:
                break
            self._slot[Field.PROGRESS_NS] = time.monotonic_ns()
            self._context.report(Progress(task.task_id, checked))
            if has_more and (self._context.pace.is_yielding or lease.is_brief):
                return False
        return True

    async def _batch(self, task: ApplyTask, lane: LaneKey, lease: CheckLease) -> tuple[Checked | None, bool]:
        """One transaction; None when there was nothing left. And whether something may be left behind it."""
        connection, comparer = await self._ready(task)
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(BY_INDEX)
            batch = await changed.take(connection, lane, lease.upto, BATCH_KEYS)
            if batch is None:
                return None, False
            again = set(await changed.unchanged(connection, lane, batch.suspects, batch.rows))
            keys = [*batch.keys, *again]
            self._slot.state = "reading"
            began = time.monotonic_ns()
            read = await self._read(task, lease.not_before, keys)
            self._slot.add(Field.READING_NS, time.monotonic_ns() - began)
            self._slot.state = "comparing"
            unlike = await self._unlike(task, connection, comparer, keys, read)
            differing = [key for key in unlike if key in again]
            # Those that are to be applied again, or were meanwhile, are compared behind that.
            suspects = [key for key in unlike if key not in again]
            if suspects := await changed.unchanged(connection, lane, suspects, batch.rows):
                await changed.add(connection, lane, batch.since, read.at, suspects, suspect=True)
            mended = await changed.keep_differences(connection, lane, differing) if differing else []
            if mended:
                await follow.add_dirty(connection, lane.run_id, lane.task_id, lane.lane, set(mended), DIRTY_AGAIN)
            differ = set(unlike)
            await changed.mend(connection, lane, [key for key in keys if key not in differ])
            if not await changed.settle(connection, lane, batch):
                raise _Overtaken
        checked = Checked(task.task_id, lane.lane, len(keys), len(suspects), len(mended), len(differing) - len(mended))
        return checked, batch.rows[-1] < lease.upto

    async def _read(self, task: ApplyTask, after: CausalTime, keys: Sequence[bytes]) -> _Read:
        """The documents of keys, not older than that."""
        client = await self._ends.source()
        collection = majority(collection_of(client, task.database, task.collection))

        def read() -> _Read:
            with session_after(client, after) as session:

                def find(wanted: Sequence[bytes], query: bytes, projection: dict[str, object] | None) -> list[bytes]:
                    cursor = raw_cursor(
                        collection,
                        among(wanted, query),
                        projection,
                        batch_size=BATCH_KEYS,
                        comment=COMMENT,
                        session=session,
                    )
                    try:
                        return [document for batch in cursor for document in documents(batch)]
                    finally:
                        cursor.close()

                found, outside = find(keys, task.filter, None) if keys else [], []
                if task.filter and task.keeps_outside:
                    there = {equality_class(key_of(each)) for each in found}
                    rest = [key for key in keys if equality_class(key) not in there]
                    outside = find(rest, b"", {"_id": 1}) if rest else []
                at = number_of(session.operation_time) if session.operation_time is not None else after.at
            self._require_same(client, task)
            return _Read(found, {equality_class(key_of(each)) for each in outside}, max(at, after.at))

        return await asyncio.get_running_loop().run_in_executor(self._ends.threads.reading, read)

    async def _unlike(
        self,
        task: ApplyTask,
        connection: asyncpg.Connection,
        comparer: Comparer,
        keys: Sequence[bytes],
        read: _Read,
    ) -> list[bytes]:
        """Those keys whose document is not as it should be in the target."""
        of_documents, of_keys = self._converters(task)
        batch = b"".join(read.found)
        loop, converting = asyncio.get_running_loop(), self._ends.threads.converting
        rows = await loop.run_in_executor(converting, of_documents.convert, batch, 0, len(read.found))
        found = ComparedPage()
        if rows.row_ends:
            found = await comparer.look(_only(Piece(batch, rows)), details=0)
        found_keys = [key_of(each) for each in read.found]
        has_row = set(found_keys)
        unwritable = {key_of(document_at(batch, each.offset)) for each in rows.rejects}
        unwritable |= {key_of(found.page.document(each.row)) for each in found.refusals}
        missing = {key_of(found.page.document(each.row)) for each in found.problems if not each.is_there}
        wrong = {key_of(found.page.document(each.row)) for each in found.problems if each.is_there}
        gone = [key for key in keys if key not in has_row]
        every = [*keys, *has_row.difference(keys)] if gone else keys
        rejected = await keys_of_rejects(connection, task.run_id, task.table_id, every)
        # A document without a row is right where it is a reject, and one with a row where it is none.
        wrong |= (missing - rejected) | (unwritable - rejected)
        has_row -= unwritable | missing
        if rejected:
            wrong |= (has_row & rejected) | (rejected & set(gone))
        if rowless := [*gone, *unwritable]:
            going = {equality_class(key) for key in rowless}
            equal = [key for key in has_row if equality_class(key) in going]
            wrong |= await self._too_many(task, connection, of_keys, rowless, equal)
        if not wrong:
            return []
        classes: dict[bytes, list[bytes]] = {}
        for key in keys:
            classes.setdefault(equality_class(key), []).append(key)
        unlike: dict[bytes, None] = {}
        for key in wrong:
            name = equality_class(key)
            if name not in read.outside:
                unlike |= dict.fromkeys(classes.get(name, [key]))
        return [*unlike]

    async def _too_many(
        self,
        task: ApplyTask,
        connection: asyncpg.Connection,
        of_keys: Converter,
        rowless: Sequence[bytes],
        others: Sequence[bytes],
    ) -> set[bytes]:
        """Keys that have a row in the table, and should have none.

        Args:
            rowless: there is no document of them, or none that can have a row.
            others: of documents that have a row, whose keys are equal to one of these and not the same.
        """
        keys = [*others, *rowless]
        batch = b"".join(keys)
        converted = await asyncio.get_running_loop().run_in_executor(
            self._ends.threads.converting, of_keys.convert, batch, 0, len(keys)
        )
        at, offset = {}, 0
        for key in keys:
            at[offset] = key
            offset += len(key)
        numbered = [at[place] for place in converted.row_documents]
        ends = [0, *converted.row_ends]
        copy = memoryview(converted.copy)
        as_row = {key: bytes(copy[ends[row] : ends[row + 1]]) for row, key in enumerate(numbered)}
        wanted = {as_row[key] for key in others if key in as_row}
        there = await rows_present(
            connection, TableName(task.schema, task.table), task.mapping.id_column.name, [Piece(batch, converted)]
        )
        # Numbers of equal value are one key in every type but text, also where they are written differently.
        is_text = task.mapping.id_column.type is ColumnType.TEXT
        one = set() if is_text else {equality_class(key) for key in others}
        found = {numbered[row] for row in there if as_row[numbered[row]] not in wanted}
        return {key for key in found if equality_class(key) not in one}

    # --- a range of a collection --------------------------------------------------------------------------------------

    async def _range(self, task: ApplyTask) -> bool:
        """Compare the documents of the rest of a range, and write down the keys that they have in the table."""
        lease = self.rest
        assert isinstance(lease, CompareLease)
        client = await self._ends.source()
        collection = collection_of(client, task.database, task.collection)
        of_documents, _ = self._converters(task)
        reader = RangeReader(
            collection, lease.lower, lease.lower_inclusive, lease.upper, query=filter_query(task.filter),
            after=lease.not_before,
        )  # fmt: skip
        feed = Feed(reader, of_documents, self._slot, self._context.pace, self._ends.threads)
        try:
            while not feed.at_end:
                n_documents, n_differ = await self._page(task, feed)
                self._ends.patience.renew()
                self._context.report(Progress(task.task_id, RangeCompared(task.task_id, n_documents, n_differ)))
                bound = await feed.bound()
                if bound is not None:
                    self.rest = lease = replace(lease, lower=bound, lower_inclusive=False)
                if self._context.pace.is_yielding and not feed.at_end:
                    return False
        finally:
            feed.close()
        # A collection that was dropped reads as empty.
        await asyncio.get_running_loop().run_in_executor(self._ends.threads.reading, self._require_same, client, task)
        return True

    async def _page(self, task: ApplyTask, feed: Feed) -> tuple[int, int]:
        """One transaction; documents, and those among them that are to be applied."""
        connection, comparer = await self._ready(task)
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(BY_INDEX)
            compared = await comparer.look(self._pieces(feed), details=0)
            pieces = compared.page.pieces
            for piece in pieces if task.keys_table else ():
                await target_keys.add(connection, task.keys_table, task.mapping, await self._keys_of(task, piece))
            rows = [each.row for each in compared.problems] + [each.row for each in compared.refusals]
            unlike = [key_of(compared.page.document(row)) for row in rows]
            unlike += [key_of(document_at(piece.batch, each.offset)) for piece in pieces for each in piece.rows.rejects]
            by_lane: dict[int, set[bytes]] = {}
            for key in unlike:
                by_lane.setdefault(lane_of(key, task.lanes), set()).add(key)
            for lane, keys in sorted(by_lane.items()):
                await follow.add_dirty(connection, task.run_id, task.table_id, lane, keys, DIRTY_AGAIN)
        return sum(piece.rows.n_read for piece in pieces), len(unlike)

    async def _keys_of(self, task: ApplyTask, piece: Piece) -> Piece:
        """The same documents as rows of nothing but their keys."""
        _, of_keys = self._converters(task)
        rows = await asyncio.get_running_loop().run_in_executor(
            self._ends.threads.converting, of_keys.convert, piece.batch, piece.begin, piece.rows.n_read
        )
        return Piece(piece.batch, rows, piece.begin)

    async def _pieces(self, feed: Feed) -> AsyncIterator[Piece]:
        async for piece in feed.page(may_end_early=False):
            self._slot.state = "comparing"
            yield piece

    # --- the target ---------------------------------------------------------------------------------------------------

    async def _ready(self, task: ApplyTask) -> tuple[asyncpg.Connection, Comparer]:
        connection = await self._connected(task)
        if connection is not self._connection:
            self._comparers, self._connection = {}, connection
        comparer = self._comparers.pop(task.table_id, None)
        if comparer is None:
            if len(self._comparers) >= MOST_COMPARERS:
                oldest = next(iter(self._comparers))
                await self._comparers[oldest].close()
                del self._comparers[oldest]
            table = TableName(task.schema, task.table)
            comparer = Comparer(connection, table, task.mapping, LOOK_TABLE.format(task.table_id), shows_values=False)
            await comparer.open()
        self._comparers[task.table_id] = comparer
        return connection, comparer


class _Overtaken(Exception):
    """Another worker has compared the same keys."""


async def _only(piece: Piece) -> AsyncIterator[Piece]:
    yield piece
