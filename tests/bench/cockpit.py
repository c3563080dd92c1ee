"""What the cockpit costs and how fast it answers, in a real pty beside a real run: `python -m tests.bench.cockpit`.

Two runs of the same documents: one without a throttle, so that the workers keep every core busy, in which `]` and `[` are
pressed in turn and timed until the screen shows the other page size; and one with a throttle, long enough to count the CPU
seconds and the growth of the cockpit's process. Linux only.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.demo import start_servers
from tests.tui.terminal import Terminal

PROGRAM = [sys.executable, "-m", "tui"]
SIZE = (120, 40)
BETWEEN_PRESSES_S = 0.15
SHOWN_WITHIN_S = 10.0
SETTLED_S = 5.0
"""Time for a screen to come to rest before its cost is counted."""
PAGE_SIZE = 3_777
"""No other number on the screen is this one or its double."""


def main() -> None:
    """Measure, and print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--presses", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement of the cost")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, start_servers(None, keep=False) as servers:
        environment = _environment(Path(folder), servers.source_uri, servers.target_uri)
        seeding = [*PROGRAM, "seed", "--collection", "demo.users", "--seed-count", str(options.documents), "--headless"]
        subprocess.run(seeding, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
        delays = _key_delays(environment, min(options.workers), options.presses)
        p95 = statistics.quantiles(delays, n=20)[-1]
        print(f"key to screen, {len(delays)} presses: p50 {statistics.median(delays):.0f} ms, p95 {p95:.0f} ms")
        for workers in options.workers:
            share, growth_mib = _cost(environment, workers, options.seconds)
            print(f"{workers} workers: {share:.1%} of a core, memory {growth_mib:+.1f} MiB in {options.seconds:.0f} s")
        servers.stop()


def _environment(folder: Path, source: str, target: str) -> dict[str, str]:
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    return {
        "XDG_CONFIG_HOME": str(folder), "XDG_STATE_HOME": str(folder / "state"), "XDG_RUNTIME_DIR": str(runtime),
        "MONGOPG_SOURCE_URI": source, "MONGOPG_TARGET_URI": target, "MONGOPG_RUN_MODE": "replace",
        "MONGOPG_RUN_COLLECTIONS": "demo.users",
    }  # fmt: skip


@contextmanager
def _run(environment: dict[str, str], workers: int, throttle: int) -> Iterator[Terminal]:
    """A run in a terminal, copying; cancelled at the end."""
    knobs = {
        "MONGOPG_RUN_CLUSTER_SIZE": str(workers),
        "MONGOPG_RUN_THROTTLE": str(throttle),
        "MONGOPG_RUN_PAGE_SIZE": str(PAGE_SIZE),
    }
    with Terminal([*PROGRAM, "run"], environment | knobs, *SIZE) as terminal:
        try:
            terminal.wait_for("● running", timeout_s=120.0)
            yield terminal
        finally:
            terminal.process.send_signal(signal.SIGTERM)
            terminal.wait_for_end()


def _key_delays(environment: dict[str, str], workers: int, presses: int) -> list[float]:
    """Milliseconds from a key to the bytes that show it; as many as fit into the run."""
    delays: list[float] = []
    with _run(environment, workers, 0) as terminal:
        terminal.wait_for(
            *(f"Workers {number} " for number in range(max(1, workers // 2), workers + 1)), timeout_s=120.0
        )
        for press in range(presses):
            key, shown = ("]", f"{PAGE_SIZE * 2:,}") if press % 2 == 0 else ("[", f"{PAGE_SIZE:,}")
            pressed = time.perf_counter()
            terminal.press(key)
            seen = ""
            while shown not in seen and time.perf_counter() < pressed + SHOWN_WITHIN_S:
                seen += _read(terminal, 0.01)
            if shown not in seen:
                break  # the run is over
            delays.append((time.perf_counter() - pressed) * 1_000)
            _drain(terminal, BETWEEN_PRESSES_S)
    return delays


def _cost(environment: dict[str, str], workers: int, seconds: float) -> tuple[float, float]:
    """CPU seconds of the cockpit's process in a second, and MiB that it grew."""
    with _run(environment, workers, 20 * workers * 10) as terminal:
        _drain(terminal, SETTLED_S)
        process = terminal.process.pid
        cpu, resident, began = _cpu_s(process), _resident_mib(process), time.monotonic()
        _drain(terminal, seconds)
        spent = (_cpu_s(process) - cpu) / (time.monotonic() - began)
        return spent, _resident_mib(process) - resident


def _drain(terminal: Terminal, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        _read(terminal, 0.05)


def _read(terminal: Terminal, timeout_s: float) -> str:
    """What is there; drawing it, as `Terminal.read` does, would take time from what is measured."""
    if not select.select([terminal.master], [], [], timeout_s)[0]:
        return ""
    return os.read(terminal.master, 65_536).decode(errors="replace")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
