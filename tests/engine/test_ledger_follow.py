"""What the ledger keeps of a source that is followed: positions that join, and keys that stay until they are applied."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from engine.ledger import follow, lanes, runs
from engine.ledger.changed import LaneKey
from engine.ledger.follow import Blocked, StreamSlice, StreamTaken
from engine.ledger.lanes import LaneTaken
from tests.engine.target_tools import RUN, Bench, bench, key

if TYPE_CHECKING:
    from tests.conftest import Target

LANE = LaneKey(RUN, 0, 2)
NOTHING = (0, 0, 0)


def taken(number: int, *values: object) -> StreamSlice:
    keys = {(0, 2): {key(value) for value in values}} if values else {}
    return StreamSlice(number, b"token %d" % number, number << 32, {"insert": len(values)}, keys)


async def begun(made: Bench) -> asyncpg.Connection:
    async with made.connection.transaction():
        await follow.begin(made.connection, RUN, 8, ["shop"], "copying")
    return made.connection


async def keys_of(connection: asyncpg.Connection, upto: int) -> list[bytes]:
    keys, has_more = await lanes.dirty_keys(connection, LANE, upto, b"", 100, 1 << 20)
    assert not has_more
    return [each.key for each in keys]


async def test_slices_of_a_stream_join_and_each_is_committed_once(target: Target) -> None:
    async with bench(target.uri) as made:
        connection = await begun(made)
        assert await follow.position(connection, RUN, 0) is None
        await follow.add_slice(connection, RUN, 0, taken(1, "a"))
        await follow.add_slice(connection, RUN, 0, taken(2, "b"))
        for number in (1, 2, 4):  # another follower, and one whose server forgot a slice
            with pytest.raises(StreamTaken):
                await follow.add_slice(connection, RUN, 0, taken(number, "lost"))
        at = await follow.position(connection, RUN, 0)
        assert at is not None
        assert (at.slice_no, at.token, at.token_time) == (2, b"token 2", 2 << 32)
        assert await keys_of(connection, 9) == [key("a"), key("b")]


async def test_of_two_followers_at_once_one_is_told(target: Target) -> None:
    async with bench(target.uri) as made:
        connection = await begun(made)
        other = await made.connect()
        done = await asyncio.gather(
            follow.add_slice(connection, RUN, 0, taken(1, "a")),
            follow.add_slice(other, RUN, 0, taken(1, "b")),
            return_exceptions=True,
        )
        assert sorted(type(each).__name__ for each in done) == ["NoneType", "StreamTaken"]
        assert len(await keys_of(connection, 9)) == 1


async def test_the_newest_slice_has_the_sums_of_those_that_are_gone(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "ROLLED_UP_AT", 4)
    async with bench(target.uri) as made:
        connection = await begun(made)
        for number in range(1, 11):
            await follow.add_slice(connection, RUN, 0, taken(number, number))
        assert [row[0] for row in target.rows("SELECT slice_no FROM mongopg.stream_slice ORDER BY 1")] == [8, 9, 10]
        assert await follow.events(connection, RUN) == {"insert": 10, "update": 0, "replace": 0, "delete": 0}
        with pytest.raises(StreamTaken):
            await follow.add_slice(connection, RUN, 0, taken(8, "lost"))


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
async def test_a_key_that_changed_again_stays(target: Target, isolation: str) -> None:
    """Whatever isolation the server gives transactions that ask for none."""
    async with bench(target.uri) as made:
        connection = await begun(made)
        await connection.execute(f"SET default_transaction_isolation = '{isolation}'")
        await follow.add_slice(connection, RUN, 0, taken(1, "a", "b"))
        await lanes.claim(connection, LANE, 0, 1, 5.0)
        keys, _ = await lanes.dirty_keys(connection, LANE, 1, b"", 100, 1 << 20)
        other = await made.connect()
        await follow.add_slice(other, RUN, 0, taken(2, "b", "c"))  # while the batch reads the source
        await lanes.settle(connection, LANE, 0, 1, keys, (2, 0, 0))
        assert await keys_of(connection, 1) == []
        assert await keys_of(connection, 2) == [key("b"), key("c")]
        assert await follow.keys_left(connection, RUN) == (2, 0)
        assert await follow.waiting(connection, RUN) == {(0, 2): 2}


async def test_a_key_that_is_asked_for_again_is_not_older_for_that(target: Target) -> None:
    """Rejects that are looked at again, and what differs, have no change of their own."""
    async with bench(target.uri) as made:
        connection = await begun(made)
        await follow.add_slice(connection, RUN, 0, taken(1))
        await follow.add_slice(connection, RUN, 0, taken(2, "a"))
        async with connection.transaction():
            await follow.add_dirty(connection, RUN, 0, 2, {key("a"), key("b")}, 0)
        assert await keys_of(connection, 1) == [key("b")], "what was read before its change does not count"
        assert await keys_of(connection, 2) == [key("a"), key("b")]


async def test_a_key_that_is_blocked_stays_until_it_changes_again_or_is_asked_for(target: Target) -> None:
    async with bench(target.uri) as made:
        connection = await begun(made)
        await follow.add_slice(connection, RUN, 0, taken(1, "a", "b", "c"))
        await lanes.claim(connection, LANE, 0, 1, 5.0)
        keys, _ = await lanes.dirty_keys(connection, LANE, 1, b"", 100, 1 << 20)
        blocked = {keys[0].hash: "x_key", keys[1].hash: "y_key"}
        await lanes.settle(connection, LANE, 0, 1, keys, (1, 0, 0), blocked=blocked)
        assert target.value("SELECT n_keys FROM mongopg.applied") == 1
        assert await follow.keys_left(connection, RUN) == (2, 2)
        assert await follow.blocked(connection, RUN) == [Blocked(0, 2, "x_key", 1), Blocked(0, 2, "y_key", 1)]
        others, _ = await lanes.dirty_keys(connection, LANE, 9, b"", 100, 1 << 20, with_blocked=False)
        assert not others
        await follow.add_slice(connection, RUN, 0, taken(2, "b"))
        others, _ = await lanes.dirty_keys(connection, LANE, 9, b"", 100, 1 << 20, with_blocked=False)
        assert [each.key for each in others] == [key("b")]
        assert await keys_of(connection, 9) == [key("a"), key("b")]
        assert await follow.keys_left(connection, RUN) == (2, 1)


async def test_batches_of_a_lane_follow_one_another_and_wait_for_one_another(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "ROLLED_UP_AT", 4)
    async with bench(target.uri) as made:
        connection = await begun(made)
        other = await made.connect()
        with pytest.raises(LaneTaken):
            await lanes.claim(connection, LANE, 1, 1, 5.0)
        await lanes.claim(connection, LANE, 0, 1, 5.0)
        waits = asyncio.create_task(lanes.claim(other, LANE, 0, 2, 5.0))
        await asyncio.sleep(0.1)
        assert not waits.done()
        await lanes.settle(connection, LANE, 0, 1, [], (1, 2, 3), altered={"overflow": 5})
        with pytest.raises(LaneTaken):
            await waits
        for number in range(1, 7):
            assert await lanes.next_batch(other, LANE) == number
            await lanes.claim(other, LANE, number, 2, 5.0)
            altered = {"nul.strip": number, "overflow": 1} if number % 2 == 0 else {}
            await lanes.settle(other, LANE, number, 1, [], (1, 2, 3), altered=altered)
        rows = target.rows("SELECT batch_no, n_upserted, n_deleted, n_rejected FROM mongopg.applied ORDER BY 1")
        assert [row["batch_no"] for row in rows] == [4, 5, 6]
        assert [sum(row[name] for row in rows) for name in ("n_upserted", "n_deleted", "n_rejected")] == [7, 14, 21]
        kept = target.rows(
            "SELECT batch_no, altered->>'nul.strip', altered->>'overflow' FROM mongopg.applied ORDER BY 1"
        )
        assert [tuple(row) for row in kept] == [(4, "6", "7"), (5, None, None), (6, "6", "1")]


async def test_keys_come_in_parts_and_long_ones_whole(target: Target) -> None:
    async with bench(target.uri) as made:
        connection = await begun(made)
        long = ["k" * 5_000 + str(number) for number in range(3)]
        await follow.add_slice(connection, RUN, 0, taken(1, "a", "b", *long))
        found: list[bytes] = []
        after = b""
        has_more = True
        while has_more:
            part, has_more = await lanes.dirty_keys(connection, LANE, 1, after, 2, 1 << 20)
            assert len(part) == (2 if has_more else 1)
            found += [each.key for each in part]
            after = part[-1].hash
        assert sorted(found) == sorted(key(each) for each in ("a", "b", *long))
        part, has_more = await lanes.dirty_keys(connection, LANE, 1, b"", 100, 100)
        assert (len(part), has_more) == (2, True), "the next one has too many bytes"


async def test_a_discarded_run_leaves_no_keys(target: Target) -> None:
    async with bench(target.uri) as made:
        connection = await begun(made)
        await follow.add_slice(connection, RUN, 0, taken(1, "a"))
        await lanes.claim(connection, LANE, 0, 1, 5.0)
        await lanes.settle(connection, LANE, 0, 1, [], NOTHING)
        await runs.discard(connection, RUN)
        for table in ("follow", "stream", "stream_slice", "dirty", "applied"):
            assert target.value(f"SELECT count(*) FROM mongopg.{table}") == 0, table


async def test_thousands_of_keys_are_removed_by_their_index(target: Target) -> None:
    async with bench(target.uri) as made:
        connection = await begun(made)
        await follow.add_slice(connection, RUN, 0, taken(1, *range(6_000)))
        await lanes.claim(connection, LANE, 0, 1, 5.0)
        keys, has_more = await lanes.dirty_keys(connection, LANE, 1, b"", 5_000, 1 << 20)
        assert has_more
        await connection.execute("SET statement_timeout = '15s'")  # by a join of loops it took 22 s
        await lanes.settle(connection, LANE, 0, 1, keys, NOTHING)
        assert len(keys) == 5_000
        assert await follow.waiting(connection, RUN) == {(0, 2): 1_000}


async def test_what_was_applied_behind_a_fence_is_noticed(target: Target) -> None:
    async with bench(target.uri) as made:
        connection = await begun(made)
        other = await made.connect()
        await lanes.claim(other, LANE, 0, 1, 5.0)  # by a worker that was taken for dead
        fenced = asyncio.create_task(lanes.fence(connection, RUN, 0, 4))
        await asyncio.sleep(0)
        await lanes.settle(other, LANE, 0, 1, [], NOTHING)
        behind = await fenced
        assert [*behind] == [0, 0, 1, 0], "its batch came first"
        async with connection.transaction():
            await lanes.claim_all(connection, RUN, 0, behind)
        behind = await lanes.fence(connection, RUN, 0, 4)
        await lanes.claim(other, LANE, behind[2] + 1, 1, 5.0)
        await lanes.settle(other, LANE, behind[2] + 1, 1, [], NOTHING)
        with pytest.raises(LaneTaken):
            async with connection.transaction():
                await lanes.claim_all(connection, RUN, 0, behind)
