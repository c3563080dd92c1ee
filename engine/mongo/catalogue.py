"""The collections of a database: what kind they are, how large, and of which kinds their `_id`s are."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bson import Binary
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from engine.errors import MigrationError, MissingCollection
from engine.mongo.collections import collection_of
from engine.mongo.connect import Client, Document
from engine.mongo.faults import UNAUTHORIZED, explained
from engine.mongo.many_counts import UNSHARDED, estimated_counts

UNKNOWN = -1
"""A count that cannot be known cheaply."""
_THREADS = 8
_MOST_NAMES = 1_000
"""More collections than this are looked for among all of their database."""
_SIZES = {"storageStats.count": 1, "storageStats.size": 1}
_NOT_SUPPORTED_ON_VIEW = 166
_NEEDS_DISK = 292
"""QueryExceededMemoryLimitNoDiskUseAllowed: a view sorts or groups more than the server has memory for."""
SMALL_DOCUMENTS = 500
"""A collection with fewer is read whole and never cut: the size of its documents need not be asked for."""
_FEWEST_TOGETHER = 3
"""Collections that are worth a question for all of them."""


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
    """Of the documents, uncompressed; 0 when not known, as of a small collection among many."""
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
def list_kinds(client: Client, database: str) -> dict[str, str]:
    """The collections of a database with their kinds, as in `CollectionFacts`, in order of their names."""
    entries = [entry for entry in _entries(client[database]) if not entry["name"].startswith("system.")]
    return {entry["name"]: _kind(entry) for entry in sorted(entries, key=lambda each: str(each["name"]))}


@explained()
def collection_facts(client: Client, database: str, collection: str) -> CollectionFacts:
    """Facts of one collection.

    Raises:
        MissingCollection: there is none of this name.
    """
    return KnownFacts(client, [(database, collection)]).of(database, collection)


class KnownFacts:
    """Facts of some collections at about one time: each is asked for once, by whichever thread needs it first."""

    def __init__(self, client: Client, names: Iterable[tuple[str, str]]) -> None:
        """Nothing is asked yet.

        Args:
            names: of all collections whose facts may be needed, each with its database before it: one command lists them.
        """
        self._client = client
        self._names = set(names)
        self._entries: dict[str, dict[str, Document]] = {}
        self._counts: dict[str, dict[str, int]] = {}
        """Estimates that were had together, by database and name."""
        self._facts: dict[tuple[str, str], CollectionFacts] = {}
        self._listing = threading.Lock()
        self._sizing: dict[tuple[str, str], threading.Lock] = {}

    @explained()
    def of(self, database: str, collection: str) -> CollectionFacts:
        """Facts of one of the collections.

        Raises:
            MissingCollection: there is none of this name.
        """
        key = (database, collection)
        if key in self._facts:  # as from the second question on
            return self._facts[key]
        with self._sizing.setdefault(key, threading.Lock()):
            if key not in self._facts:
                self._facts[key] = self._asked(database, collection)
        return self._facts[key]

    def _asked(self, database: str, collection: str) -> CollectionFacts:
        with self._listing:
            if database not in self._entries:
                names = [name for place, name in self._names if place == database]
                found = _entries(self._client[database], *names)
                self._counts[database] = self._counted(database, found)
                self._entries[database] = {entry["name"]: entry for entry in found}
        entry = self._entries[database].get(collection)
        if entry is None:
            near = near_name(self._client, database, collection)
            hint = f"did you mean {near}?" if near else "check source.uri and the name."
            raise MissingCollection(f"MongoDB has no collection {database}.{collection}: {hint}")
        count = self._counts[database].get(collection, SMALL_DOCUMENTS)
        known = (count, 0) if count < SMALL_DOCUMENTS else None
        return _facts(self._client[database], entry, known)

    def _counted(self, database: str, entries: Sequence[Document]) -> dict[str, int]:
        """Which of them are small: the statistics of a small collection cost the server more than to read it."""
        wanted = {name for place, name in self._names if place == database}
        countable = (entry for entry in entries if _kind(entry) not in ("view", "timeseries"))
        names = [str(entry["name"]) for entry in countable if entry["name"] in wanted]
        return estimated_counts(self._client, database, names) if len(names) >= _FEWEST_TOGETHER else {}


def near_name(client: Client, database: str, collection: str = "") -> str:
    """The `db.collection` that was probably meant, or the database where no collection is named; empty when none is like it."""
    try:
        if not collection:
            return _nearest(database, list(list_databases(client)))
        names = [str(entry["name"]) for entry in _entries(client[database])]
        if near := _nearest(collection, [name for name in names if not name.startswith("system.")]):
            return f"{database}.{near}"
        other = _nearest(database, [name for name in list_databases(client) if name != database])
        return f"{other}.{collection}" if other and not names and _entries(client[other], collection) else ""
    except (MigrationError, PyMongoError):
        return ""  # it is only a hint, and may take rights that reading does not


def _nearest(name: str, names: Sequence[str]) -> str:
    """The name that is most like this one, whatever the case of its letters."""
    by_letters = {each.casefold(): each for each in names}
    near = difflib.get_close_matches(name.casefold(), by_letters, 1)
    return by_letters[near[0]] if near else ""


@explained()
def uuids_of(client: Client, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The UUIDs of collections in hex, by database and name, as far as they have some that may be seen."""
    wanted: dict[str, list[str]] = {}
    for database, collection in names:
        wanted.setdefault(database, []).append(collection)
    found = {}
    for database, collections in wanted.items():
        for entry in _entries(client[database], *collections):
            if (uuid := _uuid(entry)) is not None:
                found[database, entry["name"]] = uuid.hex
    return found


@explained()
def names_of(client: Client, databases: Iterable[str]) -> dict[str, set[str]]:
    """Names of the collections and views of each database that the user may see."""
    return {database: set(client[database].list_collection_names(authorizedCollections=True)) for database in databases}


@explained()
def with_collation(client: Client, names: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of the collections, each database and name, that have a collation: they take more keys for equal."""
    found = set()
    for database, collection in names:
        for entry in _entries(client[database], collection):
            if entry.get("options", {}).get("collation", {}).get("locale", "simple") != "simple":
                found.add((database, collection))
    return found


@explained()
def expiring(client: Client, names: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Namespaces of those of the collections, each database and name, whose documents a TTL index deletes some day; what may
    not be seen counts as none.
    """
    found = set()
    for database, name in names:
        try:
            indexes = list(collection_of(client, database, name).list_indexes())
        except OperationFailure:
            continue
        if any("expireAfterSeconds" in index for index in indexes):
            found.add(f"{database}.{name}")
    return frozenset(found)


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
    if client.is_mongos or client.topology_description.topology_type_name not in UNSHARDED:
        return None
    command: Document = {"count": collection.name, "hint": {"_id": 1}} | ({"limit": limit} if limit else {})
    if concern := collection.read_concern.document:
        command["readConcern"] = concern
    try:
        return int(collection.database.command(command, read_preference=collection.read_preference)["n"])
    except PyMongoError:
        return None  # no such index; or the server is away, and unlike this, aggregation is tried again by the driver


def _entries(database: Database[Document], *names: str) -> list[Document]:
    """What the server lists of the collections of these names, or of all."""
    query: Document | None = {"name": {"$in": list(names)} if len(names) > 1 else names[0]} if names else None
    if len(names) > _MOST_NAMES:
        query = None
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


def _facts(database: Database[Document], entry: Document, known: tuple[int, int] | None = None) -> CollectionFacts:
    """What is known of a collection.

    Args:
        known: its documents and bytes, where they need not be asked for.
    """
    name, options = entry["name"], entry.get("options", {})
    kind = _kind(entry)
    if known is None:
        of_views = (UNKNOWN, 0)
        known = of_views if kind == "view" else _size(collection_of(database.client, database.name, name), kind)
    documents, size_bytes = known
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
        # The whole statistics are some tens of kilobytes, and of thousands of collections they take longer than all else.
        with collection.aggregate([{"$collStats": {"storageStats": {}}}, {"$project": _SIZES}]) as cursor:
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
