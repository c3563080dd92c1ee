"""Knobs take what they should and refuse the rest with their bounds in the message."""

from __future__ import annotations

import pytest

from engine.errors import EXIT_USAGE, KnobError
from engine.knobs import CLUSTER_SIZE, KNOBS, PAGE_SIZE, THROTTLE, Auto, KnobValue, knob_named, on_one_host


@pytest.mark.parametrize("text", ["12", " 12 ", "1_2"])
def test_numbers_are_read_as_people_write_them(text: str) -> None:
    assert CLUSTER_SIZE.parse(text) == 12
    assert PAGE_SIZE.parse("10,000") == 10_000


@pytest.mark.parametrize("value", [0, -1, 1_025, 10**9])
def test_a_cluster_size_out_of_bounds_is_refused_with_the_bounds(value: int) -> None:
    with pytest.raises(KnobError, match=r"cluster_size must be between 1 and 1,024, not ") as caught:
        CLUSTER_SIZE.check(value)
    assert caught.value.exit_code == EXIT_USAGE


@pytest.mark.parametrize("value", [0, 99, 100_001])
def test_a_page_size_out_of_bounds_is_refused_with_the_bounds(value: int) -> None:
    with pytest.raises(KnobError, match=r"page_size must be between 100 and 100,000"):
        PAGE_SIZE.check(value)


def test_words_are_refused_but_off_turns_the_throttle_off() -> None:
    with pytest.raises(KnobError, match="whole number"):
        CLUSTER_SIZE.parse("many")
    assert THROTTLE.parse("off") == THROTTLE.parse("0") == 0
    with pytest.raises(KnobError):
        PAGE_SIZE.parse("off")


@pytest.mark.parametrize(
    ("text", "low", "high", "words"),
    [
        ("auto", 1, 1_024, "auto"),
        (" Auto ", 1, 1_024, "auto"),
        ("auto:4-16", 4, 16, "auto:4-16"),
        ("auto: 4 - 16", 4, 16, "auto:4-16"),
    ],
)
def test_a_cluster_size_may_be_left_to_the_run(text: str, low: int, high: int, words: str) -> None:
    auto = CLUSTER_SIZE.read(text)
    assert isinstance(auto, Auto)
    assert (auto.low, auto.high, str(auto)) == (low, high, words)
    assert CLUSTER_SIZE.read(str(auto)) == auto
    assert low <= CLUSTER_SIZE.begin(auto) <= high
    assert (CLUSTER_SIZE.read("12"), CLUSTER_SIZE.begin(12)) == (12, 12)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("auto:16-4", "write auto:4-16"), ("auto:0-4", "between 1 and 1,024, not 0"), ("auto:4-5000", "not 5,000"),
        ("automatic", "auto:4-16, not 'automatic'"), ("auto:4", "such as auto:4-16"), ("fast", "between 1 and 1,024, or auto"),
    ],
)  # fmt: skip
def test_bounds_that_are_none_are_refused(text: str, said: str) -> None:
    with pytest.raises(KnobError, match="cluster_size") as caught:
        CLUSTER_SIZE.read(text)
    assert said in caught.value.message
    with pytest.raises(KnobError):
        PAGE_SIZE.read("auto")


def test_every_default_is_within_its_bounds() -> None:
    for knob in KNOBS.values():
        assert knob.check(knob.default) == knob.default


def test_an_unknown_knob_is_refused_with_the_names() -> None:
    assert knob_named("Cluster-Size") is CLUSTER_SIZE
    with pytest.raises(KnobError, match="cluster_size, page_size, seed_count, throttle"):
        knob_named("speed")


def test_f13_other_tools_names_of_a_knob_are_taken_and_a_slip_is_named() -> None:
    assert knob_named("workers") is CLUSTER_SIZE
    assert knob_named("batch-size") is PAGE_SIZE
    with pytest.raises(KnobError, match=r"There is no knob 'throtle'; did you mean throttle\?"):
        knob_named("throtle")


@pytest.mark.parametrize(
    ("size", "found"),
    [(1, 1), (128, 128), (Auto(1, 1_024), Auto(1, 128)), (Auto(4, 16, "auto:4-16"), Auto(4, 16, "auto:4-16"))],
)
def test_one_host_has_at_most_128_workers(size: KnobValue, found: KnobValue) -> None:
    assert on_one_host(size) == found


@pytest.mark.parametrize("size", [129, Auto(4, 129, "auto:4-129")])
def test_more_workers_take_several_hosts(size: KnobValue) -> None:
    with pytest.raises(KnobError, match=r"at most 128 on one host, not 129: more workers take several hosts"):
        on_one_host(size)
