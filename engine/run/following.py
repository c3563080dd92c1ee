"""The part of a run that follows its source: changes are collected from its beginning on, applied when everything is copied,
and the run is cut over when the operator says that the writers are stopped.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

from pymongo.errors import PyMongoError

from engine.cluster.meter import Window
from engine.config import redact
from engine.errors import Cancelled, MigrationError, UsageError
from engine.follow.apply_job import ApplyJob
from engine.follow.collector import Collector, Watched
from engine.follow.news import NewCollections, OplogAlarm, resumable_until
from engine.follow.request import cannot_follow
from engine.ledger import follow as ledger_follow
from engine.ledger.follow import Blocked, Followed
from engine.ledger.ledger import Ledger
from engine.mongo import catalogue, causal, faults, write_block
from engine.mongo import connect as mongo
from engine.mongo.causal import Beginning, CausalTime, SourceClock, SourceSet
from engine.mongo.filters import encode_filter
from engine.plan import Plan
from engine.plurals import counted
from engine.protocol import FollowReason, FollowView, ProblemReported, RunCutOver, RunState
from engine.run.approach import Approach
from engine.run.checking import MUCH, Checking, Sight
from engine.run.comparing import Comparing
from engine.run.context import RunContext
from engine.run.cutting_over import POLL_S, STOP_TTL, WRITE_BLOCK, CutOver, CuttingOver, Follower
from engine.run.finish import Finishing
from engine.run.followed_indexes import FollowedIndexes
from engine.run.halting import OF_ALL, OF_CHANGES, Halting
from engine.run.states import MAY
from engine.run.steps import insist
from engine.work.connections import EXPLAINED, failure_of
from engine.work.messages import APPLY_TASKS, CHECK_TASKS, ApplyTask

LANES, LANES_OF_ALL = 8, 32
"""Into so many the keys of a collection are divided, and of all collections together: as many workers can apply changes at a
time, and each lane takes a transaction of its own."""
LOOK_S = 1.0
"""How often the source's clock and the waiting keys are looked at."""
OPLOG_LOOKS, NAMES_LOOKS = 10, 30
"""One in so many looks is at the oplog, too; and one at the names of collections."""
OBSTACLE_LOOKS = 5
"""And at what keeps the tables of mode `replace` from being replaced, where nothing did the last time."""
FAR_BEHIND_S = 30.0
"""With more lag than this a cut-over would take long: it is not ready."""
CAUGHT_UP_S = 10.0
"""With less lag than this it is following, no longer catching up."""
BLOCKED_S, BLOCKED_KEYS = 1.0, 500
"""Keys that are blocked are tried again so often; more seldom when there are many: each is refused in its own statement."""
RATE_S = 10.0

Result = TypeVar("Result")

log = logging.getLogger(__name__)


def lanes_for(n_tables: int) -> int:
    """Into how many lanes the keys of each of so many collections are divided."""
    return max(1, min(LANES, LANES_OF_ALL // max(1, n_tables)))


class Following:
    """Collects, applies, and cuts over."""

    def __init__(self, context: RunContext, ledger: Ledger, found: Followed, since: int, known: SourceSet) -> None:
        """Nothing is read yet.

        Args:
            found: as the ledger has it.
            since: when the run began.
            known: the replica set that it began with.
        """
        self.job = ApplyJob(context, self._pause, self._doubt)
        sight = Sight(
            self._applied_upto, self._is_certain, self._position_of, self._want, self._gossip, self._wake_soon
        )
        self._checking = Checking(context, ledger, sight)
        self.job.gives_way = self._checking.job.takes_turn
        self._comparing = Comparing(context, ledger)
        self._plan: Plan | None = None
        self._by_task: dict[int, Collector] = {}
        """The stream of each table, by task."""
        self._folded: set[int] = set()
        """Tables of collections with a collation."""
        self._wake_again: asyncio.Task[None] | None = None
        self._wakes_once_more = False
        self._context = context
        self._ledger = ledger
        self._found = found
        self._halting = Halting(
            context,
            ledger,
            self.job,
            self._checking.job,
            self._with_client,
            lambda what: self._cutting_over.interrupt(what),
        )
        self._since = since
        self._known = known
        self._seen = found.seen_time or since
        """The newest time of which is known that the source's majority had a write then: at first that of the beginning;"""
        self._may_be_seen = 0
        """one of which that is not certain yet."""
        self._keeps_seen = False
        """It is to be kept."""
        self._phase = found.phase
        self.copy_ended = asyncio.Event()
        """The documents that are copied are of a source that is no more: what is missing is found when it is compared."""
        self._client: mongo.Client | None = None
        self._left_clients: list[mongo.Client] = []
        self._connecting = threading.Lock()
        self._collectors: list[Collector] = []
        self._collecting: list[asyncio.Task[None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._can_block_writes = False
        self._lanes: dict[int, int] = {}
        """How many each table has, by task, where there is a collection."""
        self._is_blocked_for_ever = False
        """It is cut over, and MongoDB blocks writes until an operator lifts that."""
        self._expiring: frozenset[str] = frozenset()
        """Collections with a TTL index."""
        follower = Follower(
            self.job, lambda: self._collectors, self._enter, self._wake_all, self._retry_refused, self._read_clock,
            self._until, self._ask, lambda: self._expiring, self._checking, self._compare_all, lambda: self._halting.uncounted,
        )  # fmt: skip
        self._cutting_over = CuttingOver(context, ledger, follower, since)
        self._finishing: Finishing | None = None
        """Puts tables in place; None as long as the run is copying."""
        self._obstacles: list[str] = []
        """What keeps them from it."""
        self._indexes: FollowedIndexes | None = None
        self._write_stop_s: float | None = None
        self._clock: SourceClock | None = None
        self._oplog_from: int | None = None
        self._alarm, self._new = OplogAlarm(), NewCollections()
        self._waiting = 0
        """Blocked ones included, which are:"""
        self._blocked: list[Blocked] = []
        self._blocked_again_at = 0.0
        self._mark: int | None = None
        self._applied_before = 0
        """Keys that earlier engines have applied."""
        self._events, self._applied = Window(RATE_S), Window(RATE_S)
        self._kinds: dict[str, Window] = {}
        self._approach = Approach()

    @property
    def is_copied(self) -> bool:
        """Nothing is copied any more: everything is, without a gap, or `copy_ended`; that was found out before."""
        return self._phase != ledger_follow.COPYING

    # --- collecting ---------------------------------------------------------------------------------------------------

    async def begin(self, plan: Plan) -> None:
        """Collect from now on, beside all else; a run that is cut over has nothing to collect."""
        self._plan = plan
        if self._phase == ledger_follow.DONE:
            return
        self._plan = plan
        names = [(table.database, table.collection) for table in plan.tables]
        if self._found.write_block:
            await self._lift_block()
        self._can_block_writes = await self._ask(write_block.can_be_set)
        await self._collect(plan)
        self._expiring = await self._ask(lambda client: catalogue.expiring(client, names))
        self._start(self._look(), "lag", self._tasks)

    async def _collect(self, plan: Plan) -> None:
        """Read the streams from where the ledger has them."""
        context, uri = self._context, self._context.settings.source.connection
        names = [(table.database, table.collection) for table in plan.tables]
        folded = await self._ask(lambda client: catalogue.with_collation(client, names))
        await self._halting.take_up(plan.tables)
        self._collectors = []
        streams = await insist(context, self._ledger.streams)
        self._folded = {table.task_id for table in plan.tables if (table.database, table.collection) in folded}
        for database, stream_id in streams.items():
            tables = [table for table in plan.tables if table.database == database]
            watched = {
                table.collection: Watched(
                    table.task_id, table.namespace, (database, table.collection) in folded,
                    self._halting.settled_of(table.task_id),
                )
                for table in tables
                if self._halting.is_followed(table.task_id)
            }  # fmt: skip
            collector = Collector(
                context, self._ledger, uri, stream_id, database, watched, self._found.lanes, self._since, self._known,
                lambda: self._seen,
                self._wake, self._halting.happened,
            )  # fmt: skip
            self._collectors.append(collector)
            self._by_task |= dict.fromkeys((table.task_id for table in tables), collector)
            for table in tables:
                self._halting.read_by(table.task_id, collector)
            self._start(collector.run(), f"changes of {database}", self._collecting)

    async def _lift_block(self) -> None:
        """An engine has ended in a cut-over for which MongoDB blocks all writes."""
        await self._ask(partial(write_block.set_block, blocked=False))
        await insist(self._context, partial(self._ledger.set_write_block, blocked=False))
        message = "An earlier engine of the run ended in its cut-over: MongoDB's write block is lifted, and following goes on."
        self._context.emit(ProblemReported(code=WRITE_BLOCK, message=message))

    def _start(self, work: Coroutine[Any, Any, None], name: str, among: list[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        among.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A collector ends by itself only when it cannot go on."""
        if task.cancelled() or (error := task.exception()) is None or isinstance(error, Cancelled):
            return
        if isinstance(error, MigrationError):
            if error.code in OF_ALL:
                self._start(self._lost(error), "halting", self._tasks)
            else:
                self._context.fail(error)
            return
        log.error("%s ended", task.get_name(), exc_info=error)
        if isinstance(error, EXPLAINED):
            failure = failure_of(error)
            self._context.fail(
                MigrationError(f"{failure.sentence} Resume the run when the cause is gone.", code=failure.code)
            )
        else:
            self._context.fail(MigrationError(f"The engine failed with {type(error).__name__}.", code="internal"))

    async def _lost(self, error: MigrationError) -> None:
        ends_copy = not self.is_copied and error.code not in OF_CHANGES
        await self._halting.lost(error, ends_copy=ends_copy)
        if ends_copy:
            self._phase = ledger_follow.CLOSING
            self.copy_ended.set()

    def _wake(self, generations: Mapping[tuple[int, int], int], at: CausalTime, before: int | None) -> None:
        since = self._verified_to if before is None else before
        for (task_id, lane), generation in generations.items():
            self.job.wake(task_id, lane, generation, at, since)
        if self.job.is_open and generations:
            self._context.cluster.dispatch()

    async def stop(self) -> None:
        """Collect no more."""
        await self._halting.stop()
        if self._wake_again is not None:
            self._tasks.append(self._wake_again)
        if self._indexes is not None:
            await self._indexes.stop()
        await self._stop_collecting()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for client in (self._client, *self._left_clients):
            if client is not None:
                await asyncio.to_thread(client.close)

    def tell_until_when(self) -> None:
        """It is stopped, and not cut over: until when it can be resumed."""
        if self._phase == ledger_follow.DONE or not self._collectors:
            return
        read = min(collector.position for collector in self._collectors)
        if self._oplog_from is not None and read < self._oplog_from:
            return  # it is too late; a halt has told so
        now = self._clock.at if self._clock is not None else None
        self._context.emit(resumable_until(read, now, self._oplog_from))

    async def _stop_collecting(self) -> None:
        for task in self._collecting:
            task.cancel()
        await asyncio.gather(*self._collecting, return_exceptions=True)
        self._collecting = []

    # --- what becomes of the source -----------------------------------------------------------------------------------

    @property
    def changed(self) -> set[int]:
        """Tasks of collections that are not those of the plan any more, about which was decided."""
        return self._halting.changed

    async def resolve(self, namespace: str, choice: str, by: str) -> None:
        """Decide what is done about something that became of the source.

        Raises:
            UsageError: there is nothing to be decided, or not so.
        """
        await self._halting.resolve(namespace, choice, by)

    async def decided(self) -> None:
        """Be halted while something is to be decided."""
        if self._halting.is_halted:
            await self._halting.wait()

    def _doubt(self, table_id: int) -> None:
        self._halting.doubt(table_id)

    async def _begin_anew(self) -> None:
        """Read the changes of the source from now on, whatever is missing before it.

        Raises:
            MigrationError: its changes cannot be followed.
        """
        assert self._plan is not None
        plan = self._plan
        await self._stop_collecting()
        names = [(table.database, table.collection) for table in plan.tables]

        def look(client: mongo.Client) -> tuple[Beginning, dict[tuple[str, str], str]]:
            return causal.begin(client, names), catalogue.uuids_of(client, names)

        beginning, uuids = await insist(self._context, lambda: asyncio.to_thread(self._with_client, look))
        if beginning.after is None:
            raise cannot_follow(beginning.cannot_follow)
        to_do = self._halting.anew(beginning.after.at, uuids)
        await insist(self._context, lambda: self._ledger.follow_anew(beginning, "catching_up", to_do))
        self._since = self._seen = beginning.after.at
        self._known = beginning.source_set
        self._may_be_seen = 0
        self._checking.verified_to = None  # whatever was: it may be of a time that is no more
        self.job.forget()
        await self._collect(plan)

    # --- applying -----------------------------------------------------------------------------------------------------

    async def run(self, plan: Plan, finishing: Finishing) -> None:
        """Apply what was collected, and what comes, until it is cut over; everything is copied.

        Raises:
            MigrationError: it cannot be followed any more. Cancelled: so asked.
        """
        context = self._context
        context.waits_for_servers = True
        if self._phase == ledger_follow.DONE:
            # An earlier engine was ended before its last word about it.
            await self._halting.take_up(plan.tables)
            await self._end(finishing, FollowedIndexes(context, self._ledger, plan, at_the_end=True))
            return
        is_begun_anew = self._phase == ledger_follow.COMPARING
        was_broken_off = self._phase == "draining"
        self._applied_before = await insist(context, self._ledger.applied_keys)
        if not is_begun_anew:
            await self._enter(ledger_follow.CLOSING)
        await finishing.build_keys()
        indexes = FollowedIndexes(context, self._ledger, plan, at_the_end=context.settings.run.unique == "after")
        await indexes.begin(was_broken_off=was_broken_off)
        self._indexes = indexes
        tasks = await self._tasks_of(plan)
        self._lanes = {task_id: task.lanes for task_id, task in tasks.items() if task.uuid}
        if context.settings.run.mode == "upsert" and not is_begun_anew:
            await self._retry_refused()
        self.job.tasks |= {APPLY_TASKS + task_id: task for task_id, task in tasks.items()}
        self._checking.job.tasks |= {
            CHECK_TASKS + task_id: replace(task, task_id=CHECK_TASKS + task_id) for task_id, task in tasks.items()
        }
        for job in (self.job, self._checking.job, self._comparing.job):
            context.cluster.add(job)
        # Nothing is applied of a source that is another one, or went back: the streams tell.
        await context.interruptible(
            self._until(lambda: self._halting.is_wanted or all(collector.is_reading for collector in self._collectors))
        )
        if is_begun_anew:
            for task_id in await self._compare(self._followed_tables):
                await context.interruptible(self._halting.look_into(task_id))
        self._obstacles = await insist(context, finishing.swap_obstacles)
        self._finishing = finishing
        is_first = True
        while True:
            await self._halting.settle(self._begin_anew, self._compare)
            await insist(context, self._wake_all)
            await self._enter("catching_up")
            context.enter(RunState.RUNNING, "catching up")
            self.job.is_open = True  # from then on it may be ready, and can be cut over in this state
            if is_first:
                self._start(self._checking.run(), "comparing", self._tasks)
                indexes.keep_building()
            is_first = False
            context.cluster.dispatch()
            if await self._follow(finishing, indexes):
                return

    async def _follow(self, finishing: Finishing, indexes: FollowedIndexes) -> bool:
        """Until it is cut over; False when something became of the source, which has to be decided first."""
        context, halting, cutting_over = self._context, self._halting, self._cutting_over
        while True:
            await context.interruptible(
                self._until(lambda: cutting_over.is_asked or self._has_caught_up() or halting.is_wanted)
            )
            if halting.is_wanted and not cutting_over.is_asked:
                self._checking.job.is_open = False
                return False
            if self._phase != "following" and self._has_caught_up():
                await self._enter("following")
            self._checking.job.is_open = True
            context.enter(RunState.FOLLOWING, "following")
            await context.interruptible(self._until(lambda: cutting_over.is_asked or halting.is_wanted))
            if cutting_over.is_asked and await cutting_over.do(finishing, indexes):
                await self._end(finishing, indexes)
                return True

    @property
    def _followed_tables(self) -> list[int]:
        """Tasks of the tables of collections that are followed still."""
        assert self._plan is not None
        return [table.task_id for table in self._plan.tables if self._halting.is_followed(table.task_id)]

    async def _compare(self, task_ids: Sequence[int]) -> frozenset[int]:
        """Compare tables with their collections, and have what differs applied; those whose collection became another one."""
        assert self._plan is not None
        gossip = await insist(self._context, lambda: asyncio.to_thread(self._gossip))
        tables = [table for table in self._plan.tables if table.task_id in task_ids]
        tasks = {table.task_id: self.job.tasks[APPLY_TASKS + table.task_id] for table in tables}
        after = CausalTime(max(self._since, *(collector.position for collector in self._collectors)), gossip)
        return (await self._comparing.run(tables, cast(dict[int, ApplyTask], tasks), after)).another

    async def _compare_all(self) -> None:
        """Compare everything while the source is not written to, and have what differs applied."""
        assert self._plan is not None
        self.job.is_open = False
        self.job.lose_sight()
        try:
            await self._compare(self._followed_tables)
        finally:
            self.job.lose_sight()  # what has read the ledger meanwhile may have missed what was found last
            self.job.is_open = True
        await insist(self._context, self._wake_all)

    async def _tasks_of(self, plan: Plan) -> dict[int, ApplyTask]:
        """What workers are told of each table, by task of the ledger."""
        context, tasks = self._context, {}
        for table in plan.tables:
            name = await insist(context, partial(self._ledger.current_name, table.task_id))
            tasks[table.task_id] = ApplyTask(
                run_id=self._ledger.run_id,
                task_id=APPLY_TASKS + table.task_id,
                table_id=table.task_id,
                database=table.database,
                collection=table.collection,
                schema=name.schema,
                table=name.table,
                mapping=table.mapping,
                uuid=self._halting.uuid_of(table),
                filter=encode_filter(table.filter),
                keeps_outside=context.settings.run.mode == "upsert",
                held=(table.schema_name, table.table),
                generation=self._ledger.generation,
                lanes=1 if table.task_id in self._folded else self._found.lanes,
            )
        return tasks

    def _pause(self, reason: str) -> None:
        if self._context.record.state in MAY["pause"]:
            self._context.pause(reason)

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds() or self._context.is_paused:
            await asyncio.sleep(POLL_S)

    async def _enter(self, phase: str, mark: int | None = None) -> None:
        self._phase, self._mark = phase, mark
        await insist(self._context, lambda: self._ledger.set_follow_phase(phase, mark))

    async def _wake_all(self, *, is_final: bool = False) -> None:
        """Lanes of which the ledger has keys, blocked ones included. They did not change before what is verified.

        Args:
            is_final: as in `ApplyLease`.
        """
        n_lost = self.job.n_lost
        async with self._ledger.session() as connection:
            found = await ledger_follow.waiting(connection, self._ledger.run_id)
        await self._wake_lanes(found, self._verified_to, with_blocked=True, is_final=is_final)
        self.job.is_whole = self.job.is_whole or n_lost == self.job.n_lost

    async def _wake_lanes(
        self, found: Iterable[tuple[int, int]], before: int, *, with_blocked: bool, is_final: bool = False
    ) -> None:
        async with self._ledger.session() as connection:
            positions = {
                database: await ledger_follow.position(connection, self._ledger.run_id, stream_id)
                for database, stream_id in (await ledger_follow.streams(connection, self._ledger.run_id)).items()
            }
        gossip = await asyncio.to_thread(self._gossip)
        for task_id, lane in found:
            at = positions[self.job.tasks[APPLY_TASKS + task_id].database]
            if task_id in self.job.left:
                continue
            number, time_ = (at.slice_no, at.token_time) if at is not None else (0, self._since)
            after = CausalTime(time_, gossip)
            self.job.wake(task_id, lane, number, after, before, with_blocked=with_blocked, is_final=is_final)
        self._context.cluster.dispatch()

    async def _retry_refused(self) -> None:
        """Have documents read again that were refused for the sake of other rows. Keys of a table that is followed no longer
        would wait for ever."""
        lanes = {task_id: count for task_id, count in self._lanes.items() if task_id not in self.job.left}
        await insist(self._context, partial(self._ledger.retry_constrained, lanes))

    async def _look_at_blocked(self) -> None:
        """Try keys again that a constraint has blocked: other rows may have made room for them."""
        self._blocked = await self._ledger.blocked_keys()
        n_keys = sum(each.n_keys for each in self._blocked)
        now = time.monotonic()
        if not n_keys or not self.job.is_open or self._cutting_over.is_asked:
            return
        if now >= self._blocked_again_at:
            self._blocked_again_at = now + BLOCKED_S * (1 + n_keys / BLOCKED_KEYS)
            read = min(collector.position for collector in self._collectors)
            await self._wake_lanes({(each.task_id, each.lane) for each in self._blocked}, read, with_blocked=True)

    # --- comparing ----------------------------------------------------------------------------------------------------

    def _applied_upto(self) -> int:
        """All changes up to that time are applied."""
        read = min((collector.position for collector in self._collectors), default=self._since)
        oldest = self.job.oldest
        return read if oldest is None else min(read, oldest)

    def _is_certain(self) -> bool:
        return self.job.is_open and self.job.is_whole and not self._halting.is_wanted

    @property
    def _verified_to(self) -> int:
        """All changes up to that time are applied, and were compared; the run's beginning before more is known."""
        return max(self._since, self._checking.verified_to or 0)

    def _position_of(self, task_id: int) -> int:
        return self._by_task[task_id].position

    def _want(self, task_id: int, at: int) -> None:
        self._by_task[task_id].want(at)

    def _wake_soon(self) -> None:
        """Keys are to be applied again of which the streams tell nothing."""
        self._wakes_once_more = True
        if self._wake_again is None or self._wake_again.done():
            self._wake_again = asyncio.create_task(self._wake_until_all_are_known(), name="wake lanes")

    async def _wake_until_all_are_known(self) -> None:
        while self._wakes_once_more:  # more may come while the ledger is read
            self._wakes_once_more = False
            await insist(self._context, self._wake_all)

    # --- cutting over -------------------------------------------------------------------------------------------------

    def cut_over(self, timeout_s: float, *, blocks_writes: bool = False, compares_all: bool = False) -> None:
        """The writers are stopped: apply what there is, and end.

        Args:
            timeout_s: from the mark on; then it is called off.
            blocks_writes: have MongoDB refuse all writes first.
            compares_all: compare every document with its row at the mark.

        Raises:
            UsageError: it is not ready.
        """
        view = self.view
        if not self._cutting_over.is_asked and not view.ready:
            reasons = "; ".join(reason.message for reason in view.reasons)
            raise UsageError(f"The run is not ready to be cut over: {reasons}.", code="not_ready")
        if blocks_writes and not self._can_block_writes:
            raise UsageError(
                "Writes cannot be blocked: that takes MongoDB 6.0 and a source user with the right setUserWriteBlockMode on "
                "the cluster. Stop the writers yourself, without --block-writes.",
                code="no_write_block",
            )
        self._cutting_over.ask(CutOver(timeout_s, blocks_writes, compares_all))

    def call_off(self, by: str) -> None:
        """Break the cut-over off.

        Raises:
            UsageError: there is none, or it is too late.
        """
        self._cutting_over.call_off(by)

    async def _ask(self, question: Callable[[mongo.Client], Result]) -> Result:
        return await insist(self._context, lambda: asyncio.to_thread(self._with_client, question))

    async def _read_clock(self) -> SourceClock:
        return await self._ask(causal.clock_of)

    async def _end(self, finishing: Finishing, indexes: FollowedIndexes) -> None:
        """The ledger says that it is cut over: let that be the last word."""
        self._phase = ledger_follow.DONE
        followed = await insist(self._context, self._ledger.followed)
        if followed is not None:
            self._mark, self._write_stop_s = followed.mark_time, followed.write_stop_s
            self._is_blocked_for_ever = followed.write_block
        await self.stop()
        await finishing.end_followed(self._halting.uncounted)
        await insist(self._context, indexes.tell)
        sequences = await finishing.set_sequences()
        facts = await insist(self._context, self._ledger.cut_over)
        assert facts is not None
        self._context.emit(RunCutOver(**facts.model_dump(), sequences=sequences))

    # --- looking ------------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """The source's clock, and how many keys wait."""
        n, wait_s = 0, LOOK_S
        while True:
            try:
                clock: SourceClock = await asyncio.to_thread(self._with_client, causal.clock_of)
                self._clock = clock
                if n % OPLOG_LOOKS == 0:
                    self._oplog_from = await asyncio.to_thread(self._with_client, causal.oplog_begin)
                self._tell_of_oplog()  # before the target is asked: while that is away it is what an operator has to know
                await self._see(clock.stays, keep=n % OPLOG_LOOKS == 0)
                if self._finishing is not None and (self._obstacles or n % OBSTACLE_LOOKS == 0):
                    self._obstacles = await self._finishing.swap_obstacles()
                if n % NAMES_LOOKS == 0:
                    databases = [collector.database for collector in self._collectors]
                    self._tell(
                        *self._new.look(
                            await asyncio.to_thread(self._with_client, partial(catalogue.names_of, databases=databases))
                        )
                    )
                if (self.job.is_open and not self.job.is_idle) or not self._comparing.job.is_finished:
                    self._context.cluster.dispatch()  # what was put off
                began = time.monotonic()
                self._waiting = await self._ledger.waiting_keys()
                await self._look_at_blocked()
                wait_s = max(LOOK_S, 20 * (time.monotonic() - began))
            except EXPLAINED as error:
                log.info("the source is not looked at: %s", failure_of(error).sentence)
            now, by_kind = time.monotonic(), self._by_kind
            self._events.add(now, by_kind.total())
            for kind, count in by_kind.items():
                self._kinds.setdefault(kind, Window(RATE_S)).add(now, count)
            self._applied.add(now, self.job.n_keys)
            if self.job.is_open and not self._context.is_paused:
                self._approach.add(now, self._waiting, self.job.n_keys)
            else:
                self._approach.clear()
            n += 1
            await asyncio.sleep(wait_s)

    async def _see(self, stays: int, *, keep: bool) -> None:
        """Take that the source's majority had a write then for known, when the streams have passed it: these are of the source
        that is followed, while a clock may be that of another one.

        Args:
            keep: in the ledger, too.
        """
        passed = min((collector.position for collector in self._collectors), default=0)
        if self._may_be_seen and passed >= self._may_be_seen:
            self._seen, self._may_be_seen = self._may_be_seen, 0
            self._keeps_seen = True
        if not self._may_be_seen and stays >= passed:
            self._may_be_seen = stays
        if keep and self._keeps_seen:
            await self._ledger.keep_seen(self._seen)
            self._keeps_seen = False

    def _tell(self, *news: ProblemReported) -> None:
        for each in news:
            self._context.emit(each)

    def _tell_of_oplog(self) -> None:
        """Changes that are not read for long are lost."""
        if self._clock is None or self._oplog_from is None or not self._collectors:
            return
        read = min(collector.position for collector in self._collectors)
        behind_s, left_s = float((self._clock.at >> 32) - (read >> 32)), float((read >> 32) - (self._oplog_from >> 32))
        why = next((collector.told for collector in self._collectors if collector.told), "")
        if alarm := self._alarm.look(max(0.0, behind_s), left_s, redact(why)):
            self._tell(alarm)

    def _with_client(self, ask: Callable[[mongo.Client], Result]) -> Result:
        """Blocks; one thread at a time connects, then any number use it."""
        with self._connecting:
            if self._client is None:
                uri = self._context.settings.source.connection
                self._client = mongo.connect(uri, app_name=self._ledger.app_name)
            client = self._client
        try:
            return ask(client)
        except PyMongoError as error:
            if faults.is_of_old_client(error):
                self._leave_client(client)
            raise

    def _leave_client(self, client: mongo.Client) -> None:
        """The next question is asked by another one; questions of other threads may still be underway."""
        with self._connecting:
            if self._client is client:
                self._client = None
                self._left_clients.append(client)

    def _gossip(self) -> bytes:
        return bytes(self._with_client(causal.gossip_of))

    @property
    def _lag_s(self) -> float | None:
        """How far what is applied is behind the source, by the source's clock; None before that is known."""
        if self._clock is None or not self._collectors:
            return None
        return max(0.0, float((self._clock.at >> 32) - (self._applied_upto() >> 32)))

    def _has_caught_up(self) -> bool:
        lag = self._lag_s
        return lag is not None and lag <= CAUGHT_UP_S

    @property
    def _by_kind(self) -> Counter[str]:
        """Changes read since this engine began."""
        found: Counter[str] = Counter()
        for collector in self._collectors:
            found.update(collector.counted.by_kind)
        return found

    @property
    def view(self) -> FollowView:
        """How far it is, for front ends."""
        lag, oldest = self._lag_s, self.job.oldest
        now = self._clock.at >> 32 if self._clock is not None else None
        read = min((collector.position for collector in self._collectors), default=self._since)
        reasons = self._reasons(lag)
        # Workers may still apply for long before that is done.
        verified = None if self._halting.is_begun_anew else self._checking.verified_to
        return FollowView(
            phase="halted" if self._context.record.state is RunState.HALTED else self._phase,
            lag_s=lag,
            events_per_s=round(self._events.rate() or 0.0, 1),
            applied_per_s=round(self._applied.rate() or 0.0, 1),
            applied=self._applied_before + self.job.n_keys,
            waiting=max(0, self._waiting - sum(each.n_keys for each in self._blocked)),
            blocked=sum(each.n_keys for each in self._blocked),
            blocked_by=self._blocked_by(),
            oldest_s=max(0.0, float(now - (oldest >> 32))) if now is not None and oldest is not None else None,
            ready=not reasons,
            reasons=reasons,
            notes=self._notes(),
            oplog_left_s=float((read >> 32) - (self._oplog_from >> 32)) if self._oplog_from is not None else None,
            mark=self._mark,
            keys_to_go=self._waiting if self._phase == "draining" else None,
            read_lag_s=max(0.0, float(now - (read >> 32))) if now is not None else None,
            by_kind=self._by_kind,
            kinds_per_s={kind: round(window.rate(), 1) for kind, window in self._kinds.items()},
            speed=self._approach.speed,
            ready_in_s=self._approach.ready_in_s,
            never=self._approach.is_never,
            verified_unix=float(verified >> 32) if verified is not None else None,
            to_compare=self._checking.n_waiting,
            differences=self._checking.n_standing,
            mended=self._checking.n_mended,
            write_stop_s=self._write_stop_s,
            can_block_writes=self._can_block_writes,
            writes_blocked=self._cutting_over.blocks_writes or self._is_blocked_for_ever,
            halted_by=self._halting.views,
        )

    def _blocked_by(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        names = self._indexes.names if self._indexes is not None else {}
        for each in self._blocked:
            found[names.get(each.by, each.by)] += each.n_keys
        return dict(found)

    def _notes(self) -> list[FollowReason]:
        """What to know before it is cut over."""
        found = []
        if blocked := self._blocked_by():
            named = ", ".join(f"{count:,} by {name}" for name, count in blocked.items())
            message = (
                f"rows that a constraint refuses as yet ({named}): what it refuses at the cut-over becomes a reject"
            )
            found.append(FollowReason(code="blocked", message=message))
        if self._expiring:
            message = (
                f"documents of {', '.join(sorted(self._expiring))} are deleted by a TTL index, without a writer: such a delete "
                f"behind the mark calls the cut-over off ({STOP_TTL} stops them)"
            )
            found.append(FollowReason(code="ttl", message=message))
        if self._indexes is not None and self._finishing is not None:
            found += self._indexes.notes(self._finishing.key_s)
        return found

    def _reasons(self, lag: float | None) -> list[FollowReason]:
        """Why it is not ready to be cut over."""
        found = []
        if self._halting.is_halted:
            found.append(FollowReason(code="halted", message=self._halting.words.rstrip(".")))
        elif self._halting.is_wanted:
            found.append(FollowReason(code="comparing", message="tables are compared with the source"))
        elif not self.job.is_open:
            found.append(FollowReason(code="copying", message="the copy is not complete"))
        if self._context.is_paused:
            found.append(FollowReason(code="paused", message="the run is paused"))
        if lag is None:
            found.append(FollowReason(code="unknown_lag", message="how far it is behind is not known yet"))
        elif lag > FAR_BEHIND_S:
            message = f"it is {lag:.0f} s behind the source"
            if self._approach.is_never:
                message += ", and never catches up at this speed: add workers, or have less written to the source"
            found.append(FollowReason(code="lag", message=message))
        if self._checking.n_waiting > MUCH:
            keys = counted(self._checking.n_waiting, "key that was applied is", "keys that were applied are")
            message = f"{keys} still to be compared with the source"
            found.append(FollowReason(code="unverified", message=message))
        if self._checking.n_standing:
            rows = counted(
                self._checking.n_standing, "row differs from its document though it was",
                "rows differ from their documents though they were",
            )  # fmt: skip
            message = f"{rows} written again"
            found.append(FollowReason(code="differences", message=message))
        found += self._indexes.reasons if self._indexes is not None else []
        found += [FollowReason(code="dependants", message=each.rstrip(".")) for each in self._obstacles]
        found += [
            FollowReason(code="stream", message=redact(collector.told).rstrip("."))
            for collector in self._collectors
            if collector.told
        ]
        return found
