"""Preflight of a plan, and of a start, which has none yet and reads no more than it has to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import asyncpg

from engine.config import Settings, redact, source_uri
from engine.errors import ConnectError, MigrationError, UsageError
from engine.mapping.names import TableName
from engine.mongo import catalogue
from engine.mongo import connect as mongo
from engine.notation import written_table
from engine.plan import FIRST_TASK_ID, Choice, select
from engine.plan.making import Source, Survey, survey_all
from engine.plan.reading import asked_plan
from engine.postgres import connect as postgres
from engine.postgres import sqlstates
from engine.postgres.existing import ADDING, EarlierOf, ExistingTable
from engine.postgres.existing import look as look_at_table
from engine.postgres.names import KnownNames
from engine.postgres.prepare import view_of
from engine.preflight.known_names import known_in_target
from engine.preflight.source import look_at_source, stop
from engine.preflight.target import Going, look_at_target
from engine.protocol import CheckStatus, CheckView, PreflightReport, TargetTable
from engine.protocol.saved_plan import SavedPlan

APP_NAME = "mongopg-tui preflight"
NOT_CHECKED = "Target not checked: there is none to look at."


def preflight_of_plan(
    client: mongo.Client | None,
    settings: Settings,
    choices: Sequence[Choice],
    surveys: Sequence[Survey],
    *,
    earlier_of: EarlierOf,
    unreachable: ConnectError | None = None,
) -> PreflightReport:
    """What a run of surveyed collections would meet. Blocks: call it in a thread without a loop.

    Args:
        client: of the source; None after an edit, for which nothing is read there.
        earlier_of: reads what earlier runs wrote into a table.
        unreachable: why there is no connection with the target, where that is known already.
    """
    checks = [
        CheckView(what="source", status="ok", message="MongoDB was read before, and is not asked again for an edit.")
    ]
    if client is not None:
        checks = look_at_source(client, settings, choices)
    labels = _labels(choices)
    goings = [
        Going(
            survey.table.task_id, survey.table.namespace, _target(choice), labels[choice.schema, choice.table],
            survey.table, survey.refusal, choice.saved is not None,
        )
        for choice, survey in zip(choices, surveys, strict=True)
    ]  # fmt: skip
    return asyncio.run(_with_target(settings, checks, goings, earlier_of, unreachable))


async def preflight_of_start(settings: Settings, text: str, earlier_of: EarlierOf) -> PreflightReport:
    """What a run that is started with these settings would meet.

    Documents are only read where a table is there that they would have to fit, and no saved plan says what goes where.

    Args:
        text: a saved plan's TOML; empty for what the settings ask for.
        earlier_of: reads what earlier runs wrote into a table.

    Raises:
        UsageError: the plan or the settings cannot be understood.
    """
    saved = asked_plan(text, ())
    if saved is not None:
        settings = saved.over(settings)
    source_uri(settings)
    names, unreachable = await known_in_target(settings, text)
    try:
        choices, checks = await asyncio.to_thread(_source, settings, saved, names)
    except MigrationError as error:
        return _report(settings, [stop("source", error)], [], "not checked")
    labels = _labels(choices)
    goings = [
        Going(
            task_id,
            choice.namespace,
            _target(choice),
            labels[choice.schema, choice.table],
            is_saved=choice.saved is not None,
        )
        for task_id, choice in enumerate(choices, FIRST_TASK_ID)
    ]
    return await _with_target(settings, checks, goings, earlier_of, unreachable, choices)


async def _with_target(
    settings: Settings,
    checks: Sequence[CheckView],
    goings: Sequence[Going],
    earlier_of: EarlierOf,
    unreachable: MigrationError | None,
    unplanned: Sequence[Choice] = (),
) -> PreflightReport:
    """The target's part.

    Args:
        unplanned: what the goings are from, where they have no plans yet.
    """
    unknown = [TargetTable(namespace=each.namespace, table=each.label, state="unknown") for each in goings]
    if not settings.target.connection:
        found = CheckView(what="target", status="warning", message=NOT_CHECKED)
        return _report(settings, [*checks, found], unknown, "not checked")
    try:
        if unreachable is not None:
            raise unreachable
        connection = await postgres.connect(settings.target.connection, application_name=APP_NAME)
    except (ConnectError, UsageError) as error:
        return _report(settings, [*checks, stop("target", error)], unknown, "unreachable")
    try:
        if unplanned:
            goings = await _planned(connection, settings, goings, unplanned, earlier_of)
        look = await look_at_target(connection, settings, goings, earlier_of)
    except sqlstates.FAILURES as error:
        message = redact(f"The target could not be looked at. {sqlstates.describe(error)[1]}")
        return _report(
            settings, [*checks, CheckView(what="target", status="stop", message=message)], unknown, "unreachable"
        )
    finally:
        await connection.close(timeout=2.0)
    report = _report(settings, [*checks, *look.checks], look.tables, "checked")
    return report.model_copy(update={"database": look.database, "schemas": look.schemas})


async def _planned(
    connection: asyncpg.Connection,
    settings: Settings,
    goings: Sequence[Going],
    choices: Sequence[Choice],
    earlier_of: EarlierOf,
) -> list[Going]:
    """Those whose tables are there, with plans: what they would write has to fit, unless tables that are there are refused."""
    view = await view_of(connection, settings.run.mode, [each.target for each in goings], earlier_of)
    there = [(going, choice) for going, choice in zip(goings, choices, strict=True) if going.target in view.oids]
    if settings.run.mode == "create" or not there:
        return list(goings)
    existing: dict[int, ExistingTable] = {}
    found: dict[int, Going] = {}
    asked: list[tuple[Going, Choice]] = []
    for going, choice in there:
        if settings.run.mode in ADDING:
            try:
                table = await look_at_table(connection, going.target, earlier_of)
            except UsageError as refusal:
                found[going.task_id] = replace(going, refusal=refusal)
                continue
            if table is not None:
                existing[FIRST_TASK_ID + len(asked)] = table
        asked.append((going, choice))
    if asked:
        surveys = await asyncio.to_thread(_surveys, settings, [choice for _, choice in asked], existing)
        for (going, _), survey in zip(asked, surveys, strict=True):
            plan = survey.table.model_copy(update={"task_id": going.task_id})
            found[going.task_id] = replace(going, plan=plan, refusal=survey.refusal)
    return [found.get(each.task_id, each) for each in goings]


def _source(settings: Settings, saved: SavedPlan | None, names: KnownNames) -> tuple[list[Choice], list[CheckView]]:
    """What is to be copied, and what there is to say of the source."""
    client = mongo.connect(source_uri(settings), app_name=APP_NAME)
    try:
        choices = select(client, settings, saved, names).choices
        for choice in choices:
            catalogue.collection_facts(client, choice.database, choice.collection)
        return choices, look_at_source(client, settings, choices)
    finally:
        client.close()


def _surveys(settings: Settings, choices: Sequence[Choice], existing: Mapping[int, ExistingTable]) -> list[Survey]:
    """As a run makes them."""
    client = mongo.connect(source_uri(settings), app_name=APP_NAME)
    try:
        return survey_all(Source(lambda: client), settings, choices, None, existing, is_thorough=False)[1]
    finally:
        client.close()


def _report(
    settings: Settings,
    checks: Sequence[CheckView],
    tables: Sequence[TargetTable],
    target: Literal["checked", "unreachable", "not checked"],
) -> PreflightReport:
    status = worst([*(check.status for check in checks), *(table.status for table in tables)])
    return PreflightReport(
        status=status, target=target, mode=settings.run.mode, checks=list(checks), tables=list(tables)
    )


def worst(statuses: Iterable[CheckStatus]) -> CheckStatus:
    """The one that counts."""
    order: Sequence[CheckStatus] = ("ok", "warning", "stop")
    return max(statuses, key=order.index, default="ok")


def _target(choice: Choice) -> TableName:
    return TableName(choice.schema, choice.table)


def _labels(choices: Sequence[Choice]) -> dict[tuple[str, str], str]:
    """`schema.table` of each, as `Plan.label` has it."""
    plain = Counter(f"{schema}.{table}" for schema, table in {(each.schema, each.table) for each in choices})
    return {
        (each.schema, each.table): written_table(each.schema, each.table) if plain[each.target] > 1 else each.target
        for each in choices
    }
