"""Reading a collection in the order in which it lies on disk, from one record to another.

Reading by `_id` fetches each document from wherever it lies: where ids are in no order, a page is read and decompressed for
each. In natural order each page is read once. It takes what is not documented, but what the server's own initial sync uses:
`find` with `hint: {$natural: 1}`, `$_requestResumeToken` and `$_resumeAfter: {$recordId: n}` begins behind record n, wherever
that is.

Record ids are local to one member of a replica set, as long as it is not synchronised anew: a reader is pinned to the member,
and looks whether the numbering is still the one that its bounds are of. Updates never change a document's record id, and new
documents get higher ones than all that are there. One that is deleted and inserted again has another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from engine.errors import MigrationError
from engine.mapping.bson import documents
from engine.mongo.bounds import key_of, record_of
from engine.mongo.by_key import among
from engine.mongo.causal import CausalTime, majority, session_after
from engine.mongo.connect import Document
from engine.mongo.rawcursor import LeanCursor, natural_cursor, raw_cursor
from engine.mongo.reader import BATCH_BYTES, BY_ID, COMMENT, BatchReader, BatchSize, RawBatch
from engine.mongo.snapshot import session_at

NUMBERING_LOST = "numbering_lost"
"""Code of the error that record bounds mean nothing on this member any more."""
BELOW_ALL, ABOVE_ALL = -(2**63), 2**63 - 1
"""Of record ids."""
LOOKED_UP_AT_ONCE = 1_000
_KEY_NOT_FOUND = 211
"""The record behind which reading was to begin is gone."""


@dataclass(frozen=True, slots=True)
class Numbering:
    """Whose record ids the bounds of a collection are."""

    member: str
    """The member of the replica set, as `host:port`; empty for the one server that the URI leads to."""
    file: str
    """The file behind the collection. Another file is another numbering; the same file need not be the same one."""
    top: bytes | None = None
    """Bound of the highest record when reading began; what lies behind it came later. None where nothing later is read."""


class NumberingLost(MigrationError):
    """The member numbers the documents in another way by now, such as after an initial sync."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The records of the collection are numbered in another way by now: {why}.", code=NUMBERING_LOST
        )


class NaturalReader(BatchReader):
    """Reads the records behind one bound, up to and including another.

    Documents come as they are stored. (With `showRecordId` the server would tell where each of them lies, but it overwrites a
    field `$recordId` that a document may have itself.) Where they lie is told for the last one of each batch, and asked for by
    `_id` for others.

    Any exception of pymongo may come out of `next_batch`, and `NumberingLost`.
    """

    def __init__(
        self,
        collection: Collection[Document],
        lower: bytes | None,
        upper: bytes | None,
        *,
        check: Callable[[], None] | None = None,
        older: Sequence[bytes | None] | None = None,
        batch_size: BatchSize | None = None,
        projection: Document | None = None,
        at: int | None = None,
        after: CausalTime | None = None,
    ) -> None:
        """A reader that has not yet sent anything.

        Args:
            collection: of a client that is pinned to the member.
            lower: record bound behind which the range begins; None is the beginning of the collection.
            upper: record bound that is the last one of the range; None is the end of the collection.
            check: raises `NumberingLost` when bounds are of another numbering; called once the cursor is open, which stays with
                the process of the server that has opened it.
            older: bounds below `lower`, the highest first, or None for the collection's beginning: reading begins at the first
                that is there where `lower` is gone. Without them `is_record_gone` tells of the failure then.
            batch_size: how many documents are asked for, to begin with and at most; what is learned is kept in it.
            projection: the fields to read, `_id` among them; all without one.
            at: read as it was at that time (`engine.mongo.snapshot`); without one, as it is.
            after: read what stays, and not as it was before that; without one, as the URI says.
        """
        super().__init__()
        self._collection = collection if after is None else majority(collection)
        self._after = BELOW_ALL if lower is None else record_of(lower)
        """Documents up to this record are not wanted any more."""
        self._upto = ABOVE_ALL if upper is None else record_of(upper)
        self._begins: list[bytes | None] = [lower, *(older or ())]
        self._at_record = self._after
        """Where the cursor is."""
        self._last_two = (self._after, self._after)
        """Records between which the documents of the last batches lie."""
        self._check = check
        self._batch_size = batch_size or BatchSize()
        self._projection = projection
        self._at = at
        self._after_time = after
        self._cursor: LeanCursor | None = None
        self._is_over = self._after >= self._upto

    def bound(self, key: bytes, last_record: int) -> bytes | None:
        """The record bound of a document; None when it is not there any more. Blocks.

        Args:
            key: of a document of one of the last two batches.
            last_record: that of its batch.
        """
        with self._own_session() as session:
            found = look_up(self._collection, [key], session)
        # One that was deleted and inserted again lies elsewhere now: reading on from there would pass over others.
        return found[0] if found and self._last_two[0] < record_of(found[0]) <= last_record else None

    # --- batches ------------------------------------------------------------------------------------------------------

    def _next_batch(self) -> RawBatch | None:
        while not self._is_over:
            began = time.monotonic()
            if self._cursor is None:
                data = self._open()
            else:
                self._cursor.resize(self._room())
                data = next(self._cursor, None)
            cursor = self._cursor
            assert cursor is not None
            if data is None:
                break
            if not data:
                continue
            if cursor.last_record is None or cursor.last_record <= self._at_record:
                raise MigrationError(
                    "MongoDB does not tell where the documents lie that it has sent: set run.order to id.",
                    code="no_resume_token",
                )
            asked_for, before = cursor.asks_for, self._at_record
            self._at_record = cursor.last_record
            if (
                len(data) <= BATCH_BYTES and before >= self._after
            ):  # it has sent as many as were asked for, or its last ones
                self._batch_size.learn(asked_for, len(data), time.monotonic() - began)
            batch = self._within(data, before)
            if batch is not None:
                return batch
        self._is_over = True
        self.close()
        return None

    def _within(self, data: bytes, before: int) -> RawBatch | None:
        """What of a batch lies in the range; None when nothing does.

        Args:
            before: its documents lie behind this record.
        """
        last = self._at_record
        if last <= self._after:
            return None
        if before >= self._after and last <= self._upto:
            self._last_two = self._last_two[1], self._after
            self._after = last
            self._is_over = last == self._upto
            return RawBatch(data, 0, last)
        # It reaches beyond an end: of documents that are not there any more it does not matter on which side they lay.
        with self._own_session() as session:
            bounds = {key_of(bound): record_of(bound) for bound in look_up(self._collection, _keys(data), session)}
        self._is_over = self._is_over or last > self._upto
        wanted: list[bytes] = []
        at = self._after
        for document in documents(data):
            record = bounds.get(key_of(document), ABOVE_ALL)
            if self._after < record <= min(last, self._upto):
                wanted.append(document)
                at = record
        self._last_two = self._last_two[1], self._after
        self._after = at
        return RawBatch(b"".join(wanted), 0, at) if wanted else None

    def _room(self) -> int:
        """Documents to ask for: record ids are whole numbers, so not more than fit between here and the end of the range."""
        end = self._after if self._at_record < self._after else self._upto
        return max(1, min(self._batch_size.documents, end - max(self._at_record, 0)))

    def _open(self) -> bytes | None:
        """The first batch of a new cursor; None when there is nothing."""
        while True:
            try:
                data = self._opened(self._begins[0])
            except OperationFailure as error:
                if not is_record_gone(error) or len(self._begins) == 1:
                    raise
                self.close()
                self._begins.pop(0)
                continue
            if self._check is not None:
                self._check()
            return data

    def _opened(self, begin: bytes | None) -> bytes | None:
        if self._at is not None:
            self._session = session_at(self._collection.database.client, self._at)
        elif self._after_time is not None:
            self._session = session_after(self._collection.database.client, self._after_time)
        self._at_record = BELOW_ALL if begin is None else record_of(begin)
        self._cursor = natural_cursor(
            self._collection,
            None if begin is None else self._at_record,
            self._projection,
            batch_size=self._room(),
            comment=COMMENT,
            session=self._session,
        )
        return next(self._cursor, None)

    def _own_session(self) -> AbstractContextManager[ClientSession | None]:
        """For a question beside the cursor, at the same time as it."""
        return nullcontext() if self._at is None else session_at(self._collection.database.client, self._at)


def is_record_gone(error: BaseException) -> bool:
    """The record behind which reading was to begin is not there any more."""
    return isinstance(error, OperationFailure) and error.code == _KEY_NOT_FOUND


# --- looking at records -----------------------------------------------------------------------------------------------


def look_up(
    collection: Collection[Document], keys: Sequence[bytes], session: ClientSession | None = None
) -> list[bytes]:
    """The record bounds of these keys, in the order of their records; a key whose document is gone has none."""
    found: list[bytes] = []
    for first in range(0, len(keys), LOOKED_UP_AT_ONCE):
        some = keys[first : first + LOOKED_UP_AT_ONCE]
        cursor = raw_cursor(
            collection,
            among(some),
            {"_id": 1},
            hint=[("_id", 1)],
            show_record_id=True,
            comment=COMMENT,
            session=session,
        )
        for batch in cursor:
            found += documents(batch)
    return sorted(found, key=record_of)


def first_in_place(collection: Collection[Document], bounds: Iterable[bytes | None]) -> bytes | None:
    """The first of some bounds whose document is where it was; None, the beginning of the collection, is always there."""
    for bound in bounds:
        if bound is None or look_up(collection, [key_of(bound)]) == [bound]:
            return bound
    return None


def in_order_of_ids(
    collection: Collection[Document], keys: Sequence[bytes], session: ClientSession | None = None
) -> list[bytes]:
    """Some keys, those whose documents are there, as MongoDB sorts them."""
    cursor = raw_cursor(collection, among(keys), {"_id": 1}, hint=BY_ID, sort=BY_ID, comment=COMMENT, session=session)
    return [document for batch in cursor for document in documents(batch)]


def highest(collection: Collection[Document], session: ClientSession | None = None) -> bytes | None:
    """The bound of the highest record; None in an empty collection."""
    return _first_bound(collection, -1, session)


def lowest(collection: Collection[Document], session: ClientSession | None = None) -> bytes | None:
    """The bound of the lowest record; None in an empty collection."""
    return _first_bound(collection, 1, session)


def _first_bound(collection: Collection[Document], direction: int, session: ClientSession | None) -> bytes | None:
    cursor = raw_cursor(
        collection,
        {},
        {"_id": 1},
        hint=[("$natural", direction)],
        show_record_id=True,
        limit=1,
        comment=COMMENT,
        session=session,
    )
    return next((next(documents(batch)) for batch in cursor if batch), None)


def bound_behind(collection: Collection[Document], record: int, session: ClientSession | None = None) -> bytes | None:
    """The bound of the document that lies next behind a record; None where no document has that id, or it is the last."""
    cursor = natural_cursor(
        collection, record, {"_id": 1}, show_record_id=True, limit=1, comment=COMMENT, session=session
    )
    try:
        return next((next(documents(batch)) for batch in cursor if batch), None)
    except OperationFailure as error:
        if is_record_gone(error):
            return None
        raise


def file_of(collection: Collection[Document]) -> str:
    """The file behind a collection on the member that is asked; empty where the server tells of none."""
    with collection.aggregate([{"$collStats": {"storageStats": {}}}], comment=COMMENT) as cursor:
        found = [stats.get("storageStats", {}).get("wiredTiger", {}).get("uri", "") for stats in cursor]
    return str(found[0]) if len(found) == 1 else ""


def require_numbering(
    collection: Collection[Document], numbering: Numbering, bounds: Iterable[bytes], *, looks_at_file: bool = True
) -> None:
    """Make sure that record bounds are of the numbering that this member has.

    Args:
        collection: of a client that is pinned to the member.
        bounds: some of them. One whose document is gone, or was inserted again since, proves nothing; the next one may.

        looks_at_file: False where it is known that the file is the same; asking for it takes some time.

    Raises:
        NumberingLost: they are of another.
    """
    file = file_of(collection) if looks_at_file else numbering.file
    if file != numbering.file:
        raise NumberingLost(f"its file is {file or 'unknown'}, not {numbering.file}")
    top = BELOW_ALL if numbering.top is None else record_of(numbering.top)
    for bound in bounds:
        found = look_up(collection, [key_of(bound)])
        if not found or record_of(found[0]) > max(top, record_of(bound)):
            continue
        if record_of(found[0]) != record_of(bound):
            raise NumberingLost("a document of known record id has another one")
        return


def _keys(batch: bytes) -> list[bytes]:
    return [key_of(document) for document in documents(batch)]
