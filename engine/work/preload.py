"""What is done once so that no worker has to: imports, a proof of the driver, and in the fork server how memory is kept.

Only that: no client, thread or loop may exist in a process that forks. Whatever is missing here is imported by every single
worker, which costs each of them milliseconds.
"""

from __future__ import annotations

import ctypes
import gc
import linecache
import sys
from importlib import import_module

MODULES = (
    "engine.work.worker",
    # What multiprocessing rebuilds the arguments of a worker with; it imports them when it gets there.
    "mmap",
    "multiprocessing.heap",
    "multiprocessing.popen_forkserver",
    "multiprocessing.sharedctypes",
)
SHOWN_BY_TRACES = ("threading", "concurrent.futures.thread", "pymongo.synchronous.mongo_client", "engine.mongo.connect")
"""Modules whose lines a new MongoClient keeps, of its caller's stack: their sources are read once."""
KEPT_BYTES = 32 * 1024 * 1024
"""Free memory that a worker keeps, and the smallest buffer that goes back to the system at once."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Parameters of glibc's mallopt(3), from its malloc.h."""
PR_SET_NAME = 15
"""Of prctl(2), from Linux' prctl.h: at most 15 bytes."""


def import_all() -> None:
    """Import everything that a worker uses. Nothing of it is imported with this module: an engine opens its socket before."""
    gc.disable()  # importing makes objects that stay: looking for garbage among them takes a quarter of the time
    from engine.convert import converter_name
    from engine.mongo.rawcursor import prove_shortcut

    for name in MODULES:
        import_module(name)
    if converter_name() == "native":
        import_module("engine.convert.native")
    prove_shortcut()
    for name in SHOWN_BY_TRACES:
        linecache.getlines(sys.modules[name].__file__ or "")
    gc.enable()


def settle() -> None:
    """In the fork server: let what is there stay shared with all workers, and memory stay with each."""
    _name_process()
    _keep_buffers()
    gc.freeze()


def _name_process() -> None:
    """In lists of processes: what was forked has the words of the engine that it was forked from."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None and sys.platform == "linux":
        prctl(PR_SET_NAME, b"mongopg-workers")


def _keep_buffers() -> None:
    """Let batches, pages and their copies use the same memory again and again.

    As it comes, glibc maps each buffer of some hundred kilobytes anew and gives it back: more than 200 page faults for each
    batch. Other C libraries (musl, macOS) are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and sys.platform == "linux":
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_ARENA_MAX, 1)  # the interpreter's lock lets one thread allocate at a time anyway
