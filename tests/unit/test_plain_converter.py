"""How a converter is chosen, what a contradicting mapping says, and Extended JSON against pymongo's own."""

from __future__ import annotations

import json
from typing import Any

import bson
import pytest
from bson import json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from hypothesis import given

from engine.convert import Preference, built_converters, make_converter
from engine.errors import UsageError
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.options import POLICIES, MappingOptions
from tests.documents import DOCUMENTS

ID = Column(name="_id", type=ColumnType.BIGINT, role=Role.ID, path=("_id",), kinds=frozenset({Kind.INT32}))


def json_column(name: str, *path: str) -> Column:
    """A jsonb column for a field."""
    return Column(name=name, type=ColumnType.JSONB, path=path)


def test_the_plain_converter_serves_where_there_is_no_native_one() -> None:
    absent = "engine.convert.not_built"
    assert make_converter(Mapping(columns=(ID,)), "auto", native=absent).name == "plain"
    assert make_converter(Mapping(columns=(ID,)), "plain", native=absent).name == "plain"
    with pytest.raises(UsageError, match="The native converter is not built in this installation: set converter to"):
        make_converter(Mapping(columns=(ID,)), "native", native=absent)


@pytest.mark.parametrize(
    ("columns", "ignored", "message"),
    [
        ([json_column("a", "x"), json_column("b", "x")], (), "Field x has two columns"),
        ([json_column("a", "x", "y"), json_column("b", "x")], (), "Field x has two columns"),
        ([json_column("a", "x"), json_column("b", "x", "y")], (), "Field x.y lies inside the column of x: flatten"),
        ([json_column("a", "x")], (("x", "y"),), "Field x.y lies inside the column of x: flatten"),
        ([json_column("a", "x")], (("x",),), "Field x is ignored and has a column too"),
        ([json_column("a", "x", "y")], (("x",),), "Field x is ignored and has a column too"),
    ],
)
def test_a_mapping_that_contradicts_itself_is_refused(
    columns: list[Column], ignored: tuple[tuple[str, ...], ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make_converter(Mapping(columns=(ID, *columns), ignored=ignored), "plain")


@pytest.mark.parametrize("converter", built_converters())
@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_that_there_is_not_is_refused_with_those_that_there_are(policy: str, converter: Preference) -> None:
    column = json_column("a", "x", "y").model_copy(update={policy: "drop"})
    with pytest.raises(UsageError, match=rf"^Field x\.y: {policy} must be one of (reject|overflow), .*, not 'drop'\.$"):
        make_converter(Mapping(columns=(ID, column)), converter)


@given(fields=DOCUMENTS)
def test_extended_json_is_what_pymongo_writes(fields: dict[str, Any]) -> None:
    options = MappingOptions(layout="document", json_values="extended", nul="replace")
    mapping = Mapping(columns=(ID, Column(name="doc", type=ColumnType.JSON, role=Role.DOCUMENT)), options=options)
    document = bson.encode({"_id": 1, **fields})
    converted = make_converter(mapping, "plain").convert(document, 0, 1)
    # int16, length and bigint of _id, length of doc
    text = bytes(converted.copy)[2 + 12 + 4 :].decode()
    decoded: dict[str, Any] = bson.decode(document, CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS))
    del decoded["_id"]
    expected = json_util.dumps(decoded, json_options=json_util.CANONICAL_JSON_OPTIONS, ensure_ascii=False)
    assert json.loads(text) == json.loads(expected.replace("\\u0000", "\N{REPLACEMENT CHARACTER}"))
