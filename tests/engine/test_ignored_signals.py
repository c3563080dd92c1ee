"""A signal that was ignored when a run was started, as by nohup or by a shell for its background jobs, stays ignored."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from engine.errors import EXIT_DONE, EXIT_SIGTERM
from tests.engine.test_command_line import assert_all_there, fill
from tests.signals import send_signal

if TYPE_CHECKING:
    from tests.conftest import Source, Target
    from tests.engine.front_end import FrontEnd


@contextmanager
def ignored(*numbers: signal.Signals) -> Iterator[None]:
    """What is started within inherits it."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.slow
def test_a_run_goes_on_through_signals_that_were_ignored_at_its_start(
    front_end: FrontEnd, source: Source, target: Target
) -> None:
    fill(source)
    with ignored(signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
        command = front_end.start("run", "--json", "--cluster-size", "2", "--page-size", "500", "--throttle", "500")
    record = command.until_progress(lambda record: sum(worker["written"] > 0 for worker in record["workers"]) == 2)
    everyone = [command.process.pid, *front_end.engines(), *(worker["pid"] for worker in record["workers"])]
    for pid in everyone:
        for number in (
            (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1) if pid == everyone[0] else (signal.SIGHUP, signal.SIGINT)
        ):
            assert send_signal(pid, number)
    after = command.until_progress(lambda later: later["written"] > record["written"])
    assert after["state"] == "running"
    assert [worker["pid"] for worker in after["workers"]] == [worker["pid"] for worker in record["workers"]]
    assert front_end.do("ctl", "set", "throttle=off").code == EXIT_DONE
    outcome = command.outcome()
    assert outcome.code == EXIT_DONE, outcome.err
    assert_all_there(target)


def test_a_signal_that_is_not_ignored_still_counts_beside_one_that_is(front_end: FrontEnd, source: Source) -> None:
    fill(source, 1_000)
    with ignored(signal.SIGHUP, signal.SIGINT):
        command = front_end.start(
            "seed", "--json", "--seed-count", "1000000", "--collection", f"{source.database}.more"
        )
    command.until_progress(lambda record: record["state"] == "seeding")
    command.send(signal.SIGINT)
    command.send(signal.SIGTERM)
    assert command.outcome(20).code == EXIT_SIGTERM
    front_end.wait_for_no_engine()
