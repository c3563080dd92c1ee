"""The commit protocol on a real PostgreSQL: all of a slice or nothing, once, and a bad row costs one row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import pytest

from engine.errors import MigrationError
from engine.ledger import partitions, runs
from engine.ledger.slices import SliceTaken, lookup_claim
from engine.postgres import connect as postgres
from engine.postgres import sqlstates
from engine.rows import Piece
from tests.engine.target_tools import NAMESPACE, RUN, bench, key, piece, pieces
from tests.running import waiting_for_a_lock

if TYPE_CHECKING:
    from tests.conftest import Target


async def test_a_slice_commits_its_rows_its_rejects_and_its_checkpoint(target: Target) -> None:
    async with bench(target.uri) as made:
        writer = made.writer(worker=7)
        await writer.begin(0, 0, None, True)
        first = piece([("a", 1), ("b", 2)], [("c", "nul")])
        result = await writer.write_page(pieces(first, piece([("d", None)])))
        assert (result.n_read, result.n_written, result.n_rejected, result.reasons) == (4, 3, 1, {"nul": 1})
        assert target.value("SELECT count(*) FROM users") == 0, "nothing shows before the commit"
        claim = await writer.commit(key("d"), False)
        await writer.begin(0, 1, key("d"), False)
        await writer.write_page(pieces(piece([("e", 5)])))
        await writer.commit(key("e"), True)

        assert await made.ids() == ["a", "b", "d", "e"]
        assert await made.rejects() == [("c", "nul", "")]
        row = target.rows("SELECT * FROM mongopg.slice ORDER BY slice_no")[0]
        assert (row["worker"], row["upto"], row["final"], row["n_read"]) == (7, key("d"), False, 4)
        assert row["bytes"] == claim.n_bytes == result.n_bytes > 0
        reject = target.rows("SELECT * FROM mongopg.reject")[0]
        assert (reject["collection"], reject["field"], reject["detail"]) == (NAMESPACE, "name", "a NUL character")
        assert reject["raw"] == key("c"), "the document as it was read"
        assert await partitions.check_complete(made.connection, RUN) == []


async def test_checksums_add_up_beyond_63_bits_and_read_back_unsigned(target: Target) -> None:
    async with bench(target.uri) as made:
        writer = made.writer()
        expected = 0
        for number, checksum in enumerate([2**64 - 1, 2**63, 5]):
            one = piece([(str(number), 0)])
            one.rows.checksum = checksum
            await writer.begin(0, number, key(str(number - 1)) if number else None, number == 0)
            await writer.write_page(pieces(one))
            await writer.commit(key(str(number)), number == 2)
            expected += checksum
        totals = await partitions.totals(made.connection, RUN)
        assert totals[0].checksum == expected % 2**64


async def test_a_second_claimer_waits_and_is_told_where_to_go_on(target: Target) -> None:
    async with bench(target.uri) as made:
        holder, rival = made.writer(), made.writer(await made.connect(), worker=2)
        await holder.begin(0, 0, None, True)
        await holder.write_page(pieces(piece([("a", 1), ("b", 2)])))
        waiting = asyncio.create_task(rival.begin(0, 0, None, True))
        await waiting_for_a_lock(target)
        assert not waiting.done(), "the claim of a living transaction makes others wait"
        await holder.commit(key("b"), False)
        with pytest.raises(SliceTaken) as taken:
            await waiting
        assert (taken.value.claim.upto, taken.value.claim.final, taken.value.claim.n_written) == (key("b"), False, 2)

        await rival.begin(0, 1, taken.value.claim.upto, False)
        await rival.write_page(pieces(piece([("c", 3)])))
        await rival.commit(key("c"), True)
        assert await made.ids() == ["a", "b", "c"]
        assert await partitions.check_complete(made.connection, RUN) == []


async def test_the_claim_of_an_ended_backend_is_free_and_its_owner_writes_nothing(target: Target) -> None:
    async with bench(target.uri) as made:
        connection = await made.connect()
        zombie, heir = made.writer(connection), made.writer(worker=2)
        await zombie.begin(0, 0, None, True)
        await zombie.write_page(pieces(piece([("a", 1)])))
        waiting = asyncio.create_task(heir.begin(0, 0, None, True))
        await waiting_for_a_lock(target)
        target.execute(f"SELECT pg_terminate_backend({connection.get_server_pid()})")
        await waiting
        await heir.write_page(pieces(piece([("a", 1), ("b", 2)])))
        await heir.commit(key("b"), True)
        with pytest.raises(sqlstates.FAILURES) as broken:
            await zombie.commit(key("a"), True)
        assert sqlstates.is_transient(broken.value)
        await zombie.rollback()
        assert await made.ids() == ["a", "b"]


async def test_a_claim_that_stays_held_times_out_as_a_transient_error(target: Target) -> None:
    async with bench(target.uri) as made:
        holder, rival = made.writer(), made.writer(await made.connect())
        rival.lock_timeout_s = 1.0
        await holder.begin(0, 0, None, True)
        with pytest.raises(asyncpg.LockNotAvailableError) as refused:
            await rival.begin(0, 0, None, True)
        assert sqlstates.is_transient(refused.value)
        await rival.rollback()
        await holder.rollback()
        await rival.begin(0, 0, None, True)
        await rival.rollback()


async def test_a_claim_in_a_discarded_run_is_refused(target: Target) -> None:
    async with bench(target.uri) as made:
        await runs.discard(made.connection, RUN)
        with pytest.raises(MigrationError, match="discarded"):
            await made.writer().begin(0, 0, None, True)
        assert not made.connection.is_in_transaction()


async def test_after_a_lost_connection_the_ledger_says_whether_a_slice_is_done(target: Target) -> None:
    async with bench(target.uri) as made:
        other = await made.connect()
        writer = made.writer(other)
        await writer.begin(0, 0, None, True)
        await writer.write_page(pieces(piece([("a", 1)])))
        assert await lookup_claim(made.connection, RUN, 0, 0) is None
        await writer.commit(key("a"), True)
        other.terminate()
        claim = await lookup_claim(made.connection, RUN, 0, 0)
        assert claim is not None
        assert claim.final


async def test_a_rollback_leaves_nothing_and_the_writer_goes_on(target: Target) -> None:
    async def broken() -> AsyncIterator[Piece]:
        yield piece([("a", 1), ("b", None)])
        raise OSError("the source went away")

    async with bench(target.uri, "_id text NOT NULL, n integer NOT NULL") as made:
        writer = made.writer()
        await writer.begin(0, 0, None, True)
        with pytest.raises(OSError, match="went away"):
            await writer.write_page(broken())
        await writer.rollback()
        assert (await made.ids(), await made.rejects()) == ([], [])
        await writer.begin(0, 0, None, True)
        await writer.write_page(pieces(piece([("a", 1), ("b", None)])))
        await writer.commit(key("b"), True)
        assert (await made.ids(), await made.rejects()) == (["a"], [("b", "not_null_violation", "23502")])


async def test_a_slice_must_say_where_it_ends(target: Target) -> None:
    async with bench(target.uri) as made:
        writer = made.writer()
        await writer.begin(0, 0, None, True)
        with pytest.raises(ValueError, match="read nothing"):
            await writer.commit(None, False)
        await writer.commit(None, True)
        assert await partitions.check_complete(made.connection, RUN) == []


@pytest.mark.parametrize(
    ("columns", "bad", "reason", "sqlstate"),
    [
        ("_id text NOT NULL, n integer CHECK (n < 100)", ("x", 100), "check_violation", "23514"),
        ("_id text NOT NULL, n integer NOT NULL", ("x", None), "not_null_violation", "23502"),
        ("_id text PRIMARY KEY, n integer", ("a1", 1), "unique_violation", "23505"),
        ("_id varchar(3), n integer", ("xxxx", 1), "string_data_right_truncation", "22001"),
        ("_id text, n text", ("x", b"\xff\xfe"), "character_not_in_repertoire", "22021"),
        ("_id text, n jsonb", ("x", b'\x01"\\u0000"'), "untranslatable_character", "22P05"),
        ("_id text, n jsonb", ("x", b"\x01" + b"[" * 200_000 + b"]" * 200_000), "statement_too_complex", "54001"),
    ],
    ids=["check", "not null", "unique", "varchar", "utf-8", "jsonb NUL", "depth"],
)
async def test_a_bad_row_costs_one_row(
    target: Target, columns: str, bad: tuple[object, ...], reason: str, sqlstate: str
) -> None:
    one = b"\x011" if "jsonb" in columns else "1" if "n text" in columns else 1
    async with bench(target.uri, columns) as made:
        writer = made.writer()
        await writer.begin(0, 0, None, True)
        result = await writer.write_page(
            pieces(piece([("a1", one), ("a2", one)]), piece([("m", one), bad, ("n", one)]), piece([("z", one)]))
        )
        await writer.commit(key("z"), True)
        assert (result.n_read, result.n_written, result.n_rejected) == (6, 5, 1)
        assert await made.ids() == ["a1", "a2", "m", "n", "z"]
        assert await made.rejects() == [(bad[0], reason, sqlstate)]


async def test_errors_without_a_line_are_found_by_halving(target: Target) -> None:
    async with bench(target.uri) as made:
        target.execute("""
            CREATE TABLE parent (n integer PRIMARY KEY);
            INSERT INTO parent SELECT generate_series(0, 99);
            ALTER TABLE users ADD FOREIGN KEY (n) REFERENCES parent DEFERRABLE INITIALLY DEFERRED""")
        rows = [(f"{number:03}", number if number % 40 else 1000) for number in range(100)]
        writer = made.writer()
        await writer.begin(0, 0, None, True)
        result = await writer.write_page(pieces(piece(rows)))
        await writer.commit(key("099"), True)
        assert result.reasons == {"foreign_key_violation": 3}
        assert await made.ids() == [row[0] for row in rows if row[1] != 1000]
        assert [reject[0] for reject in await made.rejects()] == ["000", "040", "080"]


async def test_a_trigger_that_refuses_a_row_costs_that_row(target: Target) -> None:
    async with bench(target.uri) as made:
        target.execute("""
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN IF NEW.n = 7 THEN RAISE EXCEPTION 'no sevens'; END IF; RETURN NEW; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION refuse()""")
        writer = made.writer()
        await writer.begin(0, 0, None, True)
        await writer.write_page(pieces(piece([(str(number), number) for number in range(9)])))
        await writer.commit(key("8"), True)
        assert await made.ids() == list("01234568")
        assert await made.rejects() == [("7", "raise", "P0001")]


async def test_bad_rows_anywhere_in_a_large_page_leave_every_good_row(target: Target) -> None:
    async with bench(target.uri, "_id text PRIMARY KEY, n integer NOT NULL CHECK (n <> 13)") as made:
        rows: list[tuple[str, int | None]] = [(f"{number:05}", number) for number in range(6000)]
        bad = {0, 1, 13, 999, 1000, 2500, *range(3000, 3200), 5999}
        for number in bad - {13}:
            rows[number] = (rows[number][0], None)
        rows[4000] = (rows[17][0], 1)
        writer = made.writer()
        await writer.begin(0, 0, None, True)
        result = await writer.write_page(pieces(*(piece(rows[at : at + 700]) for at in range(0, 6000, 700))))
        await writer.commit(key("z"), True)
        assert result.reasons == {"not_null_violation": len(bad) - 1, "check_violation": 1, "unique_violation": 1}
        good = [row[0] for number, row in enumerate(rows) if number not in bad and number != 4000]
        assert await made.ids() == good
        rejects = target.rows("SELECT id, reason, detail FROM mongopg.reject ORDER BY reject_no")
        assert [row["reason"] for row in rejects][:3] == ["not_null_violation"] * 2 + ["check_violation"]
        twice = next(row for row in rejects if row["reason"] == "unique_violation")
        assert "(00017)" in twice["detail"], "the key that both have"


async def test_a_page_of_nothing_but_bad_rows_ends_soon(target: Target) -> None:
    async with bench(target.uri, "_id text, n integer NOT NULL") as made:
        writer = made.writer()
        await writer.begin(0, 0, None, True)
        async with asyncio.timeout(30):
            result = await writer.write_page(pieces(piece([(f"{number:05}", None) for number in range(3000)])))
        await writer.commit(key("z"), True)
        assert (result.n_written, result.reasons) == (0, {"not_null_violation": 3000})
        assert await made.ids() == []


async def test_errors_that_are_not_a_rows_fault_end_the_page(target: Target) -> None:
    async with bench(target.uri) as made:
        target.execute("ALTER TABLE users DROP COLUMN n")
        writer = made.writer()
        await writer.begin(0, 0, None, True)
        with pytest.raises(asyncpg.UndefinedColumnError) as error:
            await writer.write_page(pieces(piece([("a", 1)])))
        assert not sqlstates.is_transient(error.value)
        await writer.rollback()
        assert target.value("SELECT count(*) FROM mongopg.slice") == 0


async def test_upsert_takes_new_values_and_adds_new_rows(target: Target) -> None:
    async with bench(target.uri, "_id text PRIMARY KEY, n integer CHECK (n < 100)") as made:
        target.execute("INSERT INTO users VALUES ('a', 1), ('b', 2)")
        writer = made.writer(upsert_key="_id")
        for number in range(2):
            await writer.begin(0, number, key("d") if number else None, number == 0)
            page = pieces(piece([("b", 20), ("c", 30), ("x", 100)]), piece([("d", 4), ("d", 5)]))
            result = await writer.write_page(page)
            await writer.write_page(pieces(piece([("e", number)])))
            assert result.reasons == {"check_violation": 1}
            await writer.commit(key("d"), number == 1)
        rows = target.rows("SELECT * FROM users ORDER BY _id")
        assert [tuple(row) for row in rows] == [("a", 1), ("b", 20), ("c", 30), ("d", 5), ("e", 1)]
        assert target.value("SELECT count(*) FROM pg_class WHERE relname = 'mongopg_page'") == 0


class FrozenNetwork:
    """Between a client and PostgreSQL: passes everything on until it is frozen, and then can be cut."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self.host, self.port = parts.hostname, parts.port
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(self.host, self.port)
        self.writers += [writer, ours]
        await asyncio.gather(self.pass_on(reader, ours), self.pass_on(theirs, writer))

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self.thawed.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        self.thawed.set()


async def test_a_copy_ends_when_the_connection_is_lost_while_it_cannot_send(target: Target) -> None:
    async def endless() -> AsyncIterator[Piece]:
        block = piece([(f"{number:05}" + "x" * 1000, 1) for number in range(1000)])
        yield block
        network.thawed.clear()
        while True:
            yield block
            await asyncio.sleep(0)

    network = FrozenNetwork(target.uri)
    async with bench(target.uri) as made, await asyncio.start_server(network.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        made.others.append(await postgres.connect(f"postgresql://postgres@127.0.0.1:{port}/{target.database}"))
        writer = made.writer(made.others[0])
        await writer.begin(0, 0, None, True)
        writing = asyncio.create_task(writer.write_page(endless()))
        await asyncio.sleep(0.5)
        assert not writing.done()
        network.cut()
        async with asyncio.timeout(60):
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)) as broken:
                await writing
        assert sqlstates.is_transient(broken.value)
        await writer.rollback()
        assert await made.ids() == []
