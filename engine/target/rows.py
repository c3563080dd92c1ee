"""Rows into a table by COPY, where a bad row costs one row.

All of a page goes in one COPY. When the server refuses it at row k, everything since the savepoint is undone; the rows
before k go again in one COPY, row k is left out, and those behind it follow in runs of about twice the last run that went
well. So the server takes a row in at most twice as long as errors name their row, and a page of nothing but bad rows goes
row by row instead of being sent whole for each of them. Errors that name no row (foreign keys, which are checked at the
end of a COPY, and the INSERT of an upsert) are found by halving.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import asyncpg

from engine.mapping.names import quote_identifier
from engine.target.ddl import TableName, upsert
from engine.target.page import COPY_HEADER, COPY_TRAILER, Buffer, CopyTarget, Page, Piece
from engine.target.sqlstates import CARDINALITY_VIOLATION, UNIQUE_VIOLATION, condition_name, is_data_error, sqlstate_of

UNPROVEN_ROWS = 1024
"""Rows sent at once behind a bad one, at most."""
UPSERT_PAGE = TableName("pg_temp", "mongopg_page")
"""Where rows of an upsert are collected; gone at COMMIT."""
_COLUMN = re.compile(r"column \"?([^\s\":]+)")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that the server refuses."""

    row: int
    """Number within the page."""
    reason: str
    """PostgreSQL's condition name."""
    sqlstate: str
    column: str
    """Empty when the server names none."""
    detail: str


@dataclass(slots=True)
class RowSender:
    """Sends pages over a connection that stands in a transaction."""

    connection: asyncpg.Connection
    target: CopyTarget

    async def prepare(self) -> None:
        """Whatever a transaction needs before its first page."""
        if self.target.upsert_key:
            columns = ", ".join(quote_identifier(column) for column in self.target.columns)
            rows = f"SELECT {columns} FROM {self.target.table.sql}"  # noqa: S608 - quoted names
            await self.connection.execute(
                f"CREATE TEMPORARY TABLE {quote_identifier(UPSERT_PAGE.table)} ON COMMIT DROP AS {rows} WITH NO DATA"
            )

    async def send(self, page: Page, pieces: AsyncIterator[Piece]) -> tuple[int, list[Refusal]]:
        """Write a page while it comes: the number of rows that the table took, and the rows it refused, in order.

        Args:
            page: empty; holds the pieces afterwards.
            pieces: of the page.
        """
        tuples = page.collect(pieces)
        first = await anext(tuples, None)
        if first is None:
            return 0, []
        await self.connection.execute("SAVEPOINT page")
        refusals: list[Refusal] = []
        try:
            n_written = await self._put(self._stream(first, tuples))
        except asyncpg.PostgresError as error:
            if not self._is_row_error(error):
                raise
            # asyncpg takes the source to its end before it raises, so the page is complete here.
            n_written = await self._sort_out(page, error, refusals)
        await self.connection.execute("RELEASE SAVEPOINT page")
        refusals.sort(key=lambda refusal: refusal.row)
        return n_written, refusals

    async def _sort_out(self, page: Page, error: asyncpg.PostgresError, refusals: list[Refusal]) -> int:
        """Write what is good of a page that was refused; the number of rows written."""
        n_written = 0
        good_run = UNPROVEN_ROWS
        todo: list[tuple[int, int, bool]] = []
        """Ranges of rows, the next one last; True for those that stood before a bad row."""
        first, end = 0, page.n_rows
        failure: asyncpg.PostgresError | None = error
        while True:
            if failure is not None:
                await self.connection.execute("ROLLBACK TO SAVEPOINT page")
                good_run = self._split(first, end, failure, todo, refusals)
            if not todo:
                return n_written
            first, end, is_proven = todo.pop()
            limit = first + max(2 * good_run, 1)
            if not is_proven and end > limit:
                todo.append((limit, end, False))
                end = limit
            failure = None
            try:
                n_written += await self._put(_rows(page.tuples(first, end)))
            except asyncpg.PostgresError as again:
                if not self._is_row_error(again):
                    raise
                failure = again
            else:
                await self.connection.execute("RELEASE SAVEPOINT page; SAVEPOINT page")
                good_run = min(max(good_run, end - first), UNPROVEN_ROWS)

    def _split(
        self,
        first: int,
        end: int,
        error: asyncpg.PostgresError,
        todo: list[tuple[int, int, bool]],
        refusals: list[Refusal],
    ) -> int:
        """Divide a refused range around the row at fault; how many rows before it were good."""
        copied_to = UPSERT_PAGE if self.target.upsert_key else self.target.table
        line = line_of(error.context or "", copied_to.table)
        if end - first == 1:
            bad = first
        elif line is not None and 1 <= line <= end - first:
            bad = first + line - 1
        else:
            middle = (first + end) // 2
            todo += [(middle, end, True), (first, middle, True)]
            return min(middle - first, UNPROVEN_ROWS)
        refusals.append(_refusal(bad, error))
        if bad + 1 < end:
            todo.append((bad + 1, end, False))
        if first < bad:
            todo.append((first, bad, True))
        return bad - first

    async def _put(self, source: AsyncIterator[Buffer]) -> int:
        """One COPY, followed by the INSERT of an upsert; the number of rows that the target took."""
        into = UPSERT_PAGE if self.target.upsert_key else self.target.table
        status = await self.connection.copy_to_table(
            into.table, schema_name=into.schema, columns=self.target.columns, source=source, format="binary"
        )
        if self.target.upsert_key:
            status = await self.connection.execute(
                upsert(self.target.table, UPSERT_PAGE, self.target.columns, self.target.upsert_key)
            )
            await self.connection.execute(f"TRUNCATE {UPSERT_PAGE.sql}")
        return int(status.rpartition(" ")[2])

    async def _stream(self, first: Buffer, rest: AsyncIterator[Buffer]) -> AsyncIterator[Buffer]:
        yield COPY_HEADER
        yield first
        async for tuples in rest:
            if self.connection.is_closed():
                return  # asyncpg would read the page to its end before it says so
            yield tuples
        yield COPY_TRAILER

    def _is_row_error(self, error: asyncpg.PostgresError) -> bool:
        # Two rows of one upsert with the same key: apart, the later one wins, as it does between slices.
        twice = bool(self.target.upsert_key) and sqlstate_of(error) == CARDINALITY_VIOLATION
        return twice or is_data_error(error)


def line_of(context: str, table: str) -> int | None:
    """The line of a COPY at which an error arose, 1 being the first row; None when the context does not say.

    The context is localised ("COPY users, line 7", "COPY users, Zeile 7"), but the line is always the first number after
    the table's name. What begins like PostgreSQL's own words is believed before the rest, which may quote values.
    """
    name = re.escape(table)
    own = re.search(rf"(?m)^COPY {name}\D+(\d+)", context)
    found = own or re.search(rf"{name}\D+(\d+)", context)
    return int(found[1]) if found else None


def _refusal(row: int, error: asyncpg.PostgresError) -> Refusal:
    in_context = _COLUMN.search(error.context or "")
    return Refusal(
        row=row,
        reason=condition_name(error),
        sqlstate=sqlstate_of(error),
        column=error.column_name or (in_context[1] if in_context else ""),
        # DETAIL quotes the whole row, except here, where it names the key that both rows have.
        detail=" ".join(filter(None, (error.args[0], error.detail if error.sqlstate == UNIQUE_VIOLATION else ""))),
    )


async def _rows(runs: Iterable[Buffer]) -> AsyncIterator[Buffer]:
    yield COPY_HEADER
    for tuples in runs:
        yield tuples
    yield COPY_TRAILER
