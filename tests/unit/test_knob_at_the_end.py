"""A knob that is turned when the target cannot be asked about it any more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest

from engine.config import Settings
from engine.errors import ConnectError
from engine.protocol import RunState
from engine.service.activities import Activities


@pytest.mark.parametrize(
    "failure",
    [
        asyncpg.InternalClientError("got result for unknown protocol state 3"),
        asyncpg.InterfaceError("connection is closed"),
        ConnectionResetError("reset by peer"),
    ],
)
async def test_a_knob_is_refused_with_a_sentence_when_the_run_s_end_has_closed_the_connection(
    failure: Exception,
) -> None:
    async def knob_applies(*_: object) -> str:
        raise failure

    run = SimpleNamespace(
        record=SimpleNamespace(state=RunState.RUNNING), settings=Settings(), knob_applies=knob_applies
    )
    with pytest.raises(ConnectError, match="cluster_size stays as it is: the target cannot be asked about it: "):
        await Activities.turn(cast(Any, SimpleNamespace(run=run, _beside={})), "cluster_size", 3)
