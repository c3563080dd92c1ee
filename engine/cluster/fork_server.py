"""The fork server, of which all worker processes are made: it imports what they need once.

Imports nothing of weight, so that an engine can start it first and let it import on another core.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Sequence
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
"""How workers, and what they share with us, are made."""
PRELOADED = "engine.work.preload"

log = logging.getLogger(__name__)


_folders: list[Path] = []
"""Where its socket may be."""
_left_alone: list[int] = []
"""Of fork servers that cannot be reached any more: what keeps each of them alive, for the workers that it has made."""


def warm_up(folders: Sequence[Path]) -> None:
    """Start it, and its imports, which are not waited for.

    Args:
        folders: for its socket, the first that can be used; made, and left to the caller to remove. Without them,
            multiprocessing makes one that is left behind when this process is killed.

    Raises:
        OSError: no folder can be made, or no process be started.
    """
    _stand_somewhere()
    _folders[:] = folders
    _use_a_folder()
    CONTEXT.set_forkserver_preload([PRELOADED])
    resource_tracker.ensure_running()
    forkserver.ensure_running()


def see_to_it() -> None:
    """Have the next worker made by another fork server when the socket of this one was removed, as by a sweep of /tmp.

    The workers that it has made are its children: it must live as long as they do.

    Raises:
        OSError: no folder can be made.
    """
    _stand_somewhere()
    server: Any = forkserver._forkserver  # no public way
    address = server._forkserver_address
    if address is None or not _folders or os.path.exists(address):
        return
    log.warning("the socket of the fork server is gone: another one is started")
    with server._lock:
        _left_alone.append(server._forkserver_alive_fd)
        server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = None
    _use_a_folder()


def _stand_somewhere() -> None:
    """Leave a working directory that was removed: multiprocessing tells each worker its name, which it has no more."""
    try:
        os.getcwd()
    except OSError:
        os.chdir("/")


def _use_a_folder() -> None:
    failure: OSError | None = None
    for folder in _folders:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            failure = error
            continue
        multiprocessing.current_process()._config["tempdir"] = str(folder)  # type: ignore[attr-defined]  # no public way
        return
    if failure is not None:
        raise failure
