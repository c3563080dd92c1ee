"""TLS on both ends with certificates of our own: what is right connects, each thing that is wrong is one sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from engine import protocol, tls
from engine.errors import ConnectError
from engine.mongo import connect as mongo
from engine.postgres import connect as postgres
from engine.service import questions
from tests.conftest import Source, Target
from tests.guarded import Certificates, free_port, make_certificates, running_mongod, tls_in_front_of
from tests.running import Engines, add_users, assert_users_equal

pytestmark = pytest.mark.slow

QUICK_S = 4.0
SECRET = "canary-of-tls"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secured(certificates: Certificates) -> Iterator[int]:
    """The port of a MongoDB that wants TLS."""
    with running_mongod("--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(certificates.server)) as port:
        yield port


def refusal_of_mongo(uri: str) -> str:
    with pytest.raises(ConnectError) as refused:
        mongo.connect(uri, app_name="test", timeout_s=QUICK_S)
    message = str(refused.value)
    assert "\n" not in message
    assert SECRET not in message
    return message


def verified(uri: str) -> str:
    with closing(mongo.connect(uri, app_name="test")) as client:
        return mongo.inspect(client, uri).tls


def test_mongodb_with_the_right_authority(secured: int, certificates: Certificates) -> None:
    uri = f"mongodb://localhost:{secured}/shop?tls=true&tlsCAFile={certificates.authority}"
    assert verified(uri) == tls.VERIFIED
    assert verified(f"{uri}&tlsAllowInvalidHostnames=true") == tls.HOST_NOT_VERIFIED
    assert verified(f"mongodb://localhost:{secured}/shop?tls=true&tlsInsecure=true") == tls.NOT_VERIFIED


def test_mongodb_with_an_authority_that_did_not_sign(secured: int, certificates: Certificates) -> None:
    expected = (
        f"The certificate of MongoDB at localhost:{secured} is not signed by an authority that is trusted here: "
        "name a file with that authority as tlsCAFile in source.uri."
    )
    uri = f"mongodb://localhost:{secured}/shop?tls=true"
    assert refusal_of_mongo(uri) == expected
    assert refusal_of_mongo(f"{uri}&tlsCAFile={certificates.stranger}") == expected


def test_mongodb_that_wants_tls_from_a_client_without(secured: int) -> None:
    message = refusal_of_mongo(f"mongodb://me:{SECRET}@localhost:{secured}/shop")
    assert message == (
        f"MongoDB at localhost:{secured} wants TLS: add tls=true to source.uri, and tlsCAFile=FILE for an authority of "
        "your own."
    )


def test_mongodb_without_tls_where_it_is_asked_for(source: Source) -> None:
    place = urlsplit(source.uri).netloc
    assert "offers no TLS" in refusal_of_mongo(f"mongodb://{place}/shop?tls=true&directConnection=true")


@pytest.mark.parametrize(
    ("wrong", "expected"), [("elsewhere", "is for another host name"), ("expired", "has expired: renew it")]
)
def test_mongodb_with_a_certificate_that_is(wrong: str, expected: str, certificates: Certificates) -> None:
    # A mongod refuses to start with an expired one; it expires while the server runs.
    with tls_in_front_of("127.0.0.1", free_port(), getattr(certificates, wrong), after_request=False) as port:
        message = refusal_of_mongo(f"mongodb://localhost:{port}/shop?tls=true&tlsCAFile={certificates.authority}")
    assert message.startswith(f"The certificate of MongoDB at localhost:{port} {expected}")


def test_mongodb_that_wants_a_certificate_of_ours(certificates: Certificates) -> None:
    options = ["--tlsCertificateKeyFile", str(certificates.server), "--tlsCAFile", str(certificates.authority)]
    with running_mongod("--tlsMode", "requireTLS", *options) as port:
        uri = f"mongodb://localhost:{port}/shop?tls=true&tlsCAFile={certificates.authority}"
        assert "tlsCertificateKeyFile in source.uri" in refusal_of_mongo(uri)
        assert verified(f"{uri}&tlsCertificateKeyFile={certificates.server}") == tls.VERIFIED


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def behind_tls(target: Target, port: int, host: str = "localhost", **parameters: object) -> str:
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return urlsplit(target.uri)._replace(netloc=f"postgres:{SECRET}@{host}:{port}", query=query).geturl()


def front_of(target: Target, certificate: Path) -> Iterator[int]:
    parts = urlsplit(target.uri)
    assert parts.hostname
    assert parts.port
    with tls_in_front_of(parts.hostname, parts.port, certificate) as port:
        yield port


@pytest.fixture
def front(target: Target, certificates: Certificates) -> Iterator[int]:
    """The port of a PostgreSQL that offers TLS with the right certificate."""
    yield from front_of(target, certificates.server)


async def refusal_of_postgres(uri: str) -> str:
    with pytest.raises(ConnectError) as refused:
        await postgres.connect(uri)
    message = str(refused.value)
    assert "\n" not in message
    assert SECRET not in message
    return message


async def tls_with_postgres(uri: str) -> str:
    connection = await postgres.connect(uri)
    try:
        return (await postgres.inspect(connection)).tls
    finally:
        await connection.close()


async def test_postgresql_with_the_right_authority(target: Target, front: int, certificates: Certificates) -> None:
    authority = certificates.authority
    full = behind_tls(target, front, sslmode="verify-full", sslrootcert=authority)
    assert await tls_with_postgres(full) == tls.VERIFIED
    by_address = behind_tls(target, front, "127.0.0.1", sslmode="verify-ca", sslrootcert=authority)
    assert await tls_with_postgres(by_address) == tls.HOST_NOT_VERIFIED
    assert await tls_with_postgres(behind_tls(target, front, sslmode="require")) == tls.NOT_VERIFIED


async def test_postgresql_with_an_authority_that_did_not_sign(
    target: Target, front: int, certificates: Certificates
) -> None:
    expected = (
        f"The certificate of PostgreSQL at localhost:{front} is not signed by an authority that is trusted here: "
        "name a file with that authority as sslrootcert in target.uri."
    )
    stranger = behind_tls(target, front, sslmode="verify-full", sslrootcert=certificates.stranger)
    assert await refusal_of_postgres(stranger) == expected
    assert await refusal_of_postgres(behind_tls(target, front, sslrootcert="system")) == expected


@pytest.mark.parametrize(
    ("wrong", "expected"), [("elsewhere", "is for another host name"), ("expired", "has expired: renew it")]
)
async def test_postgresql_with_a_certificate_that_is(
    wrong: str, expected: str, target: Target, certificates: Certificates
) -> None:
    for port in front_of(target, getattr(certificates, wrong)):
        uri = behind_tls(target, port, sslmode="verify-full", sslrootcert=certificates.authority)
        message = await refusal_of_postgres(uri)
        assert message.startswith(f"The certificate of PostgreSQL at localhost:{port} {expected}")


# --- both -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "local", "weak"),
    [
        (tls.VERIFIED, False, False),
        (tls.NO_TLS, True, False),
        (tls.NO_TLS, False, True),
        (tls.NOT_VERIFIED, True, True),
        (tls.HOST_NOT_VERIFIED, False, True),
    ],
)
def test_what_people_are_warned_about(word: str, local: bool, weak: bool) -> None:
    assert tls.is_weak(word, local=local) is weak


async def test_weak_tls_is_told_in_the_report(engines: Engines, secured: int, certificates: Certificates) -> None:
    settings = engines.settings()
    lax = f"mongodb://localhost:{secured}/shop?tls=true&tlsInsecure=true"
    report = await questions.inspect(protocol.Inspect(side="source", uri=lax), settings)
    assert (report.tls, report.tls_is_weak) == (tls.NOT_VERIFIED, True)
    strict = f"mongodb://localhost:{secured}/shop?tls=true&tlsCAFile={certificates.authority}"
    report = await questions.inspect(protocol.Inspect(side="source", uri=strict), settings)
    assert (report.tls, report.tls_is_weak) == (tls.VERIFIED, False)
    report = await questions.inspect(protocol.Inspect(side="target"), settings)
    assert (report.tls, report.tls_is_weak) == (tls.NO_TLS, False)


async def test_a_run_shows_that_its_tls_is_weak(engines: Engines, target: Target, front: int) -> None:
    add_users(engines.source, 100)
    settings = engines.settings("users", target={"uri": behind_tls(target, front, sslmode="require")})
    engine, facts = await engines.run(settings)
    assert facts["state"] == "completed"
    assert engine.snapshot.weak_tls == ["target: TLS, not verified"]


async def test_a_run_with_tls_on_both_ends(
    engines: Engines, target: Target, secured: int, front: int, certificates: Certificates
) -> None:
    uri = f"mongodb://localhost:{secured}/{engines.source.database}?tls=true&tlsCAFile={certificates.authority}"
    with MongoClient[dict[str, object]](uri) as client:
        source = Source(uri, engines.source.database, client)
        await asyncio.to_thread(add_users, source, 2_000)
        settings = engines.settings(
            "users",
            source={"uri": uri},
            target={"uri": behind_tls(target, front, sslmode="verify-full", sslrootcert=certificates.authority)},
        )
        engine, facts = await engines.run(settings)
        assert (facts["state"], facts["written"]) == ("completed", 2_000)
        assert engine.snapshot.weak_tls == []
        assert_users_equal(source, target)
        client.drop_database(source.database)
