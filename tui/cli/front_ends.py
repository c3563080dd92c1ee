"""Which front end a run gets: the cockpit where there is a terminal, otherwise a printer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.config import Loaded
from engine.errors import UsageError
from engine.service.launching import begin_launch
from tui.cli import output
from tui.cli.ascii_output import draw_in_ascii
from tui.cli.options import require
from tui.words.charset import draws_ascii

if TYPE_CHECKING:
    from engine.protocol import Start
    from tui.cli.printers import Printer


def start_run(
    loaded: Loaded,
    start: Callable[[], Start],
    *,
    sides: tuple[str, ...] = ("source", "target"),
    headless: bool = False,
    plain: bool = False,
    as_json: bool = False,
    exit_on_halt: bool = False,
) -> int:
    """Start a run: in the cockpit where there is a terminal, else printing. Returns the run's exit code.

    Args:
        start: makes the command that starts it, once the engine is starting.
        sides: the servers that it needs.
        exit_on_halt: without a screen, a run that something becomes of whose source is stopped.

    Raises:
        UsageError: two ways of printing, or a server that was not named.
    """
    if plain and as_json:
        raise UsageError("Give --plain or --json, not both.")
    if not loaded.settings.demo.embedded:
        require(loaded, *sides)
    if is_watched(headless=headless, plain=plain, as_json=as_json):
        from tui.cli.cockpit import own_cockpit

        return own_cockpit(loaded, start())
    return _print_run(loaded, start, plain=plain, as_json=as_json, exit_on_halt=exit_on_halt)


def is_watched(*, headless: bool, plain: bool, as_json: bool) -> bool:
    """A run gets the cockpit."""
    return not (headless or plain or as_json) and output.has_terminal()


def _print_run(loaded: Loaded, start: Callable[[], Start], *, plain: bool, as_json: bool, exit_on_halt: bool) -> int:
    launching = begin_launch(loaded.settings)  # it takes a while, and so does what is imported here: side by side
    from tui.cli.headless import run_headless
    from tui.cli.printers import JsonPrinter, LinePrinter

    printer: Printer
    if loaded.settings.cockpit.ascii or (sys.stdout.isatty() and draws_ascii(loaded)):
        draw_in_ascii()
    if as_json:
        printer = JsonPrinter()
    elif not plain and output.can_draw():
        from tui.cli.live import LivePrinter

        printer = LivePrinter(loaded=loaded)
    else:
        printer = LinePrinter(loaded=loaded)
    return asyncio.run(run_headless(loaded, start(), printer, launching=launching, exit_on_halt=exit_on_halt))
