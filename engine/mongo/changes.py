"""Which documents of a database change: a change stream of nothing but keys, read as raw batches.

The stream is one of the whole database, as that of a collection ends with a drop or a rename. It is read by `aggregate` and
`getMore` themselves: the driver gives raw batches of a collection's stream only. A stream that breaks is opened again behind
what was returned, with `startAfter`; before that the server must still be the one that it was, and not have gone back.
https://www.mongodb.com/docs/manual/reference/change-events/
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bson import Int64, Timestamp, decode
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo import ReadPreference
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure, PyMongoError

from engine.errors import MigrationError
from engine.mongo import causal
from engine.mongo.causal import Seen, SourceSet, number_of, timestamp_of
from engine.mongo.connect import Client
from engine.mongo.reader import COMMENT

AWAIT_MS = 200
"""How long the server waits for a change before it answers that there is none."""
HISTORY_LOST = frozenset({286, 280, 260})
"""The oplog does not reach back any more; the token is none of this stream's."""
TOO_LARGE = 10334
"""A change is larger than 16 MB."""
_KEYS_ONLY = {"operationType": 1, "documentKey": 1, "ns": 1, "to": 1, "clusterTime": 1}
_WRITES = ("insert", "update", "replace", "delete")
_CHANGE_TIME = 2
"""Where a token's cluster time begins, in digits: behind the byte that says what follows."""
_OF_DOCUMENT = re.compile(
    rb"....\x03_id\0.{4}\x02_data\0.{4}[0-9A-Fa-f]+\0\0\x02operationType\0.{4}(insert|update|replace|delete)\0"
    rb"\x11clusterTime\0(.{8})\x03ns\0.{4}\x02db\0.{4}[^\0]+\0\x02coll\0.{4}([^\0]+)\0\0\x03documentKey\0(.{4})",
    re.DOTALL,
)
"""An event of a document up to its key, as servers send it: a whole event is decoded only where they send another form."""
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(
    document_class=RawBSONDocument,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
    unicode_decode_error_handler="replace",
)


class HistoryLost(MigrationError):
    """Changes are missing: the stream cannot be opened where it was left."""


class Change(NamedTuple):
    """One event."""

    kind: str
    """`insert`, `update`, `replace`, `delete`; or of a collection: `drop`, `rename`, `dropDatabase`, `invalidate`."""
    collection: str
    """Empty for the whole database."""
    key: bytes
    """`{"_id": value}` as BSON; empty where it is not about a document."""
    at: int
    """Cluster time."""
    to: str = ""
    """Of a rename: the collection's new name, `database.collection`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came at once."""

    changes: list[Change]
    token: bytes
    """Where the stream goes on behind them, as BSON."""
    at: int
    """Everything before that time is known."""
    gossip: bytes
    """`$clusterTime`, as BSON."""


class ChangeStream:
    """The changes of some collections of a database, in order; for one thread at a time."""

    def __init__(
        self,
        client: Client,
        database: str,
        collections: Sequence[str],
        known: SourceSet,
        since: int,
        token: bytes | None,
        seen: Seen = lambda: 0,
    ) -> None:
        """Nothing is asked yet.

        Args:
            known: the replica set that it is about.
            since: a time that the stream includes, where there is no `token`; with one, the token's.
            token: begin behind it.
            seen: a time at which the majority had a write, as far as its oplog reaches back; 0 where none is known.
        """
        self._database = client[database]
        self._collections = list(collections)
        self._known = known
        self._since = since
        self._token = token
        self._seen = seen
        self._cursor = 0
        self._session: ClientSession | None = None

    def next(self) -> Answer:
        """What comes next, after `AWAIT_MS` maybe nothing; a stream that has failed is opened again. Blocks.

        Raises:
            HistoryLost: changes are missing.
            MigrationError: the source is another one, or went back.
            PyMongoError: the server is away; calling again may help.
        """
        try:
            reply = self._more() if self._cursor else self._opened()
        except BaseException as error:
            self._drop()
            if isinstance(error, OperationFailure) and error.code in HISTORY_LOST:
                raise HistoryLost(
                    "The source's oplog does not reach back to where its changes were read last "
                    f"(code {error.code}): what changed since cannot be known.",
                    code="history_lost",
                ) from error
            if isinstance(error, OperationFailure) and error.code == TOO_LARGE:
                raise MigrationError(
                    f"A change in database {self._database} is larger than the server can tell, as that of a document whose "
                    "_id has megabytes: it cannot be read, nor what comes behind it.",
                    code="event_too_large",
                ) from error
            raise
        cursor = reply["cursor"]
        self._cursor = int(cursor["id"])
        batch = cursor["nextBatch"] if "nextBatch" in cursor else cursor["firstBatch"]
        changes = [_change(event) for event in batch]
        token = cursor.get("postBatchResumeToken") or (batch[-1]["_id"] if batch else None)
        if token is not None:
            self._token = bytes(token.raw)
            self._since = time_of(self._token)
        if self._token is None:
            raise MigrationError(
                "The server does not tell where its stream of changes goes on.", code="no_resume_token"
            )
        return Answer(changes, self._token, self._since, bytes(reply["$clusterTime"].raw))

    def close(self) -> None:
        """Close the cursor on the server; safe to call twice."""
        if self._cursor:
            command = {"killCursors": "$cmd.aggregate", "cursors": [Int64(self._cursor)]}
            with contextlib.suppress(PyMongoError):
                self._database.command(command, session=self._session)
        self._drop()

    def _drop(self) -> None:
        self._cursor = 0
        if self._session is not None:
            self._session.end_session()
            self._session = None

    def _opened(self) -> Any:
        """Open the stream behind what was returned; a cursor that the server has closed behind an `invalidate`, too."""
        self._require_same_source()
        begin: dict[str, Any] = {"startAtOperationTime": timestamp_of(self._since)}
        if self._token is not None:
            begin = {"startAfter": decode(self._token)}
        wanted = {"$or": [{"ns.coll": {"$in": self._collections}}, {"operationType": {"$nin": list(_WRITES)}}]}
        command = {
            "aggregate": 1,
            "pipeline": [{"$changeStream": begin}, {"$match": wanted}, {"$project": _KEYS_ONLY}],
            "cursor": {"batchSize": 0},
            "comment": COMMENT,
        }
        self._session = self._database.client.start_session()
        return self._asked(command)

    def _more(self) -> Any:
        return self._asked({"getMore": Int64(self._cursor), "collection": "$cmd.aggregate", "maxTimeMS": AWAIT_MS})

    def _asked(self, command: dict[str, Any]) -> Any:
        return self._database.command(
            command, session=self._session, read_preference=ReadPreference.PRIMARY, codec_options=_RAW
        )

    def _require_same_source(self) -> None:
        client = self._database.client
        now, found = causal.clock_of(client), causal.set_of(client)
        if not self._known.is_same(found):
            raise MigrationError(
                f"source.uri leads to another replica set ({found.name}) than the one that is followed "
                f"({self._known.name}): nothing of it is applied.",
                code="source_changed",
            )
        if now.at < max(self._since, seen := self._seen()) or causal.is_lost(client, seen):
            raise MigrationError(
                "The source went back to an earlier time, as when it is restored from a backup: it cannot be followed on.",
                code="source_went_back",
            )


def time_of(token: bytes) -> int:
    """The cluster time in a resume token."""
    data = str(decode(token)["_data"])
    return int(data[_CHANGE_TIME : _CHANGE_TIME + 16], 16)


def _change(event: RawBSONDocument) -> Change:
    return of_document(bytes(event.raw)) or decoded(event)


def of_document(event: bytes) -> Change | None:
    """The change of a document; None where the event is in another form than usual, or of another kind.

    Hundreds of thousands wait for a follower that was away: to decode one takes ten times as long.
    """
    found = _OF_DOCUMENT.match(event)
    if found is None:
        return None
    kind, at, collection, length = found.groups()
    key = event[found.end() - 4 : -1]
    if len(key) != int.from_bytes(length, "little"):
        return None  # something stands behind it
    # A timestamp is the counter, then the seconds.
    return Change(kind.decode(), collection.decode(errors="replace"), key, int.from_bytes(at, "little"))


def decoded(event: RawBSONDocument) -> Change:
    """The change that an event of any form and kind tells of."""
    at: Timestamp = event["clusterTime"]
    place = event.get("ns") or {}
    key = event.get("documentKey")
    to = event.get("to") or {}
    return Change(
        kind=str(event["operationType"]),
        collection=str(place.get("coll", "")),
        key=bytes(key.raw) if key is not None else b"",
        at=number_of(at),
        to=f"{to['db']}.{to['coll']}" if to else "",
    )
