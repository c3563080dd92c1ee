"""From a request and a look at the source to a plan. What a run waits for is here; what only people want is not.

A survey is a plan's table with what it was made from: the census and some of the sampled documents, for the preview. The
census is a sample's, counted here, or that of all documents, counted by the cluster before (`engine.run.census`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Sequence
from collections.abc import Mapping as MappingOf
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

from pymongo.collection import Collection

from engine.config import Settings
from engine.convert.census import make_counter
from engine.errors import UsageError
from engine.mapping.bson import documents
from engine.mapping.cautions import (
    cautions,
    dictionary,
    fate_words,
    holds_words,
    id_cautions,
    keys_are_data,
    listed,
    name_cautions,
    renamed,
    several_kinds,
)
from engine.mapping.census import Census
from engine.mapping.equal_keys import key_doubts
from engine.mapping.kinds import JSON_TYPES, KIND_NAMES
from engine.mapping.model import Column, ColumnType, Kind, Mapping, share
from engine.mapping.names import TableName, show_path
from engine.mapping.proposal import Proposal, note_of, note_of_id, propose
from engine.mongo import catalogue, faults, partition, reader
from engine.mongo import connect as mongo
from engine.mongo.catalogue import CollectionFacts, KnownFacts
from engine.mongo.collections import collection_of
from engine.mongo.filters import check_filter
from engine.mongo.id_kinds import IdKinds, id_kinds
from engine.mongo.indexes import list_indexes
from engine.mongo.partition import KeySamples
from engine.mongo.reader import Range, filter_query
from engine.mongo.record_cuts import Lying, lying_of
from engine.mongo.snapshot import session_at
from engine.mongo.spread import runs
from engine.plan.checks import ID_PATH, check_mapping
from engine.plan.existing import fit, fit_given, levels_of, shape
from engine.plan.indexes import propose_indexes
from engine.plan.looks import Drawn, KnownLooks, Look, LookKey
from engine.plan.model import FIRST_TASK_ID, Plan, TablePlan
from engine.plan.naming import with_own_names
from engine.plan.order import EMPTY, IN_ORDER, ToldOrders, natural_refused, order_of
from engine.plan.request import Choice, request_of
from engine.plan.widest import Widest
from engine.plurals import counted
from engine.postgres.existing import ExistingTable
from engine.protocol.saved_plan import wrong

PARALLEL_CENSUSES = 4
KEPT_DOCUMENTS = 2_000
"""Sampled documents that a survey keeps, at most."""
KEPT_BYTES = 16 * 1024 * 1024
"""The same in bytes."""
LEVELS_BELOW = 1
"""Levels of documents that people are shown below those that become columns: what flattening one more would give."""
MOST_UNPLANNED = 10
"""Fields that no plan has, named one by one."""
COUNT_LIMIT_MS = 1_000
"""For counting a view or a time-series."""
MEGABYTE = 1_000_000
CUT_WEIGHT = 52
KEY_WEIGHT, UNPLANNED_KIND_WEIGHT, UNSURE_ID_WEIGHT, UNPLANNED_FIELD_WEIGHT, LEFT_INDEX_WEIGHT = 82, 75, 55, 35, 30
TABLE_NAME_WEIGHT = 50
"""Weights of warnings, as in `engine.mapping.proposal`."""


@dataclass(frozen=True, slots=True)
class Survey:
    """A table's plan, and what it was made from."""

    table: TablePlan
    census: Census
    weights: list[int]
    """Of the table's warnings."""
    documents: list[bytes] = field(default_factory=list)
    """Some of the sample."""
    kind: str = ""
    """Of the collection, as in `CollectionFacts`."""
    average_bytes: int = 0
    """Of a document."""
    is_counted: bool = True
    """The number of the table's documents is known, or estimated; not of some views and time-series."""
    is_there: bool = False
    """The table exists."""
    refusal: UsageError | None = None
    """Why rows of the collection cannot go into a table that is there."""


def facts_of(client: mongo.Client, choices: Sequence[Choice]) -> KnownFacts:
    """The facts of what was chosen, to be asked for when they are needed."""
    return KnownFacts(client, [(choice.database, choice.collection) for choice in choices])


def find_ends(
    client: mongo.Client,
    settings: Settings,
    choices: Sequence[Choice],
    at: int | None = None,
    facts_known: KnownFacts | None = None,
) -> dict[int, bytes]:
    """Where `run.limit` ends each collection that has more documents: task -> the first key that is left out.

    Args:
        at: the time at which documents are read, when it is one time for all of them.
        facts_known: of the choices, so that other steps of the same plan need not ask again; here and below.

    Raises:
        MissingCollection: the source has no such collection.
        UsageError: there is a limit, and a collection that can only be read whole.
    """
    ends: dict[int, bytes] = {}
    if not settings.run.limit:
        return ends
    known = facts_known or facts_of(client, choices)
    for task_id, choice in enumerate(choices, FIRST_TASK_ID):
        facts = known.of(choice.database, choice.collection)
        require_limitable(facts)
        collection = collection_of(client, choice.database, choice.collection)
        with session_at(client, at) if at is not None else nullcontext() as session:
            end = partition.key_behind(collection, settings.run.limit, filter_query(choice.query), session)
        if end is not None:
            ends[task_id] = end
    return ends


def require_limitable(facts: CollectionFacts) -> None:
    """Raise UsageError for a collection of which no first documents can be copied."""
    if not facts.has_range_reads:
        raise UsageError(
            f"{facts.namespace} can only be copied whole, being a {facts.kind} without an index of _id: "
            "leave it out, or set run.limit to 0."
        )


def cut(
    client: mongo.Client,
    settings: Settings,
    choices: Sequence[Choice],
    ends: dict[int, bytes],
    workers: int,
    facts_known: KnownFacts | None = None,
    samples: KeySamples | None = None,
    only: Container[int] | None = None,
) -> list[tuple[int, Range]]:
    """The ranges of `_id` that together are what is to be copied, each with its task. Blocks: call it in a thread.

    Args:
        samples: where keys are kept that other cuts of the same collections need.
        only: these tasks; without it all.
    """
    found = []
    known = facts_known or facts_of(client, choices)
    for task_id, choice in enumerate(choices, FIRST_TASK_ID):
        if only is not None and task_id not in only:
            continue
        facts = known.of(choice.database, choice.collection)
        collection = collection_of(client, choice.database, choice.collection)
        part, end = _limited(facts, settings.run.limit), ends.get(task_id)
        ranges = partition.partitions(collection, part, workers, end=end, samples=samples)
        found += [(task_id, span) for span in ranges]
    return found


@dataclass(frozen=True, slots=True)
class PartFacts:
    """What is to be read of a collection."""

    documents: int
    """Estimated; with a filter, counted."""
    has_range_reads: bool


def parts_of(
    client: mongo.Client, settings: Settings, choices: Sequence[Choice], facts_known: KnownFacts | None = None
) -> dict[int, PartFacts]:
    """What is to be read of each collection, by task. Blocks."""
    parts = {}
    known = facts_known or facts_of(client, choices)
    for task_id, choice in enumerate(choices, FIRST_TASK_ID):
        facts = known.of(choice.database, choice.collection)
        part = _limited(facts, settings.run.limit)
        if choice.query:
            part = _filtered(
                facts, collection_of(client, choice.database, choice.collection), choice, settings.run.limit
            )
        parts[task_id] = PartFacts(max(0, part.documents), facts.has_range_reads)
    return parts


def make_plan(
    client: mongo.Client,
    settings: Settings,
    choices: Sequence[Choice],
    ends: dict[int, bytes] | None = None,
    full: MappingOf[int, Census] | None = None,
    existing: MappingOf[int, ExistingTable] | None = None,
    facts_known: KnownFacts | None = None,
    orders: ToldOrders | None = None,
) -> Plan:
    """Look at every chosen collection and propose its table, as a run does. Nothing is written. Blocks.

    Args:
        ends: of `find_ends`; a plan that is only looked at needs none.
        full: censuses of all documents, by task; a sample is drawn of other collections.
        existing: tables that rows are added to, by task.
        orders: tells which collections lie in no order on disk.

    Raises:
        MissingCollection: the source has no such collection.
        UsageError: a saved plan does not fit the source, or the documents do not fit a table that is there; of several all are
            named.
    """
    source = Source(lambda: client, facts=facts_known, orders=orders)
    surveys = _survey_each(source, settings, choices, ends or {}, full or {}, existing or {}, is_thorough=False)
    if refusals := [survey.refusal for survey in surveys if survey.refusal is not None]:
        raise UsageError(" ".join(each.message for each in refusals), code=refusals[0].code)
    tables = with_own_names([survey.table for survey in surveys])
    return Plan(request=request_of(settings, choices), tables=tables)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a plan's evidence comes from."""

    client: Callable[[], mongo.Client]
    """Connects when it is called first: what is known already needs no server."""
    known: KnownLooks = field(default_factory=KnownLooks)
    """Where looks are kept for the next plan."""
    rereads: bool = True
    """What is known is read again."""
    facts: KnownFacts | None = None
    """Of what was chosen; without them they are asked for."""
    orders: ToldOrders | None = None
    """Of a run: which collections lie in no order on disk, so that sampling them costs a page of it for each document."""


def survey_all(
    source: Source,
    settings: Settings,
    choices: Sequence[Choice],
    full: MappingOf[int, Census] | None = None,
    existing: MappingOf[int, ExistingTable] | None = None,
    *,
    is_thorough: bool = True,
) -> tuple[Plan, list[Survey]]:
    """The same plan, and why a run of it would be refused. Blocks.

    Args:
        is_thorough: with everything that people want to know of it, which takes longer.
    """
    surveys = _survey_each(source, settings, choices, {}, full or {}, existing or {}, is_thorough=is_thorough)
    tables = with_own_names([survey.table for survey in surveys])
    surveys = [replace(survey, table=table) for survey, table in zip(surveys, tables, strict=True)]
    return Plan(request=request_of(settings, choices), tables=tables), surveys


def _survey_each(
    source: Source,
    settings: Settings,
    choices: Sequence[Choice],
    ends: dict[int, bytes],
    full: MappingOf[int, Census],
    existing: MappingOf[int, ExistingTable],
    *,
    is_thorough: bool,
) -> list[Survey]:
    asking = threading.Lock()
    known: dict[Column, Column] = {}
    asked: list[KnownFacts] = [source.facts] if source.facts is not None else []

    def facts(choice: Choice) -> CollectionFacts:
        with asking:
            if not asked:
                asked.append(facts_of(source.client(), choices))
        return asked[0].of(choice.database, choice.collection)

    def survey(numbered: tuple[int, Choice]) -> Survey:
        task_id, choice = numbered
        end, counted, table = ends.get(task_id), full.get(task_id), existing.get(task_id)
        with faults.named(choice.namespace):
            look = _look(
                source, facts, settings, choice, task_id, table, is_counted=counted is not None, is_thorough=is_thorough
            )
        found = _survey(settings, task_id, choice, look, end, counted, table, is_thorough=is_thorough)
        if is_thorough:
            return found
        # A run needs the plan alone: what thousands of tables' plans were made from would be most of its memory.
        mapping = found.table.mapping
        mapping = mapping.model_copy(update={"columns": share(mapping.columns, known)})
        return replace(found, table=found.table.model_copy(update={"mapping": mapping}), census=Census(0), documents=[])

    with ThreadPoolExecutor(PARALLEL_CENSUSES, thread_name_prefix="census") as pool:
        return list(pool.map(survey, enumerate(choices, FIRST_TASK_ID)))


def _look(
    source: Source,
    facts: Callable[[Choice], CollectionFacts],
    settings: Settings,
    choice: Choice,
    task_id: int,
    existing: ExistingTable | None,
    *,
    is_counted: bool,
    is_thorough: bool,
) -> Look:
    """What there is to know of a collection: as it was read before, or read now.

    Args:
        is_counted: all of its documents were counted elsewhere.
    """
    levels = _levels(settings, choice, existing)
    if not is_thorough:
        return _read(source, facts(choice), settings, choice, task_id, levels, is_counted=is_counted, is_thorough=False)
    run = settings.run
    key = LookKey(
        uri=settings.source.connection,
        namespace=choice.namespace,
        query=choice.query,
        limit=run.limit,
        sample_size=run.sample_size,
        sample_bytes=settings.source.sample_bytes,
        converter=run.converter,
        counts=not is_counted,
    )
    look = None if source.rereads else source.known.find(key, levels)
    if look is None:
        levels += LEVELS_BELOW
        look = _read(source, facts(choice), settings, choice, task_id, levels, is_counted=is_counted, is_thorough=True)
        source.known.keep(key, levels, look)
    return look


def _levels(settings: Settings, choice: Choice, existing: ExistingTable | None) -> int:
    """Levels of documents whose fields have to be counted apart."""
    levels = settings.mapping.flatten
    if existing is not None:
        levels = max(levels, levels_of(existing))
    if choice.saved is not None:
        levels = max(levels, *(len(column.path) - 1 for column in choice.saved.columns or ()), 0)
    return levels


def _read(
    source: Source,
    facts: CollectionFacts,
    settings: Settings,
    choice: Choice,
    task_id: int,
    levels: int,
    *,
    is_counted: bool,
    is_thorough: bool,
) -> Look:
    collection = collection_of(source.client(), choice.database, choice.collection)
    part = _limited(facts, settings.run.limit)
    if choice.query and not is_counted:
        part = _filtered(facts, collection, choice, settings.run.limit)
    is_given = choice.saved is not None and choice.saved.columns is not None
    lying = Lying()
    if is_thorough and not choice.query:
        lying = lying_of(source.client(), collection, facts)

    def is_scattered() -> bool:
        if is_thorough or source.orders is None:
            return lying.correlation is not None and abs(lying.correlation) < IN_ORDER
        return source.orders.is_scattered(task_id)

    drawn, asked = None, IdKinds(frozenset())
    asks_kinds = not is_given or is_thorough
    with ThreadPoolExecutor(1, thread_name_prefix="id-kinds") as beside:
        asking = None
        if asks_kinds and not choice.query and facts.documents > settings.run.sample_size:  # a sample is not all of it
            asking = beside.submit(id_kinds, collection, facts)
        if is_thorough or not (is_given or is_counted):
            drawn = _sampled(
                collection,
                settings,
                choice,
                facts,
                levels,
                is_thorough=is_thorough,
                counts=not is_counted,
                is_scattered=is_scattered(),
            )
        if asking is not None:
            asked = asking.result()
        elif asks_kinds:
            asked = id_kinds(collection, facts, _all_id_kinds(drawn) if not choice.query else None)
    if drawn is not None:
        if part.documents == catalogue.UNKNOWN and drawn.is_whole:
            part = replace(part, documents=drawn.census.n_documents, size_bytes=drawn.census.n_bytes)
        elif not facts.size_bytes and drawn.is_whole:
            part = replace(part, size_bytes=part.documents * drawn.census.n_bytes // max(1, drawn.census.n_documents))
    if part.documents == catalogue.UNKNOWN and not is_counted:
        part = replace(part, documents=catalogue.quick_count(collection, COUNT_LIMIT_MS))
        if part.documents > 0 and not part.size_bytes and drawn is not None and drawn.census.n_documents:
            part = replace(part, size_bytes=part.documents * drawn.census.n_bytes // drawn.census.n_documents)
    indexes = list_indexes(collection) if is_thorough or settings.run.indexes else None
    return Look(facts, part, drawn, asked, indexes, lying)


def _survey(
    settings: Settings,
    task_id: int,
    choice: Choice,
    look: Look,
    end: bytes | None,
    counted: Census | None,
    existing: ExistingTable | None,
    *,
    is_thorough: bool,
) -> Survey:
    """A table's plan, from what was read of its collection."""
    facts, part, drawn, asked = look.facts, look.part, look.drawn, look.id_kinds
    given = choice.saved.mapping(settings.mapping) if choice.saved is not None else None
    options = settings.mapping
    if existing is not None:
        options = shape(existing, choice.namespace, options)
    cut = _cut_sentence(drawn, part, settings) if drawn is not None and counted is None else ""
    if counted is not None:
        part = replace(facts, documents=counted.n_documents, size_bytes=counted.n_bytes)
    census = counted or (drawn.census if drawn is not None else Census(_levels(settings, choice, existing)))
    kept = drawn.kept if drawn is not None else []
    unsure: frozenset[Kind] = frozenset()
    remarks: list[tuple[int, str]] = []
    refusal: UsageError | None = None
    if given is not None:
        if existing is not None:
            try:
                given, remarks = fit_given(
                    given, existing, target=choice.target, namespace=choice.namespace, mode=settings.run.mode
                )
            except UsageError as error:
                refusal = error
        proposal = _judged(census, given, asked.kinds)
        unsure = asked.unsure if counted is None else frozenset()
    else:
        proposal = propose(census, asked.kinds or _sampled_id_kinds(census), options)
        proposal = _without_ignored(choice, proposal)
        if existing is not None:
            try:
                proposal = fit(
                    proposal,
                    existing,
                    census,
                    target=choice.target,
                    namespace=choice.namespace,
                    mode=settings.run.mode,
                    options=settings.mapping,
                )
            except UsageError as error:
                refusal = error
        unsure = asked.unsure if counted is None else frozenset()
    warnings = remarks + proposal.weighed + _doubts(proposal.mapping, unsure)
    if choice.warning and is_thorough:  # a run tells it as a problem of its own
        warnings.append((TABLE_NAME_WEIGHT, choice.warning))
    if cut:
        warnings.append((CUT_WEIGHT, cut))
    warnings += name_cautions((), choice.table)
    if doubts := key_doubts(proposal.mapping, settings.run.mode):
        warnings.append((KEY_WEIGHT, doubts))
    indexes = None
    if look.indexes is not None:
        indexes = propose_indexes(
            look.indexes, TableName(choice.schema, choice.table), proposal.mapping, facts.namespace
        )
        warnings = warnings + [(LEFT_INDEX_WEIGHT, sentence) for sentence in (*indexes.left, *indexes.remarks)]
    warnings = sorted(warnings, key=lambda weighed: -weighed[0])
    table = TablePlan(
        task_id=task_id,
        database=choice.database,
        collection=choice.collection,
        schema_name=choice.schema,
        table=choice.table,
        mapping=proposal.mapping,
        has_range_reads=facts.has_range_reads,
        documents=max(0, part.documents),
        size_bytes=part.size_bytes,
        notes=proposal.notes,
        seen=_shares(census, proposal.mapping),
        longest=_longest(census, proposal.mapping),
        warnings=[text for _, text in warnings],
        limit=settings.run.limit,
        end=end,
        uuid=facts.uuid.hex if facts.uuid is not None else "",
        filter=choice.saved.filter if choice.saved is not None else "",
        indexes=indexes.indexes if indexes is not None else (),
        left_indexes=tuple(indexes.left) if indexes is not None else (),
        by_hand=tuple(indexes.by_hand) if indexes is not None else (),
        census="sample" if counted is None else "full",
    )
    if is_thorough:  # a run chooses when the table is known, and asks the member that it will read
        order, reason = order_of(settings, choice, table, facts, look.lying)
        table = table.model_copy(update={"order": order, "order_reason": reason})
        if settings.run.order == "natural" and order == "id" and reason != EMPTY and refusal is None:
            refusal = natural_refused(table, reason)
    weights = [weight for weight, _ in warnings]
    is_known = facts.documents != catalogue.UNKNOWN and facts.size_bytes > 0
    average = facts.average_bytes if is_known else part.average_bytes
    is_counted = part.documents != catalogue.UNKNOWN
    return Survey(table, census, weights, kept, facts.kind, average, is_counted, existing is not None, refusal)


def _sampled(
    collection: Collection[mongo.Document],
    settings: Settings,
    choice: Choice,
    facts: CollectionFacts,
    levels: int,
    *,
    is_thorough: bool,
    counts: bool,
    is_scattered: bool,
) -> Drawn:
    """A sample whose documents are counted where it `counts`, and kept where the look `is_thorough`.

    Args:
        levels: of documents whose fields are counted apart.
        is_scattered: the collection lies in no order on disk.
    """
    counter = make_counter(levels, settings.run.converter)
    kept: list[bytes] = []
    room = KEPT_BYTES if is_thorough else 0
    sample = reader.sample(
        collection,
        settings.run.sample_size if counts else KEPT_DOCUMENTS,
        n_documents=facts.documents,
        average_bytes=facts.average_bytes,
        query=filter_query(choice.query),
        has_range_reads=facts.has_range_reads,
        most_bytes=settings.source.sample_bytes if counts else min(KEPT_BYTES, settings.source.sample_bytes),
        draw=partial(runs, collection, average_bytes=facts.average_bytes) if is_scattered else None,
    )
    widest = Widest(levels - LEVELS_BELOW if is_thorough else levels)
    for batch in sample:
        if counts:
            counter.add_batch(batch)
        for document in documents(batch) if is_thorough else ():
            if len(document) <= room and len(kept) < KEPT_DOCUMENTS:
                kept.append(document)
                room -= len(document)
            else:
                widest.add(document)
    kept += widest.documents
    return Drawn(counter.result(), kept, sample.is_cut, sample.is_whole and counts)


def _cut_sentence(drawn: Drawn, part: CollectionFacts, settings: Settings) -> str:
    """That the bound in bytes left documents out that the census would have looked at; empty when it did not."""
    looked_at = drawn.census.n_documents
    if not drawn.is_cut or 0 <= part.documents <= looked_at:
        return ""
    documents = counted(max(part.documents, looked_at), "document")
    looked = f"{looked_at:,} of {documents}" if part.documents >= 0 else documents
    return (
        f"The census looked at {looked}, {drawn.census.n_bytes / MEGABYTE:,.0f} MB: source.sample_bytes "
        f"({settings.source.sample_bytes / MEGABYTE:,.0f} MB) ends it there. A full census looks at all of them."
    )


def _limited(facts: CollectionFacts, limit: int) -> CollectionFacts:
    """The facts of a collection's first `limit` documents."""
    if not limit or facts.documents <= limit:
        return facts
    return replace(facts, documents=limit, size_bytes=limit * facts.average_bytes)


def _filtered(
    facts: CollectionFacts, collection: Collection[mongo.Document], choice: Choice, limit: int
) -> CollectionFacts:
    """The facts of the documents that match: they are counted, no estimate could be trusted."""
    try:
        check_filter(collection, choice.query, has_range_reads=facts.has_range_reads)
    except ValueError as error:
        raise wrong(f"{choice.namespace}, filter", f"MongoDB does not take it: {str(error).rstrip('.')}") from error
    count = catalogue.exact_count(collection, filter_query(choice.query), limit=limit)
    return replace(facts, documents=count, size_bytes=count * facts.average_bytes)


def _all_id_kinds(drawn: Drawn | None) -> frozenset[Kind] | None:
    """The kinds of every `_id` of a collection, where each document was looked at; None where they have to be asked for."""
    if drawn is None or not drawn.is_whole or drawn.census.n_corrupt:
        return None
    return drawn.census.id_kinds or None


def _sampled_id_kinds(census: Census) -> frozenset[Kind]:
    """Views and time-series have no index to ask: the sample has to do, and late kinds become rejects."""
    seen = census.fields.get("_id")
    return seen.kind_set if seen is not None else frozenset()


def _doubts(mapping: Mapping, unsure: frozenset[Kind]) -> list[tuple[int, str]]:
    """A warning about kinds of `_id` that may occur and have no place."""
    column = mapping.id_column
    misfits = unsure - column.kinds
    if not misfits or column.type in JSON_TYPES:
        return []
    named = " or ".join(KIND_NAMES[kind] for kind in sorted(misfits))
    return [
        (
            UNSURE_ID_WEIGHT,
            f"The index of _id is too long to look all through it for {named}: documents with such an _id would be "
            "rejects. A full census finds out.",
        )
    ]


def _longest(census: Census, mapping: Mapping) -> dict[str, int]:
    """For each column of text: characters of the longest."""
    by_path = dict(census.walk())
    texts = {column.name: by_path.get(column.path) for column in mapping.columns if column.type is ColumnType.TEXT}
    return {name: seen.longest for name, seen in texts.items() if seen is not None and seen.longest}


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


# --- saved plans ------------------------------------------------------------------------------------------------------


def _without_ignored(choice: Choice, proposal: Proposal) -> Proposal:
    """A proposal without the fields that a saved plan leaves out, where it leaves the columns to the census."""
    ignored = choice.saved.ignored if choice.saved is not None else ()
    if not ignored:
        return proposal
    columns = tuple(
        column
        for column in proposal.mapping.columns
        if not any(column.path and column.path[: len(path)] == path for path in ignored)
    )
    mapping = proposal.mapping.model_copy(update={"columns": columns, "ignored": ignored})
    check_mapping(choice.namespace, mapping)
    return replace(proposal, mapping=mapping)


def _judged(census: Census, mapping: Mapping, id_kinds: frozenset[Kind]) -> Proposal:
    """A given mapping as a proposal: what the census has to say of it; nothing when there was none.

    Args:
        id_kinds: of `_id`, asked of the index.
    """
    by_path = dict(census.walk())
    columns = {column.path: column for column in mapping.columns if column.path}
    notes: dict[str, str] = {}
    warnings: list[tuple[int, str]] = []
    place = fate_words(mapping.options.overflow)
    for path, column in columns.items():
        seen = by_path.get(path)
        if seen is None:
            if census.n_documents:
                notes[column.name] = "not seen"
            continue
        kinds = id_kinds | census.id_kinds
        notes[column.name] = note_of_id(kinds) if path == ID_PATH else note_of(column, seen, census, mapping.options)
        taken = column.kinds if not column.array else frozenset({Kind.ARRAY})
        others = seen.kind_set - taken
        if len(seen.kind_set) > 1 and column.type in JSON_TYPES and path != ID_PATH:
            warnings += several_kinds(path, seen, column, mapping.options)
        if column.type in JSON_TYPES and len(path) <= mapping.options.flatten and keys_are_data(seen):
            warnings.append(dictionary(path, seen))
        if others and column.type not in JSON_TYPES and path != ID_PATH:
            holds = holds_words(seen.kind_set, others)
            warnings.append(
                (
                    UNPLANNED_KIND_WEIGHT,
                    f"Field {show_path(path)} {holds}: such values do not fit and "
                    f"{fate_words(column.overflow or mapping.options.overflow)}.",
                )
            )
    if not any(column.path == () and column.role.value == "document" for column in mapping.columns):
        known = {path[:depth] for path in (*columns, *mapping.ignored) for depth in range(1, len(path) + 1)}
        unplanned = []
        for path in by_path:
            is_inside = any(path[:depth] in columns or path[:depth] in mapping.ignored for depth in range(1, len(path)))
            if path not in known and not is_inside and (len(path) == 1 or path[:-1] in known):
                unplanned.append(show_path(path))
        sentences = [f"Field {name} is not in the plan: its values {place}." for name in unplanned]
        if len(unplanned) > MOST_UNPLANNED:
            sentences = [f"{len(unplanned):,} fields are not in the plan ({listed(unplanned)}): their values {place}."]
        warnings += [(UNPLANNED_FIELD_WEIGHT, text) for text in sentences]
    if census.n_documents:
        warnings += cautions(census, mapping) + name_cautions(mapping.columns) + renamed(mapping)
        warnings += id_cautions(census, mapping.id_column, id_kinds | census.id_kinds)
    return Proposal(mapping, [text for _, text in warnings], notes, warnings)
