"""The one interface of both converters: raw BSON in, bytes of COPY's binary format out.

A raw batch is what a MongoDB cursor delivers: whole documents one after the other. A converter takes some of them, from
an offset, and returns the tuples (without COPY's header and trailer) with what the worker has to know about each. The
plain and the native converter agree byte for byte on every field of `Converted`.

COPY's binary format: https://www.postgresql.org/docs/current/sql-copy.html (Binary Format).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""Signature, flags, and the length of an empty header extension: 19 bytes."""
COPY_TRAILER = b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Reject:
    """A document that cannot be written as mapped."""

    offset: int
    """Where the document begins in the batch."""
    length: int
    """Its length in bytes."""
    reason: str
    """Reason code such as `nul`, `date_range`, `utf8`, `overflow`, `id_kind`, `id_too_long`, `not_null`, `too_long`,
    `corrupt`."""
    field: str
    """Dotted path of the field at fault; empty when it is the whole document."""
    detail: str = ""
    """A few words for people: never the value itself."""


@dataclass(slots=True)
class Converted:
    """What became of some documents of a batch."""

    copy: bytes | bytearray | memoryview
    """Tuples of COPY's binary format, one after the other."""
    row_ends: Sequence[int]
    """End offset of each tuple in `copy`; its length is the number of rows."""
    row_documents: Sequence[int]
    """For each tuple, where its document begins in the batch."""
    n_read: int
    """Documents consumed: rows + rejects."""
    end: int
    """Offset in the batch behind the last document consumed."""
    last: int
    """Offset in the batch of the last document consumed; where it began when there was none."""
    checksum: int
    """Sum mod 2**64 of zlib's crc32 over each consumed document's bytes, rejected ones included; 0 where none was asked for."""
    rejects: list[Reject] = field(default_factory=list)
    policy_hits: dict[str, int] = field(default_factory=dict)
    """How often a policy touched a value, such as `{"nul.strip": 3, "overflow": 1, "duplicate_key": 2}`."""


class Converter(Protocol):
    """Turns documents into rows; made for one mapping, used by one thread at a time."""

    name: str
    """`plain` or `native`, as shown on screen and in JSON."""

    def convert(self, batch: bytes, offset: int, limit: int) -> Converted:
        """Convert at most `limit` documents of `batch`, from byte `offset` on.

        Raises:
            ValueError: `batch` is not a sequence of whole documents; the message says at which offset it breaks.
        """
        ...
