"""Clients that are still talking when an engine's loop ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from engine.config import Settings
from engine.service.server import Server


async def test_a_conversation_that_the_engine_s_end_cuts_off_is_no_failure(tmp_path: Path) -> None:
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    server = Server("20261127-0200-abcd", Settings())
    listening = await asyncio.start_unix_server(server._converse, path=tmp_path / "engine.sock")
    _, writer = await asyncio.open_unix_connection(str(tmp_path / "engine.sock"))
    while not server._conversations:
        await asyncio.sleep(0.01)
    conversations = list(server._conversations)
    for conversation in conversations:
        conversation.cancel()
    await asyncio.wait(conversations)
    await asyncio.sleep(0.05)
    assert not failures
    writer.close()
    listening.close()


async def test_nor_is_one_that_is_cut_off_before_its_first_step(tmp_path: Path) -> None:
    failures: list[dict[str, Any]] = []
    seen: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    server = Server("20261127-0200-abcd", Settings())
    listening = await asyncio.start_unix_server(server._converse, path=tmp_path / "engine.sock")
    before = asyncio.all_tasks()

    def cancelled(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **options)
        if work.__qualname__.startswith("Server."):
            seen.append(work.__qualname__)
            task.cancel()
        return task

    loop.set_task_factory(cancelled)
    _, writer = await asyncio.open_unix_connection(str(tmp_path / "engine.sock"))
    async with asyncio.timeout(60.0):
        while len(seen) < 1 or asyncio.all_tasks() - before:
            await asyncio.sleep(0.01)
    loop.set_task_factory(None)
    assert not failures
    writer.close()
    listening.close()
