"""Knobs in words: a value, a change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.knobs import KNOBS, Knob
from tui.words.format import number
from tui.words.safe import safe

_LIMIT = 60
"""Characters of a name or value that this version does not know."""


def value_text(knob: Knob, value: int) -> str:
    """`8,000`, or `off`."""
    return "off" if knob.zero_is_off and value == 0 else number(value)


def label_of(facts: Mapping[str, Any]) -> str:
    """The knob that an event of kind `knob` is about: `page size`."""
    name = str(facts.get("knob", ""))
    return KNOBS[name].label.lower() if name in KNOBS else safe(name, _LIMIT)


def value_in(facts: Mapping[str, Any], key: str) -> str:
    """The value under `key`, `old` or `value`, of such an event: `8,000`."""
    knob, value = KNOBS.get(str(facts.get("knob", ""))), facts.get(key)
    return value_text(knob, value) if knob is not None and isinstance(value, int) else safe(str(value), _LIMIT)
