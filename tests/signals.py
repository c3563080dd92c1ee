"""Signals to processes that may have ended meanwhile."""

from __future__ import annotations

import os
import signal


def send_signal(pid: int, number: signal.Signals) -> bool:
    """Send a signal to a process; False when it is gone, or not there yet.

    Pid 0, such as that of a worker that is being started, would be every process of our own group.
    """
    if pid <= 0:
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
