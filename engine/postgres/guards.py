"""CHECK constraints that rows break: COPY passes such rows by and says which, instead of ending at each of them.

A row that a CHECK refuses ends its COPY, and what was sent with it goes again. So once a constraint has refused a row, its
condition goes into COPY's WHERE, which PostgreSQL looks at before the constraints::

    COPY users (...) FROM STDIN (FORMAT binary) WHERE (n > 0) IS NOT FALSE OR pg_temp.mongopg_refused(0)

The function is called for the rows that break the condition alone. It leaves them out and raises a message of level INFO,
which no setting suppresses and no server logs by default, and whose context names the line of the COPY.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg

from engine.mapping.names import TableName
from engine.postgres.page import Refusal, line_of
from engine.postgres.sqlstates import CHECK_VIOLATION, sqlstate_of
from engine.rows import COPY_HEADER, COPY_TRAILER

_FUNCTION = "pg_temp.mongopg_refused"
_MARK = "mongopg refused "
_CREATE_FUNCTION = (
    # Not volatile: COPY would take rows one by one.
    f"CREATE FUNCTION {_FUNCTION}(guard integer) RETURNS boolean LANGUAGE plpgsql STABLE AS"
    f" $$ BEGIN RAISE INFO '{_MARK}%', guard; RETURN false; END $$"
)
_CONDITIONS = """
    SELECT c.conname, pg_get_expr(c.conbin, c.conrelid) FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
    WHERE c.conrelid = to_regclass($1) AND c.conname = ANY($2) AND c.contype = 'c' AND t.relkind = 'r'
    AND NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = t.oid AND NOT tgisinternal AND tgenabled <> 'D' AND tgtype & 7 = 7
    )
    AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = t.oid AND attgenerated <> '')
    AND NOT EXISTS (
        SELECT FROM pg_depend d JOIN pg_proc p ON p.oid = d.refobjid
        WHERE d.classid = 'pg_constraint'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_proc'::regclass
        AND p.provolatile <> 'i'
    )
    ORDER BY c.conname
"""
"""The conditions of constraints, where a row is the same in the WHERE and in the constraint: triggers before each row (bits 1,
2 and 4 of their type: for each row, before, at INSERT) and generated columns would change it. What a condition calls must say
the same whenever it is called, too: a function that reads a table may have let the row in a moment later."""


@dataclass(slots=True)
class Guards:
    """The constraints of one table that COPY is to look at in its WHERE; for one connection after the other."""

    has_news: bool = False
    """A constraint has refused its first row since `where` was asked."""
    _examples: dict[str, Refusal] = field(default_factory=dict)
    """By name of each constraint of the table that has refused a row: what became of that row, and so becomes of others."""
    _usable: dict[str, bool] = field(default_factory=dict)
    """By name, whether PostgreSQL takes its condition in a WHERE."""
    _names: list[str] = field(default_factory=list)
    """Of the constraints in the WHERE; their places are the numbers that are reported."""

    def note(self, error: asyncpg.PostgresError, refusal: Refusal, table: TableName) -> None:
        """A row was refused, though perhaps by another table, into which a trigger of this one writes."""
        name = error.constraint_name
        is_own = (error.schema_name, error.table_name) == (table.schema, table.table)
        if sqlstate_of(error) == CHECK_VIOLATION and is_own and name and name not in self._examples:
            self._examples[name] = refusal
            self.has_news = True

    async def where(
        self, connection: asyncpg.Connection, table: TableName, into: TableName, columns: tuple[str, ...]
    ) -> str:
        """What the WHERE of the next COPYs has to say; empty when there is nothing to look at.

        Args:
            connection: in a transaction; the WHERE is good until that ends.
            table: that has the constraints, as they are now.
            into: where COPY writes to, a table with the same columns.
            columns: that COPY writes.
        """
        self.has_news = False
        self._names = []
        if not self._examples:
            return ""
        rows = await connection.fetch(_CONDITIONS, table.sql, list(self._examples))
        conditions: dict[str, str] = {row[0]: row[1] for row in rows}
        for name, condition in conditions.items():
            if name not in self._usable:
                self._usable[name] = await _is_taken(connection, into, columns, _guarded([condition]))
        self._names = [name for name in conditions if self._usable[name]]
        where = _guarded([conditions[name] for name in self._names])
        if where and not await _is_taken(connection, into, columns, where):
            self._names = []
            return ""
        return where

    def refusal(self, number: int, row: int) -> Refusal:
        """What becomes of a row that breaks a condition, by the number that was reported."""
        return replace(self._examples[self._names[number]], row=row, is_passed_by=True)


def _guarded(conditions: Sequence[str]) -> str:
    return " AND ".join(
        f"(({condition}) IS NOT FALSE OR {_FUNCTION}({number}))" for number, condition in enumerate(conditions)
    )


async def _is_taken(connection: asyncpg.Connection, into: TableName, columns: tuple[str, ...], where: str) -> bool:
    """Whether PostgreSQL takes the WHERE: conditions may be about columns that it may not name or that `into` does not have,
    and not every role may make temporary functions. Bad rows are then found by the errors that end their COPY."""
    await connection.execute("SAVEPOINT guards")
    try:
        if await connection.fetchval(f"SELECT to_regprocedure('{_FUNCTION}(integer)') IS NULL"):
            await connection.execute(_CREATE_FUNCTION)
        await connection.copy_to_table(
            into.table, schema_name=into.schema, columns=columns, source=_no_rows(), format="binary", where=where
        )
    except asyncpg.PostgresError:
        await connection.execute("ROLLBACK TO SAVEPOINT guards")
        return False
    await connection.execute("RELEASE SAVEPOINT guards")
    return True


@dataclass(slots=True, eq=False)
class Reports:
    """Listens to a connection for the rows that COPY passes by."""

    table: str
    """Name of the table that COPY writes to."""
    rows: list[tuple[int, int]] = field(default_factory=list)
    """For each row passed by, the number of its condition, and its number within the COPY, from 0."""

    def __call__(self, _connection: Any, message: Any) -> None:
        """Take a message of the server's."""
        if message.message.startswith(_MARK):
            line = line_of(message.context or "", self.table)
            if line is not None:
                self.rows.append((int(message.message.removeprefix(_MARK)), line - 1))


async def _no_rows() -> AsyncIterator[bytes]:
    yield COPY_HEADER
    yield COPY_TRAILER
