"""A Dask scheduler and workers of the tests' own, each a process that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.running import name_of
from tests.signals import send_signal

HIDE = "import sys; sys.modules['engine'] = None"
"""Code that hides the program from a process."""
START_S = 60.0
POLL_S = 0.05


def children_of(pid: int) -> dict[int, str]:
    """Pid to command line of the living processes below one, at any depth."""
    parents: dict[int, tuple[int, str]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (OSError, ProcessLookupError):
            continue
        parents[int(process.name)] = parent, command
    found: dict[int, str] = {}
    below = {pid}
    while below:
        below = {each for each, (parent, _) in parents.items() if parent in below}
        found |= {each: parents[each][1] for each in below}
    return found


class DaskCluster:
    """One scheduler, and any number of workers, each with a nanny."""

    def __init__(self, folder: Path, *, protocol: str = "tcp", tls: list[str] | None = None) -> None:
        """The scheduler is started; it has no workers.

        Args:
            folder: for its file and logs.
            tls: arguments of both programs.
        """
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.port = 0
        self._protocol = protocol
        self._tls = tls or []
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler = self.start_scheduler()

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return str(json.loads(self.file.read_text())["address"])

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        """Start it, at the port that the one before had."""
        self.file.unlink(missing_ok=True)
        self.scheduler = self._start(
            "scheduler", "--host", f"{self._protocol}://127.0.0.1", "--port", str(self.port), "--no-dashboard",
            "--scheduler-file", str(self.file),
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        while not self.file.exists() or not self.file.read_text():
            assert self.scheduler.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(POLL_S)
        self.port = int(self.address.rpartition(":")[2])
        return self.scheduler

    def add_worker(self, slots: int, *, nanny: bool = True, without_program: bool = False) -> subprocess.Popen[bytes]:
        """Another worker of so many threads; it comes when it comes.

        Args:
            without_program: as where this program is not installed.
        """
        worker = self._start(
            "worker", self.address, "--nthreads", str(slots), "--no-dashboard", "--memory-limit", "0",
            "--nanny" if nanny else "--no-nanny", "--local-directory", str(self.folder),
            *(["--preload", HIDE] if without_program else []),
        )  # fmt: skip
        self.workers.append(worker)
        return worker

    def host_processes(self, worker: subprocess.Popen[bytes]) -> list[int]:
        """Ours, below a worker."""
        below = children_of(worker.pid).items()
        return [pid for pid, command in below if "engine.cluster.host" in command and name_of(pid) != "mongopg-workers"]

    def log(self) -> str:
        """What all of its processes said."""
        return "".join(each.read_text(errors="replace")[-5_000:] for each in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        """End everything."""
        for process in [*self.workers, self.scheduler]:
            below = children_of(process.pid)
            for pid in [process.pid, *below]:
                send_signal(pid, signal.SIGKILL)
            process.wait()

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{program}.log").open("ab")
        with log:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "dask", program, *arguments, *self._tls],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | {"PYTHONWARNINGS": "default"},
            )  # fmt: skip


@contextmanager
def dask_cluster(folder: Path, *slots: int, **options: Any) -> Iterator[DaskCluster]:
    """A cluster with one worker for each number of slots."""
    cluster = DaskCluster(folder, **options)
    try:
        for each in slots:
            cluster.add_worker(each)
        yield cluster
    finally:
        cluster.stop()
