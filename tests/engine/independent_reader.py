"""What PostgreSQL should show for a document, said by pymongo's decoder and Python's own types, not by the engine."""

from __future__ import annotations

import base64
import math
import uuid
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from bson import Binary, Code, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

from engine.mapping.model import Column, ColumnType
from engine.mapping.options import MappingOptions

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
CYCLE_MS = 146_097 * 86_400_000
"""400 years, after which the Gregorian calendar repeats itself."""
LEGACY = {"python": 3, "java": 5, "csharp": 6}
"""pymongo's numbers for the representations of binary subtype 3."""
FLAGS = {"i": 2, "m": 8}


def plain_json(value: Any, options: MappingOptions) -> Any:
    """The value as plain JSON should hold it; numbers as Decimal."""
    match value:
        case None | bool() | str() if not isinstance(value, Code):
            return value
        case Code():
            if value.scope is None:
                return str(value)
            return {"$code": str(value), "$scope": extended_scope(value.scope)}
        case int():
            return Decimal(value)
        case float():
            return Decimal(repr(value)) if math.isfinite(value) else special(str(value))
        case Decimal128():
            number = value.to_decimal()
            return number if number.is_finite() else special(str(number).lower())
        case ObjectId():
            return str(value)
        case DatetimeMS():
            return iso(int(value))
        case Binary() | bytes():
            identity = as_uuid(value, options.uuid_legacy)
            return str(identity) if identity else base64.b64encode(value).decode()
        case Regex():
            return f"/{value.pattern}/im"
        case Timestamp():
            return {"t": Decimal(value.time), "i": Decimal(value.inc)}
        case MinKey():
            return {"$minKey": Decimal(1)}
        case MaxKey():
            return {"$maxKey": Decimal(1)}
        case dict():
            return {key: plain_json(inner, options) for key, inner in value.items()}
        case list():
            return [plain_json(inner, options) for inner in value]
    raise AssertionError(value)


def column_text(value: Any, column: Column, options: MappingOptions) -> Any:
    """What `readable` makes of the column should equal this."""
    match column.type:
        case ColumnType.DOUBLE:
            return "NaN" if math.isnan(value) else float(value)
        case ColumnType.NUMERIC if isinstance(value, float):
            return plain_json(value, options)
        case ColumnType.NUMERIC if isinstance(value, Decimal128) and not value.to_decimal().is_finite():
            return plain_json(value, options)
        case ColumnType.NUMERIC:
            return value.to_decimal() if isinstance(value, Decimal128) else Decimal(value)
        case ColumnType.INTEGER | ColumnType.BIGINT:
            return int(value)
        case ColumnType.TIMESTAMPTZ:
            return int(value)
        case ColumnType.BYTEA:
            return (value.binary if isinstance(value, ObjectId) else bytes(value)).hex()
    return plain_json(value, options)


def readable(column: Column, quoted: str) -> str:
    """SQL for the text of a column in a form that does not depend on PostgreSQL's taste."""
    if column.type is ColumnType.TIMESTAMPTZ:
        return f"(extract(epoch FROM {quoted}) * 1000)::bigint::text"
    if column.type is ColumnType.BYTEA:
        return f"encode({quoted}, 'hex')"
    return f"{quoted}::text"


def as_uuid(value: bytes, legacy: str) -> uuid.UUID | None:
    """The UUID that a binary is, if it is one."""
    subtype = value.subtype if isinstance(value, Binary) else 0
    if len(value) != 16 or not (subtype == 4 or (subtype == 3 and legacy)):
        return None
    return Binary(value, subtype).as_uuid(4 if subtype == 4 else LEGACY[legacy])


def special(text: str) -> str:
    """NaN and infinities as they are spelled."""
    return {"nan": "NaN", "snan": "NaN", "inf": "Infinity", "infinity": "Infinity"}.get(text, "-Infinity")


def iso(ms: int) -> str:
    """ISO 8601 by way of datetime, which knows 9999 years: other years are moved there by whole cycles."""
    cycles = (ms + 62_135_596_800_000) // CYCLE_MS
    moment = EPOCH + timedelta(milliseconds=ms - cycles * CYCLE_MS)
    year = moment.year + 400 * cycles
    shown = f"{year:04d}" if 0 <= year <= 9999 else f"{'-' if year < 0 else '+'}{abs(year):06d}"
    return f"{shown}-{moment:%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def extended_scope(scope: Any) -> Any:
    """A scope as pymongo's own Extended JSON."""
    import json

    from bson import json_util

    return json.loads(json_util.dumps(scope, json_options=json_util.CANONICAL_JSON_OPTIONS), parse_int=Decimal)
