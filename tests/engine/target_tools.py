"""Tools of the tests about PostgreSQL: rows made by hand, so that the server and not a converter finds what is wrong."""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import bson

from engine.ledger import partitions, runs, schema
from engine.ledger.slices import SliceWriter
from engine.mapping.names import TableName
from engine.postgres import connect as postgres
from engine.postgres.page import CopyTarget
from engine.rows import Converted, Piece, Reject, TableLoad

RUN = "20261123-1402-k3f9"
USERS = TableName("public", "users")
NAMESPACE = "shop.users"


def key(value: object) -> bytes:
    """A bound."""
    return bson.encode({"_id": value})


def cell(value: Any) -> bytes:
    """One value of a tuple in COPY's binary format: text, a 4-byte integer, ready-made bytes or NULL."""
    if value is None:
        return struct.pack(">i", -1)
    data = value if isinstance(value, bytes) else struct.pack(">i", value) if isinstance(value, int) else value.encode()
    return struct.pack(">i", len(data)) + data


def piece(rows: Sequence[Sequence[Any]], rejects: Sequence[tuple[str, str]] = ()) -> Piece:
    """Rows whose first cell is the `_id`, and behind them documents that the converter rejects, each (`_id`, reason)."""
    batch, copy = bytearray(), bytearray()
    converted = Converted(b"", [], [], len(rows) + len(rejects), 0, 0, 0)
    ends: list[int] = []
    documents: list[int] = []
    for row in rows:
        documents.append(len(batch))
        batch += bson.encode({"_id": row[0]})
        copy += struct.pack(">h", len(row)) + b"".join(cell(value) for value in row)
        ends.append(len(copy))
    for identifier, reason in rejects:
        document = bson.encode({"_id": identifier})
        converted.rejects.append(Reject(len(batch), len(document), reason, "name", "a NUL character"))
        batch += document
    converted.copy, converted.row_ends, converted.row_documents, converted.end = (
        bytes(copy),
        ends,
        documents,
        len(batch),
    )
    converted.checksum = sum(zlib.crc32(raw) for raw in _documents(bytes(batch))) % 2**64
    return Piece(bytes(batch), converted)


async def pieces(*all_pieces: Piece) -> AsyncIterator[Piece]:
    """A page."""
    for each in all_pieces:
        yield each


@dataclass
class Bench:
    """A run with one table and one partition that is the whole collection, and a writer for it."""

    uri: str
    connection: asyncpg.Connection
    columns: tuple[str, ...] = ("_id", "n")
    others: list[asyncpg.Connection] = field(default_factory=list)

    def writer(
        self, connection: asyncpg.Connection | None = None, *, upsert_key: str = "", worker: int = 1
    ) -> SliceWriter:
        """A writer, on the bench's own connection unless told otherwise."""
        target = CopyTarget(USERS, self.columns, NAMESPACE, upsert_key)
        return SliceWriter(connection or self.connection, RUN, target, worker)

    async def connect(self) -> asyncpg.Connection:
        """One more connection; closed at the end."""
        connection = await postgres.connect(self.uri)
        self.others.append(connection)
        return connection

    async def ids(self) -> list[str]:
        """The `_id`s in the table, in order."""
        return [row[0] for row in await self.connection.fetch('SELECT _id FROM users ORDER BY _id COLLATE "C"')]

    async def rejects(self) -> list[tuple[str, str, str]]:
        """Rejected documents by `_id`, reason and SQLSTATE, in order of `_id`."""
        rows = await self.connection.fetch('SELECT id, reason, sqlstate FROM mongopg.reject ORDER BY id COLLATE "C"')
        return [(row["id"].strip('"'), row["reason"], row["sqlstate"]) for row in rows]


@asynccontextmanager
async def bench(
    uri: str, columns: str = "_id text NOT NULL, n integer", parts: Sequence[partitions.Partition] | None = None
) -> AsyncIterator[Bench]:
    """A run begun in an empty database.

    Args:
        uri: of the database.
        columns: of table users; also what a test needs behind them, after a semicolon.
        parts: the run's partitions; one for everything when left out.
    """
    table, _, more = columns.partition(";")
    connection = await postgres.connect(uri)
    made = Bench(uri, connection)
    try:
        await schema.ensure_schema(connection)
        statements = [f"CREATE TABLE users ({table})", *([more] if more else [])]
        await begin_run(connection, RUN, statements)
        await partitions.add_partitions(connection, RUN, parts or [partitions.Partition(0, 0, None, None)])
        yield made
    finally:
        for each in (connection, *made.others):
            if not each.is_closed():
                await each.close()


async def begin_run(
    connection: asyncpg.Connection, run_id: str, statements: Sequence[str], *, fingerprint: str = "f", **load: Any
) -> None:
    """A run into `USERS`; the statements make the table."""
    run = runs.NewRun(
        run_id, fingerprint, "create", "mongodb://localhost/shop", "postgresql://localhost/x", "{}", "here"
    )
    await runs.create_run_and_tables(connection, run, [TableLoad(0, NAMESPACE, USERS, "{}", 10, **load)], statements)


def _documents(batch: bytes) -> list[bytes]:
    found = []
    at = 0
    while at < len(batch):
        end = at + int.from_bytes(batch[at : at + 4], "little")
        found.append(batch[at:end])
        at = end
    return found
