"""The cut-over of a run that follows its source: the mark, what is left up to it, both sides counted, and the one transaction
that puts everything in place and says that it is done. Until that one it can be called off, and following goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import asyncpg

from engine.config import redact
from engine.errors import UsageError
from engine.follow.apply_job import ApplyJob
from engine.follow.collector import Collector
from engine.ledger.ledger import Ledger
from engine.mongo import causal, write_block
from engine.mongo.causal import CausalTime, SourceClock
from engine.mongo.connect import Client
from engine.plurals import counted
from engine.postgres.sqlstates import describe
from engine.protocol import CALLED_OFF, ProblemReported, RunState
from engine.run.checking import Checking
from engine.run.context import RunContext
from engine.run.finish import Finishing
from engine.run.followed_indexes import FollowedIndexes
from engine.run.steps import insist

POLL_S = 0.05
LET_WRITE_S = 5.0
"""How long the end of a run that is being cut over waits until MongoDB lets users write again."""
MAJORITY_S = 30.0
"""How long a cut-over waits for the majority to have the last write."""

WRITE_BLOCK = "write_block"
"""Code of the news of a block that an engine has left behind, or leaves."""
STOP_TTL = "db.adminCommand({setParameter: 1, ttlMonitorEnabled: false})"
"""What an operator enters for MongoDB to delete no document by itself."""

Result = TypeVar("Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CutOver:
    """What an operator asked for."""

    timeout_s: float
    """From the mark on."""
    blocks_writes: bool = False
    """MongoDB is to block all writes first."""
    compares_all: bool = False
    """Everything is to be compared at the mark."""


class CalledOff(Exception):
    """The cut-over cannot be done now; following goes on."""


class WakeAll(Protocol):
    """Has every key applied that the ledger has."""

    async def __call__(self, *, is_final: bool = False) -> None:
        """With `is_final`, what a constraint refuses becomes a reject."""
        ...


class Ask(Protocol):
    """Asks the source something, until there is an answer."""

    async def __call__(self, question: Callable[[Client], Result], /) -> Result:
        """Asks in a thread, with a client of the run."""
        ...


@dataclass(frozen=True, slots=True)
class Follower:
    """What follows the source, for its cut-over."""

    job: ApplyJob
    """Applies changed keys."""
    collectors: Callable[[], Sequence[Collector]]
    """Read the changes, one of each database."""
    enter: Callable[[str, int | None], Awaitable[None]]
    """Keeps how far it is: the phase, and the mark."""
    wake_all: WakeAll
    """Has every key applied that the ledger has."""
    retry_refused: Callable[[], Awaitable[None]]
    """Has the keys wait again of what a constraint refused for the sake of other rows."""
    read_clock: Callable[[], Awaitable[SourceClock]]
    """What the primary says of itself now."""
    until: Callable[[Callable[[], bool]], Awaitable[None]]
    """Returns when something holds and the run is not paused."""
    ask: Ask
    """Asks the source."""
    expiring: Callable[[], Collection[str]]
    """Namespaces that have a TTL index."""
    checking: Checking
    """Compares what was applied."""
    compare_all: Callable[[], Awaitable[None]]
    """Compares every document with its row, and has what differs applied."""
    uncounted: Callable[[], Collection[int]]
    """Tasks of tables that need not be what their collections are."""


class CuttingOver:
    """Asked for, done or called off, any number of times."""

    def __init__(self, context: RunContext, ledger: Ledger, follower: Follower, since: int) -> None:
        """None is asked for.

        Args:
            since: when the run began.
        """
        self._context = context
        self._ledger = ledger
        self._follower = follower
        self._since = since
        self._asked: CutOver | None = None
        self._off = asyncio.Event()
        """The one in hand is to be called off."""
        self._off_why = ""
        self._off_later = ""
        """What came too late to call it off, should its last transaction not be committed after all."""
        self._can_be_called_off = False
        self._mark: int | None = None
        self._limit: asyncio.Timeout | None = None
        self._deadline: float | None = None
        """Of the loop's time; None before there is a mark."""
        self.blocks_writes = False
        """MongoDB blocks all writes for the one in hand."""
        self._blocking: asyncio.Future[None] | None = None
        """The command that has it do so."""

    @property
    def is_asked(self) -> bool:
        """One is to be done, or is going on."""
        return self._asked is not None

    def ask(self, wanted: CutOver) -> None:
        """Have it done as soon as what follows looks for it.

        Raises:
            UsageError: one is going on.
        """
        if self._asked is not None:
            raise UsageError("The run is being cut over already.", code="state")
        self._off.clear()
        self._off_later = ""
        self._asked, self._can_be_called_off = wanted, True

    def call_off(self, by: str) -> None:
        """Break the cut-over off.

        Args:
            by: who asks for it; empty: not known.

        Raises:
            UsageError: there is none, or its last transaction is being committed.
        """
        if self._asked is None or not self._can_be_called_off:
            what = (
                "The run is not being cut over."
                if self._asked is None
                else "It is too late: the cut-over is being completed."
            )
            raise UsageError(what, code="state")
        self.interrupt(f"{by or 'an operator'} asked for it")

    def interrupt(self, why: str) -> None:
        """Break the cut-over off, where there is one and it can be.

        Args:
            why: in a few words.
        """
        if self._asked is None:
            return
        if not self._can_be_called_off:
            self._off_later = why
            return
        self._off_why = why
        self._off.set()

    async def do(self, finishing: Finishing, indexes: FollowedIndexes) -> bool:
        """Drain up to the source's last write, count, and complete; False when it is called off."""
        asked, context, follower = self._asked, self._context, self._follower
        assert asked is not None
        began = time.monotonic()
        context.enter(RunState.DRAINING, "draining")
        try:
            await context.interruptible(self._in_time(asked, finishing, indexes))
        except CalledOff as off:
            await self._let_write()
            self._forget()
            await indexes.called_off()
            # What became a reject because of the mark is a key that is blocked again.
            follower.job.forget()
            await follower.retry_refused()
            follower.job.is_open = True
            await follower.enter("following", None)
            context.enter(RunState.FOLLOWING, "following")
            await insist(context, follower.wake_all)
            # When that is told, another one can be asked for.
            message = f"The cut-over is called off: {redact(str(off))}. Following goes on, nothing is lost."
            context.emit(ProblemReported(code=CALLED_OFF, message=message))
            return False
        except BaseException:
            if self._can_be_called_off:  # else it may be committed
                with contextlib.suppress(Exception):  # a resume lifts the block, too
                    async with asyncio.timeout(LET_WRITE_S):
                        await self._let_write()
            if self.blocks_writes:
                message = (
                    "The cut-over was broken off, and MongoDB still refuses all writes: resume the run, which finds out what "
                    f"became of it and lets them through, or enter {write_block.LIFT}."
                )
                context.emit(ProblemReported(code=WRITE_BLOCK, message=message))
            raise
        with contextlib.suppress(Exception):  # it is cut over, whatever the source has to say
            async with asyncio.timeout(LET_WRITE_S):
                await self._read_upto_now()
        self._tell_of_writes_behind_it()
        log.info("cut over in %.1f s", time.monotonic() - began)
        return True

    async def _in_time(self, asked: CutOver, finishing: Finishing, indexes: FollowedIndexes) -> None:
        """All of it. Raises CalledOff when it takes longer than was allowed, from the mark to the last transaction."""
        try:
            async with asyncio.timeout(None) as self._limit:
                await self._unless_off(self._all_of_it(asked, finishing, indexes))
        except TimeoutError:
            if self._limit is None or not self._limit.expired():
                raise
            raise CalledOff(f"it took longer than {asked.timeout_s:g} s") from None

    async def _all_of_it(self, asked: CutOver, finishing: Finishing, indexes: FollowedIndexes) -> None:
        if obstacles := await insist(self._context, finishing.swap_obstacles):
            raise CalledOff(" ".join(obstacles).rstrip("."))
        if asked.blocks_writes:
            await self._block_writes()
        await self._drain(asked)
        await self._count(finishing)
        self._follower.job.is_open = False
        await indexes.build_last()
        await self._read_upto_now()  # what took minutes may have been written to meanwhile
        self._require_quiet()
        try:
            await finishing.complete_followed(self._mark or self._since, self._last_look, self._is_undone)
        except asyncpg.PostgresError as error:
            if not self._can_be_called_off:  # what became of it is not known
                raise
            raise CalledOff(f"its last transaction is refused: {describe(error)[1].rstrip('.')}") from error

    async def _unless_off(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What it gives. Raises CalledOff when that is asked for meanwhile."""
        doing, off = asyncio.create_task(work), asyncio.create_task(self._off.wait())
        try:
            await asyncio.wait((doing, off), return_when=asyncio.FIRST_COMPLETED)
            if off.done():
                raise CalledOff(self._off_why)
            return doing.result()
        finally:
            for task in (doing, off):
                task.cancel()
            await asyncio.gather(doing, off, return_exceptions=True)

    # --- MongoDB's write block ----------------------------------------------------------------------------------------

    async def _block_writes(self) -> None:
        """Let MongoDB refuse all writes of users. Where it does so already that is another's, and is lifted by nothing here."""
        ask = self._follower.ask
        if why := await ask(write_block.why_not):
            raise CalledOff(f"writes cannot be blocked: {why}")
        if await ask(write_block.is_blocked):
            log.info("writes are blocked already")
            return
        # Before it is so: a resume lifts what an engine leaves behind that is killed.
        self.blocks_writes = True  # a call-off may break the next step off when the ledger has it already
        await insist(self._context, partial(self._ledger.set_write_block, blocked=True))
        self._blocking = asyncio.ensure_future(ask(partial(write_block.set_block, blocked=True)))
        await asyncio.shield(self._blocking)

    async def _let_write(self) -> None:
        if self._blocking is not None:
            # Its thread goes on where a call-off broke the wait off: what lifts the block must not come before it.
            await asyncio.wait({self._blocking})
            self._blocking = None
        if self.blocks_writes:
            await self._follower.ask(partial(write_block.set_block, blocked=False))
            await insist(self._context, partial(self._ledger.set_write_block, blocked=False))
            self.blocks_writes = False

    # --- up to the mark -----------------------------------------------------------------------------------------------

    async def _drain(self, asked: CutOver) -> None:
        """Everything up to the source's last write is applied, as the ledger has it on disk."""
        follower = self._follower
        follower.checking.is_urgent = True
        while True:
            clock = await self._marked()
            await self._set_mark(clock.at, asked.timeout_s)
            for collector in follower.collectors():
                await collector.until(clock.at)
            await self._apply_all()
            if asked.compares_all:
                await follower.compare_all()
                await self._apply_all()
            _, found = await insist(self._context, self._ledger.to_compare)
            if standing := sum(stand for stand, _ in found.values()):
                raise CalledOff(counted(standing, "row differs from its document", "rows differ from their documents"))
            self._require_quiet()
            if (await follower.read_clock()).term == clock.term:
                return
            # Another primary: what it has as its last write may be something else.

    async def _apply_all(self) -> None:
        """No key is left to be applied, as the ledger has it on disk, nor to be compared.

        What a constraint refuses becomes a reject when no other row makes room for it any more.
        """
        follower, context = self._follower, self._context
        before, is_final = 0, False
        while True:
            await follower.until(lambda: follower.job.is_idle)
            left, blocked = await insist(context, self._ledger.keys_left)
            if not left:
                if await insist(context, self._ledger.is_compared):
                    return
                await asyncio.sleep(POLL_S)
                continue
            if left == blocked:
                if is_final and blocked == before:
                    names = ", ".join(sorted({each.by for each in await insist(context, self._ledger.blocked_keys)}))
                    rows = counted(
                        blocked, "row has to go, and others refer to it", "rows have to go, and others refer to them"
                    )
                    raise CalledOff(f"{rows} ({names})")
                is_final = before == blocked
                before = blocked
            await insist(context, partial(follower.wake_all, is_final=is_final))

    async def _set_mark(self, at: int, timeout_s: float) -> None:
        if self._mark is None and self._limit is not None:
            # Before the target is waited for: writers stand still meanwhile.
            self._deadline = asyncio.get_running_loop().time() + timeout_s
            self._limit.reschedule(self._deadline)
        await self._follower.enter("draining", at)
        self._mark = at
        for collector in self._follower.collectors():
            collector.mark = at
            collector.counted.after_mark.clear()

    async def _marked(self) -> SourceClock:
        """The primary's last write, which the majority has."""
        clock = await self._follower.read_clock()
        deadline = time.monotonic() + MAJORITY_S
        while (now := await self._follower.read_clock()).stays < clock.at:
            if time.monotonic() > deadline:
                raise CalledOff("the majority of the replica set does not have the source's last write")
            await asyncio.sleep(POLL_S)
        return clock if now.term == clock.term else await self._marked()

    async def _read_upto_now(self) -> None:
        """Whatever was written until now is known."""
        clock = await self._follower.read_clock()
        for collector in self._follower.collectors():
            await collector.until(clock.at)

    # --- behind it ----------------------------------------------------------------------------------------------------

    async def _count(self, finishing: Finishing) -> None:
        """Both sides hold as many, while nothing is written."""
        gossip = await self._follower.ask(causal.gossip_of)
        mark = CausalTime(self._mark or self._since, gossip)
        problems = await finishing.count_followed(mark, self._follower.uncounted())
        await self._read_upto_now()
        self._require_quiet()  # else the counts are of different times
        if problems:
            raise CalledOff("; ".join(problems))

    def _last_look(self, is_drained: bool) -> None:
        """From here on nothing keeps the transaction from its commit.

        Args:
            is_drained: everything up to the mark is applied, by the ledger.

        Raises:
            CalledOff: it is to be rolled back.
        """
        if self._off.is_set():
            raise CalledOff(self._off_why)
        if not is_drained:
            raise CalledOff("the target has lost what was applied last")
        self._require_quiet()
        self._can_be_called_off = False
        if self._limit is not None:
            self._limit.reschedule(None)

    def _is_undone(self) -> None:
        """No last transaction is committed, nor can one be any more: it can be called off, as before."""
        if self._can_be_called_off:
            return
        self._can_be_called_off = True
        if self._limit is not None:
            self._limit.reschedule(self._deadline)
        if self._off_later:
            self.interrupt(self._off_later)

    def _forget(self) -> None:
        self._asked = self._mark = self._deadline = None
        self._follower.checking.is_urgent = False
        for collector in self._follower.collectors():
            collector.mark = None
            collector.counted.after_mark.clear()

    # --- writers that are not stopped ---------------------------------------------------------------------------------

    def _require_quiet(self) -> None:
        """Raise CalledOff when there were writes behind the mark."""
        if written := self._written_since():
            raise CalledOff(written)

    def _tell_of_writes_behind_it(self) -> None:
        """The run is cut over: writes that came meanwhile are news, and nothing more."""
        if written := self._written_since():
            message = f"While the cut-over was completed, {written}: they are not in the target."
            self._context.emit(ProblemReported(code="writes_after_mark", message=message))

    def _written_since(self) -> str:
        """That there were writes behind the mark, in a few words; empty where there were none."""
        found: Counter[tuple[str, str]] = Counter()
        for collector in self._follower.collectors():
            found.update(collector.counted.after_mark)
        return written_words(found, self._follower.expiring())


def written_words(written: Mapping[tuple[str, str], int], expiring: Collection[str]) -> str:
    """`the source was written to after the mark (2 in shop.orders): its writers are not stopped`; empty where it was not.

    Args:
        written: how often, by namespace and kind of change.
        expiring: namespaces in which documents are deleted by the server, when they are old.
    """
    expired = {namespace: n for (namespace, kind), n in written.items() if kind == "delete" and namespace in expiring}
    others: Counter[str] = Counter()
    for (namespace, kind), count in written.items():
        if kind != "delete" or namespace not in expiring:
            others[namespace] += count
    named = [f"{count:,} in {namespace}" for namespace, count in others.items()]
    named += [
        f"{counted(count, 'delete')} in {namespace}, which has a TTL index" for namespace, count in expired.items()
    ]
    if not named:
        return ""
    causes = ["its writers are not stopped"] if others else []
    causes += [f"{STOP_TTL} keeps the server from deleting what is old"] if expired else []
    return f"the source was written to after the mark ({'; '.join(named)}): {', and '.join(causes)}"
