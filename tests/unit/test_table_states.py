"""How far each table of a run is, and when there is an ETA."""

from __future__ import annotations

import pytest

from engine.cluster.meter import Meter
from engine.protocol import RunPlanned, RunState, SliceCommitted, StateEntered, TableStage, TableState, read_event
from engine.protocol.events import PlannedTable
from engine.run.record import RunRecord
from engine.run.table_views import table_state
from tui.words.events import words


def record_of(*events: object) -> RunRecord:
    """A run with one table, after some events."""
    record = RunRecord("r")
    record.apply(
        RunPlanned(tables=[PlannedTable(task_id=1, namespace="shop.orders", table="public.orders", total=100)])
    )
    record.apply(StateEntered(state=RunState.RUNNING, phase="copying"))
    for event in events:
        record.apply(event)  # type: ignore[arg-type]
    return record


COMMIT = SliceCommitted(at=3.0, task_id=1, read=10, written=10)


@pytest.mark.parametrize(
    ("events", "workers", "is_left", "is_paused", "state"),
    [
        ([], 0, True, False, TableState.WAITING),
        ([COMMIT], 2, True, False, TableState.COPYING),
        ([COMMIT], 0, True, False, TableState.WAITING),
        ([COMMIT], 1, True, True, TableState.PAUSED),
        ([COMMIT], 0, True, True, TableState.PAUSED),
        ([], 0, True, True, TableState.WAITING),
        ([COMMIT], 0, False, False, TableState.COPIED),
        ([TableStage(task_id=1, state="building key")], 0, False, False, TableState.BUILDING_KEY),
        ([TableStage(task_id=1, state="done")], 0, False, False, TableState.DONE),
        ([read_event({"kind": "parked", "facts": {"partition": 1, "namespace": "shop.orders"}})], 0, True, False,
         TableState.PARKED),
        ([read_event({"kind": "counted", "facts": {"task_id": 1, "source": 9, "target": 8, "ok": False}})], 0, False,
         False, TableState.DIFFERS),
        ([read_event({"kind": "finished", "facts": {"state": "cancelled"}})], 0, True, False, TableState.STOPPED),
        ([read_event({"kind": "finished", "facts": {"state": "failed"}})], 0, False, False, TableState.COPIED),
        ([read_event({"kind": "finished", "facts": {"state": "completed"}})], 0, False, False, TableState.DONE),
    ],
)  # fmt: skip
def test_a_table_has_the_state_that_the_run_is_at_with_it(
    events: list[object], workers: int, is_left: bool, is_paused: bool, state: TableState
) -> None:
    record = record_of(*events)
    table = record.tables[1]
    assert table_state(record, table, workers=workers, is_left=is_left, is_paused=is_paused) is state


def test_a_commit_and_who_stopped_the_run_are_remembered() -> None:
    record = record_of(COMMIT, StateEntered(state=RunState.CANCELLING, by="ctl of ann@db1"))
    assert (record.last_commit_at, record.stopped_by) == (3.0, "ctl of ann@db1")


def test_b17_without_a_row_for_some_seconds_the_run_is_silent() -> None:
    meter = Meter()
    meter.tick(0.0, 0, 0, moving=True)
    for second in range(1, 11):
        meter.tick(float(second), 100 * second, 0, moving=True)
    assert meter.silent_s(10.5) == 0.5
    for second in range(11, 20):
        meter.tick(float(second), 1_000, 0, moving=True)
    assert meter.silent_s(19.0) == 9.0
    assert meter.eta(1_000, 2_000) is not None  # what it alone would say
    meter.tick(20.0, 1_000, 0, moving=False)
    assert meter.silent_s(25.0) == 0.0


def test_a_tables_rate_is_that_of_its_own_committed_documents() -> None:
    meter = Meter()
    for second in range(6):
        meter.tick_tables(float(second), {1: 100 * second, 2: 0}, moving=True)
    assert meter.table_rate(1) == 100.0
    assert meter.table_rate(2) == 0.0
    assert meter.table_rate(3) == 0.0
    meter.tick_tables(6.0, {1: 600}, moving=False)
    assert meter.table_rate(1) == 0.0


def test_what_a_tables_end_comes_to_has_words() -> None:
    stage = TableStage(task_id=1, namespace="shop.orders", state="building indexes", indexes=3)
    assert words(stage) == "shop.orders: building 3 indexes"
    assert words(TableStage(task_id=1, namespace="shop.orders", state="building key")) == "shop.orders: building key"


def test_b17_a_state_is_not_said_twice() -> None:
    stopping = StateEntered(
        state=RunState.CANCELLING, phase="cancelling: workers end their pages", by="cockpit on pts/3 of ann@db1"
    )
    assert words(stopping) == "stopping: workers end their pages, by cockpit on pts/3 of ann@db1"
    paused = StateEntered(
        state=RunState.PAUSING, phase="pausing", reason="paused by ctl of ann@db1", by="ctl of ann@db1"
    )
    assert words(paused) == "pausing: paused by ctl of ann@db1"
