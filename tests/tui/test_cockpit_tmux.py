"""The cockpit where operators leave long runs: in tmux, which draws it again for each client that attaches."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Target
from tests.tui.left_alone import goes_on, goes_on_to_its_end
from tests.tui.terminal import ROOT, Terminal

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

    def attach(self, width: int, height: int) -> Terminal:
        """A client in a terminal of its own; the window takes its size."""
        command = ["tmux", "-u", "-S", str(self._socket), "attach-session"]
        return Terminal(command, {**self._environment, "TMUX": ""}, width, height)

    def signal(self, number: signal.Signals) -> None:
        """To the program alone, which is the only child of the window's shell."""
        shell = self.do("display-message", "-p", "#{pane_pid}").strip()
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        (program,) = (pid for pid, parent in map(str.split, listed.splitlines()) if parent == shell)
        os.kill(int(program), number)

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
    """A slow run, in tmux."""
    with tempfile.TemporaryDirectory(prefix="mpg") as name:
        window = Tmux(Path(name), slow_run, "run")
        yield window
        window.end()


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
    tmux.wait_for("stopped")
    tmux.press("q")
    assert tmux.exit_code() == 130


def is_drawn(client: Terminal, *texts: str) -> None:
    """Wait until a client was sent all of these: where on its screen they are is up to tmux."""
    deadline = time.monotonic() + WAIT_S
    while not all(text in client.output for text in texts):
        assert time.monotonic() < deadline, f"no {texts} in what tmux sent:\n{client.output[-3000:]}"
        client.read()


@pytest.mark.slow
def test_a_client_that_detaches_leaves_the_run_alone_and_the_next_one_sees_it(
    tmux: Tmux, target: Target, slow_run: dict[str, str]
) -> None:
    tmux.wait_for("● running")
    with tmux.attach(120, 40) as client:
        is_drawn(client, "Throughput, rows/s", "● running")
        tmux.do("detach-client", "-s", "0")
        assert client.wait_for_end() == 0
    tmux.press("Space")
    tmux.wait_for("‖ paused")
    with tmux.attach(80, 24) as client:
        is_drawn(client, "‖ paused", "paused by you")
        tmux.wait_for("page size 500")
        client.press(" ")
        tmux.wait_for("● running")
        client.hang_up()  # as a broken connection does
    goes_on(slow_run, target)
    with tmux.attach(100, 30) as client:
        is_drawn(client, "20,000 read = 20,000 written + 0 rejected", "✓ counts match")
        client.press("q")
        assert tmux.exit_code() == 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_rolls_back_and_ends_the_program_in_tmux(
    tmux: Tmux, target: Target, number: signal.Signals, code: int
) -> None:
    tmux.wait_for("● running")
    tmux.signal(number)
    assert tmux.exit_code() == code
    assert target.value("SELECT count(*) FROM public.orders") < 20_000
    deadline = time.monotonic() + WAIT_S  # its engine may still write its last word
    while (state := target.value("SELECT state FROM mongopg.run")) != "cancelled":
        assert time.monotonic() < deadline, state
        time.sleep(POLL_S)


@pytest.mark.slow
def test_a_killed_tmux_leaves_the_run_alive(tmux: Tmux, target: Target, slow_run: dict[str, str]) -> None:
    tmux.wait_for("● running")
    tmux.do("kill-server")
    goes_on_to_its_end(slow_run, target)
