"""Who works on which range: nothing is handed out twice, nothing is forgotten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from engine.run.copy_leases import CopyLeases
from engine.run.seed import SeedRanges
from engine.verify.job import VerifyJob
from engine.work.messages import Compared, CopyLease, SeedLease, VerifyLease


def partition(number: int) -> CopyLease:
    return CopyLease(1, number, 0, None, True, None)


def test_leases_are_handed_out_in_order_and_once() -> None:
    leases = CopyLeases()
    leases.add(partition(number) for number in range(3))
    taken = [leases.take() for _ in range(4)]
    assert [lease.partition_id for lease in taken if lease] == [0, 1, 2]
    assert taken[3] is None
    assert not leases.is_finished
    for number in range(3):
        leases.finish(number)
    assert leases.is_finished
    assert leases.n_done == leases.n_total == 3


def test_what_is_given_back_comes_next() -> None:
    leases = CopyLeases()
    leases.add([partition(0), partition(1)])
    first = leases.take()
    assert first is not None
    rest = replace(first, slice_no=4, lower=b"key", lower_inclusive=False)
    leases.give_back(rest)
    assert leases.take() == rest


def test_a_partition_that_kills_three_workers_is_parked_and_the_rest_goes_on() -> None:
    leases = CopyLeases()
    leases.add([partition(0), partition(1)])
    for death in (1, 2, 3):
        lease = leases.take()
        assert lease is not None
        assert lease.partition_id == 0
        parked = leases.count_death(0, at=7)
        assert parked is (death == 3)
        if not parked:
            leases.give_back(lease)
    assert list(leases.parked) == [0]
    following = leases.take()
    assert following is not None
    assert following.partition_id == 1
    leases.finish(1)
    assert leases.is_finished
    assert leases.n_total == 2


def test_deaths_at_slices_that_were_committed_afterwards_park_nothing() -> None:
    leases = CopyLeases()
    leases.add([partition(0)])
    for slice_no in (0, 0, 1, 1, 2, 3):
        lease = leases.take()
        assert lease is not None
        assert not leases.count_death(0, slice_no)
        leases.give_back(lease)
    assert not leases.parked


def test_a_held_partition_keeps_the_work_open_until_it_is_released() -> None:
    leases = CopyLeases()
    leases.add([partition(0)])
    lease = leases.withdraw(0)
    assert lease is not None
    leases.hold(lease)
    assert leases.take() is None
    assert not leases.is_finished
    leases.release()
    assert leases.take() == lease
    assert leases.withdraw(0) is None


def test_what_a_worker_that_reaches_no_server_has_compared_of_a_partition_is_not_compared_again() -> None:
    compared: list[Compared] = []
    job = VerifyJob(cast(Any, None), compared.append)
    lease = VerifyLease(1, 3, 0, None)
    job.add([lease])
    assert job.next_lease() == lease
    for slice_no in range(2):
        job.progressed(Compared(1, 3, slice_no, 10, 10, 0, 0, 0, 100, 10, is_changed=False))
    assert job.can_go_on(lease)
    job.returned(lease, lease)
    assert job.next_lease() == replace(lease, slice_no=2)
    job.returned(lease, None)
    assert job.is_finished


def test_seeding_hands_out_pages_up_to_the_count() -> None:
    leases = SeedRanges(0, first=0, count=25)
    ranges = []
    while lease := leases.take(10):
        ranges.append((lease.low, lease.high))
    assert ranges == [(0, 10), (10, 20), (20, 25)]
    assert not leases.is_finished
    for low, high in ranges:
        leases.progress(low, high - low)
        leases.finish(SeedLease(0, low, high))
    assert leases.is_finished
    assert leases.n_seeded == 25


def test_lowering_the_count_finishes_what_was_begun_and_begins_nothing_more() -> None:
    leases = SeedRanges(0, first=0, count=1_000)
    begun = [leases.take(10), leases.take(10)]
    leases.count = 5
    assert leases.take(10) is None
    assert leases.n_expected == 20
    for lease in begun:
        assert lease is not None
        leases.progress(lease.low, 10)
        leases.finish(lease)
    assert leases.is_finished
    assert leases.n_seeded == 20


def test_a_range_whose_worker_died_is_done_again_and_counted_once() -> None:
    leases = SeedRanges(0, first=100, count=110)
    lease = leases.take(10)
    assert lease == SeedLease(0, 100, 110)
    leases.progress(lease.low, 7)
    assert leases.n_seeded == 107
    leases.lose(lease)
    assert leases.n_seeded == 100
    again = leases.take(10)
    assert again == lease
    leases.progress(again.low, 10)
    leases.finish(again)
    assert leases.n_seeded == 110


def test_the_rest_of_a_range_that_was_given_back_goes_first() -> None:
    leases = SeedRanges(0, first=0, count=30)
    lease = leases.take(10)
    assert lease is not None
    leases.progress(lease.low, 4)
    leases.give_back(lease, SeedLease(0, 4, 10))
    assert leases.take(10) == SeedLease(0, 4, 10)
    assert leases.take(10) == SeedLease(0, 10, 20)
