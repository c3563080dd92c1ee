"""Connections made with every kind of connection string, and what the server says of where they led."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import asyncpg
import pytest

from engine.errors import ConnectError, UsageError
from engine.libpq.resolve import resolve
from engine.postgres import connect as postgres
from engine.postgres import session

if TYPE_CHECKING:
    from tests.conftest import Target


@pytest.fixture
def server(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Names for strings: host, port, database; a service of the server, and a home without files."""
    parts = urlsplit(target.uri)
    for name in ("PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".pg_service.conf").write_text(
        f"[here]\nhost={parts.hostname}\nport={parts.port}\ndbname={target.database}\nuser=postgres\n"
    )
    return {"host": str(parts.hostname), "port": str(parts.port), "d": target.database}


async def led_to(uri: str) -> tuple[str, str]:
    connection = await postgres.connect(uri)
    try:
        found = await postgres.whereabouts(connection, uri)
        return found.user, found.database
    finally:
        await connection.close()


STRINGS = [
    "postgresql://postgres@{host}:{port}/wrong?dbname={d}",
    "postgresql:///?service=here",
    "service=here",
    "postgresql://?service=here&connect_timeout=9&fallback_application_name=x",
    "host={host} port={port} dbname={d} user=postgres",
    "  postgresql://postgres@{host}:{port}/{d}\n",
    "postgres://postgres@{host}:{port}/{d}?sslmode=prefer&channel_binding=prefer&gssencmode=prefer&sslsni=1",
    "postgresql://postgres@nowhere.invalid:{port}/{d}?hostaddr=127.0.0.1&sslmode=disable",
    "postgresql://postgres@127.0.0.1:1,{host}:{port}/{d}?load_balance_hosts=random&target_session_attrs=read-write",
    "postgresql://postgres@{host}:{port}/{d}?keepalives=1&keepalives_idle=7&keepalives_count=2&tcp_user_timeout=9000",
    "postgresql://postgres@{host}:{port}/{d}?min_protocol_version=3.0&max_protocol_version=latest&sslcompression=0",
    "postgresql://postgres@{host}:{port}/{d}?schema=public&pgbouncer=true&connection_limit=1&pool_timeout=2",
    "postgresql+asyncpg://postgres@{host}:{port}/{d}?prepared_statement_cache_size=0",
    "jdbc:postgresql://{host}:{port}/{d}?user=postgres&prepareThreshold=0",
    "postgresql://postgres@{host}:{port}/{d}?client_encoding=LATIN1&options=-c%20client_encoding%3DLATIN1",
    "postgresql://postgres@{host}:{port}/{d}?target_session_attrs=prefer-standby&sslmode=allow",
]


async def test_every_string_leads_to_its_database(target: Target, server: dict[str, str]) -> None:
    for text in STRINGS:
        assert await led_to(text.format(**server)) == ("postgres", target.database), text


async def test_the_environment_serves_where_the_string_is_silent(
    target: Target, server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("HOST", "host"), ("PORT", "port"), ("DATABASE", "d")):
        monkeypatch.setenv(f"PG{name}", server[value])
    monkeypatch.setenv("PGUSER", "postgres")
    assert await led_to("postgresql://") == ("postgres", target.database)
    assert await led_to(target.database) == ("postgres", target.database)
    odd = f"{target.database}/ü ?"
    target.execute(f'CREATE DATABASE "{odd}" TEMPLATE template0')
    try:
        monkeypatch.setenv("PGDATABASE", odd)
        assert await led_to("postgresql:///") == ("postgres", odd)
        assert await led_to(f"host={server['host']} dbname='{odd}'") == ("postgres", odd)
        assert await led_to(f"postgresql:///{quote(odd, safe='')}") == ("postgres", odd)
    finally:
        target.execute(f'DROP DATABASE "{odd}" WITH (FORCE)')


async def test_a_socket_folder_in_every_spelling(target: Target, server: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="pg ") as folder:  # a socket's path must be short
        async with await asyncio.start_unix_server(relay_to(server), f"{folder}/.s.PGSQL.7"):
            quoted = quote(folder, safe="")
            for text in (
                f"postgresql://postgres@{quoted}/{server['d']}?port=7",
                f"postgresql://postgres@{quoted}:7/{server['d']}?sslmode=verify-full&sslrootcert=system",
                f"postgresql:///{server['d']}?host={quoted}&port=7&user=postgres&sslmode=require",
                f"host='{folder}' port=7 user=postgres dbname={server['d']}",
            ):
                assert await led_to(text) == ("postgres", target.database)


def relay_to(server: dict[str, str]) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """A server behind a socket of its own."""

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(server["host"], int(server["port"]))
        await asyncio.gather(pour(reader, back), pour(there, writer), return_exceptions=True)

    return relay


async def test_what_the_server_is_asked_is_what_is_told(target: Target, server: dict[str, str]) -> None:
    uri = "postgresql://postgres@127.0.0.1:1,{host}:{port}/wrong?dbname={d}".format(**server)
    connection = await postgres.connect(uri)
    assert str(await postgres.whereabouts(connection, uri)) == target.uri
    more = postgres.pinned_uri(uri, connection)
    await connection.close()
    assert resolve(more).endpoints[0].port == int(server["port"])
    assert await led_to(more) == ("postgres", target.database)


async def test_settings_of_a_string_are_no_pooler(server: dict[str, str]) -> None:
    uri = "postgresql://postgres@{host}:{port}/{d}?options=-c%20no_such_setting%3D1".format(**server)
    with pytest.raises(ConnectError, match=r"no_such_setting.*correct options in target\.uri") as refused:
        await postgres.connect(uri)
    assert "pooler" not in str(refused.value)
    assert refused.value.is_final


HOSTILE = """
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.current_setting(text, boolean) RETURNS text LANGUAGE sql AS $$ SELECT 'hostile' $$;
CREATE FUNCTION hostile.differs(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT false $$;
CREATE OPERATOR hostile.<> (FUNCTION = hostile.differs, LEFTARG = text, RIGHTARG = text);
ALTER ROLE {role} SET search_path = hostile, public, pg_catalog;
ALTER ROLE {role} SET client_encoding = 'LATIN1';
ALTER ROLE {role} SET session_replication_role = 'replica';
ALTER ROLE {role} SET idle_session_timeout = '1s';
ALTER ROLE {role} SET default_transaction_isolation = 'serializable';
ALTER ROLE {role} IN DATABASE "{database}" SET exit_on_error = on;
ALTER DATABASE "{database}" SET DateStyle = 'German';
ALTER DATABASE "{database}" SET extra_float_digits = -5;
ALTER DATABASE "{database}" SET statement_timeout = '1s';
ALTER DATABASE "{database}" SET transform_null_equals = on;
"""


async def test_session_state_is_ours_whatever_role_database_and_string_say(
    target: Target, server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    role = f"hostile_{target.database}"
    is_new = int(target.value("SHOW server_version_num")) >= 170000
    target.execute(f"CREATE ROLE {role} LOGIN SUPERUSER")
    target.execute(HOSTILE.format(role=role, database=target.database))
    if is_new:
        target.execute(f"ALTER ROLE {role} SET transaction_timeout = '2s'")
    monkeypatch.setenv("PGOPTIONS", "-c IntervalStyle=iso_8601 -c lock_timeout=1s")
    connection = None
    try:
        uri = "postgresql://{role}@{host}:{port}/{d}?TimeZone=Asia%2FTokyo&options=-c%20bytea_output%3Descape".format(
            role=role, **server
        )
        connection = await postgres.connect(uri)
        ours = session.CHECKED if is_new else session.CHECKED | {"transaction_timeout": None}
        found = {name: await connection.fetchval("SELECT current_setting($1, true)", name) for name in ours}
        assert found == ours
        assert await connection.fetchval("SHOW session_replication_role") == "origin"
        assert await connection.fetchval("SELECT current_setting('TimeZone', true)") == "UTC"
        assert await connection.fetchval("SHOW search_path") == '"hostile", "public"'
        await connection.execute("RESET ALL")
        assert await connection.fetchval("SHOW client_encoding") == "UTF8"
        await connection.close()
        connection = None
        target.execute(f"ALTER ROLE {role} NOSUPERUSER")
        with pytest.raises(UsageError, match="have session_replication_role set to another value than origin"):
            await postgres.connect(uri)
    finally:
        if connection is not None:
            connection.terminate()
        target.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ALTER ROLE {role} NOLOGIN", "rejects user {role}"),
        (
            'REVOKE CONNECT ON DATABASE "{database}" FROM PUBLIC',
            "does not allow user {role} to connect to the database",
        ),
        (
            'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false',
            "does not allow user {role} to connect to the database",
        ),
        ("DROP ROLE {role}", "rejects user {role}"),
    ],
)
async def test_a_refused_login_is_for_good(target: Target, statement: str, expected: str) -> None:
    role = f"gone_{target.database}"
    admin = await asyncpg.connect(target.uri.replace(target.database, "postgres"))
    await admin.execute(f"CREATE ROLE {role} LOGIN")
    try:
        await admin.execute(statement.format(role=role, database=target.database))
        with pytest.raises(ConnectError) as refused:
            await postgres.connect(target.uri.replace("//postgres@", f"//{role}@"))
        assert refused.value.is_final
        assert expected.format(role=role) in str(refused.value)
    finally:
        await admin.execute(f'ALTER DATABASE "{target.database}" ALLOW_CONNECTIONS true')
        await admin.execute(f"DROP ROLE IF EXISTS {role}")
        await admin.close()
