"""A cut-over's steps and their order, with a source and a ledger that answer at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest

from engine.mongo import write_block
from engine.mongo.causal import SourceClock
from engine.protocol import Event
from engine.run.cutting_over import CutOver, CuttingOver, Follower


@dataclass
class Collected:
    """The stream of changes, which reads only when it is waited for."""

    source: Source
    mark: int | None = None
    counted: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(after_mark=Counter()))

    async def until(self, at: int) -> None:
        if self.mark is not None and at > self.mark:
            self.counted.after_mark[("shop.orders", "insert")] = at - self.mark


@dataclass
class Source:
    """Its clock goes on with each write."""

    at: int = 1
    orders: list[bool] = field(default_factory=list)
    """What was asked of the write block."""
    blocking: asyncio.Event = field(default_factory=asyncio.Event)
    """Set, the server carries out the order to block writes."""

    async def clock(self) -> SourceClock:
        return SourceClock(self.at, self.at, 1)


class Finishing:
    """The last steps, which are counted."""

    def __init__(self) -> None:
        self.n_completed = 0
        self.refusal: Exception | None = None
        """Of the last transaction;"""
        self.is_undone_for_certain = True
        """that is known, then."""

    async def swap_obstacles(self) -> list[str]:
        return []

    async def count_followed(self, after: object, without: object) -> list[str]:
        return []

    async def complete_followed(
        self, mark: int, last_look: Callable[[bool], None], is_undone: Callable[[], None]
    ) -> None:
        is_undone()
        last_look(True)
        if self.refusal is not None:
            if self.is_undone_for_certain:
                is_undone()
            raise self.refusal
        self.n_completed += 1


class Scene:
    """A cut-over with all that it asks."""

    def __init__(self, while_indexes_are_built: Callable[[], None] = lambda: None) -> None:
        self.source, self.finishing = Source(), Finishing()
        self.told: list[Event] = []
        self.kept: list[bool] = []
        """What the ledger has of the write block."""
        self.answers = asyncio.Event()
        """Cleared, the ledger does what it is told, and does not say so."""
        self.answers.set()
        collected = Collected(self.source)

        async def nothing(*_: object, **__: object) -> None:
            return None

        async def build_last() -> None:
            while_indexes_are_built()

        async def interruptible(work: Awaitable[None]) -> None:
            await work

        async def ask(question: Any) -> Any:
            if (name := getattr(question, "func", question).__name__) != "set_block":
                return {"why_not": "", "is_blocked": False, "gossip_of": b""}[name]
            blocked = bool(question.keywords["blocked"])
            if blocked:
                await self.source.blocking.wait()
            self.source.orders.append(blocked)

        async def answer(value: object) -> Any:
            return value

        context = SimpleNamespace(
            enter=lambda *_: None, emit=self.told.append, interruptible=interruptible, is_paused=False
        )
        ledger = SimpleNamespace(
            set_write_block=self._keep, keys_left=lambda: answer((0, 0)), is_compared=lambda: answer(True),
            to_compare=lambda: answer(([], {})),
        )  # fmt: skip
        follower = SimpleNamespace(
            job=SimpleNamespace(is_open=True, is_idle=True, forget=lambda: None), collectors=lambda: [collected],
            enter=nothing, wake_all=nothing, retry_refused=nothing, read_clock=self.source.clock, until=nothing, ask=ask,
            expiring=lambda: (), checking=SimpleNamespace(is_urgent=False), compare_all=nothing, uncounted=lambda: (),
        )  # fmt: skip
        self._indexes = SimpleNamespace(build_last=build_last, called_off=nothing)
        self.cutting = CuttingOver(cast("Any", context), cast("Any", ledger), cast(Follower, follower), 0)

    async def _keep(self, *, blocked: bool) -> None:
        self.kept.append(blocked)
        if blocked:
            await self.answers.wait()

    def do(self, **wanted: Any) -> Coroutine[Any, Any, bool]:
        """Ask for it, and do it."""
        self.cutting.ask(CutOver(60.0, **wanted))
        return self.cutting.do(cast("Any", self.finishing), cast("Any", self._indexes))


async def settled() -> None:
    """Everything that can go on has gone on."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_it_is_done_when_nothing_is_written_behind_the_mark() -> None:
    scene = Scene()
    assert await scene.do()
    assert (scene.finishing.n_completed, scene.told) == (1, [])


async def test_what_is_written_while_indexes_are_built_is_read_before_the_last_transaction() -> None:
    def written() -> None:
        scene.source.at += 1

    scene = Scene(while_indexes_are_built=written)
    assert not await scene.do()
    assert scene.finishing.n_completed == 0
    (off,) = scene.told
    assert "the source was written to after the mark (1 in shop.orders)" in off.facts["message"]


async def test_a_write_block_is_lifted_when_the_order_to_set_it_is_through_though_it_is_called_off_before() -> None:
    scene = Scene()
    doing = asyncio.create_task(scene.do(blocks_writes=True))
    await settled()
    scene.cutting.call_off("ops")
    await settled()
    assert scene.source.orders == [], "the server has not carried it out yet"
    scene.source.blocking.set()
    assert not await doing
    assert scene.source.orders == [True, False]
    assert not scene.cutting.blocks_writes


async def test_a_write_block_that_is_kept_while_it_is_called_off_is_kept_no_longer() -> None:
    scene = Scene()
    scene.answers.clear()
    doing = asyncio.create_task(scene.do(blocks_writes=True))
    await settled()
    scene.cutting.call_off("ops")
    assert not await doing
    assert scene.kept == [True, False]
    assert scene.source.orders == [False]


async def test_a_last_transaction_that_is_refused_calls_it_off() -> None:
    scene = Scene()
    scene.source.blocking.set()
    scene.finishing.refusal = asyncpg.CheckViolationError("no")
    assert not await scene.do(blocks_writes=True)
    assert scene.source.orders == [True, False]
    (off,) = scene.told
    assert "its last transaction is refused" in off.facts["message"]


async def test_a_block_that_stays_behind_is_told_with_what_lifts_it() -> None:
    """It may be cut over, and then the writers are not to write to the source."""
    scene = Scene()
    scene.source.blocking.set()
    scene.finishing.refusal, scene.finishing.is_undone_for_certain = asyncpg.ConnectionDoesNotExistError("gone"), False
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await scene.do(blocks_writes=True)
    assert scene.source.orders == [True]
    (left,) = scene.told
    assert write_block.LIFT in left.facts["message"]
