"""Connecting to PostgreSQL: one clear sentence for each way it can fail, and what a server says about itself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.errors import ConnectError, UsageError
from engine.libpq.resolve import resolve
from engine.postgres import connect as postgres
from engine.postgres import sqlstates
from tests.engine.test_refusals import until_password_is_asked_for
from tests.guarded import free_port

if TYPE_CHECKING:
    from tests.conftest import Target

SECRET = "s3cr3t-canary"


async def refusal(uri: str, timeout_s: float = 5.0) -> str:
    """The message for a connection that cannot be made."""
    with pytest.raises(ConnectError) as refused:
        await postgres.connect(uri, timeout_s=timeout_s)
    message = str(refused.value)
    assert SECRET not in message
    assert "\n" not in message
    return message


async def test_a_connection_has_our_session_settings(target: Target) -> None:
    connection = await postgres.connect(
        target.uri, application_name="mongopg-tui run-1 worker 3", synchronous_commit=False
    )
    names = ("application_name", "TimeZone", "client_min_messages", "synchronous_commit", "statement_timeout")
    values = [await connection.fetchval("SELECT current_setting($1)", name) for name in names]
    await connection.close()
    assert values == ["mongopg-tui run-1 worker 3", "UTC", "warning", "off", "0"]


async def test_a_report_says_what_the_server_offers(target: Target) -> None:
    connection = await postgres.connect(target.uri)
    report = await postgres.inspect(connection)
    await connection.close()
    assert report.version == target.value("SHOW server_version")
    assert report.max_connections == int(target.value("SHOW max_connections"))
    assert 0 < report.free_connections < report.max_connections
    assert 0 < report.latency_ms < 5000
    assert report.tls == "no TLS"
    assert report.started_at == target.value("SELECT pg_postmaster_start_time()")


@pytest.fixture
def limited(target: Target) -> Iterator[str]:
    """A role that may connect ten times."""
    name = f"limited_{target.database}"
    target.execute(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 10")
    yield name
    target.execute(f"DROP ROLE {name}")


async def test_limits_of_role_and_database_count_among_the_free_connections(target: Target, limited: str) -> None:
    uri = target.uri.replace("//postgres@", f"//{limited}@")
    connections = [await postgres.connect(uri) for _ in range(2)]
    try:
        assert (await postgres.inspect(connections[0])).free_connections == 10 - 2 - postgres.SPARE_CONNECTIONS
        target.execute(f"ALTER DATABASE {target.database} CONNECTION LIMIT 5")
        assert (await postgres.inspect(connections[0])).free_connections <= 5 - 2 - postgres.SPARE_CONNECTIONS
        target.execute(f"ALTER ROLE {limited} CONNECTION LIMIT 1")
        assert (await postgres.inspect(connections[0])).free_connections == 0
        assert f"no free connection for {limited}" in await refusal(uri)
    finally:
        for connection in connections:
            await connection.close()


async def test_a_server_that_is_not_there(target: Target) -> None:
    port = free_port()
    message = await refusal(f"postgresql://me:{SECRET}@127.0.0.1:{port}/x")
    assert message == (
        f"PostgreSQL at 127.0.0.1:{port} cannot be reached (connection refused): "
        "check that it runs, and host and port of target.uri."
    )
    assert "connection refused" in await refusal(f"postgresql://me@localhost:{port}/x"), (
        "also for a host of two addresses"
    )


async def test_an_unknown_host() -> None:
    message = await refusal(f"postgresql://me:{SECRET}@no-such-host.invalid/x")
    assert message == "The host of target.uri is unknown: no-such-host.invalid."


async def test_a_server_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "did not answer within 0.2 s" in await refusal(f"postgresql://me@127.0.0.1:{port}/x", timeout_s=0.2)


async def test_a_server_that_is_something_else() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert f"127.0.0.1:{port}" in await refusal(f"postgresql://me@127.0.0.1:{port}/x?sslmode=disable")


async def test_a_server_that_does_not_take_tls_at_once(target: Target) -> None:
    message = await refusal(f"{target.uri}?sslmode=require&sslnegotiation=direct")
    assert "does not take TLS at once: leave sslnegotiation=direct out" in message


async def test_a_database_that_is_not_there(target: Target) -> None:
    assert "has no database 'nothing'" in await refusal(target.uri.replace(target.database, "nothing"))


async def test_a_role_that_is_not_there(target: Target) -> None:
    message = await refusal(target.uri.replace("//postgres@", f"//nobody:{SECRET}@"))
    assert 'rejects user nobody: role "nobody" does not exist; check the user in target.uri' in message


@pytest.fixture
def guarded(target: Target) -> Iterator[str]:
    """A role that needs its password: a line of its own in the server's pg_hba.conf."""
    name = f"guarded_{target.database}"
    path = target.value("SHOW hba_file")
    before = target.value("SELECT pg_read_file($1)", path)
    target.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
    _write(target, path, f"host all {name} 127.0.0.1/32 scram-sha-256\n{before}")
    yield name
    _write(target, path, before)
    target.execute(f"DROP ROLE {name}")


def _write(target: Target, path: str, text: str) -> None:
    target.execute("CREATE TABLE lines (line text)")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            target.execute("INSERT INTO lines VALUES ($1)", line)
    target.execute(f"COPY lines TO '{path}' (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')")
    target.execute("DROP TABLE lines; SELECT pg_reload_conf()")


async def test_a_wrong_and_a_missing_password(target: Target, guarded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    uri = target.uri.replace("//postgres@", f"//{guarded}:{SECRET}@")
    await until_password_is_asked_for(target, guarded)
    await (await postgres.connect(uri)).close()
    wrong = await refusal(uri.replace(SECRET, f"{SECRET}x"))
    assert f"refuses the password of {guarded}" in wrong
    missing = await refusal(uri.replace(f":{SECRET}", ""))
    assert "password" in missing


async def test_a_server_without_tls_where_it_is_asked_for(target: Target) -> None:
    assert "offers no TLS" in await refusal(f"{target.uri}?sslmode=require")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("", "target.uri is not set"),
        (f"mysql://me:{SECRET}@localhost/x", "must begin with postgresql://, not 'mysql'"),
        ("localhost:5432/x", "must begin with postgresql://"),
        (f"postgresql://me:{SECRET}@localhost:port/x", "target.uri is not a valid connection string"),
        (f"postgresql://me:{SECRET}@localhost/x?sslmode=maybe", "target.uri is not a valid connection string"),
        (f"postgresql://me:{SECRET}@localhost/x?sslmode=verify-full&sslrootcert=/no/such.crt", "sslrootcert"),
        ("postgresql://[::1/x", "target.uri is not a valid connection string"),
    ],
)
async def test_a_connection_string_that_is_none(uri: str, expected: str) -> None:
    with pytest.raises(UsageError) as refused:
        await postgres.connect(uri)
    assert expected in str(refused.value)
    assert SECRET not in str(refused.value)


def test_an_address_holds_nothing_secret() -> None:
    address = postgres.address_of(
        f"postgresql://me:p@ss/{SECRET}@db.example.com:5433/shop?password={SECRET}&sslmode=require"
    )
    assert str(address) == "postgresql://me@db.example.com:5433/shop"
    assert SECRET not in repr(address)


def decided_on_tls(uri: str) -> object:
    """None for what the string says, or what the server has on this machine; True for a host verified by the system's
    authorities; "verify-full" for one verified by those that are named.
    """
    try:
        conninfo = resolve(uri)
    except UsageError:
        return True
    mode, by_system = postgres._mode_of(conninfo)
    if conninfo.values.get("sslrootcert") == "system":
        return True
    if "sslmode" in conninfo.values or mode == "prefer":
        return None
    return "verify-full" if conninfo.values.get("sslrootcert") else by_system


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("postgresql://127.0.0.1/x", None),
        ("postgresql://[::1]:5432/x", None),
        ("postgresql://localhost/x", None),
        ("postgresql:///x?host=/run/postgresql", None),
        ("postgresql://db.example.com/x", True),
        ("postgresql://localhost,db.example.com/x", True),
        ("postgresql://10.0.0.1/x", True),
        ("postgresql:///x?host=db.example.com", True),
        ("postgresql://db.example.com/x?sslmode=require", None),
        ("postgresql://db.example.com/x?sslrootcert=ca.crt", "verify-full"),
        ("postgresql://localhost/x?sslrootcert=system", True),
    ],
)
def test_only_this_machine_is_reached_without_verified_tls(
    uri: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("PGHOST", "PGSSLMODE", "PGSSLROOTCERT"):
        monkeypatch.delenv(variable, raising=False)
    assert decided_on_tls(uri) == expected


SERVICES = f"""
[elsewhere]
host=db.example.com
user=me
password={SECRET}
[lax]
host=db.example.com
sslmode=require
[own]
host=db.example.com
sslrootcert=ca.crt
[here]
host=127.0.0.1
[nowhere]
dbname=shop
"""


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of services, and no other variable that says where to connect to."""
    for variable in ("PGHOST", "PGSSLMODE", "PGSSLROOTCERT", "PGSERVICE"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "services").write_text(SERVICES)
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(
    ("uri", "local", "expected"),
    [
        ("postgresql:///x?service=elsewhere", False, True),
        ("postgresql:///x?service=lax", False, None),
        ("postgresql:///x?service=own", False, "verify-full"),
        ("postgresql:///x?service=elsewhere&sslmode=disable", False, None),
        ("postgresql:///x?service=nowhere", True, None),  # as psql: a service without a host leads to this machine
        ("postgresql:///x?service=missing", False, True),
        ("postgresql:///x?service=here", True, None),
        ("postgresql://localhost/x?service=elsewhere", True, None),
        ("postgresql:///x?service=elsewhere&host=/run/postgresql", True, None),
    ],
)
def test_a_service_is_as_far_away_as_its_file_says(uri: str, local: bool, expected: object) -> None:
    assert postgres.is_local(uri) is local
    assert decided_on_tls(uri) == expected


@pytest.mark.usefixtures("services")
def test_a_service_of_the_environment_leads_where_its_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSERVICE", "here")
    assert decided_on_tls("postgresql:///x") is None
    assert decided_on_tls("postgresql://localhost/x") is None
    monkeypatch.setenv("PGSERVICE", "elsewhere")
    assert decided_on_tls("postgresql:///x") is True


@pytest.mark.usefixtures("services")
async def test_a_service_is_named_by_its_host_and_refused_when_it_is_not_there() -> None:
    assert str(postgres.address_of("postgresql:///shop?service=elsewhere")) == "postgresql://me@db.example.com/shop"
    with pytest.raises(UsageError, match=r"target\.uri names the service missing, which cannot be read from"):
        await postgres.connect("postgresql:///x?service=missing")


async def test_errors_are_told_by_their_code(target: Target) -> None:
    connection = await postgres.connect(target.uri)
    with pytest.raises(Exception) as failed:  # noqa: PT011 - any of asyncpg's
        await connection.execute("SELECT 1 / 0")
    assert sqlstates.describe(failed.value) == ("22012", "PostgreSQL says: division by zero (22012).")
    assert sqlstates.is_data_error(failed.value)
    assert not sqlstates.is_transient(failed.value)
    with pytest.raises(Exception) as failed:  # noqa: PT011 - any of asyncpg's
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert sqlstates.describe(failed.value)[1].startswith("The connection to PostgreSQL broke: ")
    assert sqlstates.is_transient(failed.value)
    with pytest.raises(Exception) as failed:  # noqa: PT011 - any of asyncpg's
        await connection.execute("SELECT 1")
    assert sqlstates.describe(failed.value)[0] == "08006"
    assert sqlstates.is_transient(failed.value)


async def test_a_servers_message_is_made_harmless(target: Target) -> None:
    connection = await postgres.connect(target.uri)
    with pytest.raises(Exception) as failed:  # noqa: PT011 - any of asyncpg's
        await connection.execute(
            "DO $$ BEGIN RAISE EXCEPTION E'a\\x1b]52;c;x\\x07b\\n\\u202ec postgresql://me:"
            + SECRET
            + "@h/x "
            + "z" * 500
            + "'; END $$"
        )
    await connection.close()
    sentence = sqlstates.describe(failed.value)[1]
    assert sentence.startswith("PostgreSQL says: a ]52;c;x b c postgresql://me:***@h/x zzz")
    assert sentence.endswith("z… (P0001).")
    assert len(sentence) < 350


async def test_workers_do_not_ask_again_for_tls_that_a_local_server_has_not(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await postgres.connect(target.uri)
    plain = postgres.without_tls_offer(target.uri, connection)
    decided = f"{plain.partition('?')[0]}?sslmode=prefer"
    unchanged = [postgres.without_tls_offer(uri, connection) for uri in (decided, "postgresql://db.example.org/x")]
    monkeypatch.setenv("PGSSLMODE", "allow")
    by_environment = postgres.without_tls_offer(target.uri, connection)
    await connection.close()
    assert plain.endswith("sslmode=disable")
    await (await postgres.connect(plain)).close()
    assert unchanged == [decided, "postgresql://db.example.org/x"]
    assert by_environment == target.uri


def test_a_password_file_in_the_home_of_nobody_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    uri = "postgresql://mig@pg1/shop?passfile=~nobody-of-this-name/pgpass"
    assert "wants a password of mig" in postgres._refused_password("PostgreSQL at pg1", "mig", uri)
