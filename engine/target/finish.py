"""The end of a load: primary keys, ANALYZE, counts, and the swap of mode `replace`.

Each step looks at what is there first, so a run that broke off while finishing can go through all of them again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import asyncpg

from engine.errors import MigrationError
from engine.mapping.model import Mapping
from engine.mapping.names import quote_identifier
from engine.target import ddl
from engine.target.ddl import TableName
from engine.target.ledger import TableLoad
from engine.target.locks import naming_blockers
from engine.target.sqlstates import describe, may_pass, one_line
from engine.target.tables import has_unique

KEY_MEMORY = "256MB"
"""maintenance_work_mem while a key is built, where the server's own is lower: keys of a million rows sort in memory."""
LOCK_TIMEOUT_S = 5.0
"""Keys, indexes and ANALYZE wait so long for somebody else's lock; then it is told who holds it, and tried again."""
SWAP_LOCK_S = 3.0
"""The swap waits so long for its locks, all together. Whoever reads a table that it waits for queues behind it, so no reader
is held up for longer. More than the second after which PostgreSQL ends an autovacuum that is in the way."""
DEPENDANTS_SHOWN = 5


async def build_key(connection: asyncpg.Connection, load: TableLoad, mapping: Mapping, *, has_key: bool) -> None:
    """Make `_id` the primary key of a table that the run made, unless it has one.

    Args:
        connection: not in a transaction; its `lock_timeout` bounds the wait for others.
        load: the table.
        mapping: its columns.
        has_key: the plan wants a key; a view may hold an `_id` twice.

    Raises:
        MigrationError: it cannot be built; the rows stay as they are.
        asyncpg.PostgresError, OSError: the server or the connection is at fault; trying again may help.
    """
    if not has_key or not load.made:
        return
    table = await current_name(connection, load)
    column = mapping.id_column.name
    if await has_unique(connection, table, column):
        return
    try:
        async with naming_blockers(connection, [table], "AccessExclusiveLock"), connection.transaction():
            await connection.execute(
                "SELECT set_config('maintenance_work_mem', $1, true)"
                " WHERE pg_size_bytes(current_setting('maintenance_work_mem')) < pg_size_bytes($1)",
                KEY_MEMORY,
            )
            await connection.execute(ddl.add_primary_key(table, column, ddl.key_name(table)))
    except asyncpg.PostgresError as error:
        if may_pass(error):
            raise
        raise MigrationError(
            f"The primary key of {table} cannot be built: {describe(error)[1]} All rows are there; resume the run when "
            "the cause is gone.",
            code="key",
        ) from error


async def analyze(connection: asyncpg.Connection, load: TableLoad) -> None:
    """ANALYZE the table."""
    table = await current_name(connection, load)
    async with naming_blockers(connection, [table], "ShareUpdateExclusiveLock"):
        await connection.execute(ddl.analyze(table))


async def count_rows(connection: asyncpg.Connection, load: TableLoad) -> int:
    """Rows in the table that was written to.

    Raises:
        MigrationError: somebody locks it; trying again may help.
        asyncpg.PostgresError, OSError: the server or the connection is at fault.
    """
    return await rows_in(connection, await current_name(connection, load))


async def rows_in(connection: asyncpg.Connection, table: TableName) -> int:
    """Rows in a table, unless somebody keeps it locked.

    Raises:
        MigrationError: somebody locks it; trying again may help.
    """
    # Others use this connection, too: it may not wait for ever.
    async with naming_blockers(connection, [table], "AccessShareLock"), connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {round(LOCK_TIMEOUT_S * 1000)}")
        return int(await connection.fetchval(f"SELECT count(*) FROM {table.sql}"))  # noqa: S608 - a quoted name


async def current_name(connection: asyncpg.Connection, load: TableLoad) -> TableName:
    """What the table that was written to is called now: after a swap, the staging table bears the target's name.

    Raises:
        MigrationError: it was dropped.
    """
    found = await connection.fetchrow(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1",
        load.table_oid,
    )
    if found is None:
        raise MigrationError(f"Table {load.loads_into} was dropped while the run was on.")
    return TableName(*found)


async def swap(connection: asyncpg.Connection, run_id: str, loads: Sequence[TableLoad]) -> None:
    """Put the staging tables of mode `replace` in the place of the old ones, all in one transaction; drop the old ones.

    Owner and grants of an old table pass on to the new one. Readers see all old tables or all new ones.

    Raises:
        MigrationError: a view, foreign key or other object depends on an old table, or somebody has kept one locked for
            `SWAP_LOCK_S`; nothing is changed then.
    """
    names = [name for load in loads if load.staging is not None for name in (load.staging, load.target)]
    async with naming_blockers(connection, names, "AccessExclusiveLock"), connection.transaction():
        waiting = [load for load in loads if load.staging is not None and not await is_swapped(connection, load)]
        old_tables = await _lock_all(connection, waiting)
        for load in waiting:
            assert load.staging is not None
            old_oid = old_tables.get(load.target)
            if old_oid is None:
                await _take_name(connection, load)
                continue
            dependants = await _dependants(connection, old_oid)
            if dependants:
                raise MigrationError(
                    f"Table {load.target} cannot be replaced, since {', '.join(dependants[:DEPENDANTS_SHOWN])} depend on "
                    f"it: drop them, or use mode append or upsert. The new rows are in {load.staging}.",
                    code="dependants",
                )
            await _hand_over(connection, old_oid, load.staging)
            old = ddl.old_name(load.target, run_id)
            await connection.execute(ddl.rename_table(load.target, old.table))
            await connection.execute(ddl.drop_table(old))
            await _take_name(connection, load)


async def is_swapped(connection: asyncpg.Connection, load: TableLoad) -> bool:
    """The staging table has the old one's place already: from then on it is everybody's, and others may write to it."""
    return load.staging is not None and await current_name(connection, load) == load.target


async def _lock_all(connection: asyncpg.Connection, loads: Sequence[TableLoad]) -> dict[TableName, int]:
    """Lock everything that a swap renames, before anything is done; the OIDs of the old tables that are there.

    All at the beginning, so that nobody waits for one table while we wait for another for longer than `SWAP_LOCK_S`; and
    nothing may come to depend on an old table between the look and the drop. Those of our own, which nobody reads, first.
    """
    deadline = time.monotonic() + SWAP_LOCK_S
    old_tables = {}
    for load in sorted(loads, key=lambda load: str(load.target)):
        assert load.staging is not None
        await _lock(connection, load.staging, deadline)
    for load in sorted(loads, key=lambda load: str(load.target)):
        if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", load.target.sql):
            await _lock(connection, load.target, deadline)
            # Whoever had it locked may have put another in its place.
            old_tables[load.target] = await connection.fetchval("SELECT to_regclass($1)::oid", load.target.sql)
    # What the drop still has to lock, such as tables that the old one refers to.
    await connection.execute(f"SET LOCAL lock_timeout = {round(SWAP_LOCK_S * 1000)}")
    return old_tables


async def _lock(connection: asyncpg.Connection, table: TableName, deadline: float) -> None:
    left_ms = max(1, round((deadline - time.monotonic()) * 1000))
    await connection.execute(f"SET LOCAL lock_timeout = {left_ms}")
    await connection.execute(f"LOCK TABLE {table.sql} IN ACCESS EXCLUSIVE MODE")


async def dependants(connection: asyncpg.Connection, table: TableName) -> list[str]:
    """What depends on a table, in words: before a run of mode `replace` begins, not only at its end."""
    oid = await connection.fetchval("SELECT to_regclass($1)::oid", table.sql)
    return [] if oid is None else await _dependants(connection, oid)


async def _take_name(connection: asyncpg.Connection, load: TableLoad) -> None:
    """Rename the staging table and its key."""
    assert load.staging is not None
    await connection.execute(ddl.rename_table(load.staging, load.target.table))
    key = await connection.fetchval(
        "SELECT conname FROM pg_constraint WHERE conrelid = $1 AND contype = 'p'", load.table_oid
    )
    if key == ddl.key_name(load.staging):
        await connection.execute(ddl.rename_constraint(load.target, key, ddl.key_name(load.target)))


async def _dependants(connection: asyncpg.Connection, oid: int) -> list[str]:
    """Objects that DROP TABLE without CASCADE would stumble over; what belongs to the table itself goes with it."""
    rows = await connection.fetch(
        """
        WITH RECURSIVE dependant AS (
            SELECT classid, objid, deptype FROM pg_depend WHERE refclassid = 'pg_class'::regclass AND refobjid = $1
            UNION  -- through what belongs to the table, such as its key, which another table's foreign key refers to
            SELECT d.classid, d.objid, d.deptype FROM pg_depend d JOIN dependant o
                ON d.refclassid = o.classid AND d.refobjid = o.objid
            WHERE o.deptype IN ('a', 'i')
        )
        SELECT DISTINCT CASE
            WHEN v.oid IS NOT NULL THEN format('%s %s', CASE v.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END,
                                               v.oid::regclass)
            WHEN c.oid IS NOT NULL THEN format('foreign key %I of %s', c.conname, c.conrelid::regclass)
            ELSE pg_describe_object(d.classid, d.objid, 0)
        END AS what
        FROM dependant d
        LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
        LEFT JOIN pg_class v ON v.oid = r.ev_class
        LEFT JOIN pg_constraint c ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid
        WHERE d.deptype = 'n' AND NOT EXISTS (
            SELECT FROM dependant own
            WHERE own.classid = d.classid AND own.objid = d.objid AND own.deptype IN ('a', 'i')
        )
        ORDER BY what
        """,
        oid,
    )
    return [one_line(row["what"]) for row in rows]


async def _hand_over(connection: asyncpg.Connection, old_oid: int, staging: TableName) -> None:
    """Give the new table the old one's owner, grants and comment."""
    old = await connection.fetchrow(
        "SELECT pg_get_userbyid(relowner) AS owner, relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)"
        " AS is_ours, obj_description(oid, 'pg_class') AS comment FROM pg_class WHERE oid = $1",
        old_oid,
    )
    grants = await connection.fetch(
        """
        SELECT g.privilege_type AS privilege, g.is_grantable,
               CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END AS grantee
        FROM pg_class c, aclexplode(c.relacl) g WHERE c.oid = $1 AND g.grantee <> c.relowner
        """,
        old_oid,
    )
    for grant in grants:
        option = " WITH GRANT OPTION" if grant["is_grantable"] else ""
        await connection.execute(f"GRANT {grant['privilege']} ON {staging.sql} TO {grant['grantee']}{option}")
    if old["comment"] is not None:
        literal = await connection.fetchval("SELECT quote_literal($1::text)", old["comment"])
        await connection.execute(f"COMMENT ON TABLE {staging.sql} IS {literal}")
    if not old["is_ours"]:
        await connection.execute(f"ALTER TABLE {staging.sql} OWNER TO {quote_identifier(old['owner'])}")
