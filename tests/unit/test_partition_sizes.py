"""How large partitions are thought to be."""

from __future__ import annotations

from engine.run.partition_sizes import PartitionSizes
from engine.work.messages import CopyLease


def lease(task_id: int, partition_id: int) -> CopyLease:
    return CopyLease(task_id, partition_id, 0, None, True, None)


def test_a_collection_is_spread_over_its_own_partitions() -> None:
    sizes = PartitionSizes()
    leases = [lease(1, 0), lease(1, 1), lease(2, 2)]
    sizes.spread(leases, {1: 1_000, 2: 30}.__getitem__)
    views = [sizes.view([each], 10) for each in leases]
    assert [(view.done, view.total, view.is_exact) for view in views] == [
        (10, 500, False),
        (10, 500, False),
        (10, 30, False),
    ]


def test_pieces_share_what_the_whole_was_thought_to_hold() -> None:
    sizes = PartitionSizes()
    whole, *pieces = (lease(1, number) for number in range(5))
    sizes.spread([whole], lambda _: 1_000)
    sizes.cut(whole, pieces)
    assert [sizes.view([piece], 0).total for piece in pieces] == [250] * 4


def test_b14_a_partition_that_holds_more_than_was_thought_keeps_its_estimate() -> None:
    sizes = PartitionSizes()
    sizes.spread([lease(1, 0)], lambda _: 100)
    assert (sizes.view([lease(1, 0)], 130).done, sizes.view([lease(1, 0)], 130).total) == (130, 100)
    assert sizes.view([lease(1, 7)], 5).total == 0, "nothing is known of its size"
