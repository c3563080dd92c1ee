"""MongoDB's connection strings: what is read, what is left out with a warning, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.common import URI_OPTIONS_VALIDATOR_MAP

from engine.config import Settings
from engine.errors import UsageError
from engine.loading import load_settings, source_warnings
from engine.mongo_options import OPTIONS
from engine.mongo_uri import read_uri

SECRET = "c4nary-s3cret"


@pytest.mark.parametrize(
    ("uri", "hosts", "user", "password", "database"),
    [
        ("mongodb://db1", [("db1", 27017)], None, None, ""),
        ("  mongodb://DB1:7,db2/shop \n", [("db1", 7), ("db2", 27017)], None, None, "shop"),
        ("mongodb://app@[::1]:7/shop", [("::1", 7)], "app", None, "shop"),
        ("mongodb://app:@[fe80::1%25eth0]/shop", [("fe80::1%eth0", 27017)], "app", "", "shop"),
        ("mongodb://a+b:1+1=2;!$&'()*,@db1/x", [("db1", 27017)], "a+b", "1+1=2;!$&'()*,", "x"),
        ("mongodb://%40l:p%2Fw%25@db1/my%2Dshop.orders", [("db1", 27017)], "@l", "p/w%", "my-shop"),
        ("mongodb://%2Frun%2Fmy mongo.sock,db2?tls=false", [("/run/my mongo.sock", None), ("db2", 27017)], None, None, ""),
        ("mongodb+srv://u:p@c0.example.net/?retryWrites=true", [("c0.example.net", None)], "u", "p", ""),
        ("mongodb://größe.example:1/bücher", [("größe.example", 1)], None, None, "bücher"),
        ("mongodb://acct:k3y==@acct.mongo.cosmos.azure.com:10255/?ssl=true&replicaSet=globaldb&retrywrites=false"
         "&maxIdleTimeMS=120000&appName=@acct@", [("acct.mongo.cosmos.azure.com", 10255)], "acct", "k3y==", ""),
    ],
)  # fmt: skip
def test_a_string_is_read_as_it_is_meant(
    uri: str, hosts: list[tuple[str, int | None]], user: str | None, password: str | None, database: str
) -> None:
    found = read_uri(uri)
    assert [(host.name, host.port) for host in found.hosts] == hosts
    assert (found.user, found.password, found.database) == (user, password, database)
    assert found.warnings == ()
    again = read_uri(found.text)  # what the driver gets says the same
    assert (again.user, again.password, again.hosts, again.database) == (user, password, found.hosts, database)
    assert password is None or "password" not in repr(found)


def test_the_driver_gets_a_password_with_a_plus_as_it_is() -> None:
    found = read_uri("mongodb://app:1+1@localhost/?appName=a+b")
    client: MongoClient[dict[str, Any]] = MongoClient(found.text, connect=False)
    with client:
        assert client.options.pool_options.appname == "a+b"
        credentials = client.options.pool_options._credentials
        assert credentials is not None
        assert credentials.password == "1+1"


def test_every_option_of_the_driver_has_its_place() -> None:
    ours = {"driver", "server_api", "fsync", "waitqueuemultiple"}
    """Objects, and what is gone from every specification: left out with a warning, as any other name."""
    assert set(URI_OPTIONS_VALIDATOR_MAP) - set(OPTIONS) <= ours


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("foo=1", "an option foo"),
        ("3t.uriVersion=3", "an option 3t.uriVersion"),
        ("replicaset=a&replicaSet=b", "replicaSet twice"),
        ("replicaSett=rs0", "Did you mean replicaSet?"),
        ("tlsCaFiles=x", "Did you mean tlsCAFile?"),
        ("ssl_ca_certs=x", "Did you mean tlsCAFile?"),
        ("wtimeout=5", "Did you mean wTimeoutMS?"),
        ("slaveOk=true", "Did you mean readPreference=secondaryPreferred?"),
        ("readPreference=secundary", "not secundary; did you mean secondary?"),
        ("readConcernLevel=majoritty", "not majoritty; did you mean majority?"),
        ("connectTimeoutMS=5s", "connectTimeoutMS takes milliseconds, 0 or more, not 5s"),
        ("connectTimeoutMS=", "connectTimeoutMS has no value"),
        ("maxPoolSize=-1", "maxPoolSize takes a whole number, 0 or more"),
        ("retryWrites=True", "retryWrites takes true or false, not True; did you mean true?"),
        ("heartbeatFrequencyMS=10", "500 or more"),
        ("zlibCompressionLevel=99", "between -1 and 9"),
        ("compressors=zlib,lzma", "another name lzma is left out"),
        ("readPreference=nearest&readPreferenceTags=dc", "readPreferenceTags takes NAME:value pairs"),
        ("authMechanismProperties=PASS:" + SECRET, "authMechanismProperties takes NAME:value pairs"),
        ("uuidRepresentation=standard", "mapping.uuid_legacy"),
        ("proxyHost=localhost", "proxyHost is left out"),
        ("appName=" + "x" * 129, "appName takes text of at most 128 bytes"),
        (f"{SECRET}/x=1", "has an option that"),
    ],
)
def test_what_is_no_option_is_left_out_and_named(options: str, named: str) -> None:
    found = read_uri(f"mongodb://db1/shop?{options}")
    warnings = " ".join(found.warnings)
    assert named in warnings
    assert SECRET not in warnings
    assert all(warning.endswith((".", "?")) for warning in found.warnings)
    MongoClient(found.text, connect=False).close()


@pytest.mark.parametrize(
    "options",
    [
        "TLS=true&ssl=true", "w=majority&journal=true&readConcernLevel=local&", "maxIdleTimeMS=0", "maxStalenessSeconds=-1",
        "w=1;retryReads=false", "authSource=my@users", "replicaSet=a@b", "appName=50%", "serverSelectionTryOnce=false",
        "readPreference=nearest&readPreferenceTags=dc:a,rack:1&readPreferenceTags=", "tlsDisableOCSPEndpointCheck=true",
    ],
)  # fmt: skip
def test_sound_options_are_taken_without_a_word(options: str) -> None:
    found = read_uri(f"mongodb://db1/shop?{options}")
    assert found.warnings == ()
    MongoClient(found.text, connect=False).close()


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (f"mongodb://u:{SECRET}/x@db1/shop", "percent-encoded"),
        (f"mongodb://u:{SECRET}:x@db1/shop", "percent-encoded"),
        (f"mongodb://u:{SECRET}%x@db1/shop", "% as %25"),
        (f"mongodb://u:12?{SECRET}=x@db1/shop", "percent-encoded"),
        (f"mongodb://u:12?w={SECRET}@db1/shop", "percent-encoded"),
        (f"mongodb://:{SECRET}@db1/shop", "no user before it"),
        ("mongodb:///run/mongodb-27017.sock", "mongodb://%2Ftmp%2Fmongodb-27017.sock/database"),
        ("mongodb://db1:27O17/shop", "a port that is no number between 1 and 65,535"),
        ("mongodb://db1:0/shop", "a port that is no number"),
        ("mongodb://db1:/shop", "a port that is no number"),
        ("mongodb://db1,,db2/shop", "empty host"),
        ("mongodb://::1/shop", "an IPv6 address as [::1]:27017"),
        ("mongodb://db 1/shop", "a host that cannot be one"),
        ("mongodb+srv://a.example,b.example/shop", "takes one host"),
        ("mongodb+srv://a.example:27017/shop", "takes no port"),
        ("mongodb://db1/sh$op", "the name of a database"),
        ("mongodb://db1/shop?replicaSet", "replicaSet has no value"),
        ("mongodb://db1/shop?tls=yes", "tls takes true or false, not yes"),
        ("mongodb://db1/shop?tls=true&tls=false", "gives tls twice, with different values"),
        ("mongodb://db1/shop?tls=true&ssl=false", "contradict each other"),
        ("mongodb://db1/shop?authMechanism=SCRAM-SHA-265", "did you mean SCRAM-SHA-256?"),
        ("mongodb://db1,db2/shop?directConnection=true", "directConnection=true takes one host"),
        ("mongodb+srv://a.example/shop?directConnection=true", "directConnection=true does not go with mongodb+srv://"),
        ("mongodb://db1/shop?tlsInsecure=true&tlsAllowInvalidHostnames=true", "exclude each other"),
        ("mongodb://db1/shop?readPreferenceTags=dc:a", "go with another readPreference than primary"),
        ("mongodb://db1/shop?minPoolSize=9&maxPoolSize=3", "minPoolSize must not be above maxPoolSize"),
        ("mongodb://db1/shop?srvMaxHosts=2", "goes with mongodb+srv:// only"),
    ],
)
def test_a_string_that_cannot_be_meant_is_refused_in_one_sentence(uri: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_uri(uri)
    assert words in caught.value.message
    assert "source.uri" in caught.value.message
    assert SECRET not in caught.value.message
    assert "\n" not in caught.value.message


def test_the_command_line_names_what_is_left_out_of_the_source() -> None:
    def warned(uri: str) -> list[str]:
        return source_warnings(Settings.model_validate({"source": {"uri": uri}}))

    assert "an option foo" in warned("mongodb://db1/shop?foo=1")[0]
    assert warned("mongodb://db1/shop?tls=yes") == []  # refused, where it is used
    assert warned("") == []
    pasted = load_settings(None, {"source.uri": " mongodb://app@db1/shop\n", "source.password": "pw"})
    assert pasted.settings.source.connection == "mongodb://app:pw@db1/shop"
    assert warned("mongodb://db1/shop?compressors=zlib") == []


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("redPreference", "readPreference"),
        ("replicaset_", "replicaSet"),
        ("tlsCaFil", "tlsCAFile"),
        ("authSorce", "authSource"),
    ],
)
def test_b12_a_mistyped_option_is_named_with_what_was_meant(given: str, meant: str) -> None:
    (warning,) = read_uri(f"mongodb://h/d?{given}=secondary").warnings
    assert f"an option {given}, which" in warning
    assert warning.endswith(f"Did you mean {meant}?")
