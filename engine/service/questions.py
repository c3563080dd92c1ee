"""Questions that need no run: test a connection, list collections, plan, history, rejects, verification."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from engine import protocol, tls
from engine.config import Settings, merged, redact, secrets_of, source_uri, with_password
from engine.errors import ConnectError, MigrationError, UsageError
from engine.follow.looking import look_at
from engine.ledger import history
from engine.ledger.earlier_runs import mappings_of
from engine.ledger.ledger import Ledger
from engine.mongo import catalogue
from engine.mongo import connect as mongo
from engine.mongo_needs import left_out
from engine.mongo_uri import read_uri
from engine.plan.looks import KnownLooks
from engine.plan.planning import view_plan
from engine.plurals import counted
from engine.postgres import connect as postgres
from engine.postgres.names import NOTHING_KNOWN
from engine.preflight.known_names import known_in_target
from engine.preflight.looking import preflight_of_plan, preflight_of_start
from engine.preflight.reach import TargetReach
from engine.protocol import CollectionInfo, DatabaseInfo, EditablePlan, PreflightReport, ServerReport
from engine.redaction import know, secrets_in
from engine.run.replay import recording
from engine.run.report import run_report
from engine.service.cluster_check import with_cluster
from engine.service.guard_check import plan_with_guards, with_guards
from engine.verify.counts import verify

APP_NAME = "mongopg-tui"


async def answer(command: protocol.Command, settings: Settings) -> Any:
    """The reply's result to a command that asks, as plain data.

    Raises:
        MigrationError: whatever keeps the question from being answered, in one sentence.
    """
    match command:
        case protocol.ListCollections():
            infos = await asyncio.to_thread(_collections, settings, command.database)
            return {"collections": [info.model_dump(mode="json") for info in infos]}
        case protocol.ListDatabases():
            found = await asyncio.to_thread(_databases, settings)
            return {"databases": [info.model_dump(mode="json") for info in found]}
        case protocol.Preflight():
            return (await preflight(command, settings)).model_dump(mode="json")
        case protocol.ListRuns():
            async with Ledger.for_question(settings) as ledger:
                return {"runs": [run.model_dump(mode="json") for run in await history.list_runs(ledger)]}
        case protocol.Replay():
            async with Ledger.for_question(settings) as ledger:
                return (await recording(ledger, command.run, command.max_frames)).model_dump(mode="json")
        case protocol.MakeReport():
            async with Ledger.for_question(settings) as ledger:
                return (await run_report(ledger, command.run)).model_dump(mode="json")
        case protocol.LookAtFollowing():
            return (await look_at(command, settings)).model_dump(mode="json")
        case protocol.DiscardRun():
            async with Ledger.for_question(settings) as ledger:
                if command.preview:
                    return (await history.preview_discard(ledger, command.run)).model_dump(mode="json")
                return await history.discard(ledger, command.run, drop_tables=command.drop_tables, force=command.force)
        case protocol.ListRejects():
            async with Ledger.for_question(settings) as ledger:
                return (await history.list_rejects(ledger, command.run, command.samples)).model_dump(mode="json")
        case protocol.ListRejected():
            async with Ledger.for_question(settings) as ledger:
                return (await history.list_rejected(ledger, command)).model_dump(mode="json")
        case protocol.Verify():
            return (await verify(command, settings)).model_dump(mode="json")
        case _:
            raise UsageError("The engine does not take this command now.")


def planned(command: protocol.MakePlan, settings: Settings) -> Settings:
    """The settings that a plan is to be made with."""
    asked = {"collections": command.collections, "census": command.census}
    settings = merged(
        merged(settings, command.settings), {"run": {name: value for name, value in asked.items() if value}}
    )
    know(secrets_of(settings))
    return settings


async def make_plan(command: protocol.MakePlan, settings: Settings, looks: KnownLooks) -> EditablePlan:
    """A plan from samples; raises MigrationError with the reason when there can be none.

    Args:
        looks: what was read of the source for earlier plans, and is kept for later ones.
    """
    target = TargetReach(settings.target.connection, looks)
    unreachable = target.known_to_be_silent(again=command.recount)
    known = NOTHING_KNOWN
    if unreachable is None:
        known, unreachable = await known_in_target(settings, command.plan)
    uri = source_uri(settings)
    plan = await asyncio.to_thread(
        view_plan,
        settings,
        uri,
        command.plan,
        None,
        known,
        edits=command.edits,
        earlier_of=mappings_of,
        looks=looks,
        rereads=command.recount,
        preflight=partial(preflight_of_plan, earlier_of=mappings_of, unreachable=unreachable),
        unreachable=unreachable.message if unreachable is not None else "",
    )
    target.learn(plan)
    plan = await plan_with_guards(plan, settings, asks_source=not command.edits)
    if plan.preflight is None or command.edits:
        return plan
    return plan.model_copy(update={"preflight": await with_cluster(plan.preflight, settings)})


async def preflight(command: protocol.Preflight, settings: Settings) -> PreflightReport:
    """What a run that is started so would meet; raises UsageError for a plan or settings that cannot be understood."""
    settings = merged(settings, command.settings)
    if command.collections:
        settings = merged(settings, {"run": {"collections": command.collections}})
    know(secrets_of(settings))
    report = await with_guards(await preflight_of_start(settings, command.plan, mappings_of), settings)
    return await with_cluster(report, settings)


async def inspect(command: protocol.Inspect, settings: Settings) -> ServerReport:
    """Test one side; what is wrong is in the report."""
    section = settings.source if command.side == "source" else settings.target
    uri = with_password(command.uri, section.password.get_secret_value()) if command.uri else section.connection
    if not uri:
        name = f"{command.side}.uri"
        message = f"{name} is not set: give --{command.side} URI, or set MONGOPG_{command.side.upper()}_URI."
        return ServerReport(side=command.side, uri="", ok=False, message=message)
    know(secrets_in(uri))
    try:
        if command.side == "source":
            report = await asyncio.to_thread(_inspect_source, uri)
        else:
            report = await _inspect_target(uri)
    except MigrationError as error:
        is_refused = isinstance(error, ConnectError) and error.wants_password
        # Without a password MongoDB's driver does not even ask.
        is_missing = command.side == "source" and isinstance(error, UsageError) and with_password(uri, "x") != uri
        return ServerReport(
            side=command.side, uri=redact(uri), ok=False, message=redact(error.message),
            wants_password=is_refused or is_missing,
        )  # fmt: skip
    return report


def with_uri(command: protocol.Inspect, settings: Settings) -> Settings:
    """The settings with the connection string that was tested, for the questions that follow."""
    return merged(settings, {command.side: {"uri": command.uri}}) if command.uri else settings


def _inspect_source(uri: str) -> ServerReport:
    client = mongo.connect(uri, app_name=APP_NAME)
    try:
        found = mongo.inspect(client, uri)
    finally:
        client.close()
    return ServerReport(
        side="source", uri=redact(uri), ok=True, message="connected", version=found.version,
        latency_ms=found.latency_ms, detail=found.topology, tls=found.tls,
        tls_is_weak=tls.is_weak(found.tls, local=mongo.is_local(uri)), warnings=left_out(read_uri(uri)),
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
        tls_is_weak=tls.is_weak(found.tls, local=postgres.is_local(uri)),
        detail=f"{found.free_connections} of {counted(found.max_connections, 'connection')} free",
    )  # fmt: skip


def _databases(settings: Settings) -> list[DatabaseInfo]:
    client = mongo.connect(source_uri(settings), app_name=APP_NAME)
    try:
        sizes = catalogue.list_databases(client)
    finally:
        client.close()
    return [DatabaseInfo(name=name, size_bytes=size) for name, size in sizes.items()]


def _collections(settings: Settings, database: str) -> list[CollectionInfo]:
    uri = source_uri(settings)
    database = database or mongo.database_of(uri)
    client = mongo.connect(uri, app_name=APP_NAME)
    try:
        facts = catalogue.list_collections(client, database)
    finally:
        client.close()
    return [
        CollectionInfo(namespace=each.namespace, kind=each.kind, documents=each.documents, size_bytes=each.size_bytes)
        for each in facts
    ]
