"""The engine's own sessions with the target: a run in the ledger, its events, and the hold on its tables."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import asyncpg

from engine.config import Settings, redact
from engine.errors import ConnectError, MigrationError, PlanChanged, TargetHeld, UsageError
from engine.ledger import partitions, runs, schema, slices
from engine.ledger.earlier_runs import known_names, mappings_of
from engine.ledger.event_writer import EventWriter
from engine.ledger.partitions import Gap, Partition, Position, TableTotals
from engine.ledger.runs import NewRun
from engine.ledger.slices import Claim
from engine.ledger.table_lock import TableLock
from engine.mapping.model import Mapping
from engine.mapping.names import TableName
from engine.mongo import connect as mongo
from engine.plan import Plan, differences, kept_plan
from engine.plan.naming import own_names, with_own_names
from engine.postgres import connect as postgres
from engine.postgres import finish, obstacles, preflight, sessions, sqlstates
from engine.postgres.existing import ADDING, ExistingTable, look
from engine.postgres.indexes import signature
from engine.postgres.lock_room import lock_table
from engine.postgres.names import KnownNames, taken_relations
from engine.postgres.prepare import prepare
from engine.postgres.sqlstates import UNREACHABLE
from engine.protocol import Event, RecountedTable, RunRecounted, RunState
from engine.retries import Patience
from engine.rows import TableLoad

OTHER_ENGINE_S = 5.0
"""A resume waits so long for the run's last engine to end."""

COMMITTING_S = 2.0
"""How long a run's last count waits for sessions of workers that are gone: one may be committing."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run of the ledger that is to be resumed."""

    run_id: str
    plan: Plan
    is_complete: bool
    snapshot_time: int | None
    """The one time at which it reads, if any."""


class Ledger:
    """Connected while a run is on; every use of the ledger by the engine goes through here."""

    def __init__(self, uri: str, run_id: str, on_lost: Callable[[MigrationError], None] = lambda _: None) -> None:
        """For the target of `uri`.

        Args:
            run_id: of the run; of the engine until the run to resume is found.
            on_lost: called when the server forgot the locks, and another run holds the tables now.
        """
        self.run_id = run_id
        self.app_name = sessions.name_of(run_id)
        self.address = ""
        """Where the target is, as the server says it; what may be shown and kept."""
        self._uri = uri
        self._connection: asyncpg.Connection | None = None
        self._hold = TableLock(uri, on_lost, lambda: self._connection)
        self._turn = asyncio.Lock()
        self._loads: dict[int, TableLoad] = {}
        self._events = EventWriter(self.session)

    @classmethod
    def for_question(cls, settings: Settings, on_lost: Callable[[MigrationError], None] = lambda _: None) -> Ledger:
        """For a question that is no run; connected in an `async with` block, with the ledger's schema there."""
        ledger = cls(settings.target.connection, "", on_lost)
        ledger.app_name = "mongopg-tui"
        return ledger

    async def __aenter__(self) -> Ledger:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._disconnect()

    # --- sessions -----------------------------------------------------------------------------------------------------

    async def connect(self, schemas: Sequence[str] = ()) -> None:
        """Connect and make sure of the ledger.

        Args:
            schemas: a run will make its tables in these: all that it lacks is named in one message.

        Raises:
            ConnectError, UsageError: in one sentence why not.
        """
        async with self.session() as connection:
            if schemas:
                await preflight.require_schemas(connection, schemas)
            await schema.ensure_schema(connection)
            self.address = str(await postgres.whereabouts(connection, self._uri))
            self._uri = self._hold.uri = postgres.pinned_uri(self._uri, connection)

    async def uri_for_workers(self) -> str:
        """The connection string for many more connections like the engine's."""
        async with self.session() as connection:
            return postgres.without_tls_offer(self._uri, connection)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[asyncpg.Connection]:
        """The engine's connection, one user at a time; made again when it broke."""
        async with self._turn:
            if self._connection is None or self._connection.is_closed():
                self._connection = await postgres.connect(self._uri, application_name=self.app_name)
            try:
                yield self._connection
            except asyncpg.InternalClientError:
                self._connection.terminate()  # it does not count as closed, and is of no use any more
                raise

    @asynccontextmanager
    async def own_session(self, *, lock_timeout_s: float = 0) -> AsyncIterator[asyncpg.Connection]:
        """A connection for one long statement, beside the others.

        Args:
            lock_timeout_s: a statement waits so long for a lock that another session holds; 0 waits for ever.
        """
        try:
            connection = await postgres.connect(self._uri, application_name=self.app_name)
        except ConnectError as error:
            if not error.is_final:
                raise
            refusal = error
        else:
            async with self._for_statement(connection, lock_timeout_s):
                yield connection
            return
        # Such as by a password that was changed since: a run that has all its rows does not end for want of a new session.
        async with self._hold.lent() as kept:
            if kept is None:
                raise refusal
            async with self._for_statement(kept, lock_timeout_s, is_kept=True):
                yield kept

    @asynccontextmanager
    async def _for_statement(
        self, connection: asyncpg.Connection, lock_timeout_s: float, *, is_kept: bool = False
    ) -> AsyncIterator[None]:
        """Have the connection wait for locks so long; it is closed behind, unless it is kept for others and whole."""
        try:
            if lock_timeout_s or is_kept:
                await connection.execute(f"SET lock_timeout = {round(lock_timeout_s * 1000)}")
            yield
        except BaseException:
            if not is_kept or connection.is_closed() or connection.is_in_transaction():
                connection.terminate()
            raise
        else:
            if not is_kept:
                await connection.close(timeout=2.0)

    async def free_connections(self) -> int:
        """How many more connections the target has for workers."""
        async with self.session() as connection:
            return (await postgres.inspect(connection)).free_connections

    async def end_backend(self, backend_pid: int) -> None:
        """End a worker's session, unless the number is another session's by now."""
        async with self.session() as connection:
            await sessions.end(connection, backend_pid, postgres.APPLICATION)

    async def known_names(self, source: str, schemas: Sequence[str]) -> KnownNames:
        """What the target says about names that a run may choose, of a source, in some schemas."""
        async with self.session() as connection:
            return await known_names(connection, source, schemas)

    async def existing(self, tables: Iterable[TableName]) -> dict[TableName, ExistingTable]:
        """Those of the tables that are there, with what earlier runs have written into them."""
        async with self.session() as connection:
            found = {table: await look(connection, table, mappings_of) for table in tables}
        return {table: facts for table, facts in found.items() if facts is not None}

    # --- a run's beginning --------------------------------------------------------------------------------------------

    async def begin(
        self, plan: Plan, mode: str, settings: Settings, wholes: Sequence[Partition], at: int | None
    ) -> Plan:
        """Hold the tables, make them, and write the run with its partitions: from here on it can be resumed.

        Returns the plan with the bounds of tables that are there already, and with the names that keys and indexes get.

        Args:
            at: the one time at which documents are read, if any.

        Raises:
            TargetHeld, TargetExists, UsageError: nothing was written.
            MigrationError, asyncpg.PostgresError, OSError: the server or the connection is at fault; beginning again may help.
        """
        await self.hold([TableName(table.schema_name, table.table) for table in plan.tables])
        async with self.session() as connection:
            is_written = await runs.has_run(connection, self.run_id)
            if not is_written or await runs.is_unbegun(
                connection, self.run_id
            ):  # else an earlier try was committed without an answer
                await self._write_run(connection, plan, mode, settings, wholes, at)
            # Read back: the ledger has found out which tables these are.
            self._loads = {load.task_id: load for load in await runs.table_loads(connection, self.run_id)}
            record = await runs.find_run(connection, prefix=self.run_id)
        assert record is not None
        self._events.begin(self.run_id)
        return kept_plan(record.plan, self.run_id)

    async def _write_run(
        self,
        connection: asyncpg.Connection,
        plan: Plan,
        mode: str,
        settings: Settings,
        wholes: Sequence[Partition],
        at: int | None,
    ) -> None:
        targets = [TableName(table.schema_name, table.table) for table in plan.tables]
        await runs.clear_unbegun(connection, self.run_id, targets)
        plan = await _named(connection, plan, mode)
        tables = [
            (table.task_id, table.namespace, TableName(table.schema_name, table.table), table.mapping, table.documents,
             table.has_key)
            for table in plan.tables
        ]  # fmt: skip
        planned = signatures(plan)
        key_names = {table.task_id: table.key for table in plan.tables}
        loads, statements = await prepare(
            connection,
            self.run_id,
            mode,
            tables,
            mappings_of,
            drops=settings.run.drops,
            planned_indexes=planned,
            key_names=key_names,
        )
        run = NewRun(
            run_id=self.run_id,
            fingerprint=plan.fingerprint,
            mode=mode,
            source=mongo.hosts_of(settings.source.uri.get_secret_value()),
            target=self.address,
            plan=plan.with_mappings(_mappings_of(loads)).model_dump_json(),
            snapshot_time=at,
        )
        room = await lock_table(connection)
        try:
            await runs.create_run_and_tables(
                connection, run, loads, statements, tables_at_once=room.tables_at_once(),
                # A run without partitions could not be resumed.
                at_end=lambda: partitions.add_partitions(connection, self.run_id, wholes),
            )  # fmt: skip
        except BaseException:
            with contextlib.suppress(MigrationError, *sqlstates.FAILURES):  # else the next run does it
                await runs.clear_unbegun(connection, self.run_id, targets)
            raise

    async def find_run(self, run: str, request: dict[str, Any], fingerprint: str) -> FoundRun | None:
        """The run to resume: by (a prefix of) its id, or with "" the newest of this request.

        Raises:
            UsageError: no such run, or several. PlanChanged: it was made from another request.
        """
        async with self.session() as connection:
            record = await runs.find_run(connection, prefix=run, fingerprint="" if run else fingerprint)
            is_unbegun = record is not None and await runs.is_unbegun(connection, record.run_id)
        if record is None:
            return None
        if is_unbegun:
            raise UsageError(
                f"Run {record.run_id} ended while its tables were made, before it read anything: there is nothing to resume, "
                "start it anew.",
                code="unbegun",
            )
        plan = kept_plan(record.plan, record.run_id)
        if record.fingerprint != fingerprint:
            changes = "; ".join(differences(plan.request, request)) or "the plan"
            raise PlanChanged(
                f"Run {record.run_id} was made from another plan: {changes}. Start a new run, or use the run's own settings."
            )
        return FoundRun(record.run_id, plan, record.state == runs.COMPLETED, record.snapshot_time)

    async def take_up(self, found: FoundRun) -> tuple[FoundRun, list[Position]]:
        """Drive a run of the ledger from now on.

        Returns the run as it is once its tables are ours, for its last engine may have gone on until then, and where each of
        its partitions stands; none when it is complete by now.

        Raises:
            TargetHeld: its last engine does not end, or another run has a table of it.
            UsageError: the run was discarded meanwhile, or a table cannot be written to any more.
            PlanChanged: a table is not the one that it wrote to.
        """
        self.run_id = found.run_id
        self.app_name = sessions.name_of(self.run_id)
        async with self.session() as connection:
            await sessions.rename(connection, self.run_id)
        deadline = time.monotonic() + OTHER_ENGINE_S
        while True:
            try:
                await self.hold([TableName(table.schema_name, table.table) for table in found.plan.tables])
                break
            except TargetHeld:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)  # its engine may just be ending
        async with self.session() as connection:
            record = await runs.find_run(connection, prefix=self.run_id)
            assert record is not None
            is_complete = record.state == runs.COMPLETED
            found = replace(found, is_complete=is_complete, snapshot_time=record.snapshot_time)
            if is_complete:
                return found, []
            await runs.check_same_tables(connection, self.run_id)
            if record.mode in ADDING:
                for load in await runs.table_loads(connection, self.run_id):
                    mapping = Mapping.model_validate_json(load.mapping)
                    await obstacles.require_writable(connection, load.target, record.mode, mapping)
            await runs.take_over(connection, self.run_id, RunState.RUNNING.value)
            self._loads = {load.task_id: load for load in await runs.table_loads(connection, self.run_id)}
            next_seq = await runs.next_event_seq(connection, self.run_id)
            positions = await partitions.positions(connection, self.run_id)
        self._events.begin(self.run_id, next_seq)
        return found, positions

    async def move_snapshot(self, at: int) -> bool:
        """Let the run read at another time; False when it has committed something at the old one."""
        async with self.session() as connection:
            return await runs.move_snapshot(connection, self.run_id, at)

    async def hold(self, tables: list[TableName]) -> None:
        """Hold the tables of the run, as long as this is connected.

        Raises:
            TargetHeld: another run has one of them; the message says which.
        """
        await self._hold.take(tables, self.app_name, self.run_id)

    def load(self, task_id: int) -> TableLoad:
        """A table of the run, as the ledger keeps it."""
        return self._loads[task_id]

    # --- partitions ---------------------------------------------------------------------------------------------------

    async def replace_partition(self, partition_id: int, pieces: Sequence[Partition]) -> bool:
        """Cut a partition that has no slice yet; False when it was begun meanwhile."""
        async with self.session() as connection:
            return await partitions.replace_partition(connection, self.run_id, partition_id, pieces)

    async def unfinished(self) -> list[Position]:
        """Where the partitions stand whose last slice is not in the ledger."""
        async with self.session() as connection:
            return [each for each in await partitions.positions(connection, self.run_id) if not each.finished]

    async def position(self, partition_id: int, known: int) -> tuple[Position, list[Claim]]:
        """Where one partition stands, with its slices from number `known` on; waits for a server that is restarting."""
        patience = Patience()
        while True:
            try:
                async with self.session() as connection:
                    position = await partitions.position(connection, self.run_id, partition_id)
                    return position, await slices.claims_from(connection, self.run_id, partition_id, known)
            except UNREACHABLE as error:
                is_final = isinstance(error, ConnectError) and error.is_final
                if not patience.is_left or is_final or (isinstance(error, MigrationError) and error.exit_code != 3):
                    raise
                await patience.wait()

    async def last_totals(self) -> RunRecounted | None:
        """`totals` at a run's end; None when it never began, or when the ledger cannot be reached any more."""
        if not self._events.is_begun:
            return None
        try:
            await self._until_none_commits()
            return await self.totals()
        except UNREACHABLE as problem:
            log.warning("the last counts are not from the ledger: %s", sqlstates.describe(problem)[1])
            return None

    async def _until_none_commits(self) -> None:
        """A worker that left in the middle of its COMMIT is gone before the server has done it."""
        deadline = time.monotonic() + COMMITTING_S
        while time.monotonic() < deadline:
            async with self.session() as connection:
                if not await connection.fetchval(
                    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $1 AND state <> 'idle'"
                    " AND datname = current_database() AND pid <> pg_backend_pid())",
                    self.app_name,
                ):
                    return
            await asyncio.sleep(0.02)

    async def totals(self) -> RunRecounted:
        """What is committed of each table, and BSON bytes read, as an event."""
        async with self.session() as connection:
            found = await partitions.totals(connection, self.run_id)
        tables = [
            RecountedTable(
                task_id=each.task_id,
                read=each.n_read,
                written=each.n_written,
                rejected=each.n_rejected,
                altered=each.altered,
            )
            for each in found.values()
        ]
        return RunRecounted(tables=tables, bytes=sum(each.n_bytes for each in found.values()))

    async def counts(self) -> tuple[dict[int, TableLoad], dict[int, TableTotals], dict[int, int]]:
        """What the ledger has of each table, what is committed, and how many rows the tables have now; by task."""
        async with self.session() as connection:
            loads = {load.task_id: load for load in await runs.table_loads(connection, self.run_id)}
            totals = await partitions.totals(connection, self.run_id)
            rows = {task_id: await finish.count_rows(connection, load) for task_id, load in loads.items()}
        return loads, totals, rows

    async def exchanged(self) -> list[TableLoad]:
        """Tables that got new contents in place of their old ones."""
        async with self.session() as connection:
            loads = await runs.table_loads(connection, self.run_id)
        return [load for load in loads if load.staging is not None and not load.made]

    async def count_rows(self, task_id: int) -> int:
        """How many rows a table of the run has now."""
        async with self.session() as connection:
            return await finish.count_rows(connection, self.load(task_id))

    async def count_written(self, task_id: int) -> int | None:
        """How many rows of a table have been written since the run began; None where that cannot be told any more.

        To be asked before the counts are kept, and while nothing else may write to the table.
        """
        load = self.load(task_id)
        if load.target_count is not None:
            return None
        async with self.session() as connection:
            age = await runs.age_of_load(connection, self.run_id, task_id)
            return await finish.rows_since(connection, load, age)

    async def triggers(self, task_id: int, mode: str) -> list[str]:
        """The triggers that may leave rows of a table of the run out or change them, as text."""
        async with self.session() as connection:
            name = await finish.current_name(connection, self.load(task_id))
            return await obstacles.triggers_of(connection, name, mode)

    async def remarks(self, tables: Iterable[TableName], mode: str) -> list[str]:
        """What there is to know of tables that rows are added to, a sentence each."""
        async with self.session() as connection:
            return [text for table in tables for text in await obstacles.remarks(connection, table, mode)]

    async def keep_counts(self, source: dict[int, int], target: dict[int, int]) -> None:
        """Write what was counted on both sides, by task."""
        async with self.session() as connection:
            for task_id in source:
                await runs.set_counts(
                    connection, self.run_id, task_id, source_count=source[task_id], target_count=target[task_id]
                )

    async def gaps(self, plan: Plan) -> list[Gap]:
        """Where committed slices do not join, after a durable commit; empty when everything is there."""
        ends = {table.task_id: table.end for table in plan.tables if table.end is not None}
        async with self.session() as connection:
            await runs.set_state(connection, self.run_id, RunState.FINISHING.value)
            return await partitions.check_complete(connection, self.run_id, ends)

    # --- events and the end -------------------------------------------------------------------------------------------

    def note(self, event: Event) -> None:
        """Keep an event for history and replay."""
        self._events.note(event)

    async def close(self, state: RunState, seconds: float, verification: str, error: str) -> None:
        """Write the run's end, and release the target. What cannot be written any more is logged."""
        self._events.stop()
        try:
            if self._events.is_begun:
                await self._events.flush()
                async with self.session() as connection:
                    await runs.set_state(
                        connection,
                        self.run_id,
                        state.value,
                        ended=True,
                        seconds=seconds,
                        verification=verification,
                        error=redact(error),
                    )
        except UNREACHABLE as problem:
            log.warning("the run's end is not in the ledger: %s", sqlstates.describe(problem)[1])
        finally:
            await self._disconnect()

    async def _disconnect(self) -> None:
        await self._hold.release()
        if self._connection is not None and not self._connection.is_closed():
            with contextlib.suppress(*sqlstates.FAILURES):
                await self._connection.close(timeout=2.0)


def signatures(plan: Plan) -> dict[int, list[str]]:
    """The indexes that the run makes, by task, for the look at tables that it replaces."""
    return {table.task_id: [signature(index) for index in table.indexes] for table in plan.tables}


async def _named(connection: asyncpg.Connection, plan: Plan, mode: str) -> Plan:
    """The plan with names for keys and indexes that nothing in the target has.

    What goes with the tables that mode `replace` replaces does not count: it is gone when the names are taken.
    """
    targets = [TableName(table.schema_name, table.table) for table in plan.tables] if mode == "replace" else []
    leaving = [oid for name in targets if (oid := await connection.fetchval("SELECT to_regclass($1)::oid", name.sql))]
    taken: dict[str, set[str]] = {}
    while True:
        named = plan.model_copy(update={"tables": with_own_names(plan.tables, taken)})
        is_free = True
        for place, names in own_names(named.tables).items():
            found = await taken_relations(connection, place, names, leaving) - taken.setdefault(place, set())
            taken[place] |= found
            is_free = is_free and not found
        if is_free:
            return named


def _mappings_of(loads: Iterable[TableLoad]) -> dict[int, Mapping]:
    """By task."""
    return {load.task_id: Mapping.model_validate_json(load.mapping) for load in loads}
