"""A worker's verification: the slices of a partition, read again, mapped again, and compared with what is in the table.

A slice is compared page by page. A document without an equal row is looked at closely before it counts: it may be kept as a
reject of the run, or have been written later with another mapping (`mongopg-tui rejects --retry`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import asyncpg
from pymongo.collection import Collection

from engine.convert import make_converter
from engine.convert.interface import Converter
from engine.convert.numbers import NumberReader, WrongNumber
from engine.ledger import spans
from engine.ledger.partitions import CHECKSUM_MODULUS
from engine.ledger.spans import Span
from engine.mapping.model import Mapping
from engine.mapping.names import TableName
from engine.mongo import connect as mongo
from engine.mongo.bounds import NO_ID, key_of
from engine.mongo.collections import collection_of
from engine.mongo.inclusive import InclusiveReader
from engine.mongo.natural import Numbering
from engine.mongo.reader import RangeReader, filter_query
from engine.postgres import compare, keys
from engine.postgres.compare import ComparedPage, Comparer, RowProblem, ValueDifference, shown_value
from engine.rows import Piece
from engine.work.connections import EXPLAINED, Ends
from engine.work.context import Work, WorkerContext
from engine.work.differences import Suspect, Tally, suspects_of
from engine.work.feed import Feed, Reader
from engine.work.messages import (
    Compared,
    Failed,
    KeysTask,
    LessStrict,
    Progress,
    Returned,
    VerifyLease,
    VerifyTask,
)
from engine.work.natural_ranges import NaturalRanges, told_apart
from engine.work.slots import Field

MAIN, AGAIN, BY_KEY = compare.PAGE_TABLE, "mongopg_compare_again_{}", "mongopg_compare_keys"
"""Temporary tables for a first, a second and a third look."""

Document = dict[str, object]


WRONG_NUMBER = "not the number that the document has"


@dataclass(frozen=True, slots=True)
class _Look:
    """One way to compare documents with the task's table."""

    converter: Converter
    comparer: Comparer
    numbers: NumberReader
    """Reads the numbers of documents and rows on its own: what the converter makes of them is not believed."""

    async def compare(self, pieces: AsyncIterator[Piece], *, shows_values: bool, details: int) -> ComparedPage:
        """Compare a page: its rows with the table's by PostgreSQL, and their numbers with those of the documents."""
        wrong: dict[int, list[WrongNumber]] = {}
        n_rows = 0

        async def watched() -> AsyncIterator[Piece]:
            nonlocal n_rows
            async for piece in pieces:
                for number in self.numbers.check(piece.batch, piece.rows):
                    wrong.setdefault(n_rows + number.row, []).append(number)
                n_rows += len(piece.rows.row_ends)
                yield piece

        compared = await self.comparer.compare(watched(), details=details)
        if wrong:
            known = {problem.row for problem in compared.problems} | {refusal.row for refusal in compared.refusals}
            compared.problems += [
                RowProblem(row, True, tuple(_wrong_value(number, shows_values=shows_values) for number in numbers))
                for row, numbers in wrong.items()
                if row not in known
            ]
            compared.problems.sort(key=lambda problem: problem.row)
        return compared


class Verifier(Work[VerifyTask | KeysTask, VerifyLease]):
    """Compares partitions; keeps its connections and converters from lease to lease."""

    def __init__(self, context: WorkerContext) -> None:
        self.position: VerifyLease | None = None
        """The rest of the lease in hand: slices before it are reported."""
        self._ends = Ends(context)
        self._preference = context.start.converter
        self._slot = context.slot
        self._pace = context.pace
        self._report = context.report
        self._natural = NaturalRanges()
        self._task_id: int | None = None
        """What the next three are for."""
        self._converter: Converter | None = None
        self._looks: dict[str, _Look] = {}
        """By temporary table."""

    async def work(self, task: VerifyTask | KeysTask, lease: VerifyLease) -> Returned | Failed:
        """Go through a partition, or as much of it as the engine lets us."""
        self.position = lease
        self._slot[Field.PROGRESS_NS] = time.monotonic_ns()
        while True:
            try:
                if await self._partition(task):
                    return Returned(lease, finished=True)
                return Returned(lease, finished=False, rest=self.position)
            except EXPLAINED as error:
                self._natural.forget(task.task_id)
                if failed := await self._ends.recover(error, lease):
                    return told_apart(failed, error) if _numbering_of(task) is not None else failed
                if self._pace.is_yielding:
                    return Returned(lease, finished=False, rest=self.position)

    async def _partition(self, task: VerifyTask | KeysTask) -> bool:
        """Slices from the position on; True when the partition is done, False when the rest is to be given back."""
        connection = await self._connected()
        await self._take_up(task)
        for span in await self._spans(task, connection):
            done = await (self._compare(task, span) if isinstance(task, VerifyTask) else self._write_keys(task, span))
            if done is None:
                return False
            self._ends.patience.renew()
            self._slot.add(Field.WRITTEN, done.n_documents)
            self._slot[Field.PROGRESS_NS] = time.monotonic_ns()
            self._report(Progress(task.task_id, done))
            self.position = replace(self._position(), slice_no=span.slice_no + 1)
        return True

    async def _spans(self, task: VerifyTask | KeysTask, connection: asyncpg.Connection) -> list[Span]:
        """The slices that are left."""
        position = self._position()
        if not position.is_own:
            return await spans.spans_of(connection, task.run_id, position.partition_id, position.slice_no)
        whole = Span(0, position.lower, True, None, checksum=None, n_read=0, n_written=0, n_rejected=0)
        return [whole] if position.slice_no == 0 else []

    async def _kept(self, task: VerifyTask, span: Span, connection: asyncpg.Connection) -> set[str]:
        """`_id`s of documents that may be rejects of the slice."""
        position = self._position()
        if position.is_own:
            return await spans.rejected_ids_of(connection, task.run_id, f"{task.database}.{task.collection}")
        if span.n_rejected:
            return await spans.rejected_ids(connection, task.run_id, position.partition_id, span.slice_no)
        return set()

    def rest(self, lease: VerifyLease) -> VerifyLease:
        """Behind the last slice that was reported."""
        return self.position or lease

    # --- one slice ----------------------------------------------------------------------------------------------------

    async def _compare(self, task: VerifyTask, span: Span) -> Compared | None:
        """Compare a slice; None when the engine wants the lease back before its end."""
        position, connection = self._position(), await self._connected()
        kept = await self._kept(task, span, connection)
        look = await self._look(task, MAIN, task.mapping)
        look.numbers.less_strict.clear()
        feed = await self._feed(task, span)
        tally = Tally()
        try:
            while not feed.at_end:
                if self._pace.is_yielding:
                    return None
                compared = await look.compare(self._pieces(feed), shows_values=task.shows_values, details=tally.room)
                await self._add(task, tally, compared, kept)
            tally.count_less_strict(task.mapping, look.numbers.less_strict, look.comparer.looser)
        finally:
            feed.close()
        return Compared(
            task_id=task.task_id,
            partition_id=position.partition_id,
            slice_no=span.slice_no,
            n_documents=tally.n_documents,
            n_equal=tally.n_documents - tally.n_rejected - tally.n_different - tally.n_missing,
            n_different=tally.n_different,
            n_missing=tally.n_missing,
            n_rejected=tally.n_rejected,
            n_bytes=tally.n_bytes,
            n_written_then=span.n_written,
            is_changed=span.checksum is not None and tally.checksum % CHECKSUM_MODULUS != span.checksum,
            has_checksum=span.checksum is not None,
            checksum=tally.checksum % CHECKSUM_MODULUS,
            differences=tuple(tally.differences),
            less_strict=tuple(
                LessStrict(column, path, reason, count) for (column, path, reason), count in tally.less_strict.items()
            ),
        )

    async def _add(self, task: VerifyTask, tally: Tally, compared: ComparedPage, kept: set[str]) -> None:
        """Count a page."""
        for piece in compared.page.pieces:
            tally.n_documents += piece.rows.n_read
            tally.n_bytes += piece.rows.end - piece.begin
            tally.checksum += piece.rows.checksum
        tally.count_respelled(task.mapping, compared)
        suspects = suspects_of(compared)
        left = [suspect for suspect in suspects if not suspect.is_among(kept)] if kept else suspects
        tally.n_rejected += len(suspects) - len(left)
        for number, mapping in enumerate(task.retries):
            left = await self._look_again(task, AGAIN.format(number), mapping, left)
        await self._look_for_keys(task, left)
        tally.convict(left, task.mapping)

    async def _look_again(
        self, task: VerifyTask, name: str, mapping: Mapping, suspects: list[Suspect]
    ) -> list[Suspect]:
        """Those that are no rows of this mapping either, with which rejects were written later."""
        unequal = await self._unequal(task, name, mapping, [suspect.raw for suspect in suspects])
        return [suspect for number, suspect in enumerate(suspects) if number in unequal]

    async def _look_for_keys(self, task: VerifyTask, suspects: list[Suspect]) -> None:
        """Of documents that cannot be written as mapped, whether the table has a row of their key all the same."""
        unwritable = [suspect for suspect in suspects if suspect.problem is None]
        keys_alone = [_key_of(suspect.raw) for suspect in unwritable]
        missing = await self._unequal(task, BY_KEY, keys_only(task.mapping), keys_alone)
        for number, suspect in enumerate(unwritable):
            suspect.is_there = number not in missing

    async def _unequal(self, task: VerifyTask, name: str, mapping: Mapping, documents: Sequence[bytes]) -> set[int]:
        """Numbers of the documents that have no equal row under this mapping."""
        if not documents:
            return set()
        look = await self._look(task, name, mapping)
        batch = b"".join(documents)
        converted = look.converter.convert(batch, 0, len(documents))
        number_at, offset = {}, 0
        for number, document in enumerate(documents):
            number_at[offset] = number
            offset += len(document)
        found = await look.compare(_only(Piece(batch, converted)), shows_values=False, details=0)
        rows = [number_at[place] for place in converted.row_documents]
        refused = {refusal.row for refusal in found.refusals} | {problem.row for problem in found.problems}
        return {number_at[reject.offset] for reject in converted.rejects} | {rows[row] for row in refused}

    async def _write_keys(self, task: KeysTask, span: Span) -> Compared | None:
        """The keys that a slice's documents have in the table, into the table of keys; None as in `_compare`."""
        position, connection = self._position(), await self._connected()
        feed = await self._feed(task, span, projection={"_id": 1})
        n_documents = n_bytes = 0
        try:
            while not feed.at_end:
                if self._pace.is_yielding:
                    return None
                async for piece in self._pieces(feed):
                    n_documents += piece.rows.n_read
                    n_bytes += piece.rows.end - piece.begin
                    await keys.add(connection, task.keys_table, task.mapping, piece)
        finally:
            feed.close()
        return Compared(
            task_id=task.task_id,
            partition_id=position.partition_id,
            slice_no=span.slice_no,
            n_documents=n_documents,
            n_equal=0,
            n_different=0,
            n_missing=0,
            n_rejected=0,
            n_bytes=n_bytes,
            n_written_then=span.n_written,
            is_changed=False,
        )

    async def _feed(self, task: VerifyTask | KeysTask, span: Span, projection: Document | None = None) -> Feed:
        numbering = _numbering_of(task)
        client = await self._ends.source(numbering.member if numbering is not None else "")
        collection: Collection[mongo.Document] = collection_of(client, task.database, task.collection)
        query = filter_query(task.filter)
        reader: Reader
        if numbering is not None:
            lease = self._position()
            reader = self._natural.reader(
                task.task_id, numbering, collection, lease.lower, lease.upper, older=lease.older, projection=projection
            )
        elif span.last is not None:
            reader = InclusiveReader(
                collection, span.lower, span.lower_inclusive, span.last, query=query, projection=projection
            )
        else:
            upper = self._position().upper
            reader = RangeReader(
                collection, span.lower, span.lower_inclusive, upper, query=query, projection=projection
            )
        assert self._converter is not None
        return Feed(reader, self._converter, self._slot, self._pace, self._ends.threads)

    async def _pieces(self, feed: Feed) -> AsyncIterator[Piece]:
        async for piece in feed.page(may_end_early=False):
            self._slot.state = "comparing"
            yield piece
            self._slot.add(Field.SENT, piece.rows.n_read)

    # --- connections --------------------------------------------------------------------------------------------------

    def _position(self) -> VerifyLease:
        assert self.position is not None
        return self.position

    async def _connected(self) -> asyncpg.Connection:
        """The connection to PostgreSQL, prepared to compare."""
        if self._ends.is_connected:
            return await self._ends.target()
        self._looks.clear()
        connection = await self._ends.target()
        await connection.execute(compare.SESSION)
        return connection

    async def _take_up(self, task: VerifyTask | KeysTask) -> None:
        """Put away what was made for another task."""
        if task.task_id != self._task_id:
            for look in self._looks.values():
                await look.comparer.close()
            self._looks.clear()
            self._converter = make_converter(task.mapping, self._preference)
            self._task_id = task.task_id

    async def _look(self, task: VerifyTask, name: str, mapping: Mapping) -> _Look:
        """The way to compare that uses this temporary table."""
        connection = await self._connected()
        if name not in self._looks:
            table = TableName(task.schema, task.table)
            comparer = Comparer(connection, table, mapping, name, shows_values=task.shows_values)
            await comparer.open()
            self._looks[name] = _Look(make_converter(mapping, self._preference), comparer, NumberReader(mapping))
        return self._looks[name]

    async def abort(self) -> None:
        """Roll back what is in hand."""
        await self._ends.abort()

    async def close(self) -> None:
        """Close the connections to both servers."""
        await self._ends.close()


def _numbering_of(task: VerifyTask | KeysTask) -> Numbering | None:
    """Whose record ids the bounds of a task have; keys alone are read from the index of `_id`."""
    return task.numbering if isinstance(task, VerifyTask) else None


def keys_only(mapping: Mapping) -> Mapping:
    """A mapping of nothing but `_id`."""
    return Mapping(columns=(mapping.id_column,), options=mapping.options)


def _wrong_value(number: WrongNumber, *, shows_values: bool) -> ValueDifference:
    expected, found = (number.expected, number.found) if shows_values else (None, None)
    return ValueDifference(number.column, shown_value(expected), shown_value(found), number.field, WRONG_NUMBER)


async def _only(piece: Piece) -> AsyncIterator[Piece]:
    yield piece


def _key_of(raw: bytes) -> bytes:
    """The document's key; none where it is broken before the end of its `_id`."""
    try:
        return key_of(raw)
    except ValueError:
        return NO_ID
