"""What a bench makes of its measurements."""

from __future__ import annotations

import json

from engine.control.protocol import Event
from tui.bench import CopyTime
from tui.measurements import (
    Measurement,
    Results,
    cluster_sizes,
    is_worth_more,
    page_sizes,
    recommendation,
    results_record,
    results_text,
    smallest_good,
)


def measured(*rates: float) -> list[Measurement]:
    """Copies with 1, 2, 4, ... workers that took one second."""
    return [Measurement(2**step, 8_000, round(rate), 1.0) for step, rate in enumerate(rates)]


def test_cluster_sizes_double_and_end_with_the_largest_allowed() -> None:
    assert list(cluster_sizes(1)) == [1]
    assert list(cluster_sizes(2)) == [1, 2]
    assert list(cluster_sizes(90)) == [1, 2, 4, 8, 16, 32, 64, 90]
    assert list(cluster_sizes(128)) == [1, 2, 4, 8, 16, 32, 64, 128]


def test_the_series_ends_after_two_larger_clusters_that_brought_nothing() -> None:
    assert is_worth_more(measured(100))
    assert is_worth_more(measured(100, 100))
    assert not is_worth_more(measured(100, 100, 104))
    assert is_worth_more(measured(100, 190, 189))
    assert not is_worth_more(measured(100, 190, 150, 195))
    assert is_worth_more(measured(100, 190, 150, 250))


def test_the_smallest_size_that_no_other_clearly_beats_is_recommended() -> None:
    assert smallest_good(measured(100, 190, 196, 150)).cluster_size == 2
    assert smallest_good(measured(100, 190, 220, 150)).cluster_size == 4
    assert smallest_good(measured(100)).cluster_size == 1


def test_page_sizes_are_not_larger_than_all_that_is_copied() -> None:
    assert page_sizes(200_000, 8_000) == [500, 2_000, 8_000, 32_000]
    assert page_sizes(200_000, 4_000) == [500, 2_000, 4_000, 8_000, 32_000]
    assert page_sizes(1_000, 8_000) == [500, 8_000]


def test_speed_up_and_recommendation_are_against_one_worker() -> None:
    clusters = (Measurement(1, 8_000, 1_000, 10.0), Measurement(2, 8_000, 1_000, 5.0))
    pages = (Measurement(2, 500, 1_000, 10.0), Measurement(2, 8_000, 1_000, 5.0), Measurement(2, 32_000, 1_000, 4.0))
    results = Results(clusters, pages)
    assert results.recommended == pages[2]
    assert recommendation(results).splitlines() == [
        "Recommended here: 2 workers and page size 32,000, 250 rows/s, 2.50 times one worker.",
        "mongopg-tui run --cluster-size 2 --page-size 32000",
    ]
    record = json.loads(json.dumps(results_record(results)))
    assert [each["speed_up"] for each in record["clusters"]] == [1.0, 2.0]
    assert record["pages"][0] == {
        "cluster_size": 2, "page_size": 500, "rows": 1_000, "seconds": 10.0, "rows_per_s": 100, "speed_up": 1.0,
    }  # fmt: skip
    assert record["recommended"]["page_size"] == 32_000


def test_both_tables_draw_their_bars_on_one_scale() -> None:
    clusters = (Measurement(1, 8_000, 1_000, 10.0), Measurement(2, 8_000, 1_000, 5.0))
    pages = (Measurement(2, 8_000, 1_000, 5.0), Measurement(2, 32_000, 1_000, 2.5))
    text = results_text(Results(clusters, pages), ascii_only=True)
    assert text.isascii()
    assert [line.count("#") for line in text.splitlines()] == [0, 7, 14, 0, 0, 14, 28]
    assert text.splitlines()[2].split()[:5] == ["2", "8,000", "5.00", "200", "2.00x"]
    assert max(map(len, text.splitlines())) <= 80
    assert "█" * 28 in results_text(Results(clusters, pages), ascii_only=False)


def test_a_bench_that_was_interrupted_at_once_has_nothing_to_recommend() -> None:
    assert results_record(Results()) == {"clusters": [], "pages": []}


def test_only_copying_is_timed() -> None:
    time = CopyTime()
    states = [("starting", 0.1), ("running", 1.0), ("running", 2.0), ("finishing", 3.5), ("finishing", 4.0)]
    for state, at in states:
        assert time.seconds == 0.0 or state == "finishing"
        time.take(Event(kind="state", at=at, facts={"state": state}))
    time.take(Event(kind="slice", at=9.0))
    assert time.seconds == 2.5
