"""Servers with users in them, and runs in a pseudo-terminal that is read but not drawn: drawing would take time."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engine.demo import start_servers
from tests.bench.measure import MARK
from tests.tui.terminal import ROOT, Terminal

PROGRAM = [sys.executable, "-m", "tui"]
COLLECTION = "demo.users"
SIZE = (120, 40)
"""Columns and lines."""
STARTED_WITHIN_S = 180.0
_STYLES = re.compile(r"\x1b\[[0-9;]*m")
_OVER = re.compile(r"◐ finishing|✓ (?:completed|counts match|verified)|! (?:failed|mismatch)|× stopped")
"""What the header says when no knob can be turned any more."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Two servers, a collection of users, and what a program needs to find them."""

    environment: dict[str, str]
    documents: int
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    """In the environment of every process, those of the engines included."""

    @property
    def is_on_dask(self) -> bool:
        """Runs have their workers on a Dask cluster."""
        return "MONGOPG_DASK_SCHEDULER" in self.environment

    def slow(self, workers: int) -> int:
        """Rows per second that leave the machine with little to do."""
        return 20 * workers * 10

    def run(self, words: Sequence[str], workers: int) -> subprocess.CompletedProcess[str]:
        """A command without a terminal.

        Raises:
            CalledProcessError: its exit code is not 0.
        """
        return subprocess.run(
            [*PROGRAM, *words], env=self._of(workers), check=True, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, cwd=ROOT,
        )  # fmt: skip

    def seconds_of_the_newest_run(self) -> float:
        """What the ledger says: from accepting the run to its end."""
        runs = json.loads(self.run(["runs", "--json"], 1).stdout)["runs"]
        return float(max(runs, key=lambda run: run["started_unix"])["seconds"])

    @contextmanager
    def cockpit(self, *words: str, workers: int, **knobs: int) -> Iterator[Terminal]:
        """The cockpit; a run that still goes on in it at the end is rolled back."""
        environment = self._of(workers) | {f"MONGOPG_RUN_{name.upper()}": str(value) for name, value in knobs.items()}
        with Terminal([*PROGRAM, *words], environment, *SIZE) as terminal:
            try:
                yield terminal
            finally:
                terminal.process.send_signal(signal.SIGTERM)
                terminal.wait_for_end()

    @contextmanager
    def running(self, workers: int, **knobs: int) -> Iterator[Terminal]:
        """The cockpit on a run that copies."""
        with self.cockpit("run", workers=workers, **knobs) as terminal:
            terminal.wait_for("● running", timeout_s=STARTED_WITHIN_S)
            if self.is_on_dask:  # hosts come one by one
                terminal.wait_until(rf"Workers +- \+ +{workers:,}\b(?! →)", timeout_s=STARTED_WITHIN_S)
            yield terminal

    def _of(self, workers: int) -> dict[str, str]:
        return self.environment | {"MONGOPG_RUN_CLUSTER_SIZE": str(workers), MARK: self.mark}


@contextmanager
def stage(documents: int, data: Path | None, dask: str = "") -> Iterator[Stage]:
    """Start servers and seed.

    Args:
        data: a folder where they keep their data for the next time.
        dask: on which Dask cluster runs have their workers; empty is this host.
    """
    with tempfile.TemporaryDirectory(prefix="mpg") as name, start_servers(data, keep=data is not None) as servers:
        folder = Path(name)
        runtime = folder / "run"
        runtime.mkdir(mode=0o700)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MONGOPG_")} | {
            "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": name, "XDG_STATE_HOME": str(folder / "state"),
            "XDG_RUNTIME_DIR": str(runtime), "MONGOPG_SOURCE_URI": servers.source_uri,
            "MONGOPG_TARGET_URI": servers.target_uri, "MONGOPG_RUN_MODE": "replace",
            "MONGOPG_RUN_COLLECTIONS": COLLECTION, "MONGOPG_RUN_LIMIT": str(documents),
        }  # fmt: skip
        on_dask = {"MONGOPG_CLUSTER_KIND": "dask", "MONGOPG_DASK_SCHEDULER": dask} if dask else {}
        ready = Stage(environment | on_dask, documents)
        try:
            seeding = Stage(environment, documents)
            seeding.run(["seed", "--collection", COLLECTION, "--seed-count", str(documents), "--headless"], 4)
            yield ready
        finally:
            servers.stop()


def read(terminal: Terminal, timeout_s: float) -> str:
    """What the program has written, without colours; empty when there is nothing in time, or no program any more."""
    return _STYLES.sub("", terminal.take(timeout_s) or "")


def drain(terminal: Terminal, seconds: float) -> str:
    """Read for so long."""
    deadline = time.monotonic() + seconds
    written = ""
    while time.monotonic() < deadline:
        written += read(terminal, 0.05)
    return written


def is_over(written: str) -> bool:
    """The run has come to its end, as the header says."""
    return _OVER.search(written) is not None
