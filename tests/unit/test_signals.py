"""Handlers of the front ends: for signals that were not ignored when the program started, and for those only."""

from __future__ import annotations

import asyncio
import os
import signal

from tests.engine.test_ignored_signals import ignored
from tui.signals import handling


async def test_only_signals_that_are_not_ignored_are_handled() -> None:
    told: list[str] = []
    with ignored(signal.SIGHUP), handling({
        signal.SIGHUP: lambda: told.append("hang up"), signal.SIGUSR1: lambda: told.append("one"),
    }):  # fmt: skip
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        for number in (signal.SIGHUP, signal.SIGUSR1):
            os.kill(os.getpid(), number)
        async with asyncio.timeout(60.0):
            while not told:
                await asyncio.sleep(0.01)
    assert told == ["one"]
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
