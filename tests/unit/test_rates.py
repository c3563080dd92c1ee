"""The two rates of a run, overall and while copying."""

from __future__ import annotations

from engine.ledger.history import copying_rate


def test_the_rate_while_copying_is_never_below_the_overall_one() -> None:
    assert copying_rate(39_361.0, 38_100.0) == 39_361.0
    assert copying_rate(2_706.0, 4_280.0) == 4_280.0, "most rows came while it was pausing"


def test_a_rate_that_was_not_measured_is_not_told() -> None:
    assert copying_rate(0.0, 4_280.0) == 0.0
