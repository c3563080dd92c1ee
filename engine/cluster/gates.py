"""What is asked of another host before a worker there gets a lease: the same program, converter and servers as here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from engine.work.context import WorkerStart
from engine.work.messages import Probed

AGAIN_S = 1.0
"""A server that this host cannot reach now is tried again after so long."""
SOON_S = 3.0
"""A host that could not reach a server is asked again after so long, for the first time."""
ASK_AGAIN_S = 30.0
"""And then each time after so long."""


def refusal(here: Probed, there: Probed) -> str:
    """Why a host may not take part, as "host b: ..." goes on; empty where it may.

    Args:
        here: what the engine finds on its own host; without a problem.
    """
    if there.version != here.version:
        return f"mongopg-tui {there.version} is installed there, this engine is {here.version}: install the same one."
    if there.message_format != here.message_format:
        return (
            f"its messages have format {there.message_format}, those of this engine {here.message_format}: install the same "
            "mongopg-tui there."
        )
    if there.problem:
        return there.problem
    if there.converter != here.converter:
        return (
            f"its converter is the {there.converter} one, that of this engine the {here.converter} one: install mongopg-tui "
            'there with the same converters built, or set run.converter = "plain".'
        )
    if here.source is not None and (there.source is None or not here.source.is_same(there.source)):
        return (
            "source.uri leads to another MongoDB there than here: name a host that is the same server from everywhere, not "
            "localhost."
        )
    if here.target is not None and there.target != here.target:
        return (
            "target.uri leads to another PostgreSQL, or another database, there than here: name a host that is the same server "
            "from everywhere, not localhost."
        )
    return ""


def is_installed_as(host_version: str, host_format: int, here: Probed) -> str:
    """The part of `refusal` that is known before a worker runs on the host."""
    there = Probed(host_version, host_format, here.converter, here.python, 0, here.source, here.target)
    return refusal(here, there)


class Gates:
    """Which hosts may have leases. The engine's own always may."""

    def __init__(
        self, look: Callable[[WorkerStart], Awaitable[Probed]], on_judged: Callable[[str, str, float | None], None]
    ) -> None:
        """No host is known.

        Args:
            look: what this host has.
            on_judged: called with a host, why it may have none (empty where it may), and after how many seconds it is to be
                asked again; None where that is of no use.
        """
        self.has_opened = False
        """A host was let in at some time."""
        self.start = WorkerStart("", "", "", "auto")
        """With what workers are started."""
        self._look, self._on_judged = look, on_judged
        self._open: set[str] = set()
        self._refused: set[str] = set()
        self._asked: dict[str, int] = {}
        """Hosts that are not judged yet, with the worker that was asked."""
        self._looking: dict[str, asyncio.Task[Probed]] = {}
        """Begun when a host was asked: both looks take their time."""
        self._judging: dict[str, asyncio.Task[None]] = {}
        self._tries: dict[str, int] = {}

    def is_open(self, host: str) -> bool:
        """It may have leases."""
        return not host or host in self._open

    def is_refused(self, host: str) -> bool:
        """It may have none."""
        return host in self._refused

    def is_asking(self, worker: int, host: str) -> bool:
        """This worker is the one to be asked what its host has: none was before."""
        if host not in self._asked:
            self._asked[host] = worker
            self._looking[host] = asyncio.create_task(self._looked(), name=f"look for host {host}")
        return self._asked[host] == worker

    def is_asked(self, worker: int, host: str) -> bool:
        """This worker was asked, and its host is not judged yet."""
        return host not in self._open | self._refused and self._asked.get(host) == worker

    def judge(self, host: str, there: Probed) -> None:
        """The answer of a host: compare it with what this one has."""
        if host not in self._judging:
            self._judging[host] = asyncio.create_task(self._judge(host, there), name=f"judge host {host}")

    def refuse(self, host: str) -> None:
        """A host may have none, whatever it would answer."""
        self.forget(host)
        self._refused.add(host)

    def tries(self, host: str) -> int:
        """How often in a row it could not reach a server."""
        return self._tries.get(host, 0)

    def forget(self, host: str) -> None:
        """Nothing is known of a host any more but how often it was tried."""
        self._open.discard(host)
        self._refused.discard(host)
        self._asked.pop(host, None)
        for task in (self._judging.pop(host, None), self._looking.pop(host, None)):
            if task is not None and task is not asyncio.current_task():
                task.cancel()

    def close(self) -> None:
        """Judge none any more."""
        for host in [*self._judging, *self._looking]:
            self.forget(host)

    async def _looked(self) -> Probed:
        return await self._look(self.start)

    async def _judge(self, host: str, there: Probed) -> None:
        looking = self._looking.pop(host, None)
        here = await looking if looking is not None else None
        was_away_here = here is not None and bool(here.problem)
        if here is None or here.problem or refusal(here, there):  # what was so then may be another way by now
            while (here := await self._look(self.start)).problem:
                was_away_here = True
                await asyncio.sleep(AGAIN_S)
        problem = refusal(here, there)
        self._judging.pop(host, None)
        if not problem:
            self.has_opened = True
            self._tries.pop(host, None)
            self._open.add(host)
            self._on_judged(host, "", None)
        elif there.is_away and problem == there.problem:
            self._tries[host] = self.tries(host) + 1
            # A server that was away for this host, too, and is back, may be back for the other one.
            self._on_judged(host, problem, SOON_S if was_away_here or self.tries(host) == 1 else ASK_AGAIN_S)
        else:
            self._refused.add(host)
            self._on_judged(host, problem, None)
