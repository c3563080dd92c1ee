"""Lanes of changed keys as leases: what a wake-up adds to one that waits already, and what a server that is away costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from engine.errors import MigrationError
from engine.follow import apply_job, compare_job
from engine.follow.apply_job import ApplyJob
from engine.follow.check_job import TURN_S, CheckJob
from engine.follow.compare_job import CompareJob
from engine.ledger.changed import ToCompare
from engine.mongo.causal import CausalTime
from engine.protocol import Event, ProblemReported
from engine.work.messages import APPLY_TASKS, Applied, CompareLease, Failed


class Owner:
    """Hears what a job tells."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def emit(self, event: Event) -> None:
        assert isinstance(event, ProblemReported), event
        self.told.append(event.message)

    def fail(self, error: MigrationError) -> None:
        raise error


def job(owner: Owner | None = None) -> ApplyJob:
    made = ApplyJob(owner or Owner(), lambda _: None, lambda _: None)
    made.is_open = True
    return made


def checks(clock: Callable[[], float]) -> CheckJob:
    made = CheckJob(cast("Any", None), lambda: None, clock)
    made.is_open = True
    return made


def time_(at: int) -> CausalTime:
    return CausalTime(at, b"")


def test_a_wake_up_of_the_past_takes_nothing_from_one_of_a_newer_slice() -> None:
    lanes = job()
    lanes.wake(1, 0, 8, time_(80), 70)
    lanes.wake(1, 0, 7, time_(70), 60)  # read from the ledger before slice 8 was committed
    lease = lanes.next_lease()
    assert lease is not None
    assert (lease.upto, lease.not_before.at) == (8, 80)


def test_a_lane_waits_since_the_oldest_of_its_wake_ups() -> None:
    lanes = job()
    lanes.wake(1, 0, 8, time_(80), 70)
    lanes.wake(1, 0, 8, time_(80), 10)  # of a resumed run: keys that wait since its beginning
    assert lanes.oldest == 10


def test_what_was_applied_is_compared_though_there_are_changes_to_apply_without_an_end() -> None:
    now = [0.0]
    lanes, comparing = job(), checks(lambda: now[0])
    lanes.gives_way = comparing.takes_turn
    comparing.offer([ToCompare(task_id, 0, 7, 3, 10, 20) for task_id in (1, 2)], b"")

    def next_is_to_apply() -> bool:
        lanes.wake(1, 0, 8, time_(80), 70)
        if (lease := lanes.next_lease()) is None:
            return False
        lanes.returned(lease, None)
        return True

    assert next_is_to_apply(), "comparing takes what is left of the workers"
    now[0] += TURN_S
    assert not next_is_to_apply(), "and has its turn where nothing ever is"
    lease = comparing.next_lease()
    assert lease is not None
    assert lease.is_brief
    assert next_is_to_apply(), "one worker at a time"
    now[0] += 10 * TURN_S
    assert next_is_to_apply()
    comparing.returned(lease, lease)
    now[0] += 10 * TURN_S
    idle = comparing.next_lease()
    assert idle is not None
    assert not idle.is_brief, "a worker for whom no change waits has the time"


AWAY = "PostgreSQL does not answer."


def test_a_server_that_is_away_costs_no_lane_and_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Owner()
    lanes = job(owner)
    lanes.wake(1, 0, 8, time_(80), 70)
    monkeypatch.setattr(apply_job, "PUT_OFF_S", 0.0)
    for _ in range(3):
        lease = lanes.next_lease()
        assert lease is not None
        assert lanes.failed(lease, Failed(lease, "08006", AWAY, fatal=True, is_away=True))
    assert owner.told == [f"{AWAY} What changed is applied when that is over."]
    lanes.progressed(Applied(APPLY_TASKS + 1, 0, 1, 1, 0, 0))
    monkeypatch.setattr(apply_job, "PUT_OFF_S", 60.0)
    lease = lanes.next_lease()
    assert lease is not None
    assert lanes.failed(lease, Failed(lease, "08006", AWAY, fatal=True, is_away=True))
    assert len(owner.told) == 2
    assert lanes.next_lease() is None, "it is tried again later"
    assert not lanes.failed(lease, Failed(lease, "42501", "permission denied", fatal=True)), "that ends the run"


def test_a_server_that_is_away_costs_no_range_that_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    ranges = CompareJob(Owner())
    ranges.add([CompareLease(3_000_001, 1, None, True, None, time_(5))])
    monkeypatch.setattr(compare_job, "PUT_OFF_S", 0.0)
    lease = ranges.next_lease()
    assert lease is not None
    assert ranges.failed(lease, Failed(lease, "08006", AWAY, fatal=True, is_away=True))
    assert ranges.next_lease() == lease
