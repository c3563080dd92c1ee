"""What may become of a source that is followed, such as a drop: nothing is applied until an operator decides what is done.

Collecting goes on meanwhile, so that nothing of other collections is missed. A choice is kept in the ledger before anything is
done about it; a run that is resumed goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from engine.config import redact
from engine.errors import Cancelled, MigrationError, UsageError
from engine.follow.apply_job import ApplyJob
from engine.follow.check_job import CheckJob
from engine.ledger import follow as ledger_follow
from engine.ledger import halts as ledger_halts
from engine.ledger.halts import ALL, EMPTY, IGNORE, RESYNC, STOP, Halt
from engine.ledger.ledger import Ledger
from engine.mongo import catalogue, causal
from engine.mongo import connect as mongo
from engine.plan import TablePlan
from engine.protocol import RunHalted, RunResolved, RunState, SourceHalt
from engine.run.context import RunContext
from engine.run.steps import insist
from engine.work.messages import APPLY_TASKS, CHECK_TASKS, ApplyTask

OF_ALL = frozenset({"history_lost", "source_went_back", "source_changed", "event_too_large"})
"""Codes of what a stream of changes cannot be read on for: everything has to be compared then."""
OF_CHANGES = frozenset({"history_lost", "event_too_large"})
"""Those among them that say nothing of the documents: a copy goes on, and is compared when it is complete."""
COPY_ENDED = (
    "The copy was not complete and is ended as it is: `ctl resolve --resync` compares every document with its row, and writes "
    "what is missing one by one, which takes longer than a copy; or cancel and discard the run, and start a new one."
)
"""What an operator is told where the documents that are copied are of a source that is no more."""
ANOTHER = "another"
"""Code of a collection that is another one, or none, though no change told so."""
POLL_S = 0.05
READ_S = 30.0
"""How long a choice waits until what was written before it is read."""

log = logging.getLogger(__name__)


class Stream(Protocol):
    """What reads the changes of a collection's database."""

    async def until(self, at: int) -> None:
        """Returns when everything up to that time is known."""

    def settle(self, collection: str, upto: int) -> None:
        """What became of the collection up to that time is dealt with."""

    async def leave(self, collection: str) -> None:
        """It is followed no longer."""


class Halting:
    """What became of the collections of a run, what was chosen, and what is still to be done about it."""

    def __init__(
        self,
        context: RunContext,
        ledger: Ledger,
        job: ApplyJob,
        check_job: CheckJob,
        ask: Callable[[Callable[[mongo.Client], Any]], Any],
        on_halt: Callable[[str], None],
    ) -> None:
        """Nothing is known yet.

        Args:
            job: applies changes; what is halted is held there.
            check_job: compares what was applied.
            ask: asks the source in a thread; blocks.
            on_halt: called with what became of the source, in a few words.
        """
        self._context = context
        self._ledger = ledger
        self._job = job
        self._check_job = check_job
        self._ask = ask
        self._on_halt = on_halt
        self._found: dict[int, Halt] = {}
        self._tables: dict[int, TablePlan] = {}
        self._streams: dict[int, Stream] = {}
        self._looks: set[asyncio.Task[None]] = set()

    # --- what is known ------------------------------------------------------------------------------------------------

    async def take_up(self, tables: Sequence[TablePlan]) -> None:
        """Read what the ledger has."""
        self._tables = {table.task_id: table for table in tables}
        await insist(self._context, self._reload)
        for halt in self._found.values():
            if halt.is_open:
                self._tell(halt)

    async def _reload(self) -> None:
        async with self._ledger.session() as connection:
            self._found = await ledger_halts.of_run(connection, self._ledger.run_id)
        self._job.held = {task_id for task_id, halt in self._found.items() if halt.is_open or halt.is_due}
        self._job.left |= {task_id for task_id, halt in self._found.items() if halt.choice == STOP}

    def read_by(self, task_id: int, stream: Stream) -> None:
        """That reads the changes of a collection."""
        self._streams[task_id] = stream

    def settled_of(self, task_id: int) -> int:
        """What became of a collection up to this time is dealt with."""
        halt = self._found.get(task_id)
        return halt.settled_time if halt is not None else 0

    def is_followed(self, task_id: int) -> bool:
        """An operator has not let it go."""
        halt = self._found.get(task_id)
        return halt is None or halt.choice != STOP

    def uuid_of(self, table: TablePlan) -> str:
        """Of the collection that is followed."""
        halt = self._found.get(table.task_id)
        return halt.uuid if halt is not None and halt.choice else table.uuid

    @property
    def changed(self) -> set[int]:
        """Tasks of collections that are not those of the plan any more."""
        return set(self._found) - {ALL}

    @property
    def uncounted(self) -> dict[int, str]:
        """Tasks of tables that need not be what their collections are, each with why, as "X: ..." goes on."""
        why = {
            STOP: "it is followed no longer",
            IGNORE: "its rows were kept when the collection was not there any more",
        }
        return {task_id: why[halt.choice] for task_id, halt in self._found.items() if halt.choice in why}

    @property
    def is_begun_anew(self) -> bool:
        """It is decided that the changes of the source are read from now on, whatever was before; that is still to be done."""
        return ALL in self._found and self._found[ALL].is_due

    @property
    def is_halted(self) -> bool:
        """Something is to be decided."""
        return any(halt.is_open for halt in self._found.values())

    @property
    def is_wanted(self) -> bool:
        """Something is to be decided, or to be done."""
        return self.is_halted or any(halt.is_due for halt in self._found.values())

    @property
    def views(self) -> list[SourceHalt]:
        """What is to be decided, for front ends."""
        return [
            SourceHalt(
                namespace=halt.namespace,
                code=halt.code,
                message=redact(halt.message),
                choices=list(self._choices(halt)),
            )
            for halt in self._open
        ]

    @property
    def words(self) -> str:
        """What became of the source and is to be decided."""
        return " ".join(redact(halt.message) for halt in self._open)

    @property
    def _open(self) -> list[Halt]:
        return [halt for halt in self._found.values() if halt.is_open]

    def _choices(self, halt: Halt) -> Iterator[str]:
        if halt.task_id == ALL:
            yield RESYNC
            return
        yield IGNORE
        if self._context.settings.run.mode != "upsert":  # there the table has rows of others, too
            yield EMPTY
        yield STOP

    # --- what happens -------------------------------------------------------------------------------------------------

    def happened(self, halts: Sequence[Halt]) -> None:
        """The ledger has that this became of collections; twice does no harm."""
        for halt in halts:
            known = self._found.get(halt.task_id)
            if known is not None and known.is_open and (known.code, known.at_time) == (halt.code, halt.at_time):
                continue
            self._found[halt.task_id] = halt
            if halt.task_id != ALL:
                self._job.held.add(halt.task_id)
                self._job.forget(halt.task_id)
            self._tell(halt)

    def _tell(self, halt: Halt) -> None:
        self._context.emit(RunHalted(namespace=halt.namespace, code=halt.code, message=redact(halt.message)))
        self._on_halt(redact(halt.message).rstrip("."))

    async def lost(self, error: MigrationError, *, ends_copy: bool = False) -> None:
        """The changes of the source cannot be read on.

        Args:
            ends_copy: nor can its documents, and what is not copied yet is not copied any more: the ledger has that from the
                same moment on.
        """
        known = self._found.get(ALL)
        if known is not None and known.code == error.code and (known.is_open or known.is_due):
            return  # the stream of another database has told
        message = f"{error.message} {COPY_ENDED}" if ends_copy else error.message
        halt = Halt(ALL, "", error.code, message, 0)
        await insist(self._context, lambda: self._add(halt, ends_copy=ends_copy))
        self.happened([halt])

    async def _add(self, halt: Halt, *, ends_copy: bool = False) -> None:
        async with self._ledger.session() as connection, connection.transaction():
            await connection.execute("SET LOCAL synchronous_commit = on")
            await ledger_halts.add(connection, self._ledger.run_id, [halt])
            if ends_copy:
                await ledger_follow.set_phase(connection, self._ledger.run_id, ledger_follow.CLOSING, None)

    def anew(self, since: int, uuids: dict[tuple[str, str], str]) -> list[Halt]:
        """What is to be done about each collection when the changes of the source are read from a time on: it is compared; a
        table whose collection is not there is not emptied for that.
        """
        found = []
        for table in self._tables.values():
            if not self.is_followed(table.task_id):
                continue
            uuid = uuids.get((table.database, table.collection), "")
            if uuid:
                halt = Halt(table.task_id, table.namespace, RESYNC, "", since, RESYNC, settled_time=since, uuid=uuid)
            else:
                message = f"{table.namespace} is not in the source that the run is compared with."
                halt = Halt(table.task_id, table.namespace, ANOTHER, message, since)
            found.append(halt)
        return found

    def doubt(self, task_id: int) -> None:
        """A collection is not the one that is followed: the stream will tell why, or it is looked into."""
        look = asyncio.create_task(self.look_into(task_id), name="another collection")
        self._looks.add(look)
        look.add_done_callback(self._looked)

    def _looked(self, look: asyncio.Task[None]) -> None:
        self._looks.discard(look)
        error = None if look.cancelled() else look.exception()
        if error is not None and not isinstance(error, Cancelled):
            log.error("a collection could not be looked into", exc_info=error)
            failed = error if isinstance(error, MigrationError) else MigrationError("The source does not answer.")
            self._context.fail(failed)

    async def look_into(self, task_id: int) -> None:
        """Find out what became of a collection that may be another one; returns when that is known."""
        table = self._tables[task_id]
        known, before = self.uuid_of(table), self._found.get(task_id)
        if before is not None and before.is_open:
            return
        clock, uuid = await insist(self._context, lambda: asyncio.to_thread(self._ask, lambda one: _now(one, table)))
        if before is not None and uuid and not known:
            await self._adopt(before, uuid)
        elif uuid != known:
            await self._streams[task_id].until(clock.at)
            halt = self._found.get(task_id)
            if halt is before:  # no change has told
                message = (
                    f"{table.namespace} is not the collection that was copied, though no change of the source said so."
                )
                halt = Halt(task_id, table.namespace, ANOTHER, message, clock.at)
                await insist(self._context, lambda: self._add(halt))
                self.happened([halt])
        else:
            self._release(task_id)

    async def _adopt(self, halt: Halt, uuid: str) -> None:
        """A collection was made under the name of one that was gone."""
        await self._choose(replace(halt, uuid=uuid))
        self._release(halt.task_id)

    def _release(self, task_id: int) -> None:
        self._job.held.discard(task_id)
        self._context.cluster.dispatch()

    async def stop(self) -> None:
        """Look into nothing more."""
        for look in self._looks:
            look.cancel()
        await asyncio.gather(*self._looks, return_exceptions=True)

    # --- what is chosen -----------------------------------------------------------------------------------------------

    async def resolve(self, namespace: str, choice: str, by: str) -> None:
        """Keep a choice; what is to be done about it is done by `settle`.

        Raises:
            UsageError: there is nothing to be decided, or not so.
        """
        halt = next((each for each in self._open if each.namespace == namespace), None)
        if halt is None:
            named = ", ".join(each.namespace or "the whole source (--resync)" for each in self._open) or "nothing"
            what = namespace or "The whole source"
            raise UsageError(f"{what} is not halted: to be decided is {named}.", code="state")
        if choice not in (choices := list(self._choices(halt))):
            why = ", since a table of mode upsert has rows of others, too" if choice == EMPTY else ""
            raise UsageError(f"{namespace or 'The whole source'} cannot be resolved by {choice}{why}: {' or '.join(choices)}.",
                             code="state")  # fmt: skip
        if halt.task_id == ALL:
            await self._choose(replace(halt, choice=choice))
        else:
            if ALL in self._found and self._found[ALL].is_open:
                raise UsageError(
                    "Changes of the source are not known any more: `ctl resolve --resync` comes first.",
                    code="state",
                )
            await self._choose_for(halt, choice)
        self._context.emit(RunResolved(namespace=namespace, choice=choice, by=by))

    async def _choose_for(self, halt: Halt, choice: str) -> None:
        table, stream = self._tables[halt.task_id], self._streams[halt.task_id]
        try:
            async with asyncio.timeout(READ_S):
                clock, uuid = await insist(
                    self._context, lambda: asyncio.to_thread(self._ask, lambda one: _now(one, table))
                )
                await stream.until(clock.at)  # or what happened before the choice would count as news
        except TimeoutError:
            raise UsageError(
                "The source's changes are not read at the moment: try again when they are.", code="state"
            ) from None
        now = self._found[halt.task_id]
        if (now.code, now.at_time) != (halt.code, halt.at_time):
            raise UsageError(f"Something else happened meanwhile: {now.message}", code="state")
        if choice == STOP:
            await stream.leave(table.collection)
        else:
            stream.settle(table.collection, clock.at)
        await self._choose(replace(now, choice=choice, settled_time=clock.at, uuid=uuid))

    async def _choose(self, halt: Halt) -> None:
        async def keep() -> None:
            async with self._ledger.session() as connection, connection.transaction():
                await ledger_halts.choose(connection, self._ledger.run_id, halt)

        await insist(self._context, keep)
        self._found[halt.task_id] = halt
        self._retask(halt.task_id)
        if halt.choice == STOP:
            self._job.left.add(halt.task_id)
            self._job.forget(halt.task_id)
        if not halt.is_due:
            self._job.held.discard(halt.task_id)

    def _retask(self, task_id: int) -> None:
        """Let workers know which collection a table is of now."""
        for tasks, first in ((self._job.tasks, APPLY_TASKS), (self._check_job.tasks, CHECK_TASKS)):
            if (task := tasks.get(first + task_id)) is not None:
                assert isinstance(task, ApplyTask)
                tasks[task.task_id] = replace(task, uuid=self.uuid_of(self._tables[task_id]))
                self._context.cluster.forget_tasks()

    # --- what is done -------------------------------------------------------------------------------------------------

    async def wait(self) -> None:
        """Be halted until everything is decided."""
        self._context.enter(RunState.HALTED, f"halted: {self.words}")
        await self._context.interruptible(_until(lambda: not self.is_halted and not self._context.is_paused))

    async def settle(
        self,
        begin_anew: Callable[[], Awaitable[None]],
        compare: Callable[[Sequence[int]], Awaitable[Collection[int]]],
    ) -> None:
        """Be halted until everything is decided, and do what was chosen; nothing is applied meanwhile.

        Args:
            begin_anew: reads the changes of the source from now on, whatever was before (`RESYNC`).
            compare: lets tables, by task, become what their collections are; gives those whose collection is another one now.
        """
        context = self._context
        self._job.is_open = False
        while self.is_wanted:
            if self.is_halted:
                await self.wait()
                continue
            context.enter(RunState.RUNNING, "comparing with the source")
            await context.interruptible(_until(lambda: self._job.is_quiet))
            if self.is_begun_anew:
                await begin_anew()
                await insist(context, self._reload)
                for halt in self._open:
                    self._tell(halt)
            else:
                await self._compare([halt for halt in self._found.values() if halt.is_due], compare)

    async def _compare(
        self, due: Sequence[Halt], compare: Callable[[Sequence[int]], Awaitable[Collection[int]]]
    ) -> None:
        for halt in due:
            self._retask(halt.task_id)
        another = await compare([halt.task_id for halt in due])
        for halt in due:
            if halt.task_id in another:
                await self._context.interruptible(self.look_into(halt.task_id))
                continue
            await self._choose(replace(halt, is_done=True))


def _now(client: mongo.Client, table: TablePlan) -> tuple[causal.SourceClock, str]:
    """The source's last write, and which collection there is then, or none. Blocks."""
    clock = causal.clock_of(client)
    name = (table.database, table.collection)
    return clock, catalogue.uuids_of(client, [name]).get(name, "")


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(POLL_S)
