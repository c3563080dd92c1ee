"""Rows that a CHECK refuses: from the second on they are passed by, and everything else is as it would be without that."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from engine.ledger.slices import PageResult, SliceWriter
from engine.postgres.page import CopyTarget
from engine.postgres.rows import Caution
from tests.conftest import Target
from tests.engine.target_tools import NAMESPACE, RUN, USERS, Bench, bench, key, piece, pieces

PAGE = 4_000
BAD_EVERY = 100
FEW_COPIES = 6
"""Of a page in one COPY: that, another for its rejects, and those that try the conditions without a row."""
FIRST_COPIES = 20
"""The same with the first error, and what it undid, which goes in a few COPYs more."""
CHECK = "_id text PRIMARY KEY, n integer CONSTRAINT positive CHECK (n >= 0)"


class Copies:
    """Counts what goes to the server as COPY."""

    def __init__(self) -> None:
        self.n = 0

    def take(self) -> int:
        """Those since the last time."""
        n, self.n = self.n, 0
        return n


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Copies:
    counted, original = Copies(), asyncpg.Connection.copy_to_table

    async def copy_to_table(connection: asyncpg.Connection, *words: Any, **options: Any) -> str:
        counted.n += 1
        return str(await original(connection, *words, **options))

    monkeypatch.setattr(asyncpg.Connection, "copy_to_table", copy_to_table)
    return counted


def writer_of(made: Bench, connection: asyncpg.Connection, caution: Caution, upsert_key: str = "") -> SliceWriter:
    """A writer that knows what others have learnt of the table."""
    target = CopyTarget(USERS, made.columns, NAMESPACE, upsert_key)
    return SliceWriter(connection, RUN, target, 1, caution=caution)


async def write(writer: SliceWriter, slice_no: int, first: int, n_rows: int = PAGE) -> PageResult:
    """A page of rows as a slice of its own; the last of each hundred has a negative number."""
    rows = [(f"{n:06}", -n if n % BAD_EVERY == BAD_EVERY - 1 else n) for n in range(first, first + n_rows)]
    await writer.begin(0, slice_no, key(f"{first - 1:06}") if slice_no else None, not slice_no)
    result = await writer.write_page(pieces(*(piece(rows[at : at + 999]) for at in range(0, n_rows, 999))))
    await writer.commit(key(rows[-1][0]), False)
    return result


async def assert_sorted_out(made: Bench, n_rows: int) -> None:
    """Good rows are in the table, bad ones are rejects in their order and in PostgreSQL's words."""
    numbers = {f"{n:06}": n % BAD_EVERY != BAD_EVERY - 1 for n in range(n_rows)}
    assert await made.ids() == [name for name, is_good in numbers.items() if is_good]
    rejects = await made.connection.fetch(
        "SELECT id, reason, sqlstate, field, detail FROM mongopg.reject ORDER BY slice_no, reject_no"
    )
    words = 'new row for relation "users" violates check constraint "positive"'
    assert [tuple(row) for row in rejects] == [
        (f'"{name}"', "check_violation", "23514", "", words) for name, is_good in numbers.items() if not is_good
    ]


@pytest.mark.parametrize("upsert_key", ["", "_id"], ids=["append", "upsert"])
async def test_a_check_that_keeps_refusing_rows_costs_no_copies(
    target: Target, copies: Copies, upsert_key: str
) -> None:
    async with bench(target.uri, CHECK) as made:
        caution = Caution()
        writer = writer_of(made, made.connection, caution, upsert_key)
        result = await write(writer, 0, 0)
        assert result.reasons == {"check_violation": PAGE // BAD_EVERY}
        n_bad = PAGE // BAD_EVERY
        assert copies.take() <= FIRST_COPIES
        for slice_no in (1, 2):
            assert (await write(writer, slice_no, slice_no * PAGE)).n_rejected == n_bad
            assert copies.take() <= FEW_COPIES

        # Another session, as after a lost connection, and what a rollback undid.
        other = writer_of(made, await made.connect(), caution, upsert_key)
        await other.begin(0, 3, key(f"{3 * PAGE - 1:06}"), False)
        await other.write_page(pieces(piece([("x", -1)])))
        await other.rollback()
        copies.take()
        assert (await write(other, 3, 3 * PAGE)).n_rejected == n_bad
        assert copies.take() <= FEW_COPIES

        await assert_sorted_out(made, 4 * PAGE)


async def test_two_checks_and_rows_that_are_bad_otherwise(target: Target, copies: Copies) -> None:
    columns = (
        "_id text PRIMARY KEY, n integer CONSTRAINT few CHECK (n < 100) CONSTRAINT odd CHECK (n % 2 = 1 OR n = 100)"
    )
    async with bench(target.uri, columns) as made:
        writer = made.writer()
        await writer.begin(0, 0, None, True)
        for page in range(3):
            rows: list[tuple[str, int | None]] = [(f"{page}{n:03}", 1 + 2 * (n % 40)) for n in range(300)]
            rows[7], rows[50], rows[51], rows[299] = (
                (f"{page}x", 100),
                (f"{page}y", 2),
                (f"{page}000", 1),
                (f"{page}z", 200),
            )
            rows[8], rows[60] = (f"{page}null", None), (f"{page}both", 150)
            result = await writer.write_page(pieces(piece(rows)))
            assert result.reasons == {"check_violation": 4, "unique_violation": 1}
            assert result.n_written == 295
        await writer.commit(key("z"), True)
        rejects = target.rows("SELECT id, reason, detail FROM mongopg.reject ORDER BY reject_no")
        words = [row["detail"].rsplit('"', 2)[1] for row in rejects if row["reason"] == "check_violation"]
        assert [row["id"].strip('"') for row in rejects if row["reason"] == "check_violation"] == [
            f"{page}{name}" for page in range(3) for name in ("x", "y", "both", "z")
        ]
        assert words == ["few", "odd", "few", "few"] * 3


@pytest.mark.parametrize(
    ("columns", "then", "upsert_key", "n_bad"),
    [
        (
            "n integer CHECK (n < 90)",
            """
            CREATE FUNCTION repair() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.n % 2 = 0 THEN NEW.n := 0; END IF; RETURN NEW; END $$;
            CREATE TRIGGER repair BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION repair()
            """,
            "",
            5,
        ),
        ("n integer, twice integer GENERATED ALWAYS AS (n * 2) STORED CHECK (twice < 180)", "", "", 10),
        ("n integer, most integer DEFAULT 90, CHECK (n < most)", "", "_id", 10),
        ("n integer, CHECK (tableoid > 0 AND n < 90)", "", "", 10),
        (
            "n integer",
            """
            DROP TABLE users;
            CREATE TABLE users (_id text PRIMARY KEY, n integer CHECK (n < 90)) PARTITION BY HASH (_id);
            CREATE TABLE part PARTITION OF users FOR VALUES WITH (MODULUS 1, REMAINDER 0)
            """,
            "",
            10,
        ),
    ],
    ids=["trigger", "generated", "column of its own", "system column", "partitioned"],
)
async def test_conditions_that_cannot_be_looked_at_before_are_found_by_errors(
    target: Target, columns: str, then: str, upsert_key: str, n_bad: int
) -> None:
    async with bench(target.uri, f"_id text PRIMARY KEY, {columns}") as made:
        if then:
            target.execute(then)
        writer = made.writer(upsert_key=upsert_key)
        await writer.begin(0, 0, None, True)
        for page in range(3):
            result = await writer.write_page(pieces(piece([(f"{page}{n:02}", n) for n in range(100)])))
            assert result.reasons == {"check_violation": n_bad}
        await writer.commit(key("z"), True)
        assert target.value("SELECT count(*) FROM users") == 3 * (100 - n_bad)


async def test_without_the_right_to_temporary_objects_rows_are_found_by_errors(target: Target) -> None:
    async with bench(target.uri, CHECK) as made:
        database = target.value("SELECT current_database()")
        target.execute(f'REVOKE TEMPORARY ON DATABASE "{database}" FROM PUBLIC')
        role = "guards_" + "x" * 4
        target.execute(f"""
            CREATE ROLE {role};
            GRANT USAGE ON SCHEMA mongopg TO {role};
            GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA mongopg TO {role};
            GRANT SELECT, INSERT ON users TO {role}""")
        try:
            await made.connection.execute(f"SET SESSION AUTHORIZATION {role}")
            writer = made.writer()
            for slice_no in range(3):
                assert (await write(writer, slice_no, slice_no * 500, 500)).reasons == {"check_violation": 5}
            await made.connection.execute("RESET SESSION AUTHORIZATION")
            await assert_sorted_out(made, 1_500)
        finally:
            target.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
