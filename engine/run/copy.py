"""The copy of a run: plan, tables, partitions for the cluster, and the end with keys and counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from engine import tls
from engine.config import source_uri, target_uri
from engine.errors import KnobError, MigrationError
from engine.ledger.ledger import Ledger
from engine.mapping.census import Census
from engine.mapping.names import TableName
from engine.mongo import connect as mongo
from engine.mongo.filters import encode_filter
from engine.mongo.reader import Range
from engine.plan import (
    FIRST_TASK_ID,
    Choice,
    Plan,
    choose,
    cut,
    find_ends,
    fingerprint,
    make_plan,
    named_in,
    request_of,
    select,
)
from engine.plan.bounds import key_doubts, table_doubts
from engine.postgres import connect as postgres
from engine.postgres.existing import ADDING, ExistingTable
from engine.postgres.names import NOTHING_KNOWN, KnownNames
from engine.protocol import CountingView, Event, PlannedTable, ProblemReported, RunPlanned, RunState
from engine.protocol.saved_plan import SavedPlan
from engine.run.census import KnownCensuses, RunCensus
from engine.run.consistency import Consistency
from engine.run.context import Phase, RunContext
from engine.run.copy_job import CopyJob
from engine.run.copy_leases import partition_of
from engine.run.cutting import Cutting
from engine.run.finish import Finishing
from engine.run.limits import RejectGuard
from engine.run.same_source import require_same_collections
from engine.run.seed import Seeding
from engine.run.steps import insist
from engine.work.context import WorkerStart
from engine.work.messages import CopyTask


class Copying(Phase):
    """Collections into tables, by the whole cluster, in leases of `_id` ranges."""

    def __init__(
        self,
        context: RunContext,
        known: KnownCensuses,
        *,
        resume: str | None,
        saved: SavedPlan | None,
        saved_text: str,
        seeding: Seeding | None,
        on_taken_up: Callable[[], None],
    ) -> None:
        """Nothing is read or written yet.

        Args:
            known: what was counted before.
            resume: the run to go on with, "" for the newest of the same plan; None begins a new one.
            saved: a saved plan, which decides more than the settings then; `saved_text` is its TOML.
            seeding: fills a collection that is copied, and may go on beside the copy.
            on_taken_up: called when the counters hold what earlier engines of the run have done.

        Raises:
            UsageError: there is no source or target.
        """
        settings = context.settings
        source_uri(settings)
        self._context = context
        self._known = known
        self._resumed = resume
        self._saved, self._saved_text = saved, saved_text
        self._is_seeded = seeding is not None
        self._on_taken_up = on_taken_up
        self._ledger = Ledger(target_uri(settings), context.record.run_id, on_lost=context.fail)
        self._consistency = Consistency(context, self._ledger, self._tell_tasks)
        guard = RejectGuard(settings.run.max_rejects, context.record, self._ledger, context.fail)
        self._guard = guard
        self._job = CopyJob(
            context, self._ledger, self._consistency, guard, seeding.collection if seeding is not None else None
        )
        if seeding is not None:
            seeding.follower = self._job
        self._cutting = Cutting(context, self._job, self._ledger)
        self._census = RunCensus(context, known)
        self._tables: dict[int, CopyTask] = {}

    # --- the phase ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Copy everything, or what is left of a run; raises Cancelled or what made it fail."""
        context = self._context
        context.enter(RunState.STARTING, "connecting")
        await context.interruptible(self._ledger.connect(self._schemas()))
        context.cluster.end_sessions_by = self._ledger.end_backend
        size = context.record.knobs["cluster_size"]
        await self._check_free_connections(size)
        self.weak_tls = await context.interruptible(self._find_weak_tls())
        context.cluster.start_with(await self._worker_start())
        context.cluster.resize(size)
        plan = None
        if self._resumed is not None:
            plan, is_complete = await context.interruptible(self._take_up(self._resumed))
            if is_complete:
                return  # there is nothing to do
        is_taken_up = plan is not None
        if plan is None:
            plan = await context.interruptible(self._begin())
        context.enter(RunState.RUNNING, "copying")
        context.cluster.add(self._job)
        context.cluster.dispatch()
        if is_taken_up or context.record.knobs["cluster_size"] > size:  # otherwise they were cut for this cluster
            self._cutting.begin(context.record.knobs["cluster_size"])
        await self._until_copied()
        await context.interruptible(self._guard.look_at_end())
        finishing = Finishing(context, self._ledger, plan, self._consistency, self._job.progress)
        while lost := await context.interruptible(finishing.lost()):
            self._job.reopen(lost)
            context.enter(RunState.RUNNING, "copying")
            context.cluster.dispatch()
            await self._until_copied()
        context.cluster.disband()
        await context.interruptible(finishing.finish())

    async def _until_copied(self) -> None:
        job = self._job
        await self._context.until(
            lambda: job.is_finished and not self._cutting.is_going_on and not self._context.is_paused
        )
        job.may_grow = False
        if job.leases.parked:
            named = ", ".join(f"{number} of {job.namespace(lease)}" for number, lease in job.leases.parked.items())
            raise MigrationError(
                f"Each of these partitions ended three workers and was left out: {named}. The other partitions are copied. "
                "See the log, then resume the run.",
                code="parked",
            )

    @property
    def amounts(self) -> tuple[int, int]:
        """Rows committed, and documents expected."""
        return self._context.record.written, self._context.record.total

    @property
    def partitions(self) -> tuple[int, int]:
        """Partitions done, and in all."""
        return self._job.leases.n_done, self._job.leases.n_total

    @property
    def counting(self) -> CountingView | None:
        """How far the census before the copy is."""
        return self._census.view()

    async def knob_applies(self, knob: str, value: int) -> str:
        """Refuse a cluster larger than the target has connections for."""
        if knob != "cluster_size":
            return ""
        await self._check_free_connections(value)
        return "at once"

    def knob_turned(self, knob: str, value: int) -> None:
        """A larger cluster may need more partitions."""
        if knob == "cluster_size":
            self._cutting.begin(value)

    def note(self, event: Event) -> None:
        """Keep a fact for history and replay."""
        self._ledger.note(event)

    async def last_count(self) -> None:
        """The workers have ended: what is committed is in the ledger."""
        await self._job.stop()
        await self._cutting.stop()
        await self._job.progress.last_count()

    async def close(self, state: RunState, seconds: float, error: str) -> None:
        """Write the run's end to the ledger and release the target."""
        await self._ledger.close(state, seconds, self._context.record.verification.value, error)

    async def _worker_start(self) -> WorkerStart:
        """What workers have to know; an engine that resumes a run has them before it knows which."""
        settings, run_id = self._context.settings, self._context.record.run_id
        uri = await self._ledger.uri_for_workers()
        return WorkerStart(run_id, settings.source.connection, uri, settings.run.converter)

    # --- before anything is written -----------------------------------------------------------------------------------

    async def _check_free_connections(self, workers: int) -> None:
        """Refuse a cluster larger than the target has connections for."""
        free = len(self._context.cluster.workers) + await self._ledger.free_connections()
        if workers > free:
            raise KnobError(
                f"cluster_size must be at most {free} now, not {workers}: the target has no more free connections."
            )

    async def _find_weak_tls(self) -> tuple[str, ...]:
        """Sides whose connection could be read or forged in the network, each with how it is."""
        source, target = source_uri(self._context.settings), target_uri(self._context.settings)
        async with self._ledger.session() as connection:
            found = [("target", postgres.tls_in_words(connection), postgres.is_local(target))]
        found.insert(0, ("source", await asyncio.to_thread(mongo.tls_in_words, source), mongo.is_local(source)))
        return tuple(f"{side}: {words}" for side, words, local in found if tls.is_weak(words, local=local))

    def _schemas(self) -> list[str]:
        """Schemas of the tables, as far as they are known before there is a plan."""
        if self._saved is not None:
            return [table.schema_name for table in self._saved.tables]
        settings = self._context.settings
        return [each.schema for each in named_in(settings)] or [settings.target.schema_name]

    async def _known_names(self) -> KnownNames:
        """What the target says about names of ours."""
        if self._saved is not None:
            return NOTHING_KNOWN
        return await self._ledger.known_names(mongo.hosts_of(source_uri(self._context.settings)), self._schemas())

    # --- a new run ----------------------------------------------------------------------------------------------------

    async def _begin(self) -> Plan:
        """Plan, make the tables, and write the run to the ledger."""
        context, settings, ledger = self._context, self._context.settings, self._ledger
        context.enter(RunState.STARTING, "planning")
        client = await asyncio.to_thread(mongo.connect, source_uri(settings), app_name=ledger.app_name)
        try:
            known = await insist(context, self._known_names)
            selection = await insist(context, lambda: asyncio.to_thread(select, client, settings, self._saved, known))
            choices = selection.choices
            counted: dict[int, Census] = {}
            if settings.run.census == "full":
                counted = await self._census.count(client, choices, is_seeded=self._is_seeded)
            planned, ranges = await insist(context, lambda: self._planned(client, choices, counted))
        finally:
            client.close()
        leases = [self._job.leases.new(task_id, span.lower, span.upper) for task_id, span in ranges]
        partitions, at = [partition_of(lease) for lease in leases], self._consistency.at
        plan = await insist(context, lambda: ledger.begin(planned, settings.run.mode, settings, partitions, at))
        self._set_tasks(plan)
        self._consistency.announce()
        self._announce(plan)
        for message in selection.warnings:
            context.emit(ProblemReported(code="selection", message=message))
        for choice in choices:
            if choice.warning:
                context.emit(ProblemReported(code="table_name", message=choice.warning, namespace=choice.namespace))
        for table in plan.tables:
            if doubts := table_doubts(table):
                context.emit(ProblemReported(code="table_bounds", message=doubts, namespace=table.namespace))
            if doubts := key_doubts(table.mapping, settings.run.mode):
                message = f"{table.namespace}: {doubts}"
                context.emit(ProblemReported(code="equal_keys", message=message, namespace=table.namespace))
        names = [TableName(table.schema_name, table.table) for table in plan.tables]
        for text in await insist(context, lambda: ledger.remarks(names, settings.run.mode)):
            context.emit(ProblemReported(code="rules", message=text))
        self._job.begin(leases)
        return plan

    async def _planned(
        self, client: mongo.Client, choices: Sequence[Choice], counted: dict[int, Census]
    ) -> tuple[Plan, list[tuple[int, Range]]]:
        """The plan of what is to be copied, and its ranges, each with its task."""
        settings = self._context.settings
        names = [(choice.database, choice.collection) for choice in choices]
        at = await asyncio.to_thread(self._consistency.take, client, names)
        ends = await asyncio.to_thread(find_ends, client, settings, choices, at)
        workers = self._context.record.knobs["cluster_size"]
        # The cuts do not depend on the census: both look at the source at the same time.
        cutting = asyncio.create_task(asyncio.to_thread(cut, client, settings, choices, ends, workers))
        try:
            existing = await self._existing(choices) if settings.run.mode in ADDING else {}
            plan = await asyncio.to_thread(make_plan, client, settings, choices, ends, counted, existing)
        finally:
            ranges = await cutting
        return plan.model_copy(update={"saved": self._saved_text}), ranges

    async def _existing(self, choices: Sequence[Choice]) -> dict[int, ExistingTable]:
        """The tables that are there already, by task."""
        names = [TableName(choice.schema, choice.table) for choice in choices]
        found = await self._ledger.existing(names)
        return {task_id: found[name] for task_id, name in enumerate(names, FIRST_TASK_ID) if name in found}

    # --- a run that is resumed ----------------------------------------------------------------------------------------

    async def _take_up(self, run: str) -> tuple[Plan | None, bool]:
        """Take up a run of the ledger; its plan, or None when there is none and a new one is to begin; and whether it is
        complete.
        """
        context, ledger = self._context, self._ledger
        known = await insist(context, self._known_names)
        request = await asyncio.to_thread(self._request, known)
        found = await insist(context, lambda: ledger.find_run(run, request, fingerprint(request)))
        if found is None:
            message = "There is no unfinished run of this plan: a new one begins."
            context.emit(ProblemReported(code="nothing_to_resume", message=message))
            return None, False
        context.record.run_id = found.run_id
        if found.is_complete:
            return self._complete(found.plan)
        await insist(context, lambda: self._require_same_source(found.plan))
        taken, positions = await insist(context, lambda: ledger.take_up(found))
        if taken.is_complete:
            return self._complete(found.plan)
        self._consistency.tables = found.plan.tables
        self._announce(found.plan)
        has_slices = any(position.next_slice_no for position in positions)
        await insist(context, lambda: self._consistency.resume(taken.snapshot_time, has_slices=has_slices))
        self._set_tasks(found.plan)
        await insist(context, self._job.progress.recount)
        self._on_taken_up()  # what was there is no throughput of this time
        self.written_before = context.record.written
        self._job.take_up(positions)
        return found.plan, False

    def _complete(self, plan: Plan) -> tuple[Plan, bool]:
        message = f"Run {self._context.record.run_id} of this plan is complete: nothing to do."
        self._context.emit(ProblemReported(code="complete", message=message))
        return plan, True

    async def _require_same_source(self, plan: Plan) -> None:
        """Raise MigrationError when a collection of the plan is not the one that it was made of any more."""
        uri = source_uri(self._context.settings)
        await asyncio.to_thread(require_same_collections, uri, self._ledger.app_name, plan.tables)

    def _request(self, known: KnownNames) -> dict[str, Any]:
        """What this run asks for, to find the one to resume; collections may be "all of the database"."""
        settings = self._context.settings
        client = mongo.connect(source_uri(settings), app_name=self._ledger.app_name)
        try:
            return request_of(settings, choose(client, settings, self._saved, known))
        finally:
            client.close()

    # --- what workers and people are told of the plan -----------------------------------------------------------------

    def _set_tasks(self, plan: Plan) -> None:
        """What workers are told of each table."""
        run = self._context.settings.run
        self._consistency.tables = plan.tables
        for table in plan.tables:
            self._tables[table.task_id] = CopyTask(
                run_id=self._ledger.run_id,
                task_id=table.task_id,
                database=table.database,
                collection=table.collection,
                schema=table.schema_name,
                table=self._ledger.load(table.task_id).loads_into.table,
                mapping=table.mapping,
                mode=run.mode,
                has_range_reads=table.has_range_reads,
                filter=encode_filter(table.filter),
                has_checksum=run.checksum,
                held=(table.schema_name, table.table),
            )
        self._tell_tasks()

    def _tell_tasks(self) -> None:
        """The time at which they read, too."""
        for task_id, task in self._tables.items():
            self._job.tasks[task_id] = replace(task, at=self._consistency.at)

    def _announce(self, plan: Plan) -> None:
        self._context.emit(
            RunPlanned(
                tables=[
                    PlannedTable(
                        task_id=table.task_id,
                        namespace=table.namespace,
                        table=plan.label(table),
                        total=table.documents,
                    )
                    for table in plan.tables
                ],
                knobs=dict(self._context.record.knobs),
                warnings=[
                    f"{table.namespace}: {text}"
                    for table in plan.tables
                    for text in table.warnings
                    if text not in table.left_indexes  # those become problems when the indexes are built
                ],
            )
        )
