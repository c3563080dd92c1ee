"""The end of a load: primary keys, ANALYZE, counts, and the swap of mode `replace`.

Each step looks at what is there first, so a run that broke off while finishing can go through all of them again.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from collections.abc import Mapping as Lookup

import asyncpg

from engine.errors import MigrationError
from engine.mapping.model import Mapping
from engine.mapping.names import TableName, quote_identifier
from engine.postgres import attachments, ddl
from engine.postgres.attachments import Earlier, Fate, Found
from engine.postgres.blockers import naming_blockers
from engine.postgres.exchange import Exchange, exchange, holds_values, named
from engine.postgres.existing import EarlierOf
from engine.postgres.maintenance import raise_means
from engine.postgres.names import free_name, taken_relations
from engine.postgres.queries import one_row
from engine.postgres.sqlstates import describe, may_pass
from engine.postgres.tables import has_primary_key, has_unique
from engine.rows import TableLoad

KEY_MEMORY = "256MB"
"""maintenance_work_mem while a key is built, where the server's own is lower: keys of a million rows sort in memory."""
SAMPLED_ROWS = 30_000
"""Rows that ANALYZE takes of a larger table, with the usual default_statistics_target of 100."""
JSON_SHARE = 10
"""Of jsonb columns ANALYZE takes this part (a tenth) of the rows that it takes of others."""
WIDE_COLUMNS = 20
"""With more columns ANALYZE takes as many values in all as with so many: fewer rows of each."""
FEWEST_FOR_WIDE = 10
"""The lowest statistics target that comes of it: the one of the second stage of `vacuumdb --analyze-in-stages`."""
LOCK_TIMEOUT_S = 5.0
"""Keys, indexes and ANALYZE wait so long for another session's lock; then its holder is named, and it is tried again."""
SWAP_LOCK_S = 3.0
"""The swap waits so long for its locks, all together. Readers of a table that it waits for queue behind it, so that none is
held up for longer. More than the second after which PostgreSQL ends an autovacuum that is in the way."""
_FEWER_ROWS = """
SELECT set_config('default_statistics_target', t.wanted::text, true)
FROM (SELECT greatest(1, current_setting('default_statistics_target')::int / $1::int)) AS t (wanted)
"""
_FEWER_VALUES = """
SELECT set_config('default_statistics_target', least(t.now, greatest($3::int, t.now * $1::int / $2::int))::text, true)
FROM (SELECT current_setting('default_statistics_target')::int) AS t (now)
"""
_HAS_AUTOVACUUM = "SELECT current_setting('autovacuum')::boolean AND current_setting('track_counts')::boolean"
_NAME = "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1"


class KeyTwice(MigrationError):
    """Two rows have the same key."""


async def build_key(
    connection: asyncpg.Connection,
    load: TableLoad,
    mapping: Mapping,
    *,
    has_key: bool,
    key_name: str = "",
    at_once: int = 1,
) -> bool:
    """Make `_id` the primary key of a table that the run made, unless it has one; of a staging table, unless it has any.
    True when it was built just now.

    Args:
        connection: not in a transaction; its `lock_timeout` bounds the wait for others.
        load: the table.
        mapping: its columns.
        has_key: the plan wants a key; a view may hold an `_id` twice.
        key_name: what it is to be called once the table has its name; empty is what PostgreSQL would call it.
        at_once: keys that may be built at a time.

    Raises:
        KeyTwice: two rows have the same one.
        MigrationError: it cannot be built; the rows stay as they are.
        asyncpg.PostgresError, OSError: the server or the connection is at fault; trying again may help.
    """
    if not has_key or not (load.made or load.staging is not None):
        return False
    table = await current_name(connection, load)
    column = mapping.id_column.name
    if await has_unique(connection, table, column) or (not load.made and await has_primary_key(connection, table)):
        return False
    try:
        async with naming_blockers(connection, [table], "AccessExclusiveLock"), connection.transaction():
            await raise_means(connection, KEY_MEMORY, at_once)
            name = key_name if key_name and table == load.target else ddl.key_name(table)
            if await taken_relations(connection, table.schema, [name]):  # since it was chosen
                name = await free_name(connection, table.schema, table.table, ddl.KEY_SUFFIX)
            await connection.execute(ddl.add_primary_key(table, column, name))
    except asyncpg.PostgresError as error:
        if may_pass(error):
            raise
        message = (
            f"The primary key of {table} cannot be built: {describe(error)[1]} All rows are there; resume the run when "
            "the cause is gone."
        )
        if isinstance(error, asyncpg.UniqueViolationError):
            raise KeyTwice(message, code="key") from error
        raise MigrationError(message, code="key") from error
    return True


async def analyze(connection: asyncpg.Connection, load: TableLoad, *, rows_made: int = 0) -> None:
    """ANALYZE the table.

    It is the longest step behind the last row of a wide table, and one core's. So of a large new table it takes fewer rows of
    jsonb columns, since sorting documents takes more time than all other columns and few plans ask how they compare; and of
    more than `WIDE_COLUMNS` others fewer rows of each, as `vacuumdb --analyze-in-stages` begins. For PostgreSQL such a table is
    not all analyzed, so its autovacuum does that in the background.

    Args:
        connection: not in a transaction.
        load: the table.
        rows_made: rows that the run has written to a table that it has made, whose columns have no statistics target of their
            own; the server may know nothing yet of how many there are. 0: a table of others.
    """
    table = await current_name(connection, load)
    json_columns, others = await _columns_of(connection, table) if rows_made > SAMPLED_ROWS else ([], [])
    is_wide = len(others) > WIDE_COLUMNS and await connection.fetchval(_HAS_AUTOVACUUM)
    async with naming_blockers(connection, [table], "ShareUpdateExclusiveLock"):
        if json_columns and others:
            async with connection.transaction():
                await connection.execute(_FEWER_ROWS, JSON_SHARE)
                await connection.execute(ddl.analyze(table, json_columns))
        async with connection.transaction():
            if is_wide:
                await connection.execute(_FEWER_VALUES, WIDE_COLUMNS, len(others), FEWEST_FOR_WIDE)
            await connection.execute(ddl.analyze(table, others if json_columns or is_wide else ()))


async def _columns_of(connection: asyncpg.Connection, table: TableName) -> tuple[list[str], list[str]]:
    """The jsonb columns, and the others."""
    rows = await connection.fetch(
        "SELECT attname::text AS name, atttypid = 'jsonb'::regtype AS is_json FROM pg_attribute"
        " WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
        table.sql,
    )
    return [row["name"] for row in rows if row["is_json"]], [row["name"] for row in rows if not row["is_json"]]


async def count_rows(connection: asyncpg.Connection, load: TableLoad) -> int:
    """Rows in the table that was written to.

    Raises:
        MigrationError: another session locks it; trying again may help.
        asyncpg.PostgresError, OSError: the server or the connection is at fault.
    """
    return await rows_in(connection, await current_name(connection, load))


async def rows_in(connection: asyncpg.Connection, table: TableName) -> int:
    """Rows in a table, unless another session keeps it locked.

    Raises:
        MigrationError: another session locks it; trying again may help.
    """
    # Others use this connection, too: it may not wait for ever.
    async with naming_blockers(connection, [table], "AccessShareLock"), connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = {round(LOCK_TIMEOUT_S * 1000)}")
        # Rows of tables that inherit from it are theirs; those of partitions are the table's.
        kind = await connection.fetchval("SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)", table.sql)
        only = "ONLY " if kind == "r" else ""
        return int(await connection.fetchval(f"SELECT count(*) FROM {only}{table.sql}"))  # noqa: S608 - a quoted name


async def rows_since(connection: asyncpg.Connection, load: TableLoad, age: int) -> int | None:
    """Rows of the table that were written by younger transactions than that of this age; None where a table does not say.

    Each row counts once, however often it was written.
    """
    table = await current_name(connection, load)
    try:
        async with connection.transaction():
            return int(
                await connection.fetchval(f"SELECT count(*) FROM {table.sql} WHERE age(xmin) < $1", age)  # noqa: S608
            )
    except asyncpg.FeatureNotSupportedError:  # partitions on other servers
        return None


async def set_sequences(connection: asyncpg.Connection, table: TableName, columns: Collection[str]) -> list[str]:
    """Let sequences that belong to columns of a table, such as those of `serial` and identity columns, go on behind the largest
    value that is there; what they are called, each with its new value, where one was behind.

    Args:
        columns: sequences of others are left alone.

    Raises:
        asyncpg.PostgresError: the role may not set one, or the server is at fault.
    """
    rows = await connection.fetch(
        "SELECT d.objid::regclass::text AS sequence, a.attname::text AS name, s.seqincrement > 0 AS grows,"
        " quote_literal(d.objid::regclass::text) AS literal"
        " FROM pg_depend d JOIN pg_sequence s ON s.seqrelid = d.objid"
        " JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
        " WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')"
        " AND d.refobjid = to_regclass($1) AND a.attname = ANY($2::text[]) ORDER BY 1",
        table.sql,
        list(columns),
    )
    found = []
    for row in rows:
        column = quote_identifier(row["name"])
        most, farther = ("max", ">") if row["grows"] else ("min", "<")
        value = await connection.fetchval(
            f"SELECT setval({row['literal']}::regclass, t.most) FROM (SELECT {most}({column})::bigint AS most"  # noqa: S608
            f" FROM {table.sql}) t, {row['sequence']} s WHERE t.most {farther} s.last_value OR"
            f" (t.most = s.last_value AND NOT s.is_called)"
        )
        if value is not None:
            found.append(f"{row['sequence']} = {value}")
    return found


async def current_name(connection: asyncpg.Connection, load: TableLoad) -> TableName:
    """What the table that was written to is called now: after a swap, the staging table bears the target's name.

    Raises:
        MigrationError: it was dropped.
    """
    found = await connection.fetchrow(_NAME, load.table_oid)
    if found is None and load.staging is not None:
        # The contents were exchanged: the ledger has the table that took the rows. The staging name has the run's id in it.
        oid = await connection.fetchval(
            "SELECT table_oid FROM mongopg.table_load WHERE schema_name = $1 AND table_name = $2 AND staging_table = $3",
            load.target.schema,
            load.target.table,
            load.staging.table,
        )
        found = await connection.fetchrow(_NAME, oid)
    if found is None:
        raise MigrationError(
            f"Table {load.loads_into}, as the run wrote it, is gone: it was dropped, or a later run has replaced it."
        )
    return TableName(*found)


async def swap(
    connection: asyncpg.Connection,
    run_id: str,
    loads: Sequence[TableLoad],
    earlier_of: EarlierOf,
    *,
    drops: Collection[str] = (),
    planned_indexes: Lookup[int, Sequence[str]] | None = None,
    key_names: Lookup[int, str] | None = None,
    seal: Callable[[asyncpg.Connection], Awaitable[None]] | None = None,
) -> None:
    """Put the rows of mode `replace` in the place of the old ones, all tables in one transaction.

    A table on which nothing hangs is dropped, and the staging table takes its name, owner, grants and comment; where something
    hangs on it, also since the load began, the contents are exchanged (`engine.postgres.exchange`). Readers see all old rows or
    all new ones.

    Args:
        connection: not in a transaction.
        run_id: of the run.
        loads: its tables.
        earlier_of: reads what earlier runs wrote into a table.
        drops: kinds of attachments that may be dropped with an old table.
        planned_indexes: what the run makes, by task, as `attachments.index_signature` spells them.
        key_names: what primary keys are to be called, by task, where that is not what PostgreSQL would call them.
        seal: what belongs into the same transaction, at its end.

    Raises:
        MigrationError: a foreign key refers to an old table, the rows do not go into a table that stays, or a session has kept
            one locked for `SWAP_LOCK_S`; nothing is changed then.
    """
    names = [name for load in loads if load.staging is not None for name in (load.staging, load.target)]
    async with naming_blockers(connection, names, "AccessExclusiveLock"), connection.transaction():
        waiting = [load for load in loads if load.staging is not None and not await is_swapped(connection, load)]
        old_tables = await _lock_all(connection, waiting)
        exchanged: list[Exchange] = []
        for load in waiting:
            assert load.staging is not None
            old_oid = old_tables.get(load.target)
            if old_oid is None:
                await _name_not_nulls(connection, load)
                await _take_name(connection, load, (key_names or {}).get(load.task_id, ""))
                continue
            mapping = Mapping.model_validate_json(load.mapping)
            earlier = Earlier.of(await earlier_of(connection, load.target))
            found = await _hanging_on(
                connection, load, old_oid, mapping, earlier, drops, (planned_indexes or {}).get(load.task_id, ()),
                list(old_tables.values()),
            )  # fmt: skip
            has_key = await has_unique(connection, load.staging, mapping.id_column.name)
            table = Exchange(load.target, load.staging, old_oid, mapping, earlier, has_key)
            # Values in columns of others tell that it is the collection's table after all.
            if found or not load.made or ("column" not in drops and await holds_values(connection, table)):
                exchanged.append(table)
                continue
            await _name_not_nulls(connection, load, old_oid)
            await _hand_over(connection, old_oid, load.staging)
            old = ddl.old_name(load.target, run_id)
            await connection.execute(ddl.rename_table(load.target, old.table))
            await connection.execute(ddl.drop_table(old))
            await _take_name(connection, load, (key_names or {}).get(load.task_id, ""))
        await exchange(connection, run_id, exchanged)
        if seal is not None:
            await seal(connection)


async def swap_obstacles(
    connection: asyncpg.Connection,
    loads: Sequence[TableLoad],
    earlier_of: EarlierOf,
    *,
    drops: Collection[str] = (),
    planned_indexes: Lookup[int, Sequence[str]] | None = None,
) -> list[str]:
    """Why `swap` would not put the tables in place, as it looks now, a sentence each; nothing is locked for that."""
    waiting = [load for load in loads if load.staging is not None and not await is_swapped(connection, load)]
    found: list[str] = []
    old_tables: dict[TableName, int] = {}
    for load in waiting:
        try:
            if await _kind_of_old(connection, load) is not None:
                old_tables[load.target] = await connection.fetchval("SELECT to_regclass($1)::oid", load.target.sql)
        except MigrationError as error:
            found.append(error.message)
    for load in waiting:
        old_oid = old_tables.get(load.target)
        if old_oid is None:
            continue
        mapping = Mapping.model_validate_json(load.mapping)
        earlier = Earlier.of(await earlier_of(connection, load.target))
        try:
            await _hanging_on(
                connection, load, old_oid, mapping, earlier, drops, (planned_indexes or {}).get(load.task_id, ()),
                list(old_tables.values()),
            )  # fmt: skip
        except MigrationError as error:
            found.append(error.message)
    return found


async def _hanging_on(
    connection: asyncpg.Connection,
    load: TableLoad,
    old_oid: int,
    mapping: Mapping,
    earlier: Earlier,
    drops: Collection[str],
    planned_indexes: Sequence[str],
    others: list[int],
) -> list[Found]:
    """What hangs on an old table, without what may be dropped with it.

    Raises:
        MigrationError: the table cannot be replaced for it.
    """
    found = await attachments.look(
        connection, old_oid, load.target, mapping, earlier=earlier, planned_indexes=planned_indexes, others=others
    )
    found = [each for each in found if each.attachment.kind not in drops or not each.attachment.may_go]
    refused = [each for each in found if each.attachment.fate is Fate.REFUSED]
    if refused:
        referring = [each for each in found if each in refused or each.attachment.kind in attachments.REFERRING]
        words = ", ".join(each.what for each in referring)
        raise MigrationError(
            f"Table {load.target} cannot be replaced, since {words} depend on it: drop them, or use mode append or "
            f"upsert. The new rows are in {load.staging}.",
            code="dependants",
        )
    if found and await attachments.is_another(connection, old_oid, mapping, earlier):
        raise MigrationError(
            f"Table {load.target} cannot be replaced, since it has none of the plan's columns, and {named(found)} "
            f"would be lost with it: drop what hangs on it, then resume the run. The new rows are in {load.staging}.",
            code="dependants",
        )
    return found


async def is_swapped(connection: asyncpg.Connection, load: TableLoad) -> bool:
    """The staging table has the old one's place already: from then on others may write to it."""
    return load.staging is not None and await current_name(connection, load) == load.target


async def _lock_all(connection: asyncpg.Connection, loads: Sequence[TableLoad]) -> dict[TableName, int]:
    """Lock everything that a swap renames, before anything is done; the OIDs of the old tables that are there.

    All at the beginning, so that no session waits for one table while we wait for another for longer than `SWAP_LOCK_S`; and
    nothing may come to depend on an old table between the look and the drop. Our own, which are not read, first.
    """
    deadline = time.monotonic() + SWAP_LOCK_S
    old_tables = {}
    for load in sorted(loads, key=lambda load: str(load.target)):
        assert load.staging is not None
        await _lock(connection, load.staging, deadline)
    for load in sorted(loads, key=lambda load: str(load.target)):
        kind = await _kind_of_old(connection, load)
        if kind is not None:
            await _lock(connection, load.target, deadline, only="ONLY " if kind == "r" else "")
            # The session that had it locked may have put another in its place.
            old_tables[load.target] = await connection.fetchval("SELECT to_regclass($1)::oid", load.target.sql)
    # What the drop still has to lock, such as tables that the old one refers to.
    await connection.execute(f"SET LOCAL lock_timeout = {round(SWAP_LOCK_S * 1000)}")
    return old_tables


async def _kind_of_old(connection: asyncpg.Connection, load: TableLoad) -> str | None:
    """`r` or `p` of the table that is to be replaced; None where there is none.

    Raises:
        MigrationError: something else has taken its name.
    """
    sql = "SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)"
    kind: str | None = await connection.fetchval(sql, load.target.sql)
    if kind is not None and kind not in ("r", "p"):
        raise MigrationError(
            f"{load.target} is not a table any more: rename what has taken its name, then resume the run. The new rows "
            f"are in {load.staging}.",
            code="not_a_table",
        )
    return kind


async def _lock(connection: asyncpg.Connection, table: TableName, deadline: float, only: str = "") -> None:
    left_ms = max(1, round((deadline - time.monotonic()) * 1000))
    await connection.execute(f"SET LOCAL lock_timeout = {left_ms}")
    await connection.execute(f"LOCK TABLE {only}{table.sql} IN ACCESS EXCLUSIVE MODE")


async def dependants(connection: asyncpg.Connection, table: TableName) -> list[str]:
    """What refers to a table from elsewhere, as text."""
    oid = await connection.fetchval("SELECT to_regclass($1)::oid", table.sql)
    return [] if oid is None else await attachments.dependants(connection, oid)


async def _take_name(connection: asyncpg.Connection, load: TableLoad, key_name: str) -> None:
    """Rename the staging table and its key."""
    assert load.staging is not None
    await connection.execute(ddl.rename_table(load.staging, load.target.table))
    key = await connection.fetchval(
        "SELECT conname FROM pg_constraint WHERE conrelid = $1 AND contype = 'p'", load.table_oid
    )
    if key == ddl.key_name(load.staging):
        name = key_name or ddl.key_name(load.target)
        if await taken_relations(connection, load.target.schema, [name]):  # since it was chosen
            name = await free_name(connection, load.target.schema, load.target.table, ddl.KEY_SUFFIX)
        await connection.execute(ddl.rename_constraint(load.target, key, name))


async def _name_not_nulls(connection: asyncpg.Connection, load: TableLoad, old_oid: int = 0) -> None:
    """Give NOT NULLs, which have names since PostgreSQL 18, those of the old table, else those that a table has by itself."""
    assert load.staging is not None
    names = await connection.fetch(
        """
        WITH named AS (
            SELECT c.conrelid, c.conname, a.attname
            FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
            WHERE c.conrelid IN ($1, $2) AND c.contype = 'n'
        )
        SELECT made.conname AS made, made.attname AS column, old.conname AS old
        FROM named made LEFT JOIN named old ON old.conrelid = $2 AND old.attname = made.attname WHERE made.conrelid = $1
        """,
        load.table_oid,
        old_oid,
    )
    for each in names:
        name = each["old"] or ddl.fitted(f"{load.target.table}_{each['column']}", "_not_null")
        if each["made"] != name:
            await connection.execute(ddl.rename_constraint(load.staging, each["made"], name))


async def _hand_over(connection: asyncpg.Connection, old_oid: int, staging: TableName) -> None:
    """Give the new table the old one's owner, rights and comment."""
    old = await one_row(
        connection,
        "SELECT quote_ident(pg_get_userbyid(relowner)) AS owner, relowner = (SELECT oid FROM pg_roles WHERE rolname ="
        " current_user) AS is_ours, relacl IS NULL AS is_plain, obj_description(oid, 'pg_class') AS comment"
        " FROM pg_class WHERE oid = $1",
        old_oid,
    )
    if not old["is_ours"]:  # first: a role that may act for the owner grants in its name
        await connection.execute(f"ALTER TABLE {staging.sql} OWNER TO {old['owner']}")
    # Default privileges may have given the new table rights that the old one has not.
    given = await _grantees(connection, staging)
    holders = [role for role in given if role != old["owner"]] if old["is_plain"] else [*given, old["owner"]]
    for role in dict.fromkeys(holders):
        await connection.execute(f"REVOKE ALL ON {staging.sql} FROM {role}")
    grants = await connection.fetch(
        """
        SELECT string_agg(g.privilege_type, ', ' ORDER BY g.nth) AS privileges, g.is_grantable AND g.grantee <> c.relowner
               AS is_grantable,
               CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END AS grantee
        FROM pg_class c, aclexplode(c.relacl) WITH ORDINALITY g (grantor, grantee, privilege_type, is_grantable, nth)
        WHERE c.oid = $1 GROUP BY 2, 3 ORDER BY min(g.nth)
        """,
        old_oid,
    )
    for grant in grants:
        option = " WITH GRANT OPTION" if grant["is_grantable"] else ""
        await connection.execute(f"GRANT {grant['privileges']} ON {staging.sql} TO {grant['grantee']}{option}")
    if old["comment"] is not None:
        literal = await connection.fetchval("SELECT quote_literal($1::text)", old["comment"])
        await connection.execute(f"COMMENT ON TABLE {staging.sql} IS {literal}")


async def _grantees(connection: asyncpg.Connection, table: TableName) -> list[str]:
    rows = await connection.fetch(
        "SELECT DISTINCT CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END AS role"
        " FROM pg_class c, aclexplode(c.relacl) g WHERE c.oid = to_regclass($1)",
        table.sql,
    )
    return [row["role"] for row in rows]
