"""How guards slow a run and let it come back: whatever is seen, in whatever order, the bounds hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.guards.governor import FLOOR, Governor, Level, Step

STEP_S = 5.0
RATE = 10_000.0

looks = st.lists(
    st.tuples(
        st.floats(0.05, 12.0),
        st.sampled_from([None, *Level]),
        st.one_of(st.just(0.0), st.floats(1.0, 1e7)),
    ),
    max_size=80,
)
"""Seconds after the look before, what is seen, and the rate of the run."""


def held(level: Level, seconds: float, governor: Governor, *, since: float = 0.0) -> list[Step]:
    """What a second's looks do while nothing changes."""
    steps = [governor.look(since + second, level, RATE) for second in range(int(seconds) + 1)]
    return [step for step in steps if step is not None]


@given(looks)
def test_a_run_is_never_slowed_below_a_twentieth_and_never_sped_up(
    seen: list[tuple[float, Level | None, float]],
) -> None:
    governor, now, before = Governor(STEP_S), 0.0, 0.0
    for wait_s, level, rate in seen:
        was_acting = governor.is_acting
        now += wait_s
        governor.look(now, level, rate)
        if not was_acting and governor.is_acting:
            before = rate
        most = governor.rows_per_s
        assert FLOOR <= governor.share <= 1.0
        if most is not None:
            assert governor.is_acting
            assert FLOOR * before <= most < before
        elif governor.is_acting:
            assert governor.is_paused
            assert not before, "only where no rate was known"


@given(looks)
def test_a_run_is_paused_by_a_hard_limit_or_at_the_floor_only(seen: list[tuple[float, Level | None, float]]) -> None:
    governor, now = Governor(STEP_S), 0.0
    for wait_s, level, rate in seen:
        share = governor.share
        now += wait_s
        if governor.look(now, level, rate) is Step.PAUSED:
            assert level is Level.HARD or (level is Level.SOFT and share == FLOOR)


@given(looks)
def test_whatever_was_seen_a_run_that_is_fine_goes_at_full_speed_within_twelve_steps(
    seen: list[tuple[float, Level | None, float]],
) -> None:
    governor, now = Governor(STEP_S), 0.0
    for wait_s, level, rate in seen:
        now += wait_s
        governor.look(now, level, rate)
    steps = held(Level.FINE, 12 * STEP_S, governor, since=now)
    assert not governor.is_acting
    assert governor.rows_per_s is None
    assert Step.SLOWED not in steps
    assert Step.PAUSED not in steps


@given(looks)
def test_what_was_done_has_a_step_s_time_to_show(seen: list[tuple[float, Level | None, float]]) -> None:
    """A limit that is passed anew, or a hard one, acts at once; everything else waits."""
    governor, now, stepped_at = Governor(STEP_S), 0.0, -STEP_S
    for wait_s, level, rate in seen:
        was_acting = governor.is_acting
        now += wait_s
        step = governor.look(now, level, rate)
        if step is None:
            continue
        assert now - stepped_at >= STEP_S or level is Level.HARD or not was_acting
        stepped_at = now


def test_a_limit_that_stays_passed_halves_down_to_the_floor_and_then_pauses() -> None:
    governor, shares = Governor(STEP_S), []
    for second in range(40):
        if governor.look(second, Level.SOFT, RATE) is Step.SLOWED:
            shares.append((second, governor.share))
        if governor.is_paused:
            break
    assert shares == [(0, 0.5), (5, 0.25), (10, 0.125), (15, 0.0625), (20, FLOOR)]
    assert second == 25
    assert governor.rows_per_s == RATE * FLOOR


def test_it_comes_back_by_a_tenth_of_the_rate_before_after_each_step() -> None:
    governor = Governor(STEP_S)
    assert governor.look(0.0, Level.SOFT, RATE) is Step.SLOWED
    rates = []
    for second in range(1, 40):
        if governor.look(second, Level.FINE, 0.5 * RATE) is not None:
            rates.append(governor.rows_per_s)
    assert rates == [6_000.0, 7_000.0, 8_000.0, 9_000.0, None]


def test_a_hard_limit_pauses_at_once_and_the_run_comes_back_from_the_floor() -> None:
    governor = Governor(STEP_S)
    assert governor.look(0.0, Level.HARD, RATE) is Step.PAUSED
    assert held(Level.SOFT, 60.0, governor) == [], "still past the soft limit"
    assert held(Level.FINE, STEP_S, governor, since=61.0) == [Step.RESUMED]
    assert governor.rows_per_s == RATE * FLOOR
    assert held(Level.FINE, 60.0, governor, since=67.0)[-1] is Step.LIFTED


def test_what_cannot_be_told_changes_nothing() -> None:
    governor = Governor(STEP_S)
    governor.look(0.0, Level.SOFT, RATE)
    for second in range(1, 100):
        assert governor.look(second, None, RATE) is None
    assert governor.share == 0.5
    assert governor.look(100.0, Level.FINE, RATE) is None, "it has to be fine for a whole step"


def test_nothing_that_moves_is_nothing_to_slow() -> None:
    governor = Governor(STEP_S)
    assert held(Level.SOFT, 0.0, governor) == [Step.SLOWED]
    assert Governor(STEP_S).look(0.0, Level.SOFT, 0.0) is None
