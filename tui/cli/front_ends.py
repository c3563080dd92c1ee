"""Which front end a run gets: the cockpit where there is a terminal, otherwise a printer."""

from __future__ import annotations

import asyncio
import sys

from engine.config import Loaded
from engine.errors import UsageError
from engine.protocol import Start
from tui.cli import output
from tui.cli.ascii_output import draw_in_ascii
from tui.cli.headless import run_headless
from tui.cli.options import require
from tui.cli.printers import JsonPrinter, LinePrinter, Printer
from tui.words.charset import draws_ascii


def start_run(
    loaded: Loaded,
    start: Start,
    *,
    headless: bool = False,
    plain: bool = False,
    as_json: bool = False,
    exit_on_halt: bool = False,
) -> int:
    """Start a run: in the cockpit where there is a terminal, else printing. Returns the run's exit code.

    Args:
        exit_on_halt: without a screen, a run that something becomes of whose source is stopped.

    Raises:
        UsageError: two ways of printing, or a server that was not named.
    """
    if plain and as_json:
        raise UsageError("Give --plain or --json, not both.")
    if not loaded.settings.demo.embedded:
        require(loaded, "source", *(["target"] if start.migrate else []))
    if is_watched(headless=headless, plain=plain, as_json=as_json):
        from tui.cli.cockpit import own_cockpit

        return own_cockpit(loaded, start)
    return _print_run(loaded, start, plain=plain, as_json=as_json, exit_on_halt=exit_on_halt)


def is_watched(*, headless: bool, plain: bool, as_json: bool) -> bool:
    """A run gets the cockpit."""
    return not (headless or plain or as_json) and output.has_terminal()


def _print_run(loaded: Loaded, start: Start, *, plain: bool, as_json: bool, exit_on_halt: bool) -> int:
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
    return asyncio.run(run_headless(loaded, start, printer, exit_on_halt=exit_on_halt))
