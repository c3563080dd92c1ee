"""The collections of a database: what kind they are, how large, and of which kinds their `_id`s are."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bson import Binary
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from engine.errors import MissingCollection
from engine.mongo.collections import collection_of
from engine.mongo.connect import Client, Document
from engine.mongo.faults import UNAUTHORIZED, explained

UNKNOWN = -1
"""A count that cannot be known cheaply."""
_THREADS = 8
_NOT_SUPPORTED_ON_VIEW = 166
_NEEDS_DISK = 292
"""QueryExceededMemoryLimitNoDiskUseAllowed: a view sorts or groups more than the server has memory for."""
_UNSHARDED = frozenset({"Single", "ReplicaSetWithPrimary", "ReplicaSetNoPrimary"})
"""Topologies, as the driver calls them, whose servers have each document once, unless they are routers."""


@dataclass(frozen=True, slots=True)
class CollectionFacts:
    """One collection of the source."""

    namespace: str
    """`db.collection`."""
    kind: str
    """"collection", "view", "timeseries", "capped", "clustered"."""
    documents: int
    """Estimated; `UNKNOWN` when it cannot be known cheaply."""
    size_bytes: int
    """Of the documents, uncompressed; 0 when not known."""
    uuid: UUID | None
    """None for views, and where the user may not see it."""
    has_range_reads: bool
    """The collection has an index of `_id` that `min` and `max` work on: false for views, time-series and the like."""

    @property
    def average_bytes(self) -> int:
        """Size of a document, at least 1; 1,024 when nothing is known."""
        return max(1, self.size_bytes // self.documents) if self.documents > 0 and self.size_bytes > 0 else 1_024


_OWN_DATABASES = frozenset(["admin", "config", "local"])
"""The server's."""


@explained()
def list_databases(client: Client) -> dict[str, int]:
    """The databases that the user may see, without the server's own: name -> size on disk in bytes; 0 is not known.

    The functions of this module raise `ConnectError` or `MigrationError` when the server fails them.
    """
    # Without the right to list all of them, the server names those that the user may read something in.
    reply = client.admin.command({"listDatabases": 1})
    sizes = {str(entry["name"]): int(entry.get("sizeOnDisk") or 0) for entry in reply["databases"]}
    return {name: size for name, size in sorted(sizes.items()) if name not in _OWN_DATABASES}


@explained()
def list_collections(client: Client, database: str) -> list[CollectionFacts]:
    """The collections of a database in order of their names, without those of the system."""
    entries = [entry for entry in _entries(client[database]) if not entry["name"].startswith("system.")]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="catalogue") as pool:
        facts = list(pool.map(lambda entry: _facts(client[database], entry), entries))
    return sorted(facts, key=lambda each: each.namespace)


@explained()
def collection_facts(client: Client, database: str, collection: str) -> CollectionFacts:
    """Facts of one collection.

    Raises:
        MissingCollection: there is none of this name.
    """
    entries = _entries(client[database], collection)
    if not entries:
        raise MissingCollection(f"MongoDB has no collection {database}.{collection}: check source.uri and the name.")
    return _facts(client[database], entries[0])


@explained()
def uuid_of(client: Client, database: str, collection: str) -> str:
    """The collection's UUID in hex; empty when there is none of this name, or none to be seen."""
    entries = _entries(client[database], collection)
    uuid = _uuid(entries[0]) if entries else None
    return uuid.hex if uuid is not None else ""


def estimated_count(collection: Collection[Document]) -> int:
    """The server's estimate of the number of documents; it reads nothing but metadata."""
    return collection.estimated_document_count()


@explained()
def exact_count(
    collection: Collection[Document],
    query: Mapping[str, Any] | None = None,
    *,
    limit: int = 0,
    session: ClientSession | None = None,
) -> int:
    """The number of documents that a query matches, all without one; it reads an index or the collection.

    Args:
        limit: counting ends there; 0 is never.
        session: of a time, to count what was there then.
    """
    options: dict[str, Any] = {"session": session} | ({"limit": limit} if limit else {})
    if query:
        return _counted(collection, query, options)
    if session is None and (count := _counted_keys(collection, limit)) is not None:
        return count
    # The hint makes it a count over the index of `_id` instead of one over the documents.
    try:
        return collection.count_documents({}, hint=[("_id", 1)], **options)
    except OperationFailure:
        # Views, time-series and collections without an index of `_id` know no such hint.
        return _counted(collection, {}, options)


def quick_count(collection: Collection[Document], limit_ms: int) -> int:
    """The number of documents of a view or a time-series, of which there is no estimate; `UNKNOWN` when it takes longer."""
    try:
        return collection.count_documents({}, allowDiskUse=True, maxTimeMS=limit_ms)
    except PyMongoError:
        return UNKNOWN  # a view that cannot be read is refused where it is read


def _counted(collection: Collection[Document], query: Mapping[str, Any], options: Document) -> int:
    try:
        return collection.count_documents(query, **options)
    except OperationFailure as exc:
        if exc.code != _NEEDS_DISK:
            raise
    return collection.count_documents(query, allowDiskUse=True, **options)


def _counted_keys(collection: Collection[Document], limit: int) -> int | None:
    """The entries of the index of `_id`, by the command `count`, which takes half as long as aggregation; None where it cannot.

    With a hint the server counts by the index: only without one it answers from statistics, which a crash leaves wrong. On
    shards it would count documents that are moving between them twice.
    """
    client = collection.database.client
    if client.is_mongos or client.topology_description.topology_type_name not in _UNSHARDED:
        return None
    command: Document = {"count": collection.name, "hint": {"_id": 1}} | ({"limit": limit} if limit else {})
    if concern := collection.read_concern.document:
        command["readConcern"] = concern
    try:
        return int(collection.database.command(command, read_preference=collection.read_preference)["n"])
    except PyMongoError:
        return None  # no such index; or the server is away, and unlike this, aggregation is tried again by the driver


def _entries(database: Database[Document], name: str | None = None) -> list[Document]:
    query = {"name": name} if name is not None else None
    try:
        return [dict(entry) for entry in database.list_collections(filter=query)]
    except OperationFailure as exc:
        if exc.code != UNAUTHORIZED:
            raise
    # Without the right to list collections, a user may still see the names of those it can read.
    reply = database.command({
        "listCollections": 1, "nameOnly": True, "authorizedCollections": True, "filter": query or {},
    })  # fmt: skip
    return list(reply["cursor"]["firstBatch"])


def _facts(database: Database[Document], entry: Document) -> CollectionFacts:
    name, options = entry["name"], entry.get("options", {})
    kind = _kind(entry)
    documents, size_bytes = (
        (UNKNOWN, 0) if kind == "view" else _size(collection_of(database.client, database.name, name), kind)
    )
    return CollectionFacts(
        namespace=f"{database.name}.{name}",
        kind=kind,
        documents=documents,
        size_bytes=size_bytes,
        uuid=_uuid(entry),
        has_range_reads=kind in ("collection", "capped", "clustered")
        and ("idIndex" in entry or "clusteredIndex" in options or "info" not in entry),
    )


def _uuid(entry: Document) -> UUID | None:
    uuid = entry.get("info", {}).get("uuid")
    return uuid.as_uuid() if isinstance(uuid, Binary) else uuid


def _kind(entry: Document) -> str:
    options = entry.get("options", {})
    if entry.get("type") in ("view", "timeseries"):
        return str(entry["type"])
    if options.get("capped"):
        return "capped"
    return "clustered" if "clusteredIndex" in options else "collection"


def _size(collection: Collection[Document], kind: str) -> tuple[int, int]:
    """Estimated documents and bytes, summed over shards."""
    try:
        with collection.aggregate([{"$collStats": {"storageStats": {}}}]) as cursor:
            shards = [shard["storageStats"] for shard in cursor]
    except OperationFailure as exc:
        if exc.code not in (UNAUTHORIZED, _NOT_SUPPORTED_ON_VIEW):
            raise
        return (UNKNOWN if kind == "timeseries" else estimated_count(collection)), 0
    size_bytes = sum(int(shard.get("size", 0)) for shard in shards)
    if kind == "timeseries":
        # Its statistics count buckets, not documents.
        return UNKNOWN, size_bytes
    return sum(int(shard.get("count", 0)) for shard in shards), size_bytes
