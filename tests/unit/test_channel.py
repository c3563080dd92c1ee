"""Messages through a pipe whose other end may be slow, or gone."""

from __future__ import annotations

import asyncio
import multiprocessing
from multiprocessing.connection import Connection
from typing import Any

import pytest

from engine.cluster.channel import Channel


class Ends:
    """Both ends of a pipe; ours takes what comes."""

    def __init__(self) -> None:
        ours, self.theirs = multiprocessing.Pipe()
        self.taken: list[Any] = []
        self.n_ends = 0
        self.channel = Channel(ours, self.taken.append, self._ended)
        self.channel.open()

    def _ended(self) -> None:
        self.n_ends += 1


@pytest.fixture
async def ends() -> Any:
    made = Ends()
    yield made
    made.channel.close()
    made.theirs.close()


def take_all(connection: Connection, n: int) -> list[Any]:
    return [connection.recv() for _ in range(n)]


async def eventually(ends: Ends, n: int) -> None:
    async with asyncio.timeout(60.0):
        while len(ends.taken) < n and not ends.n_ends:
            await asyncio.sleep(0.001)


async def test_messages_of_any_size_arrive_whole_and_in_order(ends: Ends) -> None:
    sent = [b"x" * size for size in (0, 1, 16_383, 16_384, 70_000, 3_000_000, 5)]

    def send() -> None:
        for each in sent:
            ends.theirs.send(each)

    sending = asyncio.create_task(asyncio.to_thread(send))
    await eventually(ends, len(sent))
    await sending
    assert ends.taken == sent


async def test_a_slow_reader_keeps_nothing_waiting_and_misses_nothing(ends: Ends) -> None:
    sent = [bytes([number]) * 50_000 for number in range(100)]
    for message in sent:
        ends.channel.send(message)  # far more than fits into the pipe
    assert await asyncio.to_thread(take_all, ends.theirs, len(sent)) == sent


async def test_the_other_end_is_closed_after_its_last_words(ends: Ends) -> None:
    ends.theirs.send("last")
    ends.theirs.close()
    await eventually(ends, 2)
    assert (ends.taken, ends.n_ends) == (["last"], 1)
    ends.channel.send("too late")


async def test_what_is_sent_to_a_closed_end_is_dropped_and_the_end_told_once(ends: Ends) -> None:
    ends.theirs.close()
    for _ in range(3):
        ends.channel.send("x" * 100_000)
    await eventually(ends, 1)
    assert ends.n_ends == 1
