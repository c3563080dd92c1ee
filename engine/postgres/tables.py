"""Tables that are there already: their columns, and whether a mapping's rows can go into them as they are.

COPY's binary format converts nothing: a value must have the very type of its column, apart from the text types, which share
one representation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Lookup
from dataclasses import dataclass

import asyncpg

from engine.errors import UsageError
from engine.mapping.kinds import INTEGERS
from engine.mapping.model import Column, ColumnType, Kind, Mapping, Role
from engine.mapping.names import TableName
from engine.postgres.sqlstates import one_line

OBJECT_ID_LENGTH = 24
"""Characters of an objectId as text."""
_TEXT_TYPES = frozenset({"text", "character varying", "citext", "character"})
WITHOUT_ZONE = "timestamp without time zone"
"""Times in it are those of UTC."""
_SPELLINGS = {"timestamptz": "timestamp with time zone", "timestamptz[]": "timestamp with time zone[]"}
"""How format_type() spells what DDL spells otherwise."""
_NO_LENGTH = -1
_PADDED = "character"
"""character(n), whose values PostgreSQL fills up with blanks."""
_MICROSECONDS = 6
"""Digits of a second that a time has without a modifier."""
_DESCRIBE = """
    WITH RECURSIVE down AS (
        SELECT a.attnum, a.atttypid AS type, a.atttypmod AS modifier, false AS is_required, false AS has_default,
               0 AS depth
        FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT d.attnum, t.typbasetype, t.typtypmod, d.is_required OR t.typnotnull,
               d.has_default OR t.typdefault IS NOT NULL, d.depth + 1
        FROM down d JOIN pg_type t ON t.oid = d.type WHERE t.typtype = 'd'
    ), bottom AS (
        SELECT DISTINCT ON (attnum) * FROM down ORDER BY attnum, depth DESC
    )
    SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
           CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN format_type(t.oid, NULL)
                WHEN e.objid IS NOT NULL THEN t.typname
                ELSE format('%s.%s', n.nspname, t.typname) END AS base,
           CASE WHEN t.oid IN ('varchar'::regtype, 'bpchar'::regtype) THEN greatest(b.modifier - 4, -1) ELSE -1 END
           AS length,
           NOT (a.attnotnull OR b.is_required) AS nullable,
           a.atthasdef OR a.attidentity <> '' OR b.has_default AS has_default,
           a.attgenerated <> '' AS generated,
           CASE WHEN t.oid IN ('numeric'::regtype, 'numeric[]'::regtype) THEN b.modifier >= 0
                WHEN t.oid IN ('timestamptz'::regtype, 'timestamptz[]'::regtype, 'timestamp'::regtype)
                THEN b.modifier BETWEEN 0 AND 2
                ELSE false END AS rounds,
           t.oid IN ('numeric'::regtype, 'numeric[]'::regtype)
           AND (b.modifier < 0 OR (((b.modifier - 4) & 2047) # 1024) - 1024 >= 0) AS keeps_integers,
           CASE WHEN t.oid IN ('numeric'::regtype, 'numeric[]'::regtype) AND b.modifier >= 0
                THEN (b.modifier - 4) >> 16 & 65535 ELSE 0 END AS precision,
           CASE WHEN t.oid IN ('numeric'::regtype, 'numeric[]'::regtype) AND b.modifier >= 0
                THEN (((b.modifier - 4) & 2047) # 1024) - 1024 ELSE 0 END AS scale,
           CASE WHEN t.oid IN ('timestamptz'::regtype, 'timestamptz[]'::regtype, 'timestamp'::regtype)
                AND b.modifier >= 0 THEN b.modifier ELSE 6 END AS second_digits,
           ARRAY(SELECT enumlabel FROM pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder) AS labels,
           a.attidentity = 'a' AS is_identity,
           coalesce(NOT c.collisdeterministic, false) AS folds
    FROM pg_attribute a JOIN bottom b USING (attnum) JOIN pg_type t ON t.oid = b.type
    JOIN pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_collation c ON c.oid = a.attcollation
    LEFT JOIN pg_depend e ON e.classid = 'pg_type'::regclass AND e.objid = t.oid AND e.deptype = 'e'
    WHERE a.attrelid = to_regclass($1)
    ORDER BY a.attnum
"""
"""Domains are followed to the type at their bottom: the last of them says how long or exact its values are. What an extension
brings is known by its own name, in whatever schema it lies. A scale has 11 bits with a sign (`numeric_typmod_scale`)."""


@dataclass(frozen=True, slots=True)
class ExistingColumn:
    """A column as the catalog has it."""

    name: str
    type: str
    """As format_type() spells it, with its modifier: `character varying(20)`, `numeric(10,2)`."""
    base: str
    """The same without the modifier; of a domain, the type at the bottom; `schema.name` where it is neither PostgreSQL's own
    nor an extension's."""
    length: int
    """Characters that fit, for varchar(n); -1 without such a limit."""
    nullable: bool
    has_default: bool
    """A row without it gets a value: a default, an identity, a generated column."""
    generated: bool
    """Cannot be written."""
    rounds: bool = False
    """Keeps fewer digits than a value may have: numeric(p,s), or a time of less than milliseconds."""
    keeps_integers: bool = False
    """A numeric that changes no integer: one of too many digits is refused."""
    precision: int = 0
    """Digits of a numeric(p,s); 0 without such a limit."""
    scale: int = 0
    """Of them, those behind the point."""
    second_digits: int = 6
    """Digits of a second that a time keeps."""
    labels: tuple[str, ...] = ()
    """Of an enum."""
    is_identity: bool = False
    """GENERATED ALWAYS AS IDENTITY: rows bring their own values, but no UPDATE changes them."""
    folds: bool = False
    """Its collation takes texts for equal that are not the same bytes."""


async def describe_table(connection: asyncpg.Connection, table: TableName) -> list[ExistingColumn]:
    """The table's columns, in order.

    Raises:
        UsageError: there is no such table, or it is something that COPY cannot write to.
    """
    kind = await connection.fetchval("SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)", table.sql)
    if kind is None:
        raise UsageError(f"There is no table {table} in the target.")
    if kind not in ("r", "p"):
        raise UsageError(
            f"{table} is not a table (a view, a foreign table or the like): rows cannot be copied into it."
        )
    rows = await connection.fetch(_DESCRIBE, table.sql)
    return [ExistingColumn(**{**dict(row.items()), "labels": tuple(row["labels"])}) for row in rows]


async def has_unique(connection: asyncpg.Connection, table: TableName, column: str) -> bool:
    """A unique index over this column alone, as ON CONFLICT can use it: valid, whole, checked at once."""
    oid = await connection.fetchval("SELECT to_regclass($1)::oid", table.sql)
    return oid is not None and await has_unique_in(connection, oid, column)


async def has_unique_in(connection: asyncpg.Connection, oid: int, column: str) -> bool:
    """The same of a table by its OID, also where this role may not use its schema."""
    return bool(
        await connection.fetchval(
            """
            SELECT EXISTS (
                SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                WHERE i.indrelid = $1 AND a.attname = $2 AND i.indnkeyatts = 1
                  AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
            )
            """,
            oid,
            column,
        )
    )


async def has_primary_key(connection: asyncpg.Connection, table: TableName) -> bool:
    """A primary key, of whatever columns."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass($1) AND contype = 'p')", table.sql
        )
    )


async def identities(connection: asyncpg.Connection, table: TableName) -> list[str]:
    """The columns that are GENERATED ALWAYS AS IDENTITY."""
    rows = await connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attidentity = 'a' AND NOT attisdropped",
        table.sql,
    )
    return [row["attname"] for row in rows]


async def taken_by(connection: asyncpg.Connection, names: Iterable[TableName]) -> dict[TableName, str]:
    """What has the name of a table without being one, such as "a view"; names that are free or a table's are missing."""
    wanted = [*names]
    rows = await connection.fetch(
        """
        WITH wanted AS (
            SELECT w.schema, w.name, n.oid FROM unnest($1::text[], $2::text[]) AS w (schema, name)
            JOIN pg_namespace n ON n.nspname = w.schema::name
        )
        SELECT w.schema, w.name,
               CASE c.relkind WHEN 'v' THEN 'a view' WHEN 'm' THEN 'a materialized view' WHEN 'f' THEN 'a foreign table'
                              WHEN 'S' THEN 'a sequence' WHEN 'c' THEN 'a composite type' ELSE 'an index' END AS what
        FROM wanted w JOIN pg_class c ON c.relnamespace = w.oid AND c.relname = w.name::name
        WHERE c.relkind NOT IN ('r', 'p')
        UNION ALL  -- a table needs a type of its name; PostgreSQL itself moves those of arrays out of the way
        SELECT w.schema, w.name, CASE t.typtype WHEN 'd' THEN 'a domain' ELSE 'a type' END
        FROM wanted w JOIN pg_type t ON t.typnamespace = w.oid AND t.typname = w.name::name
        WHERE t.typrelid = 0 AND t.typcategory <> 'A'
        """,
        [name.schema for name in wanted],
        [name.table for name in wanted],
    )
    return {TableName(row["schema"], row["name"]): str(row["what"]) for row in rows}


def check_fits(
    mapping: Mapping, existing: Sequence[ExistingColumn], longest: Lookup[str, int] | None = None
) -> list[str]:
    """Why the mapping's rows cannot go into a table with these columns: a sentence each; empty when they can.

    Args:
        mapping: what would be written.
        existing: the table's columns.
        longest: characters of the longest value known of a column, by its name.
    """
    by_name = {column.name: column for column in existing}
    problems: list[str] = []
    for column in mapping.columns:
        found = by_name.pop(column.name, None)
        if found is None:
            problems.append(f"Column {one_line(column.name)} ({column.sql_type}) is missing.")
        else:
            problems += _misfits(column, found, (longest or {}).get(column.name, 0))
    problems += [
        f"Column {one_line(left.name)} is NOT NULL without a default, and the plan has no value for it."
        for left in by_name.values()
        if not (left.nullable or left.has_default)
    ]
    return problems


def bounded(mapping: Mapping, existing: Sequence[ExistingColumn]) -> Mapping:
    """The mapping with what the table's columns refuse beyond their types, so that the converter finds it for no round trip.

    `_id` stays required as the plan has it.
    """
    by_name = {column.name: column for column in existing}
    return mapping.model_copy(
        update={"columns": tuple(_bounded(column, by_name.get(column.name)) for column in mapping.columns)}
    )


def _bounded(column: Column, found: ExistingColumn | None) -> Column:
    if found is None:
        return column
    nullable = column.nullable if column.role is Role.ID else found.nullable
    return column.model_copy(update={**limits(found), "nullable": nullable})


def limits(found: ExistingColumn) -> dict[str, object]:
    """What a column takes of its type, as fields of a mapping's column."""
    return {
        "length": 0 if found.length == _NO_LENGTH else found.length,
        "is_padded": found.base == _PADDED,
        "labels": found.labels,
        "precision": found.precision,
        "scale": found.scale,
        "step_us": 10 ** (_MICROSECONDS - found.second_digits),
    }


def holds(found: ExistingColumn, wanted: ColumnType, *, is_array: bool = False) -> bool:
    """COPY's binary format of a type is that of the column.

    Times without a zone have the same bytes, and get those of UTC.
    """
    needed = spelling(f"{wanted.value}[]" if is_array else wanted.value)
    if needed == "text":
        return found.base in _TEXT_TYPES or bool(found.labels)
    return found.base == needed or (found.base == WITHOUT_ZONE and needed == _SPELLINGS["timestamptz"])


def type_of(found: ExistingColumn) -> tuple[ColumnType, bool] | None:
    """Which of our types a column holds, and whether an array of it; None for a type that this program does not write.

    Of enums see `held_by`.
    """
    if found.labels:
        return None
    for wanted in ColumnType:
        for is_array in (False, True):
            if (wanted.can_be_element or not is_array) and holds(found, wanted, is_array=is_array):
                return wanted, is_array
    return None


def held_by(found: ExistingColumn) -> tuple[ColumnType, bool] | None:
    """Likewise, where the labels of an enum are texts."""
    return (ColumnType.TEXT, False) if found.labels else type_of(found)


def has_limits(found: ExistingColumn) -> bool:
    """The converter knows exactly what the column keeps of the values of its type."""
    return bool(found.precision) or found.second_digits < _MICROSECONDS


def _knows_limits(column: Column, found: ExistingColumn) -> bool:
    """A mapping that was made for the table as it is, so that the converter leaves out what the column would change."""
    return all(getattr(column, name) == value for name, value in limits(found).items() if name != "length")


def spelling(sql_type: str) -> str:
    """How format_type() spells a type that DDL spells `sql_type`."""
    return _SPELLINGS.get(sql_type, sql_type)


def _misfits(column: Column, found: ExistingColumn, longest: int) -> list[str]:
    name = f"Column {one_line(column.name)}"
    if found.generated:
        return [f"{name} is generated and cannot be written."]
    if not holds(found, column.type, is_array=column.array):
        return [f"{name} is {one_line(found.type)}, the plan needs {column.sql_type}."]
    is_known = _knows_limits(column, found)
    if (found.base == _PADDED or found.labels) and not is_known:
        return [f"{name} is {one_line(found.type)}, the plan needs {column.sql_type}."]
    is_whole = found.keeps_integers and column.kinds and column.kinds <= INTEGERS
    if found.rounds and not (has_limits(found) and is_known) and not is_whole:
        return [f"{name} is {one_line(found.type)}, which would round values: the plan needs {column.sql_type}."]
    if column.kinds == {Kind.OBJECT_ID}:
        longest = max(longest, OBJECT_ID_LENGTH)
    if found.length != _NO_LENGTH and found.base != _PADDED and longest > found.length:
        return [f"{name} is {one_line(found.type)}, too narrow for values of {longest} characters."]
    return []
