"""Rows as they should be against rows as they are, by key: PostgreSQL compares, so that equal means what it means to it.

A page of rows is copied into a temporary table that is emptied at COMMIT, and one anti-join finds those without an equal
row in the target::

    BEGIN; COPY page; SELECT ... WHERE NOT EXISTS (same key and every column IS NOT DISTINCT FROM); COMMIT

Numbers are compared by value (1.0 is 1.00, -0.0 is 0.0, NaN is NaN), jsonb as parsed, json the same way, text byte by
byte whatever collation its column has. First, though, doubles, numerics and JSON are compared by their stored bytes
(`record_image_eq`): a row whose values are equal in another spelling only (1.5 for 1.50) is no difference, but is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import asyncpg

from engine.mapping.model import Column, ColumnType, Mapping, Role
from engine.mapping.names import TableName, quote_identifier
from engine.postgres import tables
from engine.postgres.page import CopyTarget, Page, Refusal
from engine.postgres.rows import RowSender
from engine.postgres.sqlstates import one_line
from engine.postgres.tables import ExistingColumn
from engine.rows import Piece

PAGE_TABLE = "mongopg_compare"
"""Where a page is collected, among the session's temporary tables."""
SHOWN_VALUE = 80
"""Characters of a value in a report."""
SESSION = (
    # The keys of one page are looked up in a table of any size: always by its index, never by reading all of it.
    "SET jit = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET temp_buffers = '32MB'"
)
"""Settings of a session that compares, made before its first temporary table."""
WITHOUT_INDEX = "SET enable_hashjoin = on"
"""Where no index leads to the key: reading the whole table for every page is then the best there is."""

_NUMBERS = frozenset({"smallint", "integer", "bigint", "numeric", "double precision", "real"})
_TEXTS = frozenset({"text", "character varying", "citext", "character"})
_JSON = frozenset({"json", "jsonb"})
_SPELLED = frozenset({ColumnType.DOUBLE, ColumnType.NUMERIC, ColumnType.JSON, ColumnType.JSONB})
"""Types whose equal values may be spelled differently."""
_TIMES = frozenset({"timestamp with time zone", tables.WITHOUT_ZONE})


@dataclass(frozen=True, slots=True)
class ValueDifference:
    """A column in which two rows differ; values as text of at most `SHOWN_VALUE` characters, None is NULL."""

    column: str
    expected: str | None
    found: str | None
    field: str = ""
    """Dotted path of the value inside the column; empty when the column is meant."""
    reason: str = ""
    """In words, where the values do not say it."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A row that has no equal in the target."""

    row: int
    """Number within the page."""
    is_there: bool
    """The target has a row of this key."""
    values: tuple[ValueDifference, ...] = ()
    """The first few columns that differ, for rows that were looked at closely."""


@dataclass(slots=True)
class ComparedPage:
    """A page, and what is wrong with it."""

    page: Page = field(default_factory=Page)
    refusals: list[Refusal] = field(default_factory=list)
    """Rows that their own column types do not take."""
    problems: list[RowProblem] = field(default_factory=list)
    respelled: Counter[str] = field(default_factory=Counter)
    """Columns -> rows in which its value is equal, but spelled in another way."""


@dataclass(slots=True)
class Comparer:
    """Compares pages of one mapping with one table; `open` first, `close` before another takes its name."""

    connection: asyncpg.Connection
    """Used for nothing else, prepared by `SESSION`."""
    table: TableName
    mapping: Mapping
    name: str = PAGE_TABLE
    shows_values: bool = True
    """False keeps values out of every report."""
    _page: TableName = field(init=False)
    _sender: RowSender = field(init=False)
    _find: asyncpg.prepared_stmt.PreparedStatement | None = field(init=False, default=None)
    _same: list[str] = field(init=False, default_factory=list)
    """For each column but the key, the SQL that is true when both rows have the same value."""
    _spelled: list[str] = field(init=False, default_factory=list)
    """Columns that are compared by their stored bytes first."""
    looser: dict[str, str] = field(init=False, default_factory=dict)
    """Columns with numbers whose type is another now, so that they are compared by value only: name -> type."""

    def __post_init__(self) -> None:
        self._page = TableName("pg_temp", self.name)
        columns = tuple(column.name for column in self.mapping.columns)
        self._sender = RowSender(self.connection, CopyTarget(self._page, columns, ""))

    async def open(self) -> None:
        """Make the temporary table and prepare the statement.

        Raises:
            MigrationError, UsageError: the table is gone, or is none any more.
            asyncpg.PostgresError: its columns cannot be compared with the mapping's; `misfits` says so before.
        """
        existing = {column.name: column for column in await tables.describe_table(self.connection, self.table)}
        definitions = [
            f"{quote_identifier(column.name)} {_type_beside(column, existing[column.name])}" for column in self._others
        ]
        definitions.append(await key_definition(self.connection, self.table, self._key))
        await self.connection.execute(
            f"CREATE TEMPORARY TABLE {quote_identifier(self.name)} ({', '.join(definitions)}) ON COMMIT DELETE ROWS"
        )
        self._same = [_same(column, existing[column.name]) for column in self._others]
        if not await has_index(self.connection, self.table, self._key.name):
            await self.connection.execute(WITHOUT_INDEX)
        for column in self.mapping.columns:
            found = existing[column.name]
            if column.type in _SPELLED and tables.spelling(column.sql_type) == found.base:
                self._spelled.append(column.name)
            elif column.type in _SPELLED:
                self.looser[column.name] = one_line(found.type)
        same = zip(self._others, self._same, strict=True)
        loose = [condition for column, condition in same if column.name not in self._spelled]
        conditions = " AND ".join([self._join, *self._images(self._spelled), *loose])
        self._find = await self.connection.prepare(
            f"SELECT s.ctid FROM {self._page.sql} s"  # noqa: S608 - quoted names
            f" WHERE NOT EXISTS (SELECT FROM {self.table.sql} t WHERE {conditions})"
        )

    async def close(self) -> None:
        """Drop the temporary table."""
        await self.connection.execute(f"DROP TABLE IF EXISTS {self._page.sql}")

    async def compare(self, pieces: AsyncIterator[Piece], *, details: int) -> ComparedPage:
        """Compare the rows of a page, in a transaction of its own; see `look`."""
        await self.connection.execute("BEGIN")
        result = await self.look(pieces, details=details)
        await self.connection.execute("COMMIT")
        return result

    async def look(self, pieces: AsyncIterator[Piece], *, details: int) -> ComparedPage:
        """Compare the rows of a page, the only one of a transaction that is open.

        Args:
            pieces: of the page.
            details: of so many rows that differ, say which values do.

        Raises:
            asyncpg.PostgresError: an error that is not one row's fault.
        """
        assert self._find is not None
        result = ComparedPage()
        _, result.refusals = await self._sender.send(result.page, pieces)
        places = [row[0] for row in await self._find.fetch()]
        if places and self._spelled:
            places = await self._unequal(places, result.respelled)
        if places:
            result.problems = await self._look_closely(result, places, details)
        return result

    @property
    def _key(self) -> Column:
        return self.mapping.id_column

    @property
    def _others(self) -> list[Column]:
        return [column for column in self.mapping.columns if column is not self._key]

    @property
    def _join(self) -> str:
        key = quote_identifier(self._key.name)
        return f"t.{key} = s.{key}"

    def _images(self, names: Sequence[str]) -> list[str]:
        """SQL that is true when these columns of both rows have the same bytes; nothing for no columns."""
        if not names:
            return []
        types = {column.name: column.sql_type for column in self.mapping.columns}
        # A cast, as columns may be of a domain over the type.
        sides = (", ".join(f"{side}.{quote_identifier(name)}::{types[name]}" for name in names) for side in "ts")
        rows = ", ".join(f"ROW({side})" for side in sides)
        return [f"record_image_eq({rows})"]

    async def _unequal(self, places: Sequence[object], respelled: Counter[str]) -> list[object]:
        """Those of some rows that have no row of equal values; the columns of the others are counted."""
        images = ", ".join(image for name in self._spelled for image in self._images([name]))
        conditions = " AND ".join([self._join, *self._same])
        rows = await self.connection.fetch(
            f"SELECT DISTINCT ON (s.ctid) s.ctid AS place, ARRAY[{images}] AS same"  # noqa: S608 - quoted names
            f" FROM {self._page.sql} s JOIN {self.table.sql} t ON {conditions} WHERE s.ctid = ANY($1::tid[])"
            " ORDER BY s.ctid",
            places,
        )
        for row in rows:
            respelled.update(name for name, same in zip(self._spelled, row["same"], strict=True) if not same)
        equal = {row["place"] for row in rows}
        return [place for place in places if place not in equal]

    async def _look_closely(self, result: ComparedPage, places: Sequence[object], details: int) -> list[RowProblem]:
        """Which rows of the page these are, whether the target has their keys, and in what some of them differ."""
        key = quote_identifier(self._key.name)
        found = await self.connection.fetch(
            f"SELECT s.n, s.place, EXISTS (SELECT FROM {self.table.sql} t WHERE t.{key} = s.key) AS is_there"  # noqa: S608
            f" FROM (SELECT {key} AS key, ctid AS place, row_number() OVER (ORDER BY ctid) - 1 AS n"
            f" FROM {self._page.sql}) s WHERE s.place = ANY($1::tid[]) ORDER BY s.n",
            places,
        )
        refused = {refusal.row for refusal in result.refusals}
        # Rows lie in the table in the order of the page, apart from those that it refused.
        rows = [row for row in range(result.page.n_rows) if row not in refused]
        problems = []
        for each in found:
            values: tuple[ValueDifference, ...] = ()
            if each["is_there"] and details > 0:
                details -= 1
                values = await self._differences(each["place"])
            problems.append(RowProblem(rows[each["n"]], each["is_there"], values))
        return problems

    async def _differences(self, place: object) -> tuple[ValueDifference, ...]:
        """In what a row differs from the target's of its key."""
        columns = self._others
        if not columns:
            return ()
        expected, stored = self._texts("s"), self._texts("t")
        row = await self.connection.fetchrow(
            f"SELECT ARRAY[{', '.join(self._same)}] AS same, ARRAY[{expected}] AS expected, ARRAY[{stored}] AS stored"  # noqa: S608
            f" FROM {self._page.sql} s JOIN {self.table.sql} t ON {self._join} WHERE s.ctid = $1 LIMIT 1",
            place,
        )
        if row is None:
            return ()
        each = zip(columns, row["same"], row["expected"], row["stored"], strict=True)
        return tuple(
            ValueDifference(column.name, shown_value(expected), shown_value(found))
            for column, same, expected, found in each
            if not same
        )

    def _texts(self, side: str) -> str:
        """SQL for the beginnings of the values of all columns but the key."""
        if not self.shows_values:
            return ", ".join(["NULL::text"] * len(self._others))
        return ", ".join(
            f"left({side}.{quote_identifier(column.name)}::text, {SHOWN_VALUE + 1})" for column in self._others
        )


def misfits(mapping: Mapping, existing: Sequence[ExistingColumn]) -> list[str]:
    """Why a table with these columns cannot be compared with the mapping's rows: a sentence each; empty when it can.

    A column that was widened since (integer to bigint, varchar to text, json to jsonb) can be.
    """
    by_name = {column.name: column for column in existing}
    problems = []
    for column in mapping.columns:
        found = by_name.get(column.name)
        name = f"Column {one_line(column.name)}"
        if found is None:
            problems.append(f"{name} ({column.sql_type}) is missing.")
        elif not _comparable(column, found):
            problems.append(f"{name} is {one_line(found.type)} now, the run wrote {column.sql_type}.")
    return problems


async def key_definition(connection: asyncpg.Connection, table: TableName, key: Column) -> str:
    """SQL for a column of another table that the keys of `table` can be compared with, so that its index can be used."""
    collation = await connection.fetchval(
        "SELECT format('%I.%I', n.nspname, c.collname) FROM pg_attribute a"
        " JOIN pg_collation c ON c.oid = a.attcollation JOIN pg_namespace n ON n.oid = c.collnamespace"
        " WHERE a.attrelid = to_regclass($1) AND a.attname = $2 AND c.collname <> 'default'",
        table.sql, key.name,
    )  # fmt: skip
    existing = await tables.describe_table(connection, table)
    type_ = next((_type_beside(key, found) for found in existing if found.name == key.name), key.sql_type)
    definition = f"{quote_identifier(key.name)} {type_}"
    return f"{definition} COLLATE {collation}" if collation and key.type is ColumnType.TEXT else definition


async def has_index(connection: asyncpg.Connection, table: TableName, column: str) -> bool:
    """An index over the whole table begins with this column, so that rows can be looked up by it."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
            " AND a.attnum = i.indkey[0] WHERE i.indrelid = to_regclass($1) AND a.attname = $2 AND i.indisvalid"
            " AND i.indpred IS NULL)",
            table.sql, column,
        )
    )  # fmt: skip


def _comparable(column: Column, found: ExistingColumn) -> bool:
    wanted = tables.spelling(column.sql_type)
    return (
        wanted == found.base
        or any(wanted in family and found.base in family for family in (_NUMBERS, _TEXTS, _JSON, _TIMES))
        or (column.role is not Role.ID and wanted == "text" and bool(found.labels))
    )


def _type_beside(column: Column, found: ExistingColumn) -> str:
    """The type of a column whose values are to be compared with those of a table's: a time of UTC without a zone stays one,
    since PostgreSQL would compare it with others as one of the session's zone; what has the limits that the run knew stays
    what it is, so that equal values have the same bytes and keys find their index."""
    if found.base == tables.WITHOUT_ZONE and not column.array:
        return found.base
    is_known = bool(column.labels or column.is_padded or column.precision)
    return found.type if is_known and column == column.model_copy(update=tables.limits(found)) else column.sql_type


def _same(column: Column, found: ExistingColumn) -> str:
    name = quote_identifier(column.name)
    cast = ""
    if column.type is ColumnType.JSON or found.base == "json":
        cast = "::jsonb"
    elif column.type is ColumnType.TEXT:
        # With the column's own collation, texts that are not the same bytes may be equal.
        cast = f'::{column.sql_type} COLLATE "C"'
    return f"t.{name}{cast} IS NOT DISTINCT FROM s.{name}{cast}"


def shown_value(value: str | None) -> str | None:
    """The beginning of a value, as reports have it."""
    return value if value is None or len(value) <= SHOWN_VALUE else value[: SHOWN_VALUE - 1] + "…"
