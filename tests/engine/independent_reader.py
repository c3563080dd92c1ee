"""What PostgreSQL should hold for a document, said by pymongo's decoder and Python's own types, not by the engine."""

from __future__ import annotations

import base64
import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import bson
from bson import Binary, Code, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp, json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS

from engine.mapping.model import Column, ColumnType

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_1_MS = -62_135_596_800_000
_CYCLE_MS = 146_097 * 86_400_000
"""400 years, after which the Gregorian calendar repeats itself."""
_FLAGS = {"i": re.IGNORECASE, "l": re.LOCALE, "m": re.MULTILINE, "s": re.DOTALL, "u": re.UNICODE, "x": re.VERBOSE}
_LEGACY_REPRESENTATIONS = {"python": 3, "java": 5, "csharp": 6}
"""pymongo's numbers for the byte orders of binary subtype 3."""
_AS_IT_IS: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)


def decode(document: bytes) -> dict[str, Any]:
    """The document by pymongo, dates of any year included."""
    return bson.decode(document, _AS_IT_IS)


def plain_json(value: Any, uuid_legacy: str) -> Any:
    """The value as plain JSON; numbers as Decimal."""
    match value:
        case Code() if value.scope is not None:
            scope = json_util.dumps(value.scope, json_options=json_util.CANONICAL_JSON_OPTIONS)
            return {"$code": str(value), "$scope": json.loads(scope)}
        case None | bool():
            return value
        case str() | ObjectId():
            return str(value)
        case int():
            return Decimal(value)
        case float():
            return _finite_or_spelled(Decimal(repr(value)))
        case Decimal128():
            return _finite_or_spelled(value.to_decimal())
        case DatetimeMS():
            return _iso(int(value))
        case bytes():
            return str(_as_uuid(value, uuid_legacy) or base64.b64encode(value).decode())
        case Regex():
            return f"/{value.pattern}/{''.join(letter for letter, bit in _FLAGS.items() if value.flags & bit)}"
        case Timestamp():
            return {"t": Decimal(value.time), "i": Decimal(value.inc)}
        case MinKey():
            return {"$minKey": Decimal(1)}
        case MaxKey():
            return {"$maxKey": Decimal(1)}
        case dict():
            return {key: plain_json(inner, uuid_legacy) for key, inner in value.items()}
        case list():
            return [plain_json(inner, uuid_legacy) for inner in value]
    raise AssertionError(type(value))


def expected_in(column: Column, value: Any, uuid_legacy: str) -> Any:
    """What `read` gives for a column that holds this value."""
    if column.array and column.type in (ColumnType.BYTEA, ColumnType.TIMESTAMPTZ):
        return [expected_in(column.model_copy(update={"array": False}), inner, uuid_legacy) for inner in value]
    if value is None or column.array:
        return plain_json(value, uuid_legacy)
    match column.type:
        case ColumnType.DOUBLE:
            return repr(float(value))
        case ColumnType.TIMESTAMPTZ:
            return Decimal(int(value))
        case ColumnType.BYTEA:
            return (value.binary if isinstance(value, ObjectId) else bytes(value)).hex()
    return plain_json(value, uuid_legacy)


def select(column: Column, quoted: str) -> str:
    """SQL for a column as JSON text, with binaries in hex and dates in milliseconds since 1970."""
    scalar = {
        ColumnType.TIMESTAMPTZ: "to_jsonb(extract(epoch FROM {}) * 1000)",
        ColumnType.BYTEA: "to_jsonb(encode({}, 'hex'))",
        ColumnType.DOUBLE: "to_jsonb({}::text)",
        ColumnType.NUMERIC: "to_jsonb({})",
    }.get(column.type, "to_json({})")
    if not column.array:
        return f"({scalar.format(quoted)})::text"
    if column.type in (ColumnType.BYTEA, ColumnType.TIMESTAMPTZ):
        return (
            f"(SELECT coalesce(jsonb_agg({scalar.format('e')} ORDER BY n), '[]') "
            f"FROM unnest({quoted}) WITH ORDINALITY AS u(e, n) WHERE {quoted} IS NOT NULL HAVING {quoted} IS NOT NULL)::text"
        )
    return f"to_jsonb({quoted})::text"


def read(column: Column, shown: str | None) -> Any:
    """What `select` gave, with numbers as Decimal."""
    if shown is None:
        return None
    value = json.loads(shown, parse_int=Decimal, parse_float=Decimal)
    return repr(float(value)) if column.type is ColumnType.DOUBLE and not column.array else value


def strings_in(value: Any) -> list[str]:
    """Every string, key and code in a value."""
    match value:
        case str():
            return [str(value), *(strings_in(value.scope) if isinstance(value, Code) and value.scope else [])]
        case dict():
            return [text for key, inner in value.items() for text in (key, *strings_in(inner))]
        case list():
            return [text for inner in value for text in strings_in(inner)]
    return []


def _finite_or_spelled(number: Decimal) -> Decimal | str:
    if number.is_nan():
        return "NaN"
    if number.is_infinite():
        return "Infinity" if number > 0 else "-Infinity"
    return number


def _as_uuid(value: bytes, legacy: str) -> uuid.UUID | None:
    if not isinstance(value, Binary) or len(value) != 16:
        return None
    if value.subtype == 4:
        return value.as_uuid()
    if value.subtype == 3 and legacy:
        return value.as_uuid(_LEGACY_REPRESENTATIONS[legacy])
    return None


def _iso(ms: int) -> str:
    """ISO 8601 by way of datetime, which knows 9999 years: others are moved among them by whole cycles."""
    cycles = (ms - _YEAR_1_MS) // _CYCLE_MS
    moment = _EPOCH + timedelta(milliseconds=ms - cycles * _CYCLE_MS)
    year = moment.year + 400 * cycles
    shown = f"{year:04d}" if 0 <= year <= 9999 else f"{'-' if year < 0 else '+'}{abs(year):06d}"
    return f"{shown}-{moment:%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
