"""Signals to processes that may have ended meanwhile."""

from __future__ import annotations

import os
import signal


def send_signal(pid: int, number: signal.Signals) -> bool:
    """Send a signal to a process; False when it is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
