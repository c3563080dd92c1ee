"""One engine as the cockpit sees it: the connection, what it said, and what was asked of it but has not shown yet."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from engine.config import Loaded, Settings, secrets_of
from engine.errors import EXIT_DONE, EXIT_FAILED, MigrationError
from engine.knobs import CLUSTER_SIZE, KNOBS, PAGE_SIZE, SEED_COUNT, THROTTLE, Auto, Knob, KnobValue
from engine.protocol import (
    Attached,
    Cancel,
    Event,
    Origin,
    Recount,
    RunOrigin,
    RunState,
    ServersStarted,
    SetKnob,
    Snapshot,
    Start,
    StateEntered,
)
from engine.redaction import know
from engine.service.client import WAITS, EngineClient, Waits, actor
from engine.service.launching import EngineProcess
from tui import again
from tui.cockpit.commands import Situation
from tui.cockpit.shown import ShownRun
from tui.cockpit.signs import Sign, run_sign
from tui.cockpit.throughput import ThroughputHistory, smoothed
from tui.words.events import Note, chart_mark
from tui.words.safe import safe

Policy = Literal["continue", "cancel"]

FRONT_END = "cockpit"
"""What it is called where it says who gives a command."""
ORIGIN_TIMEOUT_S = 3.0
"""How long a guest waits to be told what its run was started with."""
EVENTS_KEPT = 2_000
"""Events for the log pane."""
KNOB_NOTE_S = 3.0
"""How long the screen says when a change applies, in seconds of the run."""
_COUNTED = ("read", "written", "rejected")
"""Of a table."""
GONE = "the engine has ended"
"""Why a run that lost its engine has no ETA."""


class EngineSession:
    """A connection to one engine and everything learned through it."""

    def __init__(self, client: EngineClient, process: EngineProcess | None, policy: Policy) -> None:
        self.client = client
        self.process = process
        self.policy = policy
        """What the run does when this cockpit vanishes; without effect when it is not the owner."""
        self.settings: Settings | None = None
        """What its run was started with; None where that is not known."""
        self.start_command: Start | None = None
        """How its run was started; None before, and where that is not known."""
        self.resumes: Snapshot | None = None
        """The run that its engine is to resume, as it was; None of another run, and where that is not known."""
        self.snapshot: Snapshot = client.snapshot
        self.history = ThroughputHistory()
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self.n_events = 0
        """Events so far, those that fell off included: tells the log pane what is new."""
        self.servers: dict[str, str] = {}
        """URIs of embedded servers, `source` and `target`."""
        self._are_servers_passing = False
        self.version = 0
        """Grows with each change: a screen that has drawn this version need not draw again."""
        self.is_lost = False
        """The engine went away without saying that the run is over."""
        self.given: Callable[[], Loaded] = lambda: Loaded(Settings())
        """The settings that are in force, with where they came from."""
        self.is_deleted = False
        """Its run was deleted from the ledger: there is nothing left to resume."""
        self.heard_at = time.monotonic()
        """When the engine said something last."""
        self.wanted: dict[str, KnobValue] = {}
        """Knob values asked for and not yet in a snapshot."""
        self._ended = asyncio.Event()
        """The run is over, or the engine is gone."""
        self._is_closing = False
        self._last_event: Event | None = None
        """The engine's newest, of those that are kept."""
        self._has_seeded = False
        self._auto_last = ""
        """How the run turned its cluster size, as long as it did."""
        self._looked: Snapshot | None = None
        self._turning: set[str] = set()
        self._answered: set[str] = set()
        self._applies: dict[str, tuple[str, float]] = {}
        self._catch_up(client.attached)

    @classmethod
    async def own(cls, process: EngineProcess, policy: Policy, waits: Waits = WAITS) -> EngineSession:
        """Connect to an engine that was launched for this cockpit."""
        by = actor(FRONT_END)
        client = await EngineClient.connect(process.socket, owner=True, on_disconnect=policy, waits=waits, by=by)
        return cls(client, process, policy)

    @classmethod
    async def attach(cls, socket: Path, waits: Waits = WAITS) -> EngineSession:
        """Connect to a running engine of another process, as a guest. It tells what it takes to resume the run."""
        session = cls(await EngineClient.connect(socket, waits=waits, by=actor(FRONT_END)), None, "continue")
        with contextlib.suppress(
            MigrationError, ValidationError, TimeoutError
        ):  # an engine of another version does not
            async with asyncio.timeout(ORIGIN_TIMEOUT_S):
                origin = await session.client.ask(RunOrigin, Origin())
            if origin.start is not None:
                session.settings, session.start_command = Settings.model_validate(origin.settings), origin.start
                know(secrets_of(session.settings))
        return session

    def command(self, words: str, *sides: str) -> str:
        """A command about the run, for later: `mongopg-tui WORDS`, with what it needs to reach the same servers.

        Args:
            sides: "source", "target": those that the command takes.
        """
        servers = {"source": self.snapshot.source, "target": self.snapshot.target}
        return safe(again.command(words, self.given(), {side: servers[side] for side in sides}), 1_000)

    @property
    def is_owner(self) -> bool:
        """This cockpit started the engine."""
        return self.process is not None

    @property
    def is_live(self) -> bool:
        """A run is going on in it."""
        return self.snapshot.state.is_active and not self.is_lost

    @property
    def is_comparing(self) -> bool:
        """It compares every document of a run."""
        return not self.client.is_closed and self.client.snapshot.comparing is not None

    def look(self) -> None:
        """Take its newest snapshot: of an engine that only answers questions, no messages are followed."""
        if self._looked is not self.client.snapshot:
            self._looked = self.client.snapshot
            self.take(self._looked)

    @property
    def is_resumable(self) -> bool:
        """Another engine could go on with this run: its servers are known and stay, and it came as far as its tables."""
        return (
            not self.is_deleted
            and self.settings is not None
            and not self.settings.demo.embedded
            and self.start_command is not None
            and self.start_command.migrate
            and bool(self.snapshot.tables or self.start_command.resume)
        )

    @property
    def resumed_id(self) -> str:
        """The run that goes on with this one: itself, or where it did not come to its tables, the one that it was to resume."""
        resumed = self.start_command.resume if self.start_command is not None else None
        return self.snapshot.run_id if self.snapshot.tables or not resumed else resumed

    @property
    def knobs_last(self) -> dict[str, int | str]:
        """The knobs of a run as they were last: a throttle that protects a server stays when the run is resumed."""
        knobs = (CLUSTER_SIZE, PAGE_SIZE, THROTTLE)
        values: dict[str, int | str] = {knob.name: int(getattr(self.snapshot, knob.name)) for knob in knobs}
        if self._auto_last:
            values[CLUSTER_SIZE.name] = self._auto_last
        return {name: value for name, value in values.items() if value or name == THROTTLE.name}

    @property
    def is_on_passing_servers(self) -> bool:
        """Its servers are embedded ones that end with its engine."""
        if self.settings is None:
            return self._are_servers_passing
        return self.settings.demo.embedded and not self.settings.demo.keep

    @property
    def exit_code(self) -> int:
        """What a command that ends now leaves with."""
        if self.is_lost:
            return EXIT_FAILED
        return EXIT_DONE if self.snapshot.exit_code is None else self.snapshot.exit_code

    @property
    def sign(self) -> Sign:
        """Its state as symbol and word."""
        return run_sign(self.snapshot, self.is_lost)

    def log_path(self) -> Path:
        """The engine's log."""
        return Path(self.client.attached.log_path)

    def take(self, message: Event | Snapshot) -> None:
        """Learn from one message of the engine."""
        self.heard_at = time.monotonic()
        if isinstance(message, Event):
            if not message.only_counts:
                self._last_event = message
                self._take_event(message)
            return
        self.version += 1
        message = self.snapshot = self._as_resumed(message)
        self._has_seeded |= message.state is RunState.SEEDING or message.seeded > 0
        if message.state.is_over:
            self._ended.set()
        if message.state.is_active:
            self._auto_last = message.tuning.auto if message.tuning is not None else ""
            self.history.add(message.elapsed, message.rows_per_s)
        mine = {"eta_reason": "paused by you"} if message.eta_reason == f"paused by {self.client.by}" else {}
        if message.stopped_by == self.client.by:
            mine["stopped_by"] = "you"
        if mine:
            self.snapshot = message.model_copy(update=mine)
        for name in self._answered:
            self.wanted.pop(name, None)
        self._answered.clear()

    def _as_resumed(self, now: Snapshot) -> Snapshot:
        """Until it has read the ledger, an engine that resumes a run has an id of its own and no rows: the run has."""
        was = self.resumes
        if was is None or now.state is RunState.IDLE or (now.tables and now.state is not RunState.STARTING):
            return now
        counts = {
            name: max(getattr(now, name), getattr(was, name)) for name in ("read", "written", "total", "rejected")
        }
        before = {table.table: table for table in was.tables}
        tables = [
            table.model_copy(update={name: max(getattr(table, name), getattr(known, name)) for name in _COUNTED})
            if (known := before.get(table.table)) is not None
            else table
            for table in now.tables
        ]
        return now.model_copy(update={"run_id": was.run_id, "tables": tables} | counts)

    def _take_event(self, event: Event) -> None:
        self.version += 1
        self.events.append(event)
        self.n_events += 1
        if mark := chart_mark(event):
            self.history.mark(event.at, mark)
        match event:
            case ServersStarted():
                self.servers = {"source": event.source, "target": event.target}
                self._are_servers_passing = not event.keep
            case StateEntered():
                self._has_seeded |= event.state is RunState.SEEDING

    def note(self, message: str) -> None:
        """Keep what the cockpit itself said, beside the engine's events."""
        self._take_event(Note(at=self.snapshot.elapsed, message=message))

    def _catch_up(self, attached: Attached) -> None:
        """Learn what happened before we came, or while we were away; what is known already stays as it is."""
        for at, rate in smoothed(attached.samples):
            self.history.add(at, rate)
        told = attached.events
        known = self._last_event
        n_known = max((place for place, event in enumerate(told, start=1) if event == known), default=0)
        for event in told[n_known:]:
            # Without the last one that is known, what fell off was before these: only they can be new.
            if n_known or known is None or event.at > known.at:
                self.take(event)
        self.take(attached.snapshot)

    @property
    def silent_s(self) -> float:
        """Seconds for which a run that goes on has not been heard of; an engine sends a snapshot at least once a second."""
        return time.monotonic() - self.heard_at if self.is_live and not self.client.is_closed else 0.0

    async def messages(self) -> AsyncIterator[Event | Snapshot]:
        """Take and hand on what the engine sends, until it is gone; then `is_lost` says whether that was expected."""
        while True:
            async for message in self.client.messages():
                self.take(message)
                yield message
            if self._is_closing or not self.snapshot.state.is_active or not await self._reconnect():
                break
        self._ended.set()
        self.is_lost = self.snapshot.state.is_active and not self._is_closing
        if self.is_lost:  # what was so in its last moment is not so any more
            self.snapshot = self.snapshot.model_copy(
                update={"rows_per_s": 0.0, "bytes_per_s": 0.0, "eta_s": None, "eta_reason": GONE, "bottleneck": ""}
            )
        self.version += 1

    async def _reconnect(self) -> bool:
        """The engine may live: it drops a client that reads too slowly, a suspended one for instance."""
        await self.client.close()
        try:
            self.client = await self.client.again(owner=self.is_owner, on_disconnect=self.policy)
        except MigrationError:
            return False
        self._catch_up(self.client.attached)
        return True

    def knobs(self) -> list[Knob]:
        """The knobs that its run has: the seed count only when it began with seeding."""
        is_seeded = self.start_command.seed if self.start_command else self._has_seeded
        return [knob for knob in KNOBS.values() if is_seeded or knob is not SEED_COUNT]

    @property
    def is_on_one_host(self) -> bool:
        """Its workers are known to be on the engine's host, and on no other one."""
        if self.settings is not None:
            return self.settings.cluster.kind == "local"
        return not self.snapshot.hosts and any(not worker.host for worker in self.snapshot.workers)

    def knob_value(self, knob: Knob) -> int:
        """The newest wish, else what is in force."""
        wanted = self.wanted.get(knob.name)
        return wanted if isinstance(wanted, int) else int(getattr(self.snapshot, knob.name))

    def knob_setting(self, knob: Knob) -> KnobValue:
        """As `knob_value`, or that the run turns it, or is to."""
        if knob.name in self.wanted:
            return self.wanted[knob.name]
        tuning = self.snapshot.tuning
        return knob.read(tuning.auto) if tuning is not None and knob is CLUSTER_SIZE else self.knob_value(knob)

    def knob_note(self, knob: Knob) -> str:
        """When the last change applies ("from the next page"), for a few seconds after it was made."""
        note, at = self._applies.get(knob.name, ("", 0.0))
        return note if self.snapshot.elapsed - at <= KNOB_NOTE_S else ""

    def wish(self, knob: Knob, value: KnobValue) -> None:
        """Note what a knob shall be; `grant` asks the engine for it."""
        self.wanted[knob.name] = value
        self._answered.discard(knob.name)
        self.version += 1

    async def grant(self, knob: Knob) -> None:
        """Ask for what is wished. Of a burst of key presses only the newest is sent, after the one on its way.

        Raises:
            MigrationError: refused; the message says why, and the wish is given up.
        """
        if knob.name in self._turning:
            return
        self._turning.add(knob.name)
        try:
            sent: KnobValue | None = None
            while sent != self.wanted[knob.name]:
                sent = self.wanted[knob.name]
                said = str(sent) if isinstance(sent, Auto) else sent
                reply = await self.client.call(SetKnob(knob=knob.name, value=said))
                self._applies[knob.name] = (str(reply.get("applies", "")), self.snapshot.elapsed)
            self._answered.add(knob.name)
        except MigrationError:
            del self.wanted[knob.name]
            raise
        finally:
            self.version += 1
            self._turning.discard(knob.name)

    async def cancel_and_wait(self, timeout_s: float) -> None:
        """Roll back uncommitted pages and wait until the run is over, `timeout_s` seconds at most: for an end by signal."""
        with contextlib.suppress(MigrationError, TimeoutError):  # it has ended, or is beyond waiting for
            async with asyncio.timeout(timeout_s):
                await self.client.call(Cancel(now=True))
                await self._ended.wait()

    async def recount(self) -> None:
        """Have the run, which is over, say what the ledger has of it now; where it cannot be asked, it says what it said."""
        if not self.client.is_closed:
            with contextlib.suppress(MigrationError):
                await self.client.call(Recount())

    async def close(self, *, run_goes_on: bool = False) -> None:
        """Leave. A live run that this cockpit owns goes on only when that is said; otherwise the policy decides."""
        self._is_closing = True
        if run_goes_on and not self.client.is_closed:
            await self.client.detach()
        else:
            await self.client.close()


def situation_of(
    session: EngineSession | None, shown: ShownRun | None, *, has_source: bool, has_target: bool
) -> Situation:
    """What decides which commands work: the run of `session`, if there is one, and what Setup has to start another.

    Args:
        shown: what the Run screen shows; something else than `session` is a replay.
    """
    if session is None:
        is_replay = shown is not None
        has_problems = shown is not None and bool(shown.snapshot.problems)
        has_rejects = shown is not None and shown.snapshot.rejected > 0
        return Situation(
            has_source=has_source, has_target=has_target, is_replay=is_replay, has_problems=has_problems,
            has_rejects=has_rejects,
        )  # fmt: skip
    snapshot = session.snapshot
    is_unfinished = session.is_lost or snapshot.state in {RunState.FAILED, RunState.CANCELLED}
    return Situation(
        state=snapshot.state,
        is_lost=session.is_lost,
        can_resume=is_unfinished and session.is_resumable,
        can_resume_later=session.is_resumable,
        has_problems=bool((shown or session).snapshot.problems),
        follows=snapshot.follow is not None,
        is_halted=snapshot.follow is not None and bool(snapshot.follow.halted_by),
        has_rejects=(shown or session).snapshot.rejected > 0,
        has_source=has_source,
        has_target=has_target,
        has_engine=not session.client.is_closed,
        knows_run_servers=session.settings is not None and not session.settings.demo.embedded,
        is_replay=shown is not session,
    )
