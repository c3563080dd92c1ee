"""`runs`: the history in the ledger, and dropping a run from it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from engine.config import Loaded
from engine.errors import EXIT_DONE, UsageError
from engine.protocol import DiscardPreview, DiscardRun, ListRuns, RunInfo
from tui.cli.one_question import ask
from tui.cli.options import Given, JsonOption, require, takes
from tui.cli.output import say, say_json
from tui.words.follow import BLOCKED_FOR_EVER
from tui.words.format import counted, duration, number
from tui.words.run_status import outcome_words, overall_rate, rate_words
from tui.words.safe import safe
from tui.words.tables import table_words, text_table


@takes("target")
def runs(
    given: Given,
    discard: Annotated[
        str | None,
        typer.Option(
            "--discard",
            metavar="RUN",
            help="Delete a run: its history, events, rejects and staging tables; the tables that it filled stay.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --discard: also a run whose rejected documents nothing else has.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """List past runs recorded in the target."""
    if force and discard is None:
        raise UsageError("--force goes with --discard RUN.")
    loaded = given.load()
    if discard is not None:
        return discard_run(loaded, discard, force=force, as_json=as_json)
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


def discard_run(loaded: Loaded, run_id: str, *, force: bool, as_json: bool) -> int:
    """Delete a run; with `force` also its rejected documents, of which the ledger has the only copy."""
    require(loaded, "target")
    preview = DiscardPreview.model_validate(ask(loaded.settings, DiscardRun(run=run_id, preview=True)))
    answer = ask(loaded.settings, DiscardRun(run=preview.run_id, force=force))
    if as_json:
        say_json(answer)
    else:
        say(deleted_words(preview, answer.get("dropped", [])))
    return EXIT_DONE


def deleted_words(preview: DiscardPreview, dropped: Sequence[str]) -> str:
    """What was deleted with a run, and what stays, harmless."""
    gone = [counted(preview.events, "event"), counted(preview.rejected, "rejected document")]
    gone += [f"table {safe(name)}" for name in dropped]
    kept = [table_words(table) for table in preview.tables if table.table not in dropped and table.rows >= 0]
    lines = [f"Run {safe(preview.run_id)} is deleted, with {', '.join(gone)}."]
    lines += [f"Its tables stay: {', '.join(kept)}." for _ in kept[:1]]
    return "\n".join(lines + [BLOCKED_FOR_EVER for _ in range(preview.writes_blocked)])


def _runs_text(runs: list[RunInfo]) -> str:
    if not runs:
        return "There are no runs in the ledger of this target."
    rows = [
        [
            run.run_id,
            time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started_unix)),
            ", ".join(run.collections),
            run.mode,
            number(run.written) + (" copied" if run.has_counts_of_the_copy else ""),
            duration(run.seconds),
            rate_words(overall_rate(run)),
            rate_words(run.rows_per_s_copying or None),
            number(run.rejected),
            number(sum(run.altered.values())),
            outcome_words(run),
        ]
        for run in runs
    ]
    headings = ["run", "when", "collections", "mode", "rows", "time", "rows/s overall", "while copying"]
    headings += ["rejects", "altered", "outcome"]
    return text_table(headings, rows, right={4, 5, 6, 7, 8, 9})
