"""Rows into a table by COPY, where a bad row costs one row.

All of a page goes in one COPY, as long as the table refuses nothing. When the server refuses it, everything since the
savepoint is undone. What the server says of the place is a hint: where it names row k, the rows before k go again in one
COPY, row k goes alone, and those behind it follow in runs of about twice the last run that went well. Where it names none
(foreign keys and triggers, which are looked at when a COPY has ended, and the INSERT of an upsert), or named a row that then
went in alone, the row is found by halving. A row is refused for nothing but its own failure, alone in its COPY; rows that
fail only together end up one by one. So the server takes a row in at most twice as long as errors name their row, and a
page of nothing but bad rows goes row by row instead of being sent whole for each of them.

Where bad rows keep coming, pages go in runs from the start, each behind a savepoint of its own: short enough that little is
undone with a bad row, long enough that a COPY is worth its round trips (`Caution`). Only a CHECK refuses no second row:
from then on COPY itself leaves out those that break its condition, and says which (`engine.postgres.guards`).

An error that need not be about a row (a right that is missing, say) is one row's fault where the table takes a COPY of no
rows, and other rows. Otherwise it ends the page.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import asyncpg

from engine.errors import MigrationError
from engine.mapping.names import TableName, quote_identifier
from engine.postgres.ddl import KEY_TAKEN_MARK, upsert
from engine.postgres.guards import Guards, Reports
from engine.postgres.page import CopyTarget, Page, Refusal, column_of, line_of
from engine.postgres.queries import copy_tuples
from engine.postgres.sqlstates import (
    CARDINALITY_VIOLATION,
    FOREIGN_KEY_VIOLATION,
    UNIQUE_VIOLATION,
    condition_name,
    is_data_error,
    may_be_data_error,
    sqlstate_of,
)
from engine.postgres.tables import identities
from engine.rows import COPY_HEADER, COPY_TRAILER, Buffer, Piece

UNPROVEN_ROWS = 2_048
"""Rows sent at once behind the first bad one of a page, at most."""
COPY_COST_ROWS = 110
"""What a COPY with its savepoint costs, in rows of middling size that the two processes deal with in the meantime."""
MEMORY_ROWS = 50_000
"""How often the table refused rows is remembered for about so many of them."""
MOST_ODD = 100
"""So many rows fail in a way that need not be about them, and none goes in: then it is not."""
KEY_TAKEN = "key_taken"
"""The reason of a reject whose key another row has."""
UPSERT_PAGE = TableName("pg_temp", "mongopg_page")
"""Where rows of an upsert are collected; gone at COMMIT."""


@dataclass(slots=True)
class Caution:
    """How often a table has refused rows lately, and how many to send it at once."""

    guards: Guards = field(default_factory=Guards)
    doubted: set[str] = field(default_factory=set)
    """SQLSTATEs whose errors have named a row that then went in alone."""
    within_table: dict[str, bool] = field(default_factory=dict)
    """By name of a foreign key that has refused rows, whether it is one from the table to itself."""
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

    @property
    def has_taken_rows(self) -> bool:
        """The table has taken some, lately."""
        return self._rows - self._refused >= 1

    def run_rows(self) -> int:
        """Rows that go in one COPY; 0 is all of a page.

        With a share of p bad rows, a run of n costs a COPY for n rows, and n / 2 rows that go twice for each of p n: the
        sum is least at n = sqrt(2 COPY_COST_ROWS / p).
        """
        if self._refused < 1:
            return 0
        return math.ceil(math.sqrt(2 * COPY_COST_ROWS * self._rows / self._refused))


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Rows first <= i < end of a page, to be sent."""

    first: int
    end: int
    is_whole: bool = False
    """In one COPY: they stood before a row that was named, or are a half of what was refused."""
    named_by: str = ""
    """The SQLSTATE of the error that named the row behind these, or this row."""

    @property
    def is_one(self) -> bool:
        """Whatever the server says then is about this row."""
        return self.end - self.first == 1


@dataclass(slots=True)
class RowSender:
    """Sends pages over a connection that is in a transaction."""

    connection: asyncpg.Connection
    target: CopyTarget
    caution: Caution = field(default_factory=Caution)
    """Outlives the sender where its table gets another one."""
    _reports: Reports = field(init=False)
    _where: str | None = field(init=False, default=None)
    """Of every COPY; None: to be asked for, in each transaction anew."""
    _identities: list[str] | None = field(init=False, default=None)
    """Columns of an upsert's target that are GENERATED ALWAYS AS IDENTITY; None: not asked yet."""
    _has_learnt: bool = field(init=False, default=False)
    """In the page in hand: how often the table refused its rows says nothing of the next one."""
    _n_written: int = field(init=False, default=0)
    """Of the page in hand."""
    _odd: list[tuple[int, asyncpg.PostgresError]] = field(init=False, default_factory=list)
    """Rows of the page in hand that fail alone with an error that need not be about a row."""
    _takes_none: bool = field(init=False, default=False)
    """A COPY without rows went well, in the page in hand."""
    _is_filled: bool = field(init=False, default=False)
    """The table where rows of an upsert are collected may have some that are in the target by now."""

    def __post_init__(self) -> None:
        self._reports = Reports(self._into.table)

    @property
    def _into(self) -> TableName:
        """Where COPY writes to."""
        return UPSERT_PAGE if self.target.upsert_key else self.target.table

    async def prepare(self) -> None:
        """Whatever a transaction needs before its first page."""
        self._where, self._is_filled = None, False
        if self.target.upsert_key:
            if self._identities is None:
                self._identities = await identities(self.connection, self.target.table)
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
        self._has_learnt, self._takes_none, self._n_written, self._odd = False, False, 0, []
        await self._prepare_guards()
        await self.connection.execute("SAVEPOINT page")
        refusals: list[Refusal] = []
        run_rows = self.caution.run_rows()
        self.connection.add_log_listener(self._reports)
        try:
            if run_rows:
                await self._send_runs(page, tuples, run_rows, refusals)
            else:
                await self._send_whole(page, first, tuples, refusals)
        finally:
            self.connection.remove_log_listener(self._reports)
        if refusals:
            await self._try_again(page, refusals)
        if self._odd:
            if not self._n_written and not self.caution.has_taken_rows:
                raise self._odd[0][1]
            refusals += [self._refusal(row, error) for row, error in self._odd]
        await self.connection.execute("RELEASE SAVEPOINT page")
        if not self._has_learnt:
            self.caution.note(page.n_rows, sum(not refusal.is_passed_by for refusal in refusals))
        refusals.sort(key=lambda refusal: refusal.row)
        return self._n_written, refusals

    async def _prepare_guards(self) -> None:
        """The WHERE of the next COPYs."""
        guards = self.caution.guards
        if guards.has_news:
            self.caution.forget()
            self._has_learnt = True
        if self._where is None or guards.has_news:
            self._where = await guards.where(self.connection, self.target.table, self._into, self.target.columns)

    async def _send_whole(
        self, page: Page, first: Buffer, rest: AsyncIterator[Buffer], refusals: list[Refusal]
    ) -> None:
        """Write a page in one COPY while it comes; when it is refused, what is good of it."""
        try:
            await self._put(page, 0, None, self._stream(first, rest), refusals)
        except asyncpg.PostgresError as error:
            # asyncpg takes the source to its end before it raises, so the page is complete here.
            todo: list[_Stretch] = []
            n_good = await self._take_apart(_Stretch(0, page.n_rows), error, todo, refusals)
            await self._sort_out(page, todo, _within(2 * n_good, UNPROVEN_ROWS), UNPROVEN_ROWS, refusals)

    async def _send_runs(self, page: Page, rest: AsyncIterator[Buffer], run_rows: int, refusals: list[Refusal]) -> None:
        """Write what is good of a page in runs of so many rows, each piece when it has come."""
        first = 0
        while True:
            todo = [_Stretch(first, page.n_rows)]
            first = page.n_rows
            await self._sort_out(page, todo, run_rows, run_rows, refusals)
            if await anext(rest, None) is None:
                return

    async def _sort_out(
        self, page: Page, todo: list[_Stretch], run_rows: int, most: int, refusals: list[Refusal]
    ) -> None:
        """Write what is good of some rows of a page.

        Args:
            todo: the next stretch last.
            run_rows: as many unproven rows are sent at once; fewer where they are bad, then more again.
            most: rows that runs grow to.
        """
        while todo:
            stretch = todo.pop()
            limit = stretch.first + run_rows
            if not stretch.is_whole and stretch.end > limit:
                todo.append(_Stretch(limit, stretch.end))
                stretch = _Stretch(stretch.first, limit)
            rows = _rows(page.tuples(stretch.first, stretch.end))
            try:
                n_written = await self._put(page, stretch.first, stretch.end, rows, refusals)
            except asyncpg.PostgresError as error:
                n_good = await self._take_apart(stretch, error, todo, refusals)
                if not (stretch.named_by and stretch.is_one):
                    run_rows = _within(max(2 * n_good, run_rows // 2), most)
            else:
                await self.connection.execute("RELEASE SAVEPOINT page; SAVEPOINT page")
                if stretch.named_by and stretch.is_one and n_written and not stretch.is_whole:
                    self.caution.doubted.add(stretch.named_by)
                run_rows = run_rows if stretch.is_whole or stretch.named_by else _within(2 * run_rows, most)

    async def _take_apart(
        self, stretch: _Stretch, error: asyncpg.PostgresError, todo: list[_Stretch], refusals: list[Refusal]
    ) -> int:
        """Undo a COPY that was refused, and divide its rows; how many before the one at fault seem to be good.

        Raises:
            asyncpg.PostgresError: the error, when it is not a row's fault.
        """
        is_data = self._is_row_error(error)
        if self.connection.is_closed() or not (is_data or may_be_data_error(error)):
            raise error
        self.caution.guards.note(error, self._refusal(stretch.first, error), self.target.table)
        await self._undo()
        if not is_data and not self._takes_none:
            await self._try_no_rows(error)
        if stretch.is_one:
            if is_data:
                refusals.append(self._refusal(stretch.first, error))
            else:
                self._odd.append((stretch.first, error))
                if not self._n_written and len(self._odd) >= MOST_ODD:
                    raise self._odd[0][1]
            return 0
        return self._divide(stretch, error, todo)

    def _divide(self, stretch: _Stretch, error: asyncpg.PostgresError, todo: list[_Stretch]) -> int:
        """What to send instead of a stretch that was refused; how many of its first rows seem to be good."""
        first, end = stretch.first, stretch.end
        code = sqlstate_of(error)
        line = line_of(error.context or "", self._into.table)
        # What stood before a row that was named is good. If it is not, rows cannot be told apart by names.
        is_named = line is not None and 1 <= line <= end - first and not stretch.is_whole
        if line is None or not is_named or code in self.caution.doubted:
            middle = (first + end) // 2
            todo += [_Stretch(middle, end, is_whole=True), _Stretch(first, middle, is_whole=True)]
            return middle - first
        named = first + line - 1
        if named + 1 < end:
            todo.append(_Stretch(named + 1, end))
        todo.append(_Stretch(named, named + 1, named_by=code))
        if first < named:
            todo.append(_Stretch(first, named, is_whole=True, named_by=code))
        return named - first

    async def _try_again(self, page: Page, refusals: list[Refusal]) -> None:
        """Write rows that were refused for want of other rows of the table, where those have gone in behind them."""
        n_before = -1
        while self._n_written > n_before:
            n_before = self._n_written
            for refusal in [each for each in refusals if await self._refers_to_table(each)]:
                try:
                    await self._put(
                        page, refusal.row, refusal.row + 1, _rows(page.tuples(refusal.row, refusal.row + 1)), []
                    )
                except asyncpg.PostgresError as error:
                    if not self._is_row_error(error):
                        raise
                    await self._undo()
                else:
                    await self.connection.execute("RELEASE SAVEPOINT page; SAVEPOINT page")
                    refusals.remove(refusal)

    async def _refers_to_table(self, refusal: Refusal) -> bool:
        """What the row was refused for is a foreign key from the table to itself."""
        if refusal.sqlstate != FOREIGN_KEY_VIOLATION or not refusal.constraint:
            return False
        known = self.caution.within_table
        if refusal.constraint not in known:
            known[refusal.constraint] = await self.connection.fetchval(
                "SELECT EXISTS (SELECT FROM pg_constraint"
                " WHERE contype = 'f' AND conname = $1 AND confrelid = to_regclass($2))",
                refusal.constraint, self.target.table.sql,
            )  # fmt: skip
        return known[refusal.constraint]

    async def _undo(self) -> None:
        """Back to the savepoint, with a WHERE for what comes now."""
        await self.connection.execute("ROLLBACK TO SAVEPOINT page")
        if self.caution.guards.has_news:
            # What the WHERE calls must outlive the next way back.
            await self.connection.execute("RELEASE SAVEPOINT page")
            await self._prepare_guards()
            await self.connection.execute("SAVEPOINT page")

    async def _try_no_rows(self, error: asyncpg.PostgresError) -> None:
        """Raise `error` when a COPY without rows fails, too: then no row is at fault."""
        try:
            await self._copy(_rows(()))
            await self._upsert()
        except asyncpg.PostgresError:
            raise error from None
        self._takes_none = True

    async def _put(
        self, page: Page, first: int, end: int | None, source: AsyncIterator[Buffer], refusals: list[Refusal]
    ) -> int:
        """One COPY, followed by the INSERT of an upsert; the number of rows that the target took, which is added to the page's.

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
        n_written = await self._copy(source)
        passed_by = [self.caution.guards.refusal(number, first + row) for number, row in self._reports.rows]
        if self._where and n_written + len(passed_by) != (page.n_rows if end is None else end) - first:
            raise MigrationError(
                f"PostgreSQL left rows out of a COPY to table {self.target.table} without naming them."
            )
        if self.target.upsert_key:
            n_written = await self._upsert()
        refusals += passed_by
        self._n_written += n_written
        return n_written

    async def _copy(self, source: AsyncIterator[Buffer]) -> int:
        """The rows that COPY took."""
        if self._is_filled:
            # Not before: the last page's rows go with the table, and what is emptied behind a savepoint gets new files.
            await self.connection.execute(f"TRUNCATE {UPSERT_PAGE.sql}")
        self._is_filled = bool(self.target.upsert_key)
        return _count(
            await copy_tuples(self.connection, self._into, source, self.target.columns, where=self._where or "")
        )

    async def _upsert(self) -> int:
        """The collected rows that the target took; 0 where rows are not collected."""
        if not self.target.upsert_key:
            return 0
        status = await self.connection.execute(
            upsert(
                self.target.table,
                UPSERT_PAGE,
                self.target.columns,
                self.target.upsert_key,
                self._identities or (),
                self.target.written_since,
            )
        )
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
        # Two rows of one upsert with the same key: apart, the later one is refused, or wins, as it does between slices.
        twice = bool(self.target.upsert_key) and sqlstate_of(error) == CARDINALITY_VIOLATION
        return twice or is_data_error(error)

    def _refusal(self, row: int, error: asyncpg.PostgresError) -> Refusal:
        """Of a row, for an error that is its own."""
        context = error.context or ""
        if self.target.written_since and KEY_TAKEN_MARK in error.args[0]:
            key = error.args[0].partition(KEY_TAKEN_MARK)[2].removesuffix('"')
            return Refusal(
                row=row,
                reason=KEY_TAKEN,
                sqlstate="",
                column=self.target.upsert_key,
                detail=f"another document of this run has the key {key} in the table, or its row was changed meanwhile",
            )
        return Refusal(
            row=row,
            reason=condition_name(error),
            sqlstate=sqlstate_of(error),
            column=self._own_column(error) or column_of(context, self._into.table, self.target.columns),
            # DETAIL quotes the whole row, except here, where it names the key that both rows have.
            detail=" ".join(filter(None, (error.args[0], error.detail if error.sqlstate == UNIQUE_VIOLATION else ""))),
            constraint=error.constraint_name or "",
        )

    def _own_column(self, error: asyncpg.PostgresError) -> str:
        """The column that the server names, if it is none of another table's, into which a trigger writes."""
        name = error.column_name or ""
        return name if error.table_name == self.target.table.table or name in self.target.columns else ""


def _count(status: str) -> int:
    """The rows of a command tag, such as `COPY 8000`."""
    return int(status.rpartition(" ")[2])


def _within(rows: int, most: int) -> int:
    return max(1, min(rows, most))


async def _rows(runs: Iterable[Buffer]) -> AsyncIterator[Buffer]:
    yield COPY_HEADER
    for tuples in runs:
        yield tuples
    yield COPY_TRAILER
