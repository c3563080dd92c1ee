"""What a run that follows its source has applied, compared with the source beside all else: up to when that is done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from engine.follow.check_job import CheckJob
from engine.ledger.ledger import Ledger
from engine.run.context import RunContext
from engine.work.connections import EXPLAINED, failure_of

LOOK_S, URGENT_S = 0.5, 0.05
"""How often it is looked what waits; and while writers stand still for it."""
MUCH = 20_000
"""With more keys than this still to be compared a cut-over would take long: it is not ready."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sight:
    """What the comparing has to know of the following."""

    applied: Callable[[], int]
    """Changes up to that time are applied, as long as that is certain;"""
    is_certain: Callable[[], bool]
    """it is not while tables are to be compared as a whole, or where it is not known which keys wait."""
    position: Callable[[int], int]
    """How far the stream of a table is, by task."""
    want: Callable[[int, int], None]
    """Have the stream of a table come as far as that, by task, without waiting for more changes."""
    gossip: Callable[[], bytes]
    """`$clusterTime`, as BSON; blocks."""
    wake: Callable[[], None]
    """Keys are to be applied again."""


class Checking:
    """Finds what can be compared, and knows what came of it."""

    def __init__(self, context: RunContext, ledger: Ledger, sight: Sight) -> None:
        """Nothing is compared yet."""
        self.job = CheckJob(context, sight.wake)
        self.verified_to: int | None = None
        """All changes up to that time are applied, and were compared since; None before that is known. It stays as it is while
        more is not certain."""
        self.is_urgent = False
        """A cut-over waits for it."""
        self.n_waiting = 0
        """Keys that were applied and are still to be compared."""
        self.n_standing = self.n_mended = 0
        """Documents that differ though they were written again; that had differed and do not any more."""
        self._context = context
        self._ledger = ledger
        self._sight = sight

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self._look()
            except EXPLAINED as error:
                log.info("what is to be compared is not known: %s", failure_of(error).sentence)
            await asyncio.sleep(URGENT_S if self.is_urgent else LOOK_S)

    async def _look(self) -> None:
        sight = self._sight
        # Before the ledger is asked: what is applied behind that is in it.
        was_certain, applied = sight.is_certain(), sight.applied()
        waiting, found = await self._ledger.to_compare()
        self.n_waiting = sum(each.n_keys for each in waiting)
        self.n_standing = sum(stand for stand, _ in found.values())
        self.n_mended = sum(mended for _, mended in found.values())
        if was_certain and sight.is_certain():
            self.verified_to = min([applied, *(each.since for each in waiting)])
        ready = [each for each in waiting if each.at <= sight.position(each.task_id)]
        for each in waiting:
            sight.want(each.task_id, each.at)
        self.job.offer(ready, await asyncio.to_thread(sight.gossip) if ready else b"")
        if ready and self.job.is_open:
            self._context.cluster.dispatch()
