"""Textual's terminal driver, which a terminal that is gone, or told to wait, does not hold up: `LinuxDriver._file`.

Textual writes in a thread behind a short queue. An error ends the thread, the queue fills, and the event loop then waits for
ever to put something into it: the cockpit would neither detach from the run nor cancel it.

It also gives the terminal its own modes back before the last of that is written. In those modes ctrl+s means that output
waits for ctrl+q, so that a key pressed too late would hold the end up for ever, signals included.
"""

from __future__ import annotations

import contextlib
import errno
import signal
import termios
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Any, TextIO, cast

from rich.console import RenderableType
from rich.traceback import Traceback
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver

from tui import starting
from tui.signals import is_ignored

_GONE = frozenset({errno.EIO, errno.ENXIO, errno.EBADF, errno.EPIPE})
"""What reading from a closed terminal, or writing to it, fails with."""

_OF_JOB_CONTROL = (signal.SIGTSTP, signal.SIGCONT, signal.SIGTTIN, signal.SIGTTOU)


def driver_for(driver: type[Driver]) -> type[Driver]:
    """The driver to take where Textual would take `driver`: another one only for a terminal."""
    return CockpitDriver if driver is LinuxDriver else driver


def tells_of_lost_terminal(renderable: RenderableType) -> bool:
    """Whether this is the traceback with which Textual's reader of the terminal ends when that is gone.

    It holds the error in words only. Any other error of the system, a full disk for instance, is not that of a terminal.
    """
    if not isinstance(renderable, Traceback) or not renderable.trace.stacks:
        return False
    words = renderable.trace.stacks[0].exc_value
    return any(words.startswith(f"[Errno {number}]") for number in _GONE)


class _Output:
    """A terminal's file; what is written after it is gone is lost."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        try:
            return self._file.write(text)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return len(text)

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            if error.errno not in _GONE:
                raise


@contextlib.contextmanager
def _ignored_stay_ignored() -> Iterator[None]:
    """Textual handles ctrl+z and what comes with it, also where that was to be ignored."""
    ignored = [number for number in _OF_JOB_CONTROL if is_ignored(number)]
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


class CockpitDriver(LinuxDriver):
    """The driver for Linux and macOS."""

    def __init__(self, *args: Any, **options: Any) -> None:
        with _ignored_stay_ignored():
            super().__init__(*args, **options)
        if (file := getattr(self, "_file", None)) is not None:  # otherwise a lost terminal is Textual's own affair
            self._file = cast(TextIOWrapper, _Output(file))
        self._own_modes: list[Any] | None = None
        """The terminal's own, until `close`."""

    def start_application_mode(self) -> None:
        """Enter the screen, at the start and after `fg`."""
        # Now, not when the screen is left: in the shell's modes of the terminal ctrl+s would hold that up.
        starting.erase()
        with _ignored_stay_ignored():
            super().start_application_mode()  # type: ignore[no-untyped-call]

    def stop_application_mode(self) -> None:
        """Leave the screen. Until `close`, which always follows, the terminal takes no key for a command to itself."""
        self._own_modes, self.attrs_before = self.attrs_before, None
        super().stop_application_mode()

    def close(self) -> None:
        """Write what is left, then give the terminal its modes back."""
        super().close()
        if self._own_modes is not None:
            with contextlib.suppress(termios.error):  # it is gone
                termios.tcsetattr(self.fileno, termios.TCSANOW, self._own_modes)
            self._own_modes = None
