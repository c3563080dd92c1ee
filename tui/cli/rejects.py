"""`rejects`: list the documents that could not be written, or have them written again."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.config import Loaded
from engine.errors import EXIT_DONE, EXIT_INCOMPLETE, UsageError
from engine.protocol import ListRejects, RejectsReport, RetryRejects, RetryReport
from tui.cli.one_question import ask
from tui.cli.options import Given, JsonOption, PlanOption, RunArgument, require, takes
from tui.cli.output import say, say_json
from tui.cli.plan_files import read_plan
from tui.words.format import number
from tui.words.rejects import reject_groups, retry_text
from tui.words.safe import safe


@takes("target")
def rejects(
    given: Given,
    run: RunArgument = None,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry", help="Write them again under today's policies, into the table as it is; 4: some are left."
        ),
    ] = False,
    file: PlanOption = None,
    as_json: JsonOption = False,
) -> int:
    """Documents that could not be written as mapped, by reason; without RUN, of the newest run."""
    if file is not None and not retry:
        raise UsageError("--plan says how rejects are to be written: give --retry with it.")
    loaded = given.load()
    if retry:
        return retry_rejects(loaded, run or "", plan=read_plan(file) if file else "", as_json=as_json)
    return show_rejects(loaded, run or "", as_json=as_json)


def show_rejects(loaded: Loaded, run_id: str, *, as_json: bool) -> int:
    """Print rejected documents by reason."""
    require(loaded, "target")
    answer = ask(loaded.settings, ListRejects(run=run_id))
    if as_json:
        say_json(answer)
    else:
        say(_rejects_text(RejectsReport.model_validate(answer)))
    return EXIT_DONE


def retry_rejects(loaded: Loaded, run_id: str, *, plan: str, as_json: bool) -> int:
    """Have them written again, and print what became of them; exit code 4 when some are left.

    Args:
        plan: a saved plan's TOML, or nothing.
    """
    require(loaded, "target")
    answer = ask(loaded.settings, RetryRejects(run=run_id, plan=plan))
    report = RetryReport.model_validate(answer)
    if as_json:
        say_json(answer)
    else:
        say(retry_text(report))
    return EXIT_INCOMPLETE if report.left else EXIT_DONE


def _rejects_text(report: RejectsReport) -> str:
    if not report.total:
        return f"run {safe(report.run_id)}: no rejected documents"
    verdict = f"run {safe(report.run_id)}: {number(report.total)} rejected documents, kept in mongopg.reject"
    return "\n".join([verdict, reject_groups(report.groups)])
