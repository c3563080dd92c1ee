"""`ctl status --watch`: a line a second until the run ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from engine.errors import ConnectError
from engine.protocol import RunFinished, Snapshot
from engine.service.client import EngineClient, find_run
from tui.cli.json_lines import status_record
from tui.cli.output import say, say_json
from tui.words.format import duration
from tui.words.safe import safe
from tui.words.sentences import progress_sentence
from tui.words.vitals import blocked_words

EVERY_S = 1.0


async def watch(run: str | None, target: str, *, as_json: bool) -> None:
    """Print how a run goes on, as text or as the objects of `ctl status --json`; returns when it is over.

    Args:
        run: which one, or a beginning of its id.
        target: the configured one, where no run is named.

    Raises:
        UsageError: several live runs. ConnectError: there is no such engine, or it ended before its run.
    """
    show: Callable[[Snapshot], None] = _show_record if as_json else _show_line
    found = await find_run(run, target)
    if found.snapshot.state.is_over:
        show(found.snapshot)
        return
    client = await EngineClient.connect(found.socket)
    try:
        shown_at, snapshot = float("-inf"), client.snapshot
        async for message in client.messages():
            match message:
                case Snapshot():
                    snapshot = message
                case RunFinished():  # an engine may end before its last snapshot is out
                    snapshot = snapshot.model_copy(update={"state": message.state})
            if snapshot.state.is_over or time.monotonic() - shown_at >= EVERY_S:
                shown_at = time.monotonic()
                show(snapshot)
            if snapshot.state.is_over:
                return
        raise ConnectError(f"The engine of run {snapshot.run_id} ended before its run did.")
    finally:
        await client.close()


def _show_record(snapshot: Snapshot) -> None:
    say_json(status_record(snapshot))


def _show_line(snapshot: Snapshot) -> None:
    say(watch_line(snapshot))


def watch_line(snapshot: Snapshot) -> str:
    """`[1m 15s] running  copying  58.3%  …`, and which session holds a lock that the run waits for."""
    line = f"[{duration(snapshot.elapsed)}] {snapshot.state.value}"
    if snapshot.state.is_over:
        return f"{line}  run {safe(snapshot.run_id)}"
    blocked = (snapshot.vitals.target.blocked if snapshot.vitals is not None and snapshot.vitals.target else None) or []
    return "  ".join([line, progress_sentence(snapshot), *(f"! {blocked_words(each)}" for each in blocked[:1])])
