"""A look at the target for a plan: the tables that rows would be added to. Nothing is written, and no ledger made."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from engine.config import Settings
from engine.errors import ConnectError
from engine.plan import FIRST_TASK_ID, Choice
from engine.target import postgres, sqlstates
from engine.target.ddl import TableName
from engine.target.existing import ADDING, ExistingTable, look

NOT_SEEN_WEIGHT = 96
"""Of the warning, as in `engine.mapping.proposal`."""


def existing_tables(settings: Settings, choices: Sequence[Choice]) -> tuple[dict[int, ExistingTable], str]:
    """The tables that are there already, by task, and why they are not known. Blocks: call it in a thread without a loop.

    Modes that make their tables need not know them, and a plan can be made without a target.

    Raises:
        UsageError: rows cannot be copied into one of them, such as a view.
    """
    if settings.run.mode not in ADDING or not settings.target.connection:
        return {}, ""
    try:
        return asyncio.run(_look(settings.target.connection, choices)), ""
    except ConnectError as error:
        why = error.message
    except sqlstates.FAILURES as error:
        why = sqlstates.describe(error)[1]
    return {}, f"The target could not be looked at, so this is what new tables would have. {why}"


async def _look(uri: str, choices: Sequence[Choice]) -> dict[int, ExistingTable]:
    connection = await postgres.connect(uri, application_name="mongopg-tui plan")
    try:
        found = {}
        for task_id, choice in enumerate(choices, FIRST_TASK_ID):
            table = await look(connection, TableName(choice.schema, choice.table))
            if table is not None:
                found[task_id] = table
        return found
    finally:
        await connection.close(timeout=2.0)
