"""A worker's copying: a partition, slice by slice, each one transaction."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

import asyncpg

from engine import failures
from engine.convert import make_converter
from engine.convert.interface import Converter
from engine.errors import ConnectError
from engine.ledger import partitions, slices, table_locks
from engine.mapping.names import TableName
from engine.mongo.collections import collection_of
from engine.mongo.reader import BatchSize, RangeReader, filter_query
from engine.postgres import blockers, page, sessions, sqlstates
from engine.postgres.rows import Caution
from engine.rows import Piece
from engine.work.claims import as_committed
from engine.work.connections import EXPLAINED, Ends
from engine.work.context import Work, WorkerContext
from engine.work.feed import Feed
from engine.work.messages import Committed, CopyLease, CopyTask, Failed, Progress, Returned
from engine.work.slots import Field, Slot

SLICE_BYTES = 8 * 1024 * 1024
SLICE_S = 0.5
"""A slice ends at the first page end after so many bytes of BSON, or so long."""

HOLD_S = 5.0
"""The engine takes the tables again within this, when their session was ended with the worker's."""


@dataclass(slots=True)
class _Slice:
    """What went into the slice in hand."""

    began: float
    read: int = 0
    written: int = 0
    rejected: int = 0
    n_bytes: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    policy_hits: Counter[str] = field(default_factory=Counter)

    @property
    def is_full(self) -> bool:
        return self.n_bytes >= SLICE_BYTES or time.monotonic() - self.began >= SLICE_S

    def add(self, written: slices.PageResult) -> None:
        self.read += written.n_read
        self.written += written.n_written
        self.rejected += written.n_rejected
        self.n_bytes += written.n_bytes
        self.reasons.update(written.reasons)


class _Writing:
    """What of a worker's time is PostgreSQL's: all that does not go into reading, converting and the throttle."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._at_ns, self._others_ns = time.monotonic_ns(), self._others()

    def account(self) -> None:
        """Add what has passed since it was last looked at."""
        now_ns, others_ns = time.monotonic_ns(), self._others()
        self._slot.add(Field.WRITING_NS, max(0, now_ns - self._at_ns - (others_ns - self._others_ns)))
        self._at_ns, self._others_ns = now_ns, others_ns

    def _others(self) -> int:
        return sum(self._slot[field] for field in (Field.READING_NS, Field.CONVERTING_NS, Field.THROTTLED_NS))


class Copier(Work[CopyTask, CopyLease]):
    """Copies partitions; keeps its connections and converters from lease to lease."""

    def __init__(self, context: WorkerContext) -> None:
        self.position: CopyLease | None = None
        """The rest of the lease in hand: slices before it are committed."""
        self._ends = Ends(context)
        self._joined: asyncpg.Connection | None = None
        """The connection that is known to be one of a run that holds its table."""
        self._preference = context.start.converter
        self._slot = context.slot
        self._worker = context.worker
        self._pace = context.pace
        self._report = context.report
        self._converters: dict[int, Converter] = {}
        self._cautions: defaultdict[int, Caution] = defaultdict(Caution)
        """By task."""
        self._batch_sizes: defaultdict[int, BatchSize] = defaultdict(BatchSize)
        """By task."""

    async def work(self, task: CopyTask, lease: CopyLease) -> Returned | Failed:
        """Copy a partition, or as much of it as the engine lets us."""
        self.position = lease
        self._slot[Field.PROGRESS_NS] = time.monotonic_ns()
        in_doubt = False
        while True:
            try:
                if in_doubt and await self._look_up_position(task):
                    return Returned(lease, finished=True)
                in_doubt = False
                if await self._copy(task):
                    return Returned(lease, finished=True)
                return Returned(lease, finished=False, rest=self.position)
            except (slices.SliceTaken, slices.SliceLost):
                # A worker that was taken for dead, or this one before its connection broke, committed it: go on behind it. Or
                # the server has lost what was committed, as by a failover to a replica that lagged behind: go back.
                in_doubt = True
            except EXPLAINED as error:
                if failed := await self._ends.recover(error, lease, lambda code: self._name_blocker(task, code)):
                    return failed
                in_doubt = True
                if self._pace.is_yielding:
                    # The worker that goes on from here is told by the fence if more than this is committed.
                    return Returned(lease, finished=False, rest=self.position)

    async def _copy(self, task: CopyTask) -> bool:
        """Slices from the position on; True when the partition is done, False when the rest is to be given back."""
        connection = await self._ends.target()
        if connection is not self._joined:
            await self._join(task, connection)
        client = await self._ends.source()
        position = self._position()
        reader = RangeReader(
            collection_of(client, task.database, task.collection),
            position.lower,
            position.lower_inclusive,
            position.upper,
            query=filter_query(task.filter),
            has_range_reads=task.has_range_reads,
            batch_size=self._batch_sizes[task.task_id],
            at=task.at,
        )
        feed = Feed(reader, self._converter(task), self._slot, self._pace, self._ends.threads)
        caution = self._cautions[task.task_id]
        writer = slices.SliceWriter(
            connection, task.run_id, _target_of(task), self._worker, caution=caution, has_checksum=task.has_checksum
        )
        try:
            feed.begin()
            while True:
                is_final = await self._slice(task, writer, feed)
                if is_final or (self._pace.is_yielding and task.has_range_reads):
                    return is_final
        except asyncio.CancelledError:
            raise
        except BaseException:
            await _roll_back(writer)
            raise
        finally:
            feed.close()

    async def _join(self, task: CopyTask, connection: asyncpg.Connection) -> None:
        """Make the session one of the run; raise ConnectError while no session of the run holds the table: another run may
        have it, as after a restart of the server.
        """
        await sessions.rename(connection, task.run_id)  # an engine that resumes a run has workers before it knows which
        table, deadline = TableName(*task.held), time.monotonic() + HOLD_S
        while not await table_locks.is_held_for(connection, table, task.run_id):
            if time.monotonic() > deadline:
                raise ConnectError(
                    f"Table {table} is not held for this run at the moment: it has to be taken again first."
                )
            await asyncio.sleep(0.05)
        self._joined = connection

    async def _slice(self, task: CopyTask, writer: slices.SliceWriter, feed: Feed) -> bool:
        position = self._position()
        writing = _Writing(self._slot)
        done = _Slice(time.monotonic())
        self._slot.state = "writing"
        await writer.begin(position.partition_id, position.slice_no, position.lower, position.lower_inclusive)
        # A view or time-series has no range to go on from: one slice, however long it takes.
        while not feed.at_end and not (task.has_range_reads and (done.is_full or self._pace.is_yielding) and done.read):
            written = await writer.write_page(self._pieces(task, feed, done, writing))
            if written.refused and done.policy_hits:
                # What was changed in a row that the table did not take is changed nowhere.
                done.policy_hits -= Counter(await feed.altered_in(written.refused))
            done.add(written)
        upto = feed.last_key if done.read else (None if position.lower_inclusive else position.lower)
        await writer.commit(upto, feed.at_end, done.policy_hits)
        self._ends.patience.renew()
        writing.account()
        self._slot.add(Field.WRITTEN, done.written)
        self._slot.add(Field.REJECTED, done.rejected)
        self._slot[Field.PROGRESS_NS] = time.monotonic_ns()
        committed = Committed(
            task_id=task.task_id,
            partition_id=position.partition_id,
            slice_no=position.slice_no,
            n_read=done.read,
            n_written=done.written,
            n_rejected=done.rejected,
            n_bytes=done.n_bytes,
            final=feed.at_end,
            reasons=tuple(done.reasons.items()),
            policy_hits=tuple(done.policy_hits.items()),
        )
        self._report(Progress(task.task_id, committed))
        self.position = replace(position, slice_no=position.slice_no + 1, lower=upto, lower_inclusive=upto is None)
        return feed.at_end

    async def _pieces(self, task: CopyTask, feed: Feed, done: _Slice, writing: _Writing) -> AsyncIterator[Piece]:
        async for piece in feed.page(may_end_early=task.has_range_reads):
            done.policy_hits.update(piece.rows.policy_hits)
            yield piece
            writing.account()
            self._slot.add(Field.SENT, len(piece.rows.row_ends))

    def rest(self, lease: CopyLease) -> CopyLease:
        """Behind the last slice that is known to be committed."""
        return self.position or lease

    # --- positions ----------------------------------------------------------------------------------------------------

    def _position(self) -> CopyLease:
        assert self.position is not None
        return self.position

    async def _look_up_position(self, task: CopyTask) -> bool:
        """Where the ledger says the partition stands, after anything that leaves it in doubt; True when it is finished."""
        connection, before = await self._ends.target(), self._position()
        found = await partitions.position(connection, task.run_id, before.partition_id)
        for claim in await slices.claims_from(connection, task.run_id, before.partition_id, before.slice_no):
            self._report(Progress(task.task_id, as_committed(task.task_id, before.partition_id, claim)))
        self.position = replace(
            before, slice_no=found.next_slice_no, lower=found.lower, lower_inclusive=found.lower_inclusive
        )
        return found.finished

    async def _name_blocker(self, task: CopyTask, code: str) -> str:
        """What keeps COPY waiting, in a sentence; empty when nothing does any more, or another failure is meant."""
        if code != failures.LOCK_NOT_AVAILABLE:
            return ""
        table = TableName(task.schema, task.table)
        try:
            found = await blockers.blockers(await self._ends.target(), table)
        except EXPLAINED:
            return ""  # the sentence about the lock itself has to do
        return f"Table {table} is locked: {found}." if found else ""

    def _converter(self, task: CopyTask) -> Converter:
        if task.task_id not in self._converters:
            self._converters[task.task_id] = make_converter(
                task.mapping, self._preference, has_checksum=task.has_checksum
            )
        return self._converters[task.task_id]

    async def abort(self) -> None:
        """Roll back what is in hand."""
        await self._ends.abort()

    async def close(self) -> None:
        """Close the connections to both servers."""
        await self._ends.close()


async def _roll_back(writer: slices.SliceWriter) -> None:
    with suppress(*sqlstates.FAILURES):  # a broken connection has rolled back already
        await writer.rollback()


def _target_of(task: CopyTask) -> page.CopyTarget:
    return page.CopyTarget(
        table=TableName(task.schema, task.table),
        columns=tuple(column.name for column in task.mapping.columns),
        namespace=f"{task.database}.{task.collection}",
        upsert_key=task.mapping.id_column.name if task.mode == "upsert" else "",
    )
