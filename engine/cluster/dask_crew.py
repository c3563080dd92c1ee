"""Members on the hosts of a Dask cluster, behind the seam of `engine.cluster.crew`.

::

    DaskCrew        how many are wanted, and where: spread evenly, on what room there is
      |-- DaskPlace      one worker of Dask: what was asked of it, and the conversation with the host process there
      |     |-- DaskMember    one of ours

Dask launches, and carries parcels (`engine.cluster.dask_agent`). It decides nothing: it runs tasks again as it likes, and an
agent that runs again only says that there is room. What members do is between them and the supervisor; that what they write
counts once is the ledger's part. A place that is silent, or that Dask does not have any more, is lost with its members.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from itertools import chain, count
from typing import Any

from engine import __version__
from engine.cluster.crew import Counters, CrewEvents, Ended, Host
from engine.cluster.dask_agent import Report, agent, put, take
from engine.cluster.dask_site import DaskSite
from engine.cluster.host_words import (
    CODEC,
    ENGINE,
    HOST,
    HOST_SILENT_S,
    SIGN_EVERY_S,
    Beat,
    Begin,
    Begun,
    End,
    Here,
    Left,
    NotBegun,
    Open,
    Said,
    Tell,
)
from engine.cluster.mailbox import Mailbox
from engine.cluster.pace import Pace
from engine.errors import ConnectError, MigrationError, UsageError
from engine.plurals import counted
from engine.work.codec import BadMessage
from engine.work.context import WorkerStart
from engine.work.frames import FORMAT
from engine.work.messages import Ready, ToWorker
from engine.work.slots import N_SLOTS

LOOK_EVERY_S = 1.0
"""How often the scheduler is asked which workers it has."""
LISTEN_S = 1.0
"""How long a call waits for what a host has to say."""
CALL_S = 10.0
"""How long any call may take beyond that."""
LOOK_S = 3.0
"""How long the scheduler may take to tell which workers it has."""
GREET_S = 2.0
"""So long other hosts wait for one that has just come: workers are spread over all that answer, not sent to the quickest."""
AGENT_START_S = 10.0
"""An agent that Dask has not started by then waits for other tasks: room is looked for elsewhere, too."""
WATCH_EVERY_S = 0.5
ROOM_TOLD_S = 5.0
"""So long there has to be too little room before it is told: hosts come one by one."""
SCALE_AGAIN_S = 30.0
"""How often the cluster is asked for more hosts as long as they do not come: what starts them may have been started later."""
AGAIN_S = 0.5
"""Pause after a call that failed."""
MOST_ENDS = 5
"""Host processes of a place that ended, one after the other, before one had a worker that was ready: none can live there."""
FIRST_REST_S = 0.5
"""Pause before another host process is started in the place of one that ended; twice as long after each further one."""
SHOWN_HOSTS = 5
"""Reasons of so many hosts are told."""
ENDED_POLL_S = 0.1
"""Pause between two looks whether a place that has no host process has one."""
CANCEL_S = 0.5
"""A task that was cancelled and goes on for so long is cancelled again."""
CALLS_PER_S, AT_ONCE = 40.0, 4
"""Calls to tell a host something, in the long run and after a rest; what is said meanwhile goes with the next one."""
MEMBER_STARTING = Counters("starting", 0, 0, 0, 0, 0, 0, 0, silent_s=0.0, idle_s=0.0)

log = logging.getLogger(__name__)


class DaskMember:
    """A worker process on another host."""

    def __init__(self, number: int, place: DaskPlace) -> None:
        self.id = number
        self.pid = 0
        self.is_gone = False
        self._place = place
        self._sample = MEMBER_STARTING
        self._sampled = time.monotonic()

    @property
    def host(self) -> str:
        """Name of its host."""
        return self._place.name

    def send(self, message: ToWorker) -> None:
        """Never blocks; dropped when it is gone."""
        if not self.is_gone:
            self._place.say(Tell(self.id, message))

    def counters(self) -> Counters:
        """The newest that has arrived, as old as it is by now."""
        age_s = time.monotonic() - self._sampled
        sample = self._sample
        return replace(sample, silent_s=sample.silent_s + age_s, idle_s=sample.idle_s + age_s)

    def end(self) -> None:
        """Have its host kill it."""
        self._place.say(End(self.id))

    def take(self, sample: Counters) -> None:
        """A sample has arrived."""
        self._sample, self._sampled = sample, time.monotonic()


class DaskPlace:
    """One worker of Dask, and the conversation with the host process there."""

    def __init__(self, address: str, n_threads: int, session: str) -> None:
        """Nothing is asked of it.

        Args:
            session: name of its conversation, which no other place has.
        """
        self.address = address
        self.session = session
        self.n_threads = n_threads
        self.name = address.rpartition("/")[2]
        self.members: dict[int, DaskMember] = {}
        self.agents: list[Any] = []
        """Those that were asked for and have not returned."""
        self.relay_id = ""
        """Empty before the first agent has answered."""
        self.n_slots = 0
        """Agents that have answered."""
        self.mailbox: Mailbox | None = None
        self.key = b""
        self.here: Here | None = None
        self.load = 0.0
        self.round_trip_s = 0.0
        self.problem = ""
        """Why it takes no members."""
        self.again_at: float | None = None
        """When it is used again; None of a problem that does not pass."""
        self.n_ends = 0
        """Host processes in a row that ended before a worker was ready."""
        self.rests_until = 0.0
        """No agent is asked for before that."""
        self.is_in_conversation = False
        self.is_answering = False
        """It has answered a call: only then agents are asked for there."""
        self.known_at = time.monotonic()
        self.is_leaving = False
        """Its Dask worker closes: its members finish what they have in hand."""
        self.asked = 0.0
        """When the last agent was asked for."""
        self.waits_since = 0.0
        """When one was asked for, and none was there."""
        self.heard = time.monotonic()
        self.news = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def room(self) -> int:
        """Members that can be started now."""
        return max(0, self.n_slots - len(self.members)) if self.mailbox is not None else 0

    @property
    def expected(self) -> int:
        """Agents that there are, or will be soon."""
        # A client that has lost its scheduler for a moment knows of no agent any more, and they are there.
        return self.n_slots if self.is_stuck else max(self.n_slots, len(self.agents))

    @property
    def is_waiting(self) -> bool:
        """Dask has started none of the agents that were asked for."""
        is_long = time.monotonic() - self.waits_since > AGENT_START_S
        return bool(self.agents) and is_long and not self.n_slots and not self.n_ends

    @property
    def is_stuck(self) -> bool:
        """The last agent that was asked for should be there."""
        return time.monotonic() - self.asked > AGENT_START_S

    @property
    def can_ask(self) -> bool:
        """Another agent may be asked for."""
        has_room = max(self.expected, len(self.agents)) < self.n_threads
        return has_room and time.monotonic() >= self.rests_until

    @property
    def may_answer(self) -> bool:
        """It has just come, and has not answered yet."""
        return not (self.is_answering or self.problem) and time.monotonic() - self.known_at < GREET_S

    @property
    def share(self) -> float:
        """How full it is, with what was asked for."""
        return self.expected / self.n_threads

    def do(self, work: Coroutine[Any, Any, None], what: str) -> None:
        """Have something done as long as the place is used."""
        task = asyncio.create_task(work, name=f"{what} {self.address}")
        self.tasks.add(task)
        task.add_done_callback(self._is_done)

    def _is_done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: failed", task.get_name(), exc_info=error)

    def say(self, message: object) -> None:
        """To its host process."""
        if self.mailbox is not None:
            self.mailbox.put(message)
            self.news.set()

    def view(self, version: str) -> Host:
        """As front ends show it."""
        cores = self.here.cores if self.here is not None else 0
        return Host(
            self.name, self.address, self.n_threads, len(self.members), self.round_trip_s, cores, self.load,
            version if self.here is not None else "", self.problem, self.again_at is not None,
        )  # fmt: skip


class DaskCrew:
    """As many members as are wanted, as far as the cluster has room."""

    def __init__(self, events: CrewEvents, site: DaskSite) -> None:
        """It has no members, and is not connected."""
        self.events = events
        self._site = site
        self._session = f"mongopg-{secrets.token_hex(8)}"
        """How names of its conversations begin; the scheduler may show them."""
        self._places: dict[str, DaskPlace] = {}
        self._wanted = 0
        self._start: WorkerStart | None = None
        self._client: Any = None
        """Of Dask; None before it is connected."""
        self._keeping: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._is_away = False
        """The scheduler does not answer."""
        self._enough = time.monotonic()
        """When there was room for all last."""
        self._told_lack = ""
        """What kept members from being started, as last told."""
        self.hosts_wanted = 0
        """As the cluster was asked to have; 0 where there is room for all, or it is not asked."""
        self._scaled = float("-inf")
        """When it was asked."""
        self._asking: set[asyncio.Task[None]] = set()

    # --- what the supervisor asks -------------------------------------------------------------------------------------

    @property
    def capacity(self) -> int | None:
        """Threads of the workers that Dask has."""
        return sum(place.n_threads for place in self._usable) if self._client is not None else None

    @property
    def hosts(self) -> Sequence[Host]:
        """The workers that Dask has."""
        return [place.view(__version__) for place in self._places.values()]

    def start_with(self, start: WorkerStart) -> None:
        """What members that are started from here on have to know; connects when it is said first."""
        self._start = start
        if self._client is not None and (sent := self._sent()) is not None:
            for place in self._places.values():
                place.say(Open(sent))
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(), name="keep the Dask cluster")

    def _sent(self) -> WorkerStart | None:
        """What members are sent to start with: no secrets where these are on their hosts; None where they may not be sent."""
        assert self._start is not None
        try:
            return self._start.for_other_hosts(is_private=self._site.is_private)
        except UsageError as error:
            self.events.cannot_start(error)
            return None

    def want(self, n: int) -> None:
        """So many in all, those that are about to leave included."""
        self._wanted = n
        self._balance()

    def refuse(self, host: str, problem: str, again_s: float | None = None) -> None:
        """Start no members on a host any more, or for so many seconds."""
        for place in [*self._places.values()]:
            if place.name == host:
                self._give_up(place, problem.rstrip("."), again_s)

    async def stop_starting(self) -> None:
        """Start none any more."""
        self._wanted = 0

    async def close(self) -> None:
        """There are no members left: agents return, and no call is made any more."""
        self._wanted = 0
        await _ended(task for task in (self._keeping, self._watching) if task is not None)
        places = [*self._places.values()]
        self._places.clear()
        with contextlib.suppress(
            Exception
        ):  # a scheduler that is away; agents miss our sign then, and return by themselves
            async with asyncio.timeout(CALL_S):
                await asyncio.gather(*(self._put(place, [], slots=0) for place in places if place.relay_id))
        for place in places:
            await self._leave(place)

    # --- which places there are ---------------------------------------------------------------------------------------

    @property
    def _usable(self) -> list[DaskPlace]:
        return [
            place for place in self._places.values() if place.is_answering and not (place.problem or place.is_leaving)
        ]

    @property
    def _members(self) -> dict[int, DaskMember]:
        return {number: member for place in self._places.values() for number, member in place.members.items()}

    async def _keep(self) -> None:
        """Be connected, and tell when that cannot be."""
        try:
            await self._connect_and_look()
        except MigrationError as error:
            self.events.cannot_start(error)
        except Exception as error:
            log.exception("the Dask cluster cannot be used")
            message = f"The Dask cluster cannot be used ({type(error).__name__}); the engine's log says more."
            self.events.cannot_start(MigrationError(message, code="dask_internal"))

    async def _connect_and_look(self) -> None:
        """Connect, and look again and again which workers Dask has."""
        try:
            self._client = await self._site.client()
        except MigrationError as error:
            self.events.cannot_start(error)
            return
        if self._sent() is None:
            return
        self._enough = time.monotonic()
        self._watching = asyncio.create_task(self._watch(), name="watch the hosts")
        while True:
            await self._look()
            self._balance()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _watch(self) -> None:
        """Miss places that are silent, whatever the scheduler says, or does not say."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            for place in [*self._places.values()]:
                if place.mailbox is not None and time.monotonic() - place.heard > HOST_SILENT_S:
                    try:
                        self._lose(place, f"gave no sign for {HOST_SILENT_S:.0f} s")
                    except Exception:
                        log.exception("a silent host cannot be given up")

    async def _look(self) -> None:
        """Ask the scheduler for its workers."""
        assert self._client is not None
        self._site.check_alive()
        try:
            self._client = await self._site.client()
            async with asyncio.timeout(LOOK_S):
                found: dict[str, int] = await self._client.nthreads()
        except (OSError, TimeoutError, ConnectError) as error:
            self._scheduler_is_away(type(error).__name__)
            return
        if self._is_away:
            self._is_away = False
            self._enough = time.monotonic()
            self.events.noticed("scheduler", f"{_capital(self._site.words)} answers again.", is_retry=False)
        for place in [place for address, place in self._places.items() if address not in found]:
            if place.is_leaving and place.members:
                continue  # it is still heard of, or missed soon
            if not place.is_leaving and await self._was_retired(place):
                self._place_leaves(place)
            if self._has(place):
                self._lose(place, "was on a worker that Dask has lost")
        self._site.saw(found)
        for address, n_threads in found.items():
            if address not in self._places:
                place = DaskPlace(address, max(1, min(n_threads, N_SLOTS)), f"{self._session}-{secrets.token_hex(4)}")
                self._places[address] = place
                place.do(self._greet(place), "greet")
        for place in self._places.values():
            if place.again_at is not None and time.monotonic() >= place.again_at:
                place.problem, place.again_at = "", None

    def _has(self, place: DaskPlace) -> bool:
        """It is not lost."""
        return self._places.get(place.address) is place

    async def _was_retired(self, place: DaskPlace) -> bool:
        """Dask was told to do without it. The scheduler knows: its worker is mostly gone before it can say so itself."""
        assert self._client is not None
        with contextlib.suppress(Exception):  # then it is lost
            async with asyncio.timeout(LOOK_S):
                events = [event for _, event in await self._client.get_events(place.address)]
            removed = [event for event in events if isinstance(event, dict) and event.get("action") == "remove-worker"]
            return bool(removed and removed[-1].get("expected"))
        return False

    def _scheduler_is_away(self, why: str) -> None:
        if not self._is_away:
            self._is_away = True
            message = f"{_capital(self._site.words)} does not answer ({why}): the run waits for it."
            self.events.noticed("scheduler", message)

    async def _greet(self, place: DaskPlace) -> None:
        """Use a place when it answers: the scheduler goes on naming one that hangs."""
        while self._has(place) and not place.is_answering:
            try:
                async with asyncio.timeout(CALL_S):
                    await self._call(place, take, place.session, "", 0, 0.0)
            except Exception as error:
                if _is_not_installed(error):
                    self._give_up(place, _why_unfit(error))
                    return
                log.info("%s does not answer: %s", place.address, type(error).__name__)
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                place.is_answering = True
        self._balance()

    def _lose(self, place: DaskPlace, words: str) -> None:
        """A place is gone, or out of reach, and its members with it."""
        n = len(place.members)
        place.is_answering = False
        if place.here is not None and (n or not place.is_leaving):
            goes_on = f": its {counted(n, 'worker')} and their work go to others" if n else ""
            self.events.noticed("host", f"Host {place.name} is {'gone' if place.is_leaving else 'lost'}{goes_on}.")
        self._lose_members(place, words)
        if self._has(place):
            del self._places[place.address]
        for task in place.tasks:
            task.cancel()
        for each in place.agents:
            each.release()

    def _lose_members(self, place: DaskPlace, words: str) -> None:
        place.mailbox = None  # the supervisor may want others at once: there is no room for them here
        for member in place.members.values():
            member.is_gone = True
        while place.members:  # a number is free when the supervisor knows that its member has left
            _, member = place.members.popitem()
            self.events.left(member, Ended(words, None, certain=False))

    async def _leave(self, place: DaskPlace) -> None:
        await _ended(place.tasks)
        for each in place.agents:
            each.release()

    # --- how many, and where ------------------------------------------------------------------------------------------

    def _balance(self) -> None:
        """Start members where there is room, ask for more room, or give back what is not needed. Ends none."""
        if self._client is None or self._is_away:
            return
        while len(self._members) < self._wanted and (place := self._emptiest(lambda each: each.room > 0)):
            self._begin(place)
        is_early = any(place.may_answer for place in self._places.values())
        while not is_early and self._n_asked < self._wanted and (place := self._emptiest(lambda each: each.can_ask)):
            self._ask(place)
        self._give_back()
        self._tell_lack()

    @property
    def _n_asked(self) -> int:
        return sum(place.expected for place in self._usable)

    def _emptiest(self, is_fit: Callable[[DaskPlace], bool]) -> DaskPlace | None:
        fit = [place for place in self._usable if is_fit(place)]
        return min(fit, key=lambda place: (len(place.members) / place.n_threads, place.share), default=None)

    def _ask(self, place: DaskPlace) -> None:
        """For room for another member."""
        assert self._client is not None
        future = self._client.submit(
            agent, place.session, workers=[place.address], allow_other_workers=False, retries=0, pure=False,
            key=f"{place.session}-{secrets.token_hex(4)}",
        )  # fmt: skip
        if not place.agents:
            place.waits_since = time.monotonic()
        place.agents.append(future)
        place.asked = time.monotonic()
        place.do(self._await(place, future), "wait for an agent on")
        if not place.is_in_conversation:
            place.is_in_conversation = True
            place.do(self._listen(place), "listen to")
            place.do(self._speak(place), "speak to")

    async def _await(self, place: DaskPlace, future: Any) -> None:
        """An agent: until it returns, or fails, in which case that place is not used."""
        try:
            await future
        except Exception as error:
            if future.status == "error":
                log.warning("an agent on %s failed: %r", place.address, error)
                self._give_up(place, _why_unfit(error))
        place.agents.remove(future)
        self._balance()

    def _give_up(self, place: DaskPlace, problem: str, again_s: float | None = None) -> None:
        """Use a place no more, or not for so many seconds; that it is so is seen by its problem."""
        if place.problem and (place.again_at is None or again_s is not None):
            return
        place.problem = problem
        place.again_at = None if again_s is None else time.monotonic() + again_s
        # One that has not answered yet may be fit.
        is_over = all(each.problem and each.again_at is None for each in self._places.values())
        if is_over and not self._members:
            self.events.cannot_start(UsageError(f"No host of the Dask cluster can take workers: {problem}."))
        self._balance()

    def _begin(self, place: DaskPlace) -> None:
        """Start a member."""
        taken = self._members
        number = next(number for number in count(1) if number not in taken)
        member = place.members[number] = DaskMember(number, place)
        place.say(Begin(number))
        self.events.joined(member)

    def _give_back(self) -> None:
        surplus = self._n_asked - max(self._wanted, len(self._members))
        for place in sorted(self._usable, key=lambda each: -each.share):
            spare = min(surplus, place.room)
            if spare > 0:
                place.n_slots -= spare
                surplus -= spare
                keep = place.n_slots
                place.do(self._release(place, keep), "give room back to")

    async def _release(self, place: DaskPlace, keep: int) -> None:
        with contextlib.suppress(Exception):  # it is tried again when another look finds it so
            await self._put(place, [], slots=keep)

    def _tell_lack(self) -> None:
        """Tell once what keeps members from being started, and ask for more hosts where there are too few."""
        room = sum(place.n_threads for place in self._usable)
        is_asked = False
        if self._wanted <= room:
            self.hosts_wanted = 0
        else:
            is_asked = self._ask_for_hosts()
        lack = self._lack(room, is_asked=is_asked)
        if not lack:
            self._told_lack = ""
            self._enough = time.monotonic()
        elif lack != self._told_lack and time.monotonic() - self._enough > ROOM_TOLD_S:
            self._told_lack = lack
            self.events.noticed("slots", lack, is_retry=False)

    def _lack(self, room: int, *, is_asked: bool) -> str:
        """What keeps members from being started, in a sentence; empty for nothing."""
        if not self._wanted:
            return ""
        if not self._places:
            more = f", and is asked for {counted(self.hosts_wanted, 'host')}" if is_asked else ""
            return f"The Dask cluster has no workers{more}: the work goes on when one joins."
        if not self._usable:
            refused = [place for place in self._places.values() if place.problem]
            if not refused:
                return "No worker of the Dask cluster answers: the work goes on when one does."
            reasons = " ".join(f"Host {each.name}: {each.problem}." for each in refused[:SHOWN_HOSTS])
            return f"No host of the Dask cluster takes workers now: the work goes on when one does. {reasons}"
        if not self._members and all(place.is_waiting for place in self._usable):
            return "The Dask cluster runs other tasks on all of its threads: the work goes on when one is free."
        if self._wanted <= room:
            return ""
        more = f"it is asked for {counted(self.hosts_wanted, 'host')}" if is_asked else "more are used as they come"
        wanted = counted(self._wanted, "worker is", "workers are")
        return f"{wanted} wanted and the Dask cluster has {counted(room, 'slot')}: {more}."

    def _ask_for_hosts(self) -> bool:
        """Ask the cluster for as many hosts as it takes, where that is wanted; it is never asked for fewer."""
        hosts = self._site.hosts_for(self._wanted, [place.n_threads for place in self._places.values()])
        if hosts <= len(self._places):
            self.hosts_wanted = 0
            return False
        if hosts != self.hosts_wanted or time.monotonic() - self._scaled > SCALE_AGAIN_S:
            self.hosts_wanted, self._scaled = hosts, time.monotonic()
            log.info("the Dask cluster is asked for %d hosts", hosts)
            asking = asyncio.create_task(self._site.scale(hosts), name=f"ask for {hosts} hosts")
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
        return True

    # --- the conversation with a host ---------------------------------------------------------------------------------

    async def _listen(self, place: DaskPlace) -> None:
        while self._has(place):  # a call that is cancelled may fail with an error of its own, or return
            try:
                async with asyncio.timeout(LISTEN_S + CALL_S):
                    content = await self._call(place, take, place.session, place.relay_id, place.n_slots, LISTEN_S)
            except Exception as error:
                log.info("%s does not answer: %s", place.address, type(error).__name__)
                await asyncio.sleep(AGAIN_S)
                continue
            if content and self._has(place):
                self._hear(place, Report(content))
            if place.mailbox is None:
                await asyncio.sleep(ENDED_POLL_S)  # an answer that there is none comes at once

    async def _speak(self, place: DaskPlace) -> None:
        pace = Pace(CALLS_PER_S, AT_ONCE)
        while self._has(place):  # as above
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(place.news.wait(), SIGN_EVERY_S)
            place.news.clear()
            if place.mailbox is None:
                continue
            parcels = [place.mailbox.parcel()]
            while place.mailbox.has_news:
                parcels.append(place.mailbox.parcel())
            began = time.monotonic()
            try:
                await self._put(place, parcels)
            except Exception as error:
                log.info("%s cannot be told: %s", place.address, type(error).__name__)
                await asyncio.sleep(AGAIN_S)
            else:
                place.round_trip_s = time.monotonic() - began
            await asyncio.sleep(pace.sent())

    async def _put(self, place: DaskPlace, parcels: list[bytes], slots: int = -1) -> None:
        async with asyncio.timeout(CALL_S):
            await self._call(place, put, place.session, place.relay_id, place.key, parcels, slots)

    async def _call(self, place: DaskPlace, function: Any, *arguments: object) -> Any:
        assert self._client is not None
        answers = await self._client.run(function, *arguments, workers=[place.address])
        return answers[place.address]

    def _hear(self, place: DaskPlace, report: Report) -> None:
        """What `take` has brought."""
        if (report.version, report.format) != (__version__, FORMAT):
            self._give_up(place, f"it has mongopg-tui {report.version}, and this is {__version__}")
            return
        if report.relay_id != place.relay_id:
            self._open(place, report.relay_id)
        place.n_slots = report.slots
        if report.is_leaving and not place.is_leaving:
            self._place_leaves(place)
        elif place.is_leaving and not report.is_leaving:
            self._place_stays(place)
        if place.mailbox is None:
            return  # its host process has ended, as is known, and no agent has started another one
        for parcel in report.parcels:
            try:
                messages, beat = place.mailbox.open(parcel)
            except BadMessage as error:
                log.warning("from %s: %s", place.address, error)
                continue
            place.heard = time.monotonic()
            if isinstance(beat, Beat):
                self._take_beat(place, beat)
            for message in messages:
                self._take(place, message)
        if report.has_ended:
            place.mailbox = None
            self._lose_members(place, "was on a host process that has ended")
            if report.exit_code is not None:
                self._host_process_ended(place, report.exit_code)
        self._balance()

    def _place_leaves(self, place: DaskPlace) -> None:
        """Its Dask worker closes: its members have been told to finish what they have in hand."""
        place.is_leaving = True
        n = len(place.members)
        if n:
            ends = "its worker finishes what it has" if n == 1 else f"its {n} workers finish what they have"
            self.events.noticed("host", f"Host {place.name} is taken away: {ends} in hand.", is_retry=False)
        for member in [*place.members.values()]:
            self.events.leaving(member)

    def _place_stays(self, place: DaskPlace) -> None:
        """Dask has changed its mind, as when what its worker holds for others can be taken nowhere else."""
        place.is_leaving = False
        self.events.noticed("host", f"Host {place.name} stays: workers are started there again.", is_retry=False)

    def _host_process_ended(self, place: DaskPlace, exit_code: int) -> None:
        """By itself: another one is started after a pause, until it is clear that none can live there."""
        place.n_ends += 1
        place.rests_until = time.monotonic() + FIRST_REST_S * 2 ** (place.n_ends - 1)
        log.warning("the host process on %s has ended, exit code %d", place.address, exit_code)
        if place.n_ends >= MOST_ENDS:
            self._give_up(
                place,
                f"its host process ended {place.n_ends} times with exit code {exit_code} before a worker was ready; the log of "
                "its Dask worker says why",
            )

    def _open(self, place: DaskPlace, relay_id: str) -> None:
        """A host process has been started there, the first one or another one."""
        self._lose_members(place, "was on a host process that has ended")
        place.relay_id, place.heard = relay_id, time.monotonic()
        place.key = secrets.token_bytes(32)
        place.mailbox = Mailbox(CODEC, place.key, ENGINE, HOST)
        if (sent := self._sent()) is not None:
            place.say(Open(sent))

    def _take_beat(self, place: DaskPlace, beat: Beat) -> None:
        place.load = beat.load
        for number, sample in beat.counters.items():
            if number in place.members:
                place.members[number].take(sample)

    def _take(self, place: DaskPlace, message: object) -> None:
        match message:
            case Here():
                place.here = message
                place.name = self._name_of(place, message.name)
                log.info("host %s joined: %d slots", place.name, place.n_threads)
            case Begun() if message.member in place.members:
                place.members[message.member].pid = message.pid
            case Said() if message.member in place.members:
                if isinstance(message.message, Ready):
                    place.n_ends = 0
                self.events.said(place.members[message.member], message.message)
            case Left() if message.member in place.members:
                member = place.members.pop(message.member)
                member.is_gone = True
                self.events.left(member, Ended(message.words, message.exit_code))
            case NotBegun() if message.member in place.members:
                member = place.members.pop(message.member)
                member.is_gone = True
                self.events.never_joined(member)
                self._give_up(place, f"no worker process can be started ({message.why})")

    def _name_of(self, place: DaskPlace, name: str) -> str:
        """That of its host, with a number where Dask has several workers there."""
        others = {each.name for each in self._places.values() if each is not place}
        return next(each for each in chain([name], (f"{name}#{number}" for number in count(2))) if each not in others)


async def _ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: a call of Dask that is cancelled may fail with an error of its own instead."""
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_S)


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _why_unfit(error: BaseException | None) -> str:
    if _is_not_installed(error):
        return "mongopg-tui is not installed there"
    return f"its agent failed with {type(error).__name__}"


def _is_not_installed(error: BaseException | None) -> bool:
    """Of a call Dask hands on the words of an error alone."""
    return "ModuleNotFoundError" in repr(error) and "engine" in str(error)
