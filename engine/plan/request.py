"""What is asked for: which collections, where to, and what a saved plan says of each."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from engine.config import Settings
from engine.errors import MissingCollection, UsageError
from engine.mapping.names import table_names
from engine.mongo import catalogue, rights
from engine.mongo import connect as mongo
from engine.mongo.collections import NEVER_IN_DATABASES
from engine.mongo.filters import canonical_filter, encode_filter
from engine.notation import NamedCollection, leaves_out, parsed, written, written_namespace, written_table
from engine.plan.checks import schema_fault, target_fault
from engine.plurals import counted
from engine.postgres.names import NOTHING_KNOWN, KnownNames
from engine.protocol.saved_plan import SavedPlan, SavedTable
from engine.redaction import redact
from engine.validation import shown

SHOWN_VIEWS = 10
"""Names of views that one sentence lists."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A collection to copy, and where it goes to."""

    database: str
    collection: str
    schema: str
    table: str
    saved: SavedTable | None = None
    """What a saved plan says of it."""
    warning: str = ""
    """Why its table is not called as the collection is; a sentence."""

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


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to be copied, and what to know of how that was chosen."""

    choices: list[Choice]
    warnings: list[str] = field(default_factory=list)
    """One sentence each, about no collection in particular."""


def choose(
    client: mongo.Client, settings: Settings, saved: SavedPlan | None = None, known: KnownNames = NOTHING_KNOWN
) -> list[Choice]:
    """The collections to copy and where to, in order; as `select`, without its warnings."""
    return select(client, settings, saved, known).choices


def select(
    client: mongo.Client, settings: Settings, saved: SavedPlan | None = None, known: KnownNames = NOTHING_KNOWN
) -> Selection:
    """The collections to copy and where to, in order.

    What the source's catalogue holds becomes a choice as it is; only what was typed is read as notation.

    Args:
        saved: says it all, when given: the settings' collections do not count then.
        known: names that the target has.

    Raises:
        UsageError: a name cannot be understood or cannot be a target's, two collections go to one table by name, or
            nothing is left to copy.
        MissingCollection: the source's database is empty.
    """
    if saved is not None:
        return as_saved(saved)
    asked, views = named_in(settings), list[NamedCollection]()
    where = "of those in run.collections"
    if not asked:
        database = mongo.database_of(settings.source.uri.get_secret_value())
        if fault := _source_fault(NamedCollection(database, "")):
            raise UsageError(f"source.uri names the database {shown(repr(database))}: {fault}.")
        kinds = catalogue.list_kinds(client, database)
        asked = [NamedCollection(database, name) for name, kind in kinds.items() if kind != "view"]
        views = [NamedCollection(database, name) for name, kind in kinds.items() if kind == "view"]
        where = f"of the database {shown(repr(database))}"
        if not asked and views:
            raise MissingCollection(
                f"The database {database!r} of source.uri has no collections but views, which are only copied by name: "
                f"--collection {written(views[0].database, views[0].collection)}."
            )
        if not asked:
            near = catalogue.near_name(client, database)
            hint = f"did you mean {shown(repr(near))}?" if near and near != database else "check its name."
            raise MissingCollection(f"The database {database!r} of source.uri has no collections; {hint}")
    left = [each for each in asked if not leaves_out(settings.run.exclude, each.namespace)]
    if not left:
        raise UsageError(f"run.exclude excludes every collection {where}, so there is nothing to copy: narrow it.")
    _refuse_shared_tables(left)
    rights.require(client, [(each.database, each.collection) for each in left])
    views_left = [each for each in views if not leaves_out(settings.run.exclude, each.namespace)]
    warnings = _idle_patterns(settings, [*asked, *views]) + _left_views(views_left)
    return Selection(_with_tables(left, settings, known), warnings)


def as_saved(saved: SavedPlan) -> Selection:
    """What a saved plan copies, and where to: it needs no source to say it."""
    return Selection(
        [Choice(each.database, each.collection, each.schema_name, each.table, each) for each in saved.tables]
    )


def named_in(settings: Settings) -> list[NamedCollection]:
    """The collections that the settings name, each with its schema.

    Raises:
        UsageError: one cannot be understood, or its table, or `target.schema`, cannot be a target.
    """
    default = settings.target.schema_name
    if fault := schema_fault(default):
        raise UsageError(f"target.schema: {fault}.")
    found = []
    for text in settings.run.collections:
        named = parsed(text)
        named = replace(named, schema=named.schema or default)
        fault = target_fault(named.schema, named.table) if named.table else schema_fault(named.schema)
        fault = fault or _source_fault(named)
        if fault:
            raise UsageError(f"run.collections, {shown(text)}: {fault}.")
        found.append(named)
    return found


def _source_fault(named: NamedCollection) -> str:
    """Why MongoDB has no collection of this name, ever; empty when it may have one."""
    if "\0" in named.namespace:
        return "no name in MongoDB holds a NUL"
    if odd := NEVER_IN_DATABASES & {*named.database}:
        return f"no database of MongoDB has {' or '.join(map(repr, sorted(odd)))} in its name"
    if not named.namespace.isascii() and named.namespace != named.namespace.encode(errors="replace").decode():
        return "it is not text in UTF-8"
    return ""


def _refuse_shared_tables(named: Sequence[NamedCollection]) -> None:
    """Raise UsageError for what was named twice, and for tables that several collections are to go to by name."""
    sentences = [
        f"{shown(each.namespace)} is named {times} times with the same table: once is enough."
        for each, times in Counter(named).items()
        if times > 1
    ]
    sharing: dict[tuple[str, str], list[str]] = {}
    for each in dict.fromkeys(named):
        if each.table:
            sharing.setdefault((each.schema, each.table), []).append(each.namespace)
    for (schema, table), namespaces in sharing.items():
        if len(namespaces) > 1:
            count = "Two" if len(namespaces) == 2 else str(len(namespaces))
            sentences.append(
                f"{count} collections go to the table {schema}.{table} ({', '.join(map(shown, namespaces))}): "
                "name another with --collection db.coll:schema.table."
            )
    if sentences:
        raise UsageError(" ".join(sentences))


def _with_tables(named: Sequence[NamedCollection], settings: Settings, known: KnownNames) -> list[Choice]:
    """Each with a table: the one that was named, else one called after the collection that no other has."""
    default = settings.target.schema_name
    named = [replace(each, schema=each.schema or default) for each in named]
    found: dict[NamedCollection, tuple[str, str]] = {}
    for schema in dict.fromkeys(each.schema for each in named):
        ours = {each.namespace: each for each in named if each.schema == schema and not each.table}
        taken = {each.table for each in named if each.schema == schema and each.table}
        taken |= {name.table for name in known.blocked if name.schema == schema}
        earlier = {
            namespace: [name.table for name in known.earlier.get(namespace, ()) if name.schema == schema]
            for namespace in ours
        }
        names, warnings = table_names(ours, settings.mapping.naming, taken, earlier)
        found |= {each: (names[namespace], warnings.get(namespace, "")) for namespace, each in ours.items()}
    choices = []
    for each in named:
        table, warning = (each.table, "") if each.table else found[each]
        choices.append(Choice(each.database, each.collection, each.schema, table, warning=warning))
    return choices


def _left_views(views: Sequence[NamedCollection]) -> list[str]:
    """That views are no part of a whole database, whose collections they show once more."""
    if not views:
        return []
    names = [shown(each.namespace) for each in views[:SHOWN_VIEWS]]
    more = f" and {len(views) - SHOWN_VIEWS} more" if len(views) > SHOWN_VIEWS else ""
    return [
        f"{counted(len(views), 'view is', 'views are')} left out, being no collection of the database: {', '.join(names)}"
        f"{more}. Name a view to copy what it shows, as in --collection {written(views[0].database, views[0].collection)}."
    ]


def _idle_patterns(settings: Settings, asked: Sequence[NamedCollection]) -> list[str]:
    """A sentence for each pattern that leaves out nothing."""
    sentences = []
    for text in settings.run.exclude:
        if not any(leaves_out([text], each.namespace) for each in asked):
            near = difflib.get_close_matches(text, [each.collection for each in asked], 1)
            hint = f"; did you mean {shown(near[0])}?" if near else "."
            sentences.append(
                f"run.exclude: {shown(repr(redact(text)))} matches no collection, so it excludes nothing{hint}"
            )
    return sentences


def request_of(settings: Settings, choices: Sequence[Choice]) -> dict[str, Any]:
    """What a run of `choices` asks for: what the fingerprint is made of, and what `differences` compares."""
    written_tables: dict[str, list[str]] = {}
    for choice in choices:
        written_tables.setdefault(choice.namespace, []).append(written_table(choice.schema, choice.table))
    collections: dict[str, Any] = {
        namespace: tables[0] if len(tables) == 1 else sorted(tables) for namespace, tables in written_tables.items()
    }
    request: dict[str, Any] = {
        "source": mongo.hosts_of(settings.source.uri.get_secret_value()),
        "collections": collections,
        "mode": settings.run.mode,
        "mapping": settings.mapping.model_dump(mode="json"),
    }
    if settings.run.limit:
        request["limit"] = settings.run.limit
    if settings.run.consistency != "fuzzy":
        request["consistency"] = settings.run.consistency
    if settings.run.indexes:
        request["indexes"] = True
    edits: dict[str, Any] = {}
    for choice in choices:
        if choice.saved is not None:
            is_alone = isinstance(collections[choice.namespace], str)
            name = (
                choice.namespace
                if is_alone
                else written(choice.database, choice.collection, choice.schema, choice.table)
            )
            edits[name] = _edits(choice)
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


def settings_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that ask for the same run again, from a plan's request: what `Start(resume=...)` needs."""
    collections = [
        f"{written_namespace(namespace, has_table=True)}:{table}"
        for namespace, tables in request.get("collections", {}).items()
        for table in ([tables] if isinstance(tables, str) else tables)
    ]
    run = {"collections": collections, "mode": request.get("mode", "create"), "limit": request.get("limit", 0)}
    run["exclude"] = []  # what was left out is not among them
    run["indexes"] = request.get("indexes", False)
    run["consistency"] = request.get("consistency", "fuzzy")
    return {"run": run, "mapping": dict(request.get("mapping", {}))}
