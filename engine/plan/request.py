"""What is asked for: which collections, where to, and what a saved plan says of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.config import Settings
from engine.errors import MissingCollection, UsageError
from engine.mapping.names import table_name
from engine.plan.saved import SavedPlan, SavedTable
from engine.source import catalogue, mongo, rights
from engine.source.filters import canonical_filter, encode_filter


@dataclass(frozen=True, slots=True)
class Choice:
    """A collection to copy, and where it goes to."""

    database: str
    collection: str
    schema: str
    table: str
    saved: SavedTable | None = None
    """What a saved plan says of it."""

    @property
    def namespace(self) -> str:
        """`db.collection`."""
        return f"{self.database}.{self.collection}"

    @property
    def target(self) -> str:
        """`schema.table`."""
        return f"{self.schema}.{self.table}"

    @property
    def query(self) -> bytes:
        """The filter as BSON; empty takes every document."""
        return encode_filter(self.saved.filter) if self.saved is not None else b""


def choose(client: mongo.Client, settings: Settings, saved: SavedPlan | None = None) -> list[Choice]:
    """The collections to copy and where to, in order.

    Args:
        saved: says it all, when given: the settings' collections do not count then.

    Raises:
        UsageError: a name cannot be understood, or two collections go to one table.
        MissingCollection: the source's database is empty.
    """
    if saved is not None:
        return [Choice(each.database, each.collection, each.schema_name, each.table, each) for each in saved.tables]
    asked = settings.run.collections
    if not asked:
        database = mongo.database_of(settings.source.uri.get_secret_value())
        facts = catalogue.list_collections(client, database)
        asked = [each.namespace for each in facts if each.kind != "view"]
        if not asked:
            raise MissingCollection(f"The database {database!r} of source.uri has no collections; check its name.")
    choices = [_parse(text, settings) for text in asked]
    rights.require(client, [(choice.database, choice.collection) for choice in choices])
    targets = [choice.target for choice in choices]
    for choice in choices:
        if targets.count(choice.target) > 1:
            raise UsageError(
                f"Two collections go to the table {choice.target}: name another with --collection db.coll:schema.table."
            )
    return choices


def _parse(text: str, settings: Settings) -> Choice:
    source, _, target = text.partition(":")
    database, _, collection = source.partition(".")
    if not database or not collection:
        raise UsageError(
            f'run.collections: {text!r} must be "database.collection" or "database.collection:schema.table".'
        )
    schema, _, table = target.rpartition(".")
    return Choice(
        database,
        collection,
        schema or settings.target.schema_name,
        table or table_name(collection, settings.mapping.naming),
    )


def request_of(settings: Settings, choices: Sequence[Choice]) -> dict[str, Any]:
    """What a run of `choices` asks for: what the fingerprint is made of, and what `differences` compares."""
    request: dict[str, Any] = {
        "source": mongo.hosts_of(settings.source.uri.get_secret_value()),
        "collections": {choice.namespace: choice.target for choice in choices},
        "mode": settings.run.mode,
        "mapping": settings.mapping.model_dump(mode="json"),
    }
    if settings.run.limit:
        request["limit"] = settings.run.limit
    if settings.run.consistency != "fuzzy":
        request["consistency"] = settings.run.consistency
    if settings.run.indexes:
        request["indexes"] = True
    edits = {choice.namespace: _edits(choice) for choice in choices if choice.saved is not None}
    if edits:
        request["plan"] = edits
    return request


def _edits(choice: Choice) -> dict[str, Any]:
    """What a saved plan says of a table, spelled so that two plans that mean the same are equal."""
    saved = choice.saved
    assert saved is not None
    edits: dict[str, Any] = {
        "filter": canonical_filter(choice.query),
        "ignore": sorted(list(path) for path in saved.ignored),
    }
    if saved.columns is not None:
        edits["order"] = [column.name for column in saved.columns]
        edits["columns"] = {
            column.name: column.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
            | {"kinds": sorted(kind.name for kind in column.kinds)}
            for column in saved.columns
        }
    return edits
