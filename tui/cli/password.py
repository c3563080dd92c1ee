"""Passwords asked for in the terminal, as psql and mongosh do with `-W` and `-p`: never echoed, kept in memory only."""

from __future__ import annotations

import getpass
import os
import signal
import sys
import termios
from collections.abc import Iterable
from dataclasses import replace
from types import FrameType

from engine.config import Loaded, merged, secrets_of, with_password
from engine.errors import UsageError
from engine.redaction import know
from tui import starting
from tui.signals import is_ignored
from tui.words.safe import safe
from tui.words.uri import shown


def with_passwords(loaded: Loaded, sides: Iterable[str]) -> Loaded:
    """The settings with a password, asked for, on each side ("source", "target") whose connection string has room for one.

    Raises:
        UsageError: there is no terminal to ask in.
    """
    for side in sides:
        section = loaded.settings.source if side == "source" else loaded.settings.target
        uri = section.uri.get_secret_value()
        if with_password(uri, "x") == uri:  # it holds one, names no user, or is not set
            continue
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"-W asks for a password, but there is no terminal: set MONGOPG_{side.upper()}_PASSWORD.")
        try:
            password = _typed(f"Password for {safe(shown(uri))}: ")
        except EOFError:
            raise UsageError(f"No password was given for the {side}.") from None
        loaded = replace(
            loaded,
            settings=merged(loaded.settings, {side: {"password": password}}),
            provenance={**loaded.provenance, f"{side}.password": "terminal"},
        )
        know(secrets_of(loaded.settings))
    return loaded


def _typed(prompt: str) -> str:
    """What is typed, unseen. While the program is stopped (ctrl+z), or once a signal has ended it, the terminal is as before.

    Raises:
        EOFError: nothing is.
    """
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def stop(_number: int, _frame: FrameType | None) -> None:
        unseen = termios.tcgetattr(terminal)
        termios.tcsetattr(terminal, termios.TCSANOW, before)
        os.kill(os.getpid(), signal.SIGSTOP)
        termios.tcsetattr(terminal, termios.TCSANOW, unseen)  # in the background the system stops us here, until `fg`
        sys.stderr.write(prompt)
        sys.stderr.flush()

    def end(number: int, _frame: FrameType | None) -> None:
        termios.tcsetattr(terminal, termios.TCSANOW, before)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    handlers = {signal.SIGTSTP: stop, signal.SIGTERM: end, signal.SIGHUP: end, signal.SIGQUIT: end}
    kept = {number: signal.getsignal(number) for number in handlers if not is_ignored(number)}
    try:
        for number in kept:
            signal.signal(number, handlers[number])
        starting.erase()
        return getpass.getpass(prompt)
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
