"""A worker's copying: a partition, slice by slice, each one transaction."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import replace

import asyncpg
from pymongo.collection import Collection

from engine import failures
from engine.convert import make_converter
from engine.convert.interface import Converter
from engine.ledger import fill_in, partitions, slices
from engine.mapping.names import TableName
from engine.mongo import connect as mongo
from engine.mongo.bounds import record_of
from engine.mongo.collections import collection_of
from engine.mongo.natural import first_in_place, is_record_gone
from engine.mongo.reader import BatchSize, RangeReader, filter_query
from engine.postgres import blockers, sqlstates
from engine.postgres.rows import Caution
from engine.work.bundles import BundleCopier
from engine.work.claims import as_committed
from engine.work.connections import EXPLAINED, Ends
from engine.work.context import Work, WorkerContext
from engine.work.feed import Feed
from engine.work.joining import join_run
from engine.work.messages import CopyBundle, CopyLease, CopyTask, Failed, Progress, Returned
from engine.work.missing import KeyConverter, MissingDocuments
from engine.work.natural_ranges import NaturalRanges, told_apart
from engine.work.slice_notes import SliceNotes, WritingTime, noted, target_of
from engine.work.slots import Field

OLDER_BOUNDS = 20
"""Where a record is gone, as many before it are tried before the whole collection is passed over."""


class Copier(Work[CopyTask, CopyLease | CopyBundle]):
    """Copies partitions; keeps its connections and converters from lease to lease."""

    def __init__(self, context: WorkerContext) -> None:
        self.position: CopyLease | None = None
        """The rest of the lease in hand: slices before it are committed."""
        # Before a run looks for gaps, all that was committed is on disk (`Ledger.gaps`).
        self._ends = Ends(context, waits_for_disk=False)
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
        self._batch_sizes: dict[int, BatchSize] = {}
        """By task."""
        self._key_converters: dict[int, Converter] = {}
        """By task."""
        self._natural = NaturalRanges()
        self._older: list[bytes | None] | None = None
        """Where reading may begin, since the record where the position is has gone."""
        self._bundles = BundleCopier(context, self._ends, self)

    async def work(self, task: CopyTask, lease: CopyLease | CopyBundle) -> Returned | Failed:
        """Copy a partition or several, or as much of them as the engine lets us."""
        self._slot[Field.PROGRESS_NS] = time.monotonic_ns()
        if isinstance(lease, CopyBundle):
            return await self._bundles.work(lease)
        return await self.copy_alone(task, lease)

    async def copy_alone(self, task: CopyTask, lease: CopyLease, *, in_doubt: bool = False) -> Returned | Failed:
        """Copy a partition, or as much of it as the engine lets us.

        Args:
            in_doubt: only the ledger knows where it is.
        """
        self.position = lease
        self._older = None
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
                self._natural.forget(task.task_id)
                if task.numbering is not None and is_record_gone(error) and self._older is None:
                    self._older = await self._bounds_before(task)
                    continue
                if failed := await self._ends.recover(error, lease, lambda code: self._name_blocker(task, code)):
                    return told_apart(failed, error) if task.numbering is not None else failed
                in_doubt = True
                if self._pace.is_yielding:
                    # The worker that goes on from here is told by the fence if more than this is committed.
                    return Returned(lease, finished=False, rest=self.position)

    async def _copy(self, task: CopyTask) -> bool:
        """Slices from the position on; True when the partition is done, False when the rest is to be given back."""
        connection = await self._ends.target()
        await self.join(task, connection)
        feed = await self.feed(task, self._position())
        caution = self._cautions[task.task_id]
        writer = slices.SliceWriter(
            connection, task.run_id, target_of(task), self._worker, caution=caution, has_checksum=task.has_checksum
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

    async def feed(self, task: CopyTask, position: CopyLease) -> Feed:
        """What is left to read."""
        client = await self._ends.source(task.numbering.member if task.numbering is not None else "")
        collection = collection_of(client, task.database, task.collection)
        converter = self._key_converter(task) if task.adds_missing else self._converter(task)
        batch_size = self._batch_sizes.setdefault(task.task_id, BatchSize.for_documents_of(task.average_bytes))
        if task.numbering is None:
            reader = RangeReader(
                collection,
                position.lower,
                position.lower_inclusive,
                position.upper,
                query=filter_query(task.filter),
                has_range_reads=task.has_range_reads,
                batch_size=batch_size,
                at=task.at,
                after=task.after,
            )
            return Feed(reader, converter, self._slot, self._pace, self._ends.threads)
        natural = self._natural.reader(
            task.task_id,
            task.numbering,
            collection,
            await self._begin_of(task, collection),
            position.upper,
            older=self._older,
            batch_size=batch_size,
            at=task.at,
            after=task.after,
        )
        return Feed(natural, converter, self._slot, self._pace, self._ends.threads, natural.bound)

    async def _begin_of(self, task: CopyTask, collection: Collection[mongo.Document]) -> bytes | None:
        """Behind which record the position is.

        A fill-in begins behind the last record of the run's beginning. Where that is gone, its number and those of others may
        have been given again, as after a rollback: then it begins behind the highest known one that is where it was.
        """
        lower = self._position().lower
        if not task.adds_missing or self._position().slice_no or lower is None:
            return lower
        known = [lower, *await self._bounds_before(task)]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._ends.threads.reading, first_in_place, collection, known)

    async def _bounds_before(self, task: CopyTask) -> list[bytes | None]:
        """Known bounds below the position, the highest first, and the beginning of the collection."""
        lower = self._position().lower
        assert lower is not None
        known = await fill_in.bounds_of(await self._ends.target(), task.run_id, task.task_id)
        older = sorted((bound for bound in known if record_of(bound) < record_of(lower)), key=record_of, reverse=True)
        return [*older[:OLDER_BOUNDS], None]

    async def join(self, task: CopyTask, connection: asyncpg.Connection) -> None:
        """Make the session one of the run; raise ConnectError while no session of the run holds the table."""
        if connection is not self._joined:
            await join_run(connection, task.run_id, TableName(*task.held), task.generation)
            self._joined = connection

    async def _slice(self, task: CopyTask, writer: slices.SliceWriter, feed: Feed) -> bool:
        position = self._position()
        writing = WritingTime(self._slot)
        done = SliceNotes()
        self._slot.state = "writing"
        await writer.begin(position.partition_id, position.slice_no, position.lower, position.lower_inclusive)
        # A view or time-series has no range to go on from: one slice, however long it takes.
        upto = None if position.lower_inclusive else position.lower
        while not feed.at_end:
            if task.adds_missing:
                await self._write_missing(task, writer, feed, done, writing)
            else:
                written = await writer.write_page(
                    noted(feed, done, writing, self._slot, may_end_early=task.has_range_reads)
                )
                if written.refused and done.policy_hits:
                    # What was changed in a row that the table did not take is changed nowhere.
                    done.policy_hits -= Counter(await feed.altered_in(written.refused))
                done.add(written)
            is_enough = task.has_range_reads and (done.is_full or self._pace.is_yielding) and done.seen
            if (is_enough or feed.at_end) and done.seen and (found := await feed.bound()) is not None:
                upto = found
                break
        await writer.commit(upto, feed.at_end, done.policy_hits)
        self._ends.patience.renew()
        writing.account()
        done.show(self._slot)
        self._report(Progress(task.task_id, done.committed(position, final=feed.at_end)))
        self.position = replace(position, slice_no=position.slice_no + 1, lower=upto, lower_inclusive=upto is None)
        return feed.at_end

    async def _write_missing(
        self, task: CopyTask, writer: slices.SliceWriter, feed: Feed, done: SliceNotes, writing: WritingTime
    ) -> None:
        """Write what the table lacks of a page."""
        keys = []
        async for piece in feed.page(may_end_early=task.has_range_reads):
            done.seen += piece.rows.n_read
            done.n_bytes += piece.rows.end - piece.begin
            keys.append(piece)
        missing = MissingDocuments(writer.connection, task, self._converter(task), self._ends.threads)
        written, altered = await missing.write(writer, keys)
        writing.account()
        self._slot.add(Field.SENT, written.n_written)
        done.add(replace(written, n_bytes=0))
        done.policy_hits.update(altered)

    def rest(self, lease: CopyLease | CopyBundle) -> CopyLease | CopyBundle:
        """Behind the last slice that is known to be committed."""
        return self._bundles.rest() if isinstance(lease, CopyBundle) else self.position or lease

    def forget(self, task_id: int) -> None:
        """What is known of a task's collection and table."""
        for known in (self._converters, self._cautions, self._batch_sizes, self._key_converters):
            known.pop(task_id, None)
        self._natural.forget(task_id)

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

    def _key_converter(self, task: CopyTask) -> Converter:
        if task.task_id not in self._key_converters:
            self._key_converters[task.task_id] = KeyConverter(task.mapping, self._preference)
        return self._key_converters[task.task_id]

    async def abort(self) -> None:
        """Roll back what is in hand."""
        await self._ends.abort()

    async def close(self) -> None:
        """Close the connections to both servers."""
        await self._ends.close()


async def _roll_back(writer: slices.SliceWriter) -> None:
    with suppress(*sqlstates.FAILURES):  # a broken connection has rolled back already
        await writer.rollback()
