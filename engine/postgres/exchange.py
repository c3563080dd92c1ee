"""New contents for a table that stays: how mode `replace` deals with a table on which something hangs.

The rows are loaded beside, into a staging table that has the old one's types, CHECKs and unique indexes, so that a row that
the table would refuse costs that row. Then, in the transaction of the swap and under its locks, TRUNCATE and INSERT put them
into the old table. It keeps its OID, so views, policies, grants, publications, foreign keys, partitions and whatever else hangs
on it stay by construction, subscribers receive the change, and triggers fire as for any INSERT.

Columns that no plan made keep their values where a row of the same `_id` is written again. Row security that is forced on the
owner, rules, and rights that the owner revoked from itself are set aside inside the transaction, and are back before it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from engine.errors import MigrationError, UsageError
from engine.mapping.cautions import listed
from engine.mapping.kinds import NUMBERS, kinds_that_always_fit
from engine.mapping.model import ColumnType, Mapping, Role
from engine.mapping.names import TableName, quote_identifier
from engine.plurals import counted
from engine.postgres import ddl
from engine.postgres.attachments import Earlier, Found
from engine.postgres.names import free_name
from engine.postgres.queries import one_row
from engine.postgres.sqlstates import describe, may_pass, one_line
from engine.postgres.tables import (
    ExistingColumn,
    bounded,
    check_fits,
    describe_table,
    has_primary_key,
    has_unique,
    spelling,
)

KEPT_MARK = "__mongopg_kept_"
"""Between the table's name and the run's in the name of the table that holds values of other columns for a moment."""
PARTITIONS_CHECKED = 64
"""Of a table with more partitions than this, a row that fits none is found by the swap only."""
_ATTACHED_SHOWN = 5
_ROW_TRIGGERS = """
    tgrelid IN (SELECT to_regclass($1) UNION SELECT relid FROM pg_partition_tree(to_regclass($1)))
    AND tgtype & 7 = 7 AND tgenabled IN ('O', 'A') AND NOT tgisinternal
"""
"""Those of a table and of its partitions that may change a row before the table looks at it, or leave it out: ROW (1),
BEFORE (2), INSERT (4)."""
_COLUMN_TYPES = {spelling(each.value): each for each in ColumnType}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A table whose contents are exchanged."""

    target: TableName
    staging: TableName
    oid: int
    """Of the target."""
    mapping: Mapping
    earlier: Earlier
    has_key: bool


# --- before the load --------------------------------------------------------------------------------------------------


async def fitted_for(
    connection: asyncpg.Connection, target: TableName, mapping: Mapping, found: Sequence[Found]
) -> Mapping:
    """The mapping within the bounds of a table that stays.

    Raises:
        UsageError: the rows cannot go into it; the message names what keeps it in place, and each column that is in the way.
    """
    existing = await describe_table(connection, target)
    mapping = _widened(mapping, existing)
    if await _gets_no_columns(connection, target):
        mapping = _without_missing_extra(mapping, existing)
    problems = await misfits(connection, target, mapping, existing)
    if problems:
        raise UsageError(
            f"Table {target} cannot be replaced as a whole, since {named(found)} would be lost, and the plan's rows do not "
            f"go into it as it is: {' '.join(problems)} Alter the table or the plan, drop what hangs on it, or name it in "
            "run.replace_drops.",
            code="table_differs",
        )
    fitted = bounded(mapping, existing)
    if await _has_row_triggers(connection, target):  # which may fill in what is missing
        nullable = {column.name: column.nullable for column in mapping.columns}
        columns = tuple(column.model_copy(update={"nullable": nullable[column.name]}) for column in fitted.columns)
        fitted = fitted.model_copy(update={"columns": columns})
    return fitted


def _widened(mapping: Mapping, existing: Sequence[ExistingColumn]) -> Mapping:
    """The mapping with the table's own types, where those take every kind that the plan's columns take."""
    types = {column.name: column.base for column in existing}
    columns = []
    for column in mapping.columns:
        base = types.get(column.name, "")
        wanted = _COLUMN_TYPES.get(base)
        if (
            wanted is not None
            and base != spelling(column.sql_type)
            and column.role in (Role.FIELD, Role.ID)
            and not column.array
            and column.kinds
            and column.kinds <= kinds_that_always_fit(wanted, mapping.options)
            and (column.role is Role.FIELD or column.kinds <= NUMBERS)
        ):
            column = column.model_copy(update={"type": wanted})
        columns.append(column)
    return mapping.model_copy(update={"columns": tuple(columns)})


def named(found: Sequence[Found]) -> str:
    """Some things that hang on a table, as text."""
    words = list(dict.fromkeys(each.what for each in found))
    more = f" and {len(words) - _ATTACHED_SHOWN} more" if len(words) > _ATTACHED_SHOWN else ""
    return ", ".join(words[:_ATTACHED_SHOWN]) + more


async def misfits(
    connection: asyncpg.Connection, target: TableName, mapping: Mapping, existing: Sequence[ExistingColumn]
) -> list[str]:
    """Why rows cannot go into a table that stays, apart from columns that can be added; a sentence each."""
    there = {column.name for column in existing}
    present = tuple(column for column in mapping.columns if column.name in there)
    problems = check_fits(mapping.model_copy(update={"columns": present}), existing)
    missing = [column.name for column in mapping.columns if column.name not in there]
    if missing and (obstacle := await _gets_no_columns(connection, target)):
        names = ", ".join(one_line(name) for name in missing)
        problems.append(f"It lacks {names}, and {obstacle} gets no columns here.")
    return problems


async def _gets_no_columns(connection: asyncpg.Connection, target: TableName) -> str:
    """What a table is whose columns are not its own alone; empty where one can be added."""
    found = await connection.fetchval(
        "SELECT CASE WHEN c.relispartition THEN 'a partition' WHEN c.reloftype <> 0 THEN 'a table of a type'"
        " WHEN c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid) THEN 'a table with children'"
        " END FROM pg_class c WHERE c.oid = to_regclass($1)",
        target.sql,
    )
    return str(found or "")


def _without_missing_extra(mapping: Mapping, existing: Sequence[ExistingColumn]) -> Mapping:
    """The mapping without an `_extra` that the table has not: a document with a value that has no place is a reject then."""
    there = {column.name for column in existing}
    columns = tuple(each for each in mapping.columns if each.role is not Role.EXTRA or each.name in there)
    if len(columns) == len(mapping.columns):
        return mapping
    options = mapping.options.model_copy(update={"overflow": "reject"})
    return mapping.model_copy(update={"columns": columns, "options": options})


async def staging_statements(
    connection: asyncpg.Connection, target: TableName, staging: TableName, mapping: Mapping, key: str
) -> list[str]:
    """SQL that makes a staging table whose rows the old table will take.

    Args:
        key: name of the key of `_id` to build before the load; "" builds none.
    """
    facts = await one_row(
        connection,
        "SELECT c.oid, c.relispartition, c.relkind::text AS kind, quote_ident(pg_get_userbyid(c.relowner)) AS owner,"
        " has_table_privilege(c.oid, 'SELECT') AS may_read FROM pg_class c WHERE c.oid = to_regclass($1)",
        target.sql,
    )
    existing = await describe_table(connection, target)
    names = [column.name for column in mapping.columns]
    own = [column.name for column in existing if column.name not in names and not column.generated]
    is_bare = await _has_row_triggers(connection, target)
    like = f"CREATE TABLE {staging.sql} (LIKE {target.sql} INCLUDING GENERATED{'' if is_bare else ' INCLUDING CONSTRAINTS'})"
    # The owner of a table may have revoked its own right to read it.
    given, taken = _right("SELECT", target, facts["owner"]) if not facts["may_read"] else ("", "")
    statements = [given, like, taken]
    there = {column.name for column in existing}
    changes = [f"DROP COLUMN {quote_identifier(name)} CASCADE" for name in own]
    changes += [
        f"ADD COLUMN {quote_identifier(column.name)} {column.sql_type}"
        for column in mapping.columns
        if column.name not in there
    ]
    if is_bare:
        changes += [
            f"ALTER COLUMN {quote_identifier(column.name)} DROP NOT NULL"
            for column in existing
            if column.name in names and column.name != mapping.id_column.name
        ]
    statements += [f"ALTER TABLE {staging.sql} {', '.join(changes)}"] if changes else []
    if not is_bare:
        statements += await _unique_statements(connection, facts["oid"], staging, names)
        statements += await _partition_statements(connection, facts["oid"], staging)
    if key and not await has_primary_key(connection, target):
        statements.append(ddl.add_primary_key(staging, mapping.id_column.name, key))
    return [statement for statement in statements if statement]


async def check_order(connection: asyncpg.Connection, oids: Sequence[int]) -> None:
    """Raise UsageError where tables that are exchanged together refer to each other in a ring."""
    await _in_order(connection, oids)


async def _unique_statements(
    connection: asyncpg.Connection, oid: int, staging: TableName, names: Sequence[str]
) -> list[str]:
    """UNIQUE, EXCLUDE and primary keys of the old table for the staging table, as far as its columns go; checked at once."""
    rows = await connection.fetch(
        """
        SELECT pg_get_indexdef(i.indexrelid) AS definition, pg_get_constraintdef(c.oid) AS "constraint",
               format('CREATE UNIQUE INDEX %I ON %s%I.%I USING ', n.relname, CASE t.relkind WHEN 'p' THEN 'ONLY ' ELSE '' END,
                      s.nspname, t.relname) AS beginning
        FROM pg_index i JOIN pg_class n ON n.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
        JOIN pg_namespace s ON s.oid = t.relnamespace
        LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid AND c.contype IN ('p', 'u', 'x')
        WHERE i.indrelid = $1 AND (i.indisunique OR i.indisexclusion) AND i.indisready AND NOT EXISTS (
            SELECT FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1 AND d.refobjsubid > 0
              AND (d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                   OR d.classid = 'pg_constraint'::regclass AND d.objid = c.oid)
              AND a.attname <> ALL ($2::text[])
        )
        """,
        oid,
        list(names),
    )
    statements = []
    for row in rows:
        if row["constraint"] is not None:
            definition = row["constraint"].removesuffix(" INITIALLY DEFERRED").removesuffix(" DEFERRABLE")
            statements.append(f"ALTER TABLE {staging.sql} ADD {definition}")
        elif row["definition"].startswith(row["beginning"]):
            definition = row["definition"].removeprefix(row["beginning"])
            statements.append(f"CREATE UNIQUE INDEX ON {staging.sql} USING {definition}")
    return statements


async def _partition_statements(connection: asyncpg.Connection, oid: int, staging: TableName) -> list[str]:
    """A CHECK of what a partition, or one of the partitions, takes."""
    rows = await connection.fetch(
        "SELECT pg_get_partition_constraintdef(c.oid) AS condition FROM pg_class c"
        " LEFT JOIN LATERAL (SELECT t.relid FROM pg_partition_tree(c.oid) t WHERE t.isleaf) leaf ON true"
        " WHERE c.oid = $1 AND c.relispartition AND c.relkind <> 'p' UNION ALL"
        " SELECT pg_get_partition_constraintdef(t.relid) FROM pg_class c, pg_partition_tree(c.oid) t"
        " WHERE c.oid = $1 AND c.relkind = 'p' AND t.isleaf LIMIT $2",
        oid,
        PARTITIONS_CHECKED + 1,
    )
    conditions = [row["condition"] for row in rows]
    if not conditions or len(conditions) > PARTITIONS_CHECKED or None in conditions:
        return []
    return [f"ALTER TABLE {staging.sql} ADD CHECK ({' OR '.join(f'({each})' for each in conditions)})"]


async def _has_row_triggers(connection: asyncpg.Connection, target: TableName) -> bool:
    return bool(
        await connection.fetchval(
            f"SELECT EXISTS (SELECT FROM pg_trigger WHERE {_ROW_TRIGGERS})",  # noqa: S608 - our own words
            target.sql,
        )
    )


# --- in the transaction of the swap -----------------------------------------------------------------------------------


async def exchange(connection: asyncpg.Connection, run_id: str, tables: Sequence[Exchange]) -> None:
    """Put the rows of staging tables into the tables that stay, and drop the staging tables.

    Args:
        connection: in a transaction that holds ACCESS EXCLUSIVE locks on all of them.
        run_id: of the run.
        tables: all of them; they may refer to each other.

    Raises:
        MigrationError: the rows do not go in; roll back, and nothing is changed.
        asyncpg.PostgresError, OSError: the server or the connection is at fault; trying again may help.
    """
    if not tables:
        return
    order = await _in_order(connection, [table.oid for table in tables])
    by_oid = {table.oid: table for table in tables}
    tables = [by_oid[oid] for oid in order]
    works = [await _Work.begin(connection, run_id, table) for table in tables]
    names = [await _only(connection, table.oid) + table.target.sql for table in tables]
    await _refusable(connection, tables, f"TRUNCATE {', '.join(names)}")
    await connection.execute("SET CONSTRAINTS ALL DEFERRED")
    for work in works:
        await work.write()
    await _refusable(connection, tables, "SET CONSTRAINTS ALL IMMEDIATE")
    for work in works:
        await work.end()


@dataclass(slots=True)
class _Work:
    """One table's part of it."""

    connection: asyncpg.Connection
    run_id: str
    table: Exchange
    columns: list[str]
    """Of the plan, which both tables have."""
    own: list[str]
    """Other columns whose values are kept."""
    restore: list[str]
    """SQL that brings back what was set aside."""
    n_rows: int

    @classmethod
    async def begin(cls, connection: asyncpg.Connection, run_id: str, table: Exchange) -> _Work:
        """Look again at the columns, save what is to be kept, and set aside what is in the way."""
        existing = await describe_table(connection, table.target)
        problems = await misfits(connection, table.target, table.mapping, existing)
        if problems:
            raise MigrationError(
                f"Table {table.target} was not replaced, since something was hung on it during the load and the rows do not "
                f"go into it: {' '.join(problems)} {_as_it_was(table)}",
                code="table_differs",
            )
        there = {column.name for column in existing}
        added = [column for column in table.mapping.columns if column.name not in there]
        if added:
            changes = ", ".join(f"ADD COLUMN {quote_identifier(each.name)} {each.sql_type}" for each in added)
            await connection.execute(f"ALTER TABLE {table.target.sql} {changes}")
        restore = await _set_aside(connection, table)
        columns = [column.name for column in table.mapping.columns]
        ours = {*columns, *table.earlier.columns}
        own = [column.name for column in existing if column.name not in ours and not column.generated]
        key = table.mapping.id_column.name
        if not (own and key in there and await _is_unique(connection, table, key)):
            own = []
        n_rows = int(await connection.fetchval(f"SELECT count(*) FROM {table.staging.sql}"))  # noqa: S608 - a quoted name
        work = cls(connection, run_id, table, columns, own, restore, n_rows)
        if own:
            await work.keep()
        return work

    @property
    def _kept(self) -> TableName:
        name = ddl.fitted(self.table.target.table, KEPT_MARK + self.run_id)
        return TableName(self.table.target.schema, name)

    async def keep(self) -> None:
        """Save the values of other columns, of rows that are written again."""
        key = quote_identifier(self.table.mapping.id_column.name)
        names = ", ".join(quote_identifier(name) for name in self.own)
        only = await _only(self.connection, self.table.oid)
        rows = f"SELECT {key}, {names} FROM {only}{self.table.target.sql} o"  # noqa: S608 - quoted names
        again = f"EXISTS (SELECT FROM {self.table.staging.sql} s WHERE s.{key} = o.{key})"
        await self.connection.execute(
            f"CREATE TABLE {self._kept.sql} AS {rows} WHERE {again}; ANALYZE {self._kept.sql}"
        )

    async def write(self) -> None:
        """Put the rows in; all of them, or MigrationError."""
        into, staging = self.table.target.sql, self.table.staging.sql
        names = ", ".join(quote_identifier(name) for name in self.columns)
        values = ", ".join(f"s.{quote_identifier(name)}" for name in self.columns)
        key = quote_identifier(self.table.mapping.id_column.name)
        overriding = "OVERRIDING SYSTEM VALUE"
        statements = [f"INSERT INTO {into} ({names}) {overriding} SELECT {values} FROM {staging} s"]  # noqa: S608
        if self.own:
            kept = self._kept.sql
            own = ", ".join(quote_identifier(name) for name in self.own)
            own_values = ", ".join(f"k.{quote_identifier(name)}" for name in self.own)
            statements = [
                f"INSERT INTO {into} ({names}, {own}) {overriding} SELECT {values}, {own_values}"  # noqa: S608
                f" FROM {staging} s JOIN {kept} k ON k.{key} = s.{key}",
                f"{statements[0]} WHERE NOT EXISTS (SELECT FROM {kept} k WHERE k.{key} = s.{key})",
            ]
        n_written = 0
        for statement in statements:
            status = await _refusable(self.connection, [self.table], statement)
            n_written += int(status.rpartition(" ")[2])
        if n_written != self.n_rows:
            raise MigrationError(
                f"Table {self.table.target} was not replaced: of {counted(self.n_rows, 'row')} it took {n_written:,}. "
                f"{await self._who_drops()}{_as_it_was(self.table)}",
                code="mismatch",
            )

    async def _who_drops(self) -> str:
        names = await self.connection.fetch(
            f"SELECT DISTINCT tgname FROM pg_trigger WHERE {_ROW_TRIGGERS} ORDER BY tgname",  # noqa: S608 - our own words
            self.table.target.sql,
        )
        if not names:
            return ""
        words = ", ".join(one_line(row["tgname"]) for row in names)
        return (
            f"Its BEFORE trigger drops rows: {words}. "
            if len(names) == 1
            else f"A BEFORE trigger drops rows: {words}. "
        )

    async def end(self) -> None:
        """Bring back what was set aside; drop the staging table; the ledger learns where the rows are."""
        table = self.table
        for statement in self.restore:
            await self.connection.execute(statement)
        key = table.mapping.id_column.name
        if (
            table.has_key
            and not await has_unique(self.connection, table.target, key)
            and not await has_primary_key(self.connection, table.target)
        ):
            name = await free_name(self.connection, table.target.schema, table.target.table, ddl.KEY_SUFFIX)
            await self.connection.execute(ddl.add_primary_key(table.target, key, name))
        await self.connection.execute(
            "UPDATE mongopg.table_load SET table_oid = $2, made = false"
            " WHERE run_id = $1 AND schema_name = $3 AND table_name = $4",
            self.run_id,
            table.oid,
            table.target.schema,
            table.target.table,
        )
        await self.connection.execute(ddl.drop_table(table.staging))
        if self.own:
            await self.connection.execute(ddl.drop_table(self._kept))


async def holds_values(connection: asyncpg.Connection, table: Exchange) -> bool:
    """A row that is about to be written again has values in columns that no plan made."""
    existing = await describe_table(connection, table.target)
    key = table.mapping.id_column.name
    names = {column.name for column in table.mapping.columns} | table.earlier.columns
    own = [quote_identifier(each.name) for each in existing if each.name not in names and not each.generated]
    if (
        not own
        or await misfits(connection, table.target, table.mapping, existing)
        or all(x.name != key for x in existing)
    ):
        return False
    k, only = quote_identifier(key), await _only(connection, table.oid)
    filled = " OR ".join(f"o.{name} IS NOT NULL" for name in own)
    return bool(
        await connection.fetchval(
            f"SELECT EXISTS (SELECT FROM {only}{table.target.sql} o"  # noqa: S608 - quoted names
            f" JOIN {table.staging.sql} s ON s.{k} = o.{k} WHERE {filled})"
        )
    )


async def _is_unique(connection: asyncpg.Connection, table: Exchange, key: str) -> bool:
    """No two rows of the old table have the same key, so values of other columns are a key's alone."""
    if await has_unique(connection, table.target, key):
        return True
    only, name = await _only(connection, table.oid), quote_identifier(key)
    twice = f"SELECT FROM {only}{table.target.sql} GROUP BY {name} HAVING count(*) > 1"
    return not await connection.fetchval(f"SELECT EXISTS ({twice})")


async def _set_aside(connection: asyncpg.Connection, table: Exchange) -> list[str]:
    """Turn off what would keep the owner from writing rows as they are; returns the statements that bring it back."""
    name = table.target.sql
    restore: list[str] = []
    facts = await one_row(
        connection,
        "SELECT relforcerowsecurity AS is_forced, quote_ident(pg_get_userbyid(relowner)) AS owner FROM pg_class WHERE oid = $1",
        table.oid,
    )
    if facts["is_forced"]:
        await connection.execute(f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY")
        restore.append(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
    rules = await connection.fetch(
        "SELECT quote_ident(rulename) AS rule, ev_enabled::text AS state FROM pg_rewrite"
        " WHERE ev_class = $1 AND ev_type = '3' AND ev_enabled <> 'D'",
        table.oid,
    )
    words = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
    for row in rules:
        await connection.execute(f"ALTER TABLE {name} DISABLE RULE {row['rule']}")
        restore.append(f"ALTER TABLE {name} {words[row['state']]} RULE {row['rule']}")
    for right in ("SELECT", "INSERT", "TRUNCATE"):
        if not await connection.fetchval("SELECT has_table_privilege($1::oid, $2)", table.oid, right):
            given, taken = _right(right, table.target, facts["owner"])
            await connection.execute(given)
            restore.append(taken)
    return restore


def _right(right: str, target: TableName, owner: str) -> tuple[str, str]:
    """Statements that give the owner a right on its table, and take it away again."""
    return f"GRANT {right} ON {target.sql} TO {owner}", f"REVOKE {right} ON {target.sql} FROM {owner}"


async def _refusable(connection: asyncpg.Connection, tables: Sequence[Exchange], statement: str) -> str:
    """Execute what constraints, triggers and policies may refuse."""
    try:
        return str(await connection.execute(statement))
    except asyncpg.LockNotAvailableError:
        raise
    except asyncpg.PostgresError as error:
        if may_pass(error):
            raise
        raise MigrationError(
            f"Table {listed([str(table.target) for table in tables])} was not replaced, since the new rows cannot be put "
            f"into it: {describe(error)[1]} {_as_it_was(tables[0])}",
            code="exchange",
        ) from error


def _as_it_was(table: Exchange) -> str:
    return f"The old rows are as they were, the new ones in {table.staging}; resume the run when the cause is gone."


async def _only(connection: asyncpg.Connection, oid: int) -> str:
    """ONLY where the rows of child tables are not the table's; those of partitions are."""
    kind = await connection.fetchval("SELECT relkind::text FROM pg_class WHERE oid = $1", oid)
    return "" if kind == "p" else "ONLY "


async def _in_order(connection: asyncpg.Connection, oids: Sequence[int]) -> list[int]:
    """Tables behind those that they refer to; foreign keys that can be deferred do not count."""
    rows = await connection.fetch(
        "SELECT DISTINCT conrelid, confrelid FROM pg_constraint WHERE contype = 'f' AND NOT condeferrable"
        " AND conrelid = ANY ($1::oid[]) AND confrelid = ANY ($1::oid[]) AND conrelid <> confrelid",
        list(oids),
    )
    waits_for: dict[int, set[int]] = {oid: set() for oid in oids}
    for row in rows:
        waits_for[row["conrelid"]].add(row["confrelid"])
    order: list[int] = []
    while waits_for:
        ready = sorted(oid for oid, others in waits_for.items() if not others & waits_for.keys())
        if not ready:
            names = await connection.fetch("SELECT $1::oid[] AS x, oid::regclass::text AS name FROM pg_class"
                                           " WHERE oid = ANY ($1::oid[]) ORDER BY 2", list(waits_for))  # fmt: skip
            words = ", ".join(one_line(row["name"]) for row in names)
            raise UsageError(
                f"Tables {words} refer to each other by foreign keys that cannot be deferred, so their rows cannot be "
                "replaced together: make one of the keys DEFERRABLE.",
                code="dependants",
            )
        order += ready
        for oid in ready:
            del waits_for[oid]
    return order
