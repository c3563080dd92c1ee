"""Textual's terminal driver, for which a terminal that is gone is no reason to stand still.

Textual writes in a thread behind a short queue. An error ends the thread, the queue fills, and the event loop then waits for
ever to put something into it: nobody would detach from the run, or cancel it.
"""

from __future__ import annotations

import errno
from typing import Any, TextIO, cast

from textual.drivers.linux_driver import LinuxDriver

_GONE = frozenset({errno.EIO, errno.ENXIO, errno.EBADF, errno.EPIPE})
"""What a write to a closed terminal fails with."""


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


class CockpitDriver(LinuxDriver):
    """The driver for Linux and macOS."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._file = cast(Any, _Output(cast(TextIO, self._file)))
