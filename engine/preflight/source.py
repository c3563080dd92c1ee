"""What a run asks of MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.config import Settings, redact, source_uri
from engine.errors import MigrationError
from engine.mongo import catalogue, rights, snapshot
from engine.mongo import connect as mongo
from engine.plan import Choice
from engine.plan.making import require_limitable
from engine.plurals import counted
from engine.protocol import CheckView


def look_at_source(client: mongo.Client, settings: Settings, choices: Sequence[Choice]) -> list[CheckView]:
    """A line for each thing that was looked at. Blocks."""
    names = list(dict.fromkeys((choice.database, choice.collection) for choice in choices))
    found = mongo.inspect(client, source_uri(settings))
    said = f"MongoDB {found.version} ({found.topology}) answers, and all {len(names)} collections can be read."
    if len(names) == 1:
        said = f"MongoDB {found.version} ({found.topology}) answers, and the collection can be read."
    checks = [_checked("source", said, lambda: rights.require(client, names))]
    if settings.run.consistency == "snapshot":
        said = "All documents can be read as they were at one time."
        checks.append(_checked("snapshot", said, lambda: snapshot.check(client, names)))
    if settings.run.limit:
        said = f"The first {counted(settings.run.limit, 'document')} of each collection can be told."
        checks.append(_checked("limit", said, lambda: _require_limitable(client, names)))
    return checks


def _require_limitable(client: mongo.Client, names: Sequence[tuple[str, str]]) -> None:
    for database, collection in names:
        require_limitable(catalogue.collection_facts(client, database, collection))


def _checked(what: str, said: str, require: Callable[[], None]) -> CheckView:
    """`said` when nothing is raised, else the reason."""
    try:
        require()
    except MigrationError as error:
        return stop(what, error)
    return CheckView(what=what, status="ok", message=said)


def stop(what: str, error: MigrationError) -> CheckView:
    """What would stop the run."""
    return CheckView(what=what, status="stop", message=redact(error.message), code=error.code)
