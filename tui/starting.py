"""What a terminal says while the cockpit comes: at once, for loading it takes seconds where the processors are busy.

Nothing but the standard library is imported.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

ERASE_LINE = "\r\x1b[K"
"""What takes the cursor to the start of a terminal's line, and away what stands in it."""
WORDS = "Starting the engine and the cockpit…"
_COCKPIT = frozenset({"attach", "demo", "run"})
"""Commands that open it."""
_PRINTING = frozenset({"--help", "-h", "--version", "--headless", "--plain", "--json", "--stop", "-W"})
"""Options with which they print or ask instead."""
_stands = False
"""The words are on the terminal, and the cursor behind them."""


def opens_cockpit(arguments: Sequence[str]) -> bool:
    """The command line is one that opens the cockpit where there is a terminal, as far as that is plain to see."""
    return (not arguments or arguments[0] in _COCKPIT) and not _PRINTING & {*arguments}


def tell() -> None:
    """Say it, where input and output are a terminal that can draw."""
    global _stands
    if _stands or not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        return
    with contextlib.suppress(OSError):
        sys.stdout.write(WORDS)
        sys.stdout.flush()
        _stands = True


def erase() -> None:
    """Take it back, before anything else is said."""
    global _stands
    if _stands:
        _stands = False
        with contextlib.suppress(OSError):
            sys.stdout.write(ERASE_LINE)
            sys.stdout.flush()
