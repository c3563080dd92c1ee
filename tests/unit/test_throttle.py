"""The throttle, with the clock in the test's hand: what passes in a second is what was asked for, however it is portioned."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import pytest

from engine.work.feed import Throttle
from engine.work.slots import WIDTH, Slot


@dataclass
class Wanted:
    page_size: int = 8_000
    rows_per_s: float = 10_000.0
    is_yielding: bool = False


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("batch", [100, 1_000, 5_000])
async def test_the_rate_is_kept_whatever_a_batch_holds(batch: int) -> None:
    clock = Clock()
    throttle, wanted = Throttle(clock, clock.sleep), Wanted()
    slot = Slot((ctypes.c_int64 * WIDTH)(), 0)
    passed, began = 0, clock.now
    while clock.now - began < 10.0:
        rows = min(batch, await throttle.admit(8_000, wanted, slot))
        throttle.charge(rows, wanted)
        passed += rows
    assert passed / (clock.now - began) == pytest.approx(wanted.rows_per_s, rel=0.05)


async def test_without_a_throttle_everything_passes_at_once() -> None:
    clock = Clock()
    slot = Slot((ctypes.c_int64 * WIDTH)(), 0)
    assert await Throttle(clock).admit(8_000, Wanted(rows_per_s=0.0), slot) == 8_000
