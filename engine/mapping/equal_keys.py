"""Which keys that MongoDB keeps apart may be one in a table."""

from __future__ import annotations

from engine.mapping.kinds import JSON_STRINGS, JSON_TYPES
from engine.mapping.model import ColumnType, Kind, Mapping

_LOSSY_KEYS = (
    (Kind.DOCUMENT, ColumnType.JSONB, "a document, and jsonb keeps no order of its fields"),
    (Kind.BINARY, ColumnType.BYTEA, "binary, and bytea keeps no subtype"),
)
"""What a key column does not keep of a kind although MongoDB tells keys apart by it."""


def may_share_rows(mapping: Mapping, mode: str, *, is_view: bool) -> bool:
    """Several documents may want one row in mode upsert: keys become one in the table, or a view has one twice."""
    return mode == "upsert" and (is_view or bool(key_doubts(mapping, mode)))


def becomes_one_number(mapping: Mapping) -> bool:
    """A double and a Decimal128 may be keys of the same digits, such as 0.1: MongoDB keeps these apart, numeric does not."""
    column = mapping.id_column
    return column.type is ColumnType.NUMERIC and column.kinds >= {Kind.DOUBLE, Kind.DECIMAL128}


def key_doubts(mapping: Mapping, mode: str) -> str:
    """That documents of different `_id`s may become one row, in a sentence for people; empty when they cannot, or when a key
    makes rejects of them, as it does in every mode but upsert."""
    if mode != "upsert":
        return ""
    column = mapping.id_column
    found = [
        f"_id may be {what}: where two differ in nothing else, the later document becomes a reject in mode upsert."
        for kind, type_, what in _LOSSY_KEYS
        if kind in column.kinds and column.type is type_
    ]
    kinds = column.kinds
    is_plain = column.type in JSON_TYPES and mapping.options.json_values == "plain"
    if becomes_one_number(mapping) or (is_plain and kinds >= {Kind.DOUBLE, Kind.DECIMAL128}):
        found.append(
            "_id may be a double and a Decimal128: where two have the same digits, such as 0.1, the later document becomes a "
            "reject in mode upsert."
        )
    if column.type in JSON_TYPES:
        kinds = kinds & JSON_STRINGS if is_plain else frozenset()
    elif column.type is not ColumnType.TEXT:
        kinds = frozenset()
    if len(kinds) > 1:
        remedy = ', and json_values = "extended" keeps them apart' if column.type in JSON_TYPES else ""
        found.insert(
            0,
            f"_id may be of several kinds. Where two become equal as {column.type.value}, such as an objectId and the string "
            f"of its digits, the later document becomes a reject in mode upsert{remedy}.",
        )
    return " ".join(found)
