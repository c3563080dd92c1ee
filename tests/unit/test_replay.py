"""A recorded run shows again what the live one showed: frames follow from the events alone, however many there are."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from engine.config import Settings, merged
from engine.plan.request import settings_of
from engine.protocol import RunInfo, RunState, WorkerState
from engine.run.replay import MAX_EVENTS, Player


def info(state: str = "completed") -> RunInfo:
    return RunInfo(
        run_id="20261123-1402-k3f9", state=state, started_unix=1.0, ended_unix=None, source="db1/shop", target="pg1/shop",
        collections=["shop.orders"], mode="create", read=0, written=0, rejected=0, seconds=1.0, verification="none",
        resumable=False,
    )  # fmt: skip


def begin(player: Player, total: int = 1_000) -> None:
    table = {"task_id": 1, "namespace": "shop.orders", "table": "public.orders", "total": total}
    player.take(0.0, "state", {"state": "starting", "phase": "planning"})
    player.take(0.1, "planned", {"tables": [table], "knobs": {"cluster_size": 2, "page_size": 500}})
    player.take(0.2, "worker", {"id": 1, "pid": 41, "what": "started"})
    player.take(0.2, "state", {"state": "running", "phase": "copying"})


def commit(player: Player, at: float, rows: int, number: int = 0, **facts: Any) -> None:
    counts = {"read": rows, "written": rows, "rejected": 0, "bytes": rows * 100}
    player.take(at, "slice", {"task_id": 1, "partition": 7, "slice_no": number} | counts | facts, worker=1)


def test_frames_show_the_counters_and_knobs_as_they_were_then() -> None:
    player = Player(info())
    begin(player)
    commit(player, 1.0, 100)
    player.take(1.5, "knob", {"knob": "page_size", "old": 500, "value": 900})
    commit(player, 2.0, 300, 1)
    player.take(3.0, "finished", {"state": "completed", "exit_code": 0, "rows_per_s": 133})
    frames = player.recording({}).frames
    assert frames[-1].rows_per_s_mean == 133
    at = {frame.elapsed: frame for frame in frames}
    assert [at[second].written for second in (0.75, 1.75, 2.75)] == [0, 100, 400]
    assert (at[1.25].page_size, at[1.75].page_size, at[1.75].cluster_size) == (500, 900, 2)
    assert at[1.25].workers[0].written == 100
    assert at[1.25].workers[0].state is WorkerState.WRITING
    last = frames[-1]
    assert (last.state, last.exit_code, last.written, last.workers) == (RunState.COMPLETED, 0, 400, [])
    assert [table.written for table in last.tables] == [400]


def test_a_long_run_has_no_more_frames_than_asked_for_and_they_span_all_of_it() -> None:
    player = Player(info(), max_frames=50)
    begin(player)
    for second in range(1, 3_601):
        commit(player, float(second), 10, second)
    frames = player.recording({}).frames
    assert 20 <= len(frames) <= 50
    assert frames[0].elapsed == 0.0
    assert frames[-1].elapsed == 3_600.0
    steps = {round(after.elapsed - before.elapsed, 3) for before, after in pairwise(frames[:-1])}
    assert len(steps) == 1


def test_one_frame_is_the_end() -> None:
    player = Player(info(), max_frames=1)
    begin(player)
    commit(player, 30.0, 250)
    player.take(31.0, "finished", {"state": "failed", "exit_code": 1, "error": {"code": "x", "message": "broken"}})
    (frame,) = player.recording({}).frames
    assert (frame.written, frame.elapsed) == (250, 31.0)
    assert frame.error is not None
    assert frame.error.message == "broken"


def test_a_resumed_run_goes_on_in_time_and_forgets_its_first_end() -> None:
    player = Player(info())
    begin(player)
    commit(player, 5.0, 100)
    player.take(6.0, "finished", {"state": "cancelled", "exit_code": 130})
    begin(player)
    player.take(0.5, "recount", {"tables": [{"task_id": 1, "read": 100, "written": 100, "rejected": 0}], "bytes": 1})
    commit(player, 1.0, 900, 1)
    player.take(2.0, "finished", {"state": "completed", "exit_code": 0})
    frames = player.recording({}).frames
    assert frames[-1].elapsed == 8.0
    assert (frames[-1].written, frames[-1].exit_code) == (1_000, 0)
    middle = next(frame for frame in frames if frame.elapsed == 6.75)
    assert (middle.state, middle.exit_code, middle.written) == (RunState.RUNNING, None, 100)
    assert all(before.elapsed <= after.elapsed for before, after in pairwise(frames))


def test_the_rate_of_a_worker_is_that_of_its_commits_and_ends_with_them() -> None:
    player = Player(info())
    begin(player)
    for second in range(1, 11):
        commit(player, float(second), 200, second)
    player.take(40.0, "problem", {"code": "x", "message": "waiting"})
    frames = {frame.elapsed: frame for frame in player.recording({}).frames}
    assert frames[9.75].workers[0].rows_per_s == 200.0
    assert frames[9.75].rows_per_s > 150.0
    assert (frames[30.0].workers[0].rows_per_s, frames[30.0].workers[0].state) == (0.0, WorkerState.IDLE)


def test_hosts_are_shown_with_the_workers_that_were_there_then() -> None:
    player = Player(info())
    begin(player)
    player.take(0.5, "host", {"host": "node7", "what": "joined", "slots": 8})
    for number in (2, 3):
        player.take(0.6, "worker", {"id": number, "pid": 70 + number, "what": "started", "host": "node7"})
    facts = {"task_id": 1, "partition": 8, "slice_no": 1, "read": 300, "written": 300, "rejected": 0, "bytes": 30_000}
    player.take(1.0, "slice", facts, worker=2)
    player.take(2.0, "worker", {"id": 3, "pid": 73, "what": "died", "host": "node7"})
    player.take(3.0, "finished", {"state": "completed", "exit_code": 0})
    recording = player.recording({})
    at = {frame.elapsed: frame.hosts for frame in recording.frames}
    assert [(host.name, host.workers, host.written) for host in at[1.75]] == [("node7", 2, 300)]
    assert [(host.name, host.workers) for host in at[2.75]] == [("node7", 1)]
    assert at[3.0] == []
    assert [event.kind for event in recording.events].count("host") == 1


def test_a_run_whose_engine_was_killed_ends_as_the_ledger_says() -> None:
    player = Player(info(state="failed"))
    begin(player)
    commit(player, 1.0, 100)
    assert player.recording({}).frames[-1].state is RunState.FAILED
    player = Player(info(state="running"))
    begin(player)
    assert player.recording({}).frames[-1].state is RunState.RUNNING


def test_events_that_only_move_counters_are_left_out_and_the_newest_are_kept() -> None:
    player = Player(info())
    begin(player)
    for number in range(MAX_EVENTS + 10):
        player.take(1.0, "problem", {"code": "x", "message": str(number)})
        commit(player, 1.0, 1, number)
    events = player.recording({}).events
    assert len(events) == MAX_EVENTS
    assert {event.kind for event in events} == {"problem"}
    assert events[-1].facts["message"] == str(MAX_EVENTS + 9)


def test_an_event_of_a_newer_version_changes_nothing() -> None:
    player = Player(info())
    begin(player)
    player.take(1.0, "weather", {"sky": "blue"})
    assert player.recording({}).frames[-1].state is RunState.COMPLETED


def test_the_settings_of_a_recorded_run_ask_for_it_again() -> None:
    mapping = Settings().mapping.model_dump(mode="json")
    request = {
        "source": "db1/shop", "collections": {"shop.orders": "public.orders", "shop.a.b": "x.y"}, "mode": "append",
        "mapping": mapping, "limit": 500,
    }  # fmt: skip
    settings = merged(Settings(), settings_of(request))
    assert settings.run.collections == ["shop.orders:public.orders", "shop.a.b:x.y"]
    assert (settings.run.mode, settings.run.limit) == ("append", 500)
    assert settings.mapping.model_dump(mode="json") == mapping
