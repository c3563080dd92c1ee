"""A run that is simulated second by second: workers that commit slices, servers that become slower when there are too many."""

from __future__ import annotations

import heapq
import random
import tomllib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from math import exp, log
from pathlib import Path
from typing import Any

from engine.tuning.prober import Prober, Sight, Step

CURVES = Path(__file__).with_name("curves.toml")
LOOK_S = 0.25
MB = 1e6
PARTITIONS = 2_000


@dataclass(frozen=True, slots=True)
class Shape:
    """What a run is like."""

    name: str
    curve: Sequence[tuple[float, float]]
    noise: tuple[float, float] = (0.0, 0.0)
    slices: tuple[float, float] = (0.0, 0.0)
    slice_s: tuple[float, float] = (0.5, 0.7)
    checkpoint_s: tuple[float, float] | None = None
    checkpoint_depth: tuple[float, float] = (1.0, 1.0)

    def rate(self, workers: int) -> float:
        """Of all workers together, without what disturbs it."""
        place = bisect_left([size for size, _ in self.curve], workers)
        if place == 0:
            return self.curve[0][1]
        (x0, y0), (x1, y1) = self.curve[place - 1], self.curve[place]
        share = (log(workers) - log(x0)) / (log(x1) - log(x0))
        return exp(log(y0) + share * (log(y1) - log(y0)))

    def best(self, low: int, high: int) -> float:
        """The rate of the best size within bounds."""
        return max(self.rate(size) for size in range(low, high + 1))


@cache
def shapes() -> tuple[Shape, ...]:
    """Those of the file."""
    return tuple(_shape(given) for given in tomllib.loads(CURVES.read_text())["shape"])


@cache
def n_seeds() -> int:
    """How many seeds the file asks for."""
    return int(tomllib.loads(CURVES.read_text())["seeds"])


def _shape(given: dict[str, Any]) -> Shape:
    pairs = {name: tuple(value) for name, value in given.items() if name not in ("name", "curve")}
    return Shape(given["name"], [(size, rate) for size, rate in given["curve"]], **pairs)


@dataclass(slots=True)
class Simulation:
    """One run and its tuner, by a clock of its own; the same seed gives the same run."""

    seed: int
    shape: Shape = field(init=False)
    chance: random.Random = field(init=False)
    low: int = 1
    high: int = 128
    start: int = 0
    """Workers at first; 0 leaves it to the seed."""
    length_s: float = 130.0
    steps: list[tuple[float, Step]] = field(default_factory=list)
    sizes: list[tuple[float, int]] = field(default_factory=list)
    """Each change of the cluster's size, with its time; the first one is the beginning."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.shape = shapes()[self.seed % len(shapes())]
        if not self.start:
            self.start = self.chance.choice((4, 8, 8, 8, max(self.low, min(self.high, self.chance.randint(2, 16)))))
        self.start = max(self.low, min(self.high, self.start))

    def stable_at(self, time: float) -> int:
        """The size that was kept then."""
        return next((step.stable for at, step in reversed(self.steps) if at <= time), self.start)

    def efficiency(self, time: float) -> float:
        """The rate of the size that was kept then, in that of the best one."""
        return self.shape.rate(self.stable_at(time)) / self.shape.best(self.low, self.high)

    def changes(self, since: float = 0.0) -> list[float]:
        """When the cluster's size changed."""
        return [at for at, _ in self.sizes[1:] if at >= since]

    def run(self) -> Simulation:
        """Let it run to its end."""
        chance, shape = self.chance, self.shape
        noise, slices = chance.uniform(*shape.noise), chance.uniform(*shape.slices)
        slice_s, unit = chance.uniform(*shape.slice_s), chance.uniform(2, 60) * MB / shape.best(1, 128)
        every_s = chance.uniform(*shape.checkpoint_s) if shape.checkpoint_s else None
        depth = chance.uniform(*shape.checkpoint_depth)
        prober = Prober(self.start, self.low, self.high)
        total = unit * shape.best(self.low, self.high) * self.length_s
        self.sizes.append((0.0, self.start))
        next_checkpoint, n_checkpoints, slow_until = (every_s or 0.0) * chance.random(), 0, 0.0
        ends: list[tuple[float, int, float]] = []
        """The ends of slices, with their workers, and since when they go on."""
        joins: list[float] = [0.3] * self.start
        working: set[int] = set()
        n_leaving, n_workers, done, weather = 0, 0, 0.0, 1.0
        steps = round(1.5 * self.length_s / LOOK_S)
        for number in range(steps):
            now = number * LOOK_S
            if number % 4 == 0:
                weather = max(0.2, chance.gauss(1.0, noise))
            if every_s and now >= next_checkpoint:
                n_checkpoints, next_checkpoint, slow_until = n_checkpoints + 1, now + every_s, now + every_s / 5
            while joins and joins[0] <= now:
                heapq.heappop(joins)
                n_workers += 1
                working.add(n_workers)
                heapq.heappush(ends, (now + slice_s * chance.uniform(0.3, 1.0), n_workers, now))
            while ends and ends[0][0] <= now:
                at, worker, since = heapq.heappop(ends)
                speed = unit * shape.rate(max(1, len(working))) / max(1, len(working))
                slow = depth if now < slow_until else 1.0
                n_bytes = speed * (at - since) * weather * slow * max(0.1, chance.gauss(1.0, slices))
                done += n_bytes
                prober.committed(at, round(n_bytes))
                if n_leaving:
                    n_leaving -= 1
                    working.remove(worker)
                elif done < total:
                    heapq.heappush(ends, (at + slice_s * max(0.2, chance.gauss(1.0, slices)), worker, at))
            sight = Sight(
                now=now,
                workers=len(working) - n_leaving if not n_leaving else -1,
                waiting=max(0, round((1 - done / total) * PARTITIONS) - len(working)),
                checkpoints=n_checkpoints,
            )
            for step in prober.look(sight):
                self.steps.append((now, step))
                wanted, has = step.size, len(working) - n_leaving + len(joins)
                if step.size != self.sizes[-1][1]:
                    self.sizes.append((now, step.size))
                for _ in range(max(0, wanted - has)):
                    heapq.heappush(joins, now + chance.uniform(0.2, 0.8))
                n_leaving += max(0, has - wanted)
        return self
