"""Connection strings read as libpq reads them: its documented forms and its corners, each with what libpq 18 makes of it."""

from __future__ import annotations

import pytest

from engine.libpq import strings

# https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-CONNSTRING; seen with PQconninfoParse of libpq 18.
FORMS: list[tuple[str, dict[str, str]]] = [
    ("postgresql://", {}),
    ("postgresql://localhost", {"host": "localhost"}),
    ("postgresql://localhost:5433", {"host": "localhost", "port": "5433"}),
    ("postgresql://localhost/mydb", {"host": "localhost", "dbname": "mydb"}),
    ("postgresql://user@localhost", {"user": "user", "host": "localhost"}),
    ("postgresql://user:secret@localhost", {"user": "user", "password": "secret", "host": "localhost"}),
    (
        "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
        {"user": "other", "host": "localhost", "dbname": "otherdb", "connect_timeout": "10", "application_name": "myapp"},
    ),
    (
        "postgresql://host1:123,host2:456/somedb?target_session_attrs=any&application_name=myapp",
        {"host": "host1,host2", "port": "123,456", "dbname": "somedb", "target_session_attrs": "any",
         "application_name": "myapp"},
    ),
    ("postgresql:///mydb?host=localhost&port=5433", {"dbname": "mydb", "host": "localhost", "port": "5433"}),
    ("postgresql://[2001:db8::1234]/database", {"host": "2001:db8::1234", "dbname": "database"}),
    ("postgresql:///dbname?host=/var/lib/postgresql", {"dbname": "dbname", "host": "/var/lib/postgresql"}),
    ("postgresql://%2Fvar%2Flib%2Fpostgresql/dbname", {"host": "/var/lib/postgresql", "dbname": "dbname"}),
    ("postgresql://user@localhost:5433/mydb?options=-c%20synchronous_commit%3Doff",
     {"user": "user", "host": "localhost", "port": "5433", "dbname": "mydb", "options": "-c synchronous_commit=off"}),
    ("postgres://localhost/mydb", {"host": "localhost", "dbname": "mydb"}),
    # corners
    ("postgresql:///", {}),
    ("postgresql:///?service=s", {"service": "s"}),
    ("postgresql://h,h2:2/db", {"host": "h,h2", "port": ",2", "dbname": "db"}),
    ("postgresql://h:1,h2/db", {"host": "h,h2", "port": "1,", "dbname": "db"}),
    ("postgresql://u:p@h/d?dbname=X", {"user": "u", "password": "p", "host": "h", "dbname": "X"}),
    ("postgresql://h?user=a@b", {"user": "h?user=a", "host": "b"}),
    ("postgresql://h/d?application_name=a%20b&application_name=c", {"host": "h", "dbname": "d", "application_name": "c"}),
    ("postgresql://h/d?", {"host": "h", "dbname": "d"}),
    ("postgresql://h/d?user=x&", {"host": "h", "dbname": "d", "user": "x"}),
    ("postgresql://[::ffff:127.0.0.1]/x", {"host": "::ffff:127.0.0.1", "dbname": "x"}),
    ("postgresql://[::1]:7,h/x", {"host": "::1,h", "port": "7,", "dbname": "x"}),
    ("postgresql://%2Ftmp%2Fdir/db?port=5", {"host": "/tmp/dir", "dbname": "db", "port": "5"}),
    ("postgresql://%2Ftmp%2Fdir/db?port=", {"host": "/tmp/dir", "dbname": "db", "port": ""}),
    ("postgresql:// h /d", {"host": "h", "dbname": "d"}),
    ("postgresql://h/%20d%20?user=%20x%20", {"host": "h", "dbname": " d ", "user": " x "}),
    ("postgresql://u:a:b@h/d", {"user": "u", "password": "a:b", "host": "h", "dbname": "d"}),
    ("postgresql://u:@h/d", {"user": "u", "host": "h", "dbname": "d"}),
    ("postgresql://:p@h/d", {"password": "p", "host": "h", "dbname": "d"}),
    ("postgresql://u@x@h/d", {"user": "u", "host": "x@h", "dbname": "d"}),
    ("postgresql://h/d?host=o", {"host": "o", "dbname": "d"}),
    ("postgresql://h/d#frag", {"host": "h", "dbname": "d#frag"}),
    ("postgresql://h/d/e", {"host": "h", "dbname": "d/e"}),
    ("postgresql://h/a@b", {"host": "h", "dbname": "a@b"}),
    ("postgresql://u:p%40ss@h/d", {"user": "u", "password": "p@ss", "host": "h", "dbname": "d"}),
    ("postgresql://u:p+s@h/d+e", {"user": "u", "password": "p+s", "host": "h", "dbname": "d+e"}),
    ("postgresql://h/%D0%B4", {"host": "h", "dbname": "д"}),
    ("host=localhost port=5432 dbname=mydb connect_timeout=10",
     {"host": "localhost", "port": "5432", "dbname": "mydb", "connect_timeout": "10"}),
    ("host = h  dbname='a b'", {"host": "h", "dbname": "a b"}),
    ("host=h dbname=a\\ b", {"host": "h", "dbname": "a b"}),
    ("host=h\tdbname='it\\'s'", {"host": "h", "dbname": "it's"}),
    ("host='h'dbname=x", {"host": "h", "dbname": "x"}),
    ("host=h password='' dbname=x", {"host": "h", "password": "", "dbname": "x"}),
    ("dbname=postgres://u@h/x", {"dbname": "postgres://u@h/x"}),
    ("user=u password='p w\\\\' host=h", {"user": "u", "password": "p w\\", "host": "h"}),
    (" host=h \n", {"host": "h"}),
    ("host=h dbname=first dbname=last", {"host": "h", "dbname": "last"}),
]  # fmt: skip

PASTED: list[tuple[str, dict[str, str]]] = [
    (" postgresql://h/d", {"host": "h", "dbname": "d"}),
    ("postgresql://h/d\r\n", {"host": "h", "dbname": "d"}),
    ("postgresql+asyncpg://u@h/d", {"user": "u", "host": "h", "dbname": "d"}),
    ("postgres+psycopg2://h/d", {"host": "h", "dbname": "d"}),
    ("jdbc:postgresql://h:1/d?user=u", {"host": "h", "port": "1", "dbname": "d", "user": "u"}),
    ("shop", {"dbname": "shop"}),
]
"""What libpq does not take, and people paste."""


@pytest.mark.parametrize(("text", "expected"), [*FORMS, *PASTED])
def test_a_string_is_read_as_libpq_reads_it(text: str, expected: dict[str, str]) -> None:
    assert strings.is_connection_string(text)
    assert dict(strings.parse(text)) == expected


@pytest.mark.parametrize(
    "text",
    ["postgresql://[::1", "postgresql://[]/", "postgresql://[::1]x/", "postgresql://h%zz/", "postgresql://h/a%00b",
     "postgresql://h/a%", "postgresql://h/%ff", "postgresql://h/d?&", "postgresql://h/d?user=x&&port=1", "postgresql://h/d?user",
     "postgresql://h/d?user==x", "host=h dbname='x", "host=h dbname", "password=two words host=h"],
)  # fmt: skip
def test_what_libpq_refuses_is_refused(text: str) -> None:
    with pytest.raises(strings.Malformed) as refused:
        strings.parse(text)
    assert "words" not in str(refused.value)


@pytest.mark.parametrize(
    "text", ["mysql://h/d", "mysql://h/d?a=b", "localhost:5432/x", "POSTGRESQL://h/d", "", "pgsql:host=h"]
)
def test_what_is_no_connection_string(text: str) -> None:
    assert not strings.is_connection_string(text) or text == "pgsql:host=h"


@pytest.mark.parametrize("text", ["postgresql://h/d", "postgresql://h/d?", "postgresql://h/d?port=1", "postgresql://h/d?port=1&",
                                  "host=h dbname=d", "d", "jdbc:postgresql://h/d"])  # fmt: skip
@pytest.mark.parametrize("value", ["plain", "a b", "it's", "back\\slash", "&=%/?#", "ü", "-c a=b", ""])
def test_a_parameter_that_is_added_is_read_back(text: str, value: str) -> None:
    before = dict(strings.parse(text))
    assert dict(strings.parse(strings.with_parameter(text, "options", value))) == before | {"options": value}
