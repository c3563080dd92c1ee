"""The one interface of both converters: raw BSON in, bytes of COPY's binary format out.

A raw batch is what a MongoDB cursor delivers: whole documents one after the other. A converter takes some of them, from
an offset, and returns the tuples (without COPY's header and trailer) with what the worker has to know about each. The
plain and the native converter agree byte for byte on every field of `engine.rows.Converted`.
"""

from __future__ import annotations

from typing import Protocol

from engine.rows import Converted


class Converter(Protocol):
    """Turns documents into rows; made for one mapping, used by one thread at a time."""

    name: str
    """`plain` or `native`, as shown on screen and in JSON."""

    def convert(self, batch: bytes, offset: int, limit: int) -> Converted:
        """Convert at most `limit` documents of `batch`, from byte `offset` on.

        Raises:
            ValueError: `batch` is not a sequence of whole documents; the message says at which offset it breaks.
        """
        ...
