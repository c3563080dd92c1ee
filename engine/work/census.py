"""A worker's census: a range of a collection, read and counted. Nothing is written, and PostgreSQL is not asked."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import dataclass, replace

from pymongo.collection import Collection

from engine.convert.census import Counter, make_counter
from engine.mapping.bson import document_end
from engine.mongo import connect as mongo
from engine.mongo.bounds import key_of, with_record
from engine.mongo.collections import collection_of
from engine.mongo.reader import BatchReader, RangeReader, RawBatch, filter_query
from engine.work.connections import EXPLAINED, Ends
from engine.work.context import Work, WorkerContext
from engine.work.messages import CensusLease, CensusTask, Counted, Failed, Progress, Returned
from engine.work.natural_ranges import NaturalRanges, told_apart
from engine.work.slots import Field


@dataclass(slots=True)
class _Range:
    """A lease in hand. The thread that goes through it stops when it is told to, at the end of a batch."""

    task: CensusTask
    lease: CensusLease
    counter: Counter
    is_dropped: threading.Event


class CensusTaker(Work[CensusTask, CensusLease]):
    """Counts ranges; keeps its client from lease to lease."""

    needs_target = False

    def __init__(self, context: WorkerContext) -> None:
        self._ends = Ends(context)
        self._natural = NaturalRanges()
        self._preference = context.start.converter
        self._slot = context.slot
        self._pace = context.pace
        self._report = context.report

    async def work(self, task: CensusTask, lease: CensusLease) -> Returned | Failed:
        """Count a range, or as much of it as the engine lets us; after a failure it is counted from its beginning."""
        self._slot[Field.PROGRESS_NS] = time.monotonic_ns()
        while True:
            counting = _Range(task, lease, make_counter(task.levels, self._preference), threading.Event())
            try:
                rest = await self._counted(counting)
            except EXPLAINED as error:
                self._natural.forget(task.task_id)
                failed = await self._ends.recover(error, lease)
                if failed is not None:
                    return told_apart(failed, error) if task.numbering is not None else failed
                if self._pace.is_yielding:
                    return Returned(lease, finished=False, rest=lease)
            else:
                self._ends.patience.renew()
                return Returned(lease, finished=rest is None, rest=rest)

    async def _counted(self, counting: _Range) -> CensusLease | None:
        """Count a range and report it; what is left of it when the engine wants it back."""
        task, lease = counting.task, counting.lease
        reader = await self._reader(task, lease)
        self._slot.state = "reading"
        loop = asyncio.get_running_loop()
        try:
            rest = await loop.run_in_executor(self._ends.threads.reading, self._go_through, counting, reader)
        except asyncio.CancelledError:
            counting.is_dropped.set()
            raise
        if rest is not lease:
            census = counting.counter.result()
            encoded = json.dumps(census.to_dict()).encode()
            self._report(Progress(task.task_id, Counted(lease, census.n_documents, encoded, rest)))
        return rest

    async def _reader(self, task: CensusTask, lease: CensusLease) -> BatchReader:
        client = await self._ends.source(task.numbering.member if task.numbering is not None else "")
        collection: Collection[mongo.Document] = collection_of(client, task.database, task.collection)
        if task.numbering is not None:
            return self._natural.reader(
                task.task_id, task.numbering, collection, lease.lower, lease.upper, older=lease.older
            )
        return RangeReader(
            collection,
            lease.lower,
            lease.lower_inclusive,
            lease.upper,
            query=filter_query(task.filter),
            has_range_reads=task.has_range_reads,
        )

    def _go_through(self, counting: _Range, reader: BatchReader) -> CensusLease | None:
        """Read and count up to the end, or up to that of the batch in hand; the whole lease: nothing counts."""
        lease = counting.lease
        try:
            while (batch := reader.next_batch()) is not None:
                n_documents = counting.counter.add_batch(batch.data, batch.offset)
                self._slot.add(Field.SENT, n_documents)
                self._slot.add(Field.BYTES, len(batch.data) - batch.offset)
                self._slot[Field.PROGRESS_NS] = time.monotonic_ns()
                if counting.is_dropped.is_set():
                    return lease
                if self._pace.is_yielding:
                    if not counting.task.has_range_reads:
                        return lease
                    return _rest_of(lease, batch)
        finally:
            reader.close()
        return None

    async def close(self) -> None:
        """Close the connection to MongoDB."""
        await self._ends.close()


def _rest_of(lease: CensusLease, batch: RawBatch) -> CensusLease:
    """What lies behind a batch of a lease."""
    key = _last_key(batch)
    if batch.last_record is None:
        return replace(lease, lower=key, lower_inclusive=False)
    return replace(lease, lower=with_record(key, batch.last_record), older=(lease.lower, *lease.older))


def _last_key(batch: RawBatch) -> bytes:
    """`_id` of a batch's last document."""
    last = end = batch.offset
    while end < len(batch.data):
        last, end = end, document_end(batch.data, end)
    return key_of(batch.data, last)
