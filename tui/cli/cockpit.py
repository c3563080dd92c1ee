"""The cockpit with an engine of its own, or on a run that is going on."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

from engine.config import Loaded
from engine.errors import MigrationError, UsageError
from engine.protocol import Start
from engine.service.client import find_engine, launch
from tui.cli import output
from tui.cockpit.keymap import Keymap
from tui.cockpit.themes import check_theme

INTERRUPTED_S = 1.0
"""How long an engine without a command may take to end."""


def open_cockpit(loaded: Loaded) -> int:
    """The cockpit on its Setup screen."""
    _demand_terminal("`mongopg-tui run --headless` works without one")
    return own_cockpit(loaded, None)


def attach_cockpit(loaded: Loaded, run_id: str | None) -> int:
    """The cockpit on a run that is going on."""
    _demand_terminal("`mongopg-tui ctl status` works without one")
    keymap = _keymap(loaded)
    socket = asyncio.run(find_engine(run_id))
    from tui.cockpit.app import run_cockpit  # after what can be refused without it

    return run_cockpit(loaded, keymap, process=None, attach=socket)


def own_cockpit(loaded: Loaded, start: Start | None) -> int:
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
            output.note("Interrupted: the engine is being ended.")
            with contextlib.suppress(MigrationError):  # it did not start: so much the better
                launching.result().end(INTERRUPTED_S)
            raise
    return run_cockpit(loaded, keymap, process=process, start=start)


def _keymap(loaded: Loaded) -> Keymap:
    """The keys of the settings; raises UsageError, before anything is started, for keys or a theme that cannot be."""
    check_theme(loaded.settings.cockpit.theme, f"cockpit.theme ({loaded.provenance['cockpit.theme']})")
    return Keymap(loaded.settings.keys, f"[keys] of {loaded.file}")


def _demand_terminal(instead: str) -> None:
    if not output.has_terminal():
        raise UsageError(f"The cockpit needs a terminal; {instead}.")
