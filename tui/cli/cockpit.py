"""The cockpit with an engine of its own, or on a run that is going on."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine.config import Loaded
from engine.errors import MigrationError, UsageError
from engine.protocol import Start
from engine.service.client import find_run
from engine.service.launching import launch
from tui import starting
from tui.cli import output
from tui.cli.plan_files import read_plan
from tui.cockpit.keymap import Keymap
from tui.cockpit.themes import check_theme
from tui.words.sentences import route

INTERRUPTED_S = 1.0
"""How long an engine without a command may take to end."""


def open_cockpit(loaded: Loaded, file: Path | None = None) -> int:
    """The cockpit on its Setup screen, or on its Plan screen.

    Args:
        file: a saved plan to show there.
    """
    _demand_terminal("`mongopg-tui run --headless` works without one")
    return own_cockpit(loaded, None, (str(file), read_plan(file)) if file is not None else None)


def attach_cockpit(loaded: Loaded, run_id: str | None) -> int:
    """The cockpit on a run that is going on: the one that is named, else the one into the configured target, else the only
    one.
    """
    _demand_terminal("`mongopg-tui ctl status` works without one")
    keymap = _keymap(loaded)
    found = asyncio.run(find_run(run_id, loaded.settings.target.uri.get_secret_value()))
    # Below the cockpit, once it is closed: which run this was.
    output.note(f"Attaching to run {found.snapshot.run_id}: {route(found.snapshot)}")
    from tui.cockpit.app import run_cockpit  # after what can be refused without it

    return run_cockpit(loaded, keymap, process=None, attach=found.socket)


def own_cockpit(loaded: Loaded, start: Start | None, plan: tuple[str, str] | None = None) -> int:
    """The cockpit with an engine of its own; both take a while to get ready, so they do it side by side.

    Args:
        plan: a saved plan to show, its file and its text.

    Raises:
        MigrationError: keys or a theme that cannot be; the engine did not start.
    """
    keymap = _keymap(loaded)
    # Before Textual starts: starting a process inside a running app is a known trap.
    starting.tell()
    with ThreadPoolExecutor(1, thread_name_prefix="launch") as aside:
        launching = aside.submit(launch, loaded.settings)
        try:
            from tui.cockpit.app import run_cockpit

            process = launching.result()
        except KeyboardInterrupt:
            output.note("Interrupted: the engine is being ended.")
            with contextlib.suppress(MigrationError):  # it did not start: so much the better
                launching.result().end(INTERRUPTED_S)
            raise
    return run_cockpit(loaded, keymap, process=process, start=start, plan=plan)


def _keymap(loaded: Loaded) -> Keymap:
    """The keys of the settings; raises UsageError, before anything is started, for keys or a theme that cannot be."""
    check_theme(loaded.settings.cockpit.theme, f"cockpit.theme ({loaded.provenance['cockpit.theme']})")
    return Keymap(loaded.settings.keys, f"[keys] of {loaded.file}")


def _demand_terminal(instead: str) -> None:
    if not output.has_terminal():
        raise UsageError(f"The cockpit needs a terminal; {instead}.")
