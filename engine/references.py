"""Connection strings by reference: `env:NAME`, a variable, or `file:/PATH`, a file, of the host where they are used.

So a secret need not travel to workers on other hosts: each finds it in its own Kubernetes secret or Slurm environment.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from engine.errors import UsageError

_REFERENCE = re.compile(r"(?P<kind>env|file):(?P<place>.+)", re.DOTALL)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PATTERN = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+|)$"
"""What a setting that is a reference may be."""


def is_reference(text: str) -> bool:
    """It names a place instead of being a connection string."""
    return _REFERENCE.fullmatch(text.strip()) is not None


def place_of(reference: str) -> str:
    """Where it leads, for people: `environment NAME`, `file /PATH`."""
    kind, _, place = reference.strip().partition(":")
    return f"{'environment' if kind == 'env' else 'file'} {place}"


def resolve(reference: str, where: str) -> str:
    """What is at the place that a reference names.

    Args:
        where: what has the reference, as the beginning of a sentence: "source.uri", "host b: source.uri".

    Raises:
        UsageError: there is nothing there, or it is no reference.
    """
    found = _REFERENCE.fullmatch(reference.strip())
    place = found["place"] if found is not None else ""
    if found is not None and found["kind"] == "env" and _VARIABLE.fullmatch(place):
        content = os.environ.get(place, "").strip()
        if not content:
            raise UsageError(f"{where} is env:{place}, but there is no environment variable {place}, or it is empty.")
        return content
    if found is None or found["kind"] == "env" or not place.startswith("/"):
        raise UsageError(
            f"{where} must be env:NAME, with the name of a variable, or file:/PATH, with an absolute path."
        )
    try:
        content = Path(place).read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"{where} is file:{place}, which cannot be read: {reason}.") from error
    if not content:
        raise UsageError(f"{where} is file:{place}, which is empty.")
    return content
