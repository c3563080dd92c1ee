"""A command that a server fails, such as a knob turned while the run's end closes the connection that is asked about it."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pymongo.errors
import pytest

from engine.protocol import SetKnob, handshake
from engine.service.server import Server


@pytest.mark.parametrize(
    "failure",
    [
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        asyncpg.InterfaceError("connection is closed"),
        pymongo.errors.AutoReconnect("connection closed"),
        ConnectionResetError("reset by peer"),
    ],
)
async def test_a_command_that_a_server_fails_is_answered_with_a_sentence_and_no_traceback(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def obey(*_: object) -> None:
        raise failure

    answers: list[Any] = []
    line = handshake.request(7, SetKnob(knob="cluster_size", value=3))
    with caplog.at_level(logging.INFO):
        server = cast(Any, SimpleNamespace(run_id="a-run", _obey=obey))
        await Server._answer(server, cast(Any, SimpleNamespace(send=answers.append)), line)
    [answer] = answers
    assert answer["error"]["message"].endswith(".")
    assert "see its log" not in answer["error"]["message"]
    assert not [record for record in caplog.records if record.exc_info]
