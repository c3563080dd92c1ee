"""Documents that a table lacks, found by their keys: what a fill-in writes of the documents that it reads."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import accumulate

import asyncpg

from engine.convert import Preference, make_converter
from engine.convert.interface import Converter
from engine.ledger import fill_in, rejects
from engine.ledger.fill_in import EarlierReject
from engine.ledger.slices import PageResult, SliceWriter
from engine.mapping.bson import document_end
from engine.mapping.model import Mapping
from engine.mapping.names import TableName
from engine.mongo.bounds import NO_ID, key_of, same_key
from engine.postgres.present import rows_present
from engine.rows import Converted, Piece, document_at
from engine.work.feed import Threads
from engine.work.messages import CopyTask


class KeyConverter:
    """Makes rows of nothing but the key of documents, whatever else is in them."""

    name = "keys"

    def __init__(self, mapping: Mapping, preference: Preference) -> None:
        """For the key column of a mapping."""
        keys = Mapping(columns=(mapping.id_column,), options=mapping.options)
        self._converter = make_converter(keys, preference, has_checksum=False)

    def convert(self, batch: bytes, offset: int, limit: int) -> Converted:
        """See `engine.convert.interface.Converter`; row_documents and rejects are of the whole documents."""
        begins: list[int] = []
        keys: list[bytes] = []
        end = offset
        while end < len(batch) and len(begins) < limit:
            begins.append(end)
            end = document_end(batch, end)
            keys.append(_key_of(batch, begins[-1]))
        rows = self._converter.convert(b"".join(keys), 0, len(keys))
        number_at = dict(zip(accumulate(map(len, keys), initial=0), begins, strict=False))
        return replace(
            rows,
            row_documents=[number_at[place] for place in rows.row_documents],
            end=end,
            last=begins[-1] if begins else offset,
            rejects=[replace(reject, offset=number_at[reject.offset]) for reject in rows.rejects],
        )


class MissingDocuments:
    """Writes the documents of a page that have no row of the run yet, within the slice in hand."""

    def __init__(self, connection: asyncpg.Connection, task: CopyTask, converter: Converter, threads: Threads) -> None:
        """Nothing is asked yet.

        Args:
            converter: makes the rows; what is fed to this has only keys.
        """
        self._connection = connection
        self._task = task
        self._converter = converter
        self._threads = threads
        self._table = TableName(task.schema, task.table)
        self._namespace = f"{task.database}.{task.collection}"

    async def write(self, writer: SliceWriter, keys: Sequence[Piece]) -> tuple[PageResult, Counter[str]]:
        """Write a page; what became of the documents that count anew, and what policies changed in their rows.

        Args:
            keys: the page, converted to keys.
        """
        documents = await self._without_row(keys)
        earlier = await self._kept_before(documents)
        if not documents:
            return PageResult(0, 0, 0, 0, {}), Counter()
        batch = b"".join(documents)
        altered: Counter[str] = Counter()

        async def pieces() -> AsyncIterator[Piece]:
            converted = await self._converted(batch, len(documents))
            altered.update(converted.rows.policy_hits)
            yield converted

        result = await writer.write_page(pieces())
        if result.refused and altered:
            again = await self._converted(b"".join(result.refused), len(result.refused))
            altered -= Counter(again.rows.policy_hits)
        if not earlier:
            return result, altered
        await writer.take_back(earlier)
        reasons = Counter(result.reasons)
        reasons.subtract(reject.reason for reject in earlier)
        return PageResult(
            n_read=result.n_read - len(earlier),
            n_written=result.n_written,
            n_rejected=result.n_rejected - len(earlier),
            n_bytes=result.n_bytes,
            reasons=dict(reasons),
        ), altered

    async def _converted(self, batch: bytes, n_documents: int) -> Piece:
        loop = asyncio.get_running_loop()
        rows = await loop.run_in_executor(self._threads.converting, self._converter.convert, batch, 0, n_documents)
        return Piece(batch, rows)

    async def _without_row(self, keys: Sequence[Piece]) -> list[bytes]:
        """The documents whose key the table has not, those without a key among them."""
        present = await rows_present(self._connection, self._table, self._task.mapping.id_column.name, keys)
        found: list[bytes] = []
        first = 0
        for piece in keys:
            offsets = [offset for row, offset in enumerate(piece.rows.row_documents, first) if row not in present]
            offsets += [reject.offset for reject in piece.rows.rejects]
            found += [document_at(piece.batch, offset) for offset in sorted(offsets)]
            first += len(piece.rows.row_documents)
        return found

    async def _kept_before(self, documents: Sequence[bytes]) -> list[EarlierReject]:
        """The rejects of the run that are of these documents."""
        run_id, connection = self._task.run_id, self._connection
        if not documents or not await fill_in.has_rejects(connection, run_id, self._namespace):
            return []
        by_id: dict[str, list[bytes]] = {}
        for document in documents:
            by_id.setdefault(rejects.stored_id(rejects.extended_id(document)), []).append(document)
        illegible = by_id.pop("", [])
        found = await fill_in.find_rejects(connection, run_id, self._namespace, list(by_id), illegible)
        return [
            reject
            for reject in found
            if reject.raw in illegible or any(_is_same(reject.raw, each) for each in by_id.get(reject.id, ()))
        ]


def _key_of(batch: bytes, offset: int) -> bytes:
    """The document's key; none where it is broken before the end of its `_id`."""
    try:
        return key_of(batch, offset)
    except ValueError:
        return NO_ID


def _is_same(a: bytes, b: bytes) -> bool:
    """Both are of one `_id`."""
    try:
        return same_key(key_of(a), key_of(b))
    except ValueError:
        return a == b
