"""A run is steered by its own user alone: the engine asks the kernel who is at the other end of a socket."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import tempfile
from pathlib import Path

import pytest

from engine.config import Settings
from engine.service.server import Server

WAIT_S = 60.0
STATUS = json.dumps({"id": 1, "command": {"name": "status"}}).encode() + b"\n"


async def answer_to_a_question() -> bytes:
    """What an engine's server says when it is asked how the run is."""
    server = Server("20260101T000000-unit", Settings())
    with tempfile.TemporaryDirectory(prefix="mpg") as folder:  # short: a socket's path must be
        path = str(Path(folder, "s"))
        listener = await asyncio.start_unix_server(server._converse, path)
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            writer.write(STATUS)
            return await asyncio.wait_for(reader.readline(), WAIT_S)
        except ConnectionError:  # hung up on before it was written
            return b""
        finally:
            writer.close()
            listener.close()
            await listener.wait_closed()


async def test_our_own_user_is_answered() -> None:
    assert json.loads(await answer_to_a_question())["reply"] == 1


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="this kernel does not say who is there")
async def test_another_user_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even root, who may enter every folder: here the engine is another user's."""
    ours = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: ours + 1)

    assert await answer_to_a_question() == b""
