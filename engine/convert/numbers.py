"""A reading of the numbers in documents and in rows that shares nothing with the converters: what full verification trusts.

Both converters agree byte for byte, and a full verification converts again; so a number that they get wrong would be compared
with itself. Here documents are taken apart by rules of bsonspec.org of their own, rows by those of PostgreSQL's binary
formats, and each number is held against what is in its place:

- an int32 or int64 is exactly that number;
- a double's digits read back as the same 64 bits, and are exactly its value where it is whole;
- a Decimal128 has its digits and its exponent.

Where PostgreSQL cannot hold that much (a zero's sign in numeric and jsonb, an exponent above 0, which NaN it was), the number
is compared by its value, and counted as such in `less_strict`.

Formats: `numeric_send`, `array_send`, `jsonb_send` in PostgreSQL's utils/adt; IEEE 754-2008 for Decimal128.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib import import_module
from struct import Struct
from typing import Any, Protocol

from engine.mapping.model import ColumnType, Mapping, Role
from engine.mapping.names import show_path
from engine.rows import Converted

DOUBLE, DOCUMENT, ARRAY, SCOPED, INT32, TIMESTAMP, INT64, DECIMAL = 0x01, 0x03, 0x04, 0x0F, 0x10, 0x11, 0x12, 0x13
"""Element types that are numbers or may hold some (bsonspec.org)."""
_SCALARS = frozenset({DOUBLE, INT32, INT64, DECIMAL})
_HOLDERS = frozenset({DOCUMENT, ARRAY, SCOPED})
_SIZES = {0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
_LENGTH_EXTRA = {0x02: 4, 0x0D: 4, 0x0E: 4, 0x0C: 16, 0x03: 0, 0x04: 0, 0x0F: 0, 0x05: 5}
"""Of those that begin with a length: bytes that it does not count."""
_REGEX = 0x0B

NEGATIVE_ZERO = "a negative zero has no sign there"
EXPONENT = "a Decimal128's exponent above 0 is zeros there"
WHICH_NAN = "a NaN has no sign or payload there"
ROUNDED = "a vector holds 32-bit floats: its numbers are rounded"
MOST_FIELDS = 200
"""Fields that are told apart in `less_strict`; values in others count together."""
OTHER_FIELDS = "(other fields)"

_SIGN = 1 << 63
_NAN_BITS = 0x7FF8_0000_0000_0000
_FIRST_WITH_EXPONENT = 1e16
"""From here on `repr` may name a number that is only near."""
_double: Any = Struct("<d").unpack_from
_float: Any = Struct(">f").unpack_from
_int32: Any = Struct("<i").unpack_from
_int64: Any = Struct("<q").unpack_from
_bits: Any = Struct("<Q").unpack_from
_two_words: Any = Struct("<QQ").unpack_from
_two_uint32: Any = Struct("<II").unpack_from
_length: Any = Struct(">i").unpack_from
_numeric: Any = Struct(">HhHH").unpack_from

Number = tuple[int, int, int]
"""Element type, and where the value begins and ends in the document."""
LessStrict = Counter[tuple[str, str, str]]
"""Column, field and reason -> numbers."""


@dataclass(frozen=True, slots=True)
class WrongNumber:
    """A number that is another one in its row."""

    row: int
    """Among the rows that were looked at."""
    column: str
    field: str
    """Dotted path; `[]` are elements."""
    expected: str
    found: str | None
    """None: there is nothing in its place."""


class _Token(str):
    """A number in JSON, as it is spelled."""

    __slots__ = ()


_decode = json.JSONDecoder(parse_float=_Token, parse_int=_Token, parse_constant=_Token).decode


class NumberReader:
    """Holds the numbers of documents against those of their rows, under one mapping.

    Args:
        mapping: under which the rows were made.
        native: have the usual rows looked at by the native part, where it is built.
    """

    def __init__(self, mapping: Mapping, *, native: bool = True) -> None:
        self._usual = _usual_rows(mapping) if native else None
        self.less_strict: LessStrict = Counter()
        """Numbers that could only be compared by value; the reader that takes them empties it."""
        self._extended = mapping.options.json_values == "extended"
        self._columns = mapping.columns
        self._ignored = frozenset(tuple(key.encode() for key in path) for path in mapping.ignored)
        self._top: dict[bytes, Any] = {}
        roles = {}
        for index, column in enumerate(mapping.columns):
            if column.path:
                level = self._top
                for key in column.path[:-1]:
                    level = level.setdefault(key.encode(), {})
                level[column.path[-1].encode()] = index
            else:
                roles[column.role] = index
        self._extra = roles.get(Role.EXTRA)
        self._document = roles.get(Role.DOCUMENT)
        self._row: list[bytes | None] = []
        self._raw = b""
        self._number = 0
        self._wrong: list[WrongNumber] = []
        self._at: tuple[str, list[str]] = "", []
        """Column and path of the number in hand."""

    def check(self, batch: bytes, rows: Converted) -> list[WrongNumber]:
        """The numbers of these documents that are others in their rows.

        Args:
            batch: raw documents.
            rows: what was made of some of them.
        """
        self._wrong = []
        if self._usual is not None:
            numbers: Sequence[int] = self._usual.uncertain(batch, rows)
        else:
            numbers = range(len(rows.row_ends))
        copied = memoryview(rows.copy)
        for number in numbers:
            begin, end = rows.row_ends[number - 1] if number else 0, rows.row_ends[number]
            place = rows.row_documents[number]
            self._number = number
            self._row = _fields(bytes(copied[begin:end]), 2, len(self._columns))
            self._raw = batch[place : place + _int32(batch, place)[0]]
            self._check_level(self._top, 0, len(self._raw), (), self._extra_tree())
        return self._wrong

    def _extra_tree(self) -> Any:
        content = self._row[self._extra] if self._extra is not None else None
        return None if content is None else self._tree(self._extra or 0, content)

    def _tree(self, index: int, content: bytes) -> Any:
        return _decode((content[1:] if self._columns[index].type is ColumnType.JSONB else content).decode())

    def _check_level(self, level: dict[bytes, Any], start: int, end: int, path: tuple[bytes, ...], extra: Any) -> None:
        """The fields of a document whose fields have columns; of a key that comes twice, the last counts."""
        raw = self._raw
        last: dict[bytes, Number] = {}
        position, stop = start + 4, end - 1
        find, sizes = raw.find, _SIZES
        while position < stop:
            kind = raw[position]
            key_end = find(0, position + 1)
            value = key_end + 1
            size = sizes.get(kind)
            value_end = value + size if size is not None else _end(raw, kind, value)
            last[raw[position + 1 : key_end]] = (kind, value, value_end)
            position = value_end
        row = self._row
        left: dict[str, tuple[bytes, Number]] = {}
        """What has to be in `_extra`, by name."""
        for key, number in last.items():
            place = level.get(key)
            if place is None:
                if not self._ignored or (*path, key) not in self._ignored:
                    left[key.decode(errors="replace")] = key, number
            elif place.__class__ is int:
                content = row[place]
                kind = number[0]
                if content is None:
                    left[key.decode(errors="replace")] = key, number
                elif kind in _SCALARS or kind in _HOLDERS or kind == TIMESTAMP:
                    self._check_column(place, content, number)
            elif number[0] == DOCUMENT and number[2] - number[1] > 5:
                inner = extra.get(key.decode()) if extra.__class__ is dict else None
                self._check_level(place, number[1], number[2], (*path, key), inner)
            else:
                left[key.decode(errors="replace")] = key, number
        if not left:
            return
        if self._document is not None and not path:
            self._at = self._columns[self._document].name, []
            members = {name: number for name, (key, number) in left.items()}
            self._check_members(members, self._tree(self._document, self._row[self._document] or b""), self._extended)
            return
        members = {name: number for name, (key, number) in left.items() if self._has_numbers(number)}
        if members:
            column = self._columns[self._extra].name if self._extra is not None else ""
            self._at = column, [key.decode(errors="replace") for key in path]
            self._check_members(members, extra if extra.__class__ is dict else {}, self._extended)

    def _has_numbers(self, number: Number) -> bool:
        """Whether a value is a number or has one in it."""
        kind, start, end = number
        if kind in _SCALARS or kind == TIMESTAMP:
            return True
        return kind in _HOLDERS and _holds_numbers(self._raw, kind, start, end)

    def _members(self, kind: int, start: int, end: int) -> dict[str, Number]:
        """The values in a document, an array or a code's scope, by name; of a name that comes twice the last."""
        raw = self._raw
        if kind == SCOPED:
            start = _end(raw, 0x02, start + 4)
        members: dict[str, Number] = {}
        position, stop = start + 4, end - 1
        n_elements = 0
        while position < stop:
            inner = raw[position]
            key_end = raw.find(0, position + 1)
            value = key_end + 1
            size = _SIZES.get(inner)
            value_end = value + size if size is not None else _end(raw, inner, value)
            if kind == ARRAY:
                # What keys an array has says nothing.
                members[str(n_elements)] = (inner, value, value_end)
                n_elements += 1
            else:
                members[raw[position + 1 : key_end].decode(errors="replace")] = (inner, value, value_end)
            position = value_end
        return members

    # --- a value and what is in its place -------------------------------------------------------------------------

    def _check_column(self, index: int, content: bytes, number: Number) -> None:
        """A value that is a number, or may hold some, against its column."""
        column = self._columns[index]
        kind, start, end = number
        raw = self._raw
        column_type = column.type
        # The usual ones, in a few words.
        if column_type is ColumnType.INTEGER and kind == INT32 and not column.array:
            if content[::-1] == raw[start:end]:
                return
        elif column_type in (ColumnType.DOUBLE, ColumnType.BIGINT) and end - start == 8 and not column.array:
            if content[::-1] == raw[start:end] and kind == (DOUBLE if column_type is ColumnType.DOUBLE else INT64):
                return
        elif column_type in (ColumnType.JSONB, ColumnType.JSON):
            if self._has_numbers(number):
                self._at = column.name, list(column.path)
                self._check_json(number, self._tree(index, content), self._extended)
            return
        self._at = column.name, list(column.path)
        if column.array:
            self._check_array(column_type, content, number)
        else:
            self._check_scalar(column_type, content, number)

    def _check_array(self, column_type: ColumnType, content: bytes, number: Number) -> None:
        found = _elements(content)
        members = list(self._members(*number).values())
        if len(found) != len(members):
            self._complain(f"{len(members)} elements", f"{len(found)} elements")
            return
        self._at[1].append("[]")
        for inner, element in zip(members, found, strict=True):
            if inner[0] in _SCALARS:
                if element is None:
                    self._complain(self._shown(inner), None)
                else:
                    self._check_scalar(column_type, element, inner)
        self._at[1].pop()

    def _check_scalar(self, column_type: ColumnType, content: bytes, number: Number) -> None:
        """A value against a column, or an array's element, that is no JSON."""
        match column_type:
            case ColumnType.INTEGER | ColumnType.BIGINT | ColumnType.SMALLINT:
                self._check_text(number, str(int.from_bytes(content, "big", signed=True)), keeps_all=False)
            case ColumnType.DOUBLE:
                self._check_float8(number, content)
            case ColumnType.REAL:
                self._check_float4(number, content)
            case ColumnType.NUMERIC:
                self._check_text(number, numeric_text(content), keeps_all=False)
            case ColumnType.VECTOR:
                self._count(ROUNDED)
            case ColumnType.TEXT if number[0] in _SCALARS:
                self._check_text(number, content.decode(), keeps_all=True)
            case ColumnType.TEXT if self._has_numbers(number):
                self._check_json(number, _decode(content.decode()), self._extended)

    def _check_float8(self, number: Number, content: bytes) -> None:
        kind, start, end = number
        if kind == DOUBLE:
            if content[::-1] == self._raw[start:end]:
                return
        elif Decimal(_double(content[::-1])[0]) == self._exactly(number):
            return
        self._complain(self._shown(number), repr(_double(content[::-1])[0]))

    def _check_float4(self, number: Number, content: bytes) -> None:
        expected, found = self._exactly(number), Decimal(_float(content)[0])
        if expected is None or (expected != found and not (expected.is_nan() and found.is_nan())):
            self._complain(self._shown(number), repr(_float(content)[0]))

    def _check_json(self, number: Number, node: Any, extended: bool) -> None:
        """A value against what was parsed from JSON."""
        kind = number[0]
        if kind in _SCALARS:
            self._check_token(number, node, extended)
        elif kind == TIMESTAMP:
            increment, seconds = _two_uint32(self._raw, number[1])
            if extended and node.__class__ is dict:
                node = node.get("$timestamp")
            if node != {"t": str(seconds), "i": str(increment)}:
                self._complain(f"Timestamp({seconds}, {increment})", None)
        elif kind == SCOPED:
            scope = node.get("$scope") if node.__class__ is dict else None
            self._check_members(self._members(*number), scope, extended=True)
        elif kind == DOCUMENT:
            self._check_members(self._members(*number), node, extended)
        elif kind == ARRAY:
            members = self._members(*number)
            if node.__class__ is not list or len(node) != len(members):
                self._complain(f"{len(members)} elements", None)
                return
            self._at[1].append("[]")
            for inner, element in zip(members.values(), node, strict=True):
                self._check_json(inner, element, extended)
            self._at[1].pop()

    def _check_members(self, members: dict[str, Number], node: Any, extended: bool) -> None:
        names = self._at[1]
        for name, number in members.items():
            kind = number[0]
            if kind in _SCALARS or kind in _HOLDERS or kind == TIMESTAMP:
                if node.__class__ is dict and name in node:
                    inner = node[name]
                elif (node.__class__ is dict and "\0" in name) or not self._has_numbers(number):
                    continue
                else:
                    inner = None
                names.append(name)
                self._check_json(number, inner, extended)
                names.pop()

    def _check_token(self, number: Number, node: Any, extended: bool) -> None:
        """A number against a number in JSON, or what stands for it."""
        keeps_all = extended or self._keeps_spelling()
        if extended:
            wrapper = {DOUBLE: "$numberDouble", INT32: "$numberInt", INT64: "$numberLong", DECIMAL: "$numberDecimal"}
            node = node.get(wrapper[number[0]]) if node.__class__ is dict else None
            if node.__class__ is str:
                self._check_text(number, node, keeps_all, is_named=True)
                return
        elif node.__class__ is _Token or (node.__class__ is str and node in ("NaN", "Infinity", "-Infinity")):
            self._check_text(number, str(node), keeps_all)
            return
        self._complain(self._shown(number), None if node is None else json.dumps(node)[:80])

    def _keeps_spelling(self) -> bool:
        """Whether the column in hand is json, which keeps a number as it is spelled."""
        name = self._at[0]
        return any(column.type is ColumnType.JSON for column in self._columns if column.name == name)

    def _check_text(self, number: Number, text: str, keeps_all: bool, is_named: bool = False) -> None:
        """A number against its digits.

        Args:
            keeps_all: the place holds every spelling; else what numeric does not is compared by value and counted.
            is_named: it is in a `$numberDouble` or the like, so that a whole double may have its shortest digits.
        """
        kind, start, _ = number
        if kind == DOUBLE:
            self._check_double(start, text, keeps_all, is_named)
        elif kind == DECIMAL:
            self._check_decimal(start, text, keeps_all)
        else:
            expected = _int32(self._raw, start)[0] if kind == INT32 else _int64(self._raw, start)[0]
            if text != str(expected) and _decimal(text) != expected:
                self._complain(str(expected), text)

    def _check_double(self, start: int, text: str, keeps_all: bool, is_named: bool) -> None:
        (expected,), (bits,) = _double(self._raw, start), _bits(self._raw, start)
        if expected != expected:
            if text != "NaN":
                self._complain("NaN", text)
            elif bits != _NAN_BITS:
                self._count(WHICH_NAN)
            return
        if text != repr(expected) or not (is_named or -_FIRST_WITH_EXPONENT < expected < _FIRST_WITH_EXPONENT):
            digits = _decimal(text)
            is_exact = is_named or not expected.is_integer() or digits == Decimal(expected)
            if digits is None or digits.is_nan() or float(digits) != expected or not is_exact:
                self._complain(repr(expected), text)
                return
        if bits == _SIGN and not keeps_all:
            self._count(NEGATIVE_ZERO)
        elif bits == _SIGN and not text.startswith("-"):
            self._complain(repr(expected), text)

    def _check_decimal(self, start: int, text: str, keeps_all: bool) -> None:
        low, high = _two_words(self._raw, start)
        special, expected = _read_decimal(low, high)
        digits = _decimal(text)
        if special or digits is None or not digits.is_finite():
            if text != special:
                self._complain(special or str(expected), text)
            elif special == "NaN" and (low or high != 0x7C00_0000_0000_0000):
                self._count(WHICH_NAN)
            return
        negative, _, exponent = expected.as_tuple()
        assert isinstance(exponent, int)
        is_same = digits.as_tuple() == expected.as_tuple()
        if not (is_same or (not keeps_all and digits == expected and digits.as_tuple().exponent == min(exponent, 0))):
            self._complain(str(expected), text)
        elif not keeps_all and exponent > 0:
            self._count(EXPONENT)
        elif not keeps_all and negative and not expected:
            self._count(NEGATIVE_ZERO)

    def _exactly(self, number: Number) -> Decimal | None:
        """A number's value, whatever it is spelled like."""
        kind, start, _ = number
        match kind:
            case 0x10:
                return Decimal(_int32(self._raw, start)[0])
            case 0x12:
                return Decimal(_int64(self._raw, start)[0])
            case 0x01:
                return Decimal(_double(self._raw, start)[0])
            case 0x13:
                special, value = _read_decimal(*_two_words(self._raw, start))
                return Decimal(special) if special else value
        return None

    def _shown(self, number: Number) -> str:
        if number[0] == DOUBLE:
            return repr(_double(self._raw, number[1])[0])
        value = self._exactly(number)
        return "documents, arrays or code" if value is None else str(value)

    def _complain(self, expected: str, found: str | None) -> None:
        column, path = self._at
        self._wrong.append(WrongNumber(self._number, column, show_path(tuple(path)), expected, found))

    def _count(self, reason: str) -> None:
        column, path = self._at
        key = column, show_path(tuple(path)), reason
        if key not in self.less_strict and len(self.less_strict) >= MOST_FIELDS:
            key = column, OTHER_FIELDS, reason
        self.less_strict[key] += 1


def _fields(copied: bytes, start: int, n_columns: int) -> list[bytes | None]:
    """Fields of binary COPY, one behind the other."""
    fields: list[bytes | None] = []
    position = start
    for _ in range(n_columns):
        size = _length(copied, position)[0]
        position += 4
        if size < 0:
            fields.append(None)
        else:
            fields.append(copied[position : position + size])
            position += size
    return fields


def _holds_numbers(raw: bytes, kind: int, start: int, end: int) -> bool:
    """Whether there is a number in a document, an array or a code's scope."""
    if kind == SCOPED:
        start = _end(raw, 0x02, start + 4)
    position, stop = start + 4, end - 1
    find, sizes = raw.find, _SIZES
    while position < stop:
        inner = raw[position]
        value = find(0, position + 1) + 1
        if inner == 0x02:
            position = value + 4 + _int32(raw, value)[0]
            continue
        size = sizes.get(inner)
        position = value + size if size is not None else _end(raw, inner, value)
        if (
            inner in _SCALARS
            or inner == TIMESTAMP
            or (inner in _HOLDERS and _holds_numbers(raw, inner, value, position))
        ):
            return True
    return False


class _Usual(Protocol):
    def uncertain(self, batch: bytes, rows: Converted) -> Sequence[int]: ...


def _usual_rows(mapping: Mapping) -> _Usual | None:
    """The native part; None where it is not built."""
    try:
        module = import_module(_NATIVE_MODULE)
    except ImportError:
        return None
    usual: _Usual = module.UsualRows(mapping)
    return usual


_NATIVE_MODULE = "engine.convert.native_numbers"


def _end(raw: bytes, kind: int, start: int) -> int:
    """Where a value of no fixed size ends."""
    if kind == _REGEX:
        return raw.index(0, raw.index(0, start) + 1) + 1
    extra = _LENGTH_EXTRA.get(kind)
    if extra is None:
        return start + _SIZES[kind]
    end: int = start + extra + _int32(raw, start)[0]
    return end


def _elements(content: bytes) -> list[bytes | None]:
    """The elements of a one-dimensional array in binary form."""
    if not _length(content, 0)[0]:
        return []
    n_elements = _length(content, 12)[0]
    return _fields(content, 20, n_elements)


def numeric_text(content: bytes) -> str:
    """A numeric in binary form as its digits; those behind its last place are dropped, as PostgreSQL does."""
    n_digits, weight, sign, scale = _numeric(content, 0)
    if sign & 0xC000 == 0xC000:
        return {0xC000: "NaN", 0xD000: "Infinity"}.get(sign, "-Infinity")
    groups = (content[place] << 8 | content[place + 1] for place in range(8, 8 + 2 * n_digits, 2))
    digits = "".join(f"{group:04d}" for group in groups)
    n_before = 4 * (weight + 1)
    whole = digits[:n_before].ljust(n_before, "0").lstrip("0") if n_before > 0 else ""
    behind = digits[n_before:] if n_before > 0 else "0" * -n_before + digits
    point = "." if scale else ""
    return f"{'-' if sign else ''}{whole or '0'}{point}{behind[:scale].ljust(scale, '0')}"


def _decimal(text: str) -> Decimal | None:
    """Digits as a number; None when they are none."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return None


def _read_decimal(low: int, high: int) -> tuple[str, Decimal]:
    """A Decimal128's word for what is no finite number, or its digits and exponent."""
    negative = high >> 63
    combination = high >> 58 & 0x1F
    if combination == 0x1F:
        return "NaN", Decimal()
    if combination == 0x1E:
        return "-Infinity" if negative else "Infinity", Decimal()
    if combination >> 3 == 0x3:
        # A coefficient that begins with the bits 100 has more than 34 digits: it counts as 0.
        return "", Decimal((negative, (0,), (high >> 47 & 0x3FFF) - 6176))
    coefficient = (high & 0x1_FFFF_FFFF_FFFF) << 64 | low
    if coefficient >= 10**34:
        coefficient = 0
    digits = tuple(map(int, str(coefficient)))
    return "", Decimal((negative, digits, (high >> 49 & 0x3FFF) - 6176))
