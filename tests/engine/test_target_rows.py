"""Whatever the server says of a row, and of where it is: the bad row is the reject, alone, and found without many COPYs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from engine.ledger.slices import PageResult, SliceWriter
from engine.mapping.names import TableName
from engine.postgres.page import CopyTarget
from engine.postgres.rows import Caution
from tests.conftest import Target
from tests.engine.target_tools import NAMESPACE, RUN, Bench, bench, key, piece, pieces

ROWS = 300
BAD = 170
"""Of them, the one whose number is 13; the others have even ones."""
MOST_COPIES = 30
"""To find one row of `ROWS` by halving: two for each halving, and those of the rejects and conditions."""


@dataclass(frozen=True, slots=True)
class Case:
    """Something of the table's that refuses the bad row."""

    what: str
    reason: str
    sqlstate: str
    also: str = ""
    """SQL behind the table's own."""
    columns: str = "_id text PRIMARY KEY, n integer"
    others: str = ""
    """Of the table, behind the columns."""


def trigger(body: str, when: str = "AFTER INSERT", each: str = "FOR EACH ROW", kind: str = "TRIGGER") -> str:
    """A trigger whose function is called as if it were the table, a line of it being line 3."""
    return f"""
        CREATE FUNCTION users_check() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            {body}
            RETURN NEW;
        END $$;
        CREATE {kind} watch {when} ON users {each} EXECUTE FUNCTION users_check()"""


def raising(sqlstate: str) -> str:
    """What raises an error with this SQLSTATE for the bad row."""
    return f"IF NEW.n = 13 THEN RAISE EXCEPTION 'no' USING ERRCODE = '{sqlstate}'; END IF;"


AUDIT = "CREATE TABLE users_audit (n integer, who text NOT NULL DEFAULT 'us', CONSTRAINT sound CHECK (n <> 13));"
AUDITED = "INSERT INTO users_audit VALUES (NEW.n);"
CASES = [
    Case("a trigger named like the table", "raise", "P0001", trigger("IF NEW.n = 13 THEN RAISE 'no'; END IF;")),
    Case("an audit table that refuses it", "check_violation", "23514", AUDIT + trigger(AUDITED)),
    Case(
        "an audit table whose CHECK is called like the table's own",
        "check_violation",
        "23514",
        AUDIT + trigger(AUDITED, "BEFORE INSERT"),
        others=", CONSTRAINT sound CHECK (n < 1000)",
    ),
    Case(
        "a column that an audit table wants",
        "not_null_violation",
        "23502",
        AUDIT.replace("13", "-1") + trigger("INSERT INTO users_audit VALUES (0, nullif(NEW.n, 13)::text);"),
    ),
    Case(
        "a trigger for each statement",
        "raise",
        "P0001",
        trigger(
            "IF EXISTS (SELECT FROM rows WHERE n = 13) THEN RAISE 'no'; END IF;",
            each="REFERENCING NEW TABLE AS rows FOR EACH STATEMENT",
        ),
    ),
    Case(
        "a constraint trigger that waits for the COMMIT",
        "raise",
        "P0001",
        trigger(
            "IF NEW.n = 13 THEN RAISE 'no'; END IF;",
            each="DEFERRABLE INITIALLY DEFERRED FOR EACH ROW",
            kind="CONSTRAINT TRIGGER",
        ),
    ),
    Case("an index of an expression", "division_by_zero", "22012", "CREATE INDEX ON users ((100 / (n - 13)))"),
    Case("a generated column", "division_by_zero", "22012",
         columns="_id text PRIMARY KEY, n integer, x integer GENERATED ALWAYS AS (100 / (n - 13)) STORED"),
    Case("a domain", "check_violation", "23514", columns="_id text PRIMARY KEY, n odd"),
    Case(
        "no partition for it",
        "check_violation",
        "23514",
        "CREATE TABLE low PARTITION OF users FOR VALUES FROM (0) TO (13);"
        "CREATE TABLE high PARTITION OF users FOR VALUES FROM (14) TO (10000)",
        "_id text, n integer",
        ") PARTITION BY RANGE (n",
    ),
    Case(
        "a partition that refuses it",
        "check_violation",
        "23514",
        "CREATE TABLE low PARTITION OF users (CHECK (n <> 13)) FOR VALUES FROM (0) TO (14);"
        "CREATE TABLE high PARTITION OF users FOR VALUES FROM (14) TO (10000)",
        "_id text, n integer",
        ") PARTITION BY RANGE (n",
    ),
    Case("a statement within a trigger that is wrong", "undefined_table", "42P01",
         trigger("IF NEW.n = 13 THEN INSERT INTO nowhere VALUES (1); END IF;")),
    Case("no case for it", "case_not_found", "20000", trigger("CASE WHEN NEW.n <> 13 THEN NULL; END CASE;")),
    Case("two rows where one is asked for", "cardinality_violation", "21000",
         trigger("NEW.n := (SELECT NEW.n FROM generate_series(1, CASE NEW.n WHEN 13 THEN 2 ELSE 1 END));",
                 "BEFORE INSERT")),
    *(
        Case(f"a trigger that raises {sqlstate}", reason, sqlstate, trigger(raising(sqlstate), when))
        for sqlstate, reason, when in [
            ("57014", "query_canceled", "AFTER INSERT"),
            ("40001", "serialization", "BEFORE INSERT"),
            ("40P01", "deadlock_detected", "AFTER INSERT"),
            ("08006", "connection_failure", "AFTER INSERT"),
            ("57P01", "admin_shutdown", "BEFORE INSERT"),
            ("55P03", "lock_not_available", "AFTER INSERT"),
            ("25006", "read_only_sqltransaction", "AFTER INSERT"),
            ("XX000", "internal_server", "BEFORE INSERT"),
            ("UE001", "UE001", "AFTER INSERT"),
            ("42501", "insufficient_privilege", "AFTER INSERT"),
        ]
    ),
]  # fmt: skip


class Copies:
    """Counts what goes to the server as COPY."""

    n = 0


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Copies:
    counted, original = Copies(), asyncpg.Connection.copy_to_table

    async def copy_to_table(connection: asyncpg.Connection, *words: Any, **options: Any) -> str:
        counted.n += 1
        return str(await original(connection, *words, **options))

    monkeypatch.setattr(asyncpg.Connection, "copy_to_table", copy_to_table)
    return counted


class Table:
    """A table of the bench's, made anew for each case, and the slices that go into it."""

    def __init__(self, made: Bench, name: str = "users", columns: Sequence[str] = ("_id", "n")) -> None:
        self.made = made
        self.name = TableName("public", name)
        self.columns = tuple(columns)
        self._slice_no = 0

    async def make(self, definition: str, also: str = "") -> None:
        """Make it anew."""
        await self.made.connection.execute(
            f"DROP TABLE IF EXISTS {self.name.sql}, users_audit CASCADE; DROP FUNCTION IF EXISTS users_check;"
            f" CREATE TABLE {self.name.sql} ({definition}); {also}"
        )

    async def write(
        self, *pages: Sequence[Sequence[Any]], upsert_key: str = "", caution: Caution | None = None
    ) -> list[PageResult]:
        """Pages of one slice, on a connection that has learnt nothing."""
        target = CopyTarget(self.name, self.columns, NAMESPACE, upsert_key)
        writer = SliceWriter(self.made.connection, RUN, target, 1, caution=caution or Caution())
        number, self._slice_no = self._slice_no, self._slice_no + 1
        await writer.begin(0, number, key(number - 1) if number else None, number == 0)
        try:
            results = [await writer.write_page(pieces(piece(page))) for page in pages]
            await writer.commit(key(number), False)
        except BaseException:
            await writer.rollback()
            self._slice_no = number
            raise
        return results

    async def rejects(self) -> list[tuple[str, str, str, str, str]]:
        """Of the last slice: `_id`, reason, SQLSTATE, field, detail."""
        rows = await self.made.connection.fetch(
            "SELECT id, reason, sqlstate, field, detail FROM mongopg.reject WHERE slice_no = $1 ORDER BY reject_no",
            self._slice_no - 1,
        )
        return [(row[0].strip('"'), *tuple(row)[1:]) for row in rows]

    async def count(self) -> int:
        """Its rows."""
        return int(await self.made.connection.fetchval(f"SELECT count(*) FROM {self.name.sql}"))


def rows(bad: Sequence[int] = (BAD,), n_rows: int = ROWS) -> list[tuple[str, int]]:
    """Rows with even numbers but for the bad ones."""
    return [(f"{number:05}", 13 if number in bad else 2 * number) for number in range(n_rows)]


@pytest.mark.parametrize("upsert_key", ["", "_id"], ids=["append", "upsert"])
async def test_one_bad_row_is_one_reject_for_a_reason_of_its_own(
    target: Target, copies: Copies, upsert_key: str
) -> None:
    wrong: list[tuple[object, ...]] = []
    async with bench(target.uri) as made:
        target.execute("CREATE DOMAIN odd AS integer CHECK (VALUE <> 13)")
        table = Table(made)
        for case in CASES:
            if upsert_key and "PRIMARY KEY" not in case.columns:
                continue
            await table.make(case.columns + case.others, case.also)
            copies.n = 0
            try:
                await table.write(rows(), upsert_key=upsert_key)
            except asyncpg.PostgresError as error:
                wrong.append((case.what, repr(error), copies.n))
                continue
            found = [reject[:3] for reject in await table.rejects()]
            count, n_copies = await table.count(), copies.n
            if (found, count) != ([(f"{BAD:05}", case.reason, case.sqlstate)], ROWS - 1) or n_copies > MOST_COPIES:
                wrong.append((case.what, found, count, n_copies))
    assert wrong == []


async def test_rows_that_fail_only_together_are_written_one_by_one(target: Target) -> None:
    async with bench(target.uri) as made:
        table = Table(made)
        limit = trigger(
            "IF (SELECT sum(n) FROM rows) > 700 THEN RAISE 'too much'; END IF;",
            each="REFERENCING NEW TABLE AS rows FOR EACH STATEMENT",
        )
        await table.make("_id text, n integer", limit)
        caution = Caution()
        await table.write(rows(), rows(), caution=caution)
        assert await table.rejects() == []
        assert await table.count() == 2 * ROWS


async def test_of_rows_that_exclude_each_other_the_first_stays(target: Target) -> None:
    async with bench(target.uri) as made:
        table = Table(made)
        for also in (
            "ALTER TABLE users ADD EXCLUDE (n WITH =)",
            "ALTER TABLE users ADD UNIQUE (n) DEFERRABLE INITIALLY DEFERRED",
            "CREATE UNIQUE INDEX ON users ((n + 1))",
        ):
            await table.make("_id text, n integer", also)
            await table.write(rows([10, BAD]), rows([10])[:11])
            found = await table.rejects()
            assert [reject[0] for reject in found] == [f"{BAD:05}", *(f"{number:05}" for number in range(11))], also
            assert await table.count() == ROWS - 1


@pytest.mark.parametrize("upsert_key", ["", "_id"], ids=["append", "upsert"])
async def test_a_bad_row_does_not_part_children_from_their_parents(target: Target, upsert_key: str) -> None:
    async with bench(target.uri) as made:
        table = Table(made, columns=["_id", "boss", "n"])
        await table.make("_id text PRIMARY KEY, boss text REFERENCES users, n integer NOT NULL")
        page: list[tuple[str, str | None, int | None]] = [
            (f"{number:03}", f"{number + 1:03}", 1) for number in range(20)
        ]
        page[-1] = ("019", None, 1)
        page += [("lost", "nowhere", 1), ("x", None, None), ("y", "z", 1), ("z", "000", 1)]
        await table.write(page, upsert_key=upsert_key)
        assert [reject[:2] for reject in await table.rejects()] == [
            ("lost", "foreign_key_violation"), ("x", "not_null_violation"),
        ]  # fmt: skip
        assert await table.count() == 22


async def test_a_row_that_is_too_wide_costs_no_other_row(target: Target, copies: Copies) -> None:
    columns = [f"c{number}" for number in range(130)]
    async with bench(target.uri) as made:
        table = Table(made, columns=["_id", *columns])
        # Of values of this type nothing can be stored elsewhere.
        await table.make(", ".join(["_id text NOT NULL", *(f"{column} name" for column in columns)]))
        narrow, wide = [None] * 130, ["x"] * 130
        page = [(f"{number:05}", *(wide if number == 1234 else narrow)) for number in range(2_500)]
        page[2_000] = (None, *narrow)
        await table.write(page)
        found = await table.rejects()
        assert [(reject[0], reject[2]) for reject in found] == [("01234", "54000"), ("null", "23502")]
        assert await table.count() == 2_498
        assert copies.n <= 40


@pytest.mark.parametrize(
    "name", ["line 7", 'a"b: 12', "o", "COPY 9, line 3", "x\ny 4", "7", "column", "PL/pgSQL", "nine 9 ", "Ünïcode 5"]
)
async def test_names_of_tables_are_no_numbers_of_lines(target: Target, copies: Copies, name: str) -> None:
    async with bench(target.uri) as made:
        table = Table(made, name, ["_id", "say 3", "n"])
        await table.make('_id text PRIMARY KEY, "say 3" varchar(3), n integer NOT NULL CHECK (n < 1000)')
        page: list[tuple[str, str, int | None]] = [(f"{number:05}", "abc", 1) for number in range(ROWS)]
        page[40], page[41], page[200], page[201] = (
            ("long", "abcd", 1),
            ("none", "", None),
            ("a", "", 1001),
            ("b", "", 1002),
        )
        copies.n = 0
        await table.write(page)
        assert [(*reject[:1], *reject[2:4]) for reject in await table.rejects()] == [
            ("long", "22001", "say 3"), ("none", "23502", "n"), ("a", "23514", ""), ("b", "23514", ""),
        ]  # fmt: skip
        assert await table.count() == ROWS - 4
        assert copies.n <= 20


async def test_a_condition_that_depends_on_the_table_is_not_asked_before(target: Target) -> None:
    async with bench(target.uri) as made:
        table = Table(made)
        also = """
            CREATE OR REPLACE FUNCTION is_rare(n integer) RETURNS boolean LANGUAGE sql STABLE AS
            $$ SELECT n <> 13 OR EXISTS (SELECT FROM allowed) $$;
            ALTER TABLE users ADD CONSTRAINT rare CHECK (is_rare(n))"""
        await made.connection.execute("CREATE TABLE allowed ()")
        await table.make("_id text, n integer", also)
        caution = Caution()
        await table.write(rows(), caution=caution)
        assert [reject[0] for reject in await table.rejects()] == [f"{BAD:05}"]
        await made.connection.execute("INSERT INTO allowed DEFAULT VALUES")
        await table.write(rows(), caution=caution)
        assert await table.rejects() == []


async def test_what_every_row_fails_for_ends_the_page_unless_it_is_about_rows(target: Target) -> None:
    async with bench(target.uri) as made:
        table = Table(made)
        await table.make("_id text, n integer", trigger("INSERT INTO nowhere VALUES (1);"))
        with pytest.raises(asyncpg.UndefinedTableError):
            await table.write(rows())
        with pytest.raises(asyncpg.UndefinedTableError):
            await table.write(rows()[:1])
        await table.make("_id text, n integer", trigger("RAISE 'no' USING ERRCODE = '40001';"))
        await table.write(rows()[:20])
        assert len(await table.rejects()) == 20


async def test_a_table_without_its_column_is_no_fault_of_rows(target: Target, copies: Copies) -> None:
    async with bench(target.uri) as made:
        table = Table(made, columns=["_id", "gone"])
        await table.make("_id text, n integer")
        caution = Caution()
        caution.note(100_000, 0)
        with pytest.raises(asyncpg.UndefinedColumnError):
            await table.write(rows(), caution=caution)
        assert copies.n <= 2
