"""The tables of a run before it writes anything: which are made, which must fit, which statements do it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Mapping as Lookup

import asyncpg

from engine.errors import TargetExists, UsageError
from engine.mapping.kinds import NUMBERS
from engine.mapping.model import ColumnType, Mapping
from engine.mapping.names import TableName, quote_identifier
from engine.notation import written_namespace
from engine.postgres import attachments, ddl, exchange, tables
from engine.postgres.attachments import Earlier, Found
from engine.postgres.existing import EarlierOf
from engine.postgres.finish import rows_in
from engine.postgres.lock_room import locks_of_swap, require_room
from engine.postgres.names import free_name
from engine.postgres.obstacles import UNIQUE_SUFFIX, require_writable
from engine.postgres.preflight import preflight
from engine.postgres.sqlstates import describe, may_pass, one_line
from engine.rows import TableLoad

Wanted = tuple[int, str, TableName, Mapping, int, bool]
"""Task id, namespace, target, mapping, documents expected, `_id` becomes the primary key."""


async def prepare(
    connection: asyncpg.Connection,
    run_id: str,
    mode: str,
    wanted: Sequence[Wanted],
    earlier_of: EarlierOf,
    *,
    drops: Collection[str] = (),
    planned_indexes: Lookup[int, Sequence[str]] | None = None,
    key_names: Lookup[int, str] | None = None,
) -> tuple[list[TableLoad], list[str]]:
    """What the ledger keeps of each table, and the statements before those that make them. Nothing is written yet.

    The mapping of a table that is there already comes back with the bounds of its columns.

    Args:
        connection: not in a transaction.
        run_id: of the run.
        mode: of the run.
        wanted: its tables.
        earlier_of: reads what earlier runs wrote into a table.
        drops: kinds of attachments that mode `replace` may drop with an old table.
        planned_indexes: what the run makes, by task, as `attachments.index_signature` spells them.
        key_names: what primary keys are to be called, by task, where that is not what PostgreSQL would call them.

    Raises:
        TargetExists: mode `create`, and a table is there.
        UsageError: the server or the role's rights do not do, or a table that is there does not fit the mapping or cannot
            be replaced; every problem is named.
        MigrationError: another session locks a table whose rows are to be counted; trying again may help.
    """
    columns = {target: _key_first(mapping) for _, _, target, mapping, _, _ in wanted}
    await preflight(connection, list(columns), mode, columns)
    loads: list[TableLoad] = []
    statements: list[str] = []
    for schema in dict.fromkeys(target.schema for _, _, target, _, _, _ in wanted):
        if await connection.fetchval("SELECT to_regnamespace($1) IS NULL", quote_identifier(schema)):
            statements.append(ddl.create_schema(schema))
    others = await _oids(connection, [target for _, _, target, _, _, _ in wanted]) if mode == "replace" else []
    exchanged: list[int] = []
    locks: list[int] = []
    for task_id, namespace, target, mapping, documents, has_key in wanted:
        oid = await connection.fetchval("SELECT to_regclass($1)::oid", target.sql)
        is_there = oid is not None
        is_made = not is_there or mode == "replace"
        count_before, staging = 0, None
        making: list[str] = []
        if mode in ("create", "replace") or not is_there:
            await _check_name(connection, namespace, target, mode)
        if is_there and mode == "create":
            raise TargetExists(
                f"Table {target} exists already: choose another with --collection "
                f"{written_namespace(namespace, has_table=True)}:schema.table, or "
                "--mode append, replace or upsert."
            )
        if is_there and mode in ("append", "upsert"):
            mapping = await _fitted(connection, target, mapping)
            await require_writable(connection, target, mode, mapping)
            count_before = await rows_in(connection, target)
            if mode == "upsert" and not await tables.has_unique(connection, target, mapping.id_column.name):
                name = await free_name(
                    connection, target.schema, target.table, UNIQUE_SUFFIX, {each[2].table for each in wanted}
                )
                making.append(ddl.create_unique_index(target, mapping.id_column.name, name))
        elif mode == "replace":
            staging = ddl.staging_name(target, run_id)
            planned = (planned_indexes or {}).get(task_id, ())
            earlier = Earlier.of(await earlier_of(connection, target))
            found = await _replaceable(connection, target, oid, mapping, earlier, drops, planned, others)
            locks.append(await locks_of_swap(connection, oid, exchanged=bool(found), n_indexes=len(planned)))
            if found:
                is_made = False  # the table stays, and gets new rows
                exchanged.append(oid)
                mapping = await exchange.fitted_for(connection, target, mapping, found)
                key = ddl.key_name(staging) if has_key and builds_key_first(mapping, mode) else ""
                making += await exchange.staging_statements(connection, target, staging, mapping, key)
            else:
                making.append(ddl.create_table(staging, mapping))
        else:
            making.append(ddl.create_table(target, mapping))
        if is_made and has_key and builds_key_first(mapping, mode):
            table = staging or target
            name = ddl.key_name(table) if staging else (key_names or {}).get(task_id, ddl.key_name(table))
            making.append(ddl.add_primary_key(table, mapping.id_column.name, name))
        elif is_made and mode == "upsert":  # of a view, whose _id may be NULL or occur twice
            name = await free_name(
                connection, target.schema, target.table, UNIQUE_SUFFIX, {each[2].table for each in wanted}
            )
            making.append(ddl.create_unique_index(target, mapping.id_column.name, name))
        loads.append(
            TableLoad(
                task_id=task_id,
                namespace=namespace,
                target=target,
                mapping=mapping.model_dump_json(),
                total=documents,
                count_before=count_before,
                made=is_made,
                staging=staging,
                statements=tuple(making),
            )
        )
    if exchanged:
        await exchange.check_order(connection, exchanged)
    if locks:
        await require_room(connection, locks)
        await _try_statements(connection, wanted[0][2], run_id)
    return loads, statements


def builds_key_first(mapping: Mapping, mode: str) -> bool:
    """The key comes before the data: upserts need it, and a key of mixed kinds may meet two that become equal.

    Numbers of several kinds are not such: MongoDB itself takes 1 and 1.0 for one key.
    """
    column = mapping.id_column
    is_mixed = len(column.kinds) > 1 and not column.kinds <= NUMBERS
    return mode == "upsert" or is_mixed or column.type in (ColumnType.JSONB, ColumnType.JSON)


def _key_first(mapping: Mapping) -> list[str]:
    """The columns that are written."""
    key = mapping.id_column.name
    return [key, *(column.name for column in mapping.columns if column.name != key)]


async def _fitted(connection: asyncpg.Connection, target: TableName, mapping: Mapping) -> Mapping:
    """The mapping within the bounds of a table that is there."""
    existing = await tables.describe_table(connection, target)
    problems = tables.check_fits(mapping, existing)
    if problems:
        raise UsageError(f"Table {target} does not fit the plan: {' '.join(problems)}", code="table_differs")
    return tables.bounded(mapping, existing)


async def _check_name(connection: asyncpg.Connection, namespace: str, target: TableName, mode: str) -> None:
    """Raise UsageError where something that is no table has the table's name: better now than after hours of loading."""
    what = await tables.taken_by(connection, target)
    if what:
        message = (
            f"{target} is {what} in the target, not a table: choose another name with --collection "
            f"{written_namespace(namespace, has_table=True)}:schema.table, or rename it."
        )
        raise TargetExists(message) if mode == "create" else UsageError(message, code="not_a_table")


async def _try_statements(connection: asyncpg.Connection, target: TableName, run_id: str) -> None:
    """Raise UsageError where an event trigger refuses what the swap will do, tried on a table of our own and undone."""
    triggers = await connection.fetch(
        "SELECT evtname FROM pg_event_trigger WHERE evtenabled IN ('O', 'A') AND evtevent <> 'login' ORDER BY evtname"
    )
    if not triggers or await connection.fetchval("SELECT to_regnamespace($1) IS NULL", quote_identifier(target.schema)):
        return
    table = TableName(target.schema, ddl.fitted(target.table, f"__mongopg_try_{run_id}"))
    renamed = ddl.old_name(target, run_id)
    trial = connection.transaction()
    await trial.start()
    try:
        await connection.execute(f"CREATE TABLE {table.sql} (n integer)")
        await connection.execute(ddl.rename_table(table, renamed.table))
        await connection.execute(ddl.drop_table(renamed))
    except asyncpg.PostgresError as error:
        if may_pass(error):
            raise
        names = ", ".join(one_line(row["evtname"]) for row in triggers)
        raise UsageError(
            f"Tables in {one_line(target.schema)} cannot be replaced: {describe(error)[1]} The database has the event trigger"
            f"{'s' * (len(triggers) > 1)} {names}: disable what refuses, or use mode append or upsert.",
            code="event_trigger",
        ) from error
    finally:
        await trial.rollback()


async def _oids(connection: asyncpg.Connection, targets: Sequence[TableName]) -> list[int]:
    rows = await connection.fetch(
        "SELECT to_regclass(n)::oid AS oid FROM unnest($1::text[]) n WHERE to_regclass(n) IS NOT NULL",
        [target.sql for target in targets],
    )
    return [row["oid"] for row in rows]


async def _replaceable(
    connection: asyncpg.Connection,
    target: TableName,
    oid: int | None,
    mapping: Mapping,
    earlier: Earlier,
    drops: Collection[str],
    planned_indexes: Sequence[str],
    others: Sequence[int],
) -> list[Found]:
    """What keeps a table in its place when its rows are replaced; the same look as before the swap.

    Raises:
        UsageError: its rows cannot be replaced at all.
    """
    if oid is None:
        return []
    found = await attachments.look(
        connection, oid, target, mapping, earlier=earlier, planned_indexes=planned_indexes, others=others
    )
    found = [each for each in found if each.attachment.kind not in drops or not each.attachment.may_go]
    refused = [each for each in found if each.attachment.fate is attachments.Fate.REFUSED]
    if refused:
        words = [each.what for each in found if each in refused or each.attachment.kind in attachments.REFERRING]
        raise UsageError(
            f"Table {target} cannot be replaced, since {', '.join(words)} depend on it: drop them, or use mode append or "
            "upsert.",
            code="dependants",
        )
    if found and await attachments.is_another(connection, oid, mapping, earlier):
        raise UsageError(
            f"Table {target} cannot be replaced, since it has none of the plan's columns, and {exchange.named(found)} would be "
            "lost with it: choose another table, or drop what hangs on it.",
            code="dependants",
        )
    return found
