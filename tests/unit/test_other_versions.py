"""An engine and a front end of different versions, by recorded conversations.

`before_versions.txt` was recorded from a version that had no protocol number. The other two are that conversation as later
versions would hold it: of the same protocol with more to say, and of the next one.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine import __version__
from engine.config import Settings
from engine.errors import EXIT_USAGE, OtherVersion, UsageError
from engine.protocol import Pause, RunState, Shutdown, Snapshot, UnknownEvent
from engine.protocol.handshake import PROTOCOL
from engine.service import client as clients
from engine.service import sockets
from engine.service.client import EngineClient, find_engine
from engine.service.server import Server
from tests.running import eventually

CONVERSATIONS = Path(__file__).parent / "conversations"
RUN = "20261130-0933-euub"
WAIT_S = 60.0


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A socket's path must be short."""
    with tempfile.TemporaryDirectory(prefix="mpg") as folder:
        yield Path(folder)


@asynccontextmanager
async def engine_that_said(conversation: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> AsyncIterator[Path]:
    """A socket on which each command gets what was recorded for it, and whatever was said after that."""
    answers: dict[str, list[str]] = {}
    for line in (CONVERSATIONS / conversation).read_text().splitlines():
        if line.startswith(">"):
            said = answers[json.loads(line[2:])["command"]["name"]] = []
        else:
            said.append(line[2:])

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = json.loads(line)
            for text in answers[request["command"]["name"]]:
                message = json.loads(text)
                if "reply" in message:
                    message["reply"] = request["id"]
                writer.write(json.dumps(message).encode() + b"\n")
        writer.close()

    monkeypatch.setattr(sockets, "live_sockets", lambda: [folder / f"{RUN}.sock"])
    path = folder / f"{RUN}.sock"
    server = await asyncio.start_unix_server(converse, str(path))
    try:
        yield path
    finally:
        server.close()


@pytest.mark.parametrize(
    ("conversation", "theirs"),
    [
        ("before_versions.txt", "(protocol 0)"),
        ("next_protocol.txt", "mongopg-tui 1.0.0 (protocol 2)"),
    ],
)
async def test_another_protocol_is_no_missing_engine_and_both_versions_are_named(
    conversation: str, theirs: str, monkeypatch: pytest.MonkeyPatch, short_folder: Path
) -> None:
    async with engine_that_said(conversation, monkeypatch, short_folder) as path:
        with pytest.raises(OtherVersion) as found:
            await find_engine()
        with pytest.raises(OtherVersion) as named:
            await find_engine(RUN[:-1])
        with pytest.raises(OtherVersion) as connected:
            await EngineClient.connect(path)
    for error in (found.value, named.value, connected.value):
        assert theirs in error.message
        assert f"mongopg-tui {__version__} (protocol {PROTOCOL})" in error.message
        assert "steer the run with the version that started it" in error.message
        assert error.exit_code == EXIT_USAGE


async def test_the_version_of_an_engine_without_a_number_is_known_once_it_is_attached(
    monkeypatch: pytest.MonkeyPatch, short_folder: Path
) -> None:
    async with engine_that_said("before_versions.txt", monkeypatch, short_folder) as path:
        with pytest.raises(OtherVersion, match=r"is mongopg-tui 0\.1\.0 \(protocol 0\)"):
            await EngineClient.connect(path)


async def test_an_engine_of_another_protocol_does_not_hide_one_that_can_be_steered(
    monkeypatch: pytest.MonkeyPatch, short_folder: Path
) -> None:
    async with engine_that_said("next_protocol.txt", monkeypatch, short_folder) as path:
        ours = short_folder / "20261130-1000-aaaa.sock"

        async def going_on(at: Path, waits: clients.Waits) -> Snapshot | None:
            if at == ours:
                return Snapshot(run_id=ours.stem, state=RunState.RUNNING, phase="copying")
            return await asked(at, waits)

        asked = clients._snapshot_at
        monkeypatch.setattr(clients, "_snapshot_at", going_on)
        monkeypatch.setattr(sockets, "live_sockets", lambda: [path, ours])
        assert await find_engine() == ours


async def test_a_later_engine_of_our_protocol_is_found_followed_and_steered(
    monkeypatch: pytest.MonkeyPatch, short_folder: Path
) -> None:
    """It says more than we know: fields of snapshots and replies, events and messages of new kinds."""
    async with engine_that_said("same_protocol.txt", monkeypatch, short_folder) as path:
        assert await find_engine(RUN) == path
        client = await EngineClient.connect(path)
        assert client.attached.version == "0.9.0"
        assert client.snapshot.state is RunState.IDLE
        with pytest.raises(UsageError, match="nothing to pause"):
            await client.call(Pause())
        await client.call(Shutdown())
        messages = client.messages()
        event = await asyncio.wait_for(anext(messages), WAIT_S)
        assert event == UnknownEvent(kind="joined", at=1.5, unread={"host": "c"})
        assert isinstance(await asyncio.wait_for(anext(messages), WAIT_S), Snapshot)
        assert not client.is_closed
        await client.close()


async def test_what_an_engine_says_that_cannot_be_read_does_not_end_the_conversation(short_folder: Path) -> None:
    server = Server(RUN, Settings())
    listener = await asyncio.start_unix_server(server._converse, str(short_folder / "engine.sock"))
    client = await EngineClient.connect(short_folder / "engine.sock")
    for one in server.clients:
        one.send({"snapshot": {"state": "shipping"}})
        one.send({"event": {"at": "noon"}})
        one.send({"event": {"kind": "notice", "at": 1.0}})
    await eventually(lambda: bool(client._inbox), WAIT_S, lambda: "the event that can be read")
    assert not client.is_closed
    assert (await client.call(Shutdown())) == {}
    await client.close()
    listener.close()
    await asyncio.wait(server._conversations or {asyncio.create_task(asyncio.sleep(0))}, timeout=WAIT_S)


@pytest.mark.parametrize(
    ("signature", "code"),
    [
        ({}, "other_version"),
        ({"protocol": PROTOCOL + 1, "version": "1.0.0"}, "other_version"),
        ({"protocol": "one"}, "other_version"),
        ({"protocol": PROTOCOL, "version": "0.9.0"}, None),
    ],
)
async def test_an_engine_refuses_front_ends_of_another_protocol(
    signature: dict[str, Any], code: str | None, short_folder: Path
) -> None:
    reply = await answer_to({"id": 1, "command": {"name": "status"}} | signature, short_folder)
    assert reply.get("error", {}).get("code") == code
    if code:
        assert f"mongopg-tui {__version__} (protocol {PROTOCOL})" in reply["error"]["message"]
        assert reply["error"]["exit_code"] == EXIT_USAGE
    assert (reply["protocol"], reply["version"]) == (PROTOCOL, __version__)


async def test_a_command_with_a_field_that_is_not_known_is_not_carried_out(short_folder: Path) -> None:
    """A later front end may ask for more than this engine can do: half of it would be another thing."""
    command = {"name": "cancel", "now": False, "keep_workers": True}
    reply = await answer_to({"id": 1, "command": command, "protocol": PROTOCOL}, short_folder)
    assert reply["error"]["exit_code"] == EXIT_USAGE


async def answer_to(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What an engine of this version replies."""
    server = Server(RUN, Settings())
    listener = await asyncio.start_unix_server(server._converse, str(folder / "engine.sock"))
    reader, writer = await asyncio.open_unix_connection(str(folder / "engine.sock"))
    writer.write(json.dumps(request).encode() + b"\n")
    reply: dict[str, Any] = json.loads(await asyncio.wait_for(reader.readline(), WAIT_S))
    writer.close()
    listener.close()
    return reply
