"""The writers of a demo that follows its source: they write in every way, stop when told, and end with their engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engine.demo.writers import DemoWriters
from tests.running import add_users

if TYPE_CHECKING:
    from tests.conftest import Source

RATE = 500
WITHIN_S = 30.0


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def state(source: Source) -> list[dict[str, Any]]:
    return list(source.db.users.find().sort("_id"))


def test_they_write_until_they_are_stopped_and_can_be_started_again(source: Source) -> None:
    add_users(source, 300)
    before = {each["_id"]: each for each in state(source)}
    writers = DemoWriters(source.uri, source.database, "users", RATE)
    writers.stop()  # there is nothing to stop
    writers.start()
    pid = writers.pid
    writers.start()
    assert writers.pid == pid
    until(lambda: before.keys() - {each["_id"] for each in state(source)})  # a delete
    writers.stop()
    assert writers.pid is None
    assert not Path(f"/proc/{pid}").exists()
    after = {each["_id"]: each for each in state(source)}
    assert after.keys() - before.keys(), "inserts"
    assert any(after[key] != before[key] for key in after.keys() & before.keys()), "updates"
    assert all(each.keys() == next(iter(before.values())).keys() for each in after.values())
    assert state(source) == list(after.values())
    writers.start()
    until(lambda: state(source) != list(after.values()))
    writers.stop()


@pytest.mark.parametrize("count", [0, 1])
def test_a_source_with_next_to_nothing_in_it_does_no_harm(source: Source, count: int) -> None:
    if count:
        add_users(source, count)
    writers = DemoWriters(source.uri, source.database, "users", RATE)
    writers.start()
    if count:
        until(lambda: source.db.users.count_documents({}) > 1)
    writers.stop()
