"""Full verification: the cluster reads a run's slices again and compares every document with its row.

::

    1  slices of every partition, as leases      each document equal, different, missing, or kept as a reject
    2  counts of both sides                      as in every run
    3  where a table has other rows, too         all keys of the collection into a table, then one anti-join: extra rows

It works on the slices of the ledger, since each has the checksum of what was read: a difference in a slice whose documents
are still the same is ours, in another one the source changed since.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from engine.cluster.crew import MakeCrew
from engine.cluster.meter import Meter
from engine.cluster.own_cluster import Emit, OwnCluster
from engine.config import Settings
from engine.errors import Cancelled, ConnectError, KnobError, MigrationError, UsageError
from engine.ledger import history, partitions, retried_rejects, runs, spans
from engine.ledger.ledger import Ledger
from engine.ledger.runs import LedgerRun
from engine.mapping.names import TableName
from engine.mongo import catalogue, partition
from engine.mongo import connect as mongo
from engine.mongo.collections import collection_of
from engine.mongo.filters import encode_filter
from engine.mongo.natural import Numbering
from engine.mongo.record_cuts import member_of, record_cuts
from engine.plan import Plan, kept_plan
from engine.plan.order import pinned
from engine.postgres import compare, finish, obstacles, tables
from engine.preflight.connections import require_connections
from engine.protocol import ComparingView, RunVerified, Snapshot, TableCounts, Verification, Verify, VerifyReport
from engine.verify.compared_table import ComparedTable
from engine.verify.counts import blaming, compare_counts, count_source
from engine.verify.extra_rows import find_extra, own_leases
from engine.verify.job import VerifyJob
from engine.work.context import WorkerStart
from engine.work.messages import Compared, VerifyLease, VerifyTask

TICK_S = 0.25
OWN_TABLE = ("create", "replace")
"""Modes whose table holds nothing but the run's rows."""
MAX_DIFFERENCES = 5_000
"""Described differences of all tables together: a reply has to fit into a line of the protocol."""
NO_KEY = "only the counts were compared: the collection has no range of _id to read again, and its table no key"


class FullVerification:
    """One full verification."""

    def __init__(
        self, command: Verify, settings: Settings, knobs: dict[str, int], emit: Emit, make_crew: MakeCrew
    ) -> None:
        """Nothing is read yet.

        Args:
            command: what was asked.
            settings: both sides and the converter.
            knobs: `cluster_size`, `page_size` and `throttle`.
            emit: makes a fact known.
            make_crew: where workers come from.
        """
        self.phase = "connecting"
        self._command = command
        self._settings = settings
        self._knobs = knobs
        self._emit = emit
        self._run_id = command.run
        self._began = time.monotonic()
        self._meter = Meter()
        self._n_bytes = 0
        self._tables: dict[int, ComparedTable] = {}
        """By task."""
        self._ledger = Ledger.for_question(settings, self._lose)
        self._cluster = OwnCluster(make_crew, knobs, emit, self._ledger.end_backend)
        self._job = VerifyJob(self._cluster, self._compared)
        self._cluster.add(self._job)
        self._main: asyncio.Task[VerifyReport] | None = None
        self._is_cancelled = False
        self._next_partition = 0
        """Number of the next range that is no partition of the run."""
        self._has_workers = False
        self._lost: MigrationError | None = None
        """Why the tables are not ours any more."""

    # --- what is asked of it ------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Break it off: nothing has been changed."""
        self._is_cancelled = True
        if self._main is not None:
            self._main.cancel()

    async def check_size(self, workers: int) -> None:
        """Raise KnobError for a cluster larger than the target has connections for."""
        require_connections(workers, await self._ledger.free_connections() + len(self._cluster.views()))

    def turn(self, knob: str) -> None:
        """A knob has another value; a size counts from the time on when there is work."""
        if knob == "cluster_size" and self._has_workers:
            self._cluster.resize(self._knobs[knob])
        elif knob != "cluster_size":
            self._cluster.tune(self._knobs)

    def drawn(self, snapshot: Snapshot) -> Snapshot:
        """A run's snapshot with how far the verification is instead."""
        workers = self._cluster.views()
        return snapshot.model_copy(
            update={
                "phase": self.phase,
                "verification": Verification.RUNNING,
                "comparing": self._view(),
                "workers": workers,
                "hosts": self._cluster.hosts(workers),
                "workers_alive": sum(bool(worker.pid) for worker in workers),
                "converter": self._cluster.converter,
            }
        )

    def _view(self) -> ComparingView:
        """How far it is."""
        checked = sum(table.checked for table in self._tables.values())
        total = sum(table.documents for table in self._tables.values())
        return ComparingView(
            run_id=self._run_id,
            checked=checked,
            total=max(total, checked),
            different=sum(table.different for table in self._tables.values()),
            missing=sum(table.missing for table in self._tables.values()),
            rows_per_s=self._meter.rows.rate(),
            eta_s=self._meter.eta(checked, total),
            tables=[table.view() for table in self._tables.values()],
        )

    async def run(self) -> VerifyReport:
        """Verify.

        Raises:
            UsageError: no such run, one that is not complete, or no connection left for a worker.
            TargetHeld: a run writes to its tables.
            Cancelled: so asked.
            MigrationError: a server failed it.
        """
        self._main = asyncio.create_task(self._run(), name="verify")
        try:
            return await self._main
        except asyncio.CancelledError:
            if self._lost is not None:
                raise self._lost from None
            if self._is_cancelled:
                raise Cancelled("The verification was cancelled.") from None
            raise

    def _lose(self, error: MigrationError) -> None:
        self._lost = error
        if self._main is not None:
            self._main.cancel()

    # --- the steps ----------------------------------------------------------------------------------------------------

    async def _run(self) -> VerifyReport:
        async with self._ledger as ledger:
            record = await history.find_run(ledger, self._command.run)
            if record.is_resumable:
                raise UsageError(
                    f"Run {record.run_id} is {record.state}, not complete: finish it with `mongopg-tui run --resume "
                    f"{record.run_id}`, or verify its counts only.",
                    code="state",
                )
            self._run_id = ledger.run_id = record.run_id
            plan = kept_plan(record.plan, record.run_id)
            await ledger.hold([TableName(table.schema_name, table.table) for table in plan.tables])
            report = await self._verified(record, plan)
            await self._keep(report)
        return report

    async def _verified(self, record: LedgerRun, plan: Plan) -> VerifyReport:
        settings = self._settings
        uri = await self._ledger.uri_for_workers()
        self._cluster.start_with(
            WorkerStart(
                self._run_id, settings.source.connection, uri, settings.run.converter,
                settings.source.uri_from, settings.target.uri_from,
            )
        )  # fmt: skip
        ticking = asyncio.create_task(self._tick(), name="tick")
        try:
            leases = await self._look(record, plan)
            await self._start(len(leases))
            self.phase = "verifying"
            await self._work_through(leases)
            if self._job.lost_numberings:
                await self._work_through(await self._begin_by_id())
            return await self._judge(record, plan)
        finally:
            ticking.cancel()
            with suppress(asyncio.CancelledError):
                await ticking
            await self._cluster.stop()

    async def _work_through(self, leases: Iterable[VerifyLease]) -> None:
        """Have these partitions gone through; raises what made it fail."""
        self._job.add(leases)
        await self._cluster.until(lambda: self._job.is_finished)

    async def _look(self, record: LedgerRun, plan: Plan) -> list[VerifyLease]:
        """What there is to compare, and what keeps a table from being compared."""
        async with self._ledger.session() as connection:
            loads = {load.task_id: load for load in await runs.table_loads(connection, record.run_id)}
            sizes = await spans.counts_by_task(connection, record.run_id)
            written = await partitions.totals(connection, record.run_id)
            for each in plan.tables:
                load = loads[each.task_id]
                name = await finish.current_name(connection, load)
                table = self._tables[each.task_id] = ComparedTable(each, load, name, self._command.samples)
                if not each.has_range_reads or each.mapping.id_column.nullable:
                    table.hindrance = NO_KEY
                    continue
                problems = compare.misfits(each.mapping, await tables.describe_table(connection, name))
                if problems:
                    table.hindrance, table.is_wrong = " ".join(problems), True
                    continue
                table.slices, table.documents = sizes.get(each.task_id, (0, 0))
                if not load.has_own_slices:
                    table.checksum_then = await spans.checksum_of(connection, record.run_id, each.task_id)
                    table.written_then = written[each.task_id].n_written
                self._job.tasks[each.task_id] = VerifyTask(
                    run_id=record.run_id,
                    task_id=each.task_id,
                    database=each.database,
                    collection=each.collection,
                    schema=name.schema,
                    table=name.table,
                    mapping=each.mapping,
                    retries=tuple(await retried_rejects.mappings(connection, record.run_id, each.task_id)),
                    shows_values=not self._command.redact,
                    filter=encode_filter(each.filter),
                )
            wholes = [position.partition for position in await partitions.positions(connection, record.run_id)]
        own = {task_id: self._tables[task_id] for task_id in self._job.tasks if not loads[task_id].has_own_slices}
        await asyncio.to_thread(self._cut, list(own.values()))
        for task_id, table in own.items():
            self._set_numbering(task_id, table.numbering)
        self._next_partition = 1 + max((whole.partition_id for whole in wholes), default=0)
        return [
            VerifyLease(whole.task_id, whole.partition_id, 0, whole.upper)
            for whole in wholes
            if whole.task_id in self._job.tasks and whole.task_id not in own
        ] + self._own_leases(own)

    def _own_leases(self, tables: Mapping[int, ComparedTable]) -> list[VerifyLease]:
        leases = own_leases(tables, self._next_partition)
        self._next_partition += len(leases)
        return leases

    def _set_numbering(self, task_id: int, numbering: Numbering | None) -> None:
        task = self._job.tasks[task_id]
        assert isinstance(task, VerifyTask)
        self._job.tasks[task_id] = replace(task, numbering=numbering)

    async def _begin_by_id(self) -> list[VerifyLease]:
        """Of tables whose collection could not be read in natural order to its end, everything by `_id`."""
        again = {task_id: self._tables[task_id].begun_again() for task_id in self._job.lost_numberings}
        self._job.lost_numberings.clear()
        self._tables |= again
        await asyncio.to_thread(self._cut_by_id, list(again.values()))
        for task_id in again:
            self._set_numbering(task_id, None)
        self._cluster.forget_tasks()
        return self._own_leases(again)

    def _cut(self, tables: Sequence[ComparedTable]) -> None:
        """Ranges of collections that were read in natural order: they are read so again, if they can be. Blocks."""
        client = mongo.connect(self._settings.source.connection, app_name=self._ledger.app_name)
        try:
            with suppress(ConnectError):  # a member that cannot be asked alone: they are read by `_id`
                self._cut_records(client, tables)
        finally:
            client.close()
        self._cut_by_id([table for table in tables if not table.ranges])

    def _cut_records(self, client: mongo.Client, tables: Sequence[ComparedTable]) -> None:
        """Ranges of records, of the collections whose documents' places the server tells."""
        member = member_of(client)
        if member is None:
            return
        with pinned(client, self._settings, member) as at_member:
            for table in tables:
                plan = table.plan
                facts = catalogue.collection_facts(client, plan.database, plan.collection)
                collection = collection_of(at_member, plan.database, plan.collection)
                if cuts := record_cuts(collection, member, facts, self._knobs["cluster_size"]):
                    table.numbering, table.ranges = cuts.numbering, cuts.open_ranges

    def _cut_by_id(self, tables: Sequence[ComparedTable]) -> None:
        """Ranges of `_id`. Blocks."""
        client = mongo.connect(self._settings.source.connection, app_name=self._ledger.app_name)
        try:
            for table in tables:
                plan = table.plan
                facts = catalogue.collection_facts(client, plan.database, plan.collection)
                collection = collection_of(client, plan.database, plan.collection)
                ranges = partition.partitions(collection, facts, self._knobs["cluster_size"])
                table.numbering, table.ranges = None, tuple(ranges)
        finally:
            client.close()

    async def _start(self, n_leases: int) -> None:
        size = min(self._knobs["cluster_size"], await self._ledger.free_connections(), n_leases)
        if n_leases and size < 1:
            raise KnobError("The target has no free connection for a worker: end other sessions, or raise its limit.")
        self._has_workers = True
        self._cluster.resize(size)

    async def _judge(self, record: LedgerRun, plan: Plan) -> VerifyReport:
        self.phase = "counting"
        uri = self._settings.source.connection
        counting = asyncio.create_task(asyncio.to_thread(count_source, uri, plan.tables))
        _, totals, target = await self._ledger.counts()
        source = await counting
        for table in self._tables.values():
            table.judge_ranges()
        # Whatever else is in a table that should hold the run's rows alone.
        crowded = {
            task_id: table
            for task_id, table in self._tables.items()
            if record.mode in OWN_TABLE and task_id in self._job.tasks and target[task_id] != table.found
        }
        if crowded:
            self.phase = "looking for extra rows"
            # The index of `_id` has the keys alone, whatever the order of the documents.
            await asyncio.to_thread(self._cut_by_id, [table for table in crowded.values() if table.numbering])
            await find_extra(
                self._ledger,
                self._job,
                self._work_through,
                crowded,
                self._settings.run.converter,
                self._command.samples,
            )
        counted = []
        async with self._ledger.session() as connection:
            for task_id, table in self._tables.items():
                counts = table.over(
                    compare_counts(
                        record.mode, table.plan, table.load, totals[task_id], source[task_id], target[task_id]
                    )
                )
                if not counts.ok:
                    counts = blaming(counts, await obstacles.triggers_of(connection, table.name, record.mode))
                counted.append(counts)
        return VerifyReport(
            run_id=record.run_id,
            level="full",
            verification_level=_level(counted),
            result=Verification.VERIFIED if all(table.ok for table in counted) else Verification.MISMATCH,
            tables=counted,
            differences=[
                sample for table in self._tables.values() for kind in table.samples.values() for sample in kind
            ][:MAX_DIFFERENCES],
            less_strict=[each for table in self._tables.values() for each in table.less_strictly()],
            redacted=self._command.redact,
            seconds=round(time.monotonic() - self._began, 3),
            unix=round(time.time(), 3),
            replaced_since=await history.replaced_since(self._ledger, record.run_id),
        )

    async def _keep(self, report: VerifyReport) -> None:
        """The outcome, for history."""
        event = RunVerified(
            run_id=report.run_id,
            level=report.level,
            verification_level=report.verification_level,
            unix=report.unix,
            result=report.result,
            tables=report.tables,
            less_strict=report.less_strict,
            redacted=report.redacted,
            seconds=report.seconds,
        )
        async with self._ledger.session() as connection:
            await runs.set_verification(connection, report.run_id, report.result.value)
            await runs.append_afterwards(connection, report.run_id, event)

    def _compared(self, message: Compared) -> None:
        self._n_bytes += message.n_bytes
        table = self._tables.get(message.task_id)
        if table is not None:  # else only keys were written
            table.add(message)

    async def _tick(self) -> None:
        while True:
            checked = sum(table.checked for table in self._tables.values())
            self._meter.tick(time.monotonic() - self._began, checked, self._n_bytes, moving=True)
            await asyncio.sleep(TICK_S)


def _level(tables: Sequence[TableCounts]) -> str:
    """Of the whole: that of its weakest table."""
    return "full" if all(table.level == "full" for table in tables) else "counts"
