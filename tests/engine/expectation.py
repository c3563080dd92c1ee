"""What PostgreSQL should hold for a document: docs/types.md once more, by Python's types and pymongo's Extended JSON."""

from __future__ import annotations

import base64
import json
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, DecimalException
from typing import Any

from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp, json_util
from bson.datetime_ms import DatetimeMS

from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.options import MappingOptions
from tests.engine.independent_reader import BAD_UTF8, DbPointer, Symbol, Undefined

FIRST_DATE, LAST_DATE = -210_866_803_200_000, 9_224_318_015_999_999
"""Of PostgreSQL, in milliseconds since 1970."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_1_MS = -62_135_596_800_000
_CYCLE_MS = 146_097 * 86_400_000
"""400 years, after which the Gregorian calendar repeats itself."""
_FLAGS = {"i": re.IGNORECASE, "l": re.LOCALE, "m": re.MULTILINE, "s": re.DOTALL, "u": re.UNICODE, "x": re.VERBOSE}
_LEGACY_REPRESENTATIONS = {"python": 3, "java": 5, "csharp": 6}
"""pymongo's numbers for the byte orders of binary subtype 3."""
_UNALTERED = {"nul": "reject", "utf8": "reject", "date_range": "reject", "overflow": "reject"}
_JSON = (ColumnType.JSON, ColumnType.JSONB)
_MISFIT = object()
"""Instead of a value: the column does not take it."""


class Refused(Exception):
    """The document cannot be a row, for this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class _Level:
    """The fields of the document, or of a flattened one in it, that have columns."""

    columns: dict[str, Column] = field(default_factory=dict)
    below: dict[str, _Level] = field(default_factory=dict)

    def all_columns(self) -> list[Column]:
        return [*self.columns.values(), *(column for level in self.below.values() for column in level.all_columns())]


def expected_row(document: dict[str, Any], mapping: Mapping) -> dict[str, Any]:
    """What `independent_reader.read` gives for each column.

    Raises:
        Refused: the document cannot be a row; the first thing wrong with it says why.
    """
    return _Row(mapping).filled(document)


def expected_key(value: Any, mapping: Mapping) -> Any:
    """The same for an `_id` alone."""
    return _Row(mapping).key(value)


class _Row:
    def __init__(self, mapping: Mapping) -> None:
        self.mapping = mapping
        self.options = mapping.options
        self.values = Values(mapping.options)
        self.key_values = Values(mapping.options.model_copy(update=_UNALTERED))
        self.row: dict[str, Any] = {}
        self.roles = {column.role: column for column in mapping.columns}
        self.top = _Level()
        for column in mapping.columns:
            if column.path:
                level = self.top
                for key in column.path[:-1]:
                    level = level.below.setdefault(key, _Level())
                level.columns[column.path[-1]] = column

    def filled(self, document: dict[str, Any]) -> dict[str, Any]:
        extra: dict[str, Any] = {}
        self.fill(self.top, document, extra)
        key = self.mapping.id_column
        if "_id" not in document and not key.nullable:
            raise Refused("id_kind")
        present = dict(self.row)
        row = {column.name: self.row.get(column.name) for column in self.mapping.columns}
        if Role.DOCUMENT in self.roles:
            others = {name: value for name, value in document.items() if name != "_id"}
            row[self.roles[Role.DOCUMENT].name] = self.values.json(others)
        if Role.MISSING in self.roles:
            row[self.roles[Role.MISSING].name] = [
                ".".join(column.path)
                for column in self.mapping.columns
                if column.role is Role.FIELD and column.name not in present
            ]
        if extra:
            row[self.roles[Role.EXTRA].name] = extra
        return row

    def key(self, value: Any) -> Any:
        found = self.key_values.column(self.mapping.id_column, value)
        if found is _MISFIT:
            raise Refused("id_kind")
        return found

    def fill(self, level: _Level, document: dict[str, Any], extra: dict[str, Any]) -> None:
        """The fields of one level, in their order; what has no place goes into `extra`."""
        for key, value in document.items():
            column, below = level.columns.get(key), level.below.get(key)
            if column is not None and column.role is Role.ID:
                self.row[column.name] = self.key(value)
            elif column is not None:
                found = None if value is None else self.values.column(column, value)
                self.row[column.name] = None if found is _MISFIT else found
                if found is _MISFIT:
                    self.overflow(key, value, extra)
            elif below is not None and value is None:
                self.row.update((column.name, None) for column in below.all_columns())
            elif below is not None and isinstance(value, dict):
                inner: dict[str, Any] = {}
                self.fill(below, value, inner)
                if inner:
                    extra[key] = inner
            elif Role.DOCUMENT not in self.roles:
                self.overflow(key, value, extra)

    def overflow(self, key: str, value: Any, extra: dict[str, Any]) -> None:
        if self.options.overflow == "reject":
            raise Refused("overflow")
        name = self.values.text(key)
        extra[name] = self.values.json(value)


class Values:
    """Values as columns and JSON hold them, under one set of policies."""

    def __init__(self, options: MappingOptions) -> None:
        self.options = options

    def column(self, column: Column, value: Any) -> Any:
        """In a column, or `_MISFIT`."""
        if not column.array:
            return self.json(value) if column.type in _JSON else self._scalar(column, value)
        if not isinstance(value, list):
            return _MISFIT
        elements = []
        for each in value:
            element = None if each is None else self._scalar(column, each)
            if element is _MISFIT:
                return _MISFIT
            elements.append(element)
        return elements

    def _scalar(self, column: Column, value: Any) -> Any:
        if kind_of(value) not in column.kinds or not _is_in_range(column.type, value):
            return _MISFIT
        match column.type:
            case ColumnType.DOUBLE:
                shown = repr(float(value))
                return _finite_or_spelled(Decimal(shown)) if column.array else shown
            case ColumnType.TIMESTAMPTZ:
                return self._date(int(value))
            case ColumnType.REAL_ARRAY:
                return [bytes(value)[at : at + 4][::-1].hex() for at in range(2, len(value), 4)]
            case ColumnType.SMALLINT_ARRAY:
                return [Decimal(each - 256 if each > 127 else each) for each in bytes(value)[2:]]
            case ColumnType.BIT_VARYING:
                bits = "".join(f"{each:08b}" for each in bytes(value)[2:])
                return bits[: len(bits) - value[1]]
            case ColumnType.BYTEA:
                return (value.binary if isinstance(value, ObjectId) else bytes(value)).hex()
        return self.plain(value)

    def _date(self, ms: int) -> Any:
        if FIRST_DATE <= ms <= LAST_DATE:
            return Decimal(ms)
        match self.options.date_range:
            case "null":
                return None
            case "clamp":
                return Decimal(FIRST_DATE if ms < 0 else LAST_DATE)
            case "infinity":
                return "-Infinity" if ms < 0 else "Infinity"
        raise Refused("date_range")

    def json(self, value: Any) -> Any:
        """Inside JSON; numbers as Decimal."""
        return self.extended(value) if self.options.json_values == "extended" else self.plain(value)

    def plain(self, value: Any) -> Any:
        """For people."""
        match value:
            case Undefined() | DbPointer():
                return self.extended(value)
            case Code() if value.scope is not None:
                return self.extended(value)
            case None | bool():
                return value
            case str():
                return self.text(str(value))
            case ObjectId():
                return str(value)
            case int():
                return Decimal(value)
            case float():
                return _finite_or_spelled(Decimal(value if value.is_integer() else repr(value)))
            case Decimal128():
                return _finite_or_spelled(_decimal(value))
            case DatetimeMS():
                return _iso(int(value))
            case bytes():
                return str(_as_uuid(value, self.options.uuid_legacy) or base64.b64encode(value).decode())
            case Regex():
                return f"/{self.text(value.pattern)}/{_letters(value)}"
            case Timestamp():
                return {"t": Decimal(value.time), "i": Decimal(value.inc)}
            case MinKey():
                return {"$minKey": Decimal(1)}
            case MaxKey():
                return {"$maxKey": Decimal(1)}
            case dict():
                return self._object(value, self.plain)
            case list():
                return [self.plain(inner) for inner in value]
        raise AssertionError(type(value))

    def extended(self, value: Any) -> Any:
        """As canonical Extended JSON, by pymongo where it knows how."""
        match value:
            case Undefined():
                return {"$undefined": True}
            case DbPointer():
                return {"$dbPointer": {"$ref": self.text(value.namespace), "$id": {"$oid": str(value.id)}}}
            case Symbol():
                return {"$symbol": self.text(str(value))}
            case Code() if value.scope is not None:
                return {"$code": self.text(str(value)), "$scope": self.extended(value.scope)}
            case Code():
                return {"$code": self.text(str(value))}
            case str():
                return self.text(value)
            case Decimal128():
                return {"$numberDecimal": str(_decimal(value))}
            case Regex():
                return {"$regularExpression": {"pattern": self.text(value.pattern), "options": _letters(value)}}
            case dict():
                return self._object(value, self.extended)
            case list():
                return [self.extended(inner) for inner in value]
        shown = json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS)
        return json.loads(shown, parse_int=Decimal, parse_float=Decimal)

    def _object(self, fields: dict[str, Any], write: Any) -> dict[str, Any]:
        members = {}
        for key, value in fields.items():
            name = self.text(key)  # before the value: the first thing wrong counts
            members[name] = write(value)
        return members

    def text(self, text: str) -> str:
        """As the policies leave it."""
        raw = text.encode(errors=BAD_UTF8)
        shown = raw.decode(errors="replace")
        if shown.encode() != raw and self.options.utf8 == "reject":
            raise Refused("utf8")
        if "\0" in shown and self.options.nul == "reject":
            raise Refused("nul")
        return shown.replace("\0", "" if self.options.nul == "strip" else "\N{REPLACEMENT CHARACTER}")


def kind_of(value: Any) -> Kind:
    """The kind of a scalar, or of a document or array."""
    match value:
        case None:
            return Kind.NULL
        case Undefined():
            return Kind.UNDEFINED
        case DbPointer():
            return Kind.DB_POINTER
        case bool():
            return Kind.BOOL
        case Int64():
            return Kind.INT64
        case int():
            return Kind.INT32
        case float():
            return Kind.DOUBLE
        case Code():
            return Kind.JAVASCRIPT if value.scope is None else Kind.CODE_WITH_SCOPE
        case Symbol():
            return Kind.SYMBOL
        case str():
            return Kind.STRING
        case Binary() if len(value) == 16 and value.subtype in (3, 4):
            return Kind.UUID if value.subtype == 4 else Kind.UUID_LEGACY
        case Binary() if value.subtype == 9:
            return _vector_kind(bytes(value))
        case bytes():
            return Kind.BINARY
    return {
        Decimal128: Kind.DECIMAL128, DatetimeMS: Kind.DATE, ObjectId: Kind.OBJECT_ID, Regex: Kind.REGEX,
        Timestamp: Kind.TIMESTAMP, MinKey: Kind.MIN_KEY, MaxKey: Kind.MAX_KEY, list: Kind.ARRAY,
    }.get(type(value), Kind.DOCUMENT)  # fmt: skip


def _vector_kind(content: bytes) -> Kind:
    """Of a vector, if it keeps to the rules of its specification."""
    match content[:2].hex():
        case "0300":
            return Kind.VECTOR_INT8
        case "2700" if len(content) % 4 == 2:
            return Kind.VECTOR_FLOAT32
        case "1000":
            return Kind.VECTOR_BITS
        case "1001" | "1002" | "1003" | "1004" | "1005" | "1006" | "1007" if len(content) > 2:
            return Kind.BINARY if content[-1] % 2 ** content[1] else Kind.VECTOR_BITS
    return Kind.BINARY


def _is_in_range(column_type: ColumnType, value: Any) -> bool:
    """Whether a number column holds this number exactly."""
    if column_type in (ColumnType.INTEGER, ColumnType.BIGINT) and isinstance(value, float):
        bits = 31 if column_type is ColumnType.INTEGER else 63
        return value.is_integer() and -(2**bits) <= int(value) < 2**bits
    if column_type is ColumnType.INTEGER:
        return bool(-(2**31) <= value < 2**31)
    if column_type is ColumnType.DOUBLE:
        return isinstance(value, float) or abs(value) <= 2**53
    return True


def _finite_or_spelled(number: Decimal) -> Decimal | str:
    if number.is_nan():
        return "NaN"
    if number.is_infinite():
        return "Infinity" if number > 0 else "-Infinity"
    return number


def _decimal(value: Decimal128) -> Decimal:
    """More than 34 digits count as zero (IEEE 754), where pymongo raises; and a NaN is a NaN, signalling or not."""
    try:
        number = value.to_decimal()
        return Decimal("NaN") if number.is_nan() else number
    except DecimalException:
        high = int.from_bytes(value.bid[8:], "little")
        return Decimal((high >> 63, (0,), (high >> 49 & 0x3FFF) - 6176))


def _letters(regex: Regex[Any]) -> str:
    return "".join(letter for letter, bit in _FLAGS.items() if regex.flags & bit)


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
