"""The types and policies that are offered for a column."""

from __future__ import annotations

import pytest

from engine.mapping.kinds import kinds_to_take
from engine.mapping.model import Column, ColumnType, Role
from engine.mapping.options import MappingOptions
from engine.protocol import ColumnView, TypeChoice, ValuesView, is_type, policies_for, types_for

OPTIONS = MappingOptions()


def offered(kinds: dict[str, float], type_: ColumnType = ColumnType.JSONB, **values: object) -> list[TypeChoice]:
    """For a field that was seen so."""
    column = Column(name="f", type=type_, path=("f",), kinds=kinds_to_take(type_, OPTIONS))
    view = ColumnView(
        field="f", column="f", type=type_.value, seen_percent=100, kinds=kinds,
        values=ValuesView.model_validate({"present": 100} | values),
    )  # fmt: skip
    return types_for(column, view, OPTIONS)


def names(choices: list[TypeChoice]) -> list[str]:
    return [each.type for each in choices]


@pytest.mark.parametrize(
    ("kinds", "types"),
    [
        ({"string": 100.0}, ["text", "jsonb", "json"]),
        ({"int32": 90.0, "null": 10.0}, ["text", "integer", "bigint", "numeric", "double precision", "jsonb", "json"]),
        ({"date": 100.0}, ["text", "timestamptz", "jsonb", "json"]),
        ({"uuid": 100.0}, ["text", "uuid", "bytea", "jsonb", "json"]),
        ({"objectId": 100.0}, ["text", "bytea", "jsonb", "json"]),
        ({"bool": 100.0}, ["text", "boolean", "jsonb", "json"]),
        ({"document": 100.0}, ["text", "jsonb", "json"]),
    ],
)
def test_f4_only_types_that_take_some_of_what_was_seen_are_offered(kinds: dict[str, float], types: list[str]) -> None:
    assert names(offered(kinds)) == types


def test_f4_every_type_is_offered_where_nothing_was_seen() -> None:
    choices = offered({"null": 100.0})
    assert len(choices) == 11
    assert all(each.takes is None for each in choices)


def test_f4_a_type_says_how_much_it_takes() -> None:
    choices = {each.type: each for each in offered({"int32": 60.0, "double": 20.0, "string": 20.0}, low=-1, high=2**31)}
    assert {name: each.takes for name, each in choices.items()} == {
        "text": 100, "integer": 60, "bigint": 80, "numeric": 80, "double precision": 80, "jsonb": 100, "json": 100,
    }  # fmt: skip
    assert [name for name, each in choices.items() if each.is_exceeded] == ["integer"]
    assert [name for name, each in choices.items() if each.wants_whole] == ["bigint"]


def test_f4_arrays_of_one_kind_can_be_arrays() -> None:
    assert names(offered({"array": 100.0}, elements={"string": 100.0})) == ["text", "jsonb", "json", "text[]"]
    assert "integer[]" in names(offered({"array": 100.0}, elements={"int32": 100.0}))
    assert names(offered({"array": 100.0}, elements={"string": 50.0, "document": 50.0})) == ["text", "jsonb", "json"]


def test_f4_the_type_that_a_column_has_is_offered_whatever_was_seen() -> None:
    assert "integer" in names(offered({"string": 100.0}, ColumnType.INTEGER))
    assert "smallint" in names(offered({"string": 100.0}, ColumnType.SMALLINT))


def test_f4_columns_without_a_field_and_id_have_the_types_that_they_can_have() -> None:
    view = ColumnView(field="extra", column="_extra", type="jsonb", seen_percent=0, kinds={})
    extra = Column(name="_extra", type=ColumnType.JSONB, role=Role.EXTRA)
    assert names(types_for(extra, view, OPTIONS)) == ["jsonb"]
    key = Column(name="_id", type=ColumnType.TEXT, role=Role.ID, path=("_id",))
    assert names(types_for(key, view.model_copy(update={"kinds": {"objectId": 100.0}}), OPTIONS)) == [
        "text",
        "bytea",
        "jsonb",
    ]


def test_f4_policies_that_can_apply() -> None:
    assert policies_for("text") == ("nul", "utf8", "overflow")
    assert policies_for("timestamptz") == ("date_range", "overflow")
    assert policies_for("jsonb") == ("nul", "utf8")
    assert policies_for("integer[]") == ("overflow",)


def test_a_type_is_what_a_table_can_be_made_with() -> None:
    assert [each for each in ("text", "smallint", "text[]", "jsonb[]", "vector", "varchar") if is_type(each)] == [
        "text", "smallint", "text[]",
    ]  # fmt: skip
