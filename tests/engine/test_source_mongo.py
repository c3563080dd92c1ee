"""Connecting to MongoDB, and the sentence that says why not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from traceback import format_exception
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from engine.errors import ConnectError, MigrationError, UsageError
from engine.mongo.connect import connect, database_of, hosts_of, inspect, tls_in_words
from tests.guarded import free_port

if TYPE_CHECKING:
    from tests.conftest import Source

SECRET = "c4nary-s3cret"
TIMEOUT_S = 0.5
PATIENT_S = 20.0
"""For a server that says itself what is wrong: a busy machine may take its time."""
CONTACT_S = 2.0
"""For what is told when the time is up, of a server that must have been reached in it."""


def with_options(uri: str, options: str) -> str:
    return uri + ("&" if urlsplit(uri).query else "?") + options


def failure(uri: str, app_name: str = "test", timeout_s: float = TIMEOUT_S) -> MigrationError:
    with pytest.raises(MigrationError) as caught:
        connect(uri, app_name=app_name, timeout_s=timeout_s)
    error = caught.value
    assert SECRET not in error.message
    assert "\n" not in error.message
    assert error.message.endswith(".")
    assert SECRET not in "".join(format_exception(error))
    return error


def test_a_connected_server_is_described(source: Source) -> None:
    with connect(source.uri, app_name="test") as client:
        report = inspect(client, source.uri)
    assert report.version.count(".") == 2
    assert report.topology.startswith("replica set ")
    assert report.tls == "no TLS"
    assert 0 < report.latency_ms < 60_000


def test_a_refused_connection_names_host_and_setting() -> None:
    port = free_port()
    error = failure(f"mongodb://user:{SECRET}@127.0.0.1:{port}/db")
    assert type(error) is ConnectError
    assert f"127.0.0.1:{port} refuses connections" in error.message
    assert "source.uri" in error.message


def test_a_silent_server_is_told_from_a_refusing_one() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        error = failure(f"mongodb://127.0.0.1:{silent.getsockname()[1]}/db")
    assert type(error) is ConnectError
    assert "takes connections but does not answer" in error.message


def test_an_unknown_host_name_is_named() -> None:
    error = failure("mongodb://nowhere.invalid:27017/db")
    assert type(error) is ConnectError
    assert "host name in nowhere.invalid:27017 cannot be resolved" in error.message


def test_a_wrong_password_is_told(source: Source) -> None:
    error = failure(source.uri.replace("mongodb://", f"mongodb://someone:{SECRET}@"), timeout_s=PATIENT_S)
    assert type(error) is ConnectError
    assert error.code == "18"
    assert "refused the user name or the password; check both" in error.message


def test_a_missing_login_is_told(source: Source) -> None:
    source.client.admin.command({
        "configureFailPoint": "failCommand", "mode": {"times": 1},
        "data": {"failCommands": ["listCollections"], "errorCode": 13, "appName": f"login {source.database}"},
    })  # fmt: skip
    error = failure(source.uri, app_name=f"login {source.database}", timeout_s=PATIENT_S)
    assert type(error) is ConnectError
    assert "wants a login" in error.message


def test_tls_against_a_server_without_it_is_told(source: Source) -> None:
    error = failure(with_options(source.uri, "tls=true"), timeout_s=CONTACT_S)
    assert type(error) is ConnectError
    assert "TLS" in error.message


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mongodb://localhost/x", "no TLS"),
        ("mongodb://127.0.0.1:27017,[::1]:27018/x", "no TLS"),
        ("mongodb://%2Ftmp%2Fmongodb-27017.sock/x", "no TLS"),
        ("mongodb://localhost/x?tlsCAFile=ca.crt", "TLS, verified"),
        ("mongodb://db.example.com/x", "TLS, verified"),
        ("mongodb://localhost,db.example.com/x", "TLS, verified"),
        ("mongodb://db.example.com/x?tlsAllowInvalidHostnames=true", "TLS, host not verified"),
        ("mongodb://db.example.com/x?tlsInsecure=true", "TLS, not verified"),
        ("mongodb://db.example.com/x?tls=false", "no TLS"),
        ("mongodb://db.example.com/x?ssl=false", "no TLS"),
    ],
)
def test_only_this_machine_is_reached_without_verified_tls(uri: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").touch()
    assert tls_in_words(uri.replace("ca.crt", str(tmp_path / "ca.crt"))) == expected


def test_a_server_elsewhere_without_tls_is_refused_until_that_is_asked_for(source: Source) -> None:
    # The resolver takes 127.1 for 127.0.0.1; for us it is a name like any other.
    uri = f"mongodb://127.1:{urlsplit(source.uri).port}/db?directConnection=true"
    error = failure(uri, timeout_s=CONTACT_S)
    assert type(error) is ConnectError
    assert error.message.endswith(
        "offers no TLS: turn it on there, or add tls=false to source.uri if the network is trusted."
    )
    with connect(f"{uri}&tls=false", app_name="test") as client:
        assert inspect(client, f"{uri}&tls=false").tls == "no TLS"


def test_a_replica_set_of_another_name_is_told(source: Source) -> None:
    host = urlsplit(source.uri).netloc
    error = failure(f"mongodb://{host}/db?replicaSet=another", timeout_s=CONTACT_S)
    assert type(error) is ConnectError
    assert "replicaSet" in error.message


@contextmanager
def renaming_proxy(server: tuple[str, int], alias: bytes) -> Iterator[int]:
    """A port in front of the server, through which it calls itself `alias`, of the same length as its name."""
    name = f"{server[0]}:{server[1]}".encode()
    assert len(alias) == len(name)
    threads: list[threading.Thread] = []
    ends: list[socket.socket] = []

    def pump(taken: socket.socket, given: socket.socket) -> None:
        with suppress(OSError):
            while chunk := taken.recv(65_536):
                given.sendall(chunk.replace(name, alias))
        with suppress(OSError):
            given.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(server)
                ends.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threads.append(threading.Thread(target=pump, args=pair))
                    threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=serve)
        accepting.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()
    for end in ends:
        end.close()


def test_a_set_that_calls_itself_by_a_name_unknown_here_is_told(source: Source) -> None:
    address = urlsplit(source.uri)
    assert address.hostname is not None
    assert address.port is not None
    name = source.client.admin.command("hello")["setName"]
    alias = f"nowhere.x:{address.port}".encode()
    with renaming_proxy((address.hostname, address.port), alias) as port:
        error = failure(f"mongodb://127.0.0.1:{port}/db?replicaSet={name}", timeout_s=CONTACT_S)
    assert type(error) is ConnectError
    assert f"calls itself {alias.decode()}" in error.message
    assert "directConnection=true" in error.message


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://user:{SECRET}@@host/db",
        f"mongodb://us/er:{SECRET}@host/db",
        f"mongodb://user:{SECRET}@host:notaport/db",
        f"mongodb://user:{SECRET}@host:99999/db",
        f"mongodb://user:{SECRET}@/db",
        f"mongodb://user:{SECRET}@host/db?replicaset",
        f"mongodb://user:12?noSuchOption={SECRET}@host/db",
        f"mongodb://user:{SECRET}@host/db?authMechanism=NONSENSE",
        f"mongodb://user:{SECRET}@host/db?tls=true&tlsCAFile=/nowhere/{SECRET}.pem",
        f"postgresql://user:{SECRET}@host/db",
        f"host/db{SECRET}",
        "",
        "  ",
    ],
)
def test_a_wrong_uri_names_the_setting(uri: str) -> None:
    error = failure(uri)
    assert type(error) is UsageError
    assert "source.uri" in error.message


def test_the_database_is_in_the_path() -> None:
    assert database_of("mongodb://u:p@a:1,b:2/shop?replicaSet=rs") == "shop"
    assert database_of("mongodb+srv://cluster.example/my%20shop") == "my shop"
    assert database_of("mongodb://host/shop.orders") == "shop"


@pytest.mark.parametrize("uri", ["mongodb://host", "mongodb://host/", "mongodb://host/?tls=true", "", "http://host/db"])
def test_a_uri_without_a_database_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match=r"source\.uri"):
        database_of(uri)


def test_hosts_are_shown_without_credentials() -> None:
    assert hosts_of(f"mongodb://u:{SECRET}@a:1,b:2/db") == "a:1, b:2"
    assert hosts_of("mongodb://a,b,c,d,e/db") == "a, b, c and 2 more"
    assert hosts_of("mongodb://a%1b[31m/db") == "a?[31m"


@pytest.mark.parametrize(
    "userinfo",
    [f"u:{SECRET}/x", f"u:12/{SECRET}", f"u:{SECRET}?x", f"u:x@{SECRET}", f"{SECRET}/u:x", f"u:a#{SECRET}/b"],
)
def test_nothing_of_a_password_that_should_have_been_encoded_is_shown(userinfo: str) -> None:
    for options in ("", "?tls=true", "?authMechanismProperties=TOKEN:a@b"):
        shown = hosts_of(f"mongodb://{userinfo}@host:1/db{options}")
        assert SECRET not in shown
        assert "12" not in shown
        failure(f"mongodb://{userinfo}@host:1/db{options}")


def test_a_server_is_reached_by_strings_as_they_are_pasted(source: Source) -> None:
    for options in (
        "appName=@shop@&retrywrites=false&maxIdleTimeMS=0",
        "noSuchOption=1&compressors=lzma&journal=",
        "appName=a%2Bb",
    ):
        uri = with_options(source.uri, options)
        with connect(uri, app_name="test") as client:
            assert inspect(client, uri).topology.startswith("replica set ")


def test_a_replica_set_is_named_by_its_own_name(source: Source) -> None:
    name = source.client.admin.command("hello")["setName"]
    error = failure(f"mongodb://{urlsplit(source.uri).netloc}/db?replicaSet=another", timeout_s=CONTACT_S)
    assert f"is the replica set {name}, but source.uri says replicaSet=another" in error.message


def test_a_unix_socket_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "mongodb-1.sock")
    written = path.replace("/", "%2F")
    error = failure(f"mongodb://{written}/db")
    assert type(error) is ConnectError
    assert f"There is no Unix socket {path}" in error.message
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    assert "No server listens on the Unix socket" in failure(f"mongodb://{written}/db").message


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("app@host/db", "names the user app and no password: set MONGOPG_SOURCE_PASSWORD"),
        ("app:@host/db", "names the user app and no password"),
        ("host/db?authMechanism=SCRAM-SHA-256", "authMechanism=SCRAM-SHA-256 needs a user"),
        ("a:b@host/db?authMechanism=GSSAPI", "needs the package pymongo[gssapi]"),
        ("host/db?authMechanism=MONGODB-AWS", "needs the package pymongo[aws]"),
        ("host/db?authMechanism=MONGODB-OIDC", "needs authMechanismProperties=ENVIRONMENT:NAME"),
        ("host/db?authMechanism=MONGODB-OIDC&authMechanismProperties=ENVIRONMENT:gcp", "needs TOKEN_RESOURCE:AUDIENCE"),
        ("host/db?authMechanism=MONGODB-X509", "name its file as tlsCertificateKeyFile"),
        (f"a:{SECRET}@host/db?authMechanism=MONGODB-X509", "takes no password"),
        (
            "host/db?tlsCAFile=/nowhere/ca.pem",
            "The file that tlsCAFile in source.uri names cannot be read: No such file",
        ),
        (
            "host/db?tlsCertificateKeyFile=~/nowhere.pem",
            "tlsCertificateKeyFile in source.uri names cannot be read: No such",
        ),
        ("host/db?tlsCRLFile=/", "tlsCRLFile in source.uri names cannot be read: Is a directory"),
        (
            "localhost/db?tlsCAFile=/dev/null",
            "The file that tlsCAFile in source.uri names cannot be used: it must be PEM",
        ),
        ("localhost/db?tls=false&tlsCAFile=/dev/null", "says tls=false, and tlsCAFile, which is for TLS"),
        ("host/my%20db", "cannot hold blanks"),
    ],
)
def test_what_a_connection_lacks_is_named_before_anything_is_connected(rest: str, words: str) -> None:
    error = failure(f"mongodb://{rest}")
    assert type(error) is UsageError
    assert words in error.message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("loadBalanced=true", "is behind no load balancer: take loadBalanced=true out"),
        ("authMechanism=MONGODB-OIDC&authMechanismProperties=ENVIRONMENT:k8s", "gives none: /var/run/secrets/"),
    ],
)
def test_what_a_server_or_this_machine_does_not_have_is_named(source: Source, options: str, words: str) -> None:
    host = source.uri.removeprefix("mongodb://").partition("/")[0]
    error = failure(f"mongodb://{host}/db?{options}")
    assert type(error) is ConnectError
    assert words in error.message


def test_a_name_without_srv_entries_is_told() -> None:
    error = failure("mongodb+srv://cluster0.nowhere.invalid/db?retryWrites=true&w=majority&appName=Cluster0")
    assert type(error) is ConnectError
    assert "DNS entries (SRV) of cluster0.nowhere.invalid" in error.message


def test_the_uris_own_timeout_holds() -> None:
    port = free_port()
    with pytest.raises(ConnectError):
        connect(f"mongodb://127.0.0.1:{port}/db?serverSelectionTimeoutMS=100", app_name="test", timeout_s=250)


def test_a_snapshot_session_of_pymongo_keeps_its_time_where_ours_is_put(source: Source) -> None:
    with source.client.start_session(snapshot=True) as session:
        assert hasattr(session, "_snapshot_time"), "engine/mongo/snapshot.py sets it: PyMongo has no public way"
