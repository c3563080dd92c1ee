"""Signals in the front ends: one that was ignored when the program started, as `nohup` and `&` want it, stays ignored."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping


def is_ignored(number: signal.Signals) -> bool:
    """Whether a signal is ignored, as the process that started this program may have wanted it."""
    return signal.getsignal(number) is signal.SIG_IGN


def add_handlers(handlers: Mapping[signal.Signals, Callable[[], None]]) -> list[signal.Signals]:
    """Handle signals in the running event loop, but for those that are ignored; returns those that are handled."""
    loop = asyncio.get_running_loop()
    handled = [number for number in handlers if not is_ignored(number)]
    for number in handled:
        loop.add_signal_handler(number, handlers[number])
    return handled


@contextlib.contextmanager
def handling(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    """`add_handlers`, for a while."""
    handled = add_handlers(handlers)
    try:
        yield
    finally:
        loop = asyncio.get_running_loop()
        for number in handled:
            loop.remove_signal_handler(number)
