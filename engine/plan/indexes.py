"""MongoDB's indexes as PostgreSQL could have them: which B-trees serve the same queries, and why others cannot be had."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.mapping.kinds import JSON_TYPES
from engine.mapping.model import Column
from engine.mapping.model import Mapping as TableMapping
from engine.mapping.names import MAX_NAME_BYTES, TableName, quote_identifier
from engine.mongo.indexes import UNREADABLE, SourceIndex
from engine.plan.index_advice import by_hand
from engine.plan.index_filters import NotExpressibleError, condition
from engine.postgres.ddl import fitted
from engine.postgres.indexes import Index, IndexKey

NO_COUNTERPART = {
    "text": "full-text search works differently in PostgreSQL (a tsvector column with a GIN index)",
    "2dsphere": "it needs the PostGIS extension",
    "2d": "it needs the PostGIS extension",
    "geoHaystack": "it needs the PostGIS extension",
    "hashed": "it serves sharding; an ordered index on the same field would be created",
    "wildcard": "it covers fields that it does not name; a GIN index on a jsonb column comes close",
    UNREADABLE: "its description is not one that MongoDB writes",
}
"""Kinds of indexes that are left, and why."""
MOST_COLUMNS = 32
"""INDEX_MAX_KEYS of PostgreSQL's pg_config_manual.h."""


@dataclass(frozen=True, slots=True)
class IndexProposal:
    """What becomes of a collection's indexes."""

    indexes: tuple[Index, ...] = ()
    left: list[str] = field(default_factory=list)
    """Those that are not carried over: a sentence each, with the reason."""
    by_hand: list[str] = field(default_factory=list)
    """For each of those left: SQL that would serve the same queries, statements with a semicolon each; empty without any."""
    remarks: list[str] = field(default_factory=list)
    """What is different about those that are."""


def propose_indexes(
    found: Iterable[SourceIndex], table: TableName, mapping: TableMapping, namespace: str
) -> IndexProposal:
    """The indexes that a table should get.

    Unique indexes stay unique, with NULLs distinct as PostgreSQL has it by default; sparse ones become partial.
    """
    columns = {column.path: column for column in mapping.columns if column.path}
    indexes: list[Index] = []
    proposal = IndexProposal()
    taken: set[str] = set()
    for source in found:
        try:
            index = _translated(source, table, columns, taken)
        except Exception as error:  # an index is one of many, and never what ends a plan
            reason = (
                error if isinstance(error, NotExpressibleError) else f"it is not understood ({type(error).__name__})"
            )
            proposal.left.append(f"Index {source.name} of {namespace} will not be created: {reason}.")
            proposal.by_hand.append(by_hand(source, table, mapping))
            continue
        taken.add(index.name)
        indexes.append(index)
        if source.expires:
            proposal.remarks.append(
                f"Index {source.name} of {namespace} makes MongoDB delete old documents; PostgreSQL keeps the rows."
            )
    return replace(proposal, indexes=tuple(indexes))


def _translated(
    source: SourceIndex, table: TableName, columns: Mapping[tuple[str, ...], Column], taken: set[str]
) -> Index:
    if source.kind != "ordered":
        raise NotExpressibleError(NO_COUNTERPART.get(source.kind, f"PostgreSQL has no indexes of kind {source.kind}"))
    if not source.keys:
        raise NotExpressibleError("it has no fields")
    if source.hidden:
        raise NotExpressibleError("it is hidden in MongoDB, so no query uses it")
    if source.has_collation:
        raise NotExpressibleError("it has a collation, which PostgreSQL's column does not have")
    if len(source.keys) > MOST_COLUMNS:
        raise NotExpressibleError(f"PostgreSQL's indexes have at most {MOST_COLUMNS} columns")
    chosen = [(_plain_column(path, columns), descending) for path, descending in source.keys]
    conditions = []
    if source.partial:
        where = condition(source.partial, lambda path: _plain_column(path, columns), is_unique=source.unique)
        conditions += [where] if where else []
    if source.sparse:
        present = " OR ".join(f"{quote_identifier(column.name)} IS NOT NULL" for column, _ in chosen)
        conditions.append(f"({present})" if conditions and len(chosen) > 1 else present)
    return Index(
        name=_name(table, chosen, is_unique=source.unique, taken=taken),
        source_name=source.name,
        keys=tuple(IndexKey(column=column.name, descending=descending) for column, descending in chosen),
        unique=source.unique,
        where=" AND ".join(conditions),
    )


def _plain_column(path: str, columns: Mapping[tuple[str, ...], Column]) -> Column:
    """The column of a field that a B-tree can be built on."""
    keys = tuple(path.split("."))
    column = columns.get(keys)
    if column is None:
        for depth in range(len(keys) - 1, 0, -1):
            above = columns.get(keys[:depth])
            if above is not None:
                raise NotExpressibleError(
                    f"its field {path} is inside the {above.sql_type} column {above.name}; flatten {above.name} to create it"
                )
        raise NotExpressibleError(f"its field {path} has no column")
    if column.array:
        raise NotExpressibleError(
            f"its field {path} holds arrays (a GIN index on {column.name} serves searches in them)"
        )
    if column.type in JSON_TYPES:
        raise NotExpressibleError(
            f"the column {column.name} of its field {path} is {column.sql_type} (arrays, documents or several kinds)"
        )
    return column


def _name(table: TableName, keys: Sequence[tuple[Column, bool]], *, is_unique: bool, taken: set[str]) -> str:
    """As PostgreSQL itself names indexes, with a number where the table has several of one name."""
    parts = [table.table, *(column.name + ("_desc" if descending else "") for column, descending in keys)]
    suffix = "_key" if is_unique else "_idx"
    name, number = fitted("_".join(parts), suffix), 2
    while name in taken:
        name = fitted("_".join(parts), f"_{number}{suffix}")
        number += 1
    assert len(name.encode()) <= MAX_NAME_BYTES
    return name
