"""The tables of a run before it writes anything: which are made, which must fit, which statements do it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from collections.abc import Mapping as Lookup
from dataclasses import dataclass

import asyncpg

from engine.errors import TargetExists, UsageError
from engine.mapping.cautions import SHOWN_NAMES, listed
from engine.mapping.equal_keys import becomes_one_number, may_share_rows
from engine.mapping.kinds import NUMBERS
from engine.mapping.model import ColumnType, Mapping
from engine.mapping.names import TableName, quote_identifier
from engine.notation import written_namespace
from engine.plurals import counted
from engine.postgres import attachments, ddl, exchange, requirements, tables
from engine.postgres.attachments import Earlier, Found
from engine.postgres.existing import ADDING, EarlierOf
from engine.postgres.finish import rows_in
from engine.postgres.lock_room import locks_of_swap, require_room
from engine.postgres.names import free_name
from engine.postgres.obstacles import UNIQUE_SUFFIX, require_writable
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
    columns = written_columns(wanted)
    await requirements.require(connection, list(columns), mode, columns, shared_tables(wanted, mode))
    statements = [ddl.create_schema(schema) for schema in await missing_schemas(connection, columns)]
    view = await view_of(connection, mode, columns, earlier_of, drops=drops, planned_indexes=planned_indexes)
    found = [await look(connection, each, view) for each in wanted]
    if refused := [each.refusal for each in found if each.refusal is not None]:
        raise _together(refused)
    loads, names = [], {each[2].table for each in wanted}
    for each, table in zip(wanted, found, strict=True):
        key_name = (key_names or {}).get(each[0], ddl.key_name(table.target))
        loads.append(await _load(connection, run_id, mode, each, table, key_name, names))
    if mode == "replace":
        await require_swap(connection, found)
        await _try_statements(connection, wanted[0][2], run_id)
    return loads, statements


@dataclass(frozen=True, slots=True)
class View:
    """What a look at one table has to know of the run."""

    mode: str
    earlier_of: EarlierOf
    """Reads what earlier runs wrote into a table."""
    drops: Collection[str]
    """Kinds of attachments that mode `replace` may drop with an old table."""
    planned_indexes: Lookup[int, Sequence[str]]
    """What the run makes, by task."""
    oids: Lookup[TableName, int]
    """Those of its tables that are there."""
    taken: Lookup[TableName, str]
    """What else has the name of one, such as "a view"."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A table of a run as the target has it."""

    target: TableName
    is_there: bool
    mapping: Mapping
    """With the bounds of a table that is there, into which rows are added."""
    refusal: UsageError | None = None
    """Why the run cannot have it."""
    oid: int = 0
    """Of a table that is there."""
    kept: Sequence[Found] = ()
    """What keeps a table in its place in mode `replace`, so that its contents are exchanged."""
    locks: int = 0
    """That the swap takes."""


async def view_of(
    connection: asyncpg.Connection,
    mode: str,
    targets: Iterable[TableName],
    earlier_of: EarlierOf,
    *,
    drops: Collection[str] = (),
    planned_indexes: Lookup[int, Sequence[str]] | None = None,
) -> View:
    """For looks at single tables; as `prepare` has it."""
    names = [*targets]
    oids, taken = await _oids(connection, names), await tables.taken_by(connection, names)
    return View(mode, earlier_of, drops, planned_indexes or {}, oids, taken)


async def look(connection: asyncpg.Connection, wanted: Wanted, view: View) -> Looked:
    """A table of the run as it is, and whether the run can have it. Nothing is written, and no row read."""
    task_id, namespace, target, mapping, _, _ = wanted
    oid = view.oids.get(target)
    try:
        check_name(namespace, target, view)
        if oid is None:
            locks = await locks_of_swap(connection, None, exchanged=False, n_indexes=len(_planned(view, task_id)))
            return Looked(target, False, mapping, locks=locks)
        if view.mode in ADDING:
            mapping = await _fitted(connection, target, mapping)
            await require_writable(connection, target, view.mode, mapping)
            return Looked(target, True, mapping, oid=oid)
        earlier = Earlier.of(await view.earlier_of(connection, target))
        planned = _planned(view, task_id)
        kept = await _replaceable(connection, target, oid, mapping, earlier, view.drops, planned, [*view.oids.values()])
        if kept:
            mapping = await exchange.fitted_for(connection, target, mapping, kept)
        locks = await locks_of_swap(connection, oid, exchanged=bool(kept), n_indexes=len(planned))
    except UsageError as refusal:
        return Looked(target, oid is not None, mapping, refusal, oid or 0)
    return Looked(target, True, mapping, oid=oid, kept=kept, locks=locks)


def check_name(namespace: str, target: TableName, view: View) -> None:
    """Raise UsageError where a table that the run would make cannot have its name."""
    is_there = target in view.oids
    if is_there and view.mode in ADDING:
        return
    if what := view.taken.get(target):
        # Better now than after hours of loading.
        message = (
            f"{target} is {what} in the target, not a table: choose another name with --collection "
            f"{written_namespace(namespace, has_table=True)}:schema.table or on the Plan screen, or rename it."
        )
        raise TargetExists(message) if view.mode == "create" else UsageError(message, code="not_a_table")
    if is_there and view.mode == "create":
        raise TableExists(target, written_namespace(namespace, has_table=True))


async def missing_schemas(connection: asyncpg.Connection, targets: Iterable[TableName]) -> list[str]:
    """The schemas of these tables that have to be made."""
    schemas = dict.fromkeys(target.schema for target in targets)
    return [
        schema
        for schema in schemas
        if await connection.fetchval("SELECT to_regnamespace($1) IS NULL", quote_identifier(schema))
    ]


async def require_swap(connection: asyncpg.Connection, found: Sequence[Looked]) -> None:
    """Raise UsageError where the tables of a run in mode `replace` cannot be swapped in one transaction."""
    if exchanged := [each.oid for each in found if each.kept]:
        await exchange.check_order(connection, exchanged)
    await require_room(connection, [each.locks for each in found])


def written_columns(wanted: Sequence[Wanted]) -> dict[TableName, list[str]]:
    """The columns that are written of each table, the key first."""
    return {target: _key_first(mapping) for _, _, target, mapping, _, _ in wanted}


def shared_tables(wanted: Sequence[Wanted], mode: str) -> list[TableName]:
    """Those in which several documents may want one row."""
    return [
        target for _, _, target, mapping, _, has_key in wanted if may_share_rows(mapping, mode, is_view=not has_key)
    ]


async def _load(
    connection: asyncpg.Connection,
    run_id: str,
    mode: str,
    wanted: Wanted,
    found: Looked,
    key_name: str,
    names: Collection[str],
) -> TableLoad:
    """What the ledger keeps of a table, with the statements that make it.

    Args:
        names: of all tables of the run.
    """
    task_id, namespace, target, _, documents, has_key = wanted
    mapping, is_made, staging = found.mapping, not found.is_there or mode == "replace", None
    count_before, making = 0, list[str]()
    id_name = mapping.id_column.name
    if found.is_there and mode in ADDING:
        count_before = await rows_in(connection, target)
        if mode == "upsert" and not await tables.has_unique(connection, target, id_name):
            name = await free_name(connection, target.schema, target.table, UNIQUE_SUFFIX, names)
            making.append(ddl.create_unique_index(target, id_name, name))
    elif mode == "replace":
        staging = ddl.staging_name(target, run_id)
        if found.kept:
            is_made = False  # the table stays, and gets new rows
            key = ddl.key_name(staging) if has_key and builds_key_first(mapping, mode) else ""
            making += await exchange.staging_statements(connection, target, staging, mapping, key)
        else:
            making.append(ddl.create_table(staging, mapping))
    else:
        making.append(ddl.create_table(target, mapping))
    if is_made and has_key and builds_key_first(mapping, mode):
        making.append(ddl.add_primary_key(staging or target, id_name, ddl.key_name(staging) if staging else key_name))
    elif is_made and mode == "upsert":  # of a view, whose _id may be NULL or occur twice
        name = await free_name(connection, target.schema, target.table, UNIQUE_SUFFIX, names)
        making.append(ddl.create_unique_index(target, id_name, name))
    return TableLoad(
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


def _together(refusals: Sequence[UsageError]) -> UsageError:
    """One error that names everything that is in the way."""
    if len(refusals) == 1:
        return refusals[0]
    existing = [each for each in refusals if isinstance(each, TableExists)]
    others = [each.message for each in refusals if each not in existing]
    words = others[:SHOWN_NAMES]
    if more := len(others) - len(words):
        words.append(f"So it is with {counted(more, 'more table')}.")
    if existing:
        words.insert(0, _exists_already([each.target for each in existing], "db.coll"))
    first = refusals[0]
    message = " ".join(words)
    return TargetExists(message) if isinstance(first, TargetExists) else UsageError(message, code=first.code)


class TableExists(TargetExists):
    """A table is there that mode `create` would make."""

    def __init__(self, target: TableName, namespace: str) -> None:
        super().__init__(_exists_already([target], namespace))
        self.target = target


def _exists_already(targets: Sequence[TableName], namespace: str) -> str:
    one = len(targets) == 1
    return (
        f"{'Table' if one else 'Tables'} {listed(list(map(str, targets)))} {'exists' if one else 'exist'} already: choose "
        f"{'another' if one else 'others'} with --collection {namespace}:schema.table or on the Plan screen, or mode append, "
        "replace or upsert (--mode, or Mode on the Setup screen)."
    )


def _planned(view: View, task_id: int) -> Sequence[str]:
    return view.planned_indexes.get(task_id, ())


def builds_key_first(mapping: Mapping, mode: str) -> bool:
    """The key comes before the data: upserts need it, and a key of mixed kinds may meet two that become equal.

    Numbers of several kinds are such only where `becomes_one_number`: MongoDB itself takes 1 and 1.0 for one key.
    """
    column = mapping.id_column
    is_mixed = len(column.kinds) > 1 and (not column.kinds <= NUMBERS or becomes_one_number(mapping))
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


async def _oids(connection: asyncpg.Connection, targets: Iterable[TableName]) -> dict[TableName, int]:
    """Those of the tables that are there."""
    by_name = {target.sql: target for target in targets}
    rows = await connection.fetch(
        "SELECT n AS name, to_regclass(n)::oid AS oid FROM unnest($1::text[]) n WHERE to_regclass(n) IS NOT NULL",
        [*by_name],
    )
    return {by_name[row["name"]]: row["oid"] for row in rows}


async def _replaceable(
    connection: asyncpg.Connection,
    target: TableName,
    oid: int,
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
