"""How many hosts help: a copy that is simulated batch by batch, on a way of stations that workers queue at.

::

    mongod's cores -> its line -> cores of a worker's host -> PostgreSQL's line -> its cores -> growth of the table -> WAL

`make docs` writes its tables into `docs/cluster.md`. What a document costs at each station is measured (`python -m
tests.bench.stations`) and stands in hosts.toml, with what is assumed of machines.

What is not in it: sessions that get into each other's way in other places than the two where one waits for the other, disks,
distances, checkpoints.
"""

from __future__ import annotations

import heapq
import random
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).with_name("hosts.toml")
BATCH_BYTES = 1_280 * 1024
WARM, COUNTED = 2, 6
"""Batches of each worker: those before it counts, and those that do."""
LEAST = 600
"""Batches that are counted at least."""
LIMIT_FROM = 0.9
"""A station that is busy for such a share of the time is what the copy waits for."""
STATIONS = ("MongoDB", "MongoDB's network", "workers", "PostgreSQL's network", "PostgreSQL", "one table", "WAL")
"""Names, in the order of the way."""


@dataclass(frozen=True, slots=True)
class Document:
    """What one takes: bytes on both lines, and microseconds at the stations."""

    name: str
    read_bytes: float
    sent_bytes: float
    mongod_us: float
    worker_us: float
    postgres_us: float
    extend_us: float
    """Of PostgreSQL's time, that in which its table grows: one session at a time; likewise the next one for all tables."""
    wal_us: float
    bottleneck: str
    """As the program names it, of one worker."""


@dataclass(frozen=True, slots=True)
class Machines:
    """What is assumed."""

    server_cores: int
    host_cores: int
    host_workers: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a simulated copy was like."""

    rows_per_s: float
    busy: dict[str, float]
    """Share of the time, by station."""

    @property
    def limit(self) -> str:
        """What it waits for; empty where no station is busy all the time: more workers are faster."""
        name = max(self.busy, key=lambda each: self.busy[each])
        return name if self.busy[name] >= LIMIT_FROM else ""


def figures() -> tuple[Machines, tuple[Document, ...]]:
    """Those of the file."""
    given: dict[str, Any] = tomllib.loads(FIGURES.read_text())
    return Machines(**given["machines"]), tuple(Document(**each) for each in given["document"])


def simulate(
    document: Document, machines: Machines, hosts: int, gbit: float, tables: int, tightness: float = 1.0, seed: int = 1
) -> Found:
    """Let workers copy batches until there are enough.

    Args:
        gbit: a second, of each server's line.
        tightness: how many times as long as measured a table lets one session go on alone.
    """
    chance = random.Random(seed)
    rows = BATCH_BYTES / document.read_bytes
    line_s = 8 * rows / (gbit * 1e9)
    shared_us = document.extend_us + document.wal_us
    takes = (
        document.mongod_us * rows / 1e6, document.read_bytes * line_s, document.worker_us * rows / 1e6,
        document.sent_bytes * line_s, max(0.0, document.postgres_us - shared_us) * rows / 1e6,
        tightness * document.extend_us * rows / 1e6, document.wal_us * rows / 1e6,
    )  # fmt: skip
    # Of each station, when each of its places is free: cores, one line, cores by host, tables.
    places: list[list[list[float]]] = [
        [[0.0] * machines.server_cores], [[0.0]], [[0.0] * machines.host_cores for _ in range(hosts)], [[0.0]],
        [[0.0] * machines.server_cores], [[0.0] for _ in range(tables)], [[0.0]],
    ]  # fmt: skip
    n_workers = hosts * machines.host_workers
    todo = max(LEAST, COUNTED * n_workers)
    events = [(chance.random() * sum(takes), worker, 0) for worker in range(n_workers)]
    heapq.heapify(events)
    done, began, busy = -WARM * n_workers, 0.0, [0.0] * len(takes)
    now = 0.0
    while done < todo:
        now, worker, station = heapq.heappop(events)
        if station == len(takes):
            done, station = done + 1, 0
            if done == 0:
                began, busy = now, [0.0] * len(takes)
        free = places[station][worker % len(places[station])]
        begin = max(now, free[0])
        takes_s = takes[station] * chance.uniform(0.7, 1.3)
        heapq.heapreplace(free, begin + takes_s)
        busy[station] += takes_s
        heapq.heappush(events, (begin + takes_s, worker, station + 1))
    span = now - began
    capacity = [sum(map(len, each)) * span for each in places]
    shares = {name: min(1.0, spent / has) for name, spent, has in zip(STATIONS, busy, capacity, strict=True)}
    return Found(todo * rows / span, shares)
