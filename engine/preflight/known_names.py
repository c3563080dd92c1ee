"""Names that the target has already, for a plan that is no run."""

from __future__ import annotations

from engine.config import Settings, source_uri
from engine.errors import ConnectError
from engine.ledger.earlier_runs import known_names
from engine.mongo import connect as mongo
from engine.plan import named_in
from engine.postgres import connect as postgres
from engine.postgres import sqlstates
from engine.postgres.names import NOTHING_KNOWN, KnownNames

APP_NAME = "mongopg-tui"


async def known_in_target(settings: Settings, plan: str) -> tuple[KnownNames, ConnectError | None]:
    """What the target says about names, and why there is no connection with it.

    Nothing is asked for a saved plan, which names all tables.
    """
    if plan or not settings.target.connection:
        return NOTHING_KNOWN, None
    schemas = [each.schema for each in named_in(settings)] or [settings.target.schema_name]
    try:
        connection = await postgres.connect(settings.target.connection, application_name=APP_NAME)
    except ConnectError as error:
        return NOTHING_KNOWN, error
    try:
        return await known_names(connection, mongo.hosts_of(source_uri(settings)), schemas), None
    except sqlstates.FAILURES:
        return NOTHING_KNOWN, None  # such as a ledger that this role may not read
    finally:
        await connection.close(timeout=2.0)
