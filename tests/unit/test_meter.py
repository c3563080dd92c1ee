"""Rates and ETA, with the clock in the test's hand."""

from __future__ import annotations

from itertools import pairwise

import pytest

from engine.cluster.meter import MAX_SAMPLES, Meter, Window, bottleneck


def test_a_window_measures_growth_over_its_span_only() -> None:
    window = Window(span_s=5.0)
    for second in range(11):
        window.add(float(second), 0 if second < 5 else (second - 5) * 100)
    assert window.rate() == pytest.approx(100.0)


def test_a_window_with_one_point_has_no_rate() -> None:
    window = Window(span_s=5.0)
    window.add(1.0, 500)
    assert window.rate() == 0.0


def run(meter: Meter, *, seconds: float, rate: int, start: float = 0.0, written: int = 0, moving: bool = True) -> int:
    steps = int(seconds * 4)
    for step in range(steps + 1):
        meter.tick(start + step / 4, written + int(rate * step / 4), 0, moving=moving)
    return written + int(rate * seconds)


def test_there_is_no_eta_before_five_seconds_or_one_per_cent() -> None:
    meter = Meter()
    written = run(meter, seconds=4, rate=1000)
    assert meter.eta(written, 100_000) is None
    written = run(meter, seconds=2, rate=1000, start=4, written=written)
    assert meter.eta(written, 100_000) == pytest.approx(94.0, rel=0.02)
    assert meter.eta(written, 10_000_000) is None


def test_a_pause_counts_neither_in_the_mean_nor_in_the_rate() -> None:
    meter = Meter()
    written = run(meter, seconds=10, rate=500)
    run(meter, seconds=60, rate=0, start=10, written=written, moving=False)
    assert meter.mean == pytest.approx(500.0)
    assert meter.rows.rate() == 0.0
    written = run(meter, seconds=10, rate=500, start=70, written=written)
    assert meter.mean == pytest.approx(500.0, rel=0.05)


def test_after_a_pause_there_is_no_eta_before_five_seconds() -> None:
    meter = Meter()
    written = run(meter, seconds=10, rate=500)
    run(meter, seconds=60, rate=0, start=10, written=written, moving=False)
    meter.tick(70.25, written, 0, moving=True)
    meter.tick(70.5, written + 1_000, 0, moving=True)  # what the workers had in hand
    assert meter.eta(written + 1_000, 100_000) is None
    written = run(meter, seconds=6, rate=500, start=70.5, written=written + 1_000)
    assert meter.eta(written, 100_000) == pytest.approx((100_000 - written) / 500, rel=0.4)


def test_progress_that_goes_back_is_no_negative_rate() -> None:
    meter = Meter()
    written = run(meter, seconds=10, rate=500)
    meter.tick(10.25, written - 2000, 0, moving=True)
    assert meter.rows.rate() == 0.0
    assert meter.mean >= 0


def test_the_chart_has_a_point_a_second_from_committed_rows() -> None:
    meter = Meter()
    run(meter, seconds=5, rate=400)
    assert [round(at) for at, _ in meter.samples] == [1, 2, 3, 4, 5]
    assert all(rate == pytest.approx(400.0) for _, rate in meter.samples)


def test_the_chart_of_a_run_of_many_hours_begins_with_its_first_minute() -> None:
    meter = Meter()
    hours = 10 * 3_600
    for second in range(hours + 1):
        meter.tick(float(second), 50 * second if second < 7_200 else 360_000 + 10 * (second - 7_200), 0, moving=True)
    assert len(meter.samples) <= MAX_SAMPLES
    assert meter.samples[0][0] < 60
    assert meter.samples[-1][0] > hours - 60
    assert all(rate == pytest.approx(50.0 if at <= 7_200 else 10.0) for at, rate in meter.samples if at % 7_200 > 60)
    steps = [later[0] - sooner[0] for sooner, later in pairwise(meter.samples)]
    assert max(steps) == min(steps)


def test_the_bottleneck_is_named_with_its_share() -> None:
    assert bottleneck(0.2, 0.1, 0.61) == "waiting for PostgreSQL 61% of worker time"
    assert bottleneck(0.2, 0.1, 0.15, throttled=0.5) == "throttled 50% of worker time"
    assert bottleneck(0.0, 0.0, 0.0) == ""


def test_a_restart_counts_anew_and_keeps_the_chart() -> None:
    meter = Meter()
    run(meter, seconds=5, rate=400)
    n_samples = len(meter.samples)
    meter.restart()
    assert meter.mean == meter.rows.rate() == 0.0
    run(meter, seconds=5, rate=100, start=6)
    assert meter.mean == pytest.approx(100.0)
    assert len(meter.samples) == n_samples + 5
