"""What a worker's time goes into, also while it waits for something that is in no counter yet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from engine.cluster.worker import Worker
from engine.protocol import WorkerView
from engine.work.messages import CopyLease
from tests.crew import FakeMember


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Sampled:
    """A worker whose counters the test sets."""

    def __init__(self, clock: Clock, *, has_lease: bool) -> None:
        self.member = FakeMember(1)
        self._worker = Worker(self.member, clock=lambda: clock.now)
        self._worker.is_ready = True
        self._clock, self._progress_at = clock, clock.now
        if has_lease:
            self._worker.lease = CopyLease(0, 0, 0, None, True, None)

    def sample(self, **counters: Any) -> None:
        self.member.sample = replace(self.member.sample, **counters)

    def progressed(self) -> None:
        self._progress_at = self._clock.now

    def view(self) -> WorkerView:
        return self._worker.view("shop.users", 0, None, is_paused=False)

    def shares(self) -> tuple[float, float, float]:
        self.sample(idle_s=self._clock.now - self._progress_at)
        seen = self.view()
        return seen.reading, seen.converting, seen.writing


def worker(clock: Clock, *, has_lease: bool = True) -> Sampled:
    return Sampled(clock, has_lease=has_lease)


def shares(worker: Sampled) -> tuple[float, float, float]:
    return worker.shares()


@pytest.mark.parametrize(("state", "place"), [("reading", 0), ("converting", 1), ("writing", 2)])
def test_a_wait_of_many_seconds_is_seen_before_it_is_over(clock: Clock, state: str, place: int) -> None:
    waiting = worker(clock)
    waiting.sample(state=state)
    for _ in range(20):
        clock.now += 1.0
        found = shares(waiting)
    assert found[place] == pytest.approx(1.0)
    assert sum(found) == pytest.approx(1.0)


def test_what_was_waited_for_is_not_counted_twice_when_it_is_over(clock: Clock) -> None:
    waiting = worker(clock)
    waiting.sample(state="writing")
    for _ in range(10):
        clock.now += 1.0
        shares(waiting)
    waiting.sample(writing_ns=10_000_000_000, state="reading")
    waiting.progressed()
    clock.now += 0.5
    assert max(shares(waiting)) <= 1.0
    for _ in range(6):  # nothing but reading since
        clock.now += 1.0
        waiting.sample(reading_ns=waiting.member.sample.reading_ns + 1_000_000_000)
        waiting.progressed()
        found = shares(waiting)
    assert found == pytest.approx((1.0, 0.0, 0.0))


def test_an_idle_worker_waits_for_nothing(clock: Clock) -> None:
    idle = worker(clock, has_lease=False)
    for _ in range(10):
        clock.now += 1.0
        assert shares(idle) == (0.0, 0.0, 0.0)


def test_processor_time_is_a_share_of_a_core(clock: Clock) -> None:
    busy = worker(clock)
    seen = None
    for second in range(8):
        clock.now = 1_000.0 + second
        busy.sample(cpu_ns=second * 750_000_000, memory=84_000_000)
        seen = busy.view()
    assert seen is not None
    assert seen.cpu == pytest.approx(0.75)
    assert seen.memory == 84_000_000
