"""How long a jsonb `_id` becomes inside an index: `{"a":[1,2]}` has 11 bytes as text and 44 as jsonb."""

from __future__ import annotations

import json
from typing import Any

from engine.mapping.limits import MAX_KEY_BYTES

ALWAYS_SHORT = MAX_KEY_BYTES // 10
"""Bytes of JSON text that cannot become too long a key: at worst, in `[1,1,1]`, two bytes become nineteen."""

_HEADER = 4
"""Of a value with a length of its own, and of a container; a lone scalar is in a container too."""
_ENTRY = 4
"""Of each key and each value."""
_ALIGNMENT = 3
"""Containers and numbers begin at a multiple of four bytes."""


def jsonb_size(text: str) -> int:
    """An upper bound of the bytes of this JSON as jsonb (PostgreSQL's utils/jsonb.h), before any compression."""
    return _HEADER + _HEADER + _ENTRY + _size(json.loads(text, parse_int=_NumberText, parse_float=_NumberText))


class _NumberText(str):
    """A number as it is spelled."""

    __slots__ = ()


def _size(value: Any) -> int:
    match value:
        case dict():
            members = (2 * _ENTRY + len(key.encode()) + _size(member) for key, member in value.items())
            return _ALIGNMENT + _HEADER + sum(members)
        case list():
            return _ALIGNMENT + _HEADER + sum(_ENTRY + _size(element) for element in value)
        case _NumberText():
            n_digits = (len(value) + 6) // 4
            return _ALIGNMENT + _HEADER + _HEADER + 2 * n_digits
        case str():
            return len(value.encode())
    return 0
