"""Full censuses: for a plan, by a cluster of its own; and at the beginning of a run, by the run's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.cluster.progress import Emit
from engine.config import Settings
from engine.errors import Cancelled
from engine.ledger.earlier_runs import mappings_of
from engine.mapping.census import Census
from engine.mongo import connect as mongo
from engine.plan import FIRST_TASK_ID, Choice, choose, cut, find_ends, parts_of
from engine.plan.planning import view_plan
from engine.plan.reading import asked_plan
from engine.postgres.names import KnownNames
from engine.protocol import CensusFinished, CensusStarted, CountingView, EditablePlan, MakePlan, RunState, WorkerView
from engine.run.census_leases import LEVELS_BELOW, CensusCluster, FullCensus, full_census
from engine.service.questions import known_in_target, source_uri
from engine.work.context import WorkerStart

if TYPE_CHECKING:
    from engine.run.run import Migration


class KnownCensuses:
    """Censuses of an engine's source, kept for the next edit of a plan and for the run that follows it."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, bytes, int, int], Census] = {}

    def find(self, settings: Settings, choices: Sequence[Choice]) -> dict[int, Census]:
        """What is known of these collections, by task."""
        found = {task_id: self._kept.get(_key(settings, each)) for task_id, each in enumerate(choices, FIRST_TASK_ID)}
        return {task_id: census for task_id, census in found.items() if census is not None}

    def keep(self, settings: Settings, choices: Sequence[Choice], censuses: dict[int, Census]) -> None:
        """Know these from now on."""
        for task_id, census in censuses.items():
            self._kept[_key(settings, choices[task_id - FIRST_TASK_ID])] = census


def _key(settings: Settings, choice: Choice) -> tuple[str, str, bytes, int, int]:
    """What a census depends on."""
    uri, options = settings.source.connection, settings.mapping
    return uri, choice.namespace, choice.query, settings.run.limit, options.flatten


async def count_for_run(migration: Migration, client: mongo.Client, choices: Sequence[Choice]) -> dict[int, Census]:
    """Full censuses of the collections whose columns are not given, by task.

    Raises:
        Cancelled: so asked. MigrationError: whatever else makes the run fail.
    """
    settings = migration.settings
    known = {} if migration.seeding is not None else migration.known.find(settings, choices)
    wanted = [
        (task_id, choice)
        for task_id, choice in enumerate(choices, FIRST_TASK_ID)
        if task_id not in known and (choice.saved is None or choice.saved.columns is None)
    ]
    if not wanted:
        return known
    census = await asyncio.to_thread(_cut, client, settings, choices, wanted, migration.record.knobs["cluster_size"])
    migration.census = census
    migration.enter(RunState.STARTING, "counting fields")
    migration.emit(CensusStarted(collections=census.collections, total=census.total))
    migration.dispatch()
    await migration.until(lambda: census.is_finished)
    migration.emit(CensusFinished(collections=census.collections, documents=census.seen))
    migration.enter(RunState.STARTING, "planning")
    return known | census.results()


def _cut(
    client: mongo.Client,
    settings: Settings,
    choices: Sequence[Choice],
    wanted: Sequence[tuple[int, Choice]],
    workers: int,
) -> FullCensus:
    """The census of those that are wanted of all choices. Blocks."""
    ends = find_ends(client, settings, choices)
    ranges = cut(client, settings, choices, ends, workers)
    parts = parts_of(client, settings, choices)
    return full_census(settings.mapping.flatten + LEVELS_BELOW, wanted, parts, ranges)


class FullSurvey:
    """One plan that is being made from a census."""

    def __init__(
        self,
        command: MakePlan,
        settings: Settings,
        knobs: dict[str, int],
        emit: Emit,
        run_id: str,
        known: KnownCensuses,
    ) -> None:
        """Nothing is read yet.

        Args:
            command: what was asked.
            settings: with the collections asked for.
            knobs: `cluster_size`, `page_size` and `throttle`.
            emit: makes a fact known.
            run_id: names the sessions.
            known: what was counted before, and where this census is kept.
        """
        self.phase = "connecting"
        saved = asked_plan(command.plan, command.edits)
        self._saved = saved
        self._settings = saved.over(settings) if saved is not None else settings
        self._asked = settings
        self._command = command
        self._knobs = knobs
        self._emit = emit
        self._run_id = run_id
        self._known = known
        self._uri = source_uri(settings)
        self._census: FullCensus | None = None
        self._cluster: CensusCluster | None = None
        self._main: asyncio.Task[EditablePlan] | None = None
        self._is_cancelled = False

    def cancel(self) -> None:
        """Break it off."""
        self._is_cancelled = True
        if self._main is not None:
            self._main.cancel()

    def turn(self, knob: str) -> None:
        """A knob has another value: only the size of the cluster matters to a census."""
        if self._cluster is not None and knob == "cluster_size":
            self._cluster.resize(self._knobs[knob])

    def view(self) -> CountingView:
        """How far it is."""
        return self._census.view() if self._census is not None else CountingView(collections=[], seen=0, total=0)

    def worker_views(self) -> list[WorkerView]:
        """What the workers do."""
        return self._cluster.views() if self._cluster is not None else []

    async def run(self) -> EditablePlan:
        """Count, and make the plan.

        Raises:
            UsageError, MissingCollection, ConnectError: one sentence about what is wrong.
            Cancelled: so asked. MigrationError: a server failed it.
        """
        self._main = asyncio.create_task(self._run(), name="full census")
        try:
            return await self._main
        except asyncio.CancelledError:
            if self._is_cancelled:
                raise Cancelled("The census was cancelled.") from None
            raise

    async def _run(self) -> EditablePlan:
        names = await known_in_target(self._settings, self._command.plan)
        choices, census = await asyncio.to_thread(self._look, names)
        self._census = census
        known = {} if self._command.recount else self._known.find(self._settings, choices)
        if census.n_waiting:
            self.phase = "counting fields"
            await self._count(census)
        known |= census.results()
        self._known.keep(self._settings, choices, known)
        self.phase = "planning"
        text, edits = self._command.plan, self._command.edits
        return await asyncio.to_thread(
            view_plan, self._asked, self._uri, text, known, names, edits=edits, earlier_of=mappings_of
        )

    def _look(self, names: KnownNames) -> tuple[list[Choice], FullCensus]:
        """What there is to count."""
        settings = self._settings
        client = mongo.connect(self._uri, app_name=f"mongopg-tui {self._run_id}")
        try:
            choices = choose(client, settings, self._saved, names)
            known = {} if self._command.recount else self._known.find(settings, choices)
            wanted = [
                (task_id, choice) for task_id, choice in enumerate(choices, FIRST_TASK_ID) if task_id not in known
            ]
            if not wanted:
                return choices, FullCensus(settings.mapping.flatten + LEVELS_BELOW)
            return choices, _cut(client, settings, choices, wanted, self._knobs["cluster_size"])
        finally:
            client.close()

    async def _count(self, census: FullCensus) -> None:
        start = WorkerStart(self._run_id, self._uri, "", self._settings.run.converter)
        self._cluster = cluster = CensusCluster(start, self._knobs, self._emit, census)
        try:
            cluster.resize(min(self._knobs["cluster_size"], census.n_waiting))
            await cluster.work_through()
        finally:
            await cluster.stop()
            self._cluster = None
