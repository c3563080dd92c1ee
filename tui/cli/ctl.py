"""`ctl`: find the engine of a live run, send it one command, print the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from engine.errors import EXIT_DONE, ConnectError, UsageError
from engine.knobs import CLUSTER_SIZE, knob_named
from engine.protocol import Cancel, Pause, Resume, RunFinished, RunState, SetKnob, Snapshot, Status
from engine.service.client import EngineClient, find_engine
from tui.cli.json_lines import status_record
from tui.cli.options import JsonOption
from tui.cli.output import say, say_json
from tui.words.knobs import value_text
from tui.words.safe import safe
from tui.words.sentences import status_text

ACTIONS = ("status", "pause", "resume", "cancel", "set")
_PAUSED = frozenset({RunState.PAUSING, RunState.PAUSED})


def ctl(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="status, pause, resume, cancel or set.")],
    setting: Annotated[
        str | None,
        typer.Argument(metavar="[KNOB=VALUE]", help="For set: cluster_size, page_size, seed_count or throttle."),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Which run, where several are going on.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Answer when it is done, not when it is accepted.")] = False,
    now: Annotated[bool, typer.Option("--now", help="cancel: roll slices in hand back.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Steer a run from another terminal."""
    return steer(action, setting, run, wait=wait, now=now, as_json=as_json)


def steer(action: str, setting: str | None, run: str | None, *, wait: bool, now: bool, as_json: bool) -> int:
    """Do it and print the outcome.

    Raises:
        UsageError: wrong words, several live runs, or the engine refuses. ConnectError: there is no such engine.
    """
    command = _command(action, setting, wait=wait, now=now)
    reply, snapshot = asyncio.run(_steered(command, run, wait=wait))
    if as_json:
        applied = reply if isinstance(command, SetKnob) else {}
        say_json(status_record(snapshot) | applied)
    elif isinstance(command, Status):
        say(status_text(snapshot))
    elif isinstance(command, SetKnob):
        value = value_text(knob_named(command.knob), command.value)
        say(f"run {snapshot.run_id}: {command.knob} is {value}, {safe(str(reply['applies']))}")
    else:
        say(f"run {snapshot.run_id}: {snapshot.state.value}")
    return EXIT_DONE


def _command(action: str, setting: str | None, *, wait: bool, now: bool) -> BaseModel:
    if now and action != "cancel":
        raise UsageError("--now goes with cancel only.")
    if setting is not None and action != "set":
        raise UsageError(f"ctl {action} takes no {setting!r}; KNOB=VALUE goes with set only.")
    match action:
        case "status" if wait:
            raise UsageError("--wait goes with pause, resume, cancel and set.")
        case "status":
            return Status()
        case "pause":
            return Pause()
        case "resume":
            return Resume()
        case "cancel":
            return Cancel(now=now)
        case "set":
            name, equals, value = (setting or "").partition("=")
            if not equals:
                raise UsageError("ctl set takes KNOB=VALUE, such as cluster_size=12.")
            knob = knob_named(name)
            return SetKnob(knob=knob.name, value=knob.parse(value))
    raise UsageError(f"ctl has no {action!r}; it has {', '.join(ACTIONS)}.")


async def _steered(command: BaseModel, run: str | None, *, wait: bool) -> tuple[dict[str, Any], Snapshot]:
    """The reply, and the state when it was accepted or, with `wait`, done."""
    client = await EngineClient.connect(await find_engine(run))
    try:
        reply: dict[str, Any] = await client.call(command)
        if isinstance(command, SetKnob):
            snapshot = await client.ask(Snapshot, Status())
        else:
            snapshot = Snapshot.model_validate(reply)
        if wait:
            snapshot = await _awaited(client, snapshot, _is_done(command))
        return reply, snapshot
    finally:
        await client.close()


def _is_done(command: BaseModel) -> Callable[[Snapshot], bool]:
    match command:
        case Pause():
            return lambda now: now.state is RunState.PAUSED
        case Resume():
            return lambda now: now.state not in _PAUSED
        case SetKnob(knob=CLUSTER_SIZE.name, value=wanted):
            # By the value asked for: a snapshot of before the change may still be on its way.
            return lambda now: now.workers_alive == now.cluster_size == wanted and not now.draining
        case Cancel():
            return lambda now: now.state.is_over
    return lambda _: True


async def _awaited(client: EngineClient, snapshot: Snapshot, is_done: Callable[[Snapshot], bool]) -> Snapshot:
    """The first snapshot in which it is done.

    Raises:
        UsageError: the run ended first. ConnectError: the engine ended.
    """
    if is_done(snapshot):
        return snapshot
    async for message in client.messages():
        match message:
            case Snapshot():
                snapshot = message
            case RunFinished():  # an engine may end before its last snapshot is out
                snapshot = snapshot.model_copy(update={"state": message.state})
        if is_done(snapshot):
            return snapshot
        if snapshot.state.is_over:
            raise UsageError(f"Run {snapshot.run_id} ended first: it is {snapshot.state.value}.", code="state")
    raise ConnectError(f"The engine of run {snapshot.run_id} ended before it was done.")
