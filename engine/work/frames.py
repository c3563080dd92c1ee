"""Parcels of bytes, each behind its length. Imports nothing of weight: it runs in processes of Dask."""

from __future__ import annotations

import struct
from collections.abc import Iterable

FORMAT = 1
"""Of the messages between hosts; grows when one cannot be read as before."""
LENGTH = struct.Struct("!I")
"""Before each parcel."""


def framed(parcel: bytes) -> bytes:
    """A parcel behind its length."""
    return LENGTH.pack(len(parcel)) + parcel


def joined(parcels: Iterable[bytes]) -> bytes:
    """Parcels one behind the other."""
    return b"".join(framed(parcel) for parcel in parcels)


def split(content: bytes) -> list[bytes]:
    """The parcels that were joined."""
    parcels = []
    at = 0
    while at < len(content):
        (length,) = LENGTH.unpack_from(content, at)
        at += LENGTH.size
        parcels.append(content[at : at + length])
        at += length
    return parcels
