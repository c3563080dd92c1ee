"""The prober, step by step: what it keeps, what it does not count, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from engine.tuning.prober import CEILING_S, GAP_S, STUCK_S, VOID_S, Prober, Sight, Step
from engine.tuning.window import Window

LOOK_S = 0.25
SLICE_S = 0.5
MB = 1_000_000


class Steady:
    """A run without noise whose rate depends on the number of its workers alone."""

    def __init__(self, rate: Callable[[int], float], size: int, low: int = 1, high: int = 128) -> None:
        self.prober = Prober(size, low, high)
        self.rate = rate
        self.size = size
        self.now = 0.0
        self.steps: list[tuple[float, Step]] = []
        self.has_workers = True
        self.waiting = 1_000
        self.void = self.obstacle = ""
        self.checkpoints = 0

    def go(self, seconds: float) -> list[Step]:
        """Let so much time pass; what was decided in it."""
        before, end = len(self.steps), self.now + seconds
        while self.now < end:
            self.now += LOOK_S
            if not self.now % SLICE_S:
                for _ in range(self.size):
                    self.prober.committed(self.now, round(self.rate(self.size) * SLICE_S / self.size * MB))
            workers = self.size if self.has_workers else self.size - 1
            sight = Sight(self.now, workers, self.waiting, self.void, self.checkpoints, self.obstacle)
            for step in self.prober.look(sight):
                self.steps.append((self.now, step))
                self.size = step.size
        return [step for _, step in self.steps[before:]]


def linear(most: int) -> Callable[[int], float]:
    """As fast as there are workers, up to so many."""
    return lambda size: 2.0 * min(size, most)


def test_twice_as_many_as_long_as_that_is_faster_and_each_step_has_its_reason() -> None:
    run = Steady(linear(32), 8)
    steps = run.go(30)
    assert [step.size for step in steps[:3]] == [16, 16, 32]
    assert steps[0].reason == "8 copied 16.0 MB/s"
    assert (steps[1].stable, steps[1].reason) == (16, "+100 % (16.0 to 32.0 MB/s)")
    run.go(60)
    assert run.steps[-1][1].stable == 32
    assert any("+0 % with 64 (64.0 to 64.0 MB/s) is noise" in step.reason for _, step in run.steps)


def test_fewer_are_kept_when_they_are_no_slower() -> None:
    run = Steady(lambda _: 20.0, 8)
    run.go(120)
    assert run.steps[-1][1].stable == 1


def test_more_that_are_hardly_faster_are_not_kept() -> None:
    run = Steady(lambda size: 20.0 + 0.2 * (size > 8) - 5.0 * (size < 8), 8)
    run.go(300)
    assert {step.stable for _, step in run.steps} == {8}


@pytest.mark.parametrize(("low", "high"), [(4, 16), (8, 8), (1, 1), (127, 128)])
def test_bounds_are_never_left(low: int, high: int) -> None:
    for rate in (linear(128), lambda size: 100.0 / size):
        run = Steady(rate, low, low, high)
        run.go(200)
        assert {step.size for _, step in run.steps} <= set(range(low, high + 1))


def test_when_all_is_steady_it_looks_at_others_ever_more_seldom() -> None:
    run = Steady(linear(12), 12)
    run.go(100)
    found = len(run.steps)
    run.go(1_000)
    times = [at for at, _ in run.steps[found:]]
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert min(gaps) >= GAP_S
    assert len(times) <= 12, "four changes a round, and after three returns a round in five minutes"


@pytest.mark.parametrize("why", ["it is throttled", "a guard slows it", "a worker died", "it does not copy"])
def test_what_is_measured_while_something_else_happens_does_not_count(why: str) -> None:
    run = Steady(linear(32), 8)
    run.void = why
    assert run.go(60) == []
    run.void = ""
    run.go(4)
    run.void = why
    run.go(LOOK_S)
    run.void = ""
    assert run.go(4) == [], "the window has begun anew"
    assert run.go(4)


def test_the_end_of_a_run_is_not_measured() -> None:
    run = Steady(linear(32), 8)
    run.waiting = 7
    assert run.go(60) == []
    run.waiting = 8
    assert run.go(8)


def test_a_checkpoint_makes_a_window_void_unless_they_come_all_the_time() -> None:
    run = Steady(linear(32), 8)
    run.go(5)
    run.checkpoints += 1
    assert run.go(4) == []
    run.checkpoints += 1
    assert run.go(4), "a part of what is measured"


def test_more_are_not_tried_where_they_cannot_help_and_that_is_said_once() -> None:
    run = Steady(linear(32), 8)
    run.obstacle = "7 of 8 sessions wait for WALWrite"
    run.go(200)
    assert max(step.size for _, step in run.steps) == 8
    said = [step.reason for _, step in run.steps if step.reason.startswith("not more workers")]
    assert said == ["not more workers: 7 of 8 sessions wait for WALWrite"]
    run.obstacle = "8 of 8 sessions wait for WALWrite"
    run.go(600)
    assert sum(step.reason.startswith("not more workers") for _, step in run.steps) == 1
    run.obstacle = ""
    run.go(400)
    assert run.steps[-1][1].stable > 8, "it is looked again"


def test_workers_that_do_not_come_are_given_up() -> None:
    run = Steady(linear(32), 8)
    run.go(8)
    assert run.size == 16
    run.has_workers = False
    (step,) = run.go(STUCK_S + 1)
    assert (step.size, step.stable) == (8, 8)
    assert "16 workers were not at work within 30 s" in step.reason


def test_more_workers_that_make_a_guard_act_are_given_up() -> None:
    run = Steady(linear(32), 8)
    run.go(8)
    assert run.size == 16
    run.void = "a guard slows it"
    (step,) = run.go(VOID_S + 1)
    assert (step.size, step.stable, step.reason) == (8, 8, "16 cannot be measured: a guard slows it")


def test_a_size_that_there_was_no_room_for_is_tried_again_after_a_while() -> None:
    run = Steady(linear(32), 8)
    run.go(8)
    run.prober.no_room_for(16)
    run.size = 8
    run.go(CEILING_S - 10)
    assert max(step.size for _, step in run.steps[1:]) < 16
    run.go(900)
    assert run.steps[-1][1].stable >= 16


def test_a_cluster_that_has_to_be_smaller_is_the_one_that_is_kept() -> None:
    run = Steady(linear(32), 8)
    run.go(8)
    run.prober.forced(5)
    run.size = 5
    run.go(100)
    assert max(step.size for _, step in run.steps[1:]) == 5


def test_without_room_all_stays_as_it_was() -> None:
    run = Steady(linear(32), 8)
    (step,) = run.go(8)
    run.prober.no_room_for(step.size)
    run.size = 8
    run.go(100)
    assert max(step.size for _, step in run.steps[1:]) < 16


def test_other_collections_are_measured_anew() -> None:
    run = Steady(linear(32), 8)
    run.go(8)
    run.prober.other_work()
    steps = run.go(8)
    assert (steps[0].size, steps[0].reason) == (8, "other collections are copied")


def test_when_the_servers_become_slower_all_sizes_are_tried_again() -> None:
    run = Steady(linear(32), 16)
    run.go(150)
    assert run.steps[-1][1].stable == 32
    run.rate = lambda size: 2.0 * min(size, 6)
    run.go(200)
    assert run.steps[-1][1].stable <= 8
    assert any("the rate has changed" in step.reason for _, step in run.steps)


def test_a_window_counts_from_commit_to_commit() -> None:
    window = Window(1, 10.0)
    window.add(9.9, 50 * MB)
    for number in range(30):
        window.add(10.1 + number / 2, 2 * MB)
    measured = window.measured(25.0)
    assert measured is not None
    assert measured.rate == pytest.approx(4 * MB)
    assert measured.error == pytest.approx(0.0, abs=1e-6)


def test_a_window_without_commits_tells_nothing() -> None:
    window = Window(4, 0.0)
    assert window.measured(100.0) is None
    window.add(1.0, MB)
    assert window.measured(100.0) is None
