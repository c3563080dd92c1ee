"""What a case of the corpus is, and how its documents are made."""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass, field
from typing import Any

import bson
from bson import ObjectId
from bson.codec_options import CodecOptions

from engine.mapping.census import Census
from engine.mapping.model import Mapping
from engine.mapping.options import MappingOptions
from engine.mapping.proposal import propose

OID = ObjectId("0123456789abcdef01234567")
UUID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
FIRST_DATE = -210_866_803_200_000
"""4714-11-24 BC in milliseconds since 1970."""
LAST_DATE = 9_224_318_015_999_999
"""294276-12-31T23:59:59.999 likewise."""
SNOW = "snow ☃ \U0001d11e"


def element(kind: int, key: bytes | str, payload: bytes = b"") -> bytes:
    """One element of a raw document, whatever it says."""
    return bytes((kind,)) + (key if isinstance(key, bytes) else key.encode()) + b"\0" + payload


def raw(*elements: bytes) -> bytes:
    """A raw document; one without an `_id` element gets the number 1 as its `_id`."""
    if not any(part[1:5] == b"_id\0" for part in elements):
        elements = (element(0x10, "_id", struct.pack("<i", 1)), *elements)
    return inner(*elements)


def inner(*elements: bytes) -> bytes:
    """A raw document inside another: only what is given."""
    content = b"".join(elements)
    return struct.pack("<i", len(content) + 5) + content + b"\0"


def text(content: bytes | str) -> bytes:
    """The payload of a string."""
    content = content if isinstance(content, bytes) else content.encode()
    return struct.pack("<i", len(content) + 1) + content + b"\0"


def encode(document: dict[str, Any] | bytes) -> bytes:
    """A document as BSON, with `_id` 1 when it has none; bytes are taken as they are."""
    if isinstance(document, bytes):
        return document
    return bson.encode({"_id": 1, **document}, codec_options=CodecOptions(uuid_representation=4))


@dataclass(frozen=True, slots=True)
class Reject:
    """The document is expected to be rejected."""

    reason: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One edge."""

    name: str
    document: dict[str, Any] | bytes
    expected: dict[str, str | None] | Reject
    """Column -> its text in PostgreSQL; `_id` only where it matters."""
    seen: tuple[dict[str, Any] | bytes, ...] = ()
    """What the census saw; the document itself when empty."""
    options: dict[str, Any] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    """Column -> its type, where it matters."""
    hits: dict[str, int] = field(default_factory=dict)
    """How often policies touched a value."""
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Column -> what the operator edited in the plan."""
    ignored: tuple[tuple[str, ...], ...] = ()

    def mapping(self) -> Mapping:
        """The mapping that the census leads to, with the operator's edits."""
        options = MappingOptions(**self.options)
        census = Census(options.flatten)
        for document in self.seen or (self.document,):
            census.add(encode(document))
        mapping = propose(census, census.id_kinds, options).mapping
        columns = tuple(
            column.model_copy(update=self.changes.get(column.name, {}))
            for column in mapping.columns
            if column.path not in self.ignored
        )
        return mapping.model_copy(update={"columns": columns, "ignored": self.ignored})


def value(
    name: str,
    given: Any,
    shown: str | None,
    sql_type: str,
    *others: Any,
    hits: dict[str, int] | None = None,
    **options: Any,
) -> Case:
    """A case of one field `v`, whose kinds the census saw in this value and in `others`."""
    seen = tuple({"v": other} for other in (given, *others))
    return Case(name, {"v": given}, {"v": shown}, seen, options, {"v": sql_type}, hits or {})
