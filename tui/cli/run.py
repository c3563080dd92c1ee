"""`run`: copy collections, or go on with a copy that was not finished."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.protocol import Start
from tui.cli import front_ends
from tui.cli.options import Given, HeadlessOption, JsonOption, PlainOption, PlanOption, takes
from tui.cli.plan_files import check_plan_decides, read_plan


@takes(
    "source",
    "target",
    "collection",
    "exclude",
    "cluster_size",
    "page_size",
    "throttle",
    "mode",
    "max_rejects",
    "consistency",
    "indexes",
    "replace_drops",
    "census",
    "ascii",
    "no_mouse",
)
def run_migration(
    given: Given,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume", metavar="[RUN]", help="Go on with an unfinished run; without RUN the newest of this plan."
        ),
    ] = None,
    file: PlanOption = None,
    headless: HeadlessOption = False,
    plain: PlainOption = False,
    as_json: JsonOption = False,
) -> int:
    """Copy the collections, and compare the counts of both sides."""
    check_plan_decides(file, given)
    loaded = given.load()
    said = [name for name, origin in loaded.provenance.items() if origin != "default"]
    start = Start(resume=resume, said=said, plan=read_plan(file) if file else "")
    return front_ends.start_run(loaded, start, headless=headless, plain=plain, as_json=as_json)
