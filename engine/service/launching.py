"""How a front end starts an engine. Apart from `engine.service.client`, which knows the whole protocol: an engine that is
begun with before that is loaded is ready the sooner.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from engine.config import LIBPQ_PASSWORD, Settings, reveal, secrets_of, variable_of
from engine.errors import MigrationError, error_from
from engine.service import log_files, sockets

START_TIMEOUT_S = 20.0


@dataclass(slots=True)
class EngineProcess:
    """A started engine."""

    run_id: str
    socket: Path
    log: Path
    process: subprocess.Popen[bytes]

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code once it has ended, None when it still runs after `timeout_s`."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self, patience_s: float = 5.0) -> None:
        """End it: ask, then kill."""
        if self.process.poll() is None:
            self.process.terminate()
            if self.wait(patience_s) is None:
                self.process.send_signal(signal.SIGKILL)
                self.process.wait()


@dataclass(frozen=True, slots=True)
class Launching:
    """An engine process that is starting. Where its answer is never waited for it ends, since it cannot give it."""

    run_id: str
    log: Path
    process: subprocess.Popen[bytes]

    def ready(self) -> EngineProcess:
        """Wait until its socket listens (about a second from its beginning).

        Raises:
            MigrationError: it did not start; the message names the log.
        """
        process = self.process
        assert process.stdout is not None
        line = _first_line(process, START_TIMEOUT_S)
        if line is None:
            process.kill()
            process.wait()
            raise MigrationError(f"The engine did not start; its log is {self.log}.", code="engine_start")
        process.stdout.close()
        ready = json.loads(line)
        if "error" in ready:
            process.wait()
            raise error_from(ready["error"]["code"], ready["error"]["message"])
        return EngineProcess(self.run_id, Path(ready["socket"]), self.log, process)


def launch(settings: Settings) -> EngineProcess:
    """Start an engine process and wait until its socket listens.

    Raises:
        MigrationError: it did not start; the message names the log.
    """
    return begin_launch(settings).ready()


def begin_launch(settings: Settings) -> Launching:
    """Start an engine process, and do not wait for it.

    Settings, with their secrets, go through its standard input: never through argv or the environment.

    Raises:
        MigrationError: there is no folder for its socket or its log.
    """
    sockets.forget_dead()
    log_files.tidy()
    run_id = sockets.new_run_id()
    log = sockets.log_path(run_id)
    with os.fdopen(log_files.open_log(log), "ab") as log_file:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine", run_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log_file,
            start_new_session=True,
            env=_environment(settings),
        )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(reveal(settings)).encode() + b"\n")
        process.stdin.close()
    return Launching(run_id, log, process)


def without_secrets(settings: Settings) -> dict[str, str]:
    """Our environment without the secrets that the settings carry: an environment is inherited, and can be read."""
    secrets = secrets_of(settings) | {settings.source.connection, settings.target.connection}
    carried = {variable_of(f"{side}.{name}") for side in ("source", "target") for name in ("uri", "password")}
    if settings.target.password.get_secret_value():
        carried.add(LIBPQ_PASSWORD)
    return {
        name: value for name, value in os.environ.items() if name not in carried and (not value or value not in secrets)
    }


def _environment(settings: Settings) -> dict[str, str]:
    """For an engine."""
    environment = without_secrets(settings)
    # -P keeps a folder called `engine` in the operator's working directory out; a checkout still has to be found.
    root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH")]))
    return environment


def _first_line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes | None:
    assert process.stdout is not None
    deadline = time.monotonic() + timeout_s
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return None
        chunk = os.read(process.stdout.fileno(), 65_536)
        if not chunk:
            return None
        line += chunk
    return line
