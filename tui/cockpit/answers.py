"""Questions about the servers and the ledger, put to an engine that knows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel

from engine.config import Settings
from engine.protocol import RunInfo
from tui.cockpit.choices import Choices
from tui.cockpit.commands import Situation
from tui.cockpit.engines import Engines
from tui.cockpit.session import EngineSession

Reply = TypeVar("Reply", bound=BaseModel)


class Answers:
    """Has the engines of one cockpit answer."""

    def __init__(self, engines: Engines, choices: Choices, situation: Callable[[], Situation]) -> None:
        self._engines = engines
        self._choices = choices
        self._situation = situation

    @property
    def idle_engine(self) -> EngineSession | None:
        """The engine that tests connections; None while there is none."""
        return self._engines.idle

    @property
    def lacks_idle_engine(self) -> bool:
        """There is none, or it has ended, and none is being started."""
        return self._engines.needs_idle

    async def engine(self) -> EngineSession:
        """An engine that knows the servers.

        Raises:
            MigrationError: it did not start.
        """
        session = self._engines.run
        prefers_idle = self._situation().has_target and not (session is not None and session.is_live)
        return await self._engines.answering(self._choices.connected, prefers_idle=prefers_idle)

    async def engine_for(self, settings: Settings) -> EngineSession:
        """An engine with exactly these settings, to be closed after the question; its work ends with the cockpit.

        Raises:
            MigrationError: it did not start.
        """
        return await self._engines.open(settings, "cancel")

    async def ask(self, reply: type[Reply], command: BaseModel) -> Reply:
        """Ask an engine that knows the servers.

        Raises:
            MigrationError: it cannot answer; the message says why.
        """
        return await (await self.engine()).client.ask(reply, command)

    def as_known(self, run: RunInfo) -> RunInfo:
        """A run of the ledger; of one whose engine was seen to end, the last sign of life is none."""
        session = self._engines.run
        is_lost = session is not None and session.is_lost and session.snapshot.run_id == run.run_id
        return run.model_copy(update={"heartbeat_unix": 0.0}) if is_lost else run
