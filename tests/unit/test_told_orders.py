"""What the thread that cuts collections tells those that sample them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from engine.plan.order import ToldOrders


def test_a_census_waits_until_it_is_told() -> None:
    orders = ToldOrders()
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(orders.is_scattered, task_id) for task_id in (1, 2, 3)]
        assert not any(each.done() for each in asked)
        orders.tell(2, is_scattered=False)
        orders.tell(1, is_scattered=True)
        assert [each.result(5) for each in asked[:2]] == [True, False]
        assert not asked[2].done()
        orders.end()
        assert not asked[2].result(5), "the client that cuts them has failed, or has nothing to say of it"
    assert orders.is_scattered(1)
