"""Messages as bytes for other hosts: JSON that names classes of a list, so that reading it makes nothing else.

What JSON has stands for itself; all else is an object with one key: `{"bytes": base64}`, `{"tuple": [...]}`,
`{"dict": [[key, value], ...]}`, `{"CopyLease": {"task_id": 1, ...}}`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel

from engine.mapping.model import Mapping
from engine.work import messages
from engine.work.context import WorkerStart
from engine.work.frames import FORMAT

MESSAGES: tuple[type, ...] = (
    *(each for each in vars(messages).values() if isinstance(each, type) and is_dataclass(each)),
    Mapping,
    WorkerStart,
)
"""Everything that the engine and its workers say to each other, and what it is made of."""


class BadMessage(ValueError):
    """Bytes that are no message."""


class Codec:
    """Writes and reads values of the listed classes."""

    def __init__(self, classes: Iterable[type]) -> None:
        """`classes` are dataclasses and models of pydantic, each with a name of its own."""
        self._classes = {each.__name__: each for each in classes}

    def encode(self, value: object) -> bytes:
        """`value` as JSON.

        Raises:
            TypeError: a part of it is of a class that is not listed.
        """
        return json.dumps(self._plain(value), separators=(",", ":")).encode()

    def decode(self, content: bytes) -> Any:
        """What `encode` was given.

        Raises:
            BadMessage: it was not made by `encode`, or of other classes.
        """
        try:
            return self._made(json.loads(content))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BadMessage(f"no message of format {FORMAT}: {type(error).__name__}") from error

    def _plain(self, value: object) -> Any:
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        if kind is bytes:
            return {"bytes": base64.b64encode(value).decode()}  # type: ignore[arg-type]  # it is
        if isinstance(value, list):
            return [self._plain(each) for each in value]
        if kind is tuple:
            return {"tuple": [self._plain(each) for each in value]}  # type: ignore[attr-defined]  # it is
        if isinstance(value, dict):
            return {"dict": [[self._plain(key), self._plain(each)] for key, each in value.items()]}
        if self._classes.get(kind.__name__) is not kind:
            raise TypeError(f"no message has a {kind.__name__}")
        if isinstance(value, BaseModel):
            return {kind.__name__: value.model_dump(mode="json")}
        assert is_dataclass(value)
        return {kind.__name__: {each.name: self._plain(getattr(value, each.name)) for each in fields(value)}}

    def _made(self, plain: Any) -> Any:
        if isinstance(plain, list):
            return [self._made(each) for each in plain]
        if not isinstance(plain, dict):
            return plain
        ((name, content),) = plain.items()
        if name == "bytes":
            return base64.b64decode(content, validate=True)
        if name == "tuple":
            return tuple(self._made(each) for each in content)
        if name == "dict":
            return {self._made(key): self._made(each) for key, each in content}
        kind = self._classes[name]
        if issubclass(kind, BaseModel):
            return kind.model_validate(content)
        return kind(**{field: self._made(each) for field, each in content.items()})
