"""Where a connection string leads: string, service, environment, defaults and password file, as psql has it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.libpq.keywords import BY_NAME, FOREIGN, KEYWORDS
from engine.libpq.passfile import find_password
from engine.libpq.resolve import Conninfo, pinned, read_words, resolve, secrets_of, with_password

ME = pwd.getpwuid(os.geteuid()).pw_name
SERVICES = """\
# of the tests
 [shop]
  host=db.example.com
port=6000
dbname=shop
user=clerk
password=from service

[shop]
user=second
[bad]
no keyword here
[nested]
service=shop
[unknown]
hots=x
[quoted]
host='h'
"""


@pytest.fixture
def services(tmp_path: Path) -> dict[str, str]:
    """An environment with a service file, and no home."""
    (tmp_path / "services").write_text(SERVICES)
    return {"PGSERVICEFILE": str(tmp_path / "services"), "HOME": str(tmp_path)}


def where(found: Conninfo) -> tuple[str, int, str, str]:
    (only,) = found.endpoints
    return only.host, only.port, found.user, found.database


# As PQhost, PQport, PQuser and PQdb of libpq 18 for the same string and variables.
@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ("postgresql://h", {}, ("h", 5432, ME, ME)),
        ("postgresql://h", {"PGUSER": "u"}, ("h", 5432, "u", "u")),
        ("postgresql://h", {"PGUSER": ""}, ("h", 5432, ME, ME)),
        ("postgresql://h", {"LOGNAME": "other", "USER": "other"}, ("h", 5432, ME, ME)),
        ("postgresql://u@h/", {"PGDATABASE": "d"}, ("h", 5432, "u", "d")),
        ("postgresql://u@h", {"PGDATABASE": "x/y"}, ("h", 5432, "u", "x/y")),
        ("postgresql://u@h", {"PGDATABASE": "postgresql://k/z"}, ("h", 5432, "u", "postgresql://k/z")),
        ("postgresql://u@h/d?dbname=", {"PGDATABASE": "x"}, ("h", 5432, "u", "u")),
        ("postgresql://u@h/d?dbname=X", {}, ("h", 5432, "u", "X")),
        ("postgresql:///d", {"PGHOST": "k", "PGPORT": "7"}, ("k", 7, ME, "d")),
        ("postgresql://h/d", {"PGHOST": "k", "PGPORT": "7"}, ("h", 7, ME, "d")),
        ("postgresql://h/d?port=", {"PGPORT": "7"}, ("h", 5432, ME, "d")),
        ("host=h port=' 1 ' dbname=d", {}, ("h", 1, ME, "d")),
        ("hostaddr=127.0.0.1 dbname=d", {}, ("127.0.0.1", 5432, ME, "d")),
        ("shop", {"PGHOST": "h"}, ("h", 5432, ME, "shop")),
        ("postgresql:///?service=shop", {}, ("db.example.com", 6000, "clerk", "shop")),
        ("service=shop", {"PGUSER": "env", "PGPORT": "9"}, ("db.example.com", 6000, "clerk", "shop")),
        ("postgresql://me@/other?service=shop", {}, ("db.example.com", 6000, "me", "other")),
        ("postgresql:///", {"PGSERVICE": "shop"}, ("db.example.com", 6000, "clerk", "shop")),
        ("service=quoted dbname=d", {}, ("'h'", 5432, ME, "d")),
    ],
)
def test_string_then_service_then_environment(
    text: str, variables: dict[str, str], expected: tuple[str, int, str, str], services: dict[str, str]
) -> None:
    assert where(resolve(text, services | variables)) == expected


def test_an_address_is_gone_to_and_the_host_is_known() -> None:
    (only,) = resolve("host=db.example.com hostaddr=127.0.0.1 port=1", {}).endpoints
    assert (only.host, only.address, str(only)) == ("db.example.com", "127.0.0.1", "db.example.com:1")
    (socket,) = resolve("postgresql://%2Frun%2Fdir/d?port=", {}).endpoints
    assert socket.is_socket
    assert str(resolve("postgresql://[::1]:7/x", {}).endpoints[0]) == "[::1]:7"


def test_several_hosts() -> None:
    found = resolve("postgresql://a:1,b,[::1]:3/d", {})
    assert [(each.host, each.port) for each in found.endpoints] == [("a", 1), ("b", 5432), ("::1", 3)]
    assert [each.port for each in resolve("host=a,b port=9", {}).endpoints] == [9, 9]
    for wrong in ("host=a,b port=1,2,3", "host=a,b hostaddr=127.0.0.1"):
        with pytest.raises(UsageError, match="is not a valid connection string: there are"):
            resolve(wrong, {})


def test_more_connections_go_to_the_host_that_took_the_first() -> None:
    text = "postgresql://a:1,b:2/d?load_balance_hosts=random"
    found = resolve(text, {})
    again = resolve(pinned(text, found.endpoints[1], found), {})
    assert [(each.host, each.port) for each in again.endpoints] == [("b", 2)]
    text = "host=a,b dbname=d"
    variables = {"PGHOSTADDR": "10.0.0.1,10.0.0.2", "PGPORT": "1,2"}
    found = resolve(text, variables)
    (only,) = resolve(pinned(text, found.endpoints[0], found), variables).endpoints
    assert (only.host, only.address, only.port) == ("a", "10.0.0.1", 1)


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("missing", "target.uri names the service missing, which cannot be read from "),
        ("bad", "line 12 of "),
        ("nested", "which names another service in line 14 of "),
        ("unknown", "is not KEYWORD=VALUE with a keyword of libpq"),
    ],
)
def test_a_service_that_cannot_be_had(service: str, expected: str, services: dict[str, str]) -> None:
    with pytest.raises(UsageError) as refused:
        resolve(f"service={service}", services)
    assert expected in str(refused.value)
    with pytest.raises(UsageError, match="PGSERVICE names the service"):
        resolve("postgresql:///", services | {"PGSERVICE": service})


def test_services_of_home_and_system(tmp_path: Path) -> None:
    system, home = tmp_path / "system", tmp_path / "home"
    system.mkdir()
    home.mkdir()
    (system / "pg_service.conf").write_text("[a]\nhost=system\n[b]\nhost=system\n")
    variables = {"HOME": str(home), "PGSYSCONFDIR": str(system)}
    assert resolve("service=a", variables).endpoints[0].host == "system"
    (home / ".pg_service.conf").write_text("[a]\nhost=home")
    assert resolve("service=a", variables).endpoints[0].host == "home"
    assert resolve("service=b", variables).endpoints[0].host == "system"


PASSWORDS = r"""# comment
h:5432:d:u:plain
h\:1:*:*:*:colon in host
*:7:*:u\:\\:a\:b\\c
localhost:*:*:*:local
::1:5432:d:u:no
\:\:1:5432:d:u:v6
*:*:postgres:*:with:colon
"""


@pytest.mark.parametrize(
    ("host", "port", "database", "user", "expected"),
    [
        ("h", 5432, "d", "u", "plain"),
        ("h", 5433, "d", "u", None),
        ("h:1", 1, "x", "y", "colon in host"),
        ("k", 7, "x", "u:\\", "a:b\\c"),
        ("/var/run/postgresql", 5432, "d", "u", "local"),
        ("/elsewhere", 5432, "d", "u", None),
        ("", 1, "x", "y", "local"),
        ("::1", 5432, "d", "u", "v6"),
        ("k", 1, "postgres", "u", "with"),
    ],
)
def test_the_password_file(
    host: str, port: int, database: str, user: str, expected: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "pgpass"
    file.write_text(PASSWORDS)
    file.chmod(0o600)
    assert find_password(file, host, port, database, user) == expected
    file.chmod(0o640)
    assert find_password(file, host, port, database, user) is None
    assert find_password(tmp_path / "nothing", host, port, database, user) is None
    assert find_password(tmp_path, host, port, database, user) is None


def test_each_host_has_its_password(tmp_path: Path) -> None:
    file = tmp_path / ".pgpass"
    file.write_text("a:*:*:*:of a\nb:*:*:*:of b\n10.0.0.3:*:*:*:of the address\n")
    file.chmod(0o600)
    home = {"HOME": str(tmp_path)}
    assert [each.password for each in resolve("host=a,b,c", home).endpoints] == ["of a", "of b", None]
    assert resolve("host=a hostaddr=10.0.0.3", home).endpoints[0].password == "of a"
    assert resolve("hostaddr=10.0.0.3", home).endpoints[0].password == "of the address"
    assert resolve("host=a", home | {"PGPASSWORD": "env"}).endpoints[0].password == "env"
    assert resolve("host=b passfile=~/.pgpass", home | {"PGPASSFILE": "/nothing"}).endpoints[0].password == "of b"


def test_every_keyword_of_libpq_has_its_class() -> None:
    known = """service user password passfile channel_binding connect_timeout dbname host hostaddr port client_encoding options
        application_name fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count
        tcp_user_timeout sslmode sslnegotiation sslcompression sslcert sslkey sslcertmode sslpassword sslrootcert sslcrl
        sslcrldir sslsni requirepeer require_auth min_protocol_version max_protocol_version ssl_min_protocol_version
        ssl_max_protocol_version gssencmode krbsrvname gsslib gssdelegation replication target_session_attrs
        load_balance_hosts scram_client_key scram_server_key oauth_issuer oauth_client_id oauth_client_secret oauth_scope
        sslkeylogfile"""  # PQconndefaults of libpq 18
    assert set(known.split()) == set(BY_NAME)
    assert len(KEYWORDS) == len(BY_NAME)
    assert not FOREIGN.keys() & BY_NAME.keys()
    security = {"channel_binding", "require_auth", "sslcrl", "sslcrldir", "ssl_min_protocol_version",
                "ssl_max_protocol_version", "sslcertmode", "gssencmode", "sslnegotiation", "requirepeer",
                "min_protocol_version", "max_protocol_version", "sslmode", "sslrootcert"}  # fmt: skip
    assert not [name for name in security if BY_NAME[name].treatment == "ignored"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://h/d?channel_binding=require", "target.uri has channel_binding=require, which is not possible here"),
        ("postgresql://h/d?require_auth=scram-sha-256", "has require_auth=scram-sha-256, which is not possible here"),
        ("postgresql://h/d?gssencmode=require", "encrypt with TLS: sslmode=verify-full"),
        ("postgresql://h/d?sslcertmode=require", "has sslcertmode=require"),
        ("postgresql://h/d?requirepeer=postgres", "has requirepeer, which"),
        ("postgresql://h/d?replication=database", "has replication, which"),
        ("postgresql://h/d?min_protocol_version=3.2", "has min_protocol_version=3.2"),
        ("host=h oauth_issuer=https://x", "there is no OAuth here"),
        ("postgresql://h/d?sslmode=requires", "sslmode must be one of disable, allow, prefer, require, verify-ca, verify-full, "
         "not 'requires'; did you mean require?"),
        ("postgresql://h/d?target_session_attrs=readwrite", "did you mean read-write?"),
        ("postgresql://h/d?connect_timeout=soon", "connect_timeout must be a whole number, not 'soon'"),
        ("postgresql://h/d?sslmode=require&sslrootcert=system", "too weak for sslrootcert=system"),
        ("postgresql://h/d?sslmode=prefer&sslnegotiation=direct", "too weak for sslnegotiation=direct"),
        ("postgresql://h/d?hots=x", "target.uri has hots, which is no parameter of libpq's; did you mean host?"),
        ("postgresql://u:pw@h/d?hots=x", "target.uri has hots, which is no parameter"),
        ("postgresql://h/d?connecttimeout=3", "did you mean connect"),
        ("postgresql://h/d?wal_level=logical", "is written options=-c%20NAME%3DVALUE in a URI"),
        ("Host=h;Database=d", "target.uri has Host, which is no parameter of libpq's; did you mean host?"),
        ("postgresql://h/d?sslaccept=sometimes", "target.uri has sslaccept, a word of Prisma"),
        ("postgresql://h/d?sslfactory=org.postgresql.ssl.NonValidatingFactory", "a word of JDBC"),
        ("postgresql://h/d?ssl=maybe", "write sslmode=require"),
        ("postgresql://h:0/d", "its port is not a number between 1 and 65535"),
        ("postgresql://me:s3cr3t/x@h/d", "special characters in user and password must be percent-encoded"),
        ("mysql://h/d", "must begin with postgresql://, not 'mysql'"),
        ("postgresql://h/d?password=s3&cr3t", "a parameter has no value"),
        ("postgresql://h/d?password=a&s3cr3t=b", "after its password"),
        ("password=a s3cr3t=b", "after its password"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_by_name(text: str, expected: str) -> None:
    with pytest.raises(UsageError) as refused:
        resolve(text, {})
    assert expected in str(refused.value)
    assert "cr3t" not in str(refused.value)


def test_a_variable_is_refused_by_its_name() -> None:
    with pytest.raises(
        UsageError, match="PGCHANNELBINDING asks for channel_binding=require, which is not possible here"
    ):
        resolve("postgresql://h/d", {"PGCHANNELBINDING": "require"})
    with pytest.raises(UsageError, match="PGSSLMODE must be one of"):
        resolve("postgresql://h/d", {"PGSSLMODE": ""})
    assert resolve("postgresql://h/d", {"PGREQUIRESSL": "1"}).values["sslmode"] == "require"


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("ssl=true", {"sslmode": "require"}),
        ("ssl=verify-full", {"sslmode": "verify-full"}),
        ("ssl=false", {"sslmode": "disable"}),
        ("sslmode=no-verify", {"sslmode": "require"}),
        ("sslaccept=strict", {"sslmode": "verify-full"}),
        ("sslaccept=accept_invalid_certs", {"sslmode": "require"}),
        ("requiressl=0", {"sslmode": "prefer"}),
        ("loginTimeout=9", {"connect_timeout": "9"}),
        ("targetServerType=primary", {"target_session_attrs": "primary"}),
        ("loadBalanceHosts=true", {"load_balance_hosts": "random"}),
        ("database=x", {"dbname": "x"}),
        ("username=u", {"user": "u"}),
        ("ApplicationName=x", {"application_name": "x"}),
        ("readOnly=false", {}),
    ],
)
def test_a_word_of_another_tool_that_is_clear(parameter: str, expected: dict[str, str]) -> None:
    words = read_words(f"postgresql://h?{parameter}")
    assert words.values == {"host": "h"} | expected
    assert words.warnings == ()


@pytest.mark.parametrize(
    "parameter",
    ["pgbouncer=true", "connection_limit=1", "pool_timeout=0", "prepared_statement_cache_size=0", "prepareThreshold=0",
     "pool_max_conns=10", "binary_parameters=yes", "uselibpqcompat=true", "supa=base-pooler.x", "reWriteBatchedInserts=true",
     "pool=5", "max_overflow=2", "command_timeout=60"],
)  # fmt: skip
def test_a_word_of_another_tool_that_does_nothing_is_named(parameter: str) -> None:
    name = parameter.partition("=")[0]
    words = read_words(f"postgresql://h/d?{parameter}&connect_timeout=3")
    assert words.values == {"host": "h", "dbname": "d", "connect_timeout": "3"}
    (warning,) = words.warnings
    assert warning.startswith(f"{name} of target.uri is a word of ")


def test_settings_of_the_server_go_the_way_of_options() -> None:
    found = resolve("postgresql://h/d?search_path=a%20b,c&options=-c%20geqo%3Doff&statement_timeout=1", {})
    assert found.values["options"] == "-c geqo=off -c search_path=a\\ b,c -c statement_timeout=1"
    neon = resolve("postgresql://h/d?sslmode=require&options=endpoint%3Dep-cool-123", {})
    assert neon.values["options"] == "endpoint=ep-cool-123"


def test_the_schema_of_prisma_and_jdbc() -> None:
    assert read_words("postgresql://h/d?schema=app").schema == "app"
    assert read_words("jdbc:postgresql://h/d?currentSchema=app,public").schema == "app"
    (warning,) = read_words("postgresql://h/d?client_encoding=LATIN1").warnings
    assert "UTF-8" in warning


def test_a_password_is_put_where_there_is_none() -> None:
    assert with_password("postgresql://u@h/d", "p w") == "postgresql://u@h/d?password=p%20w"
    assert with_password("postgresql://u:x@h/d", "p") == "postgresql://u:x@h/d"
    assert with_password("host=h dbname=d", "p w") == "host=h dbname=d password='p w'"
    assert with_password("host=h password=x", "p") == "host=h password=x"
    assert with_password("shop", "p") == "dbname=shop password=p"
    assert secrets_of("host=h password='it\\'s' sslpassword=k") >= {"it's", "k"}
    assert secrets_of("postgresql://u:p%40x@h/d") >= {"p@x", "p%40x"}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("ssl_mode", "sslmode"),
        ("sslmod", "sslmode"),
        ("conect_timeout", "connect_timeout"),
        ("aplication_name", "application_name"),
    ],
)
def test_b12_a_mistyped_parameter_is_named_with_what_was_meant(given: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(f"postgresql://h/d?{given}=disable")
    message = caught.value.message
    assert message == f"target.uri has {given}, which is no parameter of libpq's; did you mean {meant}?"
    assert "pooler" not in message
