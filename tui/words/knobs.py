"""Knobs as text: a value, a change."""

from __future__ import annotations

from engine.knobs import KNOBS, Knob
from tui.words.format import NO_NUMBER, number
from tui.words.safe import safe

_LIMIT = 60
"""Characters of a name or value that this version does not know."""


def value_text(knob: Knob, value: int) -> str:
    """`8,000`, or `off`."""
    return "off" if knob.zero_is_off and value == 0 else number(value)


def label_of(name: str) -> str:
    """The knob of that name in an event: `page size`."""
    return KNOBS[name].label.lower() if name in KNOBS else safe(name, _LIMIT)


def value_of(name: str, value: int | None) -> str:
    """A value of the knob of that name in an event: `8,000`."""
    if value is None:
        return NO_NUMBER
    return value_text(KNOBS[name], value) if name in KNOBS else number(value)
