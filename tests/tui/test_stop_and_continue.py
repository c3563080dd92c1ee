"""ctrl+z and `fg`, and ctrl+c against a server that says nothing: in a real terminal."""

from __future__ import annotations

import os
import signal
import socket
import sys
import termios
import threading
import time
from collections.abc import Callable

import pytest

from engine.errors import EXIT_CANCELLED, EXIT_CONNECT
from tests.tui.terminal import Terminal

PROGRAM = [sys.executable, "-m", "tui"]
WAIT_S = 60.0
CTRL_C, CTRL_Z = "\x03", "\x1a"


def until(terminal: Terminal, holds: Callable[[], object], what: str) -> None:
    """Read what the program writes until something comes true."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"no {what}; the screen:\n{terminal.screen()}\n{terminal.output[-500:]!r}"
        terminal.read()


def stop(terminal: Terminal) -> None:
    """Press ctrl+z, and wait until the program stands still."""
    terminal.press(CTRL_Z)

    def is_stopped() -> bool:
        found = os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
        return found is not None and found.si_code == os.CLD_STOPPED

    until(terminal, is_stopped, "stop")
    while terminal.read():
        pass


def echoes(terminal: Terminal) -> bool:
    """The terminal shows what is typed."""
    return bool(terminal.modes_after[3] & termios.ECHO)


def test_a_password_is_typed_unseen_after_fg_and_what_is_typed_in_the_shell_is_seen(home: dict[str, str]) -> None:
    words = ["runs", "-W", "--target", "postgresql://mig@127.0.0.1:1/shop"]
    with Terminal([*PROGRAM, *words], home) as terminal:
        terminal.wait_for("Password for postgresql://mig@127.0.0.1:1/shop:")
        until(terminal, lambda: not echoes(terminal), "hidden input")
        stop(terminal)
        assert echoes(terminal)
        terminal.process.send_signal(signal.SIGCONT)
        until(terminal, lambda: terminal.output.count("Password for") == 2, "second prompt")
        assert not echoes(terminal)
        terminal.press("canary-typed\n")
        assert terminal.wait_for_end() == EXIT_CONNECT
        assert "canary" not in terminal.output
        assert terminal.modes_after == terminal.modes_before

    with Terminal([*PROGRAM, *words], home) as terminal:
        terminal.wait_for("Password for")
        until(terminal, lambda: not echoes(terminal), "hidden input")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.wait_for_end() == -signal.SIGTERM
        assert echoes(terminal)


def test_the_cockpit_gives_the_terminal_back_while_it_is_stopped_and_draws_itself_anew(home: dict[str, str]) -> None:
    with Terminal(PROGRAM, home, 100, 30) as terminal:
        terminal.wait_for("Enter both URIs")
        stop(terminal)
        assert terminal.modes_after == terminal.modes_before
        assert terminal.output.rindex("\x1b[?1049l") > terminal.output.rindex("\x1b[?1049h")
        assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")
        seen = len(terminal.output)
        terminal.process.send_signal(signal.SIGCONT)
        until(terminal, lambda: "\x1b[?1049h" in terminal.output[seen:], "screen")
        until(terminal, lambda: "Enter both URIs" in terminal.output[seen:], "drawing")
        assert terminal.modes_after != terminal.modes_before
        terminal.process.send_signal(signal.SIGTERM)
        terminal.wait_for_end()
        assert terminal.modes_after == terminal.modes_before


def test_f16_ctrl_z_in_a_field_stops_the_cockpit(home: dict[str, str]) -> None:
    with Terminal(PROGRAM, home, 100, 30) as terminal:
        terminal.wait_for("Paste the MongoDB URI")
        terminal.press("mongodb://h")
        terminal.wait_for("mongodb://h")
        stop(terminal)
        assert terminal.modes_after == terminal.modes_before
        terminal.process.send_signal(signal.SIGCONT)
        terminal.process.send_signal(signal.SIGTERM)
        terminal.wait_for_end()


def test_f16_a_terminal_of_the_locale_c_gets_ascii(home: dict[str, str]) -> None:
    with Terminal(PROGRAM, {**home, "LC_ALL": "C"}, 100, 30) as terminal:
        terminal.wait_for("Paste the MongoDB URI")
        assert terminal.screen().isascii()
        terminal.process.send_signal(signal.SIGTERM)
        terminal.wait_for_end()


def test_a_run_without_the_cockpit_shows_the_cursor_while_it_is_stopped_and_goes_on(slow_run: dict[str, str]) -> None:
    with Terminal([*PROGRAM, "run", "--headless"], {**slow_run, "MONGOPG_RUN_THROTTLE": "1000"}) as terminal:
        until(terminal, lambda: "\x1b[?25l" in terminal.output and "rows/s" in terminal.output, "progress")
        stop(terminal)
        assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")
        seen = len(terminal.output)
        terminal.process.send_signal(signal.SIGCONT)
        until(terminal, lambda: "rows/s" in terminal.output[seen:], "progress again")
        terminal.press(CTRL_C)
        assert terminal.wait_for_end() == EXIT_CANCELLED
        assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")


@pytest.mark.parametrize("command", ["plan", "bench"])
def test_an_interrupt_is_answered_at_once_while_a_server_says_nothing(home: dict[str, str], command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        knocked = threading.Event()
        kept: list[socket.socket] = []

        def take() -> None:
            kept.append(silent.accept()[0])
            knocked.set()

        taking = threading.Thread(target=take, daemon=True)
        taking.start()
        port = silent.getsockname()[1]
        # Patient: the answer must not be that of a connection that was given up.
        source = f"mongodb://127.0.0.1:{port}/shop?serverSelectionTimeoutMS=120000&connectTimeoutMS=120000"
        target = "postgresql://mig@127.0.0.1:1/shop"
        if command == "bench":  # which asks PostgreSQL first
            target = f"postgresql://mig@127.0.0.1:{port}/shop?connect_timeout=120&sslmode=disable"
        words = [command, "--source", source, "--target", target]
        with Terminal([*PROGRAM, *words], home) as terminal:
            until(terminal, knocked.is_set, "connection")
            terminal.press(CTRL_C)
            terminal.wait_for("Interrupted")
            assert terminal.wait_for_end() == EXIT_CANCELLED
            assert "does not answer" not in terminal.output
        for connection in kept:
            connection.close()
