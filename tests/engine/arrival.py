"""What became of a document: whether every value arrived, and whether a reject is one for good reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bson

from engine.mapping.limits import MAX_KEY_BYTES
from engine.mapping.model import Mapping
from tests.engine.expectation import FIRST_DATE, LAST_DATE, Refused, expected_key, expected_row
from tests.engine.independent_reader import Document, decode, is_refused_by_pymongo, values_in


def assert_arrived(document: bytes, row: dict[str, Any], mapping: Mapping) -> None:
    """Every value of the document is in the row, in its column or in `_extra`, as the policies say; nothing else is."""
    assert row == expected_row(decode(document), mapping)


def assert_deserved(document: bytes, reason: str, mapping: Mapping) -> None:
    """The document is no row, for the first thing that is wrong with it."""
    if is_refused_by_pymongo(document):
        return  # some of it is no BSON, and what stands before that may be wrong, too
    decoded = decode(document)
    try:
        expected_row(decoded, mapping)
        expected = ""
    except Refused as refused:
        expected = refused.reason
    if reason == expected:
        return
    if reason == "id_too_long":
        assert not expected
        assert len(repr(expected_key(decoded["_id"], mapping))) > MAX_KEY_BYTES // 10
        return
    # A value that a later one of the same key replaces can be at fault, too.
    assert any(isinstance(value, Document) and value.overwritten for value in values_in(decoded)), (reason, expected)
    assert reason in set(_faults(decoded, mapping))


def _faults(document: Document, mapping: Mapping) -> Iterator[str]:
    """Everything that can be wrong with a document."""
    if mapping.options.overflow == "reject":
        yield "overflow"
    if document.overwritten:
        yield "id_kind"
    for value in values_in(document):
        if isinstance(value, str):
            if "\0" in value:
                yield "nul"
            if any("\ud800" <= character <= "\udfff" for character in value):
                yield "utf8"
        elif isinstance(value, bson.Regex) and not value.pattern.isascii():
            yield "utf8"
        elif isinstance(value, bson.DatetimeMS) and not FIRST_DATE <= int(value) <= LAST_DATE:
            yield "date_range"
