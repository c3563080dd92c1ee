"""Sentences on stderr, results on stdout, both harmless and flushed."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any, TextIO

from tui import starting
from tui.words.safe import safe

MESSAGE_LIMIT = 2_000
"""Characters of one message."""


def say(text: str) -> None:
    """A result: `text`, already harmless, and a line feed on stdout. Raises OSError when its reader is gone."""
    starting.erase()
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_json(record: dict[str, Any]) -> None:
    """A result: one JSON object on one line of stdout, in ASCII. Raises OSError when its reader is gone."""
    say(json.dumps(record))


def note(text: str) -> None:
    """A sentence on stderr."""
    starting.erase()
    # With stderr gone there is no place left to say it.
    with contextlib.suppress(OSError):
        sys.stderr.write(safe(text, MESSAGE_LIMIT) + "\n")
        sys.stderr.flush()


def warn(text: str) -> None:
    """A warning on stderr."""
    note(f"Warning: {text}")


def fail(text: str) -> None:
    """The reason why a command ends, on stderr."""
    note(f"Error: {text}")


def can_draw() -> bool:
    """Output is a terminal that can move its cursor."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def has_terminal() -> bool:
    """Input and output are a terminal that can draw."""
    return sys.stdin.isatty() and can_draw()


def silence(stream: TextIO) -> None:
    """Send what is still written to `stream`, whose reader is gone, to nowhere: at its exit Python would complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
