"""What a run asks of PostgreSQL. Nothing is written, and no lock is taken for longer than a look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import asyncpg

from engine.config import Settings, redact
from engine.errors import MigrationError, TargetHeld, UsageError
from engine.ledger import schema
from engine.ledger.table_locks import held_tables
from engine.mapping.names import TableName
from engine.plan import TablePlan
from engine.plan.existing import in_order
from engine.plurals import counted
from engine.postgres import connect as postgres
from engine.postgres import requirements, sqlstates
from engine.postgres.existing import EarlierOf, RowsAre, rows_known
from engine.postgres.indexes import signature
from engine.postgres.prepare import (
    Looked,
    TableExists,
    View,
    Wanted,
    check_name,
    look,
    missing_schemas,
    require_swap,
    shared_tables,
    view_of,
    written_columns,
)
from engine.preflight.connections import ENGINE_SESSIONS, require_connections
from engine.preflight.source import stop
from engine.protocol import CheckView, TargetTable

Fate = Literal["created", "appended", "upserted", "replaced", "stops"]
FATES: dict[str, Fate] = {"create": "stops", "append": "appended", "upsert": "upserted", "replace": "replaced"}
"""What becomes of a table that is there, by mode."""


@dataclass(frozen=True, slots=True)
class Going:
    """A collection, and the table that it is to go to."""

    task_id: int
    namespace: str
    target: TableName
    label: str
    """`schema.table`, as the plan has it."""
    plan: TablePlan | None = None
    """None where none was made: of a table that is not there."""
    refusal: MigrationError | None = None
    """Why there can be no plan."""
    is_saved: bool = False
    """A saved plan says what goes where, and not the run that wrote into the table before."""


@dataclass(frozen=True, slots=True)
class Glance:
    """A table that was not looked at any further."""

    is_there: bool
    refusal: MigrationError | None = None
    """Why the run cannot have it."""


@dataclass(frozen=True, slots=True)
class TargetLook:
    """What was found."""

    database: str
    checks: list[CheckView]
    tables: list[TargetTable]
    schemas: list[str]
    """That would be made."""


async def look_at_target(
    connection: asyncpg.Connection, settings: Settings, goings: Sequence[Going], earlier_of: EarlierOf
) -> TargetLook:
    """Everything that a run of these would ask, in the order in which it does.

    Args:
        connection: not in a transaction.
        earlier_of: reads what earlier runs wrote into a table.
    """
    mode = settings.run.mode
    targets = [each.target for each in goings]
    wanted = {each.task_id: _wanted(each) for each in goings if each.plan is not None}
    planned = {
        each.task_id: [signature(index) for index in each.plan.indexes]
        for each in goings
        if each.plan is not None and settings.run.indexes
    }
    view = await view_of(connection, mode, targets, earlier_of, drops=settings.run.drops, planned_indexes=planned)
    columns = written_columns(list(wanted.values()))
    report = await postgres.inspect(connection)
    address = await postgres.whereabouts(connection, settings.target.connection)
    schemas = await missing_schemas(connection, targets)

    async def require_rights() -> None:
        shared = shared_tables(list(wanted.values()), mode)
        await requirements.require_rights(connection, targets, mode, columns, shared)

    checks = [
        await _checked(
            "target",
            f"PostgreSQL {report.version} answers: database {address.database} at {address.host}.",
            lambda: requirements.require_server(connection),
        ),
        await _ledger(connection),
        await _checked("rights", f"The user {address.user} has the rights that the run needs.", require_rights),
        _connections(settings.run.workers, report.free_connections),
    ]
    held = await held_tables(connection, targets)
    looks = [await _look(connection, each, wanted, view, held) for each in goings]
    tables = [
        await _table(connection, each, found, mode, earlier_of) for each, found in zip(goings, looks, strict=True)
    ]
    if mode == "replace" and not any(table.status == "stop" for table in tables):
        checks += await _swap(connection, [found for found in looks if isinstance(found, Looked)])
    return TargetLook(address.database, checks, tables, schemas)


async def _ledger(connection: asyncpg.Connection) -> CheckView:
    if not await schema.ledger_exists(connection):
        said = "Schema mongopg will be created: it keeps what runs have done."
        return CheckView(what="ledger", status="ok", message=said)
    said = "Schema mongopg, which keeps what runs have done, is there."
    return await _checked("ledger", said, lambda: schema.check_version(connection))


def _connections(workers: int, free: int) -> CheckView:
    try:
        require_connections(workers, free)
    except UsageError as error:
        return stop("connections", error)
    needed = f"{counted(workers, 'worker')} and the engine need {workers + ENGINE_SESSIONS}"
    said = f"{counted(free, 'connection is', 'connections are')} free, and {needed}."
    return CheckView(what="connections", status="ok", message=said)


async def _swap(connection: asyncpg.Connection, looked: Sequence[Looked]) -> list[CheckView]:
    """Whether the tables of mode `replace` can be swapped together."""
    found = []
    try:
        await require_swap(connection, looked)
    except UsageError as error:
        found.append(stop("replace", error))
    triggers = await connection.fetch("SELECT evtname FROM pg_event_trigger WHERE evtenabled IN ('O', 'A') ORDER BY 1")
    if triggers:
        names = ", ".join(sqlstates.one_line(row["evtname"]) for row in triggers)
        message = f"The database has event triggers ({names}): the run tries, before it loads, whether they let it swap tables."
        found.append(CheckView(what="event triggers", status="warning", message=message))
    return found


async def _look(
    connection: asyncpg.Connection, going: Going, wanted: dict[int, Wanted], view: View, held: dict[TableName, str]
) -> Looked | Glance:
    """A table as it is, and why the run could not have it."""
    is_there = going.target in view.oids
    if going.refusal is not None:
        return Glance(is_there, going.refusal)
    if going.target in held:
        return Glance(is_there, TargetHeld(held[going.target]))
    if going.task_id in wanted:
        return await look(connection, wanted[going.task_id], view)
    try:
        check_name(going.namespace, going.target, view)
    except UsageError as refusal:
        return Glance(is_there, refusal)
    return Glance(is_there)


async def _table(
    connection: asyncpg.Connection, going: Going, found: Looked | Glance, mode: str, earlier_of: EarlierOf
) -> TargetTable:
    rows: int | None = None
    rows_are: RowsAre = "exact"
    if found.is_there:
        rows, rows_are = await rows_known(connection, going.target)
    fate: Fate = FATES[mode] if found.is_there else "created"
    message, code = "", ""
    if found.refusal is not None:
        fate, code = "stops", found.refusal.code
        message = "It exists already." if isinstance(found.refusal, TableExists) else redact(found.refusal.message)
    elif isinstance(found, Looked) and found.kept:
        named = ", ".join(dict.fromkeys(each.attachment.kind for each in found.kept))
        message = f"It stays, since a new one would lack what it has: {named}."
    mapped_by = ""
    if fate in ("appended", "upserted") and not going.is_saved:
        earlier = in_order(await earlier_of(connection, going.target), going.namespace)
        mapped_by = earlier[0].run_id if earlier else ""
    return TargetTable(
        namespace=going.namespace,
        table=going.label,
        state="exists" if found.is_there else "new",
        rows=rows,
        rows_are=rows_are,
        fate=fate,
        stays=isinstance(found, Looked) and bool(found.kept),
        mapped_by=mapped_by,
        status="stop" if fate == "stops" else "ok",
        message=message,
        code=code,
    )


def _wanted(going: Going) -> Wanted:
    table = going.plan
    assert table is not None
    return going.task_id, going.namespace, going.target, table.mapping, table.documents, table.has_key


async def _checked(what: str, said: str, require: Callable[[], Awaitable[None]]) -> CheckView:
    """`said` when nothing is raised, else the reason."""
    try:
        await require()
    except MigrationError as error:
        return stop(what, error)
    return CheckView(what=what, status="ok", message=said)
