"""The fork server, of which all worker processes are made. What they need is imported once.

The first one is a fork of the process that is served, from its beginning: a new interpreter would import the same modules once
more, for 0.35 s of a processor. One that takes its place, when its process has threads and clients, is a new interpreter.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker, util
from pathlib import Path
from typing import Any, NoReturn

from engine.work import preload

CONTEXT = multiprocessing.get_context("forkserver")
"""How workers, and what they share with us, are made."""
PRELOADED = "engine.work.preloaded"

log = logging.getLogger(__name__)


_folders: list[Path] = []
"""Where its socket may be."""
_left_alone: list[int] = []
"""Of fork servers that cannot be reached any more: what keeps each of them alive, for the workers that it has made."""


def fork_off(folders: Sequence[Path]) -> None:
    """Import what workers need, and start it as a fork of this process, which has one thread and serves nothing yet.

    Args:
        folders: as of `warm_up`.

    Raises:
        OSError: no folder can be made, or no process be started.
    """
    preload.import_all()
    _prepare(folders)
    CONTEXT.set_forkserver_preload([])  # everything is there
    with _forked():
        forkserver.ensure_running()
    CONTEXT.set_forkserver_preload([PRELOADED])  # of one that takes its place


def warm_up(folders: Sequence[Path]) -> None:
    """Start it as a new interpreter; its imports are not waited for.

    Args:
        folders: for its socket, the first that can be used; made, and left to the caller to remove. Without them,
            multiprocessing makes one that is left behind when this process is killed.

    Raises:
        OSError: no folder can be made, or no process be started.
    """
    _prepare(folders)
    CONTEXT.set_forkserver_preload([PRELOADED])
    forkserver.ensure_running()


def _prepare(folders: Sequence[Path]) -> None:
    _stand_somewhere()
    _folders[:] = folders
    _use_a_folder()


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


@contextmanager
def _forked() -> Iterator[None]:
    """Within it multiprocessing gets a fork of this process that does what the new interpreter was to do."""
    resource_tracker.ensure_running()  # a program of its own, before a new interpreter is none
    parts: Any = util  # no public way
    start = parts.spawnv_passfds

    def fork(_path: object, words: Sequence[str], kept: Sequence[int]) -> int:
        return os.fork() or _serve(words[-1], kept)

    parts.spawnv_passfds = fork
    try:
        yield
    finally:
        parts.spawnv_passfds = start


def _serve(statement: str, kept: Sequence[int]) -> NoReturn:
    """In the fork: do what `python -c` would, with the descriptors that it would have, and never return."""
    try:
        preload.settle()
        _close_all_but({0, 1, 2, *kept})
        server: Any = forkserver._forkserver
        server._lock = threading.Lock()  # that one is held by who forked
        tracker: Any = resource_tracker._resource_tracker
        tracker._fd = tracker._pid = None  # a worker is given its own
        exec(statement)  # noqa: S102 - of multiprocessing, made a moment ago
    except SystemExit:
        os._exit(0)
    except BaseException:
        log.exception("the fork server ends for an exception")
    os._exit(1)


def _close_all_but(kept: Set[int]) -> None:
    """Not by number up to the highest that may be: that is a thousand million in some containers."""
    for name in os.listdir("/dev/fd"):
        if int(name) not in kept:
            with suppress(OSError):  # the one that the list was read with
                os.close(int(name))


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
