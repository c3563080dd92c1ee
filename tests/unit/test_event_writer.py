"""What becomes of a run's events that are being written when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from engine.ledger import event_writer, runs
from engine.ledger.event_writer import EventWriter
from engine.protocol import TableCounted


async def test_events_whose_writing_is_broken_off_by_the_end_are_written_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    underway = asyncio.Event()
    kept: list[str] = []

    async def append(_: object, run_id: str, events: Sequence[tuple[int, float, str, dict[str, Any]]]) -> None:
        if not underway.is_set():
            underway.set()
            await asyncio.Event().wait()  # the server is slow
        kept.extend(kind for _, _, kind, _ in events)

    @asynccontextmanager
    async def session() -> AsyncIterator[Any]:
        yield None

    monkeypatch.setattr(runs, "append_events", append)
    monkeypatch.setattr(event_writer, "FLUSH_S", 0.0)
    writer = EventWriter(session, lambda _: None)
    writer.begin("20261201-1200-aaaa")
    writer.note(TableCounted(task_id=1, source=7, target=7, ok=True))
    await underway.wait()
    await writer.stop()
    await writer.flush()
    assert kept == ["counted"]
