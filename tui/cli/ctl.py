"""`ctl`: find the engine of a run in progress, send it one command, print the answer.

Which run: the one that `--run` names; else, where a target is configured, the one into that target; else the only one. In the
last case it may be a colleague's, or of another terminal, so what would change it asks first.
"""

from __future__ import annotations

import asyncio
import difflib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from engine.errors import EXIT_DONE, Cancelled, ConnectError, UsageError
from engine.knobs import CLUSTER_SIZE, Auto, knob_named
from engine.protocol import (
    RESUME_UNTIL,
    CallOff,
    Cancel,
    CutOver,
    Pause,
    ProblemReported,
    ProblemView,
    Resolve,
    Resume,
    RunFinished,
    RunState,
    SetGuard,
    SetKnob,
    Snapshot,
    Status,
)
from engine.service.client import EngineClient, Found, actor, find_run
from tui.cli import cutting_over
from tui.cli.json_lines import status_record
from tui.cli.options import Given, JsonOption, takes
from tui.cli.output import has_terminal, note, say, say_json
from tui.cli.watching import watch
from tui.words.knobs import value_text
from tui.words.run_status import resume_until
from tui.words.safe import safe
from tui.words.sentences import route, status_text

ACTIONS = ("status", "pause", "resume", "cancel", "set", "cutover", "resolve")
CHOICES = ("ignore", "empty", "stop")
"""What `resolve` does about a collection."""
_SYNONYMS = {"stop": "cancel"}
_PAUSED = frozenset({RunState.PAUSING, RunState.PAUSED})


@takes("target", asks=False)
def ctl(
    given: Given,
    action: Annotated[
        str, typer.Argument(metavar="ACTION", help="status, pause, resume, cancel (or stop), set, cutover or resolve.")
    ],
    setting: Annotated[
        str | None,
        typer.Argument(
            metavar="[KNOB=VALUE|NAMESPACE]",
            help="For set: cluster_size (or workers; or auto, auto:4-16), page_size, seed_count, throttle; guard.NAME. "
            "For resolve: the collection that a run is halted by, as in ctl status.",
        ),
    ] = None,
    choice: Annotated[
        str | None,
        typer.Argument(
            metavar="[CHOICE]",
            help="For resolve: ignore (rows stay, later changes are applied), empty (the table becomes what the collection is "
            "now) or stop (it is followed no longer).",
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="Which run: its id or the beginning of it (default: the run into the configured target, else the only one).",
        ),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until done.")] = False,
    now: Annotated[bool, typer.Option("--now", help="cancel: roll back unfinished pages.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask, though neither --run nor a target says which run is meant.")
    ] = False,
    watched: Annotated[bool, typer.Option("--watch", help="status: print a line a second until the run ends.")] = False,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="TIME", help="cutover: call it off when it takes longer (default: 120s)."),
    ] = None,
    at_lag: Annotated[
        str | None,
        typer.Option(
            "--at-lag",
            metavar="TIME",
            help="cutover: wait until the run is ready and at most so far behind, such as 5s.",
        ),
    ] = None,
    stop_command: Annotated[
        str | None,
        typer.Option(
            "--stop-command",
            metavar="CMD",
            help="cutover: run this then, which stops the writers; go on when it exits with 0.",
        ),
    ] = None,
    block_writes: Annotated[
        bool,
        typer.Option(
            "--block-writes",
            help="cutover: have MongoDB refuse all writes of its cluster first, from 6.0 on; lifted when it is called off.",
        ),
    ] = False,
    compare_all: Annotated[
        bool,
        typer.Option(
            "--compare-all",
            help="cutover: compare every document with its row at the mark; it takes time, see --timeout.",
        ),
    ] = False,
    abort: Annotated[bool, typer.Option("--abort", help="cutover: call one off that is going on.")] = False,
    resync: Annotated[
        bool,
        typer.Option("--resync", help="resolve: compare everything, where changes of the source are lost."),
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Steer a run from another terminal."""
    if abort or block_writes or compare_all or timeout is not None or at_lag is not None or stop_command is not None:
        has_others = bool(timeout or at_lag or stop_command or block_writes or compare_all)
        _require_cut_over(action, is_abort=abort, has_others=has_others)
    timeout_s = cutting_over.seconds(timeout or f"{CutOver().timeout_s}", "--timeout")
    at_lag_s = cutting_over.seconds(at_lag, "--at-lag") if at_lag is not None else None
    command: BaseModel
    if action == "resolve":
        command = _resolve(setting, choice, is_all=resync, others=wait or now)
    elif choice is not None or resync:
        raise UsageError("A second word behind the action and --resync go with resolve only.")
    else:
        wanted = (
            CallOff() if abort else CutOver(timeout_s=timeout_s, block_writes=block_writes, compare_all=compare_all)
        )
        command = _command(action, setting, wait=wait, now=now, cut_over=wanted)
    # A run that is named needs no settings, which may be wrong just then.
    target = "" if run else given.load().settings.target.uri.get_secret_value()
    if watched:
        if not isinstance(command, Status):
            raise UsageError("--watch goes with status only.")
        asyncio.run(watch(run, target, as_json=as_json))
        return EXIT_DONE
    before = Before(at_lag_s, stop_command or "")
    return steer(command, run, target, wait=wait, yes=yes, as_json=as_json, before=before)


@dataclass(frozen=True, slots=True)
class Before:
    """What is done before a run is cut over."""

    at_lag_s: float | None = None
    """Wait until it is ready, and at most so far behind; None does not wait."""
    stop_command: str = ""
    """A command that stops the writers."""


def _require_cut_over(action: str, *, is_abort: bool, has_others: bool) -> None:
    if action != "cutover":
        raise UsageError("--timeout, --at-lag, --stop-command, --block-writes and --abort go with cutover only.")
    if is_abort and has_others:
        raise UsageError("--abort goes without --timeout, --at-lag, --stop-command and --block-writes.")


def steer(
    command: BaseModel,
    run: str | None,
    target: str,
    *,
    wait: bool,
    yes: bool,
    as_json: bool,
    before: Before = Before(),
) -> int:
    """Do it and print the outcome.

    Raises:
        UsageError: several live runs, one that is not known to be meant, or the engine refuses.
        ConnectError: there is no such engine. Cancelled: the operator said no.
    """
    reply, snapshot, code = asyncio.run(_steered(command, run, target, before, wait=wait, yes=yes))
    if as_json:
        applied = reply if isinstance(command, (SetKnob, SetGuard)) else {}
        say_json(status_record(snapshot) | applied)
    elif isinstance(command, Status):
        say(status_text(snapshot))
    elif isinstance(command, SetKnob):
        knob = knob_named(command.knob)
        said = f"{knob.label.lower()} set to {_value(command)} ({safe(str(reply['applies']))})"
        say(f"run {safe(snapshot.run_id)}, {route(snapshot)}: {said}")
    elif isinstance(command, SetGuard):
        said = f"guard.{command.setting} set to {safe(command.value)} ({safe(str(reply['applies']))})"
        say(f"run {safe(snapshot.run_id)}, {route(snapshot)}: {said}")
    else:
        say(f"run {safe(snapshot.run_id)}, {route(snapshot)}: {snapshot.state.value}")
        if until := resume_until(snapshot):
            say(until)
    return code


def _command(action: str, setting: str | None, *, wait: bool, now: bool, cut_over: BaseModel) -> BaseModel:
    name = _SYNONYMS.get(action, action)
    if name not in ACTIONS:
        near = difflib.get_close_matches(action, [*ACTIONS, *_SYNONYMS], 1)
        hint = f"did you mean {near[0]}?" if near else f"use {', '.join(ACTIONS)}."
        raise UsageError(f"Unknown action {action!r}; {hint}")
    if now and name != "cancel":
        raise UsageError("--now goes with cancel only.")
    if setting is not None and name != "set":
        raise UsageError(f"ctl {action} takes no {setting!r}; KNOB=VALUE goes with set only.")
    match name:
        case "status" if wait:
            raise UsageError("--wait goes with pause, resume, cancel, set and cutover.")
        case "status":
            return Status()
        case "pause":
            return Pause()
        case "resume":
            return Resume()
        case "cancel":
            return Cancel(now=now)
        case "cutover":
            return cut_over
    knob_name, equals, value = (setting or "").partition("=")
    if not equals:
        raise UsageError("ctl set takes KNOB=VALUE, such as workers=12.")
    if (guard := _guard_setting(knob_name)) is not None:
        return SetGuard(setting=guard, value=value.strip())
    knob = knob_named(knob_name)
    wanted = knob.read(value)
    return SetKnob(knob=knob.name, value=str(wanted) if isinstance(wanted, Auto) else wanted)


def _resolve(namespace: str | None, choice: str | None, *, is_all: bool, others: bool) -> Resolve:
    """The decision about a collection, or about the whole source."""
    if others:
        raise UsageError("--wait and --now do not go with resolve.")
    if is_all:
        if namespace is not None:
            raise UsageError("--resync is about the whole source: it takes no collection.")
        return Resolve(choice="resync")
    if namespace is None or choice is None:
        raise UsageError(f"ctl resolve takes a collection and {', '.join(CHOICES)}; or --resync.")
    if choice not in CHOICES:
        raise UsageError(f"ctl resolve takes {', '.join(CHOICES)}, not {choice!r}.")
    return Resolve.model_validate({"namespace": namespace, "choice": choice})


def _guard_setting(name: str) -> str | None:
    """`standby_lag` of `guard.standby_lag`; all guards together are called `guard` and `guards`. None is a knob."""
    section, _, setting = name.strip().lower().replace("-", "_").partition(".")
    return (setting or "on") if section in ("guard", "guards") else None


async def _steered(
    command: BaseModel, run: str | None, target: str, before: Before, *, wait: bool, yes: bool
) -> tuple[dict[str, Any], Snapshot, int]:
    """The reply, the state when it was accepted or, with `wait`, done, and the exit code."""
    found = await find_run(run, target)
    is_meant = found.is_named or yes or _is_of_this_terminal(found.snapshot)
    if not (isinstance(command, Status) or is_meant or found.snapshot.state.is_over):
        _confirm(command, found)
    client = await EngineClient.connect(found.socket, by=actor("ctl"))
    try:
        if isinstance(command, CutOver):
            await _prepare(client, found.snapshot, before)
        try:
            reply: dict[str, Any] = await client.call(command)
        except UsageError as refusal:
            raise cutting_over.with_reasons(refusal, client.snapshot) from None
        if isinstance(command, (SetKnob, SetGuard)):
            snapshot = await client.ask(Snapshot, Status())
        else:
            snapshot = Snapshot.model_validate(reply)
        code = EXIT_DONE
        if wait and isinstance(command, CutOver):
            snapshot, code = await cutting_over.outcome(client, snapshot)
        elif wait:
            snapshot = await _awaited(client, snapshot, _is_done(command))
        return reply, snapshot, code
    finally:
        await client.close()


async def _prepare(client: EngineClient, snapshot: Snapshot, before: Before) -> None:
    """Wait until the run is near its source, and stop the writers, as far as that was asked for."""
    if (at_lag_s := before.at_lag_s) is not None:
        note(f"Waiting until run {safe(snapshot.run_id)} is ready to be cut over, at most {at_lag_s:g} s behind.")
        await _awaited(client, snapshot, lambda now: cutting_over.is_near(now, at_lag_s))
    if before.stop_command:
        await cutting_over.stop_writers(before.stop_command)


def _is_of_this_terminal(snapshot: Snapshot) -> bool:
    """It was started from the terminal that we are on, as a job of the same shell."""
    here = actor("ctl").partition(" ")[2]
    return here.startswith("on ") and snapshot.started_by.partition(" ")[2] == here


def _confirm(command: BaseModel, found: Found) -> None:
    """Ask whether the only run there is, is the one that is meant.

    Raises:
        UsageError: there is no terminal to ask in. Cancelled: it is not.
    """
    snapshot = found.snapshot
    run_id = safe(snapshot.run_id)
    origin = f", started by {safe(snapshot.started_by)}" if snapshot.started_by else ""
    which = f"Run {run_id} ({route(snapshot)}{origin})"
    if not has_terminal():
        raise UsageError(
            f"{which} is the only one in progress, but nothing says that it is meant: add --run {run_id}, or --yes."
        )
    note(f"{which}: {snapshot.state.value}. Neither --run nor a configured target says that this run is meant.")
    sys.stderr.write(f"{_deed(command)}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Cancelled("Nothing was changed.")


def _deed(command: BaseModel) -> str:
    match command:
        case Cancel(now=True):
            return "Stop it and roll back unfinished pages"
        case Cancel():
            return "Stop it"
        case CutOver(block_writes=True):
            return "Have MongoDB refuse all writes, and cut it over"
        case CutOver():
            return "Cut it over, its writers being stopped"
        case CallOff():
            return "Call its cut-over off"
        case Resolve(choice="resync"):
            return "Compare everything with the source as it is now"
        case Resolve():
            return f"Resolve {command.namespace} by {command.choice}"
        case SetKnob():
            knob = knob_named(command.knob)
            return f"Set its {knob.label.lower()} to {_value(command)}"
        case SetGuard():
            return f"Set its guard.{command.setting} to {command.value}"
    return "Pause it" if isinstance(command, Pause) else "Resume it"


def _value(command: SetKnob) -> str:
    """The value asked for, as text."""
    return command.value if isinstance(command.value, str) else value_text(knob_named(command.knob), command.value)


def _is_done(command: BaseModel) -> Callable[[Snapshot], bool]:
    match command:
        case Pause():
            return lambda now: now.state is RunState.PAUSED
        case Resume():
            return lambda now: now.state not in _PAUSED
        case SetKnob(knob=CLUSTER_SIZE.name, value=wanted):
            # By the value asked for: a snapshot of before the change may still be on its way.
            if isinstance(wanted, str):
                return lambda now: now.tuning is not None
            return lambda now: now.workers_alive == now.cluster_size == wanted and not now.draining
        case Cancel():
            return lambda now: now.state.is_over
        case CallOff():
            return lambda now: now.state is RunState.FOLLOWING
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
            case ProblemReported(code=code) if code == RESUME_UNTIL:
                told = ProblemView(code=code, message=message.message, count=1)
                snapshot = snapshot.model_copy(update={"problems": [*snapshot.problems, told]})
        if is_done(snapshot):
            return snapshot
        if snapshot.state.is_over:
            raise UsageError(f"Run {snapshot.run_id} ended first: it is {snapshot.state.value}.", code="state")
    raise ConnectError(f"The engine of run {snapshot.run_id} ended before it was done.")
