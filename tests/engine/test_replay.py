"""The ledger's events of a real run, played again, show what the live run showed, and are enough to resume it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.config import merged
from engine.protocol import Recording, Replay, RunState, Verification
from tests.running import add_users, committed
from tests.running import engines as engines  # a fixture

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.running import Engines

USERS = 20_000


async def test_a_recording_ends_as_the_run_ended(source: Source, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await engines.launch()
    await engine.start()
    await engine.set("page_size", 1_000)
    facts = await engine.finished()
    recording = await engine.client.ask(Recording, Replay())
    end = recording.frames[-1]
    assert (end.run_id, end.state, end.verification) == (facts["run_id"], RunState.COMPLETED, Verification.VERIFIED)
    assert (end.read, end.written, end.exit_code) == (USERS, USERS, 0)
    assert [(table.written, table.target_count, table.ok) for table in end.tables] == [(USERS, USERS, True)]
    assert end.page_size == 1_000
    kinds = [event.kind for event in recording.events]
    assert {"planned", "knob", "worker", "finished"} <= set(kinds)
    written = [frame.written for frame in recording.frames]
    assert written == sorted(written)
    (only,) = (await engine.client.ask(Recording, Replay(run=end.run_id, max_frames=1))).frames
    assert only == end


async def test_workers_of_a_recording_are_those_that_committed(source: Source, engines: Engines) -> None:
    add_users(source, USERS)
    engine = await engines.launch(engines.settings("users", run={"throttle": 8_000, "page_size": 500}))
    await engine.start()
    await engine.finished()
    frames = (await engine.client.ask(Recording, Replay())).frames
    moving = [frame for frame in frames if 0 < frame.written < USERS]
    assert moving
    for frame in moving:
        assert sum(worker.written for worker in frame.workers) == frame.written


@pytest.mark.slow
async def test_a_cancelled_run_is_resumed_with_the_settings_of_its_recording(
    source: Source, target: Target, engines: Engines
) -> None:
    add_users(source, USERS)
    settings = engines.settings("users:public.people", run={"throttle": 4_000, "page_size": 500})
    engine = await engines.launch(settings)
    await engine.start()
    await engine.until_written(1)
    await engine.cancel()
    await engine.finished()
    recording = await engine.client.ask(Recording, Replay())
    assert recording.run.resumable
    plain = engines.settings(run={"cluster_size": 2})
    _, facts = await engines.run(merged(plain, recording.settings), resume=recording.run.run_id, plan=recording.plan)
    assert (facts["state"], facts["run_id"]) == ("completed", recording.run.run_id)
    assert committed(target, "people") == USERS
