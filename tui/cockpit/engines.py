"""The engines of one cockpit: an idle one that answers Setup's questions, and the one of the run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from engine.config import Loaded, Settings, reveal
from engine.errors import MigrationError, UsageError
from engine.protocol import Snapshot, Start
from engine.service.client import WAITS, Waits
from engine.service.launching import EngineProcess, launch
from tui.cockpit.session import EngineSession, Policy

ENGINE_END_S = 10.0
"""How long leaving waits for an engine with nothing left to do: embedded servers shut down in that time."""
_SECTIONS = ("source", "target", "run", "mapping", "seed", "cluster", "dask", "guard")
"""Settings that Setup, or resuming a run of the ledger, can change after the engine was started."""

Launching = Callable[[Settings], EngineProcess]


def policy_of(settings: Settings, start: Start | None) -> Policy:
    """What a run does when its cockpit vanishes: demo and seeding end with it, a migration follows the setting."""
    if settings.demo.embedded or (start is not None and not start.migrate):
        return "cancel"
    return settings.cockpit.on_disconnect


class Engines:
    """Opens engines, gives the idle one to a run, and sees to it that none is left behind."""

    def __init__(self, process: EngineProcess | None, launching: Launching = launch, waits: Waits = WAITS) -> None:
        """There may be an engine already.

        Args:
            process: launched before the screen.
            launching: starts an engine and waits until its socket listens.
            waits: how long an engine is waited for.
        """
        self.run: EngineSession | None = None
        """The run on the Run screen: going on, or over."""
        self.idle: EngineSession | None = None
        """An idle engine; it becomes the run's when one is started."""
        self.given: Callable[[], Loaded] = lambda: Loaded(Settings())
        """The settings that are in force, for what is said about a run."""
        self._launch_engine = launching
        self.waits = waits
        self._unused = process
        self._opening = asyncio.Lock()
        self._is_starting = False
        self._launched: list[EngineProcess] = [process] if process else []
        self._owned: list[EngineProcess] = []
        """Those of them that this cockpit connected to."""
        self._detached: EngineProcess | None = None

    async def open(self, settings: Settings, policy: Policy) -> EngineSession:
        """The engine that was launched before the screen, once; after that a new one.

        Raises:
            MigrationError: it did not start, or does not answer.
        """
        process, self._unused = self._unused, None
        if process is None:
            process = await self._launch(settings)
        try:
            session = await EngineSession.own(process, policy, self.waits)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(process.end))
            raise
        session.given = self.given
        self._owned.append(process)
        return session

    async def _launch(self, settings: Settings) -> EngineProcess:
        """Start an engine, in a thread because that blocks for a third of a second.

        A thread cannot be cancelled: it ends the engine itself when the wait for it was cancelled.
        """
        is_unwanted = threading.Event()

        def launch_for_us() -> EngineProcess:
            process = self._launch_engine(settings)
            self._launched.append(process)
            if is_unwanted.is_set():
                process.end()
            return process

        try:
            return await asyncio.to_thread(launch_for_us)
        except asyncio.CancelledError:
            is_unwanted.set()
            raise

    @property
    def needs_idle(self) -> bool:
        """There is no idle engine, or it has ended, and none is on its way."""
        is_there = self.idle is not None and not self.idle.client.is_closed
        return not is_there and not self._opening.locked()

    @property
    def comparing(self) -> EngineSession | None:
        """The one that compares every document of a run; None where none does."""
        return next((each for each in (self.run, self.idle) if each is not None and each.is_comparing), None)

    async def open_idle(self, settings: Settings) -> EngineSession:
        """The idle engine, started when there is none.

        Raises:
            MigrationError: it did not start.
        """
        async with self._opening:
            if self.idle is None or self.idle.client.is_closed:
                self.idle = await self.open(settings, policy_of(settings, None))
            return self.idle

    async def answering(self, settings: Settings, *, prefers_idle: bool) -> EngineSession:
        """An engine to ask about the servers.

        Args:
            prefers_idle: the servers of the idle engine are meant, not those of a run that is over (embedded ones, perhaps).

        Raises:
            MigrationError: a new one did not start.
        """
        candidates = [self.idle, self.run] if prefers_idle else [self.run, self.idle]
        for session in candidates:
            if session is not None and not session.client.is_closed:
                return session
        return await self.open_idle(settings)

    async def start(self, settings: Settings, start: Start, resumes: Snapshot | None = None) -> EngineSession:
        """Start a run, in the idle engine when that fits it, and make it the one on the Run screen.

        Args:
            resumes: the run that is to be resumed, as it was.

        Raises:
            MigrationError: it was refused; nothing has changed.
            UsageError: another one is going on, or being started.
        """
        if self._is_starting:
            raise UsageError("Another run is being started: wait until it is shown.", code="state")
        if self.run is not None and self.run.is_live:
            raise UsageError("A run is in progress: let it end, or stop it, before another is started.", code="state")
        self._is_starting = True
        try:
            return await self._start(settings, start, resumes)
        finally:
            self._is_starting = False

    async def _start(self, settings: Settings, start: Start, resumes: Snapshot | None) -> EngineSession:
        policy = policy_of(settings, start)
        session = self.idle
        if session is None or session.policy != policy or settings.demo.embedded or session.client.is_closed:
            session = await self.open(settings, policy)
        changed = reveal(settings)
        command = start.model_copy(update={"settings": {section: changed[section] for section in _SECTIONS}})
        session.resumes = resumes
        try:
            session.take(await session.client.ask(Snapshot, command))
        except MigrationError:
            session.resumes = None
            if session is not self.idle:
                await session.close()
            raise
        session.settings, session.start_command = settings, start
        replaced = [old for old in (self.run, self.idle) if old is not None and old is not session]
        self.run, self.idle = session, None
        for old in replaced:
            await old.close()
        return session

    async def close(self, *, run_goes_on: bool = False) -> None:
        """Drop all connections; a run that shall go on is detached from."""
        if self.idle is not None:
            await self.idle.close()
        if self.run is not None:
            if run_goes_on:
                self._detached = self.run.process
            await self.run.close(run_goes_on=run_goes_on)

    def reap(self) -> None:
        """Wait, not for ever, for our engines that have nothing left to do, so that nothing of them is left behind."""
        for process in self._launched:
            if process not in self._owned:
                process.end()
            elif process is not self._detached:
                process.wait(ENGINE_END_S)

    def log_folder(self) -> Path | None:
        """Where the engines' logs are; None before there was one."""
        if self._launched:
            return self._launched[0].log.parent
        return self.run.log_path().parent if self.run is not None else None
