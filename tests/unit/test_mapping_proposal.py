"""From a census to a mapping: columns, notes and warnings. Types by kind are in the corpus."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st

from engine.mapping.census import Census
from engine.mapping.model import ColumnType, Kind, Mapping, Role
from engine.mapping.names import MAX_NAME_BYTES
from engine.mapping.options import MappingOptions
from engine.mapping.proposal import Proposal, propose
from tests.corpus.case import element, inner
from tests.documents import OPTIONS, RAW_DOCUMENTS

OBJECT_ID = frozenset({Kind.OBJECT_ID})


def proposal_for(*fields: dict[str, Any], id_kinds: frozenset[Kind] = OBJECT_ID, **options: Any) -> Proposal:
    """The proposal for documents with these fields and an objectId each."""
    chosen = MappingOptions(**options)
    census = Census(chosen.flatten)
    for given_fields in fields:
        census.add(bson.encode({"_id": ObjectId(), **given_fields}))
    return propose(census, id_kinds, chosen)


def shape(mapping: Mapping) -> dict[str, str]:
    """Column -> type."""
    return {column.name: column.sql_type for column in mapping.columns}


def test_the_users_of_the_demo() -> None:
    user = {
        "username": "u",
        "age": 3,
        "active": True,
        "balance": 1.5,
        "registeredAt": DatetimeMS(0),
        "address": {"city": "x"},
        "tags": ["a"],
    }
    proposal = proposal_for(user, {"username": "v"})
    assert list(shape(proposal.mapping).items()) == [
        ("_id", "text"),
        ("username", "text"),
        ("age", "integer"),
        ("active", "boolean"),
        ("balance", "double precision"),
        ("registered_at", "timestamptz"),
        ("address", "jsonb"),
        ("tags", "jsonb"),
        ("_extra", "jsonb"),
    ]
    assert proposal.warnings == []
    assert proposal.notes["age"] == "int32 100%; in 50% of the documents"
    assert proposal.mapping.id_column.nullable is False


def test_an_empty_collection_still_has_its_key() -> None:
    proposal = propose(Census(), frozenset(), MappingOptions())
    assert shape(proposal.mapping) == {"_id": "text", "_extra": "jsonb"}
    assert proposal.mapping.id_column.kinds == OBJECT_ID


def test_id_comes_first_whatever_the_order_in_the_documents() -> None:
    census = Census()
    census.add(bson.encode({"a": 1, "_id": 2}))
    assert list(shape(propose(census, frozenset({Kind.INT32}), MappingOptions()).mapping)) == ["_id", "a", "_extra"]


@pytest.mark.parametrize(
    ("kinds", "sql_type"),
    [
        ({Kind.INT32}, "bigint"),
        ({Kind.INT32, Kind.INT64}, "bigint"),
        ({Kind.INT32, Kind.DOUBLE}, "jsonb"),
        ({Kind.DOUBLE}, "double precision"),
        ({Kind.STRING}, "text"),
        ({Kind.STRING, Kind.OBJECT_ID}, "jsonb"),
        ({Kind.BINARY, Kind.UUID_LEGACY}, "bytea"),
        ({Kind.BINARY, Kind.UUID}, "jsonb"),
        ({Kind.NULL}, "jsonb"),
        ({Kind.NULL, Kind.OBJECT_ID}, "jsonb"),
        ({Kind.DOCUMENT}, "jsonb"),
        ({Kind.TIMESTAMP}, "jsonb"),
    ],
)
def test_the_column_of_id_follows_its_exact_kinds(kinds: set[Kind], sql_type: str) -> None:
    proposal = propose(Census(), frozenset(kinds), MappingOptions())
    assert proposal.mapping.id_column.sql_type == sql_type


def test_several_kinds_of_id_are_a_warning() -> None:
    proposal = proposal_for({}, id_kinds=frozenset({Kind.STRING}))
    assert proposal.warnings == [
        "_id has several kinds (objectId, string): its column is jsonb, its key is built first."
    ]


def test_no_overflow_column_when_nothing_may_overflow() -> None:
    assert shape(proposal_for({"a": 1}, overflow="reject").mapping) == {"_id": "text", "a": "integer"}


def test_own_columns_come_last() -> None:
    assert list(shape(proposal_for({"a": 1}, missing="track").mapping)) == ["_id", "a", "_missing", "_extra"]


def test_the_whole_document_in_one_column() -> None:
    mapping = proposal_for({"a": 1}, layout="document", missing="track").mapping
    assert shape(mapping) == {"_id": "text", "doc": "jsonb"}
    assert mapping.columns[1].role is Role.DOCUMENT


def test_mixed_kinds_are_a_warning_with_their_shares() -> None:
    proposal = proposal_for({"a": 1}, {"a": "x"}, {"a": "y"}, {"a": None})
    assert shape(proposal.mapping)["a"] == "jsonb"
    assert proposal.warnings == ["Field a holds string 50%, int32 25%, null 25%: its column is jsonb."]


def test_shares_are_never_rounded_to_all_or_nothing() -> None:
    proposal = proposal_for(*({"a": 1} for _ in range(5000)), {"a": "x"})
    assert proposal.notes["a"] == "int32 >99.9%, string <0.1%; in 100% of the documents"


def test_a_field_that_is_not_always_a_document_is_not_flattened() -> None:
    assert shape(proposal_for({"a": {"b": 1}}, {"a": 5}, flatten=1).mapping)["a"] == "jsonb"
    assert shape(proposal_for({"a": {"b": 1}}, {"a": None}, flatten=1).mapping)["a_b"] == "integer"


def test_numeric_because_of_long_integers_says_so() -> None:
    proposal = proposal_for({"a": Int64(2**60)}, {"a": 0.5})
    assert shape(proposal.mapping)["a"] == "numeric"
    assert proposal.notes["a"].endswith("; some integers are not exact as double precision")
    assert not proposal_for({"a": Decimal128("1")}).notes["a"].endswith("double precision")


def test_the_rarest_fields_go_without_a_column_when_there_are_too_many() -> None:
    many = {f"f{index}": index for index in range(1700)}
    proposal = proposal_for(many, {key: 1 for key in many if key != "f7"})
    names = [column.name for column in proposal.mapping.columns]
    assert len(names) == 1600
    assert names[:4] == ["_id", "f0", "f1", "f2"]
    assert names[-2:] == ["f1598", "_extra"]
    assert "f7" not in names
    assert proposal.warnings[0] == (
        "1700 fields are more than the 1600 columns of a PostgreSQL table: the 102 rarest go to _extra, such as f1599."
    )


def test_values_that_a_policy_will_touch_are_warnings_in_order_of_weight() -> None:
    proposal = proposal_for(
        {"aB": "x\0", "a_b": DatetimeMS(2**60), "c": ["\0"]}, nul="reject", date_range="clamp", overflow="reject"
    )
    assert proposal.warnings == [
        "Field aB: strings with a NUL character among those seen: 1; policy nul = reject.",
        "Field c.[]: strings with a NUL character among those seen: 1; policy nul = reject.",
        "Field aB goes to column a_b_2: the name a_b is taken by the field a_b.",
        "Field a_b: dates beyond PostgreSQL's range among those seen: 1; policy date_range = clamp.",
    ]


def test_big_and_corrupt_documents_are_warnings() -> None:
    census = Census()
    census.add(bson.encode({"_id": 1, "a": "x" * (3 << 20)}))
    census.add(inner(element(0x10, "_id", b"\1\0\0\0"), element(0x44, "b")))
    assert propose(census, frozenset({Kind.INT32}), MappingOptions()).warnings == [
        "1 of 2 documents seen is corrupt and will be rejected.",
        "The largest document seen has 3.0 MiB.",
    ]


def test_documents_without_id_make_the_column_nullable() -> None:
    census = Census()
    census.add(bson.encode({"a": 1}))
    proposal = propose(census, frozenset(), MappingOptions())
    assert proposal.mapping.id_column.nullable is True
    assert proposal.warnings == [
        "Some documents have no _id: the column _id is nullable and there can be no primary key."
    ]


def test_binaries_of_two_subtypes_share_bytea_only_when_neither_is_a_uuid() -> None:
    old, new = Binary(bytes(16), 3), Binary(bytes(16), 4)
    assert shape(proposal_for({"a": old}, {"a": b"x"}).mapping)["a"] == "bytea"
    assert shape(proposal_for({"a": old}, {"a": b"x"}, uuid_legacy="java").mapping)["a"] == "jsonb"
    assert shape(proposal_for({"a": old}, {"a": new}).mapping)["a"] == "jsonb"


@given(seen=st.lists(RAW_DOCUMENTS, max_size=6), options=OPTIONS)
def test_every_proposal_is_a_table(seen: list[bytes], options: MappingOptions) -> None:
    census = Census(options.flatten)
    for document in seen:
        census.add(document)
    mapping = propose(census, census.id_kinds, options).mapping
    names = [column.name for column in mapping.columns]
    assert names[0] == "_id"
    assert mapping.columns[0].role is Role.ID
    assert mapping.columns[0].type is not ColumnType.JSON
    assert len(set(names)) == len(names)
    assert all(len(name.encode()) <= MAX_NAME_BYTES for name in names)
    assert Mapping.model_validate_json(mapping.model_dump_json()) == mapping


def test_rows_that_cannot_fit_into_a_page_are_a_warning() -> None:
    def warnings_of(**fields: Any) -> list[str]:
        return [text for text in proposal_for(fields).warnings if text.startswith("Rows would have about")]

    assert warnings_of(**{f"f{number}": "x" * 100 for number in range(300)}) == []
    assert len(warnings_of(**{f"f{number}": "x" * 100 for number in range(400)})) == 1
    assert warnings_of(**{f"f{number}": number for number in range(1_500)}) == []


def test_a_field_that_was_null_everywhere_is_a_text() -> None:
    mapping = proposal_for({"a": None, "b": 1}, {"a": None, "b": None}, {}, documents="json").mapping
    (column,) = (column for column in mapping.columns if column.name == "a")
    assert (column.sql_type, column.kinds, column.nullable) == ("text", frozenset({Kind.STRING}), True)
    assert shape(mapping)["b"] == "integer"
    flat = proposal_for({"n": {"x": None}}, {"n": {"x": None, "y": [None]}}, flatten=1, arrays="native").mapping
    assert (shape(flat)["n_x"], shape(flat)["n_y"]) == ("text", "jsonb")


def test_nearly_all_of_one_kind_is_worth_a_word() -> None:
    proposal = proposal_for(
        *({"a": "x", "b": 1, "c": 1.5} for _ in range(97)), *({"a": 1, "b": "x", "c": None} for _ in range(3))
    )
    assert proposal.warnings == [
        "Field a holds string 97%, int32 3%: its column is jsonb.",
        "Field b holds int32 97%, string 3%: its column is jsonb.",
        'Field a: type = "text" in a saved plan would take 97% of its values, and the rest would go to _extra.',
        'Field b: type = "integer" in a saved plan would take 97% of its values, and the rest would go to _extra.',
    ]


def test_an_array_of_one_kind_says_what_it_could_be() -> None:
    notes = proposal_for({"a": ["x"], "b": [1, "x"], "c": [], "d": [1, None]}).notes
    assert notes["a"] == 'array 100%; in 100% of the documents; arrays = "native" would make it text[]'
    assert notes["d"].endswith("would make it integer[]")
    assert "native" not in notes["b"] + notes["c"]


def test_arrays_of_vectors_are_no_native_arrays() -> None:
    vectors = [Binary(bytes.fromhex(content), 9) for content in ("2700", "0300", "1000")]
    documents = {"a": vectors[:1], "b": vectors[1:2], "c": vectors[2:], "d": [vectors[0], b"x"], "e": vectors}
    for arrays in ("native", "jsonb"):
        found = proposal_for(documents, arrays=arrays)
        assert {column.sql_type for column in found.mapping.columns if column.role is Role.FIELD} == {"jsonb"}
        assert not any("native" in note for note in found.notes.values())


def test_keys_that_are_data_stay_one_column() -> None:
    documents = [{"seen": {f"u{number}": 1, f"u{number + 1}": 2}, "address": {"city": "x"}} for number in range(300)]
    proposal = proposal_for(*documents, flatten=1)
    assert shape(proposal.mapping) == {"_id": "text", "seen": "jsonb", "address_city": "text", "_extra": "jsonb"}
    assert proposal.warnings == [
        "Field seen has 301 keys, each of them in 0.664% of its documents on average: they look like data, so it stays one "
        "column and does not become 301."
    ]
    fields = [{"wide": {f"f{number}": 1 for number in range(150)}} for _ in range(3)]
    assert len(proposal_for(*fields, flatten=1).mapping.columns) == 152
