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
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import asyncpg

from engine.errors import MigrationError
from engine.ledger.altered import Altered, read_altered, stored_altered
from engine.ledger.partitions import CHECKSUM_MODULUS
from engine.ledger.rejects import Identify, Rejected, extended_id, insert_rejects
from engine.postgres.page import CopyTarget, Page
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


@dataclass(slots=True)
class _OpenSlice:
    """Sums of the slice in hand."""

    key: tuple[str, int, int]
    """Run, partition, slice number."""
    n_read: int = 0
    n_written: int = 0
    n_rejected: int = 0
    n_bytes: int = 0
    checksum: int = 0


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
    _slice: _OpenSlice | None = field(default=None, init=False)
    _sender: RowSender = field(init=False)

    def __post_init__(self) -> None:
        self._sender = RowSender(self.connection, self.target, self.caution)

    async def begin(self, partition_id: int, slice_no: int, lower: bytes | None, lower_inclusive: bool) -> None:
        """Open the transaction and claim the slice, which begins at (or behind) `lower`.

        Waits up to `LOCK_TIMEOUT_S` while another transaction holds the same claim.

        Raises:
            SliceTaken: it is committed already; no transaction is open then.
            SliceLost: the one before it is not committed; no transaction is open then.
            MigrationError: the ledger has no such partition: the run was discarded.
            asyncpg.PostgresError: 55P03 when the other transaction is still open after the wait, and any other.
        """
        await self.connection.execute(
            # Deferred constraints would fail the whole slice at COMMIT instead of one row now.
            f"BEGIN; SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'; SET CONSTRAINTS ALL IMMEDIATE"
        )
        try:
            claimed = await self.connection.execute(
                "INSERT INTO mongopg.slice"
                " (run_id, partition_id, slice_no, lower, lower_inclusive, worker, backend_pid)"
                " SELECT $1::text, $2::integer, $3::integer, $4::bytea, $5, $6, pg_backend_pid()"
                " WHERE $3 = 0 OR EXISTS (SELECT FROM mongopg.slice"
                " WHERE run_id = $1 AND partition_id = $2 AND slice_no = $3 - 1)",
                self.run_id, partition_id, slice_no, lower, lower_inclusive, self.worker,
            )  # fmt: skip
        except asyncpg.UniqueViolationError:
            await self.rollback()
            claim = await lookup_claim(self.connection, self.run_id, partition_id, slice_no)
            if claim is None:
                raise
            raise SliceTaken(claim) from None
        except asyncpg.ForeignKeyViolationError as error:
            await self.rollback()
            raise MigrationError(
                f"The ledger has no partition {partition_id} of run {self.run_id}: the run was discarded."
            ) from error
        if claimed == "INSERT 0 0":
            await self.rollback()
            raise SliceLost(f"Slice {slice_no - 1} of partition {partition_id} is not in the ledger.")
        await self._sender.prepare()
        self._slice = _OpenSlice((self.run_id, partition_id, slice_no))

    async def write_page(self, pieces: AsyncIterator[Piece]) -> PageResult:
        """COPY a page while it comes, and keep what cannot be written as rejects, all within the open transaction.

        The first piece with rows starts the COPY. Memory is bounded by the page: its pieces are kept until the server
        has taken them, since a row that it refuses makes the others go again.

        Raises:
            asyncpg.PostgresError: an error that is not one row's fault.
            Exception: what `pieces` raises.
        """
        assert self._slice is not None
        page = Page()
        n_written, refusals = await self._sender.send(page, pieces)
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
                self.connection, self._slice.key, self._slice.n_rejected, self.target.namespace, rejects, self.identify
            )
        result = PageResult(
            n_read=sum(piece.rows.n_read for piece in page.pieces),
            n_written=n_written,
            n_rejected=len(rejects),
            n_bytes=sum(piece.rows.end - piece.begin for piece in page.pieces),
            reasons=dict(Counter(reject.reason for reject in rejects)),
            refused=tuple(reject.raw for reject in rejects[len(rejects) - len(refusals) :]),
        )
        self._slice.n_read += result.n_read
        self._slice.n_written += result.n_written
        self._slice.n_rejected += result.n_rejected
        self._slice.n_bytes += result.n_bytes
        self._slice.checksum += sum(piece.rows.checksum for piece in page.pieces)
        return result

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
        if upto is None and not final:
            raise ValueError("a slice that read nothing can only be its partition's last")
        assert self._slice is not None
        done = self._slice
        await self.connection.execute(
            "UPDATE mongopg.slice SET upto = $4, final = $5, n_read = $6, n_written = $7, n_rejected = $8, bytes = $9,"
            " checksum = $10, altered = $11, committed_at = clock_timestamp()"
            " WHERE run_id = $1 AND partition_id = $2 AND slice_no = $3",
            *done.key, upto, final, done.n_read, done.n_written, done.n_rejected, done.n_bytes,
            _signed(done.checksum) if self.has_checksum else None, stored_altered(altered or {}),
        )  # fmt: skip
        status = await self.connection.execute("COMMIT")
        self._slice = None
        if status != "COMMIT":  # PostgreSQL answers so, without an error, when a statement had failed before
            raise MigrationError(
                f"PostgreSQL rolled slice {done.key[2]} of partition {done.key[1]} back at its COMMIT."
            )
        return Claim(
            slice_no=done.key[2],
            upto=upto,
            final=final,
            n_read=done.n_read,
            n_written=done.n_written,
            n_rejected=done.n_rejected,
            n_bytes=done.n_bytes,
            altered=dict(altered or {}),
        )

    async def rollback(self) -> None:
        """Undo the slice in hand; does nothing when none is open, or when the connection is gone and the server did."""
        self._slice = None
        if not self.connection.is_closed() and self.connection.is_in_transaction():
            await self.connection.execute("ROLLBACK")


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
