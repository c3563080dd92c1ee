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
import logging
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from engine.config import Settings, redact
from engine.control.journal import Journal
from engine.control.meter import Meter
from engine.control.protocol import (
    ComparingView,
    DifferenceView,
    TableCounts,
    Verification,
    Verify,
    VerifyReport,
    WorkerView,
)
from engine.control.supervisor import Supervisor
from engine.control.tally import Emit
from engine.control.verification import compare_counts, count_source
from engine.errors import Cancelled, KnobError, MigrationError, UsageError
from engine.plan import Plan, TablePlan
from engine.source.filters import encode_filter
from engine.target import compare, finish, keys, ledger, partitions, retries, spans, tables
from engine.target.ddl import TableName
from engine.target.ledger import RunRecord, TableLoad
from engine.work.messages import (
    Committed,
    Compared,
    Difference,
    Failed,
    KeysTask,
    Lease,
    Problem,
    Returned,
    Task,
    VerifyLease,
    VerifyTask,
)
from engine.work.verify import keys_only
from engine.work.worker import WorkerStart

TICK_S = 0.25
HEARTBEATS_EVERY_S = 1.0
MAX_DEATHS = 3
"""A partition that kills as many workers ends the verification."""
OWN_TABLE = ("create", "replace")
"""Modes whose table holds nothing but the run's rows."""
NO_KEY = "only the counts were compared: the collection has no range of _id to read again, and its table no key"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Table:
    """One table of the run, and what is known of it so far."""

    plan: TablePlan
    load: TableLoad
    name: TableName
    documents: int = 0
    slices: int = 0
    """As the ledger has them."""
    hindrance: str = ""
    """Why its rows cannot be compared."""
    is_wrong: bool = False
    """That is a mismatch of its own."""
    equal: int = 0
    different: int = 0
    missing: int = 0
    kept: int = 0
    extra: int = 0
    changed: int = 0
    """Of the differences, those in slices of other documents than were read."""
    slices_changed: int = 0
    vanished: int = 0
    """Rows that changed slices have written and no document has now: so many extra rows are of the source's doing."""
    samples: dict[str, list[DifferenceView]] = field(
        default_factory=lambda: {"missing": [], "different": [], "extra": []}
    )

    @property
    def checked(self) -> int:
        return self.equal + self.different + self.missing + self.kept


class FullVerification:
    """One full verification; it directs a cluster of its own."""

    def __init__(self, command: Verify, settings: Settings, knobs: dict[str, int], emit: Emit) -> None:
        """Nothing is read yet.

        Args:
            command: what was asked.
            settings: both sides and the converter.
            knobs: `cluster_size`, `page_size` and `throttle`.
            emit: makes a fact known.
        """
        self.phase = "connecting"
        self.supervisor: Supervisor | None = None
        self._command = command
        self._settings = settings
        self._knobs = knobs
        self._emit = emit
        self._run_id = command.run
        self._meter = Meter()
        self._began = time.monotonic()
        self._tables: dict[int, _Table] = {}
        self._tasks: dict[int, Task] = {}
        self._waiting: deque[VerifyLease] = deque()
        self._out: dict[int, VerifyLease] = {}
        """By partition."""
        self._next_slice: dict[int, int] = {}
        """Partition -> the first slice that is not reported yet."""
        self._deaths: Counter[int] = Counter()
        self._n_bytes = 0
        self._changed = asyncio.Event()
        self._failure: MigrationError | None = None

    # --- what is asked of it ------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Break it off: nothing has been changed."""
        self._fail(Cancelled("The verification was cancelled."))

    def turn(self, knob: str) -> None:
        """A knob has another value."""
        if self.supervisor is None:
            return
        if knob == "cluster_size":
            self.supervisor.resize(self._knobs["cluster_size"])
        self.supervisor.tune(self._knobs["page_size"], self._knobs["throttle"])

    def view(self) -> ComparingView:
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
        )

    def worker_views(self) -> list[WorkerView]:
        """What the workers do."""
        if self.supervisor is None:
            return []
        return self.supervisor.views(self._collection_of, is_paused=False)

    async def run(self) -> VerifyReport:
        """Verify.

        Raises:
            UsageError: no such run, one that is not complete, or no connection left for a worker.
            TargetHeld: somebody writes to its tables.
            Cancelled: so asked.
            MigrationError: a server failed it.
        """
        async with Journal.opened(self._settings) as journal:
            record = await journal.record(self._command.run)
            if record.is_resumable:
                raise UsageError(
                    f"Run {record.run_id} is {record.state}, not complete: finish it with `mongopg-tui run --resume "
                    f"{record.run_id}`, or verify its counts only.",
                    code="state",
                )
            self._run_id = journal.run_id = record.run_id
            plan = Plan.model_validate_json(record.plan)
            await journal.hold([TableName(table.schema_name, table.table) for table in plan.tables])
            await self._look(journal, record, plan)
            ticking = asyncio.create_task(self._tick(), name="tick")
            try:
                await self._start(journal)
                self.phase = "verifying"
                await self._worked_through()
                report = await self._judge(journal, record, plan)
            finally:
                ticking.cancel()
                if self.supervisor is not None:
                    await self.supervisor.stop(0.5)
            await self._keep(journal, report)
        return report

    # --- the steps ----------------------------------------------------------------------------------------------------

    async def _look(self, journal: Journal, record: RunRecord, plan: Plan) -> None:
        """What there is to compare, and what keeps a table from being compared."""
        async with journal.session() as connection:
            loads = {load.task_id: load for load in await ledger.table_loads(connection, record.run_id)}
            sizes = await spans.counts_by_task(connection, record.run_id)
            for each in plan.tables:
                load = loads[each.task_id]
                table = _Table(each, load, await finish.current_name(connection, load))
                self._tables[each.task_id] = table
                if not each.has_range_reads or each.mapping.id_column.nullable:
                    table.hindrance = NO_KEY
                    continue
                problems = compare.misfits(each.mapping, await tables.describe_table(connection, table.name))
                if problems:
                    table.hindrance, table.is_wrong = " ".join(problems), True
                    continue
                table.slices, table.documents = sizes.get(each.task_id, (0, 0))
                self._tasks[each.task_id] = VerifyTask(
                    run_id=record.run_id,
                    task_id=each.task_id,
                    database=each.database,
                    collection=each.collection,
                    schema=table.name.schema,
                    table=table.name.table,
                    mapping=each.mapping,
                    retries=tuple(await retries.mappings(connection, record.run_id, each.task_id)),
                    shows_values=not self._command.redact,
                    filter=encode_filter(each.filter),
                )
            for position in await partitions.positions(connection, record.run_id):
                whole = position.partition
                if whole.task_id in self._tasks:
                    self._waiting.append(VerifyLease(whole.task_id, whole.partition_id, 0, whole.upper))

    async def _start(self, journal: Journal) -> None:
        size = min(self._knobs["cluster_size"], await journal.free_connections(), max(1, len(self._waiting)))
        if size < 1:
            raise KnobError("The target has no free connection for a worker: end other sessions, or raise its limit.")
        self.supervisor = Supervisor(
            WorkerStart(
                self._run_id,
                self._settings.source.connection,
                self._settings.target.connection,
                self._settings.run.converter,
            ),
            self,
            page_size=self._knobs["page_size"],
            throttle=self._knobs["throttle"],
        )
        self.supervisor.resize(size)

    async def _worked_through(self) -> None:
        """Wait until every lease is done."""
        assert self.supervisor is not None
        self.supervisor.dispatch()
        while self._failure is None and (self._waiting or self._out):
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            self.supervisor.abort()
            raise self._failure

    async def _judge(self, journal: Journal, record: RunRecord, plan: Plan) -> VerifyReport:
        self.phase = "counting"
        uri = self._settings.source.connection
        counting = asyncio.create_task(asyncio.to_thread(count_source, uri, plan.tables))
        _, totals, target = await journal.counts()
        source = await counting
        await self._find_extra(journal, record, target)
        counted = []
        for task_id, table in self._tables.items():
            counts = compare_counts(
                record.mode, table.plan, table.load, totals[task_id], source[task_id], target[task_id]
            )
            counted.append(_with_differences(counts, table))
        is_same = all(table.ok for table in counted)
        return VerifyReport(
            run_id=record.run_id,
            level="full",
            result=Verification.VERIFIED if is_same else Verification.MISMATCH,
            tables=counted,
            differences=[
                sample for table in self._tables.values() for kind in table.samples.values() for sample in kind
            ],
            redacted=self._command.redact,
            seconds=round(time.monotonic() - self._began, 3),
        )

    async def _find_extra(self, journal: Journal, record: RunRecord, target: dict[int, int]) -> None:
        """In tables that are the run's alone and do not have exactly the rows that were found: rows without a document."""
        todo = {
            task_id: table
            for task_id, table in self._tables.items()
            if record.mode in OWN_TABLE and task_id in self._tasks and target[task_id] != table.equal + table.different
        }
        if not todo:
            return
        self.phase = "looking for extra rows"
        names = {task_id: keys.keys_table(record.run_id, task_id) for task_id in todo}
        try:
            await self._write_keys(journal, record, names)
            for task_id, table in todo.items():
                async with journal.own_session() as connection:
                    found = await keys.find_extra(
                        connection, table.name, names[task_id], table.plan.mapping, self._command.samples
                    )
                self._count_extra(table, found)
        finally:
            async with journal.session() as connection:
                for name in names.values():
                    await keys.drop(connection, name)

    async def _write_keys(self, journal: Journal, record: RunRecord, names: dict[int, str]) -> None:
        first = max(self._tasks) + 1
        keys_tasks: dict[int, int] = {}
        async with journal.session() as connection:
            for number, (task_id, name) in enumerate(names.items(), first):
                plan = self._tables[task_id].plan
                await keys.create(connection, name, self._tables[task_id].name, plan.mapping)
                keys_tasks[task_id] = number
                self._tasks[number] = KeysTask(
                    run_id=record.run_id,
                    task_id=number,
                    database=plan.database,
                    collection=plan.collection,
                    mapping=keys_only(plan.mapping),
                    keys_table=name,
                    filter=encode_filter(plan.filter),
                )
            self._next_slice.clear()
            for position in await partitions.positions(connection, record.run_id):
                whole = position.partition
                if whole.task_id in keys_tasks:
                    self._waiting.append(VerifyLease(keys_tasks[whole.task_id], whole.partition_id, 0, whole.upper))
        await self._worked_through()

    def _count_extra(self, table: _Table, found: keys.ExtraRows) -> None:
        table.extra = found.count
        table.changed += min(found.count, table.vanished)
        table.samples["extra"] = [
            DifferenceView(
                namespace=table.plan.namespace,
                table=str(table.load.target),
                kind="extra",
                id=key,
                # Which slice wrote it cannot be told from a row alone: only when the source explains all of them.
                source_changed=found.count <= table.vanished,
            )
            for key in found.keys
        ]

    async def _keep(self, journal: Journal, report: VerifyReport) -> None:
        """The outcome, for history."""
        facts = report.model_dump(mode="json", exclude={"differences"})
        async with journal.session() as connection:
            await ledger.set_verification(connection, report.run_id, report.result.value)
            await ledger.append_afterwards(connection, report.run_id, "verified", facts)

    async def _tick(self) -> None:
        looked = time.monotonic()
        while True:
            checked = sum(table.checked for table in self._tables.values())
            self._meter.tick(time.monotonic() - self._began, checked, self._n_bytes, moving=True)
            if self.supervisor is not None and time.monotonic() - looked >= HEARTBEATS_EVERY_S:
                looked = time.monotonic()
                await self.supervisor.check_heartbeats()
            await asyncio.sleep(TICK_S)

    def _fail(self, error: MigrationError) -> None:
        if self._failure is None:
            self._failure = error
            self._changed.set()

    def _collection_of(self, lease: Lease | None) -> str:
        task = self._tasks.get(lease.task_id) if lease is not None else None
        return f"{task.database}.{task.collection}" if task is not None else ""

    # --- the supervisor's director ------------------------------------------------------------------------------------

    def next_lease(self) -> Lease | None:
        """The next partition."""
        if not self._waiting or self._failure is not None:
            return None
        lease = self._waiting.popleft()
        self._out[lease.partition_id] = lease
        return lease

    def task(self, task_id: int) -> Task:
        """The task that a lease belongs to."""
        return self._tasks[task_id]

    def compared(self, message: Compared) -> None:
        """A slice is compared; one that was compared before by a worker who died meanwhile counts once."""
        if message.slice_no < self._next_slice.get(message.partition_id, 0):
            return
        self._next_slice[message.partition_id] = message.slice_no + 1
        self._n_bytes += message.n_bytes
        task = self._tasks[message.task_id]
        if isinstance(task, VerifyTask):
            self._count(self._tables[message.task_id], message)

    def _count(self, table: _Table, message: Compared) -> None:
        table.equal += message.n_equal
        table.different += message.n_different
        table.missing += message.n_missing
        table.kept += message.n_rejected
        if message.is_changed:
            table.slices_changed += 1
            table.changed += message.n_different + message.n_missing
            table.vanished += max(0, message.n_written_then - message.n_equal - message.n_different)
        for difference in message.differences:
            samples = table.samples[difference.kind]
            if len(samples) < self._command.samples:
                samples.append(_view(table, difference, source_changed=message.is_changed))

    def returned(self, message: Returned) -> None:
        """A partition is done, or its rest is given back."""
        lease = message.lease
        assert isinstance(lease, VerifyLease)
        self._out.pop(lease.partition_id, None)
        if not message.finished and isinstance(message.rest, VerifyLease):
            self._waiting.appendleft(message.rest)
        self._changed.set()

    def lost(self, lease: Lease, why: str) -> None:
        """The holder is dead: the rest is given on."""
        assert isinstance(lease, VerifyLease)
        self._out.pop(lease.partition_id, None)
        self._deaths[lease.partition_id] += 1
        if self._deaths[lease.partition_id] >= MAX_DEATHS:
            self._fail(
                MigrationError(
                    f"Partition {lease.partition_id} of {self._collection_of(lease)} ended {MAX_DEATHS} workers: the "
                    "verification was broken off; the engine's log says more.",
                    code="parked",
                )
            )
            return
        first = self._next_slice.get(lease.partition_id, lease.slice_no)
        self._waiting.appendleft(VerifyLease(lease.task_id, lease.partition_id, first, lease.upper))
        message = f"A worker {why}; its partition goes to another."
        self._emit("problem", code="worker_lost", message=message, namespace=self._collection_of(lease), retry=True)
        if self.supervisor is not None:
            self.supervisor.dispatch()

    def failed(self, message: Failed) -> None:
        """A lease could not be worked on."""
        lease = message.lease
        assert isinstance(lease, VerifyLease)
        self._out.pop(lease.partition_id, None)
        self._fail(MigrationError(message.message, code=message.code))

    def noticed(self, problem: Problem) -> None:
        """A worker dealt with a problem by itself."""
        self._emit("problem", code=problem.code, message=redact(problem.message), retry=True)

    def worker_changed(self, worker_id: int, pid: int, what: str, exit_code: int | None) -> None:
        """A worker started, retired or died."""
        self._emit("worker", id=worker_id, pid=pid, what=what, exit=exit_code)
        if self.supervisor is not None and self.supervisor.early_deaths >= MAX_DEATHS:
            self._fail(
                MigrationError("Worker processes end before they are ready; the engine's log says why.", code="workers")
            )

    def cannot_start(self, error: Exception) -> None:
        """The system gives us no more processes."""
        if self.supervisor is None or not self.supervisor.workers:
            self._fail(
                MigrationError(
                    f"No worker process can be started ({type(error).__name__}); the engine's log says more.",
                    code="workers",
                )
            )

    def settled(self) -> None:
        """Somebody became idle."""
        self._changed.set()

    def committed(self, message: Committed) -> None:
        """Nothing is committed here."""
        raise AssertionError(message)

    async def end_backend(self, backend_pid: int) -> None:
        """End a hanging worker's PostgreSQL session."""
        async with Journal.opened(self._settings) as journal:
            await journal.end_backend(backend_pid)


def _view(table: _Table, difference: Difference, *, source_changed: bool) -> DifferenceView:
    return DifferenceView(
        namespace=table.plan.namespace,
        table=str(table.load.target),
        kind=difference.kind,
        id=difference.id,
        field=difference.field,
        column=difference.column,
        source=difference.expected,
        target=difference.found,
        reason=difference.reason,
        source_changed=source_changed,
    )


def _with_differences(counts: TableCounts, table: _Table) -> TableCounts:
    """The counts of a table with what the comparison of its rows has found."""
    found = {"different": table.different, "missing": table.missing, "extra": table.extra}
    words = [f"{count:,} {what}" for what, count in found.items() if count]
    if table.changed:
        words.append(f"{table.changed:,} of them where the source changed since")
    problems = [word for word in (counts.message, table.hindrance, ", ".join(words)) if word]
    return counts.model_copy(
        update={
            "ok": counts.ok and not any(found.values()) and not table.is_wrong,
            "message": "; ".join(problems),
            "equal": table.equal,
            **found,
            "kept": table.kept,
            "source_changed": table.changed,
            "slices": table.slices,
            "slices_changed": table.slices_changed,
        }
    )
