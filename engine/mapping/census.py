"""The census: which fields a collection's documents have, with which kinds and extremes, before anything is written.

Fields are told apart at the top level, as many levels below as flattening asks for, and one level into arrays; what lies
deeper is only looked through for texts that PostgreSQL refuses. A census is counted wherever documents are read, travels as
plain data, and merges. `engine.convert.native_census` counts the same, natively.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from math import isfinite
from struct import Struct
from typing import Any

from engine.mapping.bson import STRING_KINDS, CorruptDocumentError, binary_kind, documents, unpack_int32, value_end
from engine.mapping.decimal128 import decimal_text, read_decimal128
from engine.mapping.limits import EXACT_INTEGER, FIRST_DATE_MS, LAST_DATE_MS, MAX_DEPTH
from engine.mapping.model import Kind

_unpack_int64: Any = Struct("<q").unpack_from
_unpack_double: Any = Struct("<d").unpack_from


@dataclass(frozen=True, slots=True)
class CensusBounds:
    """What a census keeps at most: documents used as dictionaries may have a new key each."""

    fields: int = 20_000
    """Fields told apart."""
    name_bytes: int = 4 * 1024 * 1024
    """Bytes of all their names together."""


BOUNDS = CensusBounds()


@dataclass(slots=True)
class FieldCensus:
    """What was seen at one field path."""

    present: int = 0
    """Occurrences, nulls included."""
    kinds: dict[int, int] = field(default_factory=dict)
    """Occurrences by `Kind` number, in order of first appearance."""
    longest: int = 0
    """Characters of the longest string."""
    n_nul: int = 0
    """Strings that hold a NUL, also those in nested values whose fields are not told apart."""
    n_bad_utf8: int = 0
    """The same for strings, and names of nested fields, that are not UTF-8."""
    low: int | None = None
    """Smallest integer; None without one."""
    high: int | None = None
    """Largest integer."""
    low_double: float | None = None
    """Smallest finite double; None without one."""
    high_double: float | None = None
    """Largest finite double."""
    low_decimal: str | None = None
    """Smallest finite Decimal128 as text, the first of equal ones; None without one."""
    high_decimal: str | None = None
    """Largest finite Decimal128."""
    n_bad_dates: int = 0
    """Dates that PostgreSQL cannot hold."""
    depth: int = 0
    """Levels of documents and arrays in the deepest value: 0 for scalars, 1 for a document of them."""
    elements: FieldCensus | None = None
    """The elements of arrays, all arrays taken together."""
    fields: dict[str, FieldCensus] = field(default_factory=dict)
    """Fields of nested documents, as deep as the census looks."""

    @property
    def kind_set(self) -> frozenset[Kind]:
        """The kinds seen, null apart."""
        return frozenset(Kind(kind) for kind in self.kinds if kind != Kind.NULL)

    @property
    def n_null(self) -> int:
        """How often the field is null."""
        return self.kinds.get(Kind.NULL, 0)

    @property
    def has_inexact_integers(self) -> bool:
        """Whether an integer was seen that a double cannot hold for certain."""
        return (self.low or 0) < -EXACT_INTEGER or (self.high or 0) > EXACT_INTEGER

    def merge_values(self, other: FieldCensus) -> None:
        """Add what another census saw at the same path, fields of nested documents apart."""
        self.present += other.present
        for kind, count in other.kinds.items():
            self.kinds[kind] = self.kinds.get(kind, 0) + count
        self.longest = max(self.longest, other.longest)
        self.n_nul += other.n_nul
        self.n_bad_utf8 += other.n_bad_utf8
        if other.low is not None and other.high is not None:
            self.add_integer(other.low)
            self.add_integer(other.high)
        if other.low_double is not None and other.high_double is not None:
            self.add_double(other.low_double)
            self.add_double(other.high_double)
        if other.low_decimal is not None and other.high_decimal is not None:
            self.add_decimal(other.low_decimal)
            self.add_decimal(other.high_decimal)
        self.n_bad_dates += other.n_bad_dates
        self.depth = max(self.depth, other.depth)
        if other.elements is not None:
            if self.elements is None:
                self.elements = FieldCensus()
            self.elements.merge_values(other.elements)

    def add_integer(self, number: int) -> None:
        """Widen the range of integers."""
        if self.low is None or number < self.low:
            self.low = number
        if self.high is None or number > self.high:
            self.high = number

    def add_double(self, number: float) -> None:
        """Widen the range of doubles; those without a place in it are left out."""
        if isfinite(number):
            if self.low_double is None or number < self.low_double:
                self.low_double = number
            if self.high_double is None or number > self.high_double:
                self.high_double = number

    def add_decimal(self, text: str) -> None:
        """Widen the range of Decimal128; those without a place in it are left out."""
        number = Decimal(text)
        if number.is_finite():
            if self.low_decimal is None or number < Decimal(self.low_decimal):
                self.low_decimal = text
            if self.high_decimal is None or number > Decimal(self.high_decimal):
                self.high_decimal = text

    def to_dict(self) -> dict[str, Any]:
        """The census as plain JSON data."""
        return {
            "present": self.present,
            "kinds": {Kind(kind).name: count for kind, count in self.kinds.items()},
            "longest": self.longest,
            "n_nul": self.n_nul,
            "n_bad_utf8": self.n_bad_utf8,
            "low": self.low,
            "high": self.high,
            "low_double": self.low_double,
            "high_double": self.high_double,
            "low_decimal": self.low_decimal,
            "high_decimal": self.high_decimal,
            "n_bad_dates": self.n_bad_dates,
            "depth": self.depth,
            "elements": self.elements.to_dict() if self.elements else None,
            "fields": {key: seen.to_dict() for key, seen in self.fields.items()},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> FieldCensus:
        """A census from what `to_dict` returns."""
        values = dict(data)
        values["kinds"] = {int(Kind[name]): count for name, count in data["kinds"].items()}
        values["elements"] = cls.from_dict(data["elements"]) if data["elements"] else None
        values["fields"] = {key: cls.from_dict(seen) for key, seen in data["fields"].items()}
        return cls(**values)


class Census:
    """Counts the fields of a collection's documents.

    Args:
        flatten: levels of nested documents to look into, as in `MappingOptions.flatten`.
        bounds: fields beyond them are only counted.
    """

    def __init__(self, flatten: int = 0, bounds: CensusBounds = BOUNDS) -> None:
        self.flatten = flatten
        self._bounds = bounds
        self.n_documents = 0
        self.n_bytes = 0
        self.largest = 0
        """Bytes of the largest document."""
        self.n_corrupt = 0
        """Documents whose inside breaks the rules of BSON; what is before the break is counted."""
        self.n_untracked = 0
        """Occurrences of fields that have no entry: beyond the bounds, or a name that is not UTF-8."""
        self.root = FieldCensus()
        """The documents themselves; their fields are in `root.fields`, in order of first appearance."""
        self._n_fields = 0
        self._n_name_bytes = 0

    @property
    def fields(self) -> dict[str, FieldCensus]:
        """The fields at the top of the documents, in order of first appearance."""
        return self.root.fields

    @property
    def id_kinds(self) -> frozenset[Kind]:
        """The kinds of `_id` seen."""
        seen = self.fields.get("_id")
        return frozenset(Kind(kind) for kind in seen.kinds) if seen else frozenset()

    @property
    def depth(self) -> int:
        """Levels of documents and arrays in the deepest document, itself included; 0 without any."""
        deepest = max((seen.depth for seen in self.fields.values()), default=0)
        return 1 + deepest if self.n_documents else 0

    def walk(self) -> Iterator[tuple[tuple[str, ...], FieldCensus]]:
        """Every field path with what was seen there, parents first."""
        pending: list[tuple[tuple[str, ...], FieldCensus]]
        pending = [((key,), seen) for key, seen in reversed(self.fields.items())]
        while pending:
            path, seen = pending.pop()
            yield path, seen
            pending.extend(((*path, key), below) for key, below in reversed(seen.fields.items()))

    def add(self, document: bytes) -> None:
        """Count one raw document."""
        self.n_documents += 1
        self.n_bytes += len(document)
        self.largest = max(self.largest, len(document))
        self.root.present += 1
        try:
            self._add_fields(self.root.fields, document, 4, len(document) - 1, self.flatten)
        except CorruptDocumentError:
            self.n_corrupt += 1

    def add_batch(self, batch: bytes, offset: int = 0) -> int:
        """Count the documents of a raw batch from byte `offset` on, and return how many there were.

        Raises:
            ValueError: `batch` is not a sequence of whole documents.
        """
        before = self.n_documents
        for document in documents(batch, offset):
            self.add(document)
        return self.n_documents - before

    def result(self) -> Census:
        """What was counted, as `engine.convert.census.Counter` wants it."""
        return self

    def merge(self, other: Census) -> None:
        """Add what another census of the same collection saw; the limit to fields is that of one census."""
        self.n_documents += other.n_documents
        self.n_bytes += other.n_bytes
        self.largest = max(self.largest, other.largest)
        self.n_corrupt += other.n_corrupt
        self.n_untracked += other.n_untracked
        self._merge(self.root, other.root)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, for sending and keeping."""
        return {
            "flatten": self.flatten,
            "n_documents": self.n_documents,
            "n_bytes": self.n_bytes,
            "largest": self.largest,
            "n_corrupt": self.n_corrupt,
            "n_untracked": self.n_untracked,
            "root": self.root.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Census:
        """A census from what `to_dict` returns."""
        census = cls(data["flatten"])
        census.n_documents = data["n_documents"]
        census.n_bytes = data["n_bytes"]
        census.largest = data["largest"]
        census.n_corrupt = data["n_corrupt"]
        census.n_untracked = data["n_untracked"]
        census.root = FieldCensus.from_dict(data["root"])
        census._count_fields()
        return census

    @classmethod
    def from_root(cls, flatten: int, root: FieldCensus) -> Census:
        """A census of one collection's documents, counted elsewhere; its own counters are still to be set."""
        census = cls(flatten)
        census.root = root
        census._count_fields()
        return census

    def _count_fields(self) -> None:
        paths = [path for path, _ in self.walk()]
        self._n_fields = len(paths)
        self._n_name_bytes = sum(len(path[-1].encode()) for path in paths)

    def _merge(self, ours: FieldCensus, theirs: FieldCensus) -> None:
        ours.merge_values(theirs)
        for key, below in theirs.fields.items():
            seen = self._seen(ours.fields, key, len(key.encode()))
            if seen is None:
                self.n_untracked += below.present
            else:
                self._merge(seen, below)

    # --- the walk: each of these returns the levels of documents and arrays in the deepest value ----------------------

    def _add_fields(
        self, fields: dict[str, FieldCensus], document: bytes, position: int, last: int, levels: int
    ) -> int:
        deepest = 0
        while position < last:
            kind = document[position]
            key_end = document.find(0, position + 1, last)
            if key_end < 0:
                raise CorruptDocumentError
            try:
                seen = self._seen(fields, document[position + 1 : key_end].decode(), key_end - position - 1)
            except UnicodeDecodeError:
                seen = None
            start = key_end + 1
            position = value_end(document, kind, start, last)
            if seen is None:
                self.n_untracked += 1
                continue
            self._add_value(seen, document, kind, start, position)
            if kind == Kind.DOCUMENT and levels:
                depth = 1 + self._add_fields(seen.fields, document, start + 4, position - 1, levels - 1)
            elif kind == Kind.ARRAY:
                if seen.elements is None:
                    seen.elements = FieldCensus()
                depth = 1 + self._add_elements(seen.elements, document, start + 4, position - 1)
            elif kind == Kind.DOCUMENT:
                depth = self._look_through(seen, document, kind, start, position, 1)
            else:
                continue
            seen.depth = max(seen.depth, depth)
            deepest = max(deepest, depth)
        return deepest

    def _add_elements(self, elements: FieldCensus, document: bytes, position: int, last: int) -> int:
        deepest = 0
        while position < last:
            kind = document[position]
            start = document.find(0, position + 1, last) + 1
            if not start:
                raise CorruptDocumentError
            position = value_end(document, kind, start, last)
            self._add_value(elements, document, kind, start, position)
            if kind in (Kind.DOCUMENT, Kind.ARRAY):
                depth = self._look_through(elements, document, kind, start, position, 2)
                elements.depth = max(elements.depth, depth)
                deepest = max(deepest, depth)
        return deepest

    def _look_through(self, seen: FieldCensus, document: bytes, kind: int, start: int, end: int, level: int) -> int:
        """Texts in a document or array whose fields are not told apart; `level` is its own, below the field's column."""
        if level > MAX_DEPTH:
            raise CorruptDocumentError
        deepest, position, last = 0, start + 4, end - 1
        while position < last:
            inner = document[position]
            inner_start = document.find(0, position + 1, last) + 1
            if not inner_start:
                raise CorruptDocumentError
            if kind == Kind.DOCUMENT and not _is_utf8(document[position + 1 : inner_start - 1]):
                seen.n_bad_utf8 += 1
            position = value_end(document, inner, inner_start, last)
            if inner in STRING_KINDS:
                _add_text(seen, document[inner_start + 4 : position - 1])
            elif inner in (Kind.DOCUMENT, Kind.ARRAY):
                deepest = max(deepest, self._look_through(seen, document, inner, inner_start, position, level + 1))
        return 1 + deepest

    def _seen(self, fields: dict[str, FieldCensus], key: str, size: int) -> FieldCensus | None:
        seen = fields.get(key)
        has_room = self._n_fields < self._bounds.fields and self._n_name_bytes + size <= self._bounds.name_bytes
        if seen is None and has_room:
            seen = fields[key] = FieldCensus()
            self._n_fields += 1
            self._n_name_bytes += size
        return seen

    def _add_value(self, seen: FieldCensus, document: bytes, kind: int, start: int, end: int) -> None:
        seen.present += 1
        if kind in STRING_KINDS:
            content = document[start + 4 : end - 1]
            if len(content) > seen.longest:
                length = len(content) if content.isascii() else len(content.decode(errors="replace"))
                seen.longest = max(seen.longest, length)
            _add_text(seen, content)
        elif kind == Kind.INT32:
            seen.add_integer(unpack_int32(document, start)[0])
        elif kind == Kind.INT64:
            seen.add_integer(_unpack_int64(document, start)[0])
        elif kind == Kind.DOUBLE:
            seen.add_double(_unpack_double(document, start)[0])
        elif kind == Kind.DECIMAL128:
            seen.add_decimal(decimal_text(read_decimal128(document, start)))
        elif kind == Kind.DATE:
            if not FIRST_DATE_MS <= _unpack_int64(document, start)[0] <= LAST_DATE_MS:
                seen.n_bad_dates += 1
        elif kind == Kind.BINARY:
            kind = binary_kind(document, start, end)
        seen.kinds[kind] = seen.kinds.get(kind, 0) + 1


def _add_text(seen: FieldCensus, content: bytes) -> None:
    """What PostgreSQL would refuse in a string."""
    seen.n_nul += 0 in content
    seen.n_bad_utf8 += not _is_utf8(content)


def _is_utf8(content: bytes) -> bool:
    if content.isascii():
        return True
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
