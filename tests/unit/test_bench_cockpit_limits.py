"""Which limits the figures of the cockpit's benchmark keep: with figures that are made up."""

from __future__ import annotations

import pytest

from tests.bench.cockpit import keys, limits


def test_of_times_the_median_counts_and_the_limit_stands_behind_the_figures() -> None:
    assert limits.judged_seconds("--help", [0.3, 0.41, 0.2], limits.HELP_S) == "--help  [at most 0.4 s: kept]"
    assert limits.judged_seconds("first paint", [0.9, 1.2, 1.1], limits.PAINT_S).endswith("[at most 1 s: MISSED]")


def test_of_keys_one_in_twenty_may_be_late() -> None:
    kept, missed = [20.0] * 99 + [900.0], [20.0] * 90 + [101.0] * 10
    lines = keys.words({"+": kept, "-": missed}, 0.968)
    assert lines[0] == "cores busy: 97%"
    assert lines[2].endswith("longest 900 ms  [at most 100 ms p95: kept]")
    assert lines[3].endswith("longest 101 ms  [at most 100 ms p95: MISSED]")


def test_what_goes_on_after_its_first_sign_does_not_count_among_all_keys() -> None:
    lines = keys.words({"2": [20.0] * 20, "2, all of it": [400.0] * 20}, 1.0)
    assert lines[1].startswith("key to screen, 20 presses: p50 20 ms")
    assert lines[3].startswith("  2, all of it, 20 presses: p50 400 ms")


@pytest.mark.parametrize(
    ("share", "workers", "verdict"),
    [
        (0.049, 16, "[at most 5% of a core: kept]"),
        (0.051, 2, "[at most 5% of a core: MISSED]"),
        (0.051, 17, "[at most 10% of a core: kept]"),
        (0.11, 128, "[at most 10% of a core: MISSED]"),
        (0.11, 129, "figures"),
    ],
)
def test_the_share_of_a_core_depends_on_the_workers(share: float, workers: int, verdict: str) -> None:
    assert limits.judged_core("figures", share, workers).endswith(verdict)


def test_a_run_may_take_three_percent_longer() -> None:
    assert limits.judged_run("longer", 0.03).endswith("[at most 3% longer: kept]")
    assert limits.judged_run("longer", 0.031).endswith("MISSED]")


def test_memory_is_flat_when_it_no_longer_grows_after_the_first_minutes() -> None:
    assert limits.judged_memory([60, 80, 90, 100, 101, 102, 102.9]).endswith("[at most +3%: kept]")
    assert limits.judged_memory([100, 100, 100, 100, 101, 104.0]) == (
        "RSS +4.0% from minute 3 to minute 5  [at most +3%: MISSED]"
    )
    assert "too short" in limits.judged_memory([100, 100, 100, 100])
