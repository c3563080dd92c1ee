"""Counting the fields of raw documents: natively where it is built, else in plain Python; both count the same."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Protocol

from engine.convert import Preference
from engine.mapping.census import BOUNDS, Census, CensusBounds

_NATIVE_MODULE = "engine.convert.native_census"


class Counter(Protocol):
    """A census that is going on, for one thread at a time."""

    def add_batch(self, batch: bytes, offset: int = 0) -> int:
        """Count the documents of a raw batch from byte `offset` on, and return how many there were.

        Raises:
            ValueError: `batch` is not a sequence of whole documents.
        """
        ...

    def result(self) -> Census:
        """What was counted so far."""
        ...


def make_counter(flatten: int, preference: Preference = "auto", bounds: CensusBounds = BOUNDS) -> Counter:
    """A counter of fields.

    Args:
        flatten: levels of nested documents that it looks into.
        preference: the converter's setting.
        bounds: fields beyond them are only counted.
    """
    if preference != "plain" and find_spec(_NATIVE_MODULE) is not None:
        from importlib import import_module

        counter: Counter = import_module(_NATIVE_MODULE).NativeCensus(flatten, bounds)
        return counter
    return Census(flatten, bounds)
