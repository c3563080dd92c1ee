"""What became of a document: whether every value arrived, and whether a reject is one for good reason."""

from __future__ import annotations

from typing import Any

import bson

from engine.mapping.model import Mapping, Role
from tests.engine.independent_reader import expected_in, plain_json, strings_in

FIRST_DATE, LAST_DATE = -210_866_803_200_000, 9_224_318_015_999_999
"""Of PostgreSQL, in milliseconds since 1970."""


def assert_arrived(document: dict[str, Any], row: dict[str, Any], mapping: Mapping) -> None:
    """Every value of the document is in the row, in its column or in `_extra`, and nothing else is."""
    legacy = mapping.options.uuid_legacy
    assert row["_id"] == expected_in(mapping.id_column, document["_id"], legacy)
    extra = row.get("_extra") or {}
    columns = {column.path[0]: column for column in mapping.columns if column.role is Role.FIELD}
    for key, value in document.items():
        if key == "_id":
            continue
        column = columns.get(key)
        if key in extra:
            assert extra[key] == plain_json(value, legacy)
            assert column is None or row[column.name] is None
        else:
            assert column is not None
            assert row[column.name] == expected_in(column, value, legacy)
    assert extra.keys() <= document.keys()
    for key, column in columns.items():
        assert key in document or row[column.name] is None
    if mapping.options.missing == "track":
        assert row["_missing"] == [key for key in columns if key not in document]


def assert_deserved(document: dict[str, Any], reason: str, mapping: Mapping) -> None:
    """The document holds what its reject says."""
    if reason == "nul":
        assert any("\0" in text for text in strings_in(document))
    elif reason == "date_range":
        dates = [value for field in document.values() for value in (field if isinstance(field, list) else [field])]
        assert any(isinstance(date, bson.DatetimeMS) and not FIRST_DATE <= int(date) <= LAST_DATE for date in dates)
    else:
        assert (reason, mapping.options.overflow) == ("overflow", "reject")
