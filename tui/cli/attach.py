"""`attach`: the cockpit on a run that is going on."""

from __future__ import annotations

from tui.cli.cockpit import attach_cockpit
from tui.cli.options import Given, RunArgument, takes


@takes("target", "ascii", "no_mouse", asks=False)
def attach(given: Given, run: RunArgument = None) -> int:
    """Open the cockpit on a run in progress."""
    return attach_cockpit(given.load(), run)
