"""The keeper: the process that starts both servers, watches its owner, and stops and removes them.

Its only argument is an `Order` as JSON. On standard output it writes one JSON line, `{"source_uri", "target_uri"}` or
`{"error": {"code", "message"}}`, and closes it. Its standard input is the pipe that the owner holds open.
"""

from __future__ import annotations

import json
import os
import resource
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from engine.demo import mongod, postgres
from engine.demo.binaries import Binaries, open_to_others, readable_copy
from engine.demo.folder import FolderState, remove, remove_tree
from engine.demo.order import Order
from engine.demo.processes import POLL_S, ProcessMark, unprivileged_user
from engine.errors import ConnectError, MigrationError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
WATCH_S = 1.0
OPEN_FILES = 65_536
# Below the ephemeral ports of Linux (32768) and macOS (49152), so that no outgoing connection takes one meanwhile.
PORTS = range(20_000, 32_000)
LOG_TAIL_BYTES = 65_536


class Stopped(BaseException):
    """The owner has gone, or a signal asked for the end, while the servers were started."""


class Keeper:
    """Both servers and their folder."""

    def __init__(self, order: Order, signals: int) -> None:
        self.order = order
        self._signals = signals
        """Readable when a signal asks for the end."""
        self.folder = Path(order.folder)
        earlier = FolderState.read(self.folder)
        kept = order.kept or (earlier is not None and earlier.kept)
        self.state = FolderState(kept=kept, keeper=ProcessMark.of(os.getpid()))
        self._earlier = earlier
        self._mongod: subprocess.Popen[bytes] | None = None
        self._postgres: subprocess.Popen[bytes] | None = None
        self._initdb: subprocess.Popen[bytes] | None = None
        self._deadline = time.monotonic() + START_TIMEOUT_S

    def start(self) -> FolderState:
        """Start both servers, side by side.

        Raises:
            MigrationError: one of them did not start; the message ends with its last complaint.
            Stopped: the owner has gone meanwhile.
        """
        self.state.write(self.folder)
        if self._earlier is not None:
            self._earlier.end_servers()
        try:
            return self._start()
        except (OSError, subprocess.SubprocessError) as error:
            raise ConnectError(f"The embedded servers did not start: {error}") from error

    def _start(self) -> FolderState:
        user = unprivileged_user()
        earlier_ports = (
            (None, None) if self._earlier is None else (self._earlier.mongo_port, self._earlier.postgres_port)
        )
        mongo_port, postgres_port = (_free_port(port) for port in earlier_ports)
        binaries = Binaries(Path(self.order.mongod), Path(self.order.initdb), Path(self.order.postgres))
        self._mongod = mongod.start(binaries.mongod, self.folder, mongo_port, test_commands=self.order.test_commands)
        self._record(mongo_port=mongo_port, postgres_port=postgres_port)
        if user is not None and not open_to_others(binaries.postgres):
            binaries = readable_copy(binaries, self.folder / "pginstall")
        if not (self.folder / "postgres").exists():
            remove_tree(self.folder / "postgres.new")
            self._initdb = postgres.start_initdb(binaries.initdb, self.folder, user)
            while self._initdb.poll() is None:
                self._pause()
            if self._initdb.returncode != 0:
                raise ConnectError(self._failure("PostgreSQL", "initdb.log", postgres.complaint))
            postgres.adopt_cluster(self.folder)
        self._postgres = postgres.start(binaries.postgres, self.folder, postgres_port, user)
        self._record()
        mongod.make_primary(mongo_port, self._pause)
        postgres.wait_until_ready(self.folder, self._postgres.pid, self._pause)
        self._record(source_uri=mongod.uri(mongo_port), target_uri=postgres.uri(postgres_port))
        return self.state

    def _record(self, **changes: Any) -> None:
        servers = tuple(ProcessMark.of(server.pid) for server in self._servers())
        self.state = replace(self.state, servers=servers, **changes)
        self.state.write(self.folder)

    def _servers(self) -> list[subprocess.Popen[bytes]]:
        return [server for server in (self._mongod, self._postgres) if server is not None]

    def _pause(self) -> None:
        """Wait a moment for the servers; raises what makes more waiting useless."""
        if select.select([sys.stdin, self._signals], [], [], POLL_S)[0]:
            raise Stopped
        if self._mongod is not None and self._mongod.poll() is not None:
            raise ConnectError(self._failure("MongoDB", "mongod.log", mongod.complaint))
        if self._postgres is not None and self._postgres.poll() is not None:
            raise ConnectError(self._failure("PostgreSQL", "postgres.log", postgres.complaint))
        if time.monotonic() > self._deadline:
            raise ConnectError(
                f"The embedded servers did not answer within {START_TIMEOUT_S:.0f} s: see {self.folder}."
            )

    def _failure(self, server: str, log: str, complaint: Callable[[str], str | None]) -> str:
        return f"The embedded {server} did not start: {_last_complaint(self.folder / log, complaint)}"

    def watch(self) -> None:
        """Return at a signal, when the owner has gone, unless the servers are kept, or when both servers have ended."""
        watched = [sys.stdin.fileno(), self._signals]
        while any(server.poll() is None for server in self._servers()):
            found, _, _ = select.select(watched, [], [], WATCH_S)
            if self._signals in found or (found and not self.order.kept):
                return
            if found:
                watched = [self._signals]  # a pipe at its end stays readable

    def stop(self) -> None:
        """Stop both servers; remove the folder unless it is kept."""
        kept = self.state.kept and bool(self.state.target_uri or not self.order.fresh)
        if kept:
            replace(self.state, source_uri="", target_uri="").write(self.folder)
        for process, polite, prompt in (
            (self._initdb, signal.SIGTERM, signal.SIGKILL),
            (self._mongod, signal.SIGTERM, signal.SIGKILL),
            # "fast" writes everything to disk first, "immediate" does not; SIGKILL would leave shared memory behind.
            (self._postgres, signal.SIGINT, signal.SIGQUIT),
        ):
            if process is not None and process.poll() is None:
                process.send_signal(polite if kept else prompt)
        for process in (self._initdb, self._mongod, self._postgres):
            if process is not None:
                _reap(process)
        if not kept:
            remove(self.folder)


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port(preferred: int | None) -> int:
    """`preferred` if it is free, else another one."""
    port = preferred
    while True:
        if port is not None:
            with socket.socket() as probe:
                # As the servers do, so that a connection in TIME_WAIT does not make a kept pair change its port.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    port = None
                else:
                    return port
        port = PORTS[secrets.randbelow(len(PORTS))]


def _last_complaint(log: Path, complaint: Callable[[str], str | None]) -> str:
    """The last line of a log that complains, else the last one."""
    lines = log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").splitlines() if log.exists() else []
    for line in reversed(lines):
        found = complaint(line)
        if found is not None:
            return found
    return lines[-1] if lines else "it wrote no log."


def _signals() -> int:
    """A descriptor that can be read from when a signal asks for the end.

    A handler that raised could do so anywhere, as where a lock of `subprocess` has just been taken: it would stay taken, and
    the servers could not be waited for.
    """
    reads, writes = os.pipe()

    def tell(_signal_number: int, _frame: FrameType | None) -> None:
        os.write(writes, b".")

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # By SIGTERM the servers are stopped, whatever nohup or a shell wanted to be ignored.
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, tell)
    return reads


def _report(line: dict[str, Any]) -> None:
    """Write the one line, and close the pipe, so that no process waits for its end."""
    print(json.dumps(line), flush=True)  # noqa: T201 - standard output is the way to the owner
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def main(argument: str) -> int:
    """Keep a pair of servers; returns the exit code."""
    os.umask(0o077)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = OPEN_FILES if most_files == resource.RLIM_INFINITY else min(OPEN_FILES, most_files)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most_files))
    keeper = Keeper(Order.from_json(argument), _signals())
    try:
        state = keeper.start()
        _report({"source_uri": state.source_uri, "target_uri": state.target_uri})
        keeper.watch()
    except MigrationError as error:
        _report({"error": {"code": error.code, "message": error.message}})
        return error.exit_code
    except Stopped:
        return 0
    finally:
        keeper.stop()
    return 0


if __name__ == "__main__":
    # Not sys.exit: that waits 0.4 s for the idle threads of a closed MongoClient, while everything is done.
    os._exit(main(sys.argv[1]))
