"""Filters of a plan: Extended JSON as an operator writes it, BSON as it travels, and whether the server takes it."""

from __future__ import annotations

from typing import Any

import bson
from bson import json_util
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from engine.mongo.connect import Document
from engine.mongo.faults import UNAUTHORIZED
from engine.mongo.reader import BY_ID, filter_query

_READING = json_util.JSONOptions(
    json_mode=json_util.JSONMode.RELAXED,
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
)
_CANONICAL = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
)
_CODEC: CodecOptions[dict[str, Any]] = CodecOptions(
    uuid_representation=UuidRepresentation.STANDARD, datetime_conversion=DatetimeConversion.DATETIME_MS
)
_BYTES: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
"""UUIDs stay binaries."""


def encode_filter(text: str) -> bytes:
    """A filter as BSON; empty for an empty text, which takes every document.

    Raises:
        ValueError: it is not Extended JSON of one document; the message says what is wrong with it.
    """
    if not text.strip():
        return b""
    try:
        query = json_util.loads(text, json_options=_READING)
        # Encoding refuses what is no object.
        return bson.encode(query, codec_options=_CODEC) if query else b""
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError, BSONError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def canonical_filter(encoded: bytes) -> str:
    """The one spelling of a filter: two that mean the same value by value are equal; empty for none."""
    if not encoded:
        return ""
    return json_util.dumps(bson.decode(encoded, _BYTES), json_options=_CANONICAL)


def check_filter(collection: Collection[Document], encoded: bytes, *, has_range_reads: bool) -> None:
    """Ask the server whether it can read and count by a filter; nothing is read.

    Raises:
        ValueError: it refuses; the message is the server's.
    """
    query = filter_query(encoded)
    find: dict[str, Any] = {"find": collection.name, "filter": query}
    if has_range_reads:
        find["hint"] = dict(BY_ID)
    count = {"aggregate": collection.name, "pipeline": [{"$match": query}], "cursor": {}}
    for command in (find, count):
        try:
            collection.database.command({"explain": command, "verbosity": "queryPlanner"})
        except OperationFailure as error:
            if error.code == UNAUTHORIZED:
                return
            raise ValueError(str((error.details or {}).get("errmsg", error))) from error
