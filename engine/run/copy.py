"""The copy of a run: plan, tables, partitions as leases, and the end with keys and counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine import tls
from engine.cluster.leases import CopyLeases
from engine.cluster.progress import Tally
from engine.errors import KnobError, MigrationError
from engine.ledger.partitions import Position
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
from engine.plan.reading import read_plan
from engine.postgres import connect as postgres
from engine.postgres.existing import ADDING, ExistingTable
from engine.postgres.names import NOTHING_KNOWN, KnownNames
from engine.protocol import PartitionParked, PlannedTable, ProblemReported, RangeView, RunPlanned, RunState
from engine.retries import insist
from engine.run.census import count_for_run
from engine.run.consistency import Consistency
from engine.run.cutting import Cutting
from engine.run.finish import finish, take_back_lost
from engine.run.journal import Journal
from engine.run.limits import RejectGuard
from engine.run.open_partition import Tail
from engine.run.partition_sizes import Extents
from engine.run.same_source import require_same_collections
from engine.service.questions import source_uri, target_uri
from engine.work.messages import CopyLease, CopyTask, Returned

if TYPE_CHECKING:
    from engine.run.run import Migration

log = logging.getLogger(__name__)


class Copying:
    """Collections into tables, by the whole cluster, in leases of `_id` ranges."""

    def __init__(self, migration: Migration, plan: str = "") -> None:
        """Nothing is read or written yet.

        Args:
            plan: a saved plan's TOML, which decides more than the settings then.

        Raises:
            UsageError: it has a mistake, or there is no source or target.
        """
        self._migration = migration
        self._saved = read_plan(plan) if plan else None
        self._saved_text = plan
        if self._saved is not None:
            migration.settings = self._saved.over(migration.settings)
        self.leases = CopyLeases()
        self.tasks: dict[int, CopyTask] = {}
        self.plan: Plan | None = None
        self.is_open = True
        """Partitions may still be added: the copy has not come to its end."""
        self.journal = Journal(target_uri(migration.settings), migration.run_id, on_lost=migration.fail)
        self.consistency = Consistency(self, migration)
        self.tally = Tally(migration.emit, self.journal)
        self.guard = RejectGuard(migration.settings.run.max_rejects, migration.record, self.journal, migration.fail)
        self.extents = Extents()
        self._recoveries: set[asyncio.Task[None]] = set()
        self.tail = Tail(self, migration)
        self.cutting = Cutting(self, migration)
        source_uri(migration.settings)

    async def run(self, resume: str | None) -> None:
        """Copy everything, or what is left of a run; raises Cancelled or what made it fail."""
        migration = self._migration
        migration.enter(RunState.STARTING, "connecting")
        await migration.interruptible(self.journal.connect(self._schemas()))
        size = migration.record.knobs["cluster_size"]
        await self.check_free_connections(size)
        migration.weak_tls = await migration.interruptible(self._weak_tls())
        assert migration.supervisor is not None
        migration.supervisor.reach_target_by(await self.journal.uri_for_workers())
        migration.supervisor.resize(size)
        is_resumed = resume is not None and await migration.interruptible(self._resume(resume))
        if is_resumed:
            if self.plan is None:
                return  # the newest run of this plan is complete: there is nothing to do
        else:
            await migration.interruptible(self._begin())
        migration.enter(RunState.RUNNING, "copying")
        migration.dispatch()
        if is_resumed or migration.record.knobs["cluster_size"] > size:  # otherwise they were cut for this cluster
            self.cutting.begin(migration.record.knobs["cluster_size"])
        await self._until_copied()
        await migration.interruptible(self.guard.look_at_end())
        while await migration.interruptible(take_back_lost(self, migration)):
            await self._until_copied()
        migration.supervisor.disband()
        await migration.interruptible(finish(self, migration))

    async def _until_copied(self) -> None:
        await self._migration.until(
            lambda: (
                self.leases.is_finished
                and not self.is_recovering
                and not self.cutting.is_going_on
                and not self._migration.is_paused
            )
        )
        self.is_open = False
        if self.leases.parked:
            named = ", ".join(f"{number} of {self._namespace(lease)}" for number, lease in self.leases.parked.items())
            raise MigrationError(
                f"Each of these partitions ended three workers and was left out: {named}. The rest is copied; "
                "look at the log, then resume the run.",
                code="parked",
            )

    def reopen(self, positions: Sequence[Position]) -> None:
        """Partitions that were done are not: go on from where they stand."""
        for position in positions:
            self.tally.begin_at(position)
            self.leases.reopen(_lease_at(position))
        self.is_open = True
        self._migration.enter(RunState.RUNNING, "copying")
        self._migration.dispatch()

    async def end_own_work(self) -> None:
        """Nobody looks into the ledger any more but who writes the run's end."""
        tasks = {*self._recoveries, *self.cutting.tasks}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self, state: RunState, error: str) -> None:
        """Write the run's end to the ledger and let the target go."""
        record = self._migration.record
        await self.journal.close(state, self._migration.seconds, record.verification.value, error)

    async def _weak_tls(self) -> list[str]:
        """Sides whose connection somebody on the network could read or forge, each with how it is."""
        source, target = source_uri(self._migration.settings), target_uri(self._migration.settings)
        async with self.journal.session() as connection:
            found = [("target", postgres.tls_in_words(connection), postgres.is_local(target))]
        found.insert(0, ("source", await asyncio.to_thread(mongo.tls_in_words, source), mongo.is_local(source)))
        return [f"{side}: {words}" for side, words, local in found if tls.is_weak(words, local=local)]

    def _schemas(self) -> list[str]:
        """Schemas of the tables, as far as they are known before there is a plan."""
        if self._saved is not None:
            return [table.schema_name for table in self._saved.tables]
        settings = self._migration.settings
        return [each.schema for each in named_in(settings)] or [settings.target.schema_name]

    async def _known_names(self) -> KnownNames:
        """What the target says about names of ours."""
        if self._saved is not None:
            return NOTHING_KNOWN
        return await self.journal.known_names(mongo.hosts_of(self._migration.source_uri), self._schemas())

    async def require_same_source(self) -> None:
        """Raise MigrationError when a collection of the plan is not the one that it was made of any more."""
        assert self.plan is not None
        await asyncio.to_thread(
            require_same_collections, self._migration.source_uri, self.journal.app_name, self.plan.tables
        )

    # --- beginning ----------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        migration = self._migration
        settings = migration.settings
        migration.enter(RunState.STARTING, "planning")
        client = await asyncio.to_thread(mongo.connect, migration.source_uri, app_name=self.journal.app_name)
        try:
            known = await insist(migration, self._known_names)
            selection = await insist(migration, lambda: asyncio.to_thread(select, client, settings, self._saved, known))
            choices = selection.choices
            counted = await count_for_run(migration, client, choices) if settings.run.census == "full" else {}
            plan, ranges = await insist(migration, lambda: self._planned(client, choices, counted))
        finally:
            client.close()
        leases = [self.leases.new(task_id, span.lower, span.upper) for task_id, span in ranges]
        at = self.consistency.at
        self.plan = await insist(migration, lambda: self.journal.begin(plan, settings.run.mode, settings, leases, at))
        self.set_tasks()
        self.consistency.announce()
        self._announce()
        for message in selection.warnings:
            migration.emit(ProblemReported(code="selection", message=message))
        for choice in choices:
            if choice.warning:
                migration.emit(ProblemReported(code="table_name", message=choice.warning, namespace=choice.namespace))
        for table in self.plan.tables:
            if doubts := table_doubts(table):
                migration.emit(ProblemReported(code="table_bounds", message=doubts, namespace=table.namespace))
            if doubts := key_doubts(table.mapping, settings.run.mode):
                message = f"{table.namespace}: {doubts}"
                migration.emit(ProblemReported(code="equal_keys", message=message, namespace=table.namespace))
        names = [TableName(table.schema_name, table.table) for table in self.plan.tables]
        for text in await insist(migration, lambda: self.journal.remarks(names, settings.run.mode)):
            migration.emit(ProblemReported(code="rules", message=text))
        self.extents.spread(leases, self._expected)
        self.leases.add(leases)

    async def _planned(
        self, client: mongo.Client, choices: Sequence[Choice], counted: dict[int, Census]
    ) -> tuple[Plan, list[tuple[int, Range]]]:
        """The plan of what is to be copied, and its ranges, each with its task."""
        settings = self._migration.settings
        names = [(choice.database, choice.collection) for choice in choices]
        at = await asyncio.to_thread(self.consistency.take, client, names)
        ends = await asyncio.to_thread(find_ends, client, settings, choices, at)
        workers = self._migration.record.knobs["cluster_size"]
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
        found = await self.journal.existing(names)
        return {task_id: found[name] for task_id, name in enumerate(names, FIRST_TASK_ID) if name in found}

    async def _resume(self, run: str) -> bool:
        """Take up a run of the ledger; False when there is none of this plan and a new one is to begin."""
        migration = self._migration
        known = await insist(migration, self._known_names)
        request = await asyncio.to_thread(self._request, known)
        found = await insist(migration, lambda: self.journal.find_run(run, request, fingerprint(request)))
        if found is None:
            migration.emit(
                ProblemReported(
                    code="nothing_to_resume",
                    message="There is no unfinished run of this plan: a new one begins.",
                )
            )
            return False
        migration.run_id = migration.record.run_id = found.run_id
        if found.is_complete:
            self._say_complete()
            return True
        self.plan = found.plan
        await insist(migration, self.require_same_source)
        taken, positions = await insist(migration, lambda: self.journal.take_up(found))
        if taken.is_complete:
            self.plan = None
            self._say_complete()
            return True
        has_slices = any(position.next_slice_no for position in positions)
        self._announce()
        await insist(migration, lambda: self.consistency.resume(taken.snapshot_time, has_slices=has_slices))
        self.set_tasks()
        await insist(migration, self.tally.recount)
        migration.meter.restart()  # what was there is no throughput of this time
        migration.written_before = migration.record.written
        self.extents.spread([_lease_at(position) for position in positions], self._expected)
        for position in positions:
            self.leases.next_id = max(self.leases.next_id, position.partition.partition_id + 1)
            self.tally.begin_at(position)
            if position.finished:
                self.leases.n_done += 1
            else:
                self.leases.add([_lease_at(position)])
        return True

    def _say_complete(self) -> None:
        message = f"Run {self._migration.run_id} of this plan is complete: nothing to do."
        self._migration.emit(ProblemReported(code="complete", message=message))

    def _request(self, known: KnownNames) -> dict[str, Any]:
        """What this run asks for, to find the one to resume; collections may be "all of the database"."""
        client = mongo.connect(self._migration.source_uri, app_name=self.journal.app_name)
        try:
            settings = self._migration.settings
            return request_of(settings, choose(client, settings, self._saved, known))
        finally:
            client.close()

    def set_tasks(self) -> None:
        """What workers are told of each table."""
        assert self.plan is not None
        for table in self.plan.tables:
            self.tasks[table.task_id] = CopyTask(
                run_id=self.journal.run_id,
                task_id=table.task_id,
                database=table.database,
                collection=table.collection,
                schema=table.schema_name,
                table=self.journal.load(table.task_id).loads_into.table,
                mapping=table.mapping,
                mode=self._migration.settings.run.mode,
                has_range_reads=table.has_range_reads,
                filter=encode_filter(table.filter),
                at=self.consistency.at,
                has_checksum=self._migration.settings.run.checksum,
                held=(table.schema_name, table.table),
            )

    def _announce(self) -> None:
        assert self.plan is not None
        self._migration.emit(
            RunPlanned(
                tables=[
                    PlannedTable(
                        task_id=table.task_id,
                        namespace=table.namespace,
                        table=self.plan.label(table),
                        total=table.documents,
                    )
                    for table in self.plan.tables
                ],
                knobs=dict(self._migration.record.knobs),
                warnings=[
                    f"{table.namespace}: {text}"
                    for table in self.plan.tables
                    for text in table.warnings
                    if text not in table.left_indexes  # those become problems when the indexes are built
                ],
            )
        )

    async def check_free_connections(self, workers: int) -> None:
        """Refuse a cluster larger than the target has connections for."""
        alive = len(self._migration.supervisor.workers) if self._migration.supervisor is not None else 0
        free = alive + await self.journal.free_connections()
        if workers > free:
            raise KnobError(
                f"cluster_size must be at most {free} now, not {workers}: the target has no more free connections."
            )

    # --- leases -------------------------------------------------------------------------------------------------------

    def next_lease(self) -> CopyLease | None:
        """The next range to copy; None also while the ledger is asked about a dead worker's, for which somebody stays free."""
        supervisor = self._migration.supervisor
        if self._recoveries and supervisor is not None and supervisor.n_idle <= len(self._recoveries):
            return None
        return self.leases.take()

    @property
    def is_recovering(self) -> bool:
        """The ledger is being asked how far a dead worker came."""
        return bool(self._recoveries)

    def returned(self, message: Returned) -> None:
        """A partition is done, or its rest is given back."""
        lease = message.lease
        assert isinstance(lease, CopyLease)
        if message.finished:
            self.leases.finish(lease.partition_id)
            return
        rest = message.rest
        assert isinstance(rest, CopyLease)
        if self.tail.takes(rest):
            self.leases.hold(rest)
        else:
            self.leases.give_back(rest)

    def lost(self, lease: CopyLease, why: str) -> None:
        """The holder is dead: what it committed stands in the ledger, the rest is given on."""
        self._migration.emit(
            ProblemReported(
                code="worker_lost",
                message=f"A worker {why}; its partition goes to another.",
                namespace=self._namespace(lease),
                retry=True,
            )
        )
        task = asyncio.create_task(self._recover(lease), name=f"recover partition {lease.partition_id}")
        self._recoveries.add(task)
        task.add_done_callback(self._recovered)

    async def as_in_the_ledger(self, lease: CopyLease) -> CopyLease | None:
        """A lease that nobody holds, from where its partition stands; None when that is done."""
        position = await self.tally.catch_up(lease)
        return None if position.finished else _lease_at(position)

    async def _recover(self, lease: CopyLease) -> None:
        position = await self.tally.catch_up(lease)
        if position.finished:
            self.leases.finish(lease.partition_id)
        elif self.leases.count_death(lease.partition_id, position.next_slice_no):
            self._migration.emit(PartitionParked(partition=lease.partition_id, namespace=self._namespace(lease)))
        else:
            self.leases.give_back(_lease_at(position))

    def _recovered(self, task: asyncio.Task[None]) -> None:
        self._recoveries.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("recovering a partition failed", exc_info=error)
            self._migration.fail(
                error if isinstance(error, MigrationError) else MigrationError(str(type(error).__name__))
            )
        self._migration.dispatch()

    def _namespace(self, lease: CopyLease) -> str:
        task = self.tasks[lease.task_id]
        return f"{task.database}.{task.collection}"

    def _expected(self, task_id: int) -> int:
        return self._migration.record.tables[task_id].total

    def range_of(self, lease: CopyLease, uncommitted: int) -> RangeView:
        """How far a partition is, with so many rows of it that are sent and not committed."""
        return self.extents.view(lease, self.tally.n_read(lease.partition_id) + uncommitted)


def _lease_at(position: Position) -> CopyLease:
    whole = position.partition
    return CopyLease(
        task_id=whole.task_id,
        partition_id=whole.partition_id,
        slice_no=position.next_slice_no,
        lower=position.lower,
        lower_inclusive=position.lower_inclusive,
        upper=whole.upper,
    )
