"""The filter of a partial index as a condition of PostgreSQL: spelled so that an ordinary query with the same words uses it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from bson import Binary, Decimal128, ObjectId
from bson.datetime_ms import DatetimeMS

from engine.convert.dates import iso_text
from engine.mapping.bson import SUBTYPE_UUID, SUBTYPE_UUID_LEGACY, UUID_BYTES
from engine.mapping.kinds import NUMBERS_THAT_FIT
from engine.mapping.limits import FIRST_DATE_MS, LAST_DATE_MS
from engine.mapping.model import Column, ColumnType, Kind
from engine.mapping.names import quote_identifier

_COMPARISONS = {"$eq": "=", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
_TYPE_NAMES = {
    "double": Kind.DOUBLE, "string": Kind.STRING, "objectId": Kind.OBJECT_ID, "bool": Kind.BOOL, "date": Kind.DATE,
    "int": Kind.INT32, "long": Kind.INT64, "decimal": Kind.DECIMAL128, "regex": Kind.REGEX, "javascript": Kind.JAVASCRIPT,
    "symbol": Kind.SYMBOL,
}  # fmt: skip
_TYPE_NUMBERS = {int(kind): kind for kind in _TYPE_NAMES.values()}
_BINARIES = frozenset({Kind.BINARY, Kind.UUID, Kind.UUID_LEGACY})
_INTEGER_TYPES = frozenset({ColumnType.INTEGER, ColumnType.BIGINT})
MOST_DIGITS = 1_000
"""Of a number in a condition."""

TRUE, FALSE = "true", "false"


class NotExpressibleError(Exception):
    """Why an index cannot be had, in a few words."""


def condition(query: Mapping[str, Any], column_of: Callable[[str], Column], *, is_unique: bool) -> str:
    """A partial index's filter as SQL over plain columns; empty when it takes every document.

    Args:
        column_of: the column of a field's path; raises NotExpressibleError where there is no plain one.
        is_unique: the index is to be unique, so that exactly the same rows must be in it: texts are compared by their bytes,
            as MongoDB does, which a query in the order of the database's own collation does not ask for. Any other index may
            have the rows that such a query looks for.

    Raises:
        NotExpressibleError: something in it has no counterpart.
    """
    parts: list[str] = []
    for name, wanted in query.items():
        if name in ("$and", "$or"):
            inner = [condition(each, column_of, is_unique=is_unique) or TRUE for each in wanted]
            parts.append(f"({f' {name[1:].upper()} '.join(f'({each})' for each in inner)})")
        elif name == "$comment":
            continue
        elif name.startswith("$"):
            raise NotExpressibleError(f"its filter uses {name}")
        else:
            parts += _field_conditions(name, column_of(name), wanted, is_unique=is_unique)
    return " AND ".join(parts)


def _field_conditions(name: str, column: Column, wanted: Any, *, is_unique: bool) -> list[str]:
    if not (isinstance(wanted, Mapping) and wanted and all(key.startswith("$") for key in wanted)):
        wanted = {"$eq": wanted}
    quoted = quote_identifier(column.name)
    parts = []
    for operator, value in wanted.items():
        if operator in _COMPARISONS:
            is_range = operator != "$eq"
            if is_range and column.type is ColumnType.BYTEA and isinstance(value, bytes):
                raise NotExpressibleError(
                    f"its filter asks {operator} of {name}, and MongoDB orders binaries by length"
                )
            bytewise = ' COLLATE "C"' if is_unique and is_range and column.type is ColumnType.TEXT else ""
            parts.append(f"{quoted}{bytewise} {_COMPARISONS[operator]} {_literal(name, column, value)}")
        elif operator == "$in":
            values = dict.fromkeys(_literal(name, column, each) for each in value)
            parts.append(f"{quoted} IN ({', '.join(values)})" if values else FALSE)
        elif (operator == "$exists" and _is_true(value)) or (operator == "$type" and _kinds_of(value) >= column.kinds):
            parts.append(f"{quoted} IS NOT NULL")
        else:
            raise NotExpressibleError(f"its filter asks {operator} of {name}")
    return parts


def _is_true(value: Any) -> bool:
    """As the server takes a value for a flag: numbers but 0, and whatever is there."""
    if isinstance(value, Decimal128):
        return value.to_decimal() != 0
    return value is not None and not (isinstance(value, (bool, int, float)) and value == 0)


def _kinds_of(value: Any) -> frozenset[Kind]:
    """The kinds that `$type` asks for; the number kinds of an integer column count together."""
    kinds: set[Kind] = set()
    for each in value if isinstance(value, list) else [value]:
        if each == "number":
            kinds |= NUMBERS_THAT_FIT[ColumnType.NUMERIC]
        elif each == "binData" or _type_number(each) == Kind.BINARY:
            kinds |= _BINARIES
        elif isinstance(each, str):
            kinds |= {_TYPE_NAMES[each]} if each in _TYPE_NAMES else set()
        elif _type_number(each) in _TYPE_NUMBERS:
            kinds.add(_TYPE_NUMBERS[_type_number(each)])
    return frozenset(kinds)


def _type_number(value: Any) -> int:
    """A kind by its number, whatever kind of number that is; 0 is none."""
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    if isinstance(value, (int, float, Decimal)) and math.isfinite(value) and value == int(value):
        return int(value)
    return 0


def _literal(name: str, column: Column, value: Any) -> str:
    """A value as SQL of the column's type; only where comparing it means the same on both sides."""
    text: str | None = None
    match column.type:
        case ColumnType.INTEGER | ColumnType.BIGINT | ColumnType.DOUBLE | ColumnType.NUMERIC:
            return _number(name, column.type, value)
        case ColumnType.BOOLEAN if isinstance(value, bool):
            return TRUE if value else FALSE
        case ColumnType.TEXT if type(value) is str and Kind.STRING in column.kinds and "\0" not in value:
            text = value
        case ColumnType.TEXT if isinstance(value, ObjectId) and column.kinds == {Kind.OBJECT_ID}:
            text = str(value)
        case ColumnType.BYTEA if isinstance(value, ObjectId) and column.kinds == {Kind.OBJECT_ID}:
            text = f"\\x{value.binary.hex()}"
        case ColumnType.BYTEA if isinstance(value, bytes) and _binary_kind(value) in column.kinds:
            text = f"\\x{value.hex()}"
        case ColumnType.UUID if isinstance(value, UUID):
            text = str(value)
        case ColumnType.UUID if isinstance(value, Binary) and _binary_kind(value) is Kind.UUID:
            text = str(UUID(bytes=bytes(value)))
        case ColumnType.TIMESTAMPTZ if isinstance(value, (datetime, DatetimeMS)):
            text = _date_text(value)
    if text is None or not _is_encodable(text):
        raise NotExpressibleError(
            f"its filter compares {name} with a value that its {column.sql_type} column cannot hold"
        )
    escaped = text.replace("'", "''")
    if "\\" in escaped:
        # Whether a backslash escapes within plain quotes is a setting of the server's; with E it always does.
        return "E'" + escaped.replace("\\", "\\\\") + f"'::{column.sql_type}"
    return f"'{escaped}'::{column.sql_type}"


def _binary_kind(value: bytes) -> Kind:
    subtype = value.subtype if isinstance(value, Binary) and len(value) == UUID_BYTES else 0
    return {SUBTYPE_UUID: Kind.UUID, SUBTYPE_UUID_LEGACY: Kind.UUID_LEGACY}.get(subtype, Kind.BINARY)


def _is_encodable(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _date_text(value: datetime | DatetimeMS) -> str | None:
    """A date as PostgreSQL reads it, whatever its year; None when it has no place there."""
    if isinstance(value, datetime):
        milliseconds = (value.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
    else:
        milliseconds = int(value)
    if not FIRST_DATE_MS <= milliseconds <= LAST_DATE_MS:
        return None
    date, _, clock = iso_text(milliseconds).partition("T")
    year, month, day = date.rsplit("-", 2)
    era = ""
    if int(year) <= 0:
        year, era = f"{1 - int(year):04d}", " BC"
    clock = clock.replace(".000Z", "Z")
    return f"{int(year):04d}-{month}-{day}T{clock}{era}"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _number(name: str, column_type: ColumnType, value: Any) -> str:
    """A number as people write it, so that PostgreSQL compares the column itself and nothing made of it."""
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    is_number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise NotExpressibleError(f"its filter compares {name} with something that is no finite number")
    if column_type in _INTEGER_TYPES and value == int(value):
        value = int(value)
    if abs(value) >= 10**MOST_DIGITS:
        raise NotExpressibleError(f"its filter compares {name} with a number of more than {MOST_DIGITS:,} digits")
    if isinstance(value, int):
        return f"({value})" if value < 0 else str(value)
    if isinstance(value, float) and column_type is ColumnType.DOUBLE:
        return f"'{value!r}'::double precision"
    return f"'{value}'::numeric"
