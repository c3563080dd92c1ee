"""A standby of a test's PostgreSQL, made by pg_basebackup, that replays as late as a test wants."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from engine.demo.binaries import find_binaries
from engine.demo.processes import unprivileged_user
from tests.guarded import free_port

START_S = 60.0
NAME = "standby1"


@contextmanager
def running_standby(uri: str, delay_s: float) -> Iterator[int]:
    """A hot standby of the server at `uri` that replays commits so late; its port."""
    folder_of_programs = find_binaries().postgres.parent
    backup = folder_of_programs / "pg_basebackup"
    if not backup.exists():
        pytest.skip("there is no pg_basebackup beside this PostgreSQL")
    user = unprivileged_user()
    who = {"user": user.uid, "group": user.gid, "extra_groups": []} if user is not None else {}
    with tempfile.TemporaryDirectory(prefix="mongopg-standby-") as folder:
        data = Path(folder, "data")
        data.mkdir(mode=0o700)
        if user is not None:
            os.chmod(folder, 0o755)
            os.chown(data, user.uid, user.gid)
        origin = urlsplit(uri)
        conninfo = f"host={origin.hostname} port={origin.port} user={origin.username} application_name={NAME}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
        subprocess.run(
            [str(backup), "-d", conninfo, "-D", str(data), "-X", "stream", "-c", "fast", "-R"],
            env=environment, check=True, capture_output=True, cwd=folder, **who,  # type: ignore[call-overload]
        )  # fmt: skip
        port = free_port()
        log = Path(folder, "log")
        settings = {"port": port, "recovery_min_apply_delay": f"{delay_s:g}s", "primary_conninfo": conninfo}
        settings |= {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": 200}
        command = [str(folder_of_programs / "postgres"), "-D", str(data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, cwd=folder, **who
            )  # type: ignore[call-overload]
        try:
            deadline = time.monotonic() + START_S
            while b"streaming WAL" not in log.read_bytes():
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < deadline, log.read_text()[-2000:]
                time.sleep(0.05)
            yield port
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait()
