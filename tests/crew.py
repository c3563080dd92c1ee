"""A crew without processes: what a supervisor sends is kept, and what its members say is said by the test."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.cluster.crew import Counters, CrewEvents, Ended, Host
from engine.work.context import WorkerStart
from engine.work.messages import FromWorker, Ready, ToWorker

NOTHING_YET = Counters("idle", 0, 0, 0, 0, 0, 0, 0, silent_s=0.0, idle_s=0.0)


class FakeMember:
    """A member that does nothing by itself."""

    host = ""

    def __init__(self, number: int, crew: FakeCrew | None = None) -> None:
        self.id, self.pid, self.is_gone = number, 1_000 + number, False
        self.sent: list[ToWorker] = []
        self.sample = NOTHING_YET
        self.was_ended = False
        self._crew = crew

    def send(self, message: ToWorker) -> None:
        self.sent.append(message)

    def counters(self) -> Counters:
        return self.sample

    def end(self) -> None:
        self.was_ended = True

    def say(self, message: FromWorker) -> None:
        """A message of it arrives."""
        assert self._crew is not None
        self._crew.events.said(self, message)

    def leave(self, how: Ended) -> None:
        """It is no more."""
        assert self._crew is not None
        self.is_gone = True
        del self._crew.members[self.id]
        self._crew.events.left(self, how)


class FakeCrew:
    """As many members as are wanted, at once."""

    capacity: int | None = None
    hosts: Sequence[Host] = ()
    hosts_wanted = 0

    def __init__(self, events: CrewEvents) -> None:
        self.events = events
        self.members: dict[int, FakeMember] = {}
        self.refused: dict[str, str] = {}
        self.again_s: dict[str, float | None] = {}
        self.host_of: Callable[[int], str] = lambda number: ""
        """The host of the member of a number."""
        self._n_made = 0

    def want(self, n: int) -> None:
        while len(self.members) < (n if self.capacity is None else min(n, self.capacity)):
            self._n_made += 1
            member = self.members[self._n_made] = FakeMember(self._n_made, self)
            member.host = self.host_of(self._n_made)
            self.events.joined(member)

    def start_with(self, start: WorkerStart) -> None:
        pass

    def refuse(self, host: str, problem: str, again_s: float | None = None) -> None:
        """Starts none there any more."""
        self.refused[host] = problem
        self.again_s[host] = again_s

    async def stop_starting(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def all_ready(self) -> None:
        """Every member says that it is ready."""
        for member in list(self.members.values()):
            member.say(Ready(member.pid, "plain"))
