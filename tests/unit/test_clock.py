"""The clock of a run."""

from __future__ import annotations

from contextlib import suppress

from engine.run.clock import RunClock


def test_seeding_does_not_count_and_the_end_stands_still() -> None:
    now = 100.0
    clock = RunClock(lambda: now)
    assert (clock.elapsed, clock.seconds) == (0.0, 0.0)
    clock.start()
    now = 105.0
    with suppress(RuntimeError), clock.left_out():
        now = 108.0
        raise RuntimeError("seeding failed")
    now = 110.0
    assert (clock.elapsed, clock.seconds) == (10.0, 7.0)
    clock.stop()
    now = 200.0
    assert (clock.elapsed, clock.seconds) == (10.0, 7.0)
