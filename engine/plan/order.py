"""In which order each collection of a plan is read: that of `_id`, or natural order, as it lies on disk.

Both bring the same rows. Natural order reads each page of the disk once whatever the `_id`s are, but depends on one member of
the replica set, and needs a key in the table by which documents are told that were inserted again while the copy went on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection as Container
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from engine.config import Settings
from engine.errors import ConnectError, UsageError
from engine.mapping.equal_keys import becomes_one_number
from engine.mapping.kinds import NUMBERS
from engine.mapping.model import ColumnType, Kind
from engine.mapping.model import Mapping as ColumnMapping
from engine.mongo import connect as mongo
from engine.mongo.catalogue import CollectionFacts, KnownFacts
from engine.mongo.collections import collection_of
from engine.mongo.partition import EXACT_DOCUMENTS, KeySamples, parts_wanted
from engine.mongo.record_cuts import Lying, RecordCuts, Spread, member_of, record_cuts, spread_of
from engine.plan.model import Plan, TablePlan
from engine.plan.request import Choice
from engine.postgres.prepare import builds_key_first

log = logging.getLogger(__name__)

OWN_TABLE = ("create", "replace")
"""Modes whose table holds nothing but the run's rows, and gets its key from the run."""
IN_ORDER = 0.9
"""From this rank correlation on, reading by `_id` meets each page of the disk about once, too."""
IN_NO_ORDER, LIES_BY_ID = "its _ids are in no order on disk", "its documents lie in that order"
ASKED_FOR, SMALL, EMPTY = "run.order asks for it", "it is small", "it is empty"
BEING_FILLED, UNTOLD = "it is being filled", "the server does not tell where its documents lie"
NOT_ALONE = "the member that numbers its documents cannot be asked alone"
TOLD_S = 10.0
"""How long a census waits, at most, to be told in which order a collection lies."""
Order = Literal["id", "natural"]
_KEPT_APART = {
    Kind.OBJECT_ID: None,
    Kind.UUID: None,
    Kind.STRING: ColumnType.TEXT,
    Kind.DATE: ColumnType.TIMESTAMPTZ,
    Kind.BOOL: ColumnType.BOOLEAN,
}
"""Kinds whose values stay different in a column of their own; None is any column."""
_LYING = {
    "capped": "a capped collection loses documents at its beginning",
    "clustered": "a clustered collection lies in the order of _id",
}


class ToldOrders:
    """Which collections lie in no order of their `_id`s, told by the thread that cuts them to those that sample them."""

    def __init__(self) -> None:
        """Nothing is told yet."""
        self._scattered: dict[int, bool] = {}
        self._is_over = False
        self._news = threading.Condition()

    def tell(self, task_id: int, *, is_scattered: bool) -> None:
        """What was found of a task's collection."""
        with self._news:
            self._scattered[task_id] = is_scattered
            self._news.notify_all()

    def end(self) -> None:
        """Nothing more will be told."""
        with self._news:
            self._is_over = True
            self._news.notify_all()

    def is_scattered(self, task_id: int) -> bool:
        """Whether a task's collection lies in no order; waits until that is told, and it does not where nothing is."""
        with self._news:
            self._news.wait_for(lambda: self._is_over or task_id in self._scattered, TOLD_S)
            return self._scattered.get(task_id, False)


def order_of(
    settings: Settings, choice: Choice, table: TablePlan, facts: CollectionFacts, lying: Lying
) -> tuple[Order, str]:
    """In which order a run would read a collection, and why, in a few words."""
    if settings.run.order == "id":
        return "id", ASKED_FOR
    if why := _why_by_id(settings, choice, facts, lying.is_behind_router) or _why_without_natural(settings, table):
        return "id", why
    if settings.run.order == "natural":
        return ("natural", ASKED_FOR) if facts.documents else ("id", EMPTY)
    if facts.documents <= EXACT_DOCUMENTS:
        return "id", SMALL
    if lying.correlation is None:
        return "id", UNTOLD
    return ("id", LIES_BY_ID) if abs(lying.correlation) >= IN_ORDER else ("natural", IN_NO_ORDER)


def natural_refused(table: TablePlan, why: str) -> UsageError:
    """Natural order is asked for where it cannot be had."""
    return UsageError(
        f"{table.namespace} cannot be read in natural order: {why}. Set run.order to auto or id.", code="order"
    )


def with_orders(
    settings: Settings, plan: Plan, cuts: Mapping[int, RecordCuts], reasons: Mapping[int, str]
) -> tuple[Plan, dict[int, RecordCuts]]:
    """The plan with an order for each table, and the cuts of those that are read in natural order, by task.

    Args:
        cuts: of the collections that should be, as `cut_records` says.
        reasons: why others should not be, by task.

    Raises:
        UsageError: natural order is asked for, and a collection cannot be read so.
    """
    found: dict[int, RecordCuts] = {}
    tables = []
    for table in plan.tables:
        told = reasons.get(table.task_id, "")
        why = _why_without_natural(settings, table) or told
        if settings.run.order == "id":
            why = ASKED_FOR
        elif settings.run.order == "natural" and why not in ("", EMPTY):
            raise natural_refused(table, why if told in ("", EMPTY) else told)
        order: Order = "id" if why else "natural"
        if not why:
            found[table.task_id] = cuts[table.task_id]
            why = ASKED_FOR if settings.run.order == "natural" else IN_NO_ORDER
        tables.append(table.model_copy(update={"order": order, "order_reason": why}))
    return plan.model_copy(update={"tables": tuple(tables)}), found


def cut_records(
    client: mongo.Client,
    settings: Settings,
    choices: Mapping[int, Choice],
    workers: int,
    samples: KeySamples,
    *,
    at: int | None = None,
    seeded: Container[tuple[str, str]] = (),
    facts_known: KnownFacts | None = None,
    told: ToldOrders | None = None,
) -> tuple[dict[int, RecordCuts], dict[int, str]]:
    """Ranges of records of the collections that should be read in natural order, and why others should not be, by task.

    What becomes of the documents does not matter here. Blocks.

    Args:
        workers: cluster size.
        samples: keys of the collections, as far as they were drawn already.
        at: the time at which documents are read, when it is one time for all of them.
        seeded: database and name of collections that are being filled.
        facts_known: of the choices.
        told: is told of each collection as soon as that is known.
    """
    told = told or ToldOrders()
    if settings.run.order == "id" or not choices:
        return {}, dict.fromkeys(choices, ASKED_FOR)
    is_forced = settings.run.order == "natural"
    member = member_of(client)
    names = [(choice.database, choice.collection) for choice in choices.values()]
    known = facts_known or KnownFacts(client, names)
    reasons: dict[int, str] = {}
    candidates: dict[int, CollectionFacts] = {}
    for task_id, choice in choices.items():
        facts = known.of(choice.database, choice.collection)
        is_seeded = (choice.database, choice.collection) in seeded
        if why := BEING_FILLED if is_seeded else _why_by_id(settings, choice, facts, member is None):
            reasons[task_id] = why
        elif not facts.documents:
            reasons[task_id] = EMPTY
        elif is_forced or facts.documents > EXACT_DOCUMENTS:
            candidates[task_id] = facts
        else:
            reasons[task_id] = SMALL
        if task_id in reasons:
            told.tell(task_id, is_scattered=False)
    found: dict[int, RecordCuts] = {}
    if not candidates:
        return found, reasons
    try:
        with pinned(client, settings, member) as at_member:
            for task_id, facts in candidates.items():
                collection = collection_of(at_member, choices[task_id].database, choices[task_id].collection)
                parts = parts_wanted(facts, workers)
                spread = None if is_forced else spread_of(collection, facts, at, samples, parts=parts)
                lies_by_id = not is_forced and _lies_by_id(spread)
                told.tell(task_id, is_scattered=not lies_by_id)
                if lies_by_id:
                    reasons[task_id] = LIES_BY_ID
                    if spread is not None and (keys := spread.keys_for(parts)):
                        samples.keep(facts, keys)
                    continue
                cuts = record_cuts(collection, member or "", facts, workers, at, samples, spread)
                if cuts is not None:
                    found[task_id] = cuts
                else:
                    reasons[task_id] = UNTOLD
    except ConnectError as error:
        if is_forced:
            raise
        log.warning("collections are read by _id, since the member %s cannot be asked alone: %s", member, error.message)
        return {}, reasons | dict.fromkeys(candidates, NOT_ALONE)
    return found, reasons


@contextmanager
def pinned(client: mongo.Client, settings: Settings, member: str | None) -> Iterator[mongo.Client]:
    """A client of one member of the replica set; the same one where there is but one server."""
    if not member:
        yield client
        return
    at_member = mongo.connect(settings.source.connection, app_name="mongopg-tui plan", member=member)
    try:
        yield at_member
    finally:
        at_member.close()


def _lies_by_id(spread: Spread | None) -> bool:
    """A collection may as well be read by `_id`: its documents lie in that order."""
    correlation = spread.correlation if spread is not None else None
    return correlation is None or abs(correlation) >= IN_ORDER


def _why_by_id(settings: Settings, choice: Choice, facts: CollectionFacts, is_behind_router: bool) -> str:
    """Why a collection is read in the order of `_id` whatever its `_id`s are; empty where it need not be."""
    if facts.kind != "collection" or not facts.has_range_reads:
        return _LYING.get(facts.kind, f"it is a {facts.kind} without an index of _id")
    if choice.query:
        return "with a filter, nothing ends such a read where its part ends"
    if settings.run.limit:
        return "run.limit takes the first documents in the order of _id"
    return "the source is a router, which knows no such order" if is_behind_router else ""


def _why_without_natural(settings: Settings, table: TablePlan) -> str:
    """Why what is read in natural order could not be told apart in the table; empty where it could."""
    if settings.run.mode not in OWN_TABLE:
        return f"in mode {settings.run.mode} a document that is inserted again meanwhile could not be told from others"
    if not table.has_key or builds_key_first(table.mapping, settings.run.mode) or not keeps_apart(table.mapping):
        return "_ids that MongoDB keeps apart may be one key in the table, so that a row would not tell its document"
    return ""


def keeps_apart(mapping: ColumnMapping) -> bool:
    """Each `_id` has a key of its own in the table."""
    column, options = mapping.id_column, mapping.options
    if column.kinds <= NUMBERS:
        return not becomes_one_number(mapping) and column.type in (
            ColumnType.BIGINT,
            ColumnType.INTEGER,
            ColumnType.NUMERIC,
            ColumnType.DOUBLE,
        )
    if len(column.kinds) != 1:
        return False
    (kind,) = column.kinds
    if kind not in _KEPT_APART or _KEPT_APART[kind] not in (None, column.type):
        return False
    return {options.nul, options.utf8, options.date_range} == {"reject"} or kind in (
        Kind.OBJECT_ID,
        Kind.UUID,
        Kind.BOOL,
    )
