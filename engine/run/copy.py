"""The copy of a run: plan, tables, partitions for the cluster, and the end with keys and counts."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from engine import tls
from engine.config import source_uri, target_uri
from engine.errors import KnobError, MigrationError, TargetExists
from engine.follow.request import cannot_follow, require_followable
from engine.ledger.follow import COPYING, DONE
from engine.ledger.ledger import BeginFollowing, FoundRun, Ledger
from engine.mapping.census import Census
from engine.mapping.equal_keys import key_doubts
from engine.mapping.names import TableName
from engine.mongo import connect as mongo
from engine.mongo.catalogue import KnownFacts
from engine.mongo.causal import SourceSet
from engine.mongo.filters import encode_filter
from engine.mongo.natural import Numbering
from engine.mongo.partition import KeySamples
from engine.mongo.reader import Range
from engine.mongo.record_cuts import RecordCuts
from engine.plan import (
    FIRST_TASK_ID,
    Choice,
    Plan,
    choose,
    cut,
    facts_of,
    find_ends,
    fingerprint,
    make_plan,
    named_in,
    request_of,
    select,
)
from engine.plan.bounds import table_doubts
from engine.plan.order import OWN_TABLE, ToldOrders, cut_records, with_orders
from engine.postgres import connect as postgres
from engine.postgres.existing import ADDING, ExistingTable
from engine.postgres.names import NOTHING_KNOWN, KnownNames
from engine.preflight.connections import require_connections
from engine.protocol import CountingView, Event, FollowView, PlannedTable, ProblemReported, RunPlanned, RunState
from engine.protocol.saved_plan import SavedPlan
from engine.rows import TableLoad
from engine.run.census import KnownCensuses, RunCensus
from engine.run.consistency import Consistency
from engine.run.context import Phase, RunContext
from engine.run.copy_job import CopyJob
from engine.run.copy_leases import partition_of
from engine.run.cutting import Cutting
from engine.run.environment import environment
from engine.run.fill_in import Due, FillIn
from engine.run.finish import Finishing
from engine.run.following import Following, lanes_for
from engine.run.limits import RejectGuard
from engine.run.same_source import require_same_collections
from engine.run.seed import Seeding
from engine.run.steps import insist
from engine.run.tuning import Tuning
from engine.vitals.poller import Vitals, WatchedTarget
from engine.work.context import WorkerStart
from engine.work.messages import CopyTask

TELLING_S = 2.0
"""How long the end of a run waits for what is still to be told of its servers."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Cuts:
    """The collections of a new run, cut."""

    natural: dict[int, RecordCuts]
    """Of those that should be read in natural order, by task."""
    reasons: dict[int, str]
    """Why others should not be."""
    ranges: list[tuple[int, Range]]
    """Theirs, of `_id`."""


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
        on_taken_up: Callable[[int, float], None],
        vitals: Vitals,
        tuning: Tuning,
        follows: bool = False,
        takes_over: bool = False,
        is_anew: bool = False,
    ) -> None:
        """Nothing is read or written yet.

        Args:
            known: what was counted before.
            resume: the run to go on with, "" for the newest of the same plan; None begins a new one.
            saved: a saved plan, which decides more than the settings then; `saved_text` is its TOML.
            seeding: fills a collection that is copied, and may go on beside the copy.
            on_taken_up: called when the counters hold what earlier engines of the run have done, with the rows that
                they copied and the seconds that this took.
            vitals: looks at both servers from when there is a plan.
            tuning: is told the size of the cluster that an earlier engine of the run had found.
            follows: goes on behind the copy with what changes in the source; a run that does so does it whenever it is resumed.
            takes_over: the last engine of the run to resume is gone, though it did not write the run's end.
            is_anew: a run that was copied is compared with the source before it is followed on.

        Raises:
            UsageError: there is no source or target.
        """
        settings = context.settings
        source_uri(settings)
        self._context = context
        self._known = known
        self._resumed = resume
        self._saved, self._saved_text = saved, saved_text
        self._follows, self._is_anew, self._takes_over = follows, is_anew, takes_over
        self._following: Following | None = None
        self._is_seeded = seeding is not None
        # What is seeded beside a copy that is followed is a change of the source like others.
        self._seeded = seeding.collection if seeding is not None and not follows else None
        self._keyed: set[int] = set()
        """Tasks read in natural order whose tables have their keys."""
        self._on_taken_up = on_taken_up
        self._vitals = vitals
        self._tuning = tuning
        self._uri_for_workers = ""
        self._ledger = Ledger(target_uri(settings), context.record.run_id, context.fail, settings.cluster.host)
        self._ledger.accepted_unix = context.taken_unix
        self._consistency = Consistency(context, self._ledger, self._tell_tasks, is_seeded=self._seeded is not None)
        guard = RejectGuard(settings.run.max_rejects, context.record, self._ledger, context.fail)
        self._guard = guard
        self._job = CopyJob(context, self._ledger, self._consistency, guard, self._seeded)
        if seeding is not None and not follows:
            seeding.follower = self._job
        self._cutting = Cutting(context, self._job, self._ledger)
        self._census = RunCensus(context, known)
        self._tables: dict[int, CopyTask] = {}
        self._telling: asyncio.Task[None] | None = None

    # --- the phase ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Copy everything, or what is left of a run; raises Cancelled or what made it fail."""
        context = self._context
        context.enter(RunState.STARTING, "connecting")
        await context.interruptible(self._ledger.connect(self._schemas(), context.settings.run.mode))
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
            plan = await context.interruptible(self._begin_new())
        # The copy need not wait for it.
        self._telling = asyncio.create_task(self._tell_environment(), name="environment")
        if self._following is not None:
            await context.interruptible(self._following.begin(plan))
        self._watch(plan)
        context.enter(RunState.RUNNING, "copying")
        finishing = Finishing(context, self._ledger, plan, self._consistency, self._job.progress)
        fill_in = FillIn(context, self._ledger, plan, self._job, self._tell_keys_built)
        copying = partial(self._copy, finishing, fill_in, is_taken_up=is_taken_up, size=size)
        try:
            if self._following is None:
                await copying()
                context.cluster.disband()
                await context.interruptible(finishing.finish())
            else:
                await self._copy_and_follow(self._following, copying, plan, finishing, fill_in)
                context.cluster.disband()
        finally:
            await finishing.stop_counting()

    async def _copy_and_follow(
        self,
        following: Following,
        copying: Callable[[], Coroutine[Any, Any, None]],
        plan: Plan,
        finishing: Finishing,
        fill_in: FillIn,
    ) -> None:
        """Copy, unless that is over, and follow; the copy ends as it is where its source is no more."""
        if not following.is_copied:
            work = asyncio.create_task(copying(), name="copy")
            ended = asyncio.create_task(following.copy_ended.wait(), name="end of the copy")
            try:
                await asyncio.wait({work, ended}, return_when=asyncio.FIRST_COMPLETED)
                if not following.copy_ended.is_set():
                    await work
                    await following.run(plan, finishing)
                    return
            finally:
                for task in (work, ended):
                    task.cancel()
                await asyncio.gather(work, ended, return_exceptions=True)
            await self._leave_copy()
        # What an engine that ended the copy as it is did not do any more.
        await fill_in.build_missing_keys(finishing)
        await following.run(plan, finishing)

    async def _leave_copy(self) -> None:
        """Nothing more is copied: slices in hand are rolled back."""
        context = self._context
        await self._cutting.stop()
        self._job.may_grow = False
        self._job.leave()  # or workers would go on with it where a pause ends meanwhile
        context.cluster.abort()
        await context.until(lambda: context.cluster.is_quiet)
        await self._job.stop()
        self._job.leave()
        if not context.is_paused:
            context.cluster.release()

    async def _copy(self, finishing: Finishing, fill_in: FillIn, *, is_taken_up: bool, size: int) -> None:
        """Everything that was there when the run began, until it joins without a gap.

        Args:
            size: of the cluster that the partitions were cut for.
        """
        context = self._context
        context.cluster.add(self._job)
        context.cluster.dispatch()
        if is_taken_up or context.record.knobs["cluster_size"] > size:  # otherwise they were cut for this cluster
            self._cutting.begin(context.record.knobs["cluster_size"])
        await self._until_copied()
        await context.interruptible(self._guard.look_at_end())
        while due := await context.interruptible(fill_in.due()):
            await self._until_complete(finishing, due)
            if self._following is None:
                finishing.begin_counting()  # beside the keys
            read_before = context.record.read
            await fill_in.begin(due, finishing)
            context.enter(RunState.RUNNING, "copying what came since")
            context.cluster.dispatch()
            await self._until_copied()
            if context.record.read != read_before or Due.BY_ID in due.values():
                await finishing.stop_counting()  # what has come since may not have been counted
        await self._until_complete(finishing, {})

    async def _until_complete(self, finishing: Finishing, due: Mapping[int, Due]) -> None:
        """Copy again what the target has lost, until there is no gap but what is still due."""
        context = self._context
        ends = {
            task_id: end
            for task_id, what in due.items()
            if what is Due.END and (end := self._ledger.load(task_id).last_record) is not None
        }
        without = {task_id for task_id, what in due.items() if what is Due.BY_ID}
        if self._following is not None:
            await self._following.decided()
        while lost := await context.interruptible(finishing.lost(ends, without, self._changed)):
            self._job.reopen(lost)
            context.enter(RunState.RUNNING, "copying")
            context.cluster.dispatch()
            await self._until_copied()

    @property
    def _changed(self) -> set[int]:
        """Tasks of collections that are not those of the plan any more, and are followed all the same."""
        return self._following.changed if self._following is not None else set()

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
    def partitions_waiting(self) -> int:
        """Partitions that no worker has yet; those that are being cut are none for the moment."""
        return len(self._job.leases.waiting) + len(self._job.leases.apart)

    @property
    def has_partitions(self) -> bool:
        """Workers have some."""
        return bool(self._job.leases.out)

    @property
    def unfinished(self) -> frozenset[int] | None:
        """Tables of which partitions wait, are out or parked; None before there are any."""
        return self._job.leases.unfinished if self._job.leases.n_total else None

    @property
    def follow(self) -> FollowView | None:
        """How far it is with following the source."""
        return self._following.view if self._following is not None else None

    def cut_over(self, timeout_s: float, *, blocks_writes: bool = False, compares_all: bool = False) -> None:
        """Complete a run that follows."""
        if self._following is None:
            super().cut_over(timeout_s, blocks_writes=blocks_writes, compares_all=compares_all)
        else:
            self._following.cut_over(timeout_s, blocks_writes=blocks_writes, compares_all=compares_all)

    def call_off(self, by: str) -> None:
        """Break a cut-over off."""
        if self._following is None:
            super().call_off(by)
        else:
            self._following.call_off(by)

    async def resolve(self, namespace: str, choice: str, by: str) -> None:
        """Decide what is done about something that became of the source."""
        if self._following is None:
            await super().resolve(namespace, choice, by)
        else:
            await self._following.resolve(namespace, choice, by)

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
        if self._telling is not None:
            await asyncio.wait([self._telling], timeout=TELLING_S)
            self._telling.cancel()
        if self._following is not None:
            await self._following.stop()
            if self._context.record.state is RunState.CANCELLING:
                self._following.tell_until_when()
        await self._job.stop()
        await self._cutting.stop()
        await self._job.progress.last_count()

    async def close(self, state: RunState, seconds: float, error: str) -> None:
        """Write the run's end to the ledger and release the target."""
        await self._ledger.close(state, seconds, self._context.record.verification.value, error)

    async def _worker_start(self) -> WorkerStart:
        """What workers have to know; an engine that resumes a run has them before it knows which."""
        settings, run_id = self._context.settings, self._context.record.run_id
        self._uri_for_workers = await self._ledger.uri_for_workers()
        return WorkerStart(
            run_id, settings.source.connection, self._uri_for_workers, settings.run.converter,
            settings.source.uri_from, settings.target.uri_from,
        )  # fmt: skip

    def _watch(self, plan: Plan) -> None:
        """Have the servers looked at."""

        async def has_room() -> bool:
            cluster = self._context.cluster
            missing = sum(not worker.backend_pid for worker in cluster.workers)
            return await self._ledger.free_connections() > missing

        loads = [self._ledger.load(table.task_id) for table in plan.tables]
        namespaces = {str(name): load.namespace for load in loads for name in (load.target, load.loads_into)}
        target = WatchedTarget(self._uri_for_workers, self._ledger.app_name, has_room, namespaces)
        self._vitals.watch(source_uri(self._context.settings), self._ledger.app_name, target)

    # --- before anything is written -----------------------------------------------------------------------------------

    async def _check_free_connections(self, workers: int) -> None:
        """Refuse a cluster larger than the target has connections for."""
        free = len(self._context.cluster.workers) + await self._ledger.free_connections() + self._vitals.sessions
        require_connections(workers, free)

    async def _find_weak_tls(self) -> tuple[str, ...]:
        """Sides whose connection could be read or forged in the network, each with how it is."""
        source, target = source_uri(self._context.settings), target_uri(self._context.settings)
        async with self._ledger.session() as connection:
            found = [("target", postgres.tls_in_words(connection), postgres.is_local(target))]
        found.insert(0, ("source", await asyncio.to_thread(mongo.tls_in_words, source), mongo.is_local(source)))
        return tuple(f"{side}: {words}" for side, words, local in found if tls.is_weak(words, local=local))

    async def _tell_environment(self) -> None:
        """Who runs it with what."""
        context = self._context
        context.emit(await environment(self._ledger, source_uri(context.settings), context.taken_unix))

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

    async def _begin_new(self) -> Plan:
        """Begin; where a run was to be resumed and there was none, a table in the way is not all there is to say."""
        try:
            return await self._begin()
        except TargetExists as error:
            if self._resumed is None:
                raise
            raise TargetExists(
                "The target has no unfinished run of this plan to resume, and a new one cannot begin: " + error.message
            ) from error

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
            planned, ranges, numberings = await insist(context, lambda: self._planned(client, choices, counted))
        finally:
            client.close()
        databases = await self._databases_to_follow(planned)
        leases = [self._job.leases.new(task_id, span.lower, span.upper) for task_id, span in ranges]
        partitions, at = [partition_of(lease) for lease in leases], self._consistency.at
        plan = await insist(
            context,
            lambda: ledger.begin(
                planned,
                settings.run.mode,
                settings,
                partitions,
                at,
                numberings,
                self._consistency.beginning,
                databases,
                lanes_for(len(planned.tables)),
            ),
        )
        await insist(context, self._make_following)
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
        await self._tell_of_following()
        self._job.begin(leases)
        self.partitions_first = len(leases)
        return plan

    async def _databases_to_follow(self, plan: Plan) -> list[str]:
        """Databases whose changes are followed; none where none are.

        Raises:
            UsageError: it is asked for, and is not possible.
        """
        if not self._follows:
            return []
        settings, beginning = self._context.settings, self._consistency.beginning
        require_followable(plan.tables, settings.run.mode, settings.run.limit)
        if beginning.after is None:
            raise cannot_follow(beginning.cannot_follow)
        if beginning.oplog_from is not None and beginning.oplog_from > beginning.after.at:
            raise cannot_follow(
                "the source's oplog does not reach back to the run's beginning any more; a run that was copied can be compared "
                f"with it instead: `mongopg-tui follow {self._context.record.run_id} --resync`"
            )
        return sorted({table.database for table in plan.tables})

    async def _require_not_cut_over(self, run_id: str) -> None:
        """Raise UsageError for a run that followed its source until others wrote to its tables."""
        followed = await insist(self._context, lambda: self._ledger.followed(run_id))
        if followed is not None and followed.phase == DONE:
            raise cannot_follow(f"run {run_id} was cut over, and its tables are others' now")

    async def _require_copied(self, found: FoundRun) -> None:
        """Raise UsageError for a run whose copy is not complete: it is resumed, not compared."""
        if not found.is_complete:
            followed = await insist(self._context, lambda: self._ledger.followed(found.run_id))
            if followed is None or followed.phase == COPYING:
                raise cannot_follow(f"the copy of run {found.run_id} is not complete; resume it first")

    async def _make_following(self, taken: FoundRun | None = None) -> None:
        """What follows, where the ledger says that the run does.

        Args:
            taken: the run, where it was taken up. When it is copied, a source that is not the same any more halts it.
        """
        beginning = self._consistency.beginning
        found = await self._ledger.followed()
        if found is None:
            return
        if beginning.after is not None:
            since, known = beginning.after.at, beginning.source_set
        elif taken is not None and taken.start_time is not None and found.phase != COPYING:
            since, known = taken.start_time, SourceSet(**json.loads(taken.source_set))
        else:
            raise cannot_follow(beginning.cannot_follow)
        self._following = Following(self._context, self._ledger, found, since, known)

    async def _tell_of_following(self) -> None:
        """Warn of what changes that are applied do to tables that are there, and what of these refuses changes."""
        if self._follows:
            for text in await insist(self._context, self._ledger.remarks_on_following):
                self._context.emit(ProblemReported(code="rules", message=text))

    async def _planned(
        self, client: mongo.Client, choices: Sequence[Choice], counted: dict[int, Census]
    ) -> tuple[Plan, list[tuple[int, Range]], dict[int, Numbering]]:
        """The plan of what is to be copied; its ranges, each with its task; whose record ids these have, by task."""
        settings = self._context.settings
        names = [(choice.database, choice.collection) for choice in choices]
        at = await asyncio.to_thread(self._consistency.take, client, names)
        known = facts_of(client, choices)
        ends = await asyncio.to_thread(find_ends, client, settings, choices, at, known)
        workers = self._context.record.knobs["cluster_size"]
        # The cuts do not depend on the census: both look at the source at the same time.
        told = ToldOrders()
        cutting = asyncio.create_task(asyncio.to_thread(self._cut, client, choices, ends, at, known, told))
        try:
            existing = await self._existing(choices) if settings.run.mode in ADDING else {}
            plan = await asyncio.to_thread(make_plan, client, settings, choices, ends, counted, existing, known, told)
        finally:
            cuts = await cutting
        plan, natural = with_orders(settings, plan, cuts.natural, cuts.reasons)
        ranges = cuts.ranges
        if others := cuts.natural.keys() - natural.keys():  # their tables could not tell such documents apart
            cut_late = partial(cut, client, settings, choices, ends, workers, known, only=others)
            ranges += await asyncio.to_thread(cut_late)
        ranges += [(task_id, span) for task_id, each in natural.items() for span in each.ranges]
        numberings = {task_id: each.numbering for task_id, each in natural.items()}
        return plan.model_copy(update={"saved": self._saved_text}), ranges, numberings

    def _cut(
        self,
        client: mongo.Client,
        choices: Sequence[Choice],
        ends: dict[int, bytes],
        at: int | None,
        known: KnownFacts,
        told: ToldOrders,
    ) -> _Cuts:
        """Cut the collections, each in the order in which it should be read, whatever its table will be. Blocks.

        Args:
            told: is told of these orders.
        """
        settings, workers = self._context.settings, self._context.record.knobs["cluster_size"]
        seeded = [self._seeded] if self._seeded is not None else []
        wanted = dict(enumerate(choices, FIRST_TASK_ID)) if settings.run.mode in OWN_TABLE else {}
        samples = KeySamples()
        try:
            natural, reasons = cut_records(
                client, settings, wanted, workers, samples, at=at, seeded=seeded, facts_known=known, told=told
            )
        finally:
            told.end()
        others = [task_id for task_id in range(FIRST_TASK_ID, FIRST_TASK_ID + len(choices)) if task_id not in natural]
        ranges = cut(client, settings, choices, ends, workers, known, samples, only=others)
        return _Cuts(natural, reasons, ranges)

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
        log.info("run %s is taken up", found.run_id)  # which one it is may not have been said
        if found.is_complete and not self._follows:
            return await self._complete(found)
        if found.is_complete:
            await self._require_not_cut_over(found.run_id)
        if self._is_anew:
            await self._require_copied(found)
        followed = await insist(context, lambda: ledger.followed(found.run_id))
        if followed is None or self._is_anew:  # else its stream tells what became of its collections
            await insist(context, lambda: self._require_same_source(found.plan))
        is_copied = found.is_complete or (followed is not None and followed.phase != COPYING)
        self._consistency.tables = found.plan.tables
        if followed is not None and not (is_copied or self._is_anew):
            await insist(context, partial(self._consistency.require_same, found))
        begins: BeginFollowing | None = None
        if is_copied or self._is_anew:  # what is refused here leaves the run as it is
            follow_on = self._consistency.begin_anew if self._is_anew else partial(self._consistency.follow_on, found)
            await insist(context, follow_on)
            if followed is None or self._is_anew:
                begins = BeginFollowing(
                    lanes_for(len(found.plan.tables)),
                    await self._databases_to_follow(found.plan),
                    self._consistency.beginning if self._is_anew else None,
                )
        taken, positions = await insist(
            context,
            lambda: ledger.take_up(found, is_over=found.is_complete, takes_over=self._takes_over, follows=begins),
        )
        if taken.is_complete and not found.is_complete:
            return await self._complete(found)
        await self._take_up_size()
        self._announce(found.plan)
        has_slices = any(position.next_slice_no for position in positions)
        databases: list[str] = []
        if not (is_copied or self._is_anew):
            await insist(context, lambda: self._consistency.resume(taken, has_slices=has_slices))
            databases = await self._databases_to_follow(found.plan)
        await self._find_keys(found.plan)
        self._set_tasks(found.plan)
        await insist(context, self._job.progress.recount)
        self._on_taken_up(taken.copied, taken.copying_s)  # what was there is no throughput of this time
        self.written_before = context.record.written
        self.seconds_before = taken.seconds
        self.first_started_unix = taken.started_unix
        self._job.take_up(positions)
        self._job.leases.next_id = await insist(context, ledger.next_partition_id)
        self.partitions_first = len(positions)
        if databases:
            await insist(context, lambda: ledger.begin_following(lanes_for(len(found.plan.tables)), databases, COPYING))
        await insist(context, lambda: self._make_following(taken))
        await self._tell_of_following()
        return found.plan, False

    async def _take_up_size(self) -> None:
        """The cluster that the run had found to be the fastest, where it is to look for that, and there is room for it."""
        stable = await insist(self._context, self._ledger.stable_size) if self._context.record.auto else None
        if stable is None:
            return
        try:
            await self._check_free_connections(stable)
        except KnobError as refusal:
            log.info("the run begins with a smaller cluster than it had: %s", refusal.message)
        else:
            self._tuning.take_up(stable)

    async def _find_keys(self, plan: Plan) -> None:
        """Which tables that are read in natural order had got their keys when the run ended."""
        for table in plan.tables:
            if self._ledger.load(table.task_id).read_order == "natural":
                has_key = await insist(self._context, partial(self._ledger.has_key, table.task_id))
                self._keyed |= {table.task_id} if has_key else set()

    async def _complete(self, found: FoundRun) -> tuple[Plan, bool]:
        message = f"Run {found.run_id} of this plan is complete: nothing to do."
        self._context.emit(ProblemReported(code="complete", message=message))
        self._context.record.followed = await insist(self._context, lambda: self._ledger.cut_over(found.run_id))
        return found.plan, True

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
            load = self._ledger.load(table.task_id)
            self._tables[table.task_id] = CopyTask(
                run_id=self._ledger.run_id,
                task_id=table.task_id,
                database=table.database,
                collection=table.collection,
                schema=table.schema_name,
                table=load.loads_into.table,
                mapping=table.mapping,
                mode=run.mode,
                has_range_reads=table.has_range_reads,
                filter=encode_filter(table.filter),
                has_checksum=run.checksum,
                held=(table.schema_name, table.table),
                numbering=_numbering_of(load),
                adds_missing=table.task_id in self._keyed,
                average_bytes=0 if table.filter else table.size_bytes // max(1, table.documents),
                generation=self._ledger.generation,
            )
        self._tell_tasks()

    def _tell_keys_built(self) -> None:
        """Keys of tables that are read in natural order are built, or records have lost their numbers."""
        for task_id, task in self._tables.items():
            load = self._ledger.load(task_id)
            if load.read_order == "natural":
                self._tables[task_id] = replace(task, numbering=_numbering_of(load), adds_missing=True)
        self._tell_tasks()
        self._context.cluster.forget_tasks()

    def _tell_tasks(self) -> None:
        """The time at which they read, too."""
        for task_id, task in self._tables.items():
            self._job.tasks[task_id] = replace(task, at=self._consistency.at, after=self._consistency.after)

    def _announce(self, plan: Plan) -> None:
        self._context.emit(
            RunPlanned(
                tables=[
                    PlannedTable(
                        task_id=table.task_id,
                        namespace=table.namespace,
                        table=plan.label(table),
                        total=table.documents,
                        order=table.order,
                        order_reason=table.order_reason,
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


def _numbering_of(load: TableLoad) -> Numbering | None:
    """Whose record ids the bounds of a table have; None for bounds of `_id`."""
    if load.read_order != "natural" or load.first_generation:
        return None
    return Numbering(load.member, load.collection_file, load.last_record)
