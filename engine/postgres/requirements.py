"""What a run needs of the target server before anything is written: version, kind of server, rights."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Mapping as Lookup

import asyncpg

from engine.errors import UsageError
from engine.mapping.names import ID_NAME, TableName, quote_identifier
from engine.postgres.ddl import LEDGER_SCHEMA
from engine.postgres.queries import one_row
from engine.postgres.sqlstates import one_line
from engine.postgres.tables import has_unique_in

MIN_VERSION = 14
ENCODING = "UTF8"
_NEEDED = {"append": ("SELECT", "INSERT"), "upsert": ("SELECT", "INSERT", "UPDATE")}
"""Rights on a table that is there, by the modes that add rows to it."""
_DEFAULTS = """
    SELECT DISTINCT CASE WHEN s.oid IS NOT NULL THEN format('USAGE ON SEQUENCE %I.%I', n.nspname, s.relname)
                         ELSE format('EXECUTE ON FUNCTION %s', f.oid::regprocedure) END AS lacking
    FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
    LEFT JOIN pg_class s ON p.refclassid = 'pg_class'::regclass AND s.oid = p.refobjid AND s.relkind = 'S'
    LEFT JOIN pg_namespace n ON n.oid = s.relnamespace
    LEFT JOIN pg_proc f ON p.refclassid = 'pg_proc'::regclass AND f.oid = p.refobjid
    WHERE d.adrelid = $1 AND a.attgenerated = '' AND a.attname <> ALL($2::text[])
      AND (NOT has_sequence_privilege(s.oid, 'USAGE, UPDATE') OR NOT has_function_privilege(f.oid, 'EXECUTE'))
    ORDER BY 1
"""
"""What the defaults of columns that are not written call, and this role may not."""
_MAY_KEEP_LEDGER = """
    SELECT coalesce(bool_and(has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
                             AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')), true)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r'
"""
"""The ledger's tables may be another role's."""


async def require(
    connection: asyncpg.Connection,
    tables: Sequence[TableName],
    mode: str,
    columns: Lookup[TableName, Sequence[str]] | None = None,
    shared: Collection[TableName] = (),
) -> None:
    """Make sure that a run into these tables can be written.

    Args:
        columns: those that are written, the key first: rights on them alone will do.
        shared: tables in which several documents may want one row (`equal_keys.may_share_rows`): whose it is is read in a
            column of the system's, and no right on others is one on that.

    Raises:
        UsageError: it cannot; the message names each thing that is in the way, and the GRANTs that are missing.
    """
    await require_server(connection)
    await require_rights(connection, tables, mode, columns, shared)


async def require_rights(
    connection: asyncpg.Connection,
    tables: Sequence[TableName],
    mode: str,
    columns: Lookup[TableName, Sequence[str]] | None = None,
    shared: Collection[TableName] = (),
) -> None:
    """Make sure of the rights alone, as `require`."""
    await _refuse(connection, await missing_rights(connection, tables, mode, columns, shared))


async def require_schemas(connection: asyncpg.Connection, schemas: Sequence[str], mode: str = "create") -> None:
    """Make sure that a run can write into these schemas, and the ledger be kept, before there is a plan.

    Where rows may be added to tables that are there, whether any is made is not known yet.

    Raises:
        UsageError: they cannot; the message names the server's fault, or every statement that is missing.
    """
    await require_server(connection)
    made_in = [LEDGER_SCHEMA, *(schemas if mode not in _NEEDED else ())]
    await _refuse(connection, await _missing_on_schemas(connection, [LEDGER_SCHEMA, *schemas], made_in))


async def _refuse(connection: asyncpg.Connection, missing: Sequence[str]) -> None:
    if missing:
        role = one_line(await connection.fetchval("SELECT current_user"))
        raise UsageError(
            f"The target's user {role} lacks rights; as an administrator, run: {' '.join(missing)}", code="rights"
        )


async def missing_rights(
    connection: asyncpg.Connection,
    tables: Sequence[TableName],
    mode: str,
    columns: Lookup[TableName, Sequence[str]] | None = None,
    shared: Collection[TableName] = (),
) -> list[str]:
    """The statements that would give the connection's role what it lacks, each with its semicolon; empty for all there."""
    role, database, may_make_temporary = await one_row(
        connection,
        "SELECT quote_ident(current_user), quote_ident(current_database()),"
        " has_database_privilege(current_database(), 'TEMPORARY')",
    )
    made_in = {LEDGER_SCHEMA}
    for table in tables:
        if await _makes_something(connection, table, mode, (columns or {}).get(table, ())):
            made_in.add(table.schema)
    schemas = [LEDGER_SCHEMA, *(table.schema for table in tables)]
    missing = await _missing_on_schemas(connection, schemas, made_in)
    if mode == "upsert" and not may_make_temporary:
        missing.append(f"GRANT TEMPORARY ON DATABASE {database} TO {role};")
    for table in tables:
        written = (columns or {}).get(table, ())
        missing += await _missing_on_table(connection, table, mode, role, written, is_shared=table in shared)
    return missing


async def _makes_something(connection: asyncpg.Connection, table: TableName, mode: str, columns: Sequence[str]) -> bool:
    """A run makes a table in the schema of this one, or an index: not where rows are added to one that is there, with a key."""
    oid = await _oid_of(connection, table) if mode in _NEEDED else None
    if oid is None:
        return True
    key = columns[0] if columns else ID_NAME
    return mode == "upsert" and not await has_unique_in(connection, oid, key)


async def _oid_of(connection: asyncpg.Connection, table: TableName) -> int | None:
    """Of a table, also in a schema that this role may not use."""
    oid: int | None = await connection.fetchval(
        "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2"
        " AND c.relkind IN ('r', 'p')",
        table.schema,
        table.table,
    )
    return oid


async def _missing_on_schemas(
    connection: asyncpg.Connection, schemas: Sequence[str], made_in: Collection[str]
) -> list[str]:
    """The statements that are missing.

    Args:
        made_in: those of the schemas in which something is made; others are only used.
    """
    role, may_create = await one_row(
        connection, "SELECT quote_ident(current_user), has_database_privilege(current_database(), 'CREATE')"
    )
    missing: list[str] = []
    for schema in dict.fromkeys(schemas):
        name = quote_identifier(schema)
        has_usage, has_create = await connection.fetchrow(
            "SELECT has_schema_privilege(oid, 'USAGE'), has_schema_privilege(oid, 'CREATE')"
            " FROM pg_namespace WHERE nspname = $1",
            schema,
        ) or (may_create, may_create)
        if not (has_usage and (has_create or schema not in made_in)):
            exists = await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", name)
            missing.append(
                f"GRANT USAGE{', CREATE' if schema in made_in else ''} ON SCHEMA {name} TO {role};"
                if exists
                else f"CREATE SCHEMA {name} AUTHORIZATION {role};"
            )
    if not await connection.fetchval(_MAY_KEEP_LEDGER, LEDGER_SCHEMA):
        missing.append(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {LEDGER_SCHEMA} TO {role};")
    return missing


async def require_server(connection: asyncpg.Connection) -> None:
    """Make sure that a run can write to this kind of server at all.

    Raises:
        UsageError: it cannot; the message says why, and what to do.
    """
    version = connection.get_server_version()
    if version.major < MIN_VERSION:
        raise UsageError(
            f"The target is PostgreSQL {version.major}; it must be {MIN_VERSION} or newer.", code="server_version"
        )
    row = await one_row(
        connection,
        "SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS is_standby,"
        " current_setting('transaction_read_only')::bool AS read_only, current_setting('server_encoding') AS encoding",
    )
    if row["is_standby"]:
        raise UsageError("The target is a standby, and read-only: name its primary server.", code="read_only")
    if row["read_only"]:
        raise UsageError(
            "The target only reads: default_transaction_read_only is on for its database, its role or in target.uri. "
            "Turn it off there, or name another target.",
            code="read_only",
        )
    if row["encoding"] != ENCODING:
        raise UsageError(
            f"The target database has encoding {row['encoding']}: MongoDB's strings need a database with {ENCODING}.",
            code="encoding",
        )
    # A pooler hands out process ids of its own; advisory locks and our session settings would go to any client's session.
    if row["pid"] != connection.get_server_pid():
        raise UsageError(
            "target.uri leads to a connection pooler: give host and port of the PostgreSQL server itself.",
            code="pooler",
        )


async def _missing_on_table(
    connection: asyncpg.Connection,
    table: TableName,
    mode: str,
    role: str,
    columns: Sequence[str],
    *,
    is_shared: bool = False,
) -> list[str]:
    oid = await _oid_of(connection, table) if mode in {*_NEEDED, "replace"} else None
    if oid is None:
        return []
    if mode == "replace":
        is_owner = await connection.fetchval("SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = $1", oid)
        return [] if is_owner else [f"ALTER TABLE {table.sql} OWNER TO {role};"]
    lacking = []
    for right in _NEEDED[mode]:
        wanted = list(columns)
        if right == "UPDATE" and (len(columns) > 1 or not is_shared):
            wanted = wanted[1:]  # no UPDATE changes the key
        elif right == "SELECT" and is_shared:
            wanted.append("xmin")
        if not await _has_right(connection, oid, right, wanted):
            lacking.append(right)
    missing = [f"GRANT {', '.join(lacking)} ON {table.sql} TO {role};"] if lacking else []
    if not columns:
        return missing
    return missing + [f"GRANT {row[0]} TO {role};" for row in await connection.fetch(_DEFAULTS, oid, list(columns))]


async def _has_right(connection: asyncpg.Connection, oid: int, right: str, columns: Sequence[str]) -> bool:
    """The right on the table, or on all the columns."""
    return bool(
        await connection.fetchval(
            "SELECT has_table_privilege($1::oid, $2) OR coalesce((SELECT bool_and(has_column_privilege($1::oid, attnum, $2))"
            " FROM pg_attribute WHERE attrelid = $1 AND NOT attisdropped AND attname = ANY($3)), false)",
            oid, right, list(columns),
        )
    )  # fmt: skip
