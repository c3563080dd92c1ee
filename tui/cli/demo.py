"""`demo`: embedded servers, seeded and migrated, and the end of those that an earlier demo left running."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from engine.config import DemoSettings, merged
from engine.demo import stop_kept
from engine.errors import EXIT_DONE, UsageError
from engine.notation import parsed_source, written_namespace
from engine.protocol import Start
from tui.cli import front_ends
from tui.cli.options import Given, HeadlessOption, JsonOption, PlainOption, takes
from tui.cli.output import say
from tui.demo import watchable


@takes(
    "seed_count", "cluster_size", "page_size", "throttle", "mode", "folder", "keep", "on_finish", "ascii", "no_mouse"
)
def demo(
    given: Given,
    headless: HeadlessOption = False,
    plain: PlainOption = False,
    as_json: JsonOption = False,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Write to the source meanwhile, and go on behind the copy until you cut over."),
    ] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="Only stop the servers that --keep left running in DIR; their data stay.")
    ] = False,
) -> int:
    """Start embedded MongoDB and PostgreSQL, seed, migrate and verify."""
    if stop:
        return stop_servers(DemoSettings(dir=given.settings.get("demo.dir") or "").folder)
    loaded = given.load(demo__embedded=True)
    seeded = parsed_source(loaded.settings.seed.collection, "seed.collection")
    copied = {"run": {"collections": [written_namespace(seeded.namespace)], "exclude": []}}
    loaded = replace(loaded, settings=merged(loaded.settings, copied))
    is_watched = front_ends.is_watched(headless=headless, plain=plain, as_json=as_json)
    if is_watched and loaded.provenance.get("run.throttle", "default") == "default":
        loaded = replace(loaded, settings=watchable(loaded.settings))
    return front_ends.start_run(
        loaded, lambda: Start(seed=True, follow=follow), headless=headless, plain=plain, as_json=as_json
    )


def stop_servers(folder: Path | None) -> int:
    """Stop the embedded servers that an earlier demo left running in `folder`.

    Raises:
        UsageError: no folder, or not one of a demo.
    """
    if folder is None:
        raise UsageError("--stop needs --dir, the folder of the servers to stop.")
    say(
        f"The servers in {folder} are stopped; their data stay."
        if stop_kept(folder)
        else f"No server runs in {folder}."
    )
    return EXIT_DONE
