"""Connections that break under a run, at either server: it goes on by itself, and nothing is lost or done twice."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

from tests.faults.planting import constants, small_batches
from tests.faults.proxy import Proxy, proxy_to
from tests.running import (
    Engine,
    Engines,
    add_users,
    advisory_locks,
    assert_users_equal,
    committed,
    eventually,
)
from tests.signals import send_signal
from tests.slow_run import VERY_SLOW, completed, started

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 12_000
DOWN_S = 1.0
BROKEN = {"57P01", "08003", "08006"}
"""Told to end by the administrator, or the connection just ended: what arrives first is a matter of luck."""
COPYING = "starts_with(application_name, 'mongopg-tui') AND datname = current_database() AND query LIKE 'COPY %'"


async def _cut_three_times(proxy: Proxy, engine: Engine) -> None:
    """Break every connection, and wait each time until the run goes on."""
    for _ in range(3):
        proxy.cut()
        await engine.until_written(engine.snapshot.written + 1)


async def _take_down(proxy: Proxy, engine: Engine) -> None:
    """Break every connection and let no new one through, until `is_down` is reset; the run has met it by now."""
    proxy.is_down = True
    proxy.cut()
    await engine.event("problem")


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_backends_of_workers_are_ended_in_the_middle_of_copy(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await started(engines, throttle=VERY_SLOW)

    ended = 0
    while ended < 5:
        ended += target.value(f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {COPYING}")
        await engine.until_written(engine.snapshot.written + 1)

    await completed(engine, source, target)
    assert {problem.code for problem in engine.snapshot.problems} <= BROKEN
    assert engine.snapshot.retried >= 5
    assert not [facts for facts in engine.facts_of("worker") if facts["what"] == "died"]


async def test_all_sessions_of_a_run_are_ended(source: Source, target: Target, engines: Engines) -> None:
    """The engine's own, too: it must take its lock on the table again."""
    add_users(source, USERS)
    engine = await started(engines, throttle=VERY_SLOW)
    before = set(advisory_locks(target))

    target.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND starts_with(application_name, 'mongopg-tui')"
    )

    await engine.until_written(engine.snapshot.written + 1)
    await eventually(lambda: set(advisory_locks(target)) - before, 30.0, engine.account)
    await completed(engine, source, target)


@pytest.mark.slow
async def test_a_run_ends_when_another_took_its_table_while_its_sessions_were_gone(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await started(engines)
    lock = target.rows(
        "SELECT pid, classid::bigint AS class, objid::bigint AS key FROM pg_locks WHERE locktype = 'advisory'"
    )
    held = next(row for row in lock if row["pid"] in _backends(target))
    other = await asyncpg.connect(target.uri)
    try:
        waits = asyncio.create_task(
            other.execute(
                "SELECT pg_advisory_lock($1::bigint::bit(32)::int, $2::bigint::bit(32)::int)",
                held["class"],
                held["key"],
            )
        )
        queued = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await eventually(lambda: target.value(queued), 60.0, engine.account)
        target.execute(f"SELECT pg_terminate_backend({held['pid']})")
        await waits

        end = await engine.finished()
    finally:
        await other.close()
    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 2, "target_held")
    assert "public.users is held by" in end["error"]["message"]
    assert end["written"] == committed(target)


def _backends(target: Target) -> set[int]:
    rows = target.rows("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
    return {row["pid"] for row in rows}


async def test_postgres_crashes_and_recovers(source: Source, target: Target, engines: Engines) -> None:
    """A backend killed with SIGKILL makes the server end all sessions, recover from its log and go on."""
    add_users(source, USERS)
    engine = await started(engines)
    victim = f"SELECT max(pid) FROM pg_stat_activity WHERE {COPYING.split(' AND query')[0]}"
    await eventually(lambda: send_signal(int(target.value(victim)), signal.SIGKILL), 30.0, engine.account)

    await _until_postgres_answers(target)
    await engine.until_written(engine.snapshot.written + 1)
    await completed(engine, source, target)


async def _until_postgres_answers(target: Target) -> None:
    for _ in range(500):
        try:
            connection = await asyncpg.connect(target.uri)
            await connection.close()
            return
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.05)
    raise AssertionError("PostgreSQL did not recover")


@pytest.mark.slow
async def test_a_lock_on_the_table_only_delays(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines)
    other = await asyncpg.connect(target.uri)
    await other.execute("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass"
    await eventually(lambda: target.value(waiting) >= 2, 30.0, engine.account)
    await other.close()

    await completed(engine, source, target)


@pytest.mark.slow
async def test_a_lock_that_stays_is_told_with_who_holds_it(
    source: Source, target: Target, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in constants({"engine.ledger.slices:LOCK_TIMEOUT_S": 1}).items():
        monkeypatch.setenv(name, value)
    add_users(source, USERS)
    engine = await started(engines)
    other = await asyncpg.connect(target.uri, server_settings={"application_name": "nightly report"})
    await other.execute("BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    found = await engine.event("problem", lambda facts: facts["code"] == "55P03")
    held_by = f"session {other.get_server_pid()} of postgres (nightly report) holds a AccessExclusiveLock since"
    assert f"Table public.users is locked: {held_by}" in found.facts["message"]
    await other.close()

    await completed(engine, source, target)


async def test_a_hold_that_only_the_server_believes_in_is_not_another_run_s(
    source: Source, target: Target, engines: Engines, target_proxy: Proxy
) -> None:
    """The network broke on our side alone: the old session still has the lock, and nothing could give it up."""
    add_users(source, USERS)
    target_proxy.mark = b"pg_try_advisory_lock"
    engine = await started(engines, throttle=VERY_SLOW, sections={"target": {"uri": target_proxy.uri}})
    before = set(advisory_locks(target))
    assert before

    target_proxy.forget_marked()

    await eventually(lambda: advisory_locks(target) and not before & set(advisory_locks(target)), 30.0, engine.account)
    await completed(engine, source, target)


@pytest.mark.slow
async def test_the_network_to_postgres_is_cut(
    source: Source, target: Target, engines: Engines, target_proxy: Proxy
) -> None:
    add_users(source, USERS)
    engine = await started(engines, sections={"target": {"uri": target_proxy.uri}})

    await _cut_three_times(target_proxy, engine)

    await completed(engine, source, target)


@pytest.mark.slow
async def test_postgres_is_away_for_a_while(
    source: Source, target: Target, engines: Engines, target_proxy: Proxy
) -> None:
    add_users(source, USERS)
    engine = await started(engines, sections={"target": {"uri": target_proxy.uri}})

    await _take_down(target_proxy, engine)
    await asyncio.sleep(DOWN_S)
    stands_at = committed(target)
    assert target_proxy.n_links == 0
    target_proxy.is_down = False
    await engine.until_written(stands_at + 1)

    await completed(engine, source, target)


async def test_a_commit_whose_answer_is_lost_counts_once(
    source: Source, target: Target, engines: Engines, target_proxy: Proxy
) -> None:
    """The slice is committed, and the worker cannot know: it looks its claim up, and neither loses nor repeats it."""
    add_users(source, USERS)
    target_proxy.mark = b"INSERT INTO mongopg.slice"  # a worker's, not the engine's own
    engine = await started(engines, sections={"target": {"uri": target_proxy.uri}})

    target_proxy.swallow_answers(4, to=b"COMMIT")
    await eventually(lambda: target_proxy.n_to_swallow == 0, 30.0, engine.account)
    await engine.until_written(engine.snapshot.written + 1)

    await completed(engine, source, target)


@pytest.mark.slow
async def test_a_cancel_while_postgres_is_away_ends_the_run(
    source: Source, target: Target, engines: Engines, target_proxy: Proxy
) -> None:
    add_users(source, USERS)
    engine = await started(engines, sections={"target": {"uri": target_proxy.uri}})
    await _take_down(target_proxy, engine)

    await engine.cancel()

    end = await engine.finished()
    assert (end["state"], end["exit_code"]) == ("cancelled", 130)
    target_proxy.is_down = False
    await engine.leave()
    await engine.until_gone()
    _, end = await engines.run(resume="")
    assert end["exit_code"] == 0
    assert_users_equal(source, target)


@pytest.mark.slow
@pytest.mark.parametrize(
    "lost", [pytest.param(b"INSERT INTO mongopg.table_load", marks=pytest.mark.slow), b"COMMIT"], ids=["before", "in"]
)
async def test_the_commit_of_a_run_s_beginning_is_lost(
    source: Source, target: Target, engines: Engines, target_proxy: Proxy, lost: bytes
) -> None:
    """Whether the run is in the ledger is looked up, and it begins once."""
    add_users(source, USERS)
    target_proxy.mark = b"INSERT INTO mongopg.run"
    target_proxy.swallow_answers(1, to=lost)

    engine = await started(engines, sections={"target": {"uri": target_proxy.uri}})

    assert target_proxy.n_to_swallow == 0
    assert engine.facts_of("problem")[0]["code"] in BROKEN
    await completed(engine, source, target)
    assert target.value("SELECT count(*) FROM mongopg.run") == 1


BACKEND_KEY = re.compile(rb"K\x00\x00\x00\x0c(....)", re.DOTALL)
"""BackendKeyData: https://www.postgresql.org/docs/current/protocol-message-formats.html"""


async def test_a_pooler_in_front_of_postgres_is_refused(
    source: Source, target: Target, engines: Engines, target_proxy: Proxy
) -> None:
    """A pooler hands out process ids of its own: advisory locks and settings would go to anybody's session."""
    add_users(source, 100)
    target_proxy.rewrite = lambda chunk: BACKEND_KEY.sub(b"K\x00\x00\x00\x0c\x00\x00\x00\x01", chunk)

    _, end = await engines.run(engines.settings("users", target={"uri": target_proxy.uri}))

    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 2, "pooler")
    assert "give host and port of the PostgreSQL server itself" in end["error"]["message"]
    assert target.value("SELECT to_regclass('users') IS NULL")


# --- MongoDB ----------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def source_proxy(source: Source) -> AsyncIterator[Proxy]:
    """Between the engine and MongoDB."""
    async with proxy_to(source.uri) as proxy:
        yield proxy


@pytest.mark.slow
async def test_the_network_to_mongodb_is_cut(
    source: Source, target: Target, engines: Engines, source_proxy: Proxy
) -> None:
    add_users(source, USERS)
    engine = await started(engines, sections={"source": {"uri": source_proxy.uri}})

    await _cut_three_times(source_proxy, engine)

    await completed(engine, source, target)


@pytest.mark.slow
async def test_mongodb_is_away_for_a_while(
    source: Source, target: Target, engines: Engines, source_proxy: Proxy
) -> None:
    add_users(source, USERS)
    engine = await started(engines, sections={"source": {"uri": f"{source_proxy.uri}&serverSelectionTimeoutMS=300"}})

    await _take_down(source_proxy, engine)
    await asyncio.sleep(DOWN_S)
    source_proxy.is_down = False

    await completed(engine, source, target)


@pytest.mark.slow
async def test_the_primary_steps_down(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines)

    source.client.admin.command("replSetStepDown", 1, force=True)
    await eventually(lambda: source.client.admin.command("hello")["isWritablePrimary"], 30.0, engine.account)
    await engine.until_written(engine.snapshot.written + 1)

    await completed(engine, source, target)


@contextmanager
def failing(source: Source, engine: Engine, times: int, **failure: Any) -> Iterator[None]:
    """Let commands of this run fail so many times."""
    data = {"appName": f"mongopg-tui {engine.run_id}"} | failure
    source.client.admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)
    try:
        yield
    finally:
        source.client.admin.command("configureFailPoint", "failCommand", mode="off")


@pytest.mark.parametrize(
    "failure",
    [
        {"failCommands": ["getMore"], "closeConnection": True},
        pytest.param({"failCommands": ["getMore"], "errorCode": 43}, marks=pytest.mark.slow),
        pytest.param({"failCommands": ["getMore"], "errorCode": 11602}, marks=pytest.mark.slow),
        pytest.param({"failCommands": ["getMore"], "errorCode": 6}, marks=pytest.mark.slow),
        pytest.param({"failCommands": ["find"], "errorCode": 262}, marks=pytest.mark.slow),
        pytest.param({"failCommands": ["find"], "closeConnection": True}, marks=pytest.mark.slow),
    ],
    ids=["cut in getMore", "cursor not found", "interrupted", "host unreachable", "time limit in find", "cut in find"],
)
async def test_commands_to_mongodb_fail_for_a_while(
    source: Source, target: Target, engines: Engines, failure: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in small_batches(300).items():
        monkeypatch.setenv(name, value)
    add_users(source, USERS)
    engine = await started(engines)

    with failing(source, engine, 6, **failure):
        await engine.event("problem")
        await completed(engine, source, target)


@pytest.mark.slow
async def test_mongodb_breaks_off_while_the_run_is_planned(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await engines.launch()

    with failing(source, engine, 6, failCommands=["aggregate", "collStats", "find"], closeConnection=True):
        await engine.start()
        await engine.event("problem", lambda facts: facts["retry"])
        await completed(engine, source, target)
    assert engine.snapshot.retried >= 1


@pytest.mark.slow
async def test_a_failure_that_stays_fails_the_run_which_can_be_resumed(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await started(engines)

    with failing(source, engine, 1_000, failCommands=["find", "getMore"], errorCode=13):
        end = await engine.finished()
    assert (end["state"], end["exit_code"], end["error"]["code"]) == ("failed", 1, "13")
    assert "lacks the right" in end["error"]["message"]
    assert committed(target) == end["written"] < USERS
    await engine.leave()
    await engine.until_gone()
    assert target.value("SELECT state FROM mongopg.run") == "failed"

    _, end = await engines.run(resume="")
    assert end["exit_code"] == 0
    assert_users_equal(source, target)
