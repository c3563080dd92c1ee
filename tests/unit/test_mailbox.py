"""A conversation over a transport that loses, repeats and delays: every message arrives once, in order."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cluster.mailbox import PARCEL_BYTES, RESEND_S, Mailbox
from engine.work.codec import BadMessage, Codec

KEY = b"k" * 32


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def two(clock: Clock | None = None) -> tuple[Mailbox, Mailbox]:
    clock = clock or Clock()
    codec = Codec([])
    return Mailbox(codec, KEY, "a", "b", clock), Mailbox(codec, KEY, "b", "a", clock)


def test_messages_arrive_in_order_with_a_note() -> None:
    here, there = two()
    assert not here.has_news
    here.put("one")
    here.put(2)
    assert here.has_news
    assert there.open(here.parcel({"load": 1.5})) == (["one", 2], {"load": 1.5})
    assert not here.has_news
    assert there.open(here.parcel()) == ([], None)


def test_a_parcel_that_comes_twice_counts_once() -> None:
    here, there = two()
    here.put("one")
    parcel = here.parcel()
    assert there.open(parcel)[0] == ["one"]
    assert there.open(parcel)[0] == []


def test_what_is_not_acknowledged_is_sent_again_and_what_is_acknowledged_is_not() -> None:
    clock = Clock()
    here, there = two(clock)
    here.put("one")
    here.parcel()  # lost
    here.put("two")
    assert there.open(here.parcel())[0] == []  # one is missing before it
    clock.now += RESEND_S + 0.1
    assert here.has_news
    assert there.open(here.parcel())[0] == ["one", "two"]
    here.open(there.parcel())
    clock.now += RESEND_S + 0.1
    assert not here.has_news


def test_a_large_heap_goes_in_several_parcels() -> None:
    here, there = two()
    texts = [str(number) * (PARCEL_BYTES // 3) for number in range(10)]
    for text in texts:
        here.put(text)
    found: list[str] = []
    n_parcels = 0
    while here.has_news:
        found += there.open(here.parcel())[0]
        n_parcels += 1
    assert found == texts
    assert n_parcels > 2


def test_parcels_of_others_and_damaged_ones_are_not_taken() -> None:
    here, there = two()
    here.put("one")
    parcel = here.parcel()
    stranger = Mailbox(Codec([]), b"another key", "a", "b")
    for wrong in (parcel[:-1], b"", parcel[:40] + b"x" + parcel[41:], stranger.parcel(), there.parcel()):
        with pytest.raises(BadMessage):
            there.open(wrong)
    assert there.open(parcel)[0] == ["one"]


@given(st.integers(0, 2**32))
def test_whatever_is_lost_repeated_or_late_every_message_arrives_once_and_in_order(seed: int) -> None:
    chance = random.Random(seed)
    clock = Clock()
    ends = two(clock)
    said: tuple[list[int], list[int]] = ([], [])
    heard: tuple[list[int], list[int]] = ([], [])
    under_way: list[tuple[int, bytes]] = []
    for step in range(150):
        is_over = step > 100  # from here on nothing is lost
        side = chance.randrange(2)
        if not is_over and chance.random() < 0.5:
            said[side].append(step)
            ends[side].put(step)
        if is_over or chance.random() < 0.6:
            under_way.append((1 - side, ends[side].parcel()))
        clock.now += chance.random() * (RESEND_S if is_over else 1)
        while under_way and (is_over or chance.random() < 0.7):
            to, parcel = under_way.pop(0 if is_over else chance.randrange(len(under_way)))
            if is_over or chance.random() < 0.7:
                heard[to].extend(ends[to].open(parcel)[0])
                if not is_over and chance.random() < 0.2:
                    under_way.append((to, parcel))
    assert (heard[1], heard[0]) == said
