"""Census + settings -> what goes where.

A plan is data: it is shown before anything is written, kept in the ledger, and goes to the workers as tasks. Its fingerprint
is made from what the operator asked for, not from what the census happened to sample, so that the same request resumes the
same run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from engine.config import Settings
from engine.errors import MissingCollection, UsageError
from engine.mapping.census import Census
from engine.mapping.kinds import KIND_NAMES
from engine.mapping.model import Kind, Mapping
from engine.mapping.names import table_name
from engine.mapping.proposal import propose
from engine.source import catalogue, mongo, partition, reader
from engine.source.catalogue import CollectionFacts
from engine.source.reader import Range

FIRST_TASK_ID = 1
"""Task 0 is seeding."""
_PARALLEL_CENSUSES = 4

Choice = tuple[str, str, str, str]
"""A collection and where it goes to: database, collection, schema, table."""


class TablePlan(BaseModel):
    """What becomes of one collection."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    task_id: int
    database: str
    collection: str
    schema_name: str
    table: str
    mapping: Mapping
    has_range_reads: bool
    documents: int
    """To be copied: the server's estimate when the plan was made; 0 when it gives none."""
    size_bytes: int
    notes: dict[str, str] = {}
    """Column name -> why it has its type."""
    seen: dict[str, tuple[float, dict[str, float]]] = {}
    """Column name -> share of the documents that have the field (0..1), and of its kinds by name (0..1)."""
    warnings: list[str] = []
    limit: int = 0
    """Documents to copy at most; 0 is all."""
    end: bytes | None = None
    """Where `limit` ends the copy: the first key that is left out; None is the collection's end."""

    @property
    def namespace(self) -> str:
        """`db.collection`."""
        return f"{self.database}.{self.collection}"

    @property
    def target(self) -> str:
        """`schema.table`."""
        return f"{self.schema_name}.{self.table}"

    @property
    def has_key(self) -> bool:
        """`_id` becomes the primary key: not for views and time-series, where equal ones may occur."""
        return self.has_range_reads and not self.mapping.id_column.nullable


class Plan(BaseModel):
    """Every collection of a run."""

    model_config = ConfigDict(frozen=True)

    request: dict[str, Any]
    """What was asked for, in plain words: source, collections, mode, mapping options."""
    tables: tuple[TablePlan, ...]

    @property
    def fingerprint(self) -> str:
        """A hash of the request."""
        return fingerprint(self.request)


def fingerprint(request: dict[str, Any]) -> str:
    """A short hash of a request."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:16]


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What a resumed run's request and today's differ in, each in a few words."""
    found = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [f"{name}.{difference}" for difference in differences(old, new)]
        elif old != new:
            found.append(f"{name} was {json.dumps(old)} and is {json.dumps(new)}")
    return found


def request_of(settings: Settings, choices: Sequence[Choice]) -> dict[str, Any]:
    """What a run of `choices` asks for."""
    limit = {"limit": settings.run.limit} if settings.run.limit else {}
    return limit | {
        "source": mongo.hosts_of(settings.source.uri.get_secret_value()),
        "collections": {f"{choice[0]}.{choice[1]}": f"{choice[2]}.{choice[3]}" for choice in choices},
        "mode": settings.run.mode,
        "mapping": settings.mapping.model_dump(mode="json"),
    }


def choose(client: mongo.Client, settings: Settings) -> list[Choice]:
    """The collections to copy and where to, in order.

    Raises:
        UsageError: a name cannot be understood, or two collections go to one table.
        MissingCollection: the source's database is empty.
    """
    asked = settings.run.collections
    if not asked:
        database = mongo.database_of(settings.source.uri.get_secret_value())
        facts = catalogue.list_collections(client, database)
        asked = [each.namespace for each in facts if each.kind != "view"]
        if not asked:
            raise MissingCollection(f"The database {database!r} of source.uri has no collections; check its name.")
    choices = [_parse(text, settings) for text in asked]
    targets = [choice[2:] for choice in choices]
    for choice in choices:
        if targets.count(choice[2:]) > 1:
            raise UsageError(
                f"Two collections go to the table {choice[2]}.{choice[3]}: name another with --collection db.coll:schema.table."
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
    return (
        database,
        collection,
        schema or settings.target.schema_name,
        table or table_name(collection, settings.mapping.naming),
    )


def find_ends(client: mongo.Client, settings: Settings, choices: Sequence[Choice]) -> dict[int, bytes]:
    """Where `run.limit` ends each collection that has more documents: task -> the first key that is left out.

    Raises:
        MissingCollection: the source has no such collection.
        UsageError: there is a limit, and a collection that can only be read whole.
    """
    ends: dict[int, bytes] = {}
    if not settings.run.limit:
        return ends
    for task_id, (database, name, _, _) in enumerate(choices, FIRST_TASK_ID):
        facts = catalogue.collection_facts(client, database, name)
        if not facts.has_range_reads:
            raise UsageError(
                f"{facts.namespace} can only be copied whole, being a {facts.kind} without an index of _id: "
                "leave it out, or set run.limit to 0."
            )
        end = partition.key_behind(client[database][name], settings.run.limit)
        if end is not None:
            ends[task_id] = end
    return ends


def cut(
    client: mongo.Client, settings: Settings, choices: Sequence[Choice], ends: dict[int, bytes], workers: int
) -> list[tuple[int, Range]]:
    """The ranges of `_id` that together are what is to be copied, each with its task. Blocks: call it in a thread."""
    found = []
    for task_id, (database, name, _, _) in enumerate(choices, FIRST_TASK_ID):
        facts = _limited(catalogue.collection_facts(client, database, name), settings.run.limit)
        ranges = partition.partitions(client[database][name], facts, workers, end=ends.get(task_id))
        found += [(task_id, span) for span in ranges]
    return found


def make_plan(
    client: mongo.Client, settings: Settings, choices: Sequence[Choice], ends: dict[int, bytes] | None = None
) -> Plan:
    """Look at every chosen collection and propose its table. Nothing is written. Blocks: call it in a thread.

    Args:
        ends: of `find_ends`; a plan that is only looked at needs none.

    Raises:
        MissingCollection: the source has no such collection.
    """
    ends = ends or {}
    with ThreadPoolExecutor(_PARALLEL_CENSUSES, thread_name_prefix="census") as pool:
        tables = list(
            pool.map(
                lambda numbered: _table_plan(client, settings, ends.get(numbered[0]), numbered[0], *numbered[1]),
                enumerate(choices, FIRST_TASK_ID),
            )
        )
    return Plan(request=request_of(settings, choices), tables=tuple(tables))


def _table_plan(
    client: mongo.Client,
    settings: Settings,
    end: bytes | None,
    task_id: int,
    database: str,
    name: str,
    schema: str,
    table: str,
) -> TablePlan:
    facts = catalogue.collection_facts(client, database, name)
    collection = client[database][name]
    census = Census(settings.mapping.flatten)
    for document in reader.sample(
        collection, settings.run.sample_size, n_documents=facts.documents, has_range_reads=facts.has_range_reads
    ):
        census.add(document)
    kinds = catalogue.id_kinds(collection, facts) or _sampled_id_kinds(census)
    proposal = propose(census, kinds, settings.mapping)
    part = _limited(facts, settings.run.limit)
    return TablePlan(
        task_id=task_id,
        database=database,
        collection=name,
        schema_name=schema,
        table=table,
        mapping=proposal.mapping,
        has_range_reads=facts.has_range_reads,
        documents=max(0, part.documents),
        size_bytes=part.size_bytes,
        notes=proposal.notes,
        seen=_shares(census, proposal.mapping),
        warnings=proposal.warnings,
        limit=settings.run.limit,
        end=end,
    )


def _limited(facts: CollectionFacts, limit: int) -> CollectionFacts:
    """The facts of a collection's first `limit` documents."""
    if not limit or facts.documents <= limit:
        return facts
    return replace(facts, documents=limit, size_bytes=limit * facts.average_bytes)


def _sampled_id_kinds(census: Census) -> frozenset[Kind]:
    """Views and time-series have no index to ask: the sample has to do, and late kinds become rejects."""
    seen = census.fields.get("_id")
    return seen.kind_set if seen is not None else frozenset()


def _shares(census: Census, mapping: Mapping) -> dict[str, tuple[float, dict[str, float]]]:
    """For each column of a field: how often it was there, and its kinds, as shares of 1."""
    by_path = dict(census.walk())
    shares = {}
    for column in mapping.columns:
        seen = by_path.get(column.path)
        if seen is not None and census.n_documents and seen.present:
            kinds = {KIND_NAMES[Kind(kind)]: count / seen.present for kind, count in seen.kinds.items()}
            shares[column.name] = (seen.present / census.n_documents, kinds)
    return shares
