"""Progress of a run without a screen: the printers of one stream of snapshots and events.

`JsonPrinter` is for scripts, `LinePrinter` for logs and pipes; `tui.cli.live.LivePrinter` draws on a terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from engine.config import Loaded, Settings
from engine.protocol import (
    Event,
    GuardActed,
    HostChanged,
    PartitionParked,
    ProblemReported,
    RunCutOver,
    RunState,
    ServersStarted,
    Snapshot,
    StateEntered,
    WorkerChanged,
)
from tui import again
from tui.cli import output
from tui.cli.json_lines import finished_record, progress_record
from tui.words.events import plan_warnings, told, words
from tui.words.format import duration
from tui.words.safe import safe
from tui.words.sentences import progress_sentence, summary, what_next

JSON_EVERY_S = 0.5
"""Progress comes at least once a second, also when the engine has nothing new to show."""
LINE_EVERY_S = 3.0

Clock = Callable[[], float]


class Printer(Protocol):
    """What the headless front end asks of each of them. Any method raises OSError when stdout's reader is gone."""

    draws: bool
    """It moves the cursor of a terminal, so other sequences may be written there, too."""

    def show(self, snapshot: Snapshot) -> None:
        """The state now; called far more often than a printer prints."""

    def tell(self, event: Event) -> None:
        """A fact."""

    def note(self, text: str) -> None:
        """Lines for the operator, already harmless: answers to signals."""

    def finish(self, facts: dict[str, Any]) -> None:
        """The end of a run, as in the engine's event `finished`."""

    def close(self) -> None:
        """Leave the terminal as it was, whatever happened. Never raises."""


class JsonPrinter:
    """One JSON object a line on stdout; sentences on stderr."""

    draws = False

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._last = float("-inf")
        self._shown = ("", "")

    def show(self, snapshot: Snapshot) -> None:
        """Print progress when it is time, and at once when the state or phase is another."""
        now = self._clock()
        if now - self._last < JSON_EVERY_S and self._shown == (snapshot.state.value, snapshot.phase):
            return
        self._last = now
        self._shown = (snapshot.state.value, snapshot.phase)
        output.say_json(progress_record(snapshot))

    def tell(self, event: Event) -> None:
        """Nothing on stdout but progress and the end; stderr has problems and warnings, and where servers keep running."""
        for warning in plan_warnings(event):
            output.note(warning)
        sentence = words(event) if _is_for_people(event) else None
        if sentence is not None:
            output.note(sentence)

    def note(self, text: str) -> None:
        """Sentences on stderr."""
        _note_lines(text)

    def finish(self, facts: dict[str, Any]) -> None:
        """Print the last line."""
        output.say_json(finished_record(facts))

    def close(self) -> None:
        """Nothing to put back."""


class LinePrinter:
    """Plain lines on stdout: one every few seconds, and one an event."""

    draws = False

    def __init__(self, clock: Clock = time.monotonic, loaded: Loaded | None = None) -> None:
        self._clock = clock
        self._last = clock()
        self.closing = Closing(loaded)

    def show(self, snapshot: Snapshot) -> None:
        """Print progress when it is time."""
        if self._clock() - self._last >= LINE_EVERY_S:
            self._last = self._clock()
            output.say(f"[{duration(snapshot.elapsed)}] {progress_sentence(snapshot)}")

    def tell(self, event: Event) -> None:
        """Print an event that has words."""
        self.closing.tell(event)
        for line in told(event):
            output.say(f"[{duration(event.at)}] {line}")

    def note(self, text: str) -> None:
        """Sentences on stderr."""
        _note_lines(text)

    def finish(self, facts: dict[str, Any]) -> None:
        """Print the summary."""
        text = self.closing.text(facts)
        if text:
            output.say(text)

    def close(self) -> None:
        """Nothing to put back."""


class Closing:
    """The words at the end: the summary, where kept servers are, what to do next."""

    def __init__(self, loaded: Loaded | None = None) -> None:
        """Nothing was told yet.

        Args:
            loaded: the settings of the run.
        """
        self._loaded = loaded or Loaded(Settings())
        self._servers: ServersStarted | None = None
        self._has_applied = False
        """Changes were applied that the counts do not have: those are the copy's."""

    def tell(self, event: Event) -> None:
        """Remember embedded servers, and whether the run followed its source without being cut over."""
        match event:
            case ServersStarted():
                self._servers = event
            case StateEntered() if event.state is RunState.FOLLOWING:
                self._has_applied = True
            case RunCutOver():
                self._has_applied = False

    def text(self, facts: dict[str, Any]) -> str:
        """Several lines; none for a run that failed before there was anything to count."""
        counted = facts.get("tables") or facts.get("seeded")
        lines = [summary(finished_record(facts))] if counted or "error" not in facts else []
        if lines and self._has_applied:
            lines.append("These counts are the copy's: what changed in the source since was applied to the tables.")
        are_gone = self._servers is not None and not self._servers.keep
        if self._servers is not None and not are_gone:
            lines.append(f"Still running: {words(self._servers)}")
            lines.append(f"`mongopg-tui demo --dir {safe(self._servers.directory)} --stop` ends them.")
        sentence, words_ = what_next(finished_record(facts))
        if sentence and not are_gone:
            lines += [sentence, f"  {self._command(words_)}"]
        return "\n".join(filter(None, lines))

    def _command(self, typed: str) -> str:
        settings = self._loaded.settings
        found = {"source": settings.source.uri.get_secret_value(), "target": settings.target.uri.get_secret_value()}
        if self._servers is not None:
            found = {"source": self._servers.source, "target": self._servers.target}
        servers = found if typed.startswith("run ") else {"target": found["target"]}
        return safe(again.command(typed, self._loaded, servers), 2_000)


def _is_for_people(event: Event) -> bool:
    """Whether a script's operator is told on stderr: of trouble, and of servers that stay."""
    match event:
        case ProblemReported():
            return not event.retry  # what is tried again is no trouble yet
        case GuardActed():
            return True
        case WorkerChanged():
            return event.what == "died"
        case HostChanged():
            return event.what != "joined"
        case PartitionParked():
            return True
        case ServersStarted():
            return event.keep
    return False


def _note_lines(text: str) -> None:
    for line in text.split("\n"):
        output.note(line)
