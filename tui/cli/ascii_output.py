"""Output in ASCII: signs of ours as their likeness, every other character as its number."""

from __future__ import annotations

import sys
from typing import Any, TextIO

_SIGNS = str.maketrans({
    "→": "->", "←": "<-", "–": "-", "—": "-", "…": "...", "·": "|", "×": "x", "≈": "~", "✓": "ok", "━": "-", "╸": "-",
    "╺": "-", "█": "#", "▲": "^", "▼": "v", "‖": "=",
})  # fmt: skip


def to_ascii(text: str) -> str:
    """`text` in ASCII; characters that no sign of ours is made of are written `\\xfc`."""
    if text.isascii():
        return text
    return text.translate(_SIGNS).encode("ascii", "backslashreplace").decode()


class AsciiStream:
    """A stream that everything is written to in ASCII."""

    encoding = "ascii"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text`; returns how many of its characters were taken."""
        self._stream.write(to_ascii(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        """Everything else is as the stream has it."""
        return getattr(self._stream, name)


def draw_in_ascii() -> None:
    """Write nothing else to stdout and stderr from here on."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, AsciiStream):
            setattr(sys, name, AsciiStream(stream))
