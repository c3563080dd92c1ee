"""Which partitions share a transaction, and what the engine and a worker both know of the tasks that it was told."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.mongo.natural import Numbering
from engine.run.copy_job import BUNDLED, BUNDLED_DOCUMENTS, SMALL_DOCUMENTS, CopyJob
from engine.work.messages import TASKS_KEPT, CopyBundle, CopyLease, CopyTask, parts_of, touch

SEEDED = ("shop", "c3")


def lease(task_id: int) -> CopyLease:
    return CopyLease(task_id, task_id, 0, None, True, None)


def task(task_id: int, **others: Any) -> CopyTask:
    made = CopyTask("run", task_id, "shop", f"c{task_id}", "public", f"c{task_id}", cast(Any, None), "create", True)
    return replace(made, **others)


def job_of(count: int, *, documents: int = 100, workers: int = 1, seeded: tuple[str, str] | None = None) -> CopyJob:
    """A copy of so many collections, one partition each."""
    cluster = SimpleNamespace(workers=[None] * workers, n_idle=workers)
    tables = {number: SimpleNamespace(total=documents) for number in range(count)}
    context = SimpleNamespace(cluster=cluster, record=SimpleNamespace(tables=tables), emit=lambda _: None)
    job = CopyJob(cast(Any, context), cast(Any, None), cast(Any, None), cast(Any, None), seeded)
    job.tasks.update({number: task(number) for number in range(count)})
    job.begin([lease(number) for number in range(count)])
    return job


def keys_of(job: CopyJob) -> list[int]:
    """Of the next lease's parts."""
    return [part.key for part in parts_of(job.next_lease())]


def test_small_partitions_come_several_at_once_as_long_as_some_are_left_for_the_others() -> None:
    job = job_of(12, workers=2)
    assert [len(keys_of(job)) for _ in range(7)] == [3, 3, 2, 1, 1, 1, 1]
    assert job.next_lease() is None
    assert len(keys_of(job_of(100))) == BUNDLED
    assert len(keys_of(job_of(100, documents=BUNDLED_DOCUMENTS // 5))) == 5
    assert len(keys_of(job_of(100, documents=SMALL_DOCUMENTS + 1))) == 1


@pytest.mark.parametrize(
    "others",
    [
        {"has_range_reads": False},
        {"filter": b"x"},
        {"mode": "upsert"},
        {"adds_missing": True},
        {"numbering": Numbering("m", "f", None)},
    ],
)
def test_what_may_take_long_or_needs_the_table_for_itself_comes_alone(others: dict[str, Any]) -> None:
    job = job_of(20)
    job.tasks[2] = task(2, **others)
    assert [keys_of(job) for _ in range(3)] == [[0, 1], [2], list(range(3, 12))]


def test_a_collection_that_is_being_seeded_comes_alone() -> None:
    job = job_of(20, seeded=SEEDED)
    assert [keys_of(job) for _ in range(2)] == [[0, 1, 2], [3]]


def test_parts_of_which_a_worker_may_have_died_come_alone_afterwards() -> None:
    job = job_of(40)
    bundle = job.next_lease()
    assert isinstance(bundle, CopyBundle)
    for part in reversed(bundle.parts):
        assert not job.leases.count_death(part.key)
        job.leases.give_back(part)
    assert [keys_of(job) for _ in range(BUNDLED)] == [[number] for number in range(BUNDLED)]
    assert len(keys_of(job)) > 1


def test_what_is_left_of_a_bundle_comes_next_in_its_order_and_what_is_missing_in_it_is_done() -> None:
    job = job_of(40)
    bundle = job.next_lease()
    assert isinstance(bundle, CopyBundle)
    begun = replace(bundle.parts[4], slice_no=1, lower=b"key", lower_inclusive=False)
    job.returned(bundle, CopyBundle((begun, *bundle.parts[5:])))
    assert job.leases.n_done == 4
    assert job.next_lease() == begun
    assert keys_of(job)[0] == 5
    assert job.leases.n_total == 40


LEASES = st.lists(
    st.lists(st.integers(0, 3 * TASKS_KEPT), min_size=1, max_size=BUNDLED, unique=True), min_size=10, max_size=60
)


@given(LEASES, st.integers(0, 60))
def test_a_worker_knows_the_tasks_of_every_lease_though_neither_side_keeps_many(
    given: list[list[int]], at: int
) -> None:
    told: dict[int, None] = {}
    known: dict[int, str] = {}
    for number, tasks in enumerate(given):
        if number == at:
            told.clear()  # they have changed: all are told again
        bundle = CopyBundle(tuple(lease(task_id) for task_id in tasks))
        for task_id in tasks:
            if task_id not in told:
                told[task_id] = None
                known[task_id] = "old" if number < at else "new"
        touch(told, bundle)
        forgotten = touch(known, bundle)
        assert told.keys() <= known.keys()
        assert set(tasks) <= known.keys()
        assert not set(forgotten) & known.keys()
        assert len(known) <= TASKS_KEPT
        assert number < at or all(known[task_id] == "new" for task_id in tasks)
