"""Reads that are not older than a time: how the copy of a source that can be followed reads it.

What a run copies of a document must be at least as new as the time from which on its changes are known, and must stay: it is
read in a causal session, with read concern `majority` and `afterClusterTime`. A lagging secondary waits until it is as far.

A time travels as a number: seconds since 1970 in the upper 32 bits, the server's counter within the second in the lower ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pymongo
from bson import Timestamp, decode, encode
from pymongo import ReadPreference
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import NotPrimaryError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from engine.mongo.collections import collection_of
from engine.mongo.connect import Client, Document

MAJORITY_S = 10.0
"""How far the majority may be behind the primary."""
_ASKED_S = 10.0
"""A question that takes a right which the user may not have, or more of a server than it has time for, is given up then."""
_POLL_S = 0.01
Seen = Callable[[], int]
"""A time at which the majority of the source had a write; 0 where none is known."""


@dataclass(frozen=True, slots=True)
class CausalTime:
    """A time that reads are not to be older than."""

    at: int
    gossip: bytes
    """`$clusterTime` of an answer that is as new, as BSON: a member that has not heard of the time yet believes it."""


@dataclass(frozen=True, slots=True)
class SourceSet:
    """Which replica set a source is."""

    name: str = ""
    id: str = ""
    """Given to it once, when it was made; empty where the user may not see it."""
    primary: str = ""
    """The member that was asked, `host:port`."""

    def is_same(self, other: SourceSet) -> bool:
        """Nothing says that they are two: members come and go, and the id may not be seen each time."""
        return self.name == other.name and (not self.id or not other.id or self.id == other.id)


@dataclass(frozen=True, slots=True)
class Beginning:
    """From when on a source can be followed, or why it cannot."""

    after: CausalTime | None = None
    oplog_from: int | None = None
    """The oldest time in the oplog; None where the user may not see it."""
    source_set: SourceSet = field(default_factory=SourceSet)
    cannot_follow: str = ""
    """Why not, as "It cannot be followed: ..." goes on."""


def timestamp_of(at: int) -> Timestamp:
    """The time as BSON has it."""
    return Timestamp(at >> 32, at & 0xFFFFFFFF)


def number_of(at: Timestamp) -> int:
    """BSON's time as a number."""
    return int(at.time) << 32 | int(at.inc)


def session_after(client: Client, after: CausalTime) -> ClientSession:
    """A session whose reads with read concern `majority` are not older than that; for one thread, ended by its caller."""
    session = client.start_session(causal_consistency=True)
    session.advance_cluster_time(decode(after.gossip))
    session.advance_operation_time(timestamp_of(after.at))
    return session


def majority(collection: Collection[Document]) -> Collection[Document]:
    """The same collection, of which only what stays is read."""
    return collection.with_options(read_concern=ReadConcern("majority"))


@dataclass(frozen=True, slots=True)
class SourceClock:
    """The primary, now."""

    at: int
    """Its last write."""
    stays: int
    """The last write that the majority has."""
    term: int
    """Of its election; another primary has another one."""


def clock_of(client: Client) -> SourceClock:
    """What the primary says of itself. Blocks.

    Raises:
        PyMongoError: it is away, or is no primary of a replica set any more.
    """
    hello = _hello(client)
    at, stays = _written(hello, "opTime"), _written(hello, "majorityOpTime")
    if at is None or stays is None or not hello.get("isWritablePrimary"):
        raise NotPrimaryError("not a primary")
    return SourceClock(at, stays, int(hello["lastWrite"]["opTime"].get("t", 0)))


def set_of(client: Client) -> SourceSet:
    """The replica set that is connected. Blocks."""
    hello = _hello(client)
    return SourceSet(str(hello.get("setName", "")), _set_id(client), str(hello.get("me", "")))


def gossip_of(client: Client) -> bytes:
    """`$clusterTime` of the primary, as BSON. Blocks."""
    return encode(_hello(client)["$clusterTime"])


def begin(client: Client, names: Sequence[tuple[str, str]]) -> Beginning:
    """Take the time from which on changes have to be known of what is read from here on. Blocks.

    Everything that was written before is seen by reads that are not older.

    Args:
        names: the collections that will be read, each database and name.

    Raises:
        PyMongoError: the server is away.
    """
    hello = _hello(client)
    if hello.get("msg") == "isdbgrid":
        return Beginning(cannot_follow="the source is a sharded cluster")
    if "setName" not in hello:
        return Beginning(cannot_follow="the source is no replica set, and only these keep their changes in an oplog")
    found = SourceSet(str(hello["setName"]), _set_id(client), str(hello.get("me", "")))
    if not hello.get("isWritablePrimary"):
        return Beginning(source_set=found, cannot_follow="source.uri leads to a member that is no primary")
    wanted = _written(hello, "opTime")
    deadline = time.monotonic() + MAJORITY_S
    while wanted is not None and (stays := _written(hello, "majorityOpTime")) is not None and stays < wanted:
        if time.monotonic() > deadline:
            why = f"the majority of the replica set is more than {MAJORITY_S:.0f} s behind its primary"
            return Beginning(source_set=found, cannot_follow=why)
        time.sleep(_POLL_S)
        hello = _hello(client)
    if wanted is None or _written(hello, "majorityOpTime") is None or "$clusterTime" not in hello:
        return Beginning(source_set=found, cannot_follow="its server does not tell the time of its last write")
    after = CausalTime(wanted, encode(hello["$clusterTime"]))
    if refused := _refused(client, after, names):
        return Beginning(source_set=found, cannot_follow=refused)
    return Beginning(after, oplog_begin(client), found)


def go_on(client: Client, since: int, known: SourceSet) -> Beginning:
    """The same for a run that is resumed: its reads are to be not older than its beginning. Blocks.

    Args:
        since: when it began.
        known: the replica set that it began with.

    Raises:
        PyMongoError: the server is away.
    """
    now = begin(client, [])
    if now.after is None:
        return now
    if not known.is_same(now.source_set):
        return replace(now, after=None, cannot_follow="it was resumed with another replica set")
    if now.after.at < since:
        return replace(now, after=None, cannot_follow="its source went back to a time before the run began")
    return replace(now, after=CausalTime(since, now.after.gossip))


def oplog_begin(client: Client) -> int | None:
    """The oldest time in the oplog; None where the user may see neither the oplog nor what the server says of it."""
    with pymongo.timeout(_ASKED_S):
        try:
            oplog = client.get_database("local", read_preference=ReadPreference.PRIMARY)["oplog.rs"]
            first = oplog.find_one({}, {"ts": 1}, sort=[("$natural", 1)])
            if first is not None:
                return number_of(first["ts"])
        except PyMongoError:
            pass  # it takes the right to read database `local`
        try:
            status: Document = client.admin.command(
                {"serverStatus": 1, "oplog": 1}, read_preference=ReadPreference.PRIMARY
            )
            return number_of(status["oplog"]["earliestOptime"])
        except (PyMongoError, KeyError, AttributeError):
            return None


def is_lost(client: Client, at: int) -> bool:
    """The oplog reaches back to a write that the majority had, and does not have it: the source was restored. Blocks.

    Args:
        at: the time of that write; 0 is none.
    """
    if not at:
        return False
    with pymongo.timeout(_ASKED_S):
        try:
            oplog = client.get_database("local", read_preference=ReadPreference.PRIMARY)["oplog.rs"]
            first = oplog.find_one({}, {"ts": 1}, sort=[("$natural", 1)])
            if first is None or number_of(first["ts"]) > at:
                return False
            found = oplog.find_one({"ts": {"$gte": timestamp_of(at)}}, {"ts": 1}, sort=[("$natural", 1)])
            return found is None or number_of(found["ts"]) != at
        except PyMongoError:
            return False  # it takes the right to read database `local`


def _hello(client: Client) -> Document:
    return client.admin.command("hello", read_preference=ReadPreference.PRIMARY)


def _written(hello: Document, which: str) -> int | None:
    """The primary's last write, or the last one that stays."""
    at = hello.get("lastWrite", {}).get(which)
    at = at.get("ts") if isinstance(at, dict) else at
    return number_of(at) if isinstance(at, Timestamp) else None


def _set_id(client: Client) -> str:
    try:
        with pymongo.timeout(_ASKED_S):
            reply: Any = client.admin.command("replSetGetConfig", read_preference=ReadPreference.PRIMARY)
        return str(reply["config"]["settings"]["replicaSetId"])
    except (PyMongoError, KeyError):
        return ""  # it takes a right of cluster monitors


def _refused(client: Client, after: CausalTime, names: Sequence[tuple[str, str]]) -> str:
    """Why the server does not read so; empty where it does."""
    for database, name in names[:1]:
        collection = majority(collection_of(client, database, name))
        try:
            with session_after(client, after) as session:
                collection.find_one({}, {"_id": 1}, session=session, max_time_ms=round(MAJORITY_S * 1000))
        except OperationFailure as error:
            return f"its server refuses reads of what the majority has (code {error.code})"
    return ""
