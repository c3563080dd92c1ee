from __future__ import annotations

import io
import json
import logging

import pytest

from engine import logs
from engine.config import Settings, secrets_of, with_password
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
    ],
)
def test_a_connection_string_shows_no_secret(text: str, expected: str) -> None:
    assert redact(text) == expected


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


def test_settings_tell_all_their_secrets_and_show_none() -> None:
    settings = Settings.model_validate(
        {"source": {"uri": "mongodb://me@h/d", "password": "first"}, "target": {"uri": "postgresql://u:second@h/d"}}
    )
    assert {"first", "second"} <= secrets_of(settings)
    assert "first" not in repr(settings) + settings.model_dump_json()
    assert "second" not in repr(settings) + settings.model_dump_json()


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
