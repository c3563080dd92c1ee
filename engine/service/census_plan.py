"""A plan that is made from a full census, which a cluster of its own takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from engine.cluster.crew import MakeCrew
from engine.cluster.own_cluster import Emit, OwnCluster
from engine.config import Settings, source_uri
from engine.errors import Cancelled
from engine.ledger.earlier_runs import mappings_of
from engine.mongo import connect as mongo
from engine.mongo.reader import Range
from engine.plan import FIRST_TASK_ID, Choice, choose
from engine.plan.looks import KnownLooks
from engine.plan.planning import view_plan
from engine.plan.reading import asked_plan
from engine.postgres.names import NOTHING_KNOWN, KnownNames
from engine.preflight.known_names import known_in_target
from engine.preflight.looking import preflight_of_plan
from engine.preflight.reach import TargetReach
from engine.protocol import EditablePlan, MakePlan, Snapshot
from engine.run.census import KnownCensuses, job_for, ranges_by_id
from engine.run.census_job import LEVELS_BELOW, CensusJob
from engine.work.context import WorkerStart


class CensusPlan:
    """One plan that is being made from a census."""

    def __init__(
        self,
        command: MakePlan,
        settings: Settings,
        knobs: dict[str, int],
        emit: Emit,
        run_id: str,
        known: KnownCensuses,
        looks: KnownLooks,
        make_crew: MakeCrew,
    ) -> None:
        """Nothing is read yet.

        Args:
            command: what was asked.
            settings: with the collections asked for.
            knobs: `cluster_size`, `page_size` and `throttle`.
            emit: makes a fact known.
            run_id: names the sessions.
            known: what was counted before, and where this census is kept.
            looks: what else was read for earlier plans.
            make_crew: where workers come from.
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
        self._looks = looks
        self._uri = source_uri(settings)
        self._cluster = OwnCluster(make_crew, knobs, emit)
        self._cluster.start_with(
            WorkerStart(run_id, self._uri, "", self._settings.run.converter, source_from=self._settings.source.uri_from)
        )
        self._job = CensusJob(0, self._cluster)
        """What there is to count; nothing before the source was looked at."""
        self._main: asyncio.Task[EditablePlan] | None = None
        self._is_cancelled = False

    def cancel(self) -> None:
        """Break the census off."""
        self._is_cancelled = True
        if self._main is not None:
            self._main.cancel()

    async def check_size(self, workers: int) -> None:
        """Counting needs no connection of the target: any size will do."""

    def turn(self, knob: str) -> None:
        """A knob has another value: only the size of the cluster matters to a census."""
        if knob == "cluster_size" and not self._job.is_finished:
            self._cluster.resize(self._knobs[knob])

    def drawn(self, snapshot: Snapshot) -> Snapshot:
        """A run's snapshot with how far the census is instead."""
        workers = self._cluster.views()
        hosts = self._cluster.hosts(workers)
        update = {"phase": self.phase, "counting": self._job.view(), "hosts": hosts}
        return snapshot.model_copy(update=update | {"workers": workers, "workers_alive": len(workers)})

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
        target = TargetReach(self._settings.target.connection, self._looks)
        unreachable = target.known_to_be_silent(again=self._command.recount)
        names = NOTHING_KNOWN
        if unreachable is None:
            names, unreachable = await known_in_target(self._settings, self._command.plan)
        choices, self._job = await asyncio.to_thread(self._look, names)
        known = {} if self._command.recount else self._known.find(self._settings, choices)
        if self._job.n_waiting:
            self.phase = "counting fields"
            await self._count(choices)
        known |= self._job.results()
        self._known.keep(self._settings, choices, known)
        self.phase = "planning"
        text, edits = self._command.plan, self._command.edits
        plan = await asyncio.to_thread(
            view_plan,
            self._asked,
            self._uri,
            text,
            known,
            names,
            edits=edits,
            earlier_of=mappings_of,
            looks=self._looks,
            rereads=self._command.recount,
            preflight=partial(preflight_of_plan, earlier_of=mappings_of, unreachable=unreachable),
            unreachable=unreachable.message if unreachable is not None else "",
        )
        target.learn(plan)
        return plan

    def _look(self, names: KnownNames) -> tuple[list[Choice], CensusJob]:
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
                return choices, CensusJob(settings.mapping.flatten + LEVELS_BELOW, self._cluster)
            return choices, job_for(client, settings, choices, wanted, self._knobs["cluster_size"], self._cluster)
        finally:
            client.close()

    def _ranges_by_id(self, choices: Sequence[Choice]) -> dict[int, list[Range]]:
        """Of what could not be counted in natural order to its end."""
        client = mongo.connect(self._uri, app_name=f"mongopg-tui {self._run_id}")
        try:
            tasks = self._job.lost_numberings
            return ranges_by_id(client, self._settings, choices, tasks, self._knobs["cluster_size"])
        finally:
            client.close()

    async def _count(self, choices: Sequence[Choice]) -> None:
        try:
            self._cluster.add(self._job)
            self._cluster.resize(min(self._knobs["cluster_size"], self._job.n_waiting))
            await self._cluster.until(lambda: self._job.is_finished)
            if self._job.lost_numberings:
                self._job.begin_again(await asyncio.to_thread(self._ranges_by_id, choices))
                self._cluster.forget_tasks()
                await self._cluster.until(lambda: self._job.is_finished)
        finally:
            await self._cluster.stop()
