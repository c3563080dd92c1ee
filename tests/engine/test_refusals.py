"""What a run cannot start with: one clear sentence, the right exit code, and nothing written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from engine.protocol import Inspect, ServerReport
from engine.work.context import WorkerStart
from engine.work.probe import look_around
from tests.guarded import free_port
from tests.remains import text_of
from tests.running import Engines, add_users

if TYPE_CHECKING:
    from tests.conftest import Source, Target

PASSWORD = "right-battery-staple"
WRONG = "wrong-canary-9182"


async def refusal(engines: Engines, *collections: str, **settings: Any) -> tuple[int, str, str]:
    """Exit code, error code and message of a run that must fail; the message is one sentence without a secret."""
    engine, end = await engines.run(engines.settings(*(collections or ("users",)), **settings))
    assert end["state"] == "failed"
    message = end["error"]["message"]
    assert message.endswith((".", ";", "?"))  # SQL that helps, or a name
    assert "\n" not in message
    assert len(message) < 400
    assert "Traceback" not in message
    for secret in (PASSWORD, WRONG):
        assert secret not in message
        assert secret not in text_of(engine.process.log)
    assert engine.snapshot.error is not None
    assert engine.snapshot.error.message == message
    assert engine.snapshot.exit_code == end["exit_code"]
    return end["exit_code"], end["error"]["code"], message


def nothing_was_written(target: Target) -> bool:
    """No table, and no run in the ledger."""
    tables = target.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    has_ledger = target.value("SELECT to_regclass('mongopg.run') IS NOT NULL")
    return tables == 0 and (not has_ledger or target.value("SELECT count(*) FROM mongopg.run") == 0)


# --- the source -------------------------------------------------------------------------------------------------------


async def test_no_server_at_the_source(target: Target, engines: Engines) -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}/shop?serverSelectionTimeoutMS=500"

    exit_code, code, message = await refusal(engines, source={"uri": uri})

    assert (exit_code, code) == (3, "connect")
    assert "127.0.0.1" in message
    assert nothing_was_written(target)


async def test_a_wrong_password_at_the_source(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 10)
    uri = source.uri.replace("mongodb://", f"mongodb://somebody:{WRONG}@")

    exit_code, _, message = await refusal(engines, source={"uri": uri})

    assert exit_code == 3
    assert "password" in message
    assert nothing_was_written(target)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        pytest.param("127.0.0.1:27017", marks=pytest.mark.slow),
        # What is said of them, the tests of connecting know.
        pytest.param("mysql://127.0.0.1/shop", marks=pytest.mark.slow),
        pytest.param("mongodb://", marks=pytest.mark.slow),
    ],
)
async def test_a_source_that_is_no_connection_string(target: Target, engines: Engines, uri: str) -> None:
    exit_code, _, message = await refusal(engines, source={"uri": uri})

    assert exit_code == 2
    assert "source.uri" in message
    assert nothing_was_written(target)


async def test_a_collection_that_is_not_there(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 10)

    exit_code, code, message = await refusal(engines, "user")

    assert (exit_code, code) == (2, "missing_collection")
    assert f"{source.database}.user" in message
    assert nothing_was_written(target)


async def test_a_database_without_collections(target: Target, engines: Engines) -> None:
    exit_code, code, _ = await refusal(engines, run={"collections": []})

    assert (exit_code, code) == (2, "missing_collection")
    assert nothing_was_written(target)


# --- the target -------------------------------------------------------------------------------------------------------


async def test_no_server_at_the_target(source: Source, engines: Engines) -> None:
    add_users(source, 10)

    exit_code, code, message = await refusal(
        engines, target={"uri": f"postgresql://postgres@127.0.0.1:{free_port()}/shop"}
    )

    assert (exit_code, code) == (3, "connect")
    assert "PostgreSQL at 127.0.0.1" in message


async def test_no_such_database_at_the_target(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 10)

    exit_code, code, message = await refusal(engines, target={"uri": target.uri.replace(target.database, "nowhere")})

    assert (exit_code, code) == (3, "connect")
    assert "no database 'nowhere'" in message


@pytest.mark.parametrize(
    "uri",
    [
        "",
        pytest.param("mysql://127.0.0.1/shop", marks=pytest.mark.slow),
        pytest.param("127.0.0.1:5432/shop", marks=pytest.mark.slow),
    ],
)
async def test_a_target_that_is_no_connection_string(source: Source, engines: Engines, uri: str) -> None:
    add_users(source, 10)

    exit_code, _, message = await refusal(engines, target={"uri": uri})

    assert exit_code == 2
    assert "target.uri" in message


@pytest.fixture
def guarded_role(target: Target) -> Iterator[str]:
    """A role that the server asks for its password; it trusts all others."""
    role = f"guarded_{target.database}"
    rules = Path(target.value("SHOW hba_file"))
    before = rules.read_text()
    owner = rules.stat()
    target.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    target.execute(f'ALTER DATABASE "{target.database}" OWNER TO {role}')
    try:
        rules.write_text(f"host all {role} 127.0.0.1/32 scram-sha-256\n{before}")
        os.chown(rules, owner.st_uid, owner.st_gid)
        target.execute("SELECT pg_reload_conf()")
        yield role
    finally:
        rules.write_text(before)
        target.execute("SELECT pg_reload_conf()")


async def test_a_host_that_finds_no_password_is_told_both_ways_out(
    source: Source, target: Target, guarded_role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until_password_is_asked_for(target, guarded_role)
    monkeypatch.delenv("PGPASSWORD", raising=False)
    bare = with_login(target, guarded_role, "").replace(":@", "@")
    there = await look_around(WorkerStart("run", source.uri, bare, "auto"))
    assert "give that host one, as PGPASSWORD where its Dask worker is started" in there.problem
    assert "or put it into target.uri or target.password here" in there.problem
    assert not there.is_away
    there = await look_around(WorkerStart("run", source.uri, with_login(target, guarded_role, WRONG), "auto"))
    assert "PGPASSWORD where its Dask worker" not in there.problem
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    there = await look_around(WorkerStart("run", source.uri, bare, "auto"))
    assert there.problem == ""


async def test_a_wrong_password_at_the_target(
    source: Source, target: Target, engines: Engines, guarded_role: str
) -> None:
    add_users(source, 1_000)
    await until_password_is_asked_for(target, guarded_role)

    exit_code, code, message = await refusal(engines, target={"uri": with_login(target, guarded_role, WRONG)})
    assert (exit_code, code) == (3, "connect")
    assert f"refuses the password of {guarded_role}" in message
    assert nothing_was_written(target)

    engine = await engines.launch()
    named = source.uri.replace("mongodb://", "mongodb://app@", 1)
    for side, uri, wants in (
        ("target", with_login(target, guarded_role, WRONG), True),
        ("target", with_login(target, guarded_role, "").replace(":@", "@"), True),
        ("target", "postgresql://u@127.0.0.1:1/x", False),
        ("source", named, True),
        ("source", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100", False),
    ):
        report = await engine.client.ask(ServerReport, Inspect.model_validate({"side": side, "uri": uri}))
        assert (report.ok, report.wants_password) == (False, wants), uri

    _, end = await engines.run(engines.settings("users", target={"uri": with_login(target, guarded_role, PASSWORD)}))
    assert end["exit_code"] == 0


@pytest.fixture
def password_file(target: Target, guarded_role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The password of the role, among others, in a file that libpq's programs look for in the home folder."""
    parts = urlsplit(target.uri)
    server = f"{parts.hostname}:{parts.port}"
    path = tmp_path / ".pgpass"
    path.write_text(
        f"# servers\nelsewhere:5432:*:{guarded_role}:{WRONG}\n{server}:{target.database}:somebody:{WRONG}\n"
        f"{server}:{target.database}:{guarded_role}:{PASSWORD}\n*:*:*:*:{WRONG}\n"
    )
    path.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PGPASSWORD", "PGPASSFILE"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.mark.parametrize("variable", ["HOME", pytest.param("PGPASSFILE", marks=pytest.mark.slow)])
async def test_a_password_from_a_password_file(
    source: Source,
    target: Target,
    engines: Engines,
    guarded_role: str,
    password_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    add_users(source, 1_000)
    await until_password_is_asked_for(target, guarded_role)
    if variable == "PGPASSFILE":
        monkeypatch.setenv(variable, str(password_file.rename(password_file.with_name("passwords"))))

    _, end = await engines.run(engines.settings("users", target={"uri": without_password(target, guarded_role)}))

    assert (end["exit_code"], end["written"]) == (0, 1_000), end


async def test_a_password_file_that_others_may_read_is_not_used(
    source: Source, target: Target, engines: Engines, guarded_role: str, password_file: Path
) -> None:
    add_users(source, 1_000)
    await until_password_is_asked_for(target, guarded_role)
    password_file.chmod(0o640)

    exit_code, code, message = await refusal(engines, target={"uri": without_password(target, guarded_role)})

    password_file.chmod(0o600)  # our own connections read it, too
    assert (exit_code, code) == (3, "connect")
    assert f"{password_file} is not used, since others may read it: chmod 600 it." in message
    assert nothing_was_written(target)


@pytest.mark.slow
async def test_a_password_that_was_not_given(
    source: Source, target: Target, engines: Engines, guarded_role: str, password_file: Path
) -> None:
    add_users(source, 1_000)
    await until_password_is_asked_for(target, guarded_role)
    password_file.unlink()

    exit_code, code, message = await refusal(engines, target={"uri": without_password(target, guarded_role)})

    assert (exit_code, code) == (3, "connect")
    assert f"wants a password of {guarded_role} and there is none that it takes: give it" in message


def without_password(target: Target, user: str) -> str:
    """The target's URI for another user, whose password is to be found elsewhere."""
    return with_login(target, user, "").replace(":@", "@")


def with_login(target: Target, user: str, password: str) -> str:
    """The target's URI for another user."""
    server = urlsplit(target.uri).netloc.rpartition("@")[2]
    return f"postgresql://{user}:{password}@{server}/{target.database}"


async def until_password_is_asked_for(target: Target, role: str) -> None:
    """A reload of the rules is not answered: wait until it shows."""
    for _ in range(200):
        try:
            connection = await asyncpg.connect(with_login(target, role, WRONG))
        except asyncpg.InvalidPasswordError:
            return
        await connection.close()
        await asyncio.sleep(0.02)
    raise AssertionError("the server never asked for a password")


async def test_a_table_that_exists(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 10)
    target.execute("CREATE TABLE users (a integer); INSERT INTO users VALUES (1)")

    exit_code, code, message = await refusal(engines)

    assert (exit_code, code) == (2, "table_exists")
    assert "public.users exists already" in message
    assert "append" in message
    assert target.rows("SELECT * FROM users")[0]["a"] == 1
    assert target.value("SELECT count(*) FROM mongopg.run") == 0


async def test_one_table_that_exists_keeps_all_from_being_made(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, 10)
    source.db.orders.insert_one({"_id": 1})
    target.execute("CREATE TABLE orders (a integer)")

    exit_code, code, _ = await refusal(engines, "users", "orders")

    assert (exit_code, code) == (2, "table_exists")
    assert target.value("SELECT to_regclass('users') IS NULL")


async def test_two_collections_into_one_table(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 10)
    add_users(source, 10, collection="more")
    names = [f"{source.database}.users:public.people", f"{source.database}.more:public.people"]

    exit_code, _, message = await refusal(engines, run={"collections": names})

    assert exit_code == 2
    assert "Two collections go to the table public.people" in message
    assert nothing_was_written(target)


async def test_a_role_that_may_not_make_tables(source: Source, target: Target, engines: Engines) -> None:
    add_users(source, 10)
    role = f"reader_{target.database}"
    target.execute(f"CREATE ROLE {role} LOGIN")

    exit_code, _, message = await refusal(engines, target={"uri": target.uri.replace("postgres@", f"{role}@")})

    assert exit_code == 2
    assert "mongopg" in message
    assert nothing_was_written(target)
