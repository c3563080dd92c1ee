"""The documents of many small collections, counted by one question for many of them.

For a collection of a hundred documents a command takes longer to be sent and answered than to be carried out. And the
statistics of a collection (`$collStats` with `storageStats`) cost the server six times as much as reading it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bson import MinKey
from pymongo.errors import OperationFailure

from engine.mongo.collections import collection_of
from engine.mongo.connect import Client, Document

AT_ONCE = 50
"""Collections in one question."""
UNSHARDED = frozenset({"Single", "ReplicaSetWithPrimary", "ReplicaSetNoPrimary"})
"""Topologies, as the driver calls them, whose servers have each document once, unless they are routers."""

Pipeline = list[Document]


def estimated_counts(client: Client, database: str, names: Sequence[str]) -> dict[str, int]:
    """The server's estimates of some collections, read from metadata; those that it does not give are missing.

    Args:
        names: of collections: views and time-series have no such estimate.
    """
    found: dict[str, int] = {}
    beginning = f"{database}."
    for row in _rows(
        client, database, names, lambda _: [{"$collStats": {"count": {}}}, {"$project": {"ns": 1, "count": 1}}]
    ):
        found[str(row["ns"]).removeprefix(beginning)] = int(row["count"])
    return found


def exact_counts(client: Client, database: str, names: Sequence[str]) -> dict[str, int]:
    """The documents of some collections, counted by their indexes of `_id`; those that cannot be counted so are missing.

    So are those without a document.
    """
    numbers = {name: number for number, name in enumerate(names)}

    def counted(name: str) -> Pipeline:
        # Every key is at least MinKey, so the index alone is read.
        of_all: Document = {"_id": {"$gte": MinKey()}}
        return [{"$match": of_all}, {"$group": {"_id": {"$literal": numbers[name]}, "n": {"$sum": 1}}}]

    rows = {row["_id"]: int(row["n"]) for row in _rows(client, database, names, counted)}
    return {name: rows[number] for name, number in numbers.items() if number in rows}


def _rows(client: Client, database: str, names: Sequence[str], asked: Callable[[str], Pipeline]) -> Iterator[Document]:
    """What a pipeline over each of the collections gives; nothing where the server does not take it."""
    if not names or client.is_mongos or client.topology_description.topology_type_name not in UNSHARDED:
        return
    for first in range(0, len(names), AT_ONCE):
        name, *others = names[first : first + AT_ONCE]
        unions: Pipeline = [{"$unionWith": {"coll": other, "pipeline": asked(other)}} for other in others]
        try:
            with collection_of(client, database, name).aggregate([*asked(name), *unions]) as cursor:
                rows = list(cursor)
        except OperationFailure:
            continue  # a server before 4.4, a right that is missing, a collection that is gone: each is asked for by itself
        yield from rows
