"""`run`: copy collections, or go on with a copy that was not finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import UsageError
from tui.cli import front_ends
from tui.cli.options import Given, HeadlessOption, JsonOption, PlainOption, PlanOption, takes
from tui.cli.plan_files import check_plan_decides, read_plan

if TYPE_CHECKING:
    from engine.protocol import Start


@takes(
    "source",
    "target",
    "collection",
    "exclude",
    "cluster_size",
    "dask",
    "page_size",
    "throttle",
    "mode",
    "max_rejects",
    "consistency",
    "indexes",
    "replace_drops",
    "census",
    "on_finish",
    "ascii",
    "no_mouse",
)
def run_migration(
    given: Given,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", metavar="[RUN]", help="Resume an unfinished run; without RUN the newest of this plan."
        ),
    ] = None,
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over", help="With --resume: the run's last engine is gone; end what is left of its sessions."
        ),
    ] = False,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Go on behind the copy with what changes in the source, until `ctl cutover`."),
    ] = False,
    exit_on_halt: Annotated[
        bool,
        typer.Option(
            "--exit-on-halt",
            help="With --follow, without a screen: stop a run that is halted, as by a drop in the source, and leave with 1.",
        ),
    ] = False,
    file: PlanOption = None,
    headless: HeadlessOption = False,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> int:
    """Copy the collections, and compare the counts of both sides."""
    check_plan_decides(file, given)
    loaded = given.load()
    if take_over and resume is None:
        raise UsageError("--take-over goes with --resume RUN: it takes a run over whose engine is gone.")
    said = [name for name, origin in loaded.provenance.items() if origin != "default"]
    plan = read_plan(file) if file else ""

    def start() -> Start:
        from engine.protocol import Start

        return Start(resume=resume, take_over=take_over, said=said, follow=follow, plan=plan)

    return front_ends.start_run(
        loaded, start, headless=headless, plain=plain, as_json=as_json, exit_on_halt=exit_on_halt
    )
