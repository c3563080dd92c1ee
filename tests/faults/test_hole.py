"""A network that swallows everything for longer than anybody waits: it is noticed without a word from the other end."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from engine.postgres import connect as postgres
from tests.faults.cable import cable
from tests.faults.proxy import proxy_to
from tests.faults.sockets import sockets_to
from tests.running import Engine, Engines, add_users
from tests.slow_run import completed, started

if TYPE_CHECKING:
    from tests.conftest import Source, Target

USERS = 12_000
HOLE_S = 45.0
BACK_S = 30.0
"""A connection that is being made when the hole ends is given up after 5 s, and tried again."""
NOTICED_S = {"source": 25.0, "target": 40.0}
"""MongoDB's driver asks its server every 10 s and waits 5 s for the answer; PostgreSQL's connections are the kernel's to watch,
which gives them up after 30 s."""
UNSECURED = {"source": "&tls=false", "target": "?sslmode=disable"}
PROBLEMS = {"source": {"connection_lost", "network_timeout", "no_server"}, "target": {"08003", "08006", "connect"}}
KEEPALIVE = {
    "TCP_KEEPIDLE": postgres.KEEPALIVE_IDLE_S,
    "TCP_KEEPINTVL": postgres.KEEPALIVE_INTERVAL_S,
    "TCP_KEEPCNT": postgres.KEEPALIVE_COUNT,
    "TCP_USER_TIMEOUT": postgres.UNANSWERED_MS,
}
KEEPALIVE_OF_POSTGRESQL = {
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
KEEPALIVE_OF_PYMONGO = {"TCP_KEEPIDLE": 120, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 9}


def options(wire: socket.socket, names: dict[str, int]) -> dict[str, int]:
    """What the kernel does for a connection."""
    assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    return {name: wire.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names}


def watched(engine: Engine, pid: int, uri: str, names: dict[str, int]) -> list[dict[str, int]]:
    """The same for each connection of a process to a server."""
    port = urlsplit(uri).port
    assert port is not None
    wires = sockets_to(pid, port)
    try:
        assert wires, f"{pid} has no connection to port {port}: {engine.account()}"
        return [options(wire, names) for wire in wires]
    finally:
        for wire in wires:
            wire.close()


@pytest.mark.slow
async def test_the_kernel_watches_every_connection(source: Source, target: Target, engines: Engines) -> None:
    """The engine's and the workers', as they are in the running processes."""
    add_users(source, USERS)
    engine = await started(engines)
    now = await engine.until(lambda now: all(worker.sent for worker in now.workers), "every worker connected")
    workers = [worker.pid for worker in now.workers]
    assert len(workers) == 2

    for pid in (engine.pid, *workers):
        assert all(found == KEEPALIVE for found in watched(engine, pid, target.uri, KEEPALIVE))
    for pid in workers:
        for found in watched(engine, pid, source.uri, KEEPALIVE_OF_PYMONGO):
            assert all(0 < found[name] <= most for name, most in KEEPALIVE_OF_PYMONGO.items())

    await completed(engine, source, target)


async def test_postgresql_watches_our_sessions_as_closely(target: Target) -> None:
    """What it does not give up itself holds locks and claims against all others."""
    connection = await postgres.connect(target.uri)
    try:
        for name, value in KEEPALIVE_OF_POSTGRESQL.items():
            assert await connection.fetchval(f"SHOW {name}") == value
    finally:
        await connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_hole_that_stays_is_noticed(side: str, source: Source, target: Target, engines: Engines) -> None:
    """Neither an answer nor a reset, and what is sent is not acknowledged either."""
    add_users(source, USERS)
    with cable() as way:
        async with proxy_to(getattr(engines, side).uri, way.listener()) as proxy:
            uri = f"{proxy.uri}{UNSECURED[side]}"
            engine = await started(engines, sections={side: {"uri": uri}}, throttle=300)
            way.cut()
            cut_at = time.monotonic()

            found = await engine.event("problem")
            noticed_s = time.monotonic() - cut_at
            print(f"noticed after {noticed_s:.1f} s: {found.facts}")
            assert noticed_s <= NOTICED_S[side]
            assert found.facts["code"] in PROBLEMS[side]
            await asyncio.sleep(max(0.0, cut_at + HOLE_S - time.monotonic()))
            assert engine.snapshot.written < USERS

            way.mend()
            mended_at = time.monotonic()
            await engine.until_written(engine.snapshot.written + 1)
            back_s = time.monotonic() - mended_at
            print(f"commits again {back_s:.1f} s after the hole")
            assert back_s <= BACK_S
            await completed(engine, source, target)
            assert not [facts for facts in engine.facts_of("worker") if facts["what"] == "died"]
            await engine.leave()
            await engine.until_gone()
