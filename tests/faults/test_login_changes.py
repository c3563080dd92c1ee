"""A login that is refused for good in the middle of a run, and the session that holds the run's tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import pytest

from engine.errors import ConnectError, TargetHeld
from engine.ledger.ledger import Ledger
from engine.mapping.names import TableName
from tests.running import Engines, add_users, assert_users_equal, eventually
from tests.slow_run import started

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 6_000
ENGINE_HOLDER = """
SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE l.locktype = 'advisory'
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
HOLDERS = ENGINE_HOLDER.replace("pg_terminate_backend(l.pid)", "l.pid")


@pytest.fixture
def role(target: Target) -> Iterator[str]:
    """A role that owns the database, and may lose its login."""
    name = f"login_{target.database}"
    target.execute(f'CREATE ROLE {name} LOGIN; ALTER DATABASE "{target.database}" OWNER TO {name}')
    target.execute(f"GRANT ALL ON SCHEMA public TO {name}")
    yield name
    target.execute(f"REASSIGN OWNED BY {name} TO postgres; DROP OWNED BY {name}; DROP ROLE {name}")


def uri_of(target: Target, role: str) -> dict[str, str]:
    parts = urlsplit(target.uri)
    return {"uri": parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()}


@pytest.mark.slow
async def test_those_that_are_connected_finish_a_run_whose_login_is_refused(
    source: Source, target: Target, engines: Engines, role: str
) -> None:
    """As after a change of the password: no new worker is let in, and no session for the key."""
    add_users(source, USERS)
    engine = await started(
        engines, written=100, sections={"target": uri_of(target, role)}, cluster_size=2, throttle=100
    )
    target.execute(f"ALTER ROLE {role} NOLOGIN")
    await engine.set("cluster_size", 4)
    await engine.event("problem", lambda facts: "The work continues with the" in facts["message"])
    await engine.set("throttle", 0)
    end = await engine.finished()
    assert (end["state"], end["written"], end["exit_code"]) == ("completed", USERS, 0), engine.account()
    assert_users_equal(source, target)
    assert target.value("SELECT count(*) FROM pg_constraint WHERE conrelid = 'users'::regclass AND contype = 'p'") == 1


@pytest.mark.slow
async def test_a_run_without_a_connected_worker_ends_at_once_and_can_be_resumed(
    source: Source, target: Target, engines: Engines, role: str
) -> None:
    add_users(source, USERS)
    sections = {"target": uri_of(target, role)}
    engine = await started(engines, written=100, sections=sections, cluster_size=2, throttle=100)
    target.execute(f"ALTER ROLE {role} NOLOGIN")
    target.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")
    end = await engine.finished()
    assert end["state"] == "failed"
    assert end["exit_code"] in (1, 3)
    assert f"rejects user {role}" in end["error"]["message"]
    refused = [each for each in engine.facts_of("problem") if f"rejects user {role}" in each["message"]]
    assert len(refused) <= 3, refused
    await engine.leave()
    await engine.until_gone()
    target.execute(f"ALTER ROLE {role} LOGIN")
    _, end = await engines.run(engines.settings("users", run={"cluster_size": 2}, **sections), resume="")
    assert (end["state"], end["written"]) == ("completed", USERS), end
    assert_users_equal(source, target)


@pytest.mark.slow
async def test_a_second_run_is_not_let_in_while_the_first_is_without_its_hold(
    source: Source, target: Target, engines: Engines
) -> None:
    """Its session may be ended by an administrator, or by idle_session_timeout of a role: then it is taken again."""
    target.execute(f"ALTER DATABASE \"{target.database}\" SET idle_session_timeout = '300ms'")
    add_users(source, USERS)
    engine = await started(engines, written=100, cluster_size=2, throttle=100)
    other = Ledger(target.uri, "another-run")
    await other.connect()
    try:
        for _ in range(3):
            before = target.rows(HOLDERS)
            target.execute(ENGINE_HOLDER)
            with pytest.raises(TargetHeld) as refused:
                await other.hold([TableName("public", "users")])
            assert f"is held by run {engine.run_id} since" in str(refused.value)
            await eventually(lambda: target.rows(HOLDERS) not in ([], before), 20.0, engine.account)  # noqa: B023
    finally:
        await other._disconnect()
    await engine.set("throttle", 0)
    end = await engine.finished()
    assert (end["state"], end["written"]) == ("completed", USERS), engine.account()


async def test_a_login_that_plays_another_role_is_counted_by_its_own_limit(target: Target, role: str) -> None:
    login = f"{role}_app"
    target.execute(
        f"CREATE ROLE {login} LOGIN CONNECTION LIMIT 3 IN ROLE {role}; ALTER ROLE {login} SET role = '{role}'"
    )
    ledger = Ledger(uri_of(target, login)["uri"], "20261123-1402-k3f9")
    try:
        await ledger.connect()
        assert await ledger.free_connections() == 0  # of three, one is used, and two are left for people
        again = Ledger(uri_of(target, login)["uri"], "20261123-1402-k3f9")
        await again.connect()
        pid = int(target.value("SELECT max(pid) FROM pg_stat_activity WHERE usename = $1", login))
        await ledger.end_backend(pid)
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1"
        await eventually(lambda: target.value(sessions, login) == 1, 60.0, lambda: target.rows(sessions, login))
        await again._disconnect()
    finally:
        await ledger._disconnect()
        target.execute(f"DROP OWNED BY {login}; DROP ROLE {login}")


async def test_a_refused_login_is_no_weather(target: Target, role: str) -> None:
    target.execute(f"ALTER ROLE {role} VALID UNTIL '2001-01-01' NOLOGIN")
    ledger = Ledger(uri_of(target, role)["uri"], "20261123-1402-k3f9")
    with pytest.raises(ConnectError) as refused:
        await ledger.position(1, 0)
    assert refused.value.is_final
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(uri_of(target, role)["uri"])
