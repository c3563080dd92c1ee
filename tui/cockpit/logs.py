"""The logs of a run: an engine's log is called by the engine, which was there before its run and may have had several."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_MOST = 500
"""Logs that are looked into, the newest first."""
_BYTES = 1_000_000
"""Of each of them: what an engine says of its run is at the beginning."""


def logs_of(run_id: str, folder: Path | None) -> list[Path]:
    """The logs in a folder that name the run, the oldest first; of engines on other hosts none are there. Blocks.

    Args:
        folder: None where it is not known.
    """
    found = []
    sought = run_id.encode()
    for log in sorted(folder.glob("*.log"), reverse=True)[:_MOST] if folder is not None else ():
        with suppress(OSError), log.open("rb") as file:
            if sought in file.read(_BYTES):
                found.append(log)
    return found[::-1]
