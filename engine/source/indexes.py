"""MongoDB's secondary indexes as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from engine.source.faults import UNAUTHORIZED
from engine.source.mongo import Document

_VIEWS_HAVE_NONE = 166
_WILDCARD = "$**"


@dataclass(frozen=True, slots=True)
class SourceIndex:
    """One index, as the server lists it."""

    name: str
    keys: tuple[tuple[str, bool], ...]
    """Field path with dots, and whether it descends; empty when `kind` is not "ordered"."""
    kind: str = "ordered"
    """"ordered", or what PostgreSQL has no counterpart of: "text", "2dsphere", "2d", "hashed", "wildcard", ..."""
    unique: bool = False
    sparse: bool = False
    partial: Mapping[str, Any] | None = None
    """The filter of a partial index."""
    has_collation: bool = False
    hidden: bool = False
    expires: bool = False
    """Documents are deleted some time after the date in its field."""


def list_indexes(collection: Collection[Document]) -> list[SourceIndex]:
    """Every index but that of `_id` alone, in the server's order; none for views and where the user may not look."""
    try:
        found = [dict(entry) for entry in collection.list_indexes()]
    except OperationFailure as error:
        if error.code in (_VIEWS_HAVE_NONE, UNAUTHORIZED):
            return []
        raise
    return [_index(entry) for entry in found if list(entry["key"]) != ["_id"]]


def _index(entry: Document) -> SourceIndex:
    kind = next(_special(entry["key"]), "ordered")
    return SourceIndex(
        name=str(entry["name"]),
        keys=tuple((path, direction < 0) for path, direction in entry["key"].items()) if kind == "ordered" else (),
        kind=kind,
        unique=bool(entry.get("unique")),
        sparse=bool(entry.get("sparse")),
        partial=entry.get("partialFilterExpression"),
        has_collation="collation" in entry,
        hidden=bool(entry.get("hidden")),
        expires="expireAfterSeconds" in entry,
    )


def _special(key: Mapping[str, Any]) -> Iterator[str]:
    for path, direction in key.items():
        if isinstance(direction, str):
            yield direction
        elif path == _WILDCARD or path.endswith("." + _WILDCARD):
            yield "wildcard"
