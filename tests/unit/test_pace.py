"""Messages between hosts: at once as long as there are few, gathered when there are many."""

from __future__ import annotations

from engine.cluster.pace import Pace


def test_a_few_are_sent_at_once_and_many_no_oftener_than_they_may() -> None:
    now = 0.0
    pace = Pace(20.0, 4, clock=lambda: now)
    sent = 0
    while now < 10.0:
        sent += 1
        now += pace.sent()
    assert 20 * 10 <= sent <= 20 * 10 + 4
    now += 1.0  # a rest
    assert [pace.sent() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert pace.sent() > 0.0


def test_what_is_sent_less_often_than_that_never_waits() -> None:
    now = 0.0
    pace = Pace(20.0, 4, clock=lambda: now)
    for _ in range(100):
        now += 0.06
        assert pace.sent() == 0.0
