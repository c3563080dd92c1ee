"""Both front ends tell of every event what `words` says of it, and neither tells more."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from engine.protocol import (
    EVENT_CLASSES,
    CensusFinished,
    CensusStarted,
    DocumentsSeeded,
    Event,
    GuardActed,
    GuardBlind,
    GuardSet,
    HostChanged,
    IndexesBuilt,
    KnobChanged,
    KnobTuned,
    PartitionParked,
    PlannedTable,
    ProblemReported,
    RejectsRetried,
    RunCutOver,
    RunEnvironment,
    RunFinished,
    RunHalted,
    RunPlanned,
    RunRecounted,
    RunResolved,
    RunState,
    RunVerified,
    ServersStarted,
    SliceCommitted,
    SnapshotTaken,
    StateEntered,
    TableCounted,
    TableStage,
    TotalChanged,
    UnknownEvent,
    Verification,
    VerificationEnded,
    WorkerChanged,
)
from tui.cli.json_lines import finished_record
from tui.cli.live import LivePrinter
from tui.cli.printers import JsonPrinter, LinePrinter
from tui.cockpit.widgets.event_log import event_lines
from tui.words.events import TOLD_BY_NUMBERS, WARNINGS_TOLD, Note, told, words
from tui.words.format import moment

EXAMPLES: list[tuple[Event, str | None]] = [
    (StateEntered(state=RunState.RUNNING, phase="copying"), "running: copying"),
    (KnobChanged(knob="cluster_size", old=2, value=4), "workers 2 → 4"),
    (
        KnobChanged(knob="cluster_size", old=8, value=16, by="auto", reason="8 copied 41.2 MB/s"),
        "workers 8 → 16, by auto: 8 copied 41.2 MB/s",
    ),
    (
        KnobTuned(knob="cluster_size", auto="auto:4-16", old=8, stable=12, reason="+18 % (41.2 to 48.6 MB/s)"),
        "workers auto:4-16, 8 → 12: +18 % (41.2 to 48.6 MB/s)",
    ),
    (
        KnobTuned(
            knob="cluster_size", auto="auto", old=8, stable=8, reason="not more workers: 7 of 8 wait for WALWrite"
        ),
        "workers auto, 8: not more workers: 7 of 8 wait for WALWrite",
    ),
    (
        KnobTuned(knob="cluster_size", stable=12, reason="set to 12 by ctl of ann@db1"),
        "workers auto off: set to 12 by ctl of ann@db1",
    ),
    (
        GuardActed(
            what="slowed",
            guard="standby_lag",
            reason="standby s replays 14 s behind (limit 10 s)",
            rows_per_s=4_821,
            others=["replication slot a is extended (limit extended)"],
        ),
        "slowed to 4,821 rows/s by guard standby_lag: standby s replays 14 s behind (limit 10 s); "
        "replication slot a is extended (limit extended)",
    ),
    (
        GuardActed(what="paused", guard="file", reason="file /stop exists"),
        "paused by guard file: file /stop exists",
    ),
    (GuardActed(what="resumed", rows_per_s=500), "guards: no longer paused, slowed to 500 rows/s"),
    (GuardActed(what="lifted"), "guards: no longer slowed"),
    (
        GuardBlind(guard="standby_lag", why="The role mig may not see it.", remedy="GRANT pg_monitor TO mig;"),
        "guard standby_lag cannot see and does nothing: The role mig may not see it."
        " As an administrator, run: GRANT pg_monitor TO mig;",
    ),
    (
        GuardSet(setting="standby_lag", old="10.0", value="30.0", by="ctl of ann@db1"),
        "guard.standby_lag 10.0 → 30.0, by ctl of ann@db1",
    ),
    (WorkerChanged(id=3, pid=77, what="retired", exit=0), "worker 3 (pid 77) retired"),
    (
        WorkerChanged(id=3, pid=77, what="died", exit=-9, host="node7"),
        "worker 3 (pid 77 on node7) died with exit code -9",
    ),
    (HostChanged(host="node7", what="joined", slots=8), "host node7 joined with 8 slots"),
    (HostChanged(host="node7", what="joined", slots=1), "host node7 joined with 1 slot"),
    (HostChanged(host="node7", what="left"), "host node7 left: what its workers had in hand goes to others"),
    (
        HostChanged(host="node7", what="refused", message="mongopg-tui is not installed there."),
        "host node7 takes no workers: mongopg-tui is not installed there.",
    ),
    (
        ProblemReported(code="index", message="Index a is not built.", advice="Build it."),
        "problem: Index a is not built. Build it.",
    ),
    (PartitionParked(partition=3, namespace="shop.orders"), "partition 3 of shop.orders is parked"),
    (
        RunPlanned(tables=[PlannedTable(task_id=1, namespace="a.b", table="c.d")], warnings=["a.b: wide"]),
        "planned: a.b → c.d",
    ),
    (
        RunPlanned(
            tables=[
                PlannedTable(task_id=1, namespace="a.b", table="c.d", order="natural", order_reason="it is quicker")
            ]
        ),
        "planned: a.b → c.d, in natural order, as it is quicker",
    ),
    (TotalChanged(task_id=1, total=5), None),
    (TableStage(task_id=1, namespace="a.b", state="building key"), "a.b: building key"),
    (SliceCommitted(task_id=1, read=5, written=5), None),
    (RunRecounted(tables=[]), None),
    (DocumentsSeeded(documents=5), None),
    (CensusStarted(collections=["a.b"], total=5), None),
    (CensusFinished(collections=["a.b"], documents=5), None),
    (
        RunCutOver(inserted=1_204, updated=3, deleted=0, write_stop_s=2.31),
        "cut over, writers stopped for 2.3 s; changes followed: 1,204 inserted, 3 updated, 0 deleted",
    ),
    (RunHalted(namespace="a.b", code="drop", message="a.b was dropped."), "halted: a.b was dropped."),
    (
        RunResolved(namespace="a.b", choice="empty", by="ctl of ann"),
        "resolved: a.b, the table becomes what the collection is now, by ctl of ann",
    ),
    (RunResolved(choice="resync"), "resolved: the whole source, everything is compared with what it is now"),
    (SnapshotTaken(unix=1_796_049_066.0), f"all documents are read as of {moment(1_796_049_066.0)}"),
    (ServersStarted(source="s", target="t", directory="d"), "embedded servers: s and t, data in d"),
    (
        RunEnvironment(by="ann@db1", program="0.1.0", source_version="7.0.12", target_version="16.4"),
        "started by ann@db1 with version 0.1.0: MongoDB 7.0.12 → PostgreSQL 16.4",
    ),
    (IndexesBuilt(task_id=1, built=1, failed=0), None),
    (TableCounted(task_id=1, source=5, target=5, ok=True), None),
    (VerificationEnded(verification=Verification.VERIFIED), "verification: counts match"),
    (VerificationEnded(verification=Verification.VERIFIED, level="full"), "verification: verified"),
    (RunFinished(state=RunState.COMPLETED, written=1_234), "finished: completed, 1,234 rows"),
    (RunVerified(level="full", result=Verification.MISMATCH), "verified afterwards, level full: mismatch"),
    (
        RejectsRetried(tried=5, written=3, already_there=1, left=1),
        "rejects retried 5: 3 written, 1 already there, 1 still rejected",
    ),
    (UnknownEvent(kind="joined"), "joined: an event that this version cannot read"),
]
EVENTS = [event for event, _ in EXAMPLES]
HEADLESS = [(event, said) for event, said in EXAMPLES if not isinstance(event, RunFinished)]
"""A headless run tells its end by the summary."""


def of_class(event: object) -> str:
    return type(event).__name__ if isinstance(event, Event) else ""


def test_every_class_has_words_or_is_among_those_that_need_none() -> None:
    assert {type(event) for event in EVENTS} == {*EVENT_CLASSES, UnknownEvent}
    assert {type(event) for event, said in EXAMPLES if said is None} == TOLD_BY_NUMBERS


@pytest.mark.parametrize(("event", "said"), EXAMPLES, ids=of_class)
def test_the_log_of_the_cockpit_shows_the_words(event: Event, said: str | None) -> None:
    assert words(event) == said
    shown = event_lines(event)
    assert len(shown) == len(told(event))
    for line, whole in zip(shown, told(event), strict=True):
        at, kind, text = line.split(maxsplit=2)
        if isinstance(event, ProblemReported):
            text = text.removeprefix(f"{event.code}: ")  # by which the list of problems groups them
        assert (at, kind) == ("0s", event.kind)
        assert whole in {text, f"{kind} {text}", f"{kind}: {text}"}, "only what the column has is left out"


@pytest.mark.parametrize(("event", "said"), HEADLESS, ids=of_class)
def test_headless_runs_print_the_words(event: Event, said: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    expected = [f"[0s] {line}" for line in told(event)]
    assert bool(expected) is (said is not None)
    LinePrinter().tell(event)
    assert capsys.readouterr().out.splitlines() == expected
    console = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None, highlight=False)
    LivePrinter(console=console).tell(event)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == expected


def test_a_headless_run_tells_its_end_by_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    (finished,) = (event for event in EVENTS if isinstance(event, RunFinished))
    facts = finished_record(finished.facts | {"run_id": "r", "seeded": 1})
    LinePrinter().finish(facts)
    assert "Run r: completed" in capsys.readouterr().out


@pytest.mark.parametrize("event", EVENTS, ids=of_class)
def test_what_a_script_is_told_is_in_the_same_words(event: Event, capsys: pytest.CaptureFixture[str]) -> None:
    JsonPrinter().tell(event)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert set(shown.err.splitlines()) <= set(told(event))


def test_a_plan_with_many_warnings_is_told_as_far_as_it_helps_in_both() -> None:
    event = RunPlanned(tables=[], warnings=[f"a.b: {number}" for number in range(30)])
    assert len(told(event)) == len(event_lines(event)) == 1 + WARNINGS_TOLD + 1
    assert event_lines(event)[-1].endswith("and 10 more warnings: `mongopg-tui plan` shows them")


def test_what_the_cockpit_itself_says_is_among_the_events() -> None:
    assert event_lines(Note(at=75.0, message="Copied\x1b the worker")) == [
        "1m 15s  cockpit      Copied\\u{1b} the worker"
    ]
    assert event_lines(Note(message="cockpit: a folder")) == ["0s  cockpit      cockpit: a folder"]
