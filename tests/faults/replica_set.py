"""A MongoDB replica set of three members or another number, any of which can be killed, restarted, emptied or stepped down."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from engine.demo.binaries import find_binaries
from engine.demo.processes import launch
from tests.guarded import free_port

NAME = "three"
READY_S = 90.0


@dataclass
class ReplicaSet:
    """Members on loopback, without authentication."""

    folder: Path
    ports: tuple[int, ...]
    parameters: tuple[str, ...] = ()
    """Of the servers, `name=value`."""
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def uri(self, database: str, options: str = "") -> str:
        """The connection string of all of them."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"mongodb://{hosts}/{database}?replicaSet={NAME}{options}"

    def direct(self, port: int) -> MongoClient[dict[str, Any]]:
        """A client of one member."""
        return MongoClient(f"mongodb://127.0.0.1:{port}/?directConnection=true", serverSelectionTimeoutMS=2_000)

    def start(self, port: int) -> None:
        """Start a member on the data that it has."""
        data = self.folder / str(port)
        data.mkdir(exist_ok=True)
        command = [str(find_binaries().mongod), "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1"]
        command += ["--nounixsocket", "--replSet", NAME, "--oplogSize", "200", "--wiredTigerCacheSizeGB", "0.25"]
        command += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        for parameter in self.parameters:
            command += ["--setParameter", parameter]
        log = self.folder / f"{port}.log"
        self.processes[port] = launch(command, log, death_signal=signal.SIGKILL, env=dict(os.environ))

    def kill(self, port: int) -> None:
        """SIGKILL to a member."""
        self.processes[port].kill()
        self.processes[port].wait()

    def revive(self, port: int) -> None:
        """See to it that the member runs and can be read."""
        if self.processes[port].poll() is not None:
            self.start(port)
        self.wait_for(port)

    def restart(self, port: int) -> None:
        """SIGKILL, and start on the data that is there."""
        self.kill(port)
        self.start(port)
        self.wait_for(port)

    def empty(self, port: int) -> None:
        """A member that was killed has lost its data: it is synchronised anew when it is started."""
        shutil.rmtree(self.folder / str(port))

    @property
    def primary(self) -> int:
        """The port of the primary."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            for port in self.ports:
                if self._state(port) == "PRIMARY":
                    return port
            time.sleep(0.1)
        raise AssertionError("the set has no primary")

    def wait_for(self, port: int) -> None:
        """The member is one that can be read."""
        deadline = time.monotonic() + READY_S
        while self._state(port) not in ("PRIMARY", "SECONDARY"):
            assert time.monotonic() < deadline, f"member {port} is {self._state(port)}"
            time.sleep(0.1)

    def step_down(self) -> None:
        """Have the primary become a secondary, and another one the primary."""
        before = self.primary
        with self.direct(before) as client, contextlib.suppress(PyMongoError):
            client.admin.command({"replSetStepDown": 60, "force": True})
        while self.primary == before:
            time.sleep(0.1)

    def _state(self, port: int) -> str:
        try:
            with self.direct(port) as client:
                hello = client.admin.command("hello")
        except PyMongoError:
            return "away"
        if hello.get("isWritablePrimary"):
            return "PRIMARY"
        return "SECONDARY" if hello.get("secondary") else "other"


@contextmanager
def replica_set(folder: Path, *parameters: str, n_members: int = 3) -> Iterator[ReplicaSet]:
    """A set that is ended behind it.

    Args:
        parameters: of the servers, `name=value`.
    """
    found = ReplicaSet(folder, tuple(free_port() for _ in range(n_members)), parameters)
    try:
        for port in found.ports:
            found.start(port)
        members = [
            {"_id": number, "host": f"127.0.0.1:{port}", "priority": n_members - number}
            for number, port in enumerate(found.ports)
        ]
        deadline = time.monotonic() + READY_S
        while True:
            try:
                with found.direct(found.ports[0]) as client:
                    settings = {"electionTimeoutMillis": 2_000, "heartbeatIntervalMillis": 500}
                    client.admin.command("replSetInitiate", {"_id": NAME, "members": members, "settings": settings})
                break
            except PyMongoError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        for port in found.ports:
            found.wait_for(port)
        assert found.primary
        yield found
    finally:
        for process in found.processes.values():
            process.kill()
            process.wait()
