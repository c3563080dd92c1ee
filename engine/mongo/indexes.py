"""MongoDB's secondary indexes as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any

import bson
from bson import Decimal128
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from engine.mapping.decimal128 import read_decimal128
from engine.mongo.connect import Document
from engine.mongo.faults import UNAUTHORIZED

NAMESPACE_NOT_FOUND = 26
NAMELESS = "(without a name)"
UNREADABLE = "unreadable"
"""Kind of an index whose description is not what servers of today write."""
_VIEWS_HAVE_NONE = 166
_WILDCARD = "$**"
_SIMPLE = "simple"
"""Locale of the collation that compares bytes, as none does."""

_FORGIVING: CodecOptions[dict[str, Any]] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_MS, unicode_decode_error_handler="replace"
)
"""An index may hold what old servers let in: dates beyond Python's, names that are not UTF-8."""


@dataclass(frozen=True, slots=True)
class SourceIndex:
    """One index, as the server lists it."""

    name: str
    keys: tuple[tuple[str, bool], ...]
    """Field path with dots, and whether it descends; empty when `kind` is not "ordered"."""
    kind: str = "ordered"
    """"ordered", or what PostgreSQL has no counterpart of: "text", "2dsphere", "2d", "hashed", "wildcard", ..."""
    unique: bool = False
    sparse: bool = False
    partial: Mapping[str, Any] | None = None
    """The filter of a partial index."""
    has_collation: bool = False
    hidden: bool = False
    expires: bool = False
    """Documents are deleted some time after the date in its field."""
    fields: tuple[str, ...] = ()
    """Of an index that is not "ordered": paths of its fields, those of a text index from its weights."""
    collation: Mapping[str, Any] | None = None
    """As the server lists it."""


def list_indexes(collection: Collection[Document]) -> list[SourceIndex]:
    """Every index but that of `_id` alone, in the server's order; none for views and where the user may not look."""
    # The driver's own list_indexes reads every value strictly; here one that cannot be read costs its index only.
    database = collection.database.with_options(codec_options=DEFAULT_RAW_BSON_OPTIONS)
    try:
        with database.cursor_command(
            {"listIndexes": collection.name, "cursor": {}}, codec_options=DEFAULT_RAW_BSON_OPTIONS
        ) as cursor:
            found = [_index(entry) for entry in cursor]
    except OperationFailure as error:
        if error.code in (_VIEWS_HAVE_NONE, UNAUTHORIZED, NAMESPACE_NOT_FOUND):
            return []
        raise
    return [index for index in found if index is not None]


def _index(raw: RawBSONDocument) -> SourceIndex | None:
    """An index from its description; None for that of `_id` alone."""
    try:
        entry = bson.decode(raw.raw, codec_options=_FORGIVING)
        return None if list(entry["key"]) == ["_id"] else index_of(entry)
    except Exception:  # whatever a server of any age has written, it is one index of many
        return SourceIndex(name=_name_of(raw), keys=(), kind=UNREADABLE)


def _name_of(raw: RawBSONDocument) -> str:
    try:
        return str(raw.get("name") or NAMELESS)
    except BSONError:
        return NAMELESS


def index_of(entry: Mapping[str, Any]) -> SourceIndex:
    """An index from its description as the server lists it.

    Raises:
        Exception: of any kind, for what no server of today would write.
    """
    key: Mapping[str, Any] = entry["key"]
    kind = next(_special(key), "ordered")
    collation = entry.get("collation")
    partial = entry.get("partialFilterExpression")
    if not isinstance(partial, Mapping | None):
        kind = UNREADABLE  # without its filter it would be another index
    has_collation = isinstance(collation, Mapping) and collation.get("locale") != _SIMPLE
    return SourceIndex(
        name=str(entry.get("name") or NAMELESS),
        keys=tuple((path, descends(direction)) for path, direction in key.items()) if kind == "ordered" else (),
        kind=kind,
        unique=bool(entry.get("unique")),
        sparse=bool(entry.get("sparse")),
        partial=partial,
        has_collation=has_collation,
        hidden=bool(entry.get("hidden")),
        expires="expireAfterSeconds" in entry,
        fields=_fields(entry, kind),
        collation=collation if has_collation else None,
    )


def descends(direction: Any) -> bool:
    """Whether a direction means descending: a number below 0 of any kind does, everything else ascends.

    As the server reads it: `Ordering::make` of its bson/ordering.h.
    """
    if isinstance(direction, bool):
        return False
    if isinstance(direction, (int, float)):
        return direction < 0 and not isnan(direction)
    if isinstance(direction, Decimal128):
        number = read_decimal128(direction.bid, 0)
        return number.special == "-Infinity" or (not number.special and number.negative and number.coefficient > 0)
    return False


def _special(key: Mapping[str, Any]) -> Iterator[str]:
    for path, direction in key.items():
        if type(direction) is str and direction:  # JavaScript is a text, too, to the driver
            yield direction
        elif path == _WILDCARD or path.endswith("." + _WILDCARD):
            yield "wildcard"


def _fields(entry: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    if kind == "ordered":
        return ()
    weights = entry.get("weights")
    if kind == "text" and isinstance(weights, Mapping):
        return tuple(weights)
    own = [path for path, direction in entry["key"].items() if direction == kind or path.endswith(_WILDCARD)]
    return tuple(path.removesuffix(_WILDCARD).removesuffix(".") for path in own)
