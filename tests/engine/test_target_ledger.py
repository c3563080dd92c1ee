"""The ledger on a real PostgreSQL: runs, partitions, positions, gaps, locks."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from engine.errors import MigrationError, PlanChanged, TargetExists, TargetHeld, UsageError
from engine.ledger import earlier_runs, partitions, runs, schema, table_locks, taking
from engine.ledger.partitions import Partition
from engine.ledger.rejects import RejectCause, rejects_report
from engine.mapping.names import TableName
from engine.postgres import blockers, sessions
from engine.postgres import connect as postgres
from engine.postgres.ddl import staging_name
from tests.engine.target_tools import NAMESPACE, RUN, USERS, Bench, begin_run, bench, key, piece, pieces
from tests.running import waiting_for_a_lock

if TYPE_CHECKING:
    from tests.conftest import Target

HALVES = [Partition(0, 0, None, key("m")), Partition(1, 0, key("m"), None)]


async def write(made: Bench, partition: int, slice_no: int, ids: str, *, final: bool, lower: str | None = None) -> None:
    """Commit a slice that begins behind (slice 0: at) `lower`."""
    writer = made.writer()
    await writer.begin(partition, slice_no, None if lower is None else key(lower), slice_no == 0)
    await writer.write_page(pieces(piece([(identifier, 1) for identifier in ids])))
    await writer.commit(key(ids[-1]) if ids else None, final)


async def test_the_ledger_is_made_once_and_by_any_number_at_a_time(target: Target) -> None:
    connections = [await postgres.connect(target.uri) for _ in range(4)]
    await asyncio.gather(*(schema.ensure_schema(connection) for connection in connections))
    await schema.ensure_schema(connections[0])
    assert target.value("SELECT version FROM mongopg.version") == schema.VERSION
    for connection in connections:
        await connection.close()


async def test_a_ledger_of_a_newer_version_is_refused(target: Target) -> None:
    async with bench(target.uri) as made:
        target.execute("UPDATE mongopg.version SET version = version + 1")
        with pytest.raises(UsageError, match="newer program"):
            await schema.ensure_schema(made.connection)


async def test_a_ledger_of_a_version_before_the_first_release_is_refused_with_what_to_do(target: Target) -> None:
    async with bench(target.uri) as made:
        target.execute("UPDATE mongopg.version SET version = 3; DROP TABLE mongopg.former_load")
        with pytest.raises(UsageError) as refused:
            await schema.ensure_schema(made.connection)
        assert "(schema mongopg) has version 3, which is from before the first release" in str(refused.value)
        assert "DROP SCHEMA mongopg CASCADE" in str(refused.value)
        assert await earlier_runs.mappings_of(made.connection, USERS) == ()
        target.execute("DROP SCHEMA mongopg CASCADE")
        await schema.ensure_schema(made.connection)
        assert target.value("SELECT version FROM mongopg.version") == schema.VERSION


async def test_positions_say_where_each_partition_goes_on(target: Target) -> None:
    async with bench(target.uri, parts=HALVES) as made:
        await write(made, 0, 0, "ab", final=False)
        await write(made, 0, 1, "c", final=True, lower="b")
        await write(made, 1, 0, "mn", final=False, lower="m")
        done, begun = await partitions.positions(made.connection, RUN)
        assert (done.finished, done.n_read) == (True, 3)
        assert (begun.finished, begun.next_slice_no, begun.lower, begun.lower_inclusive) == (False, 1, key("n"), False)
        assert await partitions.position(made.connection, RUN, 1) == begun
        totals = (await partitions.totals(made.connection, RUN))[0]
        assert (totals.n_read, totals.n_written, totals.partitions, totals.partitions_done) == (5, 5, 2, 1)


async def test_an_unbegun_partition_starts_at_its_own_lower_bound(target: Target) -> None:
    async with bench(target.uri, parts=HALVES) as made:
        position = (await partitions.positions(made.connection, RUN))[1]
        assert (position.next_slice_no, position.lower, position.lower_inclusive) == (0, key("m"), True)


async def messages(made: Bench) -> list[tuple[int | None, str]]:
    return [(gap.partition_id, gap.message) for gap in await partitions.check_complete(made.connection, RUN)]


async def test_slices_that_join_have_no_gap(target: Target) -> None:
    async with bench(target.uri, parts=HALVES) as made:
        await write(made, 1, 0, "", final=True, lower="m")
        assert await messages(made) == [(0, "nothing of it is committed")]
        await write(made, 0, 0, "ab", final=False)
        assert await messages(made) == [(0, "its end is missing behind slice 0")]
        await write(made, 0, 1, "c", final=True, lower="b")
        assert await messages(made) == []


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("DELETE FROM mongopg.slice WHERE slice_no = 1", [(0, "slice 1 is missing")]),
        ("DELETE FROM mongopg.slice WHERE slice_no = 0", [(0, "slice 0 is missing"), (0, "slice 1 is missing")]),
        ("UPDATE mongopg.slice SET upto = 'x' WHERE slice_no = 0", [(0, "slice 1 does not begin behind slice 0")]),
        ("UPDATE mongopg.slice SET lower_inclusive = true WHERE slice_no = 1", [(0, "slice 1 does not begin behind slice 0")]),
        ("UPDATE mongopg.slice SET lower = 'x' WHERE slice_no = 0", [(0, "slice 0 does not begin with the partition")]),
        ("UPDATE mongopg.slice SET final = true WHERE slice_no = 1", [(0, "slice 2 comes after its end")]),
        ("UPDATE mongopg.slice SET committed_at = NULL WHERE slice_no = 1", [(0, "slice 1 was claimed and not written")]),
        ("UPDATE mongopg.partition SET upper = 'x'",
         [(0, "ends of partitions at one of its bounds: 1, beginnings: 0"),
          (None, "partitions that begin with the collection: 1, that end with it: 0")]),
        ("UPDATE mongopg.partition SET lower = NULL, upper = NULL; INSERT INTO mongopg.partition SELECT run_id, 1, 0"
         " FROM mongopg.partition", [(1, "nothing of it is committed"),
                                     (None, "partitions that begin with the collection: 2, that end with it: 2")]),
        ("DELETE FROM mongopg.partition", [(None, "partitions that begin with the collection: 0, that end with it: 0")]),
    ],
)  # fmt: skip
async def test_every_kind_of_gap_is_found(target: Target, damage: str, expected: list[tuple[int | None, str]]) -> None:
    async with bench(target.uri) as made:
        await write(made, 0, 0, "ab", final=False)
        await write(made, 0, 1, "cd", final=False, lower="b")
        await write(made, 0, 2, "e", final=True, lower="d")
        assert await messages(made) == []
        target.execute(damage)
        assert await messages(made) == expected


async def test_partitions_that_do_not_touch_are_a_gap(target: Target) -> None:
    parts = [Partition(0, 0, None, key("m")), Partition(1, 0, key("n"), None)]
    async with bench(target.uri, parts=parts) as made:
        await write(made, 0, 0, "a", final=True)
        await write(made, 1, 0, "n", final=True, lower="n")
        assert len(await messages(made)) == 2


async def test_a_queued_partition_is_cut_but_not_one_that_was_begun(target: Target) -> None:
    cut = [Partition(2, 0, None, key("f")), Partition(3, 0, key("f"), key("m"))]
    async with bench(target.uri, parts=HALVES) as made:
        await write(made, 1, 0, "m", final=False, lower="m")
        assert await partitions.replace_partition(made.connection, RUN, 0, cut)
        assert await partitions.replace_partition(made.connection, RUN, 0, cut), "the answer of a COMMIT may be lost"
        other = [Partition(8, 0, None, key("g")), Partition(9, 0, key("g"), key("m"))]
        assert not await partitions.replace_partition(made.connection, RUN, 0, other), "it is not there any more"
        again = [Partition(4, 0, key("m"), key("t")), Partition(5, 0, key("t"), None)]
        assert not await partitions.replace_partition(made.connection, RUN, 1, again), "it has a slice"
        assert [p.partition.partition_id for p in await partitions.positions(made.connection, RUN)] == [1, 2, 3]


async def test_the_parts_of_a_fill_in_are_of_its_generation(target: Target) -> None:
    whole = Partition(0, 0, None, None, generation=2)
    async with bench(target.uri, parts=[whole]) as made:
        await made.connection.execute("UPDATE mongopg.table_load SET first_generation = 2")
        cut = [Partition(1, 0, None, key("m")), Partition(2, 0, key("m"), None)]
        assert await partitions.replace_partition(made.connection, RUN, 0, cut)
        found = await partitions.positions(made.connection, RUN)
        assert [(each.partition.partition_id, each.partition.generation) for each in found] == [(1, 2), (2, 2)]
        await write(made, 1, 0, "a", final=True)
        await write(made, 2, 0, "m", final=True, lower="m")
        assert await messages(made) == []


async def test_a_cut_waits_for_a_first_slice_that_is_being_written(target: Target) -> None:
    async with bench(target.uri) as made:
        writer = made.writer(await made.connect())
        await writer.begin(0, 0, None, True)
        parts = [Partition(1, 0, None, key("m")), Partition(2, 0, key("m"), None)]
        cutting = asyncio.create_task(partitions.replace_partition(made.connection, RUN, 0, parts))
        await waiting_for_a_lock(target)
        assert not cutting.done()
        await writer.commit(None, True)
        assert not await cutting


async def test_a_cut_with_a_hole_is_refused(target: Target) -> None:
    async with bench(target.uri, parts=HALVES) as made:
        for parts in (
            [Partition(2, 0, None, key("f")), Partition(3, 0, key("g"), key("m"))],
            [Partition(2, 0, None, key("f"))],
            [],
        ):
            with pytest.raises(ValueError, match="partition"):
                await partitions.replace_partition(made.connection, RUN, 0, parts)
        assert len(await partitions.positions(made.connection, RUN)) == 2


async def test_runs_are_found_by_prefix_and_by_plan(target: Target) -> None:
    async with bench(target.uri) as made:
        connection = made.connection
        for number, (run_id, state) in enumerate([("a-1", "completed"), ("a-2", "cancelled"), ("a-3", "completed")]):
            await begin_run(connection, run_id, [], fingerprint="same")
            await runs.set_state(connection, run_id, 1, state, ended=True, seconds=number)
        found = await runs.find_run(connection, fingerprint="same")
        assert found is not None
        assert (found.run_id, found.is_resumable, found.namespaces) == ("a-2", True, (NAMESPACE,))
        await runs.set_state(connection, "a-2", 1, "completed")
        found = await runs.find_run(connection, fingerprint="same")
        assert found is not None
        assert (found.run_id, found.is_resumable) == ("a-3", False)
        assert await runs.find_run(connection, fingerprint="another") is None
        assert (await runs.find_run(connection, prefix="2026")).run_id == RUN  # type: ignore[union-attr]
        newest = await runs.find_run(connection)
        assert newest is not None
        assert newest.run_id == "a-3"
        with pytest.raises(UsageError, match=r"More than one run begins with 'a-': a-3, a-2, a-1"):
            await runs.find_run(connection, prefix="a-")
        with pytest.raises(UsageError, match="no run that begins with 'zz'"):
            await runs.find_run(connection, prefix="zz")
        assert [run.run_id for run in await runs.list_runs(connection)] == ["a-3", "a-2", "a-1", RUN]


@pytest.mark.slow
async def test_a_resume_takes_over_and_adds_up_its_time(target: Target) -> None:
    async with bench(target.uri) as made:
        await runs.set_state(made.connection, RUN, 1, "cancelled", ended=True, seconds=2.5, error="cancelled by you")
        assert await taking.claim(made.connection, RUN, "here", 1) == 2
        await runs.take_over(made.connection, RUN, "running")
        run = await runs.find_run(made.connection, prefix=RUN)
        assert run is not None
        assert (run.state, run.ended_at, run.error, run.seconds) == ("running", None, "", 2.5)
        await runs.set_state(made.connection, RUN, 2, "completed", ended=True, seconds=1.5, verification="verified")
        run = await runs.find_run(made.connection, prefix=RUN)
        assert run is not None
        assert (run.seconds, run.verification) == (4.0, "verified")


async def test_run_and_tables_are_made_together_or_not_at_all(target: Target) -> None:
    async with bench(target.uri) as made:
        with pytest.raises(TargetExists, match="users"):
            await begin_run(made.connection, "second", ["CREATE TABLE other (x int)", "CREATE TABLE users (x int)"])
        assert target.value("SELECT to_regclass('other')") is None
        assert [run.run_id for run in await runs.list_runs(made.connection)] == [RUN]


@pytest.mark.slow
async def test_a_table_that_was_made_anew_cannot_be_resumed_into(target: Target) -> None:
    async with bench(target.uri) as made:
        await runs.check_same_tables(made.connection, RUN)
        target.execute("ALTER TABLE users RENAME TO old; CREATE TABLE users (x int)")
        with pytest.raises(PlanChanged, match="users"):
            await runs.check_same_tables(made.connection, RUN)
        target.execute("DROP TABLE old")
        with pytest.raises(PlanChanged, match="--discard"):
            await runs.check_same_tables(made.connection, RUN)


async def test_a_second_run_is_told_who_holds_the_table(target: Target) -> None:
    async with bench(target.uri) as made:
        other = await made.connect()
        items = TableName("public", "items")
        await table_locks.hold_tables(made.connection, [USERS])
        with pytest.raises(TargetHeld) as refused:
            await table_locks.hold_tables(other, [items, USERS])
        message = str(refused.value)
        assert f"public.users is held by run {RUN} since 20" in message
        assert re.search(r"last heard \d+ s ago", message)
        await table_locks.hold_tables(made.connection, [items])  # the other took all or none
        await table_locks.release_tables(made.connection, [items, USERS])
        await table_locks.hold_tables(other, [items, USERS])


async def test_a_new_session_asks_for_locks_without_asking_what_a_type_is(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(target.uri) as made:
        await table_locks.hold_tables(made.connection, [USERS], RUN)

        async def asked(*_: object, **__: object) -> None:
            raise AssertionError("the driver asks the catalogue what a type is")

        monkeypatch.setattr(asyncpg.Connection, "_introspect_types", asked)
        other = await made.connect()
        await sessions.rename(made.connection, RUN)
        assert await table_locks.is_held_for(other, USERS, RUN)
        assert not await table_locks.is_held_for(other, TableName("public", "items"), RUN)
        assert not await table_locks.is_held_for(other, USERS, "another run")
        assert USERS in await table_locks.held_tables(other, [USERS])
        await table_locks.release_tables(made.connection, [USERS])
        assert not await table_locks.is_held_for(other, USERS, RUN)


async def test_a_resumed_run_holds_its_table_since_it_was_resumed(target: Target) -> None:
    async with bench(target.uri) as made:
        other = await made.connect()
        await table_locks.hold_tables(made.connection, [USERS])
        target.execute("UPDATE mongopg.run SET started_at = '2001-01-01', taken_at = '2001-01-02'")
        with pytest.raises(TargetHeld, match=f"held by run {RUN} since 2001-01-02"):
            await table_locks.hold_tables(other, [USERS])
        await runs.take_over(made.connection, RUN, "running")
        with pytest.raises(TargetHeld, match=f"held by run {RUN} since 20[^0]"):
            await table_locks.hold_tables(other, [USERS])
        target.execute("UPDATE mongopg.run SET taken_at = NULL")  # by an older version
        with pytest.raises(TargetHeld, match=f"held by run {RUN} since 2001-01-01"):
            await table_locks.hold_tables(other, [USERS])


async def test_a_holder_without_a_run_is_named_by_its_session_and_leaves_nothing_behind(target: Target) -> None:
    async with bench(target.uri) as made:
        other = await made.connect()
        table = TableName('odd "name"', "t" * 63)
        await table_locks.hold_tables(made.connection, [table])
        with pytest.raises(TargetHeld, match=f"session {made.connection.get_server_pid()} of postgres"):
            await table_locks.hold_tables(other, [table])
        made.connection.terminate()
        async with asyncio.timeout(60):
            while target.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"):
                await asyncio.sleep(0.02)
        await table_locks.hold_tables(other, [table])


async def test_who_locks_a_table_is_named(target: Target) -> None:
    async with bench(target.uri) as made:
        other = await made.connect()
        async with other.transaction():
            await other.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            words = await blockers.blockers(made.connection, USERS)
            assert f"session {other.get_server_pid()} of postgres (mongopg-tui) holds a AccessExclusiveLock" in words
        assert await blockers.blockers(made.connection, USERS) == ""


@pytest.mark.parametrize(
    ("wanted", "held", "is_blocked"),
    [
        ("AccessShareLock", "ACCESS EXCLUSIVE", True),
        ("AccessShareLock", "EXCLUSIVE", False),
        ("RowExclusiveLock", "SHARE", True),
        ("RowExclusiveLock", "ROW EXCLUSIVE", False),
        ("ShareUpdateExclusiveLock", "SHARE UPDATE EXCLUSIVE", True),
        ("ShareUpdateExclusiveLock", "ROW EXCLUSIVE", False),
        ("ShareLock", "ROW EXCLUSIVE", True),
        ("ShareLock", "SHARE", False),
        ("AccessExclusiveLock", "ACCESS SHARE", True),
    ],
)
async def test_only_who_keeps_a_lock_waiting_is_named(
    target: Target, wanted: blockers.LockMode, held: str, is_blocked: bool
) -> None:
    async with bench(target.uri) as made:
        other = await made.connect()
        await made.connection.execute("SET lock_timeout = 50")
        mode = {
            "AccessShareLock": "ACCESS SHARE", "RowExclusiveLock": "ROW EXCLUSIVE",
            "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE", "ShareLock": "SHARE",
            "AccessExclusiveLock": "ACCESS EXCLUSIVE",
        }[wanted]  # fmt: skip

        async def lock() -> None:
            async with blockers.naming_blockers(made.connection, [USERS], wanted), made.connection.transaction():
                await made.connection.execute(f"LOCK TABLE users IN {mode} MODE")

        async with other.transaction():
            await other.execute(f"LOCK TABLE users IN {held} MODE")
            if is_blocked:
                named = f"Table public.users is locked: session {other.get_server_pid()} of postgres"
                with pytest.raises(MigrationError, match=named) as refused:
                    await lock()
                assert refused.value.code == "55P03"
            else:
                await lock()


async def test_a_discarded_run_leaves_its_tables_and_loses_the_rest(target: Target) -> None:
    staging = staging_name(USERS, "replacing")
    async with bench(target.uri) as made:
        await write(made, 0, 0, "ab", final=True)
        await runs.append_events(made.connection, RUN, [(0, 0.1, "state", {"state": "running"})])
        await begin_run(made.connection, "replacing", [f"CREATE TABLE {staging.sql} (x int)"], staging=staging)
        await begin_run(
            made.connection,
            "third",
            [f"ALTER TABLE {staging.sql} RENAME TO other", f"CREATE TABLE {staging.sql} (x int)"],
            staging=staging,
        )
        assert await runs.discard(made.connection, RUN) == []
        assert await runs.discard(made.connection, "replacing") == [], "another table has the name of its staging table"
        assert await runs.discard(made.connection, "third") == [staging]
        for table in ("run", "table_load", "partition", "slice", "reject", "event"):
            assert target.value(f"SELECT count(*) FROM mongopg.{table}") == 0, table
        assert await made.ids() == ["a", "b"]
        assert target.value("SELECT to_regclass('other') IS NOT NULL")


async def test_a_run_whose_table_is_in_use_is_not_discarded_and_says_by_whom(target: Target) -> None:
    staging = staging_name(USERS, "replacing")
    async with bench(target.uri) as made:
        await begin_run(made.connection, "replacing", [f"CREATE TABLE {staging.sql} (x int)"], staging=staging)
        reader = await postgres.connect(target.uri, application_name="a report")
        async with reader.transaction():
            await reader.execute(f"LOCK {staging.sql} IN ACCESS SHARE MODE")
            with pytest.raises(
                MigrationError, match=rf"{staging.table}.* is locked: .*a report.*AccessShareLock"
            ) as said:
                await runs.discard(made.connection, "replacing", lock_timeout_s=0.2)
            assert said.value.code == "55P03"
            assert target.value("SELECT count(*) FROM mongopg.run WHERE run_id = 'replacing'") == 1
        await reader.close()
        assert await runs.discard(made.connection, "replacing") == [staging]


async def test_events_are_kept_once_and_numbered_on(target: Target) -> None:
    async with bench(target.uri) as made:
        events: list[tuple[int, float, str, dict[str, Any]]] = [
            (0, 0.5, "state", {"state": "running"}), (1, 0.75, "problem", {"code": "x", "message": 'a "quote"'})
        ]  # fmt: skip
        assert await runs.next_event_seq(made.connection, RUN) == 0
        await runs.append_events(made.connection, RUN, events)
        await runs.append_events(made.connection, RUN, events)
        assert await runs.next_event_seq(made.connection, RUN) == 2
        assert target.value("SELECT facts ->> 'message' FROM mongopg.event WHERE seq = 1") == 'a "quote"'


async def test_rejects_are_reported_by_reason_with_a_few_ids(target: Target) -> None:
    async with bench(target.uri, "_id text, n integer NOT NULL") as made:
        writer = made.writer()
        await writer.begin(0, 0, None, True)
        await writer.write_page(pieces(piece([(letter, None) for letter in "abcd"], [("y", "nul"), ("z\0", "nul")])))
        await writer.commit(key("d"), True)
        report = await rejects_report(made.connection, RUN, samples=2)
        assert [(group.reason, group.field, group.count) for group in report] == [
            ("not_null_violation", "n", 4), ("nul", "name", 2),
        ]  # fmt: skip
        assert report[0].samples == ('"a"', '"b"')
        assert report[1] == RejectCause(NAMESPACE, "nul", "name", "", 2, "a NUL character", ('"y"', '"z\\u0000"'))
