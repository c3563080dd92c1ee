"""What starting something will do, as data and lines for the question that is asked before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.config import Mode, Settings
from engine.protocol import POLICIES, CollectionInfo, PlanView, PreflightReport
from tui.cockpit.planning import EditedPlan
from tui.words.format import about_copy, bytes_size, counted, number
from tui.words.knobs import size_words
from tui.words.safe import safe
from tui.words.uri import database_in, hosts_in, place, shown

MODES: dict[Mode, str] = {
    "create": "create new tables; stop if one exists",
    "append": "rows are added to tables that exist",
    "replace": "load into a new table, then DROP the old one and rename",
    "upsert": "rows with the same _id are replaced",
}
"""What happens to an existing table."""
_OTHER_WORDS = {"overflow": "_extra takes"}
"""For policies whose own word says little."""
REPLACES = "replace"
"""The mode that drops tables, and the word that is typed before it does."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A collection that is copied."""

    namespace: str
    table: str
    """`schema.table`; empty where it is not known before the target was looked at."""
    documents: int
    """-1 when they cannot be known."""


@dataclass(frozen=True, slots=True)
class StartFacts:
    """A copy that is asked for."""

    source: str
    target: str
    mode: str
    moved: tuple[Moved, ...]
    """None of them where it is not known before the source was looked at."""
    size_bytes: int
    lines: tuple[str, ...]
    """How it is done."""
    warnings: tuple[str, ...] = ()
    plan_warnings: tuple[str, ...] = ()
    """Those of the plan, the weightiest first."""
    edits: tuple[str, ...] = ()
    """What the operator has edited in the plan, each in words."""

    @property
    def replaces(self) -> bool:
        """Tables that are there may be dropped."""
        return self.mode == REPLACES

    @property
    def total(self) -> str:
        """How much it is, in a line."""
        if not self.moved:
            return "the configured collections"
        documents = sum(max(0, each.documents) for each in self.moved)
        count = len(self.moved)
        size = f" · {bytes_size(self.size_bytes)}" if self.size_bytes else ""
        return f"{counted(count, 'collection')}, about {counted(documents, 'document')}{size}"

    def tables_of(self, report: PreflightReport | None) -> list[Moved]:
        """The collections with the tables that they go to, as far as they are known."""
        if report is None or not report.tables:
            return list(self.moved)
        known: dict[str, list[Moved]] = {}
        for each in self.moved:
            known.setdefault(each.namespace, []).append(each)
        found = []
        for table in report.tables:
            ours = known.get(table.namespace)
            documents = ours[0].documents if ours else -1
            found.append(Moved(table.namespace, table.table, documents))
        return found


def of_start(settings: Settings, chosen: Sequence[CollectionInfo], n_others: int, plan: PlanView | None) -> StartFacts:
    """A copy.

    Args:
        chosen: collections with what is known of them; none when nothing was listed.
        n_others: configured collections that were not listed.
        plan: that was made of the same settings; None where there is none.
    """
    moved = tuple(Moved(each.namespace, "", each.documents) for each in chosen)
    warnings = (f"{n_others} collection{'s' * (n_others != 1)} of other databases too.",) if chosen and n_others else ()
    if plan is not None:
        moved, warnings = _moved(plan), ()
    size = sum(each.size_bytes for each in (plan.tables if plan is not None else chosen))
    named: dict[str, list[str]] = {}
    for name in POLICIES:
        named.setdefault(getattr(settings.mapping, name), []).append(name)
    policies = "; ".join(f"{_OTHER_WORDS.get(word, word)} {', '.join(names)}" for word, names in named.items())
    return _facts(settings, settings.run.mode, moved, size, f"policies: {policies}", plan, warnings)


def of_edited_start(settings: Settings, edited: EditedPlan) -> StartFacts:
    """A copy as a plan says that the operator has edited."""
    whose = (
        "collections, tables, mode, columns and policies are the plan's, not Setup's"
        if edited.file
        else "on top of what Setup says of collections, mode and policies"
    )
    lines = f"{edited.words}: {whose}"
    older = ("Setup has changed since: its collections and mapping do not count.",) if edited.is_older else ()
    size = sum(table.size_bytes for table in edited.plan.tables)
    facts = _facts(settings, edited.plan.mode, _moved(edited.plan), size, lines, edited.plan, older)
    return replace(facts, edits=edited.edits)


def _moved(plan: PlanView) -> tuple[Moved, ...]:
    return tuple(Moved(table.namespace, table.table, table.documents) for table in plan.tables)


def _facts(
    settings: Settings,
    mode: str,
    moved: tuple[Moved, ...],
    size_bytes: int,
    policies: str,
    plan: PlanView | None,
    warnings: tuple[str, ...],
) -> StartFacts:
    run = settings.run
    target = shown(settings.target.uri.get_secret_value())
    means = next((means for name, means in MODES.items() if name == mode), "")
    throttle = f"throttle {number(run.throttle)} rows/s" if run.throttle else "throttle off"
    indexes = "MongoDB's indexes are built after the load" if run.indexes else "MongoDB's indexes are not built"
    lines = (
        f"mode {safe(mode, 20)}: {means}",
        f"{size_words(run.size)} · page size {number(run.page_size)} · {throttle}",
        f"{indexes} · {policies}",
        f"time: {expected(moved, run.throttle, plan)}",
    )
    return StartFacts(
        _source(settings, moved),
        safe(place(target), 80),
        mode,
        moved,
        size_bytes,
        lines,
        warnings,
        tuple(plan.warnings) if plan is not None else (),
    )


def _source(settings: Settings, moved: Sequence[Moved]) -> str:
    """Host and databases that are read."""
    said = place(shown(settings.source.uri.get_secret_value()))
    databases = dict.fromkeys(each.namespace.partition(".")[0] for each in moved)
    return safe(f"{said.partition('/')[0]}/{', '.join(databases)}" if databases else said, 120)


def expected(moved: Sequence[Moved], throttle: int, plan: PlanView | None) -> str:
    """How long a copy takes, as far as that can be said before."""
    documents = sum(max(0, each.documents) for each in moved)
    least = documents / throttle if throttle else 0.0
    if plan is not None and any(table.estimate is not None for table in plan.tables):
        seconds = max(plan.estimated_seconds, least)
        return f"{about_copy(seconds)}{', because of the throttle' if 0 < least >= seconds else ''}"
    if least:
        return f"{about_copy(least)} or more, because of the throttle"
    return "not estimated yet; Plan (key 2) does, and warns of what to know before"


def of_seed(settings: Settings) -> list[str]:
    """Seeding alone."""
    uri = shown(settings.source.uri.get_secret_value())
    database, _, collection = settings.seed.collection.partition(".")
    others = database_in(uri)
    lines = [
        f"Write up to {counted(settings.seed.count, 'synthetic user')} into MongoDB",
        f"server      {safe(hosts_in(uri), 80)}",
        f"database    {safe(database, 80)}",
        f"collection  {safe(collection, 120)}",
        f"with        {size_words(settings.run.size)}",
    ]
    if others not in ("", database):
        lines.append(f"Database {safe(others, 80)}, which the URI names, is not written to.")
    return [*lines, "", "Nothing is deleted; a collection that holds other documents is refused."]


def of_demo(settings: Settings) -> list[str]:
    """Embedded servers, seeded and migrated."""
    where = safe(settings.demo.dir, 200) or "a temporary folder"
    end = "keep running at the end" if settings.demo.keep else "end and are removed when you leave"
    return [
        f"Start MongoDB and PostgreSQL on this machine, in {where};",
        f"seed {counted(settings.seed.count, 'synthetic user')} and copy them",
        f"with {size_words(settings.run.size)}. The servers {end}.",
        "",
        f"Throttle {number(settings.run.throttle)} rows/s: there is time to steer it. t on the Run screen turns it off.",
    ]
