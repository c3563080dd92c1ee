"""Back-off: waits that double up to a cap, and an end when there was no progress for too long."""

from __future__ import annotations

from engine.retries import FIRST_WAIT_S, LIMIT_S, LONGEST_WAIT_S, Patience


class _Clock:
    """Time that passes only while something sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


async def test_waits_double_up_to_a_cap_until_the_limit() -> None:
    clock = _Clock()
    patience = Patience(clock=clock, sleep=clock.sleep)

    while patience.is_left:
        await patience.wait()

    assert LIMIT_S <= clock.now < LIMIT_S + LONGEST_WAIT_S
    longest = FIRST_WAIT_S
    for waited in clock.waits:
        assert longest / 2 <= waited <= longest
        longest = min(2 * longest, LONGEST_WAIT_S)


async def test_progress_begins_anew() -> None:
    clock = _Clock()
    patience = Patience(5.0, clock, sleep=clock.sleep)
    while patience.is_left:
        await patience.wait()

    patience.renew()

    assert patience.is_left
    await patience.wait()
    assert clock.waits[-1] <= FIRST_WAIT_S
