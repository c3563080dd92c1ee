"""Rows on their way from a converter to a table: what `engine.convert` gives and `engine.postgres` takes.

COPY's binary format: https://www.postgresql.org/docs/current/sql-copy.html (Binary Format).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.mapping.names import TableName

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""Signature, flags, and the length of an empty header extension: 19 bytes."""
COPY_TRAILER = b"\xff\xff"

Buffer = bytes | bytearray | memoryview


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

    copy: Buffer
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


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a page: some documents of a raw batch, converted."""

    batch: bytes
    rows: Converted
    begin: int = 0
    """Offset in the batch of the first document consumed."""


def document_at(batch: bytes, offset: int) -> bytes:
    """The document that begins at `offset`; its first four bytes are its length (bsonspec.org)."""
    return bytes(batch[offset : offset + int.from_bytes(batch[offset : offset + 4], "little")])


@dataclass(frozen=True, slots=True)
class TableLoad:
    """One collection into one table, as the ledger keeps it."""

    task_id: int
    namespace: str
    """`database.collection`."""
    target: TableName
    mapping: str
    """As JSON."""
    total: int
    """Documents expected."""
    count_before: int = 0
    """Rows that were in the table already."""
    made: bool = True
    """The run made the table; one that was there before is never altered."""
    staging: TableName | None = None
    """Where mode `replace` loads; in the target's schema."""
    table_oid: int = 0
    """Set by the ledger: identity of the table that is written to."""
    statements: tuple[str, ...] = ()
    """SQL that makes the table, or what it needs; not in the ledger."""
    target_count: int | None = None
    """Set by the ledger: rows that were counted in it at the end of the run; None before."""
    read_order: str = "id"
    """Set by the ledger, likewise the next four: `id` or `natural`."""
    member: str = ""
    """Where it is read in natural order; empty is the one server that there is."""
    collection_file: str = ""
    """The file behind the collection there."""
    last_record: bytes | None = None
    """Bound of the last record when the run began; None where what came later cannot be seen."""
    first_generation: int = 0
    """Partitions of lower generations do not count any more."""

    @property
    def has_own_slices(self) -> bool:
        """Its slices are ranges of `_id` that can be read again: not in natural order, nor where the source was followed."""
        return self.read_order == "id" and not self.first_generation

    @property
    def loads_into(self) -> TableName:
        """The table that COPY writes to."""
        return self.staging or self.target
