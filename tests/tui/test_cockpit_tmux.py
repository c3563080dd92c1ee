"""The cockpit where operators leave long runs: in tmux, which draws it again for whoever attaches."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Target
from tests.tui.terminal import ROOT

WAIT_S = 60.0
POLL_S = 0.1

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux on this machine")


class Tmux:
    """A tmux server of its own with the program in its only window."""

    def __init__(self, folder: Path, environment: dict[str, str], *words: str) -> None:
        self._socket = folder / "tmux"
        self._environment = {**os.environ, **environment, "TERM": "xterm-256color"}
        self._ended = folder / "exit-code"
        command = shlex.join([sys.executable, "-m", "tui", *words])
        script = shlex.join(["exec", "sh", "-c", f"{command}; echo $? > {shlex.quote(str(self._ended))}"])
        self.do("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", "-c", str(ROOT), script)

    def do(self, *words: str) -> str:
        """A command of tmux; what it prints."""
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), *words], env=self._environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    def press(self, *keys: str) -> None:
        """Type; keys as tmux names them."""
        self.do("send-keys", *keys)

    def wait_for(self, text: str) -> None:
        """Until the window shows it."""
        deadline = time.monotonic() + WAIT_S
        while text not in (shown := self.do("capture-pane", "-p")):
            assert time.monotonic() < deadline, f"no {text!r} in tmux:\n{shown}"
            time.sleep(POLL_S)

    def exit_code(self) -> int:
        """Wait for the program's end."""
        deadline = time.monotonic() + WAIT_S
        while not (self._ended.exists() and self._ended.read_text().strip()):
            assert time.monotonic() < deadline, "the program goes on"
            time.sleep(POLL_S)
        return int(self._ended.read_text())

    def end(self) -> None:
        """End the server, if it has not ended with its window."""
        subprocess.run(["tmux", "-S", str(self._socket), "kill-server"], env=self._environment, capture_output=True)


@pytest.fixture
def tmux(slow_run: dict[str, str]) -> Iterator[Tmux]:
    """A run that takes some ten seconds, in tmux."""
    with tempfile.TemporaryDirectory(prefix="mpg") as name:
        window = Tmux(Path(name), slow_run, "run")
        yield window
        window.end()


def rows_become(target: Target, rows: int) -> None:
    """Wait until the table has so many."""
    deadline = time.monotonic() + WAIT_S
    while target.value("SELECT count(*) FROM public.orders") != rows:
        assert time.monotonic() < deadline
        time.sleep(POLL_S)


def test_a_run_in_tmux_is_seen_resized_steered_and_left(tmux: Tmux) -> None:
    tmux.wait_for("Throughput, rows/s")
    tmux.wait_for("● running")
    tmux.do("resize-window", "-x", "80", "-y", "24")
    tmux.wait_for("page size 500")
    tmux.press("Space")
    tmux.wait_for("‖ paused")
    tmux.press("Space")
    tmux.wait_for("● running")
    tmux.press("x")
    tmux.wait_for("Stop now")
    tmux.press("x")
    tmux.wait_for("cancelled")
    tmux.press("q")
    assert tmux.exit_code() == 130


def test_a_killed_tmux_leaves_the_run_alive(tmux: Tmux, target: Target) -> None:
    tmux.wait_for("● running")
    tmux.do("kill-server")
    rows_become(target, 20_000)
