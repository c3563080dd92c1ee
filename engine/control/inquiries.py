"""Questions that need no run: test a connection, list collections, plan, history, rejects, verification."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.config import Settings, redact
from engine.control import protocol
from engine.control.journal import Journal
from engine.control.protocol import CollectionInfo, ColumnView, PlanView, ServerReport, TableView
from engine.control.verification import verify
from engine.errors import MigrationError, UsageError
from engine.plan import Plan, TablePlan, choose, make_plan
from engine.source import catalogue, mongo
from engine.target import ddl, postgres

APP_NAME = "mongopg-tui"


async def answer(command: protocol.Command, settings: Settings) -> Any:
    """The reply's result to a command that asks, as plain data.

    Raises:
        MigrationError: whatever keeps the question from being answered, in one sentence.
    """
    match command:
        case protocol.Inspect():
            return (await inspect(command, settings)).model_dump(mode="json")
        case protocol.ListCollections():
            infos = await asyncio.to_thread(_collections, settings)
            return {"collections": [info.model_dump(mode="json") for info in infos]}
        case protocol.MakePlan():
            if command.collections:
                settings = settings.model_copy(deep=True)
                settings.run.collections = command.collections
            plan = await asyncio.to_thread(_plan, settings)
            return view(plan, settings.run.mode).model_dump(mode="json")
        case protocol.ListRuns():
            async with Journal.opened(settings) as journal:
                return {"runs": [run.model_dump(mode="json") for run in await journal.runs()]}
        case protocol.DiscardRun():
            async with Journal.opened(settings) as journal:
                return await journal.discard(command.run, drop_tables=command.drop_tables)
        case protocol.ListRejects():
            async with Journal.opened(settings) as journal:
                return (await journal.rejects(command.run, command.samples)).model_dump(mode="json")
        case protocol.Verify():
            return (await verify(command, settings)).model_dump(mode="json")
        case _:
            raise UsageError("The engine does not take this command now.")


async def inspect(command: protocol.Inspect, settings: Settings) -> ServerReport:
    """Test one side; what is wrong is in the report."""
    section = settings.source if command.side == "source" else settings.target
    uri = command.uri or section.uri.get_secret_value()
    if not uri:
        name = f"{command.side}.uri"
        message = f"{name} is not set: give --{command.side} URI, or set MONGOPG_{command.side.upper()}_URI."
        return ServerReport(side=command.side, uri="", ok=False, message=message)
    try:
        if command.side == "source":
            report = await asyncio.to_thread(_inspect_source, uri)
        else:
            report = await _inspect_target(uri)
    except MigrationError as error:
        return ServerReport(side=command.side, uri=redact(uri), ok=False, message=redact(error.message))
    if command.keep:
        section.uri = type(section.uri)(uri)
    return report


def _inspect_source(uri: str) -> ServerReport:
    client = mongo.connect(uri, app_name=APP_NAME)
    try:
        found = mongo.inspect(client, uri)
    finally:
        client.close()
    return ServerReport(
        side="source", uri=redact(uri), ok=True, message="connected", version=found.version,
        latency_ms=found.latency_ms, detail=found.topology, tls=found.tls,
    )  # fmt: skip


async def _inspect_target(uri: str) -> ServerReport:
    connection = await postgres.connect(uri, application_name=APP_NAME)
    try:
        found = await postgres.inspect(connection)
    finally:
        await connection.close(timeout=2.0)
    return ServerReport(
        side="target", uri=redact(uri), ok=True, message="connected", version=found.version,
        latency_ms=found.latency_ms, tls=found.tls, free_connections=found.free_connections,
        detail=f"{found.free_connections} of {found.max_connections} connections free",
    )  # fmt: skip


def _collections(settings: Settings) -> list[CollectionInfo]:
    uri = source_uri(settings)
    client = mongo.connect(uri, app_name=APP_NAME)
    try:
        facts = catalogue.list_collections(client, mongo.database_of(uri))
    finally:
        client.close()
    return [
        CollectionInfo(namespace=each.namespace, kind=each.kind, documents=each.documents, size_bytes=each.size_bytes)
        for each in facts
    ]


def _plan(settings: Settings) -> Plan:
    client = mongo.connect(source_uri(settings), app_name=APP_NAME)
    try:
        return make_plan(client, settings, choose(client, settings))
    finally:
        client.close()


def source_uri(settings: Settings) -> str:
    """The source's URI; raises UsageError when there is none."""
    uri = settings.source.uri.get_secret_value()
    if not uri:
        raise UsageError("source.uri is not set: give --source URI, or set MONGOPG_SOURCE_URI.")
    return uri


def target_uri(settings: Settings) -> str:
    """The target's URI; raises UsageError when there is none."""
    uri = settings.target.uri.get_secret_value()
    if not uri:
        raise UsageError("target.uri is not set: give --target URI, or set MONGOPG_TARGET_URI.")
    return uri


def view(plan: Plan, mode: str) -> PlanView:
    """A plan for people."""
    return PlanView(
        fingerprint=plan.fingerprint,
        mode=mode,
        tables=[_table_view(table) for table in plan.tables],
        warnings=[f"{table.namespace}: {warning}" for table in plan.tables for warning in table.warnings],
    )


def _table_view(table: TablePlan) -> TableView:
    return TableView(
        namespace=table.namespace,
        table=table.target,
        documents=table.documents,
        size_bytes=table.size_bytes,
        columns=[
            ColumnView(
                field=".".join(column.path) or column.role.value,
                column=column.name,
                type=column.sql_type,
                seen_percent=100 * table.seen.get(column.name, (0.0, {}))[0],
                kinds={name: 100 * share for name, share in table.seen.get(column.name, (0.0, {}))[1].items()},
                note=table.notes.get(column.name, ""),
            )
            for column in table.mapping.columns
        ],
        primary_key=table.mapping.id_column.name if table.has_key else "",
        ddl=_script(table),
        warnings=table.warnings,
    )


def _script(table: TablePlan) -> str:
    """SQL that psql accepts: the table and its key."""
    name = ddl.TableName(table.schema_name, table.table)
    statements = [ddl.create_table(name, table.mapping)]
    if table.has_key:
        statements.append(ddl.add_primary_key(name, table.mapping.id_column.name, ddl.key_name(name)))
    return "".join(f"{statement};\n" for statement in statements)
