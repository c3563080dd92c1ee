"""What the servers are doing, seen in real ones: waits, blockers, progress after the copy, lag, and what may not be seen."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from engine.config import GuardSettings
from engine.guards.limits import findings
from engine.protocol import SourceVitals, StepView, TargetVitals, VitalsView
from engine.vitals.poller import NO_ROOM, Vitals, WatchedTarget, look_once
from tests.guarded import mongod_with_users, running_mongod
from tests.running import Engines, add_users
from tests.slow_run import completed, started
from tests.standby import NAME, running_standby

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 5_000
SEEN_S = 60.0
"""Within this something is seen, on a busy machine, too."""
RUN = "mongopg-tui 20261123-1402-k3f9"
"""The application name of a run's sessions."""


@asynccontextmanager
async def watching(source: str, target: str, *, has_room: bool = True) -> AsyncIterator[Vitals]:
    """The poller by itself."""

    async def room() -> bool:
        return has_room

    vitals = Vitals()
    vitals.watch(source, RUN, WatchedTarget(target, RUN, room, {"public.users": "shop.users"}))
    try:
        yield vitals
    finally:
        await vitals.stop()


async def until(vitals: Vitals, holds: Callable[[TargetVitals, SourceVitals], object]) -> VitalsView:
    """The first view that fulfils a condition."""
    deadline = time.monotonic() + SEEN_S
    while True:
        view = vitals.view
        assert view is not None
        assert view.target is not None
        assert view.source is not None
        if holds(view.target, view.source):
            return view
        assert time.monotonic() < deadline, view.model_dump_json(indent=1)
        await asyncio.sleep(0.05)


# --- in a run ---------------------------------------------------------------------------------------------------------


async def test_a_blocked_copy_shows_the_wait_and_the_blocking_pid(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await started(engines)
    other = await asyncpg.connect(target.uri, server_settings={"application_name": "psql"})
    try:
        await other.execute("BEGIN; LOCK TABLE users IN SHARE MODE")

        def blocked(vitals: VitalsView | None) -> bool:
            found = vitals.target.blocked if vitals is not None and vitals.target is not None else None
            return any(by.pid == other.get_server_pid() for each in found or () for by in each.by)

        seen = await engine.until(lambda now: blocked(now.vitals), "the blocking session")
        assert seen.vitals is not None
        assert seen.vitals.target is not None
        assert seen.vitals.target.waits is not None
        assert ("Lock", "relation") in [(wait.kind, wait.event) for wait in seen.vitals.target.waits]
        first = (seen.vitals.target.blocked or [])[0]
        assert (first.table, first.lock) == ("public.users", "relation")
        assert (first.by[0].application, first.by[0].state) == ("psql", "idle in transaction")
    finally:
        await other.close()
    await completed(engine, source, target)


async def test_vitals_of_both_servers_come_with_the_snapshots_and_go_with_the_run(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    engine = await started(engines)

    def is_seen(vitals: VitalsView | None) -> bool:
        sides = (vitals.target, vitals.source) if vitals is not None else ()
        return (
            bool(sides)
            and all(side is not None and side.age_s is not None for side in sides)
            # Two workers, who come in their own time, the ledger's, and the one that holds the table.
            and vitals is not None
            and vitals.target is not None
            and vitals.target.sessions == 4
        )

    vitals = (await engine.until(lambda now: is_seen(now.vitals), "vitals of both servers")).vitals
    assert vitals is not None
    assert vitals.target is not None
    assert vitals.source is not None
    assert not vitals.target.unseen
    assert vitals.target.wal_bytes_per_s is not None
    assert vitals.target.free_connections is not None
    assert vitals.source.read_tickets
    assert vitals.source.oplog_window_s is not None
    assert not vitals.source.unseen
    await completed(engine, source, target)
    assert engine.snapshot.vitals is None


@pytest.mark.slow
async def test_what_a_worker_s_process_takes_is_told(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await started(engines)
    seen = await engine.until(lambda now: all(worker.cpu and worker.memory for worker in now.workers), "cpu and memory")
    assert all(0 < worker.cpu < 2 for worker in seen.workers)
    assert all(worker.memory > 10_000_000 for worker in seen.workers)
    await completed(engine, source, target)


@pytest.mark.slow
async def test_a_run_that_takes_every_connection_is_not_deprived_of_one(
    source: Source, target: Target, engines: Engines
) -> None:
    """Two of the engine's own, two workers, and the two that are left to people: there is none for a look."""
    role = f"few_{target.database}"
    target.execute(f'CREATE ROLE {role} LOGIN CONNECTION LIMIT 6; ALTER DATABASE "{target.database}" OWNER TO {role};')
    target.execute(f"GRANT ALL ON SCHEMA public TO {role}")
    uri = urlsplit(target.uri)._replace(netloc=urlsplit(target.uri).netloc.replace("postgres@", f"{role}@")).geturl()
    add_users(source, USERS)
    try:
        engine = await started(engines, sections={"target": {"uri": uri}})
        seen = await engine.until(
            lambda now: now.vitals and now.vitals.target and now.vitals.target.problem, "why the engine does not look"
        )
        assert seen.vitals is not None
        assert seen.vitals.target is not None
        assert (seen.vitals.target.age_s, seen.vitals.target.problem) == (None, NO_ROOM)
        await completed(engine, source, target)
    finally:
        target.execute(f'ALTER DATABASE "{target.database}" OWNER TO postgres')
        target.execute(f"REASSIGN OWNED BY {role} TO postgres; DROP OWNED BY {role}; DROP ROLE {role}")


# --- after the copy ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_the_progress_of_an_index_moves(source: Source, target: Target) -> None:
    """A function that takes its time makes the build slow enough to be looked at."""
    target.execute(
        "CREATE TABLE users (n int, filler text);"
        "INSERT INTO users SELECT n, repeat('x', 1500) FROM generate_series(1, 5000) n;"
        "CREATE FUNCTION slow(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS"
        " 'BEGIN IF n % 5 = 0 THEN PERFORM pg_sleep(0.004); END IF; RETURN n; END'"
    )
    builder = await asyncpg.connect(target.uri, server_settings={"application_name": RUN})
    try:
        async with watching(source.uri, target.uri) as vitals:
            building = asyncio.create_task(builder.execute('CREATE INDEX "n_1" ON "public"."users" (slow(n))'))
            fractions: list[float] = []

            def step_of(seen: TargetVitals) -> StepView | None:
                return seen.steps[0] if seen.steps else None

            def moves(seen: TargetVitals, _: SourceVitals) -> bool:
                step = step_of(seen)
                if step is not None and step.fraction is not None and step.fraction not in fractions:
                    fractions.append(step.fraction)
                return len(fractions) >= 3

            view = await until(vitals, moves)
            assert view.target is not None
            step = step_of(view.target)
            assert step is not None
            assert (step.what, step.name, step.table, step.namespace) == ("index", "n_1", "public.users", "shop.users")
            assert fractions == sorted(fractions)
            assert 0 < fractions[-1] <= 0.5
            await building
            await until(vitals, lambda seen, _: seen.steps == [])
    finally:
        await builder.close()


@pytest.mark.slow
async def test_a_standby_that_replays_late_is_seen_with_its_lag(source: Source, target: Target) -> None:
    with running_standby(target.uri, 600.0):
        async with watching(source.uri, target.uri) as vitals:
            await until(vitals, lambda seen, _: seen.standbys)
            target.execute("CREATE TABLE users AS SELECT n FROM generate_series(1, 10000) n")
            view = await until(vitals, lambda seen, _: seen.standbys and (seen.standbys[0].lag_s or 0) > 3)
            assert view.target is not None
            assert view.target.standbys is not None
            standby = view.target.standbys[0]
            assert (standby.name, standby.state) == (NAME, "streaming")
            assert standby.lag_bytes is not None
            assert standby.lag_bytes > 0


# --- what may not be seen ---------------------------------------------------------------------------------------------


@pytest.fixture
def plain_role(target: Target) -> Iterator[str]:
    """A role that may connect, and nothing else; the connection string of the target for it."""
    role = f"plain_{target.database}"
    target.execute(f"CREATE ROLE {role} LOGIN; GRANT CONNECT ON DATABASE {target.database} TO {role}")
    parts = urlsplit(target.uri)
    yield parts._replace(netloc=parts.netloc.replace("postgres@", f"{role}@")).geturl()
    target.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.mark.slow
async def test_what_a_role_of_postgresql_may_not_see_is_named_with_its_grant(
    source: Source, target: Target, plain_role: str
) -> None:
    role = urlsplit(plain_role).username
    with running_standby(target.uri, 0.0):
        async with watching(source.uri, plain_role) as vitals:
            view = await until(vitals, lambda seen, _: seen.age_s is not None)
        assert view.target is not None
        assert view.target.standbys is None
        assert {each.what for each in view.target.unseen} == {"replica lag", "free disk space"}
        assert {each.remedy for each in view.target.unseen} == {f"GRANT pg_monitor TO {role};"}
        assert view.target.wal_bytes_per_s is not None
        assert (view.target.blocking, view.target.slots) == ([], []), "which every role may see"

        target.execute(view.target.unseen[0].remedy)
        async with watching(source.uri, plain_role) as vitals:
            view = await until(vitals, lambda seen, _: seen.age_s is not None)
    assert view.target is not None
    assert not view.target.unseen
    assert view.target.standbys is not None
    assert len(view.target.standbys) == 1


@pytest.mark.slow
async def test_a_part_that_postgresql_refuses_leaves_the_others(
    source: Source, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a server does that is not quite PostgreSQL."""
    monkeypatch.setattr("engine.postgres.statistics._WAL", "SELECT json_build_object('bytes', pg_no_such_function())")
    async with watching(source.uri, target.uri) as vitals:
        view = await until(vitals, lambda seen, _: seen.age_s is not None)
    assert view.target is not None
    (unseen,) = view.target.unseen
    assert unseen.what == "WAL rate"
    assert "42883" in unseen.why
    assert view.target.wal_bytes_per_s is None
    assert view.target.free_connections is not None


@pytest.mark.parametrize(
    ("query", "why"),
    [
        pytest.param("SELECT 'NaN'::numeric", "no number", id="NaN"),
        pytest.param("SELECT 'NaN'::float8", "no number", id="NaN of another type"),
        pytest.param("SELECT '0001-01-01 BC'::timestamptz", "no number", id="a time beyond Python's"),
        pytest.param("SELECT FROM pg_class", "no number", id="no column"),
        pytest.param("SELECT $1::int", "It cannot be asked: ", id="an argument"),
        pytest.param(
            "SELECT pg_terminate_backend(pg_backend_pid())", "", id="the end of the session", marks=pytest.mark.slow
        ),
    ],
)
async def test_whatever_a_query_of_an_operator_does_other_guards_see(query: str, why: str, target: Target) -> None:
    guard = GuardSettings(query=query, query_limit=5)
    async with watching("mongodb://127.0.0.1:1/none", target.uri) as vitals:
        vitals.own.take(guard)
        view = await until(vitals, lambda seen, _: any(each.what == "guard.query" for each in seen.unseen))
    states = {each.name: each.view().state for each in findings(guard, view)}
    assert states["standby_lag"] == "fine"
    assert states["query"] == "unseen"
    assert view.target is not None
    assert why in view.target.unseen[-1].why


@pytest.mark.parametrize(
    ("value", "state"), [("'Infinity'::float8", "pauses"), ("1e400", "pauses"), ("'-Infinity'::numeric", "fine")]
)
async def test_without_end_is_past_every_limit_and_a_number_of_json(value: str, state: str, target: Target) -> None:
    guard = GuardSettings(query=f"SELECT {value}", query_hard=5)
    view = await look_once("", target.uri, RUN, guard)
    (seen,) = [each.view() for each in findings(guard, view) if each.name == "query"]
    assert seen.state == state
    json.dumps([seen.model_dump(mode="json"), view.model_dump(mode="json")], allow_nan=False)


async def test_a_file_is_seen_while_a_command_takes_its_time(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.vitals.own.COMMAND_S", 1_000.0)
    file = tmp_path / "pause"
    guard = GuardSettings(file=str(file), command="sleep 1000")

    def has_file(vitals: Vitals) -> bool | None:
        return vitals.view.own.has_file if vitals.view is not None and vitals.view.own is not None else None

    async with watching("mongodb://127.0.0.1:1/none", target.uri) as vitals:
        vitals.own.take(guard)
        await until(vitals, lambda _, __: has_file(vitals) is False)
        file.touch()
        await until(vitals, lambda _, __: has_file(vitals) is True)
        file.unlink()
        await until(vitals, lambda _, __: has_file(vitals) is False)


async def test_a_file_that_no_file_can_be_is_not_seen(target: Target) -> None:
    guard = GuardSettings(file="a\0b")
    seen = {each.name: each.view() for each in findings(guard, await look_once("", target.uri, RUN, guard))}
    assert seen["file"].state == "unseen"
    assert seen["file"].words == "The file cannot be looked at (embedded null byte)."


async def test_what_a_user_of_mongodb_may_not_see_is_named_with_its_grant(target: Target) -> None:
    with mongod_with_users() as (port, admin):
        admin.shop.command("createUser", "reader", pwd="x", roles=[{"role": "read", "db": "shop"}])
        uri = f"mongodb://reader:x@127.0.0.1:{port}/shop?directConnection=true"
        async with watching(uri, target.uri) as vitals:
            view = await until(vitals, lambda _, seen: seen.age_s is not None)
            assert view.source is not None
            assert {each.what for each in view.source.unseen} == {
                "read tickets", "cache pressure", "oplog window", "replica lag",
            }  # fmt: skip
            (remedy,) = {each.remedy for each in view.source.unseen}
            assert remedy == (
                'db.getSiblingDB("shop").grantRolesToUser("reader", [{role: "clusterMonitor", db: "admin"}]);'
            )
        admin.shop.command("grantRolesToUser", "reader", roles=[{"role": "clusterMonitor", "db": "admin"}])
        async with watching(uri, target.uri) as vitals:
            view = await until(vitals, lambda _, seen: seen.age_s is not None)
            assert view.source is not None
            assert not view.source.unseen
            assert view.source.read_tickets


@pytest.mark.slow
async def test_a_server_that_is_gone_makes_vitals_old_and_says_why(target: Target) -> None:
    with running_mongod() as port:
        uri = f"mongodb://127.0.0.1:{port}/shop?directConnection=true"
        async with watching(uri, target.uri) as vitals:
            view = await until(vitals, lambda _, seen: seen.age_s is not None)
            assert view.source is not None
            assert {each.what for each in view.source.unseen} == {"oplog window", "replica lag"}
            with MongoClient[dict[str, Any]](uri) as client, suppress(PyMongoError):
                client.admin.command("shutdown", force=True)
            view = await until(vitals, lambda _, seen: seen.problem and (seen.age_s or 0) > 3)
            assert view.source is not None
            assert view.source.read_tickets
            assert view.target is not None
            assert (view.target.age_s or 0) < 3


async def test_no_room_is_said_and_no_session_is_taken(source: Source, target: Target) -> None:
    async with watching(source.uri, target.uri, has_room=False) as vitals:
        view = await until(vitals, lambda seen, _: seen.problem)
        assert view.target is not None
        assert (view.target.problem, view.target.age_s) == (NO_ROOM, None)
        assert not target.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", f"{RUN} vitals")
