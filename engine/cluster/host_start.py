"""Starts host processes (`engine.cluster.host_main`), also before one is wanted: they take a while to import what they need.

Imports nothing of Dask, so that one can be started while Dask is imported.
"""

from __future__ import annotations

import socket
import subprocess
import sys

_early: list[StartedHost] = []
"""Started, and not wanted yet."""


class StartedHost:
    """A host process that waits for the key of its conversation; without one it ends (`engine.cluster.host`)."""

    def __init__(self) -> None:
        """Starts it.

        Raises:
            OSError: it cannot be started.
        """
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "engine.cluster.host_main", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )


def start_early() -> StartedHost:
    """Start one that is wanted soon.

    Raises:
        OSError: it cannot be started.
    """
    host = StartedHost()
    _early.append(host)
    return host


def started_host() -> StartedHost:
    """One that was started early and is still there, else a new one.

    Raises:
        OSError: it cannot be started.
    """
    while _early:
        early = _early.pop()
        if early.process.poll() is None:
            return early
        early.socket.close()
    return StartedHost()
