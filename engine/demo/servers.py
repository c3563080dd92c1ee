"""Start a pair of embedded servers, or find one that runs, and stop it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

import engine
from engine.demo import folder as demo_folder
from engine.demo.binaries import find_binaries
from engine.demo.folder import FolderState
from engine.demo.order import Order
from engine.demo.processes import POLL_S, ProcessMark, unprivileged_user
from engine.errors import ConnectError, UsageError, error_from

STOP_TIMEOUT_S = 30.0  # PostgreSQL writes gigabytes to disk before it stops
BUSY_TIMEOUT_S = 30.0  # another demo that starts or stops in the same folder


PRIVATE_MODE = 0o700
ENTERABLE_MODE = 0o711  # for the other user that PostgreSQL runs as; no other may list it


@dataclass(slots=True)
class DemoServers:
    """Two running servers. Unless kept they end with this object, or with its process; `stop` ends them at once."""

    source_uri: str
    """MongoDB, `mongodb://`, with the database `demo` in its path."""
    target_uri: str
    """PostgreSQL, `postgresql://`, as a superuser."""
    directory: Path
    """Their data and logs."""
    kept: bool
    """The data stay after `stop`."""
    keeper: ProcessMark
    """The process to end with SIGTERM to stop kept servers from elsewhere."""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def stop(self) -> None:
        """Stop both servers and, unless the data are kept, remove the directory; a second call does nothing.

        Raises:
            ConnectError: they do not end.
        """
        self.keeper.send(signal.SIGTERM)
        if not self.keeper.ended_within(STOP_TIMEOUT_S):
            raise ConnectError(f"The embedded servers in {self.directory} do not stop: end process {self.keeper.pid}.")
        if self._process is not None:
            self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
        state = FolderState.read(self.directory)
        if state is not None and not state.kept:  # the keeper was killed before it could do so
            state.end_servers()
            demo_folder.remove(self.directory)

    def __enter__(self) -> DemoServers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_servers(directory: Path | None = None, *, keep: bool = False, test_commands: bool = False) -> DemoServers:
    """Start a MongoDB and a PostgreSQL and wait until both answer, which takes about 1.5 s.

    Args:
        directory: for their data; new, empty, or one that an earlier call has kept, whose servers are used if they
            still run and else started again on their data. A temporary one without it.
        keep: leave the servers running when this process ends, and the data when they are stopped.
        test_commands: MongoDB accepts `failCommand`; servers that run already stay as they are.

    Raises:
        UsageError: no server programs, or a directory that cannot be used.
        ConnectError: a server did not start; the message ends with its last complaint.
    """
    binaries = find_binaries()
    demo_folder.remove_stale()
    folder = Path(tempfile.gettempdir()) if directory is None else directory.absolute()
    user = unprivileged_user()
    if user is not None:
        demo_folder.require_entry(folder, user)
    mode = PRIVATE_MODE if user is None else ENTERABLE_MODE
    if directory is None:
        folder, lock = demo_folder.make_temporary(mode=mode)
    else:
        found = _lock_or_running(folder, mode)
        if isinstance(found, DemoServers):
            return found
        lock = found
    try:
        order = Order(
            folder=str(folder),
            fresh=FolderState.read(folder) is None,
            kept=keep,
            test_commands=test_commands,
            mongod=str(binaries.mongod),
            initdb=str(binaries.initdb),
            postgres=str(binaries.postgres),
        )
        return _start_keeper(order, lock)
    finally:
        os.close(lock)  # the keeper holds it now


def stop_kept(directory: Path) -> bool:
    """Stop the servers that a demo left running in `directory`, whose data stay; False when none run there.

    Raises:
        UsageError: it is not the folder of a demo.
        ConnectError: they do not end.
    """
    state = FolderState.read(directory)
    if state is None:
        raise UsageError(f"{directory} is not the folder of a demo: give the one that `demo --keep` named.")
    if not state.target_uri:
        return False
    DemoServers(state.source_uri, state.target_uri, directory, kept=state.kept, keeper=state.keeper).stop()
    return True


def _lock_or_running(folder: Path, mode: int) -> int | DemoServers:
    """The lock of a folder, made if need be, or the servers that run there, kept by an earlier call.

    Raises:
        UsageError: the folder cannot be used, or a demo runs there that is not kept, so it may end at any time.
        ConnectError: another demo neither starts nor stops there in time.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while time.monotonic() < deadline:
        demo_folder.prepare(folder, mode=mode)
        lock = demo_folder.take_lock(folder)
        if lock is not None:
            return lock
        state = FolderState.read(folder)
        if state is not None and state.target_uri:
            if not state.kept:
                raise UsageError(f"A demo is running in {folder} (process {state.keeper.pid}): choose another folder.")
            return DemoServers(state.source_uri, state.target_uri, folder, kept=True, keeper=state.keeper)
        time.sleep(POLL_S)
    raise ConnectError(f"Another demo has been starting or stopping in {folder} for {BUSY_TIMEOUT_S:.0f} s.")


def _start_keeper(order: Order, lock: int) -> DemoServers:
    root = str(Path(engine.__file__).parent.parent)
    python_path = os.pathsep.join(path for path in (root, os.environ.get("PYTHONPATH", "")) if path)
    with Path(order.folder, demo_folder.KEEPER_LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine.demo.keeper", order.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | {"PYTHONPATH": python_path},
            pass_fds=[lock],
            start_new_session=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdout as answer:
            line = answer.readline()
    except BaseException:
        _abandon(process, process.stdin)
        raise
    report = json.loads(line or "{}")
    if "source_uri" not in report:
        _abandon(process, process.stdin)
        failure = report.get(
            "error", {"code": ConnectError.code, "message": "The keeper of the embedded servers ended."}
        )
        raise error_from(failure["code"], failure["message"])
    return DemoServers(
        report["source_uri"],
        report["target_uri"],
        Path(order.folder),
        kept=order.kept,
        keeper=ProcessMark.of(process.pid),
        _process=process,
    )


def _abandon(process: subprocess.Popen[bytes], pipe: IO[bytes]) -> None:
    """Let the keeper end what it has started."""
    pipe.close()
    process.wait()
