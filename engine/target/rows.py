"""Rows into a table by COPY, where a bad row costs one row.

All of a page goes in one COPY, as long as the table refuses nothing. When the server refuses it at row k, everything since
the savepoint is undone; the rows before k go again in one COPY, row k is left out, and those behind it follow in runs of
about twice the last run that went well. So the server takes a row in at most twice as long as errors name their row, and a
page of nothing but bad rows goes row by row instead of being sent whole for each of them. Errors that name no row (foreign
keys, which are checked at the end of a COPY, and the INSERT of an upsert) are found by halving.

Where bad rows keep coming, pages go in runs from the start, each behind a savepoint of its own: short enough that little is
undone with a bad row, long enough that a COPY is worth its round trips (`Caution`). Only a CHECK refuses no second row:
from then on COPY itself leaves out those that break its condition, and says which (`engine.target.guards`).
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import asyncpg

from engine.errors import MigrationError
from engine.mapping.names import quote_identifier
from engine.target.ddl import TableName, upsert
from engine.target.guards import Guards, Reports
from engine.target.page import COPY_HEADER, COPY_TRAILER, Buffer, CopyTarget, Page, Piece, Refusal, line_of
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


@dataclass(slots=True)
class Caution:
    """How often a table has refused rows lately, and how many to send it at once."""

    guards: Guards = field(default_factory=Guards)
    _rows: float = 0.0
    _refused: float = 0.0

    def note(self, n_rows: int, n_refused: int) -> None:
        """So many rows were sent, of which so many were refused."""
        fading = math.exp(-n_rows / MEMORY_ROWS)
        self._rows = self._rows * fading + n_rows
        self._refused = self._refused * fading + n_refused

    def forget(self) -> None:
        """What refused rows so far will do so no longer."""
        self._rows = self._refused = 0.0

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
    _reports: Reports = field(init=False)
    _where: str | None = field(init=False, default=None)
    """Of every COPY; None: to be asked for, in each transaction anew."""
    _has_learnt: bool = field(init=False, default=False)
    """In the page in hand: how often the table refused its rows says nothing of the next one."""

    def __post_init__(self) -> None:
        self._reports = Reports(self._into.table)

    @property
    def _into(self) -> TableName:
        """Where COPY writes to."""
        return UPSERT_PAGE if self.target.upsert_key else self.target.table

    async def prepare(self) -> None:
        """Whatever a transaction needs before its first page."""
        self._where = None
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
        self._has_learnt = False
        await self._prepare_guards()
        await self.connection.execute("SAVEPOINT page")
        refusals: list[Refusal] = []
        run_rows = self.caution.run_rows()
        self.connection.add_log_listener(self._reports)
        try:
            if run_rows:
                n_written = await self._send_runs(page, tuples, run_rows, refusals)
            else:
                n_written = await self._send_whole(page, first, tuples, refusals)
        finally:
            self.connection.remove_log_listener(self._reports)
        await self.connection.execute("RELEASE SAVEPOINT page")
        if not self._has_learnt:
            self.caution.note(page.n_rows, sum(not refusal.is_passed_by for refusal in refusals))
        refusals.sort(key=lambda refusal: refusal.row)
        return n_written, refusals

    async def _prepare_guards(self) -> None:
        """The WHERE of the next COPYs."""
        guards = self.caution.guards
        if guards.has_news:
            self.caution.forget()
            self._has_learnt = True
        if self._where is None or guards.has_news:
            self._where = await guards.where(self.connection, self.target.table, self._into, self.target.columns)

    async def _send_whole(self, page: Page, first: Buffer, rest: AsyncIterator[Buffer], refusals: list[Refusal]) -> int:
        """Write a page in one COPY while it comes; when it is refused, what is good of it. The number of rows written."""
        try:
            return await self._put(page, 0, None, self._stream(first, rest), refusals)
        except asyncpg.PostgresError as error:
            if not self._is_row_error(error):
                raise
            # asyncpg takes the source to its end before it raises, so the page is complete here.
            todo: list[tuple[int, int, bool]] = []
            n_good = self._split(0, page.n_rows, error, todo, refusals)
            await self._undo()
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
                n_written += await self._put(page, first, end, _rows(page.tuples(first, end)), refusals)
            except asyncpg.PostgresError as error:
                if not self._is_row_error(error):
                    raise
                n_good = self._split(first, end, error, todo, refusals)
                await self._undo()
                run_rows = _within(max(2 * n_good, run_rows // 2), most)
            else:
                await self.connection.execute("RELEASE SAVEPOINT page; SAVEPOINT page")
                run_rows = run_rows if is_proven else _within(2 * run_rows, most)
        return n_written

    async def _undo(self) -> None:
        """Back to the savepoint, with a WHERE for what comes now."""
        await self.connection.execute("ROLLBACK TO SAVEPOINT page")
        if self.caution.guards.has_news:
            # What the WHERE calls must outlive the next way back.
            await self.connection.execute("RELEASE SAVEPOINT page")
            await self._prepare_guards()
            await self.connection.execute("SAVEPOINT page")

    def _split(
        self,
        first: int,
        end: int,
        error: asyncpg.PostgresError,
        todo: list[tuple[int, int, bool]],
        refusals: list[Refusal],
    ) -> int:
        """Divide a refused range around the row at fault; how many rows before it were good."""
        self.caution.guards.note(error, _refusal(first, error))
        line = line_of(error.context or "", self._into.table)
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

    async def _put(
        self, page: Page, first: int, end: int | None, source: AsyncIterator[Buffer], refusals: list[Refusal]
    ) -> int:
        """One COPY, followed by the INSERT of an upsert; the number of rows that the target took.

        Args:
            first: of the rows of `page` that `source` has.
            end: of them; None: the page's end, when `source` has come to its own.
            source: what COPY reads.
            refusals: rows that COPY passes by are added.

        Raises:
            asyncpg.PostgresError: the server refuses a row, or something else is wrong.
            MigrationError: it left rows out without naming them.
        """
        self._reports.rows.clear()
        status = await self.connection.copy_to_table(
            self._into.table,
            schema_name=self._into.schema,
            columns=self.target.columns,
            source=source,
            format="binary",
            where=self._where or None,
        )
        passed_by = [self.caution.guards.refusal(number, first + row) for number, row in self._reports.rows]
        if self._where and _count(status) + len(passed_by) != (page.n_rows if end is None else end) - first:
            raise MigrationError(
                f"PostgreSQL left rows out of a COPY to table {self.target.table} without naming them."
            )
        if self.target.upsert_key:
            status = await self.connection.execute(
                upsert(self.target.table, UPSERT_PAGE, self.target.columns, self.target.upsert_key)
            )
            await self.connection.execute(f"TRUNCATE {UPSERT_PAGE.sql}")
        refusals += passed_by
        return _count(status)

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


def _count(status: str) -> int:
    """The rows of a command tag, such as `COPY 8000`."""
    return int(status.rpartition(" ")[2])


def _within(rows: int, most: int) -> int:
    return max(1, min(rows, most))


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
