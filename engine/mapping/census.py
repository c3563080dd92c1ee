"""The census: which fields a collection's documents have, with which kinds and extremes, before anything is written.

It walks raw documents: the top level, as many levels below as flattening asks for, and one level into arrays. A census
is counted wherever documents are read, travels as plain data, and merges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

from engine.mapping.bson import STRING_KINDS, CorruptDocumentError, binary_kind, documents, unpack_int32, value_end
from engine.mapping.limits import EXACT_INTEGER, FIRST_DATE_MS, LAST_DATE_MS
from engine.mapping.model import Kind

MAX_FIELDS = 20_000
"""Fields told apart in one census: documents used as dictionaries may have a new key each."""

_unpack_int64: Any = Struct("<q").unpack_from


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
    """Strings that hold a NUL."""
    n_bad_utf8: int = 0
    """Strings that are not UTF-8."""
    low: int = 0
    """Smallest integer, never above 0."""
    high: int = 0
    """Largest integer, never below 0."""
    n_bad_dates: int = 0
    """Dates that PostgreSQL cannot hold."""
    elements: FieldCensus | None = None
    """The elements of arrays, all arrays taken together."""
    fields: dict[str, FieldCensus] = field(default_factory=dict)
    """Fields of nested documents, as deep as the census looks."""

    @property
    def kind_set(self) -> frozenset[Kind]:
        """The kinds seen, null apart."""
        return frozenset(Kind(kind) for kind in self.kinds if kind != Kind.NULL)

    @property
    def has_inexact_integers(self) -> bool:
        """Whether an integer was seen that a double cannot hold for certain."""
        return self.low < -EXACT_INTEGER or self.high > EXACT_INTEGER

    def merge(self, other: FieldCensus) -> None:
        """Add what another census saw at the same path."""
        self.present += other.present
        for kind, count in other.kinds.items():
            self.kinds[kind] = self.kinds.get(kind, 0) + count
        self.longest = max(self.longest, other.longest)
        self.n_nul += other.n_nul
        self.n_bad_utf8 += other.n_bad_utf8
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)
        self.n_bad_dates += other.n_bad_dates
        if other.elements is not None:
            if self.elements is None:
                self.elements = FieldCensus()
            self.elements.merge(other.elements)
        for key, theirs in other.fields.items():
            self.fields.setdefault(key, FieldCensus()).merge(theirs)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "present": self.present,
            "kinds": {Kind(kind).name: count for kind, count in self.kinds.items()},
            "longest": self.longest,
            "n_nul": self.n_nul,
            "n_bad_utf8": self.n_bad_utf8,
            "low": self.low,
            "high": self.high,
            "n_bad_dates": self.n_bad_dates,
            "elements": self.elements.to_dict() if self.elements else None,
            "fields": {key: seen.to_dict() for key, seen in self.fields.items()},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> FieldCensus:
        """The opposite of `to_dict`."""
        values = dict(data)
        values["kinds"] = {int(Kind[name]): count for name, count in data["kinds"].items()}
        values["elements"] = cls.from_dict(data["elements"]) if data["elements"] else None
        values["fields"] = {key: cls.from_dict(seen) for key, seen in data["fields"].items()}
        return cls(**values)


class Census:
    """Counts the fields of a collection's documents.

    Args:
        flatten: levels of nested documents to look into, as in `MappingOptions.flatten`.
    """

    def __init__(self, flatten: int = 0) -> None:
        self.flatten = flatten
        self.n_documents = 0
        self.n_bytes = 0
        self.largest = 0
        """Bytes of the largest document."""
        self.n_corrupt = 0
        """Documents whose inside breaks the rules of BSON; what stands before the break is counted."""
        self.n_untracked = 0
        """Occurrences of fields that have no entry: beyond `MAX_FIELDS`, or a name that is not UTF-8."""
        self.root = FieldCensus()
        """The documents themselves; their fields are in `root.fields`, in order of first appearance."""
        self._n_fields = 0

    @property
    def fields(self) -> dict[str, FieldCensus]:
        """The fields at the top of the documents, in order of first appearance."""
        return self.root.fields

    @property
    def id_kinds(self) -> frozenset[Kind]:
        """The kinds of `_id` seen."""
        seen = self.fields.get("_id")
        return frozenset(Kind(kind) for kind in seen.kinds) if seen else frozenset()

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

    def add_batch(self, batch: bytes) -> int:
        """Count the documents of a raw batch and return how many there were.

        Raises:
            ValueError: `batch` is not a sequence of whole documents.
        """
        before = self.n_documents
        for document in documents(batch):
            self.add(document)
        return self.n_documents - before

    def merge(self, other: Census) -> None:
        """Add what another census of the same collection saw."""
        self.n_documents += other.n_documents
        self.n_bytes += other.n_bytes
        self.largest = max(self.largest, other.largest)
        self.n_corrupt += other.n_corrupt
        self.n_untracked += other.n_untracked
        self.root.merge(other.root)
        self._n_fields = sum(1 for _ in self.walk())

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
        """The opposite of `to_dict`."""
        census = cls(data["flatten"])
        census.n_documents = data["n_documents"]
        census.n_bytes = data["n_bytes"]
        census.largest = data["largest"]
        census.n_corrupt = data["n_corrupt"]
        census.n_untracked = data["n_untracked"]
        census.root = FieldCensus.from_dict(data["root"])
        census._n_fields = sum(1 for _ in census.walk())
        return census

    def _add_fields(
        self, fields: dict[str, FieldCensus], document: bytes, position: int, last: int, levels: int
    ) -> None:
        while position < last:
            kind = document[position]
            key_end = document.find(0, position + 1, last)
            if key_end < 0:
                raise CorruptDocumentError
            try:
                seen = self._seen(fields, document[position + 1 : key_end].decode())
            except UnicodeDecodeError:
                seen = None
            start = key_end + 1
            position = value_end(document, kind, start, last)
            if seen is None:
                self.n_untracked += 1
                continue
            self._add_value(seen, document, kind, start, position)
            if kind == Kind.DOCUMENT and levels:
                self._add_fields(seen.fields, document, start + 4, position - 1, levels - 1)
            elif kind == Kind.ARRAY:
                if seen.elements is None:
                    seen.elements = FieldCensus()
                self._add_elements(seen.elements, document, start + 4, position - 1)

    def _add_elements(self, elements: FieldCensus, document: bytes, position: int, last: int) -> None:
        while position < last:
            kind = document[position]
            start = document.find(0, position + 1, last) + 1
            if not start:
                raise CorruptDocumentError
            position = value_end(document, kind, start, last)
            self._add_value(elements, document, kind, start, position)

    def _seen(self, fields: dict[str, FieldCensus], key: str) -> FieldCensus | None:
        seen = fields.get(key)
        if seen is None and self._n_fields < MAX_FIELDS:
            seen = fields[key] = FieldCensus()
            self._n_fields += 1
        return seen

    def _add_value(self, seen: FieldCensus, document: bytes, kind: int, start: int, end: int) -> None:
        seen.present += 1
        if kind in STRING_KINDS:
            content = document[start + 4 : end - 1]
            length = len(content)
            if length > seen.longest:
                if not content.isascii():
                    length = len(content.decode(errors="replace"))
                seen.longest = max(seen.longest, length)
            if 0 in content:
                seen.n_nul += 1
            if not content.isascii() and not _is_utf8(content):
                seen.n_bad_utf8 += 1
        elif kind in (Kind.INT32, Kind.INT64):
            number = (unpack_int32 if kind == Kind.INT32 else _unpack_int64)(document, start)[0]
            if number > seen.high:
                seen.high = number
            elif number < seen.low:
                seen.low = number
        elif kind == Kind.DATE:
            if not FIRST_DATE_MS <= _unpack_int64(document, start)[0] <= LAST_DATE_MS:
                seen.n_bad_dates += 1
        elif kind == Kind.BINARY:
            kind = binary_kind(document, start, end)
        seen.kinds[kind] = seen.kinds.get(kind, 0) + 1


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
