"""Vitals made of what servers of other versions say, and their words."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson import Timestamp
from rich.console import Console

from engine.mongo_uri import read_uri
from engine.postgres.statistics import Files, parts_of, query_of
from engine.protocol import (
    BlockedView,
    Blocker,
    RunState,
    Snapshot,
    SourceVitals,
    StandbyView,
    StepView,
    TargetVitals,
    Unseen,
    VitalsView,
    WaitView,
)
from engine.vitals.source import SourceReading, members_of, refused
from engine.vitals.target import TargetReading
from tui.cli.json_lines import progress_record, status_record
from tui.cli.live import LivePrinter
from tui.words.census import phase_words
from tui.words.sentences import progress_sentence, status_text
from tui.words.vitals import (
    source_line,
    source_vitals,
    step_fraction,
    steps_words,
    target_line,
    target_vitals,
    vitals_lines,
)

FILES = Files("mig", "/nowhere", 0.0)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)

# --- MongoDB ----------------------------------------------------------------------------------------------------------

CACHE = {
    "maximum bytes configured": 1_073_741_824,
    "bytes currently in the cache": 858_993_459,
    "tracked dirty bytes in the cache": 21_474_836,
    "pages evicted by application threads": 0,
}
OPLOG = {"oplog": {"latestOptime": Timestamp(1_795_436_000, 1), "earliestOptime": Timestamp(1_795_342_400, 1)}}
TICKETS_4_4 = {"out": 12, "available": 116, "totalTickets": 128}
TICKETS_7_0 = {"out": 12, "available": 0, "totalTickets": 12, "processing": 12, "normalPriority": {"queueLength": 3}}
QUEUES_8_0 = {
    "ingress": {"out": 20, "available": 999_980, "totalTickets": 1_000_000},
    "execution": {
        "write": {"out": 1, "available": 31, "totalTickets": 32},
        "read": {"out": 12, "available": 20, "totalTickets": 32, "normalPriority": {"queueLength": 3}},
        "monitor": {},
    },
}


def status(tickets: dict[str, Any], **more: Any) -> dict[str, Any]:
    """`serverStatus` before 8.0."""
    facts: dict[str, Any] = {
        "host": "db1:27017", "process": "mongod",
        "globalLock": {"currentQueue": {"total": 3, "readers": 3, "writers": 0}},
        "wiredTiger": {"concurrentTransactions": {"read": tickets}, "cache": CACHE},
        "flowControl": {"enabled": True, "isLagged": False},
    }  # fmt: skip
    return facts | OPLOG | more


@pytest.mark.parametrize(
    ("said", "tickets"),
    [
        pytest.param(status(TICKETS_4_4), (12, 128), id="4.4 to 6.0"),
        pytest.param(status(TICKETS_7_0), (12, 12), id="7.0"),
        pytest.param(status({}) | {"wiredTiger": {"cache": CACHE}, "queues": QUEUES_8_0}, (12, 32), id="8.0"),
    ],
)
def test_every_version_s_tickets_are_found(said: dict[str, Any], tickets: tuple[int, int]) -> None:
    seen = SourceReading().read(said, 0.0)
    assert (seen.read_tickets_used, seen.read_tickets, seen.reads_queued) == (*tickets, 3)
    assert (seen.cache_bytes, seen.flow_control, seen.oplog_window_s) == (858_993_459, False, 93_600.0)
    assert not seen.unseen


def test_a_mongos_says_where_the_figures_are() -> None:
    seen = SourceReading().read({"host": "router:27017", "process": "mongos"}, 0.0)
    assert seen.read_tickets is None
    assert {each.what for each in seen.unseen} == {"read tickets", "cache pressure", "oplog window"}
    assert all("mongos" in each.why for each in seen.unseen)


def test_an_oplog_of_which_nothing_was_dropped_has_no_window_yet() -> None:
    said = status(TICKETS_4_4, oplog={"latestOptime": Timestamp(1_795_436_000, 1), "earliestOptime": Timestamp(0, 0)})
    (unseen,) = SourceReading().read(said, 0.0).unseen
    assert (unseen.what, unseen.why) == ("oplog window", "The server does not know yet when its oplog begins.")


def test_evictions_by_operations_are_a_rate() -> None:
    reading = SourceReading()
    reading.read(status(TICKETS_4_4), 0.0)
    wired = {"cache": CACHE | {"pages evicted by application threads": 500}}
    assert reading.read(status(TICKETS_4_4, wiredTiger=wired), 5.0).app_evictions_per_s == 100.0


def test_secondaries_are_behind_the_primary_or_without_one_the_newest() -> None:
    def member(name: str, state: int, words: str, behind_s: float) -> dict[str, Any]:
        at = NOON - timedelta(seconds=behind_s)
        return {"name": name, "state": state, "stateStr": words, "optimeDate": at}

    primary, near, far = (
        member("a", 1, "PRIMARY", 0), member("b", 2, "SECONDARY", 2), member("c", 2, "SECONDARY", 14),
    )  # fmt: skip
    arbiter = {"name": "d", "state": 7, "stateStr": "ARBITER"}
    gone = {
        "name": "e",
        "state": 8,
        "stateStr": "(not reachable/healthy)",
        "optimeDate": datetime.fromtimestamp(0, UTC),
    }
    found = members_of({"members": [primary, near, far, arbiter, gone]})
    assert [(each.name, each.lag_s) for each in found] == [("b", 2.0), ("c", 14.0), ("e", None)]
    assert [each.lag_s for each in members_of({"members": [near, far]})] == [0.0, 12.0]
    assert members_of({}) == []


def test_a_user_without_clusterMonitor_gets_the_command_that_grants_it() -> None:  # noqa: N802 - the role is called so
    unseen = refused(read_uri("mongodb://app:x@db1/shop?authSource=admin"))
    remedy = 'db.getSiblingDB("admin").grantRolesToUser("app", [{role: "clusterMonitor", db: "admin"}]);'
    assert {each.remedy for each in unseen} == {remedy}


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def read(reading: TargetReading | None = None, now: float = 0.0, **found: Any) -> TargetVitals:
    return (reading or TargetReading()).read(found, now, {}, FILES, {"public.orders": "shop.orders"})


@pytest.mark.parametrize(
    ("version", "view"), [(14, "bgwriter"), (16, "bgwriter"), (17, "checkpointer"), (18, "checkpointer")]
)
def test_checkpoints_are_where_the_version_has_them(version: int, view: str) -> None:
    parts = parts_of(version)
    assert f"FROM pg_stat_{view}" in query_of(parts, parts)


def test_checkpoints_count_from_the_first_look_also_when_the_statistics_are_reset() -> None:
    reading = TargetReading()
    read(reading, checkpoints={"timed": 10, "requested": 25, "max_wal_size": "1GB"})
    seen = read(reading, checkpoints={"timed": 11, "requested": 28, "max_wal_size": "1GB"})
    assert (seen.checkpoints, seen.checkpoints_requested) == (4, 3)
    seen = read(reading, checkpoints={"timed": 0, "requested": 0, "max_wal_size": "1GB"})
    assert (seen.checkpoints, seen.checkpoints_requested) == (0, 0)


def test_a_session_that_waits_for_a_lock_is_told_of_after_a_second() -> None:
    reading = TargetReading()
    waits = [[4_240, "active", "Lock", "relation"], [4_241, "active", "IO", "WALSync"]]
    assert read(reading, 0.0, sessions=waits, blocked=[]).blocked == []
    assert reading.waiting(0.9) == []
    assert reading.waiting(1.5) == [4_240]
    by = [{"pid": 4_711, "user": "app", "application": "psql", "state": "idle in transaction", "since": 40.0}]
    named = {"pid": 4_240, "lock": "relation", "schema": "public", "table": "orders", "by": by}
    (blocked,) = read(reading, 1.5, sessions=waits, blocked=[named]).blocked or []
    assert (blocked.waiting_s, blocked.table, blocked.by[0].pid) == (1.5, "public.orders", 4_711)
    assert read(reading, 2.5, sessions=waits[1:], blocked=[named]).blocked == []
    assert reading.waiting(9.0) == []


def test_others_that_wait_for_the_run_are_told_of_after_a_second_and_those_that_wait_for_others_are_not() -> None:
    reading = TargetReading()
    others = [[7, "app", "psql"], [8, "etl", ""]]
    assert read(reading, 0.0, others=others, blocked=[]).blocking == []
    assert reading.waiting(1.5) == [7, 8]
    ours = {"pid": 4_240, "user": "mig", "application": "mongopg-tui x", "ours": True}
    named = {"lock": "relation", "schema": "public", "table": "orders"}
    blocked = [named | {"pid": 7, "by": [ours]}, named | {"pid": 8, "by": [{"pid": 9, "user": "x", "ours": False}]}]
    (seen,) = read(reading, 1.5, others=others, blocked=blocked).blocking or []
    assert (seen.pid, seen.waiting_s, seen.table, seen.user, seen.application) == (
        7,
        1.5,
        "public.orders",
        "app",
        "psql",
    )
    assert [by.pid for by in seen.by] == [4_240]
    vitals = target_vitals(TARGET.model_copy(update={"blocking": [seen]}))
    assert vitals[0].words == "session 7 (psql, user app) has waited 1.5 s for public.orders, which the run holds"
    assert read(reading, 2.5, others=others[1:], blocked=blocked).blocking == []
    assert read(reading, 3.0).blocking is None


def test_of_many_others_that_wait_only_the_longest_waiting_are_asked_about() -> None:
    reading = TargetReading()
    for second in range(100):
        read(reading, float(second), sessions=[], others=[[pid, "app", ""] for pid in range(second + 1)])
    assert reading.waiting(200.0) == list(range(20))


def test_slots_are_told_with_what_they_hold_back() -> None:
    slots = [
        {"name": "a", "status": "reserved", "held": 1_048_576, "safe": None, "active": True},
        {"name": "b", "status": "unreserved", "held": None, "safe": -5, "active": False},
    ]
    seen = read(slots=slots)
    assert seen.slots is not None
    assert [(each.name, each.status, each.held_bytes, each.safe_bytes, each.active) for each in seen.slots] == [
        ("a", "reserved", 1_048_576, None, True), ("b", "unreserved", None, -5, False),
    ]  # fmt: skip
    told = [(each.words, each.is_bad) for each in target_vitals(TARGET.model_copy(update={"slots": seen.slots}))]
    assert ("a: reserved, holds back 1.0 MiB of WAL, in use", False) in told
    assert ("b: unreserved, not in use", True) in told


@pytest.mark.parametrize(
    ("phase", "blocks", "tuples", "fraction"),
    [
        ("initializing", [0, 0], [0, 0], None),
        ("building index: scanning table", [430, 1_000], [0, 0], 0.215),
        ("building index: sorting live tuples", [1_000, 1_000], [0, 0], 0.5),
        ("building index: loading tuples in tree", [1_000, 1_000], [600, 1_000], 0.8),
    ],
)
def test_the_two_passes_of_a_build_are_one_progress(
    phase: str, blocks: list[int], tuples: list[int], fraction: float | None
) -> None:
    step = {"what": "index", "schema": "public", "table": "orders", "phase": phase, "blocks": blocks, "tuples": tuples}
    key = 'ALTER TABLE "public"."orders" ADD CONSTRAINT "orders_pkey" PRIMARY KEY ("_id")'
    index = 'CREATE UNIQUE INDEX "to""tal_1" ON "public"."orders" ("total")'
    seen = read(steps=[step | {"query": key}, step | {"query": index}]).steps
    assert seen is not None
    assert [(each.what, each.name, each.namespace) for each in seen] == [
        ("key", "", "shop.orders"), ("index", 'to"tal_1', "shop.orders"),
    ]  # fmt: skip
    assert [each.fraction for each in seen] == [pytest.approx(fraction)] * 2


def test_a_standby_that_replays_nothing_lags_by_the_time_of_our_looks() -> None:
    """The server's own figure is the delay of what was replayed last, and stays small."""
    reading = TargetReading()

    def look(now: float, wal: int, behind: int) -> StandbyView:
        row = {"name": "standby1", "state": "streaming", "lag_s": 0.002, "lag_bytes": behind}
        seen = read(reading, now, wal={"bytes": wal}, standbys={"may": True, "list": [row]})
        assert seen.standbys is not None
        return seen.standbys[0]

    assert look(0.0, 1_000, 0).lag_s == 0.0
    assert look(10.0, 2_000, 1_000).lag_s == 10.0
    assert look(25.0, 3_000, 2_000).lag_s == 25.0
    assert look(30.0, 3_000, 1_000).lag_s == 20.0


def test_sessions_whose_waits_may_not_be_seen_are_not_taken_for_idle_ones() -> None:
    seen = read(sessions=[[1, None, None, None], [2, None, None, None]])
    assert (seen.sessions, seen.waits, seen.blocked) == (None, None, None)
    assert any(each.remedy == "GRANT pg_monitor TO mig;" for each in seen.unseen)


# --- words ------------------------------------------------------------------------------------------------------------

BLOCKED = BlockedView(
    pid=4_240, waiting_s=5.0, lock="relation", table="public.orders",
    by=[Blocker(pid=4_711, user="app", application="psql", state="idle in transaction", since_s=40.0)],
)  # fmt: skip
TARGET = TargetVitals(
    age_s=0.4, sessions=10, waits=[WaitView(kind="IO", event="WALSync", sessions=5), WaitView(kind="", event="", sessions=3)],
    blocked=[], wal_bytes_per_s=86_034_636.0, checkpoints=4, checkpoints_requested=3, max_wal_size="1GB",
    standbys=[StandbyView(name="standby1", state="streaming", lag_s=14.0, lag_bytes=2_097_152)],
    free_connections=88, max_connections=100, steps=[], copying=[],
)  # fmt: skip
SOURCE = SourceVitals(
    age_s=0.4, host="db1:27017", read_tickets_used=12, read_tickets=128, reads_queued=0, cache_bytes=800, cache_max_bytes=1_000,
    cache_dirty_bytes=20, members=[StandbyView(name="db2:27017", state="SECONDARY", lag_s=2.0)], flow_control=False,
    oplog_window_s=93_600.0,
)  # fmt: skip


def snapshot(vitals: VitalsView | None, **facts: Any) -> Snapshot:
    given: dict[str, Any] = {
        "run_id": "r",
        "state": RunState.FINISHING,
        "phase": "building keys and counting",
        "total": 10,
    }
    return Snapshot(**(given | {"written": 10, "vitals": vitals} | facts))


def test_each_server_is_one_line() -> None:
    assert target_line(TARGET) == (
        "5 of 8 sessions wait for WAL to reach the disk · WAL 82.0 MiB/s · checkpoints 3 of 4 requested"
        " · standby standby1 14 s, 2.0 MiB behind · 88 connections free"
    )
    assert source_line(SOURCE) == (
        "read tickets 12/128 · cache 80% full, 2% dirty · secondary db2:27017 2.0 s behind · oplog 26 h"
    )


def test_a_blocked_session_comes_first_and_names_its_blocker() -> None:
    line = target_line(TARGET.model_copy(update={"blocked": [BLOCKED]}))
    assert line.startswith(
        "! session 4240 has waited 5.0 s for public.orders: session 4711 (psql, user app) holds it, idle in transaction for"
        " 40 s · "
    )
    first = target_vitals(TARGET.model_copy(update={"blocked": [BLOCKED]}))[0]
    assert (first.label, first.is_bad) == ("blocked", True)
    assert "SELECT pg_terminate_backend(4711);" in first.advice


def test_vitals_that_are_old_say_so_and_why() -> None:
    old = SOURCE.model_copy(update={"age_s": 14.0, "problem": "MongoDB did not answer in time."})
    assert source_line(old).startswith("seen 14 s ago: MongoDB did not answer in time. · read tickets 12/128")
    assert source_vitals(old)[0].is_bad
    assert target_line(TargetVitals()) == "not looked at yet"
    assert target_line(TargetVitals(problem="No room.")) == "No room."


def test_what_cannot_be_seen_is_named_with_what_would_help() -> None:
    unseen = [Unseen(what="replica lag", why="The role mig may not see it.", remedy="GRANT pg_monitor TO mig;")]
    target = TARGET.model_copy(update={"unseen": unseen, "standbys": None})
    assert target_line(target).endswith("cannot see replica lag")
    last = target_vitals(target)[-1]
    assert last.words == "cannot see: The role mig may not see it."
    assert last.advice == "As an administrator, run: GRANT pg_monitor TO mig;"


def test_advice_is_about_what_limits_the_run() -> None:
    advice = {vital.label: vital.advice for vital in target_vitals(TARGET)}
    assert advice["sessions"].startswith("WAL limits the run")
    assert "max_wal_size (1GB)" in advice["checkpoints"]
    assert advice["standby"] == "A throttle lets it catch up."
    crowded = SOURCE.model_copy(update={"reads_queued": 40, "cache_bytes": 990})
    assert {vital.label for vital in source_vitals(crowded) if vital.is_bad} == {"read tickets", "cache"}
    assert not [vital for vital in source_vitals(SOURCE) if vital.is_bad]


def test_after_all_rows_are_written_it_is_said_what_is_being_built() -> None:
    steps = [
        StepView(what="key", table="public.orders", namespace="shop.orders", fraction=0.43),
        StepView(what="index", table="public.orders", namespace="shop.orders", name="total_1", fraction=0.121),
        StepView(what="statistics", table="public.x"),
    ]
    target = TARGET.model_copy(update={"steps": steps})
    words = (
        "building key of shop.orders 43%, building index total_1 of shop.orders 12%, gathering statistics of public.x"
    )
    now = snapshot(VitalsView(target=target))
    assert steps_words(now) == phase_words(now) == words
    assert step_fraction(now) == 0.121
    assert progress_sentence(now).startswith(words)
    running = snapshot(VitalsView(target=target), state=RunState.RUNNING, phase="copying")
    assert phase_words(running) == "copying"
    old = snapshot(VitalsView(target=target.model_copy(update={"age_s": 30.0})))
    assert phase_words(old) == "building keys and counting"


def test_the_bar_of_a_terminal_without_the_cockpit_is_that_of_the_key_too() -> None:
    step = StepView(what="key", table="public.orders", namespace="shop.orders", fraction=0.43)
    shown = io.StringIO()
    printer = LivePrinter(console=Console(file=shown, force_terminal=True, width=120, height=30))
    try:
        printer.show(snapshot(VitalsView(target=TARGET.model_copy(update={"steps": [step]}))))
    finally:
        printer.close()
    assert "building key of shop.orders 43%" in shown.getvalue()
    assert "43.0%" in shown.getvalue()


def test_ctl_status_has_a_line_for_each_server_and_json_all_of_it() -> None:
    view = VitalsView(target=TARGET, source=SOURCE)
    lines = status_text(snapshot(view)).split("\n")
    assert f"  target   {target_line(TARGET)}" in lines
    assert f"  source   {source_line(SOURCE)}" in lines
    for record in (progress_record(snapshot(view)), status_record(snapshot(view))):
        assert record["vitals"] == view.model_dump(mode="json")
        assert VitalsView.model_validate(record["vitals"]) == view
    assert "vitals" not in progress_record(snapshot(None))
    assert vitals_lines(None) == {}


def test_words_of_servers_are_harmless() -> None:
    evil = "\x1b[31mx\ny"
    by = [Blocker(pid=1, user=evil, application=evil, state=evil, since_s=1.0)]
    target = TARGET.model_copy(
        update={
            "blocked": [BlockedView(pid=1, waiting_s=2.0, lock=evil, table=evil, by=by)],
            "waits": [WaitView(kind=evil, event=evil, sessions=1)],
            "standbys": [StandbyView(name=evil, state=evil, lag_s=1.0)],
            "steps": [StepView(what="index", table=evil, name=evil, namespace=evil, phase=evil)],
            "unseen": [Unseen(what=evil, why=evil, remedy=evil)],
            "max_wal_size": evil,
        }
    )
    texts = [target_line(target), steps_words(snapshot(VitalsView(target=target)))]
    texts += [text for vital in target_vitals(target) for text in (vital.label, vital.words, vital.advice)]
    source = SOURCE.model_copy(update={"host": evil, "problem": evil, "members": target.standbys})
    texts += [source_line(source)] + [text for vital in source_vitals(source) for text in (vital.label, vital.words)]
    assert not [text for text in texts if "\x1b" in text or "\n" in text]
