"""A real pseudo-terminal with a program in it, and what its screen shows."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.cells import cell_len

ROOT = Path(__file__).resolve().parents[2]
_TOKEN = re.compile(r"\x1b\[([0-9;?<>=]*)([A-Za-z])|\x1b[P\]_].*?(?:\x07|\x1b\\)|\x1b[=>()78][B0]?|[^\x1b]", re.DOTALL)
_BEGUN = re.compile(r"\x1b(?:[()]|\[[0-9;?<>=]*|[P\]_](?:(?!\x07|\x1b\\).)*)?\Z", re.DOTALL)
"""A sequence whose end is not there yet, at the end of a text."""


class Terminal:
    """A program in a pty; `screen` follows cursor positions and text, which is all that a full-screen program uses."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        width: int = 120,
        height: int = 40,
        folder: Path = ROOT,
    ) -> None:
        self.width, self.height = width, height
        self.output = ""
        """Everything the program wrote."""
        self._cells = [[" "] * width for _ in range(height)]
        self._row = self._column = 0
        self._undrawn: list[str] = []
        self._begun = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.modes_before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            command, stdin=self._slave, stdout=self._slave, stderr=self._slave, cwd=folder, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "", **environment},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.hang_up()

    @property
    def modes_after(self) -> list[Any]:
        """The line discipline now."""
        return termios.tcgetattr(self._slave)

    def hang_up(self) -> None:
        """Close the terminal: the program gets SIGHUP."""
        for descriptor in (self.master, self._slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.master, keys.encode())

    def resize(self, width: int, height: int) -> None:
        """Give the terminal another size; the program gets SIGWINCH."""
        self._draw()
        self.width, self.height = width, height
        self._cells = [[" "] * width for _ in range(height)]
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def screen(self) -> str:
        """The lines on the screen."""
        self._draw()
        return "\n".join("".join(row).rstrip() for row in self._cells)

    def wait_for(self, *texts: str, timeout_s: float = 60.0) -> None:
        """Until the screen shows one of `texts`."""
        deadline = time.monotonic() + timeout_s
        while not any(text in self.screen() for text in texts):
            assert time.monotonic() < deadline, f"no {texts} on the screen:\n{self.screen()}"
            assert self.read() or self.process.poll() is None, f"it has ended, last shown:\n{self.output[-3000:]}"

    def wait_until_gone(self, text: str, timeout_s: float = 60.0) -> None:
        """Until the screen does not show `text` any more."""
        deadline = time.monotonic() + timeout_s
        while text in self.screen():
            assert time.monotonic() < deadline, f"{text} stays on the screen:\n{self.screen()}"
            assert self.read() or self.process.poll() is None, f"it has ended, last shown:\n{self.output[-3000:]}"

    def wait_until(self, pattern: str, timeout_s: float = 60.0) -> None:
        """Until the screen matches a pattern somewhere."""
        deadline = time.monotonic() + timeout_s
        while re.search(pattern, self.screen()) is None:
            assert time.monotonic() < deadline, f"no {pattern!r} on the screen:\n{self.screen()}"
            assert self.read() or self.process.poll() is None, f"it has ended, last shown:\n{self.output[-3000:]}"

    def wait_for_end(self, timeout_s: float = 60.0) -> int:
        """The program's exit code; what it still writes is read."""
        deadline = time.monotonic() + timeout_s
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it goes on; the screen:\n{self.screen()}"
            self.read()
        while self.read():
            pass
        return self.process.returncode

    def read(self) -> bool:
        """Take what is there, waiting a little for it; False when there is nothing."""
        return self.take(0.05) is not None

    def take(self, timeout_s: float) -> str | None:
        """What the program has written, in whole sequences, drawn when it is looked at; None when there is nothing in time."""
        if not select.select([self.master], [], [], timeout_s)[0]:
            return None
        try:
            text = self._decoder.decode(os.read(self.master, 65_536))
        except OSError:
            return None
        self.output += text
        whole, self._begun = whole_sequences(self._begun + text)
        self._undrawn.append(whole)
        return whole

    def _draw(self) -> None:
        text = "".join(self._undrawn)
        self._undrawn.clear()
        for token in _TOKEN.finditer(text):
            if token[2] == "H":
                row, _, column = (token[1] or "1;1").partition(";")
                self._row, self._column = int(row or 1) - 1, int(column or 1) - 1
            elif token[2] == "J":
                self._cells = [[" "] * self.width for _ in range(self.height)]
            elif token[0] == "\r":
                self._column = 0
            elif token[0] == "\n":
                self._row = min(self.height - 1, self._row + 1)
            elif token[0][0] != "\x1b" and token[0].isprintable():
                if self._row < self.height and self._column < self.width:
                    self._cells[self._row][self._column] = token[0]
                self._column += cell_len(token[0])


def whole_sequences(text: str) -> tuple[str, str]:
    """What can be told, and a sequence for the terminal that has only begun: a read may end anywhere."""
    begun = _BEGUN.search(text)
    return (text[: begun.start()], text[begun.start() :]) if begun else (text, "")
