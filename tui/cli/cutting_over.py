"""`ctl cutover`: what is waited for before it, the command that stops the writers, and what comes of it."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence

from engine.errors import EXIT_CALLED_OFF, EXIT_DONE, EXIT_FAILED, ConnectError, UsageError
from engine.protocol import CALLED_OFF, FollowReason, ProblemReported, RunFinished, RunHalted, RunState, Snapshot
from engine.service.client import EngineClient
from tui.cli.output import note
from tui.words.safe import safe

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0}


def seconds(text: str, option: str) -> float:
    """`120`, `120s`, `500ms`, `2m`; raises UsageError for something else.

    Args:
        option: that it was given for.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?", text.strip())
    if found is None:
        raise UsageError(f"{option} takes a time such as 5s or 2m, not {text!r}.")
    return float(found[1]) * _UNITS[found[2] or ""]


def is_near(snapshot: Snapshot, at_lag_s: float) -> bool:
    """The run is ready to be cut over, and at most so far behind its source.

    Raises:
        UsageError: it does not follow.
    """
    follow = snapshot.follow
    if follow is None:
        if snapshot.state in (RunState.RUNNING, RunState.FINISHING):
            raise UsageError(f"Run {snapshot.run_id} does not follow its source.", code="state")
        return False
    return follow.ready and follow.lag_s is not None and follow.lag_s <= at_lag_s


async def stop_writers(command: str) -> None:
    """Run the operator's command; what it prints goes to stderr.

    Raises:
        UsageError: it failed, so that the writers may not be stopped.
    """
    process = await asyncio.create_subprocess_shell(
        command, stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr.fileno()
    )
    if code := await process.wait():
        how = f"exited with {code}" if code > 0 else f"was ended by signal {-code}"
        raise UsageError(f"The command that stops the writers {how}: nothing is cut over, and following goes on.")


class NotReady(UsageError):
    """A run is not ready to be cut over."""

    code = "not_ready"

    def __init__(self, message: str, reasons: Sequence[FollowReason]) -> None:
        super().__init__(message)
        self.facts = {"reasons": [reason.model_dump() for reason in reasons]}
        """What `--json` says besides."""


def with_reasons(refusal: UsageError, snapshot: Snapshot | None) -> UsageError:
    """A refusal of the engine; that a run is not ready, with each reason by itself."""
    if refusal.code != NotReady.code or snapshot is None or snapshot.follow is None:
        return refusal
    return NotReady(refusal.message, snapshot.follow.reasons)


async def outcome(client: EngineClient, snapshot: Snapshot) -> tuple[Snapshot, int]:
    """The state when the run is cut over, or when that is called off, and the exit code.

    Raises:
        ConnectError: the engine ended.
    """
    async for message in client.messages():
        match message:
            case Snapshot():
                snapshot = message
            case RunHalted():
                note(safe(message.message))
                return snapshot, EXIT_FAILED
            case ProblemReported() if message.code == CALLED_OFF:
                note(safe(message.message))
                return snapshot, EXIT_CALLED_OFF
            case RunFinished():
                return snapshot.model_copy(update={"state": message.state}), message.exit_code or EXIT_DONE
    raise ConnectError(f"The engine of run {snapshot.run_id} ended before it was cut over.")
