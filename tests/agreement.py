"""Both converters, and both censuses, side by side: what each makes of the same batch, in a form to be compared to the byte."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

from engine.convert.census import Counter
from engine.convert.interface import Converter
from engine.convert.plain import PlainConverter
from engine.errors import UsageError
from engine.mapping.model import Mapping

Outcome = dict[str, Any]


def outcome(converter: Converter, batch: Any, offset: int = 0, limit: int = 1000) -> Outcome:
    """Every field of what comes out, or the message of the ValueError."""
    try:
        converted = converter.convert(batch, offset, limit)
    except ValueError as error:
        return {"error": str(error)}
    return {
        "copy": bytes(converted.copy),
        "row_ends": list(converted.row_ends),
        "row_documents": list(converted.row_documents),
        "n_read": converted.n_read,
        "end": converted.end,
        "last": converted.last,
        "checksum": converted.checksum,
        "rejects": converted.rejects,
        "policy_hits": converted.policy_hits,
    }


def census_outcome(counter: Counter, batch: Any, offset: int = 0) -> str:
    """All that was counted, as text, with the message of the ValueError."""
    error = ""
    try:
        counter.add_batch(batch, offset)
    except ValueError as refused:
        error = str(refused)
    return json.dumps([counter.result().to_dict(), error])


def both_converters(mapping: Mapping) -> tuple[Converter, Converter] | None:
    """The plain and the native converter; None when both refuse the mapping in the same words."""
    native_module = importlib.import_module("engine.convert.native")  # as late as it may be built
    plain, native = _made(PlainConverter, mapping), _made(native_module.NativeConverter, mapping)
    if isinstance(plain, str) or isinstance(native, str):
        assert plain == native
        return None
    return plain, native


def _made(make: Callable[[Mapping], Converter], mapping: Mapping) -> Converter | str:
    """A converter, or why there is none."""
    try:
        return make(mapping)
    except UsageError as error:
        return str(error)
