"""The commit protocol for one slice: claim, rows, rejects and checkpoint in one transaction (docs/architecture.md).

::

    BEGIN
      INSERT INTO mongopg.slice ...            the claim; its key (run, partition, slice_no) is the fence
      page by page: SAVEPOINT; COPY; rejects   write_page
      UPDATE mongopg.slice SET upto ...        the checkpoint
    COMMIT                                     all of it or nothing

A connection that breaks before COMMIT is answered leaves the slice done or not: the ledger says which (`partitions.position`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol
from zlib import crc32

import asyncpg

from engine.errors import MigrationError
from engine.ledger.altered import Altered, read_altered, stored_altered
from engine.ledger.fill_in import EarlierReject, delete_rejects
from engine.ledger.partitions import CHECKSUM_MODULUS
from engine.ledger.rejects import Identify, Rejected, extended_id, insert_rejects
from engine.postgres.page import CopyTarget, Page, Refusal
from engine.postgres.rows import Caution, RowSender
from engine.rows import Piece, document_at

LOCK_TIMEOUT_S = 30
"""How long a slice waits for a lock: another's claim of the same slice, or a lock of another session on the table."""


@dataclass(frozen=True, slots=True)
class PageResult:
    """What became of one page; its rows are not committed yet."""

    n_read: int
    n_written: int
    n_rejected: int
    n_bytes: int
    """BSON bytes read."""
    reasons: dict[str, int]
    """Rejects by reason."""
    refused: tuple[bytes, ...] = ()
    """Documents of which the converter made a row that the table did not take."""


SliceKey = tuple[str, int, int]
"""Run, partition, slice number."""


@dataclass(frozen=True, slots=True)
class SliceBegin:
    """Which slice of a partition a transaction claims, and where it begins."""

    partition_id: int
    slice_no: int
    lower: bytes | None
    lower_inclusive: bool


@dataclass(frozen=True, slots=True)
class SliceEnd:
    """Where a slice ends."""

    upto: bytes | None
    """The last `_id` read, as `{"_id": value}` in BSON; None only when nothing was read."""
    final: bool
    """The partition was read to its end."""
    altered: Altered = field(default_factory=dict)
    """Values that a policy changed in the slice's rows, by policy."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A committed slice as the ledger has it."""

    slice_no: int
    upto: bytes | None
    """Its last `_id`; the next slice begins behind it."""
    final: bool
    n_read: int
    n_written: int
    n_rejected: int
    n_bytes: int
    altered: Altered = field(default_factory=dict)
    """Values that a policy changed in its rows, by policy."""


class SliceLost(Exception):
    """The slice before this one is not in the ledger (any more): the server came back without it. Go on behind what is."""


class SliceTaken(Exception):
    """Another transaction committed this slice: go on behind `claim.upto` with the next number."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(f"Slice {claim.slice_no} is committed already.")
        self.claim = claim


class Sender(Protocol):
    """What brings the rows of a page into its table."""

    async def send(self, page: Page, pieces: AsyncIterator[Piece]) -> tuple[int, list[Refusal]]:
        """Write an empty page while it comes: the number of rows that the table took, and the rows it refused."""
        ...


@dataclass(slots=True)
class OpenSlice:
    """A slice that is claimed: what goes into it, and its sums."""

    connection: asyncpg.Connection
    key: SliceKey
    task_id: int
    target: CopyTarget
    sender: Sender
    identify: Identify = extended_id
    """Names the `_id` of a rejected document."""
    n_read: int = 0
    n_written: int = 0
    n_rejected: int = 0
    n_bytes: int = 0
    checksum: int = 0
    n_kept: int = 0
    """Rejects written, whether they count or replace others."""

    async def write_page(self, pieces: AsyncIterator[Piece]) -> PageResult:
        """COPY a page while it comes, and keep what cannot be written as rejects, all within the open transaction.

        The first piece with rows starts the COPY. Memory is bounded by the page: its pieces are kept until the server
        has taken them, since a row that it refuses makes the others go again.

        Raises:
            asyncpg.PostgresError: an error that is not one row's fault.
            Exception: what `pieces` raises.
        """
        page = Page()
        n_written, refusals = await self.sender.send(page, pieces)
        rejects = [
            Rejected(reject.reason, reject.field, "", reject.detail, document_at(piece.batch, reject.offset))
            for piece in page.pieces
            for reject in piece.rows.rejects
        ]
        rejects += [
            Rejected(refusal.reason, refusal.column, refusal.sqlstate, refusal.detail, page.document(refusal.row))
            for refusal in refusals
        ]
        if rejects:
            await insert_rejects(
                self.connection,
                (*self.key, self.n_kept),
                self.task_id,
                self.target.namespace,
                rejects,
                self.identify,
            )
            self.n_kept += len(rejects)
        result = PageResult(
            n_read=sum(piece.rows.n_read for piece in page.pieces),
            n_written=n_written,
            n_rejected=len(rejects),
            n_bytes=sum(piece.rows.end - piece.begin for piece in page.pieces),
            reasons=dict(Counter(reject.reason for reject in rejects)),
            refused=tuple(reject.raw for reject in rejects[len(rejects) - len(refusals) :]),
        )
        self.n_read += result.n_read
        self.n_written += result.n_written
        self.n_rejected += result.n_rejected
        self.n_bytes += result.n_bytes
        self.checksum += sum(piece.rows.checksum for piece in page.pieces)
        return result

    async def take_back(self, rejects: Sequence[EarlierReject]) -> None:
        """Delete rejects of other slices, whose documents this one has read again."""
        await delete_rejects(self.connection, self.key[0], rejects)
        self.n_read -= len(rejects)
        self.n_rejected -= len(rejects)
        self.checksum -= sum(crc32(reject.raw) for reject in rejects)

    def claim(self, end: SliceEnd) -> Claim:
        """What the ledger has of it when it is committed with this end."""
        return Claim(
            slice_no=self.key[2],
            upto=end.upto,
            final=end.final,
            n_read=self.n_read,
            n_written=self.n_written,
            n_rejected=self.n_rejected,
            n_bytes=self.n_bytes,
            altered=dict(end.altered),
        )


@dataclass(slots=True)
class SliceWriter:
    """Writes slices of one table over one connection, one after the other.

    Call `begin`, `write_page` any number of times, then `commit`; after any exception `rollback`, which leaves the
    writer ready for the next `begin` if the connection is still open.
    """

    connection: asyncpg.Connection
    """Used for nothing else, and without a transaction."""
    run_id: str
    target: CopyTarget
    worker: int
    identify: Identify = extended_id
    """Names the `_id` of a rejected document."""
    has_checksum: bool = True
    """The pages' checksums are there, and kept."""
    caution: Caution = field(default_factory=Caution)
    """Of the table, from one writer to the next."""
    lock_timeout_s: float = field(default_factory=lambda: LOCK_TIMEOUT_S)
    """How long a claim waits for another transaction that holds it."""
    _slice: OpenSlice | None = field(default=None, init=False)
    _sender: RowSender = field(init=False)

    def __post_init__(self) -> None:
        self._sender = RowSender(self.connection, self.target, self.caution)

    async def begin(self, partition_id: int, slice_no: int, lower: bytes | None, lower_inclusive: bool) -> None:
        """Open the transaction and claim the slice, which begins at (or behind) `lower`.

        Waits up to `lock_timeout_s` while another transaction holds the same claim.

        Raises:
            SliceTaken: it is committed already; no transaction is open then.
            SliceLost: the one before it is not committed; no transaction is open then.
            MigrationError: the ledger has no such partition: the run was discarded.
            asyncpg.PostgresError: 55P03 when the other transaction is still open after the wait, and any other.
        """
        begin = SliceBegin(partition_id, slice_no, lower, lower_inclusive)
        await open_transaction(self.connection, self.lock_timeout_s)
        try:
            task_ids = await claim_slices(self.connection, self.run_id, self.worker, [begin])
        except asyncpg.UniqueViolationError:
            await self.rollback()
            claim = await lookup_claim(self.connection, self.run_id, partition_id, slice_no)
            if claim is None:
                raise
            raise SliceTaken(claim) from None
        except (MigrationError, SliceLost):
            await self.rollback()
            raise
        await self._sender.prepare()
        key, task_id = (self.run_id, partition_id, slice_no), task_ids[partition_id]
        self._slice = OpenSlice(self.connection, key, task_id, self.target, self._sender, self.identify)

    async def write_page(self, pieces: AsyncIterator[Piece]) -> PageResult:
        """As `OpenSlice.write_page`."""
        assert self._slice is not None
        return await self._slice.write_page(pieces)

    async def take_back(self, rejects: Sequence[EarlierReject]) -> None:
        """As `OpenSlice.take_back`."""
        assert self._slice is not None
        await self._slice.take_back(rejects)

    async def commit(self, upto: bytes | None, final: bool, altered: Altered | None = None) -> Claim:
        """Write the checkpoint and commit.

        Args:
            upto: the last `_id` read, as `{"_id": value}` in BSON; None only when nothing was read.
            final: the partition was read to its end.
            altered: values that a policy changed in the slice's rows, by policy.

        Raises:
            ValueError: neither `upto` nor `final`: the slice would say nothing about where it ends.
            MigrationError: the server rolled the transaction back.
            Exception: a broken connection leaves it open whether the slice is committed.
        """
        assert self._slice is not None
        done, end = self._slice, SliceEnd(upto, final, altered or {})
        await write_checkpoints(self.connection, [(done, end)], has_checksum=self.has_checksum)
        self._slice = None
        await commit(self.connection, f"slice {done.key[2]} of partition {done.key[1]}")
        return done.claim(end)

    async def rollback(self) -> None:
        """Undo the slice in hand; does nothing when none is open, or when the connection is gone and the server did."""
        self._slice = None
        if not self.connection.is_closed() and self.connection.is_in_transaction():
            await self.connection.execute("ROLLBACK")


async def open_transaction(connection: asyncpg.Connection, lock_timeout_s: float) -> None:
    """Begin what a commit ends; its statements wait so long for locks."""
    await connection.execute(
        # Deferred constraints would fail the whole slice at COMMIT instead of one row now.
        f"BEGIN; SET LOCAL lock_timeout = {round(lock_timeout_s * 1000)}; SET CONSTRAINTS ALL IMMEDIATE"
    )


async def claim_slices(
    connection: asyncpg.Connection, run_id: str, worker: int, begins: Sequence[SliceBegin]
) -> dict[int, int]:
    """Claim slices in the open transaction, all or none, each of another partition: the tasks of these.

    Raises:
        SliceLost: the slice before one of them is not committed.
        MigrationError: the ledger has no such partition: the run was discarded.
        asyncpg.UniqueViolationError: one of them is committed already.
        asyncpg.PostgresError: 55P03 when another transaction holds one for too long, and any other.
    """
    # In one order for all: of two transactions that claim the same ones, one waits for the other, not each for the other.
    begins = sorted(begins, key=lambda each: (each.partition_id, each.slice_no))
    try:
        claimed = await connection.fetch(
            _claims_sql(len(begins)),
            run_id,
            worker,
            *(
                value
                for each in begins
                for value in (each.partition_id, each.slice_no, each.lower, each.lower_inclusive)
            ),
        )
    except asyncpg.ForeignKeyViolationError as error:
        named = ", ".join(str(each.partition_id) for each in begins)
        raise MigrationError(f"The ledger has no partition {named} of run {run_id}: the run was discarded.") from error
    if len(claimed) < len(begins):
        named = " or ".join(f"{each.slice_no - 1} of partition {each.partition_id}" for each in begins if each.slice_no)
        raise SliceLost(f"Slice {named} is not in the ledger.")
    return {row["partition_id"]: row["task_id"] for row in claimed}


async def write_checkpoints(
    connection: asyncpg.Connection, done: Sequence[tuple[OpenSlice, SliceEnd]], *, has_checksum: bool
) -> None:
    """Write the ends and the sums of slices that the open transaction has claimed.

    Raises:
        ValueError: one has neither `upto` nor `final`.
    """
    if any(end.upto is None and not end.final for _, end in done):
        raise ValueError("a slice that read nothing can only be its partition's last")
    values: list[object] = []
    for each, end in done:
        values += [
            each.key[1], each.key[2], end.upto, end.final, each.n_read, each.n_written, each.n_rejected, each.n_bytes,
            _signed(each.checksum) if has_checksum else None, stored_altered(end.altered),
        ]  # fmt: skip
    await connection.execute(_checkpoints_sql(len(done)), done[0][0].key[0], *values)


@cache
def _claims_sql(count: int) -> str:
    return (
        "INSERT INTO mongopg.slice"  # noqa: S608 - our own words
        " (run_id, partition_id, slice_no, lower, lower_inclusive, worker, backend_pid)"
        " SELECT $1::text, partition_id, slice_no, lower, lower_inclusive, $2, pg_backend_pid()"
        f" FROM ({_values(count, 3, 'integer', 'integer', 'bytea', 'boolean')})"
        " AS b (partition_id, slice_no, lower, lower_inclusive)"
        " WHERE slice_no = 0 OR EXISTS (SELECT FROM mongopg.slice s"
        " WHERE s.run_id = $1 AND s.partition_id = b.partition_id AND s.slice_no = b.slice_no - 1)"
        " RETURNING partition_id, (SELECT task_id FROM mongopg.partition p"
        " WHERE p.run_id = $1 AND p.partition_id = slice.partition_id) AS task_id"
    )


@cache
def _checkpoints_sql(count: int) -> str:
    types = ("integer", "integer", "bytea", "boolean", *["bigint"] * 5, "jsonb")
    return (
        "UPDATE mongopg.slice s SET upto = d.upto, final = d.final, n_read = d.n_read, n_written = d.n_written,"  # noqa: S608
        " n_rejected = d.n_rejected, bytes = d.bytes, checksum = d.checksum, altered = d.altered,"
        f" committed_at = clock_timestamp() FROM ({_values(count, 2, *types)})"
        " AS d (partition_id, slice_no, upto, final, n_read, n_written, n_rejected, bytes, checksum, altered)"
        " WHERE s.run_id = $1 AND s.partition_id = d.partition_id AND s.slice_no = d.slice_no"
    )


def _values(count: int, first: int, *types: str) -> str:
    """So many rows of parameters from number `first` on: for arrays the driver would read the catalogue in each session."""
    rows = (
        ", ".join(f"${first + row * len(types) + place}::{each}" for place, each in enumerate(types))
        for row in range(count)
    )
    return "VALUES " + ", ".join(f"({row})" for row in rows)


async def commit(connection: asyncpg.Connection, what: str) -> None:
    """COMMIT.

    Raises:
        MigrationError: the server rolled the transaction back.
        Exception: a broken connection leaves it open whether it is committed.
    """
    status = await connection.execute("COMMIT")
    if status != "COMMIT":  # PostgreSQL answers so, without an error, when a statement had failed before
        raise MigrationError(f"PostgreSQL rolled {what} back at its COMMIT.")


async def lookup_claim(connection: asyncpg.Connection, run_id: str, partition_id: int, slice_no: int) -> Claim | None:
    """The committed slice, or None: after a connection broke during COMMIT, present means done and absent means redo.

    The backend of the broken connection may still be at it; `SliceWriter.begin` of the same slice waits for its end.
    """
    row = await connection.fetchrow(
        "SELECT slice_no, upto, final, n_read, n_written, n_rejected, bytes AS n_bytes, altered FROM mongopg.slice"
        " WHERE run_id = $1 AND partition_id = $2 AND slice_no = $3",
        run_id, partition_id, slice_no,
    )  # fmt: skip
    return None if row is None else _claim(row)


async def claims_from(connection: asyncpg.Connection, run_id: str, partition_id: int, slice_no: int) -> list[Claim]:
    """The committed slices of a partition from a number on, in order."""
    rows = await connection.fetch(
        "SELECT slice_no, upto, final, n_read, n_written, n_rejected, bytes AS n_bytes, altered FROM mongopg.slice"
        " WHERE run_id = $1 AND partition_id = $2 AND slice_no >= $3 ORDER BY slice_no",
        run_id, partition_id, slice_no,
    )  # fmt: skip
    return [_claim(row) for row in rows]


def _claim(row: asyncpg.Record) -> Claim:
    return Claim(**dict(row.items()) | {"altered": read_altered(row["altered"])})


def _signed(checksum: int) -> int:
    """The sum mod 2**64 as PostgreSQL's bigint, two's complement."""
    unsigned = checksum % CHECKSUM_MODULUS
    return unsigned - CHECKSUM_MODULUS if unsigned >= CHECKSUM_MODULUS // 2 else unsigned
