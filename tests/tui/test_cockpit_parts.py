"""The pure parts of the cockpit: throughput over time, connection strings, bars."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from textual.geometry import Size

from engine.protocol import RunState, ServerReport, Snapshot
from tests.tui.scripted_answers import plan_view
from tui.cockpit.ascii_filter import to_ascii
from tui.cockpit.themes import fitting
from tui.cockpit.throughput import CELLS, ThroughputHistory, smoothed
from tui.cockpit.widgets.bars import cells
from tui.cockpit.widgets.chart import ThroughputChart
from tui.cockpit.widgets.connection import report_line
from tui.cockpit.widgets.planned import preview_text
from tui.cockpit.widgets.total import rates_line
from tui.words.uri import merged, place, shown


def test_each_second_is_a_column_while_they_fit() -> None:
    history = ThroughputHistory([(float(second), 100.0 * second) for second in range(1, 81)])
    columns = history.columns(100)
    assert columns.bucket_s == 1
    assert columns.rates == [100.0 * second for second in range(1, 81)]


def test_a_longer_run_is_shown_whole_with_wider_columns() -> None:
    history = ThroughputHistory([(float(second), 10.0) for second in range(1, 601)])
    columns = history.columns(100)
    assert columns.bucket_s == 10
    assert len(columns.rates) == 60
    assert set(columns.rates) == {10.0}


def test_a_dip_is_not_hidden_by_its_neighbours() -> None:
    history = ThroughputHistory([(float(second), 0.0 if second == 50 else 100.0) for second in range(1, 101)])
    assert history.columns(100).rates[49] == 0.0
    assert min(history.columns(50).rates) == 50.0


def test_memory_stays_fixed_and_the_whole_run_stays_there() -> None:
    history = ThroughputHistory((float(second), 50.0) for second in range(1, 10 * CELLS))
    assert len(history._sums) <= CELLS
    columns = history.columns(100)
    assert len(columns.rates) * columns.bucket_s >= 10 * CELLS - 1
    assert set(columns.rates) == {50.0}


def test_a_gap_keeps_the_rate_before_it_and_old_samples_are_not_taken_twice() -> None:
    history = ThroughputHistory([(100.0, 10.0), (103.0, 40.0), (103.0, 99.0), (50.0, 99.0)])
    assert history.columns(103).rates[-4:] == [10.0, 10.0, 10.0, 40.0]
    assert history.columns(103).peak == 40.0


def test_a_mark_falls_into_its_column() -> None:
    history = ThroughputHistory([(200.0, 1.0)])
    history.mark(100.0, "workers 4")
    assert history.columns(100).marks == [(50, "workers 4")]


def test_what_came_before_attaching_is_drawn_without_the_holes_between_commits() -> None:
    told = [(float(second), 0.0 if second % 2 else 20_000.0) for second in range(1, 61)]
    means = smoothed(told)
    assert [at for at, _ in means] == [at for at, _ in told]
    assert all(8_000 <= rate <= 12_000 for at, rate in means if at >= 4)
    assert ThroughputHistory(means).columns(60).peak <= 12_000
    paused = smoothed([*told, *((float(second), 0.0) for second in range(61, 71))])
    assert paused[-1] == (70.0, 0.0), "a pause is a hole"
    assert smoothed([(60.0, 10.0), (120.0, 20.0)]) == [(60.0, 10.0), (120.0, 20.0)], "of a long run, each by itself"


@pytest.mark.parametrize("peak", [9.0, 86_100.0, 241_900.0, 999_900.0])
def test_the_scale_has_room_whatever_the_peak(peak: float, monkeypatch: pytest.MonkeyPatch) -> None:
    chart = ThroughputChart()
    monkeypatch.setattr(ThroughputChart, "content_size", Size(80, 6))
    chart.show(ThroughputHistory([(float(second), peak) for second in range(1, 40)]))
    lines = chart.render().plain.split("\n")
    assert len({line.index(edge) for line in lines for edge in "┤┼" if edge in line}) == 1
    assert max(map(len, lines)) <= 80


def test_what_is_nothing_while_seeding_is_not_shown() -> None:
    seeding = Snapshot(run_id="r", state=RunState.SEEDING, phase="seeding", seed_count=100, seeded=50, rows_per_s=10.0)
    assert "B/s" not in rates_line(seeding, 100).plain


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("mongodb://app:s3cret@db1/shop", "mongodb://app:***@db1/shop"),
        ("mongodb://app:s3@cr/e#t@db1/shop", "mongodb://app:***@db1/shop"),
        ("postgresql://mig@pg1/shop?sslpassword=abc", "postgresql://mig@pg1/shop?sslpassword=***"),
        ("mongodb://db1/shop", "mongodb://db1/shop"),
        ("mongodb://a:k3y==@db1/shop?appName=@a@", "mongodb://a:***@db1/shop?appName=@a@"),
    ],
)
def test_a_uri_is_shown_without_its_secrets_and_put_together_again(uri: str, text: str) -> None:
    assert shown(uri) == text
    assert merged(text, uri) == uri
    assert merged(text.replace("1/shop", "2/shop"), uri) == uri.replace("1/shop", "2/shop")


def test_a_password_typed_anew_replaces_the_old_one() -> None:
    known = "mongodb://app:s3cret@db1/shop"
    assert merged("mongodb://app:other@db1/shop", known) == "mongodb://app:other@db1/shop"
    assert merged("", known) == ""


def test_stars_without_a_known_secret_stay_stars() -> None:
    assert merged("mongodb://app:***@db1/shop", "mongodb://db1/shop") == "mongodb://app:***@db1/shop"


def test_place_is_host_and_database() -> None:
    assert place("mongodb://app:***@db1:27017,db2:27017/shop?tls=true") == "db1:27017,db2:27017/shop"
    assert place("mongodb://a:k3y==@db1:10255/shop?appName=@a@") == "db1:10255/shop"


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.0, ""), (0.001, "╸"), (0.5, "━━━━━"), (0.55, "━━━━━╸"), (2.0, "━" * 10)]
)
def test_a_bar_is_exact_to_half_a_cell(fraction: float, text: str) -> None:
    assert cells(fraction, 10) == text


def test_ascii_keeps_the_width() -> None:
    assert to_ascii("━╸─│✓é計") == "=--|+???"


@pytest.mark.parametrize(
    ("chosen", "colours", "taken"),
    [
        ("textual-dark", "standard", "ansi-dark"),
        ("textual-dark", "256", "textual-dark"),
        ("textual-dark", "truecolor", "textual-dark"),
        ("textual-dark", None, "textual-dark"),
        ("high-contrast", "standard", "high-contrast"),
    ],
)
def test_who_chose_no_theme_gets_the_terminals_own_sixteen_colours(
    chosen: str, colours: str | None, taken: str
) -> None:
    assert fitting(chosen, colours) == taken


def test_weak_tls_is_a_warning_on_the_setup_screen() -> None:
    report = ServerReport(side="target", uri="", ok=True, message="connected", latency_ms=1.0, tls="TLS, not verified")
    assert report_line(report).plain == "✓ connected  1 ms · TLS, not verified"
    warned = report_line(report.model_copy(update={"tls_is_weak": True}))
    assert warned.plain == "✓ connected  ! TLS, not verified  1 ms"
    assert any(span.style == "$warning" for span in warned.spans)


@pytest.mark.parametrize("value", ["x" * 60, "漢字" * 15, '{"street":"8056 Coffey Canyon","city":"North Manuelbury"}'])
def test_a_long_value_of_the_preview_goes_on_under_itself(value: str) -> None:
    view = plan_view().tables[0]
    row = view.preview[0].model_copy(update={"values": [value, "7", None], "reject": ""})
    lines = preview_text(view.model_copy(update={"preview": [row]}), 40).plain.splitlines()[1:]
    names = [column.column for column in view.columns]
    start = max(map(len, names[:3])) + 4
    assert lines[0].startswith(f"  {names[0]} ")
    assert lines[-1].split() == [names[1], "7"]
    assert "".join(line[start:] for line in lines[:-1]) == value
    assert all(cell_len(line) <= 40 for line in lines)
    assert all(line[:start].isspace() for line in lines[1:-1])
