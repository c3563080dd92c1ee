"""Events stay in ledgers for ever, so every version reads those of every other: what it knows, and what it does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from engine.protocol import (
    EVENT_CLASSES,
    VOCABULARY,
    Attached,
    Event,
    KnobChanged,
    Recording,
    RunFinished,
    RunInfo,
    RunPlanned,
    RunRecounted,
    RunState,
    SliceCommitted,
    Snapshot,
    SnapshotTaken,
    StateEntered,
    UnknownEvent,
    WorkerChanged,
    read_event,
)
from engine.run.record import RunRecord
from engine.run.replay import Player

RECORDED = [
    (0.002, "state", '{"phase": "connecting", "state": "starting", "reason": ""}'),
    (0.182, "state", '{"phase": "planning", "state": "starting", "reason": ""}'),
    (0.244, "worker", '{"id": 1, "pid": 4281, "exit": null, "what": "started"}'),
    (0.268, "worker", '{"id": 2, "pid": 4288, "exit": null, "what": "started"}'),
    (0.441, "snapshot", '{"at": 7713972000481345541, "unix": 1796049066.0, "window_s": 300}'),
    (0.441, "planned",
     '{"knobs": {"throttle": 4000, "page_size": 500, "seed_count": 1000000, "cluster_size": 2}, "tables": '
     '[{"table": "public.people", "total": 4000, "task_id": 1, "namespace": "t_1e08a852.people"}], '
     '"warnings": ["t_1e08a852.people: Field name: strings with a NUL character among those seen: 4; '
     'policy nul = reject."]}'),
    (0.444, "state", '{"phase": "copying", "state": "running", "reason": ""}'),
    (0.784, "slice",
     '{"read": 496, "bytes": 14275, "reasons": {"nul": 1}, "task_id": 1, "written": 495, "policies": {}, '
     '"rejected": 1, "slice_no": 0, "partition": 0}'),
    (0.813, "worker", '{"id": 1, "pid": 4281, "exit": -9, "what": "died"}'),
    (0.813, "problem",
     '{"code": "worker_lost", "retry": true, "message": "A worker was killed (signal 9; out of memory?); '
     'its partition goes to another.", "namespace": "t_1e08a852.people"}'),
    (0.822, "worker", '{"id": 1, "pid": 4325, "exit": null, "what": "started"}'),
    (0.823, "knob", '{"old": 500, "knob": "page_size", "value": 800}'),
    (0.829, "knob", '{"old": 2, "knob": "cluster_size", "value": 1}'),
    (0.83, "state", '{"phase": "pausing: workers end their pages", "state": "pausing", "reason": "paused by you"}'),
    (0.862, "slice",
     '{"read": 500, "bytes": 15000, "reasons": {}, "task_id": 1, "written": 500, "policies": {}, '
     '"rejected": 0, "slice_no": 0, "partition": 3}'),
    (0.872, "worker", '{"id": 2, "pid": 4288, "exit": 0, "what": "retired"}'),
    (0.944, "state", '{"phase": "paused", "state": "paused", "reason": "paused by you"}'),
    (1.01, "state", '{"phase": "copying", "state": "running", "reason": ""}'),
    (1.458, "state", '{"phase": "looking for gaps in the ledger", "state": "finishing", "reason": ""}'),
    (1.5, "state", '{"phase": "building keys and counting", "state": "finishing", "reason": ""}'),
    (1.512, "worker", '{"id": 1, "pid": 4325, "exit": 0, "what": "retired"}'),
    (1.61, "state", '{"phase": "building indexes", "state": "finishing", "reason": ""}'),
    (1.677, "indexed", '{"built": 1, "failed": 0, "task_id": 1}'),
    (1.685, "recount",
     '{"bytes": 118894, "tables": [{"read": 4000, "altered": {}, "task_id": 1, "written": 3996, '
     '"rejected": 4}]}'),
    (1.685, "counted", '{"ok": true, "source": 4000, "target": 3996, "task_id": 1}'),
    (1.685, "verification", '{"verification": "verified"}'),
    (1.692, "recount",
     '{"bytes": 118894, "tables": [{"read": 4000, "altered": {}, "task_id": 1, "written": 3996, '
     '"rejected": 4}]}'),
    (1.692, "finished",
     '{"read": 4000, "state": "completed", "run_id": "20261130-1431-ebbx", "seeded": 0, "tables": '
     '{"public.people": {"ok": true, "read": 4000, "source": 4000, "target": 3996, "altered": {}, '
     '"indexes": {"built": 1, "failed": 0}, "written": 3996, "rejected": 4, "namespace": '
     '"t_1e08a852.people"}}, "altered": {}, "seconds": 1.692, "written": 3996, "rejected": 4, '
     '"exit_code": 4, "rows_per_s": 2362, "consistency": "snapshot", "verification": "verified", '
     '"snapshot_unix": 1796049066.0}'),
    (1.692, "verified",
     '{"level": "full", "result": "verified", "run_id": "20261130-1431-ebbx", "tables": [{"ok": true, '
     '"kept": 4, "read": 4000, "equal": 3996, "extra": 0, "table": "public.people", "slices": 9, '
     '"source": 4000, "target": 3996, "altered": {}, "message": "", "level": "counts", "missing": 0, "written": 3996, '
     '"rejected": 4, "different": 0, "namespace": "t_1e08a852.people", "slices_changed": 0, '
     '"slices_unknown": 0, "source_changed": 0}], "seconds": 1.26, "redacted": false, "less_strict": []}'),
    (1.692, "retried", '{"left": 0, "tried": 4, "altered": {"nul.strip": 4}, "written": 4, "already_there": 0}'),
]  # fmt: skip
"""Rows of `mongopg.event`, as the version before these classes wrote them of one run: `at`, `kind` and `facts`."""
OTHERS = [
    (0.4, "servers", '{"keep": false, "source": "mongodb://127.0.0.1:1/demo", "target": "postgresql://pg@127.0.0.1:2/demo", '
     '"directory": "/tmp/demo"}'),
    (0.45, "environment", '{"by": "ann@db1", "program": "0.1.0", "source_version": "7.0", "target_version": "16"}'),
    (0.5, "seeded", '{"documents": 5000}'),
    (0.6, "counting", '{"total": 5000, "collections": ["shop.orders"]}'),
    (0.7, "counted_fields", '{"documents": 5000, "collections": ["shop.orders"]}'),
    (0.7, "table", '{"task_id": 1, "namespace": "shop.orders", "state": "building key"}'),
    (0.8, "total", '{"total": 6000, "task_id": 1}'),
    (0.9, "parked", '{"namespace": "shop.orders", "partition": 3}'),
    (1.0, "problem", '{"code": "index", "advice": "CREATE INDEX a", "message": "Index a is not built.", "namespace": "a.b"}'),
    (1.1, "finished", '{"state": "failed", "run_id": "20261123-1402-k3f9", "exit_code": 2, "error": {"code": "table_exists", '
     '"message": "It exists."}}'),
]  # fmt: skip
"""What that run had no cause to say."""

KINDS = {
    "state": "state! phase reason by",
    "knob": "knob! old value! by reason",
    "tuned": "knob! auto old stable! reason",
    "guard": "what! guard reason others rows_per_s",
    "guard_blind": "guard! why remedy",
    "guard_set": "setting! old value! by",
    "worker": "id! pid what! exit host",
    "host": "host! what! slots message",
    "problem": "code message! namespace advice retry",
    "parked": "partition! namespace",
    "planned": "tables! knobs warnings",
    "total": "task_id! total!",
    "table": "task_id! namespace state! indexes",
    "slice": "task_id! partition slice_no read! written! rejected bytes reasons policies",
    "recount": "tables! bytes",
    "seeded": "documents!",
    "counting": "collections! total!",
    "counted_fields": "collections! documents!",
    "snapshot": "at unix! window_s",
    "servers": "source target directory keep writes_per_s",
    "environment": "by! program! source_version target_version unix",
    "indexed": "task_id! built! failed!",
    "cut_over": "inserted updated deleted write_stop_s rejects_open writes_blocked sequences",
    "halted": "namespace code message",
    "resolved": "namespace choice by",
    "counted": "task_id! source! target! ok!",
    "verification": "verification! level before_retry",
    "finished": "run_id state! verification verification_level consistency read written rejected seconds rows_per_s"
    " rows_per_s_overall rows_per_s_copying copied copying_s tables altered seeded exit_code snapshot_unix follow error",
    "verified": "run_id level result! tables less_strict redacted seconds verification_level unix",
    "retried": "tried! written! already_there left! altered policies reasons unix",
}
"""Version 1: every kind with its facts, those marked that it cannot do without.

More kinds, and more facts that are not marked, are added here. Nothing is taken away, and nothing else is marked: ledgers have
events without it."""


def row(at: float, kind: str, facts: str) -> dict[str, Any]:
    return {"at": at, "kind": kind, "facts": json.loads(facts)}


def of(kind: str, **facts: Any) -> Event:
    return read_event({"kind": kind, "at": 1.0, "facts": facts})


@pytest.mark.parametrize(
    "written", [row(*each) for each in RECORDED + OTHERS], ids=lambda written: str(written["kind"])
)
def test_what_was_recorded_is_read_and_written_as_it_was(written: dict[str, Any]) -> None:
    event = read_event(written)
    assert not isinstance(event, UnknownEvent)
    assert event.model_dump(mode="json") == written
    assert event.facts == written["facts"]
    assert read_event(event.model_dump(mode="json")) == event


def test_the_recorded_run_is_played_as_it_went() -> None:
    info = RunInfo(
        run_id="20261130-1431-ebbx", state="completed", started_unix=1.0, ended_unix=None, source="a", target="b",
        collections=[], mode="create", read=0, written=0, rejected=0, seconds=1.0, verification="none", resumable=False,
    )  # fmt: skip
    player = Player(info)
    for at, kind, facts in RECORDED:
        player.take(at, kind, json.loads(facts))
    recording = player.recording({})
    end = recording.frames[-1]
    assert (end.state, end.written, end.rejected, end.exit_code, end.rows_per_s_mean) == (
        RunState.COMPLETED,
        3_996,
        4,
        4,
        2_362,
    )
    assert [(table.table, table.target_count, table.ok) for table in end.tables] == [("public.people", 3_996, True)]
    assert [event.kind for event in recording.events if event.only_counts] == []
    assert Recording.model_validate_json(recording.model_dump_json()) == recording


def test_the_vocabulary_is_what_its_version_says() -> None:
    assert VOCABULARY == 1
    assert dict(map(described, EVENT_CLASSES)) == KINDS


def described(kind: type[Event]) -> tuple[str, str]:
    facts = [
        kind.names.get(name, name) + ("!" if field.is_required() else "")
        for name, field in kind.model_fields.items()
        if name not in {"kind", "at", "clock"}
    ]
    return kind.model_fields["kind"].default, " ".join(facts)


# --- other versions ---------------------------------------------------------------------------------------------------


def test_facts_that_an_older_version_did_not_have_are_their_defaults() -> None:
    counted = of("slice", task_id=1, read=5, written=5)
    assert isinstance(counted, SliceCommitted)
    assert (counted.rejected, counted.reasons, counted.policies) == (0, {}, {})
    recounted = of("recount", tables=[{"task_id": 1, "read": 4, "written": 4, "rejected": 0}], bytes=400)
    assert isinstance(recounted, RunRecounted)
    assert recounted.tables[0].altered is None
    finished = of("finished", state="completed", tables={"public.users": {"written": 4}})
    assert isinstance(finished, RunFinished)
    assert finished.tables["public.users"].target == -1
    assert finished.facts == {"state": "completed", "tables": {"public.users": {"written": 4}}}, "nothing is made up"


def test_facts_of_a_newer_version_are_passed_over() -> None:
    planned = of(
        "planned",
        tables=[{"task_id": 1, "namespace": "a.b", "table": "c.d", "total": 1, "parent": 7}],
        followed=["a.b"],
    )
    assert isinstance(planned, RunPlanned)
    assert planned.facts == {"tables": [{"task_id": 1, "namespace": "a.b", "table": "c.d", "total": 1}]}


def test_a_kind_of_a_newer_version_is_kept_as_it_is() -> None:
    written = {"kind": "joined", "at": 1.5, "facts": {"host": "c", "at": 3, "kind": "worker"}}
    event = read_event(written)
    assert event == UnknownEvent(kind="joined", at=1.5, unread={"host": "c", "at": 3, "kind": "worker"})
    assert event.model_dump(mode="json") == written
    assert event.facts == written["facts"]


@pytest.mark.parametrize(
    ("kind", "facts"),
    [
        ("state", {}),
        ("state", {"state": "shipping"}),
        ("state", {"state": None}),
        ("knob", {"knob": "page_size", "value": "many"}),
        ("planned", {"tables": {"public.users": 5}}),
        ("planned", {"tables": [{"namespace": "a.b"}]}),
        ("finished", {"state": "completed", "tables": []}),
        ("worker", [1, 41, "started"]),
        ("slice", None),
        ("recount", "all"),
    ],
)
def test_an_event_that_cannot_be_read_is_kept_and_changes_nothing(kind: str, facts: object) -> None:
    event = read_event({"kind": kind, "at": 2.0, "facts": facts})
    assert isinstance(event, UnknownEvent)
    assert (event.kind, event.at) == (kind, 2.0)
    assert event.facts == (facts if isinstance(facts, dict) else {"facts": facts})
    record = RunRecord("r")
    record.apply(event)
    assert record == RunRecord("r")


@pytest.mark.parametrize("written", [{"at": 1.0}, {"kind": 3, "at": 1.0}, {"kind": "state", "at": "noon"}])
def test_what_has_no_kind_or_no_time_is_no_event(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read_event(written)


def test_slices_count_where_the_plan_cannot_be_read() -> None:
    record = RunRecord("r")
    for event in (
        of("planned", tables=[{"id": "a"}]),
        of("slice", task_id=3, read=10, written=9, rejected=1),
        of("total", task_id=3, total=20),
        of("counted", task_id=3, source=10, target=9, ok=True),
        of("indexed", task_id=4, built=1, failed=1),
    ):
        record.apply(event)
    assert (record.read, record.written, record.rejected, record.total) == (10, 9, 1, 20)


# --- as fields --------------------------------------------------------------------------------------------------------


def test_a_reply_carries_events_in_the_form_that_they_have_alone() -> None:
    told = [
        StateEntered(at=1.0, state=RunState.RUNNING, phase="copying"),
        SnapshotTaken(at=2.0, cluster_time=7, unix=1.5),
        WorkerChanged(at=3.0, id=1, pid=2, what="started", exit=None),
        UnknownEvent(kind="joined", at=4.0, unread={"host": "c"}),
    ]
    snapshot = Snapshot(run_id="r", state=RunState.RUNNING, phase="copying")
    attached = Attached(run_id="r", version="1", log_path="l", snapshot=snapshot, events=told)
    reply = json.loads(json.dumps(attached.model_dump(mode="json")))
    assert reply["events"] == [
        {"kind": "state", "at": 1.0, "facts": {"state": "running", "phase": "copying"}},
        {"kind": "snapshot", "at": 2.0, "facts": {"at": 7, "unix": 1.5}},
        {"kind": "worker", "at": 3.0, "facts": {"id": 1, "pid": 2, "what": "started", "exit": None}},
        {"kind": "joined", "at": 4.0, "facts": {"host": "c"}},
    ]
    assert Attached.model_validate(reply) == attached


def test_the_time_is_set_by_what_emits_an_event() -> None:
    event = KnobChanged(knob="throttle", old=None, value=5)
    assert event.model_copy(update={"at": 2.5}).model_dump(mode="json") == {
        "kind": "knob", "at": 2.5, "facts": {"knob": "throttle", "old": None, "value": 5},
    }  # fmt: skip
