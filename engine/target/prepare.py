"""The tables of a run before it writes anything: which are made, which must fit, which statements do it."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from engine.errors import TargetExists, UsageError
from engine.mapping.kinds import NUMBERS
from engine.mapping.model import ColumnType, Mapping
from engine.mapping.names import quote_identifier
from engine.target import ddl, tables
from engine.target.ddl import TableName
from engine.target.finish import dependants, rows_in
from engine.target.ledger import TableLoad
from engine.target.preflight import preflight

Wanted = tuple[int, str, TableName, Mapping, int, bool]
"""Task id, namespace, target, mapping, documents expected, `_id` becomes the primary key."""


async def prepare(
    connection: asyncpg.Connection, run_id: str, mode: str, wanted: Sequence[Wanted]
) -> tuple[list[TableLoad], list[str]]:
    """What the ledger keeps of each table, and the statements that make them. Nothing is written yet.

    The mapping of a table that is there already comes back with the bounds of its columns.

    Raises:
        TargetExists: mode `create`, and a table is there.
        UsageError: the server or the role's rights do not do, or a table that is there does not fit the mapping or cannot
            be replaced; every problem is named.
        MigrationError: somebody locks a table whose rows are to be counted; trying again may help.
    """
    await preflight(connection, [target for _, _, target, _, _, _ in wanted], mode)
    loads: list[TableLoad] = []
    statements: list[str] = []
    for schema in dict.fromkeys(target.schema for _, _, target, _, _, _ in wanted):
        if await connection.fetchval("SELECT to_regnamespace($1) IS NULL", quote_identifier(schema)):
            statements.append(ddl.create_schema(schema))
    for task_id, namespace, target, mapping, documents, has_key in wanted:
        is_there = bool(await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", target.sql))
        is_made = not is_there or mode == "replace"
        count_before, staging = 0, None
        if is_there and mode == "create":
            raise TargetExists(
                f"Table {target} exists already: choose another with --collection {namespace}:schema.table, or "
                "--mode append, replace or upsert."
            )
        if is_there and mode in ("append", "upsert"):
            mapping = await _fitted(connection, target, mapping)
            count_before = await rows_in(connection, target)
            if mode == "upsert" and not await tables.has_unique(connection, target, mapping.id_column.name):
                name = ddl.fitted(target.table, "__id_key")
                statements.append(ddl.create_unique_index(target, mapping.id_column.name, name))
        elif mode == "replace":
            await _check_replaceable(connection, target)
            staging = ddl.staging_name(target, run_id)
            statements.append(ddl.create_table(staging, mapping))
        else:
            statements.append(ddl.create_table(target, mapping))
        if is_made and has_key and builds_key_first(mapping, mode):
            table = staging or target
            statements.append(ddl.add_primary_key(table, mapping.id_column.name, ddl.key_name(table)))
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
            )
        )
    return loads, statements


def builds_key_first(mapping: Mapping, mode: str) -> bool:
    """The key comes before the data: upserts need it, and a key of mixed kinds may meet two that become equal (TYPES.md).

    Numbers of several kinds are not such: MongoDB itself takes 1 and 1.0 for one key.
    """
    column = mapping.id_column
    is_mixed = len(column.kinds) > 1 and not column.kinds <= NUMBERS
    return mode == "upsert" or is_mixed or column.type in (ColumnType.JSONB, ColumnType.JSON)


async def _fitted(connection: asyncpg.Connection, target: TableName, mapping: Mapping) -> Mapping:
    """The mapping within the bounds of a table that is there."""
    existing = await tables.describe_table(connection, target)
    problems = tables.check_fits(mapping, existing)
    if problems:
        raise UsageError(f"Table {target} does not fit the plan: {' '.join(problems)}", code="table_differs")
    return tables.bounded(mapping, existing)


async def _check_replaceable(connection: asyncpg.Connection, target: TableName) -> None:
    """The same look as before the swap: better now than after hours of loading."""
    names = await dependants(connection, target)
    if names:
        raise UsageError(
            f"Table {target} cannot be replaced, since {', '.join(names)} depend on it: drop them, or use mode append or "
            "upsert.",
            code="dependants",
        )
