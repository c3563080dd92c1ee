"""The tests' own reading of documents is pymongo's, where pymongo tells things apart."""

from __future__ import annotations

from typing import Any

import bson
from hypothesis import given

from tests.documents import DOCUMENTS, MIXED_DOCUMENTS, RAW_DOCUMENTS
from tests.engine.independent_reader import _AS_IT_IS, as_pymongo_has_it, decode, is_refused_by_pymongo


def assert_same(raw: bytes) -> None:
    if not is_refused_by_pymongo(raw):
        assert repr(as_pymongo_has_it(decode(raw))) == repr(bson.decode(raw, _AS_IT_IS))


@given(fields=DOCUMENTS)
def test_it_reads_what_pymongo_writes(fields: dict[str, Any]) -> None:
    assert_same(bson.encode(fields))


@given(raw=RAW_DOCUMENTS | MIXED_DOCUMENTS)
def test_it_reads_what_pymongo_would_not_write(raw: bytes) -> None:
    assert_same(raw)
