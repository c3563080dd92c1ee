"""PostgreSQL: one cluster of our own, without a password, on loopback; durable as it comes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from engine.demo.processes import User, launch

SUPERUSER = "postgres"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",  # 128 workers work in the demo
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",  # the primary key of a million rows is sorted in memory
    "max_wal_size": "4GB",
}
COMPLAINT = re.compile(r"\b(?:FATAL|PANIC|ERROR|error|fatal):\s+(.*)")


def uri(port: int) -> str:
    """The connection string of the superuser."""
    return f"postgresql://{SUPERUSER}@127.0.0.1:{port}/postgres"


def start_initdb(initdb: Path, folder: Path, user: User | None) -> subprocess.Popen[bytes]:
    """Start making the cluster, beside the place it gets when it is whole."""
    cluster = folder / "postgres.new"
    cluster.mkdir(mode=0o700)
    if user is not None:
        os.chown(cluster, user.uid, user.gid)
    command = [str(initdb), "-D", str(cluster), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C"]
    return launch(command, folder / "initdb.log", death_signal=signal.SIGKILL, user=user, env=_environment())


def start(postgres: Path, folder: Path, port: int, user: User | None) -> subprocess.Popen[bytes]:
    """Start the server on `folder`/postgres; when we die it quits at once and recovers at its next start."""
    command = [str(postgres), "-D", str(folder / "postgres"), "-p", str(port)]
    for name, value in SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    return launch(command, folder / "postgres.log", death_signal=signal.SIGQUIT, user=user, env=_environment())


def wait_until_ready(folder: Path, pid: int, pause: Callable[[], None]) -> None:
    """Wait for the word that `pg_ctl start` waits for too: the last line of postmaster.pid.

    Args:
        folder: the demo's folder.
        pid: of the server; the file of an earlier one does not count.
        pause: called between two tries; raises what ends the waiting.
    """
    while True:
        try:
            lines = (folder / "postgres" / "postmaster.pid").read_text().split()
        except FileNotFoundError:
            lines = []
        if lines and lines[0] == str(pid) and lines[-1] == "ready":
            return
        pause()


def adopt_cluster(folder: Path) -> None:
    """Give the cluster that initdb has made its place."""
    (folder / "postgres.new").rename(folder / "postgres")


def _environment() -> Mapping[str, str]:
    """Ours without the variables that steer PostgreSQL, in a neutral language and time zone."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {
        "LC_ALL": "C",
        "TZ": "UTC",
    }


def complaint(line: str) -> str | None:
    """What a line of initdb's or the server's log complains about."""
    found = COMPLAINT.search(line)
    return None if found is None else found[1]
