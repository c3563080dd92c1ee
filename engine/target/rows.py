"""Rows into a table by COPY, where a bad row costs one row.

All of a page goes in one COPY, as long as the table refuses nothing. When the server refuses it at row k, everything since
the savepoint is undone; the rows before k go again in one COPY, row k is left out, and those behind it follow in runs of
about twice the last run that went well. So the server takes a row in at most twice as long as errors name their row, and a
page of nothing but bad rows goes row by row instead of being sent whole for each of them. Errors that name no row (foreign
keys, which are checked at the end of a COPY, and the INSERT of an upsert) are found by halving.

Where bad rows keep coming, pages go in runs from the start, each behind a savepoint of its own: short enough that little is
undone with a bad row, long enough that a COPY is worth its round trips (`Caution`).
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import asyncpg

from engine.mapping.names import quote_identifier
from engine.target.ddl import TableName, upsert
from engine.target.page import COPY_HEADER, COPY_TRAILER, Buffer, CopyTarget, Page, Piece
from engine.target.sqlstates import CARDINALITY_VIOLATION, UNIQUE_VIOLATION, condition_name, is_data_error, sqlstate_of

UNPROVEN_ROWS = 2_048
"""Rows sent at once behind the first bad one of a page, at most."""
COPY_COST_ROWS = 110
"""What a COPY with its savepoint costs, in rows of middling size that the two processes deal with in the meantime."""
MEMORY_ROWS = 50_000
"""How often the table refused rows is remembered for about so many of them."""
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
class Caution:
    """How often a table has refused rows lately, and how many to send it at once."""

    _rows: float = 0.0
    _refused: float = 0.0

    def note(self, n_rows: int, n_refused: int) -> None:
        """So many rows were sent, of which so many were refused."""
        fading = math.exp(-n_rows / MEMORY_ROWS)
        self._rows = self._rows * fading + n_rows
        self._refused = self._refused * fading + n_refused

    def run_rows(self) -> int:
        """Rows that go in one COPY; 0 is all of a page.

        With a share of p bad rows, a run of n costs a COPY for n rows, and n / 2 rows that go twice for each of p n: the
        sum is least at n = sqrt(2 COPY_COST_ROWS / p).
        """
        if self._refused < 1:
            return 0
        return math.ceil(math.sqrt(2 * COPY_COST_ROWS * self._rows / self._refused))


@dataclass(slots=True)
class RowSender:
    """Sends pages over a connection that stands in a transaction."""

    connection: asyncpg.Connection
    target: CopyTarget
    caution: Caution = field(default_factory=Caution)
    """Outlives the sender where its table gets another one."""

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
        run_rows = self.caution.run_rows()
        if run_rows:
            n_written = await self._send_runs(page, tuples, run_rows, refusals)
        else:
            n_written = await self._send_whole(page, first, tuples, refusals)
        await self.connection.execute("RELEASE SAVEPOINT page")
        self.caution.note(page.n_rows, len(refusals))
        refusals.sort(key=lambda refusal: refusal.row)
        return n_written, refusals

    async def _send_whole(self, page: Page, first: Buffer, rest: AsyncIterator[Buffer], refusals: list[Refusal]) -> int:
        """Write a page in one COPY while it comes; when it is refused, what is good of it. The number of rows written."""
        try:
            return await self._put(self._stream(first, rest))
        except asyncpg.PostgresError as error:
            if not self._is_row_error(error):
                raise
            # asyncpg takes the source to its end before it raises, so the page is complete here.
            await self.connection.execute("ROLLBACK TO SAVEPOINT page")
            todo: list[tuple[int, int, bool]] = []
            n_good = self._split(0, page.n_rows, error, todo, refusals)
            return await self._sort_out(page, todo, _within(2 * n_good, UNPROVEN_ROWS), UNPROVEN_ROWS, refusals)

    async def _send_runs(self, page: Page, rest: AsyncIterator[Buffer], run_rows: int, refusals: list[Refusal]) -> int:
        """Write what is good of a page in runs of so many rows, each piece when it has come; the number of rows written."""
        n_written, first = 0, 0
        while True:
            todo = [(first, page.n_rows, False)]
            first = page.n_rows
            n_written += await self._sort_out(page, todo, run_rows, run_rows, refusals)
            if await anext(rest, None) is None:
                return n_written

    async def _sort_out(
        self, page: Page, todo: list[tuple[int, int, bool]], run_rows: int, most: int, refusals: list[Refusal]
    ) -> int:
        """Write what is good of some rows of a page; the number of rows written.

        Args:
            todo: ranges of rows, the next one last; True for those that stood before a bad row.
            run_rows: as many unproven rows are sent at once; fewer where they are bad, then more again.
            most: rows that runs grow to.
        """
        n_written = 0
        while todo:
            first, end, is_proven = todo.pop()
            limit = first + run_rows
            if not is_proven and end > limit:
                todo.append((limit, end, False))
                end = limit
            try:
                n_written += await self._put(_rows(page.tuples(first, end)))
            except asyncpg.PostgresError as error:
                if not self._is_row_error(error):
                    raise
                await self.connection.execute("ROLLBACK TO SAVEPOINT page")
                n_good = self._split(first, end, error, todo, refusals)
                run_rows = _within(max(2 * n_good, run_rows // 2), most)
            else:
                await self.connection.execute("RELEASE SAVEPOINT page; SAVEPOINT page")
                run_rows = run_rows if is_proven else _within(2 * run_rows, most)
        return n_written

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
            return middle - first
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


def _within(rows: int, most: int) -> int:
    return max(1, min(rows, most))


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
