"""Knobs take what they should and refuse the rest with their bounds in the message."""

from __future__ import annotations

import pytest

from engine.errors import EXIT_USAGE, KnobError
from engine.knobs import CLUSTER_SIZE, KNOBS, PAGE_SIZE, THROTTLE, knob_named


@pytest.mark.parametrize("text", ["12", " 12 ", "1_2"])
def test_numbers_are_read_as_people_write_them(text: str) -> None:
    assert CLUSTER_SIZE.parse(text) == 12
    assert PAGE_SIZE.parse("10,000") == 10_000


@pytest.mark.parametrize("value", [0, -1, 129, 10**9])
def test_a_cluster_size_out_of_bounds_is_refused_with_the_bounds(value: int) -> None:
    with pytest.raises(KnobError, match=r"cluster_size must be between 1 and 128, not ") as caught:
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


def test_every_default_is_within_its_bounds() -> None:
    for knob in KNOBS.values():
        assert knob.check(knob.default) == knob.default


def test_an_unknown_knob_is_refused_with_the_names() -> None:
    assert knob_named("Cluster-Size") is CLUSTER_SIZE
    with pytest.raises(KnobError, match="cluster_size, page_size, seed_count, throttle"):
        knob_named("speed")
