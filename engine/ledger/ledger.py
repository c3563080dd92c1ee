"""The engine's own sessions with the target: a run in the ledger, its events, and the hold on its tables."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType, TracebackType
from typing import Any

import asyncpg

from engine.config import Settings, redact
from engine.errors import ConnectError, MigrationError, PlanChanged, RunTaken, TargetHeld, UsageError
from engine.ledger import changed, fill_in, follow, partitions, runs, schema, slices, taking
from engine.ledger.earlier_runs import known_names, mappings_of
from engine.ledger.event_writer import EventWriter
from engine.ledger.follow import Blocked, Followed
from engine.ledger.halts import Halt
from engine.ledger.partitions import Gap, Partition, Position, TableTotals
from engine.ledger.runs import NewRun
from engine.ledger.slices import Claim
from engine.ledger.table_lock import TableLock
from engine.mapping.model import Mapping as ColumnMapping
from engine.mapping.names import TableName
from engine.mongo import connect as mongo
from engine.mongo.causal import Beginning
from engine.mongo.natural import Numbering
from engine.plan import Plan, differences, kept_plan
from engine.plan.naming import own_names, with_own_names
from engine.postgres import connect as postgres
from engine.postgres import finish, obstacles, requirements, sessions, sqlstates
from engine.postgres.existing import ADDING, ExistingTable, look
from engine.postgres.indexes import signature
from engine.postgres.lock_room import lock_table
from engine.postgres.names import KnownNames, taken_relations
from engine.postgres.prepare import prepare
from engine.postgres.sqlstates import OF_OTHER_ROWS, UNREACHABLE
from engine.postgres.tables import has_unique
from engine.protocol import Event, FollowedFacts, RecountedTable, RunRecounted, RunState
from engine.retries import Patience
from engine.rows import TableLoad

OTHER_ENGINE_S = 5.0
"""A resume waits so long for the run's last engine to end."""

COMMITTING_S = 2.0
"""How long a run's last count waits for sessions of workers that are gone: one may be committing."""

NO_BEGINNING = Beginning()


@dataclass(frozen=True, slots=True)
class BeginFollowing:
    """What makes a run that is copied one that follows its source."""

    lanes: int
    databases: Sequence[str]
    anew: Beginning | None = None
    """Follow from then on, when everything is compared; None follows from the run's beginning."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run of the ledger that is to be resumed."""

    run_id: str
    plan: Plan
    is_complete: bool
    snapshot_time: int | None
    """The one time at which it reads, if any."""
    started_unix: float = 0.0
    """When it was started first, seconds since 1970."""
    seconds: float = 0.0
    """Of the times that it was driven."""
    copied: int = 0
    """Rows that were written while copying in these times, in `copying_s`."""
    copying_s: float = 0.0
    start_time: int | None = None
    """Before it read anything; None where its source cannot be followed."""
    source_set: str = ""
    """The replica set that it began with, as JSON (`engine.mongo.causal.SourceSet`)."""
    cannot_follow: str = ""


class Ledger:
    """Connected while a run is on; every use of the ledger by the engine goes through here."""

    def __init__(
        self, uri: str, run_id: str, on_lost: Callable[[MigrationError], None] = lambda _: None, host: str = ""
    ) -> None:
        """For the target of `uri`.

        Args:
            run_id: of the run; of the engine until the run to resume is found.
            on_lost: called when the server forgot the locks, and another run holds the tables now; or when another engine has
                taken the run over.
            host: what this host is called in the ledger; empty is its name.
        """
        self.run_id = run_id
        self.generation = 0
        """Of this engine of the run (`engine.ledger.taking`); 0 before it drives one."""
        self.accepted_unix = 0.0
        """When this engine took the run, by its own clock; 0 where that is not known."""
        self._host = host or socket.gethostname()
        self._on_lost = on_lost
        self.app_name = sessions.name_of(run_id)
        self.address = ""
        """Where the target is, as the server says it; what may be shown and kept."""
        self._uri = uri
        self._connection: asyncpg.Connection | None = None
        self._spares: list[asyncpg.Connection] = []
        """Connections of `own_session` that wait for the next statement."""
        self._hold = TableLock(uri, on_lost, lambda: self._connection, self._admit)
        self._turn = asyncio.Lock()
        self._loads: dict[int, TableLoad] = {}
        self._events = EventWriter(self.session, on_lost)

    @classmethod
    def for_question(cls, settings: Settings, on_lost: Callable[[MigrationError], None] = lambda _: None) -> Ledger:
        """For a question that is no run; connected in an `async with` block, with the ledger's schema there."""
        ledger = cls(settings.target.connection, "", on_lost)
        ledger.app_name = "mongopg-tui"
        return ledger

    async def is_there(self) -> bool:
        """The target has a ledger: to be asked before an `async with` block, which would make one."""
        try:
            async with self.session() as connection:
                return await schema.ledger_exists(connection)
        finally:
            await self._disconnect()

    async def __aenter__(self) -> Ledger:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._disconnect()

    # --- sessions -----------------------------------------------------------------------------------------------------

    async def connect(self, schemas: Sequence[str] = (), mode: str = "create") -> None:
        """Connect and make sure of the ledger.

        Args:
            schemas: a run will write to tables in these: all that it lacks is named in one message.
            mode: of the run.

        Raises:
            ConnectError, UsageError: in one sentence why not.
        """
        async with self.session() as connection:
            if schemas:
                await requirements.require_schemas(connection, schemas, mode)
            await schema.ensure_schema(connection)
            self.address = str(await postgres.whereabouts(connection, self._uri))
            self._uri = self._hold.uri = postgres.pinned_uri(self._uri, connection)

    async def _connect(self) -> asyncpg.Connection:
        """A new session, which may write.

        Raises:
            RunTaken: another engine has taken the run over.
        """
        connection = await postgres.connect(self._uri, application_name=self.app_name)
        try:
            await self._admit(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _admit(self, connection: asyncpg.Connection) -> None:
        """Make sure that the run is still this engine's; raises RunTaken otherwise, and has the run end."""
        if not self.generation:
            return
        try:
            await taking.require_generation(connection, self.run_id, self.generation)
        except RunTaken as error:
            self._on_lost(error)
            raise

    async def uri_for_workers(self) -> str:
        """The connection string for many more connections like the engine's."""
        async with self.session() as connection:
            return postgres.without_tls_offer(self._uri, connection)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[asyncpg.Connection]:
        """The engine's connection, one user at a time; made again when it broke."""
        async with self._turn:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
            try:
                yield self._connection
            except asyncpg.InternalClientError:
                self._connection.terminate()  # it does not count as closed, and is of no use any more
                raise

    @asynccontextmanager
    async def own_session(
        self, *, lock_timeout_s: float = 0, is_shared: bool = False
    ) -> AsyncIterator[asyncpg.Connection]:
        """A connection for one long statement, beside the others.

        Args:
            lock_timeout_s: a statement waits so long for a lock that another session holds; 0 waits for ever.
            is_shared: use one of an earlier statement, and leave it for the next one, until `close_spares`: to connect takes
                longer than to finish a small table. Nothing of the session but `lock_timeout` may be set.
        """
        while is_shared and self._spares:
            spare = self._spares.pop()
            if not spare.is_closed():
                async with self._for_statement(spare, lock_timeout_s, is_shared=True):
                    yield spare
                return
        try:
            connection = await self._connect()
        except ConnectError as error:
            if not error.is_final:
                raise
            refusal = error
        else:
            async with self._for_statement(connection, lock_timeout_s, is_shared=is_shared):
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
        self,
        connection: asyncpg.Connection,
        lock_timeout_s: float,
        *,
        is_kept: bool = False,
        is_shared: bool = False,
    ) -> AsyncIterator[None]:
        """Have the connection wait for locks so long; it is closed behind, unless it is kept for others and whole."""
        try:
            if lock_timeout_s or is_kept or is_shared:
                await connection.execute(f"SET lock_timeout = {round(lock_timeout_s * 1000)}")
            yield
        except BaseException:
            if not is_kept or connection.is_closed() or connection.is_in_transaction():
                connection.terminate()
            raise
        else:
            if is_shared and not connection.is_closed():
                self._spares.append(connection)
            elif not is_kept:
                await connection.close(timeout=2.0)

    async def close_spares(self) -> None:
        """Close the connections that no statement needs."""
        while self._spares:
            with contextlib.suppress(*sqlstates.FAILURES):
                await self._spares.pop().close(timeout=2.0)

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
        self,
        plan: Plan,
        mode: str,
        settings: Settings,
        wholes: Sequence[Partition],
        at: int | None,
        numberings: Mapping[int, Numbering] = MappingProxyType({}),
        beginning: Beginning = NO_BEGINNING,
        follows: Sequence[str] = (),
        lanes: int = 0,
    ) -> Plan:
        """Hold the tables, make them, and write the run with its partitions: from here on it can be resumed.

        Returns the plan with the bounds of tables that are there already, and with the names that keys and indexes get.

        Args:
            at: the one time at which documents are read, if any.
            numberings: of tables that are read in natural order, by task.
            beginning: from when on its source can be followed.
            follows: databases whose changes it follows, in so many lanes for each table.

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
                await self._write_run(
                    connection, plan, mode, settings, wholes, at, numberings, beginning, follows, lanes
                )
            # Read back: the ledger has found out which tables these are.
            self._loads = {load.task_id: load for load in await runs.table_loads(connection, self.run_id)}
            record = await runs.find_run(connection, prefix=self.run_id)
        assert record is not None
        self.generation = taking.FIRST
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
        numberings: Mapping[int, Numbering],
        beginning: Beginning,
        follows: Sequence[str],
        lanes: int,
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
            host=self._host,
            snapshot_time=at,
            start_time=beginning.after.at if beginning.after is not None else None,
            oplog_from=beginning.oplog_from,
            source_set=json.dumps(asdict(beginning.source_set)),
            cannot_follow=beginning.cannot_follow,
            age_s=max(0.0, time.time() - self.accepted_unix) if self.accepted_unix else 0.0,
        )

        async def write_partitions() -> None:
            await fill_in.set_numberings(connection, self.run_id, numberings)
            await partitions.add_partitions(connection, self.run_id, wholes)
            if follows:
                await follow.begin(connection, self.run_id, lanes, follows, follow.COPYING)

        room = await lock_table(connection)
        try:
            await runs.create_run_and_tables(
                connection, run, loads, statements, tables_at_once=room.tables_at_once(),
                # A run without partitions could not be resumed.
                at_end=write_partitions,
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
        return FoundRun(
            record.run_id,
            plan,
            record.state == runs.COMPLETED,
            record.snapshot_time,
            start_time=record.start_time,
            source_set=record.source_set,
            cannot_follow=record.cannot_follow,
        )

    async def take_up(
        self,
        found: FoundRun,
        *,
        is_over: bool = False,
        takes_over: bool = False,
        follows: BeginFollowing | None = None,
    ) -> tuple[FoundRun, list[Position]]:
        """Drive a run of the ledger from now on.

        Args:
            is_over: it is complete, and goes on all the same.
            takes_over: an engine that has been silent for long is gone: its sessions are ended first.
            follows: what it becomes in the transaction that takes it up, so that an engine that dies behind that leaves a run
                whose resume does what was asked for.

        Returns the run as it is once its tables are ours, for its last engine may have gone on until then, and where each of
        its partitions stands; none when it is complete by now.

        Raises:
            TargetHeld: its last engine does not end, or may be alive on another host; or another run has a table of it.
            UsageError: the run was discarded meanwhile, or a table cannot be written to any more.
            PlanChanged: a table is not the one that it wrote to.
        """
        self.run_id = found.run_id
        self.app_name = sessions.name_of(self.run_id)
        async with self.session() as connection:
            await sessions.rename(connection, self.run_id)
            last = await taking.last_engine(connection, self.run_id)
            if last is not None:
                taking.require_silent(last, self._host, takes_over=takes_over)
                if takes_over and not last.has_ended and last.silent_s >= taking.SILENT_S:
                    # Its sessions hold the tables, and would come back for them.
                    await self._claim(connection)
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
            found = replace(
                found,
                is_complete=is_complete,
                snapshot_time=record.snapshot_time,
                started_unix=record.started_at.timestamp(),
                seconds=record.driven_s,
                copied=record.copied,
                copying_s=record.copying_s,
                start_time=record.start_time,
                source_set=record.source_set,
                cannot_follow=record.cannot_follow,
            )
            if is_complete and not is_over:
                return found, []
            await runs.check_same_tables(connection, self.run_id)
            if record.mode in ADDING:
                for load in await runs.table_loads(connection, self.run_id):
                    mapping = ColumnMapping.model_validate_json(load.mapping)
                    await obstacles.require_writable(connection, load.target, record.mode, mapping)
            if not self.generation:
                await self._claim(connection)
            async with connection.transaction():
                if follows is not None:
                    await self._begin_following(connection, follows)
                await runs.take_over(connection, self.run_id, RunState.RUNNING.value)
            self._loads = {load.task_id: load for load in await runs.table_loads(connection, self.run_id)}
            next_seq = await runs.next_event_seq(connection, self.run_id)
            positions = await partitions.positions(connection, self.run_id)
        self._events.begin(self.run_id, next_seq, self.generation)
        return found, positions

    async def _claim(self, connection: asyncpg.Connection) -> None:
        """Let the run be this engine's, and end what earlier ones have left: those sessions have looked before."""
        self.generation = await taking.claim(connection, self.run_id, self._host, os.getpid())
        ours = [connection, self._hold.connection, *self._spares]
        own = [each.get_server_pid() for each in ours if each is not None and not each.is_closed()]
        await taking.end_others(connection, self.run_id, own)

    async def move_snapshot(self, at: int) -> bool:
        """Let the run read at another time; False when it has committed something at the old one."""
        async with self.session() as connection:
            return await runs.move_snapshot(connection, self.run_id, at)

    async def cannot_follow(self, why: str) -> None:
        """Keep why the source of the run cannot be followed any more."""
        async with self.session() as connection:
            await runs.set_cannot_follow(connection, self.run_id, why)

    # --- a source that is followed ------------------------------------------------------------------------------------

    async def begin_following(self, lanes: int, databases: Sequence[str], phase: str) -> Followed:
        """Follow the source from the run's start time on; what is followed already stays as it is."""
        async with self.session() as connection:
            async with connection.transaction():
                await follow.begin(connection, self.run_id, lanes, databases, phase)
            found = await follow.find(connection, self.run_id)
        assert found is not None
        return found

    async def _begin_following(self, connection: asyncpg.Connection, wanted: BeginFollowing) -> None:
        """In the caller's transaction."""
        await follow.begin(connection, self.run_id, wanted.lanes, wanted.databases, follow.CLOSING)
        if wanted.anew is not None:
            await self._follow_anew(connection, wanted.anew, follow.COMPARING, ())

    async def retry_constrained(self, lanes: Mapping[int, int]) -> None:
        """Have documents read again that the copy rejected for the sake of other rows.

        Args:
            lanes: of each table, by task.
        """
        async with self.session() as connection, connection.transaction():
            for task_id, count in lanes.items():
                await follow.add_rejects(connection, self.run_id, task_id, count, OF_OTHER_ROWS)

    async def followed(self, run_id: str = "") -> Followed | None:
        """How far a run is with following its source, this one unless another is named; None where it does not."""
        async with self.session() as connection:
            return await follow.find(connection, run_id or self.run_id)

    async def streams(self) -> dict[str, int]:
        """Numbers of the streams of its source, by database."""
        async with self.session() as connection:
            return await follow.streams(connection, self.run_id)

    async def settled_phase(self, connection: asyncpg.Connection) -> str | None:
        """How far it is, when no transaction that may change that is left; waits for one."""
        return await follow.settled_phase(connection, self.run_id)

    async def set_follow_phase(self, phase: str, mark: int | None) -> None:
        """Keep how far it is."""
        async with self.session() as connection:
            await follow.set_phase(connection, self.run_id, phase, mark)

    async def keep_seen(self, at: int) -> None:
        """Keep that the source's majority had a write then."""
        async with self.session() as connection:
            await follow.keep_seen(connection, self.run_id, at)

    async def waiting_keys(self) -> int:
        """Keys that are still to be applied."""
        async with self.session() as connection:
            return sum((await follow.waiting(connection, self.run_id)).values())

    async def set_write_block(self, *, blocked: bool) -> None:
        """Keep that MongoDB blocks all writes for the run's cut-over: before that is so, and when it is over."""
        async with self.session() as connection:
            await follow.set_write_block(connection, self.run_id, blocked=blocked)

    async def blocked_keys(self) -> list[Blocked]:
        """Keys that wait until a constraint takes their rows."""
        async with self.session() as connection:
            return await follow.blocked(connection, self.run_id)

    async def keys_left(self) -> tuple[int, int]:
        """How many keys are left to be applied, and how many of them are blocked; what is gone is so on disk."""
        async with self.session() as connection:
            return await follow.keys_left(connection, self.run_id)

    async def is_compared(self) -> bool:
        """No key is left to be applied, nor to be compared."""
        async with self.session() as connection:
            return await follow.is_compared(connection, self.run_id)

    async def to_compare(self) -> tuple[list[changed.ToCompare], Mapping[int, tuple[int, int]]]:
        """What was applied and waits to be compared; and what was found so far (`changed.differences`)."""
        async with self.session() as connection:
            waiting = await changed.waiting(connection, self.run_id)
            return waiting, await changed.differences(connection, self.run_id)

    async def follow_anew(self, beginning: Beginning, phase: str, to_do: Sequence[Halt]) -> None:
        """Follow from another time on: everything is to be compared first.

        Args:
            to_do: what is done about each collection (`engine.ledger.follow.begin_anew`).
        """
        async with self.session() as connection:
            await self._follow_anew(connection, beginning, phase, to_do)

    async def _follow_anew(
        self, connection: asyncpg.Connection, beginning: Beginning, phase: str, to_do: Sequence[Halt]
    ) -> None:
        assert beginning.after is not None
        await follow.begin_anew(
            connection,
            self.run_id,
            beginning.after.at,
            beginning.oplog_from,
            json.dumps(asdict(beginning.source_set)),
            phase,
            to_do,
        )

    async def current_name(self, task_id: int) -> TableName:
        """What a table of the run is called now: staging tables bear the target's name after a swap."""
        async with self.session() as connection:
            return await finish.current_name(connection, self.load(task_id))

    async def cut_over(self, run_id: str = "") -> FollowedFacts | None:
        """What a run that was cut over has done, this one unless another is named; None where it was not."""
        run_id = run_id or self.run_id
        async with self.session() as connection:
            found = await follow.find(connection, run_id)
            if found is None or found.phase != follow.DONE:
                return None
            events = await follow.events(connection, run_id)
            rejected = await follow.kept_rejects(connection, run_id)
        return FollowedFacts(
            inserted=events["insert"],
            updated=events["update"] + events["replace"],
            deleted=events["delete"],
            write_stop_s=found.write_stop_s,
            rejects_open=sum(rejected.values()),
            writes_blocked=found.write_block,
        )

    async def applied_keys(self) -> int:
        """Keys that were applied, by this engine and those before it."""
        async with self.session() as connection:
            return await follow.applied_keys(connection, self.run_id)

    async def kept_rejects(self) -> dict[int, int]:
        """How many documents are rejects, by task."""
        async with self.session() as connection:
            return await follow.kept_rejects(connection, self.run_id)

    async def keep_followed(
        self, connection: asyncpg.Connection, mark: int, counted: Mapping[int, tuple[int, int, int]]
    ) -> bool:
        """The run is cut over, and its counts are those of its end, in a transaction of `connection`.

        Args:
            mark: the source's last write.
            counted: by task: documents, rows, rejects.

        Returns:
            False where the ledger has something up to the mark that is not applied: a target that failed over has lost what was
            committed last.
        """
        is_drained = await follow.is_drained(connection, self.run_id, mark)
        for task_id, (documents, rows, rejected) in counted.items():
            written = min(rows - self.load(task_id).count_before, documents - rejected)
            await follow.settle_counts(connection, self.run_id, task_id, documents, written, rejected)
        source = {task_id: each[0] for task_id, each in counted.items()}
        target = {task_id: each[1] for task_id, each in counted.items()}
        await runs.set_counts(connection, self.run_id, source, target)
        await follow.finish(connection, self.run_id, mark)
        return is_drained

    async def hold(self, tables: list[TableName]) -> None:
        """Hold the tables of the run, as long as this is connected.

        Raises:
            TargetHeld: another run has one of them; the message says which.
        """
        await self._hold.take(tables, self.app_name, self.run_id)

    def load(self, task_id: int) -> TableLoad:
        """A table of the run, as the ledger keeps it."""
        return self._loads[task_id]

    async def read_loads(self) -> None:
        """Read the run's tables again."""
        async with self.session() as connection:
            self._loads = {load.task_id: load for load in await runs.table_loads(connection, self.run_id)}

    async def has_key(self, task_id: int) -> bool:
        """A table of the run has its key by now."""
        load = self.load(task_id)
        mapping = ColumnMapping.model_validate_json(load.mapping)
        async with self.session() as connection:
            return await has_unique(connection, await finish.current_name(connection, load), mapping.id_column.name)

    # --- partitions ---------------------------------------------------------------------------------------------------

    async def replace_partition(self, partition_id: int, pieces: Sequence[Partition]) -> bool:
        """Cut a partition that has no slice yet; False when it was begun meanwhile."""
        async with self.session() as connection:
            return await partitions.replace_partition(connection, self.run_id, partition_id, pieces)

    async def stable_size(self) -> int | None:
        """The cluster size that the run kept last, when it turned that itself; None when it never did."""
        async with self.session() as connection:
            return await runs.stable_size(connection, self.run_id)

    async def next_partition_id(self) -> int:
        """A number that no partition of the run has had."""
        async with self.session() as connection:
            return await fill_in.next_partition_id(connection, self.run_id)

    async def generations(self) -> dict[int, int]:
        """The highest generation of partitions of each task."""
        async with self.session() as connection:
            return await fill_in.generations(connection, self.run_id)

    async def begin_fill_in(self, parts: Sequence[Partition], *, first_generation: int | None) -> None:
        """Add partitions of a later generation; see `engine.ledger.fill_in.begin`."""
        async with self.session() as connection:
            await fill_in.begin(connection, self.run_id, parts, first_generation=first_generation)

    async def remove_doubles(self, task_id: int, partition_id: int) -> int:
        """Delete the rows of keys that come twice; see `engine.ledger.fill_in.remove_doubles`."""
        load = self.load(task_id)
        key = ColumnMapping.model_validate_json(load.mapping).id_column.name
        async with self.own_session() as connection:
            name = await finish.current_name(connection, load)
            return await fill_in.remove_doubles(connection, self.run_id, task_id, partition_id, name, key)

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
                reasons=dict(each.reasons),
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

    async def remarks_on_following(self) -> list[str]:
        """What there is to know of the run's tables when changes are applied to them, a sentence each."""
        found = []
        async with self.session() as connection:
            for load in await runs.table_loads(connection, self.run_id):
                mapping = ColumnMapping.model_validate_json(load.mapping)
                name = await finish.current_name(connection, load)
                found += await obstacles.remarks_on_following(connection, name, mapping.id_column.name)
        return found

    async def keep_counts(self, source: dict[int, int], target: dict[int, int]) -> None:
        """Write what was counted on both sides, by task."""
        async with self.session() as connection:
            await runs.set_counts(connection, self.run_id, source, target)

    async def kept_counts(self) -> dict[int, tuple[int, int]]:
        """What was counted in source and target, by task."""
        async with self.session() as connection:
            return await runs.kept_counts(connection, self.run_id)

    async def gaps(self, plan: Plan, natural_ends: Mapping[int, bytes] = MappingProxyType({})) -> list[Gap]:
        """Where committed slices do not join, after a durable commit; empty when everything is there.

        Args:
            natural_ends: where collections end as long as what lies behind is not begun, by task.
        """
        ends = {table.task_id: table.end for table in plan.tables if table.end is not None} | dict(natural_ends)
        async with self.session() as connection:
            await runs.set_state(connection, self.run_id, self.generation, RunState.FINISHING.value)
            return await partitions.check_complete(connection, self.run_id, ends)

    # --- events and the end -------------------------------------------------------------------------------------------

    def note(self, event: Event) -> None:
        """Keep an event for history and replay."""
        self._events.note(event)

    async def close(self, state: RunState, seconds: float, verification: str, error: str) -> None:
        """Write the run's end, and release the target. What cannot be written any more is logged."""
        await self._events.stop()
        try:
            if self._events.is_begun:
                await self._events.flush()
                async with self.session() as connection:
                    await runs.set_state(
                        connection,
                        self.run_id,
                        self.generation,
                        state.value,
                        ended=True,
                        seconds=seconds,
                        verification=verification,
                        error=redact(error),
                    )
                    if state is RunState.COMPLETED:
                        await runs.keep_writes(connection, self.run_id)
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


def _mappings_of(loads: Iterable[TableLoad]) -> dict[int, ColumnMapping]:
    """By task."""
    return {load.task_id: ColumnMapping.model_validate_json(load.mapping) for load in loads}
