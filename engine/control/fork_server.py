"""The fork server, of which all worker processes are made: it imports what they need once.

Imports nothing of weight, so that an engine can start it first and let it import on another core.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver, resource_tracker
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
"""How workers, and what they share with us, are made."""
PRELOADED = "engine.work.preload"


def warm_up(folder: Path) -> None:
    """Start it, and its imports; nobody waits for those.

    Args:
        folder: for its socket; made, and left to the caller to remove. Without it, multiprocessing makes one that nobody
            removes when this process is killed.

    Raises:
        OSError: the folder cannot be made, or no process be started.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    multiprocessing.current_process()._config["tempdir"] = str(folder)  # type: ignore[attr-defined]  # no public way
    CONTEXT.set_forkserver_preload([PRELOADED])
    resource_tracker.ensure_running()
    forkserver.ensure_running()
