"""`ctl cutover`: the times that it takes, the options that fit together, when a run is near its source."""

from __future__ import annotations

import pytest

from engine.errors import EXIT_USAGE, UsageError
from engine.protocol import FollowReason, FollowView, RunState, Snapshot
from engine.run.cutting_over import STOP_TTL, written_words
from tui.cli.cutting_over import NotReady, is_near, seconds, stop_writers, with_reasons
from tui.cli.entry import run_command_line


@pytest.mark.parametrize(
    ("text", "expected"),
    [("120", 120.0), ("5s", 5.0), ("500ms", 0.5), ("2m", 120.0), ("1.5h", 5_400.0), (" 7 s ", 7.0)],
)
def test_a_time_has_a_unit_or_is_in_seconds(text: str, expected: float) -> None:
    assert seconds(text, "--timeout") == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "s", "5d", "-1s", "1 2s", "nan"])
def test_what_is_no_time_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match="--at-lag takes a time"):
        seconds(text, "--at-lag")


def followed(*, ready: bool, lag_s: float | None) -> Snapshot:
    follow = FollowView(phase="following", ready=ready, lag_s=lag_s)
    return Snapshot(run_id="r", state=RunState.FOLLOWING, phase="following", cluster_size=1, page_size=1, follow=follow)


def test_a_run_is_near_when_it_is_ready_and_its_lag_is_known_and_small() -> None:
    assert is_near(followed(ready=True, lag_s=5.0), 5.0)
    assert not is_near(followed(ready=True, lag_s=6.0), 5.0)
    assert not is_near(followed(ready=True, lag_s=None), 5.0)
    assert not is_near(followed(ready=False, lag_s=0.0), 5.0)


def test_a_run_that_does_not_follow_is_not_waited_for() -> None:
    copying = Snapshot(run_id="r", state=RunState.RUNNING, phase="copying", cluster_size=1, page_size=1)
    with pytest.raises(UsageError, match="does not follow its source"):
        is_near(copying, 5.0)
    assert not is_near(copying.model_copy(update={"state": RunState.STARTING}), 5.0)


def test_a_refusal_has_each_reason_by_itself() -> None:
    reasons = [FollowReason(code="lag", message="it is 95 s behind the source")]
    follow = FollowView(phase="following", ready=False, reasons=reasons)
    snapshot = followed(ready=False, lag_s=95.0).model_copy(update={"follow": follow})
    refusal = with_reasons(UsageError("The run is not ready to be cut over: ...", code="not_ready"), snapshot)
    assert isinstance(refusal, NotReady)
    assert (refusal.code, refusal.exit_code) == ("not_ready", EXIT_USAGE)
    assert refusal.facts == {"reasons": [{"code": "lag", "message": "it is 95 s behind the source"}]}
    other = UsageError("The run is being cut over already.", code="state")
    assert with_reasons(other, snapshot) is other


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({}, ""),
        (
            {("shop.orders", "insert"): 2, ("shop.orders", "delete"): 1},
            "the source was written to after the mark (3 in shop.orders): its writers are not stopped",
        ),
        (
            {("shop.sessions", "delete"): 1_200},
            "the source was written to after the mark (1,200 deletes in shop.sessions, which has a TTL index): "
            f"{STOP_TTL} keeps the server from deleting what is old",
        ),
        (
            {("shop.sessions", "delete"): 1, ("shop.sessions", "insert"): 1},
            "the source was written to after the mark (1 in shop.sessions; 1 delete in shop.sessions, which has a TTL index): "
            f"its writers are not stopped, and {STOP_TTL} keeps the server from deleting what is old",
        ),
    ],
)
def test_writes_behind_the_mark_are_named_and_deletes_of_a_ttl_index_as_such(
    written: dict[tuple[str, str], int], expected: str
) -> None:
    assert written_words(written, {"shop.sessions"}) == expected


async def test_a_command_that_is_killed_has_stopped_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="was ended by signal 9: nothing is cut over"):
        await stop_writers("kill -9 $$")
    await stop_writers("echo done")
    assert capfd.readouterr().out == "", "stdout is for JSON"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["ctl", "pause", "--at-lag", "5s"], "go with cutover only"),
        (["ctl", "status", "--abort"], "go with cutover only"),
        (["ctl", "pause", "--block-writes"], "go with cutover only"),
        (["ctl", "cutover", "--abort", "--block-writes"], "--abort goes without"),
        (["ctl", "cutover", "--abort", "--timeout", "5s"], "--abort goes without"),
        (["ctl", "cutover", "--timeout", "soon"], "--timeout takes a time"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    args: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(args) == EXIT_USAGE
    assert sentence in capsys.readouterr().err
