from __future__ import annotations

from datetime import datetime

import pytest

from tui.words.format import bytes_size, compact, counted, duration, moment, number, percent, rate, share


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (999, "999"), (12345, "12,345"), (-12345, "-12,345"), (1.6, "2")]
)
def test_counts_have_thousands_separators(value: float, text: str) -> None:
    assert number(value) == text


def test_a_rate_names_its_unit() -> None:
    assert rate(41220.3) == "41,220 rows/s"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1k"),
        (1_000, "1k"),
        (41_220, "41.2k"),
        (52_000, "52k"),
        (999_999, "1M"),
        (1_250_000, "1.2M"),
        (5_000_000_000, "5G"),
        (7_000_000_000_000, "7000G"),
    ],
)
def test_compact_numbers_roll_over_to_the_next_unit(value: float, text: str) -> None:
    assert compact(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (-3, "0s"),
        (0.4, "0s"),
        (59.6, "1m 00s"),
        (75, "1m 15s"),
        (3_599.4, "59m 59s"),
        (3_675, "1h 01m"),
        (86_399, "23h 59m"),
        (90_061, "1d 01h"),
    ],
)
def test_durations_grow_from_minutes_to_days(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1_023, "1023 B"),
        (1_024, "1.0 KiB"),
        (1_048_575, "1.0 MiB"),
        (2_040_109_466, "1.9 GiB"),
        (3 * 1_024**4, "3.0 TiB"),
    ],
)
def test_sizes_are_in_powers_of_1024(size: int, text: str) -> None:
    assert bytes_size(size) == text


@pytest.mark.parametrize(("fraction", "text"), [(0, "0.0%"), (0.583, "58.3%"), (0.99999, "99.9%"), (1.0, "100.0%")])
def test_only_the_whole_is_shown_as_hundred_percent(fraction: float, text: str) -> None:
    assert percent(fraction) == text


def test_a_share_of_nothing_is_nothing_and_never_more_than_the_whole() -> None:
    assert share(0, 0) == 0.0
    assert share(5, 10) == 0.5
    assert share(11, 10) == 1.0


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ("row",), "0 rows"),
        (1, ("row",), "1 row"),
        (1_200, ("row",), "1,200 rows"),
        (1, ("row differs", "rows differ"), "1 row differs"),
        (2, ("row differs", "rows differ"), "2 rows differ"),
    ],
)
def test_a_count_has_its_noun_in_the_right_number(count: int, words: tuple[str, ...], text: str) -> None:
    assert counted(count, *words) == text


def test_a_point_in_time_is_told_with_its_zone() -> None:
    assert datetime.strptime(moment(1_792_000_000), "%Y-%m-%d %H:%M:%S %z").timestamp() == 1_792_000_000
