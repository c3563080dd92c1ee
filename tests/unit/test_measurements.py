"""What a bench makes of its measurements."""

from __future__ import annotations

import json

from engine.protocol import RunState, Snapshot, WorkerState, WorkerView, read_event
from tui.cli.copy_clock import CopyClock, all_stand_ready
from tui.cli.measurements import (
    FIRST_DOCUMENTS,
    Measurement,
    Results,
    cluster_sizes,
    is_worth_more,
    median,
    more_documents,
    page_sizes,
    recommendation,
    results_record,
    results_text,
    smallest_good,
    time_words,
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


def test_a_series_of_copies_that_wrote_nothing_ends() -> None:
    assert not is_worth_more(measured(0, 0, 0))


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
    assert recommendation(results, "shop.orders").splitlines() == [
        "250 rows/s, 2.50 times one worker:",
        "  mongopg-tui run --collection shop.orders --cluster-size 2 --page-size 32000",
        "Recommended here: cluster size 2, page size 32,000",
    ]
    record = json.loads(json.dumps(results_record(results, is_whole=True)))
    assert list(record)[-1] == "recommended"
    assert [each["speed_up"] for each in record["clusters"]] == [1.0, 2.0]
    assert record["pages"][0] == {
        "cluster_size": 2, "page_size": 500, "rows": 1_000, "seconds": 10.0, "rows_per_s": 100, "speed_up": 1.0,
    }  # fmt: skip
    assert record["recommended"]["page_size"] == 32_000


def test_b16_a_recommendation_of_one_worker_is_not_measured_against_itself() -> None:
    """Minutes later the same copy was slower: 43,415 rows/s after 51,000."""
    clusters = (Measurement(1, 8_000, 51_000, 1.0), Measurement(2, 8_000, 50_000, 1.0))
    pages = (Measurement(1, 500, 30_000, 1.0), Measurement(1, 8_000, 43_415, 1.0))
    results = Results(clusters, pages)
    assert [round(results.speed_up(each), 2) for each in pages] == [0.69, 1.0]
    assert recommendation(results, "shop.odd name:x").splitlines() == [
        "43,415 rows/s, with one worker; more of them are not clearly faster here:",
        "  mongopg-tui run --collection 'shop.odd name\\:x' --cluster-size 1 --page-size 8000",
        "Recommended here: cluster size 1, page size 8,000",
    ]


def test_b16_the_gain_of_more_workers_is_never_below_one() -> None:
    clusters = (Measurement(1, 8_000, 100, 1.0), Measurement(2, 8_000, 110, 1.0))
    pages = (Measurement(2, 2_000, 58, 1.0), Measurement(2, 8_000, 60, 1.0))
    results = Results(clusters, pages)
    assert results.recommended.page_size == 2_000
    assert results.speed_up(results.recommended) >= 1.05


def test_b16_a_bench_says_how_long_it_will_take() -> None:
    assert time_words(8, 4, 2.0, is_short=True) == "about 1 min"
    assert time_words(8, 4, 6.0, is_short=True) == "about 2 to 4 min"
    assert time_words(1, 2, 10.0, is_short=False) == "about 1 min"


def test_both_tables_draw_their_bars_on_one_scale() -> None:
    clusters = (Measurement(1, 8_000, 1_000, 10.0), Measurement(2, 8_000, 1_000, 5.0))
    pages = (Measurement(2, 8_000, 1_000, 5.0), Measurement(2, 32_000, 1_000, 2.5))
    text = results_text(Results(clusters, pages), ascii_only=True)
    assert text.isascii()
    assert [line.count("#") for line in text.splitlines()] == [0, 7, 14, 0, 0, 14, 28]
    assert text.splitlines()[2].split()[:5] == ["2", "8,000", "5.00", "200", "2.00x"]
    assert max(map(len, text.splitlines())) <= 80
    assert "█" * 28 in results_text(Results(clusters, pages), ascii_only=False)


def test_half_a_bench_has_nothing_to_recommend() -> None:
    assert results_record(Results(), is_whole=False) == {"clusters": [], "pages": []}
    assert list(results_record(Results(tuple(measured(100))), is_whole=False)) == ["clusters", "pages"]


def test_copies_that_wrote_nothing_can_be_shown() -> None:
    results = Results(tuple(measured(0, 0)))
    assert results.speed_up(results.clusters[1]) == 0
    assert results_record(results, is_whole=True)["recommended"]["rows_per_s"] == 0
    assert len(results_text(results, ascii_only=True).splitlines()) == 3


def test_documents_are_raised_until_one_worker_takes_seconds() -> None:
    assert more_documents(200_000, 0.6, 5_000_000) == 1_800_000
    assert more_documents(200_000, 0.001, 5_000_000) == 10 * FIRST_DOCUMENTS
    assert more_documents(1_800_000, 0.6, 5_000_000) == 5_000_000
    assert more_documents(5_000_000, 0.6, 5_000_000) == 0
    assert more_documents(200_000, 4.5, 5_000_000) == 0
    assert more_documents(200_000, 3.9, 5_000_000) == 400_000


def test_the_median_is_a_copy_that_was_made() -> None:
    assert median(measured(300, 100, 200)).rows == 200
    assert median(measured(300, 100)).rows == 100
    assert median(measured(300)).rows == 300


def clocked(*events: tuple[str, float, object]) -> CopyClock:
    """A clock that took states and, as numbers, commits."""
    clock = CopyClock()
    for kind, at, what in events:
        facts = {"state": what} if kind == "state" else {"task_id": 1, "read": what, "written": what, "tables": []}
        clock.take(read_event({"kind": kind, "at": at, "facts": facts}))
    return clock


def test_a_copy_is_timed_from_when_it_is_let_go_to_its_last_commit() -> None:
    clock = clocked(
        ("state", 0.1, "starting"), ("state", 0.1, "paused"), ("planned", 0.9, 0), ("state", 1.0, "running"),
        ("slice", 2.0, 100), ("slice", 3.5, 50), ("state", 3.9, "finishing"),
    )  # fmt: skip
    assert (clock.is_planned, clock.rows, clock.seconds) == (True, 150, 2.5)


def test_what_was_copied_before_a_late_pause_is_neither_counted_nor_timed() -> None:
    clock = clocked(
        ("state", 1.0, "running"), ("slice", 1.5, 80), ("state", 1.6, "paused"), ("state", 2.0, "running"),
        ("slice", 3.0, 20),
    )  # fmt: skip
    assert (clock.rows, clock.seconds) == (20, 1.0)


def test_a_copy_without_a_commit_took_no_time() -> None:
    assert (CopyClock().rows, CopyClock().seconds) == (0, 0.0)
    assert clocked(("state", 1.0, "running"), ("state", 3.0, "finishing")).seconds == 0.0


def test_a_copy_is_let_go_when_the_whole_cluster_stands() -> None:
    def cluster(*states: WorkerState, state: RunState = RunState.PAUSED) -> Snapshot:
        workers = [WorkerView(id=number, pid=number, state=each) for number, each in enumerate(states, start=1)]
        return Snapshot(run_id="", state=state, phase="", cluster_size=2, workers=workers)

    stands, starts = WorkerState.PAUSED, WorkerState.STARTING
    assert all_stand_ready(cluster(stands, stands))
    assert not all_stand_ready(cluster(stands))
    assert not all_stand_ready(cluster(stands, starts))
    assert not all_stand_ready(cluster())
    assert not all_stand_ready(cluster(stands, stands, state=RunState.STARTING))
