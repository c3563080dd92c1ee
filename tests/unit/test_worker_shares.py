"""What a worker's time goes into, also while it waits for something that is in no counter yet."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from engine.cluster.worker_process import WorkerProcess
from engine.work.messages import CopyLease
from engine.work.slots import WIDTH, Field, Slot


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def worker(clock: Clock, *, has_lease: bool = True) -> WorkerProcess:
    made = WorkerProcess(1, Slot([0] * WIDTH, 0), cast(Any, None), cast(Any, None), cast(Any, None), is_ready=True)
    made.slot[Field.PROGRESS_NS] = round(clock.now * 1e9)
    if has_lease:
        made.lease = CopyLease(0, 0, 0, None, True, None)
    return made


def shares(worker: WorkerProcess) -> tuple[float, float, float]:
    seen = worker.view("shop.users", is_paused=False)
    return seen.reading, seen.converting, seen.writing


@pytest.mark.parametrize(("state", "place"), [("reading", 0), ("converting", 1), ("writing", 2)])
def test_a_wait_of_many_seconds_is_seen_before_it_is_over(clock: Clock, state: str, place: int) -> None:
    waiting = worker(clock)
    waiting.slot.state = state
    for _ in range(20):
        clock.now += 1.0
        found = shares(waiting)
    assert found[place] == pytest.approx(1.0)
    assert sum(found) == pytest.approx(1.0)


def test_what_was_waited_for_is_not_counted_twice_when_it_is_over(clock: Clock) -> None:
    waiting = worker(clock)
    waiting.slot.state = "writing"
    for _ in range(10):
        clock.now += 1.0
        shares(waiting)
    waiting.slot[Field.WRITING_NS] = 10_000_000_000
    waiting.slot[Field.PROGRESS_NS] = round(clock.now * 1e9)
    waiting.slot.state = "reading"
    clock.now += 0.5
    assert max(shares(waiting)) <= 1.0
    for _ in range(6):  # nothing but reading since
        clock.now += 1.0
        waiting.slot[Field.READING_NS] += 1_000_000_000
        waiting.slot[Field.PROGRESS_NS] = round(clock.now * 1e9)
        found = shares(waiting)
    assert found == (pytest.approx(1.0), 0.0, 0.0)


def test_an_idle_worker_waits_for_nothing(clock: Clock) -> None:
    idle = worker(clock, has_lease=False)
    for _ in range(10):
        clock.now += 1.0
        assert shares(idle) == (0.0, 0.0, 0.0)
