"""What a plan warns about: names that SQL takes for words of its own, and what of a mapping that an operator gave."""

from __future__ import annotations

import bson
import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS

from engine.mapping.cautions import OTHER_MEANING, RESERVED, cautions, holds_words, id_cautions, name_cautions, renamed
from engine.mapping.census import Census
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.options import MappingOptions
from engine.mapping.proposal import propose


def named(*names: str) -> list[Column]:
    return [Column(name=name, type=ColumnType.TEXT, path=(name,), kinds=frozenset({Kind.STRING})) for name in names]


def census_of(*documents: dict[str, object], flatten: int = 0) -> Census:
    census = Census(flatten)
    for document in documents:
        census.add(bson.encode({"_id": ObjectId()} | document))
    return census


@pytest.mark.parametrize("name", ["user", "current_date", "session_user", "all", "localtime", "User", "null", "true"])
def test_a_column_that_bare_means_something_else_is_named_as_such(name: str) -> None:
    ((_, text),) = name_cautions(named("name", name))
    assert f"Column {name}: without double quotes this means something else" in text
    assert f'SELECT "{name}"' in text


@pytest.mark.parametrize("name", ["order", "group", "default", "end", "left", "references", "limit", "Desc"])
def test_a_column_that_is_an_error_without_quotes_is_named(name: str) -> None:
    ((_, text),) = name_cautions(named(name, "value"))
    assert f"Column {name}: reserved words of SQL" in text


def test_words_that_need_no_quotes_and_names_that_only_hold_one_are_no_warning() -> None:
    assert not name_cautions(
        named("name", "type", "value", "values", "users", "order_", "timestamp", "interval"), "users"
    )


def test_several_columns_share_a_sentence_and_a_table_has_its_own() -> None:
    texts = [text for _, text in name_cautions(named("from", "to", "select", "where", "when", "then", "user"), "order")]
    assert "Column user: " in texts[0]
    assert "Columns from, to, select, where, when and 1 more: reserved" in texts[1]
    assert texts[2].startswith("The table is called order, a reserved word")
    assert OTHER_MEANING < RESERVED


def test_a_mapping_that_was_given_has_the_warnings_of_a_proposal() -> None:
    census = census_of(
        {"a": "x\0", "aB": 1, "a_b": 2, "at": DatetimeMS(2**62), "user": 1, "mixed": 1},
        {"mixed": "x", "big": "y" * (1 << 20), "n": {"deep": "z\0"}},
    )
    proposal = propose(census, frozenset({Kind.OBJECT_ID}), MappingOptions())
    mapping = proposal.mapping
    given = {text for _, text in cautions(census, mapping) + name_cautions(mapping.columns) + renamed(mapping)}
    assert {text for text in proposal.warnings if "its column is" not in text} == given
    assert len(given) == 6


def test_a_policy_of_one_field_is_the_one_that_counts() -> None:
    census = census_of({"a": "x\0", "b": "y\0", "c": "z\0"})
    mapping = propose(census, frozenset({Kind.OBJECT_ID}), MappingOptions()).mapping
    columns = tuple(
        column.model_copy(update={"nul": "strip"}) if column.name == "a" else column
        for column in mapping.columns
        if column.name != "c"
    )
    edited = Mapping(columns=columns, options=mapping.options, ignored=(("c",),))
    assert sorted(cautions(census, edited)) == [
        (45, "Field a: strings with a NUL character among those seen: 1; policy nul = strip."),
        (85, "Field b: strings with a NUL character among those seen: 1; policy nul = reject."),
    ]


def test_kinds_of_id_that_have_no_place_are_rejects() -> None:
    census = census_of({})
    column = Column(name="_id", type=ColumnType.TEXT, role=Role.ID, path=("_id",), kinds=frozenset({Kind.OBJECT_ID}))
    ((_, text),) = id_cautions(census, column, frozenset({Kind.OBJECT_ID, Kind.INT32, Kind.NULL}))
    assert text == "Field _id also holds null, int32: documents with such an _id are rejects."


def test_a_field_that_holds_nothing_that_fits_does_not_also_hold_it() -> None:
    decimal = frozenset({Kind.DECIMAL128})
    assert holds_words(decimal | {Kind.NULL}, decimal) == "holds decimal128"
    assert holds_words(decimal | {Kind.INT32}, decimal) == "also holds decimal128"
