"""`runs`: the history in the ledger, and dropping a run from it."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from engine.config import Loaded
from engine.errors import EXIT_DONE
from engine.protocol import DiscardRun, ListRuns, RunInfo
from tui.cli.one_question import ask
from tui.cli.options import Given, JsonOption, require, takes
from tui.cli.output import say, say_json
from tui.words.format import NO_NUMBER, duration, number, rate
from tui.words.run_status import outcome_words, rows_per_s, run_seconds
from tui.words.safe import safe
from tui.words.tables import text_table


@takes("target")
def runs(
    given: Given,
    discard: Annotated[
        str | None, typer.Option("--discard", metavar="RUN", help="Drop a run's staging tables and ledger rows.")
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """History, from the ledger in the target database."""
    loaded = given.load()
    if discard is not None:
        return discard_run(loaded, discard, as_json=as_json)
    return show_runs(loaded, as_json=as_json)


def show_runs(loaded: Loaded, *, as_json: bool) -> int:
    """Print the runs in the ledger."""
    require(loaded, "target")
    answer = ask(loaded.settings, ListRuns())
    if as_json:
        say_json(answer)
    else:
        say(_runs_text([RunInfo.model_validate(run) for run in answer["runs"]]))
    return EXIT_DONE


def discard_run(loaded: Loaded, run_id: str, *, as_json: bool) -> int:
    """Drop a run's staging tables and its rows in the ledger."""
    require(loaded, "target")
    answer = ask(loaded.settings, DiscardRun(run=run_id))
    if as_json:
        say_json(answer)
    else:
        say(f"Run {safe(str(answer.get('run_id', run_id)))} is discarded; its target tables stay.")
    return EXIT_DONE


def _runs_text(runs: list[RunInfo]) -> str:
    if not runs:
        return "There are no runs in the ledger of this target."
    rows = [
        [
            run.run_id,
            time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started_unix)),
            ", ".join(run.collections),
            run.mode,
            number(run.written),
            duration(run_seconds(run)),
            rate(speed) if (speed := rows_per_s(run)) is not None else NO_NUMBER,
            number(run.rejected),
            number(sum(run.altered.values())),
            outcome_words(run),
        ]
        for run in runs
    ]
    headings = ["run", "when", "collections", "mode", "rows", "time", "rows/s", "rejects", "altered", "outcome"]
    return text_table(headings, rows, right={4, 5, 6, 7, 8})
