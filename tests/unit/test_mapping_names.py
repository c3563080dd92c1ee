"""Names of columns and tables."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.mapping.names import MAX_NAME_BYTES, column_names, fold, quote_identifier, table_name, table_names

PATHS = st.lists(
    st.lists(st.text(st.characters(exclude_characters="\0"), max_size=80), min_size=1, max_size=3).map(tuple),
    unique=True,
    max_size=8,
)


@pytest.mark.parametrize(
    ("key", "column"),
    [
        ("registeredAt", "registered_at"),
        ("userID", "user_id"),
        ("HTTPServer", "http_server"),
        ("address2Line", "address2_line"),
        ("already_snake", "already_snake"),
        ("__v", "__v"),
        ("_class", "_class"),
        ("ÄpfelUndÖl", "äpfel_und_öl"),
        ("a.b", "a_b"),
        ("$ref", "_ref"),
        ("first name", "first_name"),
        ("a--b", "a_b"),
        ("", "_empty"),
        ("x\ny\x1b[31m", "x_y_31m"),
        ("select", "select"),
        ("2nd", "2nd"),
        ("数据", "数据"),
    ],
)
def test_snake_case(key: str, column: str) -> None:
    assert fold(key, "snake_case") == column


@pytest.mark.parametrize(
    ("key", "column"),
    [("registeredAt", "registeredAt"), ("a.b $c", "a.b $c"), ("", "_empty"), ("x\n\u202ey", "x__y"), ('q"', 'q"')],
)
def test_preserve_changes_only_what_a_terminal_would_act_on(key: str, column: str) -> None:
    assert fold(key, "preserve") == column


def test_flattened_paths_are_joined() -> None:
    names, warnings = column_names([("homeAddress", "zipCode")], "snake_case")
    assert names == {("homeAddress", "zipCode"): "home_address_zip_code"}
    assert warnings == []


def test_the_field_spelled_like_the_column_keeps_the_name_whatever_the_order() -> None:
    fields = [("fooBar",), ("foo_bar",), ("FooBar",)]
    for order in (fields, fields[::-1]):
        names, warnings = column_names(order, "snake_case")
        assert names == {("foo_bar",): "foo_bar", ("FooBar",): "foo_bar_2", ("fooBar",): "foo_bar_3"}
        assert warnings == [
            "Field FooBar goes to column foo_bar_2: the name foo_bar is taken by the field foo_bar.",
            "Field fooBar goes to column foo_bar_3: the name foo_bar is taken by the field foo_bar.",
        ]


def test_names_that_are_cut_do_not_depend_on_the_order_of_fields_either() -> None:
    long = "x" * 62
    fields = [(f"{long}a",), (f"{long}A",), (f"{long}b",), (f"{long}B",)]
    found = column_names(fields, "snake_case")[0]
    assert column_names(fields[::-1], "snake_case")[0] == found
    assert len({*found.values()}) == 4


def test_a_name_given_to_a_rival_is_not_one_that_a_field_has() -> None:
    names, _ = column_names([("A",), ("a",), ("a_2",)], "snake_case")
    assert names == {("a",): "a", ("a_2",): "a_2", ("A",): "a_3"}


def test_columns_of_the_tool_and_of_the_system_are_left_alone() -> None:
    names, warnings = column_names([("_extra",), ("ctid",)], "preserve", {"_id", "_extra"})
    assert names == {("_extra",): "_extra_2", ("ctid",): "ctid_2"}
    assert warnings == [
        "Field _extra goes to column _extra_2: the name _extra is used by this tool.",
        "Field ctid goes to column ctid_2: the name ctid is a system column of PostgreSQL.",
    ]


def test_long_names_are_cut_at_a_character_and_told_apart() -> None:
    first, second = "ü" * 40 + "a", "ü" * 40 + "b"
    names, warnings = column_names([(first,), (second,)], "preserve")
    assert warnings == []
    assert len(set(names.values())) == 2
    for name in names.values():
        assert name.startswith("ü" * 27 + "_")
        assert len(name.encode()) == MAX_NAME_BYTES


def test_a_name_of_63_bytes_stays() -> None:
    assert table_name("t" * 63, "preserve") == "t" * 63
    assert len(table_name("t" * 64, "preserve")) == 63


@given(paths=PATHS, naming=st.sampled_from(["snake_case", "preserve"]))
def test_names_are_always_distinct_and_legal(paths: list[tuple[str, ...]], naming: str) -> None:
    names, _ = column_names(paths, naming, {"_id", "_extra", "_missing"})  # type: ignore[arg-type]
    assert set(names) == set(paths)
    assert len(set(names.values())) == len(paths)
    assert not {"_id", "_extra", "_missing"} & set(names.values())
    for name in names.values():
        assert quote_identifier(name)


def test_quotes_are_doubled() -> None:
    assert quote_identifier('a"b') == '"a""b"'


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 64, "ü" * 32])
def test_what_is_no_identifier_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a PostgreSQL identifier"):
        quote_identifier(name)


@pytest.mark.parametrize(
    ("key", "column"),
    [
        ("नाम", "नाम"),
        ("ชื่อ", "ชื่อ"),
        ("cafe\u0301", "cafe\u0301"),
        ("caf\u00e9", "caf\u00e9"),
        ("cafe\u0301Noir", "cafe\u0301_noir"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
        ("שָׁלוֹם", "שָׁלוֹם"),
        ("\ufeffid", "id"),
        ("\ufeff", "_empty"),
        ("i\ufeffd", "i_d"),
        ("i\u2060d", "i_d"),
        ("a\u20dd", "a\u20dd"),
        ("a -- b", "a_b"),
        ("a_ b", "a__b"),
    ],
)
def test_letters_marks_and_joiners_stay_and_a_leading_byte_order_mark_goes(key: str, column: str) -> None:
    assert fold(key, "snake_case") == column
    kept = key.lstrip("\ufeff").replace("\ufeff", "_").replace("\u2060", "_") or "_empty"
    assert fold(key, "preserve") == kept
    assert table_name(key, "snake_case") == column


def test_collections_that_fold_to_one_table_are_told_apart_whatever_their_order() -> None:
    namespaces = ["shop.Users", "shop.users", "shop.USERS", "shop.orders", "crm.orders", "shop.a", "shop.A", "shop.a_2"]
    for order in (namespaces, namespaces[::-1], sorted(namespaces)):
        names, warnings = table_names(order, "snake_case")
        assert names == {
            "shop.users": "users", "shop.USERS": "users_2", "shop.Users": "users_3", "crm.orders": "orders",
            "shop.orders": "orders_2", "shop.a": "a", "shop.A": "a_3", "shop.a_2": "a_2",
        }  # fmt: skip
        assert warnings == {
            "shop.USERS": "Collection shop.USERS goes to table users_2: the name users is taken by the collection shop.users.",
            "shop.Users": "Collection shop.Users goes to table users_3: the name users is taken by the collection shop.users.",
            "shop.orders": "Collection shop.orders goes to table orders_2: the name orders is taken by the collection"
            " crm.orders.",
            "shop.A": "Collection shop.A goes to table a_3: the name a is taken by the collection shop.a.",
        }


def test_a_table_of_an_earlier_run_stays_its_collections() -> None:
    earlier = {"shop.Users": ["people", "users"], "shop.USERS": ["users_7", "users"], "shop.users": ["users_2x"]}
    names, warnings = table_names(["shop.users", "shop.Users", "shop.USERS"], "snake_case", (), earlier)
    assert names == {"shop.Users": "users", "shop.USERS": "users_7", "shop.users": "users_2"}
    assert [*warnings] == ["shop.USERS", "shop.users"]
    alone, warnings = table_names(["shop.USERS"], "snake_case", (), earlier)
    assert alone == {"shop.USERS": "users_7"}
    assert warnings["shop.USERS"].endswith("users_7: it went there in an earlier run.")


def test_a_table_name_that_is_taken_gets_a_number() -> None:
    names, warnings = table_names(["shop.users"], "snake_case", {"users", "users_2"})
    assert names == {"shop.users": "users_3"}
    assert warnings == {
        "shop.users": "Collection shop.users goes to table users_3: the name users is taken by something else."
    }


@given(
    st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=80), unique=True, max_size=8),
    st.randoms(),
)
def test_table_names_are_distinct_legal_and_the_same_in_any_order(collections: list[str], chance: Any) -> None:
    namespaces = [f"db.{name}" for name in collections]
    names, _ = table_names(namespaces, "snake_case")
    shuffled = chance.sample(namespaces, len(namespaces))
    assert table_names(shuffled, "snake_case")[0] == names
    assert len(set(names.values())) == len(namespaces)
    assert all(map(quote_identifier, names.values()))
