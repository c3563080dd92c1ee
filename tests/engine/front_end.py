"""The command line as a process of its own, with folders of its own: what the tests of front ends drive."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Source, Target

PROJECT = Path(__file__).resolve().parents[2]
WAIT_S = 60.0
END_S = 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON objects of stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        """The last one."""
        return self.lines[-1]


class Command:
    """A command that is going on. Its lines arrive in `lines` with the time they came, in seconds of `monotonic`."""

    def __init__(self, words: list[str], environment: dict[str, str], folder: Path) -> None:
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tui", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=folder,
        )
        self.lines: list[tuple[float, str]] = []
        self._err: list[str] = []
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._readers = [threading.Thread(target=self._read_out), threading.Thread(target=self._read_err)]
        for reader in self._readers:
            reader.start()

    def _read_out(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((time.monotonic(), line))
            self._news.put(None)
        self._news.put(None)

    def _read_err(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._err.append(line)
            self._news.put(None)

    @property
    def err(self) -> str:
        """stderr so far."""
        return "".join(self._err)

    def until(self, is_there: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
        """Wait until `is_there()` is true, looking at each new line, and return what it says."""
        deadline = time.monotonic() + timeout_s
        while not (found := is_there()):
            try:
                self._news.get(timeout=0.1)
            except queue.Empty:
                assert time.monotonic() < deadline, f"not within {timeout_s} s\n{self.shown()}"
                assert self.process.poll() is None or is_there(), f"ended before\n{self.shown()}"
        return found

    def until_progress(self, is_right: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first progress line, from now on, that `is_right`."""
        seen = len(self.lines)

        def found() -> dict[str, Any] | None:
            records = (json.loads(line) for _, line in self.lines[seen:])
            return next((record for record in records if record["event"] == "progress" and is_right(record)), None)

        record: dict[str, Any] = self.until(found)
        return record

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def shown(self) -> str:
        """Everything it wrote, for a failing test."""
        return "".join(line for _, line in self.lines[-20:]) + self.err

    def outcome(self, timeout_s: float = WAIT_S) -> Outcome:
        """Wait for its end."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still going on after {timeout_s} s\n{self.shown()}") from None
        self.close()
        return Outcome(code, "".join(line for _, line in self.lines), self.err)

    def kill(self) -> None:
        """End it the hard way."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Join the readers; the process must have ended. A second call does nothing."""
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


class FrontEnd:
    """Starts commands against one pair of databases; ends, at `close`, what a failing test left."""

    def __init__(self, folder: Path, runtime: Path, source: str, target: str) -> None:
        self.folder = folder
        self.runtime = runtime
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("MONGOPG_RUN")} | {
            "PYTHONPATH": str(PROJECT),
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "MONGOPG_SOURCE_URI": source,
            "MONGOPG_TARGET_URI": target,
        }
        self._commands: list[Command] = []

    def start(self, *words: str, **environment: str) -> Command:
        """Start a command and let it go on."""
        command = Command([*words], self.environment | environment, self.folder)
        self._commands.append(command)
        return command

    def do(self, *words: str, **environment: str) -> Outcome:
        """Start a command and wait for its end."""
        return self.start(*words, **environment).outcome()

    def engines(self) -> Iterator[int]:
        """Pids of living engine processes started from here."""
        marker = f"XDG_RUNTIME_DIR={self.runtime}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
                name = (process / "comm").read_text().strip()
                environment = (process / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"engine" in words and name != "mongopg-workers" and marker in environment:
                yield int(process.name)

    def wait_for_no_engine(self, timeout_s: float = END_S) -> float:
        """Seconds until no engine lives any more; fails after `timeout_s`."""
        began = time.monotonic()
        while list(self.engines()):
            assert time.monotonic() - began < timeout_s, "an engine was left behind"
            time.sleep(0.02)
        return time.monotonic() - began

    def close(self) -> None:
        """Kill what still lives."""
        for command in self._commands:
            if command.process.poll() is None:
                command.kill()
            command.close()


@pytest.fixture
def front_end(tmp_path: Path, source: Source, target: Target) -> Iterator[FrontEnd]:
    """The command line, told about the test's databases by the environment."""
    with tempfile.TemporaryDirectory(prefix="mpg") as runtime:  # short: a socket's path must be
        commands = FrontEnd(tmp_path, Path(runtime), source.uri, target.uri)
        yield commands
        commands.close()
        commands.wait_for_no_engine()
