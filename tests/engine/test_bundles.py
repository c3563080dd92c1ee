"""Small partitions share a transaction; what is in the way of one of them costs the others nothing."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import asyncpg
import pytest

from engine.errors import EXIT_DONE, EXIT_INCOMPLETE
from engine.ledger.partitions import Partition, check_complete
from engine.ledger.slice_groups import SliceGroup
from engine.ledger.slices import SliceBegin, SliceEnd, SliceLost
from engine.postgres.page import CopyTarget
from engine.protocol import RunState
from tests.engine.target_tools import NAMESPACE, RUN, USERS, bench, key, piece, pieces
from tests.engine.test_small_collections import add_collections, whole_database
from tests.faults.planting import constants
from tests.running import Engines, waiting_for_a_lock
from tests.signals import send_signal

if TYPE_CHECKING:
    from tests.conftest import Source, Target

PARTS = [Partition(0, 0, None, key("d")), Partition(1, 0, key("d"), key("m")), Partition(2, 0, key("m"), None)]
TABLE = CopyTarget(USERS, ("_id", "n"), NAMESPACE)
OWN_TABLE = "CREATE TABLE small0003 (_id bigint, name text, half double precision, _extra jsonb{more})"
GATE = 4711
"""Key of the lock that the trigger of a table waits for."""


def begins(*partitions: int, slice_no: int = 0) -> list[SliceBegin]:
    return [SliceBegin(number, slice_no, PARTS[number].lower, True) for number in partitions]


async def test_a_group_commits_the_slices_that_were_written_and_leaves_the_others_to_be_claimed(target: Target) -> None:
    async with bench(target.uri, parts=PARTS) as made:
        group = SliceGroup(made.connection, RUN, 3)
        await group.begin(begins(2, 0, 1), [TABLE] * 3)
        await group.write_page(0, pieces(piece([("x", 1)], [("y", "nul")])))
        await group.write_page(1, pieces(piece([("a", 2), ("b", 3)])))
        claims = await group.commit([SliceEnd(key("y"), True, {"nul.strip": 1}), SliceEnd(key("b"), False)])
        assert [(claim.n_read, claim.n_written, claim.n_rejected) for claim in claims] == [(2, 1, 1), (2, 2, 0)]
        assert await made.ids() == ["a", "b", "x"]
        assert await made.rejects() == [("y", "nul", "")]
        rows = target.rows("SELECT partition_id, upto, final, worker FROM mongopg.slice ORDER BY 1")
        assert [tuple(row) for row in rows] == [(0, key("b"), False, 3), (2, key("y"), True, 3)]
        assert target.value("SELECT altered ->> 'nul.strip' FROM mongopg.slice WHERE partition_id = 2") == "1"
        await group.begin([SliceBegin(0, 1, key("b"), False), *begins(1)], [TABLE] * 2)
        await group.commit([SliceEnd(None, True), SliceEnd(None, True)])
        assert await check_complete(made.connection, RUN) == []


async def test_a_group_claims_all_or_none(target: Target) -> None:
    async with bench(target.uri, parts=PARTS) as made:
        alone = made.writer()
        await alone.begin(1, 0, PARTS[1].lower, True)
        await alone.write_page(pieces(piece([("e", 1)])))
        await alone.commit(key("e"), True)
        group = SliceGroup(made.connection, RUN, 1)
        with pytest.raises(asyncpg.UniqueViolationError):
            await group.begin(begins(0, 1), [TABLE] * 2)
        await group.rollback()
        with pytest.raises(SliceLost, match=r"Slice 4 of partition 2 is not in the ledger\."):
            await group.begin([*begins(0), *begins(2, slice_no=5)], [TABLE] * 2)
        await group.rollback()
        assert target.value("SELECT count(*) FROM mongopg.slice") == 1
        await group.begin(begins(0, 2), [TABLE] * 2)
        with pytest.raises(asyncpg.PostgresError):  # a value that is no integer
            await group.write_page(0, pieces(piece([("a", b"123")])))
        await group.rollback()
        assert (target.value("SELECT count(*) FROM mongopg.slice"), await made.ids()) == (1, ["e"])


async def test_small_collections_share_transactions(
    source: Source, target: Target, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in constants({"engine.work.slice_notes:SLICE_S": 60.0}).items():  # on a busy machine, too
        monkeypatch.setenv(name, value)
    add_collections(source, 24)
    _, facts = await engines.run(whole_database(source, target))
    assert (facts["exit_code"], facts["verification"]) == (EXIT_DONE, "verified")
    row = target.rows("SELECT count(*) AS slices, count(DISTINCT xmin::text) AS n FROM mongopg.slice")[0]
    assert (row["slices"], row["n"] <= 12) == (24, True), row


@pytest.mark.slow
async def test_a_row_that_a_table_refuses_and_a_document_that_cannot_be_one_cost_the_others_nothing(
    source: Source, target: Target, engines: Engines
) -> None:
    names = add_collections(source, 9)
    source.db.small0005.update_one({"_id": 4}, {"$set": {"name": "a\0b"}})
    target.execute(OWN_TABLE.format(more=", CHECK (half <> 3.5)"))
    _, facts = await engines.run(whole_database(source, target, mode="append"))
    assert (facts["exit_code"], facts["written"], facts["rejected"]) == (EXIT_INCOMPLETE, 9 * 20 - 2, 2)
    found = target.rows("SELECT collection, id, reason FROM mongopg.reject ORDER BY 1")
    assert [(row["collection"].partition(".")[2], row["reason"]) for row in found] == [
        ("small0003", "check_violation"), ("small0005", "nul"),
    ]  # fmt: skip
    for name in names:
        assert target.value(f"SELECT count(*) FROM {name}") == (19 if name in ("small0003", "small0005") else 20)


async def test_a_worker_that_is_killed_leaves_nothing_of_the_partitions_in_its_hands(
    source: Source, target: Target, engines: Engines
) -> None:
    names = add_collections(source, 9)
    target.execute(
        OWN_TABLE.format(more="")
        + ";"
        + f"CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared({GATE});"
        " RETURN NEW; END'; CREATE TRIGGER gate BEFORE INSERT ON small0003 FOR EACH ROW EXECUTE FUNCTION gate()"
    )
    engine = await engines.launch(whole_database(source, target, mode="append", cluster_size=1))
    other = await asyncpg.connect(target.uri)
    try:
        await other.execute(f"SELECT pg_advisory_lock({GATE})")
        await engine.start()
        await waiting_for_a_lock(target)
        now = await engine.until(
            lambda now: now.workers and now.workers[0].pid and sum(table.workers for table in now.tables) > 1,
            "a worker at several tables",
        )
        victim = now.workers[0].pid
        assert send_signal(victim, signal.SIGKILL)
        await engine.event("worker", lambda facts: facts["pid"] == victim and facts["what"] == "died")
    finally:
        await other.close()
    engine.struck.add(victim)
    facts = await engine.finished()
    assert (facts["exit_code"], facts["verification"], facts["written"]) == (EXIT_DONE, "verified", 9 * 20)
    for name in names:
        assert target.rows(f"SELECT count(*) AS n, count(DISTINCT _id) AS ids FROM {name}")[0]["ids"] == 20
        assert target.value(f"SELECT count(*) FROM {name}") == 20


async def test_a_pause_among_small_collections_loses_and_doubles_nothing(
    source: Source, target: Target, engines: Engines
) -> None:
    add_collections(source, 12)
    engine = await engines.launch(whole_database(source, target, throttle=30))
    await engine.start()
    await engine.until_written(1)
    await engine.pause()
    paused = engine.snapshot
    assert paused.state is RunState.PAUSED
    assert target.value("SELECT sum(n_written) FROM mongopg.slice") == paused.written < 12 * 20
    assert target.value("SELECT count(*) FROM mongopg.slice WHERE committed_at IS NULL") == 0
    await engine.set("throttle", 0)
    await engine.resume()
    facts = await engine.finished()
    assert (facts["exit_code"], facts["verification"], facts["written"]) == (EXIT_DONE, "verified", 12 * 20)
