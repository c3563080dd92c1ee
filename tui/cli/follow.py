"""`follow`: take up a run that was copied, and apply what has changed in its source since."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from engine.errors import Cancelled, UsageError
from engine.protocol import FollowableReport, LookAtFollowing, Start
from tui.cli import front_ends
from tui.cli.one_question import ask
from tui.cli.options import Given, HeadlessOption, JsonOption, PlainOption, require, takes
from tui.cli.output import has_terminal, note
from tui.words.follow import live_words
from tui.words.safe import safe


@takes("source", "target", "cluster_size", "throttle", "on_finish", "ascii", "no_mouse")
def follow(
    given: Given,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or the beginning of it.")],
    resync: Annotated[
        bool,
        typer.Option(
            "--resync",
            help="Compare everything with the source first, and apply what differs.",
        ),
    ] = False,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="The run's last engine is gone; end what is left of its sessions."),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask whether tables that are in use are meant.")
    ] = False,
    headless: HeadlessOption = False,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> int:
    """Follow the source of a run that was copied: apply what changed since, and what changes, until `ctl cutover`."""
    loaded = given.load()
    require(loaded, "source", "target")
    report = FollowableReport.model_validate(ask(loaded.settings, LookAtFollowing(run=run)))
    if report.refused:
        raise UsageError(report.refused, code="cannot_follow")
    if report.lost and not resync:
        raise UsageError(
            f"Not all that changed since run {report.run_id} began is known: {report.lost}. Compare everything with the source "
            f"instead: `mongopg-tui follow {report.run_id} --resync`.",
            code="cannot_follow",
        )
    if report.is_live:
        for line in live_words(report):
            note(line)
        if not yes:
            _confirm(report)
    said = [name for name, origin in loaded.provenance.items() if origin != "default"]
    start = Start(resume=report.run_id, follow=True, resync=resync, take_over=take_over, said=said)
    return front_ends.start_run(loaded, lambda: start, headless=headless, plain=plain, as_json=as_json)


def _confirm(report: FollowableReport) -> None:
    """Ask whether these tables are meant.

    Raises:
        UsageError: there is no terminal to ask in. Cancelled: they are not.
    """
    if not has_terminal():
        raise UsageError(f"Following run {report.run_id} writes to tables that may be in use: add --yes.")
    sys.stderr.write(f"Follow run {safe(report.run_id)} into them? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Cancelled("Nothing was changed.")
