"""One point in the cluster's time at which any number of processes read: taken here, and read at here.

Read concern `snapshot` with `atClusterTime`, outside transactions: MongoDB 5.0 and newer, replica sets and sharded clusters.
The server keeps old states for `minSnapshotHistoryWindowInSeconds`, 300 by default; a read behind that fails, also a `getMore`.
https://www.mongodb.com/docs/manual/reference/read-concern-snapshot/

A time travels as a number: seconds since 1970 in the upper 32 bits, the server's counter within the second in the lower ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from bson import Timestamp
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure

from engine.errors import UsageError
from engine.mongo import catalogue
from engine.mongo.collections import collection_of
from engine.mongo.connect import Client
from engine.mongo.faults import explained

SNAPSHOT_TOO_OLD, SNAPSHOT_UNAVAILABLE = 239, 246
LOST = frozenset({str(SNAPSHOT_TOO_OLD), str(SNAPSHOT_UNAVAILABLE)})
"""Codes of a read at a time that the server does not have (any more)."""
MIN_VERSION = (5, 0)
CAPPED_VERSION = (8, 0)
"""Before it, the server refuses capped collections at a time."""
SETTLE_S = 5.0
"""A collection that was made a moment ago is there at a time that is taken a little later."""
_WAIT_S = 0.1


def seconds_of(at: int) -> float:
    """The time in seconds since 1970."""
    return float(at >> 32)


def in_words(at: int) -> str:
    """The time as text."""
    return f"{datetime.fromtimestamp(seconds_of(at), UTC):%Y-%m-%d %H:%M:%S} UTC"


def session_at(client: Client, at: int) -> ClientSession:
    """A session whose reads are all at that time; for one thread at a time, ended by its caller.

    PyMongo 4.20 can start a snapshot session but not say which time it is of: it takes the one of its first answer. The
    specification of drivers has `snapshotTime` for it since 2025, which this version lacks.
    """
    session = client.start_session(snapshot=True)
    session._snapshot_time = Timestamp(at >> 32, at & 0xFFFFFFFF)  # type: ignore[assignment]  # it is None only at first
    return session


@explained()
def check(client: Client, names: Sequence[tuple[str, str]]) -> None:
    """Make sure that these collections, each database and name, can be read at one time at all.

    Raises:
        UsageError: they cannot; the message says why.
    """
    version = tuple(client.server_info()["versionArray"][:2])
    hello = client.admin.command("hello", read_preference=client.read_preference)
    if version < MIN_VERSION:
        raise _refused(f"the server is MongoDB {version[0]}.{version[1]}, and 5.0 or newer is needed")
    if "setName" not in hello and hello.get("msg") != "isdbgrid" and "serviceId" not in hello:
        raise _refused("the server is a standalone one, and only replica sets and sharded clusters keep old states")
    for database, collection in names:
        if version < CAPPED_VERSION and catalogue.collection_facts(client, database, collection).kind == "capped":
            raise _refused(f"{database}.{collection} is a capped collection, which MongoDB 8.0 is the first to read so")


@explained()
def take(client: Client, names: Sequence[tuple[str, str]]) -> int:
    """The newest time at which all of these collections can be read, committed by the majority.

    Raises:
        MigrationError: the server refuses to read them so.
    """
    deadline = time.monotonic() + SETTLE_S
    while True:
        try:
            return _take(client, names)
        except OperationFailure as error:
            if str(error.code) not in LOST or time.monotonic() > deadline:
                raise
        time.sleep(_WAIT_S)


def _take(client: Client, names: Sequence[tuple[str, str]]) -> int:
    database, collection = names[0]
    reply = client[database].command(
        {
            "find": collection,
            "limit": 1,
            "projection": {"_id": 1},
            "readConcern": {"level": "snapshot"},
            "allowDiskUse": True,
        },
        read_preference=client.read_preference,
    )
    found = reply["cursor"]["atClusterTime"]
    at = found.time << 32 | found.inc
    _look(client, at, names)
    return int(at)


@explained()
def probe(client: Client, at: int, names: Sequence[tuple[str, str]]) -> None:
    """Read a little of each collection at that time; raises MigrationError with a code of `LOST` when the server cannot."""
    _look(client, at, names)


def _look(client: Client, at: int, names: Sequence[tuple[str, str]]) -> None:
    with session_at(client, at) as session:
        for database, collection in names:
            found = collection_of(client, database, collection)
            found.find_one({}, {"_id": 1}, session=session, allow_disk_use=True)


def window_s(client: Client) -> int | None:
    """For how long the server keeps old states, seconds; None when the user may not ask."""
    try:
        reply = client.admin.command({"getParameter": 1, "minSnapshotHistoryWindowInSeconds": 1})
    except OperationFailure:
        return None  # the right to ask is an administrator's, or the server in front is a router
    return int(reply["minSnapshotHistoryWindowInSeconds"])


def _refused(why: str) -> UsageError:
    return UsageError(
        f'run.consistency = "snapshot" is not possible: {why}. Set it to "fuzzy", or quiet the source.', code="snapshot"
    )
