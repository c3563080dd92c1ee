"""A look at the target for a plan: the tables that rows would be added to. Nothing is written, and no ledger made."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from engine.config import Settings
from engine.errors import ConnectError, UsageError
from engine.mapping.names import TableName
from engine.plan import FIRST_TASK_ID, Choice, TablePlan
from engine.plan.making import Survey
from engine.postgres import connect as postgres
from engine.postgres import sqlstates
from engine.postgres.existing import ADDING, EarlierOf, ExistingTable, look
from engine.postgres.obstacles import obstacles, remarks

APP_NAME = "mongopg-tui plan"
NOT_SEEN = "The target could not be looked at, so this is what new tables would have. {why}"
CLOSED_WEIGHT, NOT_SEEN_WEIGHT = 97, 96
"""Of warnings, as in `engine.mapping.proposal`."""


def existing_tables(
    settings: Settings, choices: Sequence[Choice], earlier_of: EarlierOf, unreachable: str = ""
) -> tuple[dict[int, ExistingTable], str]:
    """The tables that are there already, by task, and why they are not known. Blocks: call it in a thread without a loop.

    What is no table although it has the name of one is left out: rows cannot be copied into it.

    Modes that make their tables need not know them, and a plan can be made without a target.

    Args:
        earlier_of: reads what earlier runs wrote into a table.
        unreachable: why there is no connection with the target, where that is known already.
    """
    if settings.run.mode not in ADDING or not settings.target.connection:
        return {}, ""
    if unreachable:
        return {}, NOT_SEEN.format(why=unreachable)
    try:
        return asyncio.run(_look(settings.target.connection, choices, earlier_of)), ""
    except ConnectError as error:
        why = error.message
    except sqlstates.FAILURES as error:
        why = sqlstates.describe(error)[1]
    return {}, NOT_SEEN.format(why=why)


def warn_of_closed(settings: Settings, surveys: Sequence[Survey]) -> list[Survey]:
    """The same with warnings of what keeps rows from being added to tables that are there. Blocks, as `existing_tables`."""
    closed = _closed_tables(settings, [survey.table for survey in surveys if survey.is_there])
    warned = []
    for survey in surveys:
        found = closed.get(survey.table.task_id, [])
        table = survey.table.model_copy(update={"warnings": [*found, *survey.table.warnings]})
        warned.append(replace(survey, table=table, weights=[*[CLOSED_WEIGHT] * len(found), *survey.weights]))
    return warned


def _closed_tables(settings: Settings, tables: Sequence[TablePlan]) -> dict[int, list[str]]:
    """What keeps rows from being added to tables that are there, a sentence each, by task."""
    if not tables or settings.run.mode not in ADDING or not settings.target.connection:
        return {}
    try:
        return asyncio.run(_obstacles(settings.target.connection, settings.run.mode, tables))
    except ConnectError:
        return {}  # the plan says already that the target could not be looked at
    except sqlstates.FAILURES:
        return {}  # the run will say what is wrong


async def _obstacles(uri: str, mode: str, tables: Iterable[TablePlan]) -> dict[int, list[str]]:
    connection = await postgres.connect(uri, application_name=APP_NAME)
    try:
        found = {}
        for table in tables:
            name = TableName(table.schema_name, table.table)
            found[table.task_id] = [
                *await obstacles(connection, name, mode, table.mapping), *await remarks(connection, name, mode)
            ]  # fmt: skip
        return found
    finally:
        await connection.close(timeout=2.0)


async def _look(uri: str, choices: Sequence[Choice], earlier_of: EarlierOf) -> dict[int, ExistingTable]:
    connection = await postgres.connect(uri, application_name=APP_NAME)
    try:
        found = {}
        for task_id, choice in enumerate(choices, FIRST_TASK_ID):
            with suppress(UsageError):
                table = await look(connection, TableName(choice.schema, choice.table), earlier_of)
                if table is not None:
                    found[task_id] = table
        return found
    finally:
        await connection.close(timeout=2.0)
