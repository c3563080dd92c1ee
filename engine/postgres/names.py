"""Names that the target has already: what a run's own names must not be, and which tables earlier runs gave to a collection.

PostgreSQL has one space of names in a schema for tables, views, sequences, indexes and composite types (`pg_class`), and
another for types (`pg_type`), in which every table has an entry too:
https://www.postgresql.org/docs/current/catalog-pg-class.html
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import asyncpg

from engine.mapping.names import TableName
from engine.postgres.ddl import fitted

_TABLES = ("r", "p", "f", "v", "m")
"""Kinds of relations that the mode of a run decides about: they hold rows, or are read as if they did."""


@dataclass(frozen=True, slots=True)
class KnownNames:
    """What the target says about names, before tables are chosen."""

    earlier: Mapping[str, tuple[TableName, ...]] = field(default_factory=dict)
    """Collection -> tables of runs from the same source, the newest first."""
    blocked: frozenset[TableName] = frozenset()
    """No table can have these names: an index, a sequence or a type has them."""


NOTHING_KNOWN = KnownNames()


async def blocked_names(connection: asyncpg.Connection, schemas: Collection[str]) -> frozenset[TableName]:
    """Names in these schemas that no table can have."""
    rows = await connection.fetch(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        ' WHERE n.nspname = ANY($1::text[]::name[]) AND c.relkind <> ALL($2::text[]::"char"[])'
        " UNION SELECT n.nspname, t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace"
        # A table's own row type goes with the table; a type for arrays is renamed by the server when a name is wanted.
        " WHERE n.nspname = ANY($1::text[]::name[]) AND t.typrelid = 0 AND t.typcategory <> 'A'",
        list(schemas),
        list(_TABLES),
    )
    return frozenset(TableName(*row) for row in rows)


async def taken_relations(
    connection: asyncpg.Connection, schema: str, names: Iterable[str], leaving: Collection[int] = ()
) -> set[str]:
    """Which of these names relations of the schema have.

    Args:
        leaving: OIDs of tables that are about to go, and their indexes with them.
    """
    rows = await connection.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " LEFT JOIN pg_index i ON i.indexrelid = c.oid"
        " WHERE n.nspname = $1 AND c.relname = ANY($2::text[]::name[]) AND c.oid <> ALL($3::oid[])"
        " AND coalesce(i.indrelid <> ALL($3::oid[]), true)",
        schema,
        list(names),
        list(leaving),
    )
    return {str(row[0]) for row in rows}


async def free_name(
    connection: asyncpg.Connection, schema: str, stem: str, suffix: str, taken: Collection[str] = ()
) -> str:
    """`stem` + `suffix`, with a number between them where a relation of the schema, or `taken`, has that name."""
    name, number = fitted(stem, suffix), 2
    while name in taken or await taken_relations(connection, schema, [name]):
        name = fitted(stem, f"_{number}{suffix}")
        number += 1
    return name
