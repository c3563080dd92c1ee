"""What `run`, `seed`, `demo`, `attach` and no command at all do: open the cockpit, or print."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config import Loaded
from engine.errors import EXIT_DONE, MigrationError, UsageError
from engine.protocol import Start
from engine.service.client import find_engine, launch
from tui.cli.output import note, say

INTERRUPTED_S = 1.0
"""How long an engine without a command may take to end."""

if TYPE_CHECKING:
    from tui.cockpit.keymap import Keymap


def run(loaded: Loaded, start: Start, *, headless: bool = False, plain: bool = False, as_json: bool = False) -> int:
    """Start a run: in the cockpit where there is a terminal, else printing. Returns the run's exit code.

    Raises:
        UsageError: two ways of printing, or a server that nobody named.
    """
    if plain and as_json:
        raise UsageError("Give --plain or --json, not both.")
    if not loaded.settings.demo.embedded:
        require(loaded, "source", *(["target"] if start.migrate else []))
    if not (headless or plain or as_json) and has_terminal():
        return _own_cockpit(loaded, start)
    return _print_run(loaded, start, plain=plain, as_json=as_json)


def open_cockpit(loaded: Loaded) -> int:
    """The cockpit on its Setup screen."""
    _demand_terminal("`mongopg-tui run --headless` works without one")
    return _own_cockpit(loaded, None)


def attach_cockpit(loaded: Loaded, run_id: str | None) -> int:
    """The cockpit on somebody's live run."""
    _demand_terminal("`mongopg-tui ctl status` works without one")
    keymap = _keymap(loaded)
    socket = asyncio.run(find_engine(run_id))
    from tui.cockpit.app import run_cockpit

    return run_cockpit(loaded, keymap, process=None, attach=socket)


def stop_servers(folder: Path | None) -> int:
    """Stop the embedded servers that an earlier demo left running in `folder`.

    Raises:
        UsageError: no folder, or not one of a demo.
    """
    if folder is None:
        raise UsageError("--stop needs --dir, the folder of the servers to stop.")
    from engine.demo import stop_kept

    say(
        f"The servers in {folder} are stopped; their data stay."
        if stop_kept(folder)
        else f"No server runs in {folder}."
    )
    return EXIT_DONE


def has_terminal() -> bool:
    """Somebody sits in front of a terminal that can draw."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def require(loaded: Loaded, *sides: str) -> None:
    """Raise UsageError for the first of `sides` ("source", "target") whose connection string nobody gave."""
    examples = {"source": "mongodb://host/database", "target": "postgresql://user@host/database"}
    for side in sides:
        uri = loaded.settings.source.uri if side == "source" else loaded.settings.target.uri
        if not uri.get_secret_value():
            raise UsageError(
                f"There is no {side}: give --{side} {examples[side]}, MONGOPG_{side.upper()}_URI, "
                f"or uri in section [{side}] of config.toml."
            )


def _own_cockpit(loaded: Loaded, start: Start | None) -> int:
    """The cockpit with an engine of its own; both take a while to get ready, so they do it side by side.

    Raises:
        MigrationError: keys or a theme that cannot be; the engine did not start.
    """
    keymap = _keymap(loaded)
    # Before Textual starts: starting a process inside a running app is a known trap.
    with ThreadPoolExecutor(1, thread_name_prefix="launch") as aside:
        launching = aside.submit(launch, loaded.settings)
        try:
            from tui.cockpit.app import run_cockpit

            process = launching.result()
        except KeyboardInterrupt:
            note("Interrupted: the engine is being ended.")
            with contextlib.suppress(MigrationError):  # it did not start: so much the better
                launching.result().end(INTERRUPTED_S)
            raise
    return run_cockpit(loaded, keymap, process=process, start=start)


def _keymap(loaded: Loaded) -> Keymap:
    """The keys of the settings; raises UsageError, before anything is started, for keys or a theme that cannot be."""
    from tui.cockpit.keymap import Keymap
    from tui.cockpit.themes import check_theme

    check_theme(loaded.settings.cockpit.theme, f"cockpit.theme ({loaded.provenance['cockpit.theme']})")
    return Keymap(loaded.settings.keys, f"[keys] of {loaded.file}")


def _demand_terminal(instead: str) -> None:
    if not has_terminal():
        raise UsageError(f"The cockpit needs a terminal; {instead}.")


def _print_run(loaded: Loaded, start: Start, *, plain: bool, as_json: bool) -> int:
    from tui.cli.headless import run_headless
    from tui.cli.printers import JsonPrinter, LinePrinter, Printer

    printer: Printer
    if as_json:
        printer = JsonPrinter()
    elif not plain and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from tui.cli.live import LivePrinter

        printer = LivePrinter()
    else:
        printer = LinePrinter()
    return asyncio.run(run_headless(loaded.settings, start, printer))
