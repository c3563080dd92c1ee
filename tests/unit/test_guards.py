"""What guards see in the vitals, and what that does to a run: an operator's throttle and pause stay what they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import GuardSettings, Settings
from engine.errors import UsageError
from engine.guards.governor import FLOOR
from engine.guards.limits import findings
from engine.protocol import (
    BlockedView,
    CutOver,
    Event,
    GuardActed,
    GuardBlind,
    OwnVitals,
    RunState,
    SetGuard,
    SlotView,
    Snapshot,
    SourceVitals,
    StandbyView,
    TargetVitals,
    Unseen,
    VitalsView,
)
from engine.run.guarding import HOLD_S, Guarding
from engine.run.knobs import as_typed, changed_guard
from engine.run.record import RunRecord
from tui.cli.ctl import _command
from tui.cli.json_lines import progress_record
from tui.words.sentences import progress_sentence, status_text

GB = 1_000_000_000
OFF: dict[str, Any] = {"standby_lag": 0, "standby_lag_hard": 0, "disk_free": 0, "disk_free_hard": 0}


def view(**sides: Any) -> VitalsView:
    return VitalsView(
        target=TargetVitals(**{"age_s": 0.2} | sides.get("target", {})),
        source=SourceVitals(**{"age_s": 0.2} | sides.get("source", {})),
        own=sides.get("own"),
    )


def behind(*lags: float | None) -> VitalsView:
    return view(target={"standbys": [StandbyView(name=f"standby{n}", lag_s=lag) for n, lag in enumerate(lags, 1)]})


def seen(guard: dict[str, Any], vitals: VitalsView | None) -> list[tuple[str, str, str]]:
    settings = GuardSettings(**OFF | guard)
    return [(each.name, each.state, each.words) for each in (finding.view() for finding in findings(settings, vitals))]


# --- what they see ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guard", "vitals", "state", "words"),
    [
        pytest.param(
            {"standby_lag": 10}, behind(2, 14), "slows", "standby standby2 replays 14 s behind (limit 10 s)", id="lag"
        ),
        pytest.param(
            {"standby_lag": 10, "standby_lag_hard": 60}, behind(75), "pauses",
            "standby standby1 replays 75 s behind (limit 60 s)", id="hard",
        ),
        pytest.param({"standby_lag": 10}, behind(), "fine", "no standby is behind", id="no standby"),
        pytest.param({"standby_lag": 10}, behind(None), "fine", "no standby is behind", id="one that does not replay"),
        pytest.param(
            {"standby_lag": 10, "ignore": ["standby2"]}, behind(2, 3600), "fine", "standby standby1 replays 2 s behind",
            id="one that is late on purpose",
        ),
        pytest.param(
            {"disk_free": 2 * GB}, view(target={"disk_free_bytes": 1_500_000_000}), "slows",
            "PostgreSQL's disk has 1.5 GB free (limit 2.0 GB)", id="disk",
        ),
        pytest.param(
            {"disk_free_hard": GB}, view(target={"disk_free_bytes": 0}), "pauses",
            "PostgreSQL's disk has 0 bytes free (limit 1.0 GB)", id="full disk",
        ),
        pytest.param(
            {"slots": "unreserved"}, view(target={"slots": [SlotView(name="a", status="extended")]}), "fine",
            "replication slot a is extended", id="slot",
        ),
        pytest.param(
            {"slots": "extended"},
            view(target={"slots": [SlotView(name="a", status="extended"), SlotView(name="b", status="unreserved")]}),
            "slows", "replication slot b is unreserved (limit extended)", id="worse slot",
        ),
        pytest.param(
            {"slot_wal": GB}, view(target={"slots": [SlotView(name="a", status="reserved", held_bytes=12 * GB)]}), "slows",
            "replication slot a holds back 12.0 GB of WAL (limit 1.0 GB)", id="WAL of a slot",
        ),
        pytest.param(
            {"blocked": 5},
            view(target={"blocking": [
                BlockedView(pid=7, waiting_s=6.5, lock="relation", table="public.users", application="psql", user="app")
            ]}),
            "slows", "session 7 (psql, user app) has waited 6.5 s for a lock of the run on public.users (limit 5 s)",
            id="blocked",
        ),
        pytest.param(
            {"query": "SELECT 1", "query_limit": 5}, view(target={"query": 7.0}), "slows", "guard.query gives 7 (limit 5)",
            id="query",
        ),
        pytest.param(
            {"query": "SELECT 1", "query_hard": 5}, view(target={"query": 7.0}), "pauses", "guard.query gives 7 (limit 5)",
            id="hard query",
        ),
        pytest.param(
            {"tickets": 10}, view(source={"read_tickets": 128, "read_tickets_used": 125}), "slows",
            "MongoDB has 3 of 128 read tickets free (limit 10%)", id="tickets",
        ),
        pytest.param(
            {"queue": 50}, view(source={"reads_queued": 40, "writes_queued": 34}), "slows",
            "74 operations wait in MongoDB's queues (limit 50)", id="queue",
        ),
        pytest.param(
            {"secondary_lag": 30}, view(source={"members": [StandbyView(name="b:27017", lag_s=45)]}), "slows",
            "secondary b:27017 is 45 s behind (limit 30 s)", id="secondary",
        ),
        pytest.param(
            {"secondary_lag": 30},
            view(source={"members": [StandbyView(name="b", lag_s=45), StandbyView(name="c", state="RECOVERING")]}), "slows",
            "secondary b is 45 s behind (limit 30 s)", id="secondary beside one that recovers",
        ),
        pytest.param(
            {"secondary_lag": 30, "ignore": ["c"]},
            view(source={"members": [StandbyView(name="b", lag_s=2), StandbyView(name="c", state="RECOVERING")]}), "fine",
            "secondary b is 2 s behind", id="one that recovers and does not count",
        ),
        pytest.param(
            {"secondary_lag": 30}, view(source={"members": [StandbyView(name="b", lag_s=2)], "flow_control": True}), "slows",
            "MongoDB's flow control slows writes, since secondaries are behind", id="flow control",
        ),
        pytest.param(
            {"command": "check"}, view(own=OwnVitals(exit_code=1, output="load 14")), "slows",
            "guard.command ended with exit code 1: load 14", id="command",
        ),
        pytest.param(
            {"command": "check"}, view(own=OwnVitals(exit_code=2)), "pauses", "guard.command ended with exit code 2",
            id="critical command",
        ),
        pytest.param({"file": "/stop"}, view(own=OwnVitals(has_file=True)), "pauses", "file /stop exists", id="file"),
        pytest.param({"file": "/stop"}, view(own=OwnVitals(has_file=False)), "fine", "no file /stop", id="no file"),
    ],
)  # fmt: skip
def test_what_a_guard_sees(guard: dict[str, Any], vitals: VitalsView, state: str, words: str) -> None:
    ((_, found, said),) = seen(guard, vitals)
    assert (found, said) == (state, words)


@pytest.mark.parametrize(
    ("guard", "vitals", "why"),
    [
        pytest.param(
            {"standby_lag": 10},
            view(target={"unseen": [Unseen(what="replica lag", why="The role mig may not see it.", remedy="GRANT x;")]}),
            "The role mig may not see it.", id="a right that is lacking",
        ),
        pytest.param(
            {"standby_lag": 10}, view(target={"age_s": 60.0, "problem": "The server is gone."}), "The server is gone.",
            id="a server that is gone",
        ),
        pytest.param(
            {"tickets": 10}, view(source={"age_s": None, "problem": "refused"}), "refused", id="one that never was there"
        ),
        pytest.param(
            {"secondary_lag": 30},
            view(source={"members": [StandbyView(name="b", lag_s=2), StandbyView(name="c", state="RECOVERING")]}),
            "c is RECOVERING: how far it is behind cannot be seen.", id="a secondary that recovers",
        ),
        pytest.param(
            {"query": "SELECT x"}, view(target={"unseen": [Unseen(what="guard.query", why="column x (42703)")]}),
            "column x (42703)", id="a query with a mistake",
        ),
        pytest.param(
            {"command": "check"}, view(own=OwnVitals(exit_code=3, output="UNKNOWN")),
            "guard.command ended with exit code 3: UNKNOWN.", id="a command that does not know",
        ),
        pytest.param(
            {"file": "/x"}, view(own=OwnVitals(unseen=[Unseen(what="guard.file", why="denied")])), "denied",
            id="a closed folder",
        ),
        pytest.param({"slot_wal": 1}, view(), "The server does not tell what replication slots there are.", id="an old server"),
    ],
)  # fmt: skip
def test_what_a_guard_cannot_see_is_never_fine(guard: dict[str, Any], vitals: VitalsView, why: str) -> None:
    ((_, state, said),) = seen(guard, vitals)
    assert (state, said) == ("unseen", why)


def test_before_the_first_look_a_guard_waits() -> None:
    everything = {"standby_lag": 1, "tickets": 1, "query": "SELECT 1", "command": "x", "file": "/x"}
    for vitals in (None, VitalsView(), view(target={"age_s": None}, source={"age_s": None})):
        assert {state for _, state, _ in seen(everything, vitals)} == {"waiting"}


def test_all_that_fail_are_listed_the_most_severe_first_and_what_cannot_be_seen_last() -> None:
    vitals = view(
        target={
            "standbys": [StandbyView(name="s", lag_s=20)], "disk_free_bytes": 400_000_000, "query": 50.0,
        },
        source={"unseen": [Unseen(what="read tickets", why="no right")], "reads_queued": 1},
    )  # fmt: skip
    guard = {
        "standby_lag": 10, "disk_free": 2 * GB, "disk_free_hard": GB, "query": "SELECT 1", "query_limit": 10, "tickets": 10,
        "queue": 50,
    }  # fmt: skip
    assert [(name, state) for name, state, _ in seen(guard, vitals)] == [
        ("disk_free", "pauses"), ("query", "slows"), ("standby_lag", "slows"), ("queue", "fine"), ("tickets", "unseen"),
    ]  # fmt: skip


def test_by_default_standby_lag_and_disk_are_guarded_and_one_switch_turns_all_off() -> None:
    assert {each.name for each in findings(GuardSettings(), view())} == {"standby_lag", "disk_free"}
    assert findings(GuardSettings(on=False, tickets=10), view()) == []


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [("on", "off", "false"), ("standby_lag", "30", "30"), ("step_s", "0.5", "0.5"), ("ignore", "a, b*", "a,b*"),
     ("disk_free", "2,000,000,000", "2000000000"), ("slots", "extended", "extended")],
)  # fmt: skip
def test_a_guard_s_setting_is_told_as_it_is_typed(setting: str, value: str, words: str) -> None:
    assert as_typed(getattr(changed_guard(Settings(), setting, value).guard, setting)) == words


def test_a_guard_s_setting_is_changed_as_it_is_typed() -> None:
    settings = Settings()
    assert changed_guard(settings, "standby_lag", "off").guard.standby_lag == 0
    assert changed_guard(settings, "disk_free", "10,000").guard.disk_free == 10_000
    assert changed_guard(settings, "ignore", "late*, other").guard.ignore == ["late*", "other"]
    assert not changed_guard(settings, "on", "off").guard.on
    with pytest.raises(UsageError, match=r"guard\.standby_lag must be a number between 0 and 86,400, not 'long'"):
        changed_guard(settings, "standby_lag", "long")
    with pytest.raises(UsageError, match=r"There is no setting guard\.standby; did you mean standby_lag\."):
        changed_guard(settings, "standby", "1")


# --- what it does to a run --------------------------------------------------------------------------------------------


class FakeRun:
    """What guards see of a run; states follow at once."""

    def __init__(self, **guard: Any) -> None:
        self.settings = Settings(guard=GuardSettings(**OFF | {"standby_lag": 10, "standby_lag_hard": 60} | guard))
        self.record = RunRecord("x", state=RunState.RUNNING, knobs={"throttle": 0})
        self.events: list[Event] = []
        self.told: int | None = None
        self.pause_reason = ""
        self.now = 0.0
        self.guards = Guarding(self, lambda: self.now)

    @property
    def is_paused(self) -> bool:
        return bool(self.pause_reason)

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def tune(self) -> None:
        self.told = self.guards.throttled(self.record.knobs["throttle"])

    def hold_back(self, reason: str) -> None:
        if self.record.state is not RunState.FINISHING:
            self.pause_reason = reason

    def go_on(self, reason: str) -> None:
        if self.pause_reason == reason:
            self.pause_reason = ""

    def see(self, vitals: VitalsView | None, seconds: float = 0.25, rate: float = 10_000.0) -> None:
        """Let time pass while this is seen."""
        until = self.now + seconds
        while self.now < until:
            self.now += 0.25
            self.guards.look(vitals, rate if not self.is_paused else 0.0)

    @property
    def acts(self) -> list[str]:
        return [event.what for event in self.events if isinstance(event, GuardActed)]


def test_the_strictest_names_itself_in_the_event_and_on_the_screen() -> None:
    run = FakeRun()
    run.see(behind(14))
    assert run.told == 5_000
    (event,) = run.events
    assert isinstance(event, GuardActed)
    assert event.facts == {
        "what": "slowed", "guard": "standby_lag", "reason": "standby standby1 replays 14 s behind (limit 10 s)",
        "rows_per_s": 5_000,
    }  # fmt: skip
    shown = run.guards.view(behind(14))
    assert shown is not None
    assert (shown.action, shown.reason, shown.rows_per_s, shown.share) == ("slowed", event.reason, 5_000, 0.5)


def test_a_limit_that_stays_passed_ends_in_a_pause_and_everything_comes_back_by_itself() -> None:
    run = FakeRun()
    run.see(behind(14), 30)
    assert run.acts == ["slowed"] * 5 + ["paused"]
    assert run.pause_reason == "paused by guard standby_lag: standby standby1 replays 14 s behind (limit 10 s)"
    run.see(behind(1), 80)
    assert run.acts[6:] == ["resumed", "lifted"]
    assert not run.is_paused
    assert run.told == 0, "no limit"
    shown = run.guards.view(behind(1))
    assert shown is not None
    assert (shown.action, shown.rows_per_s, shown.reason) == ("", None, "")


def test_an_operator_s_pause_stays_when_a_guard_has_recovered() -> None:
    run = FakeRun()
    run.see(behind(75))
    run.pause_reason = "paused by ann"
    run.see(behind(1), 80)
    assert run.pause_reason == "paused by ann"
    assert run.acts[-1] == "lifted"


def test_what_an_operator_resumes_is_held_as_long_as_a_guard_wants_it() -> None:
    run = FakeRun()
    run.pause_reason = "paused by ann"
    run.see(behind(75))
    assert run.pause_reason == "paused by ann"
    run.pause_reason = ""
    run.see(behind(75))
    assert run.pause_reason.startswith("paused by guard standby_lag")


def test_a_run_that_builds_its_keys_is_not_paused_and_says_so() -> None:
    run = FakeRun()
    run.record.state = RunState.FINISHING
    run.see(behind(75), 20)
    assert not run.is_paused
    assert not run.acts
    shown = run.guards.view(behind(75))
    assert shown is not None
    assert (shown.action, shown.guards[0].state) == ("", "pauses")


def test_no_key_or_index_is_begun_past_a_limit_that_pauses_until_it_is_over() -> None:
    run = FakeRun()
    run.record.state = RunState.FINISHING
    run.see(behind(14))
    assert run.guards.hold_builds() == "", "what slows rows down does not keep keys from being built"
    run.see(behind(75))
    reason = run.guards.hold_builds()
    assert reason.startswith("paused by guard standby_lag: standby standby1 replays 75 s behind")
    run.pause_reason, run.record.state = reason, RunState.PAUSED  # as the run does then
    run.see(behind(75), 20)
    assert run.pause_reason == reason
    run.see(behind(78))
    assert run.guards.hold_builds() == reason, "another table's, though the guard says another number by now"
    assert run.acts == ["paused"]
    run.see(behind(1), 6)
    assert (run.pause_reason, run.acts) == ("", ["paused", "lifted"])
    run.record.state = RunState.FINISHING
    assert run.guards.hold_builds() == ""


def test_guards_that_are_off_hold_no_key() -> None:
    run = FakeRun()
    run.record.state = RunState.FINISHING
    run.see(behind(75))
    run.settings = run.settings.model_copy(update={"guard": run.settings.guard.model_copy(update={"on": False})})
    assert run.guards.hold_builds() == ""


@pytest.mark.parametrize("state", [RunState.FOLLOWING, RunState.DRAINING])
def test_a_run_that_follows_its_source_is_not_held_back(state: RunState) -> None:
    run = FakeRun()
    run.see(behind(14))
    assert run.told == 5_000
    run.record.state = state
    run.see(behind(75), 60)
    assert (run.told, run.pause_reason, run.acts) == (0, "", ["slowed"])


def test_turning_guards_off_lets_the_run_go_at_once() -> None:
    run = FakeRun()
    run.see(behind(75))
    assert run.is_paused
    run.settings = changed_guard(run.settings, "on", "false")
    run.see(behind(75))
    assert not run.is_paused
    assert not run.guards.is_acting
    assert run.told == 0


def test_what_cannot_be_seen_any_more_still_counts_for_a_while_and_then_says_so() -> None:
    gone = view(target={"age_s": 60.0, "problem": "gone"})
    run = FakeRun()
    run.see(behind(75))
    run.see(gone, HOLD_S - 1)
    assert run.is_paused
    assert not any(isinstance(event, GuardBlind) for event in run.events)
    run.see(gone, 80)
    assert not run.is_paused
    (blind,) = [event for event in run.events if isinstance(event, GuardBlind)]
    assert (blind.guard, blind.why) == ("standby_lag", "gone")


def test_a_guard_that_is_blind_says_so_once() -> None:
    run = FakeRun()
    run.see(view(target={"unseen": [Unseen(what="replica lag", why="No right.", remedy="GRANT x;")]}), 60)
    assert [event.facts for event in run.events] == [{"guard": "standby_lag", "why": "No right.", "remedy": "GRANT x;"}]


def test_a_guard_that_is_blind_for_ever_new_reasons_says_so_once_a_spell() -> None:
    run = FakeRun(command="check")
    for number in range(100):
        run.see(view(target={"standbys": []}, own=OwnVitals(exit_code=3, output=str(number))))
    assert len(run.events) == 1
    run.see(view(target={"standbys": []}, own=OwnVitals(exit_code=0)), 100)
    run.see(view(target={"standbys": []}, own=OwnVitals(exit_code=3)))
    assert len(run.events) == 2


def test_a_window_tells_whether_a_guard_acted_in_it() -> None:
    run = FakeRun()
    run.see(behind(1), 10)
    assert not run.guards.acted_since(0.0)
    run.see(behind(14))
    run.see(behind(1), 60)
    assert not run.guards.is_acting
    assert run.guards.acted_since(30.0)
    assert not run.guards.acted_since(run.now - 5.0)


@given(
    st.lists(
        st.tuples(
            st.floats(0.25, 20.0), st.sampled_from([1.0, 14.0, 75.0, None]), st.sampled_from([0, 100, 5_000, 50_000]),
            st.floats(0.0, 40_000.0),
        ),
        max_size=25,
    )
)  # fmt: skip
def test_no_rate_is_ever_above_the_operator_s_throttle_or_below_the_floor(
    seen: list[tuple[float, float | None, int, float]],
) -> None:
    run = FakeRun()
    for seconds, lag_s, throttle, rate in seen:
        run.record.knobs["throttle"] = throttle
        run.tune()
        run.see(behind(lag_s) if lag_s is not None else view(target={"age_s": 99.0, "problem": "gone"}), seconds, rate)
        told = run.guards.throttled(throttle)
        assert told >= 0
        assert not throttle or 0 < told <= throttle
        shown = run.guards.view(behind(1))
        assert shown is not None
        assert FLOOR <= shown.share <= 1.0
        assert run.is_paused == bool(run.guards.pause_reason)
    run.see(behind(1), 120, 10_000.0)
    assert not run.is_paused
    assert run.guards.throttled(700) == 700
    assert run.guards.throttled(0) == 0


# --- what people read -------------------------------------------------------------------------------------------------


def test_status_and_progress_name_the_strictest_guard_and_what_is_done() -> None:
    run = FakeRun(query="SELECT 1", query_limit=5)
    vitals = view(target={"standbys": [StandbyView(name="standby1", lag_s=14)], "query": 6.0})
    run.see(vitals)
    shown = Snapshot(run_id="r", state=RunState.RUNNING, phase="copying", guards=run.guards.view(vitals))
    line = "slowed to 5,000 rows/s: standby standby1 replays 14 s behind (limit 10 s), and 1 more"
    assert f"  guards   {line}" in status_text(shown)
    assert f"! {line}" in progress_sentence(shown)
    record = progress_record(shown)["guards"]
    assert (record["action"], record["rows_per_s"], record["share"]) == ("slowed", 5_000, 0.5)
    assert [each["name"] for each in record["guards"]] == ["standby_lag", "query"]
    run.see(behind(1))
    shown = shown.model_copy(update={"guards": run.guards.view(behind(1))})
    assert "slowed to 5,000 rows/s, less and less: " in status_text(shown)
    run.settings = changed_guard(run.settings, "on", "off")
    shown = shown.model_copy(update={"guards": run.guards.view(behind(1))})
    assert "  guards   turned off" in status_text(shown)


@pytest.mark.parametrize(
    ("typed", "setting", "value"),
    [
        ("guard.standby_lag=30", "standby_lag", "30"),
        ("guards=off", "on", "off"),
        ("guard.standby-lag= off", "standby_lag", "off"),
    ],
)
def test_ctl_sets_guards_by_their_names(typed: str, setting: str, value: str) -> None:
    assert _command("set", typed, wait=False, now=False, cut_over=CutOver()) == SetGuard(setting=setting, value=value)
