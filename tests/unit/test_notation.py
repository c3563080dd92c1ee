"""How collections, tables and patterns are typed: whatever a server calls them, there is a spelling that means just that."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.notation import (
    NamedCollection,
    Pattern,
    joined_list,
    leaves_out,
    parsed,
    parsed_source,
    split_list,
    written,
    written_namespace,
    written_table,
)

ODD = st.text(st.sampled_from("\\\\\\:.,a *?\"'[]{}$%=#@/\n"), max_size=8)
NAMES = (ODD | st.text(max_size=8)).filter(bool)
DATABASES = NAMES.filter(lambda name: "." not in name)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("db.events", NamedCollection("db", "events")),
        ("db.a.b.c", NamedCollection("db", "a.b.c")),
        ("db.events:t", NamedCollection("db", "events", "", "t")),
        ("db.events:s.t", NamedCollection("db", "events", "s", "t")),
        (r"db.events\:archive", NamedCollection("db", "events:archive")),
        (r"db.events\:archive:public.t", NamedCollection("db", "events:archive", "public", "t")),
        (r"db._Join\:users\:_Role", NamedCollection("db", "_Join:users:_Role")),
        (r"db.a\b", NamedCollection("db", "a\\b")),
        (r"db.a\\b", NamedCollection("db", "a\\\\b")),
        ("db.a\\", NamedCollection("db", "a\\")),
        (r"db.a\\:t", NamedCollection("db", "a\\", "", "t")),
        (r"db.a\\\:t", NamedCollection("db", "a\\:t")),
        (r"db.a\.b", NamedCollection("db", "a\\.b")),
        (r"db.c:my\.schema.my\.table", NamedCollection("db", "c", "my.schema", "my.table")),
        (r"db.c:my\.table", NamedCollection("db", "c", "", "my.table")),
        ("db.c:a.b.c", NamedCollection("db", "c", "a.b", "c")),
        ("db.c:s.a:b", NamedCollection("db", "c", "s", "a:b")),
        (r"db.c:s.a\:b", NamedCollection("db", "c", "s", "a:b")),
        (r"db.c:s\\.t", NamedCollection("db", "c", "s\\", "t")),
        (r"db.c:\\\:", NamedCollection("db", "c", "", "\\:")),
        (r"db.c:a\\\.b", NamedCollection("db", "c", "", "a\\.b")),
        ("db.c:crm.", NamedCollection("db", "c", "crm", "")),
        ("db.c:", NamedCollection("db", "c")),
        ("a:b.c:t", NamedCollection("a:b", "c", "", "t")),
        (r"a\:b.c", NamedCollection("a:b", "c")),
        ("db. c ", NamedCollection("db", " c ")),
        ('db.c:s."t"', NamedCollection("db", "c", "s", '"t"')),
    ],
)
def test_what_is_typed(text: str, meant: NamedCollection) -> None:
    assert parsed(text) == meant


@pytest.mark.parametrize("text", ["", ".", "users", "db.", ".users", "db.:t", "db:t", ":", r"db\:x"])
def test_what_names_no_collection_is_refused_with_the_escape_named(text: str) -> None:
    with pytest.raises(UsageError, match=r'^run\.collections: .* must be "database\.collection" or .*\\:\.$'):
        parsed(text)


@given(DATABASES, NAMES, st.text(st.characters(), max_size=8) | ODD, NAMES)
@example("db", "c", "", "\\:")
def test_every_name_has_a_spelling(database: str, collection: str, schema: str, table: str) -> None:
    meant = NamedCollection(database, collection, schema, table)
    assert parsed(written(database, collection, schema, table)) == meant
    assert parsed(written(database, collection)) == NamedCollection(database, collection)
    assert parsed(written_namespace(meant.namespace)) == NamedCollection(database, collection)
    assert parsed(f"db.c:{written_table(schema, table)}") == NamedCollection("db", "c", schema, table)


@given(DATABASES, NAMES)
def test_a_setting_without_tables_reads_a_name_as_it_is_and_escaped(database: str, collection: str) -> None:
    assert parsed_source(written(database, collection), "seed.collection") == NamedCollection(database, collection)


def test_a_setting_without_tables_has_no_meaning_for_a_colon() -> None:
    assert parsed_source("demo.a:b", "seed.collection") == NamedCollection("demo", "a:b")
    assert parsed_source(r"demo.a\:b", "seed.collection") == NamedCollection("demo", "a:b")
    with pytest.raises(UsageError, match=r'^seed\.collection must be "database\.collection", not \'demo\'\.$'):
        parsed_source("demo", "seed.collection")


@given(st.lists(NAMES.map(str.strip).filter(bool), max_size=4))
def test_a_list_in_one_text_is_read_back(entries: list[str]) -> None:
    assert split_list(joined_list(entries)) == entries


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("a.b, c.d", ["a.b", "c.d"]),
        (r"a.b\,c, d", ["a.b,c", "d"]),
        (r"a.b\\,c", ["a.b\\", "c"]),
        (r"a.x\:y,b", [r"a.x\:y", "b"]),
        (" , ,", []),
    ],
)
def test_lists_of_the_environment(text: str, entries: list[str]) -> None:
    assert split_list(text) == entries


@pytest.mark.parametrize(
    ("pattern", "namespace", "is_left_out"),
    [
        ("tmp_*", "shop.tmp_1", True),
        ("tmp_*", "shop.tmp_a.b\nc", True),
        ("tmp_*", "shop.my_tmp_1", False),
        ("shop.tmp_*", "shop.tmp_1", True),
        ("shop.tmp_*", "crm.tmp_1", False),
        ("*.tmp", "shop.tmp", True),
        ("log?", "shop.log1", True),
        ("log?", "shop.log12", False),
        ("Log", "shop.log", False),
        ("events:archive", "shop.events:archive", True),
        (r"events\:archive", "shop.events:archive", True),
        ("events", "shop.events:archive", False),
        (r"a\*b", "shop.a*b", True),
        (r"a\*b", "shop.axb", False),
        (r"a\?", "shop.a?", True),
        (r"a\?", "shop.ab", False),
        (r"a\b", "shop.a\\b", True),
        (r"a\\*", "shop.a\\b", True),
        (r"a\\\*", "shop.a\\*", True),
        ("[red]", "shop.[red]", True),
        ("[red]", "shop.r", False),
        ("a+(b|c)$", "shop.a+(b|c)$", True),
        ("*", "shop.anything", True),
    ],
)
def test_patterns(pattern: str, namespace: str, is_left_out: bool) -> None:
    assert leaves_out([pattern], namespace) is is_left_out
    assert Pattern(pattern).matches(*namespace.split(".", 1)) is is_left_out
