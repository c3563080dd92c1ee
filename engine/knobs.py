"""The knobs an operator turns, with their bounds: before a run and, where marked, while it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass

from engine.errors import KnobError
from engine.redaction import may_be_repeated


@dataclass(frozen=True, slots=True)
class Knob:
    """A number with bounds; `zero_is_off` knobs also take 0 and the word "off"."""

    name: str
    """As in `ctl set NAME=VALUE`, `config.toml` and JSON."""
    label: str
    low: int
    high: int
    default: int
    unit: str
    help: str
    zero_is_off: bool = False

    def parse(self, text: str) -> int:
        """The number in `text` ("12", "10,000", "10_000", "off"); raises KnobError with the bounds in the message."""
        cleaned = text.strip().replace(",", "").replace("_", "").replace(" ", "")
        if self.zero_is_off and cleaned.lower() == "off":
            return 0
        try:
            value = int(cleaned)
        except ValueError:
            shown = f", not {text.strip()!r}" if may_be_repeated(text.strip()) else ""
            raise KnobError(f"{self.name} must be a whole number {self.bounds}{shown}.") from None
        return self.check(value)

    def check(self, value: int) -> int:
        """`value` itself when it is within the bounds; raises KnobError otherwise."""
        if (self.zero_is_off and value == 0) or self.low <= value <= self.high:
            return value
        raise KnobError(f"{self.name} must be {self.bounds}, not {value:,}.")

    @property
    def bounds(self) -> str:
        """The bounds as text, for messages and help."""
        off = ', or 0 ("off")' if self.zero_is_off and self.low > 0 else ""
        return f"between {self.low:,} and {self.high:,}{off}"


CLUSTER_SIZE = Knob(
    "cluster_size", "Workers", 1, 128, min(2 * (os.cpu_count() or 4), 8), "workers", "Number of worker processes."
)
PAGE_SIZE = Knob(
    "page_size", "Page size", 100, 100_000, 8_000, "documents", "Documents in one COPY; applies from the next page."
)
SEED_COUNT = Knob(
    "seed_count",
    "Seed count",
    0,
    1_000_000_000,
    1_000_000,
    "documents",
    "Synthetic documents to generate into MongoDB.",
)
THROTTLE = Knob(
    "throttle",
    "Throttle",
    1,
    1_000_000_000,
    0,
    "rows/s",
    "Most rows per second of the whole run; 0 is off.",
    zero_is_off=True,
)

KNOBS: dict[str, Knob] = {knob.name: knob for knob in (CLUSTER_SIZE, PAGE_SIZE, SEED_COUNT, THROTTLE)}


def knob_named(name: str) -> Knob:
    """The knob called `name` (dashes count as underscores); raises KnobError with the list of names."""
    knob = KNOBS.get(name.strip().lower().replace("-", "_"))
    if knob is None:
        raise KnobError(f"There is no knob {name!r}; the knobs are {', '.join(KNOBS)}.")
    return knob
