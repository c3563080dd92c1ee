"""Which front end a run gets: the cockpit where there is a terminal, otherwise a printer."""

from __future__ import annotations

import asyncio

from engine.config import Loaded
from engine.errors import UsageError
from engine.protocol import Start
from tui.cli import output
from tui.cli.headless import run_headless
from tui.cli.options import require
from tui.cli.printers import JsonPrinter, LinePrinter, Printer


def start_run(
    loaded: Loaded, start: Start, *, headless: bool = False, plain: bool = False, as_json: bool = False
) -> int:
    """Start a run: in the cockpit where there is a terminal, else printing. Returns the run's exit code.

    Raises:
        UsageError: two ways of printing, or a server that was not named.
    """
    if plain and as_json:
        raise UsageError("Give --plain or --json, not both.")
    if not loaded.settings.demo.embedded:
        require(loaded, "source", *(["target"] if start.migrate else []))
    if not (headless or plain or as_json) and output.has_terminal():
        from tui.cli.cockpit import own_cockpit

        return own_cockpit(loaded, start)
    return _print_run(loaded, start, plain=plain, as_json=as_json)


def _print_run(loaded: Loaded, start: Start, *, plain: bool, as_json: bool) -> int:
    printer: Printer
    if as_json:
        printer = JsonPrinter()
    elif not plain and output.can_draw():
        from tui.cli.live import LivePrinter

        printer = LivePrinter()
    else:
        printer = LinePrinter()
    return asyncio.run(run_headless(loaded.settings, start, printer))
