"""Work of the engine's own that a cancel breaks off: what it ends with then is of no matter."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.errors import Cancelled
from engine.run.run import Run


async def test_what_ends_badly_behind_a_cancel_is_no_news() -> None:
    """The event loop would log it with a traceback, whenever the work's last trace is removed."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    run = SimpleNamespace(_stopping=asyncio.Event(), _failure=None)

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise OSError("the connection was closed") from None

    doing = asyncio.create_task(Run.interruptible(cast("Run", run), work()))
    await asyncio.sleep(0)
    run._stopping.set()
    with pytest.raises(Cancelled):
        await doing
    del doing
    gc.collect()
    await asyncio.sleep(0)
    assert told == []
