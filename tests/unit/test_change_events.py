"""Events of a stream of changes: what is taken out of their bytes is what decoding them gives."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from bson import Int64, ObjectId, Timestamp
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st

from engine.mongo.changes import Change, decoded, of_document

TOKEN = {"_data": "826926CC33000000012B0229296E04"}
AT = Timestamp(1_764_150_323, 7)
keys = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(Int64), st.text(max_size=300), st.binary(max_size=50),
    st.builds(ObjectId), st.none(), st.floats(allow_nan=False), st.dictionaries(st.sampled_from("ab"), st.integers(0, 9)),
)  # fmt: skip
names = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=20)


def event(kind: str, collection: str, key: Any, at: Timestamp = AT, **more: Any) -> dict[str, Any]:
    """As a server sends it."""
    return {
        "_id": TOKEN, "operationType": kind, "clusterTime": at, "ns": {"db": "shop", "coll": collection},
        "documentKey": {"_id": key}, **more,
    }  # fmt: skip


@given(st.sampled_from(["insert", "update", "replace", "delete"]), names, keys, st.integers(0, 2**32 - 1))
def test_an_event_of_a_document_is_taken_out_of_its_bytes(kind: str, collection: str, key: Any, counter: int) -> None:
    raw = bson.encode(event(kind, collection, key, Timestamp(AT.time, counter)))
    found = of_document(raw)
    assert found == decoded(RawBSONDocument(raw))
    assert found == Change(kind, collection, bson.encode({"_id": key}), AT.time << 32 | counter)


@pytest.mark.parametrize(
    "other",
    [
        event("drop", "users", 1),
        event("update", "users", 1, wallTime=None),
        {name: value for name, value in event("insert", "users", 1).items() if name != "documentKey"},
        dict(reversed(event("insert", "users", 1).items())),
        event("insert", "users", 1) | {"ns": {"db": "shop"}},
        event("insert", "users", 1) | {"_id": {"_data": b"bytes"}},
    ],
    ids=["no document", "more behind the key", "no key", "another order", "no collection", "another token"],
)
def test_other_forms_are_left_to_decoding(other: dict[str, Any]) -> None:
    raw = bson.encode(other)
    assert of_document(raw) is None
    assert decoded(RawBSONDocument(raw)).kind == other["operationType"]
