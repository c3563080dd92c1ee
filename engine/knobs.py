"""The knobs an operator turns, with their bounds: before a run and, where marked, while it runs."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass

from engine.errors import KnobError
from engine.redaction import may_be_repeated

_AUTO = re.compile(r"auto(?::(\d+)-(\d+))?")


@dataclass(frozen=True, slots=True)
class Auto:
    """A knob that the run turns itself, within bounds; as text `auto`, or `auto:4-16`."""

    low: int
    high: int
    words: str = "auto"
    """As it is typed."""

    def __str__(self) -> str:
        return self.words


KnobValue = int | Auto


@dataclass(frozen=True, slots=True)
class Knob:
    """A number with bounds; `zero_is_off` knobs also take 0 and the word "off", `can_be_auto` ones "auto" and "auto:4-16"."""

    name: str
    """As in `ctl set NAME=VALUE`, `config.toml` and JSON."""
    label: str
    low: int
    high: int
    default: int
    unit: str
    help: str
    zero_is_off: bool = False
    can_be_auto: bool = False
    usual_high: int | None = None
    """The upper bound where work goes on on one host, if that is another one: what is shown beside a field."""

    def read(self, text: str) -> KnobValue:
        """As `parse`; with `can_be_auto` also "auto" and "auto:4-16"; raises KnobError with what it takes in the message."""
        cleaned = re.sub(r"[,_ ]", "", text).lower()
        if not self.can_be_auto or not cleaned.startswith("auto"):
            return self.parse(text)
        found = _AUTO.fullmatch(cleaned)
        if found is None:
            raise KnobError(
                f"{self.name} may be auto, or auto with bounds such as auto:4-16, not {text.strip()[:40]!r}."
            )
        if found[1] is None:
            return Auto(self.low, self.high)
        low, high = self.check(int(found[1])), self.check(int(found[2]))
        if low > high:
            raise KnobError(f"{self.name} auto:{low}-{high} has no number between its bounds: write auto:{high}-{low}.")
        return Auto(low, high, cleaned)

    def begin(self, value: KnobValue) -> int:
        """The number that a run begins with: the value itself, or where it looks for one, the default within the bounds."""
        return max(value.low, min(value.high, self.default)) if isinstance(value, Auto) else value

    def parse(self, text: str) -> int:
        """The number in `text` ("12", "10,000", "10_000", "off"); raises KnobError with the bounds in the message."""
        cleaned = text.strip().replace(",", "").replace("_", "").replace(" ", "")
        if self.zero_is_off and cleaned.lower() == "off":
            return 0
        try:
            value = int(cleaned)
        except ValueError:
            shown = f", not {text.strip()!r}" if may_be_repeated(text.strip()) else ""
            auto = ", or auto" if self.can_be_auto else ""
            raise KnobError(f"{self.name} must be a whole number {self.bounds}{auto}{shown}.") from None
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


LOCAL_MOST = 128
"""Workers of a cluster on one host, at most."""
CLUSTER_SIZE = Knob(
    "cluster_size",
    "Workers",
    1,
    1_024,
    min(2 * (os.cpu_count() or 4), 8),
    "workers",
    "Number of worker processes; auto finds the number that the copy is fastest with, auto:4-16 within bounds.",
    can_be_auto=True,
    usual_high=LOCAL_MOST,
)
PAGE_SIZE = Knob(
    "page_size",
    "Page size",
    100,
    100_000,
    8_000,
    "documents",
    "Documents in one COPY, never more than are left of a worker's range; applies from the next page.",
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
    "Rate limit, rows per second for the whole run; 0 is off.",
    zero_is_off=True,
)


def on_one_host(size: KnobValue) -> KnobValue:
    """A cluster size that one host can have; of "auto" the upper bound is that of the host.

    Raises:
        KnobError: it takes several hosts.
    """
    most = size.high if isinstance(size, Auto) else size
    if most <= LOCAL_MOST:
        return size
    if isinstance(size, Auto) and size.words == "auto":
        return Auto(size.low, LOCAL_MOST)
    raise KnobError(
        f"cluster_size must be at most {LOCAL_MOST} on one host, not {most:,}: more workers take several hosts (cluster.kind)."
    )


KNOBS: dict[str, Knob] = {knob.name: knob for knob in (CLUSTER_SIZE, PAGE_SIZE, SEED_COUNT, THROTTLE)}
ALIASES = {"workers": "cluster_size", "batch_size": "page_size", "rate_limit": "throttle"}
"""Other tools' names for a knob, which are taken wherever its own is."""


def knob_named(name: str) -> Knob:
    """The knob called `name`, or with an alias of that name (dashes count as underscores); raises KnobError otherwise."""
    cleaned = name.strip().lower().replace("-", "_")
    knob = KNOBS.get(ALIASES.get(cleaned, cleaned))
    if knob is None:
        near = difflib.get_close_matches(cleaned, [*KNOBS, *ALIASES], 1)
        hint = f"did you mean {near[0]}?" if near else f"the knobs are {', '.join(KNOBS)}."
        raise KnobError(f"There is no knob {name!r}; {hint}")
    return knob
