"""The keys of a collection, as its table would have them, to find rows of the table that no document has.

They are written by all workers into one table of the ledger's schema that lives for one verification.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg

from engine.mapping.model import Column, ColumnType, Kind, Mapping
from engine.mapping.names import TableName, quote_identifier
from engine.postgres.compare import SHOWN_VALUE, key_definition
from engine.postgres.ddl import LEDGER_SCHEMA
from engine.postgres.queries import copy_tuples, one_row
from engine.rows import COPY_HEADER, COPY_TRAILER, Buffer, Piece

TABLE_PREFIX = "verify_"
MEMORY = "64MB"
"""work_mem for the search: hashes of some million keys stay in memory."""


BOUNDS, RANGES = TableName("pg_temp", "mongopg_bounds"), TableName("pg_temp", "mongopg_ranges")
"""Temporary tables of the search."""
_SORTED = frozenset({ColumnType.BIGINT, ColumnType.INTEGER, ColumnType.DOUBLE, ColumnType.NUMERIC, ColumnType.BOOLEAN,
                     ColumnType.TIMESTAMPTZ})  # fmt: skip
_SORTED_KINDS = frozenset({Kind.OBJECT_ID, Kind.STRING, Kind.UUID})
"""Kinds whose bytes sort the same on both sides, each by itself."""


@dataclass(frozen=True, slots=True)
class KeyRange:
    """A range of keys; its bounds are rows of `Bounds.piece`, None is no bound."""

    lower: int | None
    lower_inclusive: bool
    upper: int | None
    upper_inclusive: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    """Ranges of keys, of slices whose source changed."""

    piece: Piece
    ranges: tuple[KeyRange, ...]


@dataclass(frozen=True, slots=True)
class ExtraRow:
    """A row of the table whose key no document has."""

    key: str
    """The beginning of it, as text."""
    in_changed: bool | None
    """It lies in a slice whose source changed; None where that cannot be told."""


@dataclass(frozen=True, slots=True)
class ExtraRows:
    """All of them."""

    count: int
    in_changed: int | None
    """How many lie in slices whose source changed; None where that cannot be told."""
    rows: tuple[ExtraRow, ...]
    """The first few."""


def sorts_like_bson(mapping: Mapping) -> bool:
    """Keys sort in the table as MongoDB sorts them, apart from NaN and from collections with a collation."""
    key = mapping.id_column
    return key.type in _SORTED or (len(key.kinds) == 1 and key.kinds <= _SORTED_KINDS)


def keys_table(run_id: str, task_id: int) -> str:
    """Name of the table of keys of one task."""
    return f"{TABLE_PREFIX}{run_id}_{task_id}"


async def create(connection: asyncpg.Connection, name: str, target: TableName, mapping: Mapping) -> None:
    """Make a table for the keys of `target`; one that a killed verification left behind is dropped.

    A row without a key says that it is whole: it equals no key, and is gone when a crash of the server has emptied the table.
    """
    definition = await key_definition(connection, target, mapping.id_column)
    table = TableName(LEDGER_SCHEMA, name).sql
    await connection.execute(
        f"DROP TABLE IF EXISTS {table}; CREATE UNLOGGED TABLE {table} ({definition}); INSERT INTO {table} DEFAULT VALUES"
    )


async def is_whole(connection: asyncpg.Connection, name: str, mapping: Mapping) -> bool:
    """No crash of the server has emptied the table of keys since it was made."""
    table, key = TableName(LEDGER_SCHEMA, name).sql, quote_identifier(mapping.id_column.name)
    return bool(await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table} WHERE {key} IS NULL)"))  # noqa: S608 - quoted


async def drop(connection: asyncpg.Connection, name: str) -> None:
    """Drop the table of keys."""
    await connection.execute(f"DROP TABLE IF EXISTS {TableName(LEDGER_SCHEMA, name).sql}")


async def add(connection: asyncpg.Connection, name: str, mapping: Mapping, piece: Piece) -> None:
    """Write the keys of some documents; twice does no harm."""
    if piece.rows.row_ends:
        await copy_tuples(connection, TableName(LEDGER_SCHEMA, name), _tuples(piece), [mapping.id_column.name])


async def find_extra(
    connection: asyncpg.Connection, table: TableName, name: str, mapping: Mapping, changed: Bounds | None, limit: int
) -> ExtraRows:
    """Rows of `table` whose key is not among the keys.

    Args:
        connection: a session for this alone.
        table: the target.
        name: the table of keys.
        mapping: the run's.
        changed: where the source changed; None where that says nothing about a row.
        limit: so many rows are described.
    """
    key, keys = quote_identifier(mapping.id_column.name), TableName(LEDGER_SCHEMA, name).sql
    # Rows of tables that inherit from it are theirs; those of partitions are the table's.
    kind = await connection.fetchval("SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)", table.sql)
    only = "ONLY " if kind == "r" else ""
    is_changed = "NULL::boolean"
    await connection.execute(f"ANALYZE {keys}; SET work_mem = '{MEMORY}'")
    if changed is not None:
        await _make_ranges(connection, table, mapping, changed)
        is_changed = _in_ranges(mapping.id_column, f"t.{key}")
    row = await one_row(
        connection,
        "SELECT count(*) AS count, count(*) FILTER (WHERE changed) AS in_changed,"  # noqa: S608 - quoted names
        " array_agg(shown ORDER BY nth) FILTER (WHERE nth <= $1) AS keys,"
        " array_agg(changed ORDER BY nth) FILTER (WHERE nth <= $1) AS changed FROM ("
        f"SELECT left(t.{key}::text, {SHOWN_VALUE}) AS shown, {is_changed} AS changed, row_number() OVER () AS nth"
        f" FROM {only}{table.sql} t WHERE NOT EXISTS (SELECT FROM {keys} k WHERE k.{key} = t.{key})) extra",
        limit,
    )
    named = zip(row["keys"] or (), row["changed"] or (), strict=True)
    return ExtraRows(
        count=row["count"],
        in_changed=row["in_changed"] if changed is not None else None,
        rows=tuple(ExtraRow(shown, in_changed) for shown, in_changed in named),
    )


async def _make_ranges(connection: asyncpg.Connection, table: TableName, mapping: Mapping, changed: Bounds) -> None:
    """A temporary table of the ranges, with their bounds as keys."""
    key = quote_identifier(mapping.id_column.name)
    definition = await key_definition(connection, table, mapping.id_column)
    await connection.execute(f"CREATE TEMPORARY TABLE {quote_identifier(BOUNDS.table)} ({definition})")
    if changed.piece.rows.row_ends:
        await copy_tuples(connection, BOUNDS, _tuples(changed.piece))
    await connection.execute(
        f"CREATE TEMPORARY TABLE {quote_identifier(RANGES.table)} AS"  # noqa: S608 - quoted names
        f" WITH bound AS (SELECT {key} AS key, row_number() OVER (ORDER BY ctid) - 1 AS n FROM {BOUNDS.sql})"
        " SELECT low.key AS low, r.low_inclusive, high.key AS high, r.high_inclusive"
        " FROM unnest($1::bigint[], $2::boolean[], $3::bigint[], $4::boolean[])"
        " AS r (low, low_inclusive, high, high_inclusive)"
        " LEFT JOIN bound low ON low.n = r.low LEFT JOIN bound high ON high.n = r.high",
        [each.lower for each in changed.ranges],
        [each.lower_inclusive for each in changed.ranges],
        [each.upper for each in changed.ranges],
        [each.upper_inclusive for each in changed.ranges],
    )


def _in_ranges(column: Column, key: str) -> str:
    """SQL: a key lies in one of the ranges."""
    # MongoDB compares the bytes of strings, whatever the collation here.
    order = ' COLLATE "C"' if column.type is ColumnType.TEXT else ""
    low, high = f"r.low{order}", f"r.high{order}"
    return (
        f"EXISTS (SELECT FROM {RANGES.sql} r"
        f" WHERE (r.low IS NULL OR {key} > {low} OR (r.low_inclusive AND {key} = {low}))"
        f" AND (r.high IS NULL OR {key} < {high} OR (r.high_inclusive AND {key} = {high})))"
    )


async def _tuples(piece: Piece) -> AsyncIterator[Buffer]:
    yield COPY_HEADER
    yield piece.rows.copy
    yield COPY_TRAILER
