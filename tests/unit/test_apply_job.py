"""Lanes of changed keys as leases: what a wake-up adds to one that waits already."""

from __future__ import annotations

from typing import Any, cast

from engine.follow.apply_job import ApplyJob
from engine.mongo.causal import CausalTime


def job() -> ApplyJob:
    made = ApplyJob(cast("Any", None), lambda _: None, lambda _: None)
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
