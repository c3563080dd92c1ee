"""A run's states: what follows what, what may be asked in each, and how pauses and stops fit in."""

from __future__ import annotations

import pytest

from engine.errors import UsageError
from engine.protocol import RunState
from engine.run.states import MAY, TRANSITIONS, Lifecycle, require

ENDS = [state for state in RunState if state.is_over]
WORK = [
    RunState.STARTING, RunState.SEEDING, RunState.RUNNING, RunState.FINISHING, RunState.FOLLOWING, RunState.DRAINING,
    RunState.HALTED,
]  # fmt: skip


class Told:
    """A lifecycle, and what it made known."""

    def __init__(self) -> None:
        self.states: list[tuple[RunState, str, str]] = []
        self.life = Lifecycle(lambda *state: self.states.append(state))


def path_to(state: RunState) -> list[RunState]:
    """A shortest way from idle to a state by the table."""
    ways = [[RunState.IDLE]]
    for way in ways:
        if way[-1] is state:
            return way
        ways += [[*way, after] for after in sorted(TRANSITIONS[way[-1]]) if after not in way]
    raise AssertionError(state)


def in_state(state: RunState) -> Told:
    """A run that has come to a state by steps that the table has."""
    told = Told()
    for step in path_to(state)[1:]:
        ask(told.life, step)
    assert told.life.state is state
    return told


def ask(life: Lifecycle, state: RunState) -> None:
    """Have it become this."""
    match state:
        case RunState.PAUSING:
            life.pause("because", "pausing")
        case RunState.PAUSED if life.state is RunState.PAUSING:
            life.paused()
        case RunState.PAUSED:
            life.stand("because")
        case RunState.CANCELLING:
            life.cancel(now=False)
        case _ if state.is_over:
            life.end(state)
        case _ if life.is_paused:
            life.enter(state, state.value)
            life.resume()
        case _:
            life.enter(state, state.value)


def test_the_table_has_every_state_and_every_state_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(RunState)
    for state in RunState:
        assert path_to(state)[-1] is state


@pytest.mark.parametrize("after", list(RunState))
@pytest.mark.parametrize("before", list(RunState))
def test_a_run_becomes_what_the_table_lets_it_become_and_nothing_else(before: RunState, after: RunState) -> None:
    told = in_state(before)
    is_held_up = before is RunState.CANCELLING and after in {RunState.IDLE, *WORK}
    if before is after or is_held_up:
        return
    if after in TRANSITIONS[before]:
        ask(told.life, after)
        assert told.life.state is after
    else:
        with pytest.raises(RuntimeError, match="a run cannot become"):
            ask(told.life, after)


@pytest.mark.parametrize("end", ENDS)
def test_nothing_follows_an_end(end: RunState) -> None:
    assert not TRANSITIONS[end]
    assert not any(end in states for states in MAY.values())


@pytest.mark.parametrize("state", [RunState.SEEDING, RunState.STARTING, RunState.RUNNING])
def test_what_a_pause_interrupted_goes_on_after_it(state: RunState) -> None:
    told = in_state(state)
    told.life.pause("paused by you", "pausing")
    told.life.paused()
    assert told.states[-1] == (RunState.PAUSED, "paused", "paused by you")
    told.life.resume()
    assert told.life.state is state


def test_what_a_run_comes_to_in_a_pause_is_shown_when_it_goes_on() -> None:
    told = in_state(RunState.STARTING)
    told.life.pause("paused by you", "pausing")
    told.life.enter(RunState.RUNNING, "copying")
    assert told.life.state is RunState.PAUSING
    told.life.resume()
    assert told.states[-1] == (RunState.RUNNING, "copying", "")


def test_one_pause_holds_another_up_and_keeps_its_reason() -> None:
    told = in_state(RunState.RUNNING)
    told.life.stand("waiting: the target's disk is full")
    told.life.stand("waiting: a lock on a target table")
    assert told.life.pause_reason == "waiting: the target's disk is full"
    assert len([state for state, _, _ in told.states if state is RunState.PAUSED]) == 1


def test_progress_does_not_undo_a_stop() -> None:
    told = in_state(RunState.RUNNING)
    told.life.cancel(now=True)
    told.life.enter(RunState.FINISHING, "building keys")
    assert told.life.state is RunState.CANCELLING


def test_the_same_state_and_phase_are_told_once() -> None:
    told = in_state(RunState.RUNNING)
    before = len(told.states)
    told.life.enter(RunState.RUNNING, RunState.RUNNING.value)
    assert len(told.states) == before
    told.life.enter(RunState.RUNNING, "another phase")
    assert told.states[-1] == (RunState.RUNNING, "another phase", "")


@pytest.mark.parametrize("command", sorted(MAY))
@pytest.mark.parametrize("state", list(RunState))
def test_a_command_that_makes_no_sense_in_a_state_is_refused_with_the_reason(command: str, state: RunState) -> None:
    if state in MAY[command]:
        require(command, state)
    else:
        with pytest.raises(UsageError, match=f"The run .*: there is nothing to {command}"):
            require(command, state)
