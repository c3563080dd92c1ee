"""Whether a run that follows catches up, and when it is through."""

from __future__ import annotations

import pytest

from engine.run.approach import Approach


def seen(*points: tuple[float, int, int]) -> Approach:
    approach = Approach()
    for point in points:
        approach.add(*point)
    return approach


def test_nothing_is_told_before_it_is_known() -> None:
    for approach in (Approach(), seen((0.0, 100, 0)), seen((0.0, 100, 0), (4.0, 50, 50))):
        assert (approach.speed, approach.ready_in_s, approach.is_never) == (None, None, False)


def test_it_catches_up_when_more_is_applied_than_comes() -> None:
    approach = seen((0.0, 1_000, 0), (5.0, 600, 500), (10.0, 200, 1_000))
    assert approach.speed == pytest.approx(1_000 / 200)
    assert approach.ready_in_s == pytest.approx(200 / 80)
    assert not approach.is_never


def test_it_never_does_when_as_much_comes_as_is_applied() -> None:
    approach = seen((0.0, 1_000, 0), (10.0, 1_000, 500))
    assert (approach.speed, approach.ready_in_s, approach.is_never) == (1.0, None, True)


def test_a_source_that_is_still_has_no_speed_to_be_compared_with() -> None:
    approach = seen((0.0, 1_000, 0), (10.0, 500, 500))
    assert approach.speed is None
    assert approach.ready_in_s == pytest.approx(10.0)


def test_only_the_last_seconds_count() -> None:
    approach = seen((0.0, 0, 0), (100.0, 1_000, 0), (110.0, 900, 100))
    assert approach.ready_in_s == pytest.approx(90.0)
    assert not approach.is_never
    approach.clear()
    assert approach.ready_in_s is None
