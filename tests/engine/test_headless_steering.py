"""A headless run steered by signals, and by `ctl` from another terminal."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.errors import EXIT_CANCELLED, EXIT_CONNECT, EXIT_DONE, EXIT_SIGHUP, EXIT_SIGTERM, EXIT_USAGE
from tests.engine.test_command_line import N, assert_all_there, fill

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import Command, FrontEnd

SLOW = ["--throttle", "200", "--page-size", "100"]
"""The run takes a hundred seconds then: several commands to it in turn take twenty where the machine has much else to do."""
WAIT_S = 60.0
NOW_S = 30.0
"""What a stop at once may take, processes gone: a second on a machine that has nothing else to do."""


@pytest.fixture
def running(front_end: FrontEnd, source: Source) -> Command:
    """A slow run in the middle of its copy."""
    fill(source)
    command = front_end.start("run", "--json", "--cluster-size", "2", *SLOW)
    command.until_progress(lambda record: record["written"] > 0)
    return command


def _hurry(front_end: FrontEnd) -> None:
    """Let a slow run come to its end."""
    assert front_end.do("ctl", "set", "throttle=off").code == EXIT_DONE


def _resume(front_end: FrontEnd, target: Target) -> None:
    """Go on with the run, and find everything there."""
    outcome = front_end.do("run", "--json", "--resume")
    assert outcome.code == EXIT_DONE, outcome.err
    assert_all_there(target)


# --- signals ----------------------------------------------------------------------------------------------------------


def test_one_interrupt_commits_what_is_in_hand_and_the_run_can_be_resumed(
    running: Command, front_end: FrontEnd, target: Target
) -> None:
    running.send(signal.SIGINT)
    outcome = running.outcome(NOW_S)
    assert outcome.code == EXIT_CANCELLED
    assert "Ctrl-C again to roll back" in outcome.err
    assert outcome.last["state"] == "cancelled"
    assert 0 < outcome.last["written"] == target.value("SELECT count(*) FROM orders") < N
    _resume(front_end, target)


def test_a_second_interrupt_rolls_back_at_once(running: Command, front_end: FrontEnd, target: Target) -> None:
    running.send(signal.SIGINT)
    running.send(signal.SIGINT)
    outcome = running.outcome(NOW_S)
    assert outcome.code == EXIT_CANCELLED
    assert outcome.last["written"] == target.value("SELECT count(*) FROM orders")
    _resume(front_end, target)


@pytest.mark.slow
def test_a_third_interrupt_kills_an_engine_that_does_not_answer(
    running: Command, front_end: FrontEnd, target: Target
) -> None:
    (engine,) = front_end.engines()
    os.kill(engine, signal.SIGSTOP)
    for _ in range(3):
        running.send(signal.SIGINT)
        time.sleep(0.1)
    outcome = running.outcome(NOW_S)
    assert (outcome.code, outcome.last["state"]) == (EXIT_CANCELLED, "cancelled")
    assert "The engine was killed" in outcome.err
    _resume(front_end, target)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, EXIT_SIGTERM), pytest.param(signal.SIGHUP, EXIT_SIGHUP, marks=pytest.mark.slow)],
)
def test_ends_by_signal_have_their_own_exit_codes(
    number: signal.Signals, code: int, running: Command, front_end: FrontEnd
) -> None:
    running.send(number)
    outcome = running.outcome(NOW_S)
    assert (outcome.code, outcome.last["exit_code"], outcome.last["state"]) == (code, code, "cancelled")
    front_end.wait_for_no_engine(NOW_S)


@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.2])
def test_an_interrupt_while_the_interpreter_starts_leaves_nothing(
    delay_s: float, front_end: FrontEnd, source: Source
) -> None:
    fill(source, 10)
    command = front_end.start("run", "--throttle", "1")
    time.sleep(delay_s)
    command.send(signal.SIGINT)
    assert command.outcome(NOW_S).code != EXIT_DONE
    front_end.wait_for_no_engine(NOW_S)


def _loads(command: Command, _: FrontEnd) -> bool:
    """The program itself is there, and loads what it needs."""
    with suppress(OSError):
        return "pydantic_core" in Path(f"/proc/{command.process.pid}/maps").read_text()
    return False


def _has_engine(_: Command, front_end: FrontEnd) -> bool:
    return bool(list(front_end.engines()))


@pytest.mark.parametrize("has_begun", [_loads, _has_engine], ids=["it loads", "it has an engine"])
def test_an_interrupt_while_it_starts_leaves_nothing(
    has_begun: Callable[[Command, FrontEnd], bool], front_end: FrontEnd, source: Source
) -> None:
    fill(source, 10)
    command = front_end.start("run", "--throttle", "1")
    deadline = time.monotonic() + WAIT_S
    while not has_begun(command, front_end):
        assert time.monotonic() < deadline, command.shown()
        time.sleep(0.005)
    command.send(signal.SIGINT)
    outcome = command.outcome(NOW_S)
    assert outcome.code in (EXIT_CANCELLED, -signal.SIGINT)
    assert "Traceback" not in outcome.err
    front_end.wait_for_no_engine(NOW_S)


def test_a_front_end_that_is_killed_takes_its_engine_along(
    running: Command, front_end: FrontEnd, target: Target
) -> None:
    running.kill()
    running.close()
    front_end.wait_for_no_engine(NOW_S)
    _resume(front_end, target)


@pytest.mark.slow
def test_user_signals_pause_resume_and_show_the_workers(running: Command, front_end: FrontEnd, target: Target) -> None:
    running.send(signal.SIGUSR1)
    paused = running.until_progress(lambda record: record["state"] == "paused")
    assert {worker["state"] for worker in paused["workers"]} == {"paused"}
    still = running.until_progress(lambda record: record["state"] == "paused")
    assert still["written"] == paused["written"] == target.value("SELECT count(*) FROM orders")
    running.send(signal.SIGUSR2)
    running.until(lambda: "last progress" in running.err)
    running.send(signal.SIGUSR1)
    running.until_progress(lambda record: record["state"] == "running")
    _hurry(front_end)
    outcome = running.outcome()
    assert outcome.code == EXIT_DONE
    assert_all_there(target)


@pytest.mark.slow
def test_terminal_signals_change_the_number_of_workers(running: Command, front_end: FrontEnd, target: Target) -> None:
    running.send(signal.SIGTTIN)
    running.until_progress(lambda record: record["cluster_size"] == 3 and len(record["workers"]) == 3)
    running.send(signal.SIGTTOU)
    running.until_progress(lambda record: record["cluster_size"] == 2 and len(record["workers"]) == 2)
    _hurry(front_end)
    assert running.outcome().code == EXIT_DONE
    assert_all_there(target)


# --- ctl --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ctl_turns_knobs_within_their_bounds(running: Command, front_end: FrontEnd, target: Target) -> None:
    more = front_end.do("ctl", "set", "cluster_size=5", "--wait", "--json")
    assert (more.code, more.last["applies"]) == (EXIT_DONE, "at once")
    assert (more.last["workers_alive"], len(more.last["workers"])) == (5, 5)
    page = front_end.do("ctl", "set", "page-size=1,000")
    assert page.code == EXIT_DONE
    assert page.out.endswith("page size set to 1,000 (from the next page)\n")
    for word in ("cluster_size=0", "cluster_size=2000", "page_size=99", "page_size=100001"):
        refused = front_end.do("ctl", "set", word)
        assert refused.code == EXIT_USAGE
        assert "must be between" in refused.err
    seed = front_end.do("ctl", "set", "seed_count=5", "--json")
    assert (seed.code, seed.last["error"]["code"]) == (EXIT_USAGE, "knob")
    _hurry(front_end)
    assert running.outcome().code == EXIT_DONE
    assert_all_there(target)


@pytest.mark.slow
def test_ctl_leaves_the_cluster_size_to_the_run(running: Command, front_end: FrontEnd, target: Target) -> None:
    auto = front_end.do("ctl", "set", "workers=auto:3-6", "--wait", "--json")
    assert (auto.code, auto.last["auto"], auto.last["tuning"]["auto"]) == (EXIT_DONE, "auto:3-6", "auto:3-6")
    assert isinstance(auto.last["cluster_size"], int)
    assert front_end.do("ctl", "set", "workers=auto").out.endswith("workers set to auto (while the run copies)\n")
    _hurry(front_end)
    assert running.outcome().code == EXIT_DONE
    assert_all_there(target)


def test_ctl_pauses_resumes_and_cancels(running: Command, front_end: FrontEnd, target: Target) -> None:
    run_id = running.until_progress(lambda record: True)["run_id"]
    paused = front_end.do("ctl", "pause", "--wait", "--run", run_id[:12])
    assert paused.code == EXIT_DONE
    assert paused.out.startswith(f"run {run_id}, mongodb://")
    assert paused.out.endswith(": paused\n")
    status = front_end.do("ctl", "status")
    assert f"run {run_id}: paused" in status.out
    assert "paused by ctl" in status.out
    assert front_end.do("ctl", "pause").code == EXIT_USAGE
    assert front_end.do("ctl", "resume", "--wait", "--json").last["state"] == "running"
    cancelled = front_end.do("ctl", "cancel", "--wait", "--json")
    assert (cancelled.code, cancelled.last["state"]) == (EXIT_DONE, "cancelled")
    outcome = running.outcome(NOW_S)
    assert (outcome.code, outcome.last["state"]) == (EXIT_CANCELLED, "cancelled")
    assert front_end.do("ctl", "status").code == EXIT_CONNECT
    _resume(front_end, target)


@pytest.mark.slow
def test_ctl_asks_which_run_where_there_are_several(running: Command, front_end: FrontEnd, source: Source) -> None:
    words = ["seed", "--json", "--seed-count", "100,000,000", "--collection", f"{source.database}.more"]
    other = front_end.start(*words, "--cluster-size", "1")
    run_ids = [command.until_progress(lambda record: True)["run_id"] for command in (running, other)]
    refused = front_end.do("ctl", "status", "--json")
    assert (refused.code, refused.last["error"]["code"]) == (EXIT_USAGE, "usage")
    assert all(run_id in refused.err for run_id in run_ids)
    for run_id, command in zip(run_ids, (running, other), strict=True):
        assert front_end.do("ctl", "cancel", "--now", "--wait", "--run", run_id).code == EXIT_DONE
        assert command.outcome(NOW_S).code == EXIT_CANCELLED
