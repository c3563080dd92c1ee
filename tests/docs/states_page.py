"""The states of a run for the page on the architecture, from the table that a run goes by."""

from __future__ import annotations

from engine.run.states import MAY, TRANSITIONS
from tests.docs.markdown import table


def section() -> str:
    """A line for each state."""
    rows = (
        [
            f"`{state.value}`",
            ", ".join(f"`{each.value}`" for each in TRANSITIONS if each in TRANSITIONS[state]),
            ", ".join(f"`{command}`" for command, states in MAY.items() if state in states),
        ]
        for state in TRANSITIONS
    )
    return table(["state", "may be followed by", "commands taken"], rows)
