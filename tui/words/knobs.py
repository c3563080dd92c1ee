"""Knobs as text: a value, a change."""

from __future__ import annotations

from engine.knobs import KNOBS, Auto, Knob, KnobValue
from engine.protocol import Snapshot
from tui.words.format import NO_NUMBER, counted, number
from tui.words.safe import safe

_LIMIT = 60
"""Characters of a name or value that this version does not know."""


def value_text(knob: Knob, value: KnobValue) -> str:
    """`8,000`, `off`, or `auto:4-16`."""
    if isinstance(value, Auto):
        return str(value)
    return "off" if knob.zero_is_off and value == 0 else number(value)


def problem_words(knob: Knob, message: str) -> str:
    """What is wrong with a value, beside a field: a sentence about the knob, by its label in the place of its name."""
    return knob.label + message.removeprefix(knob.name) if message.startswith(knob.name) else message


def label_of(name: str) -> str:
    """The knob of that name in an event: `page size`."""
    return KNOBS[name].label.lower() if name in KNOBS else safe(name, _LIMIT)


def value_of(name: str, value: int | None) -> str:
    """A value of the knob of that name in an event: `8,000`."""
    if value is None:
        return NO_NUMBER
    return value_text(KNOBS[name], value) if name in KNOBS else number(value)


def size_words(value: KnobValue) -> str:
    """A cluster's size before a run: `8 workers`, or `as many workers as are fastest (auto:4-16)`."""
    return f"as many workers as are fastest ({value})" if isinstance(value, Auto) else counted(value, "worker")


def auto_words(snapshot: Snapshot) -> str:
    """How the run turns the cluster size: `auto`, or `auto, probing 12`; empty when it does not."""
    tuning = snapshot.tuning
    if tuning is None:
        return ""
    words = safe(tuning.auto, _LIMIT).replace(":", " ")
    return f"{words}, probing {tuning.probing}" if tuning.probing is not None else words
