"""A MongoDB and a PostgreSQL of our own that can be killed and started again on their data and ports."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from engine.demo import mongod as demo_mongod
from engine.demo import postgres as demo_postgres
from engine.demo import start_servers
from engine.demo.binaries import find_binaries
from engine.demo.folder import FolderState
from engine.demo.processes import unprivileged_user

START_S = 60.0
POLL_S = 0.02


class Servers:
    """Two servers that end with this process. Make it, and start servers, in the main thread only: see `processes.launch`."""

    def __init__(self, folder: Path) -> None:
        """Make both clusters below `folder`, and start them."""
        made = start_servers(folder / "servers", keep=True)
        made.stop()
        state = FolderState.read(made.directory)
        assert state is not None
        assert state.mongo_port is not None
        assert state.postgres_port is not None
        self.source_uri, self.target_uri = made.source_uri, made.target_uri
        self._folder = made.directory
        self._mongo_port, self._postgres_port = state.mongo_port, state.postgres_port
        binaries = find_binaries()
        self._mongod_program = binaries.mongod
        copied = list((self._folder / "pginstall").glob("*/*/bin/postgres"))
        self._postgres_program = copied[0] if copied else binaries.postgres
        self.mongod: subprocess.Popen[bytes]
        self.postgres: subprocess.Popen[bytes]
        self.launch_mongod()
        self.launch_postgres()
        self.wait_for_mongod()
        self.wait_for_postgres()

    def __enter__(self) -> Servers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_mongod()
        self.stop_postgres()
        shutil.rmtree(self._folder)

    @property
    def logs(self) -> list[Path]:
        """What both servers have written."""
        return [self._folder / "mongod.log", self._folder / "postgres.log"]

    def launch_mongod(self) -> None:
        """Start MongoDB without waiting for it."""
        self.mongod = demo_mongod.start(self._mongod_program, self._folder, self._mongo_port, test_commands=True)

    def launch_postgres(self) -> None:
        """Start PostgreSQL without waiting for it."""
        user = unprivileged_user()
        self.postgres = demo_postgres.start(self._postgres_program, self._folder, self._postgres_port, user)

    def wait_for_mongod(self) -> None:
        """Return when it takes writes again."""
        demo_mongod.make_primary(self._mongo_port, _pause(self.mongod))

    def wait_for_postgres(self) -> None:
        """Return when it lets people in."""
        demo_postgres.wait_until_ready(self._folder, self.postgres.pid, _pause(self.postgres))

    def kill_mongod(self) -> None:
        """SIGKILL."""
        self.mongod.kill()
        self.mongod.wait()

    def stop_postgres(self) -> None:
        """`pg_ctl stop -m immediate`: it ends without writing anything, and recovers at its next start."""
        self.postgres.send_signal(signal.SIGQUIT)
        self.postgres.wait()


def _pause(process: subprocess.Popen[bytes]) -> Callable[[], None]:
    deadline = time.monotonic() + START_S

    def pause() -> None:
        assert process.poll() is None, "the server ended while it started"
        assert time.monotonic() < deadline, f"the server did not come back within {START_S:.0f} s"
        time.sleep(POLL_S)

    return pause
