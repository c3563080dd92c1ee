from __future__ import annotations

import io
import json
import logging

import pytest
from pydantic import ValidationError

from engine import logs
from engine.config import Settings, secrets_of, with_password
from engine.errors import KnobError, UsageError
from engine.knobs import KNOBS
from engine.loading import changed, setting_names
from engine.redaction import holds_secret, know, redact, scrub, secrets_in


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mongodb://me:p'w\"x@h/d", "mongodb://me:***@h/d"),
        ("postgresql://me:p w@x/y@h/d", "postgresql://me:***@h/d"),
        ("mongodb://h/?authMechanismProperties=A:b,C:d&x=1", "mongodb://h/?authMechanismProperties=***&x=1"),
        ("postgresql://h/d?password=a,b'c)d&sslmode=require", "postgresql://h/d?password=***&sslmode=require"),
        ("cannot reach mongodb://me:pw@h/d: try again", "cannot reach mongodb://me:***@h/d: try again"),
        ("mongodb://h:27017/d", "mongodb://h:27017/d"),
        ("The plan mongodb:/me:pw4@h/d cannot be read", "The plan mongodb:/me:***@h/d cannot be read"),
        ("postgresql//me:pw4@h/d", "postgresql//me:***@h/d"),
        ("target.password:hunter2", "target.password:***"),
        ("source.password: hunter2", "source.password: ***"),
        ("postgresql://me@corp:pw4@corp.postgres.example/d", "postgresql://me@corp:***@corp.postgres.example/d"),
    ],
)
def test_a_connection_string_shows_no_secret(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "/etc/passwd: choose", "see /etc/passwd: choose another file", "/etc/passwd:12: no such user", "password: see",
        "Wrong password: see the manual", "passwd: choose another", "pass: the salt", "PGPASSWORD is not set",
        "it must look like mongodb://user:password@host:27017/database, with special characters encoded",
        "write postgresql://user:password@host/database", "give mongodb://user:***@host/db", "password=... in the URI",
        "mongodb+srv://u:<db_password>@c0.x.example/", "password=${PGPASSWORD} host=h", "https://x/password:reset",
        "meet at 12:30@cafe", "mail a:b@c.example", "http://h:8080/a@b", "mongodb://[::1]:27017/d?appName=a@b",
        "postgresql://db1:5432/shop was refused for role app@corp.example", "mongodb://h:27017/?appName=@x@",
        "mongodb://h:27017 does not answer; mail ops@example.com", "mongodb://app@[fe80::1]:27017,db2:27017/d: refused",
        "mongodb://" + "a," * 40 + "b?x@y", "choose another with --collection shop.passwd:public.t or", "shop.user_passwd:t",
        "postgres:/var/lib/x:rw", "postgres/README: see a@b.example",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mongodb://acct:k3y==@acct.example:10255/?ssl=true&appName=@acct@",
         "mongodb://acct:***@acct.example:10255/?ssl=true&appName=@acct@"),
        ("see mongodb://me:p@ss/w?rd#x@h/d now", "see mongodb://me:***@h/d now"),
        ("mongodb://me:12/34@h/d", "mongodb://me:***@h/d"),
        ("mongodb://me:pa@ss?wo=rd@h/d", "mongodb://me:***@h/d"),
        ("postgresql://me:12 w@h/d", "postgresql://me:***@h/d"),
        ("'mongodb://u:it's@h/d'", "'mongodb://u:***@h/d'"),
        ('{"s":"mongodb://a:x1@h/d","t":"postgresql://b:y2@g/e"}', '{"s":"mongodb://a:***@h/d","t":"postgresql://b:***@g/e"}'),
        ("mongodb://a:x1@h/d,postgresql://b:y2@g/e", "mongodb://a:***@h/d,postgresql://b:***@g/e"),
        ("mongodb://u@h/d?tlsCertificateKeyFilePassword=a/b@c&tls=true",
         "mongodb://u@h/d?tlsCertificateKeyFilePassword=***&tls=true"),
        ("host=h password=s3cret dbname=d", "host=h password=*** dbname=d"),
        ("host=h password = 'it\\'s s3' dbname=d", "host=h password = *** dbname=d"),
        ("host=h password=a,b;c)d&e dbname=d", "host=h password=*** dbname=d"),
        ("host=h password=a\\ b dbname=d", "host=h password=*** dbname=d"),
        ("connect(password=abc, user='bob')", "connect(password=***, user='bob')"),
        ("Server=h;Password=abc;User=bob", "Server=h;Password=***;User=bob"),
        ('{"password":"a\\"b","x":1}', '{"password":***,"x":1}'),
        ("{'password': 'x y', 'u': 1}", "{'password': ***, 'u': 1}"),
        ("AWS_SESSION_TOKEN:abc123", "AWS_SESSION_TOKEN:***"),
        ("  password: swordfish\n  user: bob", "  password: ***\n  user: bob"),
        ("one: mongodb://u:a1@h/d\ntwo: mongodb://v:b2@g/d\n", "one: mongodb://u:***@h/d\ntwo: mongodb://v:***@g/d\n"),
    ],
)  # fmt: skip
def test_a_secret_is_taken_out_and_nothing_else(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected


def test_a_known_secret_is_scrubbed_however_it_is_written() -> None:
    know({'k3y/+"ü x'})
    for written in (
        'k3y/+"ü x',
        "k3y%2F%2B%22%C3%BC%20x",
        "k3y%2f%2b%22%c3%bc+x",
        'k3y/+\\"\\u00fc x',
        "k3y/%2B%22ü%20x",
    ):
        assert scrub(f"<{written}>") == "<***>"


def test_secrets_of_a_conninfo_string_are_known_and_words_of_a_mechanism_are_not() -> None:
    assert secrets_in("host=h password='it\\'s' user=u") == {"it's"}
    assert secrets_in("mongodb://h/?authMechanismProperties=ENVIRONMENT:azure,SERVICE_NAME:mongodb") == {
        "ENVIRONMENT:azure,SERVICE_NAME:mongodb"
    }
    assert secrets_in("mongodb://a:k3y==@h/?appName=@a@") == {"k3y=="}


def test_a_pasted_password_is_not_repeated_by_pydantic() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"run": {"cluster_size": "hunter2-canary"}, "source": {"uri": ["hunter2-canary"]}})
    assert "hunter2" not in str(caught.value)


def test_secrets_are_known_as_written_and_as_meant() -> None:
    assert secrets_in("postgresql://mig:p%2Fw@pg1/x?sslpassword=abc") == {"p%2Fw", "p/w", "abc"}
    assert {"TOKEN:a,KEY:b", "a", "b"} <= secrets_in("mongodb://h/?authMechanismProperties=TOKEN:a,KEY:b")
    assert secrets_in("mongodb://db1/shop") == set()
    assert not holds_secret("mongodb://db1/shop")


def test_a_known_secret_is_scrubbed_wherever_it_stands() -> None:
    know({"hum/bug's", "ab"})
    assert scrub("port is hum/bug's and hum%2Fbug%27s, ab") == "port is *** and ***, ab"


def test_a_password_goes_where_the_connection_string_has_room_for_it() -> None:
    assert with_password("mongodb://me@h/d", "p/w@") == "mongodb://me:p%2Fw%40@h/d"
    assert with_password("mongodb://me:own@h/d", "pw") == "mongodb://me:own@h/d"
    assert with_password("mongodb://h/d", "pw") == "mongodb://h/d"
    assert with_password("postgresql://me@h/d", "p w") == "postgresql://me@h/d?password=p%20w"
    assert with_password("postgresql:///d?user=me", "pw") == "postgresql:///d?user=me&password=pw"
    assert with_password("postgresql://me@h/d?password=own", "pw") == "postgresql://me@h/d?password=own"
    assert with_password("postgresql://me@h/d?sslpassword=key", "pw").endswith("sslpassword=key&password=pw")
    assert with_password("", "pw") == ""
    assert with_password("mongodb://me:@h/d", "pw") == "mongodb://me:pw@h/d"
    assert with_password("mongodb://me@h:1/?appName=@x@", "pw") == "mongodb://me:pw@h:1/?appName=@x@"
    assert with_password("mongodb://h:1/?appName=@x@", "pw") == "mongodb://h:1/?appName=@x@"


def test_settings_tell_all_their_secrets_and_show_none() -> None:
    settings = Settings.model_validate(
        {"source": {"uri": "mongodb://me@h/d", "password": "first"}, "target": {"uri": "postgresql://u:latter@h/d"}}
    )
    assert {"first", "latter"} <= secrets_of(settings)
    assert "first" not in repr(settings) + settings.model_dump_json()
    assert "latter" not in repr(settings) + settings.model_dump_json()


def test_a_log_line_is_one_json_object_without_secrets() -> None:
    know({"swordfish"})
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines())
    try:
        raise ValueError("swordfish\nFORGED \x1b]52;c;x\x07")
    except ValueError as error:
        facts = (type(error), error, error.__traceback__)
        handler.emit(logging.LogRecord("x", logging.ERROR, "", 0, "failed with %s\nFORGED", ("swordfish",), facts))
    (line,) = stream.getvalue().splitlines()
    assert line.isascii()
    assert line.isprintable()
    assert "swordfish" not in line
    assert json.loads(line)["message"] == "failed with ***\nFORGED"


@pytest.mark.parametrize(
    "sentence",
    [
        "the user 'nobody' may not enter /etc/passwd: choose a folder below one that every user may enter.",
        "the user 'nobody' may not enter /srv/password: choose another folder.",
        "./secret_passwd: is a directory",
        "'/etc/passwd': choose a folder",
        "C:\\passwd: choose a folder",
        "mypasswd: choose a folder that exists",
        "The folder is /home/ann/passwords; remove it.",
    ],
)
def test_b13_a_path_is_not_taken_for_a_password(sentence: str) -> None:
    assert redact(sentence) == sentence


@pytest.mark.parametrize("pasted", ["mongodb://u:secretpw@127.0.0.1/x", "postgresql://u:secretpw@h/d", "u:secretpw@h"])
def test_b13_what_is_pasted_into_a_number_is_not_repeated(pasted: str) -> None:
    for knob in KNOBS.values():
        with pytest.raises(KnobError) as caught:
            knob.parse(pasted)
        assert "secretpw" not in caught.value.message
        assert "127.0.0.1" not in caught.value.message
    takes_text = ("uri", "uri_file", "password", "dir", "schema", "collection", "collections", "exclude")
    for setting in setting_names():
        if not setting.endswith(takes_text):
            assert "secretpw" not in _refusal(setting, pasted), setting


def _refusal(setting: str, typed: str) -> str:
    try:
        changed(Settings(), {setting: typed})
    except UsageError as error:
        return error.message
    return ""
