"""What a program costs while it runs, from the outside: CPU seconds, and memory as proportional set size.

Linux only: everything comes from /proc (https://man7.org/linux/man-pages/man5/proc.5.html).
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

MARK = "MONGOPG_BENCH_MARK"
"""Environment variable whose value tells the processes of one measured program from all others."""
CPU_EVERY_S = 0.1
MEMORY_COST = 0.01
"""Share of one core that looking at memory may take: the kernel walks all pages of a process for it."""
MEMORY_EVERY_S = 0.25
"""At least so long between two looks."""
LOOKS = 3
"""After so many a process is taken for another program's."""
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_WORKERS = "mongopg-workers"
"""What worker processes, and the one that they are forked from, are called."""


@dataclass(slots=True)
class _Seen:
    """One process of the measured program."""

    role: str
    cpu_s: float = 0.0
    peak_kb: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """What all processes of a program cost together, and the largest of each role."""

    cpu_s: float
    peak_mb: dict[str, float]
    """Largest process of each role, and `all`, the largest sum at one moment; proportional set size, in 10**6 bytes."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of a measured program."""

    seconds: float
    """That count: a run's own, without the start of its processes, where it tells them."""
    wall_s: float
    """Of the whole command."""
    cost: Cost
    details: dict[str, Any] = field(default_factory=dict)


class RunFailed(Exception):
    """A measured program did not do what it was to do."""


@dataclass
class Watch:
    """A context in which the processes that carry a mark in their environment are watched by a thread.

    CPU seconds are those of each process's last look, so up to `CPU_EVERY_S` of each are missed at its end.
    """

    mark: str
    _processes: dict[int, _Seen] = field(default_factory=dict)
    _looks: dict[int, int] = field(default_factory=dict)
    """How often a process was found to be another program's."""
    _peak_kb: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._look_regularly, name="watch")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def cost(self) -> Cost:
        """What was seen so far."""
        roles: dict[str, int] = {}
        for seen in self._processes.values():
            roles[seen.role] = max(roles.get(seen.role, 0), seen.peak_kb)
        roles["all"] = self._peak_kb
        # A process that came and went between two looks has none.
        peaks = {role: kb * 1024 / 1e6 for role, kb in roles.items() if kb}
        return Cost(sum(seen.cpu_s for seen in self._processes.values()), peaks)

    @property
    def cpu_by_role(self) -> dict[str, float]:
        """CPU seconds so far of all processes of each role together."""
        spent: dict[str, float] = {}
        for seen in list(self._processes.values()):
            spent[seen.role] = spent.get(seen.role, 0.0) + seen.cpu_s
        return spent

    def _look_regularly(self) -> None:
        memory_at = 0.0
        while not self._stop.wait(CPU_EVERY_S):
            alive = self._find()
            for pid in alive:
                with suppress(OSError, IndexError):  # it has ended this moment
                    self._processes[pid].cpu_s = cpu_s(pid, with_children=False)
            began = time.monotonic()
            if began >= memory_at:
                self._weigh(alive)
                took = time.monotonic() - began
                memory_at = began + max(MEMORY_EVERY_S, took / MEMORY_COST)

    def _find(self) -> list[int]:
        alive = []
        marker = f"{MARK}={self.mark}".encode()
        for entry in os.listdir(_PROC):
            if not entry.isdigit():
                continue
            pid = int(entry)
            # Between fork and exec a process still has our own environment: one look is not enough.
            if pid not in self._processes and self._looks.get(pid, 0) < LOOKS:
                self._looks[pid] = self._looks.get(pid, 0) + 1
                with suppress(OSError):
                    if marker in (_PROC / entry / "environ").read_bytes().split(b"\0"):
                        self._processes[pid] = _Seen(_role(pid))
            if pid in self._processes:
                alive.append(pid)
        return alive

    def _weigh(self, alive: Iterable[int]) -> None:
        total = 0
        for pid in alive:
            with suppress(OSError, IndexError, ValueError):
                seen = self._processes[pid]
                seen.role = _role(pid)  # a forked worker looks like its parent until it has a parent of its own
                kb = proportional_kb(pid)
                seen.peak_kb = max(seen.peak_kb, kb)
                total += kb
        self._peak_kb = max(self._peak_kb, total)


def cpu_by_role_now(mark: str) -> dict[str, float]:
    """CPU seconds so far of the living processes that carry a mark, by role."""
    spent: dict[str, float] = {}
    for entry in os.listdir(_PROC):
        with suppress(OSError, IndexError, ValueError):  # it has ended this moment, or is another user's
            if entry.isdigit() and f"{MARK}={mark}".encode() in (_PROC / entry / "environ").read_bytes().split(b"\0"):
                role = _role(int(entry))
                spent[role] = spent.get(role, 0.0) + cpu_s(int(entry), with_children=False)
    return spent


class ServerClock:
    """CPU seconds of servers and all their children, also of those that have ended."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._before = self._now()

    def spent(self) -> dict[str, float]:
        """Seconds since the clock was made, by server."""
        now = self._now()
        return {name: now[name] - self._before[name] for name in self._pids}

    def _now(self) -> dict[str, float]:
        return {
            name: cpu_s(pid, with_children=True) + sum(map(_own_cpu_s, _children(pid)))
            for name, pid in self._pids.items()
        }


def _own_cpu_s(child: int) -> float:
    """Of a child that may end before it is looked at: its time is among its parent's then, the next time."""
    try:
        return cpu_s(child, with_children=False)
    except OSError:
        return 0.0


def cpu_s(pid: int, *, with_children: bool) -> float:
    """User and system time; `with_children` adds children that have ended and were waited for."""
    fields = _stat(pid)
    return sum(map(int, fields[11 : 15 if with_children else 13])) * _TICK_S


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third, `state`, on."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _children(parent: int) -> list[int]:
    found = []
    for entry in os.listdir(_PROC):
        if entry.isdigit():
            with suppress(OSError, IndexError):
                if int(_stat(int(entry))[1]) == parent:
                    found.append(int(entry))
    return found


def resident_kb(pid: int) -> int:
    """Memory that is there, shared pages in full."""
    return _memory_kb(pid, "Rss:")


def proportional_kb(pid: int) -> int:
    """Memory that is there, a page that n processes share as an n-th."""
    return _memory_kb(pid, "Pss:")


def _memory_kb(pid: int, field_name: str) -> int:
    for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith(field_name):
            return int(line.split()[1])
    return 0


def _role(pid: int) -> str:
    """What a process of ours, or of a Dask cluster that a run has started, does; another program's are called `program`."""
    words = _words(pid)
    if _name(pid) == _WORKERS:
        return "worker" if _name(int(_stat(pid)[1])) == _WORKERS else "helper"
    if "engine" in words:
        return "engine"
    if "engine.cluster.dask_local" in words:
        return "scheduler"
    if "engine.cluster.host_main" in words:
        return "host"
    if "tui" in words:
        return "command"
    if "multiprocessing.spawn" in " ".join(words):
        return "agents"  # a worker of Dask
    return "helper" if "multiprocessing.resource_tracker" in " ".join(words) else "program"


def _name(pid: int) -> str:
    return (_PROC / str(pid) / "comm").read_text().strip()


def _words(pid: int) -> list[str]:
    return (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")


def machine() -> dict[str, str | int | float]:
    """The machine, as far as it matters for speed."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cores": os.cpu_count() or 0,
        "processor": model,
        "memory_gb": round(memory_kb * 1024 / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_1min": round(os.getloadavg()[0], 2),
    }
